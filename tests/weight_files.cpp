#include "diffusion/weight_files.h"

#include <filesystem>

#include "tensor/safetensors.h"
#include "tests/catch.h"
#include "tests/command_result.h"
#include "tests/compare.h"
#include "tests/tiny_pipeline.h"

// Which files hold a network's weights, and in which type.

using namespace stipple;
namespace fs = std::filesystem;

namespace {

const std::string kStem = "diffusion_pytorch_model";

std::string found(const ScratchFolder& folder, const std::string& variant = "") {
  std::string names;
  for (const fs::path& path : find_weights(folder.path(), variant)) names += path.filename().string() + " ";
  return names;
}

void write_index(const std::string& path, const std::map<std::string, std::string>& weight_map) {
  std::string members;
  for (const auto& [tensor, file] : weight_map)
    members += fmt::format("{}\"{}\": \"{}\"", members.empty() ? "" : ", ", tensor, file);
  write_file_atomically(path, "{\"metadata\": {}, \"weight_map\": {" + members + "}}");
}

using Named = std::vector<std::pair<std::string, Tensor>>;

Named tensors_of(const std::string& path) {
  Named tensors;
  const auto file = open_tensor_file(path);
  for (const std::string& name : file->names()) tensors.emplace_back(name, file->load(name));
  return tensors;
}

Named as(Dtype dtype, Named tensors) {
  for (auto& [name, tensor] : tensors) tensor = tensor.to(dtype);
  return tensors;
}

std::unique_ptr<Pipeline> load(const std::string& folder, const std::string& variant = "") {
  std::vector<std::string> notices;
  return Pipeline::load(folder, notices, variant);
}

}  // namespace

TEST_CASE("weights are taken in diffusers' order", "[weights]") {
  const ScratchFolder folder;
  CHECK_THROWS_WITH(found(folder), Contains(kStem + ".safetensors or .bin"));
  write_index(folder / (kStem + ".bin.index.json"), {{"w", "b.bin"}});
  write_file_atomically(folder / "b.bin", "");
  CHECK(found(folder) == "b.bin ");
  write_file_atomically(folder / (kStem + ".bin"), "");
  CHECK(found(folder) == kStem + ".bin ");
  write_file_atomically(folder / (kStem + ".safetensors"), "");
  CHECK(found(folder) == kStem + ".safetensors ");
  write_index(folder / (kStem + ".safetensors.index.json"), {{"v", "2.safetensors"}, {"w", "1.safetensors"}});
  for (const char* name : {"1.safetensors", "2.safetensors"}) write_file_atomically(folder / name, "");
  CHECK(found(folder) == "1.safetensors 2.safetensors ");
}

TEST_CASE("a variant is taken where it was asked for, and only there", "[weights]") {
  const ScratchFolder folder;
  write_file_atomically(folder / (kStem + ".fp16.safetensors"), "");
  write_file_atomically(folder / (kStem + ".non_ema-00001-of-00002.safetensors"), "");
  write_file_atomically(folder / (kStem + ".ema.bin"), "");
  CHECK_THROWS_WITH(found(folder), Contains("variants there: ema, fp16, non_ema"));
  CHECK_THROWS_WITH(found(folder, "fp32"), Contains("variant 'fp32'; variants there: ema, fp16, non_ema"));
  CHECK(found(folder, "ema") == kStem + ".ema.bin ");
  CHECK(found(folder, "fp16") == kStem + ".fp16.safetensors ");
  write_index(folder / (kStem + ".safetensors.index.ema.json"), {{"w", kStem + ".fp16.safetensors"}});
  CHECK(found(folder, "ema") == kStem + ".fp16.safetensors ");
}

TEST_CASE("an index that leads nowhere, or elsewhere, is an error", "[weights]") {
  const ScratchFolder folder;
  const std::string index = folder / (kStem + ".safetensors.index.json");
  for (const char* text : {"", "[]", "{}", R"({"weight_map": {}})", R"({"weight_map": {"w": 3}})"}) {
    write_file_atomically(index, text);
    CHECK_THROWS_WITH(found(folder), Contains("weight_map"));
  }
  write_index(index, {{"w", "absent.safetensors"}});
  CHECK_THROWS_WITH(found(folder), Contains("\"absent.safetensors\" is missing"));
  write_index(index, {{"w", std::string(1000, 'x')}});
  CHECK_THROWS_WITH(found(folder), Contains("...\" is missing"));
  write_index(index, {{"w", "../weights.safetensors"}});
  CHECK_THROWS_WITH(found(folder), Contains("no plain file name"));
}

TEST_CASE("a tensor that two shards hold is an error", "[weights]") {
  const ScratchFolder folder;
  for (const char* name : {"a.safetensors", "b.safetensors"})
    save_safetensors(folder / name, {{"w", Tensor::zeros({1})}});
  WeightFiles files;
  files.add(folder / "a.safetensors");
  CHECK_THROWS_WITH(files.add(folder / "b.safetensors"),
                    Contains("b.safetensors: tensor \"w\" is in") && Contains("a.s"));
}

TEST_CASE("shards, flat folders and other types of weights load as the network that was saved", "[weights]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  const Tensor values = load(folder / "model")->parameters.values();
  const fs::path unet = fs::path(folder / "model") / "unet";
  const Named all = tensors_of((unet / (kStem + ".safetensors")).string());
  const Named first(all.begin(), all.begin() + 5), rest(all.begin() + 5, all.end());
  save_safetensors(unet / (kStem + ".f64.safetensors"), as(Dtype::f64, all));
  CHECK(same_bits(load(folder / "model", "f64")->parameters.values(), values));
  save_safetensors(unet / (kStem + ".fp16.safetensors"), as(Dtype::f16, all));
  CHECK(relative_error(load(folder / "model", "fp16")->parameters.values(), values) < 1e-3);
  fs::remove(unet / (kStem + ".safetensors"));
  save_safetensors(unet / "1.safetensors", first);
  save_safetensors(unet / "2.safetensors", rest);
  write_index(unet / (kStem + ".safetensors.index.json"), {{"a", "1.safetensors"}, {"b", "2.safetensors"}});
  CHECK(same_bits(load(folder / "model")->parameters.values(), values));
  CHECK(same_bits(load(unet.string())->parameters.values(), values));
  write_index(unet / (kStem + ".safetensors.index.json"), {{"a", "1.safetensors"}});
  CHECK_THROWS_WITH(load(folder / "model"), Contains("missing: "));
}

TEST_CASE("converting keeps every bit of weights that come in the type they are saved in", "[weights]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "f32");
  const std::string weights = "/unet/" + kStem + ".safetensors";
  for (const std::string dtype : {"f32", "f16", "bf16"}) {
    INFO(dtype);
    const auto run = [&](const std::string& from, const std::string& to) {
      const auto result =
          run_command(words("convert --save-dtype " + dtype + " --model " + from + " --out " + to), folder.path());
      INFO(result.err);
      CHECK(result.status == 0);
    };
    run("f32", dtype + "-once");
    run(dtype + "-once", dtype + "-twice");
    CHECK(SafetensorsFile(folder / (dtype + "-once" + weights)).dtype("conv_in.bias") == save_dtype(dtype));
    CHECK(read_file(folder / (dtype + "-once" + weights)) == read_file(folder / (dtype + "-twice" + weights)));
  }
  CHECK(read_file(folder / ("f32" + weights)) == read_file(folder / ("f32-once" + weights)));
}

TEST_CASE("convert writes a new folder, or nothing", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  const auto refuse = [&](const std::string& flags, int status, const std::string& reason) {
    check_refused(run_command(words("convert --model model " + flags), folder.path()), status, reason);
    CHECK(folder.count() == 1);
  };
  refuse("--out model", 1, "it is there already");
  refuse("--out nowhere/else", 1, "there is no folder");
  refuse("--out new --save-dtype f8", 2, "--save-dtype");
  refuse("--out new --variant fp16", 1, "variants there: none");
}

TEST_CASE("a weight too large for the type of the file is named, and nothing is written", "[weights][command]") {
  const ScratchFolder folder;
  Pipeline pipeline(tiny_network(), {}, {});
  PhiloxGenerator generator(0);
  pipeline.parameters.initialize(generator);
  pipeline.parameters.find("conv_in.bias").value().mutable_data<float>()[1] = 65504;  // the largest of f16
  pipeline.save(folder / "model", pipeline.parameters.values(), Dtype::f16);
  pipeline.parameters.find("conv_in.bias").value().mutable_data<float>()[1] = -65520;
  pipeline.save(folder / "large", pipeline.parameters.values());
  check_refused(run_command(words("convert --model large --out narrow --save-dtype f16"), folder.path()), 1,
                "cannot be saved as f16: \"conv_in.bias\" holds -65520");
  CHECK_THROWS_WITH(pipeline.save(folder / "narrow", pipeline.parameters.values(), Dtype::f16),
                    Contains("conv_in.bias"));
  CHECK(folder.count() == 2);
  CHECK(run_command(words("convert --model large --out wide --save-dtype bf16"), folder.path()).status == 0);
}

TEST_CASE("a run whose weights turn out too large for the type of its file loses nothing", "[weights][command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  Pipeline pipeline(tiny_network(), {}, {});
  PhiloxGenerator generator(0);
  pipeline.parameters.initialize(generator);
  pipeline.parameters.find("conv_in.bias").value().mutable_data<float>()[1] = -65520;
  pipeline.save(folder / "large", pipeline.parameters.values());
  const auto train = words("train --data pictures --out run --learning-rate 0 --max-train-steps 1 --sample-count 0");
  check_refused(run_command(train + "--from large --save-dtype f16", folder.path()), 1, "step 1 is saved");
  CHECK_FALSE(fs::exists(folder / "run/model_index.json"));
  const CommandResult resumed = run_command(train + "--resume-from-checkpoint latest --save-dtype f32", folder.path());
  INFO(resumed.err);
  CHECK(resumed.status == 0);
  CHECK(fs::exists(folder / "run/model_index.json"));
}

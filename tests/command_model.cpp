#include "tensor/safetensors.h"
#include "tests/command_result.h"
#include "tests/tiny_pipeline.h"

// Pipelines that are not there, broken, or asked for what they cannot.

using namespace stipple;
namespace fs = std::filesystem;

namespace {

constexpr const char* kWeights = "model/unet/diffusion_pytorch_model.safetensors";

void check_info_refused(const ScratchFolder& folder, const std::string& reason) {
  check_refused(run_command(words("info --model model"), folder.path()), 1, reason);
}

void write_header(const std::string& path, uint64_t size, const std::string& json) {
  write_file_atomically(path, std::string(reinterpret_cast<const char*>(&size), 8) + json);
}

// The weights of model/, one of them replaced, left out, or added.
void rewrite_weights(const ScratchFolder& folder, const std::string& left_out, const std::string& added,
                     const Shape& shape) {
  std::vector<std::pair<std::string, Tensor>> tensors;
  {
    const SafetensorsFile file(folder / kWeights);
    for (const std::string& name : file.names())
      if (name != left_out) tensors.emplace_back(name, file.load(name));
  }
  if (!added.empty()) tensors.emplace_back(added, Tensor::zeros(shape));
  save_safetensors(folder / kWeights, tensors);
}

void check_sample_refused(const ScratchFolder& folder, const std::string& flags, const std::string& reason) {
  INFO(flags);
  check_refused(run_command(words("sample --out g.png --steps 2 --count 2") + flags, folder.path()), 1, reason);
  CHECK_FALSE(fs::exists(folder / "g.png"));
}

}  // namespace

TEST_CASE("a model that is not there is refused", "[command]") {
  const ScratchFolder folder;
  fs::create_directory(folder / "empty");
  check_sample_refused(folder, "--model nowhere", "nowhere");
  check_sample_refused(folder, "--model empty", "unet/config.json");
  check_sample_refused(folder, "--model google/ddpm-cifar10-32", "hf download google/ddpm-cifar10-32");
}

TEST_CASE("broken safetensors are refused", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  const std::string whole = read_file(folder / kWeights);
  for (size_t size : {size_t{0}, size_t{5}, size_t{8}, size_t{100}, whole.size() - 1}) {
    write_file_atomically(folder / kWeights, whole.substr(0, size));
    check_info_refused(folder, "diffusion_pytorch_model.safetensors");
  }
  write_file_atomically(folder / kWeights, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
  check_info_refused(folder, "is a Git LFS pointer, the weights themselves are not there: run `git lfs pull`");
  write_header(folder / kWeights, ~uint64_t{0}, "{}");
  check_info_refused(folder, "diffusion_pytorch_model.safetensors");
  write_header(folder / kWeights, 10, R"({"a": 1   )");
  check_info_refused(folder, "diffusion_pytorch_model.safetensors");
  const std::string lie = R"({"conv_in.bias":{"dtype":"F32","shape":[8],"data_offsets":[0,99999]}})";
  write_header(folder / kWeights, lie.size(), lie + std::string(32, '\0'));
  check_info_refused(folder, "conv_in.bias");
}

TEST_CASE("weights that do not fit the config are refused by name", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  rewrite_weights(folder, "conv_in.bias", "", {});
  check_info_refused(folder, "missing: conv_in.bias");
  rewrite_weights(folder, "", "conv_in.bias", {9});
  check_info_refused(folder, "conv_in.bias");
  rewrite_weights(folder, "conv_in.bias", "conv_in.bias", {8});
  CHECK(run_command(words("info --model model"), folder.path()).status == 0);
  rewrite_weights(folder, "", "surplus.weight", {2});
  check_info_refused(folder, "surplus.weight");
}

TEST_CASE("a network can draw only what it was made for", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "plain");
  write_tiny_pipeline(folder / "classes", three_classes(false));
  write_tiny_pipeline(folder / "guided", three_classes(true));
  check_sample_refused(folder, "--model plain --class 1", "not conditioned on classes");
  check_sample_refused(folder, "--model plain --guidance-scale 2", "guidance");
  check_sample_refused(folder, "--model classes", "labels are needed");
  check_sample_refused(folder, "--model classes --class 3", "class 3 is unknown");
  check_sample_refused(folder, "--model guided --class 3", "class 3 is unknown");
  check_sample_refused(folder, "--model guided --class 0-2", "evenly");
  check_sample_refused(folder, "--model classes --class 1 --guidance-scale 2", "label dropout");
  check_sample_refused(folder, "--model plain --height 9",
                       "9x8 pixels cannot be halved once by this network: height and width must be multiples of 2");
  check_sample_refused(folder, "--model plain --steps 1001", "1001");
  check_sample_refused(folder, "--model plain --sampler brownian", "brownian");
  check_sample_refused(folder, "--model guided --class 1 --guidance-scale nan", "guidance scale");
  check_refused(run_command(words("sample --out g.png --model plain --noise missing.safetensors"), folder.path()), 1,
                "missing.safetensors");
  CHECK(run_command(words("sample --out g.png --steps 2 --count 2 --model guided --class 1,2 --guidance-scale 2"),
                    folder.path())
            .status == 0);
}

TEST_CASE("a network whose weights are not finite draws no black pictures", "[command]") {
  const ScratchFolder folder;
  Pipeline pipeline(tiny_network(), {}, {});
  PhiloxGenerator generator(0);
  pipeline.parameters.initialize(generator);
  pipeline.parameters.values().mutable_data<float>()[3] = std::nanf("");
  pipeline.save(folder / "model", pipeline.parameters.values());
  check_sample_refused(folder, "--model model", "training has diverged");
}

TEST_CASE("networks with inputs that are no classes are for `forward` only", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  UNet2DConfig config = tiny_network();
  config.class_embedding = ClassEmbedding::timestep;
  Pipeline pipeline(config, {}, {});
  PhiloxGenerator generator(0);
  pipeline.parameters.initialize(generator);
  pipeline.save(folder / "model", pipeline.parameters.values());
  check_sample_refused(folder, "--model model", "class_embed_type is \"timestep\"");
  check_sample_refused(folder, "--model model --class 1", "class_embed_type is \"timestep\"");
  const CommandResult info = run_command(words("info --model model"), folder.path());
  CHECK_THAT(info.out, Contains("embeds them as timesteps"));
  check_refused(run_command(words("train --data pictures --from model --out run --max-train-steps 1"), folder.path()),
                1, "class_embed_type is \"timestep\"");
  CHECK_FALSE(fs::exists(folder / "run"));
}

TEST_CASE("pictures with a file each need seeds that differ", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  check_refused(run_command(words("sample --model model --out g.png --steps 2 --seeds 5,5 --separate"), folder.path()),
                1, "--seeds 5,5: a seed is listed twice");
  CHECK(folder.count() == 1);
}

TEST_CASE("forward refuses inputs that do not fit", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  const auto refuse = [&](const std::vector<std::pair<std::string, Tensor>>& tensors, const std::string& reason) {
    save_safetensors(folder / "in.safetensors", tensors);
    check_refused(
        run_command(words("forward --model model --input in.safetensors --output out.safetensors"), folder.path()), 1,
        reason);
    CHECK_FALSE(fs::exists(folder / "out.safetensors"));
  };
  const std::pair<std::string, Tensor> sample{"sample", Tensor::zeros({1, 1, 8, 8})},
      timestep{"timestep", Tensor::zeros({1}, Dtype::i64)};
  refuse({timestep}, "'sample' is missing");
  refuse({sample}, "'timestep' is missing");
  refuse({sample, timestep, {"smaple", Tensor::zeros({1})}}, "'smaple' is unknown");
  refuse({{"sample", Tensor::zeros({1, 8, 8})}, timestep}, "'sample'");
  refuse({{"sample", Tensor::zeros({1, 2, 8, 8})}, timestep}, "channels");
  refuse({{"sample", Tensor::zeros({1, 1, 7, 8})}, timestep}, "multiples of 2");
  refuse({sample, {"timestep", Tensor::zeros({2}, Dtype::i64)}}, "'timestep'");
  refuse({sample, timestep, {"grad_output", Tensor::zeros({1, 1, 8, 4})}}, "grad_output");
  refuse({sample, timestep, {"class_labels", Tensor::zeros({1}, Dtype::i64)}}, "label");
}

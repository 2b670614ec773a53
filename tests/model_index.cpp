#include "diffusion/model_index.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/command_result.h"
#include "tests/tiny_pipeline.h"

// model_index.json: whose word counts where a pipeline's files name different classes, and what is written.

using namespace stipple;
namespace fs = std::filesystem;

namespace {

nlohmann::json index_of(const std::string& folder) {
  return nlohmann::json::parse(read_file(folder + "/model_index.json"));
}

void write_index(const std::string& folder, const std::string& pipeline, const std::string& components) {
  write_file_atomically(folder + "/model_index.json", R"({"_class_name": ")" + pipeline + R"(", )" + components + "}");
}

constexpr const char* kUnet = R"("unet": ["diffusers", "UNet2DModel"], )";

// The scheduler of a folder whose scheduler_config.json is DDPM's, without clipping.
SchedulerConfig scheduler_under(const std::string& pipeline, const std::string& scheduler,
                                std::vector<std::string>& notices) {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  edit_file(folder / "model/scheduler/scheduler_config.json", "\"clip_sample\": true", "\"clip_sample\": false");
  write_index(folder / "model", pipeline, kUnet + (R"("scheduler": ["diffusers", ")" + scheduler + "\"]"));
  return Pipeline::load(folder / "model", notices)->scheduler;
}

}  // namespace

TEST_CASE("the index that is written names the scheduler's class, and a pipeline that suits it", "[pipeline]") {
  for (const auto& [scheduler, expected] :
       std::map<std::string, std::string>{{"DDPMScheduler", "DDPMPipeline"},
                                          {"DDIMScheduler", "DDIMPipeline"},
                                          {"EulerDiscreteScheduler", "DDPMPipeline"}}) {
    const ScratchFolder folder;
    Pipeline pipeline(tiny_network(), {}, SchedulerConfig::defaults(scheduler));
    pipeline.save(folder / "model", pipeline.parameters.values());
    CHECK(index_of(folder / "model")["_class_name"] == expected);
    CHECK(index_of(folder / "model")["scheduler"] == nlohmann::json{"diffusers", scheduler});
    CHECK(index_of(folder / "model")["unet"] == nlohmann::json{"diffusers", "UNet2DModel"});
    std::vector<std::string> notices;
    CHECK(Pipeline::load(folder / "model", notices)->scheduler.class_name == scheduler);
    CHECK(notices.empty());
  }
}

TEST_CASE("convert and train --from change nothing in the configuration of a scheduler that is not here", "[command]") {
  const std::string of_unipc = R"({"_class_name": "UniPCMultistepScheduler", "_diffusers_version": "0.42.1",
    "beta_start": 1e-4, "disable_corrector": [0, 1], "lambda_min_clipped": -Infinity, "solver_type": "bh1",
    "thresholding": null, "num_train_timesteps": 50})";
  const std::string of_ddpm = R"({"_class_name": "DDPMScheduler", "beta_end": 0.03, "skip_prk_steps": true})";
  for (const auto& [text, scheduler] :
       std::map<std::string, std::string>{{of_unipc, "UniPCMultistepScheduler"}, {of_ddpm, "PNDMScheduler"}}) {
    const ScratchFolder folder;
    write_tiny_data(folder);
    write_tiny_pipeline(folder / "model");
    write_file_atomically(folder / "model/scheduler/scheduler_config.json", text);
    write_index(folder / "model", "DDPMPipeline", kUnet + (R"("scheduler": ["diffusers", ")" + scheduler + "\"]"));
    CHECK(run_command(words("convert --model model --out copy"), folder.path()).status == 0);
    CHECK(run_command(words("train --data pictures --from model --out run --max-train-steps 1 --sample-count 0"),
                      folder.path())
              .status == 0);
    for (const char* written : {"copy", "run"}) {
      CHECK(read_file(folder / written + "/scheduler/scheduler_config.json") == text);
      CHECK(index_of(folder / written)["scheduler"][1] == scheduler);
    }
    CHECK(run_command(words("info --json --model copy"), folder.path()).status == 0);
  }
}

TEST_CASE("train --from takes the variant that it is told", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  write_tiny_pipeline(folder / "model");
  const std::string stem = folder / "model/unet/diffusion_pytorch_model";
  fs::rename(stem + ".safetensors", stem + ".ema.safetensors");
  const auto train = [&](const std::string& flags) {
    return run_command(words("train --data pictures --out run --max-train-steps 1 --sample-count 0 " + flags),
                       folder.path());
  };
  check_refused(train("--from model"), 1, "variants there: ema");
  check_refused(train("--variant ema --config network.json"), 2, "--from");
  CHECK(train("--from model --variant ema").status == 0);
}

TEST_CASE("convert and train --from keep the pipeline's class and its scheduler", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  Pipeline pipeline(tiny_network(), {}, SchedulerConfig::defaults("DDIMScheduler"));
  PhiloxGenerator generator(0);
  pipeline.parameters.initialize(generator);
  pipeline.save(folder / "model", pipeline.parameters.values());
  write_index(folder / "model", "DDPMPipeline", kUnet + std::string(R"("scheduler": ["diffusers", "DDIMScheduler"])"));
  CHECK(run_command(words("convert --model model --out copy"), folder.path()).status == 0);
  CHECK(run_command(words("train --data pictures --from model --out run --max-train-steps 1 --sample-count 0"),
                    folder.path())
            .status == 0);
  for (const char* written : {"copy", "run"}) {
    CHECK(index_of(folder / written)["_class_name"] == "DDPMPipeline");
    CHECK(index_of(folder / written)["scheduler"][1] == "DDIMScheduler");
  }
}

TEST_CASE("the index decides about the scheduler's class, and DDIMPipeline makes DDIM of all", "[pipeline]") {
  for (const auto& [pipeline, scheduler] :
       {std::pair("DDPMPipeline", "DDIMScheduler"), {"DDIMPipeline", "DDPMScheduler"}}) {
    std::vector<std::string> notices;
    const SchedulerConfig config = scheduler_under(pipeline, scheduler, notices);
    CHECK(config.class_name == "DDIMScheduler");
    CHECK_FALSE(config.clip_sample);
    REQUIRE(notices.size() == 1);
    CHECK_THAT(notices[0], Contains("is of DDPMScheduler, model_index.json makes it DDIMScheduler"));
  }
  std::vector<std::string> notices;
  CHECK(scheduler_under("DDPMPipeline", "DDPMScheduler", notices).class_name == "DDPMScheduler");
  CHECK(notices.empty());
}

TEST_CASE("pipelines of more than a unet and a scheduler are refused by every command", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  write_tiny_pipeline(folder / "model");
  const std::string scheduler = R"("scheduler": ["diffusers", "DDPMScheduler"])";
  write_index(folder / "model", "LDMPipeline", kUnet + (R"("vqvae": ["diffusers", "VQModel"], )" + scheduler));
  for (const char* command :
       {"info --model model", "sample --model model --out g.png", "convert --model model --out copy",
        "train --data pictures --from model --out run", "forward --model model --input x --output y"}) {
    INFO(command);
    check_refused(run_command(words(command), folder.path()), 1,
                  R"("LDMPipeline" with a component "vqvae" of class "VQModel")");
  }
  for (const char* made : {"g.png", "copy", "run"}) CHECK_FALSE(fs::exists(folder / made));
  write_index(folder / "model", "DDPMPipeline", R"("unet": ["diffusers", "UNet2DConditionModel"], )" + scheduler);
  check_refused(run_command(words("info --model model"), folder.path()), 1, "UNet2DConditionModel");
  write_index(folder / "model", "DDPMPipeline",
              kUnet + (R"("safety_checker": [null, null], "requires_safety_checker": true, )" + scheduler));
  CHECK(run_command(words("info --model model"), folder.path()).status == 0);
}

TEST_CASE("a network of another class is refused by name", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  edit_file(folder / "model/unet/config.json", "UNet2DModel", "AutoencoderKL");
  check_refused(run_command(words("info --model model"), folder.path()), 1, "a network of class \"AutoencoderKL\"");
}

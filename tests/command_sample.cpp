#include "tests/command_result.h"
#include "tests/tiny_pipeline.h"

// The flags of `stipple sample` that choose a sampler, a beginning, and pictures on the way.

using namespace stipple;
namespace fs = std::filesystem;

namespace {

CommandResult sample(const ScratchFolder& folder, const std::string& flags) {
  const std::string count = flags.find("--invert") == std::string::npos ? "--count 2 " : "";
  return run_command(words("sample --model model --out g.png --steps 4 " + count + flags), folder.path());
}

void refused(const ScratchFolder& folder, int status, const std::string& flags, const std::string& reason) {
  INFO(flags);
  check_refused(sample(folder, flags), status, reason);
  CHECK_FALSE(fs::exists(folder / "g.png"));
}

}  // namespace

TEST_CASE("every sampler draws, with the options it knows", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  for (const char* flags :
       {"--sampler ddpm --variance-type fixed_large", "--sampler ddim --eta 0.5 --use-clipped-model-output",
        "--sampler dpm-solver --order 3 --algorithm sde-dpmsolver++ --use-karras-sigmas",
        "--sampler dpm_solver --lower-order-final false --lambda-min-clipped -5.1 --thresholding",
        "--sampler euler --s-churn 2 --timestep_spacing trailing", "--sampler euler-ancestral --steps-offset 1",
        "--sampler HeunDiscreteScheduler --use-beta-sigmas true --clip-sample", "--sampler ddim-inverse"}) {
    INFO(flags);
    const CommandResult result = sample(folder, flags);
    INFO(result.err);
    CHECK(result.status == 0);
  }
}

TEST_CASE("a flag that the sampler would ignore is refused", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  refused(folder, 1, "--sampler ddpm --eta 0", "DDPMScheduler: takes no eta");
  refused(folder, 1, "--sampler ddim --solver-order 2", "DDIMScheduler takes no solver_order");
  refused(folder, 1, "--sampler dpm-solver --clip-sample", "DPMSolverMultistepScheduler takes no clip_sample");
  refused(folder, 1, "--sampler heun --s-churn 1", "HeunDiscreteScheduler: takes no s_churn");
  refused(folder, 1, "--sampler dpm-solver --algorithm-type dpmsolver", "final_sigmas_type");
  refused(folder, 1, "--sampler dpm-solver --solver-order two", "solver_order is \"two\", expected an integer");
  refused(folder, 1, "--sampler euler --use-karras-sigmas --use-beta-sigmas", "only one of");
  for (const char* type : {"bogus", "fixed_large"})
    refused(folder, 1, std::string("--sampler dpm-solver --variance-type ") + type,
            "is not supported; there are learned, learned_range");
  for (const char* sampler : {"euler", "heun", "dpm-solver --use-lu-lambdas"})
    for (const char* end : {"sigma_min", "sigma_max"})
      refused(folder, 1, std::string("--sampler ") + sampler + " --" + end + " 0.1",
              std::string(end) + " changes nothing without use_karras_sigmas, use_exponential_sigmas or");
  refused(folder, 1, "--sampler euler --use-karras-sigmas --sigma-min 3 --sigma-max 2",
          "sigma_min 3 is above sigma_max 2");
  for (const char* key : {"dynamic_thresholding_ratio", "sample_max_value"})
    refused(folder, 1, std::string("--sampler ddim --") + key + " 0.9",
            std::string(key) + " changes nothing without thresholding");
  refused(folder, 1, "--sampler ddpm --clip-sample false --clip-sample-range 2",
          "clip_sample_range changes nothing without clip_sample");
  refused(folder, 1, "--sampler ddpm --thresholding --clip-sample-range 2",
          "clip_sample_range changes nothing with thresholding");
  refused(folder, 1, "--sampler dpm-solver --timestep-spacing linspace --steps-offset 1",
          "steps_offset changes nothing without timestep_spacing");
  refused(folder, 1, "--sampler euler --timestep-spacing linspace --use-karras-sigmas --interpolation-type log_linear",
          "interpolation_type changes nothing where sigmas are spaced anew");
  refused(folder, 1, "--sampler ddim --thresholding --clip-sample", "clip_sample changes nothing with thresholding");
  for (const char* flag : {"--timestep-spacing trailing", "--steps-offset 1", "--lambda-min-clipped -5"})
    refused(folder, 1, std::string("--sampler dpm-solver --use-lu-lambdas ") + flag,
            "changes nothing where sigmas are spaced anew over the whole schedule");
  refused(folder, 1, "--sampler dpm-solver --order 1 --solver-type heun",
          "solver_type changes nothing with solver_order 1");
  refused(folder, 1, "--sampler dpm-solver --euler-at-final",
          "euler_at_final changes nothing with final_sigmas_type zero");
  refused(folder, 1, "--sampler euler --timestep-type continuous", "without prediction_type v_prediction");
  refused(folder, 1, "--sampler ddim --clip-sample false --use-clipped-model-output",
          "use_clipped_model_output changes nothing without clip_sample or thresholding");
  refused(folder, 2, "--strength 0.5", "--init-image");
  refused(folder, 2, "--interpolate 3", "no pair of seeds");
  refused(folder, 1, "--init-image nothing.png", "nothing.png");
}

TEST_CASE("a flag holds where the file turns on what it is about", "[command]") {
  const ScratchFolder folder;
  Pipeline pipeline(tiny_network(), {}, SchedulerConfig::defaults("EulerDiscreteScheduler"));
  PhiloxGenerator generator(0);
  pipeline.parameters.initialize(generator);
  pipeline.scheduler.use_karras_sigmas = true;
  pipeline.save(folder / "model", pipeline.parameters.values());
  refused(folder, 1, "--use-karras-sigmas false --sigma-min 0.1", "sigma_min changes nothing");
  CHECK(sample(folder, "--sigma-min 0.1 --sigma-max 20").status == 0);
  edit_file(folder / "model/scheduler/scheduler_config.json", "\"use_karras_sigmas\"",
            "\"variance_type\": \"fixed_large\", \"use_karras_sigmas\"");
  CHECK(sample(folder, "--sampler dpm-solver").status == 0);
}

TEST_CASE("pictures begin with a picture, and on the way to another seed", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  write_png(folder / "in.png", tiny_picture(2));
  CHECK(sample(folder, "--sampler ddim --init-image in.png --strength 0.5").status == 0);
  const std::string notice = "steps that clip the clean image cannot be walked back";
  const std::string inverted = "--sampler ddim --init-image in.png --invert ";
  CHECK_THAT(sample(folder, inverted).err, Contains(notice));
  CHECK_THAT(sample(folder, inverted + "--clip-sample false --thresholding").err, Contains(notice));
  const CommandResult unclipped = sample(folder, inverted + "--clip-sample false");
  CHECK(unclipped.status == 0);
  CHECK_THAT(unclipped.err, !Contains(notice));
  CHECK(sample(folder, "--sampler ddim --interpolate 3-7").status == 0);
}

TEST_CASE("pictures are drawn towards a colour, and what that cannot mean is refused", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  for (const char* flags :
       {"--guide color=#808080", "--guide color=c0C0c0 --guide-scale 5 --guide-route unet --sampler ddim",
        "--guide color=#000000 --guide-scale -1"}) {
    INFO(flags);
    CHECK(sample(folder, flags).status == 0);
  }
  write_png(folder / "in.png", tiny_picture(2));
  CHECK(sample(folder, "--guide color=#808080 --sampler ddim --init-image in.png --invert").status == 0);
  fs::remove(folder / "g.png");
  refused(folder, 1, "--guide color=#55FFAA", "#55FFAA is no grey");
  refused(folder, 2, "--guide color=#55FFA", "\"#55FFA\" is no colour");
  refused(folder, 2, "--guide color", "'color' is unknown");
  refused(folder, 2, "--guide clip=rose", "'clip=rose' is unknown");
  refused(folder, 2, "--guide-scale 40", "--guide-scale requires --guide");
  refused(folder, 2, "--guide-route unet", "--guide-route requires --guide");
  refused(folder, 2, "--guide color=#808080 --guide-scale nan", "nan is not a number");
  refused(folder, 2, "--guide color=#808080 --guide-route image", "image not in {x0,unet}");
  refused(folder, 1, "--guide color=#808080 --sampler ddim-inverse", "DDIMInverseScheduler walks away");
  refused(folder, 1, "--guide color=#808080 --sampler ddim --prediction-type sample",
          "predicts the clean image itself");
}

TEST_CASE("the denoising is written as a strip, as numbered frames and as a GIF", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  CHECK(sample(folder, "--sampler euler --strip strip.png --frames film --gif film.gif --every 2").status == 0);
  CHECK(read_file(folder / "film.gif").starts_with("GIF89a"));
  CHECK(fs::exists(folder / "strip.png"));
  CHECK(fs::exists(folder / "film/frame-000.png"));
  CHECK(fs::exists(folder / "film/frame-001.png"));
  CHECK_FALSE(fs::exists(folder / "film/frame-002.png"));
  CHECK(sample(folder, "--frames film/").status == 0);
  CHECK(sample(folder, "--frames new/").status == 0);
  CHECK(fs::exists(folder / "new/frame-003.png"));
  check_refused(sample(folder, "--frames nowhere/film"), 1, "nowhere");
  check_refused(sample(folder, "--frames film.gif"), 1, "--frames film.gif: it is a file");
  check_refused(sample(folder, "--gif nowhere/film.gif"), 1, "nowhere");
  check_refused(sample(folder, "--gif film.png"), 1, "a name that ends in .gif is expected");
}

TEST_CASE("pictures have one, three or four channels, and others are refused before the first step", "[command]") {
  const auto write_model = [](const ScratchFolder& folder, int64_t channels) {
    UNet2DConfig config = tiny_network();
    config.in_channels = config.out_channels = channels;
    Pipeline pipeline(config, {}, {});
    PhiloxGenerator generator(0);
    pipeline.parameters.initialize(generator);
    pipeline.save(folder / "model", pipeline.parameters.values());
  };
  const ScratchFolder two, four;
  write_model(two, 2);
  refused(two, 1, "--trajectory t.safetensors", "out_channels is 2); 1 (grey), 3 (RGB) or 4 (RGBA) can be drawn");
  CHECK_FALSE(fs::exists(two / "t.safetensors"));
  write_model(four, 4);
  refused(four, 1, "--gif g.gif", "--gif g.gif: the network's pictures have 4 channels");
  CHECK(sample(four, "--strip s.png --trajectory t.safetensors").status == 0);
  constexpr size_t kColourType = 25;
  constexpr char kRgba = 6;
  CHECK(read_file(four / "g.png").at(kColourType) == kRgba);
  CHECK(fs::exists(four / "t.safetensors"));
}

#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/command.h"
#include "apps/film_flags.h"
#include "apps/guide_flags.h"
#include "apps/output_files.h"
#include "apps/progress.h"
#include "apps/sampler_flags.h"
#include "apps/start_flags.h"
#include "diffusion/generate.h"
#include "diffusion/image/encode.h"
#include "diffusion/image/grid.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

struct SampleCommand {
  CommonOptions common;
  GenerateOptions generate;
  ModelOptions model;
  MixedPrecision mixed_precision = MixedPrecision::no;
  std::string out, seeds, classes;
  StartOptions start;
  GuideOptions guide;
  FilmOptions film;
  int64_t count = 0, nrow = 0;
  bool separate = false;
};

// With one class for each image, as many images as classes.
std::vector<uint64_t> seeds_of(const SampleCommand& o, size_t classes) {
  if (!o.seeds.empty()) {
    const auto listed = parse_ranges("--seeds", o.seeds);
    return {listed.begin(), listed.end()};
  }
  const int64_t count = o.count ? o.count : classes > 1 ? static_cast<int64_t>(classes) : o.generate.invert ? 1 : 16;
  std::vector<uint64_t> seeds;
  for (int64_t i = 0; i < count; ++i) seeds.push_back(o.common.seed + static_cast<uint64_t>(i));
  return seeds;
}

// One class for all, or a list of which each has an equal share of the pictures, one after the other: a row each.
std::vector<int64_t> classes_of(const std::vector<int64_t>& listed, size_t count) {
  if (listed.empty()) return {};
  check(count % listed.size() == 0, "--class: {} classes do not share {} pictures evenly", listed.size(), count);
  std::vector<int64_t> classes;
  for (size_t i = 0; i < count; ++i) classes.push_back(listed[i / (count / listed.size())]);
  return classes;
}

void check_outputs(const SampleCommand& o) {
  const std::string extension = fs::path(o.out).extension().string();
  check(extension.empty() || extension == ".png" || extension == ".PNG",
        "--out {}: pictures are written as PNG; a name that ends in .png is expected", o.out);
  if (o.separate && o.nrow && o.film.frames.empty() && o.film.gif.empty())
    fail_usage("--nrow {}: with --separate there are no rows", o.nrow);
  check_output(o.out);
  if (!o.generate.trajectory_file.empty()) check_output(o.generate.trajectory_file);
  o.film.check_outputs();
}

// "grid.png" -> "grid-0007.png", after the image's seed.
fs::path separate_name(const fs::path& out, uint64_t seed) {
  return out.parent_path() / fmt::format("{}-{:04}{}", out.stem().string(), seed, out.extension().string());
}

std::vector<std::string> picture_files(const SampleCommand& o, int64_t count) {
  if (!o.separate) return {o.out};
  const auto& seeds = o.generate.seeds;
  std::vector<std::string> files;
  for (int64_t i = 0; i < count; ++i)
    files.push_back(separate_name(o.out, seeds.empty() ? static_cast<uint64_t>(i) : seeds[i]).string());
  return files;
}

void check_distinct_outputs(const SampleCommand& o, int64_t count) {
  std::vector<OutputFile> outputs;
  for (const std::string& file : picture_files(o, count)) outputs.push_back({"--out", file});
  if (!o.generate.trajectory_file.empty()) outputs.push_back({"--trajectory", o.generate.trajectory_file});
  for (const OutputFile& output : o.film.outputs()) outputs.push_back(output);
  check_distinct(outputs);
  o.film.check_apart(outputs);
}

std::vector<std::string> write_images(const SampleCommand& o, const Tensor& images, int64_t classes) {
  const auto files = picture_files(o, images.dim(0));
  const int64_t nrow = o.nrow ? o.nrow : classes > 1 && images.dim(0) % classes == 0 ? images.dim(0) / classes : 8;
  if (!o.separate) write_png(o.out, make_grid(images, {.nrow = nrow}));
  for (int64_t i = 0; o.separate && i < images.dim(0); ++i) write_png(files[i], to_image(images[i]));
  return files;
}

void check_names(const SampleCommand& o) {
  const auto& seeds = o.generate.seeds;
  check(!o.separate || std::set<uint64_t>(seeds.begin(), seeds.end()).size() == seeds.size(),
        "--seeds {}: a seed is listed twice, but with --separate pictures are named after their seeds", o.seeds);
}

void check_drawable(const Pipeline& pipeline, const SampleCommand& o) {
  const int64_t channels = pipeline.denoiser.image_channels();
  check(channels == 1 || channels == 3 || channels == 4,
        "the network's pictures have {} channels (out_channels is {}); 1 (grey), 3 (RGB) or 4 (RGBA) can be drawn",
        channels, pipeline.denoiser.unet.config.out_channels);
  check(channels != 4 || o.film.gif.empty(),
        "--gif {}: the network's pictures have {} channels (out_channels is {}); a GIF takes 1 (grey) or 3 (RGB)",
        o.film.gif, channels, pipeline.denoiser.unet.config.out_channels);
}

void run(SampleCommand& o) {
  o.common.apply();
  check_outputs(o);
  const auto pipeline = o.model.load(o.common.device(), o.mixed_precision);
  check_drawable(*pipeline, o);
  const auto listed = o.classes.empty() ? std::vector<int64_t>{} : parse_ranges("--class", o.classes);
  GenerateOptions& g = o.generate;
  if (g.noise_file.empty() && o.start.interpolate.empty()) g.seeds = seeds_of(o, listed.size());
  check_names(o);
  o.start.apply(*pipeline, o.count ? o.count : 16, g);
  check_distinct_outputs(o, image_count(g));
  o.guide.apply(*pipeline, g);
  g.classes = classes_of(listed, static_cast<size_t>(image_count(g)));
  Film film(o.film.every);
  if (o.film.wanted())
    g.watch = [&](const Tensor& x, const Tensor& x0, int64_t step, int64_t steps) { film.add(x, x0, step, steps); };
  Progress progress("sampling");
  g.on_step = [&](int64_t done, int64_t total) { progress.update(done, total); };
  g.cancelled = interrupted;
  std::vector<std::string> files;
  g.on_images = [&](const Tensor& images) {
    files = write_images(o, images, static_cast<int64_t>(listed.size()));
    for (const std::string& file : o.film.write(film, o.nrow ? o.nrow : 8)) files.push_back(file);
  };
  const Tensor images = generate(*pipeline, g);
  if (!images) {
    progress.say("interrupted: nothing is written");
    throw Interrupted{};
  }
  if (o.common.json)
    std::printf("%s\n", nlohmann::ordered_json{{"images", images.dim(0)}, {"files", files}}.dump().c_str());
}

void add_drawing_flags(CLI::App& c, GenerateOptions& g) {
  c.add_option("--guidance-scale,--cfg-scale", g.guidance_scale, "classifier-free guidance; 1: none")
      ->capture_default_str();
  c.add_option("--height", g.height, "default: the network's sample_size")->check(CLI::Range(1, 65536));
  c.add_option("--width", g.width)->check(CLI::Range(1, 65536));
  c.add_option("--rng", g.rng, "random numbers: philox (the same on every device) or torch (PyTorch's on the CPU)")
      ->check(CLI::IsMember({"philox", "torch"}))
      ->capture_default_str();
  c.add_option("--batch-size", g.batch_size, "images drawn together")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  c.add_option("--noise", g.noise_file,
               "safetensors: start from `noise`, take step k's from noise.00k, instead of seeds");
  c.add_option("--trajectory", g.trajectory_file, "safetensors to write: step.000, ..., x0.000, ...");
}

// Flags that say where noise comes from, of which only one can hold.
void exclude_seeds(CLI::App& c) {
  c.get_option("--seed")->excludes("--seeds")->excludes("--interpolate");
  for (const char* instead : {"--noise", "--invert"})
    for (const char* flag : {"--seed", "--seeds", "--count", "--rng"}) c.get_option(flag)->excludes(instead);
}

}  // namespace

void add_sample(CLI::App& app) {
  auto o = std::make_shared<SampleCommand>();
  CLI::App* command = app.add_subcommand("sample", "draw pictures with a pipeline");
  o->model.add_to(*command);
  command->add_option("--out", o->out, "PNG: a grid, or with --separate the name to which seeds are added")->required();
  command->add_option("--count", o->count, "pictures, of --seed, --seed + 1, ... (default 16)")
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--seeds", o->seeds, "instead: 0-15 or 3,7,9")->excludes("--count");
  command->add_option("--class", o->classes,
                      "classes to draw, e.g. 3 or 0-9; those of a list share the pictures, a row each");
  command->add_option("--nrow", o->nrow, "pictures in a row of the grid (default 8)")->check(CLI::Range(1, 65536));
  command->add_flag("--separate", o->separate, "one file a picture");
  add_drawing_flags(*command, o->generate);
  o->start.add_to(*command, o->generate);
  o->guide.add_to(*command);
  o->film.add_to(*command);
  add_sampler_flags(*command, o->generate);
  add_mixed_precision(*command, o->mixed_precision);
  o->common.add_to(*command, true, true);
  exclude_seeds(*command);
  command->callback([o] { run(*o); });
}

}  // namespace stipple

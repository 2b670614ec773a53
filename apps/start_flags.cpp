#include "apps/start_flags.h"

#include <algorithm>

#include "diffusion/image/decode.h"
#include "diffusion/image/fit.h"
#include "diffusion/image/grid.h"

namespace stipple {
namespace {

Interpolation parse_interpolation(const std::string& text, int64_t count) {
  const size_t dash = text.find('-');
  if (std::count(text.begin(), text.end(), '-') != 1 || text.find(',') != std::string::npos)
    fail_usage("--interpolate: '{}' is no pair of seeds; expected something like 3-7", text);
  const auto from = parse_ranges("--interpolate", text.substr(0, dash)),
             to = parse_ranges("--interpolate", text.substr(dash + 1));
  return {static_cast<uint64_t>(from.front()), static_cast<uint64_t>(to.front()), count};
}

std::vector<std::string> notices_of_inversion(const SchedulerConfig& c) {
  if (!c.clip_sample && !c.thresholding) return {};
  return {fmt::format("--invert: steps that clip the clean image cannot be walked back; it is found closer with{}{}",
                      c.clip_sample ? " --clip-sample false" : "", c.thresholding ? " --thresholding false" : "")};
}

}  // namespace

void StartOptions::add_to(CLI::App& c, GenerateOptions& g) {
  const std::string group = "What it begins with";
  CLI::Option* image = c.add_option("--init-image", init_image, "a picture: image-to-image")->group(group);
  c.add_option("--strength", g.strength, "the share of the steps that is walked from it")
      ->capture_default_str()
      ->needs(image)
      ->group(group);
  c.add_flag("--invert", g.invert, "begin with the noise to which DDIM, walked backwards, leads the picture")
      ->needs(image)
      ->excludes("--strength")
      ->excludes("--noise")
      ->group(group);
  c.add_option("--interpolate", interpolate, "A-B: --count pictures on the way from seed A to seed B")
      ->excludes("--seeds")
      ->excludes("--noise")
      ->excludes("--invert")
      ->group(group);
}

void StartOptions::apply(const Pipeline& pipeline, int64_t count, GenerateOptions& g) const {
  if (!interpolate.empty()) g.interpolate = parse_interpolation(interpolate, count);
  if (init_image.empty()) return;
  if (g.invert) print_notices(notices_of_inversion(scheduler_of(pipeline, g)));
  const Shape shape = image_shape(pipeline, g);
  g.init_image = to_tensor(fit_picture(load_image(init_image), shape[0], shape[1], shape[2]));
}

}  // namespace stipple

#include "apps/guide_flags.h"

#include "apps/number_flags.h"

namespace stipple {
namespace {

// For the channels that a network draws.
std::vector<double> color_of(const std::string& text, int64_t channels) {
  std::vector<double> color;
  try {
    color = parse_color(text);
  } catch (const Error& e) { fail_usage("--guide color: {}", e.what()); }
  check(channels == 1 || channels == 3,
        "--guide color: this network draws {} channels, neither grey nor red, green, blue", channels);
  if (channels == 3) return color;
  check(color[0] == color[1] && color[1] == color[2],
        "--guide color: this network draws in grey, and {} is no grey, like #808080", text);
  return {color[0]};
}

}  // namespace

void GuideOptions::add_to(CLI::App& c) {
  const std::string group = "What it is drawn towards";
  CLI::Option* what =
      c.add_option("--guide", guide, "color=#55FFAA: the mean absolute difference to a colour")->group(group);
  c.add_option("--guide-scale", scale, "how strongly, shared by all pictures of a call; the course tries 5, 40, 100")
      ->check(any_number())
      ->capture_default_str()
      ->needs(what)
      ->group(group);
  c.add_option("--guide-route", route, "where the gradient goes: x0 (past the network) or unet (through it)")
      ->check(CLI::IsMember({"x0", "unet"}))
      ->capture_default_str()
      ->needs(what)
      ->group(group);
}

void GuideOptions::apply(const Pipeline& pipeline, GenerateOptions& g) const {
  if (!guide) return;
  const std::string prefix = "color=";
  if (!guide->starts_with(prefix)) fail_usage("--guide: '{}' is unknown; there is color=#RRGGBB", *guide);
  const auto color = color_of(guide->substr(prefix.size()), pipeline.denoiser.image_channels());
  g.guide = {color_loss(color), scale, guide_route(route)};
}

}  // namespace stipple

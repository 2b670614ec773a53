#pragma once
#include <optional>

#include "apps/command.h"
#include "diffusion/generate.h"

namespace stipple {

// --guide, --guide-scale, --guide-route: what pictures are drawn towards, other than classes.
struct GuideOptions {
  std::optional<std::string> guide;
  std::string route = "x0";
  double scale = 40;

  void add_to(CLI::App&);
  void apply(const Pipeline&, GenerateOptions&) const;
};

}  // namespace stipple

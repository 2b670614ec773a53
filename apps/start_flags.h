#pragma once
#include "apps/command.h"
#include "diffusion/generate.h"

namespace stipple {

// --init-image, --strength, --invert, --interpolate: what a drawing begins with, other than seeds.
struct StartOptions {
  std::string init_image, interpolate;

  void add_to(CLI::App&, GenerateOptions&);
  void apply(const Pipeline&, int64_t count, GenerateOptions&) const;
};

}  // namespace stipple

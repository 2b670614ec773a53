#pragma once
#include "apps/command.h"
#include "diffusion/generate.h"

namespace stipple {

// --sampler, --steps, and a flag for every option of the samplers: diffusers' names, with dashes.
void add_sampler_flags(CLI::App&, GenerateOptions&);

}  // namespace stipple

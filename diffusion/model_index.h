#pragma once
#include <string>

namespace stipple {

// model_index.json: which of diffusers' classes make a pipeline of a folder. Where a component's own file names another
// class, diffusers goes by the index.
struct ModelIndex {
  std::string pipeline;   // DDPMPipeline, DDIMPipeline, ...; empty: not said
  std::string scheduler;  // its class; empty: not said

  // Components that are neither a scheduler nor a UNet2DModel throw.
  static ModelIndex from_json(const std::string& text, const std::string& file);
  std::string to_json() const;  // what is not said: DDIMPipeline for DDIM, otherwise DDPMPipeline
};

}  // namespace stipple

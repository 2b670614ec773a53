#pragma once
#include "diffusion/forward.h"
#include "tensor/layout.h"
#include "tensor/safetensors.h"

// The files forward.safetensors of tests/fixtures/unets: inputs, and what PyTorch makes of them in f64.

namespace stipple {

inline ForwardInputs inputs_of(const SafetensorsFile& file) {
  ForwardInputs in;
  in.sample = to_channels_last(file.load("sample"));
  in.timesteps = file.load("timestep");
  if (file.contains("class_labels")) in.labels = file.load("class_labels");
  if (file.contains("grad_output")) in.grad_output = to_channels_last(file.load("grad_output"));
  return in;
}

inline bool is_parameter_gradient(const std::string& name) {
  return name.starts_with("grad.") && name != "grad.sample";
}

}  // namespace stipple

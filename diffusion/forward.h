#pragma once
#include <string>

#include "diffusion/pipeline.h"

namespace stipple {

// One pass of a network over given tensors, to compare it with other implementations. NHWC / OHWI here, NCHW / OIHW in
// files.
struct ForwardInputs {
  Tensor sample;       // f32 [N, H, W, C]
  Tensor timesteps;    // i64 or f32 [N]
  Tensor labels;       // where the network wants them
  Tensor grad_output;  // like the output, where gradients of sum(output * grad_output) are wanted
};

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

// From a file: sample [N,C,H,W], timestep [N] or a single one, class_labels, grad_output [N,C,H,W].
ForwardInputs load_forward_inputs(const std::string& path);

// In the layout of files: output, and with grad_output also grad.sample and grad.<parameter> for every trainable
// parameter, zero where unused.
NamedTensors forward(Pipeline&, const ForwardInputs&);

}  // namespace stipple

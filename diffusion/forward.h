#pragma once
#include <string>

#include "diffusion/pipeline.h"

namespace stipple {

// One pass of a network over tensors in a file, to compare it with other implementations. Files hold NCHW / OIHW, f32.
//   in   sample [N,C,H,W], timestep [N] or a single one, class_labels where the network wants them, grad_output [N,C,H,W]
//        where gradients of sum(output * grad_output) are wanted
//   out  output, and with grad_output also grad.sample and grad.<parameter> for every parameter, zero where unused
void forward_file(Pipeline&, const std::string& input, const std::string& output);

}  // namespace stipple

#pragma once
#include <map>
#include <string>

#include "tensor/tensor.h"

namespace stipple {

// The operations that a training step of the fixtures' U-Nets records, and a network that records them: on a device,
// computing in a dtype, with and without gradient checkpointing.
std::map<std::string, std::string> operations_of_unets(Device, Dtype compute);

}  // namespace stipple

#pragma once
#include <string>

#include "nn/parameter.h"

namespace stipple {

// What a network's layers compute in, on CUDA. Parameters, their gradients, the optimizer's moments, sums, norms'
// statistics, the network's answer and its loss are f32 in each.
//   no    f32
//   tf32  f32 in memory; tensor cores round the factors of a product to 10 bits of mantissa (kernels/cuda/precision.h)
//   bf16  activations, their gradients, and copies of the weights that follow the parameters, which are masters:
//         Micikevicius et al. 2018, arXiv:1710.03740, 3.1. With f32's range, small gradients survive and no loss is
//         scaled: Kalamkar et al. 2019, arXiv:1905.12322.
enum class MixedPrecision { no, tf32, bf16 };

const char* name_of(MixedPrecision);
MixedPrecision mixed_precision(const std::string& name);  // "no", "tf32", "bf16"

// Throws where the device computes in f32 only.
void check_mixed_precision(MixedPrecision, Device);

// Of parameters that live on their device. tf32 is for the whole process (allow_tf32).
void set_mixed_precision(Parameters&, MixedPrecision);

}  // namespace stipple

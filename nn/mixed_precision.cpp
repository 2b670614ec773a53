#include "nn/mixed_precision.h"

#include "kernels/cuda/precision.h"

namespace stipple {

const char* name_of(MixedPrecision precision) {
  switch (precision) {
    case MixedPrecision::no:
      return "no";
    case MixedPrecision::tf32:
      return "tf32";
    case MixedPrecision::bf16:
      return "bf16";
  }
  return "?";
}

MixedPrecision mixed_precision(const std::string& name) {
  for (const MixedPrecision precision : {MixedPrecision::no, MixedPrecision::tf32, MixedPrecision::bf16})
    if (name == name_of(precision)) return precision;
  fail("'{}' is no mixed precision; there are no, tf32, bf16", name);
}

void check_mixed_precision(MixedPrecision precision, Device device) {
  check(precision == MixedPrecision::no || device == Device::cuda,
        "--mixed-precision {}: --device {} computes in f32 only", name_of(precision), name_of(device));
}

void set_mixed_precision(Parameters& parameters, MixedPrecision precision) {
  check_mixed_precision(precision, parameters.device());
  cuda::allow_tf32(precision == MixedPrecision::tf32);
  parameters.compute_in(precision == MixedPrecision::bf16 ? Dtype::bf16 : parameters.values().dtype());
}

}  // namespace stipple

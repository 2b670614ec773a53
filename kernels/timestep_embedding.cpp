#include "kernels/timestep_embedding.h"

#include "kernels/launch.h"

namespace stipple::kernels {

Tensor timestep_embedding(const Tensor& t, const TimestepEmbeddingOptions& o) {
  check(t.rank() == 1, "timestep_embedding: timesteps [N] expected, got {}", describe(t));
  check(o.dim >= 2 && o.dim / 2 != o.freq_shift, "timestep_embedding: no frequencies for dim {} and freq_shift {}",
        o.dim, o.freq_shift);
  Tensor y({t.dim(0), o.dim}, Dtype::f32, t.device());
  launch<&cpu::timestep_embedding, &cuda::timestep_embedding>(t.device(), y, t.to(Dtype::f32), o);
  return y;
}

}  // namespace stipple::kernels

#include "kernels/adamw_numbers.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/sum_terms.h"
#include "kernels/cuda/vector_access.h"

// adamw: clip, AdamW, moving average and the parameters' copy in bf16 in one pass, four neighbours a thread.
//
// Idea    everything a parameter needs is read and written once, 16 bytes at a time: bound by memory.
// Costs   p, m, v, g, ema read and p, m, v, ema written: 36 bytes a parameter, 28 without a moving average; the copy, 2
//         more. Rounded by a kernel of its own it would be 6.
//         What changes from step to step is read from device memory: the host need not wait for the norm, and a graph
//         that holds the step goes on with other learning rates.
// Tried   nothing else: separate passes for clipping and for the average would move 20 bytes more.

namespace stipple::cuda {
namespace {

// Four neighbours of an arena; `count` of them are there. Loops have known ends: arrays then stay in registers.
struct Four {
  float of[4];
};
__device__ Four load_four(const float* from, int count) {
  if (count == 4) return __builtin_bit_cast(Four, load_vector<float4>(from));
  Four four{};
#pragma unroll
  for (int i = 0; i < 3; ++i)
    if (i < count) four.of[i] = from[i];
  return four;
}
__device__ void store_four(float* to, const Four& four, int count) {
  if (count == 4) return store_vector(to, __builtin_bit_cast(float4, four));
#pragma unroll
  for (int i = 0; i < 3; ++i)
    if (i < count) to[i] = four.of[i];
}

struct alignas(8) FourRounded {
  __nv_bfloat16 of[4];
};
__device__ void store_rounded(__nv_bfloat16* to, const Four& four, int count) {
  FourRounded rounded;
#pragma unroll
  for (int i = 0; i < 4; ++i) rounded.of[i] = __float2bfloat16(four.of[i]);
  if (count == 4) return store_vector(to, __builtin_bit_cast(uint2, rounded));
#pragma unroll
  for (int i = 0; i < 3; ++i)
    if (i < count) to[i] = rounded.of[i];
}

__device__ bool is_finite(float x) { return x - x == 0; }

__device__ void update(float& p, float& m, float& v, float gradient, const AdamWNumbers& k) {
  const float g = gradient * k.gradient_scale + k.l2 * p;
  m += k.rest1 * (g - m);
  v = k.beta2 * v + k.rest2 * g * g;
  p = p * k.keep - k.step_size * m / (sqrtf(v) * k.root_correction + k.eps);
}

__global__ void adamw_kernel(float* __restrict__ parameters, float* __restrict__ moments, float* __restrict__ squares,
                             float* __restrict__ ema, __nv_bfloat16* __restrict__ rounded,
                             const float* __restrict__ gradients, const AdamWNumbers* __restrict__ numbers, int64_t n) {
  const int64_t first = 4 * global_thread();
  const AdamWNumbers k = *numbers;
  if (first >= n || !is_finite(k.gradient_scale)) return;
  const int count = static_cast<int>(min(n - first, int64_t{4}));
  Four p = load_four(parameters + first, count), m = load_four(moments + first, count);
  Four v = load_four(squares + first, count);
  const Four g = load_four(gradients + first, count);
#pragma unroll
  for (int i = 0; i < 4; ++i) update(p.of[i], m.of[i], v.of[i], g.of[i], k);
  store_four(parameters + first, p, count);
  store_four(moments + first, m, count);
  store_four(squares + first, v, count);
  if (rounded) store_rounded(rounded + first, p, count);
  if (!ema) return;
  Four average = load_four(ema + first, count);
#pragma unroll
  for (int i = 0; i < 4; ++i) average.of[i] -= k.ema_rest * (average.of[i] - p.of[i]);
  store_four(ema + first, average, count);
}

struct Square {
  const float* x;
  __device__ float operator()(int64_t i) const { return x[i] * x[i]; }
};

// As torch.nn.utils.clip_grad_norm_. A loss or norm that is not finite makes the scale that, and the step none.
__global__ void clip_kernel(AdamWNumbers* numbers, const float* __restrict__ loss,
                            const float* __restrict__ squared_norm) {
  const float norm = sqrtf(*squared_norm), most = numbers->max_grad_norm;
  const float scale = most > 0 ? fminf(1, most / (norm + 1e-6f)) : 1;
  numbers->gradient_scale = is_finite(norm) && is_finite(*loss) ? scale : NAN;
}

AdamWNumbers* device_numbers(const Tensor& numbers) {
  return reinterpret_cast<AdamWNumbers*>(mutable_data<float>(numbers));
}

void step(const AdamWArenas& a, const Tensor& numbers) {
  const int64_t n = a.parameters.numel();
  if (n == 0) return;
  launch(adamw_kernel, blocks_for(n, 4 * kThreads), kThreads, 0, mutable_data<float>(a.parameters),
         mutable_data<float>(a.m), mutable_data<float>(a.v), mutable_data<float>(a.ema),
         mutable_data<__nv_bfloat16>(a.rounded), data<float>(a.gradients), device_numbers(numbers), n);
}

}  // namespace

void adamw(const AdamWArenas& arenas, const AdamWOptions& o) {
  step(arenas, kernels::adamw_numbers(o, 0).to(Device::cuda));
}

void clipped_adamw(const AdamWArenas& arenas, const Tensor& numbers, const Tensor& loss, const Tensor& squared_norm) {
  sum_terms(Square{data<float>(arenas.gradients)}, arenas.gradients.numel(),
            Scaled<float>{mutable_data<float>(squared_norm), 1});
  launch(clip_kernel, dim3(1), dim3(1), 0, device_numbers(numbers), data<float>(loss), data<float>(squared_norm));
  step(arenas, numbers);
}

void squared_norm(double& sum, const Tensor& x) {
  const Tensor on_device(Shape(), Dtype::f32, x.device());
  sum_terms(Square{data<float>(x)}, x.numel(), Scaled<float>{mutable_data<float>(on_device), 1});
  sum = on_device.item<float>();
}

}  // namespace stipple::cuda

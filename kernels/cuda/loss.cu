#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/sum_terms.h"
#include "kernels/loss.h"

// loss: mse one element a thread, cross_entropy one warp a sample; sums in f32 in a fixed order (sum_terms.h). The
// upstream gradient is read on the GPU: the host waits for nothing.

namespace stipple::cuda {
namespace {

template <typename T>
struct SquaredError {
  const T *prediction, *target;
  __device__ float operator()(int64_t i) const {
    const float error = static_cast<float>(prediction[i]) - static_cast<float>(target[i]);
    return error * error;
  }
};

template <typename T>
__global__ void mse_backward_kernel(T* __restrict__ dprediction, const T* __restrict__ dy,
                                    const T* __restrict__ prediction, const T* __restrict__ target, int64_t n) {
  const int64_t i = global_thread();
  if (i >= n) return;
  const float scale = 2 * static_cast<float>(*dy) / static_cast<float>(n);
  dprediction[i] = scale * (static_cast<float>(prediction[i]) - static_cast<float>(target[i]));
}

// One sample's logits, as its warp sees them.
template <typename T>
struct Sample {
  const T* logits;
  int64_t classes, lane;

  __device__ Sample(const T* all, int64_t number, int64_t count)
      : logits(all + number * count), classes(count), lane(threadIdx.x % 32) {}
  __device__ float log_sum_exp() const {
    float largest = -INFINITY, sum = 0;
    for (int64_t k = lane; k < classes; k += 32) largest = fmaxf(largest, logits[k]);
    for (int distance = 16; distance > 0; distance /= 2)
      largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, distance));
    for (int64_t k = lane; k < classes; k += 32) sum += expf(static_cast<float>(logits[k]) - largest);
    return largest + logf(warp_sum(sum));
  }
};

// The host cannot look at the labels without waiting: the loss of one that is no class is NaN.
template <typename T>
__global__ void cross_entropy_kernel(float* __restrict__ losses, const T* __restrict__ logits,
                                     const int64_t* __restrict__ labels, int64_t samples, int64_t classes) {
  const int64_t i = global_thread() / 32;
  if (i >= samples) return;
  const Sample<T> sample(logits, i, classes);
  const float log_total = sample.log_sum_exp();
  const bool known = labels[i] >= 0 && labels[i] < classes;
  if (sample.lane == 0) losses[i] = known ? log_total - static_cast<float>(sample.logits[labels[i]]) : NAN;
}

template <typename T>
__global__ void cross_entropy_backward_kernel(T* __restrict__ dlogits, const T* __restrict__ dy,
                                              const T* __restrict__ logits, const int64_t* __restrict__ labels,
                                              int64_t samples, int64_t classes) {
  const int64_t i = global_thread() / 32;
  if (i >= samples) return;
  const Sample<T> sample(logits, i, classes);
  const float log_total = sample.log_sum_exp(), scale = static_cast<float>(*dy) / static_cast<float>(samples);
  for (int64_t k = sample.lane; k < classes; k += 32) {
    const float share = expf(static_cast<float>(sample.logits[k]) - log_total);
    dlogits[i * classes + k] = scale * (share - (k == labels[i] ? 1.f : 0.f));
  }
}

struct Element {
  const float* of;
  __device__ float operator()(int64_t i) const { return of[i]; }
};

dim3 a_warp_each(int64_t samples) { return blocks_for(samples, kThreads / 32); }

}  // namespace

void mse(Tensor& y, const Tensor& prediction, const Tensor& target) {
  const int64_t n = prediction.numel();
  for_floating("mse", prediction.dtype(), [&]<typename T>(T) {
    sum_terms(SquaredError<T>{data<T>(prediction), data<T>(target)}, n,
              Scaled<T>{mutable_data<T>(y), 1 / static_cast<float>(n)});
  });
}

void mse_backward(Tensor& dprediction, const Tensor& dy, const Tensor& prediction, const Tensor& target) {
  for_floating("mse", prediction.dtype(), [&]<typename T>(T) {
    launch(mse_backward_kernel<T>, blocks_for(prediction.numel()), kThreads, 0, mutable_data<T>(dprediction),
           data<T>(dy), data<T>(prediction), data<T>(target), prediction.numel());
  });
}

void cross_entropy(Tensor& y, const Tensor& logits, const Tensor& labels) {
  const int64_t samples = logits.dim(0);
  const Tensor losses({samples}, Dtype::f32, logits.device());
  for_floating("cross_entropy", logits.dtype(), [&]<typename T>(T) {
    launch(cross_entropy_kernel<T>, a_warp_each(samples), kThreads, 0, mutable_data<float>(losses), data<T>(logits),
           data<int64_t>(labels), samples, logits.dim(1));
    sum_terms(Element{data<float>(losses)}, samples, Scaled<T>{mutable_data<T>(y), 1 / static_cast<float>(samples)});
  });
}

void cross_entropy_backward(Tensor& dlogits, const Tensor& dy, const Tensor& logits, const Tensor& labels) {
  const int64_t samples = logits.dim(0);
  for_floating("cross_entropy", logits.dtype(), [&]<typename T>(T) {
    launch(cross_entropy_backward_kernel<T>, a_warp_each(samples), kThreads, 0, mutable_data<T>(dlogits), data<T>(dy),
           data<T>(logits), data<int64_t>(labels), samples, logits.dim(1));
  });
}

}  // namespace stipple::cuda

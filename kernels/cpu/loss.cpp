#include "kernels/loss.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/pieces.h"

namespace stipple::cpu {
namespace {

void check_labels(const Tensor& logits, const Tensor& labels) {
  const int64_t* label = labels.data<int64_t>();
  for (int64_t i = 0; i < labels.numel(); ++i)
    check(label[i] >= 0 && label[i] < logits.dim(1), "cross_entropy: label {} of sample {} is not one of {} classes",
          label[i], i, logits.dim(1));
}

template <typename T>
double log_sum_exp(const T* x, int64_t n) {
  const double largest = *std::max_element(x, x + n);
  double sum = 0;
  for (int64_t k = 0; k < n; ++k) sum += std::exp(x[k] - largest);
  return largest + std::log(sum);
}

}  // namespace

void mse(Tensor& y, const Tensor& prediction, const Tensor& target) {
  for_real("mse", prediction.dtype(), [&]<typename T>(T) {
    const T *p = prediction.data<T>(), *t = target.data<T>();
    const double sum = sum_of(prediction.numel(), [=](int64_t i) {
      const double error = static_cast<double>(p[i]) - t[i];
      return error * error;
    });
    *y.mutable_data<T>() = static_cast<T>(sum / prediction.numel());
  });
}

void mse_backward(Tensor& dprediction, const Tensor& dy, const Tensor& prediction, const Tensor& target) {
  for_real("mse", prediction.dtype(), [&]<typename T>(T) {
    const T *p = prediction.data<T>(), *t = target.data<T>();
    T* to = dprediction.mutable_data<T>();
    const T scale = static_cast<T>(2.0 * dy.item<T>() / prediction.numel());
    parallel_for_ranges(prediction.numel(), kPiece, [&](int64_t a, int64_t b) {
      for (int64_t i = a; i < b; ++i) to[i] = scale * (p[i] - t[i]);
    });
  });
}

void cross_entropy(Tensor& y, const Tensor& logits, const Tensor& labels) {
  check_labels(logits, labels);
  for_real("cross_entropy", logits.dtype(), [&]<typename T>(T) {
    const int64_t samples = logits.dim(0), classes = logits.dim(1);
    const T* x = logits.data<T>();
    double sum = 0;
    for (int64_t i = 0; i < samples; ++i)
      sum += log_sum_exp(x + i * classes, classes) - x[i * classes + labels.data<int64_t>()[i]];
    *y.mutable_data<T>() = static_cast<T>(sum / samples);
  });
}

void cross_entropy_backward(Tensor& dlogits, const Tensor& dy, const Tensor& logits, const Tensor& labels) {
  check_labels(logits, labels);
  for_real("cross_entropy", logits.dtype(), [&]<typename T>(T) {
    const int64_t samples = logits.dim(0), classes = logits.dim(1);
    const T* x = logits.data<T>();
    T* to = dlogits.mutable_data<T>();
    const double scale = static_cast<double>(dy.item<T>()) / samples;
    for (int64_t i = 0; i < samples; ++i, x += classes, to += classes) {
      const double log_total = log_sum_exp(x, classes);
      const int64_t label = labels.data<int64_t>()[i];
      for (int64_t k = 0; k < classes; ++k) to[k] = static_cast<T>(scale * (std::exp(x[k] - log_total) - (k == label)));
    }
  });
}

}  // namespace stipple::cpu

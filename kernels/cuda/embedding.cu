#include "kernels/cuda/launch.h"
#include "kernels/embedding.h"

// embedding: one element a thread, columns innermost.
//
// Idea    backward, a thread owns one element of the table and walks all indices in order, so its sum has one order and
//         needs no atomics.
// Costs   backward, every thread reads all N indices, of which all but the first read come from cache: R D N steps for
//         a table of R rows, little for the tables of classes and timesteps that there are.
// Tried   nothing else. Vocabularies would want the indices sorted first.

namespace stipple::cuda {
namespace {

__device__ bool has_row(int64_t index, int64_t rows) { return index >= 0 && index < rows; }

// The host cannot look at the indices without waiting: a row that the table does not have is NaN.
template <typename T>
__global__ void embedding_kernel(T* __restrict__ y, const T* __restrict__ table, const int64_t* __restrict__ indices,
                                 int64_t rows, int64_t width, int64_t n) {
  const int64_t at = global_thread();
  if (at >= n) return;
  const int64_t index = indices[at / width];
  y[at] = has_row(index, rows) ? static_cast<float>(table[index * width + at % width]) : NAN;
}

template <typename T>
__global__ void embedding_backward_kernel(float* __restrict__ dtable, bool add, const T* __restrict__ dy,
                                          const int64_t* __restrict__ indices, int64_t count, int64_t width,
                                          int64_t n) {
  const int64_t at = global_thread();
  if (at >= n) return;
  const int64_t row = at / width, column = at % width;
  float sum = 0;
  for (int64_t i = 0; i < count; ++i)
    if (indices[i] == row) sum += static_cast<float>(dy[i * width + column]);
  dtable[at] = add ? dtable[at] + sum : sum;
}

}  // namespace

void embedding(Tensor& y, const Tensor& table, const Tensor& indices) {
  if (y.numel() == 0) return;
  for_floating("embedding", table.dtype(), [&]<typename T>(T) {
    launch(embedding_kernel<T>, blocks_for(y.numel()), kThreads, 0, mutable_data<T>(y), data<T>(table),
           data<int64_t>(indices), table.dim(0), table.dim(1), y.numel());
  });
}

void embedding_backward(const Grad& dtable, const Tensor& dy, const Tensor& indices) {
  if (dtable.to.numel() == 0) return;
  for_floating("embedding", dy.dtype(), [&]<typename T>(T) {
    launch(embedding_backward_kernel<T>, blocks_for(dtable.to.numel()), kThreads, 0, mutable_data<float>(dtable.to),
           dtable.add, data<T>(dy), data<int64_t>(indices), indices.numel(), dtable.to.dim(1), dtable.to.numel());
  });
}

}  // namespace stipple::cuda

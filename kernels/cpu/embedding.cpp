#include "kernels/embedding.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"

namespace stipple::cpu {
namespace {

constexpr int64_t kColumns = 64;  // a piece of the backward pass: every thread walks all indices, each its own columns

void check_range(const Tensor& table, const Tensor& indices) {
  const int64_t* index = indices.data<int64_t>();
  for (int64_t i = 0; i < indices.numel(); ++i)
    check(index[i] >= 0 && index[i] < table.dim(0), "embedding: index {} at position {}, but the table has {} rows",
          index[i], i, table.dim(0));
}

}  // namespace

void embedding(Tensor& y, const Tensor& table, const Tensor& indices) {
  check_range(table, indices);
  const int64_t width = table.dim(1), *index = indices.data<int64_t>();
  for_real("embedding", table.dtype(), [&]<typename T>(T) {
    T* to = y.mutable_data<T>();
    const T* rows = table.data<T>();
    for (int64_t i = 0; i < indices.numel(); ++i) std::copy_n(rows + index[i] * width, width, to + i * width);
  });
}

void embedding_backward(const Grad& dtable, const Tensor& dy, const Tensor& indices) {
  check_range(dtable.to, indices);
  if (!dtable.add) dtable.to.fill(0);
  const int64_t width = dy.dim(1), *index = indices.data<int64_t>();
  for_real("embedding", dy.dtype(), [&]<typename T>(T) {
    T* to = dtable.to.mutable_data<T>();
    const T* from = dy.data<T>();
    parallel_for_ranges(width, kColumns, [&](int64_t a, int64_t b) {
      for (int64_t i = 0; i < indices.numel(); ++i)
        for (int64_t d = a; d < b; ++d) to[index[i] * width + d] += from[i * width + d];
    });
  });
}

}  // namespace stipple::cpu

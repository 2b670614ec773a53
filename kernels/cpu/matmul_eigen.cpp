// Eigen lives in this unit alone, and single-threaded: templates instantiated for two instruction sets in one program
// break the one-definition rule, and Eigen's own threads would make the sums depend on their number.
#define EIGEN_DONT_PARALLELIZE
#include "kernels/cpu/matmul_eigen.h"

#include <Eigen/Core>
#include <algorithm>

#include "kernels/cpu/parallel.h"

namespace stipple::cpu {
namespace {

constexpr int64_t kPanel = 64;  // rows of the result a task

template <typename T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <typename T>
using View = Eigen::Map<Matrix<T>>;
template <typename T>
using ConstView = Eigen::Map<const Matrix<T>>;

template <typename To, typename Left, typename Right>
void product(To&& to, bool add, const Left& left, const Right& right) {
  if (add)
    to.noalias() += left * right;
  else
    to.noalias() = left * right;
}

}  // namespace

template <typename T>
void matmul_eigen(T* c, bool add, const T* a, const T* b, const MatmulExtents& e) {
  const bool ta = e.transpose_a == Transpose::yes, tb = e.transpose_b == Transpose::yes;
  const ConstView<T> left(a, ta ? e.inner : e.rows, ta ? e.rows : e.inner);
  const ConstView<T> right(b, tb ? e.columns : e.inner, tb ? e.inner : e.columns);
  View<T> to(c, e.rows, e.columns);
  parallel_for_ranges(e.rows, kPanel, [&](int64_t begin, int64_t end) {
    auto panel = to.middleRows(begin, end - begin);
    if (ta && tb)
      product(panel, add, left.middleCols(begin, end - begin).transpose(), right.transpose());
    else if (ta)
      product(panel, add, left.middleCols(begin, end - begin).transpose(), right);
    else if (tb)
      product(panel, add, left.middleRows(begin, end - begin), right.transpose());
    else
      product(panel, add, left.middleRows(begin, end - begin), right);
  });
}

template void matmul_eigen<float>(float*, bool, const float*, const float*, const MatmulExtents&);
template void matmul_eigen<double>(double*, bool, const double*, const double*, const MatmulExtents&);

}  // namespace stipple::cpu

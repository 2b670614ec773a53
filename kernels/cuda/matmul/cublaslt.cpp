#include <cublasLt.h>

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>

#include "kernels/cuda/matmul/rungs.h"
#include "kernels/cuda/precision.h"
#include "kernels/cuda/runtime.h"

// matmul, rung cublaslt: NVIDIA's own products (cuBLAS documentation, chapter "Using the cuBLASLt API").
//
// Idea    cuBLASLt counts columns first: it is asked for c^T = op(b)^T op(a)^T, whose operands and result lie just as
//         ours do. Its first choice of algorithm is kept for each shape; the choice, and so the bits, stay the same
//         from run to run.
// Costs   what its algorithm asks for as a workspace, of the 32 MiB that NVIDIA advises for Hopper, while a product is
//         under way.
// Tried   a bf16 result with a bias in f32: not among its epilogues, so the bias is rounded first.

namespace stipple::cuda::cublaslt {
namespace {

constexpr uint64_t kMostWorkspace = 32 << 20;  // bytes

void check_call(cublasStatus_t status, const char* what) {
  check(status == CUBLAS_STATUS_SUCCESS, "cublaslt: {}: {}", what, cublasLtGetStatusString(status));
}

cublasLtHandle_t handle() {
  static const cublasLtHandle_t of_process = [] {
    cublasLtHandle_t made = nullptr;
    check_call(cublasLtCreate(&made), "create");
    return made;
  }();
  return of_process;
}

cudaDataType_t type_of(const Tensor& x) { return x.dtype() == Dtype::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

struct Layout {
  cublasLtMatrixLayout_t is = nullptr;
  Layout(const Tensor& matrix) {  // a row-major matrix is its transpose, columns first
    check_call(cublasLtMatrixLayoutCreate(&is, type_of(matrix), matrix.dim(1), matrix.dim(0), matrix.dim(1)), "layout");
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(is); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
};

cublasOperation_t operation(Transpose t) { return t == Transpose::yes ? CUBLAS_OP_T : CUBLAS_OP_N; }

// What is to be computed, whatever the shapes.
struct Description {
  cublasLtMatmulDesc_t is = nullptr;

  Description(const MatmulOperand& a, const MatmulOperand& b, const Tensor& bias) {
    const bool tf32 = a.of.dtype() == Dtype::f32 && allows_tf32();
    check_call(cublasLtMatmulDescCreate(&is, tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
               "product");
    set(CUBLASLT_MATMUL_DESC_TRANSA, operation(b.transpose));
    set(CUBLASLT_MATMUL_DESC_TRANSB, operation(a.transpose));
    if (!bias) return;
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(bias.bytes()));
  }
  ~Description() { cublasLtMatmulDescDestroy(is); }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;

 private:
  template <typename T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    check_call(cublasLtMatmulDescSetAttribute(is, attribute, &value, sizeof(value)), "attribute");
  }
};

// The largest power of two, up to 256, that divides the address; 256 where there is no tensor.
uint32_t alignment(const Tensor& x) {
  if (!x) return 256;
  const auto address = reinterpret_cast<uintptr_t>(x.bytes());
  return static_cast<uint32_t>(std::min<uintptr_t>(256, address & (~address + 1)));
}

struct Preference {
  cublasLtMatmulPreference_t is = nullptr;

  Preference(const Tensor& first, const Tensor& second, const Tensor& result, const Tensor& bias) {
    check_call(cublasLtMatmulPreferenceCreate(&is), "preference");
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMostWorkspace);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(first));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(second));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(result));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, std::min(alignment(result), alignment(bias)));
  }
  ~Preference() { cublasLtMatmulPreferenceDestroy(is); }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;

 private:
  template <typename T>
  void set(cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
    check_call(cublasLtMatmulPreferenceSetAttribute(is, attribute, &value, sizeof(value)), "preference");
  }
};

// A product of two operands and its result as the library sees it: the second operand comes first.
struct Call {
  Description product;
  Layout first, second, result;
  Preference preference;

  Call(const Grad& c, const MatmulOperand& a, const MatmulOperand& b, const Tensor& bias)
      : product(a, b, bias), first(b.of), second(a.of), result(c.to), preference(b.of, a.of, c.to, bias) {}

  cublasLtMatmulHeuristicResult_t best() const {
    cublasLtMatmulHeuristicResult_t found;
    int count = 0;
    check_call(cublasLtMatmulAlgoGetHeuristic(handle(), product.is, first.is, second.is, result.is, result.is,
                                              preference.is, 1, &found, &count),
               "choice of an algorithm");
    check(count > 0, "cublaslt: has no algorithm for this product; STIPPLE_MATMUL_CUDA=mma takes ours");
    return found;
  }
};

using Key =
    std::tuple<int, int, int, Dtype, Dtype, Transpose, Transpose, bool, bool, uint32_t, uint32_t, uint32_t, uint32_t>;

const cublasLtMatmulHeuristicResult_t& choice(const Key& key, const Call& call) {
  static std::map<Key, cublasLtMatmulHeuristicResult_t> known;
  const auto found = known.find(key);
  return found != known.end() ? found->second : known.emplace(key, call.best()).first->second;
}

}  // namespace

void matmul(const Grad& c, const MatmulOperand& a, const MatmulOperand& b, const Tensor& bias,
            const MatmulSizes& size) {
  const Tensor like_result = bias ? bias.to(c.to.dtype()) : bias;
  const Call call(c, a, b, like_result);
  const Key key(size.rows, size.columns, size.depth, a.of.dtype(), c.to.dtype(), a.transpose, b.transpose,
                static_cast<bool>(bias), allows_tf32(), alignment(a.of), alignment(b.of), alignment(c.to),
                alignment(like_result));
  const cublasLtMatmulHeuristicResult_t& chosen = choice(key, call);
  const Tensor workspace({static_cast<int64_t>(chosen.workspaceSize)}, Dtype::u8, Device::cuda);
  const float alpha = 1, beta = c.add ? 1 : 0;
  check_call(cublasLtMatmul(handle(), call.product.is, &alpha, b.of.bytes(), call.first.is, a.of.bytes(),
                            call.second.is, &beta, c.to.bytes(), call.result.is, c.to.mutable_bytes(), call.result.is,
                            &chosen.algo, workspace.mutable_bytes(), chosen.workspaceSize, stream()),
             "product");
}

}  // namespace stipple::cuda::cublaslt

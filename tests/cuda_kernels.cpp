#include <algorithm>
#include <cmath>

#include "kernels/adamw.h"
#include "kernels/cuda/precision.h"
#include "kernels/fourier_embedding.h"
#include "kernels/matmul.h"
#include "kernels/timestep_embedding.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/ops/random_tensor.h"
#include "tests/rung_guard.h"

// CUDA kernels that are no differentiable operations, and rungs that are not the default.

namespace stipple {
namespace {

Tensor on_cuda(const Tensor& x) { return x.to(Device::cuda); }

Tensor back(const Tensor& x) { return x.to(Device::cpu); }

// Everything a step of the optimizer works on; the second moments are positive.
AdamWArenas random_arenas(int64_t n) {
  return {.parameters = random_tensor({n}, 1),
          .m = random_tensor({n}, 2),
          .v = random_tensor({n}, 3, 0.1f, 1),
          .gradients = random_tensor({n}, 5),
          .ema = random_tensor({n}, 4)};
}

AdamWArenas on_cuda(const AdamWArenas& a) {
  return {.parameters = on_cuda(a.parameters),
          .m = on_cuda(a.m),
          .v = on_cuda(a.v),
          .gradients = on_cuda(a.gradients),
          .ema = on_cuda(a.ema),
          .rounded = Tensor(a.parameters.shape(), Dtype::bf16, Device::cuda)};
}

void check_step(int64_t n, const AdamWOptions& o) {
  const AdamWArenas cpu = random_arenas(n), cuda = on_cuda(cpu);
  kernels::adamw(cpu, o);
  kernels::adamw(cuda, o);
  CHECK(relative_error(back(cuda.parameters), cpu.parameters) <= 1e-6);
  CHECK(relative_error(back(cuda.m), cpu.m) <= 1e-6);
  CHECK(relative_error(back(cuda.v), cpu.v) <= 1e-6);
  CHECK(relative_error(back(cuda.ema), cpu.ema) <= 1e-6);
  CHECK(same_bits(back(cuda.rounded), back(cuda.parameters).to(Dtype::bf16)));
}

// The same step in the form a graph holds: clipped on the GPU, and none where the loss is not finite.
void check_clipped_step(int64_t n, double max_grad_norm) {
  AdamWOptions o{.lr = 0.1, .step = 3, .ema_decay = 0.9};
  const AdamWArenas cpu = random_arenas(n), cuda = on_cuda(cpu);
  const Tensor numbers = on_cuda(kernels::adamw_numbers(o, max_grad_norm)), squared_norm({}, Dtype::f32, Device::cuda);
  kernels::clipped_adamw(cuda, numbers, Tensor::full({}, 1, Dtype::f32, Device::cuda), squared_norm);
  const double norm = std::sqrt(kernels::squared_norm(cpu.gradients));
  o.gradient_scale = std::min(1.0, max_grad_norm / (norm + 1e-6));
  kernels::adamw(cpu, o);
  CHECK(squared_norm.item<float>() == Approx(norm * norm).epsilon(1e-6));
  CHECK(relative_error(back(cuda.parameters), cpu.parameters) <= 1e-6);
  CHECK(relative_error(back(cuda.ema), cpu.ema) <= 1e-6);
  CHECK(same_bits(back(cuda.rounded), back(cuda.parameters).to(Dtype::bf16)));
  const Tensor before = back(cuda.rounded).clone();
  kernels::clipped_adamw(cuda, numbers, Tensor::full({}, NAN, Dtype::f32, Device::cuda), squared_norm);
  CHECK(same_bits(back(cuda.rounded), before));
  CHECK(relative_error(back(cuda.parameters), cpu.parameters) <= 1e-6);
}

}  // namespace

TEST_CASE("adamw on CUDA takes the CPU's step, and rounds what it writes", "[cuda][adamw]") {
  for (const int64_t n : {1, 3, 16, 1023, 5000}) {
    INFO(n << " parameters");
    check_step(n, {.lr = 0.1, .step = 3, .gradient_scale = 0.3, .ema_decay = 0.9});
    check_step(n, {.weight_decay = 0.2, .decoupled = false});
    check_clipped_step(n, 0.5);
    check_clipped_step(n, 1e6);
  }
}

TEST_CASE("squared_norm on CUDA is the CPU's", "[cuda]") {
  for (const int64_t n : {1, 255, 4096, 4097, 100000}) {
    const Tensor x = random_tensor({n}, 6);
    CHECK(kernels::squared_norm(on_cuda(x)) == Approx(kernels::squared_norm(x)).epsilon(1e-6));
  }
  CHECK(kernels::squared_norm(Tensor({0}, Dtype::f32, Device::cuda)) == 0);
}

TEST_CASE("timesteps are embedded on CUDA as on the CPU", "[cuda]") {
  const Tensor t = Tensor::of<int64_t>({5}, std::vector<int64_t>{0, 1, 37, 500, 999});
  for (const TimestepEmbeddingOptions& o :
       {TimestepEmbeddingOptions{.dim = 32}, {.dim = 17, .freq_shift = 1}, {.dim = 128, .flip_sin_to_cos = false}})
    CHECK(relative_error(back(kernels::timestep_embedding(on_cuda(t), o)), kernels::timestep_embedding(t, o)) <= 1e-5);
  const Tensor levels = Tensor::of<float>({3}, std::vector<float>{0.01f, 1.5f, 80}), f = random_tensor({16}, 7);
  CHECK(relative_error(back(kernels::fourier_embedding(on_cuda(levels), on_cuda(f))),
                       kernels::fourier_embedding(levels, f)) <= 1e-6);
}

namespace {

constexpr Transpose kEither[] = {Transpose::no, Transpose::yes};

struct MatmulProblem {
  Tensor a, b;
  Transpose ta, tb;

  MatmulProblem(int64_t rows, int64_t depth, int64_t columns, Transpose of_a, Transpose of_b, Dtype dtype)
      : a(random_tensor(of_a == Transpose::yes ? Shape{depth, rows} : Shape{rows, depth}, 8).to(dtype)),
        b(random_tensor(of_b == Transpose::yes ? Shape{columns, depth} : Shape{depth, columns}, 9).to(dtype)),
        ta(of_a),
        tb(of_b) {}

  double error_on_cuda() const {
    const Tensor expected = kernels::matmul(a.to(Dtype::f32), b.to(Dtype::f32), ta, tb);
    return relative_error(back(kernels::matmul(on_cuda(a), on_cuda(b), ta, tb)).to(Dtype::f32), expected);
  }
  double error_of_gradient_on_cuda() const {  // added to what is there
    const Tensor before = Tensor::full({a.dim(ta == Transpose::yes ? 1 : 0), b.dim(tb == Transpose::yes ? 0 : 1)}, 3);
    const Grad cpu{before.clone(), true}, cuda{on_cuda(before), true};
    kernels::matmul_into(cpu, a.to(Dtype::f32), b.to(Dtype::f32), ta, tb);
    kernels::matmul_into(cuda, on_cuda(a), on_cuda(b), ta, tb);
    return relative_error(back(cuda.to), cpu.to);
  }
};

}  // namespace

TEST_CASE("every rung of matmul on CUDA gives the CPU's product", "[cuda]") {
  for (const char* name : {"naive", "tiled", "mma"}) {
    const RungGuard rung("MATMUL_CUDA", name);
    for (const Dtype dtype : {Dtype::f32, Dtype::bf16})
      for (const Transpose ta : kEither)
        for (const Transpose tb : kEither) {
          INFO(name << ' ' << name_of(dtype) << ", transposed " << (ta == Transpose::yes) << (tb == Transpose::yes));
          const double tolerance = dtype == Dtype::f32 ? 1e-6 : 1e-2;
          CHECK(MatmulProblem(65, 70, 33, ta, tb, dtype).error_on_cuda() <= tolerance);
          CHECK(MatmulProblem(40, 300, 48, ta, tb, dtype).error_on_cuda() <= tolerance);
          CHECK(MatmulProblem(3, 0, 5, ta, tb, dtype).error_on_cuda() == 0);
          CHECK(MatmulProblem(40, 72, 24, ta, tb, dtype).error_of_gradient_on_cuda() <= 1e-6);
        }
  }
}

TEST_CASE("matmul on CUDA rounds to tf32 where that is allowed", "[cuda]") {
  const MatmulProblem problem(65, 72, 33, Transpose::no, Transpose::yes, Dtype::f32);
  cuda::allow_tf32(true);
  const double error = problem.error_on_cuda();
  cuda::allow_tf32(false);
  CHECK(error <= 1e-3);
  CHECK(error > 1e-5);
}

}  // namespace stipple

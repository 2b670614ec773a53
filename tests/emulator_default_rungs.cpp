#include "autograd/ops.h"
#include "kernels/cuda/precision.h"
#include "kernels/emulator/counts.h"
#include "kernels/emulator/emulator.h"
#include "tests/cuda_twins.h"
#include "tests/rung_guard.h"

// What the default rungs ask of memory at shapes of U-Nets: whole sectors, and no bank twice. A lost 16-byte access or
// a wrong swizzle leaves numbers right and shows here only.

namespace stipple {
namespace {

using emulator::KernelCounts;
using emulator::Path;
using emulator::Requests;

std::vector<KernelCounts> counted(const OpCase& c, Dtype dtype) {
  const std::vector<Tensor> inputs = make_inputs(c, dtype);
  emulator::take_counts();
  emulator::set_mode(emulator::Mode::count);
  on_cuda(c, inputs, dtype);
  emulator::set_mode(emulator::Mode::fast);
  return emulator::take_counts();
}

double over_least(const Requests& a, const Requests& b) {
  const auto least = static_cast<double>(a.least_parts + b.least_parts);
  return least == 0 ? 1 : static_cast<double>(a.parts + b.parts) / least;
}

void check_requests(const OpCase& c, Dtype dtype) {
  for (const KernelCounts& k : counted(c, dtype)) {
    const emulator::Work work = k.total().work;
    INFO(name_of(dtype) << ' ' << title(c) << ": " << k.kernel);
    CHECK(over_least(work[Path::global_load], work[Path::global_store]) <= 1 / .95);
    CHECK(over_least(work[Path::shared_load], work[Path::shared_store]) <= 1.05);
  }
}

void check_requests(const OpCase& c) {
  check_requests(c, Dtype::bf16);
  check_requests(c, Dtype::f32);
  cuda::allow_tf32(true);
  check_requests(c, Dtype::f32);
  cuda::allow_tf32(false);
}

}  // namespace

TEST_CASE("the default rungs fetch whole sectors, and meet no bank twice", "[emulator][counters]") {
  if (!emulator::can_check()) return;
  const auto convolution = [](auto& v) { return conv2d(v[0], v[1], {.bias = v[2]}, {1, Padding::same(1)}); };
  check_requests({.inputs = {normal({1, 16, 16, 64}), normal({64, 3, 3, 64}), parameter({64})}, .call = convolution});
  {
    const RungGuard guard("CONV2D_TILES", "widest");
    for (const int64_t filters : {32, 64, 128})
      check_requests({.inputs = {normal({1, 16, 16, 64}), normal({filters, 3, 3, 64}), parameter({filters})},
                      .call = convolution});
  }
  for (const auto& [heads, width] : {std::pair{8, 8}, {2, 32}, {1, 64}, {1, 128}, {1, 256}}) {
    const Shape tokens{1, 128, heads * width};
    const auto of_heads = [heads = heads](auto& v) { return attention(v[0], v[1], v[2], heads); };
    check_requests({.inputs = {normal(tokens), normal(tokens), normal(tokens)}, .call = of_heads});
  }
  const auto normed = [](auto& v) { return group_norm(v[0], v[1], v[2], {.groups = 32, .eps = 1e-5, .silu = true}); };
  for (const char* rung : {"one_pass", "two_pass"}) {
    const RungGuard guard("GROUP_NORM_CUDA", rung);
    check_requests({.inputs = {normal({1, 16, 16, 128}), parameter({128}), parameter({128})}, .call = normed});
  }
}

}  // namespace stipple

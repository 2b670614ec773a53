#include <cmath>

#include "kernels/group_norm.h"
#include "tests/cuda_twins.h"
#include "tests/ops/random_tensor.h"
#include "tests/rung_guard.h"

// Every rung of group_norm on CUDA against the CPU, beyond the default one that tests/cuda_operations.cpp takes.

namespace stipple {
namespace {

OpCase group_norm_case(const Shape& x, int64_t groups, bool silu) {
  return {.name = fmt::format("{} groups{}", groups, silu ? ", silu" : ""),
          .inputs = {normal(x, 0.5, 2), parameter({x[-1]}, 1), parameter({x[-1]})},
          .call = [o = GroupNormOptions{groups, 1e-5, silu}](auto& in) { return group_norm(in[0], in[1], in[2], o); }};
}

OpCase pair_case(const Shape& x, int64_t second, int64_t groups) {
  return {.name = fmt::format("{} groups over two", groups),
          .inputs = {normal(x, 0.5, 2), normal({x[0], x[1], x[2], second}, -1), parameter({x[-1] + second}, 1),
                     parameter({x[-1] + second})},
          .call = [o = GroupNormOptions{groups, 1e-5, true}](auto& in) {
            return group_norm({in[0], in[1]}, in[2], in[3], o);
          }};
}

// Poisoned, close to the CPU, and the same bits twice.
void check_rung(const char* rung, const OpCase& c) {
  const RungGuard guard("GROUP_NORM_CUDA", rung);
  for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
    INFO(rung << ' ' << name_of(dtype) << ' ' << title(c));
    const std::vector<Tensor> inputs = make_inputs(c, dtype);
    allocator_of(Device::cuda).set_poison(true);
    const OpResult first = on_cuda(c, inputs, dtype);
    allocator_of(Device::cuda).set_poison(false);
    check_close(first, on_cpu(c, inputs, dtype), dtype == Dtype::f32 ? 1e-5 : 1e-2);
    const OpResult second = on_cuda(c, inputs, dtype);
    CHECK(same_bits(first.y, second.y));
    for (size_t i = 0; i < first.gradients.size(); ++i) CHECK(same_bits(first.gradients[i], second.gradients[i]));
  }
}

double error_when_shifted(float shift) {
  const Tensor x = random_tensor({1, 32, 32, 16}, 1, 2, shift), gamma = random_tensor({16}, 2),
               beta = random_tensor({16}, 3);
  const auto cuda = [](const Tensor& t) { return t.to(Device::cuda); };
  const GroupNormOptions o{4, 1e-5, true};
  return relative_error(kernels::group_norm(cuda(x), cuda(gamma), cuda(beta), o).y.to(Device::cpu),
                        kernels::group_norm(x, gamma, beta, o).y);
}

}  // namespace

TEST_CASE("group_norm's rungs on CUDA give what the CPU gives, for odd shapes", "[cuda][group_norm]") {
  const OpCase cases[] = {group_norm_case({3, 7, 5, 3}, 3, true), group_norm_case({3, 7, 5, 17}, 1, true),
                          group_norm_case({1, 7, 5, 224}, 32, true), group_norm_case({3, 1, 1, 224}, 32, true),
                          group_norm_case({1, 28, 28, 3}, 1, false)};
  for (const char* rung : {"naive", "two_pass", "one_pass"})
    for (const OpCase& c : cases) check_rung(rung, c);
}

// rstd (gamma dy - gamma dy): a GPU may round one of the two products and not the other.
TEST_CASE("the gradient of a group of one element is rounding alone", "[cuda][group_norm]") {
  const OpCase c = group_norm_case({1, 1, 1, 1}, 1, false);
  const double rstd = 1 / std::sqrt(1e-5);
  for (const char* rung : {"naive", "two_pass", "one_pass"}) {
    INFO(rung);
    const RungGuard guard("GROUP_NORM_CUDA", rung);
    const std::vector<Tensor> inputs = make_inputs(c, Dtype::f32);
    const OpResult cuda = on_cuda(c, inputs, Dtype::f32), cpu = on_cpu(c, inputs, Dtype::f32);
    CHECK(std::abs(cuda.gradients[0].item<float>()) <= 1e-6 * rstd * std::abs(inputs[1].item<float>()));
    check_close(cuda.y, cpu.y, 1e-5);
    for (const size_t parameter : {1, 2})
      CHECK(cuda.gradients[parameter].item<float>() == Approx(cpu.gradients[parameter].item<float>()));
  }
}

TEST_CASE("group_norm's rungs on CUDA read two inputs as one, with groups that straddle the seam",
          "[cuda][group_norm]") {
  const OpCase cases[] = {pair_case({3, 7, 5, 3}, 17, 2), pair_case({1, 7, 5, 224}, 96, 32),
                          pair_case({3, 1, 1, 17}, 3, 4), pair_case({1, 28, 28, 24}, 8, 4),
                          pair_case({1, 28, 28, 3}, 1, 1)};
  for (const char* rung : {"naive", "two_pass", "one_pass"})
    for (const OpCase& c : cases) check_rung(rung, c);
}

TEST_CASE("group_norm on CUDA gives two inputs the bits of their concatenation", "[cuda][group_norm]") {
  const auto random = [](const Shape& shape, int seed) { return random_tensor(shape, seed).to(Device::cuda); };
  const Tensor a = random({2, 9, 7, 48}, 1), b = random({2, 9, 7, 16}, 2), gamma = random({64}, 3),
               beta = random({64}, 4), dy = random({2, 9, 7, 64}, 5), x = kernels::concat_channels(a, b);
  const GroupNormOptions o{32, 1e-5, true};
  for (const char* rung : {"naive", "two_pass", "one_pass"}) {
    const RungGuard guard("GROUP_NORM_CUDA", rung);
    const GroupNormOut out = kernels::group_norm(x, gamma, beta, o);
    CHECK(same_bits(kernels::group_norm({a, b}, gamma, beta, o).y.to(Device::cpu), out.y.to(Device::cpu)));
    const Tensor dx = empty_like(x), da = empty_like(a), db = empty_like(b);
    kernels::group_norm_backward({dx, {}, {}}, dy, x, gamma, beta, out.mean, out.rstd, o);
    kernels::group_norm_backward({{da, {}}, {}, {}}, dy, {a, b}, gamma, beta, out.mean, out.rstd, o);
    kernels::group_norm_backward({{{}, db}, {}, {}}, dy, {a, b}, gamma, beta, out.mean, out.rstd, o);
    CHECK(same_bits(kernels::concat_channels(da, db).to(Device::cpu), dx.to(Device::cpu)));
  }
}

TEST_CASE("group_norm on CUDA joins the chunks of a picture, and slices of channels", "[cuda][group_norm]") {
  check_rung("two_pass", group_norm_case({2, 28, 28, 64}, 32, true));  // many chunks, the last one shorter
  check_rung("two_pass", group_norm_case({1, 3, 2, 1344}, 32, true));  // more channels than threads: slices
  check_rung("one_pass", group_norm_case({3, 28, 28, 64}, 16, true));  // slices of some groups
}

TEST_CASE("group_norm on CUDA keeps its digits far from zero", "[cuda][group_norm]") {
  for (const char* rung : {"two_pass", "one_pass"}) {
    const RungGuard guard("GROUP_NORM_CUDA", rung);
    CHECK(error_when_shifted(1e3f) < 5e-5);  // a mean is an f32: 3e-5 off at most
  }
}

TEST_CASE("group_norm on CUDA adds to gradients where told, and leaves out those not wanted", "[cuda][group_norm]") {
  const GroupNormOptions o{4, 1e-5, true};
  const auto random = [](const Shape& shape, int seed) { return random_tensor(shape, seed).to(Device::cuda); };
  const Tensor x = random({2, 5, 3, 8}, 1), dy = random({2, 5, 3, 8}, 2), gamma = random({8}, 3), beta = random({8}, 4);
  for (const char* rung : {"two_pass", "one_pass"}) {
    const RungGuard guard("GROUP_NORM_CUDA", rung);
    const GroupNormOut out = kernels::group_norm(x, gamma, beta, o);
    const Tensor once({8}, Dtype::f32, Device::cuda), twice = Tensor::full({8}, 0.5, Dtype::f32, Device::cuda);
    kernels::group_norm_backward({{}, {once}, {}}, dy, x, gamma, beta, out.mean, out.rstd, o);
    kernels::group_norm_backward({{}, {twice, true}, {}}, dy, x, gamma, beta, out.mean, out.rstd, o);
    for (int c = 0; c < 8; ++c) CHECK(twice.to_vector<float>()[c] == once.to_vector<float>()[c] + 0.5f);
  }
}

}  // namespace stipple

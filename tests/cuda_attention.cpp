#include <cmath>

#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/cuda/precision.h"
#include "kernels/matmul.h"
#include "tests/cuda_twins.h"
#include "tests/rung_guard.h"

// Every rung of attention on CUDA against the CPU, beyond the small shapes that tests/cuda_operations.cpp takes.

namespace stipple {
namespace {

OpCase heads_of(int64_t width, int64_t heads, int64_t n, int64_t queries, int64_t keys) {
  const int64_t channels = heads * width;
  return {.inputs = {normal({n, queries, channels}), normal({n, keys, channels}), normal({n, keys, channels})},
          .call = [heads](auto& in) { return attention(in[0], in[1], in[2], heads); }};
}

// Two tiles of keys, the second with shares some 2^20 times those of the first.
OpCase growing_scores() {
  const Shape first{1, 64, 32}, second{1, 30, 32};
  return {.name = "scores grow",
          .inputs = {normal({1, 40, 32}, 2, .5), normal(first), normal(second, 1.2), normal({1, 94, 32})},
          .call = [](auto& in) {
            const Var keys = concat_channels(reshape(in[1], {1, 64 * 32}), reshape(in[2], {1, 30 * 32}));
            return attention(in[0], reshape(keys, {1, 94, 32}), in[3], 1);
          }};
}

void check_rung(const char* rung, const OpCase& c, Dtype dtype, double tolerance) {
  const RungGuard guard("ATTENTION_CUDA", rung);
  INFO(rung << ' ' << title(c));
  check_twins(c, dtype, tolerance);
}

}  // namespace

TEST_CASE("attention's slower rungs on CUDA give what the CPU gives", "[cuda][attention]") {
  for (const char* rung : {"naive", "wide"})
    for (const OpCase& c : OpFamily::named("attention").cases()) {
      check_rung(rung, c, Dtype::f32, 1e-5);
      check_rung(rung, c, Dtype::bf16, 1e-2);
    }
}

TEST_CASE("attention with one wide head is made of matrix products", "[cuda][attention]") {
  for (const OpCase& c : {heads_of(512, 1, 1, 65, 70), heads_of(300, 2, 1, 5, 130)}) {
    check_rung("fastest", c, Dtype::f32, 1e-5);
    check_rung("fastest", c, Dtype::bf16, 1e-2);
  }
}

TEST_CASE("flash attention takes heads of every width, in several tiles", "[cuda][attention]") {
  for (const OpCase& c :
       {heads_of(8, 3, 1, 70, 140), heads_of(17, 1, 3, 49, 49), heads_of(32, 2, 1, 130, 66), heads_of(64, 1, 1, 66, 70),
        heads_of(100, 2, 1, 33, 34), heads_of(256, 1, 1, 33, 49), growing_scores()}) {
    check_rung("flash", c, Dtype::f32, 1e-5);
    check_rung("flash", c, Dtype::bf16, 1e-2);
  }
}

// A map of 28 x 28: of one channel, and of more than a line of memory holds.
TEST_CASE("sums over many tokens keep f32's digits in attention on tensor cores", "[cuda][attention]") {
  for (const OpCase& c : {heads_of(1, 1, 1, 784, 784), heads_of(224, 1, 1, 784, 32), heads_of(224, 1, 1, 32, 784)})
    for (const char* rung : {"wide", "flash"}) check_rung(rung, c, Dtype::f32, 5e-6);
}

TEST_CASE("attention on tensor cores rounds f32 to tf32 where that is allowed, and only there", "[cuda][attention]") {
  for (const OpCase& c : {heads_of(8, 2, 1, 70, 70), heads_of(17, 1, 2, 66, 34), heads_of(64, 1, 1, 20, 70),
                          heads_of(128, 1, 1, 70, 33), heads_of(256, 1, 1, 40, 70), heads_of(264, 1, 1, 20, 40)}) {
    INFO(title(c));
    const std::vector<Tensor> inputs = make_inputs(c, Dtype::f32);
    const OpResult exact = on_cpu(c, inputs, Dtype::f32);
    cuda::allow_tf32(true);
    check_twins(c, Dtype::f32, 1e-3);
    const OpResult rounded = on_cuda(c, inputs, Dtype::f32);
    cuda::allow_tf32(false);
    CHECK(relative_error(rounded.y, exact.y) > 5e-5);
  }
}

// Then only P and dS are rounded.
TEST_CASE("attention in tf32 takes numbers that are tf32 already for what they are", "[cuda][attention]") {
  const std::vector<std::pair<OpCase, double>> cases{{heads_of(64, 2, 1, 33, 65), 4e-4},
                                                     {heads_of(256, 1, 1, 33, 65), 4e-4},
                                                     {heads_of(264, 1, 1, 20, 40), 4e-4},
                                                     {growing_scores(), 1e-3}};
  for (const auto& [c, tolerance] : cases) {
    INFO(title(c));
    std::vector<Tensor> inputs = make_inputs(c, Dtype::f32);
    for (Tensor& x : inputs) x = x.to(Dtype::bf16).to(Dtype::f32);
    cuda::allow_tf32(true);
    const OpResult rounded = on_cuda(c, inputs, Dtype::f32);
    cuda::allow_tf32(false);
    check_close(rounded, on_cpu(c, inputs, Dtype::f32), tolerance);
  }
}

TEST_CASE("a gradient of attention is the same whether others are wanted or not", "[cuda][attention]") {
  for (const int64_t width : {32, 256}) {
    const OpCase c = heads_of(width, 1, 1, 40, 70);
    std::vector<Tensor> in = make_inputs(c, Dtype::f32);
    for (Tensor& x : in) x = x.to(Device::cuda);
    const AttentionOut out = kernels::attention(in[0], in[1], in[2], 1);
    const auto empty = [&] { return AttentionGrads{empty_like(in[0]), empty_like(in[1]), empty_like(in[2])}; };
    const AttentionGrads all = empty(), some = empty();
    const auto backward = [&](const AttentionGrads& to) {
      kernels::attention_backward(to, out.y, in[0], in[1], in[2], out, 1);
    };
    backward(all);
    backward({some.dq, {}, {}}), backward({{}, some.dk, {}}), backward({{}, {}, some.dv});
    CHECK(same_bits(some.dq, all.dq));
    CHECK(same_bits(some.dk, all.dk));
    CHECK(same_bits(some.dv, all.dv));
  }
}

// A bias of keys adds the same to all scores of a query, so its gradient, the sum of dk over the keys, is zero.
TEST_CASE("gradients of a bias of keys cancel in attention on tensor cores", "[cuda][attention]") {
  OpCase c = heads_of(16, 2, 2, 80, 150);
  c.inputs[2].mean = 10;  // so that dP has a large mean, and what is left of it shows
  const std::vector<Tensor> inputs = make_inputs(c, Dtype::f32);
  for (const char* rung : {"wide", "flash"}) {
    INFO(rung);
    const RungGuard guard("ATTENTION_CUDA", rung);
    const Tensor dk = on_cuda(c, inputs, Dtype::f32).gradients[1];
    const Tensor of_bias = kernels::matmul(Tensor::full({1, 300}, 1), dk.reshape({300, 32}));
    CHECK(std::sqrt(kernels::squared_norm(of_bias) / kernels::squared_norm(dk)) <= 5e-6);
  }
}

TEST_CASE("of a single key, attention's scores have no gradients", "[cuda][attention]") {
  const RungGuard guard("ATTENTION_CUDA", "flash");
  for (const int64_t width : {8, 32, 64, 256})
    for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
      const OpCase c = heads_of(width, 2, 2, 20, 1);
      INFO(title(c) << ' ' << name_of(dtype));
      const OpResult r = on_cuda(c, make_inputs(c, dtype), dtype);
      CHECK(kernels::squared_norm(r.gradients[0].to(Dtype::f32)) == 0);
      CHECK(kernels::squared_norm(r.gradients[1].to(Dtype::f32)) == 0);
      CHECK(kernels::squared_norm(r.gradients[2].to(Dtype::f32)) > 0);
    }
}

TEST_CASE("a rung of attention that there is not, or that cannot, is an error", "[cuda][attention]") {
  const Tensor x = Tensor::full({1, 2, 1024}, 1, Dtype::f32, Device::cuda);
  {
    const RungGuard guard("ATTENTION_CUDA", "flush");
    CHECK_THROWS_WITH(kernels::attention(x, x, x, 1), Contains("naive, wide, flash, fastest"));
  }
  const RungGuard guard("ATTENTION_CUDA", "flash");
  CHECK_THROWS_WITH(kernels::attention(x, x, x, 1), Contains("heads of up to 256 channels, got 1024"));
}

}  // namespace stipple

#include "autograd/ops.h"
#include "tests/cuda_twins.h"
#include "tests/ops/random_tensor.h"
#include "tests/rung_guard.h"

// Moments that a convolution leaves of its channels, and the group norm that takes them.

namespace stipple {
namespace {

struct Map {
  Shape x;  // what is convolved
  int64_t filters;
};

Tensor on_gpu(const Tensor& t, Dtype dtype) { return t.to(dtype).to(Device::cuda); }

// A map of deviation 1 about `mean`, and its moments. Few taps: their sum is not split over blocks.
Conv2dOut convolved(const Map& m, Dtype dtype, float mean, int seed) {
  const Tensor x = random_tensor(m.x, seed), weight = random_tensor({m.filters, 3, 3, m.x[3]}, seed + 1, 1.f / 3),
               bias = random_tensor({m.filters}, seed + 2, 1, mean);
  return kernels::conv2d(on_gpu(x, dtype), on_gpu(weight, dtype), {.bias = on_gpu(bias, Dtype::f32), .moments = true},
                         {1, Padding::same(1)});
}

// Against the CPU, which looks at the same maps.
void check_norm(const Concat<Tensor>& x, const Concat<Tensor>& moments, int64_t groups) {
  const Dtype dtype = x.a.dtype();
  const double tolerance = dtype == Dtype::f32 ? 1e-5 : 1e-2;
  const Tensor gamma = random_tensor({x.channels()}, 8), beta = random_tensor({x.channels()}, 9);
  const GroupNormOptions o{groups, 1e-5, true};
  const RungGuard guard("GROUP_NORM_CUDA", "given_moments");
  const auto norm = [&](const Concat<Tensor>& given) {
    const GroupNormOut out = kernels::group_norm(x, gamma.to(Device::cuda), beta.to(Device::cuda), o, given);
    return GroupNormOut{out.y.to(Device::cpu), out.mean.to(Device::cpu), out.rstd.to(Device::cpu)};
  };
  const GroupNormOut given = norm(moments);
  const Tensor whole = kernels::concat_channels(x).to(Device::cpu).to(Dtype::f32);
  const GroupNormOut expected = kernels::group_norm(whole, gamma, beta, o);
  CHECK(relative_error(given.y, expected.y) < tolerance);
  CHECK(relative_error(given.mean, expected.mean) < 1e-5);
  CHECK(relative_error(given.rstd, expected.rstd) < 1e-5);
  CHECK(same_bits(norm(moments).y, given.y));
  // It is the moments that it goes by.
  const auto zero = [](const Tensor& t) { return t ? Tensor::zeros(t.shape(), t.dtype(), t.device()) : t; };
  CHECK(relative_error(norm({zero(moments.a), zero(moments.b)}).y, expected.y) > 0.1);
}

}  // namespace

TEST_CASE("group norm on CUDA takes the moments that a convolution left of its channels", "[cuda][moments]") {
  const Map maps[] = {{{2, 28, 28, 16}, 84},   // pieces that end beside the images' ends
                      {{5, 9, 7, 8}, 40},      // no image is as large as a piece
                      {{9, 3, 2, 4}, 8},       // a piece has parts of eleven
                      {{1, 16, 16, 3}, 132}};  // element by element, two tiles of filters
  const RungGuard tiles("CONV2D_TILES", GENERATE("fitting", "widest"));
  for (const Map& m : maps)
    for (const Dtype dtype : {Dtype::f32, Dtype::bf16})
      for (const float mean : {0.f, 100.f}) {
        INFO(to_string(m.x) << " -> " << m.filters << ", " << name_of(dtype) << ", mean " << mean);
        allocator_of(Device::cuda).set_poison(true);
        const Conv2dOut out = convolved(m, dtype, mean, 1);
        allocator_of(Device::cuda).set_poison(false);
        REQUIRE(out.moments.defined());
        check_norm(out.y, out.moments, 4);
      }
}

TEST_CASE("moments of two maps serve the group norm of their concatenation", "[cuda][moments]") {
  for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
    const Conv2dOut a = convolved({{2, 10, 10, 8}, 48}, dtype, 3, 1),
                    b = convolved({{2, 10, 10, 16}, 24}, dtype, -5, 4);
    check_norm({a.y, b.y}, {a.moments, b.moments}, 8);  // of 9 channels: the sixth has some of both
    check_norm({a.y, b.y}, {a.moments, b.moments}, 1);
  }
}

TEST_CASE("moments are of what was stored, the time embedding and the residual with it", "[cuda][moments]") {
  const auto random = [](const Shape& shape, int seed) { return random_tensor(shape, seed).to(Device::cuda); };
  const Conv2dOut out = kernels::conv2d(random({2, 8, 6, 8}, 1), random({16, 3, 3, 8}, 2),
                                        {.time_embedding = random({2, 16}, 3),
                                         .residual = random({2, 8, 6, 16}, 4),
                                         .output_scale_factor = 1.5,
                                         .moments = true},
                                        {1, Padding::same(1)});
  check_norm(out.y, out.moments, 2);
}

TEST_CASE("no moments are left where a sum is split over blocks, nobody asks, or the CPU computes", "[cuda][moments]") {
  const auto moments = [](Device device, int64_t channels, bool asked) {
    const Tensor x = random_tensor({1, 8, 8, channels}, 1).to(device),
                 w = random_tensor({8, 3, 3, channels}, 2).to(device);
    return conv2d(x, w, {.moments = asked}, {1, Padding::same(1)}).moments();
  };
  CHECK(moments(Device::cuda, 16, true).defined());
  CHECK_FALSE(moments(Device::cuda, 16, false).defined());
  CHECK_FALSE(moments(Device::cuda, 256, true).defined());
  CHECK_FALSE(moments(Device::cpu, 16, true).defined());
}

TEST_CASE("a checkpointed segment hands on the moments of its result", "[cuda][moments]") {
  const Var x = leaf(random_tensor({1, 8, 8, 16}, 1).to(Device::cuda)),
            w = random_tensor({8, 3, 3, 16}, 2).to(Device::cuda);
  const auto segment = [&] { return conv2d(x, w, {.moments = true}, {1, Padding::same(1)}); };
  const Var kept = segment(), computed_again = checkpoint(segment);
  CHECK(computed_again.node()->operation == "checkpoint");
  CHECK(same_bits(computed_again.moments().to(Device::cpu), kept.moments().to(Device::cpu)));
}

}  // namespace stipple

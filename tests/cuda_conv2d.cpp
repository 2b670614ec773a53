#include <bit>
#include <cmath>

#include "kernels/conv2d.h"
#include "kernels/cuda/precision.h"
#include "tests/cuda_twins.h"
#include "tests/rung_guard.h"

// Every rung of conv2d on CUDA against the CPU, beyond the default one that tests/cuda_operations.cpp takes.

namespace stipple {
namespace {

void check_rung(const char* rung, Dtype dtype, double tolerance) {
  const RungGuard guard("CONV2D_CUDA", rung);
  for (const char* family : {"conv2d", "conv2d_of_upsampled", "conv2d_of_two"})
    for (const OpCase& c : OpFamily::named(family).cases()) {
      INFO(rung << ' ' << name_of(dtype) << ' ' << family << ' ' << title(c));
      const std::vector<Tensor> inputs = make_inputs(c, dtype);
      check_close(on_cuda(c, inputs, dtype), on_cpu(c, inputs, dtype), tolerance);
    }
}

// A convolution large enough for several tiles in every direction, and for few: there its depth is split.
OpCase large(int64_t n, int64_t size, int64_t in, int64_t out, int64_t stride = 1) {
  const Conv2dOptions o{stride, Padding::same(1)};
  const Shape x{n, size, size, in}, weight{out, 3, 3, in}, y = conv2d_shape(x, weight, o);
  return {.inputs = {normal(x), normal(weight, 0, 0.1), parameter({out}), normal({n, out}), normal(y)},
          .call = [o](auto& v) {
            return conv2d(v[0], v[1], {v[2], v[3], v[4], 1.5}, o);
          }};
}

void check_tf32_twins(const OpCase& c) {
  cuda::allow_tf32(true);
  check_twins(c, Dtype::f32, 1e-3);
  cuda::allow_tf32(false);
}

OpCase upsampled(int64_t n, int64_t size, int64_t in, int64_t out) {
  const Conv2dOptions o{1, Padding::same(1), true};
  const Shape x{n, size, size, in}, weight{out, 3, 3, in}, y = conv2d_shape(x, weight, o);
  return {.name = "upsampled",
          .inputs = {normal(x), normal(weight, 0, 0.1), parameter({out}), normal({n, out}), normal(y)},
          .call = [o](auto& v) {
            return conv2d(v[0], v[1], {v[2], v[3], v[4], 1.5}, o);
          }};
}

OpCase of_two(int64_t n, int64_t size, int64_t first, int64_t second, int64_t out) {
  return {.name = "1x1 of two",
          .inputs = {normal({n, size, size, first}), normal({n, size, size, second}),
                     normal({out, 1, 1, first + second}), parameter({out})},
          .call = [](auto& v) {
            return conv2d({v[0], v[1]}, v[2], {v[3]}, {});
          }};
}

}  // namespace

TEST_CASE("conv2d on tensor cores folds upsampling in and reads two inputs, in tiles and in splits", "[cuda][conv2d]") {
  for (const OpCase& c : {upsampled(2, 9, 40, 136), upsampled(1, 4, 256, 64), upsampled(1, 14, 224, 24),
                          of_two(2, 13, 40, 24, 136), of_two(1, 4, 448, 224, 64), of_two(1, 28, 32, 224, 40)}) {
    INFO(title(c));
    check_twins(c, Dtype::f32, 1e-5);
    check_twins(c, Dtype::bf16, 1e-2);
    check_tf32_twins(c);
  }
}

TEST_CASE("conv2d on CUDA gives two inputs the bits of their concatenation", "[cuda][conv2d]") {
  const OpCase c = of_two(2, 7, 40, 56, 72);
  for (const char* rung : {"naive", "tiled", "mma"}) {
    const RungGuard guard("CONV2D_CUDA", rung);
    const std::vector<Tensor> in = on(Device::cuda, make_inputs(c, Dtype::f32));
    const Tensor two = kernels::conv2d({in[0], in[1]}, in[2], {in[3]}, {}).y;
    const Tensor one = kernels::conv2d(kernels::concat_channels(in[0], in[1]), in[2], {in[3]}, {}).y;
    CHECK(same_bits(two.to(Device::cpu), one.to(Device::cpu)));
  }
}

TEST_CASE("conv2d's first two rungs on CUDA give what the CPU gives", "[cuda][conv2d]") {
  for (const char* rung : {"naive", "tiled"}) {
    check_rung(rung, Dtype::f32, 1e-5);
    check_rung(rung, Dtype::bf16, 1e-2);
  }
}

TEST_CASE("conv2d on tensor cores rounds f32 to tf32 where that is allowed, and only there", "[cuda][conv2d]") {
  const OpCase c = large(1, 8, 32, 32);
  const std::vector<Tensor> inputs = make_inputs(c, Dtype::f32);
  const OpResult exact = on_cpu(c, inputs, Dtype::f32);
  check_close(on_cuda(c, inputs, Dtype::f32), exact, 2e-6);
  cuda::allow_tf32(true);
  const OpResult rounded = on_cuda(c, inputs, Dtype::f32);
  cuda::allow_tf32(false);
  check_close(rounded, exact, 1e-3);
  CHECK(relative_error(rounded.y, exact.y) > 5e-5);
}

TEST_CASE("conv2d on tensor cores cuts large problems into tiles and splits the depth of small ones",
          "[cuda][conv2d]") {
  for (const OpCase& c : {large(2, 13, 40, 136), large(1, 8, 256, 64), large(1, 9, 64, 72, 2)}) {
    INFO(title(c));
    for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
      const std::vector<Tensor> inputs = make_inputs(c, dtype);
      check_close(on_cuda(c, inputs, dtype), on_cpu(c, inputs, dtype), dtype == Dtype::f32 ? 1e-5 : 1e-2);
    }
  }
}

TEST_CASE("conv2d on tensor cores has wide tiles for many filters of large maps", "[cuda][conv2d]") {
  const RungGuard guard("CONV2D_TILES", "widest");
  for (const OpCase& c :
       {large(2, 13, 40, 136), large(1, 9, 64, 72, 2), upsampled(2, 9, 40, 136), of_two(2, 13, 40, 24, 136)}) {
    INFO(title(c));
    check_twins(c, Dtype::bf16, 1e-2);
    check_tf32_twins(c);
  }
}

TEST_CASE("what is not a number stays so on tensor cores, and infinity leaves nothing finite", "[cuda][conv2d]") {
  Tensor w = Tensor::full({8, 1, 1, 32}, 0.5);
  for (const uint32_t bits : {0x7FFFFFFFu, 0xFFFFFFFFu, 0x7FC00000u, 0x7F800000u})
    for (const bool tf32 : {false, true}) {
      Tensor x = Tensor::full({1, 2, 2, 32}, 1);
      x.mutable_data<float>()[40] = std::bit_cast<float>(bits);  // in the second pixel
      cuda::allow_tf32(tf32);
      const Tensor y = kernels::conv2d(x.to(Device::cuda), w.to(Device::cuda), {}, {}).y.to(Device::cpu);
      cuda::allow_tf32(false);
      INFO(std::hex << bits << (tf32 ? " tf32" : " f32"));
      CHECK(y.data<float>()[0] == Approx(16));
      CHECK(!std::isfinite(y.data<float>()[8]));
    }
}

}  // namespace stipple

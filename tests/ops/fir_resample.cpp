#include "kernels/fir_resample.h"

#include "tests/op_cases.h"

namespace stipple {
namespace {

const std::vector<Shape> kMaps = {{1, 2, 2, 1}, {3, 6, 4, 3}, {1, 2, 8, 17}, {2, 16, 16, 32}};

}  // namespace

OP_CASES(fir_downsample) {
  for (const Shape& map : kMaps)
    add({.inputs = {normal(map)}, .call = [](auto& in) { return fir_downsample(in[0]); }, .bytes = 5.0 * map.numel()});
}

OP_CASES(fir_upsample) {
  for (const Shape& map : kMaps)
    add({.inputs = {normal(map)}, .call = [](auto& in) { return fir_upsample(in[0]); }, .bytes = 20.0 * map.numel()});
  add({.inputs = {normal({1, 1, 3, 2})}, .call = [](auto& in) { return fir_upsample(in[0]); }});
}

TEST_CASE("FIR resampling spreads a point as the filter says", "[ops][fir_downsample][fir_upsample]") {
  Tensor point = Tensor::zeros({1, 4, 4, 1});
  point.mutable_data<float>()[1 * 4 + 1] = 64;  // row 1, column 1: weight 3 for pixel 0, 1 for pixel 1
  CHECK(kernels::fir_downsample(point).to_vector<float>() == std::vector<float>{9, 3, 3, 1});
  const Tensor one = Tensor::full({1, 1, 1, 1}, 16);
  CHECK(kernels::fir_upsample(one).to_vector<float>() == std::vector<float>{9, 9, 9, 9});
}

TEST_CASE("FIR resampling refuses maps of odd size", "[ops][fir_downsample]") {
  CHECK_THROWS_WITH(kernels::fir_downsample(Tensor::zeros({1, 3, 4, 2})), Contains("even") && Contains("f32[1,3,4,2]"));
}

}  // namespace stipple

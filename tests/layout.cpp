#include "tensor/layout.h"

#include <numeric>

#include "tests/catch.h"

namespace stipple {
namespace {

template <typename T>
Tensor counting(const Shape& shape) {
  std::vector<T> values(shape.numel());
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(i);
  return Tensor::of(shape, values);
}

}  // namespace

TEST_CASE("channels move to the end and back", "[layout]") {
  const Tensor nchw = counting<float>({2, 3, 2, 2});
  const Tensor nhwc = to_channels_last(nchw);
  CHECK(nhwc.shape() == Shape{2, 2, 2, 3});
  CHECK(nhwc.to_vector<float>() ==
        std::vector<float>{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, 12, 16, 20, 13, 17, 21, 14, 18, 22, 15, 19, 23});
  CHECK(to_channels_first(nhwc).to_vector<float>() == nchw.to_vector<float>());
}

TEST_CASE("every element finds its place in shapes that fit no tile", "[layout]") {
  const Tensor oihw = counting<int32_t>({3, 67, 5, 9});
  const Tensor ohwi = to_channels_last(oihw);
  const int32_t* moved = ohwi.data<int32_t>();
  for (int64_t o = 0; o < 3; ++o)
    for (int64_t i = 0; i < 67; ++i)
      for (int64_t p = 0; p < 45; ++p) REQUIRE(moved[(o * 45 + p) * 67 + i] == (o * 67 + i) * 45 + p);
  CHECK(to_channels_first(ohwi).to_vector<int32_t>() == oihw.to_vector<int32_t>());
}

TEMPLATE_TEST_CASE("layouts change in every dtype", "[layout]", float, double, bf16, int64_t, int32_t, uint8_t) {
  const Tensor x = counting<TestType>({2, 5, 7});
  const Tensor there = to_channels_last(x), back = to_channels_first(there);
  CHECK(there.shape() == Shape{2, 7, 5});
  CHECK(there.dtype() == x.dtype());
  CHECK(back.shape() == x.shape());
  CHECK(float(there.template data<TestType>()[1]) == 7);
  CHECK(std::equal(x.bytes(), x.bytes() + x.nbytes(), back.bytes()));
}

TEST_CASE("layouts of matrices and of empty tensors", "[layout]") {
  const Tensor matrix = counting<float>({4, 6});
  CHECK(to_channels_last(matrix).to_vector<float>() == matrix.to_vector<float>());
  CHECK_FALSE(to_channels_last(matrix).shares_storage_with(matrix));
  CHECK(to_channels_last(Tensor::zeros({0, 3, 2, 2})).shape() == Shape{0, 2, 2, 3});
  CHECK(to_channels_first(Tensor::zeros({2, 4, 4, 0})).shape() == Shape{2, 0, 4, 4});
  CHECK_THROWS_WITH(to_channels_last(Tensor::zeros({4})), Contains("to_channels_last") && Contains("f32[4]"));
}

}  // namespace stipple

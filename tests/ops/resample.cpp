#include "tests/op_cases.h"

namespace stipple {
namespace {

const std::vector<Shape> kMaps = {{1, 2, 2, 1}, {3, 7, 5, 3}, {1, 8, 6, 17}, {2, 6, 6, 32}};

}  // namespace

OP_CASES(upsample_nearest) {
  for (const Shape& map : {Shape{1, 1, 1, 1}, {3, 7, 5, 3}, {1, 1, 5, 17}, {2, 16, 16, 32}})
    add({.inputs = {normal(map)},
         .call = [](auto& in) { return upsample_nearest(in[0]); },
         .bytes = 20.0 * map.numel()});
}

OP_CASES(avg_pool2d) {
  for (const Shape& map : kMaps)
    for (const int64_t kernel : {1, 2})
      add({.name = fmt::format("{}x{}", kernel, kernel), .inputs = {normal(map)}, .call = [=](auto& in) {
             return avg_pool2d(in[0], kernel);
           }});
  add({.name = "3x3", .inputs = {normal({2, 7, 9, 3})}, .call = [](auto& in) { return avg_pool2d(in[0], 3); }});
}

OP_CASES(max_pool2d) {
  for (const Shape& map : kMaps)
    for (const int64_t kernel : {1, 2})
      add({.name = fmt::format("{}x{}", kernel, kernel), .inputs = {normal(map)}, .call = [=](auto& in) {
             return max_pool2d(in[0], kernel);
           }});
  add({.name = "3x3", .inputs = {normal({2, 7, 9, 3})}, .call = [](auto& in) { return max_pool2d(in[0], 3); }});
}

TEST_CASE("max_pool2d gives the gradient to the first of equals", "[ops][max_pool2d]") {
  const Var x = leaf(Tensor::full({1, 2, 2, 1}, 5));
  CHECK(grad(max_pool2d(x, 2), {x})[0].to_vector<float>() == std::vector<float>{1, 0, 0, 0});
}

}  // namespace stipple

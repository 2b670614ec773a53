#include "tests/op_cases.h"

namespace stipple {

OP_CASES(softmax) {
  for (const Shape& shape : {Shape{1}, {3, 17}, {2, 7, 5, 3}, {1, 300, 64}, {33, 1000}})
    add({.inputs = {normal(shape, 0, 3)}, .call = [](auto& in) { return softmax(in[0]); }});
}

TEST_CASE("softmax survives inputs that overflow an exponential", "[ops][softmax]") {
  const Var x = Tensor::of<float>({3}, std::vector<float>{1e4f, 1e4f, -1e4f});
  CHECK(softmax(x).value().to_vector<float>() == std::vector<float>{0.5f, 0.5f, 0});
}

}  // namespace stipple

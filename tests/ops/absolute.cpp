#include "tests/op_cases.h"

namespace stipple {

OP_CASES(absolute) {
  // Far enough from the kink at 0 for the gradient check's step.
  for (const Shape& shape : {Shape{1}, {3, 17}, {2, 7, 5, 3}, {33, 1000}})
    for (double mean : {-5.0, 5.0})
      add({.inputs = {normal(shape, mean)}, .call = [](auto& in) { return absolute(in[0]); }});
}

TEST_CASE("absolute has no slope at zero", "[ops][absolute]") {
  const Var x = leaf(Tensor::of<float>({3}, std::vector<float>{-2, 0, 3}));
  CHECK(grad(absolute(x), {x})[0].to_vector<float>() == std::vector<float>{-1, 0, 1});
}

}  // namespace stipple

#include "tests/op_cases.h"

namespace stipple {

// There and back; in f64 there is nothing to do.
OP_CASES(cast) {
  for (const Shape& x : {Shape{}, {1, 1, 1, 1}, {3, 7, 5, 17}})
    add({.inputs = {normal(x)}, .call = [](auto& in) { return cast(cast(in[0], Dtype::f64), in[0].value().dtype()); }});
}

}  // namespace stipple

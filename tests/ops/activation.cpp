#include "tests/op_cases.h"

namespace stipple {

OP_CASES(activation) {
  for (const Activation kind : {Activation::silu, Activation::gelu, Activation::relu, Activation::mish})
    for (const Shape& shape : {Shape{}, {1}, {3, 17}, {2, 7, 5, 3}, {1, 1, 1, 33}, {91, 91}, {3, 64, 64, 9}})
      add({.name = name_of(kind),
           .inputs = {normal(shape, 0, 2)},
           .call = [=](auto& in) { return activation(kind, in[0]); },
           .bytes = 8.0 * shape.numel()});
}

}  // namespace stipple

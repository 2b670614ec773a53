#pragma once
#include <functional>
#include <vector>

#include "autograd/var.h"

// Whether an operation's backward pass is the derivative of its forward pass, by central differences in f64.
//
// With a random u ~ N(0, 1) of the output's shape, element i of an input has the slope
//   d/dx[i] sum u f(x) ~ sum u (f(x + h e_i) - f(x - h e_i)) / 2h,   h = step
// but for an error of order h^2 from the curvature of f and of order 1e-16 / h from rounding, about 1e-9 at h = 1e-4.
// It is compared with what grad() returns for the upstream gradient u. Functions with kinks (relu, max) want inputs
// that stay further than h away from them.

namespace stipple {

using DifferentiableFunction = std::function<Var(const std::vector<Var>& inputs)>;

struct GradientCheckOptions {
  double step = 1e-4;
  int64_t most_elements = 64;  // of an input are moved, chosen at random where it has more
  uint64_t seed = 0;           // of u and of the choice
};

// For every input (converted to f64) the distance |numeric - analytic| / max(|numeric|, |analytic|, 1e-3 |u|), in L2
// over the elements moved. The last term is for gradients that are zero but for rounding. A right backward pass of a
// smooth f gives less than 1e-6, usually 1e-9.
std::vector<double> gradient_errors(const DifferentiableFunction& f, const std::vector<Tensor>& inputs,
                                    const GradientCheckOptions& = {});

// Throws, naming the input, where an error exceeds the tolerance or is not a number.
void gradient_check(const DifferentiableFunction& f, const std::vector<Tensor>& inputs, double tolerance = 1e-6,
                    const GradientCheckOptions& = {});

}  // namespace stipple

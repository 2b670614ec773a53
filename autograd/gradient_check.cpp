#include "autograd/gradient_check.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "tensor/random.h"

namespace stipple {
namespace {

double norm(std::span<const double> x) { return std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0)); }

std::vector<Tensor> in_f64(const std::vector<Tensor>& inputs) {
  std::vector<Tensor> converted;
  for (const Tensor& x : inputs) converted.push_back(x.to(Dtype::f64).clone());
  return converted;
}

std::vector<Var> leaves_of(const std::vector<Tensor>& inputs) {
  std::vector<Var> leaves;
  for (const Tensor& x : inputs) leaves.push_back(leaf(x));
  return leaves;
}

Tensor value_of(const DifferentiableFunction& f, const std::vector<Tensor>& inputs) {
  const NoGrad off;
  return f(std::vector<Var>(inputs.begin(), inputs.end())).value();
}

// sum u (a - b): what does not change cancels exactly, which a difference of two sums would not give.
double weighted_difference(const Tensor& u, const Tensor& a, const Tensor& b) {
  const double *pu = u.data<double>(), *pa = a.data<double>(), *pb = b.data<double>();
  double sum = 0;
  for (int64_t i = 0; i < u.numel(); ++i) sum += pu[i] * (pa[i] - pb[i]);
  return sum;
}

std::vector<int64_t> chosen_elements(int64_t n, int64_t most, Generator& generator) {
  const std::vector<int64_t> order = permutation(generator, n).to_vector<int64_t>();
  return {order.begin(), order.begin() + std::min(n, most)};
}

// The elements of x are moved in place, one after the other.
std::vector<double> central_differences(const DifferentiableFunction& f, const std::vector<Tensor>& inputs,
                                        const Tensor& x, const std::vector<int64_t>& elements, const Tensor& u,
                                        double step) {
  std::vector<double> slopes;
  const auto value_at = [&](int64_t i, double value) {
    x.mutable_data<double>()[i] = value;
    return value_of(f, inputs).clone();  // it may be a view of x
  };
  for (int64_t i : elements) {
    const double here = x.data<double>()[i];
    const Tensor above = value_at(i, here + step), below = value_at(i, here - step);
    slopes.push_back(weighted_difference(u, above, below) / (2 * step));
    x.mutable_data<double>()[i] = here;
  }
  return slopes;
}

double distance(const std::vector<double>& numeric, const std::vector<double>& analytic, double floor) {
  std::vector<double> difference;
  std::transform(numeric.begin(), numeric.end(), analytic.begin(), std::back_inserter(difference), std::minus());
  return norm(difference) / std::max({norm(numeric), norm(analytic), floor});
}

}  // namespace

std::vector<double> gradient_errors(const DifferentiableFunction& f, const std::vector<Tensor>& inputs,
                                    const GradientCheckOptions& o) {
  PhiloxGenerator generator(o.seed);
  const std::vector<Tensor> at = in_f64(inputs);
  const std::vector<Var> xs = leaves_of(at);
  const Var y = f(xs);
  const Tensor u = normal(generator, y.shape(), Dtype::f64);
  const std::vector<Tensor> gradients = grad(y, xs, u);
  std::vector<double> errors;
  for (size_t k = 0; k < at.size(); ++k) {
    const std::vector<int64_t> elements = chosen_elements(at[k].numel(), o.most_elements, generator);
    std::vector<double> analytic;
    for (int64_t i : elements) analytic.push_back(gradients[k].data<double>()[i]);
    const auto numeric = central_differences(f, at, at[k], elements, u, o.step);
    errors.push_back(distance(numeric, analytic, 1e-3 * norm({u.data<double>(), static_cast<size_t>(u.numel())})));
  }
  return errors;
}

void gradient_check(const DifferentiableFunction& f, const std::vector<Tensor>& inputs, double tolerance,
                    const GradientCheckOptions& o) {
  const std::vector<double> errors = gradient_errors(f, inputs, o);
  for (size_t k = 0; k < errors.size(); ++k)
    check(errors[k] <= tolerance, "gradient_check: the gradient of input {} ({}) is off by {:.2e}, {:.0e} is allowed",
          k, describe(inputs[k]), errors[k], tolerance);
}

}  // namespace stipple

#include "tests/op_cases.h"

#include <algorithm>

#include "autograd/gradient_check.h"
#include "kernels/arithmetic.h"
#include "kernels/cpu/parallel.h"
#include "tensor/allocator.h"
#include "tensor/random.h"
#include "tests/compare.h"

namespace stipple {
namespace {

constexpr uint64_t kUpstreamSeed = 1000;

std::vector<const OpFamily*>& registry() {
  static std::vector<const OpFamily*> families;
  return families;
}

Tensor make_input(const OpInput& input, uint64_t seed) {
  PhiloxGenerator generator(seed);
  const Tensor x = normal(generator, input.shape);
  float* values = x.mutable_data<float>();
  for (int64_t i = 0; i < x.numel(); ++i) values[i] = static_cast<float>(input.mean + input.deviation * values[i]);
  return x;
}

Tensor upstream(const Tensor& y, Dtype rounded_to = Dtype::f32) {
  PhiloxGenerator generator(kUpstreamSeed);
  return normal(generator, y.shape(), rounded_to).to(y.dtype()).to(y.device());
}

std::vector<Var> leaves_of(const std::vector<Tensor>& inputs) {
  std::vector<Var> leaves;
  for (const Tensor& x : inputs) leaves.push_back(leaf(x));
  return leaves;
}

bool is_finite(const Tensor& x) {
  const std::vector<double> elements = x.to(Dtype::f64).to_vector<double>();
  return std::all_of(elements.begin(), elements.end(), [](double v) { return std::isfinite(v); });
}

void check_same_bits(const OpResult& a, const OpResult& b) {
  CHECK(same_bits(a.y, b.y));
  for (size_t i = 0; i < a.gradients.size(); ++i) {
    INFO("gradient of input " << i);
    CHECK(same_bits(a.gradients[i], b.gradients[i]));
  }
}

void check_central_differences(const OpCase& c) {
  const std::vector<Tensor> inputs = make_inputs(c, Dtype::f64);
  const bool large = std::any_of(inputs.begin(), inputs.end(), [](const Tensor& x) { return x.numel() > 8000; });
  const std::vector<double> errors = gradient_errors(c.call, inputs, {.most_elements = large ? 8 : 64});
  for (size_t i = 0; i < errors.size(); ++i) {
    INFO("gradient of input " << i << " against central differences");
    CHECK(errors[i] <= 1e-6);
  }
}

void check_precision(const OpCase& c, const OpResult& f32) {
  const OpResult f64 = evaluate(c, make_inputs(c, Dtype::f64));
  INFO("f32 against f64");
  CHECK(relative_error(f32.y, f64.y) <= c.tolerance);
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    INFO("gradient of input " << i);
    CHECK(relative_error(f32.gradients[i], f64.gradients[i]) <= c.tolerance);
  }
}

void check_runs_agree(const OpCase& c, const std::vector<Tensor>& inputs, const OpResult& expected) {
  INFO("a second run");
  check_same_bits(evaluate(c, inputs), expected);
}

void check_threads_agree(const OpCase& c, const std::vector<Tensor>& inputs) {
  const int before = cpu::threads();
  cpu::set_threads(1);
  const OpResult one = evaluate(c, inputs);
  cpu::set_threads(2);
  const OpResult two = evaluate(c, inputs);
  cpu::set_threads(before);
  INFO("1 thread against 2");
  check_same_bits(one, two);
}

void check_everything_is_written(const OpCase& c, const std::vector<Tensor>& inputs, const OpResult& expected) {
  cpu_allocator().set_poison(true);
  const OpResult poisoned = evaluate(c, inputs);
  cpu_allocator().set_poison(false);
  INFO("in memory full of NaN");
  CHECK(is_finite(poisoned.y));
  check_same_bits(poisoned, expected);
}

void check_each_input_alone(const OpCase& c, const std::vector<Tensor>& inputs, const OpResult& expected) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    std::vector<Var> in(inputs.begin(), inputs.end());
    in[i] = leaf(inputs[i]);
    const Var y = c.call(in);
    INFO("only input " << i << " wants a gradient");
    CHECK(same_bits(grad(y, {in[i]}, upstream(y.value()))[0], expected.gradients[i]));
  }
}

void check_backward_adds(const OpCase& c, const std::vector<Tensor>& inputs, const OpResult& expected) {
  const std::vector<Var> in = leaves_of(inputs);
  backward(c.call(in), upstream(expected.y));
  INFO("backward() into leaves");
  for (size_t i = 0; i < in.size(); ++i) CHECK(same_bits(in[i].gradient(), expected.gradients[i]));
  backward(c.call(in), upstream(expected.y));
  INFO("a second backward() adds to the first");
  for (size_t i = 0; i < in.size(); ++i)
    CHECK(relative_error(in[i].gradient(), kernels::affine(expected.gradients[i], 2, 0)) <= 1e-6);
}

void check_case(const OpCase& c) {
  const std::vector<Tensor> inputs = make_inputs(c, Dtype::f32);
  const OpResult result = evaluate(c, inputs);
  CHECK_FALSE(operations_recorded(c).empty());
  check_central_differences(c);
  check_precision(c, result);
  check_runs_agree(c, inputs, result);
  check_threads_agree(c, inputs);
  check_everything_is_written(c, inputs, result);
  check_each_input_alone(c, inputs, result);
  check_backward_adds(c, inputs, result);
}

}  // namespace

OpFamily::OpFamily(const char* name, Declare* declare) : name_(name), declare_(declare) { registry().push_back(this); }

const std::vector<const OpFamily*>& OpFamily::all() { return registry(); }

const OpFamily& OpFamily::named(const std::string& name) {
  const auto found = std::find_if(all().begin(), all().end(), [&](const OpFamily* f) { return f->name() == name; });
  check(found != all().end(), "there is no operation '{}' in tests/ops", name);
  return **found;
}

std::vector<OpCase> OpFamily::cases() const {
  OpCases add;
  declare_(add);
  return add.all();
}

std::string title(const OpCase& c) {
  std::string text = c.name;
  for (const OpInput& input : c.inputs) text += (text.empty() ? "" : " ") + to_string(input.shape);
  return text;
}

std::vector<Tensor> make_inputs(const OpCase& c, Dtype dtype) {
  std::vector<Tensor> inputs;
  for (const OpInput& input : c.inputs) {
    const bool keeps = input.parameter && dtype == Dtype::bf16;
    inputs.push_back(make_input(input, inputs.size()).to(keeps ? Dtype::f32 : dtype));
  }
  return inputs;
}

OpResult evaluate(const OpCase& c, const std::vector<Tensor>& inputs, Dtype gradient) {
  const std::vector<Var> in = leaves_of(inputs);
  const Var y = c.call(in);
  return {y.value(), grad(y, in, upstream(y.value(), gradient))};
}

std::set<std::string> operations_recorded(const OpCase& c) {
  std::set<std::string> names;
  const OperationWatch watch([&](const std::string& name) { names.insert(name); });
  c.call(leaves_of(make_inputs(c, Dtype::f32)));
  return names;
}

std::set<std::string> checked_operations() {
  std::set<std::string> names;
  for (const OpFamily* family : OpFamily::all())
    for (const OpCase& c : family->cases()) names.merge(operations_recorded(c));
  return names;
}

void check_cases(const OpFamily& family) {
  for (const OpCase& c : family.cases()) {
    INFO(family.name() << ' ' << title(c));
    check_case(c);
  }
}

}  // namespace stipple

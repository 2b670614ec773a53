#include "nn/parameter.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tensor/layout.h"

namespace stipple {
namespace {

constexpr int64_t kAlignment = 16;  // elements: 64 bytes of f32

// OHWI -> OIHW, for conv weights.
Shape file_shape(const Shape& shape, FileLayout layout) {
  return layout == FileLayout::oihw ? Shape{shape[0], shape[3], shape[1], shape[2]} : shape;
}

Tensor to_file_layout(const Tensor& t, FileLayout layout) {
  return layout == FileLayout::oihw ? to_channels_first(t) : t;
}

Tensor from_file_layout(const Tensor& t, FileLayout layout) {
  return layout == FileLayout::oihw ? to_channels_last(t) : t;
}

Tensor draw(const Init& init, const Shape& shape, Dtype dtype, Generator& generator) {
  if (init.kind == Init::Kind::constant) return Tensor::full(shape, init.value, dtype);
  const bool is_uniform = init.kind == Init::Kind::uniform;
  const Tensor drawn = is_uniform ? uniform(generator, shape) : normal(generator, shape);
  float* x = drawn.mutable_data<float>();
  // PyTorch: u * (to - from) + from in f32, rounded once.
  const float scale = static_cast<float>(is_uniform ? 2 * init.value : init.value);
  const float shift = static_cast<float>(is_uniform ? -init.value : 0);
  for (int64_t i = 0; i < drawn.numel(); ++i) x[i] = std::fma(x[i], scale, shift);
  return drawn.to(dtype);
}

std::string listed(const std::vector<std::string>& names) {
  constexpr size_t kMost = 8;
  std::string text;
  for (size_t i = 0; i < names.size() && i < kMost; ++i) text += (i ? ", " : "") + names[i];
  if (names.size() > kMost) text += fmt::format(" and {} more", names.size() - kMost);
  return text;
}

}  // namespace

Var Parameter::in(Dtype dtype) const {
  const Tensor &value = state_->value, &rounded = state_->rounded;
  if (!rounded || rounded.dtype() != dtype) return *this;
  if (state_->rounded_from != value.version()) rounded.copy_from(value.to(dtype));
  state_->rounded_from = value.version();
  return Var(rounded, state_->node);
}

Parameter Parameters::add(std::string name, const Shape& shape, Init init, FileLayout layout, bool trainable) {
  check(!values_.defined(), "parameter {}: declared after the parameters were allocated", name);
  check(by_name_.emplace(name, parameters_.size()).second, "parameter {} is declared twice", name);
  auto state =
      std::make_shared<Parameter::State>(Parameter::State{std::move(name), shape, init, layout, trainable, {}, {}, 0});
  return parameters_.emplace_back(std::move(state));
}

void Parameters::allocate(Dtype dtype, Device device) {
  int64_t end = 0;
  std::vector<std::pair<int64_t, int64_t>> padding;  // where and how many
  for (const bool trainable : {true, false}) {
    for (Parameter& p : parameters_) {
      if (p.trainable() != trainable) continue;
      const int64_t numel = p.shape().numel(), padded = (numel + kAlignment - 1) / kAlignment * kAlignment;
      p.state_->offset = end;
      if (padded > numel) padding.emplace_back(end + numel, padded - numel);
      end += padded;
    }
    if (trainable) trainable_ = end;
  }
  set_values(Tensor({end}, dtype, device));
  for (const auto& [at, count] : padding) values_.view(at, {count}).fill(0);
}

void Parameters::initialize(Generator& generator) {
  for (const Parameter& p : parameters_) {
    const Tensor drawn = draw(p.state_->init, file_shape(p.shape(), p.layout()), values_.dtype(), generator);
    p.value().copy_from(from_file_layout(drawn, p.layout()));
  }
}

Parameter Parameters::find(const std::string& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? Parameter() : parameters_[found->second];
}

int64_t Parameters::count() const {
  int64_t n = 0;
  for (const Parameter& p : parameters_) n += p.shape().numel();
  return n;
}

Tensor Parameters::trainable(const Tensor& arena) const { return arena ? arena.view(0, {trainable_}) : Tensor(); }

Tensor Parameters::slice(const Tensor& arena, const Parameter& p) const {
  return arena ? arena.view(p.state_->offset, p.shape()) : Tensor();
}

void Parameters::set_values(const Tensor& arena) {
  check(!values_ || (arena.shape() == values_.shape() && arena.dtype() == values_.dtype()),
        "parameters: an arena {} for {}", describe(arena), describe(values_));
  values_ = arena;
  for (Parameter& p : parameters_) {
    p.state_->value = slice(arena, p);
    p.state_->rounded_from.reset();
  }
}

void Parameters::compute_in(Dtype dtype) {
  const bool own = dtype == values_.dtype();
  check(own || (dtype == Dtype::bf16 && device() == Device::cuda),
        "parameters {} on {}: nothing computes with them in {}", describe(values_), name_of(device()), name_of(dtype));
  rounded_ = own ? Tensor() : Tensor(values_.shape(), dtype, device());
  for (Parameter& p : parameters_) {
    p.state_->rounded = slice(rounded_, p);
    p.state_->rounded_from.reset();
  }
}

void Parameters::round() const {
  for (const Parameter& p : parameters_) p.in(p.compute_dtype());
}

void Parameters::mark_rounded() const {
  for (const Parameter& p : parameters_)
    if (p.trainable()) p.state_->rounded_from = p.value().version();
}

void Parameters::require_gradients(bool wanted) {
  gradients_ = wanted ? Tensor::zeros(values_.shape(), values_.dtype(), values_.device()) : Tensor();
  for (Parameter& p : parameters_) {
    p.state_->node = wanted && p.trainable() ? leaf(p.value(), p.name()).node() : nullptr;
    if (p.state_->node) p.state_->node->gradient.to = slice(gradients_, p);
  }
}

void Parameters::clear_gradients() {
  check_gradients();
  for (Parameter& p : parameters_)
    if (p.state_->node) p.state_->node->gradient.add = false;
}

void Parameters::complete_gradients() {
  check_gradients();
  for (Parameter& p : parameters_) {
    if (!p.state_->node) continue;
    Grad& gradient = p.state_->node->gradient;
    if (!std::exchange(gradient.add, true)) gradient.to.fill(0);
  }
}

void Parameters::check_gradients() const {
  check(gradients_.defined(), "parameters: no gradients are kept; call require_gradients(true) first");
}

std::vector<std::pair<std::string, Tensor>> Parameters::to_file(const Tensor& arena) const {
  const Tensor here = arena.to(Device::cpu);
  std::vector<std::pair<std::string, Tensor>> named;
  for (const Parameter& p : parameters_) named.emplace_back(p.name(), to_file_layout(slice(here, p), p.layout()));
  return named;
}

std::string Parameters::current_name(const std::string& name_in_file) const {
  const size_t dot = std::min(name_in_file.rfind('.'), name_in_file.size());
  const auto found = old_paths_.find(name_in_file.substr(0, dot));
  return found == old_paths_.end() ? name_in_file : found->second + name_in_file.substr(dot);
}

// By current name.
std::map<std::string, std::string> Parameters::names_in_file(const std::map<std::string, Shape>& present,
                                                             const std::string& file) const {
  std::map<std::string, std::string> in_file;
  for (const auto& [name, shape] : present)
    check(in_file.emplace(current_name(name), name).second, "{}: holds {} twice, under its old name, too", file,
          current_name(name));
  return in_file;
}

void Parameters::check_file(const std::map<std::string, Shape>& present, const std::string& file) const {
  const auto in_file = names_in_file(present, file);
  std::vector<std::string> missing, misshaped, unexpected;
  for (const Parameter& p : parameters_) {
    const auto found = in_file.find(p.name());
    const Shape expected = file_shape(p.shape(), p.layout());
    if (found == in_file.end())
      missing.push_back(p.name());
    else if (const Shape& shape = present.at(found->second); shape != expected)
      misshaped.push_back(fmt::format("{} {} (expected {})", p.name(), to_string(shape), to_string(expected)));
  }
  for (const auto& [name, shape] : present)
    if (!by_name_.count(current_name(name))) unexpected.push_back(name);
  std::string problems;
  if (!missing.empty()) problems += "; missing: " + listed(missing);
  if (!misshaped.empty()) problems += "; of another shape: " + listed(misshaped);
  if (!unexpected.empty()) problems += "; unknown: " + listed(unexpected);
  check(problems.empty(), "{} does not fit the network{}", file, problems);
}

void Parameters::from_file(const Tensor& arena, const std::map<std::string, Shape>& present, const Source& source,
                           const std::string& file) const {
  check_file(present, file);
  const auto in_file = names_in_file(present, file);
  for (const Parameter& p : parameters_) source(slice(arena, p), in_file.at(p.name()), p.layout() == FileLayout::oihw);
}

}  // namespace stipple

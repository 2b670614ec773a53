#include "diffusion/sampling.h"

#include "autograd/ops/arithmetic.h"
#include "autograd/ops/shape.h"
#include "kernels/arithmetic.h"

namespace stipple {
namespace {

Tensor with_none(const Tensor& labels, int64_t unconditional) {
  const int64_t n = labels.dim(0);
  Tensor both({2 * n}, labels.dtype(), labels.device());
  both.slice(0, n).copy_from(labels);
  both.slice(n, 2 * n).fill(static_cast<double>(unconditional));
  return both;
}

Var twice(const Var& x) {
  const int64_t n = x.dim(0), h = x.dim(1), w = x.dim(2), c = x.dim(3);
  return reshape(broadcast_to(reshape(x, {1, n, h, w, c}), {2, n, h, w, c}), {2 * n, h, w, c});
}

Var answer(const Predict& predict, const Var& input, double timestep) {
  if (input.requires_grad()) return predict(input, timestep);
  const NoGrad no_grad;
  return predict(input, timestep);
}

Tensor begin(const Sampler& sampler, const Tensor& start, const SamplingOptions& options) {
  if (options.image) return sampler.add_noise(options.image, start, options.first);
  return options.first == 0 ? kernels::affine(start, sampler.init_noise_sigma(), 0) : start;
}

}  // namespace

Predict classifier_free(LabelledPredict network, const Tensor& labels, int64_t unconditional, double scale) {
  if (scale == 1) return [=](const Var& x, double t) { return network(x, t, labels); };
  return [=, both = with_none(labels, unconditional)](const Var& x, double t) {
    const int64_t n = x.dim(0);
    const Var answers = network(twice(x), t, both);
    const Var with = slice(answers, 0, n), without = slice(answers, n, 2 * n);
    return without + scale * (with - without);
  };
}

Tensor sample(Sampler& sampler, const Predict& predict, const Tensor& start, const NoiseSource& noise,
              const SamplingOptions& options) {
  const std::vector<double>& timesteps = sampler.timesteps();
  check(options.first < timesteps.size(), "sample: begins with timestep number {} of {}", options.first,
        timesteps.size());
  check(options.first % sampler.order() == 0, "sample: begins with timestep number {}, inside a step of {} timesteps",
        options.first, sampler.order());
  Tensor x = begin(sampler, start, options);
  for (size_t index = options.first; index < timesteps.size(); ++index) {
    if (options.cancelled && options.cancelled()) return {};
    Var state = options.differentiable ? leaf(x) : Var(x);
    Var model_output = answer(predict, sampler.scale_model_input(state, index), timesteps[index]);
    if (options.guide) options.guide(index, state, model_output);
    StepResult result = sampler.step(model_output.value(), index, state.value(), noise);
    if (options.on_step) options.on_step(index, timesteps.size(), result);
    x = result.sample;
  }
  return x;
}

size_t first_timestep(const Sampler& sampler, double strength) {
  const auto order = static_cast<size_t>(sampler.order()), steps = (sampler.timesteps().size() + order - 1) / order;
  check(strength > 0 && strength <= 1, "image-to-image: strength is {}, it is above 0 and at most 1", strength);
  const auto walked = static_cast<size_t>(static_cast<double>(steps) * strength);
  check(walked >= 1, "image-to-image: strength {} of {} steps leaves no step to walk", strength, steps);
  return (steps - walked) * order;
}

}  // namespace stipple

#include "diffusion/sampling.h"

#include "kernels/arithmetic.h"

namespace stipple {
namespace {

Tensor concat_images(const Tensor& a, const Tensor& b) {
  Shape shape{a.dim(0) + b.dim(0)};
  for (int i = 1; i < a.rank(); ++i) shape.push_back(a.dim(i));
  Tensor both(shape, a.dtype(), a.device());
  both.slice(0, a.dim(0)).copy_from(a);
  both.slice(a.dim(0), shape[0]).copy_from(b);
  return both;
}

Tensor extrapolate(const Tensor& from, const Tensor& through, double scale) {
  Tensor y = kernels::affine(kernels::binary(Binary::subtract, through, from), scale, 0);
  kernels::accumulate(y, from);
  return y;
}

Tensor begin(const Sampler& sampler, const Tensor& start, const SamplingOptions& options) {
  if (options.image) return sampler.add_noise(options.image, start, options.first);
  return options.first == 0 ? kernels::affine(start, sampler.init_noise_sigma(), 0) : start;
}

}  // namespace

Predict classifier_free(LabelledPredict network, const Tensor& labels, int64_t unconditional, double scale) {
  if (scale == 1) return [=](const Tensor& x, double t) { return network(x, t, labels); };
  const Tensor none = Tensor::full(labels.shape(), static_cast<double>(unconditional), Dtype::i64, labels.device());
  return [=, both = concat_images(labels, none)](const Tensor& x, double t) {
    const int64_t n = x.dim(0);
    const Tensor answers = network(concat_images(x, x), t, both);
    return extrapolate(answers.slice(n, 2 * n), answers.slice(0, n), scale);
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
    Tensor model_output = predict(sampler.scale_model_input(x, index), timesteps[index]);
    if (options.guide) options.guide(index, x, model_output);
    StepResult result = sampler.step(model_output, index, x, noise);
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

#include "diffusion/guidance.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "autograd/ops/absolute.h"
#include "autograd/ops/arithmetic.h"
#include "tensor/in_quotes.h"

namespace stipple {
namespace {

// What dx of the loss is, and x a leaf of its own where it came as a constant.
Tensor gradient(const LossGuidance& guidance, const Sampler& sampler, size_t index, const Var& sample,
                const Var& model_output) {
  const Var x = sample.requires_grad() ? sample : leaf(sample.value());
  const Var loss = guidance.loss(sampler.predicted_clean(x, model_output, index));
  check(loss.shape() == Shape{}, "guidance: the loss is {}, expected one number", describe(loss.value()));
  return grad(loss, {x})[0];
}

}  // namespace

GuideRoute guide_route(const std::string& name) {
  if (name == "x0") return GuideRoute::x0;
  if (name == "unet") return GuideRoute::unet;
  fail("guide route {} is unknown; there are x0, unet", in_quotes(name));
}

void guide(SamplingOptions& options, const LossGuidance& guidance, const Sampler& sampler) {
  check(std::isfinite(guidance.scale), "guidance: its scale is {}, a number is expected", guidance.scale);
  check(sampler.config().class_name != "DDIMInverseScheduler",
        "guidance draws towards images; DDIMInverseScheduler walks away from them");
  check(guidance.route == GuideRoute::unet || sampler.schedule().prediction() != Prediction::sample,
        "guidance by route x0: this network predicts the clean image itself (prediction_type \"sample\"); only route "
        "unet leads from there to the noisy one");
  options.differentiable = guidance.route == GuideRoute::unet;
  options.guide = [guidance, &sampler](size_t index, Var& sample, Var& model_output) {
    if (index % static_cast<size_t>(sampler.order()) != 0) return;
    const double c = sampler.input_scale(index);
    const Tensor dx = gradient(guidance, sampler, index, sample, model_output);
    sample = sample.detach() - guidance.scale / (c * c) * Var(dx);
  };
}

ImageLoss color_loss(const std::vector<double>& values) {
  std::vector<float> target;
  for (double value : values) target.push_back(static_cast<float>(2 * value - 1));
  const Tensor color = Tensor::of({static_cast<int64_t>(target.size())}, target);
  return [color](const Var& clean) {
    check(clean.dim(-1) == color.dim(0), "color: {} channels for images of {}", color.dim(0), clean.dim(-1));
    return mean(absolute(clean - Var(color.to(clean.value().dtype()).to(clean.value().device()))));
  };
}

std::vector<double> parse_color(const std::string& hexadecimal) {
  const std::string digits = hexadecimal.substr(hexadecimal.starts_with('#') ? 1 : 0);
  const bool good =
      digits.size() == 6 && std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isxdigit(c); });
  check(good, "{} is no colour; six hexadecimal digits are expected, like #55FFAA", in_quotes(hexadecimal));
  std::vector<double> color;
  for (size_t i = 0; i < 6; i += 2) color.push_back(std::stoi(digits.substr(i, 2), nullptr, 16) / 255.0);
  return color;
}

}  // namespace stipple

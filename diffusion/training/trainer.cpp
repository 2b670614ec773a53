#include "diffusion/training/trainer.h"

#include <chrono>
#include <cmath>
#include <limits>

#include "autograd/random_stream.h"
#include "kernels/adamw.h"

namespace stipple {

namespace {

std::string spelled(double x) { return std::isnan(x) ? "not a number" : fmt::format("{}", x); }

}  // namespace

NotFinite::NotFinite(const StepReport& r)
    : Error(fmt::format("step {}: the loss is {}, the gradient's norm {}: training has diverged (a smaller "
                        "--learning-rate may help)",
                        r.step, spelled(r.loss), spelled(r.grad_norm))),
      report(r) {}

Trainer::Trainer(Pipeline& pipeline, const OptimizerOptions& o)
    : pipeline_(&pipeline),
      options_(o),
      noise_schedule_(pipeline.scheduler),
      adam_((pipeline.parameters.require_gradients(true), pipeline.parameters), o.adam),
      ema_(o.use_ema ? pipeline.parameters.values().clone() : Tensor()) {}

TrainingBatch TrainingBatch::to(Device device) const {
  return {clean.to(device), noise.to(device), timesteps.to(device), labels.to(device), dropout_seed};
}

double Trainer::accumulate_gradients(const TrainingBatch& given, int64_t count) {
  const TrainingBatch batch = given.to(pipeline_->parameters.device());
  std::optional<RandomPosition> dropout;
  if (batch.dropout_seed) dropout = RandomPosition{.seed = *batch.dropout_seed};
  const RandomStream stream(dropout);
  const Tensor noisy = noise_schedule_.add_noise(batch.clean, batch.noise, batch.timesteps);
  const Tensor target = noise_schedule_.target(batch.clean, batch.noise, batch.timesteps);
  const Var prediction = pipeline_->denoiser(noisy, batch.timesteps, batch.labels);
  check(prediction.shape() == target.shape(), "unet: answers {} for images {}", describe(prediction.value()),
        describe(target));
  const Var loss = mse(prediction, target);
  const double value = loss.value().item<float>();
  if (std::isfinite(value)) backward(count == 1 ? loss : loss / static_cast<double>(count));
  return value / static_cast<double>(count);
}

StepReport Trainer::step(int64_t count, const std::function<TrainingBatch(int64_t)>& make) {
  const auto begin = std::chrono::steady_clock::now();
  StepReport report;
  report.step = steps() + 1;
  report.lr = options_.learning_rate * options_.schedule.factor(steps());
  pipeline_->parameters.clear_gradients();
  for (int64_t i = 0; i < count; ++i) report.loss += accumulate_gradients(make(i), count);
  report.ema_decay = ema_ ? ema_decay(options_.ema, report.step) : 0;
  report.grad_norm = std::isfinite(report.loss) ? adam_.step(report.lr, options_.max_grad_norm, ema_, report.ema_decay)
                                                : std::numeric_limits<double>::quiet_NaN();
  report.step_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (!std::isfinite(report.grad_norm)) throw NotFinite(report);
  return report;
}

void Trainer::check_weights() const {
  for (const Tensor& arena : {pipeline_->parameters.values(), ema_, adam_.first_moment(), adam_.second_moment()})
    check(
        !arena || std::isfinite(kernels::squared_norm(arena)),
        "step {}: the weights are no longer finite and are not saved: training has diverged (a smaller --learning-rate "
        "may help)",
        steps());
}

}  // namespace stipple

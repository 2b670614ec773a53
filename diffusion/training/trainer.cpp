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

NoisyBatch Trainer::noised(const TrainingBatch& b) const {
  return {.noisy = noise_schedule_.add_noise(b.clean, b.noise, b.timesteps),
          .target = noise_schedule_.target(b.clean, b.noise, b.timesteps),
          .timesteps = b.timesteps,
          .labels = b.labels,
          .dropout_seed = {}};
}

double Trainer::accumulate_gradients(const TrainingBatch& batch, int64_t count) {
  std::optional<RandomPosition> dropout;
  if (batch.dropout_seed) dropout = RandomPosition{.seed = *batch.dropout_seed};
  const RandomStream stream(dropout);
  const Var loss = loss_of(pipeline_->denoiser, noised(batch));
  const double value = loss.value().item<float>();
  if (std::isfinite(value)) backward(count == 1 ? loss : loss / static_cast<double>(count));
  return value / static_cast<double>(count);
}

void Trainer::step_on_host(StepReport& report, int64_t count, const std::function<TrainingBatch(int64_t)>& make) {
  pipeline_->parameters.clear_gradients();
  for (int64_t i = 0; i < count; ++i) report.loss += accumulate_gradients(make(i), count);
  report.grad_norm = std::isfinite(report.loss) ? adam_.step(report.lr, options_.max_grad_norm, ema_, report.ema_decay)
                                                : std::numeric_limits<double>::quiet_NaN();
}

void Trainer::step_on_device(StepReport& report, int64_t count, const std::function<TrainingBatch(int64_t)>& make) {
  std::vector<NoisyBatch> batches;
  for (int64_t i = 0; i < count; ++i) {
    const TrainingBatch batch = make(i);
    const ConditioningConfig& classes = pipeline_->denoiser.conditioning;
    if (classes.kind != ClassConditioning::none) classes.check_labels(batch.labels);
    batches.push_back(noised(batch));
    if (batch.dropout_seed)
      batches.back().dropout_seed = Tensor::of<int64_t>({}, std::vector{static_cast<int64_t>(*batch.dropout_seed)});
  }
  if (!device_step_) device_step_.emplace(*pipeline_, adam_, ema_);
  adam_.prepare(report.lr, options_.max_grad_norm, report.ema_decay);
  report.loss = (*device_step_)(batches);
  report.grad_norm = std::isfinite(report.loss) ? std::sqrt(adam_.squared_norm().item<float>())
                                                : std::numeric_limits<double>::quiet_NaN();
  if (std::isfinite(report.grad_norm)) adam_.set_steps(report.step);
}

StepReport Trainer::step(int64_t count, const std::function<TrainingBatch(int64_t)>& make) {
  const auto begin = std::chrono::steady_clock::now();
  StepReport report;
  report.step = steps() + 1;
  report.lr = options_.learning_rate * options_.schedule.factor(steps());
  report.ema_decay = ema_ ? ema_decay(options_.ema, report.step) : 0;
  pipeline_->parameters.device() == Device::cuda ? step_on_device(report, count, make)
                                                 : step_on_host(report, count, make);
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

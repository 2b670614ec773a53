#include "diffusion/training/device_step.h"

#include <algorithm>

#include "autograd/ops.h"
#include "autograd/random_stream.h"
#include "kernels/arithmetic.h"
#include "kernels/launch.h"

namespace stipple {
namespace {

bool graphs_are_wanted() { return rung("CUDA_GRAPH", {"off", "on"}) == "on"; }

bool alike(const Tensor& a, const Tensor& b) {
  return a.defined() == b.defined() && a.shape() == b.shape() && a.dtype() == b.dtype();
}

bool alike(const std::vector<NoisyBatch>& a, const std::vector<NoisyBatch>& b) {
  return std::ranges::equal(a, b, [](const NoisyBatch& x, const NoisyBatch& y) { return x.like(y); });
}

std::vector<NoisyBatch> on_device(const std::vector<NoisyBatch>& batches) {
  std::vector<NoisyBatch> moved;
  for (const NoisyBatch& b : batches) moved.push_back(b.to(Device::cuda));
  return moved;
}

void copy(const Tensor& to, const Tensor& from) {
  if (to) to.copy_from(from);
}

}  // namespace

NoisyBatch NoisyBatch::to(Device device) const {
  return {noisy.to(device), target.to(device), timesteps.to(device), labels.to(device), dropout_seed.to(device)};
}

void NoisyBatch::copy_from(const NoisyBatch& from) const {
  copy(noisy, from.noisy);
  copy(target, from.target);
  copy(timesteps, from.timesteps);
  copy(labels, from.labels);
  copy(dropout_seed, from.dropout_seed);
}

bool NoisyBatch::like(const NoisyBatch& b) const {
  return alike(noisy, b.noisy) && alike(target, b.target) && alike(timesteps, b.timesteps) && alike(labels, b.labels) &&
         alike(dropout_seed, b.dropout_seed);
}

Var loss_of(const Denoiser& denoiser, const NoisyBatch& batch) {
  const Var prediction = denoiser(batch.noisy, batch.timesteps, batch.labels);
  check(prediction.shape() == batch.target.shape(), "unet: answers {} for images {}", describe(prediction.value()),
        describe(batch.target));
  return mse(prediction, batch.target);
}

DeviceStep::DeviceStep(Pipeline& pipeline, Adam& adam, const Tensor& ema)
    : pipeline_(&pipeline), adam_(&adam), ema_(ema), loss_({}, Dtype::f32, Device::cuda) {}

double DeviceStep::operator()(const std::vector<NoisyBatch>& batches) {
  pipeline_->parameters.round();  // whoever wrote the weights since the last step; a graph does not look
  if (graph_fits(batches))
    launch(batches);
  else if (graphs_are_wanted() && alike(batches, before_))
    capture(batches), launch(batches);
  else
    work(on_device(batches));
  before_ = batches;
  return loss_.item<float>() / static_cast<double>(batches.size());
}

void DeviceStep::work(const std::vector<NoisyBatch>& batches) const {
  pipeline_->parameters.clear_gradients();
  loss_.fill(0);
  for (const NoisyBatch& batch : batches) {
    std::optional<RandomPosition> dropout;
    if (batch.dropout_seed) dropout = RandomPosition{.device_seed = batch.dropout_seed};
    const RandomStream stream(dropout);
    const Var loss = loss_of(pipeline_->denoiser, batch);
    kernels::accumulate(loss_, loss.value());
    backward(batches.size() == 1 ? loss : loss / static_cast<double>(batches.size()));
  }
  adam_->take_prepared(loss_, ema_);
}

bool DeviceStep::graph_fits(const std::vector<NoisyBatch>& batches) const {
  return graph_ && alike(batches, inputs_) && pipeline_->parameters.values().bytes() == values_.bytes();
}

void DeviceStep::capture(const std::vector<NoisyBatch>& batches) {
  graph_.reset();  // its memory goes before more is taken
  inputs_ = on_device(batches);
  values_ = pipeline_->parameters.values();
  graph_.emplace([this] { work(inputs_); });
}

void DeviceStep::launch(const std::vector<NoisyBatch>& batches) const {
  for (size_t i = 0; i < batches.size(); ++i) inputs_[i].copy_from(batches[i]);
  graph_->launch();
  for (const Tensor& written : {values_, ema_, adam_->first_moment(), adam_->second_moment()})
    written.mutable_bytes();  // who remembers versions is told: a launch writes what capturing wrote
  pipeline_->parameters.mark_rounded();
}

}  // namespace stipple

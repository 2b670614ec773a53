#include <algorithm>
#include <filesystem>

#include "autograd/ops.h"
#include "diffusion/training/checkpoint.h"
#include "diffusion/training/sample_grid.h"
#include "tensor/allocator.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/rung_guard.h"
#include "tests/scratch_folder.h"
#include "tests/small_unet.h"
#include "tests/tiny_training.h"

// Training on CUDA in bf16 and tf32, beside f32.

namespace stipple {
namespace {

Tensor on_host(const Tensor& x) { return x.to(Device::cpu); }

// The small U-Net in a precision, and one gradient of it.
struct Small {
  std::unique_ptr<Pipeline> pipeline = small_pipeline(Device::cuda);

  explicit Small(MixedPrecision precision) {
    set_mixed_precision(pipeline->parameters, precision);
    pipeline->parameters.round();
    pipeline->parameters.require_gradients(true);
  }
  ~Small() { set_mixed_precision(pipeline->parameters, MixedPrecision::no); }  // tf32 is for the whole process

  double gradient() const {
    const TrainingBatch b = small_batch(0);
    pipeline->parameters.clear_gradients();
    const Var loss =
        mse(pipeline->denoiser(b.clean.to(Device::cuda), b.timesteps.to(Device::cuda)), b.noise.to(Device::cuda));
    backward(loss);
    return loss.value().item<float>();
  }
  Tensor gradients() const { return on_host(pipeline->parameters.gradients()); }
};

std::vector<double> losses_in(MixedPrecision precision, int64_t steps) {
  const Small small(precision);
  Trainer trainer(*small.pipeline, {.learning_rate = 1e-3, .schedule = {"constant", 0, steps}});
  std::vector<double> losses;
  for (int64_t i = 0; i < steps; ++i) losses.push_back(trainer.step(1, [=](int64_t) { return small_batch(i); }).loss);
  return losses;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]) / b[i]);
  return largest;
}

// Device memory that a gradient takes at most, beside what is there before.
size_t peak_of_gradient(MixedPrecision precision) {
  const Small small(precision);
  CachingAllocator& memory = allocator_of(Device::cuda);
  const size_t before = memory.stats().live;
  memory.reset_peak();
  small.gradient();
  return memory.stats().peak - before;
}

void check_rounded(const Parameters& parameters) {
  CHECK(same_bits(on_host(parameters.rounded()), on_host(parameters.values()).to(Dtype::bf16)));
}

void check_same_state(const TinyTraining& a, const TinyTraining& b) {
  const auto check_same = [](const Tensor& x, const Tensor& y) { CHECK(same_bits(on_host(x), on_host(y))); };
  check_same(a.pipeline->parameters.values(), b.pipeline->parameters.values());
  check_same(a.pipeline->parameters.rounded(), b.pipeline->parameters.rounded());
  check_same(a.trainer.ema(), b.trainer.ema());
  check_same(a.trainer.adam().first_moment(), b.trainer.adam().first_moment());
  check_same(a.trainer.adam().second_moment(), b.trainer.adam().second_moment());
}

void take_steps(TinyTraining& t, int64_t until) {
  while (t.trainer.steps() < until) t.step(1, 2);
}

}  // namespace

TEST_CASE("20 steps in bf16 and in tf32 follow the f32 loss", "[cuda][training][precision]") {
  const std::vector<double> f32 = losses_in(MixedPrecision::no, 20);
  const double bf16 = largest_difference(losses_in(MixedPrecision::bf16, 20), f32),
               tf32 = largest_difference(losses_in(MixedPrecision::tf32, 20), f32);
  INFO("bf16 " << bf16 << ", tf32 " << tf32);
  CHECK(bf16 <= 1e-2);
  CHECK(bf16 > 1e-6);  // and differ: they are no f32
  CHECK(tf32 <= 2e-3);
  CHECK(tf32 > 1e-6);
}

TEST_CASE("gradients in bf16 are f32's but for rounding, and take half the memory", "[cuda][training][precision]") {
  const Small f32(MixedPrecision::no), bf16(MixedPrecision::bf16);
  const double loss = f32.gradient();
  CHECK(bf16.gradient() == Approx(loss).epsilon(1e-2));
  CHECK(relative_error(bf16.gradients(), f32.gradients()) <= 3e-2);
  const size_t in_f32 = peak_of_gradient(MixedPrecision::no), in_bf16 = peak_of_gradient(MixedPrecision::bf16);
  INFO(in_f32 << " bytes in f32, " << in_bf16 << " in bf16");
  CHECK(static_cast<double>(in_bf16) < 0.6 * static_cast<double>(in_f32));
}

TEST_CASE("gradient checkpointing in bf16 changes gradients by rounding only", "[cuda][training][precision]") {
  const Small kept(MixedPrecision::bf16), again(MixedPrecision::bf16);
  again.pipeline->denoiser.unet.set_gradient_checkpointing(true);
  CHECK(kept.gradient() == again.gradient());
  CHECK(relative_error(again.gradients(), kept.gradients()) <= 1e-2);
}

TEST_CASE("after every step the rounded weights are the masters, rounded", "[cuda][training][precision]") {
  TinyTraining t(MixedPrecision::bf16);
  for (const bool captured : {false, true, true}) {
    t.step(1, 1);
    CHECK(t.trainer.uses_graph() == captured);
    check_rounded(t.pipeline->parameters);
  }
}

TEST_CASE("rounded weights follow whoever writes the masters", "[cuda][precision]") {
  Parameters parameters;
  const Parameter p = parameters.add("p", {3}, Init::constant(1.001), FileLayout::same);
  parameters.allocate(Dtype::f32, Device::cuda);
  parameters.compute_in(Dtype::bf16);
  p.value().fill(1.001);
  CHECK(p.in(Dtype::bf16).value().to_vector<bf16>()[0] == 1);
  CHECK(p.in(Dtype::f32).value().to_vector<float>()[0] == 1.001f);
  p.value().fill(2.003);
  CHECK(p.in(Dtype::bf16).value().to_vector<bf16>()[2] == 2);
  const Tensor own = parameters.values();
  parameters.set_values(Tensor::full(own.shape(), 3, Dtype::f32, Device::cuda));
  CHECK(p.in(Dtype::bf16).value().to_vector<bf16>()[1] == 3);
  parameters.set_values(own);
  CHECK(p.in(Dtype::bf16).value().to_vector<bf16>()[1] == 2);
  parameters.compute_in(Dtype::f32);
  CHECK(p.in(Dtype::bf16).value().dtype() == Dtype::f32);
  CHECK_THROWS_WITH(parameters.compute_in(Dtype::f64), Contains("nothing computes with them in f64"));
}

TEST_CASE("in bf16, resuming and drawing samples on the way change no bit", "[cuda][training][precision]") {
  const ScratchFolder folder;
  TinyTraining whole(MixedPrecision::bf16), first(MixedPrecision::bf16), second(MixedPrecision::bf16);
  take_steps(whole, 6);
  take_steps(first, 3);
  CHECK(draw_samples(*first.pipeline, first.trainer, {.count = 1, .steps = 2, .height = 8, .width = 8}));
  take_steps(first, 4);
  PhiloxGenerator generator(0);
  save_checkpoint(folder / "checkpoint-4", *first.pipeline, first.trainer, generator, {});
  load_checkpoint(folder / "checkpoint-4", *second.pipeline, second.trainer, generator);
  take_steps(second, 6);
  check_same_state(second, whole);
}

TEST_CASE("a cast rounds what goes forward, and what comes back is as exact as the input", "[cuda][ops][precision]") {
  const Var x = leaf(Tensor::full({2}, 1.001, Dtype::f32, Device::cuda));
  const Var y = cast(x, Dtype::bf16);
  CHECK(on_host(y.value()).to(Dtype::f32).to_vector<float>() == std::vector<float>(2, 1));
  backward(cast(y, Dtype::f32), Tensor::full({2}, 1.001, Dtype::f32, Device::cuda));
  CHECK(x.gradient().to_vector<float>() == std::vector<float>(2, 1));  // dy went through bf16, too
  CHECK(cast(x, Dtype::f32).node() == x.node());
}

}  // namespace stipple

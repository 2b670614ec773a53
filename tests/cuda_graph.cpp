#include <limits>

#include "diffusion/training/trainer.h"
#include "kernels/dropout.h"
#include "kernels/recorded_work.h"
#include "tensor/random.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/rung_guard.h"

// Training steps captured as CUDA graphs, on a GPU or on the emulator.

namespace stipple {
namespace {

// Dropout, attention, classes: everything random or looked up in a step.
std::unique_ptr<Pipeline> tiny_pipeline() {
  UNet2DConfig c;
  c.sample_height = c.sample_width = 8;
  c.in_channels = 2;  // a picture and a plane of its class
  c.out_channels = 1;
  c.down_block_types = {"DownBlock2D", "AttnDownBlock2D"};
  c.up_block_types = {"AttnUpBlock2D", "UpBlock2D"};
  c.block_out_channels = {8, 16};
  c.layers_per_block = 1;
  c.norm_num_groups = 4;
  c.attention_head_dim = 8;
  c.dropout = 0.2;
  ConditioningConfig classes;
  classes.kind = ClassConditioning::channels;
  classes.classes = 3;
  classes.planes = 1;
  auto pipeline = std::make_unique<Pipeline>(c, classes, SchedulerConfig{});
  PhiloxGenerator initial(1);
  pipeline->parameters.initialize(initial);
  pipeline->parameters.to(Device::cuda);
  return pipeline;
}

TrainingBatch tiny_batch(uint64_t seed, int64_t images) {
  PhiloxGenerator generator(seed);
  TrainingBatch made;
  made.clean = uniform(generator, {images, 8, 8, 1});
  made.noise = normal(generator, {images, 8, 8, 1});
  made.timesteps = integers(generator, {images}, 0, 1000);
  made.labels = integers(generator, {images}, 0, 3);
  made.dropout_seed = seed;
  return made;
}

struct Training {
  std::unique_ptr<Pipeline> pipeline = tiny_pipeline();
  Trainer trainer;

  Training() : trainer(*pipeline, options()) {}
  static OptimizerOptions options() {
    OptimizerOptions o{.learning_rate = 1e-2, .schedule = {"cosine", 5, 20}, .max_grad_norm = 0.5};
    o.use_ema = true;
    return o;
  }
  StepReport step(int64_t micro_batches, int64_t images) {
    const uint64_t seed = 100 * static_cast<uint64_t>(trainer.steps());
    return trainer.step(micro_batches, [&](int64_t i) { return tiny_batch(seed + static_cast<uint64_t>(i), images); });
  }
};

// Epochs of six steps of two micro-batches, whose last one has one.
std::vector<StepReport> train(Training& t, int64_t steps) {
  std::vector<StepReport> reports;
  for (int64_t i = 0; i < steps; ++i) reports.push_back(i % 6 == 5 ? t.step(1, 1) : t.step(2, 1));
  return reports;
}

}  // namespace

TEST_CASE("20 steps with a CUDA graph are 20 steps without, bit for bit", "[cuda][training]") {
  Training captured, plain;
  const std::vector<StepReport> with = train(captured, 20);
  const RungGuard guard("CUDA_GRAPH", "off");
  const std::vector<StepReport> without = train(plain, 20);
  CHECK(captured.trainer.uses_graph());
  CHECK(!plain.trainer.uses_graph());
  for (size_t i = 0; i < with.size(); ++i) {
    CHECK(with[i].loss == without[i].loss);
    CHECK(with[i].grad_norm == without[i].grad_norm);
  }
  const auto same = [](const Tensor& a, const Tensor& b) { return same_bits(a.to(Device::cpu), b.to(Device::cpu)); };
  CHECK(same(captured.pipeline->parameters.values(), plain.pipeline->parameters.values()));
  CHECK(same(captured.trainer.ema(), plain.trainer.ema()));
  CHECK(same(captured.trainer.adam().second_moment(), plain.trainer.adam().second_moment()));
}

TEST_CASE("a captured step that is not finite changes nothing, and is not counted", "[cuda][training]") {
  Training t;
  train(t, 3);
  const Tensor before = t.pipeline->parameters.values().to(Device::cpu).clone();
  const auto poisoned = [&](int64_t i) {
    TrainingBatch made = tiny_batch(static_cast<uint64_t>(i), 1);
    made.clean.fill(std::numeric_limits<double>::infinity());
    return made;
  };
  CHECK_THROWS_AS(t.trainer.step(2, poisoned), NotFinite);
  CHECK(t.trainer.steps() == 3);
  CHECK(same_bits(t.pipeline->parameters.values().to(Device::cpu), before));
  CHECK(std::isfinite(t.step(2, 1).loss));
}

TEST_CASE("a graph drops other elements at each launch, as its seed says", "[cuda]") {
  const Tensor x = Tensor::full({64}, 1, Dtype::f32, Device::cuda), y({64}, Dtype::f32, Device::cuda);
  const Tensor seed = Tensor::of<int64_t>({}, std::vector<int64_t>{0}).to(Device::cuda);
  const RecordedWork work([&] { y.copy_from(kernels::dropout(x, {.p = 0.5, .offset = 3, .device_seed = seed})); });
  for (const int64_t given : {7, 8}) {
    seed.copy_from(Tensor::of<int64_t>({}, std::vector{given}));
    work.launch();
    const DropoutOptions o{.p = 0.5, .seed = static_cast<uint64_t>(given), .offset = 3};
    CHECK(y.to_vector<float>() == kernels::dropout(x.to(Device::cpu), o).to_vector<float>());
  }
}

}  // namespace stipple

#include <limits>

#include "kernels/dropout.h"
#include "kernels/recorded_work.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/rung_guard.h"
#include "tests/tiny_training.h"

// Training steps captured as CUDA graphs, on a GPU or on the emulator.

namespace stipple {
namespace {

// Epochs of six steps of two micro-batches, whose last one has one.
std::vector<StepReport> train(TinyTraining& t, int64_t steps) {
  std::vector<StepReport> reports;
  for (int64_t i = 0; i < steps; ++i) reports.push_back(i % 6 == 5 ? t.step(1, 1) : t.step(2, 1));
  return reports;
}

}  // namespace

TEST_CASE("20 steps with a CUDA graph are 20 steps without, bit for bit", "[cuda][training]") {
  const MixedPrecision precision = GENERATE(MixedPrecision::no, MixedPrecision::bf16);
  INFO("--mixed-precision " << name_of(precision));
  TinyTraining captured(precision), plain(precision);
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
  if (precision == MixedPrecision::bf16)
    CHECK(same(captured.pipeline->parameters.rounded(), plain.pipeline->parameters.rounded()));
}

TEST_CASE("a captured step that is not finite changes nothing, and is not counted", "[cuda][training]") {
  TinyTraining t(MixedPrecision::bf16);
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

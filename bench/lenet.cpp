#include "bench/lenet.h"

#include <algorithm>

#include "diffusion/data/loader.h"
#include "nn/learning_rate.h"
#include "nn/optimizer.h"
#include "tensor/safetensors.h"

namespace stipple {
namespace {

constexpr int64_t kFilters1 = 16, kFilters2 = 32, kHidden = 128;
constexpr int64_t kBatch = 64, kTestBatch = 500;
constexpr double kLearningRate = 2e-3;

int64_t checked_classes(const Dataset& set) {
  check(set.labelled(), "classifier: the data set {} has no labels", set.name);
  return set.classes();
}

int64_t index_of_largest(const float* x, int64_t n) { return std::max_element(x, x + n) - x; }

}  // namespace

LeNet::LeNet(Scope s, int64_t height, int64_t width, int64_t channels, int64_t classes)
    : conv1(s / "conv1", channels, kFilters1, 3),
      conv2(s / "conv2", kFilters1, kFilters2, 3),
      fc1(s / "fc1", (height / 4) * (width / 4) * kFilters2, kHidden),
      fc2(s / "fc2", kHidden, classes) {}

Var LeNet::operator()(const Var& images) const {
  Var x = max_pool2d(relu(conv1(images)), 2);  // [N, H/2, W/2, 16]
  x = max_pool2d(relu(conv2(x)), 2);           // [N, H/4, W/4, 32]
  x = reshape(x, {x.dim(0), x.value().numel() / x.dim(0)});
  return fc2(relu(fc1(x)));
}

Classifier::Classifier(const Dataset& set)
    : net_(Scope(parameters_), set.height, set.width, set.channels, checked_classes(set)) {
  parameters_.allocate();
}

void Classifier::train(const Dataset& set, int64_t epochs, uint64_t seed,
                       const std::function<void(int64_t, int64_t, double)>& on_step) {
  const auto generator = make_generator("philox", seed);
  parameters_.initialize(*generator);
  parameters_.require_gradients(true);
  Adam adam(parameters_, {});
  const Loader loader(set, {.batch_size = kBatch, .seed = seed});
  const int64_t total = epochs * loader.batches();
  const LearningRateSchedule schedule{.name = "linear", .total_steps = total};
  for (int64_t step = 0; step < total; ++step) {
    const Batch batch = loader.at(step);
    parameters_.clear_gradients();
    const Var loss = cross_entropy(net_(batch.images), batch.labels);
    backward(loss);
    adam.step(kLearningRate * schedule.factor(step), 0);
    on_step(step + 1, total, loss.value().item<float>());
  }
  parameters_.require_gradients(false);
}

void Classifier::save(const std::string& safetensors) const {
  save_safetensors(safetensors, parameters_.to_file(parameters_.values()));
}

void Classifier::load(const std::string& safetensors) {
  const SafetensorsFile file(safetensors);
  std::map<std::string, Shape> present;
  for (const std::string& name : file.names()) present[name] = file.shape(name);
  parameters_.from_file(
      parameters_.values(), present,
      [&](const Tensor& to, const std::string& name, bool channels_last) { file.load_into(to, name, channels_last); },
      safetensors);
}

std::vector<int64_t> Classifier::classify(const Tensor& images) const {
  const NoGrad no_grad;
  const Tensor logits = net_(images).value();
  std::vector<int64_t> classes;
  for (int64_t i = 0; i < logits.dim(0); ++i)
    classes.push_back(index_of_largest(logits[i].data<float>(), logits.dim(1)));
  return classes;
}

double Classifier::accuracy(const Dataset& set) const {
  const Loader loader(set, {.batch_size = kTestBatch, .shuffle = false});
  int64_t right = 0;
  for (int64_t i = 0; i < loader.batches(); ++i) {
    const Batch batch = loader.at(i);
    const std::vector<int64_t> found = classify(batch.images);
    for (size_t k = 0; k < found.size(); ++k) right += found[k] == batch.labels.data<int64_t>()[k];
  }
  return static_cast<double>(right) / static_cast<double>(set.size());
}

}  // namespace stipple

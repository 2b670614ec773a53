#pragma once
#include <functional>
#include <string>
#include <vector>

#include "diffusion/data/dataset.h"
#include "nn/layers.h"

// A judge of drawn digits: a small classifier, trained in a minute.

namespace stipple {

// The plan of LeCun et al. 1998, "Gradient-based learning applied to document recognition", section II: twice a
// convolution and a pooling, then two layers; with ReLU, max pooling and more channels.
struct LeNet {
  Conv2d conv1, conv2;
  Linear fc1, fc2;

  LeNet(Scope, int64_t height, int64_t width, int64_t channels, int64_t classes);
  Var operator()(const Var& images) const;  // [N, H, W, C] in [-1, 1] -> logits [N, classes]
};

class Classifier {
 public:
  explicit Classifier(const Dataset&);  // for pictures of its size and classes; not initialised
  Classifier(const Classifier&) = delete;
  Classifier& operator=(const Classifier&) = delete;

  // From the start; on_step hears of every step.
  void train(const Dataset&, int64_t epochs, uint64_t seed,
             const std::function<void(int64_t done, int64_t total, double loss)>& on_step);
  void save(const std::string& safetensors) const;
  void load(const std::string& safetensors);  // throws where it holds another network

  std::vector<int64_t> classify(const Tensor& images) const;  // [N, H, W, C] -> a class each
  double accuracy(const Dataset&) const;                      // share of its pictures that are recognised

 private:
  Parameters parameters_;
  LeNet net_;
};

}  // namespace stipple

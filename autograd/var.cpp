#include "autograd/var.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "autograd/random_stream.h"

namespace stipple {
namespace {

thread_local uint64_t next_sequence = 0;
thread_local bool recording_on = true;
thread_local std::function<void(const std::string&)> operation_seen;

// While a checkpointed segment runs for the first time: the nodes it reads from outside.
struct Collector {
  std::vector<std::shared_ptr<Node>> nodes;
  std::unordered_set<Node*> known;
};
thread_local Collector* collector = nullptr;

void collect(const std::vector<Var>& inputs) {
  for (const Var& input : inputs)
    if (input.node() && collector->known.insert(input.node().get()).second) collector->nodes.push_back(input.node());
}

class Collecting {
 public:
  explicit Collecting(Collector& into) : before_(collector) { collector = &into; }
  ~Collecting() { collector = before_; }

 private:
  Collector* before_;
};

class Recording {
 public:
  Recording() : before_(recording_on) { recording_on = true; }
  ~Recording() { recording_on = before_; }

 private:
  bool before_;
};

}  // namespace

// A node whose last owner is this one is taken apart before it dies, so that no destructor runs inside another.
Node::~Node() {
  backward = nullptr;
  std::vector<std::shared_ptr<Node>> dying = std::move(inputs);
  while (!dying.empty()) {
    const std::shared_ptr<Node> node = std::move(dying.back());
    dying.pop_back();
    if (!node || node.use_count() > 1) continue;
    node->backward = nullptr;
    std::move(node->inputs.begin(), node->inputs.end(), std::back_inserter(dying));
    node->inputs.clear();
  }
}

const Tensor& Var::gradient() const {
  check(node_ && node_->leaf, "gradient: only leaves keep one; use grad(y, {{x}}) for inner results");
  return node_->gradient.to;
}

Var leaf(Tensor value, std::string name) {
  auto node = std::make_shared<Node>(std::move(name), next_sequence++);
  node->leaf = true;
  node->shape = value.shape();
  node->dtype = value.dtype();
  return Var(std::move(value), std::move(node));
}

Var record(const char* operation, Tensor y, const std::vector<Var>& inputs, Backward backward) {
  const bool any = std::any_of(inputs.begin(), inputs.end(), [](const Var& v) { return v.requires_grad(); });
  if (!recording_on || !any) return Var(std::move(y));
  if (operation_seen) operation_seen(operation);
  if (collector) {
    collect(inputs);
    return Var(std::move(y));
  }
  auto node = std::make_shared<Node>(operation, next_sequence++);
  node->shape = y.shape();
  node->dtype = y.dtype();
  node->backward = std::move(backward);
  for (const Var& input : inputs) node->inputs.push_back(input.node());
  return Var(std::move(y), std::move(node));
}

Var record(const char* operation, Tensor y, std::initializer_list<Var> inputs, Backward backward) {
  return record(operation, std::move(y), std::vector<Var>(inputs), std::move(backward));
}

bool recording() { return recording_on && !collector; }
NoGrad::NoGrad() : before_(recording_on) { recording_on = false; }
NoGrad::~NoGrad() { recording_on = before_; }

Var checkpoint(const std::function<Var()>& segment) {
  if (!recording()) return segment();
  const std::optional<RandomPosition> random = RandomStream::position();
  Collector outside;
  Var y;
  {
    Collecting collecting(outside);
    y = segment();
  }
  if (y.requires_grad() || outside.nodes.empty()) return y;  // the segment made nothing of its own
  std::vector<Var> inputs;
  for (const auto& node : outside.nodes) inputs.emplace_back(Tensor(), node);
  return record("checkpoint", y.value(), inputs,
                [segment, inputs, random](const Tensor& dy, Destinations& to) {
                  Recording on;
                  const RandomStream same_numbers(random);
                  const Var again = segment();
                  std::vector<Var> wanted;
                  for (size_t i = 0; i < inputs.size(); ++i)
                    if (to.wanted(i)) wanted.push_back(inputs[i]);
                  const std::vector<Tensor> gradients = grad_of_segment(again, wanted, dy);
                  for (size_t i = 0, next = 0; i < inputs.size(); ++i)
                    if (to.wanted(i)) to.set(i, gradients[next++]);
                })
      .with_moments(y.moments());
}

OperationWatch::OperationWatch(std::function<void(const std::string&)> seen)
    : before_(std::exchange(operation_seen, std::move(seen))) {}
OperationWatch::~OperationWatch() { operation_seen = before_; }

}  // namespace stipple

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "autograd/var.h"
#include "kernels/arithmetic.h"

// The backward sweep. One engine serves backward(y), whose gradients go to the leaves' own places, and grad(y, xs),
// which returns them. A node's closure and what it saved die as soon as it has run.

namespace stipple {

class Sweep {
 public:
  // into_leaves: gradients go to every leaf. stop_at_wanted: what lies beyond the wanted nodes is not looked at.
  Sweep(const Var& y, const std::vector<Var>& wanted, bool into_leaves, bool stop_at_wanted)
      : root_(y.node()), into_leaves_(into_leaves), stop_at_wanted_(stop_at_wanted) {
    for (const Var& x : wanted) {
      check(x.requires_grad(), "grad: one of the inputs does not require a gradient");
      wanted_[x.node().get()] = Tensor();
    }
    collect_nodes();
    mark_needed();
  }

  void run(const Tensor& dy) {
    pending_[root_.get()] = {dy, true};
    while (!order_.empty()) {
      const std::shared_ptr<Node> node = std::move(order_.back());
      order_.pop_back();
      if (needed_[node.get()]) visit(*node);
    }
  }

  Tensor take(const Var& x) const { return wanted_.at(x.node().get()); }

 private:
  struct Pending {
    Tensor sum;
    bool shared = false;  // somebody else may hold it: do not write into it
  };

  void collect_nodes() {
    std::vector<std::shared_ptr<Node>> todo{root_};
    while (!todo.empty()) {
      std::shared_ptr<Node> node = std::move(todo.back());
      todo.pop_back();
      if (!needed_.emplace(node.get(), false).second) continue;
      check(!node->freed, "backward: the graph was already swept and freed at '{}'; build it again", node->operation);
      if (!ends_at(*node))
        for (const auto& input : node->inputs)
          if (input) todo.push_back(input);
      order_.push_back(std::move(node));
    }
    std::sort(order_.begin(), order_.end(), [](const auto& a, const auto& b) { return a->sequence < b->sequence; });
  }

  bool ends_at(Node& node) const { return stop_at_wanted_ && wanted_.count(&node) > 0; }

  // A node is needed where a wanted node lies at or below it.
  void mark_needed() {
    for (const auto& node : order_) {
      bool needed = wanted_.count(node.get()) > 0 || (into_leaves_ && node->leaf);
      for (const auto& input : node->inputs) needed = needed || (input && is_needed(input.get()));
      needed_[node.get()] = needed;
    }
  }

  bool is_needed(Node* node) const {
    const auto found = needed_.find(node);
    return found != needed_.end() && found->second;
  }

  void visit(Node& node) {
    const auto found = pending_.find(&node);
    if (found == pending_.end()) return;
    const Pending arrived = std::move(found->second);
    pending_.erase(found);
    if (const auto x = wanted_.find(&node); x != wanted_.end()) x->second = arrived.sum;
    if (node.leaf && into_leaves_) deposit(node, arrived);
    if (!node.backward || ends_at(node)) return;
    const bool below = std::any_of(node.inputs.begin(), node.inputs.end(),
                                   [&](const auto& input) { return input && is_needed(input.get()); });
    if (below) differentiate(node, arrived.sum);
  }

  void differentiate(Node& node, const Tensor& dy) {
    const Backward backward = std::move(node.backward);
    const std::vector<std::shared_ptr<Node>> inputs = std::move(node.inputs);
    node.backward = nullptr;
    node.inputs.clear();
    node.freed = true;
    Destinations to = destinations(inputs, dy.device());
    backward(dy, to);
    for (size_t i = 0; i < inputs.size(); ++i) {
      auto& slot = to.slots_[i];
      if (!slot.wanted) continue;
      check(slot.given, "{}: the backward pass gave no gradient for input {}", node.operation, i);
      if (slot.gradient) accumulate(*inputs[i], std::move(slot.gradient), slot.shared);
    }
  }

  Destinations destinations(const std::vector<std::shared_ptr<Node>>& inputs, Device device) {
    Destinations to;
    to.device_ = device;
    to.slots_.resize(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      auto& slot = to.slots_[i];
      slot.wanted = inputs[i] && is_needed(inputs[i].get());
      // Written directly only by the first of several uses in one operation, and only where nothing waits to be
      // deposited.
      const bool first = std::find(inputs.begin(), inputs.begin() + i, inputs[i]) == inputs.begin() + i;
      if (slot.wanted && into_leaves_ && inputs[i]->leaf && first) slot.leaf = inputs[i].get();
    }
    return to;
  }

  void accumulate(Node& node, Tensor gradient, bool shared) {
    check(gradient.shape() == node.shape, "backward: '{}' is {}, its gradient {}", node.operation,
          to_string(node.shape), describe(gradient));
    auto [slot, fresh] = pending_.try_emplace(&node);
    Pending& pending = slot->second;
    if (fresh) {
      pending = {std::move(gradient), shared};
    } else if (pending.shared) {
      pending = {kernels::binary(Binary::add, pending.sum, gradient), false};
    } else {
      kernels::accumulate(pending.sum, gradient);
    }
  }

  // At a leaf, what arrived as activations' gradients joins what parameter() wrote in place.
  static void deposit(Node& node, const Pending& arrived) {
    Grad& place = node.gradient;
    if (!place.to)
      place.to = arrived.shared ? arrived.sum.clone() : arrived.sum;
    else if (place.add)
      kernels::accumulate(place.to, arrived.sum);
    else
      place.to.copy_from(arrived.sum);
    place.add = true;
  }

  std::shared_ptr<Node> root_;
  bool into_leaves_, stop_at_wanted_;
  std::vector<std::shared_ptr<Node>> order_;  // ascending; swept from the back
  std::unordered_map<Node*, bool> needed_;
  std::unordered_map<Node*, Tensor> wanted_;
  std::unordered_map<Node*, Pending> pending_;
};

bool Destinations::wanted(size_t input) const { return slots_.at(input).wanted; }

Tensor Destinations::activation(size_t input, const Shape& shape, Dtype dtype) {
  Slot& slot = slots_.at(input);
  if (!slot.wanted) return {};
  slot.gradient = Tensor(shape, dtype, device_);
  slot.given = true;
  return slot.gradient;
}

Tensor Destinations::activation(size_t input, const Tensor& like) {
  return wanted(input) ? activation(input, like.shape(), like.dtype()) : Tensor();
}

Grad Destinations::parameter(size_t input, const Shape& shape, Dtype dtype) {
  Slot& slot = slots_.at(input);
  const Dtype kept = dtype == Dtype::bf16 ? Dtype::f32 : dtype;  // sums over all there is are not rounded to bf16
  if (!slot.leaf) return {activation(input, shape, kept)};
  Grad& place = slot.leaf->gradient;
  if (!place.to) place.to = Tensor(shape, kept, device_);
  slot.given = true;
  return {place.to, std::exchange(place.add, true)};
}

void Destinations::set(size_t input, Tensor gradient) {
  Slot& slot = slots_.at(input);
  if (!slot.wanted) return;
  slot.gradient = std::move(gradient);
  slot.given = slot.shared = true;
}

namespace {

Tensor upstream(const Var& y, const Tensor& dy) {
  check(y.requires_grad(), "backward: the output does not depend on anything that requires a gradient");
  check(!dy || (dy.shape() == y.shape() && dy.dtype() == y.value().dtype()), "backward: gradient {} for output {}",
        describe(dy), describe(y.value()));
  return dy ? dy : Tensor::full(y.shape(), 1, y.value().dtype(), y.value().device());
}

Tensor zero_gradient(const Var& x, const Var& y) {
  return Tensor::zeros(x.node()->shape, x.node()->dtype, y.value().device());
}

std::vector<Tensor> gradients(const Var& y, const std::vector<Var>& xs, const Tensor& dy, bool stop_at_wanted) {
  Sweep sweep(y, xs, false, stop_at_wanted);
  sweep.run(upstream(y, dy));
  std::vector<Tensor> found;
  for (const Var& x : xs) {
    const Tensor gradient = sweep.take(x);
    found.push_back(gradient ? gradient : zero_gradient(x, y));
  }
  return found;
}

}  // namespace

void backward(const Var& y, const Tensor& dy) {
  const Tensor start = upstream(y, dy);
  Sweep(y, {}, true, false).run(start);
}

std::vector<Tensor> grad(const Var& y, const std::vector<Var>& xs, const Tensor& dy) {
  return gradients(y, xs, dy, false);
}

std::vector<Tensor> grad_of_segment(const Var& y, const std::vector<Var>& xs, const Tensor& dy) {
  if (y.requires_grad()) return gradients(y, xs, dy, true);
  std::vector<Tensor> zeros;
  for (const Var& x : xs) zeros.push_back(zero_gradient(x, y));
  return zeros;
}

}  // namespace stipple

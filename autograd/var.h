#pragma once
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "tensor/tensor.h"

// Reverse-mode differentiation on a tape.
//
// A Var is a Tensor and, where gradients are wanted, the graph node that made it. Nodes are numbered as they are made,
// and an operation's inputs exist before it does: the numbers are a topological order, and the backward sweep
// (engine.cpp) simply walks them downwards. Backward closures capture Tensors, never Vars, so no cycle can exist.

namespace stipple {

class Destinations;
// Given dy, the gradient of the output, puts the gradients of the inputs where `to` says.
using Backward = std::function<void(const Tensor& dy, Destinations& to)>;

struct Node {
  Node(std::string operation_name, uint64_t number) : operation(std::move(operation_name)), sequence(number) {}
  ~Node();  // without recursion: a chain of a million nodes may hang on this one

  std::string operation;  // "conv2d"; for a leaf, its name
  uint64_t sequence;
  bool leaf = false;
  bool freed = false;                         // swept already
  std::vector<std::shared_ptr<Node>> inputs;  // null where no gradient can flow
  Shape shape;                                // of the output
  Dtype dtype = Dtype::f32;                   // likewise
  Backward backward;
  Grad gradient;  // leaves: where backward(y) puts the gradient; add once something is there
};

class Var {
 public:
  Var() = default;
  Var(Tensor value) : value_(std::move(value)) {}  // a constant
  Var(Tensor value, std::shared_ptr<Node> node) : value_(std::move(value)), node_(std::move(node)) {}

  const Tensor& value() const { return value_; }
  const Shape& shape() const { return value_.shape(); }
  int64_t dim(int i) const { return value_.dim(i); }
  bool defined() const { return value_.defined(); }
  bool requires_grad() const { return node_ != nullptr; }
  const std::shared_ptr<Node>& node() const { return node_; }
  Var detach() const { return Var(value_); }
  // What the operation that made the value knows of it besides: the moments of its channels (kernels/conv2d.h).
  const Tensor& moments() const { return moments_; }
  Var with_moments(Tensor moments) && {
    moments_ = std::move(moments);
    return std::move(*this);
  }
  const Tensor& gradient() const;  // of a leaf, after backward(y); undefined before

 private:
  Tensor value_, moments_;
  std::shared_ptr<Node> node_;
};

// A Var that gradients are taken with respect to.
Var leaf(Tensor value, std::string name = "leaf");

// What a backward closure sees of the inputs, by their position in record().
class Destinations {
 public:
  bool wanted(size_t input) const;
  // A fresh tensor for the gradient of an input like `like` (the saved input, or anything of its shape and dtype);
  // undefined where the gradient is not wanted.
  Tensor activation(size_t input, const Tensor& like);
  Tensor activation(size_t input, const Shape&, Dtype);
  // The final place of a parameter's gradient, and whether to add to what is there.
  Grad parameter(size_t input, const Shape&, Dtype);
  // The gradient is this tensor; nothing is copied. It may be shared: the engine never writes into it.
  void set(size_t input, Tensor gradient);

 private:
  friend class Sweep;
  struct Slot {
    bool wanted = false;
    bool given = false;
    bool shared = false;  // the gradient belongs to somebody else too
    Tensor gradient;
    Node* leaf = nullptr;  // a leaf whose own place may be written directly
  };
  std::vector<Slot> slots_;
  Device device_ = Device::cpu;  // of dy, and so of the gradients
};

// The result of an operation: y, and its node where recording is on and an input wants gradients.
Var record(const char* operation, Tensor y, std::initializer_list<Var> inputs, Backward);
Var record(const char* operation, Tensor y, const std::vector<Var>& inputs, Backward);

// For closures: keeps t only where its gradient consumer exists.
inline Tensor save_if(bool needed, const Tensor& t) { return needed ? t : Tensor(); }

// Whether record() makes nodes now.
bool recording();
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};

// Gradients of y (weighted by dy; ones where undefined) with respect to all leaves it depends on, into their
// destinations.
void backward(const Var& y, const Tensor& dy = {});

// The same sweep, for chosen xs only (leaves or inner results): one tensor each, zeros where y does not depend on x.
// Parameters that are not asked for cost no weight-gradient kernels.
std::vector<Tensor> grad(const Var& y, const std::vector<Var>& xs, const Tensor& dy = {});

// For checkpoint(): like grad, without looking beyond the xs; y may be a constant.
std::vector<Tensor> grad_of_segment(const Var& y, const std::vector<Var>& xs, const Tensor& dy);

// Runs segment() now without keeping its activations, and again in the backward sweep (Chen et al. 2016,
// arXiv:1604.06174), with the same random numbers (random_stream.h). The Vars it depends on are found by running it.
Var checkpoint(const std::function<Var()>& segment);

// Calls `seen` with the name of every operation recorded on this thread while it lives: tests use it.
class OperationWatch {
 public:
  explicit OperationWatch(std::function<void(const std::string&)> seen);
  ~OperationWatch();

 private:
  std::function<void(const std::string&)> before_;
};

}  // namespace stipple

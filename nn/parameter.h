#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "autograd/var.h"
#include "tensor/random.h"

// Parameters by path. A module is a plain struct built from a Scope; the names it gives its parameters are those of its
// state dict in PyTorch ("down_blocks.0.resnets.1.conv1.weight").
//
// Building a module only declares its parameters. Parameters::allocate() then lays them all out in one flat arena (and
// their gradients in another), so that clipping, AdamW and EMA are one pass over memory. Frozen parameters, which files
// hold but training leaves alone, lie behind the others.

namespace stipple {

// How the files of the ecosystem hold a parameter.
enum class FileLayout { same, oihw };  // oihw: a convolution's weight, which is OHWI here

// PyTorch's default initialisations.
struct Init {
  enum class Kind { uniform, normal, constant } kind;
  double value;  // bound of U(-b, b), deviation of N(0, s^2), or the constant

  static Init uniform(double bound) { return {Kind::uniform, bound}; }
  static Init normal(double deviation) { return {Kind::normal, deviation}; }
  static Init constant(double c) { return {Kind::constant, c}; }
};

// A handle on one parameter; copies are the same parameter.
class Parameter {
 public:
  struct State {
    std::string name;
    Shape shape;
    Init init;
    FileLayout layout;
    bool trainable;
    Tensor value;                          // a slice of the arena, once allocated
    std::shared_ptr<Node> node;            // the leaf of the graph; null while frozen
    int64_t offset = 0;                    // of the slice, in elements
    Tensor rounded;                        // the same slice of the rounded arena, where there is one
    std::optional<uint64_t> rounded_from;  // the version of the value that `rounded` was made from
  };

  Parameter() = default;
  explicit Parameter(std::shared_ptr<State> state) : state_(std::move(state)) {}

  bool defined() const { return state_ != nullptr; }
  const std::string& name() const { return state_->name; }
  const Shape& shape() const { return state_->shape; }
  int64_t dim(int i) const { return state_->shape[i]; }
  const Tensor& value() const { return state_->value; }
  FileLayout layout() const { return state_->layout; }
  bool trainable() const { return state_->trainable; }
  operator Var() const { return state_ ? Var(state_->value, state_->node) : Var(); }
  // As a layer multiplies by it whose activations are `dtype`: the value, or its copy rounded to that dtype where
  // Parameters::compute_in() keeps one, made anew if the value was written since. The gradient is the parameter's.
  Var in(Dtype dtype) const;
  Dtype compute_dtype() const { return (state_->rounded ? state_->rounded : state_->value).dtype(); }

 private:
  friend class Parameters;
  std::shared_ptr<State> state_;
};

class Parameters {
 public:
  // Before allocate(); a second use of a name throws.
  Parameter add(std::string name, const Shape&, Init, FileLayout, bool trainable = true);

  void allocate(Dtype = Dtype::f32, Device = Device::cpu);  // values are not initialised
  void initialize(Generator&);  // in the order of declaration, elements in the order of the file: PyTorch's order

  // Declared order.
  const std::vector<Parameter>& all() const { return parameters_; }
  Parameter find(const std::string& name) const;  // undefined where there is none
  int64_t count() const;                          // elements, without the arena's padding

  // The arenas: 64-byte aligned slices, padding zero.
  const Tensor& values() const { return values_; }
  const Tensor& gradients() const { return gradients_; }
  void set_values(const Tensor& arena);  // the parameters become slices of this one (e.g. the EMA); nothing is copied
  Device device() const { return values_.device(); }
  void to(Device device) { set_values(values_.to(device)); }  // before gradients are required
  Tensor trainable(const Tensor& arena) const;                // the part of an arena that training changes

  // What layers compute in: the values' own dtype (the default), or bf16 on CUDA. Then a third arena holds the values
  // rounded, for Parameter::in().
  void compute_in(Dtype);
  const Tensor& rounded() const { return rounded_; }  // undefined where layers compute in the values' own dtype
  void round() const;                                 // what is out of date
  void mark_rounded() const;                          // the optimizer has written values and rounded ones together

  // Wanting gradients is off after allocate(): a network that only samples keeps none.
  void require_gradients(bool);
  void clear_gradients();     // the next backward pass overwrites; memory is not touched
  void complete_gradients();  // zeros for what the last backward passes did not reach

  // Named tensors in the layout of files. `arena` is any arena of this shape (values, gradients, EMA, moments).
  std::vector<std::pair<std::string, Tensor>> to_file(const Tensor& arena) const;
  // Old files may hold what is now `path` (a module, "mid_block.attentions.0.to_q") under `old_path`.
  void renamed(const std::string& old_path, const std::string& path) { old_paths_[old_path] = path; }
  // All missing, unexpected and mis-shaped names of a file are reported together, by name. Needs no arena: what a
  // configuration promises is compared with what is there before memory is taken for it.
  void check_file(const std::map<std::string, Shape>& present, const std::string& file) const;
  // Fills `to` with a tensor of the file, [A,B,...] with its channels last, [A,...,B], where that is said.
  using Source = std::function<void(const Tensor& to, const std::string& name, bool channels_last)>;
  void from_file(const Tensor& arena, const std::map<std::string, Shape>& present, const Source&,
                 const std::string& file) const;

 private:
  Tensor slice(const Tensor& arena, const Parameter&) const;  // undefined of none
  std::string current_name(const std::string& name_in_file) const;
  std::map<std::string, std::string> names_in_file(const std::map<std::string, Shape>& present,
                                                   const std::string& file) const;
  void check_gradients() const;

  std::vector<Parameter> parameters_;
  std::map<std::string, size_t> by_name_;
  std::map<std::string, std::string> old_paths_;
  int64_t trainable_ = 0;  // elements of the arena's front
  Tensor values_, gradients_, rounded_;
};

// Where in a tree of modules we are.
class Scope {
 public:
  explicit Scope(Parameters& to, std::string path = "") : to_(&to), path_(std::move(path)) {}

  Scope operator/(const std::string& child) const { return Scope(*to_, path_.empty() ? child : path_ + "." + child); }
  Scope operator/(int64_t index) const { return *this / std::to_string(index); }
  const std::string& path() const { return path_; }

  Parameter parameter(const std::string& name, const Shape& shape, Init init,
                      FileLayout layout = FileLayout::same) const {
    return to_->add((*this / name).path(), shape, init, layout);
  }
  // What files once called `old` is the child `now`.
  void renamed(const std::string& old, const std::string& now) const {
    to_->renamed((*this / old).path(), (*this / now).path());
  }
  Parameter frozen(const std::string& name, const Shape& shape, Init init) const {
    return to_->add((*this / name).path(), shape, init, FileLayout::same, false);
  }

 private:
  Parameters* to_;
  std::string path_;
};

}  // namespace stipple

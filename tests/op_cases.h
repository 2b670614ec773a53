#pragma once
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "autograd/ops.h"
#include "tests/catch.h"

// An operation is declared once, in tests/ops/, as a list of cases:
//
//   OP_CASES(conv2d) {
//     add({.inputs = {normal({2, 7, 5, 3}), normal({4, 3, 3, 3}), normal({4})},
//          .call = [](auto& in) { return conv2d(in[0], in[1], in[2], {1, Padding::same(1)}); }});
//   }
//
// and every case is then a test, tagged with the operation's name, of what all operations owe:
//   - backward is the derivative of forward: central differences in f64, for every input
//   - f32 is as close to f64 as the case's tolerance says, forward and backward
//   - the same bits from 1 thread and 2, from two runs, and from poisoned memory: every output is written
//   - the gradient of one input is the same bits whether or not the others want theirs
//   - backward() writes what grad() returns, and a second one adds to it
// The registry is also what other programs go by: the benchmarks' rows, and the list of operations that are checked.

namespace stipple {

// Normal numbers, drawn afresh for every case; f32 numbers in whatever dtype they are asked for.
struct OpInput {
  Shape shape;
  double mean = 0, deviation = 1;
  bool parameter = false;  // stays f32 where the others are bf16
};
inline OpInput normal(const Shape& shape, double mean = 0, double deviation = 1) { return {shape, mean, deviation}; }
inline OpInput parameter(const Shape& shape, double mean = 0, double deviation = 1) {
  return {shape, mean, deviation, true};
}

struct OpCase {
  std::string name = {};  // what tells it from others of the same shapes
  std::vector<OpInput> inputs;
  std::function<Var(const std::vector<Var>& in)> call;
  double tolerance = 1e-6;     // of f32 against f64, relative L2
  double bytes = 0, flop = 0;  // that the forward pass must move and compute, for benchmarks; 0: not said
};

class OpCases {
 public:
  void operator()(OpCase c) { cases_.push_back(std::move(c)); }
  const std::vector<OpCase>& all() const { return cases_; }

 private:
  std::vector<OpCase> cases_;
};

// The cases of one operation; it registers itself when the program starts.
class OpFamily {
 public:
  using Declare = void(OpCases& add);
  OpFamily(const char* name, Declare* declare);

  const char* name() const { return name_; }
  std::vector<OpCase> cases() const;
  static const std::vector<const OpFamily*>& all();
  static const OpFamily& named(const std::string& name);

 private:
  const char* name_;
  Declare* declare_;
};

std::string title(const OpCase&);                          // "stride 2 [2,7,5,3] [4,3,3,3]"
std::vector<Tensor> make_inputs(const OpCase&, Dtype);     // the same numbers for every dtype
std::set<std::string> operations_recorded(const OpCase&);  // by its call
std::set<std::string> checked_operations();                // by the calls of all cases there are

struct OpResult {
  Tensor y;
  std::vector<Tensor> gradients;  // of the inputs
};
// Forward, and backward from a gradient that is N(0, 1), its numbers rounded to `gradient`.
OpResult evaluate(const OpCase&, const std::vector<Tensor>& inputs, Dtype gradient = Dtype::f32);

void check_cases(const OpFamily&);  // all of the above, as Catch2 assertions

#define OP_CASES(operation)                                                               \
  static void operation##_cases(::stipple::OpCases& add);                                 \
  static const ::stipple::OpFamily operation##_family(#operation, operation##_cases);     \
  TEST_CASE(#operation " keeps what every operation promises", "[ops][" #operation "]") { \
    ::stipple::check_cases(operation##_family);                                           \
  }                                                                                       \
  static void operation##_cases(::stipple::OpCases& add)

}  // namespace stipple

#pragma once
#include <utility>

#include "autograd/var.h"

// Operations that move elements and compute nothing.

namespace stipple {

Var reshape(const Var& x, const Shape&);                          // shares elements
Var broadcast_to(const Var& x, const Shape&);                     // repeats x, as in PyTorch
Var slice(const Var& x, int64_t begin, int64_t end);              // rows [begin, end) of the leading dimension
Var concat_channels(const Var& a, const Var& b);                  // [..., Ca], [..., Cb] -> [..., Ca+Cb]
std::pair<Var, Var> split_channels(const Var& x, int64_t first);  // [..., C] -> [..., first], [..., C-first]

}  // namespace stipple

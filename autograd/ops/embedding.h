#pragma once
#include "autograd/var.h"

namespace stipple {

// Rows of a table [R, D] by index, i64 [N] -> [N, D]. An index outside the table is an error that names it.
Var embedding(const Var& table, const Tensor& indices);

}  // namespace stipple

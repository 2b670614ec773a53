#include "tests/op_cases.h"

namespace stipple {
namespace {

struct Dims {
  int64_t m, n, k;
};

const std::vector<Dims> kDims = {{1, 1, 1},    {3, 17, 1},    {1, 17, 3},   {17, 1, 33},   {7, 5, 3},
                                 {64, 48, 32}, {65, 33, 129}, {1, 256, 64}, {200, 130, 70}};

}  // namespace

OP_CASES(matmul) {
  for (const auto& [m, n, k] : kDims)
    add({.inputs = {normal({m, k}), normal({k, n})},
         .call = [](auto& in) { return matmul(in[0], in[1]); },
         .flop = 2.0 * m * n * k});
}

OP_CASES(linear) {
  for (const auto& [m, n, k] : kDims) {
    add({.inputs = {normal({m, k}), normal({n, k}), parameter({n})},
         .call = [](auto& in) { return linear(in[0], in[1], in[2]); },
         .flop = 2.0 * m * n * k});
    add({.name = "no bias", .inputs = {normal({m, k}), normal({n, k})}, .call = [](auto& in) {
           return linear(in[0], in[1], {});
         }});
  }
  add({.name = "tokens", .inputs = {normal({2, 7, 12}), normal({5, 12}), parameter({5})}, .call = [](auto& in) {
         return linear(in[0], in[1], in[2]);
       }});
  add({.name = "one vector", .inputs = {normal({12}), normal({5, 12}), parameter({5})}, .call = [](auto& in) {
         return linear(in[0], in[1], in[2]);
       }});
}

}  // namespace stipple

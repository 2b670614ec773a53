#include "tests/op_cases.h"

namespace stipple {

OP_CASES(reshape) {
  add({.inputs = {normal({2, 7, 5, 3})}, .call = [](auto& in) { return reshape(in[0], {2, 35, 3}); }});
  add({.name = "to a scalar", .inputs = {normal({1, 1})}, .call = [](auto& in) { return reshape(in[0], {}); }});
}

OP_CASES(broadcast_to) {
  add({.inputs = {normal({3, 1, 1, 17})}, .call = [](auto& in) { return broadcast_to(in[0], {3, 7, 5, 17}); }});
  add({.inputs = {normal({})}, .call = [](auto& in) { return broadcast_to(in[0], {2, 3}); }});
  add({.inputs = {normal({5, 1})}, .call = [](auto& in) { return broadcast_to(in[0], {2, 5, 3}); }});
  add({.name = "to itself", .inputs = {normal({5, 3})}, .call = [](auto& in) { return broadcast_to(in[0], {5, 3}); }});
}

OP_CASES(slice) {
  const std::vector<OpInput> inputs = {normal({5, 7, 3})};
  add({.inputs = inputs, .call = [](auto& in) { return slice(in[0], 1, 4); }});
  add({.name = "all", .inputs = inputs, .call = [](auto& in) { return slice(in[0], 0, 5); }});
  add({.name = "two that overlap", .inputs = inputs, .call = [](auto& in) {
         return slice(in[0], 0, 3) * slice(in[0], 2, 5);
       }});
}

OP_CASES(concat_channels) {
  for (const auto& [a, b] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 17}, {17, 3}, {64, 32}})
    for (const Shape& pixels : {Shape{}, {1, 1, 1}, {3, 7, 5}, {2, 32, 32}}) {
      Shape left = pixels, right = pixels;
      left.push_back(a);
      right.push_back(b);
      add({.inputs = {normal(left), normal(right)},
           .call = [](auto& in) { return concat_channels(in[0], in[1]); },
           .bytes = 8.0 * (left.numel() + right.numel())});
    }
}

OP_CASES(split_channels) {
  for (const auto& [whole, first] : std::vector<std::pair<int64_t, int64_t>>{{2, 1}, {20, 3}, {96, 64}}) {
    const std::vector<OpInput> inputs = {normal({3, 7, 5, whole})};
    add({.name = "the first", .inputs = inputs, .call = [=](auto& in) { return split_channels(in[0], first).first; }});
    add({.name = "the rest", .inputs = inputs, .call = [=](auto& in) { return split_channels(in[0], first).second; }});
  }
  add({.name = "both", .inputs = {normal({3, 7, 5, 6})}, .call = [](auto& in) {
         const auto [left, right] = split_channels(in[0], 3);
         return left * right;
       }});
}

}  // namespace stipple

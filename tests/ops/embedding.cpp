#include "tests/op_cases.h"

namespace stipple {
namespace {

// Rows 0, 3, 6, ... of a table, wrapping around: some are taken often, others never.
Tensor every_third(int64_t count, int64_t rows) {
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < count; ++i) indices.push_back(3 * i % rows);
  return Tensor::of({count}, indices);
}

}  // namespace

OP_CASES(embedding) {
  for (const auto& [rows, width, count] :
       std::vector<std::array<int64_t, 3>>{{1, 1, 1}, {10, 17, 3}, {3, 5, 16}, {1000, 64, 7}, {11, 3, 1000}})
    add({.name = fmt::format("{} of", count),
         .inputs = {normal({rows, width})},
         .call = [indices = every_third(count, rows)](auto& in) {
           return embedding(in[0], indices.to(in[0].value().device()));
         }});
}

TEST_CASE("embedding names an index that the table does not have", "[ops][embedding]") {
  const Var table = Tensor::zeros({10, 4});
  CHECK_THROWS_WITH(embedding(table, Tensor::full({2}, 10, Dtype::i64)), Contains("10"));
  CHECK_THROWS_WITH(embedding(table, Tensor::full({2}, -1, Dtype::i64)), Contains("-1"));
}

}  // namespace stipple

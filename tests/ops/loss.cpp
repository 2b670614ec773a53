#include "tensor/random.h"
#include "tests/op_cases.h"

namespace stipple {
namespace {

Tensor target_like(const Var& x) {
  PhiloxGenerator generator(77);
  return normal(generator, x.shape()).to(x.value().dtype()).to(x.value().device());
}

Tensor some_labels(int64_t n, int64_t classes) {
  PhiloxGenerator generator(78);
  return integers(generator, {n}, 0, classes);
}

}  // namespace

OP_CASES(mse) {
  for (const Shape& shape : {Shape{}, {1}, {3, 17}, {2, 7, 5, 3}, {2, 64, 64, 9}})
    add({.inputs = {normal(shape)}, .call = [](auto& in) { return mse(in[0], target_like(in[0])); }});
}

OP_CASES(cross_entropy) {
  for (const auto& [n, classes] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {1, 2}, {3, 17}, {7, 10}, {2000, 5}})
    add({.inputs = {normal({n, classes}, 0, 3)}, .call = [labels = some_labels(n, classes)](auto& in) {
           return cross_entropy(in[0], labels.to(in[0].value().device()));
         }});
}

TEST_CASE("cross_entropy survives logits that overflow an exponential", "[ops][cross_entropy]") {
  const Var logits = leaf(Tensor::of<float>({1, 2}, std::vector<float>{1000, 0}));
  const Var loss = cross_entropy(logits, Tensor::full({1}, 1, Dtype::i64));
  CHECK(loss.value().item<float>() == Approx(1000));
  CHECK(grad(loss, {logits})[0].to_vector<float>() == std::vector<float>{1, -1});
}

}  // namespace stipple

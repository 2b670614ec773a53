#include <optional>

#include "kernels/arithmetic.h"
#include "kernels/cuda/runtime.h"
#include "tests/catch.h"
#include "tests/rung_guard.h"

namespace stipple {

TEST_CASE("a graph whose memory was freed is reported when it is launched", "[emulator]") {
  allocator_of(Device::cuda).set_caching(false);
  std::optional<Tensor> x(Tensor::zeros({1000}, Dtype::f32, Device::cuda));
  const Tensor y({1000}, Dtype::f32, Device::cuda);
  cuda::Graph graph([&] { kernels::accumulate(y, *x); });
  x.reset();
  CHECK_THROWS_WITH(graph.launch(),
                    Contains("accumulate_kernel<float>: pointer argument 1 leads to memory that was freed"));
  allocator_of(Device::cuda).set_caching(true);
}

TEST_CASE("emulated kernels give the same bits with one thread and two", "[emulator]") {
  const Tensor x = Tensor::full({5000}, 0.1, Dtype::f32, Device::cuda);
  const auto sum = [&](int threads) {
    const ThreadsGuard guard(threads);
    return kernels::sum_to(x.reshape({50, 100}), {50, 1}).to_vector<float>();
  };
  CHECK(sum(1) == sum(2));
}

}  // namespace stipple

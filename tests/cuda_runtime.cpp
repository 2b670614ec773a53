#include <optional>

#include "kernels/activation.h"
#include "kernels/arithmetic.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cuda/runtime.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/rung_guard.h"

namespace stipple {
namespace {

const std::vector<float> kNumbers = {1, -2, 3.5, 4, 0, -6};

Tensor numbers_on_cuda() { return Tensor::of<float>({6}, kNumbers).to(Device::cuda); }

}  // namespace

TEST_CASE("tensors go to the GPU and come back, in every dtype", "[cuda]") {
  const Tensor x = numbers_on_cuda();
  CHECK(x.device() == Device::cuda);
  CHECK(x.to_vector<float>() == kNumbers);
  CHECK(x.to(Dtype::bf16).to(Dtype::f64).to_vector<double>() == std::vector<double>(kNumbers.begin(), kNumbers.end()));
  CHECK(x.to(Dtype::i32).to_vector<int32_t>() == std::vector<int32_t>{1, -2, 3, 4, 0, -6});
  CHECK(Tensor::full({3}, 2.5, Dtype::bf16, Device::cuda).to(Dtype::f32).to_vector<float>() ==
        std::vector<float>{2.5, 2.5, 2.5});
  CHECK(x.clone().slice(1, 3).to_vector<float>() == std::vector<float>{-2, 3.5});
}

TEST_CASE("device memory is counted and handed out again", "[cuda]") {
  CachingAllocator& allocator = allocator_of(Device::cuda);
  const size_t before = allocator.stats().live;
  std::optional<Tensor> x(Tensor({1000}, Dtype::f32, Device::cuda));
  CHECK(allocator.stats().live >= before + 4000);
  const std::byte* place = x->bytes();
  x.reset();
  CHECK(allocator.stats().live == before);
  CHECK(Tensor({1000}, Dtype::f32, Device::cuda).bytes() == place);
}

TEST_CASE("a graph does its work at every launch, from what memory holds then", "[cuda]") {
  const Tensor x = numbers_on_cuda(), y({6}, Dtype::f32, Device::cuda);
  cuda::Graph graph([&] { y.copy_from(kernels::affine(kernels::binary(Binary::multiply, x, x), 1, 1)); });
  graph.launch();
  CHECK(y.to_vector<float>() == std::vector<float>{2, 5, 13.25, 17, 1, 37});
  x.fill(3);
  graph.launch();
  CHECK(y.to_vector<float>() == std::vector<float>(6, 10.f));
}

TEST_CASE("what a graph cannot hold fails while it is captured", "[cuda]") {
  const Tensor x = numbers_on_cuda();
  CHECK_THROWS_WITH(cuda::Graph([&] { kernels::affine(x, 2, 0).item<float>(); }), Contains("item: one element"));
  CHECK_THROWS_AS(cuda::Graph([&] { x.to_vector<float>(); }), Error);
  CHECK_THROWS_AS(cuda::Graph([&] { cuda::synchronize(); }), Error);
  CHECK_THROWS_AS(cuda::Graph([&] { x.copy_from(Tensor::of<float>({6}, kNumbers)); }), Error);
  CHECK(kernels::affine(x, 2, 0).to_vector<float>()[0] == 2);  // and the stream goes on
}

TEST_CASE("pinned memory uploads and downloads", "[cuda]") {
  const cuda::PinnedBuffer buffer(6 * sizeof(float));
  std::memcpy(buffer.data(), kNumbers.data(), buffer.size());
  const Tensor x({6}, Dtype::f32, Device::cuda);
  buffer.upload(x);
  cuda::synchronize();
  std::memset(buffer.data(), 0, buffer.size());
  buffer.download(x);
  cuda::synchronize();
  CHECK(std::memcmp(buffer.data(), kNumbers.data(), buffer.size()) == 0);
}

TEST_CASE("an operation without a CUDA kernel, or in a dtype it lacks, says so", "[cuda]") {
  const Tensor x = Tensor({4}, Dtype::f64, Device::cuda);
  CHECK_THROWS_WITH(kernels::activation(Activation::silu, x), "activation: computes in f32 and bf16 on cuda, got f64");
}

}  // namespace stipple

#include "tensor/tensor.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>

#include "tensor/allocator.h"
#include "tests/catch.h"

namespace stipple {

TEST_CASE("a shape knows its extents, from both ends", "[tensor]") {
  const Shape shape{8, 32, 16, 3};
  CHECK(shape.rank() == 4);
  CHECK(shape.numel() == 8 * 32 * 16 * 3);
  CHECK(shape[0] == 8);
  CHECK(shape[-1] == 3);
  CHECK(Shape{}.numel() == 1);
  CHECK(to_string(shape) == "[8,32,16,3]");
  CHECK(to_string(Shape{}) == "[]");
  CHECK_FALSE(Shape{2, 3} == Shape{2, 3, 1});
  CHECK_THROWS_WITH(shape[4], "shape [8,32,16,3] has no dimension 4");
  CHECK_THROWS_AS(shape[-5], Error);
  CHECK_THROWS_WITH((Shape{2, -1}), Contains("-1"));
  CHECK_THROWS_WITH((Shape{1, 1, 1, 1, 1, 1, 1}), Contains("at most 6"));
}

TEST_CASE("copies of a tensor share its elements, clones do not", "[tensor]") {
  const Tensor x = Tensor::of<float>({2, 2}, {1, 2, 3, 4});
  const Tensor same = x, copy = x.clone();
  x.mutable_data<float>()[0] = 9;
  CHECK(same.data<float>()[0] == 9);
  CHECK(copy.data<float>()[0] == 1);
  CHECK(same.shares_storage_with(x));
  CHECK_FALSE(copy.shares_storage_with(x));
}

TEST_CASE("views are windows on the same elements", "[tensor]") {
  const Tensor x = Tensor::of<int32_t>({3, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  CHECK(x.reshape({2, 6}).dim(1) == 6);
  CHECK(x.slice(1, 3).to_vector<int32_t>() == std::vector{4, 5, 6, 7, 8, 9, 10, 11});
  CHECK(x.slice(3, 3).numel() == 0);
  CHECK(x[2].shape() == Shape{2, 2});
  CHECK(x[2][1].to_vector<int32_t>() == std::vector{10, 11});
  CHECK(x.view(5, {3}).to_vector<int32_t>() == std::vector{5, 6, 7});
  x[1].fill(-1);
  CHECK(x.to_vector<int32_t>() == std::vector{0, 1, 2, 3, -1, -1, -1, -1, 8, 9, 10, 11});
  CHECK_THROWS_WITH(x.reshape({5}), Contains("[5]") && Contains("i32[3,2,2]"));
  CHECK_THROWS_WITH(x.slice(2, 4), Contains("rows 2 to 4"));
  CHECK_THROWS_AS(x[3], Error);
  CHECK_THROWS_AS(x.view(10, {3}), Error);
}

TEST_CASE("a storage's version counts its writes, through any view", "[tensor]") {
  const Tensor x = Tensor::zeros({4});
  const uint64_t before = x.version();
  (void)x.data<float>();
  (void)x.to_vector<float>();
  CHECK(x.version() == before);
  x.mutable_data<float>();
  CHECK(x.version() == before + 1);
  x.slice(2, 3).fill(1);
  CHECK(x.version() > before + 1);
  const uint64_t filled = x.version();
  x.copy_from(Tensor::zeros({4}));
  CHECK(x.version() > filled);
}

TEST_CASE("elements are read and written as what they are", "[tensor]") {
  const Tensor x = Tensor::zeros({2});
  CHECK_THROWS_WITH(x.data<double>(), Contains("f32[2]") && Contains("f64"));
  CHECK_THROWS_AS(x.mutable_data<int64_t>(), Error);
  CHECK_THROWS_WITH(x.item<float>(), Contains("one element") && Contains("f32[2]"));
  CHECK_THROWS_AS(x.copy_from(Tensor::zeros({2}, Dtype::f64)), Error);
  CHECK_THROWS_AS(x.copy_from(Tensor::zeros({1, 2})), Error);
  CHECK_THROWS_AS(Tensor::of<float>({3}, {1, 2}), Error);
  CHECK_FALSE(Tensor().defined());
  CHECK(describe(Tensor()) == "undefined tensor");
}

TEST_CASE("a tensor on cuda is refused by a build without it, and by a host that would read it", "[tensor]") {
  if (is_available(Device::cuda))
    CHECK_THROWS_WITH(Tensor({1}, Dtype::f32, Device::cuda).data<float>(), Contains("read by the host"));
  else
    CHECK_THROWS_WITH(Tensor({1}, Dtype::f32, Device::cuda), Contains("cuda"));
}

TEST_CASE("dtypes convert element by element", "[tensor]") {
  const Tensor x = Tensor::of<double>({4}, {-1.75, 0, 2, 200.5});
  CHECK(x.to(Dtype::f32).to_vector<float>() == std::vector{-1.75f, 0.f, 2.f, 200.5f});
  CHECK(x.to(Dtype::i64).to_vector<int64_t>() == std::vector<int64_t>{-1, 0, 2, 200});
  CHECK(x.to(Dtype::bf16).to(Dtype::f64).to_vector<double>() == std::vector{-1.75, 0., 2., 200.});
  CHECK(x.to(Dtype::f64).shares_storage_with(x));
  CHECK(Tensor::full({3}, 7, Dtype::u8).to_vector<uint8_t>() == std::vector<uint8_t>{7, 7, 7});
}

TEST_CASE("every f16 is the f32 it stands for", "[tensor]") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const f16 half = std::bit_cast<f16>(static_cast<uint16_t>(bits));
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double expected = exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24);
    if (exponent < 31)
      REQUIRE(float(half) == (bits & 0x8000 ? -expected : expected));
    else
      REQUIRE((fraction ? std::isnan(float(half)) : std::isinf(float(half))));
    if (exponent < 31 || fraction == 0 || fraction >= 512) REQUIRE(f16(float(half)).bits == bits);
  }
}

TEST_CASE("f16 rounds to the nearest, halves to even", "[tensor]") {
  CHECK(f16(1 + 0x1p-11f).bits == 0x3C00);
  CHECK(f16(1 + 0x1.004p-11f).bits == 0x3C01);
  CHECK(f16(1 + 0x3p-11f).bits == 0x3C02);
  CHECK(f16(65519.996f).bits == 0x7BFF);
  CHECK(f16(65520.f).bits == 0x7C00);
  CHECK(f16(0x1p-25f).bits == 0);
  CHECK(f16(-0x1.8p-24f).bits == 0x8002);
  CHECK(f16(0x1.ffep-15f).bits == 0x0400);
  CHECK(f16(1e-30f).bits == 0);
}

TEST_CASE("bf16 rounds to the nearest, halves to even", "[tensor]") {
  CHECK(bf16(1.f).bits == 0x3F80);
  CHECK(bf16(std::bit_cast<float>(0x3F808000u)).bits == 0x3F80);
  CHECK(bf16(std::bit_cast<float>(0x3F808001u)).bits == 0x3F81);
  CHECK(bf16(std::bit_cast<float>(0x3F818000u)).bits == 0x3F82);
  CHECK(std::isinf(float(bf16(3.4e38f))));
  CHECK(std::isnan(float(bf16(std::bit_cast<float>(0x7F800001u)))));
}

TEST_CASE("tensors without elements are tensors", "[tensor]") {
  const Tensor x = Tensor::zeros({0, 3});
  CHECK(x.defined());
  CHECK(x.numel() == 0);
  CHECK(x.clone().shape() == Shape{0, 3});
  CHECK(x.to(Dtype::f64).dtype() == Dtype::f64);
  CHECK(x.slice(0, 0).numel() == 0);
}

TEST_CASE("the allocator hands freed blocks out again", "[allocator]") {
  CachingAllocator allocator;
  void* first = allocator.allocate(10000);
  CHECK(reinterpret_cast<uintptr_t>(first) % 64 == 0);
  allocator.deallocate(first, 10000);
  CHECK(allocator.stats().live == 0);
  CHECK(allocator.stats().cached >= 10000);
  void* second = allocator.allocate(10000);
  CHECK(second == first);
  CHECK(allocator.stats().cached == 0);
  allocator.deallocate(second, 10000);
  allocator.release_cached();
  CHECK(allocator.stats().cached == 0);
}

TEST_CASE("freed blocks serve smaller requests, and joined again a larger one", "[allocator]") {
  CachingAllocator allocator;
  std::byte *low = static_cast<std::byte*>(allocator.allocate(1 << 20)), *high = low + (1 << 19);
  void* above = allocator.allocate(64);  // keeps the block below it from becoming fresh memory again
  allocator.deallocate(low, 1 << 20);
  CHECK(allocator.allocate(1 << 19) == low);
  CHECK(allocator.allocate(1 << 19) == high);
  CHECK(allocator.stats().cached == 0);
  allocator.deallocate(low, 1 << 19);
  allocator.deallocate(high, 1 << 19);
  CHECK(allocator.allocate(1 << 20) == low);
  allocator.deallocate(low, 1 << 20);
  CHECK(allocator.stats().cached == 1 << 20);
  allocator.deallocate(above, 64);
}

TEST_CASE("of free blocks the smallest that fits is taken", "[allocator]") {
  CachingAllocator allocator;
  void *large = allocator.allocate(4096), *kept = allocator.allocate(64), *small = allocator.allocate(1024),
       *above = allocator.allocate(64);
  allocator.deallocate(large, 4096);
  allocator.deallocate(small, 1024);
  CHECK(allocator.allocate(1000) == small);
  allocator.deallocate(small, 1000);
  allocator.deallocate(kept, 64);
  allocator.deallocate(above, 64);
}

TEST_CASE("memory that was touched before goes first, whichever segment it is of", "[allocator]") {
  alignas(64) static std::byte memory[2048];
  static int64_t given = 0;
  const auto allocate = [](size_t) -> void* { return memory + 1024 * (1 - given++); };
  CachingAllocator allocator({allocate, [](void*) { --given; }, [](void*, size_t) {}, 64, 1024});
  void *upper = allocator.allocate(1024), *lower = allocator.allocate(256);
  REQUIRE(lower == memory);
  allocator.deallocate(upper, 1024);
  allocator.deallocate(lower, 256);
  CHECK(allocator.allocate(512) == upper);
  CHECK(allocator.stats().cached == 1024 + 256 - 512);
  allocator.deallocate(upper, 512);
}

TEST_CASE("blocks of neighbouring segments stay two", "[allocator]") {
  alignas(64) static std::byte memory[2048];
  static int64_t given = 0;
  const auto allocate = [](size_t) -> void* { return memory + 1024 * given++; };
  CachingAllocator allocator({allocate, [](void*) { --given; }, [](void*, size_t) {}, 64, 1024});
  void *first = allocator.allocate(1024), *second = allocator.allocate(512), *third = allocator.allocate(512);
  REQUIRE(second == memory + 1024);
  allocator.deallocate(second, 512);
  allocator.deallocate(first, 1024);
  allocator.release_cached();
  CHECK(given == 1);
  allocator.deallocate(third, 512);
  allocator.release_cached();
  CHECK(given == 0);
}

TEST_CASE("whatever the order of requests, blocks never overlap and nothing is lost", "[allocator]") {
  CachingAllocator allocator;
  std::mt19937 draw(1);
  std::map<std::byte*, size_t> held;
  for (int round = 0; round < 20000; ++round) {
    if (held.size() < 100 && draw() % 2) {
      const size_t bytes = size_t{1} << draw() % 12 | draw() % 1000;
      const auto [at, is_new] = held.emplace(static_cast<std::byte*>(allocator.allocate(bytes)), bytes);
      REQUIRE(is_new);
      if (const auto next = std::next(at); next != held.end()) REQUIRE(at->first + bytes <= next->first);
      if (at != held.begin()) REQUIRE(std::prev(at)->first + std::prev(at)->second <= at->first);
    } else if (!held.empty()) {
      const auto given = std::next(held.begin(), draw() % held.size());
      allocator.deallocate(given->first, given->second);
      held.erase(given);
    }
  }
  for (const auto& [block, bytes] : held) allocator.deallocate(block, bytes);
  CHECK(allocator.stats().live == 0);
  CHECK(allocator.stats().cached < 1 << 20);  // what was needed at once, and some
  allocator.release_cached();
  CHECK(allocator.stats().cached == 0);
}

TEST_CASE("memory that is used again and again is settled once", "[allocator]") {
  static size_t settled = 0;
  const auto settle = [](void*, size_t bytes) { settled += bytes; };
  CachingAllocator allocator({std::malloc, std::free, [](void*, size_t) {}, 64, 1 << 20, settle});
  const auto use = [&](size_t bytes) { allocator.deallocate(allocator.allocate(bytes), bytes); };
  for (int i = 0; i < 1 << 15; ++i) use(1 << 19);  // 16 GiB
  CHECK(settled == 0);
  for (int i = 0; i < 10; ++i) use(1 << 19);
  CHECK(settled == 1 << 19);  // what was touched
  use(1 << 21);
  CHECK(settled == (1 << 19) + (1 << 21));  // and every segment that comes after
}

TEST_CASE("segments that the system refuses are asked for smaller", "[allocator]") {
  static int64_t given = 0;
  const auto allocate = [](size_t bytes) -> void* { return bytes > 1 << 16 ? nullptr : (++given, std::malloc(bytes)); };
  const auto release = [](void* segment) { --given, std::free(segment); };
  {
    CachingAllocator allocator({allocate, release, [](void*, size_t) {}, 64, 1 << 20});
    void* block = allocator.allocate(1 << 16);
    CHECK(given == 1);
    CHECK_THROWS_WITH(allocator.allocate(1 << 17), Contains("out of memory") && Contains("131072 bytes"));
    allocator.deallocate(block, 1 << 16);
    CHECK(given == 1);
  }
  CHECK(given == 0);
}

TEST_CASE("the allocator counts live and peak bytes", "[allocator]") {
  CachingAllocator allocator;
  void *a = allocator.allocate(1 << 20), *b = allocator.allocate(1 << 20);
  CHECK(allocator.stats().live == 2 << 20);
  allocator.deallocate(a, 1 << 20);
  CHECK(allocator.stats().live == 1 << 20);
  CHECK(allocator.stats().peak == 2 << 20);
  allocator.reset_peak();
  CHECK(allocator.stats().peak == 1 << 20);
  allocator.deallocate(b, 1 << 20);
}

TEST_CASE("blocks are as large as was asked for, at every size", "[allocator]") {
  CachingAllocator allocator;
  for (size_t bytes : {0, 1, 63, 64, 65, 511, 512, 513, 1000, 4097, 100001, 5000001}) {
    void* block = allocator.allocate(bytes);
    std::memset(block, 1, bytes);
    CHECK(allocator.stats().live >= bytes);
    CHECK(allocator.stats().live <= bytes + bytes / 8 + 128);
    allocator.deallocate(block, bytes);
    CHECK(allocator.stats().live == 0);
  }
}

TEST_CASE("a cap on what is in use is kept", "[allocator]") {
  CachingAllocator allocator;
  allocator.set_cap(3 << 20);
  allocator.deallocate(allocator.allocate(2 << 20), 2 << 20);
  void* block = allocator.allocate(3 << 19);
  CHECK_THROWS_WITH(allocator.allocate(2 << 20), Contains("out of memory") && Contains("the cap is 3145728 bytes"));
  CHECK(allocator.stats().live == 3 << 19);
  allocator.set_cap(0);
  allocator.deallocate(allocator.allocate(2 << 20), 2 << 20);
  allocator.deallocate(block, 3 << 19);
}

TEST_CASE("poisoned blocks are NaN until they are written", "[allocator]") {
  CachingAllocator allocator;
  allocator.set_poison(true);
  for (int round = 0; round < 2; ++round) {  // fresh, then cached
    float* block = static_cast<float*>(allocator.allocate(4096));
    CHECK(std::isnan(block[0]));
    CHECK(std::isnan(block[1023]));
    std::memset(block, 0, 4096);
    allocator.deallocate(block, 4096);
  }
}

TEST_CASE("without caching nothing is kept", "[allocator]") {
  CachingAllocator allocator;
  allocator.set_caching(false);
  allocator.deallocate(allocator.allocate(1000), 1000);
  CHECK(allocator.stats().cached == 0);
}

TEST_CASE("a tensor's memory goes back with its last handle", "[allocator]") {
  const size_t before = cpu_allocator().stats().live;
  {
    Tensor x({1000});
    const Tensor view = x.slice(0, 10);
    x = Tensor();
    CHECK(cpu_allocator().stats().live > before);
  }
  CHECK(cpu_allocator().stats().live == before);
}

}  // namespace stipple

#include "tensor/random.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <vector>

#include "tensor/philox.h"
#include "tensor/torch_random.h"

namespace stipple {
namespace {

constexpr int64_t kWorthThreads = 4096;  // blocks; fewer are made faster than threads wake up

template <typename T>
philox::Four<T> bounded(philox::Words words, uint64_t range, T low) {
  philox::Four<T> out;
  for (int i = 0; i < 4; ++i) out.lane[i] = low + static_cast<T>(philox::bounded(words.lane[i], range));
  return out;
}

template <typename Fill>
Tensor filled(const char* operation, const Shape& shape, Dtype dtype, Fill&& fill) {
  check(is_floating(dtype), "{}: makes f32, f64 and bf16, got {}", operation, name_of(dtype));
  Tensor made(shape, dtype == Dtype::f64 ? Dtype::f64 : Dtype::f32);
  for_real(operation, made.dtype(), [&]<typename T>(T) { fill(made.mutable_data<T>(), made.numel()); });
  return made.to(dtype);
}

}  // namespace

std::unique_ptr<Generator> make_generator(const std::string& name, uint64_t seed) {
  if (name == "philox") return std::make_unique<PhiloxGenerator>(seed);
  if (name == "torch") return std::make_unique<TorchGenerator>(seed);
  fail("there is no random generator \"{}\": philox and torch are known", name);
}

// make(words of a block) gives the block's four elements.
template <typename T, typename Make>
void PhiloxGenerator::fill(T* to, int64_t n, const Make& make) {
  const int64_t blocks = (n + 3) / 4;
#pragma omp parallel for if (blocks >= kWorthThreads)
  for (int64_t b = 0; b < blocks; ++b) {
    const auto four = make(philox::block(seed_, offset_ + b));
    std::copy_n(four.lane, std::min<int64_t>(4, n - 4 * b), to + 4 * b);
  }
  offset_ += blocks;
}

void PhiloxGenerator::normal(float* to, int64_t n) { fill(to, n, philox::normal); }
void PhiloxGenerator::normal(double* to, int64_t n) { fill(to, n, philox::normal); }
void PhiloxGenerator::uniform(float* to, int64_t n) { fill(to, n, philox::uniform); }
void PhiloxGenerator::uniform(double* to, int64_t n) { fill(to, n, philox::uniform); }

void PhiloxGenerator::integers(int64_t* to, int64_t n, int64_t low, int64_t high) {
  const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  check(low < high && range <= uint64_t{1} << 32, "integers: no more than 2^32 numbers to choose from, got {} to {}",
        low, high);
  fill(to, n, [=](philox::Words words) { return bounded<int64_t>(words, range, low); });
}

// Fisher & Yates.
void PhiloxGenerator::permutation(int64_t* to, int64_t n) {
  check(n >= 0 && n <= int64_t{1} << 32, "permutation: of 0 to 2^32 numbers, got {}", n);
  std::vector<uint32_t> words(n);
  fill(words.data(), n, [](philox::Words block) { return block; });
  std::iota(to, to + n, int64_t{0});
  for (int64_t i = 0; i + 1 < n; ++i) std::swap(to[i], to[i + philox::bounded(words[i], n - i)]);
}

Tensor PhiloxGenerator::state() const {
  return Tensor::of<int64_t>({2}, std::vector{std::bit_cast<int64_t>(seed_), std::bit_cast<int64_t>(offset_)});
}

void PhiloxGenerator::set_state(const Tensor& state) {
  check(state.dtype() == Dtype::i64 && state.shape() == Shape{2}, "the state of a philox generator is i64[2], got {}",
        describe(state));
  seed_ = std::bit_cast<uint64_t>(state.data<int64_t>()[0]);
  offset_ = std::bit_cast<uint64_t>(state.data<int64_t>()[1]);
}

Tensor normal(Generator& generator, const Shape& shape, Dtype dtype) {
  return filled("normal", shape, dtype, [&](auto* to, int64_t n) { generator.normal(to, n); });
}

Tensor uniform(Generator& generator, const Shape& shape, Dtype dtype) {
  return filled("uniform", shape, dtype, [&](auto* to, int64_t n) { generator.uniform(to, n); });
}

Tensor integers(Generator& generator, const Shape& shape, int64_t low, int64_t high) {
  Tensor made(shape, Dtype::i64);
  generator.integers(made.mutable_data<int64_t>(), made.numel(), low, high);
  return made;
}

Tensor permutation(Generator& generator, int64_t n) {
  Tensor made({n}, Dtype::i64);
  generator.permutation(made.mutable_data<int64_t>(), n);
  return made;
}

Tensor normal_per_image(std::span<const std::unique_ptr<Generator>> generators, const Shape& shape, Dtype dtype) {
  check(shape.rank() >= 1 && shape[0] == static_cast<int64_t>(generators.size()),
        "normal_per_image: {} generators for {}", generators.size(), to_string(shape));
  const int64_t row = shape.numel() / std::max<int64_t>(shape[0], 1);
  size_t image = 0;
  return filled("normal_per_image", shape, dtype, [&](auto* to, int64_t) {
    for (const auto& generator : generators) generator->normal(to + row * image++, row);
  });
}

}  // namespace stipple

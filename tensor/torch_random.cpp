#include "tensor/torch_random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <sstream>
#include <utility>

namespace stipple {
namespace {

constexpr int64_t kBlock = 16;
constexpr int64_t kLongPermutation = UINT32_MAX / 20;  // from here on PyTorch takes two words an element

uint64_t two_words(std::mt19937& engine) {
  const uint64_t high = engine();
  return high << 32 | engine();
}

// 16 uniforms become 16 normals, in place: pairs are eight apart.
template <typename T>
void box_muller(T* block) {
  for (int j = 0; j < kBlock / 2; ++j) {
    const T radius = std::sqrt(T(-2) * std::log(1 - block[j]));
    const T angle = T(2) * T(M_PI) * block[j + kBlock / 2];
    block[j] = radius * std::cos(angle);
    block[j + kBlock / 2] = radius * std::sin(angle);
  }
}

}  // namespace

template <>
float TorchGenerator::next_uniform() {
  return static_cast<float>(engine_() & 0xFFFFFF) * 0x1p-24f;
}

template <>
double TorchGenerator::next_uniform() {
  return static_cast<double>(two_words(engine_) & ((uint64_t{1} << 53) - 1)) * 0x1p-53;
}

double TorchGenerator::next_normal() {
  if (kept_normal_) return *std::exchange(kept_normal_, std::nullopt);
  const double turn = next_uniform<double>();
  const double radius = std::sqrt(-2 * std::log1p(-next_uniform<double>()));
  kept_normal_ = radius * std::sin(2 * M_PI * turn);
  return radius * std::cos(2 * M_PI * turn);
}

template <typename T>
void TorchGenerator::fill_normal(T* to, int64_t n) {
  if (n < kBlock) {
    std::generate_n(to, n, [this] { return static_cast<T>(next_normal()); });
    return;
  }
  uniform(to, n);
  for (int64_t i = 0; i + kBlock <= n; i += kBlock) box_muller(to + i);
  if (n % kBlock == 0) return;
  uniform(to + n - kBlock, kBlock);
  box_muller(to + n - kBlock);
}

void TorchGenerator::normal(float* to, int64_t n) { fill_normal(to, n); }
void TorchGenerator::normal(double* to, int64_t n) { fill_normal(to, n); }

void TorchGenerator::uniform(float* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = next_uniform<float>();
}

void TorchGenerator::uniform(double* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = next_uniform<double>();
}

// From a range of 2^28 on PyTorch takes two words, to keep the modulo's bias small.
void TorchGenerator::integers(int64_t* to, int64_t n, int64_t low, int64_t high) {
  const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  check(low < high, "integers: from {} up to {} there is nothing to choose from", low, high);
  const bool wide = range >= uint64_t{1} << 28;
  for (int64_t i = 0; i < n; ++i) to[i] = low + static_cast<int64_t>((wide ? two_words(engine_) : engine_()) % range);
}

void TorchGenerator::permutation(int64_t* to, int64_t n) {
  check(n >= 0 && n < kLongPermutation, "permutation: of fewer than {} numbers, got {}", kLongPermutation, n);
  std::iota(to, to + n, int64_t{0});
  for (int64_t i = 0; i + 1 < n; ++i) std::swap(to[i], to[i + engine_() % (n - i)]);
}

// The engine's state as the standard library writes it, then the kept normal's bits.
Tensor TorchGenerator::state() const {
  std::ostringstream text;
  text << engine_ << ' ' << kept_normal_.has_value() << ' ' << std::bit_cast<uint64_t>(kept_normal_.value_or(0));
  const std::string written = text.str();
  return Tensor::of<uint8_t>({static_cast<int64_t>(written.size())},
                             std::vector<uint8_t>(written.begin(), written.end()));
}

void TorchGenerator::set_state(const Tensor& state) {
  check(state.dtype() == Dtype::u8 && state.rank() == 1, "the state of a torch generator is a u8 text, got {}",
        describe(state));
  const std::vector<uint8_t> bytes = state.to_vector<uint8_t>();
  std::istringstream text(std::string(bytes.begin(), bytes.end()));
  std::mt19937 engine;
  bool kept = false;
  uint64_t bits = 0;
  check(static_cast<bool>(text >> engine >> kept >> bits), "the state of a torch generator cannot be read");
  engine_ = engine;
  kept_normal_ = kept ? std::optional(std::bit_cast<double>(bits)) : std::nullopt;
}

}  // namespace stipple

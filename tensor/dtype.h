#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>

namespace stipple {

enum class Dtype { f32, bf16, f64, i64, i32, u8 };

size_t size_of(Dtype);         // bytes of one element
const char* name_of(Dtype);    // "f32", "bf16", ...
bool is_floating(Dtype);

// The upper half of an f32. Arithmetic happens in f32; only storage is bf16.
struct bf16 {
  uint16_t bits = 0;

  bf16() = default;
  explicit bf16(float x) : bits(round_to_nearest_even(x)) {}
  operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }

 private:
  static uint16_t round_to_nearest_even(float x) {
    const uint32_t u = std::bit_cast<uint32_t>(x);
    if (x != x) return static_cast<uint16_t>((u >> 16) | 0x40);  // stays a (quiet) NaN
    return static_cast<uint16_t>((u + 0x7FFF + ((u >> 16) & 1)) >> 16);
  }
};

template <typename T>
inline constexpr Dtype dtype_of = [] { static_assert(sizeof(T) == 0, "no dtype for this type"); return Dtype::f32; }();
template <> inline constexpr Dtype dtype_of<float> = Dtype::f32;
template <> inline constexpr Dtype dtype_of<bf16> = Dtype::bf16;
template <> inline constexpr Dtype dtype_of<double> = Dtype::f64;
template <> inline constexpr Dtype dtype_of<int64_t> = Dtype::i64;
template <> inline constexpr Dtype dtype_of<int32_t> = Dtype::i32;
template <> inline constexpr Dtype dtype_of<uint8_t> = Dtype::u8;

}  // namespace stipple

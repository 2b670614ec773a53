#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>

namespace stipple {

enum class Dtype { f32, bf16, f64, i64, i32, u8, f16 };

size_t size_of(Dtype);       // bytes of one element
const char* name_of(Dtype);  // "f32", "bf16", ...
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

// IEEE 754 binary16: storage only, in files. Beyond 65504 it is infinite.
struct f16 {
  uint16_t bits = 0;

  f16() = default;
  explicit f16(float x) : bits(round_to_nearest_even(x)) {}
  operator float() const {
    const uint32_t magnitude = bits & 0x7FFFu, sign = (bits & 0x8000u) << 16;
    if (magnitude >= 0x7C00) return std::bit_cast<float>(sign | 0x7F800000 | magnitude << 13);  // infinite, NaN
    const float rebased = std::bit_cast<float>(magnitude << 13) * 0x1p112f;  // exponents count from 15, not 127
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(rebased));
  }

 private:
  static uint16_t round_to_nearest_even(float x) {
    const uint32_t u = std::bit_cast<uint32_t>(x), magnitude = u & 0x7FFFFFFF, sign = u >> 16 & 0x8000;
    if (magnitude > 0x7F800000) return static_cast<uint16_t>(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
    if (magnitude >= 0x477FF000) return static_cast<uint16_t>(sign | 0x7C00);
    if (magnitude < 0x38800000) {  // subnormal: the last place of 0.5 is that of the result
      const float aligned = std::bit_cast<float>(magnitude) + 0.5f;
      return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(aligned) - 0x3F000000));
    }
    return static_cast<uint16_t>(sign | (magnitude - 0x38000000 + 0xFFF + (magnitude >> 13 & 1)) >> 13);
  }
};

template <typename T>
inline constexpr Dtype dtype_of = [] {
  static_assert(sizeof(T) == 0, "no dtype for this type");
  return Dtype::f32;
}();
template <>
inline constexpr Dtype dtype_of<float> = Dtype::f32;
template <>
inline constexpr Dtype dtype_of<bf16> = Dtype::bf16;
template <>
inline constexpr Dtype dtype_of<f16> = Dtype::f16;
template <>
inline constexpr Dtype dtype_of<double> = Dtype::f64;
template <>
inline constexpr Dtype dtype_of<int64_t> = Dtype::i64;
template <>
inline constexpr Dtype dtype_of<int32_t> = Dtype::i32;
template <>
inline constexpr Dtype dtype_of<uint8_t> = Dtype::u8;

}  // namespace stipple

#pragma once
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/cuda/vector_access.h"

// kCount neighbouring channels of a pixel as one load or store: 16 bytes, or a single element where the channels of a
// tensor do not come in sixteens of bytes.

namespace stipple::cuda {

template <typename T, int kCount>
using RawChannels = std::conditional_t<kCount == 1, T, uint4>;

template <typename T>
inline constexpr int kChannelsOfVector = 16 / sizeof(T);

struct Words {
  uint32_t of[4];
};

template <typename T, int kCount>
__device__ inline void unpack(float (&to)[kCount], const RawChannels<T, kCount>& raw) {
  if constexpr (kCount == 1) {
    to[0] = static_cast<float>(raw);
  } else {
    const Words words = __builtin_bit_cast(Words, raw);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if constexpr (sizeof(T) == 4)
        to[i] = __uint_as_float(words.of[i]);
      else  // a bf16 is the upper half of an f32
        to[i] = __uint_as_float(i % 2 ? words.of[i / 2] & 0xFFFF0000 : words.of[i / 2] << 16);
    }
  }
}

template <typename T, int kCount>
__device__ inline RawChannels<T, kCount> packed(const float (&from)[kCount]) {
  if constexpr (kCount == 1) {
    return static_cast<T>(from[0]);
  } else {
    Words words;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (sizeof(T) == 4) {
        words.of[i] = __float_as_uint(from[i]);
      } else {
        const __nv_bfloat162 pair = __floats2bfloat162_rn(from[2 * i], from[2 * i + 1]);
        memcpy(&words.of[i], &pair, sizeof pair);
      }
    }
    return __builtin_bit_cast(uint4, words);
  }
}

}  // namespace stipple::cuda

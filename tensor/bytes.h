#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

// Numbers out of file headers. The caller has checked that they are there.

namespace stipple {

inline uint32_t byte_at(std::span<const std::byte> b, size_t i) { return std::to_integer<uint32_t>(b[i]); }
inline uint32_t big16(std::span<const std::byte> b, size_t i) { return byte_at(b, i) << 8 | byte_at(b, i + 1); }
inline uint32_t big32(std::span<const std::byte> b, size_t i) { return big16(b, i) << 16 | big16(b, i + 2); }
inline uint32_t little16(std::span<const std::byte> b, size_t i) { return byte_at(b, i + 1) << 8 | byte_at(b, i); }
inline uint32_t little32(std::span<const std::byte> b, size_t i) { return little16(b, i + 2) << 16 | little16(b, i); }

inline bool starts_with(std::span<const std::byte> b, std::string_view text) {
  return b.size() >= text.size() && std::memcmp(b.data(), text.data(), text.size()) == 0;
}

}  // namespace stipple

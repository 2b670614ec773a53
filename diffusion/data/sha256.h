#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace stipple {

// SHA-256 (FIPS 180-4), piece by piece.
class Sha256 {
 public:
  void update(std::span<const std::byte> bytes);
  std::string hex();  // 64 digits; nothing may follow

 private:
  void compress(const std::byte* block);

  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> pending_{};  // the first length_ % 64 of them
  uint64_t length_ = 0;                  // bytes so far
};

std::string sha256(std::string_view bytes);
std::string sha256_of_file(const std::string& path);

}  // namespace stipple

#pragma once
#include <cstdint>
#include <span>
#include <vector>

// What a warp asks of memory at once, and what that costs. Global memory is moved in sectors of 32 bytes: a request
// takes as many as its lanes touch. Shared memory has 32 banks of 4 bytes, and one wavefront takes one word from each:
// lanes that want different words of one bank go one after the other, lanes that want the same word go together.
// Accesses of 8 bytes are served by half warps, those of 16 bytes (ldmatrix, too: 8 rows of a matrix) by quarter warps.

namespace emulator {

inline constexpr int64_t kSectorBytes = 32;

struct LaneAccess {
  int lane;
  uint64_t address;  // in shared memory: from its beginning
  uint32_t bytes;    // 0: the lane takes part, but asks for nothing
};

struct Sector {
  uint64_t index;  // address / 32
  uint32_t bytes;  // which of them are asked for, a bit each
};

// Replaces `to` by the distinct sectors of a request, in order of their addresses.
void find_sectors(std::span<const LaneAccess>, std::vector<Sector>& to);
// How many sectors would do if the same bytes lay side by side.
int64_t least_sectors(std::span<const Sector>);

struct Wavefronts {
  int64_t count = 0, least = 0;  // least: without conflicts of banks
};
Wavefronts wavefronts_of(std::span<const LaneAccess>);

}  // namespace emulator

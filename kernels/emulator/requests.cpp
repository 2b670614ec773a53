#include "kernels/emulator/requests.h"

#include <algorithm>
#include <array>
#include <bit>

namespace emulator {
namespace {

constexpr int kBanks = 32, kWordBytes = 4;

uint32_t bytes_from_to(uint64_t first, uint64_t end) {  // 0 <= first < end <= 32
  return static_cast<uint32_t>((uint64_t{1} << end) - (uint64_t{1} << first));
}

void add_sectors(const LaneAccess& a, std::vector<Sector>& to) {
  const uint64_t end = a.address + a.bytes;
  for (uint64_t at = a.address; at < end;) {
    const uint64_t sector = at / kSectorBytes, begin = sector * kSectorBytes;
    const uint64_t stop = std::min(end, begin + kSectorBytes);
    const uint32_t bytes = bytes_from_to(at - begin, stop - begin);
    if (!to.empty() && to.back().index == sector)
      to.back().bytes |= bytes;
    else
      to.push_back({sector, bytes});
    at = stop;
  }
}

void merge(std::vector<Sector>& sectors) {
  const auto by_index = [](const Sector& a, const Sector& b) { return a.index < b.index; };
  std::sort(sectors.begin(), sectors.end(), by_index);
  size_t kept = 0;
  for (size_t i = 1; i < sectors.size(); ++i)
    if (sectors[i].index == sectors[kept].index)
      sectors[kept].bytes |= sectors[i].bytes;
    else
      sectors[++kept] = sectors[i];
  sectors.resize(kept + 1);
}

// Lanes that go together: as many as can ask for 128 bytes.
int lanes_at_once(std::span<const LaneAccess> lanes) {
  uint32_t widest = kWordBytes;
  for (const LaneAccess& a : lanes) widest = std::max(widest, a.bytes);
  return std::max(1, kBanks * kWordBytes / static_cast<int>(std::bit_ceil(widest)));
}

// The most words that any bank has to give.
int64_t deepest_bank(std::vector<uint64_t>& words) {
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  std::array<int64_t, kBanks> wanted{};
  for (const uint64_t word : words) ++wanted[word % kBanks];
  return *std::max_element(wanted.begin(), wanted.end());
}

}  // namespace

void find_sectors(std::span<const LaneAccess> lanes, std::vector<Sector>& to) {
  to.clear();
  for (const LaneAccess& a : lanes) add_sectors(a, to);
  const auto out_of_order = [](const Sector& a, const Sector& b) { return a.index >= b.index; };
  if (std::adjacent_find(to.begin(), to.end(), out_of_order) != to.end()) merge(to);
}

int64_t least_sectors(std::span<const Sector> sectors) {
  int64_t bytes = 0;
  for (const Sector& s : sectors) bytes += std::popcount(s.bytes);
  return (bytes + kSectorBytes - 1) / kSectorBytes;
}

Wavefronts wavefronts_of(std::span<const LaneAccess> lanes) {
  static thread_local std::vector<uint64_t> words;
  const int at_once = lanes_at_once(lanes);
  Wavefronts wavefronts;
  for (size_t i = 0; i < lanes.size();) {
    words.clear();
    for (const int group = lanes[i].lane / at_once; i < lanes.size() && lanes[i].lane / at_once == group; ++i)
      for (uint64_t at = lanes[i].address / kWordBytes; at * kWordBytes < lanes[i].address + lanes[i].bytes; ++at)
        words.push_back(at);
    if (words.empty()) continue;
    wavefronts.count += deepest_bank(words);
    ++wavefronts.least;
  }
  return wavefronts;
}

}  // namespace emulator

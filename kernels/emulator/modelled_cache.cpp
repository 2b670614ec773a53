#include "kernels/emulator/modelled_cache.h"

#include <bit>

#include "kernels/emulator/requests.h"

namespace emulator {
namespace {

constexpr int64_t kLineBytes = 128, kSectors = kLineBytes / kSectorBytes;
constexpr uint32_t kEnds = 0, kOut = 0xFFFFFFFF;  // kOut: older and newer of a line that is not held

uint8_t bit_of(uint64_t sector) { return static_cast<uint8_t>(1u << sector % kSectors); }

}  // namespace

ModelledCache::ModelledCache(int64_t bytes) : capacity_(static_cast<size_t>(bytes / kLineBytes)) {
  lines_.push_back({.number = ~uint64_t{0}, .older = kEnds, .newer = kEnds});
}

uint32_t ModelledCache::find(uint64_t number) {
  const auto [entry, fresh] = places_.try_emplace(number, static_cast<uint32_t>(lines_.size()));
  if (fresh) lines_.push_back({.number = number, .older = kOut, .newer = kOut});
  return entry->second;
}

void ModelledCache::unlink(uint32_t i) {
  Line& line = lines_[i];
  lines_[line.older].newer = line.newer;
  lines_[line.newer].older = line.older;
  line.older = line.newer = kOut;
}

void ModelledCache::link(uint32_t i) {  // as the newest
  const uint32_t newest = lines_[kEnds].older;
  lines_[i].older = newest;
  lines_[i].newer = kEnds;
  lines_[newest].newer = lines_[kEnds].older = i;
}

void ModelledCache::evict(uint32_t i) {
  unlink(i);
  --resident_;
  written_ += std::popcount(lines_[i].changed);
  lines_[i].held = lines_[i].changed = 0;
}

ModelledCache::Line& ModelledCache::use(uint64_t number) {
  const uint32_t newest = lines_[kEnds].older;
  if (lines_[newest].number == number) return lines_[newest];
  const uint32_t i = find(number);
  if (lines_[i].older != kOut) {
    unlink(i);
  } else {
    if (resident_ == capacity_) evict(lines_[kEnds].newer);
    ++resident_;
  }
  link(i);
  return lines_[i];
}

void ModelledCache::read(uint64_t sector) {
  Line& line = use(sector / kSectors);
  const uint8_t bit = bit_of(sector);
  if (!(line.held & bit)) ++read_;
  if (!(line.ever_written & bit)) line.first_read |= bit;
  line.held |= bit;
}

void ModelledCache::write(uint64_t sector) {
  Line& line = use(sector / kSectors);
  const uint8_t bit = bit_of(sector);
  line.held |= bit;
  line.changed |= bit;
  line.ever_written |= bit;
}

void ModelledCache::write_back() {
  while (resident_ > 0) evict(lines_[kEnds].newer);
}

int64_t ModelledCache::dram_read_bytes() const { return read_ * kSectorBytes; }
int64_t ModelledCache::dram_written_bytes() const { return written_ * kSectorBytes; }

int64_t ModelledCache::compulsory_bytes() const {
  int64_t sectors = 0;
  for (const Line& line : lines_) sectors += std::popcount(line.first_read) + std::popcount(line.ever_written);
  return sectors * kSectorBytes;
}

}  // namespace emulator

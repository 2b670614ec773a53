#pragma once
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

// A model of a GPU's L2: lines of 128 bytes of which each sector of 32 bytes is fetched when it is first read; the line
// that was not used for longest makes room (LRU, any line anywhere). Written sectors go to DRAM when their line leaves,
// and are not fetched before, even where only a part of them is written.

namespace emulator {

class ModelledCache {
 public:
  explicit ModelledCache(int64_t bytes);
  void read(uint64_t sector);  // address / 32
  void write(uint64_t sector);
  void write_back();  // what is still to be written to DRAM

  int64_t dram_read_bytes() const;
  int64_t dram_written_bytes() const;
  // What a cache without bounds would move: each sector once that is read before it is written, each written one once.
  int64_t compulsory_bytes() const;

 private:
  struct Line {
    uint64_t number;
    uint32_t older, newer;          // neighbours in the order of use, while it is held
    uint8_t held = 0, changed = 0;  // sectors, a bit each
    uint8_t first_read = 0, ever_written = 0;
  };

  Line& use(uint64_t number);
  uint32_t find(uint64_t number);
  void link(uint32_t);
  void unlink(uint32_t);
  void evict(uint32_t);

  size_t capacity_, resident_ = 0;
  int64_t read_ = 0, written_ = 0;  // sectors
  std::unordered_map<uint64_t, uint32_t> places_;
  std::vector<Line> lines_;  // every line that was ever used; the first stands for both ends of the order
};

}  // namespace emulator

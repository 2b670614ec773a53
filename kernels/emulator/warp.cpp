#include <algorithm>
#include <bit>
#include <cstdio>
#include <string_view>

#include "kernels/emulator/block.h"

// What the lanes of a warp do together: barriers, shuffles, votes.

namespace emulator {
namespace {

std::string hexadecimal(uint32_t mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08X", mask);
  return text;
}

struct ShuffleLane {
  uint64_t bits;
  int source;
  uint64_t result;
};

struct VoteLane {
  bool predicate;
  uint32_t result;
};

}  // namespace

// Lanes may meet under several masks at once, as long as they have no lane in common.
Meeting* Block::arrive(uint32_t mask, const char* operation, Where where, void* mine) {
  const uint32_t own = 1u << running_->lane();
  if (!(mask & own))
    fail(std::string(operation) + ": the mask " + hexadecimal(mask) + " lacks the calling lane, at " +
         to_string(where));
  const int lanes = std::min(kWarp, count_ - running_->warp() * kWarp);
  mask &= lanes == kWarp ? ~0u : (1u << lanes) - 1;
  auto& under_way = meetings_[running_->warp()];
  auto meeting = std::find_if(under_way.begin(), under_way.end(), [&](const Meeting& m) { return m.mask == mask; });
  if (meeting == under_way.end()) meeting = under_way.insert(under_way.end(), Meeting{mask, 0, operation, where, {}});
  if (std::string_view(meeting->operation) != operation)
    fail(std::string("divergence within the warp: is in ") + operation + " at " + to_string(where) +
         ", other lanes are in " + meeting->operation + " at " + to_string(meeting->where));
  meeting->arrived |= own;
  meeting->brought[running_->lane()] = mine;
  if (meeting->arrived == mask) return &*meeting;
  suspend(operation, where);
  return nullptr;
}

void Block::release(Meeting* meeting) {
  const int warp = running_->warp();
  for (uint32_t rest = meeting->mask & ~(1u << running_->lane()); rest; rest &= rest - 1)
    ready_.push_back(&processor_.thread(warp * kWarp + std::countr_zero(rest)));
  auto& under_way = meetings_[warp];
  under_way.erase(under_way.begin() + (meeting - under_way.data()));
}

int lane() { return Block::current().running().lane(); }

void block_barrier(Where where) {
  Block& block = Block::current();
  block.barrier(0, block.threads(), "__syncthreads", where);
}

void named_barrier(int id, int threads, Where where) { Block::current().barrier(id, threads, "bar.sync", where); }

void warp_barrier(uint32_t mask, Where where) {
  Block& block = Block::current();
  block.meet(mask, "__syncwarp", where, nullptr, [&](const Meeting&) {
    if (block.observer()) block.observer()->warp_barrier(block, block.running().warp());
  });
}

uint64_t shuffle(uint32_t mask, uint64_t bits, int source, Where where) {
  Block& block = Block::current();
  ShuffleLane mine{bits, source, 0};
  block.meet(mask, "a shuffle", where, &mine, [&](const Meeting& m) {
    for (uint32_t rest = m.mask; rest; rest &= rest - 1) {
      auto* to = static_cast<ShuffleLane*>(m.brought[std::countr_zero(rest)]);
      if (!(m.mask >> to->source & 1))
        block.fail("a shuffle reads lane " + std::to_string(to->source) + ", which the mask " + hexadecimal(m.mask) +
                   " lacks, at " + to_string(where));
      to->result = static_cast<ShuffleLane*>(m.brought[to->source])->bits;
    }
  });
  return mine.result;
}

uint32_t ballot(uint32_t mask, bool predicate, Where where) {
  VoteLane mine{predicate, 0};
  Block::current().meet(mask, "a vote", where, &mine, [](const Meeting& m) {
    uint32_t votes = 0;
    for (uint32_t rest = m.mask; rest; rest &= rest - 1) {
      const int l = std::countr_zero(rest);
      votes |= uint32_t{static_cast<VoteLane*>(m.brought[l])->predicate} << l;
    }
    for (uint32_t rest = m.mask; rest; rest &= rest - 1)
      static_cast<VoteLane*>(m.brought[std::countr_zero(rest)])->result = votes;
  });
  return mine.result;
}

std::byte* dynamic_shared_memory() { return Block::current().processor().shared(); }

std::byte* static_shared_memory(const void* key, size_t bytes, size_t alignment) {
  return Block::current().static_shared(key, bytes, alignment);
}

}  // namespace emulator

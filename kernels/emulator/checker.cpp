#include "kernels/emulator/checker.h"

#include "kernels/emulator/block.h"
#include "kernels/emulator/memory.h"
#include "kernels/emulator/symbols.h"

namespace emulator {
namespace {

std::string describe(const Access& a) {
  const char* what = a.kind == AccessKind::read    ? "reads "
                     : a.kind == AccessKind::write ? "writes "
                                                   : "atomically changes ";
  return what + std::to_string(a.bytes) + " bytes";
}

}  // namespace

void Checker::begin(Block& block) {
  epoch_ = 0;
  warp_epochs_.assign(kMostThreads / kWarp, 0);
  bytes_.assign(block.shared_used(), Byte{});
}

void Checker::access(Block& block, Thread& thread, const Access& a) {
  if (a.bytes == 0) return;  // a copy that fills with zeros
  const std::byte* shared = block.processor().shared();
  if (a.address >= shared && a.address < shared + kSharedBytes)
    check_shared(block, thread, a, static_cast<size_t>(a.address - shared));
  else if (!block.is_private(a.address))
    check_global(block, a);
}

bool Checker::ordered(const Visit& earlier, const Thread& thread, bool atomic) const {
  if (earlier.thread < 0 || earlier.thread == thread.rank || earlier.epoch != epoch_ || (earlier.atomic && atomic))
    return true;
  return earlier.thread / kWarp == thread.warp() && earlier.warp_epoch != warp_epochs_[thread.warp()];
}

void Checker::check_order(Block& block, Thread& thread, const Visit& earlier, const Access& a, const char* what) {
  if (ordered(earlier, thread, a.kind == AccessKind::atomic)) return;
  block.fail("race: " + describe(a) + " of shared memory at " + line_of(a.site) + " that thread " +
             to_string(block.processor().thread(earlier.thread).position.thread) + " " + what + " at " +
             line_of(earlier.site) + ", with no barrier between");
}

void Checker::check_shared(Block& block, Thread& thread, const Access& a, size_t offset) {
  bytes_.resize(block.shared_used());
  if (offset + a.bytes > block.shared_used())
    block.fail("out of bounds: " + describe(a) + " at offset " + std::to_string(offset) + " of " +
               std::to_string(block.shared_used()) + " bytes of shared memory, at " + line_of(a.site));
  const bool writes = a.kind != AccessKind::read;
  const Visit now{epoch_, warp_epochs_[thread.warp()], static_cast<int16_t>(thread.rank), a.kind == AccessKind::atomic,
                  a.site};
  for (size_t i = offset; i < offset + a.bytes; ++i) {
    Byte& byte = bytes_[i];
    if (a.kind != AccessKind::write && byte.writer.thread < 0)
      block.fail(describe(a) + " of shared memory at offset " + std::to_string(offset) +
                 " that no thread has written, at " + line_of(a.site));
    check_order(block, thread, byte.writer, a, "wrote");
    if (!writes) {
      if (byte.reader.thread != thread.rank) byte.other_reader = byte.reader;
      byte.reader = now;
      continue;
    }
    check_order(block, thread, byte.reader, a, "read");
    check_order(block, thread, byte.other_reader, a, "read");
    byte.writer = now;
  }
}

void Checker::check_global(Block& block, const Access& a) {
  if (!find_memory(a.address).holds(a.address, a.bytes))
    block.fail("out of bounds: " + describe(a) + " at " + line_of(a.site) + ": " + describe_nearest(a.address));
  if (reinterpret_cast<uintptr_t>(a.address) % a.bytes && (a.bytes & (a.bytes - 1)) == 0)
    block.fail("misaligned: " + describe(a) + " at " + line_of(a.site));
}

}  // namespace emulator

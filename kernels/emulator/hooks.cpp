#include "kernels/emulator/block.h"

// The functions that -fsanitize=thread makes every load and store of a kernel call. They hand the access to whoever
// watches the block; if nobody does, they cost a call and a test.

namespace emulator {

void observe(const void* address, size_t bytes, AccessKind kind, const void* site) {
  if (!position) return;
  Block& block = Block::current();
  if (Observer* observer = block.observer())
    observer->access(block, block.running(), {static_cast<const std::byte*>(address), bytes, kind, site});
}

void observe_tensor_core(TensorCore kind, double flop, const void* site) {
  Block& block = Block::current();
  if (Observer* observer = block.observer()) observer->tensor_core(block, block.running(), kind, flop, site);
}

void load(void* to, const void* from, size_t bytes) {
  observe(from, bytes, AccessKind::read, EMULATOR_SITE);
  std::memcpy(to, from, bytes);
}

void store(void* to, const void* from, size_t bytes) {
  observe(to, bytes, AccessKind::write, EMULATOR_SITE);
  std::memcpy(to, from, bytes);
}

}  // namespace emulator

#define STIPPLE_HOOK(name, bytes, kind)                                                                   \
  extern "C" void __tsan_##name(const void* address) {                                                    \
    if (emulator::position) emulator::observe(address, bytes, emulator::AccessKind::kind, EMULATOR_SITE); \
  }
#define STIPPLE_HOOKS(bytes)                       \
  STIPPLE_HOOK(read##bytes, bytes, read)           \
  STIPPLE_HOOK(write##bytes, bytes, write)         \
  STIPPLE_HOOK(unaligned_read##bytes, bytes, read) \
  STIPPLE_HOOK(unaligned_write##bytes, bytes, write)
STIPPLE_HOOKS(1)
STIPPLE_HOOKS(2)
STIPPLE_HOOKS(4)
STIPPLE_HOOKS(8)
STIPPLE_HOOKS(16)

extern "C" {
void __tsan_read_range(const void* address, size_t bytes) {
  emulator::observe(address, bytes, emulator::AccessKind::read, EMULATOR_SITE);
}
void __tsan_write_range(const void* address, size_t bytes) {
  emulator::observe(address, bytes, emulator::AccessKind::write, EMULATOR_SITE);
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
}

// Atomic operations of host code in the same files: the counts of shared pointers, guards of static variables.
#define STIPPLE_ATOMICS(bits, type)                                                                                 \
  extern "C" type __tsan_atomic##bits##_load(const type* at, int) { return __atomic_load_n(at, __ATOMIC_SEQ_CST); } \
  extern "C" void __tsan_atomic##bits##_store(type* at, type x, int) { __atomic_store_n(at, x, __ATOMIC_SEQ_CST); } \
  extern "C" type __tsan_atomic##bits##_fetch_add(type* at, type x, int) {                                          \
    return __atomic_fetch_add(at, x, __ATOMIC_SEQ_CST);                                                             \
  }                                                                                                                 \
  extern "C" type __tsan_atomic##bits##_fetch_sub(type* at, type x, int) {                                          \
    return __atomic_fetch_sub(at, x, __ATOMIC_SEQ_CST);                                                             \
  }                                                                                                                 \
  extern "C" int __tsan_atomic##bits##_compare_exchange_strong(type* at, type* expected, type x, int, int) {        \
    return __atomic_compare_exchange_n(at, expected, x, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                 \
  }
STIPPLE_ATOMICS(8, unsigned char)
STIPPLE_ATOMICS(32, unsigned)
STIPPLE_ATOMICS(64, unsigned long)

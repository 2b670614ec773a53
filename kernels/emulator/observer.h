#pragma once
#include <cstddef>

// Who watches the memory accesses of a block: the checker, the counters. The sources of kernels are compiled with
// -fsanitize=thread, which makes every load and store call a function; those functions are ours (hooks.cpp), not the
// sanitizer's.

namespace emulator {

class Block;
struct Thread;

enum class AccessKind { read, write, atomic };

struct Access {
  const std::byte* address;
  size_t bytes;
  AccessKind kind;
  const void* site;  // the return address of the access: which load or store of the kernel it is
};

enum class TensorCore { bf16, tf32 };
inline constexpr int kTensorCores = 2;

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void begin(Block&) {}
  virtual void access(Block&, Thread&, const Access&) = 0;
  // Said by each lane of a warp: its warp multiplies matrices, with `flop` operations.
  virtual void tensor_core(Block&, Thread&, TensorCore, double /*flop*/, const void* /*site*/) {}
  virtual void block_barrier(Block&, bool /*all_threads*/) {}
  virtual void warp_barrier(Block&, int /*warp*/) {}
  virtual void end(Block&) {}
};

// The access of the thread that runs now, if somebody watches.
void observe(const void* address, size_t bytes, AccessKind, const void* site);
void observe_tensor_core(TensorCore, double flop, const void* site);
// Wrappers of special instructions say themselves what they touch.
#define EMULATOR_SITE __builtin_extract_return_addr(__builtin_return_address(0))

}  // namespace emulator

#pragma once
#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

// A fibre: a stack of its own and the place where to go on. Fibres of one operating-system thread take turns; whoever
// runs says who is next. A switch saves the registers a function call would preserve and exchanges stack pointers: some
// nanoseconds, so that a block of a thousand CUDA threads may meet at a barrier millions of times.

namespace emulator {

class Fibre {
 public:
  void give_stack(std::byte* stack, size_t bytes) { stack_ = stack, stack_bytes_ = bytes; }
  // The next switch to this fibre calls entry() on an empty stack. entry never returns: it switches away.
  void start(void (*entry)());
  // Goes on in `next`; returns when somebody switches back to this one, which is the one that runs.
  void switch_to(Fibre& next);

 private:
  std::byte* stack_ = nullptr;  // of the operating-system thread: none
  size_t stack_bytes_ = 0;
#if defined(__x86_64__)
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_;
#endif
};

}  // namespace emulator

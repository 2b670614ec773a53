#include "kernels/emulator/fibre.h"

#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#include <pthread.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulator {
namespace {

// The address sanitizer wants to know which stack is in use.
#if defined(__SANITIZE_ADDRESS__)
struct StackRange {
  void* bottom;
  size_t bytes;
};

StackRange stack_of_this_system_thread() {
  pthread_attr_t attributes;
  StackRange range{};
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &range.bottom, &range.bytes);
  pthread_attr_destroy(&attributes);
  return range;
}

void announce(void* stack, size_t bytes) {
  const StackRange range = stack ? StackRange{stack, bytes} : stack_of_this_system_thread();
  __sanitizer_start_switch_fiber(nullptr, range.bottom, range.bytes);
}
void arrived() { __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr); }
#else
void announce(void*, size_t) {}
void arrived() {}
#endif

thread_local void (*entry_of_next)() = nullptr;

void run_entry() {
  arrived();
  entry_of_next();
  __builtin_unreachable();
}

}  // namespace

#if defined(__x86_64__)

// exchange(&save, load): pushes what the calling convention makes a callee preserve, stores the stack pointer, takes
// the other one, and returns to wherever that stack was left.
extern "C" void stipple_exchange_stacks(void** save, void* load);
asm(R"(
.text
.p2align 4
.globl stipple_exchange_stacks
.type stipple_exchange_stacks, @function
stipple_exchange_stacks:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size stipple_exchange_stacks, .-stipple_exchange_stacks
)");

void Fibre::start(void (*entry)()) {
  entry_of_next = entry;
  auto* top = reinterpret_cast<uint64_t*>(stack_ + stack_bytes_) - 8;
  *--top = 0;  // where a debugger's backtrace ends
  *--top = reinterpret_cast<uint64_t>(&run_entry);
  for (int saved = 0; saved < 6; ++saved) *--top = 0;
  stack_pointer_ = top;
}

void Fibre::switch_to(Fibre& next) {
  announce(next.stack_, next.stack_bytes_);
  stipple_exchange_stacks(&stack_pointer_, next.stack_pointer_);
  arrived();
}

#else

void Fibre::start(void (*entry)()) {
  entry_of_next = entry;
  getcontext(&context_);
  context_.uc_stack = {.ss_sp = stack_, .ss_flags = 0, .ss_size = stack_bytes_};
  context_.uc_link = nullptr;
  makecontext(&context_, run_entry, 0);
}

void Fibre::switch_to(Fibre& next) {
  announce(next.stack_, next.stack_bytes_);
  swapcontext(&context_, &next.context_);
  arrived();
}

#endif

}  // namespace emulator

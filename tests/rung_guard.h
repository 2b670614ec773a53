#pragma once
#include <cstdlib>
#include <optional>
#include <string>

#include "kernels/cpu/parallel.h"
#include "tensor/allocator.h"

// What tests change about the process, put back when the guard dies.

namespace stipple {

// STIPPLE_<operation>=rung in the environment.
class RungGuard {
 public:
  RungGuard(const std::string& operation, const char* rung) : variable_("STIPPLE_" + operation) {
    if (const char* before = std::getenv(variable_.c_str())) before_ = before;
    setenv(variable_.c_str(), rung, 1);
  }
  ~RungGuard() { before_ ? setenv(variable_.c_str(), before_->c_str(), 1) : unsetenv(variable_.c_str()); }

 private:
  std::string variable_;
  std::optional<std::string> before_;
};

// Fresh tensors are NaN, so that what a kernel never writes shows.
struct PoisonGuard {
  PoisonGuard() { cpu_allocator().set_poison(true); }
  ~PoisonGuard() { cpu_allocator().set_poison(false); }
};

class ThreadsGuard {
 public:
  explicit ThreadsGuard(int n) : before_(cpu::threads()) { cpu::set_threads(n); }
  ~ThreadsGuard() { cpu::set_threads(before_); }

 private:
  int before_;
};

}  // namespace stipple

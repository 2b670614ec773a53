#include <atomic>

#include "kernels/emulator/device.h"
#include "kernels/emulator/observer.h"

namespace emulator {
namespace {

template <typename T, typename Change>
T change(T* at, const void* site, Change&& changed) {
  observe(at, sizeof(T), AccessKind::atomic, site);
  std::atomic_ref<T> value(*at);
  T before = value.load();
  while (!value.compare_exchange_weak(before, changed(before))) {}
  return before;
}

}  // namespace

uint32_t atomic_add(uint32_t* to, uint32_t x) {
  return change(to, EMULATOR_SITE, [=](uint32_t before) { return before + x; });
}
uint64_t atomic_add(uint64_t* to, uint64_t x) {
  return change(to, EMULATOR_SITE, [=](uint64_t before) { return before + x; });
}
float atomic_add(float* to, float x) {
  return change(to, EMULATOR_SITE, [=](float before) { return before + x; });
}
uint32_t atomic_exchange(uint32_t* to, uint32_t x) {
  return change(to, EMULATOR_SITE, [=](uint32_t) { return x; });
}
uint32_t atomic_compare_and_swap(uint32_t* at, uint32_t expected, uint32_t desired) {
  return change(at, EMULATOR_SITE, [=](uint32_t before) { return before == expected ? desired : before; });
}
int32_t atomic_maximum(int32_t* to, int32_t x) {
  return change(to, EMULATOR_SITE, [=](int32_t before) { return before < x ? x : before; });
}
int32_t atomic_minimum(int32_t* to, int32_t x) {
  return change(to, EMULATOR_SITE, [=](int32_t before) { return x < before ? x : before; });
}

}  // namespace emulator

#pragma once
#include <omp.h>

#include <cstdint>

// Threads on the CPU. Work is cut by shape, never by the number of threads, so results are the same bits for any number
// of them: f(i) must neither depend on nor touch what another i writes, and must not throw.

namespace stipple::cpu {

inline int threads() { return omp_get_max_threads(); }
inline void set_threads(int n) { omp_set_num_threads(n); }
int available_threads();  // processors this process may use: affinity and the container's quota
// Starts the program `argv` anew with threads that sleep while they wait for work, unless the environment says how they
// are to wait. By default they spin, and where other programs use the machine, too, everything then takes several times
// as long. GNU's OpenMP asks the environment before main().
void sleep_when_idle(char** argv);
inline int thread_index() { return omp_get_thread_num(); }

template <typename F>
void parallel_for(int64_t n, F&& f) {
  if (n == 1) return f(int64_t{0});
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < n; ++i) f(i);
}

// For maps over many cheap elements: f(begin, end) over pieces of at most `grain` elements.
template <typename F>
void parallel_for_ranges(int64_t n, int64_t grain, F&& f) {
  parallel_for((n + grain - 1) / grain,
               [&](int64_t i) { f(i * grain, i * grain + grain < n ? i * grain + grain : n); });
}

}  // namespace stipple::cpu

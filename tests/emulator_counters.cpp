#include "kernels/emulator/counts.h"
#include "kernels/emulator/emulator.h"
#include "kernels/emulator/model_time.h"
#include "kernels/emulator/modelled_cache.h"
#include "tests/catch.h"
#include "tests/emulator/counted_kernels.h"

// The counters, on kernels whose requests are known beforehand.

namespace {

using namespace stipple::emulator_tests;
using emulator::KernelCounts;
using emulator::LaunchCounts;
using emulator::Mode;
using emulator::ModelledCache;
using emulator::Path;
using emulator::Requests;

// What `run` launches under a name that contains `kernel`.
template <typename F>
KernelCounts counted_kernel(const std::string& kernel, F&& run) {
  emulator::set_mode(Mode::count);
  run();
  emulator::set_mode(Mode::fast);
  for (const KernelCounts& k : emulator::take_counts())
    if (k.kernel.find(kernel) != std::string::npos) return k;
  FAIL("no launch of " << kernel << " was counted");
  return {};
}

template <typename F>
LaunchCounts counts_of(const std::string& kernel, F&& run) {
  return counted_kernel(kernel, run).total();
}

double parts_a_request(const LaunchCounts& c, Path path) {
  return static_cast<double>(c.work[path].parts) / static_cast<double>(c.work[path].count);
}
double least_a_request(const LaunchCounts& c, Path path) {
  return static_cast<double>(c.work[path].least_parts) / static_cast<double>(c.work[path].count);
}

LaunchCounts transposed(Transpose how) {
  return counts_of("transpose_", [&] { transpose(how, 128); });
}

double wavefronts_with_stride(int stride) {
  return parts_a_request(counts_of("read_shared_kernel", [&] { read_shared(stride); }), Path::shared_load);
}

}  // namespace

TEST_CASE("a naive transpose stores 32 sectors where 4 would do", "[emulator][counters]") {
  if (!emulator::can_check()) return;
  const LaunchCounts c = transposed(Transpose::naive);
  CHECK(c.work[Path::global_load].count == 128 * 128 / 32);
  CHECK(parts_a_request(c, Path::global_load) == 4);
  CHECK(parts_a_request(c, Path::global_store) == 32);
  CHECK(least_a_request(c, Path::global_store) == 4);
  CHECK(c.work[Path::global_store].bytes == 128 * 128 * 4);
  CHECK(c.compulsory_bytes == 2 * 128 * 128 * 4);
  CHECK(c.work.moved_bytes() == (1 + 8) * 128 * 128 * 4);
  CHECK(c.block_bytes == c.compulsory_bytes);
  CHECK(c.dram_bytes() == c.compulsory_bytes);  // L2 puts the pieces of sectors together
}

TEST_CASE("a tiled transpose is coalesced, and needs padding against conflicts of banks", "[emulator][counters]") {
  if (!emulator::can_check()) return;
  for (const Transpose how : {Transpose::tiled, Transpose::padded}) {
    const LaunchCounts c = transposed(how);
    CHECK(parts_a_request(c, Path::global_load) == 4);
    CHECK(parts_a_request(c, Path::global_store) == 4);
    CHECK(parts_a_request(c, Path::shared_store) == 1);
    CHECK(parts_a_request(c, Path::shared_load) == (how == Transpose::tiled ? 32 : 1));
    CHECK(least_a_request(c, Path::shared_load) == 1);
    CHECK(c.work.moved_bytes() == c.compulsory_bytes);
  }
}

TEST_CASE("counts are known by line", "[emulator][counters]") {
  if (!emulator::can_check()) return;
  const auto lines = by_line(counted_kernel("transpose_naive", [] { transpose(Transpose::naive, 64); }));
  REQUIRE(lines.size() == 1);
  CHECK_THAT(lines.begin()->first, Contains("tests/emulator/counted_kernels.cu:"));
  CHECK(lines.begin()->second[Path::global_load].count == 64 * 64 / 32);
  CHECK(lines.begin()->second[Path::global_store].parts == 64 * 64);
}

TEST_CASE("strided copies touch a sector a lane from a stride of 32 bytes on", "[emulator][counters]") {
  if (!emulator::can_check()) return;
  for (const auto& [stride, sectors] : {std::pair(1, 4), {2, 8}, {4, 16}, {8, 32}, {32, 32}}) {
    const LaunchCounts c = counts_of("strided_copy", [s = stride] { strided_copy(s, 64); });
    CHECK(c.work[Path::global_load].count == 2);
    CHECK(parts_a_request(c, Path::global_load) == sectors);
    CHECK(least_a_request(c, Path::global_load) == 4);
  }
  const LaunchCounts partial = counts_of("strided_copy", [] { strided_copy(1, 40); });  // the second warp has 8 lanes
  CHECK(partial.work[Path::global_load].count == 2);
  CHECK(partial.work[Path::global_load].parts == 5);
}

TEST_CASE("conflicts of banks: as many wavefronts as the stride has factors in common with 32",
          "[emulator][counters]") {
  if (!emulator::can_check()) return;
  for (const auto& [stride, wavefronts] : {std::pair(0, 1), {1, 1}, {2, 2}, {3, 1}, {4, 4}, {6, 2}, {16, 16}, {17, 1}})
    CHECK(wavefronts_with_stride(stride) == wavefronts);
  CHECK(wavefronts_with_stride(32) == 32);
}

TEST_CASE("16 bytes a lane: 16 sectors, and 4 wavefronts for 4 quarter warps", "[emulator][counters]") {
  if (!emulator::can_check()) return;
  const LaunchCounts global = counts_of("copy_float4", [] { copy_float4(3); });
  CHECK(global.blocks == 3);
  CHECK(global.work[Path::global_load].count == 3);
  CHECK(parts_a_request(global, Path::global_load) == 16);
  CHECK(least_a_request(global, Path::global_store) == 16);
  const LaunchCounts shared = counts_of("read_shared_float4", [] { read_shared_float4(); });
  CHECK(shared.work[Path::shared_load].parts == 4);
  CHECK(shared.work[Path::shared_load].least_parts == 4);
}

TEST_CASE("ldmatrix takes a wavefront a matrix, where rows are swizzled", "[emulator][counters]") {
  if (!emulator::can_check()) return;
  for (const bool swizzled : {true, false}) {
    const LaunchCounts c = counts_of("load_matrices", [&] { load_matrices(swizzled); });
    CHECK(c.work[Path::shared_load].count == 1);
    CHECK(c.work[Path::shared_load].least_parts == 4);
    CHECK(c.work[Path::shared_load].parts == (swizzled ? 4 : 16));
  }
}

TEST_CASE("cp.async is a load from global memory and a store to shared memory", "[emulator][counters]") {
  if (!emulator::can_check()) return;
  for (const auto& [valid, sectors] : {std::pair(16, 16), {8, 16}, {0, 0}}) {
    const LaunchCounts c = counts_of("copy_asynchronously", [v = valid] { copy_asynchronously(v); });
    CHECK(c.work[Path::global_load].count == 1);
    CHECK(c.work[Path::global_load].parts == sectors);
    CHECK(c.work[Path::global_load].bytes == 32 * valid);
    CHECK(c.work[Path::shared_store].parts == 4);
    CHECK(c.shared_bytes == 512);
  }
}

TEST_CASE("the checker lets cp.async fill with zeros, which reads nothing", "[emulator]") {
  emulator::set_mode(Mode::check);
  CHECK_NOTHROW(copy_asynchronously(0));
  emulator::set_mode(Mode::fast);
}

TEST_CASE("tensor cores say what they compute", "[emulator][counters]") {
  if (!emulator::can_check()) return;
  const LaunchCounts c = counts_of("multiply_kernel", [] { multiply_on_tensor_cores(3); });
  CHECK(c.work[emulator::TensorCore::bf16].instructions == 3);
  CHECK(c.work[emulator::TensorCore::bf16].flop == 3 * 2 * 16 * 8 * 16);
  CHECK(c.work[emulator::TensorCore::tf32].flop == 3 * 2 * 16 * 8 * 8);
}

TEST_CASE("lanes that leave an access out do not disturb the requests of the others", "[emulator][counters]") {
  if (!emulator::can_check()) return;
  const LaunchCounts c = counts_of("skip_some", [] { skip_some(); });
  CHECK(c.work[Path::global_load].count == 4);
  CHECK(c.work[Path::global_load].bytes == 4 * (2 * 16 + 2 * 32));
  CHECK(c.work[Path::global_store].count == 4);
  CHECK(c.work[Path::global_store].parts == 16);
}

TEST_CASE("the modelled L2 keeps what was used last", "[emulator][counters]") {
  ModelledCache cache(4 * 128);
  const auto read_lines = [&](int lines) {
    for (int line = 0; line < lines; ++line) cache.read(line * 4);
    return cache.dram_read_bytes();
  };
  CHECK(read_lines(4) == 4 * 32);
  CHECK(read_lines(4) == 4 * 32);   // all there
  CHECK(read_lines(5) == 5 * 32);   // the fifth drives out the first, which is the oldest,
  CHECK(read_lines(5) == 10 * 32);  // and from then on every one its successor
  cache.read(1);                    // another sector of the first line, which has gone
  CHECK(cache.dram_read_bytes() == 11 * 32);
  CHECK(cache.compulsory_bytes() == 6 * 32);
}

TEST_CASE("the modelled L2 drives out what was not used for longest, not what came first", "[emulator][counters]") {
  ModelledCache cache(2 * 128);
  for (const int line : {0, 1, 0, 2, 0}) cache.read(line * 4);
  CHECK(cache.dram_read_bytes() == 3 * 32);
}

TEST_CASE("the modelled L2 writes a sector to DRAM once it leaves", "[emulator][counters]") {
  ModelledCache cache(2 * 128);
  cache.write(0);
  cache.write(0);
  cache.read(0);
  CHECK(cache.dram_read_bytes() == 0);
  cache.write(4);
  CHECK(cache.dram_written_bytes() == 0);
  cache.write(8);
  CHECK(cache.dram_written_bytes() == 32);
  cache.write_back();
  CHECK(cache.dram_written_bytes() == 3 * 32);
  CHECK(cache.compulsory_bytes() == 3 * 32);
}

TEST_CASE("model time is that of the slowest part, on the busiest multiprocessor", "[emulator][counters]") {
  const emulator::Gpu gpu{"a model of a model", 10, 1e9, 1e9, 10e9, 1e12, 1e11};
  LaunchCounts c{.blocks = 10};
  c.work[Path::shared_load].parts = 10'000;
  CHECK(model_time(c, gpu).seconds == Approx(1e-6));
  CHECK_THAT(model_time(c, gpu).bound, Contains("shared"));
  c.dram_read_bytes = 4000;
  CHECK(model_time(c, gpu).seconds == Approx(4e-6));
  CHECK_THAT(model_time(c, gpu).bound, Contains("DRAM"));
  c.work[emulator::TensorCore::tf32].flop = 1e6;
  CHECK(model_time(c, gpu).seconds == Approx(10e-6));
  c.blocks = 11;  // one multiprocessor has two
  CHECK(model_time(c, gpu).seconds == Approx(10e-6 * 2 / 1.1));
}

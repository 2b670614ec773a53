#include "kernels/emulator/emulator.h"

#include <cmath>
#include <numeric>

#include "tensor/allocator.h"
#include "tensor/tensor.h"
#include "tests/catch.h"
#include "tests/emulator/kernels.h"

namespace stipple {
namespace {

using namespace emulator_tests;
using emulator::Mode;

struct ModeGuard {
  explicit ModeGuard(Mode wanted) : before(emulator::mode()) { emulator::set_mode(wanted); }
  ~ModeGuard() { emulator::set_mode(before); }
  Mode before;
};

// Allocations are exactly as large as their tensors, so that one element too far is outside.
struct ExactAllocations {
  ExactAllocations() { allocator_of(Device::cuda).set_caching(false); }
  ~ExactAllocations() { allocator_of(Device::cuda).set_caching(true); }
};

std::vector<float> numbers() {
  std::vector<float> values(64);
  std::iota(values.begin(), values.end(), 0.f);
  return values;
}

std::string report_of(Planted error) {
  try {
    reversed(numbers(), error);
  } catch (const Error& e) { return e.what(); }
  return "nothing was found";
}

std::string checked_report_of(Planted error) {
  const ModeGuard guard(Mode::check);
  const ExactAllocations exact;
  return report_of(error);
}

std::vector<float> product(const Product& p, int depth) {
  std::vector<float> c(16 * 8);
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j)
      for (int k = 0; k < depth; ++k) c[i * 8 + j] += p.a[i * 16 + k] * p.b[k * 8 + j];
  return c;
}

}  // namespace

TEST_CASE("threads of an emulated block exchange through shared memory", "[emulator]") {
  const std::vector<float> values = numbers(), backwards(values.rbegin(), values.rend());
  CHECK(reversed(values, Planted::nothing) == backwards);
  const ModeGuard guard(Mode::check);
  const ExactAllocations exact;
  CHECK(reversed(values, Planted::nothing) == backwards);
}

TEST_CASE("a forgotten barrier shows: the poison of shared memory comes out", "[emulator]") {
  const std::vector<float> y = reversed(numbers(), Planted::missing_barrier);
  CHECK(std::any_of(y.begin(), y.end(), [](float v) { return std::isnan(v); }));
}

TEST_CASE("cp.async takes effect only at its wait", "[emulator]") {
  for (const float v : reversed(numbers(), Planted::missing_wait)) CHECK(std::isnan(v));
}

TEST_CASE("a barrier in a branch is reported, not hung", "[emulator]") {
  const std::string report = report_of(Planted::barrier_in_a_branch);
  CHECK_THAT(report,
             Contains("reverse<") && Contains("block (0,0,0): deadlock") &&
                 Contains("32 threads, the first (0,0,0), wait in __syncthreads at tests/emulator/kernels.cu:"));
  CHECK_THAT(report, Contains("32 threads, the first (32,0,0), have left the kernel"));
}

TEST_CASE("threads that come to different barriers are reported", "[emulator]") {
  CHECK_THAT(report_of(Planted::two_barriers),
             Contains("thread (32,0,0): divergence: comes to __syncthreads at tests/emulator/kernels.cu:"));
}

TEST_CASE("a shuffle from a lane that takes no part is reported", "[emulator]") {
  CHECK_THAT(report_of(Planted::shuffle_from_outside), Contains("shuffle_half") && Contains("reads lane 20"));
}

TEST_CASE("a launch that no GPU accepts is reported", "[emulator]") {
  CHECK_THAT(report_of(Planted::endless_block), Contains("2048 threads a block"));
}

TEST_CASE("checked kernels: every access is looked at", "[emulator]") {
  if (!emulator::can_check()) return;
  const std::string line = "at tests/emulator/kernels.cu:";
  CHECK_THAT(checked_report_of(Planted::missing_barrier),
             Contains("reverse<") && Contains("that no thread has written") && Contains(line));
  CHECK_THAT(checked_report_of(Planted::beyond_device_memory),
             Contains("thread (63,0,0): out of bounds: reads 4 bytes") &&
                 Contains("0 bytes after the end of 256 bytes of device memory") && Contains(line));
  CHECK_THAT(checked_report_of(Planted::beyond_shared_memory),
             Contains("thread (63,0,0): out of bounds: writes 4 bytes at offset 256 of 256 bytes of shared memory"));
  CHECK_THAT(checked_report_of(Planted::unwritten_shared_memory),
             Contains("thread (63,0,0): reads 4 bytes of shared memory at offset 0 that no thread has written"));
  CHECK_THAT(checked_report_of(Planted::host_pointer),
             Contains("out of bounds: reads 4 bytes") && Contains("a pointer of the host"));
  CHECK_THAT(checked_report_of(Planted::misaligned), Contains("misaligned: reads"));
  CHECK_THAT(checked_report_of(Planted::missing_wait), Contains("that no thread has written"));
  CHECK_THAT(checked_report_of(Planted::missing_warp_barrier),
             Contains("reverse_in_warps") && (Contains("race: ") || Contains("that no thread has written")));
}

TEST_CASE("emulated tensor cores multiply as the PTX manual lays fragments out", "[emulator]") {
  for (const Instruction i : {Instruction::m16n8k16_bf16, Instruction::m16n8k8_bf16, Instruction::m16n8k8_tf32,
                              Instruction::ldmatrix_bf16, Instruction::ldmatrix_trans_bf16}) {
    INFO("instruction " << static_cast<int>(i));
    const Product p = tensor_core_product(i);
    CHECK(p.c == product(p, i == Instruction::m16n8k8_bf16 || i == Instruction::m16n8k8_tf32 ? 8 : 16));
  }
}

TEST_CASE("emulated tensor cores cut sums off towards zero", "[emulator]") {
  const float part = 1.75f * 0x1p-24f;  // of 1's last place: .875
  CHECK(tensor_core_sum(1, part) == 1);
  CHECK(tensor_core_sum(-1, -part) == -1);
  CHECK(tensor_core_sum(1, 2 * part) == 1 + 0x1p-23f);
  CHECK(tensor_core_sum(0, part) == part);
}

TEST_CASE("shuffles and votes", "[emulator]") {
  const std::vector<uint32_t> results = warp_operations();
  for (uint32_t lane = 0; lane < 32; ++lane) {
    CHECK(results[lane] == 0x49249249);
    CHECK(results[32 + lane] == (lane < 3 ? lane : lane - 3));
    CHECK(results[64 + lane] == (lane % 8 < 3 ? lane + 5 : lane));
    CHECK(results[96 + lane] == (lane ^ 7));
    CHECK(results[128 + lane] == (lane < 8 ? 30 : 0xFFFFFFFF));
  }
}

TEST_CASE("atomics add across blocks that run at the same time", "[emulator]") {
  CHECK(count_by_atomics(200, 96) == 200 * 96);
}

TEST_CASE("a block of 1024 threads passes a thousand barriers in a moment", "[emulator]") {
  CHECK(seconds_of_barriers(1024, 1000) < 2);
}

}  // namespace stipple

#pragma once
#include <cstdint>
#include <string>
#include <vector>

// Kernels for the tests of the emulator (kernels.cu): correct ones, and ones with a planted error.

namespace stipple::emulator_tests {

enum class Planted {
  nothing,               // reverses 64 numbers by way of shared memory
  missing_barrier,       // between writing shared memory and reading what others wrote
  barrier_in_a_branch,   // only half the threads come to it
  two_barriers,          // each half comes to one of its own
  beyond_device_memory,  // the last thread reads one element too far
  beyond_shared_memory,
  unwritten_shared_memory,
  host_pointer,          // reads the host's memory
  misaligned,            // a load of 16 bytes at an address that is no multiple of 16
  missing_warp_barrier,  // neighbours in a warp exchange through shared memory without __syncwarp
  shuffle_from_outside,  // from a lane the mask lacks
  missing_wait,          // for cp.async, with the barrier in place
  endless_block,         // more threads than a block can have
};

// What 64 threads that reverse `input` give; throws Error with the emulator's report.
std::vector<float> reversed(const std::vector<float>& input, Planted);

struct Product {
  std::vector<float> a, b, c;  // row-major; c is what the tensor core gave
};
enum class Instruction { m16n8k16_bf16, m16n8k8_bf16, m16n8k8_tf32, ldmatrix_bf16, ldmatrix_trans_bf16 };
Product tensor_core_product(Instruction);         // of small whole numbers, which every format holds exactly
float tensor_core_sum(float sum, float product);  // in tf32

std::vector<uint32_t> warp_operations();                // ballot, shuffles; see the test
uint32_t count_by_atomics(int blocks, int threads);     // every thread adds 1
double seconds_of_barriers(int threads, int barriers);  // of one block

}  // namespace stipple::emulator_tests

#pragma once
// Kernels whose requests to memory are known beforehand, for the tests of the counters (counted_kernels.cu). Each
// function launches one, on memory of its own.

namespace stipple::emulator_tests {

enum class Transpose { naive, tiled, padded };
void transpose(Transpose, int n);  // n x n f32, n a multiple of 32; blocks of 32 x 8 threads

void strided_copy(int stride, int threads);  // f32: y[i] = x[i * stride], one block
void copy_float4(int blocks);                // blocks of 32 threads, 16 bytes each
void read_shared(int stride);                // one warp: lane l reads word l * stride % 1024
void read_shared_float4();                   // one warp, side by side
void load_matrices(bool swizzled);           // one warp: ldmatrix.x4 from rows of 64 bytes
void copy_asynchronously(int valid);         // one warp, 16 bytes a lane, of which `valid` are read
void multiply_on_tensor_cores(int times);    // one warp: m16n8k16 bf16, and as often m16n8k8 tf32
void skip_some();                            // one warp: even lanes leave out every second iteration

}  // namespace stipple::emulator_tests

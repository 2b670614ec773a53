#include "kernels/emulator/instructions.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/emulator/block.h"
#include "kernels/emulator/symbols.h"

namespace emulator {
namespace {

constexpr uint32_t kAllLanes = 0xFFFFFFFF;

float lower(uint32_t pair) { return std::bit_cast<float>(pair << 16); }
float upper(uint32_t pair) { return std::bit_cast<float>(pair & 0xFFFF0000); }
float tf32(uint32_t bits) { return std::bit_cast<float>(bits & 0xFFFFE000); }  // hardware ignores the rest

template <int kDepth>
constexpr double kFlop = 2 * 16 * 8 * kDepth;

struct Fragments {
  float* d;
  const uint32_t *a, *b;
};

template <int kDepth>
struct Operands {
  double a[16][kDepth], b[kDepth][8];  // whose products and few sums are exact
};

// The f32 next to x towards zero.
float truncated(double x) {
  const float nearest = static_cast<float>(x);
  const bool beyond = std::abs(static_cast<double>(nearest)) > std::abs(x);
  return beyond ? std::bit_cast<float>(std::bit_cast<uint32_t>(nearest) - 1) : nearest;
}

// unpack(operands, lane's fragments, g, q) fills in one lane's part of A and B.
template <int kDepth, typename Unpack>
void multiply(const Meeting& m, Unpack&& unpack) {
  Operands<kDepth> operands;
  double c[16][8];
  for (int l = 0; l < kWarp; ++l) {
    const auto* lane = static_cast<const Fragments*>(m.brought[l]);
    const int g = l / 4, q = l % 4;
    unpack(operands, *lane, g, q);
    for (int r = 0; r < 4; ++r) c[g + 8 * (r >> 1)][2 * q + (r & 1)] = lane->d[r];
  }
  for (int i = 0; i < 16; ++i)
    for (int k = 0; k < kDepth; ++k)
      for (int j = 0; j < 8; ++j) c[i][j] += operands.a[i][k] * operands.b[k][j];
  for (int l = 0; l < kWarp; ++l)
    for (int r = 0; r < 4; ++r)
      static_cast<const Fragments*>(m.brought[l])->d[r] = truncated(c[l / 4 + 8 * (r >> 1)][2 * (l % 4) + (r & 1)]);
}

// Tensor-core instructions and ldmatrix are for whole warps.
template <typename F>
void whole_warp(const char* operation, Where where, void* mine, F&& all) {
  Block& block = Block::current();
  if ((block.running().warp() + 1) * kWarp > block.threads())
    block.fail(std::string(operation) + " in a warp of fewer than 32 threads, at " + to_string(where));
  block.meet(kAllLanes, operation, where, mine, all);
}

struct MatrixRow {
  const std::byte* row;
  uint32_t* to;
};

uint16_t element(const Meeting& m, int matrix, int row, int column) {
  uint16_t bits;
  std::memcpy(&bits, static_cast<const MatrixRow*>(m.brought[8 * matrix + row])->row + 2 * column, 2);
  return bits;
}

void ldmatrix(uint32_t* to, const void* row, int matrices, bool transposed, Where where, const void* site) {
  MatrixRow mine{static_cast<const std::byte*>(row), to};
  Block& block = Block::current();
  if (block.running().lane() < 8 * matrices) {
    if (reinterpret_cast<uintptr_t>(row) % 16)
      block.fail("ldmatrix: a row is not aligned to 16 bytes, at " + to_string(where));
    observe(row, 16, AccessKind::read, site);
  }
  whole_warp("ldmatrix", where, &mine, [&](const Meeting& m) {
    for (int l = 0; l < kWarp; ++l)
      for (int i = 0; i < matrices; ++i) {
        const int g = l / 4, q = l % 4;
        const uint32_t first = transposed ? element(m, i, 2 * q, g) : element(m, i, g, 2 * q);
        const uint32_t second = transposed ? element(m, i, 2 * q + 1, g) : element(m, i, g, 2 * q + 1);
        static_cast<const MatrixRow*>(m.brought[l])->to[i] = first | second << 16;
      }
  });
}

}  // namespace

void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where where) {
  observe_tensor_core(TensorCore::bf16, kFlop<16>, EMULATOR_SITE);
  Fragments mine{d, a, b};
  whole_warp("mma.m16n8k16.bf16", where, &mine, [](const Meeting& m) {
    multiply<16>(m, [](auto& to, const Fragments& from, int g, int q) {
      for (int r = 0; r < 4; ++r) {
        double* pair = &to.a[g + 8 * (r & 1)][2 * q + 8 * (r >> 1)];
        pair[0] = lower(from.a[r]), pair[1] = upper(from.a[r]);
      }
      for (int r = 0; r < 2; ++r) {
        to.b[2 * q + 8 * r][g] = lower(from.b[r]);
        to.b[2 * q + 8 * r + 1][g] = upper(from.b[r]);
      }
    });
  });
}

void mma_m16n8k8_bf16(float (&d)[4], const uint32_t (&a)[2], const uint32_t& b, Where where) {
  observe_tensor_core(TensorCore::bf16, kFlop<8>, EMULATOR_SITE);
  Fragments mine{d, a, &b};
  whole_warp("mma.m16n8k8.bf16", where, &mine, [](const Meeting& m) {
    multiply<8>(m, [](auto& to, const Fragments& from, int g, int q) {
      for (int r = 0; r < 2; ++r) {
        to.a[g + 8 * r][2 * q] = lower(from.a[r]);
        to.a[g + 8 * r][2 * q + 1] = upper(from.a[r]);
      }
      to.b[2 * q][g] = lower(from.b[0]);
      to.b[2 * q + 1][g] = upper(from.b[0]);
    });
  });
}

void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where where) {
  observe_tensor_core(TensorCore::tf32, kFlop<8>, EMULATOR_SITE);
  Fragments mine{d, a, b};
  whole_warp("mma.m16n8k8.tf32", where, &mine, [](const Meeting& m) {
    multiply<8>(m, [](auto& to, const Fragments& from, int g, int q) {
      for (int r = 0; r < 4; ++r) to.a[g + 8 * (r & 1)][q + 4 * (r >> 1)] = tf32(from.a[r]);
      for (int r = 0; r < 2; ++r) to.b[q + 4 * r][g] = tf32(from.b[r]);
    });
  });
}

void ldmatrix_x1(uint32_t& to, const void* row, Where where) { ldmatrix(&to, row, 1, false, where, EMULATOR_SITE); }
void ldmatrix_x2(uint32_t (&to)[2], const void* row, Where where) { ldmatrix(to, row, 2, false, where, EMULATOR_SITE); }
void ldmatrix_x4(uint32_t (&to)[4], const void* row, Where where) { ldmatrix(to, row, 4, false, where, EMULATOR_SITE); }
void ldmatrix_x1_trans(uint32_t& to, const void* row, Where where) {
  ldmatrix(&to, row, 1, true, where, EMULATOR_SITE);
}
void ldmatrix_x2_trans(uint32_t (&to)[2], const void* row, Where where) {
  ldmatrix(to, row, 2, true, where, EMULATOR_SITE);
}
void ldmatrix_x4_trans(uint32_t (&to)[4], const void* row, Where where) {
  ldmatrix(to, row, 4, true, where, EMULATOR_SITE);
}

template <int kBytes>
void cp_async(void* shared, const void* global, int valid) {
  Block& block = Block::current();
  if (reinterpret_cast<uintptr_t>(shared) % kBytes || (valid > 0 && reinterpret_cast<uintptr_t>(global) % kBytes))
    block.fail("cp.async: an address is not aligned to its " + std::to_string(kBytes) + " bytes, at " +
               line_of(EMULATOR_SITE));
  block.running().copies.issue({static_cast<std::byte*>(shared), static_cast<const std::byte*>(global), kBytes,
                                static_cast<size_t>(std::clamp(valid, 0, kBytes)), EMULATOR_SITE});
}
template void cp_async<4>(void*, const void*, int);
template void cp_async<8>(void*, const void*, int);
template void cp_async<16>(void*, const void*, int);

void cp_async_commit() { Block::current().running().copies.commit(); }
void cp_async_wait(int most) { Block::current().running().copies.wait(static_cast<size_t>(most)); }
void cp_async_wait_all() { Block::current().running().copies.wait_all(); }

uint32_t to_tf32(float x) { return std::isnan(x) ? 0x7FFFFFFF : (std::bit_cast<uint32_t>(x) + 0x1000) & 0xFFFFE000; }
float exp2_approximate(float x) { return std::exp2(x); }

}  // namespace emulator

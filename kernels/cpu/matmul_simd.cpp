#include "kernels/cpu/matmul_simd.h"

#include "kernels/cpu/gemm_panels.h"

// Idea    A is read where it lies, transposed or not. B is read where it lies when its rows are whole vectors and
//         few, else packed into panels. Tall sums into small results (weight gradients) are cut into partial results.
// Costs   packing B costs as much as one row of the product for each element; it is used by all rows.

namespace stipple::cpu {
namespace {

constexpr int64_t kInner = 512;      // terms of a sum in registers
constexpr int64_t kTiles = 4;        // a task is at most so many tiles high and wide
constexpr int64_t kTasks = 16;       // pieces of work there should be, where sums are long enough to be cut
constexpr int64_t kDirectRow = 256;  // longer rows of B lie on too many pages to be read in place by many tiles

struct Product {
  int64_t rows, columns, inner;
  const float* a;
  int64_t a_row, a_step;
  const float* b;
  int64_t b_panel, b_step;  // floats from one panel of columns, one step to the next
  const float* bias = nullptr;
  int64_t bias_row = 0;  // 0: one bias a column; 1: one a row
  RegisterTile multiply = nullptr;
};

bool reads_in_place(const MatmulExtents& e) {
  return e.transpose_b == Transpose::no && e.columns % simd::table().lanes == 0 &&
         (e.columns <= kDirectRow || e.rows <= 2 * simd::table().gemm_rows);
}

Tensor pack(const float* b, const MatmulExtents& e) {
  if (e.transpose_b == Transpose::yes)
    return pack_panels(e.inner, e.columns, e.inner, [&](int64_t step) { return b + step; });
  return pack_panels(e.inner, e.columns, 1, [&](int64_t step) { return b + step * e.columns; });
}

// A part of the product: rows, columns and terms of the sums, each [begin, end).
struct Block {
  int64_t row, row_end, column, column_end, term, term_end;
};

// Writes start + A B to a block of c [rows, columns]; `start` as in simd::GemmTile, for all of c.
void run_block(const Product& p, const Block& block, float* c, const float* start, int64_t start_row) {
  const int64_t width = simd::table().gemm_columns, zero = 0;
  simd::GemmTile tile{.c_row = p.columns, .a_row = p.a_row, .a_step = p.a_step, .b_step = p.b_step};
  tile.runs = 1, tile.a_runs = tile.b_runs = &zero;
  int64_t k = block.term;
  do {
    tile.steps = std::min(kInner, block.term_end - k);
    tile.start_row = start_row;
    for (int64_t column = block.column; column < block.column_end; column += width)
      for_pieces(block.row_end - block.row, simd::table().gemm_rows, [&](int64_t first, int64_t rows) {
        const int64_t row = block.row + first;
        tile.rows = rows, tile.columns = std::min(width, block.column_end - column);
        tile.c = c + row * p.columns + column;
        tile.start = start ? start + row * start_row + column : nullptr;
        tile.a = p.a + row * p.a_row + k * p.a_step;
        tile.b = p.b + column / width * p.b_panel + k * p.b_step;
        p.multiply(tile);
      });
    start = c, start_row = p.columns;
    k += kInner;
  } while (k < block.term_end);
}

// How the product is cut into tasks.
struct Cut {
  int64_t high, wide, across, blocks, parts;

  explicit Cut(const Product& p) {
    high = kTiles * simd::table().gemm_rows, wide = kTiles * simd::table().gemm_columns;
    across = divide_up(p.columns, wide);
    blocks = across * divide_up(p.rows, high);
    parts = std::clamp<int64_t>(std::min(kTasks / blocks, p.inner / kInner), 1, kTasks);
  }
  Block block(const Product& p, int64_t i, int64_t part, int64_t of) const {
    const int64_t row = i / across * high, column = i % across * wide;
    return {row,
            std::min(row + high, p.rows),
            column,
            std::min(column + wide, p.columns),
            p.inner * part / of,
            p.inner * (part + 1) / of};
  }
};

void run_whole(const Product& p, const Cut& cut, const Destination& c) {
  parallel_for(cut.blocks, [&](int64_t i) {
    run_block(p, cut.block(p, i, 0, 1), c.to, c.add ? c.to : p.bias, c.add ? p.columns : p.bias_row);
  });
}

void run_parts(const Product& p, const Cut& cut, const Destination& c) {
  const Tensor partials({cut.parts, p.rows, p.columns});
  float* sums = partials.mutable_data<float>();
  parallel_for(cut.blocks * cut.parts, [&](int64_t i) {
    const int64_t part = i / cut.blocks;
    run_block(p, cut.block(p, i % cut.blocks, part, cut.parts), sums + part * p.rows * p.columns, nullptr, 0);
  });
  add_partials(c, sums, cut.parts, p.rows * p.columns);
}

void run(const Product& p, const Destination& c) {
  const Cut cut(p);
  if (cut.parts > 1 && !p.bias)
    run_parts(p, cut, c);
  else
    run_whole(p, cut, c);
}

// One row: B is too large to be packed for it. C^T = B^T A^T reads B in place, and one lane of each vector counts.
void run_row(const Destination& c, const float* bias, const float* a, const float* b, const MatmulExtents& e,
             RegisterTile multiply) {
  const bool tb = e.transpose_b == Transpose::yes;
  const Tensor column = pack_panels(e.inner, 1, 1, [&](int64_t step) { return a + step; });
  run({.rows = e.columns,
       .columns = 1,
       .inner = e.inner,
       .a = b,
       .a_row = tb ? e.inner : 1,
       .a_step = tb ? 1 : e.columns,
       .b = column.data<float>(),
       .b_panel = 0,
       .b_step = simd::table().gemm_columns,
       .bias = bias,
       .bias_row = 1,
       .multiply = multiply},
      c);
}

}  // namespace

void matmul_simd(const Destination& c, const float* bias, const float* a, const float* b, const MatmulExtents& e,
                 RegisterTile multiply) {
  if (e.rows * e.columns == 0) return;
  const int64_t width = simd::table().gemm_columns;
  const bool ta = e.transpose_a == Transpose::yes, direct = reads_in_place(e);
  if (e.rows == 1 && !direct) return run_row(c, bias, a, b, e, multiply);
  const Tensor packed = direct ? Tensor() : pack(b, e);
  run({.rows = e.rows,
       .columns = e.columns,
       .inner = e.inner,
       .a = a,
       .a_row = ta ? 1 : e.inner,
       .a_step = ta ? e.rows : 1,
       .b = direct ? b : packed.data<float>(),
       .b_panel = direct ? width : e.inner * width,
       .b_step = direct ? e.columns : width,
       .bias = bias,
       .multiply = multiply},
      c);
}

}  // namespace stipple::cpu

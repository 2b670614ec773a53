#include "kernels/cpu/conv2d_gemm.h"
#include "kernels/cpu/gemm_panels.h"

// Forward where there are one to three filters, as in the last layer of an image network.
//
// Idea    the product pixels x filters would fill one of sixteen lanes. So taps become columns: each pixel is
//         multiplied by all taps of all filters at once, and each output gathers its r * s products from the pixels
//         around it.
// Costs   a product for each tap is written and read; rows at the edges of a task are multiplied twice.
// Seen    32 -> 1 channels, 128 images of 28x28, one Zen 5 core: 1.6 ms; as a product of pixels and filters 5.7,
//         oneDNN 6.3.

namespace stipple::cpu::gemm {
namespace {

constexpr int64_t kTaskPixels = 1024;  // products of a task: 64 or 128 KiB

struct FewFilters {
  const ConvGeometry& g;
  const float *x, *panel, *bias;
  float* y;
  RegisterTile multiply;

  int64_t columns() const { return g.k * g.r * g.s; }  // [k][r][s], as in the weight
  int64_t pitch() const { return divide_up(columns(), simd::table().lanes) * simd::table().lanes; }
};

// products [pixels][pitch] of rows [h0, h1) of image n
void multiply(const FewFilters& o, float* products, int64_t n, int64_t h0, int64_t h1) {
  const ConvGeometry& g = o.g;
  const int64_t zero = 0;
  const float* x = o.x + (n * g.h + h0) * g.w * g.c;
  simd::GemmTile tile{.columns = o.pitch(), .c_row = o.pitch(), .a_row = g.c, .a_step = 1, .b = o.panel};
  tile.b_step = simd::table().gemm_columns, tile.steps = g.c;
  tile.runs = 1, tile.a_runs = tile.b_runs = &zero;
  for_pieces((h1 - h0) * g.w, simd::table().gemm_rows, [&](int64_t first, int64_t rows) {
    tile.rows = rows, tile.a = x + first * g.c, tile.c = products + first * o.pitch();
    o.multiply(tile);
  });
}

// Output (i, j) of filter k from the products of its window; `products` begins at row h0 of the image.
float gather(const FewFilters& o, const float* products, int64_t h0, int64_t i, int64_t j, int64_t k) {
  const ConvGeometry& g = o.g;
  const int64_t h = i * g.stride - g.top, w = j * g.stride - g.left, pitch = o.pitch();
  const int64_t r0 = std::max<int64_t>(0, -h), r1 = std::min(g.r, g.h - h);
  const int64_t s0 = std::max<int64_t>(0, -w), s1 = std::min(g.s, g.w - w);
  float sum = o.bias ? o.bias[k] : 0;
  for (int64_t r = r0; r < r1; ++r) {
    const float* row = products + ((h + r - h0) * g.w + w) * pitch + (k * g.r + r) * g.s;
    for (int64_t s = s0; s < s1; ++s) sum += row[s * (pitch + 1)];
  }
  return sum;
}

void run_task(const FewFilters& o, float* products, int64_t n, int64_t begin, int64_t end) {
  const ConvGeometry& g = o.g;
  const int64_t h0 = std::clamp<int64_t>(begin * g.stride - g.top, 0, g.h);
  const int64_t h1 = std::clamp((end - 1) * g.stride - g.top + g.r, h0, g.h);
  multiply(o, products, n, h0, h1);
  float* y = o.y + (n * g.ho + begin) * g.wo * g.k;
  for (int64_t i = begin; i < end; ++i)
    for (int64_t j = 0; j < g.wo; ++j)
      for (int64_t k = 0; k < g.k; ++k) *y++ = gather(o, products, h0, i, j, k);
}

}  // namespace

bool has_few_filters(const ConvGeometry& g) {
  return 4 * g.k <= simd::table().lanes && g.k * g.r * g.s <= simd::table().gemm_columns && g.c >= 8 && g.r * g.s > 1;
}

void conv2d_few_filters(float* y, const float* x, const float* weight, const float* bias, const ConvGeometry& g,
                        RegisterTile multiply) {
  const Tensor panel = pack_panels(g.c, g.k * g.r * g.s, g.c, [&](int64_t c) { return weight + c; });
  const FewFilters o{g, x, panel.data<float>(), bias, y, multiply};
  const int64_t rows = std::clamp<int64_t>(kTaskPixels / g.w, 1, g.ho), blocks = divide_up(g.ho, rows);
  const int64_t floats = ((rows - 1) * g.stride + g.r) * g.w * o.pitch();
  const Tensor buffers({threads(), floats});
  float* scratch = buffers.mutable_data<float>();
  parallel_for(g.n * blocks, [&](int64_t task) {
    const int64_t begin = task % blocks * rows;
    run_task(o, scratch + thread_index() * floats, task / blocks, begin, std::min(begin + rows, g.ho));
  });
}

}  // namespace stipple::cpu::gemm

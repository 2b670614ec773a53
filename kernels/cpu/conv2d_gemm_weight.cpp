#include <vector>

#include "kernels/cpu/conv2d_gemm.h"
#include "kernels/cpu/conv2d_strip.h"
#include "kernels/cpu/gemm_panels.h"

// Weight gradient: filters x window, summed over pixels.
//
// Idea    A is dy as it lies (the filters of one pixel side by side), B is the strip of x as it lies (a row of the
//         window of one pixel side by side), so nothing is packed. Pixels are cut into blocks, whose sums stay in
//         registers; blocks add up in a fixed number of partial results, which add up in order at the end. With few
//         channels (3 of 16 lanes, with one channel) it is the other way round, and the result is turned.
// Costs   what is beyond the end of a row of the window is computed and thrown away.
// Seen    GFLOP/s, one Zen 5 core of about 240, beside oneDNN's: 198/173 (128 -> 128 channels, 64x64), 165/155 (32 ->
//         32, 28x28), 150/115 (the same with stride 2).

namespace stipple::cpu::gemm {
namespace {

constexpr int64_t kTasks = 16;         // pieces of work there should be
constexpr int64_t kBlockPixels = 256;  // terms of a sum in registers, about
constexpr int64_t kPartialFloats =
    1 << 16;  // of larger gradients there are fewer partial results: tasks share out filters
constexpr int64_t kFilterGroup = 56;

// Blocks of pixels: some rows of one image, or some whole images.
struct Blocks {
  int64_t images, rows, per_image, count;

  explicit Blocks(const ConvGeometry& g) {
    per_image = divide_up(g.ho, std::clamp<int64_t>(kBlockPixels / g.wo, 1, g.ho));
    rows = divide_up(g.ho, per_image);
    per_image = divide_up(g.ho, rows);
    images = std::clamp<int64_t>(kBlockPixels / (g.ho * g.wo), 1, g.n);
    count = divide_up(g.n, images) * per_image;
  }
};

struct WeightGradient {
  const ConvGeometry& g;
  Windows in;
  const float* dy;
  Blocks blocks;
  RegisterTile multiply;
  int64_t filter_groups, partials;
  bool turned;  // window x filters: where that wastes fewer lanes, and filters are whole vectors

  WeightGradient(const float* dy_, const float* x, const ConvGeometry& g_, RegisterTile multiply_)
      : g(g_),
        in{x, g.h, g.w, g.c, g.r, g.s, g.stride, g.top, g.left, g.ho, g.wo},
        dy(dy_),
        blocks(g),
        multiply(multiply_) {
    filter_groups = g.k * g.window() > kPartialFloats ? divide_up(g.k, kFilterGroup) : 1;
    partials = std::clamp<int64_t>(kTasks / filter_groups, 1, blocks.count);
    const int64_t lanes = simd::table().lanes;
    turned = g.k % lanes == 0 && filter_groups == 1 && in.run() * (g.k / lanes) < g.k * divide_up(in.run(), lanes);
  }
  // Whether vectors may read x itself: no zeros around it, and no vector that ends beyond a pixel.
  bool direct() const { return in.inside() && in.run() % simd::table().lanes == 0; }
  int64_t strip_floats() const { return direct() ? 0 : blocks.images * in.strip_floats(blocks.rows) + kStripSlack; }
};

// Where the rows of a block begin in dy and in x (or the strip of it).
struct Runs {
  const float *dy, *x;
  int64_t x_row;  // floats from one row of x to the next
  std::vector<int64_t> dy_runs, x_runs;
};

Runs read(const WeightGradient& o, int64_t block, float* strip) {
  const ConvGeometry& g = o.g;
  const int64_t image = block / o.blocks.per_image * o.blocks.images, images = std::min(o.blocks.images, g.n - image);
  const int64_t begin = block % o.blocks.per_image * o.blocks.rows, end = std::min(begin + o.blocks.rows, g.ho);
  const int64_t strip_image = o.in.strip_floats(end - begin);
  Runs runs{o.dy + (image * g.ho + begin) * g.wo * g.k, strip, o.in.strip_row()};
  if (o.direct()) runs.x = o.in.x + (image * g.h + begin * g.stride) * g.w * g.c, runs.x_row = g.w * g.c;
  for (int64_t n = 0; n < images; ++n) {
    if (!o.direct()) copy_strip(strip + n * strip_image, o.in, image + n, begin, end);
    for (int64_t i = 0; i < end - begin; ++i) {
      runs.dy_runs.push_back((n * g.ho + i) * g.wo * g.k);
      runs.x_runs.push_back(n * (o.direct() ? g.h * runs.x_row : strip_image) + i * g.stride * runs.x_row);
    }
  }
  return runs;
}

// One side of a product over the pixels of a block: `count` floats of each pixel, which lie side by side.
struct Side {
  const float* from;
  int64_t count, step;  // floats from one pixel of a row to the next
  const int64_t* runs;
};

// Adds (or writes) the product to c [rows.count, columns.count], c_row floats from one row to the next.
void add_product(RegisterTile multiply, float* c, int64_t c_row, bool add, const Side& rows, const Side& columns,
                 int64_t steps, int64_t runs) {
  simd::GemmTile tile{.c_row = c_row, .start = nullptr, .start_row = c_row, .a_row = 1, .a_step = rows.step};
  tile.b_step = columns.step, tile.steps = steps, tile.runs = runs;
  tile.a_runs = rows.runs, tile.b_runs = columns.runs;
  const int64_t width = simd::table().gemm_columns;
  for (int64_t column = 0; column < columns.count; column += width)
    for_pieces(rows.count, simd::table().gemm_rows, [&](int64_t first, int64_t count) {
      tile.rows = count, tile.columns = std::min(width, columns.count - column);
      tile.a = rows.from + first, tile.b = columns.from + column;
      tile.c = c + first * c_row + column;
      if (add) tile.start = tile.c;
      multiply(tile);
    });
}

// Adds (or writes) what a block has for filters [k0, k1) to one partial result.
void add_block(const WeightGradient& o, const Runs& from, float* partial, bool add, int64_t k0, int64_t k1) {
  const ConvGeometry& g = o.g;
  const Side filters{from.dy + k0, k1 - k0, g.k, from.dy_runs.data()};
  for (int64_t r = 0; r < g.r; ++r) {
    const Side window{from.x + r * from.x_row, o.in.run(), g.stride * g.c, from.x_runs.data()};
    const int64_t e = r * o.in.run(), runs = from.dy_runs.size();
    if (o.turned)
      add_product(o.multiply, partial + e * g.k, g.k, add, window, filters, g.wo, runs);
    else
      add_product(o.multiply, partial + k0 * g.window() + e, g.window(), add, filters, window, g.wo, runs);
  }
}

void run_task(const WeightGradient& o, int64_t task, float* partial_results, float* strip) {
  const int64_t partial = task / o.filter_groups, group = task % o.filter_groups;
  const int64_t k0 = o.g.k * group / o.filter_groups, k1 = o.g.k * (group + 1) / o.filter_groups;
  const int64_t first = o.blocks.count * partial / o.partials, last = o.blocks.count * (partial + 1) / o.partials;
  for (int64_t block = first; block < last; ++block)
    add_block(o, read(o, block, strip), partial_results + partial * o.g.k * o.g.window(), block > first, k0, k1);
}

// dweight [filters, window] = (dweight +) the sum of partial results [window, filters]
void add_turned(const Destination& dweight, const float* partials, const WeightGradient& o) {
  const int64_t filters = o.g.k, window = o.g.window();
  const Tensor sum({window, filters});
  float* from = sum.mutable_data<float>();
  add_partials({from}, partials, o.partials, window * filters);
  for (int64_t k = 0; k < filters; ++k)
    for (int64_t e = 0; e < window; ++e) {
      float& to = dweight.to[k * window + e];
      to = (dweight.add ? to : 0) + from[e * filters + k];
    }
}

}  // namespace

// In double: biases before a group norm have gradients that all but cancel.
void conv2d_bias_gradient(const Destination& dbias, const float* dy, int64_t pixels, int64_t k) {
  const int64_t partials = std::clamp<int64_t>(pixels / kBlockPixels, 1, 64);
  const Tensor sums = Tensor::zeros({partials, k}, Dtype::f64);
  double* partial = sums.mutable_data<double>();
  parallel_for(partials, [&](int64_t p) {
    const int64_t first = pixels * p / partials, last = pixels * (p + 1) / partials;
    simd::table().column_sums(partial + p * k, dy + first * k, last - first, k);
  });
  for (int64_t f = 0; f < k; ++f) {
    double sum = dbias.add ? dbias.to[f] : 0;
    for (int64_t p = 0; p < partials; ++p) sum += partial[p * k + f];
    dbias.to[f] = static_cast<float>(sum);
  }
}

void conv2d_weight_gradient(const Destination& dweight, const float* dy, const float* x, const ConvGeometry& g,
                            RegisterTile multiply) {
  const WeightGradient o(dy, x, g, multiply);
  const Tensor partials({o.partials, g.k, g.window()}), strips({threads(), o.strip_floats()});
  float *sums = partials.mutable_data<float>(), *scratch = strips.mutable_data<float>();
  parallel_for(o.partials * o.filter_groups,
               [&](int64_t task) { run_task(o, task, sums, scratch + thread_index() * o.strip_floats()); });
  if (o.turned) return add_turned(dweight, sums, o);
  add_partials(dweight, sums, o.partials, g.k * g.window());
}

}  // namespace stipple::cpu::gemm

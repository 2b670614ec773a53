#include "kernels/cpu/conv2d_gemm.h"

#include <initializer_list>
#include <vector>

#include "kernels/cpu/conv2d_strip.h"
#include "kernels/cpu/gemm_panels.h"

// Forward and input gradient: pixels x filters, summed over the window.
//
// Idea    rows of A are windows of a strip (conv2d_strip.h), so nothing is gathered: a window is r runs of s * c
//         floats. Weights are packed into panels once a call. The input gradient of stride 1 is the same product with
//         the filter turned around; of stride 2 it is one product for each parity of (h, w): 1, 2, 2 and 4 of nine
//         taps. Two inputs are two products, of which a task adds the second to the first.
// Costs   x is read once and its strip written once; the panel of weights is read from L2 for every tile.
// Seen    GFLOP/s, one Zen 5 core of about 240, beside oneDNN's: forward 221/228 (128 -> 128 channels, 64x64),
//         205/171 (32 -> 32, 28x28), 170/111 (the same with stride 2), 180/126 (1x1, 96 -> 32).

namespace stipple::cpu::gemm {
namespace {

constexpr int64_t kTasks = 16;             // pieces of work there should be at least
constexpr int64_t kTaskPixels = 512;       // most outputs of a filter in a task
constexpr int64_t kStripFloats = 1 << 16;  // 256 KiB, a quarter of L2
constexpr int64_t kChunk = 1152;           // terms of one sum in registers: bounds rounding, and the panel's part of L2

// y[image, i, j, f] = bias[f] (or itself) + sum over the window (i, j) of in.x times panel column f
struct Correlation {
  Windows in;
  int64_t images, filters;
  const float* panels;
  const float* bias;
  float* y;
  int64_t y_image, y_row, y_column;  // floats from one output to the next
  RegisterTile multiply;
  bool add = false;  // to what y holds
};

struct Task {
  int64_t image, images, begin, end;  // window rows [begin, end) of those images
};

// How outputs are cut into tasks. Narrow maps are tiled across images instead of along their rows, so that tiles are
// full.
struct Cut {
  int64_t all_images, all_rows;
  bool across_images;
  int64_t images, rows;    // most in a task
  int64_t groups, blocks;  // of images, of rows

  explicit Cut(const Correlation& o) : all_images(o.images), all_rows(o.in.rows) {
    const int64_t tile = simd::table().gemm_rows;
    across_images = 2 * o.in.columns <= tile && o.images > o.in.columns;
    images = across_images ? std::min(tile, o.images) : 1;
    groups = divide_up(o.images, images);
    rows =
        std::clamp<int64_t>(kTaskPixels / (images * o.in.columns), 1, divide_up(o.in.rows, divide_up(kTasks, groups)));
    while (rows > 1 && images * o.in.strip_floats(rows) > kStripFloats) rows = divide_up(rows, 2);
    blocks = divide_up(o.in.rows, rows);
  }
  Task operator[](int64_t i) const {
    const int64_t image = i / blocks * images, begin = i % blocks * rows;
    return {image, std::min(images, all_images - image), begin, std::min(begin + rows, all_rows)};
  }
};

// Where the first window of a task begins, and floats from one image, one row of x to the next.
struct Source {
  const float* x;
  int64_t image, row;
};

Source read(const Windows& in, const Task& t, float* strip) {
  if (in.inside())
    return {in.x + (t.image * in.h + t.begin * in.stride) * in.w * in.c, in.h * in.w * in.c, in.w * in.c};
  const int64_t image = in.strip_floats(t.end - t.begin);
  for (int64_t n = 0; n < t.images; ++n) copy_strip(strip + n * image, in, t.image + n, t.begin, t.end);
  return {strip, image, in.strip_row()};
}

// Outputs along one axis of a task, and floats from one to the next in x and y.
struct Axis {
  int64_t count, x, y;
};

// Filters [first, first + tile.columns) for every output of a task, summed over some rows of the filter.
void run_panel(RegisterTile multiply, simd::GemmTile tile, const float* x, float* y, const Axis& rows,
               const Axis& outer, const Axis& inner) {
  const bool add = tile.start_row != 0;
  tile.c_row = inner.y;
  for (int64_t i = 0; i < rows.count; ++i)
    for (int64_t j = 0; j < outer.count; ++j)
      for_pieces(inner.count, simd::table().gemm_rows, [&](int64_t first, int64_t count) {
        tile.rows = count;
        tile.a = x + i * rows.x + j * outer.x + first * inner.x;
        tile.c = y + i * rows.y + j * outer.y + first * inner.y;
        if (add) tile.start = tile.c;
        multiply(tile);
      });
}

void run_task(const Correlation& o, const Task& t, bool across_images, float* strip) {
  const Windows& in = o.in;
  const Source from = read(in, t, strip);
  const Axis rows{t.end - t.begin, in.stride * from.row, o.y_row};
  const Axis columns{in.columns, in.stride * in.c, o.y_column}, images{t.images, from.image, o.y_image};
  const Axis &inner = across_images ? images : columns, &outer = across_images ? columns : images;
  const int64_t width = simd::table().gemm_columns,
                chunk = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, in.run()));
  std::vector<int64_t> a_runs, b_runs;
  for (int64_t r = 0; r < in.r; ++r) {
    a_runs.push_back(r * from.row);
    b_runs.push_back(r * in.run() * width);
  }
  float* y = o.y + t.image * o.y_image + t.begin * o.y_row;
  for (int64_t f = 0; f < o.filters; f += width) {
    simd::GemmTile tile{.columns = std::min(width, o.filters - f), .start = o.bias ? o.bias + f : nullptr};
    tile.a_row = inner.x, tile.a_step = 1;
    tile.b = o.panels + f * in.r * in.run(), tile.b_step = width;
    tile.steps = in.run();
    if (o.add) tile.start_row = inner.y;
    int64_t r = 0;
    do {
      tile.runs = std::min(chunk, in.r - r);
      tile.a_runs = a_runs.data() + r, tile.b_runs = b_runs.data() + r;
      run_panel(o.multiply, tile, from.x, y + f, rows, outer, inner);
      tile.start_row = inner.y;
      r += chunk;
    } while (r < in.r);
  }
}

// One after the other, a task at a time: they have the same outputs.
void correlate(std::initializer_list<Correlation> terms) {
  const Correlation& o = *terms.begin();
  if (o.images * o.in.rows * o.in.columns * o.filters == 0) return;
  const Cut cut(o);
  int64_t strip = 0;
  for (const Correlation& term : terms)
    strip = std::max(strip, cut.images * term.in.strip_floats(cut.rows) + kStripSlack);
  const Tensor strips({threads(), strip});
  float* scratch = strips.mutable_data<float>();
  parallel_for(cut.groups * cut.blocks, [&](int64_t i) {
    for (const Correlation& term : terms) run_task(term, cut[i], cut.across_images, scratch + thread_index() * strip);
  });
}

// The outputs h of one axis with (h + padding) % stride == phase, and the taps that reach them: tap = phase + stride *
// t for t in [0, taps), from upstream element q - t where h = first + stride * (q - q0).
struct Phase {
  int64_t phase, stride, taps, q0, first, outputs;

  Phase(int64_t phase_, int64_t stride_, int64_t filter, int64_t padding, int64_t extent)
      : phase(phase_), stride(stride_) {
    taps = phase < filter ? (filter - phase - 1) / stride + 1 : 0;
    q0 = (padding - phase + stride - 1) / stride;
    first = stride * q0 + phase - padding;
    outputs = first < extent ? (extent - first - 1) / stride + 1 : 0;
  }
  int64_t padding() const { return taps - 1 - q0; }                         // of the window over the upstream gradient
  int64_t tap(int64_t i) const { return phase + stride * (taps - 1 - i); }  // i-th of that window: turned around
};

void input_gradient_of(const Phase& h, const Phase& w, float* dx, const float* dy, const float* weight,
                       const ConvGeometry& g, RegisterTile multiply) {
  const Tensor panels = pack_panels(h.taps * w.taps * g.k, g.c, 1, [&](int64_t step) {
    const int64_t k = step % g.k, s = w.tap(step / g.k % w.taps), r = h.tap(step / g.k / w.taps);
    return weight + ((k * g.r + r) * g.s + s) * g.c;
  });
  correlate({{.in = {dy, g.ho, g.wo, g.k, h.taps, w.taps, 1, h.padding(), w.padding(), h.outputs, w.outputs},
              .images = g.n,
              .filters = g.c,
              .panels = panels.data<float>(),
              .y = dx + (h.first * g.w + w.first) * g.c,
              .y_image = g.h * g.w * g.c,
              .y_row = g.stride * g.w * g.c,
              .y_column = g.stride * g.c,
              .multiply = multiply}});
}

// Of x [n, h, w, channels], which may be some of g's channels.
Correlation forward(float* y, const float* x, int64_t channels, const Tensor& panels, const float* bias,
                    const ConvGeometry& g, RegisterTile multiply) {
  return {.in = {x, g.h, g.w, channels, g.r, g.s, g.stride, g.top, g.left, g.ho, g.wo},
          .images = g.n,
          .filters = g.k,
          .panels = panels.data<float>(),
          .bias = bias,
          .y = y,
          .y_image = g.ho * g.wo * g.k,
          .y_row = g.wo * g.k,
          .y_column = g.k,
          .multiply = multiply};
}

}  // namespace

void conv2d(float* y, const float* x, const float* weight, const float* bias, const ConvGeometry& g,
            RegisterTile multiply) {
  if (has_few_filters(g)) return conv2d_few_filters(y, x, weight, bias, g, multiply);
  const Tensor panels = pack_panels(g.window(), g.k, g.window(), [&](int64_t step) { return weight + step; });
  correlate({forward(y, x, g.c, panels, bias, g, multiply)});
}

void conv2d_of_two(float* y, const float* a, int64_t a_channels, const float* b, const float* weight, const float* bias,
                   const ConvGeometry& g, RegisterTile multiply) {
  const auto panels_of = [&](int64_t first, int64_t channels) {
    return pack_panels(channels, g.k, g.c, [&](int64_t step) { return weight + first + step; });
  };
  const int64_t b_channels = g.c - a_channels;
  const Tensor a_panels = panels_of(0, a_channels), b_panels = panels_of(a_channels, b_channels);
  Correlation rest = forward(y, b, b_channels, b_panels, nullptr, g, multiply);
  rest.add = true;
  correlate({forward(y, a, a_channels, a_panels, bias, g, multiply), rest});
}

void conv2d_input_gradient(float* dx, const float* dy, const float* weight, const ConvGeometry& g,
                           RegisterTile multiply) {
  for (int64_t i = 0; i < g.stride; ++i)
    for (int64_t j = 0; j < g.stride; ++j)
      input_gradient_of({i, g.stride, g.r, g.top, g.h}, {j, g.stride, g.s, g.left, g.w}, dx, dy, weight, g, multiply);
}

}  // namespace stipple::cpu::gemm

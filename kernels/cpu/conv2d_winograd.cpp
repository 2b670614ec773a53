#include "kernels/cpu/conv2d_winograd.h"

#include "kernels/cpu/gemm_panels.h"

// Forward and input gradient.
//
// Idea    a task transforms a group of tiles, multiplies all 36 planes for one panel of filters and transforms back,
//         so the products stay in L2. Transformed weights are made once a call.
// Costs   per tile and vector of channels about 250 operations of transforms beside 36 * filters / lanes
//         multiply-adds.
// Seen    GFLOP/s that a direct convolution would have needed, one Zen 5 core, beside oneDNN's: 420/171 (32 -> 32
//         channels, 28x28), 420/220 (64 -> 64, 14x14), 460/215 (64 -> 64, 7x7), 640/228 (128 -> 128, 64x64).

namespace stipple::cpu::winograd {
namespace {

constexpr int64_t kTasks = 16;          // pieces of work there should be
constexpr int64_t kGroupTiles = 28;     // two register tiles; 36 planes of 28 x 128 channels are half of L2
constexpr int64_t kSplitFilters = 128;  // fewer filters a task would transform the input too often

struct Convolution {
  Tiles in, out;
  int64_t tiles;  // of all images
  const float *x, *u, *bias;
  float* y;

  int64_t channels() const { return in.c; }
  int64_t filters() const { return out.c; }
  int64_t pitch() const { return plane_pitch(in.c); }
};

// Where the weight of a tap, input channel and filter lies: at weight + tap * tap_step + ...
struct WeightSteps {
  int64_t tap, channel, filter;
};

// u [36][panel][channel][gemm_columns]
Tensor transform_weight(const float* weight, const WeightSteps& step, int64_t channels, int64_t filters) {
  const int64_t width = simd::table().gemm_columns, panels = divide_up(filters, width),
                plane = panels * channels * width;
  const Tensor u({kPoints, panels, channels, width});
  float* to = u.mutable_data<float>();
  parallel_for(panels, [&](int64_t panel) {
    const int64_t first = panel * width;
    for (int64_t c = 0; c < channels; ++c)
      simd::table().winograd_weight(to + (panel * channels + c) * width, plane,
                                    weight + c * step.channel + first * step.filter, step.tap, step.filter,
                                    std::min(width, filters - first));
  });
  return u;
}

// m [36][tiles][gemm_columns] = v [36][tiles][pitch] u, for the filters from f on.
void multiply(const Convolution& o, float* m, const float* v, int64_t tiles, int64_t f) {
  const int64_t width = simd::table().gemm_columns, zero = 0,
                u_plane = divide_up(o.filters(), width) * width * o.channels();
  simd::GemmTile tile{.columns =
                          divide_up(std::min(width, o.filters() - f), simd::table().lanes) * simd::table().lanes};
  tile.c_row = width, tile.a_row = o.pitch(), tile.a_step = 1, tile.b_step = width;
  tile.steps = o.channels(), tile.runs = 1, tile.a_runs = tile.b_runs = &zero;
  for (int64_t point = 0; point < kPoints; ++point)
    for_pieces(tiles, simd::table().gemm_rows, [&](int64_t first, int64_t rows) {
      tile.rows = rows;
      tile.a = v + (point * tiles + first) * o.pitch();
      tile.b = o.u + point * u_plane + f * o.channels();
      tile.c = m + (point * tiles + first) * width;
      simd::table().gemm_tile(tile);
    });
}

// Filters [f0, f1) of tiles [begin, end).
void run_task(const Convolution& o, float* scratch, int64_t begin, int64_t end, int64_t f0, int64_t f1) {
  const int64_t width = simd::table().gemm_columns, tiles = end - begin;
  float *v = scratch, *m = scratch + kPoints * kGroupTiles * o.pitch();
  for (int64_t t = 0; t < tiles; ++t)
    simd::table().winograd_input(v + t * o.pitch(), tiles * o.pitch(), o.in.patch(begin + t, 6, o.x));
  for (int64_t f = f0; f < f1; f += width) {
    multiply(o, m, v, tiles, f);
    for (int64_t t = 0; t < tiles; ++t) {
      simd::ImagePatch to = o.out.patch(begin + t, 4, nullptr);
      to.channels = std::min(width, o.filters() - f);
      simd::table().winograd_output(o.y + o.out.offset(begin + t) + f, to, m + t * width, tiles * width,
                                    o.bias ? o.bias + f : nullptr);
    }
  }
}

void convolve(const Convolution& o) {
  if (o.tiles * o.filters() == 0) return;
  const int64_t width = simd::table().gemm_columns, groups = divide_up(o.tiles, kGroupTiles);
  const int64_t splits =
      std::clamp<int64_t>(std::min(divide_up(kTasks, groups), o.filters() / kSplitFilters), 1, kTasks);
  const int64_t panels = divide_up(o.filters(), width), floats = kPoints * kGroupTiles * (o.pitch() + width);
  const Tensor buffers({threads(), floats});
  float* scratch = buffers.mutable_data<float>();
  parallel_for(groups * splits, [&](int64_t task) {
    const int64_t group = task / splits, split = task % splits;
    run_task(o, scratch + thread_index() * floats, o.tiles * group / groups, o.tiles * (group + 1) / groups,
             panels * split / splits * width, std::min(o.filters(), panels * (split + 1) / splits * width));
  });
}

}  // namespace

bool fits(const ConvGeometry& g) { return g.r == 3 && g.s == 3 && g.stride == 1; }

// Few channels leave the transforms nothing to save, few tiles do not pay for those of the weights, and on small maps
// too much of the tiles is outside. Faster than the matrix product: 1.2 to 1.7 times with 16 channels, 1.6 with 6x6
// pixels (44 % outside), 1.2 with 32 tiles of 512 channels; slower: 0.6 times with 8 channels, 0.9 with 5x5 pixels, 0.8
// with 16 tiles.
bool pays(const ConvGeometry& g) {
  const int64_t tiles = divide_up(g.ho, 4) * divide_up(g.wo, 4);
  return fits(g) && std::min(g.c, g.k) >= 16 && g.n * tiles >= 128 && 16 * tiles * 5 <= 9 * g.ho * g.wo;
}

void conv2d(float* y, const float* x, const float* weight, const float* bias, const ConvGeometry& g) {
  const Tensor u = transform_weight(weight, {.tap = g.c, .channel = 1, .filter = g.window()}, g.c, g.k);
  const Tiles in(g.h, g.w, g.c, g.top, g.left, g.ho, g.wo), out(g.ho, g.wo, g.k, 0, 0, g.ho, g.wo);
  convolve({in, out, g.n * in.per_image(), x, u.data<float>(), bias, y});
}

void conv2d_input_gradient(float* dx, const float* dy, const float* weight, const ConvGeometry& g) {
  const WeightSteps turned_around{.tap = -g.c, .channel = g.window(), .filter = 1};
  const Tensor u = transform_weight(weight + 8 * g.c, turned_around, g.k, g.c);
  const Tiles in(g.ho, g.wo, g.k, 2 - g.top, 2 - g.left, g.h, g.w), out(g.h, g.w, g.c, 0, 0, g.h, g.w);
  convolve({in, out, g.n * in.per_image(), dy, u.data<float>(), nullptr, dx});
}

}  // namespace stipple::cpu::winograd

#include "kernels/cpu/conv2d_winograd.h"
#include "kernels/cpu/gemm_panels.h"

// Weight gradient.
//
// Idea    two parallel steps, again and again: transform x and dy of a batch of tiles (each task some tiles), then
//         add the batch to the 36 sums of filters x channels (each task a plane, whose sums fit into L1 or L2). The
//         same bits for any number of threads without partial results, which would be 36 times the size of the
//         weight. The batch is as large as stays in the cache.
// Costs   both transforms are written and read once, 2.25 times the size of x and of dy.
// Seen    GFLOP/s that a direct sum would have needed, one Zen 5 core, beside oneDNN's: 290/155 (32 -> 32 channels,
//         28x28), 400/174 (96 -> 32, 28x28), 440/173 (128 -> 128, 64x64).

namespace stipple::cpu::winograd {
namespace {

constexpr int64_t kBatchFloats = 3 << 18;  // of both transforms: 3 MiB
constexpr int64_t kGroupTiles = 14;        // tiles a task of transforms
constexpr int64_t kFilters = 56;           // filters a task of products

struct Batch {
  Tiles x_tiles, dy_tiles;
  const float *x, *dy;
  float *v, *e;  // [36][tiles][pitch] of x and of dy
  int64_t begin, tiles;

  int64_t x_pitch() const { return plane_pitch(x_tiles.c); }
  int64_t dy_pitch() const { return plane_pitch(dy_tiles.c); }
};

void transform(const Batch& o) {
  parallel_for_ranges(o.tiles, kGroupTiles, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      simd::table().winograd_input(o.v + t * o.x_pitch(), o.tiles * o.x_pitch(), o.x_tiles.patch(o.begin + t, 6, o.x));
      simd::table().winograd_output_gradient(o.e + t * o.dy_pitch(), o.tiles * o.dy_pitch(),
                                             o.dy_tiles.patch(o.begin + t, 4, o.dy));
    }
  });
}

// Filters [k0, k1) of one plane: du [filters, channels] (+)= e^T v.
void add_plane(const Batch& o, float* du, int64_t point, int64_t k0, int64_t k1) {
  const int64_t channels = o.x_tiles.c, width = simd::table().gemm_columns, zero = 0;
  simd::GemmTile tile{.c_row = channels, .start_row = channels, .a_row = 1, .a_step = o.dy_pitch()};
  tile.b_step = o.x_pitch(), tile.steps = o.tiles, tile.runs = 1, tile.a_runs = tile.b_runs = &zero;
  for (int64_t c = 0; c < channels; c += width)
    for_pieces(k1 - k0, simd::table().gemm_rows, [&](int64_t first, int64_t rows) {
      const int64_t k = k0 + first;
      tile.rows = rows, tile.columns = std::min(width, channels - c);
      tile.a = o.e + point * o.tiles * o.dy_pitch() + k;
      tile.b = o.v + point * o.tiles * o.x_pitch() + c;
      tile.c = du + k * channels + c;
      if (o.begin > 0) tile.start = tile.c;
      simd::table().gemm_tile(tile);
    });
}

void add_products(const Batch& o, float* du) {
  const int64_t filters = o.dy_tiles.c, blocks = divide_up(filters, kFilters);
  parallel_for(kPoints * blocks, [&](int64_t task) {
    const int64_t point = task / blocks, block = task % blocks;
    add_plane(o, du + point * filters * o.x_tiles.c, point, filters * block / blocks, filters * (block + 1) / blocks);
  });
}

}  // namespace

void conv2d_weight_gradient(const Destination& dweight, const float* dy, const float* x, const ConvGeometry& g) {
  Batch batch{.x_tiles{g.h, g.w, g.c, g.top, g.left, g.ho, g.wo},
              .dy_tiles{g.ho, g.wo, g.k, 0, 0, g.ho, g.wo},
              .x = x,
              .dy = dy};
  const int64_t tiles = g.n * batch.x_tiles.per_image(), pitches = batch.x_pitch() + batch.dy_pitch();
  const int64_t most = std::clamp<int64_t>(kBatchFloats / kPoints / pitches, 2 * kGroupTiles, tiles);
  const Tensor v({kPoints, most, batch.x_pitch()}), e({kPoints, most, batch.dy_pitch()}), du({kPoints, g.k, g.c});
  batch.v = v.mutable_data<float>(), batch.e = e.mutable_data<float>();
  float* sums = du.mutable_data<float>();
  for_pieces(tiles, most, [&](int64_t begin, int64_t count) {
    batch.begin = begin, batch.tiles = count;
    transform(batch);
    add_products(batch, sums);
  });
  parallel_for(g.k, [&](int64_t k) {
    simd::table().winograd_weight_gradient(dweight.to + k * g.window(), dweight.add, sums + k * g.c, g.k * g.c, g.c);
  });
}

}  // namespace stipple::cpu::winograd

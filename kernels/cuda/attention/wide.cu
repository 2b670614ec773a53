#include "kernels/cuda/attention/product.h"
#include "kernels/cuda/attention/rungs.h"
#include "kernels/cuda/reduce.h"

// attention, rung wide: batched matrix products on tensor cores, with S and P in memory. For heads whose rows do not
// fit the registers: one of 512 channels, with a few hundred tokens.
//
// Idea    every product of attention.h is of one kind: 64 x 64 results a block, 16 rows a warp; depth goes by in stages
//         of 128 bytes, of which cp.async fetches two ahead. Depth runs along the rows of an operand, as in q k^T, or
//         down its columns, as in P v and dS^T q: there bf16 is transposed by ldmatrix, f32 read two or four
//         columns at once; P v and dS k of f32 are made transposed (product_of_columns.h).
//         Between them, a warp makes a row of S to P, or rows of S and dP to P and dS, with the mean of dP under P
//         taken off exactly: see the naive rung.
// Costs   S (and dP) in f32, P (and dS) in the tensors' dtype are written once and read once or twice: 512 channels a
//         head make 128 multiply-adds of every element of S in memory, 8 channels only two.
// Counted 100 % of ideal sectors and wavefronts (133 % where dk and dv of f32 leave), 3.4x compulsory traffic at 256
//         tokens of 512 channels. Tensor cores: .27 to .28 of the main loop in bf16, .21 in f32; in tf32 .20, and .16
//         where both operands' depth runs down their columns.
// Tried   f32 read element by element, and places worked out where they are needed: half of those shares. No count of
//         blocks in the launch bounds: ptxas aims at five for sm_90a and spills. Not tried: softmax in the first
//         product's epilogue, for a row of S is spread over several blocks.

namespace stipple::cuda::wide {
namespace {

constexpr int kSide = 64, kStages = 3, kWarps = kSide / 16, kProductThreads = 32 * kWarps;
constexpr int kTileBytes = 8 << 10, kStageBytes = 2 * kTileBytes;

enum class Depth { along, down };  // the rows of an operand

// Heads of a tensor [N, tokens, heads * width].
template <typename T>
struct Heads {
  T* tensor;
  int heads, tokens, width;
  __device__ HeadRows<T> operator[](int head) const { return {tensor, head, heads, tokens, width}; }
};

// kSide rows or columns of an operand, from `first` on: how stages of them are fetched.
template <typename Element, Depth kDepth>
class Operand {
 public:
  using T = Element;
  static constexpr bool kAlong = kDepth == Depth::along;
  static constexpr int kDeep = 128 / sizeof(T);  // a stage
  using Rows = Tile<T, kAlong ? kDeep : kSide>;

  __device__ Operand(const HeadRows<const T>& of, int first)
      : depth_(kAlong ? of.width : of.tokens), fetch_(of.from_column(kAlong ? 0 : first), kAlong ? first : 0) {}
  __device__ int depth() const { return depth_; }
  // Starts the copies of the next stage.
  __device__ void fetch(std::byte* to) {
    fetch_(Rows{to});
    kAlong ? fetch_.go_along(kDeep) : fetch_.go_down();
  }
  // Rounds what this thread has copied, when it has come.
  template <typename Precision>
  __device__ void round(std::byte* stage) const {
    if constexpr (kRoundedInTiles<Precision>) fetch_.for_own(Rows{stage}, round_in_tile<Precision>);
  }

 private:
  int depth_;
  TileFetcher<Rows, kAlong ? kSide : kDeep, kProductThreads> fetch_;
};

// Reads left fragments of 16 rows from `row` on. Columns of f32 come in pairs: fragment row g is row 2g, and g + 8 the
// next.
template <typename Element, Depth kDepth>
class LeftReader {
  using T = Element;
  using Rows = typename Operand<T, kDepth>::Rows;
  static constexpr bool kAlong = kDepth == Depth::along, kF32 = std::is_same_v<T, float>;

 public:
  static constexpr bool kPairs = kF32 && !kAlong;

  __device__ explicit LeftReader(int row) : own_(first(row)) {}
  __device__ void operator()(uint32_t (&to)[4], std::byte* tile, int step) const {
    if constexpr (kAlong) {
      ptx::ldmatrix_x4(to, own_({tile}, 0, step * 2));
    } else if constexpr (!kF32) {
      ptx::ldmatrix_x4_trans(to, own_({tile}, step * 16, 0));
    } else {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const auto pair = load_vector<uint2>(own_({tile}, step * 8 + i * 4, 0));
        to[i * 2] = pair.x, to[i * 2 + 1] = pair.y;
      }
    }
  }

 private:
  __device__ static OwnChunk<Rows> first(int row) {
    if constexpr (kAlong) return {row + lane() % 16, lane() / 16};
    if constexpr (!kF32) return {lane() % 8 + lane() / 16 * 8, row / 8 + lane() / 8 % 2};
    return {lane() % 4, row / 4 + fragment_row() / 2, fragment_row() % 2 * 8};
  }
  OwnChunk<Rows> own_;
};

// Reads right fragments, kFragments at once. Columns of f32 come four at once, of four fragments: of 32 columns,
// fragment j has 4g + j for lane group g, and a lane ends up with sums of eight columns side by side.
template <typename Element, Depth kDepth>
class RightReader {
  using T = Element;
  using Rows = typename Operand<T, kDepth>::Rows;
  static constexpr bool kAlong = kDepth == Depth::along, kF32 = std::is_same_v<T, float>;

 public:
  static constexpr bool kFours = kF32 && !kAlong;
  static constexpr bool kRounded = kAlong;  // tf32 in the tile: down its columns a number has to be moved anyway
  static constexpr int kFragments = kFours ? 4 : 2;

  __device__ RightReader() : own_(first()) {}
  __device__ void operator()(uint32_t (&to)[kFragments][2], std::byte* tile, int step, int fragment) const {
    if constexpr (kFours) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const auto four = load_vector<uint4>(own_({tile}, step * 8 + i * 4, fragment * 2));
        to[0][i] = four.x, to[1][i] = four.y, to[2][i] = four.z, to[3][i] = four.w;
      }
    } else {
      uint32_t raw[4];
      if constexpr (kAlong)
        ptx::ldmatrix_x4(raw, own_({tile}, fragment * 8, step * 2));
      else
        ptx::ldmatrix_x4_trans(raw, own_({tile}, step * 16, fragment));
      to[0][0] = raw[0], to[0][1] = raw[1], to[1][0] = raw[2], to[1][1] = raw[3];
    }
  }

 private:
  __device__ static OwnChunk<Rows> first() {
    if constexpr (kFours) return {lane() % 4, fragment_row()};
    if constexpr (kAlong) return {lane() / 16 * 8 + lane() % 8, lane() / 8 % 2};
    return {lane() % 16, lane() / 16};
  }
  OwnChunk<Rows> own_;
};

// sums += the product of a stage. Of f32 some steps are summed apart, before tensor cores cut off too much (product.h).
template <typename Precision, typename Left, typename Right>
__device__ void multiply(float (&sums)[1][kSide / 8][4], const Left& read_left, std::byte* left_tile,
                         const Right& read_right, std::byte* right_tile) {
  constexpr int kAtOnce = Precision::kParts > 1 ? 4 : 1;
#pragma unroll
  for (int first = 0; first < 4; first += kAtOnce) {
    uint32_t left[kAtOnce][Precision::kParts][4];
#pragma unroll
    for (int step = 0; step < kAtOnce; ++step) {
      uint32_t raw[4];
      read_left(raw, left_tile, first + step);
      split<Precision>(left[step], raw);
    }
#pragma unroll
    for (int j = 0; j < kSide / 8; j += Right::kFragments) {
      SumsApart<Precision, 1, Right::kFragments, kSide / 8> to(sums, j);
#pragma unroll
      for (int step = 0; step < kAtOnce; ++step) {
        uint32_t some[Right::kFragments][2];
        read_right(some, right_tile, first + step, j);
#pragma unroll
        for (int each = 0; each < Right::kFragments; ++each) {
          uint32_t right[Precision::kParts][2];
          if constexpr (Right::kRounded)
            split_of_tile<Precision>(right, some[each]);
          else
            split<Precision>(right, some[each]);
          Precision::multiply(to.sum(0, each), left[step], right);
        }
      }
      to.add();
    }
  }
}

// Sums of 16 rows, or transposed of 16 columns, from `first` on, into a tile.
template <bool kTransposed, typename Left, typename Right, typename Rows>
__device__ void put(const Rows& to, int first, const float (&sums)[kSide / 8][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if constexpr (kTransposed) {
      static_assert(Left::kPairs && !Right::kFours);
#pragma unroll
      for (int j = 0; j < kSide / 8; ++j)
        store_pair(to.element(j * 8 + fragment_column() + half, first + fragment_row() * 2), sums[j][half],
                   sums[j][half + 2]);
    } else {
      const int row = first + (Left::kPairs ? fragment_row() * 2 + half : fragment_row() + half * 8);
      const auto sum = [&](int j, int odd) { return sums[j][half * 2 + odd]; };
      if constexpr (Right::kFours) {
#pragma unroll
        for (int j = 0; j < kSide / 8; j += 4)
#pragma unroll
          for (int odd = 0; odd < 2; ++odd)
            store_vector(to.element(row, j * 8 + (fragment_column() + odd) * 4),
                         float4{sum(j, odd), sum(j + 1, odd), sum(j + 2, odd), sum(j + 3, odd)});
      } else {
#pragma unroll
        for (int j = 0; j < kSide / 8; ++j)
          store_pair(to.element(row, j * 8 + fragment_column()), sum(j, 0), sum(j, 1));
      }
    }
  }
}

// to = left right. Block (tile, head of all images).
template <typename Precision, Depth kLeft, Depth kRight, typename Out>
__global__ void __launch_bounds__(kProductThreads, 4)
    product_kernel(Heads<Out> to, Heads<const typename Precision::Element> left_heads,
                   Heads<const typename Precision::Element> right_heads) {
  using T = typename Precision::Element;
  // Columns of f32 are better read as left operand (product_of_columns.h): to^T = right^T left^T.
  constexpr bool kTransposed = std::is_same_v<T, float> && kLeft == Depth::along && kRight == Depth::down;
  using Left = LeftReader<T, kTransposed ? kRight : kLeft>;
  using Right = RightReader<T, kTransposed ? kLeft : kRight>;
  std::byte* shared = dynamic_shared<std::byte>();
  const int across = (to.width + kSide - 1) / kSide, head = blockIdx.y;
  const int row = blockIdx.x / across * kSide, column = blockIdx.x % across * kSide;
  const int warp_first = threadIdx.x / 32 * 16;
  Operand<T, kLeft> left(left_heads[head], row);
  Operand<T, kRight> right(right_heads[head], column);
  const Left read_left(warp_first);
  const Right read_right;
  constexpr int kDeep = Operand<T, kLeft>::kDeep;
  constexpr int kLeftTile = kTransposed ? kTileBytes : 0,
                kRightTile = kTileBytes - kLeftTile;  // as tensor cores see them
  const int stages = (right.depth() + kDeep - 1) / kDeep;
  const auto stage = [&](int i) { return shared + i % kStages * kStageBytes; };
  const auto fetch_stage = [&](int i) {
    if (i < stages) left.fetch(stage(i)), right.fetch(stage(i) + kTileBytes);
    ptx::cp_async_commit();
  };
  const auto round = [&](const auto& operand, int i) { operand.template round<Precision>(stage(i) + kRightTile); };
  for (int i = 0; i < kStages - 1; ++i) fetch_stage(i);
  float sums[1][kSide / 8][4] = {};
  for (int i = 0; i < stages; ++i) {
    ptx::cp_async_wait<kStages - 2>();
    if (Right::kRounded) kTransposed ? round(left, i) : round(right, i);
    __syncthreads();  // stage i has come for everybody, and everybody is done with stage i - 1
    fetch_stage(i + kStages - 1);
    multiply<Precision>(sums, read_left, stage(i) + kLeftTile, read_right, stage(i) + kRightTile);
  }
  __syncthreads();
  const Tile<Out, kSide> results{shared};
  put<kTransposed, Left, Right>(results, warp_first, sums[0]);
  __syncthreads();
  store<kSide, kProductThreads>(to[head].from_column(column), results, row);
}

template <typename Precision, Depth kLeft, Depth kRight, typename Out>
void product(const Heads<Out>& to, const Heads<const typename Precision::Element>& left,
             const Heads<const typename Precision::Element>& right, const AttentionExtents& e) {
  if (!to.tensor) return;
  const int tiles = (to.tokens + kSide - 1) / kSide * ((to.width + kSide - 1) / kSide);
  launch(product_kernel<Precision, kLeft, kRight, Out>, dim3(tiles, static_cast<unsigned>(e.images * e.heads)),
         kProductThreads, kStages * kStageBytes, to, left, right);
}

constexpr int kRows = kThreads / 32;  // a block, a warp each

// A row of S, and what is made of it: `keys` numbers, then zeros up to `padded`.
struct ScoreRow {
  int64_t number, start;
  int keys, padded;

  __device__ ScoreRow(int key_count, int row_length)
      : number(global_thread() / 32), start(number * row_length), keys(key_count), padded(row_length) {}
  template <typename F>
  __device__ void each(const F& f) const {
    for (int s = lane(); s < padded; s += 32) f(start + s, s < keys);
  }
};

__device__ float warp_max(float x) {
  for (int distance = 16; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, distance));
  return x;
}

template <typename T>
__global__ void probabilities_kernel(T* __restrict__ p, float* __restrict__ lse, const float* __restrict__ scores,
                                     int keys, int padded, float scale, int64_t rows) {
  const ScoreRow row(keys, padded);
  if (row.number >= rows) return;
  float largest = -INFINITY, total = 0;
  row.each([&](int64_t i, bool inside) { largest = fmaxf(largest, inside ? scale * scores[i] : -INFINITY); });
  largest = warp_max(largest);
  row.each([&](int64_t i, bool inside) { total += inside ? expf(scale * scores[i] - largest) : 0; });
  total = warp_sum(total);
  row.each([&](int64_t i, bool inside) { p[i] = inside ? expf(scale * scores[i] - largest) / total : 0; });
  if (lane() == 0) lse[row.number] = largest + logf(total);
}

// P and dS, times the scale. delta starts from dp of the first key: of one key alone dS is then exactly zero.
template <typename T>
__global__ void score_gradients_kernel(T* __restrict__ p, T* __restrict__ ds, const float* __restrict__ scores,
                                       const float* __restrict__ dp, const float* __restrict__ lse, int keys,
                                       int padded, float scale, int64_t rows) {
  const ScoreRow row(keys, padded);
  if (row.number >= rows) return;
  const float first = dp[row.start], log_total = lse[row.number];
  const auto share = [&](int64_t i) { return expf(scale * scores[i] - log_total); };
  float rest = 0, total = 0;
  row.each([&](int64_t i, bool inside) {
    const float here = inside ? share(i) : 0;
    total += here;
    rest += here * (dp[i] - first);
  });
  const float delta = first + warp_sum(rest) / warp_sum(total);
  row.each([&](int64_t i, bool inside) {
    const float here = inside ? share(i) : 0;
    p[i] = here;
    ds[i] = scale * here * (dp[i] - delta);
  });
}

// Matrices of all heads, [heads of all images, queries, padded keys].
struct ScoreMatrices {
  const AttentionExtents& e;
  int64_t padded;

  explicit ScoreMatrices(const AttentionExtents& extents) : e(extents), padded((e.keys + 7) / 8 * 8) {}
  Tensor make(Dtype dtype) const { return Tensor({e.rows(), padded}, dtype, Device::cuda); }
  template <typename T>
  Heads<T> heads(T* tensor) const {
    return {tensor, 1, static_cast<int>(e.queries), static_cast<int>(padded)};
  }
};

template <typename T>
Heads<T> heads_of(T* tensor, int64_t tokens, const AttentionExtents& e) {
  return {tensor, static_cast<int>(e.heads), static_cast<int>(tokens), static_cast<int>(e.width)};
}

template <typename Precision>
void forward(AttentionOut& out, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionExtents& e) {
  using T = typename Precision::Element;
  const ScoreMatrices matrices(e);
  const Tensor scores = matrices.make(Dtype::f32), p = matrices.make(q.dtype());
  product<Precision, Depth::along, Depth::along>(matrices.heads(mutable_data<float>(scores)),
                                                 heads_of(data<T>(q), e.queries, e), heads_of(data<T>(k), e.keys, e),
                                                 e);
  launch(probabilities_kernel<T>, blocks_for(e.rows(), kRows), kThreads, 0, mutable_data<T>(p),
         mutable_data<float>(out.lse), data<float>(scores), static_cast<int>(e.keys), static_cast<int>(matrices.padded),
         e.scale, e.rows());
  product<Precision, Depth::along, Depth::down>(heads_of(mutable_data<T>(out.y), e.queries, e),
                                                matrices.heads(data<T>(p)), heads_of(data<T>(v), e.keys, e), e);
}

template <typename Precision>
void backward(const AttentionGrads& to, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
              const AttentionOut& out, const AttentionExtents& e) {
  using T = typename Precision::Element;
  const ScoreMatrices matrices(e);
  const Tensor scores = matrices.make(Dtype::f32), dp = matrices.make(Dtype::f32);
  const Tensor p = matrices.make(q.dtype()), ds = matrices.make(q.dtype());
  const auto queries = [&](const Tensor& x) { return heads_of(data<T>(x), e.queries, e); };
  const auto keys = [&](const Tensor& x) { return heads_of(data<T>(x), e.keys, e); };
  product<Precision, Depth::along, Depth::along>(matrices.heads(mutable_data<float>(scores)), queries(q), keys(k), e);
  product<Precision, Depth::along, Depth::along>(matrices.heads(mutable_data<float>(dp)), queries(dy), keys(v), e);
  launch(score_gradients_kernel<T>, blocks_for(e.rows(), kRows), kThreads, 0, mutable_data<T>(p), mutable_data<T>(ds),
         data<float>(scores), data<float>(dp), data<float>(out.lse), static_cast<int>(e.keys),
         static_cast<int>(matrices.padded), e.scale, e.rows());
  product<Precision, Depth::along, Depth::down>(heads_of(mutable_data<T>(to.dq), e.queries, e),
                                                matrices.heads(data<T>(ds)), keys(k), e);
  product<Precision, Depth::down, Depth::down>(heads_of(mutable_data<T>(to.dk), e.keys, e), matrices.heads(data<T>(ds)),
                                               queries(q), e);
  product<Precision, Depth::down, Depth::down>(heads_of(mutable_data<T>(to.dv), e.keys, e), matrices.heads(data<T>(p)),
                                               queries(dy), e);
}

}  // namespace

void attention(AttentionOut& out, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionExtents& e,
               bool tf32) {
  for_precision("attention", q.dtype(), tf32, [&]<typename Precision>() { forward<Precision>(out, q, k, v, e); });
}

void attention_backward(const AttentionGrads& to, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOut& out, const AttentionExtents& e, bool tf32) {
  for_precision("attention", q.dtype(), tf32,
                [&]<typename Precision>() { backward<Precision>(to, dy, q, k, v, out, e); });
}

}  // namespace stipple::cuda::wide

#include "kernels/cuda/attention/flash_backward.h"

// attention, rung flash: backward, on tensor cores, with no P in memory. Dao 2023, arXiv:2307.08691.
//
// Idea    two kernels, so that every sum is one warp's and comes in order. The first keeps queries and lets keys and
//         values go by: dq. The second keeps keys and values and lets queries and dy go by, with scores transposed: dk
//         and dv. Both make P again from q, k and lse; P and dS stay in registers, as operands of products. delta is dy
//         y at first, and dq is made with it, while the first kernel sums dS over the keys, by one more product, with
//         ones. What is left is taken back, delta += sum dS (P sums to one): the second kernel's rows of dS sum to zero
//         as exactly as f32 can, and so do the gradients of biases of keys. Where all keys are one tile, dq has the
//         better delta, too. dp is added to -delta, which so comes off for nothing; f32 would lose digits by it. tf32
//         is rounded once, where tiles lie, by the thread that has copied them. A warp has 32 rows up to 64 channels
//         (f32: 32), else 16. Where 64 rows that stay would not fit shared memory, or their sums the registers, two
//         warps share 16 of 32, and each sums half of the columns. Of f32, where taking rows apart is dear, each makes
//         one of the two score products and they swap them; of bf16 each makes P and dS of half of the tile and hands
//         them over as they are multiplied. With 16 rows a warp there is one stage, whose two tiles are fetched by
//         turns.
// Costs   seven products where one kernel with atomic sums would need five.
// Counted 100 % of ideal sectors and wavefronts; dy is read twice by the first kernel (`stipple profile`). Eight warps
//         a multiprocessor by registers and more, without spills; four by an A100's shared memory in tf32 at 64
//         channels and from rows of 512 bytes on, but for dk and dv in bf16. Of the main loops' instructions at 64, 128
//         and 256 channels, tensor cores have .32, .38, .33 (dk, dv) and .30, .39, .42 (dq) in bf16, .33, .33, .23 and
//         .32, .32, .22 in tf32 (`./run machine-code`).
// Tried   delta = dy y alone: where values have a mean of ten times their deviation, gradients of key biases are twelve
//         times as far from zero. -delta taken off dp afterwards: 16 to 32 instructions a tile. (Of a single key dS is
//         zero, but what dP is rounded to differs in the two kernels: there dk is set to zero. In f32, where values had
//         a mean of ten times their deviation, dk was up to seven times as far off.) P summed as well, to divide what
//         is left by: 16 instructions for its last digits. f32 rows of 128 channels and more multiplied in one unrolled
//         loop: registers spill. tf32 rounded in registers: every element seven times, .15. Columns of tf32 read 16
//         bytes at once, as right operand: two moves a product, .25 for .30 at 128 channels. dk and dv of 256 channels
//         in two blocks of half the columns: both make P and dP, nine products. Two warps that share rows of bf16 and
//         swap sums, as f32's do: .24 for .33 of dk and dv at 256 channels. 16 rows a warp at 64 channels and fewer:
//         .30 for .32 of dk and dv at 64. Not tried: delta from sum P dP before dq, for it makes P and dP a third time.

namespace stipple::cuda::flash {

void attention_backward(const AttentionGrads& to, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOut& out, const AttentionExtents& e, bool tf32) {
  const Tensor numbers({2, e.rows()}, Dtype::f32, Device::cuda);
  query_gradient(to.dq, numbers, dy, q, k, v, out, e, tf32);
  if (to.dk || to.dv) key_gradients(to.dk, to.dv, dy, q, k, v, numbers, e, tf32);
}

}  // namespace stipple::cuda::flash

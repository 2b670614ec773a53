"""Our main operations in Triton, for a look at the machine code that its compiler makes of them (bench/machine_code.py).

Nothing here runs: Triton compiles for GPUs that are not there. So that the opponent is a strong one, what can be known
before a loop is worked out before it, pointers are advanced, and loops go over whole tiles: channels of conv2d, pixels of
its weight gradient, tokens of attention are multiples of the block's. (What a last tile lacks could be left to a tile of its
own after the loop. Of ours it isn't counted either, where a branch skips it.) ANEW works places out anew in each pass, which
takes more instructions and fewer registers.
"""

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

LN2 = tl.constexpr(0.6931471805599453)  # scales of attention hold log2(e), for powers of 2


@triton.jit
def dot(a, b, sums, PRECISION: tl.constexpr, ROUND: tl.constexpr):
    """sums + a b. ROUND: f32 to tf32 as our kernels do, by one multiplication, where tensor cores would cut it off."""
    if ROUND:
        a, b = a * (1 + 0.69 / 2048), b * (1 + 0.69 / 2048)
    return tl.dot(a, b, sums, input_precision=PRECISION)


@triton.jit
def conv2d(x, weight, y, images, h, w, c, filters, rows, columns, stride, padding,
           R: tl.constexpr, S: tl.constexpr, PRECISION: tl.constexpr, ROUND: tl.constexpr,
           PIXELS: tl.constexpr, FILTERS: tl.constexpr, DEPTH: tl.constexpr):  # fmt: skip
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    filter = tl.program_id(1) * FILTERS + tl.arange(0, FILTERS)
    image, inside = pixel // (rows * columns), pixel % (rows * columns)
    i, j = inside // columns * stride - padding, inside % columns * stride - padding
    exists = tl.zeros((PIXELS,), dtype=tl.int32)  # a bit for every tap; the current one's is the lowest
    for tap in tl.static_range(R * S):
        r, s = i + tap // S, j + tap % S
        exists |= ((image < images) & (r >= 0) & (r < h) & (s >= 0) & (s < w)).to(tl.int32) << tap
    channel, tap = 0, 0
    of_x = (((image * h + i) * w + j) * c)[:, None] + tl.arange(0, DEPTH)[None, :]
    of_weight = (filter % filters * (R * S * c))[None, :] + tl.arange(0, DEPTH)[:, None]
    sums = tl.zeros((PIXELS, FILTERS), dtype=tl.float32)
    tap_of_x = x
    for step in range(0, R * S * c, DEPTH):
        a = tl.load(tap_of_x + of_x, mask=((exists & 1) != 0)[:, None], other=0.0)
        sums = dot(a, tl.load(weight + step + of_weight), sums, PRECISION, ROUND)
        tap_of_x += DEPTH
        channel += DEPTH
        if R * S > 1:  # known when it is compiled
            if channel == c:
                channel, tap = 0, tap + 1
                tap_of_x = x + (tap // S * w + tap % S) * c
                exists >>= 1
    tl.store(y + pixel[:, None] * filters + filter[None, :], sums.to(y.dtype.element_ty),
             mask=(pixel < images * rows * columns)[:, None] & (filter < filters)[None, :])  # fmt: skip


@triton.jit
def conv2d_weight(dweight, dy, x, images, h, w, c, filters, rows, columns, stride, padding, pixels_a_split,
                  R: tl.constexpr, S: tl.constexpr, PRECISION: tl.constexpr, ROUND: tl.constexpr,
                  FILTERS: tl.constexpr, WINDOW: tl.constexpr, DEPTH: tl.constexpr):  # fmt: skip
    filter = tl.program_id(0) * FILTERS + tl.arange(0, FILTERS)
    e = tl.program_id(1) * WINDOW + tl.arange(0, WINDOW)
    channel, r, s = e % c, e // c // S, e // c % S
    first = tl.program_id(2) * pixels_a_split
    last = tl.minimum(first + pixels_a_split, images * rows * columns)
    pixel = first + tl.arange(0, DEPTH)
    image, inside = pixel // (rows * columns), pixel % (rows * columns)
    i, j = inside // columns * stride - padding, inside % columns * stride - padding
    at = (image * h + i) * w + j
    # The next step's pixels are found by additions: so many images, rows and columns on, and one more where a row or
    # image ends.
    on_i, on_j = DEPTH % (rows * columns) // columns * stride, DEPTH % columns * stride
    on = DEPTH // (rows * columns) * h * w + on_i * w + on_j
    of_dy = dy + pixel[None, :] * filters + (filter % filters)[:, None]
    of_x = (r * w + s) * c + channel
    sums = tl.zeros((FILTERS, WINDOW), dtype=tl.float32)
    for _ in range(first, last, DEPTH):
        y_i, y_j = i[:, None] + r[None, :], j[:, None] + s[None, :]
        exists = (y_i >= 0) & (y_i < h) & (y_j >= 0) & (y_j < w)
        b = tl.load(x + at[:, None] * c + of_x[None, :], mask=exists, other=0.0)
        sums = dot(tl.load(of_dy), b, sums, PRECISION, ROUND)
        of_dy += DEPTH * filters
        at, i, j = at + on, i + on_i, j + on_j
        ends = j >= columns * stride - padding
        j = tl.where(ends, j - columns * stride, j)
        i = tl.where(ends, i + stride, i)
        at = tl.where(ends, at + (w - columns) * stride, at)
        ends = i >= rows * stride - padding
        i = tl.where(ends, i - rows * stride, i)
        at = tl.where(ends, at + (h - rows * stride) * w, at)
    to = dweight + (tl.program_id(2) * filters + filter)[:, None] * (R * S * c) + e[None, :]
    tl.store(to, sums, mask=(filter < filters)[:, None] & (e < R * S * c)[None, :])


@triton.jit
def places(first, image, head, tokens, heads, TOKENS: tl.constexpr, WIDTH: tl.constexpr):
    """Where the elements of tokens from the first on lie."""
    token = image * tokens + first + tl.arange(0, TOKENS)
    return (token * heads + head)[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :]


@triton.jit
def attention(q, k, v, y, lse, queries, keys, heads, scale, PRECISION: tl.constexpr, ROUND: tl.constexpr,
              WIDTH: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, ANEW: tl.constexpr):  # fmt: skip
    image, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    query = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)
    own = places(tl.program_id(0) * QUERIES, image, head, queries, heads, QUERIES, WIDTH)
    a = tl.load(q + own, mask=(query < queries)[:, None], other=0.0)
    at = places(0, image, head, keys, heads, KEYS, WIDTH)
    largest = tl.full((QUERIES,), float("-inf"), dtype=tl.float32)
    total = tl.zeros((QUERIES,), dtype=tl.float32)
    sums = tl.zeros((QUERIES, WIDTH), dtype=tl.float32)
    for first in range(0, keys, KEYS):
        if ANEW:
            at = places(first, image, head, keys, heads, KEYS, WIDTH)
        scores = dot(a, tl.trans(tl.load(k + at)), None, PRECISION, ROUND)
        now = tl.maximum(largest, tl.max(scores, 1) * scale)
        share = tl.exp2(scores * scale - now[:, None])
        before = tl.exp2(largest - now)
        total, largest = total * before + tl.sum(share, 1), now
        sums = dot(share.to(v.dtype.element_ty), tl.load(v + at), sums * before[:, None], PRECISION, ROUND)
        if not ANEW:
            k += KEYS * heads * WIDTH
            v += KEYS * heads * WIDTH
    tl.store(y + own, (sums / total[:, None]).to(y.dtype.element_ty), mask=(query < queries)[:, None])
    tl.store(lse + tl.program_id(1) * queries + query, largest + tl.log2(total), mask=query < queries)


@triton.jit
def attention_query_gradient(dq, dy, q, k, v, lse, delta, queries, keys, heads, scale,
                             PRECISION: tl.constexpr, ROUND: tl.constexpr, WIDTH: tl.constexpr,
                             QUERIES: tl.constexpr, KEYS: tl.constexpr, ANEW: tl.constexpr):  # fmt: skip
    image, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    query = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)
    own, exists = places(tl.program_id(0) * QUERIES, image, head, queries, heads, QUERIES, WIDTH), query < queries
    a = tl.load(q + own, mask=exists[:, None], other=0.0)
    upstream = tl.load(dy + own, mask=exists[:, None], other=0.0)
    row = tl.program_id(1) * queries + query
    log_total, mean = tl.load(lse + row, mask=exists, other=0.0), tl.load(delta + row, mask=exists, other=0.0)
    minus_mean = tl.broadcast_to(-mean[:, None], (QUERIES, KEYS))  # the product starts from it: no subtractions
    at = places(0, image, head, keys, heads, KEYS, WIDTH)
    sums = tl.zeros((QUERIES, WIDTH), dtype=tl.float32)
    for first in range(0, keys, KEYS):
        if ANEW:
            at = places(first, image, head, keys, heads, KEYS, WIDTH)
        b = tl.load(k + at)
        share = tl.exp2(dot(a, tl.trans(b), None, PRECISION, ROUND) * scale - log_total[:, None])
        ds = share * dot(upstream, tl.trans(tl.load(v + at)), minus_mean, PRECISION, ROUND)
        sums = dot(ds.to(k.dtype.element_ty), b, sums, PRECISION, ROUND)
        if not ANEW:
            k += KEYS * heads * WIDTH
            v += KEYS * heads * WIDTH
    tl.store(dq + own, (sums * (scale * LN2)).to(dq.dtype.element_ty), mask=exists[:, None])


@triton.jit
def attention_key_gradients(dk, dv, dy, q, k, v, lse, delta, queries, keys, heads, scale,
                            PRECISION: tl.constexpr, ROUND: tl.constexpr, WIDTH: tl.constexpr,
                            QUERIES: tl.constexpr, KEYS: tl.constexpr, ANEW: tl.constexpr):  # fmt: skip
    image, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    key = tl.program_id(0) * KEYS + tl.arange(0, KEYS)
    own = places(tl.program_id(0) * KEYS, image, head, keys, heads, KEYS, WIDTH)
    b = tl.load(k + own, mask=(key < keys)[:, None], other=0.0)
    values = tl.load(v + own, mask=(key < keys)[:, None], other=0.0)
    row = tl.program_id(1) * queries + tl.arange(0, QUERIES)
    at = places(0, image, head, queries, heads, QUERIES, WIDTH)
    key_sums = tl.zeros((KEYS, WIDTH), dtype=tl.float32)
    value_sums = tl.zeros((KEYS, WIDTH), dtype=tl.float32)
    for first in range(0, queries, QUERIES):
        if ANEW:
            at = places(first, image, head, queries, heads, QUERIES, WIDTH)
        a, upstream = tl.load(q + at), tl.load(dy + at)
        log_total, mean = tl.load(lse + first + row), tl.load(delta + first + row)
        share = tl.exp2(dot(b, tl.trans(a), None, PRECISION, ROUND) * scale - log_total[None, :])
        ds = share * (dot(values, tl.trans(upstream), None, PRECISION, ROUND) - mean[None, :])
        value_sums = dot(share.to(q.dtype.element_ty), upstream, value_sums, PRECISION, ROUND)
        key_sums = dot(ds.to(q.dtype.element_ty), a, key_sums, PRECISION, ROUND)
        if not ANEW:
            q += QUERIES * heads * WIDTH
            dy += QUERIES * heads * WIDTH
    tl.store(dk + own, (key_sums * (scale * LN2)).to(dk.dtype.element_ty), mask=(key < keys)[:, None])
    tl.store(dv + own, value_sums.to(dv.dtype.element_ty), mask=(key < keys)[:, None])


def compiled(kernel, element: str, architecture: int, warps: int, stages: int, **constants) -> tuple[bytes, int]:
    """The kernel as a cubin, and a block's bytes of shared memory. element: "bf16" or "fp32"; tensors, channels, filters
    are multiples of 16."""
    pointers = {"x", "weight", "y", "dy", "q", "k", "v", "dq", "dk", "dv"}
    signature = {
        name: "constexpr" if name in constants
        else "*" + element if name in pointers
        else "*fp32" if name in ("dweight", "lse", "delta")
        else "fp32" if name == "scale"
        else "i32"
        for name in kernel.arg_names
    }  # fmt: skip
    even = {n for n, type in signature.items() if type.startswith("*")} | {"c", "filters"}
    attributes = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(signature) if n in even}
    source = ASTSource(kernel, signature, constexprs=constants, attrs=attributes)
    made = triton.compile(
        source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": warps, "num_stages": stages}
    )
    return made.asm["cubin"], made.metadata.shared

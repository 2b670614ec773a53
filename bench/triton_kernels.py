"""Our main operations in Triton, for a look at the machine code that its compiler makes of them (bench/machine_code.py).

Nothing here runs: Triton compiles for GPUs that are not there.
"""

import tempfile
from pathlib import Path

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource


@triton.jit
def conv2d(x, weight, y, images, h, w, c, filters, rows, columns, stride, padding,
           R: tl.constexpr, S: tl.constexpr, PRECISION: tl.constexpr,
           PIXELS: tl.constexpr, FILTERS: tl.constexpr, DEPTH: tl.constexpr):  # fmt: skip
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    filter = tl.program_id(1) * FILTERS + tl.arange(0, FILTERS)
    image, inside = pixel // (rows * columns), pixel % (rows * columns)
    i, j = inside // columns * stride - padding, inside % columns * stride - padding
    chunks = tl.cdiv(c, DEPTH)
    sums = tl.zeros((PIXELS, FILTERS), dtype=tl.float32)
    for step in range(R * S * chunks):
        tap, channel = step // chunks, step % chunks * DEPTH + tl.arange(0, DEPTH)
        r, s = i + tap // S, j + tap % S
        exists = (image < images) & (r >= 0) & (r < h) & (s >= 0) & (s < w)
        a = tl.load(x + ((image * h + r) * w + s)[:, None] * c + channel[None, :],
                    mask=exists[:, None] & (channel < c)[None, :], other=0.0)  # fmt: skip
        b = tl.load(weight + (filter * R * S + tap)[None, :] * c + channel[:, None],
                    mask=(filter < filters)[None, :] & (channel < c)[:, None], other=0.0)  # fmt: skip
        sums = tl.dot(a, b, sums, input_precision=PRECISION)
    tl.store(y + pixel[:, None] * filters + filter[None, :], sums.to(y.dtype.element_ty),
             mask=(pixel < images * rows * columns)[:, None] & (filter < filters)[None, :])  # fmt: skip


@triton.jit
def conv2d_weight(dweight, dy, x, images, h, w, c, filters, rows, columns, stride, padding, pixels_a_split,
                  R: tl.constexpr, S: tl.constexpr, PRECISION: tl.constexpr,
                  FILTERS: tl.constexpr, WINDOW: tl.constexpr, DEPTH: tl.constexpr):  # fmt: skip
    filter = tl.program_id(0) * FILTERS + tl.arange(0, FILTERS)
    e = tl.program_id(1) * WINDOW + tl.arange(0, WINDOW)
    channel, r, s = e % c, e // c // S, e // c % S
    first = tl.program_id(2) * pixels_a_split
    last = tl.minimum(first + pixels_a_split, images * rows * columns)
    sums = tl.zeros((FILTERS, WINDOW), dtype=tl.float32)
    for step in range(first, last, DEPTH):
        pixel = step + tl.arange(0, DEPTH)
        image, inside = pixel // (rows * columns), pixel % (rows * columns)
        i = (inside // columns * stride - padding)[:, None] + r[None, :]
        j = (inside % columns * stride - padding)[:, None] + s[None, :]
        exists = (pixel < last)[:, None] & (e < R * S * c)[None, :] & (i >= 0) & (i < h) & (j >= 0) & (j < w)
        a = tl.load(dy + pixel[None, :] * filters + filter[:, None],
                    mask=(pixel < last)[None, :] & (filter < filters)[:, None], other=0.0)  # fmt: skip
        b = tl.load(x + ((image[:, None] * h + i) * w + j) * c + channel[None, :], mask=exists, other=0.0)
        sums = tl.dot(a, b, sums, input_precision=PRECISION)
    at = dweight + (tl.program_id(2) * filters + filter)[:, None] * (R * S * c) + e[None, :]
    tl.store(at, sums, mask=(filter < filters)[:, None] & (e < R * S * c)[None, :])


@triton.jit
def attention(q, k, v, y, lse, queries, keys, heads, scale,
              PRECISION: tl.constexpr, WIDTH: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr):  # fmt: skip
    image, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    query, d = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES), tl.arange(0, WIDTH)
    own = ((image * queries + query) * heads + head)[:, None] * WIDTH + d[None, :]
    a = tl.load(q + own, mask=(query < queries)[:, None], other=0.0)
    largest = tl.full((QUERIES,), float("-inf"), dtype=tl.float32)
    total = tl.zeros((QUERIES,), dtype=tl.float32)
    sums = tl.zeros((QUERIES, WIDTH), dtype=tl.float32)
    for first in range(0, keys, KEYS):
        key = first + tl.arange(0, KEYS)
        token = ((image * keys + key) * heads + head) * WIDTH
        b = tl.load(k + token[None, :] + d[:, None], mask=(key < keys)[None, :], other=0.0)
        scores = tl.where((key < keys)[None, :], tl.dot(a, b, input_precision=PRECISION) * scale, float("-inf"))
        now = tl.maximum(largest, tl.max(scores, 1))
        share = tl.exp2(scores - now[:, None])
        before = tl.exp2(largest - now)
        total, largest = total * before + tl.sum(share, 1), now
        values = tl.load(v + token[:, None] + d[None, :], mask=(key < keys)[:, None], other=0.0)
        sums = tl.dot(share.to(v.dtype.element_ty), values, sums * before[:, None], input_precision=PRECISION)
    tl.store(y + own, (sums / total[:, None]).to(y.dtype.element_ty), mask=(query < queries)[:, None])
    tl.store(lse + tl.program_id(1) * queries + query, largest + tl.log2(total), mask=query < queries)


@triton.jit
def attention_query_gradient(dq, dy, q, k, v, lse, delta, queries, keys, heads, scale,
                             PRECISION: tl.constexpr, WIDTH: tl.constexpr,
                             QUERIES: tl.constexpr, KEYS: tl.constexpr):  # fmt: skip
    image, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    query, d = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES), tl.arange(0, WIDTH)
    own, exists = ((image * queries + query) * heads + head)[:, None] * WIDTH + d[None, :], query < queries
    a = tl.load(q + own, mask=exists[:, None], other=0.0)
    upstream = tl.load(dy + own, mask=exists[:, None], other=0.0)
    row = tl.program_id(1) * queries + query
    log_total, mean = tl.load(lse + row, mask=exists, other=0.0), tl.load(delta + row, mask=exists, other=0.0)
    sums = tl.zeros((QUERIES, WIDTH), dtype=tl.float32)
    for first in range(0, keys, KEYS):
        key = first + tl.arange(0, KEYS)
        at = ((image * keys + key) * heads + head)[:, None] * WIDTH + d[None, :]
        b = tl.load(k + at, mask=(key < keys)[:, None], other=0.0)
        values = tl.load(v + at, mask=(key < keys)[:, None], other=0.0)
        scores = tl.dot(a, tl.trans(b), input_precision=PRECISION) * scale - log_total[:, None]
        share = tl.where((key < keys)[None, :], tl.exp2(scores), 0.0)
        ds = share * (tl.dot(upstream, tl.trans(values), input_precision=PRECISION) - mean[:, None])
        sums = tl.dot(ds.to(k.dtype.element_ty), b, sums, input_precision=PRECISION)
    tl.store(dq + own, (sums * scale).to(dq.dtype.element_ty), mask=exists[:, None])


@triton.jit
def attention_key_gradients(dk, dv, dy, q, k, v, lse, delta, queries, keys, heads, scale,
                            PRECISION: tl.constexpr, WIDTH: tl.constexpr,
                            QUERIES: tl.constexpr, KEYS: tl.constexpr):  # fmt: skip
    image, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    key, d = tl.program_id(0) * KEYS + tl.arange(0, KEYS), tl.arange(0, WIDTH)
    own = ((image * keys + key) * heads + head)[:, None] * WIDTH + d[None, :]
    b = tl.load(k + own, mask=(key < keys)[:, None], other=0.0)
    values = tl.load(v + own, mask=(key < keys)[:, None], other=0.0)
    key_sums = tl.zeros((KEYS, WIDTH), dtype=tl.float32)
    value_sums = tl.zeros((KEYS, WIDTH), dtype=tl.float32)
    for first in range(0, queries, QUERIES):
        query = first + tl.arange(0, QUERIES)
        exists = query < queries
        at = ((image * queries + query) * heads + head)[:, None] * WIDTH + d[None, :]
        a = tl.load(q + at, mask=exists[:, None], other=0.0)
        upstream = tl.load(dy + at, mask=exists[:, None], other=0.0)
        row = tl.program_id(1) * queries + query
        log_total, mean = tl.load(lse + row, mask=exists, other=0.0), tl.load(delta + row, mask=exists, other=0.0)
        share = tl.exp2(tl.dot(b, tl.trans(a), input_precision=PRECISION) * scale - log_total[None, :])
        ds = share * (tl.dot(values, tl.trans(upstream), input_precision=PRECISION) - mean[None, :])
        value_sums = tl.dot(share.to(q.dtype.element_ty), upstream, value_sums, input_precision=PRECISION)
        key_sums = tl.dot(ds.to(q.dtype.element_ty), a, key_sums, input_precision=PRECISION)
    tl.store(dk + own, (key_sums * scale).to(dk.dtype.element_ty), mask=(key < keys)[:, None])
    tl.store(dv + own, value_sums.to(dv.dtype.element_ty), mask=(key < keys)[:, None])


def compiled(kernel, element: str, architecture: int, warps: int, stages: int, **constants) -> Path:
    """The kernel as a cubin. element: "bf16" or "fp32"; tensors, channels, filters are multiples of 16."""
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
    file = Path(tempfile.mkdtemp()) / "triton.cubin"
    file.write_bytes(made.asm["cubin"])
    return file

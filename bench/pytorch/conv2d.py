"""PyTorch's operations: on the CPU in f32 (oneDNN), on a GPU in f32, tf32 and bf16 (cuDNN, cuBLAS and PyTorch's own).

Images lie in channels_last, or as a request's `layout` says: group norm is faster in `contiguous`, convolution is not.
"""

import torch
import torch.nn.functional as F

import serve
from serve import Work


def images(r: dict, n: int, channels: int, h: int, w: int) -> torch.Tensor:
    layout = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}[
        r.get("layout", "channels_last")
    ]
    return torch.randn(n, channels, h, w, dtype=serve.dtype(r)).contiguous(memory_format=layout)


def sizes(*tensors: torch.Tensor) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def conv2d(r: dict) -> Work:
    x = images(r, r["n"], r["c"], r["h"], r["w"])
    weight = images(r, r["k"], r["c"], r["kernel"], r["kernel"]) * 0.05
    stride, padding = [r["stride"]] * 2, [r["kernel"] // 2] * 2
    y = F.conv2d(x, weight, None, stride, padding)
    dy = images(r, *y.shape)

    def backward(*wanted: bool):
        return torch.ops.aten.convolution_backward(
            dy, x, weight, None, stride, padding, [1, 1], False, [0, 0], 1, wanted
        )

    run = {
        "forward": lambda: F.conv2d(x, weight, None, stride, padding),
        "input_gradient": lambda: backward(True, False, False),
        "weight_gradient": lambda: backward(False, True, False),
    }[r["pass"]]
    return Work(run, 2 * y.numel() * r["c"] * r["kernel"] ** 2, sizes(x, weight, y))


def forward_or_backward(which: str, compute, inputs: list[torch.Tensor]):
    """A call of compute(*inputs) without a graph, or of the backward pass alone through a graph that is kept."""
    if which == "forward":

        @torch.no_grad()
        def run():
            return compute(*inputs)

        return run
    leaves = [x.requires_grad_() for x in inputs]
    y = compute(*leaves)
    dy = torch.randn_like(y)
    return lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)


def group_norm_silu(r: dict) -> Work:
    x = images(r, r["n"], r["c"], r["h"], r["w"])
    run = forward_or_backward(
        r["pass"],
        lambda x, gamma, beta: F.silu(F.group_norm(x, r["groups"], gamma, beta, 1e-5)),
        [x, torch.randn(r["c"], dtype=x.dtype), torch.randn(r["c"], dtype=x.dtype)],
    )
    return Work(run, 0, {"forward": 2, "backward": 3}[r["pass"]] * sizes(x))


def attention(r: dict) -> Work:
    def heads_first(x: torch.Tensor) -> torch.Tensor:
        return x.view(r["n"], r["tokens"], r["heads"], r["width"]).transpose(1, 2)

    def compute(q, k, v):
        return F.scaled_dot_product_attention(heads_first(q), heads_first(k), heads_first(v))

    shape = (r["n"], r["tokens"], r["heads"] * r["width"])
    q, k, v = (torch.randn(shape, dtype=serve.dtype(r)) for _ in range(3))
    run = forward_or_backward(r["pass"], compute, [q, k, v])
    flop = 4 * r["n"] * r["heads"] * r["tokens"] ** 2 * r["width"]
    return Work(run, *{"forward": (flop, 4 * sizes(q)), "backward": (2.5 * flop, 8 * sizes(q))}[r["pass"]])


def matmul(r: dict) -> Work:
    a, b = torch.randn(r["m"], r["k"], dtype=serve.dtype(r)), torch.randn(r["k"], r["n"], dtype=serve.dtype(r))
    y = torch.empty(r["m"], r["n"], dtype=a.dtype)
    return Work(lambda: torch.mm(a, b, out=y), 2 * r["m"] * r["n"] * r["k"], sizes(a, b, y))


def adamw(r: dict) -> Work:
    parameter = torch.nn.Parameter(torch.randn(r["count"]))
    parameter.grad = torch.randn(r["count"])
    optimizer = torch.optim.AdamW([parameter], lr=1e-3, fused=True)
    return Work(optimizer.step, 0, 7 * sizes(parameter))


if __name__ == "__main__":
    operations = (conv2d, group_norm_silu, attention, matmul, adamw)
    serve.main(serve.Server({operation.__name__: operation for operation in operations}))

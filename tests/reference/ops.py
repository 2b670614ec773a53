"""Single operations as PyTorch computes them in f64, forward and backward, where an implementation easily goes wrong.

tests/fixtures/ops.json          {"CASE": {"op": ..., options}}
tests/fixtures/ops.safetensors   CASE.<input>, CASE.y, and where the operation is differentiable CASE.dy, CASE.d<input>

Inputs are f32 exactly, results f64 rounded to f32. Images are NCHW, weights OIHW, tokens [N,T,heads*D].
"""

import json
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import get_timestep_embedding
from safetensors.torch import save_file

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
Tensors = dict[str, torch.Tensor]

cases: dict[str, dict] = {}
tensors: Tensors = {}


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape)


def add(name: str, op: str, compute: Callable[..., torch.Tensor], inputs: Tensors, **options) -> None:
    """Records compute(**inputs) and the gradients of sum(y * dy) to every floating-point input."""
    cases[name] = {"op": op, **options}
    exact = {key: x.double().requires_grad_() if x.is_floating_point() else x for key, x in inputs.items()}
    y = compute(**exact)
    dy = torch.randn(y.shape)
    leaves = {key: x for key, x in exact.items() if x.requires_grad}
    gradients = torch.autograd.grad(y, list(leaves.values()), dy.double())
    results = {"y": y, **{f"d{key}": g for key, g in zip(leaves, gradients)}}
    record(name, inputs | {"dy": dy} | {key: x.detach().float() for key, x in results.items()})


def record(name: str, values: Tensors) -> None:
    tensors.update({f"{name}.{key}": x.clone(memory_format=torch.contiguous_format) for key, x in values.items()})


def conv2d() -> None:
    # padding: left, right, top, bottom; (0, 1, 0, 1) with stride 2 is the downsampling of google/ddpm-*
    for name, kernel, stride, padding in [
        ("same", 3, 1, (1, 1, 1, 1)),
        ("stride_2", 3, 2, (1, 1, 1, 1)),
        ("bottom_right", 3, 2, (0, 1, 0, 1)),
        ("pointwise", 1, 1, (0, 0, 0, 0)),
        ("valid", 3, 1, (0, 0, 0, 0)),
        ("wide", 5, 1, (2, 2, 2, 2)),
    ]:
        add(
            f"conv2d.{name}",
            "conv2d",
            lambda x, weight, bias: F.conv2d(F.pad(x, padding), weight, bias, stride),
            {"x": normal(2, 3, 8, 7 if stride == 1 else 6), "weight": normal(5, 3, kernel, kernel), "bias": normal(5)},
            stride=stride,
            padding=padding,
        )


def group_norm() -> None:
    for name, groups, shape, shift, eps in [
        ("plain", 2, (2, 6, 5, 3), 0, 1e-5),
        ("one_channel", 6, (2, 6, 4, 4), 0, 1e-6),
        ("one_group", 1, (3, 5, 1, 2), 0, 1e-5),
        ("shifted", 3, (2, 12, 4, 5), 1000, 1e-5),
    ]:
        for silu in (False, True):

            def compute(x, gamma, beta):
                y = F.group_norm(x, groups, gamma, beta, eps)
                return F.silu(y) if silu else y

            add(
                f"group_norm.{name}{'.silu' if silu else ''}",
                "group_norm",
                compute,
                {"x": normal(*shape) + shift, "gamma": normal(shape[1]), "beta": normal(shape[1])},
                groups=groups,
                eps=eps,
                silu=silu,
            )


def attention() -> None:
    def heads_first(x: torch.Tensor, heads: int) -> torch.Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    for name, n, queries, keys, heads, width, scale in [
        ("plain", 2, 9, 9, 2, 4, 1),
        ("width_1", 1, 5, 5, 3, 1, 1),
        ("width_3", 2, 6, 6, 2, 3, 1),
        ("width_8", 1, 17, 17, 2, 8, 1),
        ("one_token", 2, 1, 1, 2, 4, 1),
        ("cross", 1, 4, 7, 2, 4, 1),
        ("large_scores", 1, 8, 8, 1, 8, 12),
    ]:

        def compute(q, k, v):
            y = F.scaled_dot_product_attention(heads_first(q, heads), heads_first(k, heads), heads_first(v, heads))
            return y.transpose(1, 2).flatten(2)

        add(
            f"attention.{name}",
            "attention",
            compute,
            {
                "q": scale * normal(n, queries, heads * width),
                "k": normal(n, keys, heads * width),
                "v": normal(n, keys, heads * width),
            },
            heads=heads,
        )


def activations() -> None:
    x = torch.cat([torch.linspace(-12, 12, 41), torch.tensor([-100.0, -30.0, -1e-6, 1e-6, 30.0, 100.0])])
    for name, compute in [
        ("silu", F.silu),
        ("gelu", F.gelu),
        ("relu", F.relu),
        ("mish", F.mish),
        ("quick_gelu", lambda x: x * torch.sigmoid(1.702 * x)),
    ]:
        add(name, name, lambda x: compute(x), {"x": x})
    add("softmax", "softmax", lambda x: F.softmax(x, -1), {"x": 20 * normal(3, 7)})


def losses() -> None:
    add("mse_loss", "mse_loss", F.mse_loss, {"input": normal(2, 3, 4), "target": normal(2, 3, 4)})
    for name, logits in [("plain", normal(4, 5)), ("large", 60 * normal(4, 5))]:
        add(
            f"cross_entropy.{name}",
            "cross_entropy",
            lambda logits, labels: F.cross_entropy(logits, labels),
            {"logits": logits, "labels": torch.tensor([0, 4, 2, 2])},
        )


def resampling() -> None:
    add("avg_pool2d", "avg_pool2d", lambda x: F.avg_pool2d(x, 2), {"x": normal(2, 3, 4, 6)}, kernel=2)
    add("max_pool2d", "max_pool2d", lambda x: F.max_pool2d(x, 2), {"x": normal(2, 3, 4, 6)}, kernel=2)
    add(
        "upsample_nearest",
        "upsample_nearest",
        lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest"),
        {"x": normal(2, 3, 2, 3)},
    )


def timestep_embedding() -> None:
    """In f32, as the library computes it whatever the network's type."""
    t = torch.tensor([0, 1, 10.5, 499.75, 999])
    for dim in (8, 5, 32):
        for flip, shift in [(True, 0), (False, 1), (False, 0)]:
            name = f"timestep_embedding.{dim}.{'cos_sin' if flip else 'sin_cos'}.{shift}"
            cases[name] = {"op": "timestep_embedding", "dim": dim, "flip_sin_to_cos": flip, "freq_shift": shift}
            record(name, {"t": t, "y": get_timestep_embedding(t, dim, flip, shift)})


def main() -> None:
    torch.manual_seed(0)
    for subject in (conv2d, group_norm, attention, activations, losses, resampling, timestep_embedding):
        subject()
    save_file(tensors, FIXTURES / "ops.safetensors")
    lines = ",\n ".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items())
    (FIXTURES / "ops.json").write_text("{" + lines + "}\n")
    print(f"{len(cases)} cases, {len(tensors)} tensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

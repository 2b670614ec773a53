"""PyTorch's training step and forward pass of whole U-Nets: eager, channels_last and compiled, with fused Adam.

Compiled for a GPU, it is captured as CUDA graphs (mode "reduce-overhead"), as our step is.

The configuration `mnist` is the class-conditioned network of the course (unit 2, notebook 02): four constant planes of
a class embedding beside the digit, channels 32/64/64. Any other is the path of a UNet2DModel's config.json.
"""

import json
import resource
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from diffusers.utils import logging

import serve
from serve import Work

MNIST = dict(
    sample_size=28,
    in_channels=1 + 4,
    out_channels=1,
    layers_per_block=2,
    block_out_channels=(32, 64, 64),
    down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
)


class ClassPlanes(torch.nn.Module):
    """The course's conditioning: the embedding of the class, spread over the picture, as further input channels."""

    def __init__(self, classes: int = 10, width: int = 4):
        super().__init__()
        self.model = UNet2DModel(**MNIST)
        self.class_emb = torch.nn.Embedding(classes, width)

    def forward(self, x: torch.Tensor, t: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        n, _, h, w = x.shape
        planes = self.class_emb(labels)[:, :, None, None].expand(-1, -1, h, w)
        return self.model(torch.cat((x, planes), 1), t).sample


class Plain(torch.nn.Module):
    def __init__(self, path: str):
        super().__init__()
        self.model = UNet2DModel.from_config(json.loads(Path(path).read_text()))

    def forward(self, x: torch.Tensor, t: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        labels = labels if self.model.class_embedding is not None else None
        return self.model(x, t, labels).sample


def network(r: dict) -> torch.nn.Module:
    net = ClassPlanes() if r["config"] == "mnist" else Plain(r["config"])
    if r.get("mode", "eager") == "eager":
        return net
    net = net.to(memory_format=torch.channels_last)
    if r["mode"] != "compile":
        return net
    return torch.compile(net, mode="reduce-overhead" if r.get("device") == "cuda" else None)


def batch(r: dict, net: torch.nn.Module) -> list[torch.Tensor]:
    config = net.model.config
    channels = 1 if r["config"] == "mnist" else config.in_channels
    size = config.sample_size or 32
    height, width = (size, size) if isinstance(size, int) else size
    shape = (r["batch"], channels, r.get("height", height), r.get("width", width))
    x = torch.randn(shape)
    if r.get("mode", "eager") != "eager":
        x = x.to(memory_format=torch.channels_last)
    return [x, torch.randint(0, 1000, shape[:1]), torch.randint(0, config.num_class_embeds or 10, shape[:1])]


def training_step(r: dict) -> Work:
    net = network(r)
    inputs = batch(r, net)
    autocast = torch.autocast(r.get("device", "cpu"), torch.bfloat16, enabled=r.get("dtype") == "bf16")
    noise = torch.randn(r["batch"], net.model.config.out_channels, *inputs[0].shape[2:])
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

    def run():
        with autocast:
            loss = F.mse_loss(net(*inputs).float(), noise)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return Work(run, network=True)


def forward(r: dict) -> Work:
    net = network(r).eval()
    inputs = batch(r, net)

    @torch.inference_mode()
    def run():
        return net(*inputs)

    return Work(run, network=True)


def peak() -> dict:
    if torch.cuda.is_initialized():
        return {"peak_bytes": torch.cuda.max_memory_allocated()}
    return {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


if __name__ == "__main__":
    logging.set_verbosity_error()
    serve.main(serve.Server({"training_step": training_step, "forward": forward}, peak))

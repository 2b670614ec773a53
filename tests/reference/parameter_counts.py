"""The parameters of well-known U-Nets by name and shape.

tests/fixtures/networks/NAME.json   the config.json
tests/fixtures/networks/NAME.txt    the number of parameters, then `name shape` for every tensor, sorted by name
"""

import json
from pathlib import Path

import torch
from diffusers import UNet2DModel

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "networks"

DIGITS = dict(
    sample_size=28,
    in_channels=1,
    out_channels=1,
    layers_per_block=2,
    block_out_channels=[32, 64, 64],
    down_block_types=["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    up_block_types=["AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
)
HO = dict(
    in_channels=3,
    out_channels=3,
    layers_per_block=2,
    downsample_padding=0,
    flip_sin_to_cos=False,
    freq_shift=1,
    norm_eps=1e-6,
)  # Ho et al. 2020, as converted by Google

NETWORKS = {  # with the numbers that the course and the library print
    "mnist": (1_707_009, DIGITS),
    "mnist-classes": (1_708_161, DIGITS | dict(in_channels=5)),
    "butterflies-32": (
        18_536_323,
        dict(
            sample_size=32,
            layers_per_block=2,
            block_out_channels=[64, 128, 128, 256],
            down_block_types=["DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
            up_block_types=["AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"],
        ),
    ),
    "ddpm-cifar10-32": (
        35_746_307,
        HO
        | dict(
            sample_size=32,
            block_out_channels=[128, 256, 256, 256],
            down_block_types=["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
            up_block_types=["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
        ),
    ),
    "ddpm-256": (
        113_673_219,
        HO
        | dict(
            sample_size=256,
            block_out_channels=[128, 128, 256, 256, 512, 512],
            attention_head_dim=None,
            down_block_types=["DownBlock2D"] * 4 + ["AttnDownBlock2D", "DownBlock2D"],
            up_block_types=["UpBlock2D", "AttnUpBlock2D"] + ["UpBlock2D"] * 4,
        ),
    ),
}


def write(name: str) -> None:
    expected, config = NETWORKS[name]
    with torch.device("meta"):  # shapes without the memory
        model = UNet2DModel(**config)
    count = sum(p.numel() for p in model.parameters())
    if count != expected:
        raise SystemExit(f"{name}: {count} parameters, {expected} expected")
    lines = [f"{path} {','.join(map(str, p.shape))}" for path, p in sorted(model.state_dict().items())]
    (FOLDER / f"{name}.json").write_text(json.dumps({"_class_name": "UNet2DModel"} | config, indent=1) + "\n")
    (FOLDER / f"{name}.txt").write_text("\n".join([str(count), *lines]) + "\n")
    print(f"{name:16} {count:>11,} parameters in {len(lines)} tensors")


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for each in NETWORKS:
        write(each)

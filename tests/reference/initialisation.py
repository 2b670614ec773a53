"""How PyTorch initialises a U-Net after torch.manual_seed(0), in tests/fixtures/initialisation.json.

For each network its config and, for every parameter in the order of the state dict, [sum, sum of squares, first
element].
"""

import json
from pathlib import Path

import torch
from diffusers import UNet2DModel

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "initialisation.json"

PLAIN = dict(
    sample_size=8,
    in_channels=3,
    out_channels=3,
    layers_per_block=1,
    block_out_channels=[8, 12],
    norm_num_groups=4,
    attention_head_dim=4,
    down_block_types=["DownBlock2D", "AttnDownBlock2D"],
    up_block_types=["AttnUpBlock2D", "UpBlock2D"],
)
NETWORKS = {
    "plain": PLAIN,
    "class_embedding": PLAIN | dict(num_class_embeds=10),
    "class_timestep": PLAIN | dict(class_embed_type="timestep"),
    "resnet_resampling": PLAIN
    | dict(
        downsample_type="resnet",
        upsample_type="resnet",
        layers_per_block=2,
        down_block_types=["ResnetDownsampleBlock2D", "AttnDownBlock2D"],
        up_block_types=["AttnUpBlock2D", "ResnetUpsampleBlock2D"],
    ),
    "scale_shift": PLAIN | dict(resnet_time_scale_shift="scale_shift"),
}


def summary(parameter: torch.Tensor) -> list[float]:
    values = parameter.detach().double().flatten()
    return [float(f"{x:.9g}") for x in (values.sum().item(), values.square().sum().item(), values[0].item())]


def initialised(config: dict) -> dict:
    torch.manual_seed(0)
    model = UNet2DModel(**config)
    return {"config": config, "parameters": {name: summary(p) for name, p in model.named_parameters()}}


if __name__ == "__main__":
    found = {name: initialised(config) for name, config in NETWORKS.items()}
    lines = ",\n ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in found.items())
    FIXTURE.write_text("{" + lines + "}\n")
    print(f"{len(found)} networks, {FIXTURE.stat().st_size} bytes")

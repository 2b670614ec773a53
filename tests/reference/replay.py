"""Fifty training steps on prepared batches, for `stipple train --replay`.

tests/fixtures/replay/
  pipeline/             where training starts: a class-conditioned U-Net and its DDPM scheduler, as diffusers saves them
  batches.safetensors   clean.KKK, noise.KKK [4,1,16,16] f32, timesteps.KKK, labels.KKK [4] i64
  expected.json         for each run its flags and, a number a step: loss and grad_norm (before clipping) in f64, the
                        same in f32, and the learning rate the step took
"""

import json
import shutil
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.optimization import get_scheduler
from diffusers.utils import logging
from safetensors.torch import save_file

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "replay"
STEPS, BATCH, SIZE, CLASSES = 50, 4, 16, 10

RUNS = {
    "constant": {
        "class-conditioning": "embedding",
        "learning-rate": 1e-3,
        "lr-scheduler": "constant",
        "lr-warmup-steps": 0,
        "adam-beta1": 0.95,
        "adam-beta2": 0.999,
        "adam-weight-decay": 1e-6,
        "adam-epsilon": 1e-8,
        "max-grad-norm": 1.0,
    },
    "cosine": {
        "class-conditioning": "embedding",
        "learning-rate": 2e-3,
        "lr-scheduler": "cosine",
        "lr-warmup-steps": 10,
        "adam-beta1": 0.9,
        "adam-beta2": 0.99,
        "adam-weight-decay": 0.01,
        "adam-epsilon": 1e-6,
        "max-grad-norm": 0.5,
    },
}


def write_pipeline() -> None:
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=SIZE,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(12, 20),
        norm_num_groups=4,
        attention_head_dim=5,
        num_class_embeds=CLASSES,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    shutil.rmtree(FOLDER, ignore_errors=True)
    DDPMPipeline(unet=unet, scheduler=DDPMScheduler()).save_pretrained(FOLDER / "pipeline")
    print(f"{unet.num_parameters()} parameters")


def disc(labels: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """A bright disc, soft at its edge, whose centre goes round with the class: [N,1,SIZE,SIZE] in [-1,1]."""
    angle = 2 * torch.pi * labels / CLASSES
    axis = torch.linspace(-1, 1, SIZE)
    dx = axis[None, None, :] - 0.5 * angle.cos()[:, None, None]
    dy = axis[None, :, None] - 0.5 * angle.sin()[:, None, None]
    return torch.tanh(6 * (radius[:, None, None] - (dx**2 + dy**2).sqrt()))[:, None]


def write_batches() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    batches = {}
    for k in range(STEPS):
        labels = torch.randint(0, CLASSES, (BATCH,), generator=generator)
        radius = 0.2 + 0.4 * torch.rand(BATCH, generator=generator)
        batches[f"clean.{k:03}"] = disc(labels, radius)
        batches[f"noise.{k:03}"] = torch.randn(BATCH, 1, SIZE, SIZE, generator=generator)
        batches[f"timesteps.{k:03}"] = torch.randint(0, 1000, (BATCH,), generator=generator)
        batches[f"labels.{k:03}"] = labels
    save_file(batches, FOLDER / "batches.safetensors")
    return batches


def train(flags: dict, batches: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, list[float]]:
    pipeline = DDPMPipeline.from_pretrained(FOLDER / "pipeline")
    unet = pipeline.unet.to(dtype).train()
    optimizer = torch.optim.AdamW(
        unet.parameters(),
        lr=flags["learning-rate"],
        eps=flags["adam-epsilon"],
        betas=(flags["adam-beta1"], flags["adam-beta2"]),
        weight_decay=flags["adam-weight-decay"],
    )
    schedule = get_scheduler(
        flags["lr-scheduler"], optimizer, num_warmup_steps=flags["lr-warmup-steps"], num_training_steps=STEPS
    )
    history = {"loss": [], "grad_norm": [], "lr": []}
    for k in range(STEPS):
        clean, noise = (batches[f"{name}.{k:03}"].to(dtype) for name in ("clean", "noise"))
        timesteps, labels = batches[f"timesteps.{k:03}"], batches[f"labels.{k:03}"]
        prediction = unet(pipeline.scheduler.add_noise(clean, noise, timesteps), timesteps, labels).sample
        loss = torch.nn.functional.mse_loss(prediction, noise)
        loss.backward()
        history["loss"].append(loss.item())
        history["grad_norm"].append(torch.nn.utils.clip_grad_norm_(unet.parameters(), flags["max-grad-norm"]).item())
        history["lr"].append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return history


def rounded(numbers: list[float], digits: int) -> list[float]:
    return [float(f"{x:.{digits}g}") for x in numbers]


def run(name: str, flags: dict, batches: dict[str, torch.Tensor]) -> dict:
    exact, in_f32 = train(flags, batches, torch.float64), train(flags, batches, torch.float32)
    apart = max(abs(a - b) / a for a, b in zip(exact["loss"], in_f32["loss"]))
    print(f"{name}: loss {exact['loss'][0]:.4f} to {exact['loss'][-1]:.4f}, f32 within {apart:.1e} of f64")
    return {
        "flags": flags,
        "loss": rounded(exact["loss"], 10),
        "grad_norm": rounded(exact["grad_norm"], 10),
        "loss_f32": rounded(in_f32["loss"], 8),
        "grad_norm_f32": rounded(in_f32["grad_norm"], 8),
        "lr": rounded(exact["lr"], 10),
    }


if __name__ == "__main__":
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    write_pipeline()
    prepared = write_batches()
    expected = {name: run(name, flags, prepared) for name, flags in RUNS.items()}
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")

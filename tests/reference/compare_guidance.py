"""Does `stipple sample --guide color` take the steps that PyTorch takes, on random networks?

    python tests/reference/compare_guidance.py [--seed 0] [--count 40] [--stipple build/release/stipple]

A guided walk magnifies: where a pixel of the predicted clean image crosses the colour or the range that it is clipped to,
its pull changes at once. PyTorch in f32 and in f64 part by up to .9 of their norm within 40 steps of DDIM at scale 40
(with DDPM, which clips, they stay within 1e-6). So every step is compared from the state where stipple stood, in f64, less the pixels that are so
near the colour that f32 does not know on which side; the whole walk's distance, and PyTorch's own in f32, stand beside it.
Exits 1 where a step is off by more than 1e-5.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import diffusers
import torch
from diffusers import UNet2DModel
from diffusers.utils import logging
from safetensors.torch import load_file, save_file

import guidance
from schedulers import begin

ALLOWED = 1e-5
UNDECIDED = 1e-5  # of |x0 - colour|: the rounding of an x0 that is clipped to [-1, 1], or is some tens where it is not


def draw_case(rng: random.Random) -> dict:
    config = {
        "_class_name": rng.choice(["DDPMScheduler", "DDIMScheduler"]),
        "num_train_timesteps": 1000,
        "clip_sample": rng.random() < 0.8,
    }
    return dict(
        config=config,
        color=f"#{rng.randrange(1 << 24):06X}",
        steps=rng.choice([10, 25, 40]),
        route=rng.choice(["x0", "unet"]),
        scale=rng.choice([5.0, 10.0, 40.0, 100.0]),
        widths=rng.choice([(32, 32), (32, 64), (16, 32, 32)]),
        attention=rng.random() < 0.5,
        labels=[],
    )


def build(case: dict) -> UNet2DModel:
    plain, last = len(case["widths"]) - 1, "Attn" if case["attention"] else ""
    return UNet2DModel(
        sample_size=16,
        block_out_channels=case["widths"],
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=["DownBlock2D"] * plain + [last + "DownBlock2D"],
        up_block_types=[last + "UpBlock2D"] + ["UpBlock2D"] * plain,
    ).requires_grad_(False)


def scheduler_of(case: dict):
    scheduler = getattr(diffusers, case["config"]["_class_name"]).from_config(case["config"])
    begin(scheduler, case["steps"])
    return scheduler


def stipple_walk(stipple: str, unet: UNet2DModel, case: dict, noise: list, folder: Path) -> list[torch.Tensor]:
    unet.save_pretrained(folder / "unet")
    scheduler_of(case).save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text('{"_class_name": "DDPMPipeline"}')
    start, *steps = noise
    save_file({"noise": start} | {f"noise.{k:03}": n for k, n in enumerate(steps)}, folder / "noise.safetensors")
    command = [stipple, "sample", "--model", folder, "--out", folder / "grid.png", "--steps", str(case["steps"])]
    command += ["--noise", folder / "noise.safetensors", "--trajectory", folder / "walk.safetensors"]
    command += ["--guide", f"color={case['color']}", "--guide-route", case["route"]]
    subprocess.run(command + ["--guide-scale", str(case["scale"])], check=True, stderr=subprocess.DEVNULL)
    walk = load_file(folder / "walk.safetensors")
    return [walk[f"step.{k:03}"] for k in range(case["steps"])]


def torch_walk(unet: UNet2DModel, case: dict, noise: list, dtype: torch.dtype) -> list[torch.Tensor]:
    unet, scheduler, states = unet.to(dtype), scheduler_of(case), [noise[0].to(dtype)]
    for t, fresh in zip(scheduler.timesteps, noise[1:]):
        states.append(guidance.guided_step(unet, scheduler, case, states[-1], t, fresh.to(dtype))[0].prev_sample)
    return states[1:]


def distance(y: torch.Tensor, exact: torch.Tensor) -> float:
    return ((y.double() - exact).norm() / exact.norm()).item()


def step_errors(unet: UNet2DModel, case: dict, noise: list, states: list) -> list[float]:
    """Of every state, to the f64 step from the one before it."""
    unet, scheduler, errors = unet.double(), scheduler_of(case), []
    for t, fresh, x, y in zip(scheduler.timesteps, noise[1:], [noise[0], *states], states):
        x = x.double()
        clean = guidance.predicted_clean(scheduler, guidance.predict(unet, x, t, case), t, x)
        away = guidance.distance_to_color(clean)
        decided = (away == 0) | (away > UNDECIDED)  # 0: clipped to the colour itself, where nothing pulls
        exact = guidance.guided_step(unet, scheduler, case, x, t, fresh.double())[0].prev_sample
        errors.append(distance(y * decided, exact * decided))
    return errors


def judge(number: int, arguments: argparse.Namespace, folder: Path) -> bool:
    case = draw_case(random.Random(f"{arguments.seed} {number}"))
    torch.manual_seed(arguments.seed * 1000 + number)
    guidance.COLOR = case["color"]
    unet = build(case)
    noise = list(torch.randn(1 + case["steps"], 2, 3, 16, 16))
    ours = stipple_walk(arguments.stipple, unet, case, noise, folder)
    exact = torch_walk(unet, case, noise, torch.float64)
    in_f32 = torch_walk(unet, case, noise, torch.float32)
    step = max(step_errors(unet, case, noise, ours))
    ours, in_f32 = (max(map(distance, walk, exact)) for walk in (ours, in_f32))
    print(
        f"{number:4} {step:8.1e} {ours:8.1e} {in_f32:8.1e}  {case['config']['_class_name'][:4]} {case['steps']} steps, "
        f"{case['route']}, scale {case['scale']:g}{'' if case['config']['clip_sample'] else ', not clipped'}"
    )
    return step <= ALLOWED


def main(arguments: argparse.Namespace) -> int:
    print("   #     step     walk  PyTorch's f32 walk, all from f64")
    with tempfile.TemporaryDirectory() as scratch:
        right = [judge(number, arguments, Path(scratch)) for number in range(arguments.count)]
    print(f"seed {arguments.seed}: {len(right)} walks, {right.count(False)} with a step beyond {ALLOWED:g}")
    return 0 if all(right) else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--stipple", default="build/release/stipple")
    return parser.parse_args()


if __name__ == "__main__":
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    sys.exit(main(parse()))

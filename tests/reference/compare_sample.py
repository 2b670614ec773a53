"""Does `stipple sample` walk the path that diffusers walks, from the same prepared noise?

    python tests/reference/compare_sample.py PIPELINE [--sampler ddpm] [--steps 10] [--count 2] [--class 3]
        [--scheduler '{"solver_order": 3}'] [--step '{"eta": 0.5}'] [--stipple build/release/stipple] [--tolerance 1e-4]

--scheduler changes keys of the scheduler's configuration, --step adds arguments of its step().
Prints the relative L2 distance to PyTorch in f64 of every state and predicted clean image, PyTorch's own in f32 beside
it, and exits 1 where ours is more than the tolerance and more than three times PyTorch's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

import diffusers
import torch
from diffusers import DDPMPipeline
from diffusers.utils import logging
from safetensors.torch import load_file, save_file

import schedulers
import tolerance

SCHEDULERS = {
    "ddpm": diffusers.DDPMScheduler,
    "ddim": diffusers.DDIMScheduler,
    "ddim-inverse": diffusers.DDIMInverseScheduler,
    "dpm-solver": diffusers.DPMSolverMultistepScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "euler-ancestral": diffusers.EulerAncestralDiscreteScheduler,
    "heun": diffusers.HeunDiscreteScheduler,
}


def draw_noise(pipeline: DDPMPipeline, arguments: argparse.Namespace) -> dict[str, torch.Tensor]:
    config = pipeline.unet.config
    size = config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    calls = 2 * arguments.steps  # Heun's are 2 n - 1
    noise = torch.randn(calls + 1, arguments.count, config.out_channels, height, width)
    return {"noise": noise[-1].clone()} | {f"noise.{k:03}": noise[k].clone() for k in range(calls)}


@torch.no_grad()
def walk(
    pipeline: DDPMPipeline, noise: dict[str, torch.Tensor], arguments: argparse.Namespace, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    unet = pipeline.unet.to(dtype)
    scheduler = SCHEDULERS[arguments.sampler].from_config(pipeline.scheduler.config, **arguments.scheduler)
    schedulers.begin(scheduler, arguments.steps)
    labels = None if arguments.label is None else torch.full((arguments.count,), arguments.label)
    x, found = noise["noise"].to(dtype) * scheduler.init_noise_sigma, {}
    for k, t in enumerate(scheduler.timesteps):
        seen = scheduler.scale_model_input(x, t).to(dtype)
        answer = schedulers.step(
            scheduler, unet(seen, t, labels).sample, t, x, noise[f"noise.{k:03}"].to(dtype), arguments.step
        )
        x = answer.prev_sample
        found |= {f"step.{k:03}": x, f"x0.{k:03}": schedulers.clean_image(scheduler, answer)}
    return {name: y for name, y in found.items() if y is not None}


def stipple_sample(
    arguments: argparse.Namespace, noise: dict[str, torch.Tensor], scratch: Path
) -> dict[str, torch.Tensor]:
    given, path = scratch / "noise.safetensors", scratch / "trajectory.safetensors"
    save_file(noise, given)
    command = [
        arguments.stipple,
        "sample",
        "--model",
        arguments.pipeline,
        "--out",
        scratch / "grid.png",
        "--noise",
        given,
        "--trajectory",
        path,
        "--sampler",
        arguments.sampler,
        "--steps",
        str(arguments.steps),
    ]
    for key, value in (arguments.scheduler | arguments.step).items():
        text = value if isinstance(value, str) else json.dumps(value)
        command += [f"--{key.replace('_', '-')}"] + ([] if value is True else [text])
    command += [] if arguments.label is None else ["--class", str(arguments.label)]
    if subprocess.run(command).returncode != 0:
        raise SystemExit("compare_sample: stipple sample failed")
    return load_file(path)


def report(ours: dict[str, float], theirs: dict[str, float], allowed: float) -> bool:
    """Prints the table; whether every distance is allowed."""
    right = {name: ours[name] <= max(allowed, tolerance.FACTOR * theirs[name]) for name in ours}
    print(f"{'tensor':12} {'stipple':>9} {'PyTorch':>9}")
    for name in sorted(ours):
        print(f"{name:12} {ours[name]:9.1e} {theirs[name]:9.1e}{'' if right[name] else '  beyond'}")
    return all(right.values())


def compare(arguments: argparse.Namespace, scratch: Path) -> bool:
    torch.manual_seed(arguments.seed)
    pipeline = DDPMPipeline.from_pretrained(arguments.pipeline)
    noise = draw_noise(pipeline, arguments)
    answer = stipple_sample(arguments, noise, scratch)
    in_f32 = walk(pipeline, noise, arguments, torch.float32)
    exact = walk(pipeline, noise, arguments, torch.float64)
    if not exact.keys() <= answer.keys():
        raise SystemExit(f"compare_sample: missing: {sorted(exact.keys() - answer.keys())}")
    errors = (tolerance.relative_errors(each, exact) for each in (answer, in_f32))
    return report(*errors, arguments.tolerance)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("--sampler", choices=SCHEDULERS, default="ddpm")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--count", type=int, default=2)
    parser.add_argument("--class", type=int, dest="label")
    parser.add_argument("--scheduler", type=json.loads, default={})
    parser.add_argument("--step", type=json.loads, default={})
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stipple", default="build/release/stipple")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    return parser.parse_args()


if __name__ == "__main__":
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(0 if compare(parse(), Path(folder)) else 1)

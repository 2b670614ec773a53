"""Does diffusers read what stipple wrote?

    python tests/reference/load_pipeline.py FOLDER [--steps 10] [--count 4] [--class 3] [--seed 0] [--out grid.png]

Loads the folder as a DDPMPipeline, samples a few images and prints what they are like; --out keeps the row of images.
"""

import argparse
from pathlib import Path

import torch
from diffusers import DDPMPipeline
from diffusers.utils import logging
from PIL import Image


@torch.no_grad()
def sample(pipeline: DDPMPipeline, arguments: argparse.Namespace) -> torch.Tensor:
    """[count, channels, height, width] in [0, 1]."""
    unet, scheduler = pipeline.unet, pipeline.scheduler
    size = unet.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(arguments.seed)
    x = torch.randn(arguments.count, unet.config.out_channels, height, width, generator=generator)
    labels = None if arguments.label is None else torch.full((arguments.count,), arguments.label)
    scheduler.set_timesteps(arguments.steps)
    for t in scheduler.timesteps:
        x = scheduler.step(unet(x, t, labels).sample, t, x, generator=generator).prev_sample
    return (x / 2 + 0.5).clamp(0, 1)


def save_row(images: torch.Tensor, path: Path) -> None:
    row = torch.cat(list(images), dim=2).mul(255).round().byte()
    pixels = row[0] if row.shape[0] == 1 else row.permute(1, 2, 0)
    Image.fromarray(pixels.numpy()).save(path)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--class", type=int, dest="label")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    given = parse()
    loaded = DDPMPipeline.from_pretrained(given.folder)
    print(f"{loaded.unet.num_parameters():,} parameters, {type(loaded.scheduler).__name__}")
    drawn = sample(loaded, given)
    if not torch.isfinite(drawn).all():
        raise SystemExit("load_pipeline: the images are not finite")
    print(
        f"{given.count} images {tuple(drawn.shape[1:])}: mean {drawn.mean():.3f}, standard deviation {drawn.std():.3f}"
    )
    if given.out:
        save_row(drawn, given.out)

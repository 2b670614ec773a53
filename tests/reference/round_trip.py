"""diffusers -> stipple -> diffusers and stipple -> diffusers -> stipple: do weights and pictures stay what they were?

    python tests/reference/round_trip.py [--stipple build/release/stipple] [--seed 0]

For f32, f16 and bf16, and for safetensors, shards and .bin files, a random pipeline of diffusers is converted by stipple,
loaded and saved by diffusers, and converted again. Every tensor must keep its bytes, diffusers must load what stipple
wrote without a warning, and the pictures drawn on both sides must be equal (stipple's own bit for bit, between the two
programs to one step of 255).
"""

import argparse
import logging
import subprocess
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from safetensors.torch import load_file

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
FORMS = {"safetensors": {}, "shards": {"max_shard_size": "20KB"}, "bin": {"safe_serialization": False}}
STEPS = 4


class Warnings(logging.Handler):
    """Whatever diffusers has to say."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def make(folder: Path, dtype: torch.dtype, form: dict, seed: int) -> None:
    torch.manual_seed(seed)
    unet = UNet2DModel(
        sample_size=16,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    DDPMPipeline(unet.to(dtype), DDPMScheduler(beta_schedule="squaredcos_cap_v2")).save_pretrained(folder, **form)


def load(folder: Path, dtype: torch.dtype) -> DDPMPipeline:
    return DDPMPipeline.from_pretrained(folder, dtype=dtype, low_cpu_mem_usage=False)


def load_silently(folder: Path, dtype: torch.dtype) -> DDPMPipeline:
    """A warning is an error."""
    heard = Warnings()
    diffusers_logging.get_logger("diffusers").addHandler(heard)
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        pipeline = load(folder, dtype)
    diffusers_logging.get_logger("diffusers").removeHandler(heard)
    said = heard.messages + [str(w.message) for w in raised]
    if said:
        raise SystemExit(f"round_trip: diffusers says of {folder}: {said}")
    return pipeline


def picture_of_diffusers(pipeline: DDPMPipeline) -> np.ndarray:
    drawing = DDIMPipeline(pipeline.unet.float(), DDIMScheduler.from_config(pipeline.scheduler.config))
    drawing.set_progress_bar_config(disable=True)
    image = drawing(num_inference_steps=STEPS, generator=torch.Generator().manual_seed(0)).images[0]
    return np.asarray(image).astype(int)


class Stipple:
    def __init__(self, command: str):
        self.command = command

    def run(self, *arguments: object) -> None:
        subprocess.run([self.command, *map(str, arguments)], check=True, capture_output=True)

    def convert(self, source: Path, to: Path, dtype: str) -> None:
        self.run("convert", "--model", source, "--out", to, "--save-dtype", dtype)

    def picture(self, model: Path) -> np.ndarray:
        out = model.parent / f"{model.name}.png"
        self.run("sample", "--model", model, "--out", out, "--sampler", "ddim", "--steps", STEPS, "--count", 1,
                 "--rng", "torch", "--seed", 0)  # fmt: skip
        return np.asarray(Image.open(out)).astype(int)


def expect_same_tensors(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], what: str) -> None:
    if ours.keys() != theirs.keys():
        raise SystemExit(f"round_trip: {what}: other names: {sorted(ours.keys() ^ theirs.keys())}")
    for name, tensor in ours.items():
        a, b = (t.contiguous().view(torch.uint8) if t.dim() else t for t in (tensor, theirs[name]))
        if tensor.dtype != theirs[name].dtype or tensor.shape != theirs[name].shape or not torch.equal(a, b):
            raise SystemExit(f"round_trip: {what}: {name} is not what it was")


def expect_same_picture(a: np.ndarray, b: np.ndarray, most: int, what: str) -> int:
    difference = int(np.abs(a - b).max())
    if difference > most:
        raise SystemExit(f"round_trip: {what}: pictures differ by {difference} of 255")
    return difference


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")


def round_trip(root: Path, stipple: Stipple, dtype: str, form: str, seed: int) -> str:
    made, ours, theirs, again = (root / name for name in ("made", "ours", "theirs", "again"))
    make(made, DTYPES[dtype], FORMS[form], seed)
    original = load(made, DTYPES[dtype])
    stipple.convert(made, ours, dtype)
    returned = load_silently(ours, DTYPES[dtype])
    expect_same_tensors(weights(ours), original.unet.state_dict(), "diffusers -> stipple -> diffusers")
    for name, value in original.unet.config.items():
        if not name.startswith("_") and returned.unet.config[name] != value:
            raise SystemExit(f"round_trip: {name} was {value}, is {returned.unet.config[name]}")
    returned.save_pretrained(theirs)
    stipple.convert(theirs, again, dtype)
    expect_same_tensors(weights(again), weights(ours), "stipple -> diffusers -> stipple")
    drawn = stipple.picture(made)
    for folder in (ours, again):
        expect_same_picture(drawn, stipple.picture(folder), 0, "stipple")
    expect_same_picture(picture_of_diffusers(original), picture_of_diffusers(returned), 0, "diffusers")
    apart = expect_same_picture(drawn, picture_of_diffusers(original), 1, "stipple and diffusers")
    return f"{len(weights(ours))} tensors, pictures {apart} of 255 apart"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stipple", default="build/release/stipple")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    diffusers_logging.disable_progress_bar()
    for dtype in DTYPES:
        for form in FORMS:
            with tempfile.TemporaryDirectory() as root:
                told = round_trip(Path(root), Stipple(given.stipple), dtype, form, given.seed)
            print(f"{dtype} {form}: {told}", flush=True)

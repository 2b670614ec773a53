"""Is a network's forward and backward pass as exact as PyTorch's? (the rule: tolerance.py)

    python tests/reference/compare_forward.py MODEL [--stipple build/release/stipple] [--batch 2] [--height H --width W]
                                              [--seed 0] [--without-gradients] [--rows 10] [-- FLAGS OF stipple forward]

MODEL is a pipeline's folder, or the config.json of a network, which then gets random weights. Draws an input, hands it
to `stipple forward` and to PyTorch in f64 and f32, prints the tensors nearest to what is allowed, and exits 1 where one
is beyond.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.utils import logging
from safetensors.torch import load_file, save_file

import forward
import tolerance


def open_model(path: Path, scratch: Path) -> tuple[UNet2DModel, Path]:
    """The network and the pipeline folder it lies in."""
    if path.is_dir():
        unet = path / "unet"
        return UNet2DModel.from_pretrained(unet if unet.is_dir() else path), path
    model = UNet2DModel.from_config(json.loads(path.read_text()))
    forward.randomise(model)
    DDPMPipeline(unet=model, scheduler=DDPMScheduler()).save_pretrained(scratch / "pipeline")
    return model, scratch / "pipeline"


def image_size(model: UNet2DModel, arguments: argparse.Namespace) -> tuple[int, int]:
    size = model.config.sample_size or 32
    height, width = (size, size) if isinstance(size, int) else size
    return arguments.height or height, arguments.width or width


def stipple_forward(
    arguments: argparse.Namespace, pipeline: Path, inputs: dict, scratch: Path
) -> dict[str, torch.Tensor]:
    given, answer = scratch / "in.safetensors", scratch / "out.safetensors"
    save_file(inputs, given)
    command = [
        arguments.stipple,
        "forward",
        "--model",
        pipeline,
        "--input",
        given,
        "--output",
        answer,
        *arguments.flags,
    ]
    if subprocess.run(command).returncode != 0:
        raise SystemExit("compare_forward: stipple forward failed")
    return load_file(answer)


def report(ours: dict[str, float], theirs: dict[str, float], rows: int) -> bool:
    """Prints the table; whether every error is allowed."""

    def used(name: str) -> float:
        return ours[name] / tolerance.allowed(theirs[name])

    print(f"{'tensor':64} {'stipple':>9} {'PyTorch':>9} {'allowed':>9}")
    for name in sorted(ours, key=used, reverse=True)[:rows]:
        mark = "" if used(name) <= 1 else "  beyond"
        print(f"{name:64} {ours[name]:9.1e} {theirs[name]:9.1e} {tolerance.allowed(theirs[name]):9.1e}{mark}")
    beyond = sum(not used(name) <= 1 for name in ours)  # NaN is beyond
    print(
        f"{len(ours)} tensors, {beyond} beyond what is allowed; worst error {max(ours.values()):.1e}, "
        f"PyTorch's {max(theirs.values()):.1e}"
    )
    return beyond == 0


def compare(arguments: argparse.Namespace, scratch: Path) -> bool:
    torch.manual_seed(arguments.seed)
    model, pipeline = open_model(arguments.model, scratch)
    generator = torch.Generator().manual_seed(arguments.seed)
    inputs = forward.draw_inputs(model, generator, arguments.batch, *image_size(model, arguments))
    if arguments.without_gradients:
        del inputs["grad_output"]
    answer = stipple_forward(arguments, pipeline, inputs, scratch)
    in_f32 = forward.run(model, inputs, torch.float32)
    exact = forward.run(model, inputs, torch.float64)
    if answer.keys() != exact.keys():
        raise SystemExit(f"compare_forward: names differ: {sorted(answer.keys() ^ exact.keys())}")
    return report(tolerance.relative_errors(answer, exact), tolerance.relative_errors(in_f32, exact), arguments.rows)


def parse() -> argparse.Namespace:
    own, flags = sys.argv[1:], []
    if "--" in own:
        own, flags = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--stipple", default="build/release/stipple")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--height", type=int)
    parser.add_argument("--width", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-gradients", action="store_true")
    parser.add_argument("--rows", type=int, default=10)
    return parser.parse_args(own, argparse.Namespace(flags=flags))


if __name__ == "__main__":
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(0 if compare(parse(), Path(folder)) else 1)

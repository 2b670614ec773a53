"""Random U-Nets of diffusers through `stipple forward`: is every output and gradient as exact as PyTorch's?

    python tests/reference/parity.py [--seed 0] [--count 100] [--only 17] [--stipple build/release/stipple]

Network number I of seed S is the same in every run. It is drawn from all that a UNet2DModel's config.json can say, saved
by diffusers (with keys of their default value left out here and there, and attention weights under the names of old
files), and run forward and backward by both. Judged by tolerance.py. One line a network:

    number, seconds (PyTorch in f64 and f32, stipple), the tensor nearest to what is allowed, how near (1: at the limit)

Exits 1 where a tensor is beyond, and prints the configurations in question. What is allowed hangs on one rounding of
PyTorch's, which is now and then a lucky one; so such a line also says where PyTorch's own f32 would stand with its other
memory format, channels last.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DModel
from diffusers.utils import logging
from safetensors.torch import load_file, save_file

import forward
import tolerance
import unets

WEIGHTS = "diffusion_pytorch_model.safetensors"
CLEAR_OF_KINKS = 3e-6  # more than f32 errs where relu is applied


@dataclass
class Network:
    config: dict
    batch: int
    height: int
    width: int
    fractional_timesteps: bool
    old_names: bool
    seed: int


class Kinks:
    """How near to zero the inputs of a network's relus come."""

    def __init__(self, model: UNet2DModel):
        self.nearest = float("inf")
        relus = [module for module in model.modules() if isinstance(module, torch.nn.ReLU)]
        self.hooks = [module.register_forward_pre_hook(self.look) for module in relus]

    def look(self, module, arguments):
        self.nearest = min(self.nearest, arguments[0].abs().min().item())

    def remove(self) -> None:
        for hook in self.hooks:
            hook.remove()


def divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def draw_widths(rng: random.Random, levels: int, multiple: int) -> list[int]:
    least = -(-8 // multiple)
    return [multiple * rng.randint(least, max(least, 64 // multiple)) for _ in range(levels)]


def draw_plain_blocks(rng: random.Random, levels: int) -> dict:
    groups = rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 32])
    return dict(
        norm_num_groups=groups,
        block_out_channels=draw_widths(rng, levels, groups),
        down_block_types=rng.choices(["DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"], [2, 2, 1], k=levels),
        up_block_types=rng.choices(["UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"], [2, 2, 1], k=levels),
        in_channels=rng.randint(1, 5),
        out_channels=rng.randint(1, 4),
    )


def draw_skip_blocks(rng: random.Random, levels: int) -> dict:
    """Skip blocks come first on the way down and last on the way up; those with attention norm in 32 groups."""
    attention = rng.random() < 0.4
    groups = rng.choice([1, 2, 4])
    widths = [rng.choice([32, 64]) for _ in range(levels)] if attention else draw_widths(rng, levels, 4)
    down, up = (rng.randint(1, levels) for _ in range(2))
    kinds = ["", "Attn"] if attention else [""]
    types = dict(
        down_block_types=[f"{rng.choice(kinds)}SkipDownBlock2D" for _ in range(down)]
        + rng.choices(["DownBlock2D", "ResnetDownsampleBlock2D"], k=levels - down),
        up_block_types=rng.choices(["UpBlock2D", "ResnetUpsampleBlock2D"], k=levels - up)
        + [f"{rng.choice(kinds)}SkipUpBlock2D" for _ in range(up)],
    )
    all_skip = down == up == levels
    return types | dict(
        norm_num_groups=None if all_skip and rng.random() < 0.7 else groups,
        block_out_channels=widths,
        in_channels=3,
        out_channels=3,
    )


def draw_embeddings(rng: random.Random) -> dict:
    time_type = rng.choice(["positional", "positional", "fourier", "learned"])
    classes = rng.choice([None, None, "table", "timestep", "identity"])
    return dict(
        time_embedding_type=time_type,
        num_train_timesteps=rng.randint(2, 60) if time_type == "learned" else rng.choice([None, 1000]),
        time_embedding_dim=rng.choice([None, None, rng.randint(5, 70)]),
        freq_shift=rng.choice([0, 1]),
        flip_sin_to_cos=rng.random() < 0.5,
        class_embed_type=classes if classes in ("timestep", "identity") else None,
        num_class_embeds=rng.randint(1, 9) if classes == "table" else None,
    )


def draw_network(seed: int, number: int) -> Network:
    rng = random.Random(f"{seed} {number}")
    levels = rng.randint(1, 4)
    blocks = draw_skip_blocks(rng, levels) if rng.random() < 0.25 else draw_plain_blocks(rng, levels)
    widths = blocks["block_out_channels"]
    head_widths = [1, 3, 8, None, rng.randint(1, min(widths))]
    scale_shift = rng.random() < 0.35
    config = blocks | draw_embeddings(rng) | dict(
        sample_size=rng.choice([None, 16, [8, 24]]),
        center_input_sample=rng.random() < 0.25,
        mid_block_type=rng.choice(["UNetMidBlock2D"] * 5 + [None]),
        layers_per_block=rng.randint(1, 3),
        mid_block_scale_factor=rng.choice([1, 1, 0.75, 2**0.5]),
        downsample_padding=rng.randint(0, 1),
        downsample_type=rng.choice(["conv", "resnet"]),
        upsample_type=rng.choice(["conv", "resnet"]),
        dropout=rng.choice([0.0, 0.1]),
        act_fn=rng.choice(["silu", "swish", "mish", "gelu", "relu"]),
        attention_head_dim=rng.choice(head_widths),
        attn_norm_num_groups=rng.choice([None, None, rng.choice(divisors(widths[-1]))]),
        norm_eps=rng.choice([1e-5, 1e-6, 1e-3]),
        resnet_time_scale_shift="scale_shift" if scale_shift else "default",
        add_attention=rng.random() < 0.8,
    )
    if rng.random() < 0.1:  # as the first releases named them
        config["down_block_types"] = ["UNetRes" + name for name in config["down_block_types"]]
    height, width = draw_size(rng, 2 ** (levels - 1), 16 if config["act_fn"] == "relu" else 32)
    fractional = config["time_embedding_type"] != "learned" and rng.random() < 0.3
    return Network(config, rng.randint(1, 3), height, width, fractional, rng.random() < 0.2, rng.randrange(2**31))


def draw_size(rng: random.Random, divisor: int, largest: int) -> tuple[int, int]:
    """Four pixels at least where the map is smallest: a norm over one pixel is nothing but its rounding."""
    most = largest // divisor
    height = rng.randint(1, most)
    return divisor * height, divisor * rng.randint(-(-4 // height), max(most, -(-4 // height)))


def build(network: Network) -> UNet2DModel:
    torch.manual_seed(network.seed)
    model = UNet2DModel(**network.config)
    forward.randomise(model)
    return model


def save(model: UNet2DModel, network: Network, folder: Path) -> None:
    """As diffusers does, then as others might have."""
    model.save_pretrained(folder)
    rng = random.Random(network.seed)
    config = json.loads((folder / "config.json").read_text())
    defaults = dict(UNet2DModel().config) if not DEFAULTS else DEFAULTS
    DEFAULTS.update(defaults)
    kept = {key: x for key, x in config.items() if rng.random() < 0.5 or key not in defaults or x != plain(defaults[key])}
    (folder / "config.json").write_text(json.dumps(kept))
    if network.old_names:
        save_file({unets.old_name(name): x for name, x in load_file(folder / WEIGHTS).items()}, folder / WEIGHTS)


DEFAULTS: dict = {}


def draw_inputs(model: UNet2DModel, network: Network) -> dict:
    """With relu, inputs whose signs rounding does not decide: beside a kink one number changes whole gradients."""
    most, best = -1.0, {}
    for attempt in range(30):
        generator = torch.Generator().manual_seed(network.seed + attempt)
        size = (network.batch, network.height, network.width)
        inputs = forward.draw_inputs(model, generator, *size, network.fractional_timesteps)
        if network.config["act_fn"] != "relu":
            return inputs
        kinks = Kinks(model)
        forward.run(model, {name: x for name, x in inputs.items() if name != "grad_output"}, torch.float64)
        kinks.remove()
        if kinks.nearest > most:
            most, best = kinks.nearest, inputs
        if most > CLEAR_OF_KINKS:
            break
    return best


def plain(value):
    return list(value) if isinstance(value, tuple) else value


def run_stipple(stipple: str, folder: Path, inputs: dict) -> dict[str, torch.Tensor]:
    save_file(inputs, folder / "in.safetensors")
    command = [stipple, "forward", "--model", folder, "--input", folder / "in.safetensors"]
    result = subprocess.run([*command, "--output", folder / "out.safetensors"], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(result.stderr.strip())
    return load_file(folder / "out.safetensors")


@dataclass
class Verdict:
    tensor: str  # whose error is largest in units of what is allowed
    used: float  # that number
    channels_last: float  # the same of PyTorch's f32 in its other memory format; 0 where nobody asks
    seconds: str


def largest(used: dict[str, float]) -> str:
    return max(used, key=lambda name: used[name] if used[name] == used[name] else float("inf"))


def compare(network: Network, stipple: str, folder: Path) -> Verdict:
    model = build(network)
    save(model, network, folder)
    inputs = draw_inputs(model, network)
    begin = time.perf_counter()
    answer = run_stipple(stipple, folder, inputs)
    middle = time.perf_counter()
    in_f32 = forward.run(model, inputs, torch.float32)
    exact = forward.run(model, inputs, torch.float64)
    seconds = f"{time.perf_counter() - middle:5.2f} {middle - begin:5.2f} s"
    if answer.keys() != exact.keys():
        raise RuntimeError(f"names differ: {sorted(answer.keys() ^ exact.keys())}")
    ours, theirs = tolerance.relative_errors(answer, exact), tolerance.relative_errors(in_f32, exact)
    used = {name: ours[name] / tolerance.allowed(theirs[name]) for name in ours}
    worst, other = largest(used), 0.0
    if not used[worst] <= 1:
        again = forward.run(model.to(memory_format=torch.channels_last), inputs, torch.float32)
        errors = tolerance.relative_errors(again, exact)
        other = max(errors[name] / tolerance.allowed(theirs[name]) for name in errors)
    return Verdict(worst, used[worst], other, seconds)


def describe(network: Network) -> str:
    c = network.config
    widths = "/".join(str(width) for width in c["block_out_channels"])
    return f"{network.batch}x{network.height}x{network.width} {widths} {c['time_embedding_type']} {c['act_fn']}"


def judge(number: int, network: Network, stipple: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        try:
            verdict = compare(network, stipple, Path(folder))
        except RuntimeError as error:
            print(f"{number:4}  {error}", flush=True)
            return float("nan")
    line = f"{number:4} {verdict.seconds}  {verdict.used:5.2f} {verdict.tensor}  ({describe(network)})"
    beyond = f"  BEYOND; PyTorch, channels last: {verdict.channels_last:.2f}"
    print(line if verdict.used <= 1 else line + beyond, flush=True)
    return verdict.used


def main(arguments: argparse.Namespace) -> int:
    numbers = range(arguments.count) if arguments.only is None else [arguments.only]
    networks = {number: draw_network(arguments.seed, number) for number in numbers}
    begin = time.perf_counter()
    used = {number: judge(number, network, arguments.stipple) for number, network in networks.items()}
    failed = [number for number in numbers if not used[number] <= 1]  # NaN has failed
    for number in failed:
        print(f"\nseed {arguments.seed}, number {number}: {json.dumps(vars(networks[number]))}")
    seconds = time.perf_counter() - begin
    print(f"\nseed {arguments.seed}: {len(used)} networks, {len(failed)} failed, worst {max(used.values()):.2f} of what "
          f"is allowed, {seconds:.0f} s")
    return 1 if failed else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--only", type=int, help="this number alone")
    parser.add_argument("--stipple", default="build/release/stipple")
    return parser.parse_args()


if __name__ == "__main__":
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)  # the same f32 errors again
    sys.exit(main(parse()))

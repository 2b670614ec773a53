"""Counts every rung of every ladder of CUDA kernels at a shape of a U-Net, on the emulator, and prints the tables of
docs/kernels.md.

    python bench/ladders.py [--command build/emulated/stipple] [OPERATION ...]
"""

import argparse
import json
import os
import subprocess
import sys

# By operation: its sizes, the variable that chooses its rung, and the rungs with the dtypes they are counted in.
LADDERS = {
    "conv2d": ("n=2 h=16 w=16 c=128 k=128", "STIPPLE_CONV2D_CUDA",
               [("naive", "f32"), ("tiled", "f32"), ("mma", "f32"), ("mma", "bf16")]),
    "linear": ("m=256 n=512 k=512", "STIPPLE_MATMUL_CUDA",
               [("naive", "f32"), ("tiled", "f32"), ("mma", "f32"), ("mma", "bf16")]),
    "attention": ("n=1 tokens=256 heads=8 width=32", "STIPPLE_ATTENTION_CUDA",
                  [("naive", "f32"), ("wide", "f32"), ("flash", "f32"), ("flash", "bf16")]),
    "group_norm": ("n=2 h=32 w=32 c=128 groups=32", "STIPPLE_GROUP_NORM_CUDA",
                   [("naive", "f32"), ("two_pass", "f32"), ("one_pass", "f32"), ("one_pass", "bf16")]),
}
PATHS = {"sectors": ("global load", "global store"), "wavefronts": ("shared load", "shared store")}
HEAD = ["rung", "launches", "sectors / ideal", "wavefronts / ideal", "wavefronts", "moved, MB", "DRAM model / compulsory",
        "on tensor cores", "model time H100, us"]


def counted(command: str, operation: str, sizes: str, variable: str, rung: str, dtype: str) -> list[dict]:
    arguments = [command, "profile", "--operation", operation, *sizes.split(), "--dtype", dtype, "--json"]
    done = subprocess.run(arguments, env=os.environ | {variable: rung}, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"ladders: {operation}, rung {rung}: {done.stderr.strip()}")
    return json.loads(done.stdout)["kernels"]


def total(kernels: list[dict], unit: str) -> tuple[int, int]:
    """Parts of all requests, and the fewest they could take."""
    paths = [kernel[path] for kernel in kernels for path in PATHS[unit] if path in kernel]
    return sum(path[unit] for path in paths), sum(path["least_" + unit] for path in paths)


def over_ideal(parts: int, least: int) -> str:
    return f"{parts / least:.2f}" if least else "-"


def row(rung: str, dtype: str, kernels: list[dict]) -> list[str]:
    wavefronts = total(kernels, "wavefronts")
    dram = sum(sum(kernel["dram_model"].values()) for kernel in kernels)
    tensor_flop = sum(kernel["tensor_flop"] for kernel in kernels)
    return [
        f"{rung} {dtype}",
        str(sum(kernel["launches"] for kernel in kernels)),
        over_ideal(*total(kernels, "sectors")),
        over_ideal(*wavefronts),
        f"{wavefronts[0]:,}" if wavefronts[0] else "-",
        f"{sum(kernel['moved_bytes'] for kernel in kernels) / 1e6:.2f}",
        f"{dram / sum(kernel['compulsory_bytes'] for kernel in kernels):.2f}",
        f"{tensor_flop / 1e9:.3f} GFLOP" if tensor_flop else "-",
        f"{sum(kernel['model_time']['H100']['seconds_at_least'] for kernel in kernels) * 1e6:.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", default="build/emulated/stipple")
    parser.add_argument("operations", nargs="*", metavar="OPERATION", help=", ".join(LADDERS))
    arguments = parser.parse_args()
    for operation in arguments.operations or LADDERS:
        if operation not in LADDERS:
            sys.exit(f"ladders: there is no ladder of '{operation}'; there are: {', '.join(LADDERS)}")
        sizes, variable, rungs = LADDERS[operation]
        print(f"\n`{operation} {sizes}`, forward and backward; the rung is chosen by `{variable}`\n")
        print("| " + " | ".join(HEAD) + " |\n|" + " --- |" * len(HEAD))
        for rung, dtype in rungs:
            kernels = counted(arguments.command, operation, sizes, variable, rung, dtype)
            print("| " + " | ".join(row(rung, dtype, kernels)) + " |", flush=True)


if __name__ == "__main__":
    main()

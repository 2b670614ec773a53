"""Every default CUDA kernel of a U-Net at its shapes: what the emulator counts, and what nvcc made of it, in one table.

    ./run build emulated && ./run build cuda && python bench/counters.py [--command build/emulated/stipple] [OPERATION ...]

Goals: sectors 95 % of ideal and better, wavefronts of shared memory at most 1.05 times ideal, DRAM (behind a modelled L2)
at most 1.3 times compulsory, no spilled registers, two blocks and more a multiprocessor. Exit status 1 where one is missed.
Without ./run build cuda, registers and what follows from them are left out.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import sass

SHAPES = {
    "conv2d": ["n=2 h=16 w=16 c=128 k=128", "n=2 h=16 w=16 c=128 k=128 stride=2", "n=1 h=8 w=8 c=256 k=256",
               "n=2 h=16 w=16 c=128 k=128 kernel=1", "n=4 h=28 w=28 c=32 k=32", "n=4 h=14 w=14 c=64 k=64"],
    "linear": ["m=512 n=512 k=128"],
    "attention": ["n=2 tokens=256 heads=16 width=8", "n=2 tokens=256 heads=4 width=32", "n=2 tokens=256 heads=4 width=64",
                  "n=1 tokens=256 heads=2 width=128", "n=1 tokens=256 heads=1 width=256", "n=1 tokens=256 heads=1 width=512"],
    "group_norm": ["n=4 h=32 w=32 c=128 groups=32", "n=1 h=64 w=64 c=128 groups=32"],
    "silu": ["n=4 h=32 w=32 c=128"],
    "add": ["n=4 h=32 w=32 c=128"],
    "upsample_nearest": ["n=4 h=16 w=16 c=128"],
}
TF32 = ("conv2d", "attention")  # have kernels of their own for it
PATHS = {"sectors": ("global load", "global store"), "wavefronts": ("shared load", "shared store")}
COLUMNS = ["kernel", "sectors, % of ideal", "wavefronts / ideal", "DRAM / compulsory", "L2 bytes / what blocks need",
           "what blocks need / compulsory", "registers sm_80, sm_90a", "bytes of stack", "blocks a multiprocessor", "missed"]
REGISTERS, SHARED_BYTES, THREADS = 65536, {"sm_80": 164 << 10, "sm_90a": 228 << 10}, 2048  # of a multiprocessor


def plain(name: str) -> str:
    """A kernel's name without namespaces, as c++filt and g++ write it alike."""
    name = re.sub(r"\(anonymous namespace\)::|\{anonymous\}::", "", name)
    name = re.sub(r"\((?:\w+::)*\w+\)(\d)", r"\1", name)  # enumerators
    return re.sub(r"\w+::|__nv_|\s", "", name)


def over_least(kernel: dict, unit: str) -> float:
    paths = [kernel[path] for path in PATHS[unit] if path in kernel]
    least = sum(path["least_" + unit] for path in paths)
    return sum(path[unit] for path in paths) / least if least else 1.0


def resident(kernel: dict, made: sass.Kernel) -> int:
    """Blocks a multiprocessor has room for."""
    threads, registers = kernel["threads_a_block"], -(-made.registers // 8) * 8
    shared = kernel["shared_bytes_a_block"] + 1024
    return min(32, THREADS // threads, REGISTERS // (registers * threads), SHARED_BYTES[made.architecture] // shared)


def row(kernel: dict, made: list[sass.Kernel]) -> list[str]:
    sectors, wavefronts = 1 / over_least(kernel, "sectors"), over_least(kernel, "wavefronts")
    dram = sum(kernel["dram_model"].values()) / kernel["compulsory_bytes"]
    blocks = [resident(kernel, m) for m in made]
    missed = {"sectors": sectors < 0.95, "wavefronts": wavefronts > 1.05, "DRAM": dram > 1.3,
              "stack": any(m.stack for m in made), "blocks": any(b < 2 for b in blocks)}  # fmt: skip
    return [
        plain(kernel["kernel"]),
        f"{100 * sectors:.0f}",
        f"{wavefronts:.2f}",
        f"{dram:.2f}",
        f"{kernel['moved_bytes'] / kernel['block_bytes']:.2f}",
        f"{kernel['block_bytes'] / kernel['compulsory_bytes']:.2f}",
        ", ".join(str(m.registers) for m in made) or "-",
        ", ".join(str(m.stack) for m in made) or "-",
        ", ".join(map(str, blocks)) or "-",
        ", ".join(goal for goal, is_missed in missed.items() if is_missed),
    ]


def machine_code(build: Path) -> dict[str, dict[str, sass.Kernel]]:
    """By plain name and architecture; of kernels that several files have, one."""
    found: dict[str, dict[str, sass.Kernel]] = {}
    if not sass.find_tool("cuobjdump"):
        return found
    for file in sorted(build.glob("CMakeFiles/stipple_core.dir/kernels/cuda/**/*.cu.o")):
        for architecture in SHARED_BYTES:
            for kernel in sass.kernels(file, architecture):
                found.setdefault(plain(kernel.name), {})[architecture] = kernel
    return found


def counted(command: str, operation: str, sizes: str, dtype: str) -> dict:
    arguments = [command, "profile", "--operation", operation, *sizes.split(), "--dtype", dtype, "--json"]
    tiles = {"STIPPLE_CONV2D_TILES": "widest"}  # those of large maps, which small ones are counted for
    done = subprocess.run(arguments, env=os.environ | tiles, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"counters: {operation} {sizes}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--command", default="build/emulated/stipple", help="an emulated stipple")
    arguments.add_argument("--build", type=Path, default=Path("build/cuda"), help="where ./run build cuda built")
    arguments.add_argument("operations", nargs="*", metavar="OPERATION", help=f"of {', '.join(SHAPES)} (default: all)")
    given = arguments.parse_args()
    made, any_missed = machine_code(given.build), False
    for operation in given.operations or SHAPES:
        for sizes in SHAPES[operation]:
            for dtype in ("bf16", "tf32", "f32") if operation in TF32 else ("bf16", "f32"):
                profile = counted(given.command, operation, sizes, dtype)
                print(f"\n## {profile['title']}\n\n| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
                for kernel in profile["kernels"]:
                    cells = row(kernel, list(made.get(plain(kernel["kernel"]), {}).values()))
                    any_missed |= bool(cells[-1])
                    print(f"| {' | '.join(cells)} |", flush=True)
    sys.exit(1 if any_missed else 0)


if __name__ == "__main__":
    main()

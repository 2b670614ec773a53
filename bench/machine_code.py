"""The machine code of our default CUDA kernels, beside what Triton makes of the same operations. No GPU is needed.

    ./run build cuda && python bench/machine_code.py [--build build/cuda]

For the kernels on tensor cores: registers and the instructions of a pass through the main loop (sass.py). Fails where one of them keeps more
than four registers on the stack, or where a kernel that should read or copy 16 bytes at once does not. (Spilled
registers are an error of the build already.) With Triton installed (it comes with PyTorch), its kernels follow.
"""

import argparse
import re
import sys
from pathlib import Path

import sass

WIDE = {  # kernel: what moves 16 bytes at once in it
    r"conv2d_mma_kernel<.*Fetch\)0>": ("LDGSTS.E.128", "LDGSTS.E.BYPASS.128", "LDSM.16.M88.4", "STG.E.128"),
    r"conv2d_mma_kernel<.*Fetch\)1>": ("LDGSTS.E.BYPASS.128", "LDSM.16.M88.4", "STG.E.128"),
    r"conv2d_weight_mma_kernel<Bf16": ("LDGSTS.E.BYPASS.128", "LDSM.16.MT88.4"),
    r"conv2d_weight_mma_kernel<(F32|Tf32)": ("LDGSTS.E.BYPASS.128", "STG.E.128"),
    r"flash::\w+<flash::Blocking<Bf16": ("LDGSTS.E.BYPASS.128", "LDSM.16.M88.4", "LDSM.16.MT88.4", "STG.E.128"),
    r"flash::\w+<flash::Blocking<(F32|Tf32)": ("LDGSTS.E.BYPASS.128", "LDSM.16.M88.4", "STG.E.128"),
    r"wide::product_kernel<": ("LDGSTS.E.BYPASS.128", "STG.E.128"),
    r"group_norm_(one_pass|map)(_backward)?_kernel<\w+, [48]>": ("LDG.E.128.CONSTANT", "STG.E.128"),
    r"group_norm_(moments|sums)_kernel<\w+, [48]>": ("LDG.E.128.CONSTANT",),
    r"adamw_kernel": ("LDG.E.128", "STG.E.128"),
}
A_FEW_REGISTERS = 16  # bytes: addresses that the compiler would rather read again than keep
GROUPS = {  # of instructions, by the beginning of their names
    "tensor core": ("HMMA", "HGMMA"),
    "shared memory": ("LDS", "STS", "LDGSTS"),
    "global memory": ("LDG", "STG", "LD", "ST"),
    "float": ("F", "MUFU", "HFMA"),
    "integer, control": ("",),
}


def group(instruction: str) -> str:
    name = sass.opcode(instruction)
    return next(g for g, beginnings in GROUPS.items() if name.startswith(beginnings))


def row(kernel: sass.Kernel, name: str) -> str:
    loop = kernel.main_loop()
    counts = [sum(group(i) == g for i in loop) for g in GROUPS]
    share = f"{counts[0] / len(loop):.3f}" if loop else "-"
    cells = [name, kernel.architecture, kernel.registers, kernel.stack, len(loop), *counts, share]
    return "| " + " | ".join(map(str, cells)) + " |"


def header() -> str:
    columns = ["kernel", "for", "registers", "bytes of stack", "main loop", *GROUPS, "tensor core / all"]
    return "| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns)


def faults(kernel: sass.Kernel) -> list[str]:
    spilled = kernel.stack > A_FEW_REGISTERS and kernel.main_loop()
    found = [f"keeps {kernel.stack} bytes on the stack"] if spilled else []
    code = "\n".join(kernel.instructions)
    for pattern, expected in WIDE.items():
        if re.search(pattern, kernel.name):
            found += [f"has no {instruction}" for instruction in expected if instruction not in code]
    return [f"{kernel.name} for {kernel.architecture} {fault}" for fault in found]


def ours(build: Path, architecture: str) -> list[sass.Kernel]:
    files = sorted(build.glob("CMakeFiles/stipple_core.dir/kernels/cuda/**/*.cu.o"))
    if not files:
        raise SystemExit(f"machine_code: there are no compiled kernels in {build}: ./run build cuda")
    return [kernel for file in files for kernel in sass.kernels(file, architecture)]


def triton_rows(architecture: int) -> list[str]:
    try:
        import triton_kernels as triton
    except ImportError:
        return []
    conv = {"R": 3, "S": 3, "PIXELS": 128, "FILTERS": 128}
    weight = {"R": 3, "S": 3, "FILTERS": 128, "WINDOW": 128}
    head = {"WIDTH": 64, "QUERIES": 64, "KEYS": 64}
    staying_queries, staying_keys = head | {"KEYS": 32}, head | {"QUERIES": 32}
    # Of several blocks those with the largest shares: width, queries, keys, warps, stages.
    key_blocks = [(16, 64, 64, 4, 2), (64, 64, 64, 4, 2), (128, 32, 64, 8, 2), (256, 16, 64, 8, 1)]
    query_blocks = [(64, 64, 64, 4, 2), (128, 64, 32, 8, 2), (256, 64, 16, 8, 2)]
    rows = []
    for element, precision, depth in [("bf16", "tf32", 32), ("fp32", "tf32", 16), ("fp32", "tf32x3", 16)]:
        label = element if element == "bf16" else precision
        made = [
            (f"Triton conv2d {label}, depth {depth}", triton.conv2d, 8, 4, conv | {"DEPTH": depth}),
            (f"Triton conv2d {label}, depth {2 * depth}", triton.conv2d, 8, 3, conv | {"DEPTH": 2 * depth}),
            (f"Triton conv2d {label}, 64 filters", triton.conv2d, 4, 3, conv | {"FILTERS": 64, "DEPTH": 2 * depth}),
            (f"Triton conv2d {label}, 32 filters", triton.conv2d, 4, 3, conv | {"FILTERS": 32, "DEPTH": 2 * depth}),
            (f"Triton conv2d {label}, 1x1", triton.conv2d, 8, 3, conv | {"R": 1, "S": 1, "DEPTH": 2 * depth}),
            (f"Triton conv2d_weight {label}, depth {depth}", triton.conv2d_weight, 8, 4, weight | {"DEPTH": depth}),
            (f"Triton attention {label}, heads of 64", triton.attention, 4, 3, head),
            (f"Triton dq {label}, heads of 64", triton.attention_query_gradient, 4, 2, staying_queries),
            (f"Triton dk, dv {label}, heads of 64", triton.attention_key_gradients, 4, 2, staying_keys),
        ]
        if precision != "tf32x3":  # wider heads, in blocks of few registers
            made += [(f"Triton attention {label}, heads of {width}", triton.attention, 8, 2, head | {"WIDTH": width, "KEYS": keys})
                     for width, keys in [(128, 64), (256, 32)]]  # fmt: skip
            for gradient, kernel, blocks in [("dk, dv", triton.attention_key_gradients, key_blocks),
                                             ("dq", triton.attention_query_gradient, query_blocks)]:  # fmt: skip
                made += [(f"Triton {gradient} {label}, heads of {width}, {queries} queries x {keys} keys", kernel, warps, stages,
                          {"WIDTH": width, "QUERIES": queries, "KEYS": keys})
                         for width, queries, keys, warps, stages in blocks]  # fmt: skip
        for name, kernel, warps, stages, constants in made:
            file = triton.compiled(kernel, element, architecture, warps, stages, PRECISION=precision, **constants)
            rows += [row(k, name) for k in sass.kernels(file, f"sm_{architecture}")]
    return rows


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--build", type=Path, default=Path("build/cuda"), help="where ./run build cuda built")
    given = arguments.parse_args()
    if not sass.find_tool("cuobjdump"):
        print("machine_code: cuobjdump is not here (CUDA toolkit, or Triton): the machine code is not looked at")
        return
    found, names = [], ""
    print(header())
    for architecture in ("sm_80", "sm_90a"):
        all_kernels = ours(given.build, architecture)
        for kernel in all_kernels:
            if kernel.main_loop():
                print(row(kernel, kernel.name))
            found += faults(kernel)
            names += kernel.name + "\n"
    found += [f"there is no kernel like {pattern}" for pattern in WIDE if not re.search(pattern, names)]
    # On sm_90 Triton takes Hopper's wgmma, which ours do not yet: a table of mma.sync compares on sm_80.
    print("\n".join(triton_rows(80)))
    for fault in found:
        print("machine_code:", fault, file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()

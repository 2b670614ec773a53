"""The machine code of our default CUDA kernels, beside what Triton makes of the same operations. No GPU is needed.

    ./run build cuda && python bench/machine_code.py [--build build/cuda | --search]

For the kernels on tensor cores: registers and the instructions of a pass through the main loop (sass.py). Fails where one
of them keeps more than four registers on the stack, or where a kernel that should read or copy 16 bytes at once does not.
(Spilled registers are an error of the build already.) With Triton installed (it comes with PyTorch), its kernels follow, in
their best blocks (triton_blocks.py), of which --search finds others.

The last column counts needed tensor-core instructions only: in some blocks Triton's warps repeat products of other warps.
Ours repeat none; the few of query_gradient_kernel that sum rows of dS count as needed.
"""

import argparse
import re
import sys
from pathlib import Path

import sass

WIDE = {  # kernel: what moves 16 bytes at once in it
    r"conv2d_mma_kernel<.*Fetch\)0>": ("LDGSTS.E.128", "LDGSTS.E.BYPASS.128", "LDSM.16.M88.4", "STG.E.128"),
    r"conv2d_mma_kernel<.*Fetch\)1>": ("LDGSTS.E.BYPASS.128", "LDSM.16.M88.4", "STG.E.128"),
    r"conv2d_weight_mma_kernel<": ("LDGSTS.E.BYPASS.128", "LDS.64"),
    r"conv2d_weight_mma_kernel<Bf16": ("LDSM.16.MT88.4",),
    r"conv2d_weight_mma_kernel<(F32|Tf32)": ("LDS.128", "STG.E.128"),
    r"flash::\w+<flash::Blocking<Bf16": ("LDGSTS.E.BYPASS.128", "LDSM.16.M88.4", "LDSM.16.MT88.4", "STG.E.128"),
    r"flash::\w+<flash::Blocking<(F32|Tf32)": ("LDGSTS.E.BYPASS.128", "LDSM.16.M88.4", "STG.E.128"),
    r"flash::\w+<flash::Blocking<(F32, (32|64|128|256)|Bf16)|key_gradients_kernel<": ("LDS.128",),
    r"flash::\w+<flash::Blocking<Tf32, (32|64|128|256)": ("LDS.64", "LDS.128", "STS.128"),
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


def row(kernel: sass.Kernel, name: str, needed: float | None = None) -> str:
    loop = kernel.main_loop()
    counts = [sum(group(i) == g for i in loop) for g in GROUPS]
    shares = [f"{count / len(loop):.3f}" if loop else "-" for count in (counts[0], needed or counts[0])]
    cells = [name, kernel.architecture, kernel.registers, kernel.stack, len(loop), *counts, *shares]
    return "| " + " | ".join(map(str, cells)) + " |"


def header() -> str:
    shares = ["tensor core / all", "needed / all"]
    columns = ["kernel", "for", "registers", "bytes of stack", "main loop", *GROUPS, *shares]
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


def triton_rows() -> list[str]:
    try:
        import triton_blocks as triton
    except ImportError:
        return []
    rows = []
    for (operation, precision, size), block in triton.BEST.items():
        kernel, _ = triton.compiled(operation, precision, size, block)
        name = f"Triton {triton.described(operation, precision, size, block)}"
        rows.append(row(kernel, name, triton.needed(operation, precision, size, block)))
    return rows


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--build", type=Path, default=Path("build/cuda"), help="where ./run build cuda built")
    arguments.add_argument("--search", action="store_true", help="look for Triton's best blocks instead (40 minutes)")
    given = arguments.parse_args()
    if not sass.find_tool("cuobjdump"):
        print("machine_code: cuobjdump is not here (CUDA toolkit, or Triton): the machine code is not looked at")
        return
    if given.search:
        import triton_blocks

        triton_blocks.search()
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
    print("\n".join(triton_rows()))
    for fault in found:
        print("machine_code:", fault, file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()

"""Plants bugs into the CUDA kernels, one at a time, and shows that the tests or the emulator's checker find each.

    python tests/planted_bugs.py [NAME ...]     # all, or those whose name contains one of these

Works on a copy of the sources in build/planted/. First everything must pass as it is; then, for every bug, the tests
that concern it must fail, and what they print must name the kernel it is in. Exits with 1 if one was not found.
"""

import argparse
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "build" / "planted" / "source"
BUILD = ROOT / "build" / "planted" / "build"
FIRST_LINES = 200  # of a report, that are searched for the kernel's name
MINUTES = 10  # for the tests of one bug


@dataclasses.dataclass
class Bug:
    name: str
    file: str  # in kernels/cuda/
    right: str  # stands once in the file
    wrong: str
    tests: str  # Catch2's selection
    kernel: str  # what the report must name
    check: bool = False  # by STIPPLE_EMULATOR=check, where the numbers may well be right


CONV2D = "conv2d on tensor cores cuts large problems*"
FLASH = "flash attention takes heads of every width*"
ALL = "every CUDA kernel gives what its CPU twin gives"
REQUESTS = "the default rungs fetch whole sectors*"

BUGS = [
    Bug("missing barrier before a sum is read", "reduce.h",
        "sums.of[threadIdx.x / 32] = x;\n  __syncthreads();", "sums.of[threadIdx.x / 32] = x;",
        ALL, "sum_kernel"),
    Bug("race in a reduction: no barrier before the next sum", "reduce.h",
        "  __syncthreads();  // so that the next call may write\n", "",
        "group_norm's rungs*", "group_norm_(kernel|backward_kernel|parameters_kernel)", check=True),
    Bug("missing wait: a stage is multiplied before it has come", "conv2d/mma.cu",
        "ptx::cp_async_wait<kStages - 2>();", "ptx::cp_async_wait<kStages - 1>();",
        CONV2D, "conv2d_mma_kernel"),
    Bug("missing barrier in a pipeline", "conv2d/mma.cu",
        "    __syncthreads();  // stage i has come", "    // stage i has come",
        CONV2D, "conv2d_mma_kernel", check=True),
    Bug("off by one in the halo", "conv2d/stage_fetcher.h",
        "static_cast<unsigned>(h + r) < static_cast<unsigned>(g.h)",
        "static_cast<unsigned>(h + r) <= static_cast<unsigned>(g.h)",
        CONV2D, "conv2d_mma_kernel"),
    Bug("swapped strides of rows and columns", "conv2d/mma.cu",
        "int64_t{g.stride} * g.w * g.c, int64_t{g.stride} * g.c}",
        "int64_t{g.stride} * g.c, int64_t{g.stride} * g.w * g.c}",
        CONV2D, "conv2d_mma_kernel"),
    Bug("unguarded tail", "activation.cu",
        "if (i < n) y[i] = value<kKind>(x[i]);", "y[i] = value<kKind>(x[i]);",
        ALL, "activation_kernel", check=True),
    Bug("wrong swizzle: right numbers, conflicts of banks", "conv2d/stage_fetcher.h",
        "((chunk ^ (row / 2)) % kChunks)", "chunk",
        REQUESTS, "conv2d_mma_kernel"),
    Bug("wrong swizzle on one side", "conv2d/mma.cu",
        "right_(ptx::kept(chunk_offset(Tile::column() + lane() / 16 * 8 + lane() % 8, lane() / 8 % 2)))",
        "right_(ptx::kept(chunk_offset(Tile::column() + lane() / 16 * 8 + lane() % 8, lane() / 8 % 2) ^ kChunk))",
        CONV2D, "conv2d_mma_kernel"),
    Bug("stale buffer in the pipeline", "conv2d/mma_weight.cu",
        "multiply<Precision>(sums, read, ring[i % Ring::kStages]);",
        "multiply<Precision>(sums, read, ring[(i + 1) % Ring::kStages]);",
        CONV2D, "conv2d_weight_mma_kernel"),
    Bug("missing barrier: windows of pixels are read before they are found", "conv2d/mma_weight.cu",
        "  windows.find(0);\n  __syncthreads();\n", "  windows.find(0);\n",
        CONV2D, "conv2d_weight_mma_kernel", check=True),
    Bug("windows of a later stage's pixels", "conv2d/mma_weight.cu",
        "pixel_ = (pixel_ + kPixels) % Windows::kCount;", "pixel_ = (pixel_ + kPixels) % (Windows::kCount / 2);",
        CONV2D, "conv2d_weight_mma_kernel"),
    Bug("one partial sum left out", "partial_sums.h",
        "i < n && p < count;", "i < n && p + 1 < count;",
        CONV2D, "add_partials_of_few_kernel"),
    Bug("sums not rescaled when a larger score comes", "attention/flash.cu",
        "      if (grown) multiply(sums[strip], RowFactors<kTransposed<Rows>>(factor));\n", "",
        FLASH, "attention_kernel"),
    Bug("keys that are not there are not hidden", "attention/flash.cu",
        "    hide_missing(scores, problem.keys - i * kTile);\n", "",
        FLASH, "attention_kernel"),
    Bug("missing barrier: a stage is overwritten while it is read", "attention/flash.h",
        "    __syncthreads();  // the first tile has come, and everybody is done with the stage before\n", "",
        FLASH, "attention_kernel", check=True),
    Bug("missing barrier: keys are fetched where others still read some", "attention/flash.h",
        "      __syncthreads();  // the second has come, and everybody is done with first(i)\n", "",
        FLASH, "(attention|query_gradient)_kernel", check=True),
    Bug("missing barrier: queries are fetched where others still read some", "attention/flash.h",
        "      __syncthreads();  // everybody is done with the first tile\n", "",
        FLASH, "gradients?_kernel", check=True),
    Bug("missing barrier: a warp multiplies what its neighbour has not handed over yet",
        "attention/flash_key_gradients.cu",
        "    ptx::named_barrier(1 + threadIdx.x / 64, 64);\n", "",
        FLASH, "key_gradients_kernel", check=True),
    Bug("missing barrier: a warp takes sums that its neighbour has not put yet", "attention/flash_backward.h",
        "    meet();\n    if (!Blocking", "    if (!Blocking",
        FLASH, "gradients?_kernel", check=True),
    Bug("moments joined without the distance of their means", "group_norm/two_pass.cu",
        "each * chunk_squares[index(c)] + part(c) * d * d", "each * chunk_squares[index(c)]",
        "group_norm*", "join_moments_kernel"),
    Bug("the rows behind the last pixel are stored, too", "conv2d/mma.cu",
        "r < kSumsRows && row + r < g.pixels(); r", "r < kSumsRows; r",
        CONV2D, "conv2d_mma_kernel", check=True),
    Bug("copies from outside are not filled with zeros", "attention/tile.h",
        "i * kApart < tokens_ ? kChunkBytes : 0", "kChunkBytes",
        FLASH, "attention_kernel"),
    Bug("a barrier that some threads do not reach", "product/tiled.h",
        "    __syncthreads();\n    multiply", "    if (my_row + row < problem.rows()) __syncthreads();\n    multiply",
        "conv2d's first two rungs*", "product_tiled_kernel"),
]


def copy_sources() -> None:
    """Files that are as before keep their times, so that they are not built again."""
    tops = [top for top in ROOT.iterdir() if not top.name.startswith(".") and top.name not in ("build", "out", "data")]
    files = [path for top in tops for path in ([top] if top.is_file() else top.rglob("*")) if path.is_file()]
    wanted = {str(path.relative_to(ROOT)) for path in files}
    for name in wanted:
        source, target = ROOT / name, COPY / name
        if target.exists() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    for target in [path for path in COPY.rglob("*") if path.is_file()]:
        if str(target.relative_to(COPY)) not in wanted:
            target.unlink()


def build() -> None:
    if not (BUILD / "build.ninja").exists():
        subprocess.run(["cmake", "-S", COPY, "-B", BUILD, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                        "-DSTIPPLE_CUDA=emulated"], check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run(["cmake", "--build", BUILD, "--target", "stipple_tests"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"planted_bugs: the build failed:\n{done.stdout[-4000:]}{done.stderr}")


def run_tests(selection: str, check: bool) -> tuple[bool, str]:
    """Whether they passed, and what they printed."""
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
    if check:
        environment |= {"STIPPLE_EMULATOR": "check", "STIPPLE_ALLOCATOR": "system"}
    done = subprocess.run([BUILD / "stipple_tests", selection], env=environment, capture_output=True, text=True,
                          timeout=60 * MINUTES)
    return done.returncode == 0, done.stdout + done.stderr


def naming_line(report: str, kernel: str) -> str:
    lines = [line.strip() for line in report.split("\n")[:FIRST_LINES] if not line.startswith("Filters:")]
    return next((line for line in lines if re.search(kernel, line)), "")


def found(bug: Bug) -> bool:
    """Plants the bug, runs its tests, and prints what they say."""
    file = COPY / "kernels" / "cuda" / bug.file
    text = file.read_text()
    if text.count(bug.right) != 1:
        sys.exit(f"planted_bugs: {bug.name}: {bug.file} holds {text.count(bug.right)} times, not once:\n{bug.right}")
    began = time.monotonic()
    try:
        file.write_text(text.replace(bug.right, bug.wrong))
        build()
        passed, report = run_tests(bug.tests, bug.check)
    finally:
        file.write_text(text)
    line = naming_line(report, bug.kernel)
    caught = not passed and bool(line)
    by = "check" if bug.check else "test"
    verdict = f"found ({by})" if caught else "NOT FOUND" if passed else f"found, but {bug.kernel} is not named"
    print(f"{verdict:14} {time.monotonic() - began:4.0f} s  {bug.name} (kernels/cuda/{bug.file})", flush=True)
    print(f"    {line[:200]}" if caught else report[-2000:], flush=True)
    return caught


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only bugs whose name contains one of these")
    names = parser.parse_args().names
    bugs = [bug for bug in BUGS if not names or any(name in bug.name for name in names)]
    if not bugs:
        sys.exit(f"planted_bugs: no bug is called {' or '.join(names)}; there are: {', '.join(b.name for b in BUGS)}")
    print("planted_bugs: building a copy in build/planted", flush=True)
    copy_sources()
    build()
    for selection, check in dict.fromkeys((bug.tests, bug.check) for bug in bugs):
        passed, report = run_tests(selection, check)
        if not passed:
            sys.exit(f"planted_bugs: {selection} fails with no bug planted:\n{report[-4000:]}")
    missed = [bug.name for bug in bugs if not found(bug)]
    print(f"planted_bugs: {len(bugs) - len(missed)} of {len(bugs)} found")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()

"""The blocks in which Triton's kernels (triton_kernels.py) do best on sm_80, and the search that finds them.

Best is the largest share of tensor-core instructions that are needed: a loop's products are so many multiply-adds, and
what its warps issue beyond those repeats products that other warps have made as well (scores, where a block has more
warps than strips of 16 queries).
"""

import itertools
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import sass
import triton_kernels as kernels

ARCHITECTURE = 80  # on sm_90 Triton takes Hopper's wgmma, which ours do not yet
SHARED_MEMORY = 163 << 10  # bytes, the most of a block there
FEWEST, MOST = 16, 384  # needed instructions of loops worth a try: fewer are outweighed by the others, more spill


@dataclass(frozen=True)
class Operation:
    kernel: object
    constants: dict[str, int]
    size: str  # what is given; the axes are to be chosen
    sizes: tuple[int, ...]
    axes: tuple[str, str]
    products: int  # in a pass of the loop, each of size x axes multiply-adds


WIDTHS = (16, 32, 64, 128, 256)
OPERATIONS = {
    "conv2d": Operation(kernels.conv2d, {"R": 3, "S": 3}, "FILTERS", (32, 64, 128), ("PIXELS", "DEPTH"), 1),
    "conv2d 1x1": Operation(kernels.conv2d, {"R": 1, "S": 1}, "FILTERS", (128,), ("PIXELS", "DEPTH"), 1),
    "conv2d_weight": Operation(kernels.conv2d_weight, {"R": 3, "S": 3}, "FILTERS", (64, 128), ("WINDOW", "DEPTH"), 1),
    "attention": Operation(kernels.attention, {}, "WIDTH", WIDTHS, ("QUERIES", "KEYS"), 2),
    "dq": Operation(kernels.attention_query_gradient, {}, "WIDTH", WIDTHS, ("QUERIES", "KEYS"), 3),
    "dk, dv": Operation(kernels.attention_key_gradients, {}, "WIDTH", WIDTHS, ("QUERIES", "KEYS"), 4),
}
PRECISIONS = {  # element, Triton's name for it, multiply-adds of a tensor-core instruction, instructions for a product
    "bf16": ("bf16", "tf32", 2048, 1),  # no f32 is multiplied there
    "tf32": ("fp32", "tf32", 1024, 1),
    "tf32 rounded": ("fp32", "tf32", 1024, 1),  # to nearest, as ours are
    "tf32x3": ("fp32", "tf32x3", 1024, 3),
}


@dataclass(frozen=True)
class Block:
    axes: tuple[int, int]
    warps: int
    stages: int
    anew: bool = False  # attention's places are worked out in every pass: fewer registers


BEST = {  # what search() printed, or looking found better; where there is one stage, nothing is fetched ahead
    ("conv2d", "bf16", 32): Block((256, 64), 4, 2),
    ("conv2d", "bf16", 64): Block((256, 32), 4, 2),
    ("conv2d", "bf16", 128): Block((128, 64), 4, 2),
    ("conv2d 1x1", "bf16", 128): Block((256, 32), 8, 1),
    ("conv2d_weight", "bf16", 64): Block((256, 32), 4, 1),
    ("conv2d_weight", "bf16", 128): Block((256, 64), 8, 2),
    ("attention", "bf16", 16): Block((128, 128), 4, 2),
    ("attention", "bf16", 32): Block((128, 128), 8, 2),
    ("attention", "bf16", 64): Block((128, 128), 8, 2),
    ("attention", "bf16", 128): Block((128, 64), 8, 2, anew=True),
    ("attention", "bf16", 256): Block((32, 128), 8, 2),
    ("dq", "bf16", 16): Block((64, 128), 2, 2),
    ("dq", "bf16", 32): Block((128, 128), 8, 2),
    ("dq", "bf16", 64): Block((128, 64), 8, 2),
    ("dq", "bf16", 128): Block((128, 32), 8, 2),
    ("dq", "bf16", 256): Block((64, 64), 8, 2),
    ("dk, dv", "bf16", 16): Block((64, 128), 2, 2),
    ("dk, dv", "bf16", 32): Block((32, 128), 4, 2),
    ("dk, dv", "bf16", 64): Block((64, 128), 8, 2),
    ("dk, dv", "bf16", 128): Block((128, 64), 8, 2),
    ("dk, dv", "bf16", 256): Block((64, 32), 8, 2),
    ("conv2d", "tf32", 32): Block((256, 32), 4, 2),
    ("conv2d", "tf32", 64): Block((256, 16), 4, 2),
    ("conv2d", "tf32", 128): Block((256, 16), 8, 2),
    ("conv2d 1x1", "tf32", 128): Block((256, 16), 8, 1),
    ("conv2d_weight", "tf32", 64): Block((256, 16), 4, 1),
    ("conv2d_weight", "tf32", 128): Block((256, 32), 8, 1),
    ("attention", "tf32", 16): Block((128, 128), 4, 2, anew=True),
    ("attention", "tf32", 32): Block((128, 64), 4, 2),
    ("attention", "tf32", 64): Block((128, 128), 8, 2),
    ("attention", "tf32", 128): Block((32, 128), 4, 2, anew=True),
    ("attention", "tf32", 256): Block((16, 64), 4, 2),
    ("dq", "tf32", 16): Block((128, 32), 2, 1),
    ("dq", "tf32", 32): Block((128, 64), 4, 2),
    ("dq", "tf32", 64): Block((32, 32), 2, 2),
    ("dq", "tf32", 128): Block((64, 64), 8, 1, anew=True),
    ("dq", "tf32", 256): Block((32, 32), 4, 2, anew=True),
    ("dk, dv", "tf32", 16): Block((16, 128), 2, 2),
    ("dk, dv", "tf32", 32): Block((32, 64), 2, 2),
    ("dk, dv", "tf32", 64): Block((32, 32), 2, 2),
    ("dk, dv", "tf32", 128): Block((64, 64), 8, 1),
    ("dk, dv", "tf32", 256): Block((32, 16), 8, 2),
    ("conv2d", "tf32 rounded", 32): Block((256, 32), 4, 2),
    ("conv2d", "tf32 rounded", 64): Block((256, 16), 4, 2),
    ("conv2d", "tf32 rounded", 128): Block((256, 16), 8, 2),
    ("conv2d 1x1", "tf32 rounded", 128): Block((256, 32), 8, 2),
    ("conv2d_weight", "tf32 rounded", 64): Block((256, 16), 4, 1),
    ("conv2d_weight", "tf32 rounded", 128): Block((256, 32), 8, 2),
    ("attention", "tf32 rounded", 16): Block((128, 128), 4, 2, anew=True),
    ("attention", "tf32 rounded", 32): Block((128, 64), 4, 2),
    ("attention", "tf32 rounded", 64): Block((32, 128), 4, 2),
    ("attention", "tf32 rounded", 128): Block((32, 64), 4, 2),
    ("attention", "tf32 rounded", 256): Block((16, 32), 4, 2),
    ("dq", "tf32 rounded", 16): Block((128, 16), 2, 2),
    ("dq", "tf32 rounded", 32): Block((128, 32), 4, 1),
    ("dq", "tf32 rounded", 64): Block((32, 64), 4, 2),
    ("dq", "tf32 rounded", 128): Block((64, 64), 8, 1, anew=True),
    ("dq", "tf32 rounded", 256): Block((16, 64), 8, 2),
    ("dk, dv", "tf32 rounded", 16): Block((16, 128), 2, 2),
    ("dk, dv", "tf32 rounded", 32): Block((16, 128), 4, 2),
    ("dk, dv", "tf32 rounded", 64): Block((64, 32), 4, 2),
    ("dk, dv", "tf32 rounded", 128): Block((64, 32), 8, 2),
    ("dk, dv", "tf32 rounded", 256): Block((16, 16), 8, 2),
    ("conv2d", "tf32x3", 64): Block((256, 16), 8, 2),
    ("conv2d_weight", "tf32x3", 64): Block((256, 16), 8, 1),
    ("attention", "tf32x3", 64): Block((32, 64), 4, 2),
    ("dq", "tf32x3", 64): Block((32, 32), 4, 2),
    ("dk, dv", "tf32x3", 64): Block((64, 32), 8, 2),
}


def described(operation: str, precision: str, size: int, block: Block) -> str:
    sizes = f"{size} filters" if OPERATIONS[operation].size == "FILTERS" else f"heads of {size}"
    axes = " x ".join(f"{n} {axis.lower()}" for n, axis in zip(block.axes, OPERATIONS[operation].axes))
    stages = f"{block.stages} stage{'s' * (block.stages > 1)}"
    return f"{operation} {precision}, {sizes}: {axes}, {block.warps} warps, {stages}{', places anew' * block.anew}"


def needed(operation: str, precision: str, size: int, block: Block) -> float:
    """Tensor-core instructions of a warp in a pass of the loop, if none repeats what another warp does."""
    _, _, multiply_adds, instructions = PRECISIONS[precision]
    products = OPERATIONS[operation].products * size * block.axes[0] * block.axes[1]
    return products / multiply_adds * instructions / block.warps


def compiled(operation: str, precision: str, size: int, block: Block) -> tuple[sass.Kernel, int]:
    """The kernel, and a block's bytes of shared memory."""
    o, (element, named, _, _) = OPERATIONS[operation], PRECISIONS[precision]
    constants = o.constants | {o.size: size} | dict(zip(o.axes, block.axes))
    if "ANEW" in o.kernel.arg_names:
        constants["ANEW"] = block.anew
    constants |= {"PRECISION": named, "ROUND": "rounded" in precision}
    code, shared = kernels.compiled(o.kernel, element, ARCHITECTURE, block.warps, block.stages, **constants)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        return sass.kernels(Path(file.name), f"sm_{ARCHITECTURE}")[0], shared


def share(kernel: sass.Kernel, needed: float) -> float:
    loop = kernel.main_loop()
    issued = sass.tensor_core(loop)
    if issued < needed:
        raise SystemExit(f"triton_blocks: {kernel.name} has {issued} tensor-core instructions and needs {needed}")
    return needed / len(loop)


def candidates(operation: str, precision: str, size: int) -> list[Block]:
    """Small ones first."""
    axes = [(16, 32, 64, 128)] * 2
    if OPERATIONS[operation].size == "FILTERS":
        axes = [(64, 128, 256), (32, 64) if precision == "bf16" else (16, 32)]
    blocks = [Block(chosen, warps, 2) for chosen in itertools.product(*axes) for warps in (2, 4, 8)]
    blocks = [b for b in blocks if FEWEST <= needed(operation, precision, size, b) <= MOST]
    return sorted(blocks, key=lambda b: b.axes[0] * b.axes[1])


def best(operation: str, precision: str, size: int) -> tuple[float, Block]:
    """The largest share of needed instructions, and its block, of those that keep nothing on the stack."""
    shares: dict[Block, float] = {}
    stacks: dict[Block, int] = {}

    def look(block: Block) -> None:
        kernel, shared = compiled(operation, precision, size, block)
        if shared <= SHARED_MEMORY:
            shares[block], stacks[block] = share(kernel, needed(operation, precision, size, block)), kernel.stack

    def found() -> Block:
        return max(shares, key=lambda block: shares[block] if not stacks[block] else 0)

    def spills(block: Block) -> bool:  # what contains a block that spills much does as well
        return any(
            stack > 64 and block.warps == b.warps and all(map(int.__ge__, block.axes, b.axes))
            for b, stack in stacks.items()
        )

    for block in candidates(operation, precision, size):
        if not spills(block):
            look(block)
    if "ANEW" in OPERATIONS[operation].kernel.arg_names:
        for block in [b for b in shares if shares[b] > shares[found()] and stacks[b] <= 256]:
            look(replace(block, anew=True))
    for stages in (1, 3):
        look(replace(found(), stages=stages))
    return shares[found()], found()


def search() -> None:
    """Prints what BEST should hold. Of tf32x3, which takes long to compile, one size."""
    for precision, (operation, o) in itertools.product(PRECISIONS, OPERATIONS.items()):
        for size in o.sizes:
            if precision != "tf32x3" or size == 64:
                share, b = best(operation, precision, size)
                block = f"Block({b.axes}, {b.warps}, {b.stages}{', anew=True' * b.anew})"
                print(f'    ("{operation}", "{precision}", {size}): {block},  # {share:.3f}', flush=True)

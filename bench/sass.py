"""What is in compiled kernels: resources, and the instructions of their main loops.

Needs cuobjdump and nvdisasm: from the CUDA toolkit, or those that Triton brings along.
"""

import collections
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Kernel:
    name: str  # demangled, without arguments
    architecture: str  # "sm_80"
    registers: int
    stack: int  # bytes of local memory a thread; with spills more than 0
    instructions: list[str]

    def main_loop(self) -> list[str]:
        """The loop that holds most of the tensor-core instructions; of several, the smallest. Empty without any. Left out
        is what a branch skips that neither multiplies on tensor cores nor reads memory: the care for a last tile's missing
        elements, and attention's rescaling of its sums, which is rare after the first tile."""
        best, where = [], range(0)
        for first, last in self.loops():
            body = self.instructions[first : last + 1]
            if tensor_core(body) and (tensor_core(body), -len(body)) > (tensor_core(best), -len(best)):
                best, where = body, range(first, last + 1)
        skipped: set[int] = set()
        for at in where:
            to = branch_target(self.instructions[at])
            if to in where and at < to and not any(map(is_essential, self.instructions[at + 1 : to])):
                skipped.update(range(at + 1, to))
        return [self.instructions[at] for at in where if at not in skipped]

    def loops(self) -> list[tuple[int, int]]:
        loops = []
        for at, instruction in enumerate(self.instructions):
            to = branch_target(instruction)
            if to is not None and to <= at:
                loops.append((to, at))
        return loops


def branch_target(instruction: str) -> int | None:
    """The number of the instruction that a branch leads to."""
    target = re.search(r"\bBRA\b.*\bto:(\d+)", instruction)
    return int(target[1]) if target else None


def is_essential(instruction: str) -> bool:
    name = opcode(instruction)  # LDC reads a constant
    return name.startswith(("HMMA", "HGMMA", "IMMA", "LD", "ST", "BAR")) and not name.startswith("LDC")


def opcode(instruction: str) -> str:
    return re.sub(r"^@!?U?P\w+\s+", "", instruction).split()[0]


def mix(instructions: list[str]) -> collections.Counter:
    return collections.Counter(opcode(i).split(".")[0] for i in instructions)


def tensor_core(instructions: list[str]) -> int:
    return sum(opcode(i).startswith(("HMMA", "HGMMA", "IMMA")) for i in instructions)


def find_tool(name: str) -> str | None:
    places = [Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin"]
    try:
        import triton.backends.nvidia as nvidia

        places.append(Path(nvidia.__file__).parent / "bin")
    except ImportError:
        pass
    return shutil.which(name) or next((str(p / name) for p in places if (p / name).exists()), None)


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def resources(file: Path, architecture: str) -> dict[str, tuple[int, int]]:
    """Registers and bytes of stack by mangled name."""
    text = run(find_tool("cuobjdump"), "--dump-resource-usage", "--gpu-architecture", architecture, str(file))
    found = re.findall(r"Function (\S+):\s+REG:(\d+) STACK:(\d+)", text)
    return {name: (int(registers), int(stack)) for name, registers, stack in found}


def numbered(listing: str) -> list[str]:
    """A function's instructions, its branches ending in "to:N", the number of the instruction they lead to."""
    lines = re.findall(r"^\s*(?:(\.L_\w+):|/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;)", listing, re.MULTILINE)
    instructions, places = [], {}
    for label, address, text in lines:
        if label:
            places[label] = len(instructions)
        else:
            places[int(address, 16)] = len(instructions)
            instructions.append(text)

    def target(text: str) -> int | None:
        label, address = re.search(r"`\((\.L_\w+)\)", text), re.search(r"\b0x([0-9a-f]+)\s*$", text)
        return places.get(label[1] if label else int(address[1], 16) if address else None)
    return [f"{i} to:{target(i)}" if opcode(i) == "BRA" and target(i) is not None else i for i in instructions]


def short_name(mangled: str) -> str:
    name = run("c++filt", mangled).strip()
    name = re.sub(r"\(anonymous namespace\)::|stipple::(cuda::)?|__nv_|^void ", "", name)
    depth = 0
    for at, c in enumerate(name):
        depth += (c == "<") - (c == ">")
        if c == "(" and depth == 0:
            return name[:at]
    return name


def kernels(file: Path, architecture: str) -> list[Kernel]:
    """All kernels for an architecture in an object file or cubin."""
    used = resources(file, architecture)
    text = run(find_tool("cuobjdump"), "--dump-sass", "--gpu-architecture", architecture, str(file))
    found = []
    for part in re.split(r"\n\s*Function : ", text)[1:]:
        mangled = part.split("\n", 1)[0].strip()
        found.append(Kernel(short_name(mangled), architecture, *used[mangled], numbered(part)))
    return found

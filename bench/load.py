"""Loading the 256-pixel network (113,673,219 parameters) and drawing one picture in 4 DDIM steps, beside diffusers.

    python bench/load.py [FOLDER] [--rounds 3] [--threads N] [--stipple build/release/stipple]

FOLDER is made, with random weights, where it is not there. Prints a Markdown table of medians. stipple's figures are of
the whole process, from its start; diffusers' count from from_pretrained on, without its imports, but for one row, which
says what a user of either waits.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OPPONENT = Path(__file__).resolve().parent / "pytorch" / "load.py"
STEPS = 4
ROWS = {
    "load": "load, s",
    "first_step": "to the end of the first step, s",
    "waited": "the same, imports included, s",
    "total": "all, s",
    "memory": "memory, MiB",
}


def most_memory(process: subprocess.Popen) -> float:
    """MiB, once it has ended."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"load: {process.args[0]} ended with {process.returncode}")
    return used.ru_maxrss / 1024


def stipple(command: str, folder: Path, threads: int) -> dict[str, float]:
    began = time.perf_counter()
    most_memory(subprocess.Popen([command, "info", "--model", folder], stdout=subprocess.DEVNULL))
    loaded, began = time.perf_counter() - began, time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        flags = ["--sampler", "ddim", "--steps", str(STEPS), "--count", "1", "--threads", str(threads)]
        arguments = [command, "sample", "--model", folder, "--out", f"{out}/picture.png", *flags]
        process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        process.stderr.readline()  # "sampling 1/4"
        first_step = time.perf_counter() - began
        process.stderr.read()
        memory = most_memory(process)
    total = time.perf_counter() - began
    return {"load": loaded, "first_step": first_step, "waited": first_step, "total": total, "memory": memory}


def diffusers(folder: Path, threads: int) -> dict[str, float]:
    arguments = [sys.executable, OPPONENT, folder, str(STEPS), str(threads)]
    began = time.monotonic()
    measured = json.loads(subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return measured | {"waited": measured["first_step_at"] - began}


def median(measured: list[dict[str, float]]) -> dict[str, float]:
    return {row: statistics.median(each[row] for each in measured) for row in ROWS}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("out/random-256"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--stipple", default="build/release/stipple")
    given = parser.parse_args()
    if not given.folder.exists():
        subprocess.run([sys.executable, OPPONENT, "--make", given.folder], check=True)
    ours, theirs = [], []
    for _ in range(given.rounds):
        ours.append(stipple(given.stipple, given.folder, given.threads))
        theirs.append(diffusers(given.folder, given.threads))
    ours_median, theirs_median = median(ours), median(theirs)
    print(f"| {given.threads} threads | stipple | diffusers | ratio |\n|---|---|---|---|")
    for row, shown in ROWS.items():
        a, b = ours_median[row], theirs_median[row]
        print(f"| {shown} | {a:.2f} | {b:.2f} | {a / b:.2f} |")

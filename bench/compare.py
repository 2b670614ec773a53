"""Ours against PyTorch, request by request in turn (bench/PROTOCOL.md), as Markdown tables.

    python bench/compare.py [kernels] [networks] [--rounds 5] [--threads N] [--ours COMMAND] [--only TEXT]

A round asks each process once; the tables show medians over the rounds and ratio = ours / PyTorch's fastest: below 1 we
win. Kernels are shown against the faster of PyTorch's two layouts. Processes run in the root of the repository.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parent
LAYOUTS = ("channels_last", "contiguous")
MODES = ("eager", "channels_last", "compile")
REST = 0.02  # seconds: idle OpenMP threads of the process asked before stop spinning


class Opponent:
    """A process that answers the line protocol."""

    def __init__(self, command: list[str], name: str, fields: dict | None = None):
        self.name, self.fields = name, fields or {}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=BENCH.parent
        )

    def ask(self, request: dict) -> dict:
        time.sleep(REST)
        self.process.stdin.write(json.dumps(request | self.fields) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"compare: {self.name} ended with {self.process.wait()} at {json.dumps(request)}")
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def measure(opponents: list[Opponent], request: dict, rounds: int, repeats: int) -> dict[str, dict]:
    """For each opponent its last answer, with the median over all rounds as seconds."""
    answers = {opponent.name: [] for opponent in opponents}
    for _ in range(rounds):
        for opponent in opponents:
            answers[opponent.name].append(opponent.ask(request | {"repeats": repeats}))
    return {name: median(each) for name, each in answers.items()}


def median(answers: list[dict]) -> dict:
    if "error" in answers[-1]:
        return answers[-1]
    return answers[-1] | {"seconds": statistics.median(answer["seconds"] for answer in answers)}


def shape(request: dict) -> str:
    shown = {name: value for name, value in request.items() if name not in ("op", "pass")}
    if "config" in shown:
        shown["config"] = Path(shown["config"]).stem
    return " ".join(f"{name} {value}" for name, value in shown.items())


def milliseconds(answer: dict) -> str:
    return f"{1e3 * answer['seconds']:.2f}" if "seconds" in answer else "-"


def rate(answer: dict) -> str:
    if "seconds" not in answer:
        return "-"
    if answer["flop"]:
        return f"{1e-9 * answer['flop'] / answer['seconds']:.0f} GFLOP/s"
    return f"{1e-9 * answer['bytes'] / answer['seconds']:.1f} GB/s"


def fastest(answers: list[dict]) -> dict:
    return min(answers, key=lambda answer: answer.get("seconds", float("inf")))


def ratio(mine: dict, theirs: dict) -> str:
    return f"{mine['seconds'] / theirs['seconds']:.2f}" if "seconds" in mine and "seconds" in theirs else "-"


def row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def header(*cells: str) -> None:
    row(*cells)
    row(*["---"] * len(cells))


def report_errors(request: dict, answers: dict[str, dict]) -> None:
    for name, answer in answers.items():
        if "error" in answer:
            print(f"compare: {name}: {shape(request)}: {answer['error']}", file=sys.stderr)


def kernels(requests: list[dict], arguments: argparse.Namespace) -> None:
    opponents = [Opponent(ours(arguments), "stipple")]
    opponents += [Opponent(pytorch("conv2d.py", arguments), layout, {"layout": layout}) for layout in LAYOUTS]
    header("operation", "pass", "shape", "stipple ms", "PyTorch ms", "stipple", "PyTorch", "ratio")
    for request in requests:
        answers = measure(opponents, request, arguments.rounds, 5)
        report_errors(request, answers)
        mine, theirs = answers.pop("stipple"), fastest(list(answers.values()))
        row(
            request["op"],
            request.get("pass", ""),
            shape(request),
            milliseconds(mine),
            milliseconds(theirs),
            rate(mine),
            rate(theirs),
            ratio(mine, theirs),
        )
    for opponent in opponents:
        opponent.close()


def networks(requests: list[dict], arguments: argparse.Namespace) -> None:
    header("operation", "network", *(f"{name} ms (peak GiB)" for name in ("stipple", *MODES)), "ratio")
    for request in requests:  # fresh processes each: the peak of memory is this network's
        opponents = [Opponent(ours(arguments), "stipple")]
        opponents += [Opponent(pytorch("mnist_step.py", arguments), mode, {"mode": mode}) for mode in MODES]
        answers = measure(opponents, request, arguments.rounds, 1)
        report_errors(request, answers)
        mine, *theirs = answers.values()
        cells = [f"{milliseconds(answer)} ({answer.get('peak_bytes', 0) / 2**30:.2f})" for answer in answers.values()]
        row(request["op"], shape(request), *cells, ratio(mine, fastest(theirs)))
        for opponent in opponents:
            opponent.close()


def ours(arguments: argparse.Namespace) -> list[str]:
    return [*shlex.split(arguments.ours), "--threads", str(arguments.threads)]


def pytorch(script: str, arguments: argparse.Namespace) -> list[str]:
    return [sys.executable, str(BENCH / "pytorch" / script), "--threads", str(arguments.threads)]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=["kernels", "networks"])
    parser.add_argument("--ours", default="build/release/stipple_bench --serve")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", default="", help="leave out requests that do not contain this text")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    workloads = json.loads((BENCH / "workloads.json").read_text())
    for name in arguments.sets:
        requests = [request for request in workloads[name] if arguments.only in json.dumps(request)]
        {"kernels": kernels, "networks": networks}[name](requests, arguments)
        print()


if __name__ == "__main__":
    main()

"""What `./run gpu` does once it has built: tests, compute-sanitizer, kernels, training steps; ends in one short table.

    python bench/gpu.py --build build/gpu [--log out/gpu.log] [--parts tests sanitizer kernels networks] [--seconds 300]
    python bench/gpu.py --table LOG       # prints the table of a log once more; needs no GPU
    python bench/gpu.py --model COMMAND   # asks an emulated stipple_bench for the model's times

Every answer goes to the log as a line of JSON, so that the table can be made again. A part that fails does not stop the
others; the exit status is 1 in the end. `seconds` is shared: what begins after that is left out, and the table says so.
"""

import argparse
import json
import os
import re
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import gpu_table

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
MODEL = BENCH / "results" / "model-times.json"
LADDERS = {"conv2d": "CONV2D", "group_norm_silu": "GROUP_NORM", "attention": "ATTENTION", "matmul": "MATMUL"}
MODES = ("eager", "channels_last", "compile")
MEASURED = ("kernels", "networks")
STEP = {
    "op": "training_step",
    "config": "tests/fixtures/networks/mnist.json",
    "batch": 1,
    "height": 8,
    "width": 8,
    "mode": "eager",
}
PYTHON_PATH = os.pathsep.join(filter(None, [str(ROOT / ".deps" / "python"), os.environ.get("PYTHONPATH")]))


def rungs(operation: str) -> list[str]:
    """All there are, as the sources of the kernels name them; a ladder's default is the last."""
    for source in sorted((ROOT / "kernels" / "cuda").glob("*.cu")):
        found = re.search(rf'rung\("{LADDERS.get(operation)}_CUDA", {{(.*?)}}', source.read_text())
        if found:
            return re.findall(r'"(\w+)"', found[1])
    return []


class Log:
    """Lines of JSON, and between them what programs print."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("w", buffering=1)
        self.records: list[dict] = []

    def record(self, part: str, **fields) -> None:
        self.records.append({"part": part, **fields})
        self.file.write(json.dumps(self.records[-1]) + "\n")

    def text(self, text: str) -> None:
        self.file.write("".join(f"# {line}\n" for line in text.splitlines()))


class Process:
    """An opponent of bench/PROTOCOL.md. Where it ends or hangs, it answers errors, and is not asked again."""

    def __init__(self, name: str, command: list[str], log: Log):
        self.name, self.failure = name, ""
        environment = os.environ | {"PYTHONPATH": PYTHON_PATH}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.file, cwd=ROOT, env=environment
        )

    def ask(self, request: dict, seconds: float) -> dict:
        if self.failure:
            return {"error": self.failure}
        try:
            self.process.stdin.write((json.dumps(request) + "\n").encode())
            self.process.stdin.flush()
            line = self.process.stdout.readline() if select.select([self.process.stdout], [], [], seconds)[0] else None
        except BrokenPipeError:
            line = b""
        if line:
            return json.loads(line)
        self.failure = f"{self.name}: gave no answer in {seconds:.0f} s" if line is None else f"{self.name}: ended"
        self.process.kill()
        return {"error": self.failure}

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Session:
    def __init__(self, arguments: argparse.Namespace):
        self.build, self.log = arguments.build, Log(arguments.log)
        self.end = time.monotonic() + arguments.seconds
        self.model = json.loads(MODEL.read_text()) if MODEL.exists() else {}
        workloads = json.loads(arguments.workloads.read_text())
        self.requests = {name: [r | {"device": "cuda"} for r in requests] for name, requests in workloads.items()}
        self.torch = self.find_torch()
        self.compiling: list[subprocess.Popen] = []

    def left(self) -> float:
        return self.end - time.monotonic()

    def find_torch(self) -> bool:
        code = "import torch; assert torch.cuda.is_available(), 'torch sees no GPU'; print(torch.__version__)"
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        self.log.text(ran.stderr)
        if ran.returncode == 0:
            self.log.record("machine", torch=ran.stdout.strip())
        return ran.returncode == 0

    def describe(self) -> None:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
        ran = subprocess.run(query, capture_output=True, text=True)
        self.log.record("machine", gpu=ran.stdout.splitlines()[0].strip() if ran.stdout else "unknown")

    def program(
        self, part: str, name: str, command: list[str], seconds: float, given: str = ""
    ) -> subprocess.CompletedProcess | None:
        """Runs it to its end; what it prints goes to the log. None where time is up, or the program is not there."""
        limit = min(seconds, self.left())
        if limit < 5:
            self.log.record(part, name=name, skipped="no time left")
            return None
        began = time.monotonic()
        try:
            ran = subprocess.run(
                command,
                input=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=ROOT,
                timeout=limit,
            )
        except subprocess.TimeoutExpired as late:
            self.log.text((late.stdout or b"").decode(errors="replace"))
            self.log.record(part, name=name, failed=f"not done in {limit:.0f} s")
            return None
        self.log.text(ran.stdout)
        self.log.text(f"{name}: {time.monotonic() - began:.1f} s")
        return ran

    def tests(self) -> None:
        ran = self.program(
            "tests",
            "all",
            [
                "ctest",
                "--test-dir",
                str(self.build),
                "--output-on-failure",
                "--timeout",
                "100",
                "-j",
                "8",
                "-R",
                "^cuda|^tensor$",
            ],
            150,
        )
        if ran is None:
            return
        summary = re.search(r"\d+% tests passed.*", ran.stdout)
        failed = re.findall(r"^\s+\d+ - (\S+) \((.*)\)", ran.stdout, re.MULTILINE)
        for name, how in failed:
            self.log.record("tests", name=name, failed=how)
        found = summary[0] if summary else "ctest ran no tests"
        if not failed and (ran.returncode or not summary):
            self.log.record("tests", name="all", failed=found)
        if not failed and ran.returncode == 0:
            self.log.record("tests", name="all", passed=found)

    def sanitizer(self) -> None:
        """A training step of a tiny network under each tool; the first thing a tool reports is what the table shows."""
        for tool in ("memcheck", "racecheck"):
            command = [
                "compute-sanitizer",
                "--tool",
                tool,
                "--error-exitcode",
                "9",
                str(self.build / "stipple_bench"),
                "--serve",
            ]
            step = json.dumps(STEP | {"device": "cuda", "repeats": 1}) + "\n"
            try:
                ran = self.program("sanitizer", tool, command, 90, step)
            except FileNotFoundError:
                self.log.record("sanitizer", name=tool, skipped="compute-sanitizer is not here")
                continue
            if ran is None:
                continue
            wrong = ran.returncode != 0 or '"error"' in ran.stdout or '"seconds"' not in ran.stdout
            reports = re.findall(
                r"^=+ ((?:Error|Warning|Invalid|Race|ERROR SUMMARY|RACECHECK).*)|(.*\"error\".*)",
                ran.stdout,
                re.MULTILINE,
            )
            first = next((a or b for a, b in reports), f"ended with {ran.returncode}")
            self.log.record(
                "sanitizer", name=tool, **({"failed": first} if wrong else {"passed": "a training step is clean"})
            )

    def measure(self, part: str, processes: list[Process], request: dict, seconds: float) -> None:
        for process in processes:
            if self.left() < 5:
                self.log.record(part, request=request, who=process.name, skipped="no time left")
                continue
            answer = process.ask(request, min(seconds, self.left()))
            self.log.record(part, request=request, who=process.name, answer=answer)

    def ours(self) -> Process:
        return Process("stipple", [str(self.build / "stipple_bench"), "--serve"], self.log)

    def pytorch(self, script: str) -> list[Process]:
        return [Process("PyTorch", [sys.executable, str(BENCH / "pytorch" / script)], self.log)] if self.torch else []

    def kernels(self) -> None:
        ours, theirs = self.ours(), self.pytorch("conv2d.py")
        for request in self.requests["peaks"]:
            self.measure("peaks", [ours], request | {"repeats": 5}, 30)
        for request in self.requests["kernels"]:
            for cold in (True, False):
                timed = request | {"cold": cold, "repeats": 15}
                self.measure("kernels", [ours, *theirs], timed, 60)
                if request["op"] == "group_norm_silu":  # PyTorch's is faster so; the table shows the faster
                    self.measure("kernels", theirs, timed | {"layout": "contiguous"}, 60)
            for rung in rungs(request["op"])[:-1]:
                self.measure("kernels", [ours], request | {"cold": True, "repeats": 5, "rung": rung}, 60)
            self.log.record("model", request=request, seconds=self.model.get(key(request), {}))
        for process in (ours, *theirs):
            process.close()

    def compile_ahead(self) -> None:
        """torch.compile takes minutes, more than two for all networks on an H200's machine: it begins beside our tests,
        and what it leaves in its cache on disk is there when networks are measured."""
        environment = os.environ | {"PYTHONPATH": PYTHON_PATH, "TORCHINDUCTOR_COMPILE_THREADS": "4"}
        for request in self.requests["networks"] if self.torch else ():
            command = [sys.executable, str(BENCH / "pytorch" / "mnist_step.py")]
            once = json.dumps(request | {"mode": "compile", "repeats": 1})
            self.compiling.append(
                subprocess.Popen(
                    [*command, once], stdout=subprocess.DEVNULL, stderr=self.log.file, cwd=ROOT, env=environment
                )
            )

    def wait_for_compilers(self) -> None:
        """Measurements want the machine for themselves."""
        for process in self.compiling:
            try:
                process.wait(min(150, max(0, self.left() - 200)))
            except subprocess.TimeoutExpired:
                process.kill()
                self.log.text("torch.compile was not done in time")
        self.compiling.clear()

    def networks(self) -> None:
        for request in self.requests["networks"]:
            for mode in ("eager", "graph"):
                self.measure_alone("stipple", self.ours, request | {"mode": mode, "repeats": 20}, 60)
            for mode in MODES if self.torch else ():
                start = lambda: self.pytorch("mnist_step.py")[0]
                self.measure_alone("PyTorch", start, request | {"mode": mode, "repeats": 20}, 100)

    def measure_alone(self, who: str, start: Callable[[], Process], request: dict, seconds: float) -> None:
        """In a process of its own, whose peak of memory is this request's; none is started when time is up."""
        if self.left() < 10:
            self.log.record("networks", request=request, who=who, skipped="no time left")
            return
        process = start()
        self.measure("networks", [process], request, seconds)
        process.close()


def key(request: dict) -> str:
    """What the times of the model depend on."""
    return json.dumps(
        {name: request[name] for name in sorted(request) if name not in ("device", "cold", "repeats", "mode")}
    )


def model_times(command: str, workloads: Path) -> None:
    """Asks for the default rungs' times that are not in the file yet; each takes seconds to minutes, and is kept."""
    times = json.loads(MODEL.read_text()) if MODEL.exists() else {}
    process = subprocess.Popen(shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    for request in json.loads(workloads.read_text())["kernels"]:
        if key(request) in times:
            continue
        process.stdin.write(json.dumps(request | {"device": "cuda"}) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        print(key(request), answer, file=sys.stderr)
        if "model_seconds" in answer:
            times[key(request)] = answer["model_seconds"]
        MODEL.write_text(json.dumps(times, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--log", type=Path, default=ROOT / "out" / "gpu.log")
    parser.add_argument("--parts", nargs="*", default=["tests", "sanitizer", "kernels", "networks"])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--workloads", type=Path, default=BENCH / "gpu_workloads.json")
    parser.add_argument("--table", type=Path, help="a log to print the table of, and nothing else")
    parser.add_argument("--model", help="an emulated stipple_bench: 'build/emulated/stipple_bench --serve'")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    if arguments.model:
        model_times(arguments.model, arguments.workloads)
        return 0
    if arguments.table:
        return gpu_table.show([json.loads(line) for line in arguments.table.open() if line.startswith("{")])
    arguments.build = arguments.build.resolve()
    session = Session(arguments)
    session.describe()
    if "networks" in arguments.parts:
        session.compile_ahead()
    for part in arguments.parts:
        print(f"gpu: {part}, {session.left():.0f} s left", file=sys.stderr)
        try:
            if part in MEASURED:
                session.wait_for_compilers()
            getattr(session, part)()
        except Exception as error:  # the other parts go on
            session.log.record(part, name=part, failed=f"{type(error).__name__}: {error}")
    failed = gpu_table.show(session.log.records)
    print(f"log: {arguments.log}")
    return failed


if __name__ == "__main__":
    sys.exit(main())

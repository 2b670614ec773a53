"""The line protocol of bench/PROTOCOL.md, PyTorch's side: a JSON request a line in, a JSON answer a line out."""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass
class Work:
    """What one request asks for, ready to run."""

    run: Callable[[], object]
    flop: float = 0
    bytes: float = 0
    network: bool = False


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


FLUSHED = 1 << 30  # bytes: more than any L2
DTYPES = {"f32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


def dtype(r: dict) -> torch.dtype:
    return DTYPES[r.get("dtype", "f32")]


def set_up(r: dict) -> None:
    """Products of f32 are rounded to tf32 where the request says so."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = r.get("dtype") == "tf32"


def elapsed(begin: torch.cuda.Event, end: torch.cuda.Event) -> float:
    end.synchronize()
    return 1e-3 * begin.elapsed_time(end)


def kernel_seconds(run: Callable[[], object], cold: bool) -> float:
    """One run behind a flush of L2, in which the host gets ahead; warm: behind a run of its own besides."""
    torch.empty(FLUSHED, dtype=torch.uint8, device="cuda").zero_()
    if not cold:
        run()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    run()
    end.record()
    return elapsed(begin, end)


def network_seconds(run: Callable[[], object], repeats: int) -> float:
    """Steps follow each other, the host going ahead as in training."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    events[0].record()
    for event in events[1:]:
        run()
        event.record()
    return statistics.median(elapsed(begin, end) for begin, end in zip(events, events[1:]))


def median_seconds_on_gpu(work: Work, cold: bool, repeats: int) -> float:
    torch.cuda.synchronize()
    if work.network:
        return network_seconds(work.run, repeats)
    return statistics.median(kernel_seconds(work.run, cold) for _ in range(repeats))


class Server:
    """Answers requests; the work of the last one stays prepared."""

    def __init__(self, operations: dict[str, Callable[[dict], Work]], extra: Callable[[], dict] = dict):
        self.operations, self.extra = operations, extra
        self.request, self.work = None, None

    def prepare(self, request: dict) -> None:
        if request == self.request:
            return
        self.request, self.work = None, None  # frees the memory first
        if request["op"] not in self.operations:
            raise ValueError(f"op {request['op']}: not one of {', '.join(self.operations)}")
        set_up(request)
        torch.set_default_device(request.get("device", "cpu"))
        try:
            self.work = self.operations[request["op"]](request)
        finally:
            torch.set_default_device(None)  # which would look at every call of the work
        for _ in range(5 if request.get("device") == "cuda" else 1):  # cuDNN tries variants, compiled code its graphs
            self.work.run()
        self.request = request

    def answer(self, line: str) -> dict:
        try:
            request = json.loads(line)
            repeats, cold = request.pop("repeats", 5), request.pop("cold", False)
            self.prepare(request)
            if request.get("device") == "cuda":
                seconds = median_seconds_on_gpu(self.work, cold, repeats)
            else:
                seconds = median_seconds(self.work.run, repeats)
        except Exception as error:  # the process outlives a request it cannot serve
            return {"error": " ".join(f"{type(error).__name__}: {error}".split())}
        return {"seconds": seconds, "flop": self.work.flop, "bytes": self.work.bytes, **self.extra()}


def main(server: Server) -> None:
    parser = argparse.ArgumentParser(description="Answers the requests of bench/PROTOCOL.md.")
    parser.add_argument("requests", nargs="*", help="JSON requests to answer instead of standard input's")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    for line in arguments.requests or sys.stdin:
        print(json.dumps(server.answer(line)), flush=True)

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


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


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
        self.work = self.operations[request["op"]](request)
        self.work.run()
        self.request = request

    def answer(self, line: str) -> dict:
        try:
            request = json.loads(line)
            repeats = request.pop("repeats", 5)
            self.prepare(request)
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

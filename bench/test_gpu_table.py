"""The table of `./run gpu` from recorded answers, and how it keeps to its time. No GPU: python bench/test_gpu_table.py"""

import contextlib
import io
import json
import tempfile
import unittest
from argparse import Namespace
from pathlib import Path
from unittest import mock

import gpu
import gpu_table

WORKLOADS = json.loads((Path(__file__).resolve().parent / "gpu_workloads.json").read_text())


def answer(request: dict, seconds: float) -> dict:
    memory_bound = request["op"] in ("group_norm_silu", "adamw") or request.get("of") == "copy"
    return {"seconds": seconds, "flop": 0 if memory_bound else 1e9, "bytes": 1e6, "peak_bytes": 2**30}


def record(part: str, request: dict, who: str, seconds: float, **asked) -> dict:
    return {
        "part": part,
        "request": request | {"device": "cuda"} | asked,
        "who": who,
        "answer": answer(request, seconds),
    }


def a_full_run() -> list[dict]:
    records = [
        {"part": "machine", "gpu": "NVIDIA H100 80GB HBM3, 580.1, 1980 MHz"},
        {"part": "machine", "torch": "2.11"},
    ]
    records += [{"part": "tests", "name": "all", "passed": "100% tests passed, 0 tests failed out of 9"}]
    records += [{"part": "sanitizer", "name": tool, "passed": "clean"} for tool in ("memcheck", "racecheck")]
    records += [record("peaks", request, "stipple", 2e-6) for request in WORKLOADS["peaks"]]
    for request in WORKLOADS["kernels"]:
        for cold in (True, False):
            records.append(record("kernels", request, "stipple", 3e-6 if cold else 2e-6, cold=cold, repeats=15))
            records.append(record("kernels", request, "PyTorch", 6e-6, cold=cold, repeats=15))
        records.append(record("kernels", request, "stipple", 9e-6, cold=True, repeats=5, rung="naive"))
        records.append({"part": "model", "request": request, "seconds": {"H100": 1e-6}})
    for request in WORKLOADS["networks"]:
        records += [record("networks", request, "stipple", 4e-3, mode=mode) for mode in ("eager", "graph")]
        records += [record("networks", request, "PyTorch", 8e-3, mode=mode) for mode in ("eager", "compile")]
    return records


def shown(records: list[dict]) -> tuple[int, list[str]]:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = gpu_table.show(records)
    return status, output.getvalue().splitlines()


class TheTable(unittest.TestCase):
    def test_a_full_run_fits_into_sixty_lines_and_passes(self):
        status, lines = shown(a_full_run())
        self.assertEqual(status, 0)
        self.assertLessEqual(len(lines), 60)
        self.assertLessEqual(max(map(len, lines)), 140)

    def test_a_row_has_times_rate_part_of_the_peak_ratio_model_and_rungs(self):
        row = next(line for line in shown(a_full_run())[1] if line.startswith("conv2d fwd 128x28x28x32 k32 3x3 bf16"))
        for expected in (" 3.0 ", " 2.0 ", " 333 ", "TFLOP/s", " 67% ", " 6.0 ", " 0.50 ", " 1.0 ", "naive 9.0"):
            self.assertIn(expected, row + " ")

    def test_our_failures_fail_and_are_told_even_where_there_are_many(self):
        broken = [{"part": "tests", "name": f"cuda_{i}", "failed": "Failed"} for i in range(90)]
        status, lines = shown(a_full_run() + broken)
        self.assertEqual(status, 1)
        self.assertLessEqual(len(lines), 60)
        self.assertIn("FAILED: 90 (more in the log)", lines)

    def test_an_error_of_ours_is_a_failure_and_one_of_pytorch_is_not(self):
        request = WORKLOADS["kernels"][0] | {"cold": True}
        wrong = {"part": "kernels", "request": request, "answer": {"error": "conv2d: no memory"}}
        self.assertEqual(shown([wrong | {"who": "PyTorch"}])[0], 0)
        status, lines = shown([wrong | {"who": "stipple"}])
        self.assertEqual(status, 1)
        self.assertTrue(any("conv2d: no memory" in line for line in lines))

    def test_a_rung_that_is_not_for_such_sizes_is_no_failure(self):
        error = {"error": "attention: rung flash takes heads of up to 128 channels, got 512"}
        request = WORKLOADS["kernels"][0] | {"cold": True, "rung": "flash"}
        status, lines = shown([{"part": "kernels", "request": request, "who": "stipple", "answer": error}])
        self.assertEqual(status, 0)
        self.assertTrue(any(line.endswith("flash no") for line in lines))

    def test_without_pytorch_it_says_so(self):
        ours = [r for r in a_full_run() if "torch" not in r and r.get("who") != "PyTorch"]
        status, lines = shown(ours)
        self.assertEqual(status, 0)
        self.assertIn("our columns only", lines[0])


class TheTime(unittest.TestCase):
    def test_no_process_is_started_when_time_is_up(self):
        with tempfile.TemporaryDirectory() as folder:
            workloads = Path(gpu.__file__).parent / "gpu_workloads.json"
            session = gpu.Session(Namespace(build=Path("."), log=Path(folder) / "log", seconds=0, workloads=workloads))
            session.torch = True
            with mock.patch.object(gpu, "Process", side_effect=AssertionError("a process was started")):
                session.networks()
            skipped = [record for record in session.log.records if record["part"] == "networks"]
            self.assertEqual(len(skipped), 5 * len(WORKLOADS["networks"]))
            self.assertTrue(all(record["skipped"] == "no time left" for record in skipped))


if __name__ == "__main__":
    unittest.main()

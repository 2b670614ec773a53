"""The table of `./run gpu`, from the records of its log: at most 60 lines of at most 140 columns."""

import re

MOST_LINES = 59  # and one that names the log
DATASHEET = {  # dense tensor-core TFLOP/s, and GB/s, of the SXM boards: kernels/emulator/model_time.cpp
    "A100": {"bf16": 312, "tf32": 156, "copy": 2039},
    "H100": {"bf16": 989.4, "tf32": 494.7, "copy": 3352},
    "H200": {"bf16": 989.4, "tf32": 494.7, "copy": 4800},
    "RTX 4090": {"bf16": 165.2, "tf32": 82.6, "copy": 1008},
}
TIMING = ("cold", "repeats", "rung", "mode", "layout", "device")  # how a request was measured, not what
PASSES = {"forward": "fwd", "backward": "bwd", "input_gradient": "dgrad", "weight_gradient": "wgrad"}
KERNELS = "{:<41}{:>8}{:>8}{:>7} {:<8}{:>6}{:>9}{:>8}{:>7}{:>8}  {}"
NETWORKS = "{:<41}" + "{:>17}" * 5 + "{:>7}"


def show(records: list[dict]) -> int:
    """Prints it; 1 if anything of ours failed, otherwise 0."""
    table = Table(records)
    lines, errors = table.lines(), table.failures()
    room = MOST_LINES - len(lines) - 1
    print("\n".join(line[:140] for line in lines + errors[:room]))
    print(
        f"FAILED: {len(errors)}" + (" (more in the log)" if len(errors) > room else "")
        if errors
        else "all parts passed"
    )
    return 1 if errors else 0


class Table:
    def __init__(self, records: list[dict]):
        self.records = records
        self.machine = {name: value for r in self.of("machine") for name, value in r.items() if name != "part"}
        self.peaks = self.measured_peaks()

    def of(self, part: str) -> list[dict]:
        return [record for record in self.records if record["part"] == part]

    def gpu(self) -> str | None:
        return next((name for name in DATASHEET if name in self.machine.get("gpu", "")), None)

    def measured_peaks(self) -> dict[str, list[float]]:
        """TFLOP/s and GB/s by kind: first that of our own loop, then of the largest matrix product."""
        peaks: dict[str, list[float]] = {}
        for record in self.of("peaks"):
            request, answer = record["request"], record.get("answer", {})
            if "seconds" in answer:
                work = 1e-12 * answer["flop"] if answer["flop"] else 1e-9 * answer["bytes"]
                peaks.setdefault(request.get("of") or request["dtype"], []).append(work / answer["seconds"])
        return peaks

    def lines(self) -> list[str]:
        return [*self.about(), *self.passed(), *self.kernel_lines(), *self.network_lines()]

    def about(self) -> list[str]:
        torch = self.machine.get("torch")
        against = f"PyTorch {torch}" if torch else "no PyTorch with CUDA here: our columns only"
        lines = [f"{self.machine.get('gpu', 'unknown GPU')}; {against}"]
        sheet = DATASHEET.get(self.gpu() or "", {})
        for kind, values in self.peaks.items():
            unit, how = (
                ("GB/s", ["copy kernel"]) if kind == "copy" else ("TFLOP/s", ["mma.sync loop", "cuBLASLt, 8192 cubed"])
            )
            measured = ", ".join(f"{value:.0f} ({name})" for value, name in zip(values, how))
            lines.append(f"peak {kind}: {measured} {unit} measured; {sheet.get(kind, 'unknown')} on the datasheet")
        return lines

    def passed(self) -> list[str]:
        return [
            f"{r['part']}, {r['name']}: {r.get('passed') or 'LEFT OUT, ' + r['skipped']}"
            for part in ("tests", "sanitizer")
            for r in self.of(part)
            if "passed" in r or "skipped" in r
        ]

    def failures(self) -> list[str]:
        lines = [f"FAILED {r['part']}, {r['name']}: {r['failed']}" for r in self.records if "failed" in r]
        for r in self.records:
            error = r.get("answer", {}).get("error")
            if error and r["who"] == "stipple" and not refused(error):
                lines.append(f"FAILED {r['part']}, {shape(r['request'])}: {error}")
        return list(dict.fromkeys(lines))

    def asked(self, part: str) -> list[dict]:
        """The requests without how they were timed, each once, in order."""
        found: list[dict] = []
        for record in self.of(part):
            request = bare(record["request"])
            if request not in found:
                found.append(request)
        return found

    def answers(self, part: str, request: dict, who: str) -> list[tuple[dict, dict]]:
        return [
            (r["request"], r.get("answer", {"error": r.get("skipped")}))
            for r in self.of(part)
            if r["who"] == who and bare(r["request"]) == request
        ]

    def kernel_lines(self) -> list[str]:
        requests = self.asked("kernels")
        if not requests:
            return []
        gpu = self.gpu()
        head = KERNELS.format(
            "kernel (us, medians; cold: L2 flushed)",
            "cold",
            "warm",
            "cold",
            "rate",
            "peak",
            "torch c.",
            "warm",
            "ratio",
            "model",
            f"other rungs, cold ({gpu or 'no'} model: at least)",
        )
        return [head, *(self.kernel_line(request) for request in requests)]

    def kernel_line(self, request: dict) -> str:
        mine, theirs = (self.by_temperature(request, who) for who in ("stipple", "PyTorch"))
        rungs = [
            f"{asked['rung']} {microseconds(answer)}"
            for asked, answer in self.answers("kernels", request, "stipple")
            if "rung" in asked
        ]
        model = next((r["seconds"] for r in self.of("model") if bare(r["request"]) == request), {})
        modelled = {"seconds": model[self.gpu()]} if self.gpu() in model else {}
        cold, theirs_cold = mine.get(True, {}), theirs.get(True, {})
        return KERNELS.format(
            shape(request),
            microseconds(cold),
            microseconds(mine.get(False, {})),
            *self.rate(cold, request),
            microseconds(theirs_cold),
            microseconds(theirs.get(False, {})),
            ratio(cold, theirs_cold),
            microseconds(modelled),
            " ".join(rungs),
        ).rstrip()

    def by_temperature(self, request: dict, who: str) -> dict[bool, dict]:
        """The answers with L2 cold (True) and warm, of the default rung, and in the faster layout."""
        answers = [(asked, a) for asked, a in self.answers("kernels", request, who) if "rung" not in asked]
        of = {cold: [a for asked, a in answers if asked["cold"] == cold] for cold in (True, False)}
        return {cold: fastest(dict(enumerate(some))) for cold, some in of.items() if some}

    def rate(self, answer: dict, request: dict) -> tuple[str, str, str]:
        """A number, its unit, and what part of the measured peak it is."""
        if "seconds" not in answer:
            return "-", "", "-"
        computes = answer["flop"] > 0
        rate = (1e-12 * answer["flop"] if computes else 1e-9 * answer["bytes"]) / answer["seconds"]
        peak = max(self.peaks.get(request.get("dtype", "f32") if computes else "copy", [0]))
        return (
            f"{rate:.1f}" if rate < 100 else f"{rate:.0f}",
            "TFLOP/s" if computes else "GB/s",
            f"{rate / peak:.0%}" if peak else "-",
        )

    def network_lines(self) -> list[str]:
        requests = self.asked("networks")
        if not requests:
            return []
        names = ["stipple", "in a graph", "torch eager", "channels_last", "compiled"]
        return [NETWORKS.format("training step, ms (GiB at most)", *names, "ratio"), *map(self.network_line, requests)]

    def network_line(self, request: dict) -> str:
        mine, theirs = (
            {asked["mode"]: answer for asked, answer in self.answers("networks", request, who)}
            for who in ("stipple", "PyTorch")
        )
        cells = [step(mine.get(mode, {})) for mode in ("eager", "graph")]
        cells += [step(theirs.get(mode, {})) for mode in ("eager", "channels_last", "compile")]
        return NETWORKS.format(shape(request), *cells, ratio(fastest(mine), fastest(theirs)))


def bare(request: dict) -> dict:
    return {name: value for name, value in request.items() if name not in TIMING}


def shape(r: dict) -> str:
    """One of PyTorch's words for the operation, and its sizes: "conv2d fwd 64x32x32x128 k128 3x3 bf16"."""
    words = [
        r["op"].replace("group_norm_silu", "group_norm").replace("training_step", "step"),
        PASSES.get(r.get("pass"), ""),
    ]
    if "config" in r:
        words.append(f"{r['config'].split('/')[-1].removesuffix('.json')} b{r['batch']}")
    words += [
        "x".join(str(r[n]) for n in names if n in r) for names in (("n", "h", "w", "c"), ("m", "k")) if names[0] in r
    ]
    if r["op"] == "conv2d":
        words.append(f"k{r['k']} {r['kernel']}x{r['kernel']}" + ("/2" if r["stride"] == 2 else ""))
    if r["op"] in ("attention", "matmul"):
        words[2:] = [
            f"{r['n']}x{r['tokens']} {r['heads']}x{r['width']}" if "tokens" in r else f"{r['m']}x{r['n']}x{r['k']}"
        ]
    words += [str(r["count"])] if "count" in r else []
    return " ".join(word for word in [*words, r.get("dtype", "f32")] if word)


def refused(error: str) -> bool:
    """Whether a rung only said that it is not for such sizes."""
    return re.search(r": rung \w+ takes ", error) is not None


def microseconds(answer: dict) -> str:
    if refused(answer.get("error") or ""):
        return "no"
    if "error" in answer:
        return "error" if answer["error"] != "no time left" else "late"
    return f"{1e6 * answer['seconds']:.1f}" if "seconds" in answer else "-"


def step(answer: dict) -> str:
    if "seconds" not in answer:
        return microseconds(answer)
    return f"{1e3 * answer['seconds']:.2f} ({answer['peak_bytes'] / 2**30:.2f})"


def fastest(answers: dict[str, dict]) -> dict:
    return min(answers.values(), key=lambda answer: answer.get("seconds", float("inf")), default={})


def ratio(mine: dict, theirs: dict) -> str:
    return f"{mine['seconds'] / theirs['seconds']:.2f}" if "seconds" in mine and "seconds" in theirs else "-"

"""One framework's side of `suite.py`: requests and answers are lines of JSON on standard input and output.

The process imports the framework once; each case runs in a fork of it, so that its memory and its first call begin
afresh. Requests: `begin` (build, first calls, results into a file), `run` (some steps, timed), `end`; `peaks` measures
the machine.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from typing import Any

import numpy as np
from cases import Case, cases

CALLS = 3  # whose results are compared: two of them after optimizers have changed something
MODULES = {
    "plait": ["plait", "plait.nn", "plait.optim", "llvmlite.binding"],  # imported by what compiles first
    "torch": ["torch"],
    "torch.compile": ["torch", "torch._dynamo", "torch._inductor.compile_fx"],
    "jax": ["jax", "jax.numpy"],
    "tf": ["tensorflow"],
}


def make_kit(contender: str, threads: int) -> Any:
    """Return the kit of a contender: its framework and how it is used."""
    name, _, way = contender.partition(" ")
    if name == "plait":
        return importlib.import_module("suite_kits").Plait(way == "jit")
    if name.startswith("torch"):
        return importlib.import_module("suite_kits").Torch(name == "torch.compile", threads)
    functional = importlib.import_module("suite_functional")
    return functional.Jax() if name == "jax" else functional.TensorFlow(way == "xla", threads)


def resident(field: str) -> int:
    """Return a figure of this process's memory in bytes: VmRSS, or VmHWM, its peak."""
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(field))


def reset_peak() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


class Session:
    """A case in this process."""

    def __init__(self, case: Case, contender: str, threads: int, tiny: bool, output: str) -> None:
        base = resident("VmRSS")
        self.kit = make_kit(contender, threads)
        start = time.perf_counter()
        self.step = case.build(self.kit, tiny)
        built = time.perf_counter()
        reset_peak()  # of copies of weights that are gone
        results = [self.once()]
        first = time.perf_counter()
        peaks = [resident("VmHWM")]
        reset_peak()
        results += [self.once() for _ in range(CALLS - 1)]
        peaks.append(resident("VmHWM"))
        leaves = importlib.import_module("suite_kits").leaves
        arrays = [self.kit.numpy(x) for k in (0, -1) for x in leaves(results[k])]
        np.savez(output, *arrays)
        self.report = {
            "build_s": built - start,
            "first_s": first - built,
            "peak_mib": (max(peaks) - base) / 2**20,
            "warm_peak_mib": (peaks[1] - base) / 2**20,
        }

    def once(self) -> Any:
        result = self.step()
        self.kit.wait(result)
        return result

    def run(self, seconds: float) -> dict[str, Any]:
        """Time steps for so long, at least one, after one that does not count."""
        times, clock = [], time.perf_counter
        before = clock()
        self.once()
        start = clock()
        if start - before > 5 * seconds:  # too long for another
            return {"times": [start - before]}
        end = start + seconds
        while True:
            result = self.step()
            self.kit.wait(result)
            now = clock()
            times.append(now - start)
            if now >= end:
                return {"times": times}
            del result
            start = clock()


def answer(channel: Any, **report: Any) -> None:
    channel.write(json.dumps(report).encode() + b"\n")
    channel.flush()


def fail(channel: Any, error: BaseException) -> None:
    traceback.print_exc(limit=-8)
    lines = str(error).strip().splitlines() or [""]
    answer(channel, error=f"{type(error).__name__}: {lines[0][:300]}", skipped=isinstance(error, NotImplementedError))


def serve(request: dict[str, Any], channel: Any, contender: str, threads: int) -> None:
    """Serve one case until its end, in a fork."""
    chosen = next(c for c in cases() if c.name == request["case"])
    os.environ.update(request["environment"])
    try:
        session = Session(chosen, contender, threads, request["tiny"], request["output"])
        answer(channel, **session.report)
        while (request := json.loads(sys.stdin.buffer.readline() or b'{"op": "end"}'))["op"] != "end":
            answer(channel, **session.run(request["seconds"]))
        answer(channel, maxrss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    except BaseException as error:
        fail(channel, error)


def main() -> None:
    contender, threads = sys.argv[1], int(sys.argv[2])
    # What libraries print on the standard output is no answer.
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for module in MODULES[contender.partition(" ")[0]]:
        importlib.import_module(module)
    cases()
    answer(channel, version=importlib.import_module(MODULES[contender.partition(" ")[0]][0]).__version__)
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        work = os.fork()
        if work == 0:
            if request["op"] == "peaks":
                answer(channel, **importlib.import_module("suite_machine").peaks())
            else:
                serve(request, channel, contender, threads)
            sys.stderr.flush()
            os._exit(0)
        _, status = os.waitpid(work, 0)
        if os.WIFSIGNALED(status):
            answer(channel, error=f"killed by {signal.Signals(os.WTERMSIG(status)).name}", skipped=False)


if __name__ == "__main__":
    main()

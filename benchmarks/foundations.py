"""Figures of the foundations: recording, warm calls, import, first compilation, memory of long lazy sums.

Run as `python benchmarks/foundations.py`; with PyTorch installed its eager add is measured side by side.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable

import plait
from plait import optim


def interleaved(cases: dict[str, Callable[[], None]], inner: int, rounds: int = 25) -> dict[str, tuple[float, float]]:
    """Median and best time of one call in microseconds; the cases take turns."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, function in cases.items():
            start = time.perf_counter()
            for _ in range(inner):
                function()
            times[name].append((time.perf_counter() - start) / inner * 1e6)
            plait.sync()
    return {name: (statistics.median(t), min(t)) for name, t in times.items()}


def recording() -> dict[str, tuple[float, float]]:
    """One elementwise addition of 8 numbers, recorded; the statement alone, without a call around it."""
    names = {"x": plait.ones(8) * 1.0, "y": plait.ones(8) * 2.0}
    plait.sync()
    timers = {"plait x + y": timeit.Timer("x + y", globals=names)}
    if importlib.util.find_spec("torch"):
        torch = importlib.import_module("torch")
        timers["torch x + y"] = timeit.Timer("x + y", globals={"x": torch.ones(8), "y": torch.ones(8)})
    times: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(50):
        for name, timer in timers.items():
            times[name].append(timer.timeit(200) / 200 * 1e6)
            plait.sync()
    return {name: (statistics.median(t), min(t)) for name, t in times.items()}


def warm_call() -> dict[str, tuple[float, float]]:
    """A jitted step over 100 parameter tensors: the whole call, and its native part."""
    parameters = [plait.Parameter([float(k)] * 4) for k in range(100)]
    optimizer = optim.SGD(parameters, lr=0.1)

    @plait.jit
    def step(x: plait.Tensor) -> plait.Tensor:
        optimizer.zero_grad()
        loss = x.sum()
        for p in parameters:
            loss = loss + (p * x).sum()
        loss.backward()
        optimizer.step()
        return loss

    x = plait.tensor([1.0, 2.0, 3.0, 4.0])
    for _ in range(3):
        step(x)
    (entries,) = step._entries.values()
    native = entries[0].program.program.run
    found = interleaved({"call": lambda: step(x), "native": native}, 50)
    found["python"] = (found["call"][0] - found["native"][0], found["call"][1] - found["native"][1])
    return found


def import_time() -> dict[str, float]:
    """Milliseconds that `import plait` takes beyond `import numpy`, best of several fresh processes."""
    code = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"

    # As where the package is installed: with its byte code.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

    def best(name: str) -> float:
        command = [sys.executable, "-c", code.format(name)]
        runs = [subprocess.run(command, capture_output=True, text=True, check=True, env=environment) for _ in range(9)]
        return min(float(r.stdout) for r in runs) * 1e3

    numpy_time, plait_time = best("numpy"), best("plait")
    return {"numpy ms": numpy_time, "plait beyond numpy ms": plait_time - numpy_time}


_FIRST_STEP = """
import time
import plait
from plait.demo import Net, load_digits
digits = load_digits()
start = time.perf_counter()
model = Net()
optimizer = plait.optim.AdamW(model.parameters(), lr=4e-3)
@plait.jit
def step(images, labels):
    loss = plait.nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss
step(plait.as_tensor(digits.train_images[:64]), plait.as_tensor(digits.train_labels[:64])).item()
print(time.perf_counter() - start)
"""


def first_step() -> dict[str, float]:
    """Seconds to make the demo's model and do its first training step, cold and from the cache, in fresh processes."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PLAIT_CACHE_DIR": folder}
        command = [sys.executable, "-c", _FIRST_STEP]
        runs = [subprocess.run(command, capture_output=True, text=True, check=True, env=environment) for _ in range(4)]
    cold, *warm = [float(r.stdout) for r in runs]
    return {"cold s": cold, "cached s": min(warm)}


def long_sum() -> dict[str, float]:
    """Growth of resident memory over 100,000 times `total += loss`."""
    loss = plait.tensor(1.0)
    total = plait.tensor(0.0)

    def add(count: int) -> None:
        nonlocal total
        for _ in range(count):
            total += loss

    add(60_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    add(100_000)
    value = total.item()
    seconds = time.perf_counter() - start
    assert value == 160_000.0, value
    return {"growth MiB": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, "seconds": seconds}


def main() -> None:
    """Measure everything and print it."""
    for function in (recording, warm_call, import_time, first_step, long_sum):
        print(function.__name__, json.dumps(function(), indent=None, default=str))


if __name__ == "__main__":
    main()

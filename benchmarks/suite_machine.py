"""What the machine reaches, for the floors of `suite.py`: products by type, bandwidth by size of what is moved."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import plait

SIDE = 2048  # of the products
FOOTPRINTS_MIB = (0.5, 4, 16, 64, 512)  # bytes read and written by the addition that measures bandwidth


def best(function: Callable[[], Any], seconds: float) -> float:
    """Return the best time of a call, in seconds."""
    function()
    found, end = [], time.perf_counter() + seconds
    while len(found) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)


def product(dtype: str, seconds: float) -> float:
    """Return the FLOP/s of a square product."""
    a, b = (np.random.default_rng(k).standard_normal((SIDE, SIDE), np.float32) for k in range(2))
    if dtype == "int8":
        x, y = (plait.tensor((20 * m).astype(np.int8)) for m in (a, b))
        multiply = plait.jit(lambda x, y: plait.matmul(x.to(plait.int32), y.to(plait.int32)))
    else:
        x, y = (plait.tensor(m).to(getattr(plait, dtype)) for m in (a, b))
        multiply = plait.jit(plait.matmul)

    def ours() -> None:
        multiply(x, y)
        plait.sync()

    times = [best(ours, seconds)]
    if dtype == "float32":
        times.append(best(lambda: a @ b, seconds))
    return 2 * SIDE**3 / min(times)


def bandwidth(mib: float, seconds: float) -> float:
    """Return the bytes per second of an addition of two arrays, with a footprint of so many MiB in all."""
    count = int(mib * 2**20 / 12)
    x, y = plait.ones(count) * 1.0, plait.ones(count) * 2.0
    add = plait.jit(lambda x, y: x + y)

    def ours() -> None:
        add(x, y)
        plait.sync()

    ours()
    return 12 * count / best(ours, seconds)


def peaks(seconds: float = 1.0) -> dict[str, Any]:
    """Measure everything: FLOP/s by type and bytes per second by footprint in MiB."""
    return {
        "flops": {dtype: product(dtype, seconds) for dtype in ("float32", "bfloat16", "int8")},
        "bandwidth": {str(mib): bandwidth(mib, seconds / 2) for mib in FOOTPRINTS_MIB},
    }


def floor(measured: dict[str, Any], flops: float, traffic: float, dtype: str = "float32") -> float:
    """Return the seconds that so many FLOPs and bytes take at least."""
    sizes = np.array([float(s) for s in measured["bandwidth"]])
    rates = np.array(list(measured["bandwidth"].values()))
    # what is moved need not be as far away as all that is moved at once: the best rate of its size or a larger one
    rates = np.maximum.accumulate(rates[::-1])[::-1]
    rate = np.interp(np.log(max(traffic, 1.0) / 2**20), np.log(sizes), rates)
    return max(flops / measured["flops"][dtype], traffic / rate)


def description(threads: int) -> str:
    """Return the processor, memory and system in one line."""
    name, memory = platform.processor() or platform.machine(), 0.0
    if (info := Path("/proc/cpuinfo")).exists():
        name = next(
            (line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line), name
        )
    if (info := Path("/proc/meminfo")).exists():
        memory = int(info.read_text().split()[1]) / 2**20
    return f"{name}, {threads} threads, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"

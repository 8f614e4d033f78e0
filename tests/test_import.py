"""What `import plait` costs: it is paid by every script, worker process and command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BUDGET = 0.150  # seconds beyond NumPy's own import
PROGRAM = """
import time
import numpy
start = time.thread_time()  # of this thread alone: those of NumPy's BLAS still spin
import plait
print(time.thread_time() - start)
"""
HEAVY = (
    "asyncio", "concurrent.futures", "http", "llvmlite.binding", "multiprocessing", "plait.amp", "plait.data",
    "plait.debug", "plait.metrics", "plait.nn", "plait.optim", "plait.testing", "plait.train", "scipy", "sqlite3",
    "torch", "unittest", "urllib.request", "xml",
)  # fmt: skip


def run(program: str, cache: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(cache)
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def test_importing_is_within_its_budget(tmp_path: Path) -> None:
    run(PROGRAM, tmp_path)  # compiles to bytecode, as installing does
    times = []
    while len(times) < 12 and min(times, default=1.0) > BUDGET:
        times.append(float(run(PROGRAM, tmp_path)))
    assert min(times) <= BUDGET, f"{min(times) * 1e3:.0f} ms; `python -X importtime -c 'import plait'` shows what costs"


def test_what_few_need_is_imported_when_it_is_used(tmp_path: Path) -> None:
    program = "import sys, numpy; before = set(sys.modules); import plait; print(*(set(sys.modules) - before))"
    loaded = set(run(program, tmp_path).split())
    assert not {name for name in HEAVY if name in loaded}

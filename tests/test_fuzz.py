"""Random programs: fused, operation by operation and interpreted all agree."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from plait.core.dtype import float32, int64
from plait.core.errors import InternalError
from plait.ir import interp
from plait.ir.build import Builder
from plait.testing import fuzz
from plait.testing.lanes import Lanes, run_kernel, workspaces_of
from plait.testing.samples import random_program

PROCESSES, EACH = 2, 2500


def test_programs() -> None:
    command = [sys.executable, "-m", "plait.testing.fuzz", "--count", str(EACH), "--failures", "3", "--seed"]
    runs = [
        subprocess.Popen([*command, str(k * EACH)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for k in range(PROCESSES)
    ]
    texts = [run.communicate()[0] for run in runs]
    assert all(run.returncode == 0 for run in runs), "\n".join(texts)
    assert all(f"{EACH} programs, 0 failed" in text for text in texts), "\n".join(texts)


@pytest.mark.parametrize("start", range(10_000, 10_200, 20))
def test_batched_programs(start: int) -> None:
    for seed in range(start, start + 20):
        fuzz.check_batching(seed)


def test_transposed_programs() -> None:
    checked = sum(fuzz.check_transposition(seed) for seed in range(20_000, 20_200))
    assert checked > 80


def test_a_seed_gives_the_same_program() -> None:
    a, b = random_program(7), random_program(7)
    assert [o.aval for o in a.outputs] == [o.aval for o in b.outputs]
    assert all(np.array_equal(x, y) for x, y in zip(a.arrays, b.arrays, strict=True))


def test_programs_cover_the_primitives() -> None:
    seen = set()
    for seed in range(400):
        stack = list(random_program(seed).outputs)
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                stack.extend(node.inputs)
    names = {n.prim.name for n in seen}
    wanted = {
        "add", "exp", "select", "convert", "bitcast", "complex", "reshape", "transpose", "slice", "pad", "concatenate",
        "reverse", "broadcast", "iota", "gather", "scatter_add", "scatter_set", "dynamic_slice", "dynamic_update_slice",
        "reduce_sum", "reduce_max", "argmax", "cumsum", "sort", "dot_general", "conv", "reduce_window_sum", "threefry",
        "scan", "cond", "while_loop",
    }  # fmt: skip
    assert wanted <= names, wanted - names


@pytest.mark.parametrize("seed", range(40))
def test_lanes_agree_with_the_interpreter(seed: int) -> None:
    """All iterations at once are the same as one scalar at a time."""
    for source, arrays, scalars in fuzz.kernels_of(seed):
        kernel = fuzz.written(source)
        if sum(a.size for a in arrays) > 300:
            continue
        wide, narrow = ([a.copy() for a in arrays] for _ in range(2))
        run_kernel(kernel, wide, scalars)
        workspaces = workspaces_of(kernel, scalars)
        for function in kernel.functions:
            given = iter(narrow)
            memory = [workspaces[b] if b.space == "workspace" else next(given) for b in function.buffers]
            interp.run(function, memory, [scalars[n] for n in function.scalars])
        for w, n in zip(wide, narrow, strict=True):
            fuzz.expect_bits(w, n, source.key)


def shared_write(race: bool) -> Lanes:
    b = Builder("f")
    x, y = b.input("x", float32, 4), b.output("y", float32, 4)
    with b.parallel(4) as i:
        b.store(y, i * 0 if race else i, b.load(x, i))
    (function,) = b.finish().functions
    return Lanes(function, [np.ones(4, np.float32), np.zeros(4, np.float32)], {})


def test_lanes_find_iterations_that_write_one_element() -> None:
    shared_write(False).run()
    with pytest.raises(InternalError, match="two iterations write one element"):
        shared_write(True).run()


def test_lanes_find_a_read_of_another_iteration() -> None:
    b = Builder("f")
    y = b.output("y", int64, 4)
    with b.parallel(4) as i:
        b.store(y, i, i)
        b.store(y, i, b.load(y, (i + 1) % 4))
    with pytest.raises(InternalError, match="reads what another one writes"):
        Lanes(b.finish().functions[0], [np.zeros(4, np.int64)], {}).run()


def test_lanes_find_an_index_out_of_bounds() -> None:
    b = Builder("f")
    x, y = b.input("x", float32, 4), b.output("y", float32, 4)
    with b.parallel(4) as i:
        b.store(y, i, b.load(x, i + 1))
    with pytest.raises(InternalError, match="index 4 is outside input x"):
        Lanes(b.finish().functions[0], [np.ones(4, np.float32), np.zeros(4, np.float32)], {}).run()


def test_a_failure_names_its_reproduction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "_run_native", lambda step, memory: None)
    with pytest.raises(AssertionError, match=r"reproduce: plait\.testing\.fuzz\.check\(1\)"):
        fuzz.check(1)

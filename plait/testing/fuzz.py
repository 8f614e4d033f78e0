"""Random programs, compiled and compared with the interpreter.

`check(seed)` compiles the program of a seed as fused kernels and operation by operation. For each plan it

- runs it as one program, with its memory laid out in an arena;
- runs its steps one by one on separate arrays, each kernel in two ranges of iterations, the later one first: the
  results must be the same bits;
- runs each kernel through the interpreter on the same inputs: the same bits again, but for sums and products;
- runs it with outputs written over inputs, as compiled functions update their state: the same bits again.

The two plans must agree within the rounding errors that the program was built with.

    python -m plait.testing.fuzz --count 100000 --minutes 10
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import plait.prims  # noqa: F401 - registers every primitive
from plait.compiler.kernels import Source
from plait.compiler.pipeline import Jump, Label, Launch, Plan, Value, compile_nodes
from plait.core.errors import GradientError
from plait.ir.loop import Accumulate, Buffer, Kernel, Scan, walk
from plait.runtime.buffer import from_numpy, to_numpy
from plait.runtime.code import evaluate_size, load_kernel, target
from plait.runtime.launch import Executable
from plait.testing.lanes import PATTERN, run_kernel
from plait.testing.laws import leaf, run
from plait.testing.samples import random_program
from plait.transforms.batch import batch, broadcast_to_batch
from plait.transforms.differentiate import instantiate, pull_back, push_forward

Array = Any
_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
_KEPT_KERNELS = 4096
_GUARD = 64  # bytes after each value that nothing may write
_kernels: dict[str, Kernel] = {}
Memory = dict[Value, Array]
"""The bytes of each value of a plan."""


def check(seed: int) -> None:
    """Check the random program of `seed`.

    Raises `AssertionError` whose text ends with the call that reproduces it.
    """
    try:
        program = random_program(seed)
        results = [_check_plan(program.outputs, program.leaves, program.arrays, fused) for fused in (True, False)]
        for k, (node, fused, plain) in enumerate(zip(program.outputs, *results, strict=True)):
            _expect_near(fused, plain, program.errors[k], f"output {k} ({node!r}), fused and operation by operation")
    except Exception as error:
        again = f"plait.testing.fuzz.check({seed})"
        raise AssertionError(f"{type(error).__name__}: {error}\n  reproduce: {again}") from error


def check_batching(seed: int) -> None:
    """Check that the random program of `seed`, batched over some of its inputs, equals a loop over the examples.

    Raises `AssertionError` whose text ends with the call that reproduces it.
    """
    program, random, size = random_program(seed), np.random.default_rng(seed), 2
    mask = [bool(random.random() < 0.7) for _ in program.leaves]
    mask = mask if any(mask) else [True] * len(mask)
    stacked = [
        np.stack([random.permuted(a.reshape(-1)).reshape(a.shape) for _ in range(size)]) if m else a
        for a, m in zip(program.arrays, mask, strict=True)
    ]
    try:
        new = [leaf(s) for s in stacked]
        outputs, carries = batch(program.outputs, program.leaves, new, mask, size)
        full = [o if c else broadcast_to_batch(o, size) for o, c in zip(outputs, carries, strict=True)]
        got = run(full, new, stacked)
        for i in range(size):
            example = [s[i] if m else s for s, m in zip(stacked, mask, strict=True)]
            for k, want in enumerate(run(program.outputs, program.leaves, example)):
                what = f"output {k} ({program.outputs[k]!r}), example {i}, batched {mask}"
                _expect_near(got[k][i], want, 2 * program.errors[k], what)
    except Exception as error:
        again = f"plait.testing.fuzz.check_batching({seed})"
        raise AssertionError(f"{type(error).__name__}: {error}\n  reproduce: {again}") from error


def check_transposition(seed: int) -> bool:
    """Check that the vjp of the random program of `seed` is the transpose of its jvp: <Jv, w> = <v, J'w>.

    Returns whether there was something to check. Raises `AssertionError` whose text ends with the reproduction.
    """
    program, random = random_program(seed), np.random.default_rng(seed)
    outputs = [o for o in program.outputs if o.dtype.is_inexact]
    chosen = [k for k, node in enumerate(program.leaves) if node.dtype.is_inexact]
    if not outputs or not chosen or any(n.dtype.compute is not n.dtype for n in (*outputs, *program.leaves)):
        return False  # rounding to 8 or 11 bits would hide mistakes
    wanted, given = [program.leaves[k] for k in chosen], [program.arrays[k] for k in chosen]

    def direction(a: Array) -> Array:
        values = random.standard_normal(a.shape) + (1j * random.standard_normal(a.shape) if a.dtype.kind == "c" else 0)
        return np.asarray(values).astype(a.dtype)

    try:
        directions, vectors = [leaf(a) for a in given], [direction(a) for a in given]
        results, tangents = push_forward(outputs, wanted, directions)
        present = [instantiate(t, o.aval) for t, o in zip(tangents, results, strict=True)]
        pushed = run(present, [*program.leaves, *directions], [*program.arrays, *vectors])
        seeds, weights = [leaf(p) for p in pushed], [direction(p) for p in pushed]
        pulled = pull_back(outputs, wanted)[1](seeds)
        filled = [instantiate(c, n.aval) for c, n in zip(pulled, wanted, strict=True)]
        back = run(filled, [*program.leaves, *seeds], [*program.arrays, *weights])
        _expect_equal_products([*zip(pushed, weights, strict=True)], [*zip(back, vectors, strict=True)])
    except GradientError:
        return False  # forward mode only
    except Exception as error:
        again = f"plait.testing.fuzz.check_transposition({seed})"
        raise AssertionError(f"{type(error).__name__}: {error}\n  reproduce: {again}") from error
    return True


def _expect_equal_products(forward: Sequence[tuple[Array, Array]], backward: Sequence[tuple[Array, Array]]) -> None:
    terms = [[np.sum(a.astype(np.complex128) * b) for a, b in pairs] for pairs in (forward, backward)]
    sizes = [np.sum(np.abs(a.astype(np.complex128) * b)) for a, b in (*forward, *backward)]
    tolerance = 1e-9 if all(a.dtype.itemsize >= 8 for a, _ in (*forward, *backward)) else 2e-3
    apart = abs((sum(terms[0]) - sum(terms[1])).real)
    # a function that is NaN somewhere (the remainder by 0) has no derivative there
    assert not apart > tolerance * (sum(sizes) + 1), f"{sum(terms[0])} != {sum(terms[1])}"


def _check_plan(outputs: Sequence[Any], leaves: Sequence[Any], arrays: Sequence[Array], fused: bool) -> list[Array]:
    plan = compile_nodes(outputs, leaves, fused)
    buffers = Executable(plan).run([from_numpy(a, copy=True) for a in arrays])
    found = _results(outputs, buffers)
    stepped = _run_steps(plan, arrays, _launch)
    for k, (whole, single, node) in enumerate(zip(found, stepped, outputs, strict=True)):
        expect_bits(
            whole, single.view(node.dtype.numpy).reshape(node.shape), f"output {k}, as one program and in steps"
        )
    pairs = _matching(outputs, leaves)
    if pairs:
        updating = Executable(compile_nodes(outputs, leaves, fused), pairs)
        updated = _results(outputs, updating.run([from_numpy(a, copy=True) for a in arrays]))
        for k, (fresh, over) in enumerate(zip(found, updated, strict=True)):
            expect_bits(over, fresh, f"output {k}, with outputs {pairs} written over inputs")
    return found


def _results(outputs: Sequence[Any], buffers: Sequence[Any]) -> list[Array]:
    return [to_numpy(b, o.dtype.numpy, o.shape).copy() for b, o in zip(buffers, outputs, strict=True)]


def _matching(outputs: Sequence[Any], leaves: Sequence[Any]) -> dict[int, int]:
    """For outputs an input of the same shape and dtype, each input once."""
    pairs: dict[int, int] = {}
    for k, output in enumerate(outputs):
        free = [i for i, node in enumerate(leaves) if node.aval is output.aval and i not in pairs.values()]
        if free:
            pairs[k] = free[0]
    return pairs


def kernels_of(seed: int) -> list[tuple[Source, list[Array], dict[str, int]]]:
    """Return the kernels of the fused program of `seed`, each with its arrays as they are before it runs."""
    found = []

    def visit(step: Launch, memory: Memory) -> None:
        found.append((step.source, [a.copy() for a in _views(step, memory)], step.scalars))
        _run_native(step, memory)

    program = random_program(seed)
    _run_steps(compile_nodes(program.outputs, program.leaves), program.arrays, visit)
    return found


def _run_steps(plan: Plan, arrays: Sequence[Array], visit: Callable[[Launch, Memory], None]) -> list[Array]:
    """Walk the steps of a plan with memory of its own for each value; `visit` runs the kernels."""
    memory = {v: _aligned(a) for v, a in zip(plan.inputs, arrays, strict=True)}
    for value in plan.values:
        memory.setdefault(value, _allocate(value.nbytes))
    places = {id(s): k for k, s in enumerate(plan.steps)}
    k = 0
    while k < len(plan.steps):
        step = plan.steps[k]
        k += 1
        if isinstance(step, Launch):
            visit(step, memory)
        elif isinstance(step, Jump):
            if step.unless is None or not memory[step.unless][0]:
                k = places[id(step.label)]
        elif not isinstance(step, Label):
            raise AssertionError(f"no random program has a {type(step).__name__}")
    for value, array in memory.items():
        if not (array[value.nbytes :] == PATTERN).all():
            raise AssertionError(f"a kernel wrote beyond the end of a value of {value.nbytes} bytes")
    return [memory[v][: v.nbytes] for v in plan.outputs]


def _aligned(array: Array) -> Array:
    """Return the bytes of an array at a multiple of 64, followed by a guard."""
    raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    memory = _allocate(raw.size)
    memory[: raw.size] = raw
    return memory


def _allocate(nbytes: int) -> Array:
    block = np.full(nbytes + 2 * _GUARD, PATTERN, np.uint8)
    start = -block.ctypes.data % _GUARD
    return block[start : start + nbytes + _GUARD]


def _arguments(kernel: Kernel) -> list[Buffer]:
    return [b for b in kernel.functions[0].buffers if b.space != "workspace"] if kernel.functions else []


def _views(step: Launch, memory: Memory) -> list[Array]:
    """The values of a step as arrays of the storage dtypes that its kernel declares."""
    pairs = zip(_arguments(written(step.source)), step.values, strict=False)
    return [memory[v][: v.nbytes].view(b.dtype.numpy) for b, v in pairs]


def _launch(step: Launch, memory: Memory) -> None:
    """Run one kernel as machine code and interpreted, on the same inputs."""
    kernel = written(step.source)
    arguments, views = _arguments(kernel), _views(step, memory)
    before = [v.copy() for v in views]
    expected = [v.copy() for v in views]
    run_kernel(kernel, expected, step.scalars)
    _run_native(step, memory)
    inexact = _accumulates(kernel)
    results = {v for b, v in zip(arguments, step.values, strict=True) if b.space == "output"}
    for buffer, value, view, old, want in zip(arguments, step.values, views, before, expected, strict=True):
        if buffer.space == "input" and value in results:
            continue  # updated in place
        what = f"{buffer!r} of\n{step.source.key}\n {step.scalars}"
        if buffer.space == "input":
            expect_bits(view, old, f"an input was written: {what}")
        elif inexact and buffer.dtype.is_inexact:
            _expect_near(view, want, _slack(before, view), f"machine code and interpreter: {what}")
        else:
            expect_bits(view, want, f"machine code and interpreter: {what}")


def written(source: Source) -> Kernel:
    """Return the loop IR of a kernel."""
    found = _kernels.get(source.key)
    if found is None:
        if len(_kernels) >= _KEPT_KERNELS:
            _kernels.clear()
        found = _kernels[source.key] = source.write("fuzz", target())
    return found


def _run_native(step: Launch, memory: Memory) -> None:
    loaded = load_kernel(step.source)
    arrays = [memory[v] for v in step.values]
    arrays += [_allocate(evaluate_size(size, step.scalars)) for size in loaded.workspaces]
    table = np.array([a.ctypes.data for a in arrays], np.int64)
    arguments = np.array([*range(len(arrays)), *[step.scalars[n] for n in loaded.scalars]], np.int64)
    for address, size, _ in loaded.functions:
        extent = evaluate_size(size, step.scalars)
        middle = extent // 2
        for low, high in ((middle, extent), (0, middle)):
            _FUNCTION(address)(table.ctypes.data, arguments.ctypes.data, low, high)


def _accumulates(kernel: Kernel) -> bool:
    """Whether the order of sums or products is free."""
    return any(
        isinstance(s, (Accumulate, Scan)) and s.accumulator.op in ("add", "mul") and s.accumulator.dtype.is_floating
        for f in kernel.functions
        for s in walk(f.body)
    )


def _slack(inputs: Sequence[Array], result: Array) -> float:
    """How far results may be apart when sums are taken in another order."""
    largest, count = 1.0, 1
    rough = 0.0
    for a in (*inputs, result):
        if a.dtype.kind in "fV" and a.size:
            wide = np.abs(a.astype(np.float64))
            largest = max(largest, float(wide[np.isfinite(wide) & (wide < 1e6)].max(initial=0.0)))
            rough = max(
                rough, 2.0**-7 if a.dtype.itemsize == 2 and a.dtype.kind == "V" else float(np.finfo(a.dtype).eps)
            )
            count = max(count, a.size)
    return float(64 * rough * largest**2 * count**0.5)


def expect_bits(got: Array, want: Array, what: str) -> None:
    """Raise `AssertionError` unless two arrays are the same bits, all NaNs being one."""
    same = (
        got.view(np.uint8).tobytes() == want.view(np.uint8).tobytes() if got.ndim else got.tobytes() == want.tobytes()
    )
    if same:
        return
    wide, reference = (np.reshape(a, -1) for a in (got, want))
    raw = [np.ascontiguousarray(a).view(np.uint8).reshape(len(a), -1) for a in (wide, reference)]
    equal = (raw[0] == raw[1]).all(axis=1) | ((wide != wide) & (reference != reference))
    if not equal.all():
        k = int(np.argmin(equal))
        raise AssertionError(f"{what}: at {k} got {wide[k]!r}, expected {reference[k]!r}")


def _expect_near(got: Array, want: Array, error: float, what: str) -> None:
    if got.dtype.kind in "biu" or error == 0.0:
        same = (got == want) | ((got != got) & (want != want))
        apart = np.where(same, 0.0, np.inf)
    else:
        wide, reference = (a.astype(np.complex128 if a.dtype.kind == "c" else np.float64) for a in (got, want))
        with np.errstate(all="ignore"):
            apart = np.where(
                (wide == reference) | (np.isnan(wide) & np.isnan(reference)), 0.0, np.abs(wide - reference)
            )
    allowed = 4 * error
    if apart.size and not (apart <= allowed).all():
        k = np.unravel_index(int(np.argmax(~(apart <= allowed))), apart.shape)
        place = tuple(int(i) for i in k)
        raise AssertionError(f"{what}: at {place} got {got[k]!r}, expected {want[k]!r}, allowed {allowed:.3g}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check many programs; returns the number that failed."""
    parser = argparse.ArgumentParser(prog="python -m plait.testing.fuzz", description=check.__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many programs")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first one")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after this time (0: never)")
    parser.add_argument("--failures", type=int, default=10, help="stop after so many failures")
    options = parser.parse_args(arguments)
    start, done, failed = time.monotonic(), 0, 0
    for seed in range(options.seed, options.seed + options.count):
        try:
            check(seed)
        except AssertionError as error:
            failed += 1
            print(f"{error}\n", flush=True)
        done += 1
        if failed >= options.failures or (options.minutes and time.monotonic() - start > 60 * options.minutes):
            break
    print(f"{done} programs, {failed} failed, {time.monotonic() - start:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(min(1, main()))

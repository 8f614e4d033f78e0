"""Small programs of Python give the same plain, under jit, grad, jit(grad), grad(jit) and vmap, or what is documented.

A record in `programs_*.py` declares one; see `cases.Program`.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plait
from plait.core.errors import AbstractValueError, PerformanceWarning
from tests.semantics.cases import PROGRAMS, Description, Program

for _path in sorted(Path(__file__).parent.glob("programs_*.py")):
    importlib.import_module(f"tests.semantics.{_path.stem}")

_CALLS = 3
_EVERY = list(PROGRAMS.values())


def by_name(programs: list[Program]) -> Any:
    return pytest.mark.parametrize("program", programs, ids=lambda p: p.name)


def run(program: Program, wrap: Callable[[Any], Any], calls: int = _CALLS) -> list[Description]:
    """What arguments, result and state are after each call."""
    arguments, function, state = program.fresh()
    call, found = wrap(function), []
    for _ in range(calls):
        if program.raises is None:
            result = call(*arguments)
            found.append(Description([[] if program.inside else arguments, result, state]))
        else:
            with pytest.raises(program.raises):
                call(*arguments)
            found.append(Description([arguments, state]))
    return found


def quietly(program: Program, action: Callable[[], Any]) -> Any:
    """Run an action that warns if, and only if, the program looks at values."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = action()
    is_split = program.looks and program.raises is None
    assert {w.category for w in caught} == ({PerformanceWarning} if is_split else set()), caught
    if is_split:
        assert all("semantics" in w.filename for w in caught), [w.filename for w in caught]
    return result


@by_name(_EVERY)
def test_jit(program: Program) -> None:
    wanted = run(program, lambda f: f)
    found = quietly(program, lambda: run(program, plait.jit))
    if program.raises is not None:
        arguments, _, state = program.fresh()
        wanted = [Description([arguments, state])] * _CALLS  # as before the call
    for k, (a, b) in enumerate(zip(wanted, found, strict=True)):
        (wanted[0] if program.once or program.inside else a).check(b, f"{program.name}, call {k + 1}")


# gradients -------------------------------------------------------------------------------------------------------


def total(value: Any) -> plait.Tensor:
    """A scalar of everything that a result holds."""
    result = plait.tensor(0.0, dtype="float64")
    for k, t in enumerate(_tensors(value)):
        if t.dtype.is_inexact:
            weights = np.cos(np.arange(t.numel()) + k).reshape(t.shape)
            result = result + ((t.real if t.dtype.is_complex else t) * weights).sum()
    return result


def _tensors(value: Any) -> list[plait.Tensor]:
    if isinstance(value, plait.Tensor):
        return [value]
    if isinstance(value, dict):
        return [t for v in value.values() for t in _tensors(v)]
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in _tensors(v)]
    return _tensors(vars(value)) if hasattr(value, "__dict__") and not callable(value) else []


def differentiable(arguments: list[Any]) -> tuple[int, ...]:
    """The positions of arguments that hold nothing but floats."""
    leaves = [plait.tree.leaves(a) for a in arguments]
    floats = [[isinstance(v, plait.Tensor) and v.dtype.is_inexact for v in some] for some in leaves]
    return tuple(k for k, some in enumerate(floats) if some and all(some))


_DIFFERENTIATED = [p for p in _EVERY if p.grad and p.raises is None and differentiable(p.fresh()[0])]


def gradients_of(program: Program, wrap: Callable[[Any, Any], Any], calls: int = 2) -> list[Description]:
    arguments, function, state = program.fresh()
    call, found = wrap(function, differentiable(arguments)), []
    for _ in range(calls):
        gradient = call(*arguments)
        found.append(Description([gradient, state]))
    return found


def gradient(function: Any, positions: Any) -> Any:
    return plait.grad(lambda *args: total(function(*args)), positions)


@by_name([p for p in _DIFFERENTIATED if p.smooth])
def test_grad(program: Program) -> None:
    """The derivative in one direction is that of differences."""
    arguments, function, _ = program.fresh()
    positions = differentiable(arguments)
    leaves, structure = plait.tree.flatten([arguments[k] for k in positions])
    random = np.random.default_rng(0)
    directions = [random.normal(size=v.shape) for v in leaves]
    found = plait.tree.leaves(list(gradient(function, positions)(*arguments)))
    slope = sum((g.numpy().real * d).sum() for g, d in zip(found, directions, strict=True))

    def at(step: float) -> float:
        arguments, function, _ = program.fresh()
        moved = [plait.tensor(v.numpy() + step * d) for v, d in zip(leaves, directions, strict=True)]
        for k, a in zip(positions, plait.tree.unflatten(structure, moved), strict=True):
            arguments[k] = a
        return total(function(*arguments)).item()

    assert slope == pytest.approx((at(1e-5) - at(-1e-5)) / 2e-5, rel=1e-6, abs=1e-6)


@by_name(_DIFFERENTIATED)
def test_grad_and_jit(program: Program) -> None:
    wanted = gradients_of(program, gradient)
    inside = gradients_of(program, lambda f, k: gradient(plait.jit(f), k))
    around = quietly(program, lambda: gradients_of(program, lambda f, k: plait.jit(gradient(f, k))))
    for k in range(len(wanted)):
        wanted[k].check(inside[k], f"grad(jit({program.name})), call {k + 1}")  # recorded anew by each call
        (wanted[0] if program.once else wanted[k]).check(around[k], f"jit(grad({program.name})), call {k + 1}")


# batches ---------------------------------------------------------------------------------------------------------


def is_batchable(program: Program) -> bool:
    arguments, function, state = program.fresh()
    if not program.vmap or state or program.raises is not None:
        return False
    leaves = plait.tree.leaves(arguments)
    results = plait.tree.leaves(function(*arguments))
    return any(isinstance(v, plait.Tensor) for v in leaves) and all(isinstance(v, plait.Tensor) for v in results)


@by_name([p for p in _EVERY if is_batchable(p)])
def test_vmap(program: Program) -> None:
    arguments, function, _ = program.fresh()
    leaves, structure = plait.tree.flatten(arguments)
    places = [k for k, v in enumerate(leaves) if isinstance(v, plait.Tensor)]
    batch = [[leaves[k].numpy(), leaves[k].numpy()[..., ::-1] if leaves[k].ndim else leaves[k].numpy()] for k in places]

    def call(*tensors: plait.Tensor) -> Any:
        values = list(leaves)
        for k, t in zip(places, tensors, strict=True):
            values[k] = t
        return plait.tree.leaves(function(*plait.tree.unflatten(structure, values)))

    stacked = [plait.tensor(np.stack(pair)) for pair in batch]
    if program.looks:
        with pytest.raises(AbstractValueError, match="semantics"):
            plait.vmap(call)(*stacked)
        return
    found = plait.vmap(call)(*stacked)
    wanted = [call(*[plait.tensor(np.array(pair[k])) for pair in batch]) for k in range(2)]
    for f, *w in zip(found, *wanted, strict=True):
        np.testing.assert_allclose(f.numpy(), np.stack([t.numpy() for t in w]), 1e-9, 1e-9)


def test_there_are_many() -> None:
    assert len(PROGRAMS) >= 200

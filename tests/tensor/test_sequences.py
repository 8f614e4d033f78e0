"""Random sequences of views, writes and reads hold the values that NumPy's do, eagerly and compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait
from tests.tensor.sequences import Line, Maker, execute, shrunk, text_of, values_only


def final(shape: tuple[int, ...], lines: list[Line], library: str) -> dict[str, np.ndarray[Any, Any]]:
    """The values of all names at the end."""
    start = np.linspace(-1.0, 1.0, int(np.prod(shape))).reshape(shape)
    if library == "numpy":
        space = {"transpose": np.transpose, "diagonal": _diagonal, "squeeze": np.squeeze, "alias": lambda x: x[...]}
        space["a"] = start.copy()
        _run(lines, space)
        return {k: np.array(v) for k, v in space.items() if isinstance(v, (np.ndarray, np.generic))}
    functions = {
        "transpose": plait.permute, "diagonal": plait.diagonal, "squeeze": plait.squeeze, "alias": lambda x: x[...],
    }  # fmt: skip

    def run(a: plait.Tensor) -> dict[str, plait.Tensor]:
        space = {**functions, "a": a}
        _run(lines, space)
        return {k: v for k, v in space.items() if isinstance(v, plait.Tensor)}

    argument = plait.tensor(start)
    found = (plait.jit(run) if library == "jit" else run)(argument)
    assert found["a"] is argument
    return {k: v.numpy() for k, v in found.items()}


def _run(lines: list[Line], space: dict[str, Any]) -> None:
    for _ in execute(lines, space):
        pass
    space.pop("__builtins__", None)


def _diagonal(x: np.ndarray[Any, Any], offset: int) -> np.ndarray[Any, Any]:
    result = np.diagonal(x, offset)
    result.flags.writeable = True
    return result


def same(wanted: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> bool:
    return wanted.shape == found.shape and np.allclose(wanted, found, 1e-12, 1e-12)


def differs(shape: tuple[int, ...], lines: list[Line], library: str) -> bool:
    wanted, found = final(shape, lines, "numpy"), final(shape, lines, library)
    return any(not same(wanted[k], found[k]) for k in wanted)


@pytest.mark.parametrize("library", ["eager", "jit"])
@pytest.mark.parametrize("seed", range(60))
def test_values(seed: int, library: str) -> None:
    maker = Maker(seed, 12, values_only)
    if differs(maker.shape, maker.lines, library):
        lines = shrunk(maker.lines, lambda some: differs(maker.shape, some, library))
        wanted, found = final(maker.shape, lines, "numpy"), final(maker.shape, lines, library)
        wrong = next(k for k in wanted if not same(wanted[k], found[k]))
        text = f"{text_of(maker.shape, lines)}\n{wrong} is\n{found[wrong]}\nnot\n{wanted[wrong]}"
        pytest.fail(text, pytrace=False)

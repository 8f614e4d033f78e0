"""What a case of `surface.py` is, its inputs, and families of cases that differ in a name alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Call = Callable[..., Any]


class Names:
    """The names of several modules of one library, those of the first before those of the second."""

    def __init__(self, *modules: Any) -> None:
        self.modules = modules

    def __getattr__(self, name: str) -> Any:
        for module in self.modules:
            found = getattr(module, name, None)
            if found is not None:
                setattr(self, name, found)
                return found
        raise AttributeError(f"none of {[m.__name__ for m in self.modules]} has {name}")


@dataclass(frozen=True)
class Case:
    """One function: `call(names, *inputs)`, and what differs in a library."""

    name: str
    call: Call
    inputs: str
    plait: Call | None = None
    torch: Any = None  # False: PyTorch has no such function
    jax: Any = None  # False: JAX has no such function
    gradient: tuple[int, ...] | None = None  # forward and backward: value and gradient in these arguments
    jit: bool = True  # no: the size of the result depends on values
    drawn: bool = False  # random results are compared by their mean and deviation
    tolerance: float = 1e-4


N = 1 << 20
_random = np.random.default_rng


def _normal(*shape: int, dtype: Any = np.float32, seed: int = 0) -> Any:
    return _random(seed + sum(shape)).standard_normal(shape).astype(dtype)


def _uniform(low: float, high: float, *shape: int, seed: int = 1) -> Any:
    return _random(seed).uniform(low, high, shape or (N,)).astype(np.float32)


def _integers(high: int, *shape: int, low: int = 0, seed: int = 2) -> Any:
    return _random(seed).integers(low, high, shape or (N,))


def _complex(*shape: int, seed: int = 3) -> Any:
    return (_normal(*shape, seed=seed) + 1j * _normal(*shape, seed=seed + 1)).astype(np.complex64)


def _positive_definite(*shape: int) -> Any:
    a = _normal(*shape)
    return a @ a.swapaxes(-1, -2) / shape[-1] + np.eye(shape[-1], dtype=np.float32)


def _distinct(*shape: int) -> Any:
    return _random(4).permutation(np.prod(shape)).astype(np.float32).reshape(shape)


INPUTS: dict[str, Callable[[], Any]] = {
    "x": lambda: _normal(N),
    "y": lambda: _normal(N, seed=5),
    "w": lambda: _normal(N, seed=6),
    "double": lambda: _normal(N, dtype=np.float64),
    "half": lambda: _normal(N, dtype=np.float16),
    "positive": lambda: _uniform(0.05, 12),
    "positive2": lambda: _uniform(0.05, 12, seed=7),
    "above1": lambda: _uniform(1.01, 20),
    "unit": lambda: _uniform(-0.99, 0.99),
    "part": lambda: _uniform(0.01, 0.99),
    "part2": lambda: _uniform(0.01, 0.99, seed=8),
    "i": lambda: _integers(1000, low=1),
    "j": lambda: _integers(50, low=1, seed=9),
    "i32": lambda: _integers(1000, low=1).astype(np.int32),
    "mask": lambda: _integers(2).astype(bool),
    "mask2": lambda: _integers(2, seed=10).astype(bool),
    "z": lambda: _complex(N),
    "z2": lambda: _complex(N, seed=11),
    "m": lambda: _normal(1024, 1024),
    "m2": lambda: _normal(1024, 1024, seed=12),
    "near1": lambda: _uniform(0.99, 1.01, 1024, 1024),
    "simplex": lambda: (lambda e: e / e.sum(1, keepdims=True))(np.exp(_normal(1024, 1024))),
    "mmask": lambda: _integers(2, 1024, 1024).astype(bool),
    "md": lambda: _distinct(1024, 1024),
    "mz": lambda: _complex(1024, 1024),
    "short": lambda: _normal(131072, 8),
    "d": lambda: _distinct(N),
    "edges": lambda: np.linspace(-3, 3, 1000, dtype=np.float32),
    "rows": lambda: _integers(1024, 1024),
    "labels": lambda: _integers(1024, 1024, seed=13),
    "places": lambda: _integers(1024, 1024, 1024),
    "where1000": lambda: _integers(1000),
    "zeros1000": lambda: np.zeros(1000, np.float32),
    "zeros1000x64": lambda: np.zeros((1000, 64), np.float32),
    "x64": lambda: _normal(16384, 64),
    "rows16k": lambda: _integers(1000, 16384),
    "vocabulary": lambda: _normal(10000, 64),
    "tokens": lambda: _integers(10000, 16384),
    "s512": lambda: _normal(512, 512),
    "t512": lambda: _normal(512, 512, seed=14),
    "spd512": lambda: _positive_definite(512, 512),
    "b32": lambda: _normal(1000, 32, 32),
    "c32": lambda: _normal(1000, 32, 32, seed=15),
    "spd32": lambda: _positive_definite(1000, 32, 32),
    "r32": lambda: _normal(1000, 32, 1),
    "v1024": lambda: _normal(1024),
    "p512x64": lambda: _normal(512, 64),
    "q512x64": lambda: _normal(512, 64, seed=16),
    "k32": lambda: _normal(32, 32),
    "one1024": lambda: _uniform(0.5, 1.5, 1024),
    "image": lambda: _normal(16, 64, 32, 32),
    "image2": lambda: _normal(16, 64, 32, 32, seed=17),
    "c64": lambda: _uniform(0.5, 1.5, 64),
    "d64": lambda: _normal(64),
    "kernel": lambda: _normal(64, 64, 3, 3) / 24,
    "depthwise": lambda: _normal(64, 1, 3, 3) / 3,
    "grid": lambda: _uniform(-1.1, 1.1, 16, 32, 32, 2),
    "signal": lambda: _normal(16, 64, 1024),
    "kernel1": lambda: _normal(64, 64, 3) / 14,
    "heads": lambda: _normal(4, 8, 256, 64),
    "heads2": lambda: _normal(4, 8, 256, 64, seed=18),
    "heads3": lambda: _normal(4, 8, 256, 64, seed=19),
    "sign": lambda: (_integers(2) * 2 - 1).astype(np.float32),
    "targets": lambda: _integers(2).astype(np.float32),
    "cross": lambda: _normal(350000, 3),
    "cross2": lambda: _normal(350000, 3, seed=20),
    "none": lambda: np.zeros(1, np.float32),
}


@functools.lru_cache(maxsize=4)
def _input(name: str) -> Any:
    return INPUTS[name]()


def inputs(names: str) -> list[Any]:
    return [_input(name) for name in names.split()]


def named(names: str, input_names: str, *rest: Any, label: str = "", jax: dict[str, str] | None = None) -> list[Case]:
    """Cases of functions that take the inputs and `rest` alike, with JAX's names where they are others."""

    def call(name: str) -> Call:
        return lambda t, *a: getattr(t, name)(*a, *rest)

    other = jax or {}
    return [
        Case(n + label, call(n), input_names, jax=call(other[n]) if other.get(n) else False if n in other else None)
        for n in names.split()
    ]


def special(names: str, input_names: str, *rest: Any) -> list[Case]:
    """Cases of functions in the module `special`."""
    return [
        Case(
            f"special.{n}",
            lambda t, *a, n=n: getattr(t.special, n)(*a, *rest),
            input_names,
            jax=None if n in "entr i0e i1 i1e ndtr ndtri log_ndtr zeta xlog1py".split() else False,
        )
        for n in names.split()
    ]


def reductions(names: str, matrix: str, label: str = "") -> list[Case]:
    """Cases of reductions of a matrix over each axis and over both."""
    axes = [c for axis in (0, 1) for c in named(names, matrix, axis, label=f"{label} 1024x1024, axis {axis}")]
    return axes + named(names, matrix, label=f"{label} of all")

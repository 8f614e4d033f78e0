"""Programs of Python semantics, as records: how one is declared, made for each run, and described to be compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

import plait

PROGRAMS: dict[str, Program] = {}


@dataclasses.dataclass(frozen=True)
class Spec:
    """A tensor that each run makes anew."""

    values: Any
    dtype: Any = "float64"

    def make(self) -> plait.Tensor:
        return plait.tensor(self.values, dtype=self.dtype)


def spec(*values: Any, dtype: Any = "float64") -> Spec:
    """A vector, or with one number in a list a tensor of rank 0 or of more axes."""
    return Spec(values[0] if len(values) == 1 and isinstance(values[0], list) else list(values), dtype)


X = spec(1.5, -0.5, 2.0)
Y = spec(0.25, 3.0, -1.0)
S = Spec(1.25)
NEGATIVE = Spec(-0.75)
M = Spec([[1.0, 2.0, -3.0], [0.5, -1.5, 2.5]])
N = Spec([2, 0, 1], "int64")


@dataclasses.dataclass(frozen=True)
class Program:
    """A program and what is documented about it.

    `make` returns the function, then the state that is compared after each call. `looks`: Python looks at values, so
    that `jit` splits it and warns, and `vmap` refuses. `raises`: the exception of every call. `once`: side effects of
    Python that `jit` has once for each staged version. `grad` and `vmap`: whether the program is run under these.
    `inside`: what it does to containers among its arguments is not seen outside of `jit`, which hands over copies.
    `smooth`: whether differences of values tell the derivative: not so where a program detaches, or steps.
    """

    name: str
    make: Callable[[], tuple[Any, ...]]
    arguments: tuple[Any, ...]
    looks: bool = False
    raises: type[BaseException] | None = None
    once: bool = False
    grad: bool = True
    vmap: bool = True
    smooth: bool = True
    inside: bool = False

    def fresh(self) -> tuple[list[Any], Any, list[Any]]:
        """Return new arguments, the function, and its state."""
        plait.manual_seed(0)
        function, *state = self.make()
        return made(list(self.arguments)), function, state


def made(value: Any) -> Any:
    """`value` with a new tensor for each spec; the same spec inside one value is the same tensor."""
    known: dict[int, plait.Tensor] = {}

    def visit(v: Any) -> Any:
        if isinstance(v, Spec):
            return known.setdefault(id(v), v.make())
        if isinstance(v, dict):
            return {k: visit(w) for k, w in v.items()}
        if isinstance(v, (list, tuple)):
            items = [visit(w) for w in v]
            return type(v)(*items) if hasattr(v, "_fields") else type(v)(items)
        return v

    return visit(value)


def program(*arguments: Any, **options: Any) -> Callable[[Any], Any]:
    """Register a function without state of its own."""

    def register(function: Any) -> Any:
        return stateful(*arguments, **options)(_constant(function), name=function.__name__)

    return register


def _constant(function: Any) -> Any:
    def make() -> tuple[Any, ...]:
        return (function,)

    return make


def stateful(*arguments: Any, **options: Any) -> Callable[..., Any]:
    """Register a function that makes the program: `(function, *state)`."""

    def register(make: Any, name: str | None = None) -> Any:
        name = name or make.__name__
        assert name not in PROGRAMS, name
        PROGRAMS[name] = Program(name, make, arguments, **options)
        return make

    return register


class Description:
    """What a value is: its structure, with tensors numbered by identity, and the arrays of the tensors."""

    def __init__(self, value: Any) -> None:
        self.arrays: list[np.ndarray[Any, Any]] = []
        self.tensors: list[plait.Tensor] = []
        self.structure = self._visit(value, 0)

    def _visit(self, v: Any, depth: int) -> Any:
        assert depth < 20
        if isinstance(v, plait.Tensor):
            for k, t in enumerate(self.tensors):
                if t is v:
                    return f"tensor {k}"
            self.tensors.append(v)
            self.arrays.append(np.array(v.detach().numpy()))
            gradient = None if v._grad is None else self._visit(v._grad, depth + 1)
            return type(v).__name__, v.dtype.name, v.shape, v.requires_grad, gradient
        if isinstance(v, plait.nn.Module):
            return type(v).__name__, v.training, self._visit(dict(v.state_dict(keep_vars=True)), depth + 1)
        if isinstance(v, dict):
            items = sorted(v.items(), key=str) if type(v) is dict else v.items()  # pytrees visit dicts in this order
            return type(v).__name__, [(k, self._visit(w, depth + 1)) for k, w in items]
        if isinstance(v, (list, tuple)):
            return type(v).__name__, [self._visit(w, depth + 1) for w in v]
        if isinstance(v, np.ndarray):
            self.arrays.append(v)
            return "array"
        if isinstance(v, float):
            self.arrays.append(np.array(v))
            return "float"
        if hasattr(v, "__dict__") and not callable(v):
            return type(v).__name__, self._visit(vars(v), depth + 1)
        return type(v).__name__, repr(v) if not callable(v) else getattr(v, "__name__", "")

    def check(self, other: Description, what: str, strict: float = 1e-9) -> None:
        """Assert that another value is the same."""
        assert self.structure == other.structure, f"{what}: {other.structure}, not {self.structure}"
        for a, b in zip(self.arrays, other.arrays, strict=True):
            tolerance = strict if a.dtype in (np.float64, np.complex128) else 2e-5
            np.testing.assert_allclose(b, a, tolerance, tolerance, err_msg=what)

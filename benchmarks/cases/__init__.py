"""The cases of `suite.py`: one file for each group, each case with one function for each framework.

A case is built from a `kit` (`suite_kits.py`, `suite_functional.py`), which stands for a framework and a way to use it:
`kit.compile`, `kit.train` and so on do what is idiomatic there. PyTorch and plait share names, so they share the
function called `torch`; JAX and TensorFlow share the function called `jax`, whose layers are methods of the kit.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

GROUPS = ("perceptrons", "convolutions", "transformers", "recurrent", "derivatives", "numerics", "elements", "products")

Build = Callable[..., Callable[[], Any]]


@dataclass(frozen=True)
class Case:
    """One row: what is computed, how large, and what it takes at least.

    Args:
        name: unique.
        torch: `torch(kit, **sizes)` returns a function without arguments that does one step, in PyTorch and in plait.
        jax: the same in JAX and TensorFlow.
        sizes: keyword arguments of these functions.
        tiny: those that differ where it is only tested that all runs.
        plait: where plait's idiom is not that of PyTorch.
        tf: where TensorFlow's is not that of JAX; False: left out.
        flops: of a step, additions and multiplications counted apart; None: counted by running `jax` with a kit that
            counts those of products and convolutions.
        traffic: bytes that a step reads and writes at least; None: counted likewise.
        tolerance: by which results may differ, relative to the largest element.
        dtype: of the products, whose peak bounds the floor.
        training: one of the training steps, whose memory and eager versions are compared.
    """

    name: str
    torch: Build
    jax: Build
    sizes: Mapping[str, Any] = field(default_factory=dict)
    tiny: Mapping[str, Any] = field(default_factory=dict)
    plait: Build | None = None
    tf: Build | bool | None = None
    flops: float | Callable[..., float] | None = None
    traffic: float | Callable[..., float] | None = None
    tolerance: float = 1e-4
    dtype: str = "float32"
    training: bool = False

    def build(self, kit: Any, tiny: bool = False) -> Callable[[], Any]:
        """Return the step of a framework.

        Raises:
            NotImplementedError: the case leaves this framework out.
        """
        function = getattr(self, kit.family)
        if kit.family == "plait" and function is None:
            function = self.torch
        if kit.family == "tf" and function is None:
            function = self.jax
        if not function:
            raise NotImplementedError(f"{self.name} is left out in {kit.family}")
        return function(kit, **self.all_sizes(tiny))

    def all_sizes(self, tiny: bool = False) -> dict[str, Any]:
        return {**self.sizes, **(self.tiny if tiny else {})}


def cases() -> list[Case]:
    """Return all cases, group by group."""
    return [case for group in GROUPS for case in importlib.import_module(f"cases.{group}").CASES]


def numbers(name: str, *shape: int, low: float | None = None, high: float = 1.0) -> np.ndarray:
    """Return float32 numbers that depend on the name alone: normal ones, or between two bounds."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    if low is None:
        return generator.standard_normal(shape, np.float32)
    return generator.uniform(low, high, shape).astype(np.float32)


def integers(name: str, high: int, *shape: int) -> np.ndarray:
    """Return int64 numbers below a bound that depend on the name alone."""
    return np.random.default_rng(zlib.crc32(name.encode())).integers(0, high, shape)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the initial value of a parameter or buffer, by its name in PyTorch's modules and its shape there."""
    if name.endswith("running_var"):
        return numbers(name, *shape, low=0.8, high=1.2)
    if len(shape) >= 2:
        gain = 0.02 if "embedding" in name else (2 if len(shape) == 4 else 1) / np.sqrt(np.prod(shape[1:]))
        return numbers(name, *shape) * np.float32(gain if len(shape) != 4 else gain / np.sqrt(2))
    centre = 1.0 if name.endswith("weight") else 0.0
    return (centre + 0.1 * numbers(name, *shape)).astype(np.float32)

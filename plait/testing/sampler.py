"""Values of random programs, with a bound on how far two right computations of them may be apart.

Every value carries `bound` (its largest magnitude) and `error` (0 where every right computation gives the same bits).
What jumps (comparisons, roundings, positions, indices) is applied to exact values only, so that two compilations of
one program can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from plait.core.aval import aval
from plait.core.dtype import (
    DType,
    bfloat16,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from plait.core.graph import Node, constant, placeholder
from plait.core.primitive import P
from plait.prims.rules import draw
from plait.testing.laws import epsilon

Array = Any
Shape = tuple[int, ...]
SIZES = (0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 7, 8, 13, 16, 17, 33)
LARGE_SIZES = (31, 64, 65, 100, 129)
FLOAT_KINDS = (float32,) * 12 + (float64,) * 3 + (bfloat16,) * 2 + (float16,) * 2
INTEGER_KINDS = (int32, int64, int32, int64, uint8, int8, uint32, int16, uint16, uint64)
MODERATE = 60.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A value of a random program."""

    node: Node
    bound: float
    error: float

    @property
    def dtype(self) -> DType:
        """Its dtype."""
        return self.node.dtype

    @property
    def shape(self) -> Shape:
        """Its shape, all integers."""
        return self.node.shape  # type: ignore[return-value]

    @property
    def size(self) -> int:
        """Its number of elements."""
        return math.prod(self.shape)

    @property
    def is_exact(self) -> bool:
        """Whether every right computation gives the same bits."""
        return self.error == 0.0


def is_float(s: Sample) -> bool:
    """Whether a sample is of a real float dtype."""
    return s.dtype.is_floating


@dataclass(slots=True)
class Program:
    """A graph, its inputs with their values, and for each output how far right results may be apart."""

    outputs: list[Node]
    leaves: list[Node]
    arrays: list[Array]
    errors: list[float]


@dataclass
class Sampler:
    """Grows one random program."""

    random: np.random.Generator
    limit: int
    pool: list[Sample] = field(default_factory=list)
    leaves: list[Node] = field(default_factory=list)
    arrays: list[Array] = field(default_factory=list)

    # choices
    def integer(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return int(self.random.integers(low, high, endpoint=True))

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return bool(self.random.random() < probability)

    def choose(self, options: Sequence[Any]) -> Any:
        """One of the options."""
        return options[self.integer(0, len(options) - 1)]

    def permutation(self, n: int) -> tuple[int, ...]:
        """A random order of range(n)."""
        return tuple(int(k) for k in self.random.permutation(n))

    def axes(self, n: int) -> tuple[int, ...]:
        """A random subset of range(n), in order."""
        return tuple(k for k in range(n) if self.chance(0.5)) or ((self.integer(0, n - 1),) if n else ())

    def pick(self, accepts: Callable[[Sample], bool] = lambda s: True) -> Sample | None:
        """A value of the program so far, recent ones more often."""
        found = [s for s in self.pool if accepts(s) and s.error <= 0.01 * (1 + s.bound)]
        if not found:
            return None
        return found[max(self.integer(0, len(found) - 1), self.integer(0, len(found) - 1))]

    def shape(self, rank: int | None = None) -> Shape:
        """A random shape within the limit."""
        rank = self.choose((0, 1, 1, 2, 2, 2, 3, 3, 4)) if rank is None else rank
        sizes = SIZES if self.limit < 2000 or self.chance(0.5) else LARGE_SIZES
        shape = [self.choose(sizes) for _ in range(rank)]
        while math.prod(shape) > self.limit:
            k = int(np.argmax(shape))
            shape[k] = max(1, shape[k] // 3)
        return tuple(shape)

    # values
    def leaf(self, dtype: DType, shape: Shape, low: float = -2, high: float = 2) -> Sample:
        """A new input."""
        array = np.asarray(draw(self.random, dtype, shape, low, high))
        if dtype.is_floating and self.chance(0.2):
            array = (np.round(array.astype(np.float64) * 4) / 4).astype(dtype.numpy)  # so that ties occur
        node = placeholder(aval(dtype, shape))
        self.leaves.append(node)
        self.arrays.append(array)
        bound = float(np.abs(array.astype(np.complex128)).max(initial=0.0))
        sample = Sample(node, bound, 0.0)
        self.pool.append(sample)
        return sample

    def keep(self, node: Node, bound: float, error: float = 0.0, rounds: bool = True) -> Sample | None:
        """Add a value; `rounds` says whether its last operation rounds."""
        if node.aval.size > 4 * self.limit:
            return None
        dtype = node.dtype
        if dtype.is_integer:
            bound, error = min(bound, float(np.iinfo(dtype.numpy).max)), 0.0
        elif dtype.is_inexact and rounds:
            error += 8 * epsilon(dtype) * bound + 1e-30
        if dtype.is_inexact and bound > MODERATE:
            power = math.ceil(math.log2(bound)) - 2
            node, bound, error = P.mul(node, 2.0**-power), bound * 2.0**-power, error * 2.0**-power
            error += epsilon(dtype) * bound
        sample = Sample(node, bound, error)
        self.pool.append(sample)
        return sample

    def partner(self, x: Sample) -> Sample:
        """A value that broadcasts with `x`, of its dtype."""
        if self.chance(0.15):
            value = self.choose((0.5, 1.0, -1.25, 2.0) if x.dtype.is_inexact else (0, 1, 3))
            dtype = x.dtype
            return Sample(constant(value, dtype), abs(value), 0.0)
        same = self.pick(lambda s: s.dtype is x.dtype and broadcasts(s.shape, x.shape))
        if same is not None and self.chance(0.85):
            return same
        other = self.pick(lambda s: broadcasts(s.shape, x.shape) and is_float(s))
        if other is not None and is_float(x) and self.chance(0.6):
            error = other.error + epsilon(x.dtype) * other.bound
            return Sample(P.convert(other.node, dtype=x.dtype), other.bound, error)
        shape = tuple(1 if self.chance(0.3) else n for n in x.shape)[self.choose((0, 0, 0, 1, 2)) :]
        return self.leaf(x.dtype, shape, 0 if x.dtype.kind == "u" else -2, 2 if x.dtype.is_inexact else 9)


def broadcasts(a: Shape, b: Shape) -> bool:
    """Whether two shapes broadcast."""
    return all(m in (1, n) or n == 1 for m, n in zip(a[::-1], b[::-1], strict=False))

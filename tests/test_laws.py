"""Every primitive obeys its laws over its declared domain, for every dtype."""

from __future__ import annotations

import pytest

import plait.prims  # noqa: F401
from plait.core.dtype import bfloat16, bool_, complex64, float32, float64, int32
from plait.core.primitive import PRIMITIVES, Domain, Primitive
from plait.testing import laws

DECLARED = [p for p in PRIMITIVES.values() if isinstance(p.domain, Domain)]
PAIRS = [(p, d) for p in DECLARED for d in p.domain.dtypes]  # type: ignore[union-attr]
TRANSFORMED = [(p, d) for p, d in PAIRS if d.is_inexact and not d.is_storage_only]
EVERY_SIZE = (bool_, int32, bfloat16, float32, float64, complex64)


def sizes(primitive: Primitive, dtype: object) -> tuple[int, ...]:
    """Every size for the main dtypes; convolutions, whose kernels take longest to compile, only once for others."""
    if primitive.name.startswith("conv_") or primitive.name == "conv":
        return (0, 1, 7) if dtype is float32 else (7,)
    return laws.SIZES if dtype in EVERY_SIZE else (0, 37)


def name(pair: object) -> str:
    return str(getattr(pair, "name", pair))


@pytest.mark.parametrize(("primitive", "dtype"), PAIRS, ids=name)
def test_value(primitive: Primitive, dtype: object) -> None:
    for size in sizes(primitive, dtype):
        laws.check(primitive.name, dtype.name, size, "value")  # type: ignore[attr-defined]


# 16-bit keys tie, and where they do a sort has no derivative.
SMOOTH = [(p, d) for p, d in TRANSFORMED if p.name != "sort" or d.bits >= 32]


@pytest.mark.parametrize(("primitive", "dtype"), SMOOTH, ids=name)
def test_derivative(primitive: Primitive, dtype: object) -> None:
    for size in (1, 7):
        laws.check(primitive.name, dtype.name, size, "derivative")  # type: ignore[attr-defined]


@pytest.mark.parametrize(("primitive", "dtype"), PAIRS, ids=name)
def test_batching(primitive: Primitive, dtype: object) -> None:
    laws.check(primitive.name, dtype.name, 7, "batching")  # type: ignore[attr-defined]


@pytest.mark.parametrize(("primitive", "dtype"), TRANSFORMED, ids=name)
def test_second_order(primitive: Primitive, dtype: object) -> None:
    laws.check(primitive.name, dtype.name, 7, "second_order")  # type: ignore[attr-defined]

"""Reductions: values over the domain, errors, derivatives, batching."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from plait.core.aval import aval
from plait.core.dtype import COMPLEXES, FLOATS, INTEGERS, bool_, float32, int32
from plait.core.errors import DTypeError, ShapeError
from plait.core.graph import placeholder
from plait.core.primitive import PRIMITIVES, P
from tests.prims.kernels import check_batch, check_derivatives, check_values, evaluate, inputs_for

REDUCTIONS = ["reduce_sum", "reduce_prod", "reduce_max", "reduce_min"]
CASES = [((5,), (0,)), ((2, 3), (1,)), ((2, 3, 2), (0, 2)), ((2, 1, 3), (0, 1, 2)), ((2, 3), ()), ((0, 2), (1,))]


@pytest.mark.parametrize("name", [*REDUCTIONS, "reduce_or", "reduce_and"])
def test_avals_follow_the_oracle(name: str) -> None:
    for dtype in PRIMITIVES[name].domain.dtypes:
        check_values(name, dtype)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("dtype", [bool_, *INTEGERS, *FLOATS], ids=str)
def test_positions(name: str, dtype: Any) -> None:
    check_values(name, dtype, (1, 3))


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_position_of_nan_and_of_the_first_of_equals(name: str) -> None:
    arrays = [np.array([[1, np.nan, 3, np.nan], [2, 5, 5, 2], [-np.inf] * 4], np.float32)]
    inputs = inputs_for(arrays)
    (got,) = evaluate([PRIMITIVES[name](inputs[0], axis=1, dtype=int32)], inputs, arrays)
    assert got.dtype == np.int32
    assert got.tolist() == ([1, 1, 0] if name == "argmax" else [1, 0, 0])


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_derivatives(name: str, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).uniform(-2, 2, shape)
    check_derivatives(name, [x], {"axes": axes}, order=2)


@pytest.mark.parametrize("zeros", [1, 2])
def test_product_derivative_at_zeros(zeros: int) -> None:
    x = np.random.default_rng(0).uniform(1, 2, (3, 2, 2))
    x.reshape(-1)[:zeros] = 0
    check_derivatives("reduce_prod", [x], {"axes": (0, 2)}, order=2)
    check_derivatives("reduce_prod", [x * (1 + 2j)], {"axes": (0, 1, 2)})


def test_tied_extremes_share_the_tangent() -> None:
    arrays = [np.array([3.0, 1, 3]), np.array([1.0, 10, 3])]
    x, t = inputs_for(arrays)
    y = P.reduce_max(x, axes=(0,))
    assert evaluate([y.prim.jvp(y, [t])], [x, t], arrays)[0] == 2.0


@pytest.mark.parametrize("name", REDUCTIONS)
def test_batch(name: str) -> None:
    x = np.random.default_rng(0).uniform(-2, 2, (2, 3, 4))
    check_batch(name, [x], {"axes": (0, 2)})


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_batch_of_positions(name: str) -> None:
    check_batch(name, [np.random.default_rng(0).uniform(-2, 2, (2, 3))], {"axis": 0})


def test_errors() -> None:
    x = placeholder(aval(float32, (0, 3)))
    assert P.reduce_max(x, axes=(1,)).shape == (0,)
    for name in ("reduce_max", "reduce_min"):
        with pytest.raises(ShapeError, match="no elements.*Received.*Expected.*Fix"):
            PRIMITIVES[name](x, axes=(0,))
    with pytest.raises(ShapeError, match="no elements"):
        P.argmax(x, axis=0)
    with pytest.raises(ShapeError, match="no axis 2"):
        P.reduce_sum(x, axes=(2,))
    with pytest.raises(ShapeError, match="distinct"):
        P.reduce_sum(x, axes=(1, 0))
    with pytest.raises(DTypeError, match="reduce_sum does not take bool"):
        P.reduce_sum(placeholder(aval(bool_, (3,))), axes=(0,))
    with pytest.raises(DTypeError):
        P.reduce_max(placeholder(aval(COMPLEXES[0], (3,))), axes=(0,))
    with pytest.raises(DTypeError, match="reduce_or"):
        P.reduce_or(x, axes=(1,))

"""Cumulative functions: kernels against NumPy, zeros, infinities and NaN, derivatives, batching."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from plait.core.aval import aval
from plait.core.dtype import bfloat16, bool_, complex64, float16, float32, float64, int8, int32, uint64
from plait.core.errors import DTypeError, ShapeError
from plait.core.graph import placeholder
from plait.core.primitive import PRIMITIVES, P
from plait.prims import lines
from tests.prims.kernels import (
    check_batch,
    check_derivatives,
    check_values,
    evaluate,
    evaluate_symbolic,
    inputs_for,
    oracle,
)

NAMES = ["cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "cumlinear"]
PLACES = [((5,), 0), ((2, 3), 0), ((2, 3, 2), 1), ((1, 4), 1), ((0, 2), 0)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [float32, float64, bfloat16, float16, int8, int32, uint64, complex64], ids=str)
def test_values(name: str, dtype: Any) -> None:
    if dtype not in PRIMITIVES[name].domain.dtypes:
        with pytest.raises(DTypeError):
            PRIMITIVES[name](*[placeholder(aval(dtype, (3,)))] * (2 if name == "cumlinear" else 1), axis=0)
        return
    check_values(name, dtype, (0, 1, 2, 5) if dtype is float32 else (3,))


def test_blocks_of_long_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", 4)
    check_values("cumsum", float32, (5, 8))
    check_values("cumprod", complex64, (5,))


@pytest.mark.parametrize("name", ["cummax", "cummin", "cumlogsumexp", "cumsum"])
@pytest.mark.parametrize("reverse", [False, True])
def test_special_values(name: str, reverse: bool) -> None:
    inf, nan = np.inf, np.nan
    x = np.array(
        [[-inf, -inf, 1, inf, 2], [1, inf, -inf, nan, 2], [nan, 1, -inf, 3, 1], [-200, 0, 200, 1e30, 0], [0] * 5]
    )
    inputs = inputs_for([x])
    node = PRIMITIVES[name](inputs[0], axis=1, reverse=reverse)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(evaluate([node], inputs, [x])[0], oracle(node)(x, **node.params), rtol=1e-14)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "axis"), PLACES)
@pytest.mark.parametrize("reverse", [False, True])
def test_derivatives(name: str, shape: tuple[int, ...], axis: int, reverse: bool) -> None:
    random = np.random.default_rng(0)
    arrays = [random.uniform(-2, 2, shape) for _ in range(2 if name == "cumlinear" else 1)]
    check_derivatives(name, arrays, {"axis": axis, "reverse": reverse}, order=2)


def test_product_derivative_at_zeros() -> None:
    x = np.array([[2.0, 0, 3, 4], [0, 0, 1, 2], [1, 2, 3, 0]])
    for reverse in (False, True):
        check_derivatives("cumprod", [x], {"axis": 1, "reverse": reverse}, order=2)
    check_derivatives("cumprod", [x * (1 - 2j)], {"axis": 0, "reverse": False})


def test_derivative_of_cumlogsumexp_behind_minus_infinity() -> None:
    arrays = [np.array([-np.inf, -np.inf, 1.0, 2.0]), np.ones(4)]
    x, t = inputs_for(arrays)
    y = P.cumlogsumexp(x, axis=0, reverse=False)
    np.testing.assert_allclose(evaluate([y.prim.jvp(y, [t])], [x, t], arrays)[0], [0, 0, 1, 1], rtol=1e-14)


def test_tied_extremes_take_the_last_tangent() -> None:
    arrays = [np.array([1.0, 3, 2, 3, 1]), np.arange(5.0)]
    x, t = inputs_for(arrays)
    y = P.cummax(x, axis=0, reverse=False)
    assert evaluate([y.prim.jvp(y, [t])], [x, t], arrays)[0].tolist() == [0, 1, 1, 3, 3]


@pytest.mark.parametrize("name", NAMES)
def test_batch(name: str) -> None:
    random = np.random.default_rng(0)
    arrays = [random.uniform(-2, 2, (2, 3)) for _ in range(2 if name == "cumlinear" else 1)]
    for axis in (0, 1):
        check_batch(name, arrays, {"axis": axis, "reverse": axis == 1})


def test_first_factor_of_a_recurrence_is_not_used() -> None:
    arrays = [np.array([np.inf, 2.0, np.nan]), np.array([1.0, 3.0, 4.0])]
    inputs = inputs_for(arrays)
    got = evaluate([P.cumlinear(*inputs, axis=0, reverse=False)], inputs, arrays)[0]
    np.testing.assert_array_equal(got, [1, 5, np.nan])


@pytest.mark.parametrize("name", ["cumsum", "cumlogsumexp"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sizes_at_run_time(name: str, axis: int) -> None:
    x = np.random.default_rng(0).uniform(-2, 2, (2, 3, 5))
    (inputs,) = inputs_for([x])
    want = oracle(PRIMITIVES[name](inputs, axis=axis, reverse=False))(x, axis=axis)
    np.testing.assert_allclose(
        evaluate_symbolic(name, [x], {"axis": axis, "reverse": False}, (0, 1, 2)), want, rtol=1e-12
    )


def test_errors() -> None:
    with pytest.raises(ShapeError, match="no axis 1"):
        P.cumsum(placeholder(aval(float32, (3,))), axis=1)
    with pytest.raises(ShapeError, match="at least one axis"):
        P.cumsum(placeholder(aval(float32, ())), axis=0)
    with pytest.raises(ShapeError, match="one shape"):
        P.cumlinear(placeholder(aval(float32, (3,))), placeholder(aval(float32, (4,))), axis=0)
    with pytest.raises(DTypeError):
        P.cumsum(placeholder(aval(bool_, (3,))), axis=0)

"""Reductions over windows: kernels against NumPy, padding, derivatives, batching."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from plait.core.aval import Dim, aval
from plait.core.dtype import bfloat16, bool_, complex64, float32, int8, uint8
from plait.core.errors import DTypeError, ShapeError
from plait.core.graph import placeholder
from plait.core.primitive import PRIMITIVES, P
from plait.prims.window import WINDOW
from tests.prims.kernels import check_batch, check_derivatives, check_values, evaluate, evaluate_symbolic, inputs_for

REDUCTIONS = ["reduce_window_sum", "reduce_window_prod", "reduce_window_max", "reduce_window_min"]
NAMES = [*REDUCTIONS, "window_argmax", "window_argmin", "window_take", "window_put"]
GEOMETRIES = [
    ((6,), (2,), (1,), ((0, 0),), (1,)),
    ((7,), (3,), (2,), ((1, 2),), (1,)),
    ((9,), (2,), (3,), ((2, 0),), (4,)),
    ((3, 5), (2, 1), (1, 2), ((1, 1), (0, 0)), (1, 1)),
    ((2, 4, 3), (1, 3, 2), (1, 2, 1), ((0, 0), (2, 1), (0, 1)), (1, 1, 2)),
    ((), (), (), (), ()),
]


def params_of(geometry: Any) -> dict[str, Any]:
    return dict(zip(WINDOW, geometry[1:], strict=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [float32, bfloat16, int8, uint8, complex64], ids=str)
def test_values(name: str, dtype: Any) -> None:
    if dtype in PRIMITIVES[name].domain.dtypes:
        check_values(name, dtype, (0, 1, 3) if dtype is float32 else (3,))


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_derivatives(name: str, geometry: Any) -> None:
    x = np.random.default_rng(0).uniform(-2, 2, geometry[0])
    order = 2 if geometry[0] == (7,) else 1
    check_derivatives(name, [x], params_of(geometry), order)


def test_product_derivative_at_zeros() -> None:
    x = np.array([0.0, 1, 2, 0, 0, 3, 4])
    check_derivatives("reduce_window_prod", [x], params_of(GEOMETRIES[1]))


def test_nan_first_of_equals_and_windows_of_padding() -> None:
    arrays = [np.array([1, np.nan, 2, 2, -np.inf, -np.inf], np.float32)]
    inputs = inputs_for(arrays)
    params = {"window": (2,), "strides": (2,), "padding": ((2, 0),), "window_dilation": (1,)}
    high, where = (prim(inputs[0], **params) for prim in (P.reduce_window_max, P.window_argmax))
    got = evaluate([high, where, P.window_take(inputs[0], where, **params)], inputs, arrays)
    np.testing.assert_array_equal(got[0], [-np.inf, np.nan, 2, -np.inf])
    assert got[1].tolist() == [-1, 1, 0, 0]
    np.testing.assert_array_equal(got[2], [0, np.nan, 2, -np.inf])


@pytest.mark.parametrize("name", ["window_take", "window_put"])
def test_take_and_put_are_transposes(name: str) -> None:
    random = np.random.default_rng(0)
    params = params_of(GEOMETRIES[4])
    x = random.uniform(-2, 2, GEOMETRIES[4][0])
    windows = P.reduce_window_sum(*inputs_for([x]), **params).shape
    position = random.integers(0, 6, windows)
    arrays = [x, position] if name == "window_take" else [random.uniform(-2, 2, windows), position]
    check_derivatives(name, arrays, params if name == "window_take" else {**params, "shape": x.shape})
    check_batch(name, arrays, params if name == "window_take" else {**params, "shape": x.shape})


@pytest.mark.parametrize("name", [*REDUCTIONS, "window_argmax"])
def test_batch(name: str) -> None:
    x = np.random.default_rng(0).uniform(-2, 2, GEOMETRIES[3][0])
    check_batch(name, [x], params_of(GEOMETRIES[3]))


def test_free_axes_may_be_symbolic() -> None:
    n = Dim("n")
    params = {"window": (1, 2), "strides": (1, 2), "padding": ((0, 0), (0, 0)), "window_dilation": (1, 1)}
    assert P.reduce_window_sum(placeholder(aval(float32, (n, 6))), **params).shape == (n, 3)
    with pytest.raises(ShapeError, match="symbolic"):
        P.reduce_window_sum(placeholder(aval(float32, (6, n))), **params)
    x = np.random.default_rng(0).uniform(-2, 2, (3, 6))
    want = x.reshape(3, 3, 2)
    np.testing.assert_allclose(evaluate_symbolic("reduce_window_sum", [x], params, (0,)), want.sum(2))
    np.testing.assert_array_equal(evaluate_symbolic("window_argmax", [x], params, (0,)), want.argmax(2))


def test_errors() -> None:
    x = placeholder(aval(float32, (3,)))
    good = {"window": (2,), "strides": (1,), "padding": ((0, 0),), "window_dilation": (1,)}
    with pytest.raises(ShapeError, match="larger than the padded axis"):
        P.reduce_window_sum(x, **{**good, "window": (4,)})
    with pytest.raises(ShapeError, match="invalid window"):
        P.reduce_window_sum(x, **{**good, "strides": (0,)})
    with pytest.raises(ShapeError, match="one number for each axis"):
        P.reduce_window_sum(x, **{**good, "window": (2, 2)})
    with pytest.raises(DTypeError):
        P.reduce_window_max(placeholder(aval(bool_, (3,))), **good)

"""Convolution and its gradients: values on every path of the kernels, errors, derivatives, batching."""

from __future__ import annotations

import numpy as np
import pytest

import plait.prims.conv as conv
from plait.core.aval import Dim, aval
from plait.core.dtype import bfloat16, complex64, float32, float64, int32
from plait.core.errors import ArgumentError, ShapeError
from plait.core.graph import placeholder
from plait.core.primitive import P
from plait.testing.oracles import conv as oracles
from tests.prims.kernels import (
    _run as run_symbolic,
    check_batch,
    check_derivatives,
    check_values,
    evaluate,
    inputs_for,
    samples,
)

NAMES = ["conv", "conv_input", "conv_weight"]
PLAIN = {"strides": (1, 1), "padding": ((0, 0), (0, 0)), "lhs_dilation": (1, 1), "rhs_dilation": (1, 1), "groups": 1}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [float32, int32, bfloat16, complex64], ids=str)
def test_values_follow_the_oracle(name: str, dtype) -> None:
    check_values(name, dtype, (1, 5))


@pytest.mark.parametrize("name", NAMES)
def test_packed_values_follow_the_oracle(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv, "_SMALL", 0)
    check_values(name, float64, (1, 6))


CASES = {
    "same": ((2, 20, 30, 28), (40, 20, 3, 3), {"padding": ((1, 1), (1, 1))}),
    "many small images": ((9, 24, 6, 7), (33, 24, 3, 3), {"padding": ((1, 1), (1, 1))}),
    "pointwise": ((2, 40, 13, 12), (20, 40, 1, 1), {}),
    "strided pointwise": ((2, 20, 13, 12), (40, 20, 1, 1), {"strides": (2, 2)}),
    "strided": ((2, 9, 21, 34), (16, 9, 3, 5), {"strides": (2, 3), "padding": ((1, 0), (2, 2))}),
    "dilated": ((1, 16, 24, 20), (24, 16, 3, 3), {"rhs_dilation": (2, 3), "padding": ((2, 2), (-1, 4))}),
    "spaced": ((1, 12, 9, 8), (16, 12, 4, 3), {"lhs_dilation": (2, 3), "padding": ((2, 3), (1, 1))}),
    "grouped": ((3, 24, 10, 11), (32, 6, 3, 3), {"groups": 4, "padding": ((1, 1), (1, 1))}),
    "depthwise": ((2, 40, 17, 19), (40, 1, 3, 3), {"groups": 40, "padding": ((1, 1), (1, 1))}),
    "window of the whole image": ((2, 16, 7, 7), (64, 16, 7, 7), {}),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_larger_shapes(name: str, case: str) -> None:
    random = np.random.default_rng(0)
    x, w, changes = CASES[case]
    params = {**PLAIN, **changes}
    operands = {"x": random.standard_normal(x), "w": random.standard_normal(w)}
    operands["y"] = random.standard_normal(oracles.conv(operands["x"], operands["w"], **params).shape)
    *roles, result = conv._ROLES[name]
    if result != "y":
        params["shape"] = operands[result].shape
    arrays = [operands[role].astype(np.float32) for role in roles]
    inputs = inputs_for(arrays)
    (got,) = evaluate([getattr(P, name)(*inputs, **params)], inputs, arrays)
    np.testing.assert_allclose(got, getattr(oracles, name)(*arrays, **params), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives(name: str) -> None:
    for arrays, params in samples(name, float64, (4,))[:4]:
        check_derivatives(name, arrays, params)


@pytest.mark.parametrize("name", NAMES)
def test_batching(name: str) -> None:
    for arrays, params in samples(name, float64, (4,))[:4]:
        check_batch(name, arrays, params, size=2)


def test_padding_does_not_read_infinity() -> None:
    x, w = np.full((1, 8, 6, 40), np.inf, np.float32), np.ones((16, 8, 3, 3), np.float32)
    x[..., 1:-1] = 1
    inputs = inputs_for([x, w])
    (got,) = evaluate([P.conv(*inputs, **PLAIN)], inputs, [x, w])
    assert np.isinf(got[..., [0, -1]]).all()
    assert (got[..., 1:-1] == 72).all()


def test_errors_say_what_to_do() -> None:
    x, w = placeholder(aval(float32, (1, 4, 8, 8))), placeholder(aval(float32, (6, 2, 3, 3)))
    with pytest.raises(ShapeError, match="channels do not match"):
        P.conv(x, w, **PLAIN)
    with pytest.raises(ShapeError, match="groups must divide"):
        P.conv(x, w, **{**PLAIN, "groups": 4})
    with pytest.raises(ArgumentError, match="strides must be positive"):
        P.conv(x, w, **{**PLAIN, "groups": 2, "strides": (0, 1)})
    with pytest.raises(ArgumentError, match="one entry for each spatial axis"):
        P.conv(x, w, **{**PLAIN, "groups": 2, "padding": ((0, 0),)})
    with pytest.raises(ShapeError, match="same spatial axes"):
        P.conv(x, placeholder(aval(float32, (6, 4, 3))), **PLAIN)
    with pytest.raises(ShapeError, match="shape of the convolution's result"):
        P.conv_input(x, w, shape=(1, 4, 9, 9), **{**PLAIN, "groups": 2})


@pytest.mark.parametrize("name", NAMES)
def test_run_time_batch(name: str) -> None:
    random = np.random.default_rng(0)
    params = {**PLAIN, "padding": ((1, 1), (1, 1))}
    batch = Dim("batch")
    for size in (1, 5):
        operands = {"x": random.standard_normal((size, 9, 8, 7)), "w": random.standard_normal((11, 9, 3, 3))}
        operands["y"] = random.standard_normal((size, 11, 8, 7))
        *roles, result = conv._ROLES[name]
        shapes = {role: a.shape if role == "w" else (batch, *a.shape[1:]) for role, a in operands.items()}
        given = params if result == "y" else {**params, "shape": shapes[result]}
        arrays = [operands[role] for role in roles]
        node = getattr(P, name)(*[placeholder(aval(float64, shapes[role])) for role in roles], **given)
        want = getattr(oracles, name)(*arrays, **params, **({} if result == "y" else {"shape": operands[result].shape}))
        np.testing.assert_allclose(run_symbolic(node, arrays, {batch: size}), want, rtol=1e-10, atol=1e-10)

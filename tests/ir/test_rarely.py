"""Values behind a branch: `rarely` is a select, whatever the lanes of a vector choose."""

from __future__ import annotations

import numpy as np
import pytest
from evaluating import Compiled

from plait.core.dtype import float32, float64
from plait.ir import math
from plait.ir.loop import rarely, unary


def nested(x):
    root = unary("sqrt", x)
    large = rarely(x > 100.0, math.log(root) + root, root * 2)
    return large * rarely(x > 1.0, large + root, x), root


@pytest.mark.parametrize("dtype", [float32, float64])
@pytest.mark.parametrize("high", [0.5, 50.0, 500.0])
def test_every_mixture_of_lanes(dtype, high):
    x = np.random.default_rng(0).uniform(0.1, high, 133).astype(dtype.numpy)
    root = np.sqrt(x)
    large = np.where(x > 100, np.log(root) + root, root * 2)
    want = large * np.where(x > 1, large + root, x)
    function = Compiled(nested, dtype, 1)
    for got in (function(x), function.interpreted(x)):
        np.testing.assert_allclose(got[0], want, rtol=4 * np.finfo(dtype.numpy).eps)
        np.testing.assert_array_equal(got[1], root)
    for mixed in (np.r_[x[:40], 200, x[40:]], np.r_[x, np.nan], x[:1], x[:0]):
        assert np.array_equal(function(mixed)[1], np.sqrt(mixed.astype(dtype.numpy)), equal_nan=True)


def test_constants_on_either_side():
    function = Compiled(lambda x: (rarely(x > 1.0, math.exp(x), math.where(x > 9.0, x, 0)),), float32, 1)
    np.testing.assert_allclose(function(np.float32([0.5, 2.0, 0.1]))[0], [0, np.exp(2), 0], rtol=1e-6)

"""The movement primitives: values, errors, derivatives, batching, and the arithmetic of their indices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from generic import execute
from kernels import check_batch, check_derivatives, check_values, oracle, samples

from plait.core.aval import Dim, aval
from plait.core.dtype import FLOAT8, bfloat16, bool_, complex64, float16, float32, float64, int8, int64, uint64
from plait.core.errors import DTypeError, ShapeError
from plait.core.graph import Node, placeholder
from plait.core.primitive import PRIMITIVES, P
from plait.ir.loop import int64 as index_dtype, make
from plait.prims.movement import reshape_index

NAMES = ["reshape", "broadcast", "transpose", "slice", "pad", "concatenate", "reverse"]
DTYPES = [bool_, int8, uint64, float16, bfloat16, float32, complex64, *FLOAT8]
SYMBOL = Dim("n")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values(name: str, dtype: Any) -> None:
    check_values(name, dtype, (0, 1, 3) if dtype is float32 else (2,))


@pytest.mark.parametrize("dtype", [int8, int64, bfloat16, float64], ids=str)
def test_iota(dtype: Any) -> None:
    check_values("iota", dtype, (0, 1, 5))


@pytest.mark.parametrize("name", [*NAMES, "iota"])
@pytest.mark.parametrize("size", [0, 1, 5])
def test_generic_sizes(name: str, size: int) -> None:
    for arrays, params in samples(name, float32, [size]):
        node = PRIMITIVES[name](*[placeholder(aval(float32, a.shape)) for a in arrays], **params)
        np.testing.assert_array_equal(execute(PRIMITIVES[name], arrays, params), oracle(node)(*arrays, **params))


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_and_batching(name: str) -> None:
    for size in (0, 1, 3):
        for arrays, params in samples(name, float64, [size]):
            check_derivatives(name, arrays, params)
            if size != 0 and len(arrays) < 3:
                check_batch(name, arrays, params)


def test_slots_of_cost_and_sharding() -> None:
    for name in NAMES:
        for arrays, params in samples(name, float32, [4]):
            node = PRIMITIVES[name](*[placeholder(aval(float32, a.shape)) for a in arrays], **params)
            assert node.prim.cost(node)[1] >= 0
            if name != "reshape":
                inputs, output = node.prim.shard(node)
                assert [len(x) for x in inputs] == [a.ndim for a in arrays] and len(output) == node.ndim


def _index(count: int) -> list[Any]:
    return [make("scalar", (), index_dtype, f"i{k}") for k in range(count)]


def test_reshape_passes_untouched_axes_through() -> None:
    i = _index(4)
    assert reshape_index(i[:3], [2, 3, 4], [2, 12]) == [i[0], i[1] * 4 + i[2]]
    assert reshape_index(i[:2], [2, 12], [2, 3, 4]) == [i[0], i[1] // 4, i[1] % 4]
    assert reshape_index(i[:3], [5, 1, 7], [1, 5, 7, 1]) == [0, i[0], i[2], 0]
    assert reshape_index(i[:2], [4, 6], [3, 8])[0] is (i[0] * 6 + i[1]) // 8
    n, m = make("scalar", (), index_dtype, "n"), make("scalar", (), index_dtype, "m")
    assert reshape_index(i[:3], [n, m, 16], [n, 1, m, 16]) == [i[0], 0, i[1], i[2]]
    assert reshape_index(i[:2], [n, 16], [m, 4, 16]) == [i[0] // 4, i[0] % 4, i[1]]
    assert reshape_index(i[:2], [0, 3], [3, 0]) == [0, 0]


def _x(*shape: Any, dtype: Any = float32) -> Node:
    return placeholder(aval(dtype, shape))


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (lambda: P.reshape(_x(2, 3), shape=(4,)), r"\(2, 3\) with 6 elements.*\(4,\) with 4 elements"),
        (lambda: P.reshape(_x(SYMBOL, 3), shape=(SYMBOL, 4)), "Cannot reshape"),
        (lambda: P.broadcast(_x(2, 3), shape=(2, 4), axes=(0, 1)), "Cannot broadcast"),
        (lambda: P.broadcast(_x(2), shape=(2, 4), axes=(2,)), "axes from 0 to 1"),
        (lambda: P.transpose(_x(2, 3), permutation=(0, 0)), "distinct axes"),
        (lambda: P.transpose(_x(2, 3), permutation=(0,)), "2 entries"),
        (lambda: P.slice(_x(4), starts=(1,), limits=(5,), strides=(1,)), "Received: 1:5:1. Expected: 0 <= start"),
        (lambda: P.slice(_x(SYMBOL), starts=(1,), limits=(SYMBOL,), strides=(1,)), "Bad slice of axis 0"),
        (lambda: P.pad(_x(2), _x(), low=(-3,), high=(0,), interior=(0,)), "Bad padding of axis 0"),
        (lambda: P.pad(_x(2), _x(1), low=(1,), high=(0,), interior=(0,)), "one number"),
        (lambda: P.concatenate(_x(2, 3), _x(2, 4), axis=0), "equal sizes except on axis 0"),
        (lambda: P.concatenate(_x(2), _x(2), axis=1), "missing axis"),
        (lambda: P.reverse(_x(2), axes=(1,)), "axes from 0 to 0"),
        (lambda: P.iota(dtype=int64, shape=(), axis=0), "no axes"),
    ],
)
def test_shape_errors(record: Callable[[], Any], text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        record()


def test_dtype_errors() -> None:
    with pytest.raises(DTypeError, match="one dtype"):
        P.concatenate(_x(2), _x(2, dtype=int64), axis=0)
    with pytest.raises(DTypeError, match="iota does not take bool"):
        P.iota(dtype=bool_, shape=(3,), axis=0)


def test_symbolic_sizes() -> None:
    x = _x(SYMBOL, 1, 4)
    assert P.reshape(x, shape=(4, SYMBOL)).shape == (4, SYMBOL)
    assert P.broadcast(x, shape=(SYMBOL, 3, 4), axes=(0, 1, 2)).shape == (SYMBOL, 3, 4)
    whole = P.slice(x, starts=(0, 0, 1), limits=(SYMBOL, 1, 3), strides=(1, 1, 1))
    assert whole.shape == (SYMBOL, 1, 2)
    (back,) = PRIMITIVES["slice"].transpose(whole, whole, [True])
    assert back.shape == x.shape
    assert P.pad(x, 0.0, low=(0, 1, 0), high=(0, 0, 0), interior=(0, 0, 0)).shape == (SYMBOL, 2, 4)

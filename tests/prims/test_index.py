"""gather, the scatters and the dynamic slices: values, errors, derivatives (duplicates too) and batching."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from generic import execute
from kernels import check_batch, check_derivatives, check_values, close, evaluate, inputs_for, oracle, samples

from plait.core.aval import Dim, aval
from plait.core.dtype import FLOAT8, bfloat16, bool_, complex64, float16, float32, float64, int8, int64, uint64
from plait.core.errors import ArgumentError, DTypeError, ShapeError
from plait.core.graph import Node, placeholder
from plait.core.primitive import PRIMITIVES, P
from plait.prims.rules import draw
from plait.testing.laws import run

MOVES = ["gather", "scatter_set", "dynamic_slice", "dynamic_update_slice"]
SCATTERS = ["scatter_set", "scatter_add", "scatter_mul", "scatter_min", "scatter_max"]
NAMES = [*MOVES, *SCATTERS[1:]]


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("dtype", [bool_, int8, uint64, bfloat16, float32, complex64, *FLOAT8], ids=str)
def test_values_of_moves(name: str, dtype: Any) -> None:
    check_values(name, dtype, (0, 1, 4) if dtype is float32 else (2,))


@pytest.mark.parametrize("name", SCATTERS[1:])
@pytest.mark.parametrize("dtype", [int8, uint64, float16, float32, complex64], ids=str)
def test_values_of_scatters(name: str, dtype: Any) -> None:
    if not (dtype.is_complex and name in ("scatter_min", "scatter_max")):
        check_values(name, dtype, (0, 1, 4) if dtype is float32 else (3,))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [0, 1, 4])
def test_generic_sizes(name: str, size: int) -> None:
    for arrays, params in samples(name, bfloat16, [size]):
        got = execute(PRIMITIVES[name], arrays, params)
        want = oracle(PRIMITIVES[name](*inputs_for(arrays), **params))(*arrays, **params)
        close(got, want, 8.0)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives(name: str) -> None:
    for size in (0, 1, 4):
        for arrays, params in samples(name, float64, [size]):
            check_derivatives(name, arrays, params)


def test_second_derivative_of_scatter_mul() -> None:
    arrays = [np.array([2.0, 3.0]), np.array([0.5, 4.0, 7.0]), np.array([1, 1, 0])]
    check_derivatives("scatter_mul", arrays, {"axes": (0,)}, order=2)


@pytest.mark.parametrize("updates", [[0.0, 4.0, 7.0], [0.0, 0.0, 7.0], [0.0, 4.0, 0.0]])
def test_scatter_mul_by_zeros(updates: list[float]) -> None:
    check_derivatives("scatter_mul", [np.array([2.0, 3.0]), np.array(updates), np.array([1, 1, 0])], {"axes": (0,)})


def test_ties_of_scatter_max_share_the_tangent() -> None:
    operand, updates, index = inputs_for([np.array([1.0, 2.0]), np.array([2.0, 2.0, 5.0]), np.array([1, 1, 0])])
    node = P.scatter_max(operand, updates, index, axes=(0,))
    tangents = inputs_for([np.array([1.0, 3.0]), np.array([6.0, 9.0, 2.0])])
    out = node.prim.jvp(node, [*tangents, None])
    arrays = [np.array([1.0, 2.0]), np.array([2.0, 2.0, 5.0]), np.array([1, 1, 0])]
    values = [*arrays, np.array([1.0, 3.0]), np.array([6.0, 9.0, 2.0])]
    (got,) = evaluate([out], [operand, updates, index, *tangents], values)
    np.testing.assert_allclose(got, [2.0, 6.0])


@pytest.mark.parametrize("name", NAMES)
def test_batching(name: str) -> None:
    for arrays, params in samples(name, float64, [3]):
        if len(arrays) < 5:
            check_batch(name, arrays, params, size=2)


def test_long_rows_are_split() -> None:
    random = np.random.default_rng(0)
    arrays = [random.random((2, 300)), random.random((3, 300)), np.array([1, 1, 0])]
    (got,) = evaluate([P.scatter_add(*(nodes := inputs_for(arrays)), axes=(0,))], nodes, arrays)
    np.testing.assert_allclose(got, arrays[0] + np.stack([arrays[1][2], arrays[1][0] + arrays[1][1]]))


def test_many_small_updates_are_not_lost_in_bfloat16() -> None:
    one = np.ones(600, bfloat16.numpy)
    arrays = [np.zeros(1, bfloat16.numpy), one, np.zeros(600, np.int64)]
    (got,) = evaluate([P.scatter_add(*(nodes := inputs_for(arrays)), axes=(0,))], nodes, arrays)
    assert float(got[0]) == 600


@pytest.mark.parametrize("name", SCATTERS)
@pytest.mark.parametrize("dtype", [int64, float16, float32, complex64], ids=str)
def test_many_updates_of_few_elements(name: str, dtype: Any) -> None:
    """They are combined in parts, at some places none, at others many, some outside."""
    if dtype.is_complex and name in ("scatter_min", "scatter_max"):
        return
    random = np.random.default_rng(0)
    arrays = [
        draw(random, dtype, (5, 3), -1, 1),
        draw(random, dtype, (300, 301, 3), -1, 1),
        random.integers(-1, 4, (300, 301)),
    ]
    if name == "scatter_mul":
        arrays[1][:] = np.where(random.integers(0, 2, (300, 301, 3)) == 1, 1, -1)
    want = oracle(PRIMITIVES[name](*inputs_for(arrays), axes=(0,)))(*arrays, axes=(0,))
    (got,) = evaluate([PRIMITIVES[name](*(nodes := inputs_for(arrays)), axes=(0,))], nodes, arrays)
    close(got, want, 4096.0)


@pytest.mark.parametrize("name", SCATTERS)
@pytest.mark.parametrize(("shape", "axes"), [((7, 200), (0, 1)), ((7, 200), (1, 0)), ((7, 200, 2), (0, 1))])
@pytest.mark.parametrize("axis", [0, 1])
def test_counted_axes(name: str, shape: tuple[int, ...], axes: tuple[int, ...], axis: int) -> None:
    """Where one index is a place, updates at other places never meet; what is counted may pass the end."""
    random = np.random.default_rng(1)
    count, place = (9, 210), random.integers(-1, 8, (9, 210))
    arrays = [draw(random, float32, shape), draw(random, float32, (*count, *shape[2:])), place]
    operand, updates, index = inputs_for(arrays)
    counted = P.iota(dtype=int64, shape=count, axis=axis)
    both = [counted, index] if axes[0] == axis else [index, counted]
    node = PRIMITIVES[name](operand, updates, *both, axes=axes)
    numbers = np.indices(count)[axis]
    want = oracle(node)(arrays[0], arrays[1], *[numbers if b is counted else place for b in both], axes=axes)
    (got,) = run([node], [operand, updates, index], arrays)
    close(got, want, 64.0)


def test_slots_of_cost_and_sharding() -> None:
    for name in NAMES:
        for arrays, params in samples(name, float32, [4]):
            node = PRIMITIVES[name](*inputs_for(arrays), **params)
            assert node.prim.cost(node)[1] >= 0
            inputs, output = node.prim.shard(node)
            assert [len(x) for x in inputs] == [a.ndim for a in arrays] and len(output) == node.ndim


def _x(*shape: Any, dtype: Any = float32) -> Node:
    return placeholder(aval(dtype, shape))


_START = _x(dtype=int64)


@pytest.mark.parametrize(
    ("record", "error", "text"),
    [
        (lambda: P.gather(_x(3), _x(2), axes=(0,), mode="clip"), DTypeError, "int64 indices"),
        (lambda: P.gather(_x(3), axes=(), mode="clip"), ShapeError, "at least one"),
        (lambda: P.gather(_x(3), _x(2, dtype=int64), axes=(1,), mode="clip"), ShapeError, "axes from 0 to 0"),
        (lambda: P.gather(_x(0), _x(2, dtype=int64), axes=(0,), mode="clip"), ShapeError, "empty axis"),
        (lambda: P.gather(_x(3), _x(2, dtype=int64), axes=(0,), mode="wrap"), ArgumentError, "'clip' or 'fill'"),
        (
            lambda: P.gather(_x(3, 3), _x(2, dtype=int64), _x(3, dtype=int64), axes=(0, 1), mode="clip"),
            ShapeError,
            "one shape",
        ),
        (lambda: P.scatter_add(_x(3, 4), _x(2, 3), _x(2, dtype=int64), axes=(0,)), ShapeError, r"\(2, 4\)"),
        (lambda: P.scatter_add(_x(3, dtype=bool_), _x(2, dtype=bool_), _START, axes=(0,)), DTypeError, "does not take"),
        (lambda: P.dynamic_slice(_x(3), _START, sizes=(4,)), ShapeError, "does not fit axis 0"),
        (lambda: P.dynamic_slice(_x(3), sizes=(2,)), ShapeError, "a start and a size for each axis"),
        (lambda: P.dynamic_slice(_x(3), _x(), sizes=(2,)), DTypeError, "int64 numbers"),
        (lambda: P.dynamic_update_slice(_x(3), _x(4), _START), ShapeError, "does not fit axis 0"),
    ],
)
def test_errors(record: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        record()


def test_symbolic_sizes() -> None:
    n = Dim("n")
    index = _x(n, dtype=int64)
    node = P.gather(_x(5, n), index, axes=(0,), mode="clip")
    assert node.shape == (n, n)
    assert P.scatter_add(_x(5, n), node, index, axes=(0,)).shape == (5, n)
    assert P.dynamic_slice(_x(n, 5), _START, _START, sizes=(n, 2)).shape == (n, 2)

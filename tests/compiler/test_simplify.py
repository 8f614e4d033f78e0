"""Simplification: fewer nodes, the same values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait.prims  # noqa: F401
from plait.compiler.simplify import expand, simplify
from plait.core.aval import aval
from plait.core.dtype import float32, int64
from plait.core.graph import Graph, Node, constant, is_leaf, placeholder, toposort
from plait.core.primitive import P
from plait.testing import laws


def leaf(*shape: int, dtype: Any = float32) -> Node:
    return placeholder(aval(dtype, shape))


def simpler(node: Node) -> Node:
    return simplify([node], is_leaf)[0]


def test_common_subexpressions_are_one_node() -> None:
    x = leaf(3)
    a, b = simplify([P.exp(P.sin(x)), P.exp(P.sin(x))], is_leaf)
    assert a is b


def test_neutral_elements() -> None:
    x, n = leaf(3), leaf(3, dtype=int64)
    assert simpler(x * 1.0) is x and simpler(1.0 * x) is x and simpler(x / 1.0) is x
    assert simpler(n + 0) is n and simpler(n - 0) is n
    assert simpler(x - 0.0) is x and simpler(x + -0.0) is x


def test_the_sign_of_zero_is_kept() -> None:
    x = leaf(2)
    values = np.array([-0.0, 0.0], np.float32)
    for node in (x + 0.0, 0.0 + x, x - -0.0):
        (got,) = laws.run([node], [x], [values])
        assert not np.signbit(got).any()
    for node in (x - 0.0, x + -0.0):
        (got,) = laws.run([node], [x], [values])
        assert np.signbit(got).tolist() == [True, False]


def test_broadcast_results_stay() -> None:
    x = leaf(3)
    ones = P.broadcast(constant(1, float32), shape=(2, 3), axes=())
    assert simpler(x * ones).shape == (2, 3)


def test_views_combine() -> None:
    x = leaf(2, 3, 4)
    turned = P.transpose(P.transpose(x, permutation=(1, 2, 0)), permutation=(2, 0, 1))
    assert simpler(turned) is x
    assert simpler(P.reshape(P.reshape(x, shape=(24,)), shape=(2, 3, 4))) is x
    assert simpler(P.slice(x, starts=(0, 0, 0), limits=(2, 3, 4), strides=(1, 1, 1))) is x
    assert simpler(P.convert(x, dtype=float32)) is x
    twice = P.broadcast(P.broadcast(leaf(3), shape=(1, 3), axes=(1,)), shape=(5, 4, 3), axes=(1, 2))
    (only,) = [n for n in toposort([simpler(twice)]) if n.inputs]
    assert only.params["axes"] == (2,)


def test_expansion_reaches_kernels() -> None:
    x = leaf(4, 5)
    for node in (P.argmax(x, axis=1, dtype=int64), P.argsort(x, axis=0)):
        names = {n.prim.name for n in toposort(expand([node], is_leaf))}
        assert not names & {"argmax", "argsort"}


def test_bodies_are_inlined() -> None:
    x, inner = leaf(3), leaf(3)
    body = Graph([inner], [P.sin(inner)])
    names = [n.prim.name for n in toposort(expand([P.checkpoint(x, body=body)[0]], is_leaf)) if n.inputs]
    assert names == ["sin"]


@pytest.mark.parametrize("shape", [(100_003,), (70_000,), (2, 50_000), (40_000, 3), (65_536,)], ids=str)
def test_long_reductions_are_split_and_keep_their_value(shape: tuple[int, ...]) -> None:
    x = leaf(*shape)
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for name, function in (("reduce_sum", np.sum), ("reduce_max", np.max), ("reduce_min", np.min)):
        for axes in ((0,), tuple(range(len(shape)))):
            (got,) = laws.run([getattr(P, name)(x, axes=axes)], [x], [values])
            np.testing.assert_allclose(got, function(values.astype(np.float64), axis=axes), rtol=1e-4, atol=2e-2)


def test_sums_do_not_depend_on_the_number_of_threads() -> None:
    x = leaf(200_000)
    values = np.random.default_rng(1).standard_normal(200_000).astype(np.float32)
    found = {laws.run([P.reduce_sum(x, axes=(0,))], [x], [values])[0].tobytes() for _ in range(5)}
    assert len(found) == 1

"""Which operations share a kernel."""

from __future__ import annotations

from typing import Any

import plait.prims  # noqa: F401
from plait.compiler.fuse import CONTRACTIONS, MOST_WEIGHT, fuse, single
from plait.compiler.groups import Group, identity_map, input_map
from plait.core.aval import aval
from plait.core.dtype import bool_, float32, int64
from plait.core.graph import Node, placeholder
from plait.core.primitive import P


def leaf(*shape: int, dtype: Any = float32) -> Node:
    return placeholder(aval(dtype, shape))


def kernels(*outputs: Node) -> list[list[str]]:
    """The primitives of each kernel, in the order of the kernels."""
    return [sorted(m.prim.name for m in g.members) for g in fuse(outputs)]


def along(y: Node, like: Node, axis: int) -> Node:
    return P.broadcast(y, shape=like.shape, axes=tuple(k for k in range(like.ndim) if k != axis))


def test_a_chain_is_one_kernel() -> None:
    x = leaf(5, 7)
    assert kernels(P.exp(P.sin(x) * 2.0 + x)) == [["add", "exp", "mul", "sin"]]


def test_what_a_reshape_moves_once_is_computed_where_it_is_read() -> None:
    x = leaf(64, 1024)
    y = P.abs(x)
    squares = P.reshape(y * y + P.exp(y), shape=(4, 16384))
    assert kernels(P.reduce_sum(squares, axes=(1,))) == [["abs", "add", "exp", "mul", "reduce_sum", "reshape"]]


def test_outputs_of_one_shape_share_a_kernel() -> None:
    x = leaf(5)
    y = P.exp(x)
    (group,) = fuse([y, P.sin(y)])
    assert set(group.outputs) == {y} | {o for o in group.outputs if o.prim.name == "sin"}


def test_an_expensive_value_with_two_distant_readers_is_stored() -> None:
    x = leaf(64, 64)
    y = P.exp(x)
    a, b = P.reduce_sum(P.reverse(y, axes=(0,)), axes=(0,)), P.sort(P.reverse(y, axes=(1,)), axis=0, keys=1)[0]
    assert [k.count("exp") for k in kernels(a, b)].count(1) == 1


def test_views_are_index_arithmetic() -> None:
    x = leaf(6, 8)
    y = P.transpose(P.slice(x, starts=(0, 1), limits=(6, 7), strides=(2, 1)), permutation=(1, 0))
    assert kernels(P.neg(P.reverse(y, axes=(0,)))) == [["neg", "reverse", "slice", "transpose"]]


def test_softmax_is_one_kernel() -> None:
    x = leaf(30, 9)
    e = P.exp(x - along(P.reduce_max(x, axes=(1,)), x, 1))
    found = kernels(e / along(P.reduce_sum(e, axes=(1,)), x, 1))
    assert len(found) == 1 and {"reduce_max", "reduce_sum", "exp", "div"} <= set(found[0])


def test_what_follows_a_product_is_its_epilogue() -> None:
    x, w, b = leaf(16, 8), leaf(8, 4), leaf(4)
    y = P.dot_general(x, w, contract=((1,), (0,)), batch=((), ()))
    found = kernels(P.max(y + along(b, y, 0), 0.0))
    assert found == [["add", "broadcast", "dot_general", "max"]]
    assert "dot_general" in CONTRACTIONS


def test_a_product_reads_its_operands_from_memory() -> None:
    x, w = leaf(16, 8), leaf(8, 4)
    y = P.dot_general(P.exp(x), w, contract=((1,), (0,)), batch=((), ()))
    assert kernels(y) == [["exp"], ["dot_general"]]


def test_reductions_over_other_axes_are_apart() -> None:
    x = leaf(300, 300)
    found = kernels(P.reduce_sum(x, axes=(0,)), P.reduce_sum(x, axes=(1,)))
    assert found == [["reduce_sum"], ["reduce_sum"]]


def test_sorts_and_calls_stand_alone() -> None:
    x = leaf(9)
    values = P.sort(P.exp(x), axis=0, keys=1)[0]
    assert [k for k in kernels(P.neg(values)) if k != ["get"]][:2] == [["exp"], ["sort"]]


def test_every_kernel_comes_after_what_it_reads() -> None:
    x = leaf(40, 8)
    y = P.cumsum(P.exp(x), axis=0)
    z = P.cumsum(y * P.reverse(y, axes=(0,)), axis=1)
    done: set[Node] = set()
    for group in fuse([z + along(P.reduce_sum(z, axes=(1,)), z, 1), y]):
        for member in group.members:
            for i in member.inputs:
                assert i in group.members or i in done or not i.inputs
        done.update(group.outputs)


def test_a_kernel_stays_bounded() -> None:
    y = leaf(4)
    for k in range(3 * MOST_WEIGHT):
        y = P.sin(y) + float(k)
    groups = fuse([y])
    assert len(groups) >= 3 and all(g.weight <= MOST_WEIGHT + 6 for g in groups)


def test_axis_maps() -> None:
    assert identity_map((3, 1, 5)) == (0, None, 2)
    x = leaf(3, 1, 5)
    assert input_map(P.transpose(x, permutation=(2, 0, 1)), 0, (0, 1, None)) == (1, None, 0)
    assert input_map(P.broadcast(leaf(5), shape=(3, 5), axes=(1,)), 0, (0, 1)) == (1,)
    assert input_map(P.reshape(x, shape=(3, 5)), 0, (0, 1)) == (0, None, 1)
    assert input_map(P.reshape(x, shape=(15,)), 0, (0,)) is None
    assert input_map(P.add(leaf(5), leaf(3, 5)), 0, (0, 1)) == (1,)
    assert input_map(P.reverse(x, axes=(0,)), 0, (0, None, 2)) is None


def test_single_operations() -> None:
    x = leaf(3, 4)
    reduction = single(P.reduce_sum(x, axes=(0,)))
    assert reduction.shape == (3, 4) and reduction.axes == (0,) and isinstance(reduction, Group)
    assert single(P.cumsum(x, axis=0)).anchor is not None
    chosen = single(P.select(leaf(3, 4, dtype=bool_), x, x))
    assert chosen.anchor is None and chosen.outputs == list(chosen.members)
    assert single(P.gather(x, leaf(2, dtype=int64), axes=(0,), mode="clip")).shape == (2, 4)

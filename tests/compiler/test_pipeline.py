"""Plans: launches, jumps, outputs, memory that is taken over."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait.prims  # noqa: F401
from plait.compiler.pipeline import HostCall, Jump, Label, Launch, compile_nodes
from plait.core.aval import aval
from plait.core.dtype import bool_, float32, int64
from plait.core.errors import InternalError
from plait.core.graph import Graph, Node, constant, placeholder
from plait.core.primitive import P
from plait.runtime.buffer import from_numpy, to_numpy
from plait.runtime.launch import Executable
from plait.testing.laws import run


def leaf(*shape: int, dtype: Any = float32) -> Node:
    return placeholder(aval(dtype, shape))


ONES = np.ones((3, 4), np.float32)


def kinds(plan: Any) -> list[str]:
    return [type(s).__name__ for s in plan.steps]


@pytest.mark.parametrize("fused", [True, False])
def test_leaves_constants_and_repeats_as_outputs(fused: bool) -> None:
    x = leaf(3, 4)
    y = x + 1.0
    got = run([x, y, y, constant(2.5, float32), x], [x], [ONES], fused)
    for value, want in zip(got, (1, 2, 2, 2.5, 1), strict=True):
        assert (value == want).all()


def test_outputs_have_memory_of_their_own() -> None:
    x = leaf(4)
    y = P.neg(x)
    buffers = Executable(compile_nodes([y, y, x], [x])).run([from_numpy(np.ones(4, np.float32))])
    assert len({b.address for b in buffers}) == 3


def test_unfused_kernels_serve_every_size() -> None:
    sources = set()
    for n in (2, 3, 17):
        x = leaf(n, 5)
        plan = compile_nodes([P.exp(x)], [x], fused=False)
        sources |= {s.source.key for s in plan.steps if isinstance(s, Launch)}
    assert len(sources) == 1


def test_fused_kernels_of_contiguous_shapes_serve_every_size() -> None:
    sources = set()
    for shape in ((2, 3), (17,), (4, 5, 6)):
        x = leaf(*shape)
        (step,) = compile_nodes([P.exp(x) * x + 1.0], [x]).steps
        assert isinstance(step, Launch)
        sources.add(step.source.key)
    assert len(sources) == 1


def body(function: Any, *avals: Any) -> Graph:
    holders = [placeholder(a) for a in avals]
    out = function(*holders)
    return Graph(holders, out if isinstance(out, list) else [out])


def test_cond_jumps_over_the_other_branch() -> None:
    p, x = leaf(dtype=bool_), leaf(4)
    node = P.cond(p, x, true=body(P.sin, x.aval), false=body(P.neg, x.aval))
    plan = compile_nodes([node[0]], [p, x])
    assert kinds(plan).count("Jump") == 2 and kinds(plan).count("Label") == 2
    jumps = [s for s in plan.steps if isinstance(s, Jump)]
    assert jumps[0].unless is not None and jumps[1].unless is None
    for flag, function in ((True, np.sin), (False, np.negative)):
        (got,) = run([node[0]], [p, x], [np.array(flag), np.ones(4, np.float32)])
        np.testing.assert_allclose(got, function(np.ones(4)), rtol=1e-6)


@pytest.mark.parametrize("fused", [True, False])
def test_scan_loops_in_the_plan(fused: bool) -> None:
    h, xs = leaf(3), leaf(5, 3)
    step = body(lambda h, x: [h + x, h * x], h.aval, h.aval)
    node = P.scan(h, xs, body=step, length=5, num_consts=0, num_carry=1, reverse=False)
    plan = compile_nodes([node[0], node[1]], [h, xs], fused)
    assert len(plan.loops) == 1 and sum(isinstance(s, Label) for s in plan.steps) == 2
    values = np.arange(15, dtype=np.float32).reshape(5, 3)
    last, ys = run([node[0], node[1]], [h, xs], [np.zeros(3, np.float32), values], fused)
    before = np.cumsum(values, 0) - values
    np.testing.assert_array_equal(last, values.sum(0))
    np.testing.assert_array_equal(ys, before * values)


def test_scan_of_no_steps_is_no_loop() -> None:
    h, xs = leaf(3), leaf(0, 3)
    step = body(lambda h, x: [h + x, h * x], h.aval, h.aval)
    node = P.scan(h, xs, body=step, length=0, num_consts=0, num_carry=1, reverse=False)
    assert not compile_nodes([node[0]], [h, xs]).loops
    last, ys = run([node[0], node[1]], [h, xs], [np.ones(3, np.float32), np.ones((0, 3), np.float32)])
    assert last.tolist() == [1, 1, 1] and ys.shape == (0, 3)


def test_while_with_constants_in_both_bodies() -> None:
    limit, step, start = leaf(dtype=int64), leaf(dtype=int64), leaf(dtype=int64)
    a = aval(int64)
    node = P.while_loop(
        limit, step, start, condition=body(lambda n, v: P.lt(v, n), a, a), body=body(lambda s, v: v + s, a, a),
        num_consts=(1, 1),
    )  # fmt: skip
    (got,) = run([node[0]], [limit, step, start], [np.array(10), np.array(3), np.array(0)])
    assert got == 12


def test_callbacks_are_host_calls() -> None:
    x = leaf(3)
    node = P.callback(x, function=lambda v: v * 2, avals=(x.aval,))
    plan = compile_nodes([node[0] + 1.0], [x])
    assert sum(isinstance(s, HostCall) for s in plan.steps) == 1
    (got,) = run([node[0] + 1.0], [x], [np.ones(3, np.float32)])
    assert got.tolist() == [3, 3, 3]


def test_a_placeholder_from_elsewhere_is_named() -> None:
    x, stranger = leaf(3), leaf(3)
    with pytest.raises(InternalError, match="belongs to another graph"):
        compile_nodes([x + stranger], [x])


# outputs that take over the memory of inputs


def donate(
    outputs: list[Node], leaves: list[Node], arrays: list[Any], pairs: dict[int, int]
) -> tuple[list[Any], list[bool]]:
    program = Executable(compile_nodes(outputs, leaves), dict(pairs))
    given = [from_numpy(a, copy=True) for a in arrays]
    found = program.run(given)
    same = [found[k].address == given[i].address for k, i in pairs.items()]
    return [to_numpy(b, o.dtype.numpy, o.shape).copy() for b, o in zip(found, outputs, strict=True)], same  # type: ignore[arg-type]


def test_an_update_in_place() -> None:
    w, g = leaf(64), leaf(64)
    (got,), same = donate([w - g * 0.5], [w, g], [np.ones(64, np.float32)] * 2, {0: 0})
    assert same == [True] and (got == 0.5).all()
    plan = compile_nodes([w - g * 0.5], [w, g])
    steps = len(plan.steps)
    plan.donate({0: 0})
    assert len(plan.steps) == steps  # nothing is copied


@pytest.mark.parametrize("fused", [True, False])
def test_an_input_read_later_is_kept_until_then(fused: bool) -> None:
    w = leaf(5)
    values = np.arange(5, dtype=np.float32)
    outputs = [P.reverse(w, axes=(0,)), P.cumsum(w, axis=0), w * 2.0]
    for pairs in ({0: 0}, {1: 0}, {2: 0}):
        found, same = donate(outputs, [w], [values], pairs)
        assert all(same)
        for got, want in zip(found, (values[::-1], np.cumsum(values), values * 2), strict=True):
            np.testing.assert_array_equal(got, want)


def test_swapped_inputs() -> None:
    a, b = leaf(4), leaf(4)
    x, y = np.zeros(4, np.float32), np.ones(4, np.float32)
    found, same = donate([b + 0.0, a + 0.0], [a, b], [x, y], {0: 0, 1: 1})
    assert all(same) and (found[0] == 1).all() and (found[1] == 0).all()
    found, same = donate([b, a], [a, b], [x, y], {0: 0, 1: 1})
    assert all(same) and (found[0] == 1).all() and (found[1] == 0).all()

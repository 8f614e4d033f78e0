"""Graphs: recording, ordering, substitution, closing, inlining, verification, structural equality, printing."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

import plait.prims  # noqa: F401  (registers the primitives)
from plait.core import graph as G
from plait.core.aval import Dim, aval
from plait.core.dtype import bool_, complex64, float32, float64, int32, int64
from plait.core.errors import ArgumentError, InternalError, ShapeError
from plait.core.graph import Graph, Node, Params, constant, full, placeholder, recorder
from plait.core.primitive import PRIMITIVES, P
from plait.core.printer import from_python, to_python

VECTOR = aval(float32, (3,))


def _body(scale: float = 2.0) -> Graph:
    x, y = placeholder(VECTOR), placeholder(VECTOR)
    return Graph([x, y], [x * scale + y, -y])


# recording


def test_record_infers_the_aval_and_the_line() -> None:
    x = placeholder(VECTOR)
    y = x + 1.0
    assert y.aval is VECTOR and y.prim is PRIMITIVES["add"] and y.inputs[0] is x
    assert y.inputs[1] is constant(1.0, float32)
    path, _, line = y.source.rpartition(":")
    assert path == __file__ and int(line) > 0
    assert y.flags == G.ABSTRACT
    assert (1.0 - x).inputs[0] is constant(1.0, float32)


def test_errors_are_raised_at_the_call() -> None:
    with pytest.raises(ShapeError):
        P.add(placeholder(VECTOR), placeholder(aval(float32, (4,))))


def test_mask_and_location() -> None:
    x = placeholder(VECTOR)
    y = x + x
    recorder.mask = ~G.ABSTRACT
    recorder.location = y
    try:
        z = x * x
    finally:
        recorder.mask, recorder.location = -1, None
    assert z.flags == 0 and z.source == y.source


def test_constants_are_shared_by_value_and_kind() -> None:
    assert constant(1, float32) is constant(1, float32)
    assert constant(0.0, float32) is not constant(-0.0, float32)
    assert constant(1, int64) is not constant(True, int64)
    assert full(2.0, VECTOR).aval is VECTOR


def test_params_hash() -> None:
    assert hash(Params(a=1, b=(2,))) == hash(Params(a=1, b=(2,)))
    with pytest.raises(TypeError):
        hash(Params(a=[1]))


def test_several_results() -> None:
    x = placeholder(VECTOR)
    both = P.top_k(x, k=2, axis=0, largest=True)
    assert isinstance(both.aval, tuple) and both[1].dtype is int64
    with pytest.raises(InternalError, match="one result"):
        both[0][0]


# order and substitution


def test_toposort_is_inputs_first_without_repeats() -> None:
    x = placeholder(VECTOR)
    y = x + x
    z = y * y
    order = G.toposort([z, y])
    assert order == [x, y, z]
    assert G.toposort([z], lambda n: n is y) == [y, z]
    deep = x
    for _ in range(5000):
        deep = -deep
    assert len(G.toposort([deep])) == 5001


def test_substitute_keeps_what_does_not_depend() -> None:
    x, y, z = placeholder(VECTOR), placeholder(VECTOR), placeholder(VECTOR)
    fixed, changed = y * 2.0, x * 3.0
    first, second, third = G.substitute([fixed, changed + fixed, x], {x: z})
    assert first is fixed and third is z
    assert second.inputs[0].inputs[0] is z and second.inputs[1] is fixed
    assert second.source == (changed + fixed).source.rpartition(":")[0] + ":" + second.source.rpartition(":")[2]


def test_dependents() -> None:
    x, y = placeholder(VECTOR), placeholder(VECTOR)
    a, b = x + y, y * y
    assert G.dependents([a, b], [x]) == {x, a}


def test_inline_and_close() -> None:
    x, outer = placeholder(VECTOR), placeholder(VECTOR)
    captured = outer * 2.0
    graph, values = G.close([x], [x + captured, captured])
    G.verify(graph)
    assert values == [captured] and len(graph.inputs) == 2
    again = G.inline(graph, [x, captured])
    assert again[0].inputs == (x, captured) and again[1] is captured
    plain, none = G.close([x], [x + 1.0])
    assert none == [] and plain.inputs == (x,)


def test_verify_finds_a_foreign_placeholder() -> None:
    x, other = placeholder(VECTOR), placeholder(VECTOR)
    G.verify(Graph([x], [x + x]))
    with pytest.raises(InternalError, match="placeholder of another graph"):
        G.verify(Graph([x], [x + other]))
    with pytest.raises(InternalError, match="not distinct"):
        G.verify(Graph([x, x], [x]))
    bad = x + x
    bad.aval = aval(float64, (3,))
    with pytest.raises(InternalError, match="aval does not follow"):
        G.verify(Graph([x], [bad]))


# equality


def test_equal_structure_is_equal() -> None:
    assert _body() == _body() and hash(_body()) == hash(_body()) and len({_body(), _body()}) == 1
    assert _body() != _body(3.0)
    assert copy.deepcopy(_body()) == _body()
    x = placeholder(VECTOR)
    assert Graph([x], [x + x]) != Graph([x], [x * x])
    assert Graph([x], [x * 1]) != Graph([x], [x * True])
    assert Graph([x], [x + float("nan")]) == Graph([x], [x + float("nan")])
    wide = placeholder(aval(float32, (4,)))
    assert Graph([x], [-x]) != Graph([wide], [-wide])


def test_captured_data_is_compared_by_identity() -> None:
    x = placeholder(VECTOR)
    first, second = G.data(object(), VECTOR), G.data(object(), VECTOR)
    assert Graph([x], [x + first]) == Graph([x], [x + first])
    assert Graph([x], [x + first]) != Graph([x], [x + second])


def test_nested_graphs_compare_by_structure() -> None:
    def outer(scale: float) -> Graph:
        flag, x = placeholder(aval(bool_)), placeholder(VECTOR)
        return Graph([flag, x], [P.cond(flag, x, x, true=_body(scale), false=_body())[0]])

    assert outer(5.0) == outer(5.0) and outer(5.0) != outer(6.0)


# printing


def _everything() -> Graph:
    flag, x, z = placeholder(aval(bool_)), placeholder(aval(float32, (2, 3))), placeholder(aval(complex64))
    shifted = P.pad(x, math.inf, low=(0, 1), high=(0, -1), interior=(0, 0)) - 1
    both = P.top_k(shifted, k=2, axis=1, largest=True)
    chosen = P.cond(flag, x, both[0], true=_pair(1.0), false=_pair(-2.0))
    number = P.add(P.iota(dtype=int64, shape=(2, 2), axis=1), both[1])
    mixed = P.select(P.eq(x, 0.0), P.convert(x, dtype=float64), constant(float("nan"), float64))
    return Graph(
        [flag, x, z],
        [chosen[0], x, constant(3, int32), number, mixed, z * complex(math.inf, 1.0), full(True, flag.aval)],
    )


def _pair(scale: float) -> Graph:
    x, y = placeholder(aval(float32, (2, 3))), placeholder(aval(float32, (2, 2)))
    inner = placeholder(aval(float32, (2, 2)))
    nested = Graph([inner], [inner * scale])
    flag = P.eq(P.reduce_sum(y, axes=(0, 1)), 0.0)
    return Graph([x, y], [P.cond(flag, y, true=nested, false=nested)[0] + x.dtype.bits])


def test_print_round_trip() -> None:
    graph = _everything()
    text = to_python(graph, "step")
    assert '@staged("bool[]", "float32[2,3]", "complex64[]")\ndef step(a, b, c):' in text
    assert "P.pad(b, inf, low=(0, 1), high=(0, -1), interior=(0, 0))  # float32[2,3]  test_graph.py:" in text
    again = from_python(text)
    assert again.key == graph.key and again == graph
    G.verify(again)
    stripped = [line.split("  #")[0] for line in text.splitlines()]
    assert [line.split("  #")[0] for line in to_python(again, "step").splitlines()] == stripped


def test_print_many_names() -> None:
    x = y = placeholder(VECTOR)
    for _ in range(800):
        y = y + x
    graph = Graph([x], [y])
    assert from_python(to_python(graph)) == graph


def test_print_data_as_argument() -> None:
    x = placeholder(VECTOR)
    weight = G.data(object(), VECTOR)
    text = to_python(Graph([x], [x * weight]))
    assert "def graph(a, b):" in text
    again = from_python(text)
    assert len(again.inputs) == 2 and again.outputs[0].inputs == again.inputs


def test_print_names_what_has_no_literal_form() -> None:
    n = Dim("n")
    x = placeholder(aval(float32, (n, 2)))
    graph = Graph([x], [P.reshape(x, shape=(2, n))])
    text = to_python(graph)
    assert 'staged("float32[n,2]")' in text and "shape=(2, n)" in text
    assert from_python(text, {"n": n}) == graph
    assert from_python(text) != graph and from_python(text).avals[0].ndim == 2


def test_reading_bad_text() -> None:
    with pytest.raises(ArgumentError, match="'rule'"):
        from_python('@staged("float32[]")\ndef graph(a):\n    return (rule(a),)\n')
    with pytest.raises(ArgumentError, match="holds no graph"):
        from_python("x = 1\n")


def test_printing_shows_dtype_shape_and_line() -> None:
    def function(x: Node) -> Any:
        return x + 1.0

    x = placeholder(VECTOR)
    line = to_python(Graph([x], [function(x)])).splitlines()[2]
    assert line.startswith("    b = P.add(a, 1.0)  # float32[3]  test_graph.py:")

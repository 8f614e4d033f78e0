"""Composites, which stand for what a function records, and the end of a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plait.core.graph import Graph, Node, inline
from plait.core.primitive import P, Primitive, Waived
from plait.transforms.batch import batch_graph
from plait.transforms.differentiate import linear_placeholder, linearize, transpose

_WHOLE = Waived("follows its body")
_TESTED = Waived("tested by programs in tests/transforms")

# composite: a function of which one node is recorded: what is recorded again and again is recorded quickly ----------


def _composite_jvp(node: Node, tangents: Sequence[Node | None]) -> Any:
    body: Graph = node.params["body"]
    _, holders, outs = linearize(body.outputs, body.inputs, -1, [t is not None for t in tangents])
    inputs = [*body.inputs, *[h for h in holders if h is not None]]
    present = Graph(inputs, [o for o in outs if o is not None])
    found = iter(inline(present, [*node.inputs, *[t for t, h in zip(tangents, holders, strict=True) if h is not None]]))
    result = [None if o is None else next(found) for o in outs]
    return result if isinstance(node.aval, tuple) else result[0]


def _composite_transpose(node: Node, cotangent: Any, linear: Sequence[bool]) -> list[Node | None]:
    arguments = [linear_placeholder(i.aval) if flag else i for i, flag in zip(node.inputs, linear, strict=True)]
    inputs = [a for a, flag in zip(arguments, linear, strict=True) if flag]
    cotangents = cotangent if isinstance(node.aval, tuple) else [cotangent]
    found = iter(transpose(inline(node.params["body"], arguments), inputs, cotangents))
    return [next(found) if flag else None for flag in linear]


def _composite_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: int) -> Node:
    return P.composite(*inputs, body=batch_graph(node.params["body"], batched, size)[0])


composite = Primitive(
    "composite", kind="expand",
    aval=lambda *operands, body: body.avals if len(body.outputs) > 1 else body.avals[0],
    lower=lambda node: _single(inline(node.params["body"], node.inputs)),
    jvp=_composite_jvp, transpose=_composite_transpose, batch=_composite_batch, shard=_WHOLE, cost=_WHOLE,
    domain=_TESTED, oracle=_TESTED,
)  # fmt: skip


def _single(nodes: list[Node]) -> Any:
    return nodes if len(nodes) > 1 else nodes[0]


# stop_gradient: the identity, without a derivative ----------------------------------------------------------------

stop_gradient = Primitive(
    "stop_gradient", kind="expand", aval=lambda x: x, lower=lambda node: node.inputs[0],
    jvp=lambda node, tangents: None, transpose=Waived("it has no tangent"),
    batch=lambda node, inputs, batched, size: P.stop_gradient(inputs[0]),
    shard=_WHOLE, cost=Waived("free"), domain=_TESTED, oracle=_TESTED,
)  # fmt: skip

"""Composites and segments, which stand for what a function records, and the end of a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from plait.core.graph import GET, Graph, Node, inline, placeholder, substitute
from plait.core.primitive import P, Primitive, Waived
from plait.transforms.batch import batch_graph
from plait.transforms.differentiate import add_cotangents, linear_placeholder, linearize, split, transpose

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


# segment: a composite that stays one node when it is differentiated -------------------------------------------------


@lru_cache(1024)
def _linearized(body: Graph, mask: tuple[bool, ...]) -> tuple[Graph, Graph, tuple[bool, ...], tuple[int, ...]]:
    """Return a body that also gives what its linear part needs, and that part.

    The linear part takes these residuals, the inputs whose numbers come last, and the tangents.
    """
    results, holders, outs, kept = split(body, mask)
    kept = _unmoved(kept, body)
    taken = [body.inputs.index(r) for r in kept if r in body.inputs]
    made = [r for r in kept if r not in body.inputs]
    stand_ins = {r: placeholder(r.aval) for r in (*made, *[body.inputs[k] for k in taken])}
    present = [h for h in holders if h is not None]
    replaced = substitute([o for o in outs if o is not None], {**stand_ins, **{h: h for h in present}})
    linear = Graph([*stand_ins.values(), *present], replaced)
    return Graph(body.inputs, [*results, *made]), linear, tuple([o is not None for o in outs]), tuple(taken)


def _segment_linearize(node: Node, tangents: Sequence[Node | None]) -> tuple[Node, Any]:
    body: Graph = node.params["body"]
    holds_tangent = tuple([t is not None for t in tangents])
    forward, linear, live, taken = _linearized(body, holds_tangent)
    current = P.segment(*node.inputs, body=forward)
    count = len(node.avals)
    saved = [current[k] for k in range(count, len(forward.outputs))] + [node.inputs[k] for k in taken]
    if not any(live):
        return current, None
    out = P.segment(*saved, *[t for t in tangents if t is not None], body=linear)
    position = iter(range(count))
    return current, [out[next(position)] if is_live else None for is_live in live]


def _unmoved(kept: Sequence[Node], body: Graph) -> list[Node]:
    """The values behind those that only show an input of the body in another form: that costs nothing again."""
    found: dict[Node, None] = {}
    for node in kept:
        source = node
        while source.prim.kind == "view" and len(source.inputs) == 1 and source.prim is not GET:
            (source,) = source.inputs
        found[source if source in body.inputs else node] = None
    return list(found)


@lru_cache(1024)
def _transposed_body(
    body: Graph, linear: tuple[bool, ...], given: tuple[bool, ...], summed: tuple[bool, ...]
) -> tuple[Graph, tuple[bool, ...]]:  # fmt: skip
    """Return the body that pulls cotangents of `given` outputs back to linear inputs, and which of them have one.

    Those that are `summed` are added to sums, the last inputs.
    """
    inputs = [
        (linear_placeholder if flag else placeholder)(i.aval) for i, flag in zip(body.inputs, linear, strict=True)
    ]
    cotangents = [placeholder(o.aval) if g else None for o, g in zip(body.outputs, given, strict=True)]
    sources = [i for i, flag in zip(inputs, linear, strict=True) if flag]
    found = transpose(inline(body, inputs), sources, cotangents)
    sums = [placeholder(i.aval) if has_sum else None for i, has_sum in zip(sources, summed, strict=True)]
    found = [add_cotangents(s, f) for s, f in zip(sums, found, strict=True)]
    others = [i for i, flag in zip(inputs, linear, strict=True) if not flag]
    given_inputs = [c for c in (*cotangents, *sums) if c is not None]
    return Graph([*others, *given_inputs], [f for f in found if f is not None]), tuple([f is not None for f in found])


def _segment_accumulate(
    node: Node, cotangent: list[Any], linear: Sequence[bool], sums: Sequence[Node | None]
) -> list[Node | None]:  # fmt: skip
    """The cotangents of the linear inputs, added to `sums`: a weight that many segments read costs no additions."""
    given, before = tuple([c is not None for c in cotangent]), [s for s, flag in zip(sums, linear, strict=True) if flag]
    body, present = _transposed_body(node.params["body"], tuple(linear), given, tuple([s is not None for s in before]))
    others = [i for i, flag in zip(node.inputs, linear, strict=True) if not flag]
    out = P.segment(*others, *[c for c in (*cotangent, *before) if c is not None], body=body)
    position, has = iter(range(len(body.outputs))), iter(present)
    return [out[next(position)] if flag and next(has) else None for flag in linear]


def _segment_transpose(node: Node, cotangent: list[Any], linear: Sequence[bool]) -> list[Node | None]:
    return _segment_accumulate(node, cotangent, linear, [None] * len(linear))


def _segment_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: int) -> Node:
    return P.segment(*inputs, body=batch_graph(node.params["body"], batched, size)[0])


segment = Primitive(
    "segment", kind="expand", aval=lambda *operands, body: body.avals,
    lower=lambda node: inline(node.params["body"], node.inputs), linearize=_segment_linearize,
    accumulate=_segment_accumulate, jvp=Waived("linearize holds the rule"), transpose=_segment_transpose,
    batch=_segment_batch, shard=_WHOLE, cost=_WHOLE, domain=_TESTED, oracle=_TESTED, multi=True,
)  # fmt: skip

# stop_gradient: the identity, without a derivative ----------------------------------------------------------------

stop_gradient = Primitive(
    "stop_gradient", kind="expand", aval=lambda x: x, lower=lambda node: node.inputs[0],
    jvp=lambda node, tangents: None, transpose=Waived("it has no tangent"),
    batch=lambda node, inputs, batched, size: P.stop_gradient(inputs[0]),
    shard=_WHOLE, cost=Waived("free"), domain=_TESTED, oracle=_TESTED,
)  # fmt: skip

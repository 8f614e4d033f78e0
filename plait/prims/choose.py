"""choose: what cond becomes where each example of a batch has a predicate of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plait.core.aval import Aval
from plait.core.graph import Graph, Node, dependents, full, inline, placeholder
from plait.core.primitive import P, Primitive, Waived
from plait.prims.effect import silent
from plait.transforms.batch import batch_graph, broadcast_to_batch
from plait.transforms.differentiate import instantiate, linear_placeholder, split, transpose

_WHOLE = Waived("follows its bodies")
_TESTED = Waived("tested by programs in tests/transforms")
_SIDES = ("true", "false")

# All examples take both sides, and each keeps the results of its own. The bodies are those of one example; an operand
# with `batched` has the axes of the mask before its own.


def unused(like: Aval) -> Node:
    """Return what stands for a value of the branch not taken: a linear function may divide by it."""
    return full(1 if like.dtype.is_inexact else 0, like)


def _aval(mask: Aval, *operands: Aval, true: Graph, false: Graph, batched: tuple[bool, ...]) -> tuple[Aval, ...]:
    return tuple([a.with_shape((*mask.shape, *a.shape)) for a in true.avals])


def _apply(node: Node, operands: Sequence[Node]) -> list[Node]:
    mask = node.inputs[0]
    results = []
    for side in _SIDES:
        body: Graph = node.params[side]
        for size in reversed(mask.shape):
            body, _ = batch_graph(body, node.params["batched"], size)  # type: ignore[arg-type]
        results.append(inline(body, operands))
    return [
        P.select(P.reshape(mask, shape=(*mask.shape, *[1] * (a.ndim - mask.ndim))), a, b)
        for a, b in zip(*results, strict=True)
    ]


def _jvp(node: Node, tangents: Sequence[Any]) -> list[Any]:
    """The derivative of each side, at ones where its examples took the other: so no infinity there spoils a sum."""
    flags = node.params["batched"]
    mask, operands = node.inputs[0], node.inputs[1:]
    active = [t is not None for t in tangents[1:]]
    sides = [silent(node.params[side]) for side in _SIDES]
    parts = [split(side, active) for side in sides]
    common = [x for x, flag in zip(operands, flags, strict=True) if not flag]
    saved: list[list[Node]] = []
    for body, (_, _, _, kept) in zip(sides, parts, strict=True):
        varied = dependents(kept, [i for i, flag in zip(body.inputs, flags, strict=True) if flag])
        saved.append([r for r in kept if r in varied])
    bodies = []
    for which, side in enumerate(sides):
        fills = [unused(r.aval) for r in saved[1 - which]]
        bodies.append(Graph(side.inputs, saved[which] + fills if which == 0 else fills + saved[which]))
    values = P.choose(mask, *operands, true=bodies[0], false=bodies[1], batched=flags)
    used = [i for i in range(len(node.avals)) if any(part[2][i] is not None for part in parts)]
    linear = [_linear_side(sides[k], flags, k, parts[k], saved, active, used) for k in range(2)]
    count = len(saved[0]) + len(saved[1])
    kinds = [*[False] * len(common), *[True] * count, *[f for f, a in zip(flags, active, strict=True) if a]]
    present = [t for t in tangents[1:] if t is not None]
    out = P.choose(
        mask, *common, *[values[k] for k in range(count)], *present, true=linear[0], false=linear[1],
        batched=tuple(kinds),
    )  # fmt: skip
    result: list[Any] = [None] * len(node.avals)
    for position, i in enumerate(used):
        result[i] = out[position]
    return result


def _linear_side(
    body: Graph, flags: Sequence[bool], which: int, part: Any, saved: Sequence[Sequence[Node]],
    active: Sequence[bool], used: Sequence[int],
) -> Graph:  # fmt: skip
    """One side as a function of the operands that all examples share, what both sides saved, and the tangents."""
    _, holders, outs, _ = part
    shared = [i for i, flag in zip(body.inputs, flags, strict=True) if not flag]
    stand_ins = [[placeholder(r.aval) for r in side] for side in saved]
    tangents = [h or placeholder(i.aval) for h, i, a in zip(holders, body.inputs, active, strict=True) if a]
    outputs = [instantiate(outs[i], body.outputs[i].aval) for i in used]
    inner = inline(Graph([*shared, *saved[which], *tangents], outputs), [*shared, *stand_ins[which], *tangents])
    return Graph([*shared, *stand_ins[0], *stand_ins[1], *tangents], inner)


def _transpose(node: Node, cotangent: list[Any], linear: Sequence[bool]) -> list[Any]:
    arguments = [linear_placeholder(i.aval) if flag else i for i, flag in zip(node.inputs[1:], linear[1:], strict=True)]
    inputs = [a for a, flag in zip(arguments, linear[1:], strict=True) if flag]
    found = iter(transpose(_apply(node, arguments), inputs, cotangent))
    return [None, *[next(found) if flag else None for flag in linear[1:]]]


def _batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: int) -> Node:
    shape, flags = node.inputs[0].shape, node.params["batched"]
    values = []
    for x, own, new in zip(inputs[1:], flags, batched[1:], strict=True):
        if own and not new:
            x = broadcast_to_batch(x, size)
        elif new and not own:
            axes = (0, *range(1 + len(shape), x.ndim + len(shape)))
            x = P.broadcast(x, shape=(size, *shape, *x.shape[1:]), axes=axes)
        values.append(x)
    mask = inputs[0] if batched[0] else broadcast_to_batch(inputs[0], size)
    carried = tuple([own or new for own, new in zip(flags, batched[1:], strict=True)])
    return P.choose(mask, *values, **{**node.params, "batched": carried})


choose = Primitive(
    "choose", kind="expand", aval=_aval, lower=lambda node: _apply(node, node.inputs[1:]), jvp=_jvp,
    transpose=_transpose, batch=_batch, shard=_WHOLE, cost=_WHOLE, domain=_TESTED, oracle=_TESTED, multi=True,
)  # fmt: skip

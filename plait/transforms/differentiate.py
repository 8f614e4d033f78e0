"""Forward mode, linearization and transposition of recorded nodes.

Reverse mode is linearize-and-transpose: the jvp rules give a linear graph, which is transposed node by node
(Radul et al., "You Only Linearize Once", 2022). So each derivative is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from plait.core.aval import Aval
from plait.core.errors import GradientError, message
from plait.core.graph import (
    ABSTRACT,
    LINEAR,
    PLACEHOLDER,
    Graph,
    Node,
    backward_scope,
    derivative_place,
    full,
    leaf,
    rebuild,
    recorder,
    toposort,
)
from plait.core.primitive import P, Waived

Maybe = Node | None


def zeros(like: Aval) -> Node:
    """Return a node of zeros of the aval `like`."""
    return full(0, like)


def instantiate(value: Maybe, like: Aval) -> Node:
    """Return `value`, or zeros of the aval `like` for None."""
    return zeros(like) if value is None else value


def is_differentiable(like: Aval | tuple[Aval, ...]) -> bool:
    """Whether a value of this aval has a tangent."""
    return isinstance(like, tuple) or like.dtype.is_inexact


def between(outputs: Sequence[Node], inputs: Sequence[Node], bits: int) -> list[Node]:
    """Return the nodes on paths from `inputs` to `outputs`, inputs excluded, in order.

    Every such node carries one of the flag `bits`; nodes without them are not searched.
    """
    sources = set(inputs)
    active = set(sources)
    result = []
    for node in toposort(outputs, lambda n: n in sources or not n.flags & bits):
        if node not in active and node.flags & bits and any(i in active for i in node.inputs):
            active.add(node)
            result.append(node)
    return result


def push_forward(
    outputs: Sequence[Node], inputs: Sequence[Node], tangents: Sequence[Maybe], bits: int = -1
) -> tuple[list[Node], list[Maybe]]:
    """Push tangents of `inputs` forward to `outputs`.

    Returns the outputs and their tangents (None for zero). The outputs are the given nodes unless a
    primitive with bodies (scan, cond) had to be replaced by one that also returns its residuals.
    """
    tangent: dict[Node, Any] = {i: t for i, t in zip(inputs, tangents, strict=True) if t is not None}
    primal: dict[Node, Node] = {}
    previous = recorder.location
    try:
        for node in between(outputs, inputs, bits):
            recorder.location = node
            current = rebuild(node, tuple([primal.get(i, i) for i in node.inputs])) if primal else node
            received = [tangent.get(i) for i in node.inputs]
            if any(t is not None for t in received) and is_differentiable(node.aval):
                if node.prim.linearize is not None:
                    current, result = node.prim.linearize(current, received)
                elif isinstance(node.prim.jvp, Waived):
                    _refuse(node, "differentiate", node.prim.jvp)
                else:
                    recorder.location = derivative_place(node)
                    result = node.prim.jvp(current, received)
                if result is not None:
                    tangent[node] = result
            if current is not node:
                primal[node] = current
    finally:
        recorder.location = previous
    return [primal.get(o, o) for o in outputs], [tangent.get(o) for o in outputs]


def _refuse(node: Node, verb: str, waived: Waived) -> None:
    place = f" (recorded at {node.source})" if node.source else ""
    raise GradientError(message(f"Cannot {verb} {node.prim.name}{place}: {waived.reason}"))


def linear_placeholder(like: Aval) -> Node:
    """Return an input of a linear graph."""
    return leaf(PLACEHOLDER, like, None, ABSTRACT | LINEAR)


def linearize(
    outputs: Sequence[Node], inputs: Sequence[Node], bits: int = -1, mask: Sequence[bool] | None = None
) -> tuple[list[Node], list[Maybe], list[Maybe]]:
    """Linearize `outputs` at `inputs`.

    Returns the outputs, the placeholders of the input tangents (None where `mask` is false or the dtype has no
    tangent), and the tangents of the outputs as linear nodes of these placeholders.
    """
    chosen = mask or [True] * len(inputs)
    holders: list[Maybe] = [
        linear_placeholder(i.aval) if m and is_differentiable(i.aval) else None
        for i, m in zip(inputs, chosen, strict=True)
    ]
    results, tangents = push_forward(outputs, inputs, holders, bits)
    return results, holders, tangents


def add_cotangents(a: Any, b: Any) -> Any:
    """Add two cotangents, either of which may be None or a list (for several results)."""
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, list):
        return [add_cotangents(x, y) for x, y in zip(a, b, strict=True)]
    return P.add(a, b)


def transpose(outputs: Sequence[Maybe], inputs: Sequence[Node], cotangents: Sequence[Maybe]) -> list[Maybe]:
    """Pull cotangents of linear `outputs` back to the linear `inputs` (None for zero)."""
    pairs = [(o, c) for o, c in zip(outputs, cotangents, strict=True) if o is not None and c is not None]
    nodes = between([o for o, _ in pairs], inputs, LINEAR)
    linear = {*nodes, *inputs}
    cotangent: dict[Node, Any] = {}
    for o, c in pairs:
        if o in linear:
            cotangent[o] = add_cotangents(cotangent.get(o), c)
    previous = recorder.location
    try:
        for node in reversed(nodes):
            received = cotangent.pop(node, None)
            if received is None:
                continue
            if isinstance(node.prim.transpose, Waived):
                _refuse(node, "run backwards through", node.prim.transpose)
            node.scope = backward_scope(node.scope)
            recorder.location = node
            flags = [i in linear for i in node.inputs]
            if node.prim.accumulate is not None:  # it adds to what is there by itself
                sums = [cotangent.pop(i, None) for i in node.inputs]
                found = node.prim.accumulate(node, received, flags, sums)
            else:
                found = node.prim.transpose(node, received, flags)
            for i, c in zip(node.inputs, found, strict=True):
                if c is not None and i in linear:
                    cotangent[i] = add_cotangents(cotangent.get(i), c)
    finally:
        recorder.location = previous
    return [cotangent.get(i) for i in inputs]


def pull_back(
    outputs: Sequence[Node], inputs: Sequence[Node], bits: int = -1, mask: Sequence[bool] | None = None
) -> tuple[list[Node], Callable[[Sequence[Maybe]], list[Maybe]]]:
    """Return the outputs and the function from output cotangents to input cotangents."""
    results, holders, tangents = linearize(outputs, inputs, bits, mask)

    def backward(cotangents: Sequence[Maybe]) -> list[Maybe]:
        present = [h for h in holders if h is not None]
        found = dict(zip(present, transpose(tangents, present, cotangents), strict=True))
        return [None if h is None else found[h] for h in holders]

    return results, backward


def residuals(outputs: Sequence[Maybe], inputs: Sequence[Maybe]) -> list[Node]:
    """Return the values that linear `outputs` take from outside, constants excepted."""
    present = [i for i in inputs if i is not None]
    nodes = between([o for o in outputs if o is not None], present, LINEAR)
    linear = {*nodes, *present}
    found = dict.fromkeys(i for n in nodes for i in n.inputs if i not in linear and i.prim.name != "constant")
    return list(found)


def split(body: Graph, mask: Sequence[bool]) -> tuple[list[Node], list[Maybe], list[Maybe], list[Node]]:
    """Linearize a body: its outputs, tangent placeholders, output tangents and residuals."""
    results, holders, tangents = linearize(body.outputs, body.inputs, -1, mask)
    return results, holders, tangents, residuals(tangents, holders)

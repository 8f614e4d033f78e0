"""Reverse mode by structure: a history that was seen before is differentiated by one node, without walking its rules.

The gradient of a history depends on its structure alone: on the primitives, their parameters and the avals of what is
read from outside. So when a structure comes back it is made on placeholders, and kept as the body of a `composite`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plait.core.graph import (
    ABSTRACT,
    CONSTANT,
    GET,
    PLACEHOLDER,
    Graph,
    Node,
    inline,
    leaf,
    placeholder,
    rebuild,
    recorder,
    substitute,
    toposort,
)
from plait.core.primitive import P
from plait.transforms.differentiate import Maybe, pull_back

_MOST = 1024
# rules of users run each time; those of segments are kept by themselves
_NODE_BY_NODE = frozenset(("tap", "custom_jvp", "custom_vjp", "callback", "segment"))
_MET, _REPLACED = "met once: it may never come back", "primitives are replaced: nothing can be kept"
_known: dict[Any, _Gradient | str] = {}  # the most recently used last
_reuses = True


def reuse(enabled: bool) -> bool:
    """Set whether what was derived before is used again; returns what was set.

    Otherwise every node of a gradient has the line of the operation that it is the gradient of.
    """
    global _reuses
    before, _reuses = _reuses, enabled
    return before


class _Gradient:
    """The gradients of one structure: a body, what it reads, and which inputs have one.

    `reads` are (position in the history, result of several or None); position -1 is the cotangent.
    """

    def __init__(self, body: Graph, reads: list[tuple[int, int | None]], present: list[bool]) -> None:
        self.body, self.reads, self.present = body, reads, present

    def record(self, history: Sequence[Node], cotangent: Node) -> list[Maybe]:
        if not self.body.outputs:
            return [None] * len(self.present)
        sources = [*history, cotangent]  # -1 is the last
        inputs = [sources[k] if index is None else sources[k][index] for k, index in self.reads]
        node = P.composite(*inputs, body=self.body)
        found = iter([node] if len(self.body.outputs) == 1 else [node[k] for k in range(len(self.body.outputs))])
        return [next(found) if p else None for p in self.present]


def history_of(output: Node, bits: int, inputs: Sequence[Node] = ()) -> list[Node]:
    """Return the nodes with one of the flag `bits` from `inputs` to `output`, and what they read, inputs first."""
    sources = set(inputs)
    return toposort([output], lambda n: not n.flags & bits or n in sources)


def gradients(
    history: Sequence[Node], inputs: Sequence[Node], bits: int, cotangent: Node
) -> tuple[Node, list[Maybe]]:  # fmt: skip
    """Return the last node of a history, and the cotangents of `inputs`.

    Args:
        history: what `history_of` returned.
        inputs: nodes in it, or others, which get None.
        bits: as for `history_of`.
        cotangent: that of the last node.

    Returns:
        The last node, or one equal to it that also gives the residuals; the cotangents, None for zero.
    """
    key = _structure(history, inputs, bits) if _reuses else None
    if key is None:
        (result,), pull = pull_back([history[-1]], inputs, bits)
        return result, pull([cotangent])
    found = _known.pop(key, None)  # another thread finds it new too, at worst
    if found is _MET:
        found = _derive(history, inputs, bits) or _REPLACED
    elif found is None and len(_known) >= _MOST:
        _known.pop(next(iter(_known)), None)
    _known[key] = found or _MET
    if not isinstance(found, _Gradient):
        (result,), pull = pull_back([history[-1]], inputs, bits)
        return result, pull([cotangent])
    return history[-1], found.record(history, cotangent)


def _structure(history: Sequence[Node], inputs: Sequence[Node], bits: int) -> Any:
    """Return what the gradients depend on, hashable; None where they depend on more."""
    number: dict[Node, int] = {}
    rows: list[Any] = []
    sources = set(inputs)
    for node in history:
        number[node] = len(rows)
        if _is_inside(node, sources, bits):
            if node.prim.name in _NODE_BY_NODE:
                return None
            rows.append((node.prim, node.params, *[number[i] for i in node.inputs]))
        elif node.flags & ABSTRACT:
            return None
        else:
            rows.append(node if node.prim is CONSTANT else (node.aval, node.flags & bits))
    rows.append(tuple([number.get(i, -1) for i in inputs]))
    return tuple(rows)


def _is_inside(node: Node, sources: set[Node], bits: int) -> bool:
    """Whether a node of a history follows from others of it, so that gradients flow through it."""
    return bool(node.flags & bits) and node not in sources and any(i.flags & bits for i in node.inputs)


def _derive(history: Sequence[Node], inputs: Sequence[Node], bits: int) -> _Gradient | None:
    """Differentiate a copy of the history on placeholders; None where primitives have to be replaced for that."""
    copies: dict[Node, Any] = {}
    sources = set(inputs)
    mask, recorder.mask = recorder.mask, -1
    try:
        for node in history:
            copies[node] = _copy(node, copies) if _is_inside(node, sources, bits) else _stand_in(node, bits)
        cotangent = placeholder(history[-1].aval)
        output = copies[history[-1]]
        (result,), pull = pull_back([output], [copies.get(i, i) for i in inputs], bits)
        found = pull([cotangent])
    finally:
        recorder.mask = mask
    if result is not output:
        return None
    places = {c: k for k, n in enumerate(history) if isinstance(c := copies[n], Node) and c.prim is not CONSTANT}
    places[cotangent] = -1
    return _closed(found, places)


def _stand_in(node: Node, bits: int) -> Node:
    return node if node.prim is CONSTANT else leaf(PLACEHOLDER, node.aval, None, ABSTRACT | node.flags & bits)


def _copy(node: Node, copies: dict[Node, Any]) -> Any:
    """The counterpart of a node in the copy: a list for a composite of several results."""
    inputs = tuple([copies[i] for i in node.inputs])
    if node.prim is GET and isinstance(inputs[0], list):
        return inputs[0][node.params["index"]]
    if node.prim.name == "composite":
        found = inline(node.params["body"], inputs)
        return found if isinstance(node.aval, tuple) else found[0]
    return rebuild(node, inputs)


def _closed(found: Sequence[Maybe], places: dict[Node, int]) -> _Gradient:
    """Cut the gradients off at the nodes of the history."""

    def is_read(node: Node) -> bool:
        return not isinstance(node.aval, tuple) and node in places or node.prim is GET and node.inputs[0] in places

    present = [f for f in found if f is not None]
    holders: dict[Node, Node] = {}
    reads: list[tuple[int, int | None]] = []
    for node in toposort(present, is_read):
        if is_read(node):
            holders[node] = placeholder(node.aval)
            is_result = node not in places
            reads.append((places[node.inputs[0]], node.params["index"]) if is_result else (places[node], None))
    body = Graph(holders.values(), substitute(present, holders))
    return _Gradient(body, reads, [f is not None for f in found])

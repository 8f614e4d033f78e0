"""Reverse mode by structure: a history that was seen before is differentiated by one node, without walking its rules.

The gradient of a history depends on its structure alone: on the primitives, their parameters and the avals of what is
read from outside. So when a structure comes back it is made on placeholders, and kept as the body of a `composite`.
The first time, this is done for each of its nodes: most of them were met in other structures.
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
    Params,
    backward_scope,
    derivative_place,
    inline,
    leaf,
    placeholder,
    rebuild,
    record,
    recorder,
    substitute,
    toposort,
)
from plait.core.primitive import PRIMITIVES
from plait.transforms.differentiate import Maybe, add_cotangents, pull_back

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
    """The gradients of one structure: a body, what it reads, and what they are.

    `reads` are (position among the sources, number of a result where a source has several); the body takes these and
    the `constants`, which are seen where they stand as changing ones are. `results` has for each gradient the number
    of an output of the body, -1 - k for what is read as number k, or None for zero.
    """

    __slots__ = ("params", "count", "reads", "constants", "results")

    def __init__(
        self, body: Graph, reads: list[tuple[int, int | None]], constants: list[Node], results: list[int | None]
    ) -> None:  # fmt: skip
        self.params, self.count = Params(body=body), len(body.outputs)
        self.reads, self.constants, self.results = reads, constants, results

    def record(self, sources: Sequence[Node]) -> list[Maybe]:
        inputs = [sources[k] if index is None else sources[k][index] for k, index in self.reads]
        made: list[Node] = []
        if self.count:
            node = record(PRIMITIVES["composite"], (*inputs, *self.constants), self.params)
            made = [node] if self.count == 1 else [node[k] for k in range(self.count)]
        return [None if r is None else made[r] if r >= 0 else inputs[-1 - r] for r in self.results]


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
    if isinstance(found, _Gradient):
        return history[-1], found.record([*history, cotangent])
    if found is not _REPLACED and (cotangents := _node_by_node(history, inputs, bits, cotangent)) is not None:
        return history[-1], cotangents
    (result,), pull = pull_back([history[-1]], inputs, bits)
    return result, pull([cotangent])


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


# node by node ------------------------------------------------------------------------------------------------------

_local: dict[Any, _Gradient | None] = {}
_MOST_LOCAL = 4096


def _node_by_node(
    history: Sequence[Node], inputs: Sequence[Node], bits: int, cotangent: Node
) -> list[Maybe] | None:  # fmt: skip
    """Record one node for the gradient of each node; None where one of them is replaced when it is differentiated."""
    active = set(inputs)
    nodes = []
    for node in history:
        if node not in active and node.flags & bits and any(i in active for i in node.inputs):
            if node.prim.linearize is not None:
                return None
            active.add(node)
            nodes.append(node)
    cotangents: dict[Node, Any] = {history[-1]: cotangent}
    previous, place = recorder.location, derivative_place(history[-1])
    recorder.location = place
    try:
        for node in reversed(nodes):
            received = cotangents.pop(node, None)
            if received is None:
                continue
            place.code, place.instruction, place.scope = node.code, node.instruction, backward_scope(node.scope)
            if node.prim is GET:
                (producer,), index = node.inputs, node.params["index"]
                parts = cotangents.setdefault(producer, [None] * len(producer.avals))
                parts[index] = add_cotangents(parts[index], received)
            else:
                _pull_back_one(node, received if type(received) is list else [received], active, cotangents)
    finally:
        recorder.location = previous
    return [cotangents.get(i) for i in inputs]


def _pull_back_one(node: Node, received: Sequence[Maybe], active: set[Node], cotangents: dict[Node, Any]) -> None:
    """Add the cotangents of the inputs of a node, given those of its results, to `cotangents`."""
    sources = node.inputs
    operands = [i if i.prim is CONSTANT else i.aval for i in sources]
    if len(sources) > 1 and len({*sources}) < len(sources):
        operands += [sources.index(i) for i in sources]
        sources = tuple(dict.fromkeys(sources))
    wanted = [i for i in sources if i in active]
    sums = [cotangents.get(i) for i in wanted]
    key = (
        node.prim, node.params, *operands, *[i in active for i in sources], *[c is None for c in received],
        *[s is None for s in sums],
    )  # fmt: skip
    found = _local.get(key)
    if found is None:
        if len(_local) >= _MOST_LOCAL:
            _local.clear()
        found = _local[key] = _derive_one(node, sources, wanted, received, sums)
    for i, c in zip(wanted, found.record([*sources, *_given(received), *_given(sums), node]), strict=True):
        if c is not None:
            cotangents[i] = c


def _given(values: Sequence[Maybe]) -> list[Node]:
    return [v for v in values if v is not None]


def _derive_one(
    node: Node, sources: Sequence[Node], wanted: Sequence[Node], received: Sequence[Maybe], sums: Sequence[Maybe]
) -> _Gradient:  # fmt: skip
    """Differentiate a copy of one node; where a sum of cotangents is given, it is added to."""
    mask, recorder.mask = recorder.mask, -1
    try:
        copies: dict[Node, Any] = {i: i if i.prim is CONSTANT else placeholder(i.aval) for i in sources}
        made = _copy(node, copies)
        results = made if isinstance(made, list) else [made]
        if isinstance(node.aval, tuple) and not isinstance(made, list):
            results = [made[k] for k in range(len(node.aval))]
        given = [None if c is None else placeholder(c.aval) for c in received]
        before = [None if s is None else placeholder(s.aval) for s in sums]
        _, pull = pull_back(results, [copies[i] for i in wanted])
        found = [add_cotangents(s, f) for s, f in zip(before, pull(given), strict=True)]
    finally:
        recorder.mask = mask
    added = [*_given(given), *_given(before)]
    places = {c: (k, None) for k, c in enumerate([*copies.values(), *added]) if c.prim is not CONSTANT}
    for k, result in enumerate(results):
        places.setdefault(result, (len(copies) + len(added), k if isinstance(node.aval, tuple) else None))
    return _closed(found, places)


# a whole history ---------------------------------------------------------------------------------------------------


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
    places = {
        c: (k, None) for k, n in enumerate(history) if isinstance(c := copies[n], Node) and c.prim is not CONSTANT
    }
    places[cotangent] = (len(history), None)
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


def _closed(found: Sequence[Maybe], places: dict[Node, Any]) -> _Gradient:
    """Cut gradients off at nodes that are read from outside; `places` are as `_Gradient.reads`."""

    def is_read(node: Node) -> bool:
        return not isinstance(node.aval, tuple) and node in places or node.prim is GET and node.inputs[0] in places

    reads: dict[Node, tuple[int, int | None]] = {}
    order = toposort([f for f in found if f is not None], is_read)
    constants = [n for n in order if n.prim is CONSTANT]
    for node in order:
        if is_read(node):
            reads[node] = places[node] if node in places else (places[node.inputs[0]][0], node.params["index"])
    numbers = {n: -1 - k for k, n in enumerate(reads)}
    made = [n for n in dict.fromkeys(found) if n is not None and n not in numbers]
    numbers |= {n: k for k, n in enumerate(made)}
    holders = {n: placeholder(n.aval) for n in (*reads, *constants)}
    body = Graph(holders.values(), substitute(made, holders))
    return _Gradient(body, list(reads.values()), constants, [None if f is None else numbers[f] for f in found])

"""Simplification: expansion into primitives with a kernel, inlining, common subexpressions, algebra."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from math import copysign, prod
from typing import Any

from plait.compiler.fuse import CHEAP, is_constant
from plait.core.aval import is_static
from plait.core.dtype import DType, float32, float64, int64
from plait.core.graph import CONSTANT, GET, Node, full, inline, record, recorder, toposort
from plait.core.primitive import P
from plait.prims.rules import broadcast_to

INLINED = ("checkpoint", "custom_jvp", "custom_vjp")
_CHUNK = 16384  # elements that one task of a split reduction sums
_SPLIT_FROM = 65536


def expand(outputs: Sequence[Node], stop: Callable[[Node], bool]) -> list[Node]:
    """Rewrite "expand" primitives and inlined calls until none is left."""
    while True:
        result: dict[Node, Any] = {}
        changed = False
        for node in toposort(outputs, stop):
            if stop(node) or not node.inputs:
                result[node] = node
                continue
            inputs = tuple([result[i] for i in node.inputs])
            if node.prim is GET and isinstance(inputs[0], list):
                result[node] = inputs[0][node.params["index"]]
                continue
            current = (
                node if all(a is b for a, b in zip(inputs, node.inputs, strict=True)) else _record_at(node, inputs)
            )
            if node.prim.kind == "expand" or node.prim.name in INLINED:
                changed = True
                previous, recorder.location = recorder.location, node
                inlined = node.prim.name in INLINED
                result[node] = inline(node.params["body"], inputs) if inlined else node.prim.lower(current)
                recorder.location = previous
            else:
                result[node] = current
        outputs = [result[o] for o in outputs]
        if not changed:
            return list(outputs)


def _record_at(node: Node, inputs: tuple[Node, ...]) -> Node:
    previous, recorder.location = recorder.location, node
    try:
        return record(node.prim, inputs, node.params)
    finally:
        recorder.location = previous


def simplify(outputs: Sequence[Node], stop: Callable[[Node], bool]) -> list[Node]:
    """Return equal outputs with fewer nodes."""
    outputs = expand(outputs, stop)
    known: dict[Any, Node] = {}
    result: dict[Node, Node] = {}
    for node in toposort(outputs, stop):
        if stop(node) or not node.inputs and node.prim.kind == "leaf":
            result[node] = node
            continue
        inputs = tuple([result[i] for i in node.inputs])
        key = (node.prim, node.params, inputs)
        found = known.get(key)
        if found is None:
            previous, recorder.location = recorder.location, node
            try:
                current = node if inputs == node.inputs else record(node.prim, inputs, node.params)
                found = known[key] = picked(algebra(current), stop)
            finally:
                recorder.location = previous
        result[node] = found
    return [result[o] for o in outputs]


def picked(node: Node, stop: Callable[[Node], bool]) -> Node:
    """Return a sum that keeps the one element of each line whose number is given as a gather of that element.

    Only where the elements are in memory, or next to it: of others, the sum is a part of what computes them.
    """
    if node.prim.name != "reduce_sum" or len(node.params["axes"]) != 1 or node.inputs[0].prim.name != "select":
        return node
    (axis,), masked = node.params["axes"], node.inputs[0]
    (hit, values, other), end = masked.inputs, axis - masked.ndim
    if hit.prim.name != "eq" or not _is(other, 0) or values.shape != masked.shape or not _is_near(values, stop):
        return node
    own = [k for k in range(masked.ndim) if k != axis]
    for place, count in (hit.inputs, hit.inputs[::-1]):
        if place.dtype is int64 and _counts(count, end) and (place.ndim < -end or place.shape[end] == 1):
            sizes = (1,) * (masked.ndim - place.ndim) + place.shape
            place = broadcast_to(P.reshape(place, shape=tuple([sizes[k] for k in own])), node.shape)
            places = [P.iota(dtype=int64, shape=node.shape, axis=k) for k in range(len(own))]
            places.insert(axis, place)
            return P.gather(values, *places, axes=tuple(range(masked.ndim)), mode="fill")
    return node


def _counts(node: Node, end: int) -> bool:
    """Whether the elements of a node are their places on the axis `end`, counted from the last."""
    base = node.inputs[0] if node.prim.name == "reshape" else node
    if base.prim.name != "iota" or base.dtype is not int64 or node.ndim < -end:
        return False
    if base is node:
        return bool(node.params["axis"] == node.ndim + end)
    return base.ndim == 1 and base.shape[0] == node.shape[end]


def _is_near(node: Node, stop: Callable[[Node], bool], steps: int = 3) -> bool:
    """Whether a node is in memory, or an element of it takes a few steps from there."""
    if stop(node) or not steps:
        return stop(node)
    is_fused = node.prim.name in CHEAP or node.prim.kind == "view"
    return is_fused and all(_is_near(i, stop, steps - 1) for i in node.inputs)


def _value(node: Node) -> Any:
    if node.prim is CONSTANT:
        return node.value
    return node.inputs[0].value if is_constant(node) else None


_FOLDED: dict[str, Callable[..., float]] = {
    "neg": lambda a: -a,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
}
_ROUND: dict[DType, Callable[[float], float]] = {float32: lambda x: ctypes.c_float(x).value, float64: float}


def fold(node: Node) -> Node:
    """Compute an operation on floating-point constants; products and sums of two numbers round once."""
    apply, rounded = _FOLDED.get(node.prim.name), _ROUND.get(node.dtype) if node.prim.kind == "elementwise" else None
    if apply is None or rounded is None or not all(is_constant(i) for i in node.inputs):
        return node
    value = rounded(apply(*[rounded(_value(i)) for i in node.inputs]))
    return full(value, node.aval)


def algebra(node: Node) -> Node:
    """Return a simpler equal node, or the node."""
    node = fold(node)
    rule = _RULES.get(node.prim.name)
    return node if rule is None else rule(node)


def _neutral(node: Node, value: float, either: bool) -> Node:
    a, b = node.inputs
    if _value(b) == value and _is(b, value) and a.aval is node.aval:
        return a
    if either and _is(a, value) and b.aval is node.aval:
        return b
    return node


def _is(node: Node, value: float) -> bool:
    """Whether a node is the constant `value`; the sign of a float zero counts: 0.0 + -0.0 is 0.0."""
    found = _value(node)
    if not isinstance(found, (int, float, complex)) or isinstance(found, bool) or found != value:
        return False
    if found != 0 or not node.dtype.is_inexact:
        return True
    return not isinstance(found, complex) and copysign(1, found) == copysign(1, value)


def _convert(node: Node) -> Node:
    return node.inputs[0] if node.inputs[0].dtype is node.dtype else node


def _transpose(node: Node) -> Node:
    (x,), permutation = node.inputs, node.params["permutation"]
    if permutation == tuple(range(x.ndim)):
        return x
    if x.prim.name == "transpose":
        inner = x.params["permutation"]
        return _transpose(P.transpose(x.inputs[0], permutation=tuple(inner[p] for p in permutation)))
    return node


def _reshape(node: Node) -> Node:
    (x,) = node.inputs
    if x.shape == node.shape:
        return x
    if x.prim.name == "reshape":
        return _reshape(P.reshape(x.inputs[0], shape=node.shape))
    return node


def _broadcast(node: Node) -> Node:
    (x,) = node.inputs
    if x.shape == node.shape and (x.prim is not CONSTANT or node.shape):
        return x
    if x.prim.name == "broadcast":
        axes = tuple(node.params["axes"][a] for a in x.params["axes"])
        return P.broadcast(x.inputs[0], shape=node.shape, axes=axes)
    return node


def _slice(node: Node) -> Node:
    return node.inputs[0] if node.inputs[0].aval is node.aval else node


def _pad(node: Node) -> Node:
    return node if any(any(node.params[k]) for k in ("low", "high", "interior")) else node.inputs[0]


def _add(node: Node) -> Node:
    """Join a sum of two pieces, each padded with zeros to where the other one is: how slices are put together."""
    neutral = _neutral(node, -0.0, True)
    if neutral is not node or any(i.prim.name != "pad" or _value(i.inputs[1]) != 0 for i in node.inputs):
        return neutral
    (a, b), zero = node.inputs, node.inputs[0].inputs[1]
    low, high, interior = ([i.params[k] for i in (a, b)] for k in ("low", "high", "interior"))
    axes = [k for k in range(node.ndim) if (low[0][k], high[0][k]) != (low[1][k], high[1][k])]
    if len(axes) != 1 or any(map(any, interior)):
        return node
    (axis,), size = axes, node.shape[axes[0]]
    for first, second in ((0, 1), (1, 0)):
        if 0 <= low[second][axis] <= size and low[second][axis] + high[first][axis] == size:
            joined = P.concatenate(node.inputs[first].inputs[0], node.inputs[second].inputs[0], axis=axis)
            return _pad(P.pad(joined, zero, low=low[first], high=high[second], interior=interior[0]))
    return node


def _dot_general(node: Node) -> Node:
    """Write a scalar product as a sum of products, which spreads over threads."""
    (a, b), (first, second) = node.inputs, node.params["contract"]
    if node.shape or not first or node.dtype.compute is not node.dtype or node.dtype.is_complex:
        return node
    order = tuple([second[first.index(k)] for k in range(a.ndim)])
    product = P.mul(a, _transpose(P.transpose(b, permutation=order)))
    return _reduce(P.reduce_sum(product, axes=tuple(range(a.ndim))))


def _reduce(node: Node) -> Node:
    """Split a long reduction with few results into two, so that it spreads over threads in a fixed order."""
    (x,), axes = node.inputs, node.params["axes"]
    if all(x.shape[a] == 1 for a in axes):
        return _reshape(P.reshape(x, shape=node.shape))
    if not is_static(x.shape):
        return node
    length = prod(x.shape[a] for a in axes)
    rows = x.aval.size // max(1, length)
    if x.aval.size < _SPLIT_FROM:
        return node
    if axes == tuple(range(x.ndim)) and length > 2 * _CHUNK:
        flat = P.reshape(x, shape=(length,))
        return _in_chunks(node, flat, length, _CHUNK)
    leading = axes == tuple(range(len(axes)))
    if leading and rows <= 64 and length > 1024:
        flat = P.reshape(x, shape=(length, *x.shape[len(axes) :]))
        return _in_chunks(node, flat, length, max(64, _CHUNK // max(1, rows)))
    return node


def _in_chunks(node: Node, x: Node, length: int, chunk: int) -> Node:
    chunk = next((c for c in range(chunk, chunk // 2, -1) if length % c == 0), chunk)
    whole = length // chunk
    rest = x.shape[1:]
    head = x if whole * chunk == length else _rows(x, 0, whole * chunk)
    partial = node.prim(P.reshape(head, shape=(whole, chunk, *rest)), axes=(1,))
    if whole * chunk != length:
        tail = node.prim(_rows(x, whole * chunk, length), axes=(0,))
        partial = P.concatenate(partial, P.reshape(tail, shape=(1, *rest)), axis=0)
    return node.prim(partial, axes=(0,))


def _rows(x: Node, low: int, high: int) -> Node:
    ends = (high, *x.shape[1:])
    return P.slice(x, starts=(low, *[0] * (x.ndim - 1)), limits=ends, strides=(1,) * x.ndim)


_RULES: dict[str, Callable[[Node], Node]] = {
    "add": _add,
    "sub": lambda n: _neutral(n, 0.0, False),
    "mul": lambda n: _neutral(n, 1, True),
    "div": lambda n: _neutral(n, 1, False),
    "convert": _convert,
    "transpose": _transpose,
    "reshape": _reshape,
    "broadcast": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "dot_general": _dot_general,
    "reduce_sum": _reduce,
    "reduce_prod": _reduce,
    "reduce_max": _reduce,
    "reduce_min": _reduce,
    "reduce_and": _reduce,
    "reduce_or": _reduce,
}

"""Views: how a handle derives from its base, and how a write to it becomes a new value of the base.

A view is a chain of steps; a step is one primitive with its parameters. `derive` replays the chain on the node of
the base; `update` runs it backwards. Everything here works on nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from plait.core.aval import aval
from plait.core.dtype import bool_, int64
from plait.core.errors import ArgumentError, message
from plait.core.graph import EMPTY, FREED, REQUIRES_GRAD, TRACED, Node, Params, constant, full, record, recorder
from plait.core.primitive import PRIMITIVES, P, Primitive

Step = tuple[Primitive | None, Params]
DETACH: Step = (None, EMPTY)
_HISTORY = REQUIRES_GRAD | TRACED | FREED


def step(name: str, **params: Any) -> Step:
    """Return one step of a view: the primitive `name` with `params`."""
    return PRIMITIVES[name], Params(params)


def relabelled(node: Node, flags: int) -> Node:
    """Return a node of the same value that starts a new gradient history, with `flags`."""
    previous, recorder.mask = recorder.mask, recorder.mask & ~_HISTORY
    try:
        result = P.reshape(node, shape=node.shape)
        if flags and node.flags & _HISTORY:  # the new leaf must not have an input that requires gradients
            result = P.reshape(result, shape=node.shape)
    finally:
        recorder.mask = previous
    result.flags |= flags
    return result


def detached(node: Node) -> Node:
    """Return a node of the same value through which no gradient flows."""
    return relabelled(node, 0) if node.flags & _HISTORY else node


def is_leaf(node: Node) -> bool:
    """Whether a gradient history begins at this node (or there is none)."""
    return not (node.flags & REQUIRES_GRAD and any(i.flags & REQUIRES_GRAD for i in node.inputs))


def derive(node: Node, steps: Sequence[Step]) -> Node:
    """Return the view of `node` along `steps`."""
    for prim, params in steps:
        node = detached(node) if prim is None else record(prim, (node,), params)
    return node


def update(node: Node, steps: Sequence[Step], value: Node) -> Node:
    """Return the new value of a base: `node` with the part that `steps` show replaced by `value`."""
    before = [node]
    for one in steps[:-1]:
        before.append(derive(before[-1], (one,)))
    for old, (prim, params) in zip(reversed(before), reversed(steps), strict=False):
        if prim is not None:
            value = _INVERSE[prim.name](old, value, **params)
    return value


def _put_slice(old: Node, value: Node, starts: Any, limits: Any, strides: Any) -> Node:
    if value.shape == old.shape:
        return value
    if all(s == 1 for s in strides):
        return P.dynamic_update_slice(old, value, *[constant(s, int64) for s in starts])
    covered = [(n - 1) * s + 1 if n else 0 for n, s in zip(value.shape, strides, strict=True)]
    high = tuple(n - a - c for n, a, c in zip(old.shape, starts, covered, strict=True))
    interior = tuple(s - 1 for s in strides)
    inside = full(True, aval(bool_, value.shape))
    mask = P.pad(inside, constant(False, bool_), low=starts, high=high, interior=interior)
    spread = P.pad(value, constant(0, value.dtype), low=starts, high=high, interior=interior)
    return P.select(mask, spread, old)


def _put_broadcast(old: Node, value: Node, shape: Any, axes: Any) -> Node:
    if prod(shape) != old.aval.size:
        text = message(
            "Cannot write to an expanded view: several of its elements are one in memory",
            f"a view of shape {tuple(shape)} of a value of shape {old.shape}",
            None,
            "write to the original, or to a copy: x.expand(...).clone()",
        )
        raise ArgumentError(text)
    return P.reshape(value, shape=old.shape)


_INVERSE: dict[str, Callable[..., Node]] = {
    "reshape": lambda old, value, shape: P.reshape(value, shape=old.shape),
    "transpose": lambda old, value, permutation: P.transpose(
        value, permutation=tuple(permutation.index(i) for i in range(len(permutation)))
    ),
    "reverse": lambda old, value, axes: P.reverse(value, axes=axes),
    "slice": _put_slice,
    "broadcast": _put_broadcast,
    "bitcast": lambda old, value, dtype: P.bitcast(value, dtype=old.dtype),
    "real": lambda old, value: P.complex(value, P.imag(old)),
    "imag": lambda old, value: P.complex(P.real(old), value),
}

"""Views: how a handle derives from its base, and how a write to it becomes a new value of the base.

A view is a chain of steps; a step is one primitive, or a composite of some, with its parameters. `derive` replays the
chain on the node of the base; `update` runs it backwards; `layout` says where in the memory of the base its elements
are. Everything here works on nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from plait.core.aval import aval
from plait.core.dtype import bool_, int64
from plait.core.errors import ArgumentError, message
from plait.core.graph import (
    ABSTRACT,
    EMPTY,
    FREED,
    REQUIRES_GRAD,
    TRACED,
    Graph,
    Node,
    Params,
    constant,
    full,
    placeholder,
    record,
    recorder,
    user_line,
)
from plait.core.primitive import PRIMITIVES, P, Primitive


@dataclass(frozen=True, eq=False, slots=True)
class Composite:
    """A step that shows its operand through several primitives."""

    name: str
    show: Callable[..., Node]


Step = tuple[Primitive | Composite | None, Params]
DETACH: Step = (None, EMPTY)
NO_GRAD: Step = (None, Params(made="while no gradients were recorded"))
_HISTORY = REQUIRES_GRAD | TRACED | FREED


def step(name: str, **params: Any) -> Step:
    """Return one step of a view: the primitive, or the composite, `name` with `params`."""
    return _COMPOSITES.get(name) or PRIMITIVES[name], Params(params)


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
    if not node.flags & (_HISTORY | ABSTRACT):
        return node
    result = P.stop_gradient(node)
    result.flags &= ~_HISTORY
    return result


def is_leaf(node: Node) -> bool:
    """Whether a gradient history begins at this node (or there is none)."""
    return not (node.flags & REQUIRES_GRAD and any(i.flags & REQUIRES_GRAD for i in node.inputs))


def derive(node: Node, steps: Sequence[Step]) -> Node:
    """Return the view of `node` along `steps`."""
    for prim, params in steps:
        if prim is None:
            node = detached(node)
        else:
            node = prim.show(node, **params) if isinstance(prim, Composite) else record(prim, (node,), params)
    return node


def is_detached(steps: Sequence[Step]) -> bool:
    """Whether no gradient flows through a view."""
    return any(prim is None for prim, _ in steps)


def with_history(old: Node, value: Node) -> Node:
    """Return `value` with the gradient history of `old`, as a write without gradients leaves it."""
    body = Graph(holders := (placeholder(old.aval), placeholder(value.aval)), holders[1:])
    previous, recorder.mask = recorder.mask, -1
    try:
        return P.custom_jvp(old, detached(value), body=body, rule=_tangent_of_old)[0]
    finally:
        recorder.mask = previous


def _tangent_of_old(old: Node, value: Node, old_tangent: Node, value_tangent: Node) -> list[Node]:
    return [old_tangent]


def update(node: Node, steps: Sequence[Step], value: Node, view: Node | None = None) -> Node:
    """Return the new value of a base: `node` with the part that `steps` show replaced by `value`.

    Raises:
        ArgumentError: the view, whose node was `view`, shows an element more than once.
    """
    before = [node]
    for one in steps[:-1]:
        before.append(derive(before[-1], (one,)))
    for old, (prim, params) in zip(before, steps, strict=False):
        if prim is not None and prim.name == "broadcast" and prod(params["shape"]) != old.aval.size:
            return _put_apart(node, steps, value, view)
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


def _put_apart(node: Node, steps: Sequence[Step], value: Node, view: Node | None) -> Node:
    """Replace what an expanded view shows, if its elements lie apart in memory."""
    found = layout(node.shape, steps)
    if found is None or value.dtype is not node.dtype:
        raise _expanded(node, value.shape, view)
    if any(n > 1 and s == 0 for n, s in zip(value.shape, found[0], strict=True)):
        raise _expanded(node, value.shape, view)
    return _put_strided(node, value, value.shape, *found)


def _expanded(old: Node, shape: Sequence[int], view: Node | None) -> ArgumentError:
    text = "Cannot write to an expanded view: several of its elements are one in memory"
    write = ":".join(map(str, user_line()))
    made = "" if view is None else f", made at {view.source}"
    received = f"a write at {write} to a view of shape {tuple(shape)} of a value of shape {old.shape}{made}"
    return ArgumentError(message(text, received, None, "write to the original, or to a copy: x.expand(...).clone()"))


def _places(shape: Any, strides: Any, offset: int) -> Node:
    """Return the position in memory of each element of a strided view."""
    result = full(offset, aval(int64, shape))
    for axis, stride in enumerate(strides):
        if stride:
            result = result + P.iota(dtype=int64, shape=shape, axis=axis) * constant(stride, int64)
    return result


def _flat(node: Node) -> Node:
    return P.reshape(node, shape=(node.aval.size,))


def _strided(node: Node, shape: Any, strides: Any, offset: int) -> Node:
    return P.gather(_flat(node), _places(shape, strides, offset), axes=(0,), mode="clip")


def _put_strided(old: Node, value: Node, shape: Any, strides: Any, offset: int) -> Node:
    return P.reshape(P.scatter_set(_flat(old), value, _places(shape, strides, offset), axes=(0,)), shape=old.shape)


def _as_real(node: Node) -> Node:
    shape = (*node.shape, 1)
    parts = [P.reshape(part, shape=shape) for part in (P.real(node), P.imag(node))]
    return P.concatenate(*parts, axis=node.ndim)


def _as_complex(node: Node) -> Node:
    last, shape = node.ndim - 1, node.shape[:-1]
    ones, zeros = (1,) * node.ndim, (0,) * last
    parts = [P.slice(node, starts=(*zeros, k), limits=(*shape, k + 1), strides=ones) for k in range(2)]
    return P.complex(*[P.reshape(part, shape=shape) for part in parts])


_COMPOSITES = {c.name: c for c in (
    Composite("strided", _strided), Composite("as_real", _as_real), Composite("as_complex", _as_complex),
)}  # fmt: skip
_INVERSE: dict[str, Callable[..., Node]] = {
    "reshape": lambda old, value, shape: P.reshape(value, shape=old.shape),
    "transpose": lambda old, value, permutation: P.transpose(
        value, permutation=tuple(permutation.index(i) for i in range(len(permutation)))
    ),
    "reverse": lambda old, value, axes: P.reverse(value, axes=axes),
    "slice": _put_slice,
    "broadcast": lambda old, value, shape, axes: P.reshape(value, shape=old.shape),
    "bitcast": lambda old, value, dtype: P.bitcast(value, dtype=old.dtype),
    "real": lambda old, value: P.complex(value, P.imag(old)),
    "imag": lambda old, value: P.complex(P.real(old), value),
    "strided": _put_strided,
    "as_real": lambda old, value: _as_complex(value),
    "as_complex": lambda old, value: _as_real(value),
}


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides, in elements, of a dense tensor in row-major order."""
    strides, stride = [], 1
    for size in reversed(shape):
        strides.append(stride)
        stride *= max(size, 1)
    return tuple(reversed(strides))


def layout(shape: Sequence[int], steps: Sequence[Step]) -> tuple[tuple[int, ...], int] | None:
    """Return strides and offset, in elements of a dense base of `shape`, of its view along `steps`.

    Returns None where there are none: an element of the view is no element of the base, or a reshape of other than
    contiguous axes was taken.
    """
    strides: Sequence[int] = row_major(shape)
    offset = 0
    for prim, params in steps:
        if prim is None or prim.name == "bitcast":
            continue
        found = _LAYOUTS[prim.name](shape, strides, **params) if prim.name in _LAYOUTS else None
        if found is None:
            return None
        shape, strides, first = found
        offset += first
    return tuple(strides), offset


Layout = tuple[Sequence[int], Sequence[int], int]


def _reshape_layout(old: Sequence[int], strides: Sequence[int], shape: Sequence[int]) -> Layout | None:
    """Split or merge axes: those merged must lie one behind the other."""
    if 0 in shape:
        return shape, row_major(shape), 0
    groups: list[list[int]] = []  # [size, stride of the last axis] of runs of axes that lie as one
    for size, stride in zip(old, strides, strict=True):
        if size != 1:
            if groups and groups[-1][1] == size * stride:
                groups[-1] = [groups[-1][0] * size, stride]
            else:
                groups.append([size, stride])
    result: list[int] = []
    for size in reversed(shape):
        if size == 1:
            result.append(result[-1] * shape[-len(result)] if result else 1)
            continue
        if groups[-1][0] % size:
            return None
        result.append(groups[-1][1])
        groups[-1] = [groups[-1][0] // size, groups[-1][1] * size]
        if groups[-1][0] == 1:
            groups.pop()
    return shape, result[::-1], 0


def _broadcast_layout(old: Sequence[int], strides: Sequence[int], shape: Any, axes: Any) -> Layout:
    kept = {a: (n, s) for a, n, s in zip(axes, old, strides, strict=True)}
    return shape, [kept[a][1] if a in kept and kept[a][0] == n else 0 for a, n in enumerate(shape)], 0


def _slice_layout(old: Sequence[int], lies: Sequence[int], starts: Any, limits: Any, strides: Any) -> Layout:
    shape = [-((a - b) // n) for a, b, n in zip(starts, limits, strides, strict=True)]
    first = sum(a * s for a, s in zip(starts, lies, strict=True))
    return shape, [s * n for s, n in zip(lies, strides, strict=True)], first


def _reverse_layout(old: Sequence[int], strides: Sequence[int], axes: Any) -> Layout:
    turned = [-s if a in axes else s for a, s in enumerate(strides)]
    return old, turned, sum((old[a] - 1) * strides[a] for a in axes)


def _strided_layout(old: Sequence[int], dense: Sequence[int], shape: Any, strides: Any, offset: int) -> Layout | None:
    return (shape, strides, offset) if tuple(dense) == row_major(old) else None


_LAYOUTS: dict[str, Callable[..., Layout | None]] = {
    "strided": _strided_layout,
    "reshape": _reshape_layout,
    "broadcast": _broadcast_layout,
    "slice": _slice_layout,
    "reverse": _reverse_layout,
    "transpose": lambda old, strides, permutation: (
        [old[a] for a in permutation],
        [strides[a] for a in permutation],
        0,
    ),
}

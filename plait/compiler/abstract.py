"""Shape-generic kernels: replace the sizes of a group by symbols, so that one kernel serves every size."""

from __future__ import annotations

from typing import Any

from plait.compiler.fuse import single
from plait.compiler.groups import Group, input_map
from plait.core.aval import Aval, Dim, Size, aval
from plait.core.graph import CONSTANT, EMPTY, PLACEHOLDER, Node, Params, leaf

_DIMS: dict[int, Dim] = {}
_new = object.__new__


def symbol(k: int) -> Dim:
    """Return the k-th symbol; symbols are shared by all generic kernels."""
    return _DIMS.setdefault(k, Dim(f"n{k}"))


def copy_node(node: Node, inputs: tuple[Node, ...], result: Any, params: Params) -> Node:
    """Make a node without applying the rules of its primitive, which may not hold symbolically."""
    made = _new(Node)
    made.prim, made.inputs, made.params, made.aval = node.prim, inputs, params, result
    made.value, made.flags, made.extra = None, 0, None
    made.code, made.instruction, made.scope = node.code, node.instruction, node.scope
    return made


def stand_in(node: Node, result: Aval) -> Node:
    """Make a placeholder for a node."""
    made = copy_node(node, (), result, EMPTY)
    made.prim = PLACEHOLDER
    return made


def flatten_group(group: Group) -> tuple[Group, dict[str, int], dict[Node, Node]] | None:
    """Return an elementwise group over contiguous equal shapes as one over a single symbolic axis.

    Also returns the values of the symbols and the map from old to new nodes. None where it does not apply.
    """
    if group.anchor is not None or group.axes is not None or not group.shape:
        return None
    size = symbol(0)
    new: dict[Node, Node] = {}
    order = list(reversed(group.members))
    full = group.identity
    for node in order:
        own = group.members[node]
        if own is None or (node.prim.kind == "view" and not _is_plain(node)):
            return None
        for position, i in enumerate(node.inputs):
            where = input_map(node, position, own)
            if where is None or ([a for a in where if a is not None] and not _is_full(where, full)):
                return None
            if i not in new and i.prim is not CONSTANT and i not in group.members:
                new[i] = leaf(PLACEHOLDER, _flat(i.aval, where, full, size))
    for node in order:
        if node.prim.kind == "view" and node not in group.outputs:
            new[node] = new.get(node.inputs[0], node.inputs[0])
            continue
        inputs = tuple([new.get(i, i) for i in node.inputs])
        own = group.members[node]
        assert own is not None
        result = _flat(node.aval, own, full, size)
        params = node.params
        if node.prim.kind == "view":
            if inputs[0].prim is not CONSTANT and inputs[0].ndim:
                return None
            params = Params(shape=result.shape, axes=()) if node.prim.name == "broadcast" else params
            if node.prim.name != "broadcast":
                return None
        new[node] = copy_node(node, inputs, result, params)
    flat = Group(0, (size,))
    for node in group.members:
        if node.prim.kind == "elementwise" or node in group.outputs:
            flat.members[new[node]] = (0,) if new[node].shape else ()
    flat.outputs = [new[o] for o in group.outputs]
    total = 1
    for n in group.shape:
        total *= n  # type: ignore[operator]
    return flat, {size.name: total}, new


def _is_plain(node: Node) -> bool:
    if not node.inputs:
        return False
    if node.prim.name == "reshape":
        return [n for n in node.shape if n != 1] == [n for n in node.inputs[0].shape if n != 1]
    return node.prim.name == "broadcast"


def _is_full(where: Any, full: Any) -> bool:
    return [a for a in where if a is not None] == [a for a in full if a is not None]


def _flat(a: Aval, where: Any, full: Any, size: Dim) -> Aval:
    if all(x is None for x in full):
        return aval(a.dtype, (size,))  # everything has one element
    moving = any(x is not None for x in where)
    return aval(a.dtype, (size,) if moving and _is_full(where, full) else ())


def collapse(node: Node) -> tuple[list[tuple[Size, ...]], tuple[Size, ...]]:
    """Merge neighbouring axes of an elementwise node that every operand has in full or not at all."""
    rank = node.ndim
    padded = [(1,) * (rank - i.ndim) + i.shape for i in node.inputs]
    merged: list[list[Size]] = [[] for _ in padded]
    out: list[Size] = []
    previous: Any = None
    for axis in range(rank):
        size = node.shape[axis]
        present = tuple(p[axis] == size for p in padded)
        if size == 1:
            continue
        if present == previous:
            out[-1] *= size  # type: ignore[operator]
            for m, has in zip(merged, present, strict=True):
                if has:
                    m[-1] *= size  # type: ignore[operator]
        else:
            out.append(size)
            for m, has in zip(merged, present, strict=True):
                m.append(size if has else 1)
        previous = present
    return [tuple(m) if any(n != 1 for n in m) else () for m in merged], tuple(out)


def generalize(node: Node) -> tuple[Group, dict[str, int], list[Node]]:
    """Return the kernel of one node with its sizes as symbols, their values, and its input nodes in order."""
    values: dict[int, Dim] = {}

    def lift(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            return tuple(lift(v) for v in value) if isinstance(value, tuple) else value
        if value == 1:
            return 1
        if value not in values:
            values[value] = symbol(len(values))
        return values[value]

    if node.prim.kind == "elementwise":
        shapes, out = collapse(node)
    else:
        shapes, out = [i.shape for i in node.inputs], ()
    made: dict[Node, Node] = {}
    inputs = []
    for i, shape in zip(node.inputs, shapes, strict=True):
        if i.prim is CONSTANT:
            inputs.append(i)
            continue
        if i not in made:
            made[i] = leaf(PLACEHOLDER, aval(i.dtype, lift(shape)))
        inputs.append(made[i])
    if node.prim.kind == "elementwise":
        result: Any = aval(node.dtype, lift(out))
        params = node.params
    else:
        result = tuple(aval(a.dtype, lift(a.shape)) for a in node.aval) if isinstance(node.aval, tuple) else aval(
            node.dtype, lift(node.shape)
        )  # fmt: skip
        lifted = ("shape", *node.prim.runtime)
        params = Params({k: lift(v) if k in lifted else v for k, v in node.params.items()}) if node.params else EMPTY
    group = single(copy_node(node, tuple(inputs), result, params))
    return group, {d.name: v for v, d in values.items()}, list(made.values())

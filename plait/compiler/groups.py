"""Groups: the sets of nodes that become one kernel each, and how a node's axes lie in a group's iteration space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from plait.core.aval import Size
from plait.core.graph import Node

AxisMap = tuple[int | None, ...]
"""For each axis of a node the axis of the group's space that it runs along; None for an axis of size 1."""

COLUMNS = 64  # columns that one task of a reduction across them takes
INJECTIVE = ("slice", "transpose", "reverse", "pad", "reshape", "concatenate", "dynamic_slice", "convert")


@dataclass(eq=False, slots=True)
class Group:
    """One kernel to be: it iterates over `shape` and reduces over `axes`.

    `members` maps each node evaluated inside to its `AxisMap`, or to None where the node is read at other
    indices than the group's own. `anchor` is a node with its own loops (a contraction, a sort, …), whose written
    elements the other members follow. `outputs` are the members that get a buffer.
    """

    number: int
    shape: tuple[Size, ...]
    axes: tuple[int, ...] | None = None
    anchor: Node | None = None
    members: dict[Node, AxisMap | None] = field(default_factory=dict)
    outputs: list[Node] = field(default_factory=list)
    after: int = 0  # bit set of the groups that run after this one
    weight: int = 0  # about how much code its members make

    @property
    def identity(self) -> AxisMap:
        """The map of a node that has the group's own shape."""
        return identity_map(self.shape)


def identity_map(shape: Sequence[Size]) -> AxisMap:
    """Map each axis to itself; axes of size 1 run along nothing."""
    return tuple(None if n == 1 else i for i, n in enumerate(shape))


def input_map(node: Node, position: int, own: AxisMap | None) -> AxisMap | None:
    """Return how input `position` of an elementwise or view node lies in the space in which the node lies as `own`.

    None when its elements are read at other indices.
    """
    if own is None:
        return None
    source = node.inputs[position]
    if node.prim.kind == "elementwise":
        offset = node.ndim - source.ndim
        return tuple(None if n == 1 else own[offset + i] for i, n in enumerate(source.shape))
    name = node.prim.name
    if name == "transpose":
        result: list[int | None] = [None] * source.ndim
        for out_axis, in_axis in enumerate(node.params["permutation"]):
            result[in_axis] = own[out_axis]
        return tuple(result)
    if name == "broadcast":
        return tuple(None if n == 1 else own[a] for n, a in zip(source.shape, node.params["axes"], strict=True))
    if name == "reshape" and [n for n in source.shape if n != 1] == [n for n in node.shape if n != 1]:
        kept = iter([m for m, n in zip(own, node.shape, strict=True) if n != 1])
        return tuple(None if n == 1 else next(kept) for n in source.shape)
    if name == "gather" and position:  # the axes of its indices come first
        return tuple(None if n == 1 else own[i] for i, n in enumerate(source.shape))
    return None


def in_place_nodes(group: Group) -> set[Node]:
    """Return the inputs that a group reads only at the element it is writing, and the outputs it so writes.

    Such an output may be written over such an input.
    """
    where = group.identity
    if group.anchor is not None and group.anchor.prim.multi:
        return set()
    outputs = {
        o for o in group.outputs if o.shape == group.shape and group.members[o] == where and o is not group.anchor
    }
    unsafe: set[Node] = set()
    inputs: set[Node] = set()
    for member, own in group.members.items():
        for position, i in enumerate(member.inputs):
            if i in group.members:
                continue
            inputs.add(i)
            pointwise = member.prim.kind in ("elementwise", "view") and input_map(member, position, own) == where
            if not (pointwise or member.prim.kind == "reduce") or i.shape != group.shape or member is group.anchor:
                unsafe.add(i)
    return outputs | (inputs - unsafe) if outputs else set()

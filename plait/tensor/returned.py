"""What a staged function returned: new tensors, and tensors from outside, which keep their identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plait.core import tree
from plait.core.graph import Node
from plait.tensor.staging import Staging
from plait.tensor.tensor import Tensor, make_view, node_of
from plait.tensor.views import Step


class Returned:
    """The result of a staged function, to be made again from the values of a run.

    `nodes` are the new tensors, each once. An argument or state that is returned is that tensor itself, and a view of
    one, or of a new tensor that is returned too, is a view again.
    """

    __slots__ = ("treedef", "nodes", "template", "new", "again", "arguments", "views", "is_single")

    def __init__(self, result: Any, slots: Mapping[int, int], staging: Staging) -> None:
        leaves, self.treedef = tree.flatten(result)
        self.template: list[Any] = list(leaves)
        self.new: list[int] = []
        self.again: list[tuple[int, int]] = []  # a position, and that of the same tensor
        self.arguments: list[tuple[int, int]] = []
        self.views: list[tuple[int, Any, tuple[Step, ...]]] = []
        first: dict[int, int] = {}
        for k, v in enumerate(leaves):
            if isinstance(v, Tensor) and first.setdefault(id(v), k) == k:
                self._add(k, v, slots, staging)
        for k, v in enumerate(leaves):
            if isinstance(v, Tensor):
                self._relate(k, v, first, slots, staging)
        self.nodes: list[Node] = [node_of(leaves[k]) for k in self.new]
        self.is_single = len(self.new) == len(leaves) == 1 and not self.treedef.children

    def _add(self, k: int, v: Tensor, slots: Mapping[int, int], staging: Staging) -> None:
        if id(v) in slots:
            self.arguments.append((k, slots[id(v)]))
        elif staging.is_new(v, staging.writes.get(id(v), (v, node_of(v)))[1]):
            self.new.append(k)
        else:
            return  # state: the template holds it
        self.template[k] = None

    def _relate(self, k: int, v: Tensor, first: dict[int, int], slots: Mapping[int, int], staging: Staging) -> None:
        base = v._base
        if first[id(v)] != k:
            self.again.append((k, first[id(v)]))
            self.template[k] = None
        elif base is not None and k in self.new:
            source: Any = None
            if id(base) in slots:
                source = (None, slots[id(base)])
            elif id(base) in first:
                source = (first[id(base)], None)
            elif not staging.is_new(base, staging.writes.get(id(base), (base, base._node))[1]):
                source = base
            if source is not None:
                self.views.append((k, source, v._view))
                self.new.remove(k)

    def pack(self, tensors: Sequence[Tensor], leaves: Sequence[Any]) -> Any:
        """Return the result in its structure: `tensors` are the new ones, `leaves` the arguments of the call."""
        if self.is_single:
            return tensors[0]
        values = list(self.template)
        for k, tensor in zip(self.new, tensors, strict=False):
            values[k] = tensor
        for k, slot in self.arguments:
            values[k] = leaves[slot]
        for k, source, steps in self.views:
            if isinstance(source, tuple):
                position, slot = source
                source = leaves[slot] if position is None else values[position]
            values[k] = make_view(source, *steps)
        for k, original in self.again:
            values[k] = values[original]
        return tree.unflatten(self.treedef, values)

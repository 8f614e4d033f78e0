"""Staging: what a function does to the world while it is recorded, and how that is undone."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from plait.core.graph import ABSTRACT, DATA, PLACEHOLDER, Node, toposort, user_line
from plait.tensor import lazy
from plait.tensor.tensor import Tensor


class Staging(lazy.Observer):
    """Watches one staging: which existing tensors are written, which gradients and attributes are looked at.

    Where Python looks at a value, staging ends, unless it is `strict`: the placeholders, the nodes of `handles`, get
    the values of `arguments`, and the function goes on as eager code. `split` is then the file and line of the look.
    """

    def __init__(self, handles: Sequence[Tensor] = (), arguments: Sequence[Tensor] = (), strict: bool = True) -> None:
        self.made: dict[int, Tensor] = {}
        self.writes: dict[int, tuple[Tensor, Node]] = {}
        self.gradients: dict[int, tuple[Tensor, Tensor | None]] = {}
        self.gradient_guards: list[tuple[Tensor, Tensor | None]] = []
        self.attribute_guards: dict[tuple[int, str], tuple[Any, str, Any]] = {}
        self.inputs = [(h, h._node, a) for h, a in zip(handles, arguments, strict=True)]
        self.strict = strict
        self.split: tuple[str, int] | None = None

    def created(self, tensor: Tensor) -> None:
        self.made[id(tensor)] = tensor

    def is_new(self, tensor: Tensor, old: Node) -> bool:
        """Whether a tensor was made while staging; whatever was there before has a value."""
        return id(tensor) in self.made or old.value is None

    def written(self, tensor: Tensor, old: Node) -> None:
        if id(tensor) not in self.writes:
            self.writes[id(tensor)] = (tensor, old)

    def was_known(self, tensor: Tensor) -> bool:
        """Whether a tensor had a value when staging began; it may have been written since."""
        _, old = self.writes.get(id(tensor), (tensor, tensor._node))
        return not old.flags & ABSTRACT

    def grad_read(self, tensor: Tensor) -> None:
        if id(tensor) not in self.gradients and self.was_known(tensor):
            self.gradient_guards.append((tensor, tensor._grad))

    def grad_written(self, tensor: Tensor) -> None:
        if self.was_known(tensor):
            self.gradients.setdefault(id(tensor), (tensor, tensor._grad))

    def attribute_read(self, owner: Any, name: str) -> None:
        if (id(owner), name) not in self.attribute_guards:
            lazy.state.observer = None
            self.attribute_guards[id(owner), name] = (owner, name, getattr(owner, name))
            lazy.state.observer = self

    def looked(self, node: Node) -> bool:
        own = {n for _, n, _ in self.inputs}
        if self.strict or any(n.prim is PLACEHOLDER and n not in own for n in toposort([node], lazy.has_value)):
            return False
        self.split = user_line()
        lazy.state.observer, lazy.state.transaction = None, self
        for handle, holder, argument in self.inputs:
            holder.prim, holder.value, holder.flags = DATA, lazy.value(argument), holder.flags & ~ABSTRACT
            holder.extra = weakref.ref(handle)
        lazy.settle_flags([node, *[t._node for t in lazy.pending]])
        return True

    def restore(self) -> None:
        """Put every handle back to what it was before staging."""
        for tensor, old in self.writes.values():
            tensor._node = old
            tensor._version += 1  # views made meanwhile are stale
        for tensor, old_gradient in self.gradients.values():
            tensor._grad = old_gradient
        lazy.state.epoch += 1

"""Staging: what a function does to the world while it is recorded, and how that is undone."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from plait.core.errors import AbstractValueError, message
from plait.core.graph import ABSTRACT, DATA, PLACEHOLDER, REQUIRES_GRAD, Node, Params, toposort, user_line
from plait.core.primitive import PRIMITIVES
from plait.tensor import lazy
from plait.tensor.effects import Writes
from plait.tensor.tensor import Tensor, node_of

LOOK = (
    "looks at the value of a tensor",
    "a look at the value (bool, int, float, item, numpy)",
    "use plait.where or plait.cond instead of `if`, or pass the value as a static argument",
)
"""Why a function is split: what it does, received, and a fix."""


class Staging(lazy.Observer):
    """Watches one staging: which existing tensors are written, which gradients and attributes are looked at.

    Where Python looks at a value, staging ends, unless it is `strict`: `holders`, which `handles` show, get the values
    of `arguments`, and the function goes on as eager code. `split` is then the file and line of the look.
    `claims` are let go of when staging ends.
    """

    def __init__(
        self, handles: Sequence[Tensor] = (), holders: Sequence[Node] = (), arguments: Sequence[Tensor] = (),
        strict: bool = True, claims: Sequence[lazy.Claim] = (),
    ) -> None:  # fmt: skip
        self.made: dict[int, Tensor] = {}
        self.writes: dict[int, tuple[Tensor, Node]] = {}
        self.gradients: dict[int, tuple[Tensor, Tensor | None]] = {}
        self.gradient_guards: list[tuple[Tensor, Tensor | None]] = []
        self.attribute_guards: dict[tuple[int, str], tuple[Any, str, Any]] = {}
        self.inputs = list(zip(handles, holders, arguments, strict=True))
        self.strict, self.claims = strict, claims
        self.split: tuple[str, int] | None = None
        self.reason = LOOK

    def created(self, tensor: Tensor) -> None:
        self.made[id(tensor)] = tensor

    def is_new(self, tensor: Tensor, old: Node) -> bool:
        """Whether a tensor was made while staging; whatever was there before has a value."""
        return id(tensor) in self.made or old.value is None

    def written(self, tensor: Tensor, old: Node) -> None:
        if id(tensor) not in self.writes:
            self.writes[id(tensor)] = (tensor, old)
        if self.outer is not None:
            self.outer.written(tensor, old)

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
        if self.outer is not None:
            self.outer.grad_written(tensor)

    def attribute_read(self, owner: Any, name: str) -> None:
        if (id(owner), name) not in self.attribute_guards:
            lazy.state.observer = None
            self.attribute_guards[id(owner), name] = (owner, name, getattr(owner, name))
            lazy.state.observer = self

    def looked(self, node: Node) -> bool:
        own = {n for _, n, _ in self.inputs}
        if self.strict or any(n.prim is PLACEHOLDER and n not in own for n in toposort([node], lazy.has_value)):
            return False
        self.end(LOOK)
        lazy.settle_flags([node])
        return True

    def attribute_written(self, owner: Any, name: str) -> None:
        received = f"a write to the attribute {name!r} of a {type(owner).__name__}"
        fix = "keep what changes in tensors: self.register_buffer(name, plait.tensor(0)), then self.name += 1"
        reason = ("changes an attribute of a module", received, fix)
        if self.strict:
            text = f"A compiled function {reason[0]}, which would happen once, when it is staged"
            raise AbstractValueError(message(text, received, "state in tensors", fix))
        self.end(reason)

    def end(self, reason: tuple[str, str, str]) -> None:
        """Give the placeholders their values and go on as eager code: the function is split at the present line."""
        self.split, self.reason = user_line(), reason
        lazy.state.observer, inner = None, lazy.state.transaction
        if isinstance(inner, Writes):  # inside the bodies of transforms
            while isinstance(inner.outer, Writes):
                inner = inner.outer
            inner.outer, self.outer = self, inner.outer
        else:
            lazy.state.transaction, self.outer = self, inner
        for handle, holder, argument in self.inputs:
            holder.flags &= ~ABSTRACT
            if holder.flags & REQUIRES_GRAD:  # an alias, through which gradients flow on
                holder.prim, holder.inputs = PRIMITIVES["reshape"], (node_of(argument),)
                holder.params = Params(shape=holder.shape)
            else:
                holder.prim, holder.value = DATA, lazy.value(argument)
                holder.extra = weakref.ref(handle)
        lazy.settle_flags([t._node for t in lazy.pending])
        for claim in self.claims:
            claim.release()

    def restore(self) -> None:
        """Put every handle back to what it was before staging."""
        for tensor, old in self.writes.values():
            tensor._node = old
            tensor._version += 1  # views made meanwhile are stale
        for tensor, old_gradient in self.gradients.values():
            tensor._grad = old_gradient
        lazy.state.changed()

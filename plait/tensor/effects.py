"""What the body of a transform writes outside itself: noted while it is recorded, then kept, carried or refused."""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Self

from plait.core.errors import AbstractValueError, message
from plait.core.graph import ABSTRACT, REQUIRES_GRAD, Node, placeholder, recorder
from plait.tensor import lazy
from plait.tensor.tensor import Tensor, node_of, write

_OWN_REFERENCES = 3  # one in a dict, the local variable and the argument of getrefcount


class Writes(lazy.Observer):
    """Notes, inside a `with` block, which tensors get other values and other gradients."""

    def __init__(self) -> None:
        self.tensors: dict[int, tuple[Tensor, Node]] = {}
        self.gradients: dict[int, tuple[Tensor, Tensor | None]] = {}
        self.outer: lazy.Observer | None = None

    def __enter__(self) -> Self:
        self.outer = lazy.state.transaction
        lazy.state.transaction = self
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        lazy.state.transaction = self.outer
        if kind is not None:
            self.restore()

    def written(self, tensor: Tensor, old: Node) -> None:
        if tensor._base is None:
            self.tensors.setdefault(id(tensor), (tensor, old))
        if self.outer is not None:
            self.outer.written(tensor, old)

    def grad_written(self, tensor: Tensor) -> None:
        self.gradients.setdefault(id(tensor), (tensor, tensor._grad))
        if self.outer is not None:
            self.outer.grad_written(tensor)

    def outside(self) -> list[tuple[Tensor, Node]]:
        """Return the tensors that somebody else holds, and what they were; views are told by what they show."""
        if not self.tensors:
            return []
        waiting = Counter(map(id, lazy.pending))  # pending tensors are held there, too, and hold what they show
        shown: Counter[int] = Counter()
        for tensor in {id(t): t for t in lazy.pending if id(t._base) in self.tensors}.values():
            if sys.getrefcount(tensor) <= _OWN_REFERENCES + waiting[id(tensor)]:
                shown[id(tensor._base)] += 1
        found = []
        for tensor, old in self.tensors.values():
            if sys.getrefcount(tensor) > _OWN_REFERENCES + waiting[id(tensor)] + shown[id(tensor)]:
                found.append((tensor, old))
        return found

    def restore(self) -> None:
        """Give all tensors the values and gradients that they had before."""
        for tensor, old in self.tensors.values():
            _put(tensor, old)
        for tensor, gradient in self.gradients.values():
            tensor._grad = gradient
        lazy.state.changed()


def _put(tensor: Tensor, node: Node) -> None:
    tensor._node = node
    tensor._version += 1  # views derive themselves again


def refuse(writes: Writes, what: str, leaks: Callable[[Node], bool]) -> None:
    """Raise if values for which `leaks` holds were written to tensors from outside, which then keep their old ones."""
    outside = [(t, t._node) for t, _ in writes.outside()]
    changed = [(t, t._grad) for t, old in writes.gradients.values() if t._grad is not old]
    outside += [(t, gradient._node) for t, gradient in changed if gradient is not None]
    for tensor, node in outside:
        if leaks(node):
            writes.restore()
            text = f"{what} writes to a tensor from outside, which has one value where the body stands for many"
            received = f"a write to a {tensor.aval} at {node.source or 'an unknown place'}"
            fix = "return the value, and write it after the call"
            raise AbstractValueError(message(text, received, "writes of values that do not depend on arguments", fix))


def record_body(record: Callable[[], Any], what: str) -> tuple[Any, list[Tensor], list[Node], list[Node]]:
    """Record the body of a loop or branch; tensors from outside that it writes become further inputs and outputs.

    Args:
        record: records the body and returns what it likes, once more where something outside is written.
        what: the name of the transform.

    Returns:
        What `record` returned, the tensors written, the placeholders of their values and their values at the end. The
        tensors themselves are as before.

    Raises:
        AbstractValueError: the body leaves a gradient in `.grad`.
    """
    states: dict[int, Tensor] = {}
    while True:
        before = [(t, node_of(t)) for t in states.values()]
        holders = [_stand_in(t, node) for t, node in before]
        with Writes() as writes:
            try:
                result = record()
            except BaseException:
                writes.restore()
                raise
            finally:
                ends = [t._node for t, _ in before]
                for t, node in before:
                    _put(t, node)
        found = {id(t): t for t, _ in writes.outside()}
        _refuse_gradients(writes, what)
        if found.keys() <= states.keys():
            return result, list(states.values()), holders, ends
        writes.tensors = {k: v for k, v in writes.tensors.items() if k not in states}
        writes.restore()
        states.update(found)


def _stand_in(tensor: Tensor, node: Node) -> Node:
    """Let a tensor stand for a placeholder while a body is recorded."""
    holder = placeholder(node.aval)
    holder.flags |= node.flags & REQUIRES_GRAD
    holder.extra = weakref.ref(tensor)
    _put(tensor, holder)
    return holder


def _refuse_gradients(writes: Writes, what: str) -> None:
    for tensor, old in writes.gradients.values():
        gradient = tensor._grad
        if gradient is not old and gradient is not None and gradient._node.flags & ABSTRACT:
            writes.restore()
            text = f"The body of {what} leaves a gradient in `.grad`, which is no input of the next step"
            fix = "use plait.grad inside the body, or set .grad to None at its end"
            raise AbstractValueError(message(text, f"a gradient of {gradient._node.source}", None, fix))


def write_all(tensors: Sequence[Tensor], values: Sequence[Node]) -> None:
    """Write what a loop or branch left in tensors from outside."""
    for tensor, value in zip(tensors, values, strict=True):
        previous = recorder.mask
        if tensor.is_leaf:  # the body wrote it without recording gradients, if it requires them
            recorder.mask &= ~REQUIRES_GRAD
        try:
            write(tensor, value)
        finally:
            recorder.mask = previous

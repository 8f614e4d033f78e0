"""Leaked tensors: those that a function stored outside while a transform recorded it, found where they are used."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from plait.core.errors import AbstractValueError, LeakedTensorError, message
from plait.core.graph import ABSTRACT, PLACEHOLDER, Node, toposort

if TYPE_CHECKING:
    from plait.tensor.tensor import Tensor


class Stage:
    """One recording of a function by a transform; `extra` of its placeholders, and of what was recorded on them."""

    __slots__ = ("transform", "function", "called", "is_over", "holders", "arguments")

    def __init__(
        self, transform: str, function: Callable[..., Any], holders: Sequence[Node], arguments: Sequence[str] = ()
    ) -> None:  # fmt: skip
        self.transform, self.arguments = transform, arguments  # paths in (args, kwargs), see `tree.paths`
        self.called: Any = function
        self.holders = {h: k for k, h in enumerate(holders) if h.prim is PLACEHOLDER}
        self.function = getattr(function, "__qualname__", type(function).__name__).split("<locals>.")[-1]
        self.is_over = False
        for holder in self.holders:
            holder.extra = self

    def names_of(self, nodes: Sequence[Node]) -> list[str]:
        """The arguments of the function that placeholders stand for, as far as that is known."""
        if not self.arguments:
            return []
        try:
            names = list(inspect.signature(self.called).parameters)
        except (TypeError, ValueError):
            names = []
        found = []
        for path in [self.arguments[k] for n in nodes if (k := self.holders.get(n)) is not None]:
            kind, key, rest = re.fullmatch(r"\[(\d)\]\[([^]]*)\](.*)", path, re.DOTALL).groups()  # type: ignore[union-attr]
            position = int(key) if kind == "0" else 0
            name = key.strip("'") if kind == "1" else names[position] if position < len(names) else f"number {key}"
            found.append(f"argument {name}{rest}")
        return found

    def end(self, recorded: Iterable[Tensor]) -> None:
        """The function has returned: its tensors have no value from now on."""
        self.is_over = True
        self.called, self.holders = None, {}
        for tensor in recorded:
            node = tensor._node
            if node.flags & ABSTRACT and node.extra is None:
                node.extra = self


def leak_below(order: Sequence[Node], own: Sequence[Node] = ()) -> LeakedTensorError | None:
    """Return the error for nodes that need a placeholder of a finished stage, except for the `own` ones.

    Args:
        order: nodes, inputs first.
        own: placeholders that will get a value.
    """
    known = set(own)
    over = {_stage(n) for n in order if n.prim is PLACEHOLDER and n not in known} - {None}
    leaked = next((n for n in reversed(order) if _stage(n) in over and n not in known), None)
    stage = None if leaked is None else _stage(leaked)
    if leaked is None or stage is None:
        return None
    what = (
        f"This tensor leaked: it was recorded at {leaked.source or 'an unknown line'} while {stage.transform} recorded "
        f"{stage.function}, was stored outside (in a global, a closure, a list or an attribute), and never gets a value"
    )
    if stage.transform == "jit":
        what += f"; compiled, {stage.function} runs without Python and stores nothing"
    fix = f"return it from {stage.function} and use what the call returns"
    if stage.transform == "jit":
        fix += "; state that calls change is a tensor made before, written in place, e.g. state[...] = x"
    return LeakedTensorError(message(what, f"a use of {leaked.aval}", None, fix))


def not_known(node: Node) -> AbstractValueError:
    """Return the error for a look at the value of a node that has none: a stage runs, or is over."""
    order = toposort([node], lambda n: n.value is not None)
    leak = leak_below(order)
    if leak is not None:
        return leak
    needed = [n for n in order if n.prim is PLACEHOLDER and type(n.extra) is Stage]
    received = "a look at the value (bool, int, float, item, numpy, print)"
    fix = "use plait.where or plait.cond instead of `if`, or pass the value as a static argument"
    if needed:
        stage = needed[-1].extra
        received += f" in {stage.function}, which {stage.transform} records"
        found = stage.names_of(needed)
        if found:
            received += f"; it depends on {' and '.join(found[:3])}"
        if stage.transform == "vmap":
            fix = "use plait.where or plait.cond instead of `if`; in_axes=None is for what is the same for all"
    return AbstractValueError(
        message(
            f"The value of a {node.aval} is not known while the function is staged (recorded at {node.source})",
            received,
            "only operations on tensors inside jit, vmap, scan, cond and while_loop",
            fix,
        )
    )


def _stage(node: Node) -> Stage | None:
    stage = node.extra
    return stage if type(stage) is Stage and stage.is_over else None

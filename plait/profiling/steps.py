"""What the steps of a program are, in the user's terms: what they compute, for which line and module, how much."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from plait.compiler.cost import step_bytes, step_flops
from plait.compiler.pipeline import HostCall, Jump, Label, Launch, Plan, Step, Value
from plait.core.graph import CONSTANT, Node, forward_scope

_PARTIAL = frozenset(("gather", "slice", "dynamic_slice"))  # read some elements of their first operand
_PLAIN = frozenset(("broadcast", "reshape", "convert", "get", "transpose"))  # named only where nothing else is
_MOST_NAMES = 4
_SHOWN_AS = {"dot_general": "matmul"}


@dataclass(frozen=True, slots=True)
class Origin:
    """What a kernel or value comes from.

    Attributes:
        title: its operations, e.g. "matmul+add".
        module: path of the module that recorded it, below the outermost one that was called, or the class of that;
            None outside of modules.
        is_backward: whether it carries gradients back through that module.
        line: the user's `file:line`, or "".
    """

    title: str
    module: str | None = None
    is_backward: bool = False
    line: str = ""

    @property
    def place(self) -> str:
        """Module and direction as text."""
        return f"{self.module or ''}{' (backward)' if self.is_backward else ''}".strip()

    @property
    def short_line(self) -> str:
        """The line without the folders of its file."""
        return os.path.basename(self.line)


@dataclass(frozen=True, slots=True)
class Work:
    """What one run of a step computes and moves; `width` is the bytes of an element of its result."""

    flops: float
    nbytes: float
    width: int


def origin_of(step: Step) -> Origin:
    """Return where a step comes from."""
    if isinstance(step, Label | Jump):
        return Origin("")
    if not step.work:
        name = step.source.key if isinstance(step, Launch) else ""
        return Origin(name.removeprefix("program:") if name.startswith("program:") else "host function")
    module, is_backward = forward_scope(_main_scope(step.work))
    title = "+".join(_names(step.work))
    return Origin(f"host {title}" if isinstance(step, HostCall) else title, module, is_backward, _main_line(step.work))


def work_of(step: Launch | HostCall) -> Work:
    """Return the work of one run of a step; elements that a lookup does not need are not counted."""
    if isinstance(step, Launch) and not step.work:
        return Work(0.0, 2.0 * step.scalars.get("bytes", 0), 4)
    width = max((a.dtype.itemsize for n in step.work for a in n.avals if a.dtype.is_inexact), default=4)
    return Work(step_flops(step.work), max(0, step_bytes(step) - _not_read(step.work)), width)


def _not_read(work: Sequence[Node]) -> int:
    inside = set(work)
    read: Counter[Node] = Counter()
    for node in work:
        for position, i in enumerate(node.inputs):
            if i not in inside and i.prim is not CONSTANT:
                is_partial = node.prim.name in _PARTIAL and position == 0
                read[i] += node.avals[0].nbytes if is_partial else i.avals[0].nbytes
    return sum(max(0, i.avals[0].nbytes - nbytes) for i, nbytes in read.items())


def _weight(node: Node) -> float:
    return 1.0 + step_flops([node])


def _names(work: Sequence[Node]) -> list[str]:
    names = list(dict.fromkeys(n.prim.name for n in reversed(work)))
    names = [n for n in names if n not in _PLAIN] or names
    if len(names) > _MOST_NAMES:
        heavy = sorted(set(names), key=lambda name: -sum(_weight(n) for n in work if n.prim.name == name))
        kept = set(heavy[:_MOST_NAMES])
        more = [f"{len(names) - _MOST_NAMES} more"]
        return [_SHOWN_AS.get(n, n) for n in names if n in kept] + more
    return [_SHOWN_AS.get(n, n) for n in names]


def _main_scope(work: Sequence[Node]) -> str | None:
    weights: Counter[str | None] = Counter()
    for node in work:
        weights[node.scope] += _weight(node)  # type: ignore[assignment]
    return max(weights, key=lambda scope: (weights[scope], scope is not None))


def _main_line(work: Sequence[Node]) -> str:
    best = max((n for n in work if n.code is not None), key=_weight, default=None)
    return "" if best is None else best.source


def owners(plan: Plan) -> dict[Value, Origin]:
    """Return where the temporaries and outputs of a plan come from: the operation that first writes each."""
    found: dict[Value, Origin] = {}
    inputs = set(plan.inputs)
    for step in plan.steps:
        if isinstance(step, Label | Jump):
            continue
        whole = origin_of(step)
        values = step.values if isinstance(step, Launch) else [v for v, _ in step.results]
        candidates = _results_first(step.work)
        for value in values:
            if value in inputs or value in found:
                continue
            node = next((n for n in candidates if n.avals[0].nbytes == value.nbytes), None)
            if node is not None:
                candidates.remove(node)
                module, is_backward = forward_scope(node.scope)
                found[value] = Origin(_names([node])[0], module, is_backward, node.source)
            else:
                found[value] = found.get(values[0], whole) if not step.work else whole
        for value in step.workspaces if isinstance(step, Launch) else ():
            found.setdefault(value, Origin(f"workspace of {whole.title}", whole.module, whole.is_backward, whole.line))
    return found


def _results_first(work: Sequence[Node]) -> list[Node]:
    used = {i for n in work for i in n.inputs}
    return sorted(work, key=lambda n: n in used)

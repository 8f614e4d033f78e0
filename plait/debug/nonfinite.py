"""The finder of NaNs: which operation made the first one, on which line, from which inputs."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from plait.compiler.pipeline import Plan
from plait.core.aval import Aval
from plait.core.errors import NonFiniteError, message
from plait.core.graph import CONSTANT, Node, forward_scope, placeholder, substitute
from plait.debug.interpreter import Frame, Interpreter, Results
from plait.runtime.buffer import Buffer, from_pointer, to_numpy
from plait.runtime.launch import Executable
from plait.tensor import lazy
from plait.transforms import gradients

_FINITE = "use a where on the input as well as on the result, add an epsilon, clip, or lower the learning rate"


@dataclass(frozen=True, slots=True)
class Range:
    """What a value holds: how many NaN and infinities of how many elements, and the range of all others."""

    aval: Aval
    nan: int
    inf: int
    low: float
    high: float

    def count(self, kind: str) -> int:
        """How many elements are of a kind, "nan" or "inf"."""
        return self.nan if kind == "nan" else self.inf

    def __str__(self) -> str:
        text = str(self.aval)
        if self.nan + self.inf < self.aval.size:
            text += f" from {self.low:.6g} to {self.high:.6g}"
        for number, name in ((self.nan, "NaN"), (self.inf, "inf")):
            text += f", {number} {name}" if number else ""
        return text


def measure(buffer: Buffer, like: Aval) -> Range:
    """Return the range of a value; one that is not of floats has no NaN."""
    array = to_numpy(buffer, like.dtype.numpy, cast(tuple[int, ...], like.shape))
    if not like.dtype.is_inexact:
        values = array.astype(np.float64)
        return Range(like, 0, 0, *((float(values.min()), float(values.max())) if array.size else (0.0, 0.0)))
    values = np.abs(array) if like.dtype.is_complex else array.astype(np.promote_types(np.float32, _plain(like)))
    nan, finite = np.isnan(values), np.isfinite(values)
    chosen = values[finite]
    low, high = (float(chosen.min()), float(chosen.max())) if chosen.size else (0.0, 0.0)
    count = int(nan.sum())
    return Range(like, count, values.size - int(finite.sum()) - count, low, high)


def _plain(like: Aval) -> Any:
    return np.float64 if like.dtype.itemsize == 8 else np.float32


@dataclass(frozen=True, slots=True)
class Culprit:
    """The operation that made the first NaN or infinity of a value; `node` is a leaf if none did."""

    node: Node
    kind: str
    inputs: tuple[Range, ...]
    results: tuple[Range, ...]
    place: str = ""  # in which step of which loop
    cause: Culprit | None = None  # where the infinity came from that became a NaN

    @property
    def where(self) -> str:
        """The line, and whether it was its derivative that ran."""
        line = self.node.source or "an unknown line"
        derivative = "in the derivative (backward) of " if forward_scope(self.node.scope)[1] else "at "
        return f"{derivative}{line}{self.place}"


class _Search:
    """Runs a graph operation by operation and traces what is wrong with the results back."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self.kinds = kinds
        self.ranges: dict[tuple[Frame, Node], tuple[Range, ...]] = {}
        self.inside: dict[tuple[Frame, Node, str], Culprit] = {}
        self.interpreter = Interpreter(self.ran, self.left)

    def run(self, outputs: Sequence[Node], leaves: Sequence[Node], buffers: Results) -> Culprit | None:
        """Return what made the first NaN or infinity of the outputs."""
        frame, nodes = self.interpreter.run(outputs, leaves, buffers)
        for kind in self.kinds:
            for node in nodes:
                found = self.origin(frame, node, kind)
                if found is not None:
                    return found
        return None

    def ran(self, frame: Frame, node: Node, results: Results) -> None:
        self.ranges[frame, node] = tuple([measure(b, a) for b, a in zip(results, node.avals, strict=True)])

    def left(self, frame: Frame, node: Node, inner: Frame, outputs: Sequence[Node], step: int | None) -> None:
        for kind in ("nan", "inf"):
            if (frame, node, kind) not in self.inside:
                found = next((c for o in outputs if (c := self.origin(inner, o, kind)) is not None), None)
                if found is not None and found.node not in inner.inputs:
                    place = f"in {node.prim.name} at {node.source}"
                    place = f"{found.place}, {place if step is None else f'in step {step}, {place}'}"
                    self.inside[frame, node, kind] = replace(found, place=place)

    def range(self, frame: Frame, node: Node) -> Range:
        """The range of one value."""
        producer, index = frame.producer(node)
        found = self.ranges.get((frame, producer))
        if found is None:
            if producer.prim is CONSTANT:
                return measure(frame.buffer(producer), producer.aval)
            found = self.ranges[frame, producer] = (measure(frame.buffer(producer), producer.aval),)
        return found[index]

    def origin(self, frame: Frame, node: Node, kind: str) -> Culprit | None:
        """Return what made a kind of element in the value of `node`: an operation, or a leaf that it came in with."""
        if not self.range(frame, node).count(kind):
            return None
        came_in = None
        stack, seen = [node], {node}
        while stack:
            current, _ = frame.producer(stack.pop())
            if (frame, current, kind) in self.inside:
                return self.inside[frame, current, kind]
            if current in frame.inputs:
                came_in = came_in or Culprit(current, kind, (), (self.range(frame, current),))
            if current in frame.inputs or current.prim is CONSTANT:
                continue
            ranges = tuple([self.range(frame, i) for i in current.inputs])
            bad = [i for i, r in zip(current.inputs, ranges, strict=True) if r.count(kind)]
            if not bad:
                return Culprit(current, kind, ranges, self.ranges[frame, current], "", self.cause(frame, current, kind))
            stack += [i for i in reversed(bad) if i not in seen]
            seen.update(bad)
        return came_in

    def cause(self, frame: Frame, node: Node, kind: str) -> Culprit | None:
        """Where the infinities among the inputs came from, if the node made NaNs of them."""
        if kind == "inf":
            return None
        return next((c for i in node.inputs if (c := self.origin(frame, i, "inf")) is not None), None)


class Finder(lazy.Checker):
    """Looks at everything that is computed; raises where a NaN (or infinity) has come up."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self.kinds = kinds

    def computed(self, outputs: Sequence[Node], leaves: Sequence[Node], buffers: Results) -> None:
        if self.is_bad([o.aval for o in outputs], buffers):
            self.explain(outputs, leaves, [leaf.value for leaf in leaves])

    def executable(
        self, outputs: Sequence[Node], leaves: Sequence[Node], plan: Plan, donated: dict[int, int]
    ) -> Executable:  # fmt: skip
        return _Checked(self, outputs, leaves, plan, donated)

    def is_bad(self, avals: Sequence[Aval], buffers: Results) -> bool:
        """Whether one of the values has an element that is looked for."""
        for like, buffer in zip(avals, buffers, strict=True):
            if like.dtype.is_inexact:
                array = to_numpy(buffer, like.dtype.numpy, cast(tuple[int, ...], like.shape))
                if not np.isfinite(array).all() and ("inf" in self.kinds or np.isnan(array).any()):
                    return True
        return False

    def explain(self, outputs: Sequence[Node], leaves: Sequence[Node], buffers: Results) -> None:
        """Compute once more, one operation at a time; raises unless the element is a constant of the user."""
        found = _Search(self.kinds).run(outputs, leaves, buffers)
        if found is not None and (found.inputs or found.kind == "nan"):
            raise NonFiniteError(_text(found))


_FINDERS = {False: Finder(("nan",)), True: Finder(("nan", "inf"))}  # compiled functions have a version for each


class _Checked(Executable):
    """A program of a compiled function that writes its state only once all results are found to be right."""

    def __init__(
        self, finder: Finder, outputs: Sequence[Node], leaves: Sequence[Node], plan: Plan, donated: dict[int, int]
    ) -> None:  # fmt: skip
        super().__init__(plan)
        self.finder, self.taken = finder, donated
        holders = {n: placeholder(n.aval) for n in leaves}  # the graph keeps no values alive
        for n, holder in holders.items():
            holder.code, holder.instruction, holder.scope = n.code, n.instruction, n.scope
        self.nodes = substitute(outputs, {**holders})
        self.leaves = list(holders.values())

    def run_prepared(self) -> Results:
        results = super().run_prepared()
        table = self.program.table
        inputs = [from_pointer(table[s], n.aval.nbytes, None) for s, n in zip(self.inputs, self.leaves, strict=True)]
        if self.finder.is_bad([n.aval for n in self.nodes], results):
            self.finder.explain(self.nodes, self.leaves, inputs)
        for k, i in self.taken.items():
            ctypes.memmove(inputs[i].address, results[k].address, results[k].nbytes)
        return [r for k, r in enumerate(results) if k not in self.taken]


def _text(found: Culprit) -> str:
    noun = "NaN" if found.kind == "nan" else "infinity"
    count = sum(r.count(found.kind) for r in found.results)
    size = sum(r.aval.size for r in found.results)
    if not found.inputs:
        what = f"No operation made the {noun}: it was in a tensor that came in, {found.where}"
        return message(what, found.results[0], "finite values", "look where this tensor was made or loaded")
    what = f"{found.node.prim.name} made the first {noun} ({count} of {size} elements), {found.where}"
    if found.cause is not None:
        made = "came in with a tensor" if not found.cause.inputs else f"was made by {found.cause.node.prim.name}"
        what += f"; the infinity among its inputs {made}, {found.cause.where}"
    received = "inputs " + " and ".join(map(str, found.inputs))
    if len(found.results) == 1:
        received += f"; result {found.results[0]}"
    return message(what, received, None, _FINITE)


@contextmanager
def nans(infs: bool = False) -> Iterator[None]:
    """Return a context in which the first NaN raises an error that says which operation made it.

    All that is computed is looked at: eager code, gradients, and compiled functions, which are compiled once more for
    this. If a NaN is found among results, they are computed again one operation at a time, into loops and branches,
    and the error names the first operation that made a NaN from inputs that had none, the line that recorded it,
    whether it belongs to the derivative of that line, and the ranges of its inputs and its result. State is as before
    the call. What is no result raises nothing: a `where` may leave NaNs out, as long as no variable holds them. Nor
    do NaNs that the code has as constants.

    Args:
        infs: whether an infinity that an operation makes of finite inputs is an error too.

    Raises:
        NonFiniteError: at the call that computes the NaN, or looks at it.

    Example:
        >>> with plait.debug.nans():
        ...     print(plait.log(plait.tensor([-1.0, 2.0])))
        Traceback (most recent call last):
            ...
        plait.core.errors.NonFiniteError: log made the first NaN (1 of 2 elements), at ...
    """
    lazy.flush()
    before = lazy.state.checker
    lazy.state.checker = _FINDERS[infs]
    lazy.state.changed()
    reused = gradients.reuse(False)
    try:
        yield
        lazy.flush()
    finally:
        lazy.state.checker = before
        lazy.state.changed()
        gradients.reuse(reused)

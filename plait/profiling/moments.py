"""The memory of a plan at its worst moment, and what holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from plait.compiler.memory import Interval
from plait.compiler.pipeline import Plan, Value
from plait.profiling.steps import Origin, owners


@dataclass(frozen=True, slots=True)
class Holder:
    """Something that holds memory.

    Attributes:
        kind: "input", "parameter", "output" or "temporary".
        name: what it is: the name of an input, the operation that makes a temporary.
        nbytes: its bytes.
        shape: dtype and shape as text, where they are known.
        origin: the module and line that it comes from.
    """

    kind: str
    name: str
    nbytes: int
    origin: Origin
    shape: str = ""


@dataclass(frozen=True, slots=True)
class Moment:
    """A program at its worst moment: the temporaries that live then, and all that lives from begin to end."""

    temporaries: tuple[Holder, ...]
    outputs: tuple[Holder, ...]
    input_bytes: int
    output_bytes: int
    arena_bytes: int

    @property
    def peak_bytes(self) -> int:
        """Bytes of inputs, outputs that have memory of their own, and the arena of the temporaries."""
        return self.input_bytes + self.output_bytes + self.arena_bytes


def worst_moment(plan: Plan, donated: Sequence[int] = ()) -> Moment:
    """Return what a plan holds when its temporaries need most.

    Args:
        plan: a plan whose temporaries have been placed.
        donated: numbers of the outputs that take over the memory of an input.
    """
    lives = plan.lives()
    step = _fullest_step(lives)
    made = owners(plan)
    nowhere = Origin("")

    def holder(kind: str, value: Value) -> Holder:
        origin = made.get(value, nowhere)
        return Holder(kind, origin.title, value.nbytes, replace(origin, title=""))

    alive = [v for v, i in lives.items() if i.first <= step <= i.last]
    temporaries = sorted((holder("temporary", v) for v in alive), key=lambda h: -h.nbytes)
    fresh = [v for k, v in enumerate(plan.outputs) if k not in donated]
    outputs = tuple(holder("output", v) for v in fresh)
    inputs = sum(v.nbytes for v in plan.inputs)
    return Moment(tuple(temporaries), outputs, inputs, sum(v.nbytes for v in fresh), plan.arena)


def _fullest_step(lives: dict[Value, Interval]) -> int:
    changes: dict[int, int] = {}
    for interval in lives.values():
        changes[interval.first] = changes.get(interval.first, 0) + interval.nbytes
        changes[interval.last + 1] = changes.get(interval.last + 1, 0) - interval.nbytes
    held = most = worst = 0
    for step in sorted(changes):
        held += changes[step]
        if held > most:
            most, worst = held, step
    return worst

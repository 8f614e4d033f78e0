"""Recording state: what a thread, or an asyncio task, has set that bears on the nodes that it records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import get_ident
from typing import Any


class Recording:
    """The values of one thread or task; see `Recorder`."""

    __slots__ = ("mask", "mode", "invariant", "location", "scope", "paths", "thread")

    def __init__(self, mask: int = -1, mode: Any = None, invariant: bool = False) -> None:
        self.mask = mask
        self.mode = mode
        self.invariant = invariant
        self.location: Any = None
        self.scope: str | None = None
        self.paths: dict[int, str] = {}
        self.thread = 0

    def copy(self) -> Recording:
        """Return a copy that belongs to the running thread."""
        made = Recording(self.mask, self.mode, self.invariant)
        made.thread = get_ident()
        if self.thread == made.thread:
            made.location, made.scope, made.paths = self.location, self.scope, self.paths
        return made


_DEFAULTS = Recording()  # belongs to no thread, so it is never changed
_recording: ContextVar[Recording] = ContextVar("plait.recording", default=_DEFAULTS)
in_force = _recording.get
"""Returns the state in force, for reading: two looks into it cost less than one at `recorder`."""


def own() -> Recording:
    """Return the state in force; the running thread may change the attributes that are not inherited."""
    state = in_force()
    if state.thread != get_ident():
        state = state.copy()
        _recording.set(state)
    return state


def _inherited(name: str) -> Any:
    """A setting that tasks inherit: a change makes new state, so that theirs stays as it was."""

    def get(_: Recorder) -> Any:
        return getattr(in_force(), name)

    def change(_: Recorder, value: Any) -> None:
        state = in_force().copy()
        setattr(state, name, value)
        _recording.set(state)

    return property(get, change)


def _temporary(name: str) -> Any:
    """A value that is put back before the function that set it returns, or waits."""

    def get(_: Recorder) -> Any:
        return getattr(in_force(), name)

    def change(_: Recorder, value: Any) -> None:
        setattr(own(), name, value)

    return property(get, change)


class Recorder:
    """Recording state of the running thread: `mask` is and-ed into flags, `location` overrides the source line.

    `mode` is None, or what converts the arguments of functions before they record: `mode.cast(name, args, kwargs)`
    (see `plait.amp`). Recordings are kept for each of its values. `scope` is the path of the module that is being
    called below the outermost one, or the class of that, and `paths` has them by the id of the module. `invariant`
    is whether what is compiled gives a row of a batch the same bits at any size of the batch.

    A new thread begins with the defaults; an asyncio task inherits `mask`, `mode` and `invariant` from what created it.
    """

    mask: int = _inherited("mask")
    mode: Any = _inherited("mode")
    invariant: bool = _inherited("invariant")
    location: Any = _temporary("location")
    scope: str | None = _temporary("scope")
    paths: dict[int, str] = _temporary("paths")


recorder = Recorder()


@contextmanager
def compiling(invariant: bool) -> Iterator[None]:
    """Compile what is compiled inside with that value of `Recorder.invariant`."""
    before, recorder.invariant = recorder.invariant, invariant
    try:
        yield
    finally:
        recorder.invariant = before

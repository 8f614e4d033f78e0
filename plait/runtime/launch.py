"""Executables: a plan with its code loaded and its memory laid out; running one is one native call."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from plait.compiler.cost import plan_cost
from plait.compiler.pipeline import HostCall, Jump, Label, Launch, Plan, Value
from plait.core import journal
from plait.core.aval import Aval
from plait.core.errors import OutOfMemoryError, ShapeError, message
from plait.runtime.buffer import Buffer, allocate, from_pointer, out_of_memory
from plait.runtime.code import evaluate_size, load_kernel
from plait.runtime.program import ProgramBuilder

_NOTHING = from_pointer(0, 0, None)
_SMALLEST_ARENA = 1 << 16
_LARGE_ARENA = 1 << 25


class _Workspace:
    """The arena that all programs share: one runs at a time. `needed` is the most that one of them has used of late."""

    def __init__(self) -> None:
        self.buffer = _NOTHING
        self.needed = 0

    def address(self, nbytes: int) -> int:
        if nbytes > self.needed:
            if nbytes > self.buffer.nbytes:
                self.resize(nbytes)
            self.needed = nbytes
        return self.buffer.address

    def trim(self, nbytes: int) -> None:
        """Let go of what no program has used since the last call, but for `nbytes` bytes."""
        needed, self.needed = max(self.needed, nbytes), 0
        if self.buffer.nbytes > _LARGE_ARENA and self.buffer.nbytes > 2 * needed:
            self.resize(needed)

    def resize(self, nbytes: int) -> None:
        """Let go of the memory before taking other, so that never both are there."""
        self.needed, self.buffer = 0, _NOTHING
        self.buffer = allocate(max(nbytes, _SMALLEST_ARENA)) if nbytes else _NOTHING


_workspace = _Workspace()
_running = threading.RLock()


_watcher: Callable[[Executable], None] | None = None


def watch(function: Callable[[Executable], None] | None) -> None:
    """Let `function` run the programs of all executables from now on; None ends that."""
    global _watcher
    _watcher = function


class Executable:
    """A program ready to run on buffers.

    Args:
        plan: what to run.
        donated: for an output the input whose memory it takes over, where the plan allows that.
    """

    def __init__(self, plan: Plan, donated: dict[int, int] | None = None) -> None:
        self.plan = plan
        self.donated = plan.donate(donated or {})
        loaded = [load_kernel(s.source) if isinstance(s, Launch) else None for s in plan.steps]
        for step, kernel in zip(plan.steps, loaded, strict=True):
            if kernel is not None:
                assert isinstance(step, Launch)
                step.workspaces = [Value(evaluate_size(size, step.scalars), "temporary") for size in kernel.workspaces]
        plan.place()
        builder = ProgramBuilder()
        slots: dict[Value, int] = {}

        def slot(value: Value) -> int:
            if value not in slots:
                slots[value] = builder.slot()
            return slots[value]

        self.inputs = [slot(v) for v in plan.inputs]
        self.outputs = [(slot(v), v.nbytes) for v in plan.outputs]
        labels = {s: builder.label() for s in plan.steps if isinstance(s, Label)}
        self.first_rows: list[int] = []  # of each step
        for step, kernel in zip(plan.steps, loaded, strict=True):
            self.first_rows.append(len(builder.rows))
            if isinstance(step, Launch):
                assert kernel is not None
                arguments = [slot(v) for v in [*step.values, *step.workspaces]]
                for number in range(evaluate_size(kernel.rounds, step.scalars)):
                    named = {**step.scalars, "round": number}
                    scalars = [named[name] for name in kernel.scalars]
                    for address, extent, grain in kernel.functions:
                        builder.kernel(address, arguments, scalars, evaluate_size(extent, named), grain)
            elif isinstance(step, Label):
                builder.place(labels[step])
            elif isinstance(step, Jump):
                if step.unless is None:
                    builder.jump(labels[step.label])
                else:
                    builder.jump_if_zero(slot(step.unless), labels[step.label])
            else:
                pairs = [*step.inputs, *step.results]
                builder.call(_host_function(step), [slot(v) for v, _ in pairs])
        self.has_host_calls = any(isinstance(s, HostCall) for s in plan.steps)
        self.temporaries = [(s, v.offset) for v, s in slots.items() if v.place == "temporary"]
        self.program = builder.build()
        self.base = 0
        self.fresh = [o for k, o in enumerate(self.outputs) if k not in self.donated]
        self.code_bytes = {s.source.key: k.nbytes for s, k in zip(plan.steps, loaded, strict=True) if k is not None}
        with _running:
            _workspace.trim(plan.arena)
        self._report()

    def _report(self) -> None:
        """Tell the journal about the program."""
        record, plan = journal.current(), self.plan
        if record is None:
            return
        record.kernels = sum(isinstance(s, Launch) for s in plan.steps)
        record.steps, record.donated, record.arena_bytes = len(plan.steps), len(self.donated), plan.arena
        record.input_bytes = sum(v.nbytes for v in plan.inputs)
        record.output_bytes = sum(v.nbytes for v in plan.outputs)
        if record.tier != "generic":
            record.flops, record.bytes_moved = plan_cost(plan)

    def run(self, inputs: Sequence[Buffer]) -> list[Buffer]:
        """Run on the buffers of the inputs; returns the buffers of the outputs."""
        with _running:
            self.set_inputs(inputs)
            fresh = iter(self.run_prepared())
        return [inputs[self.donated[k]] if k in self.donated else next(fresh) for k in range(len(self.outputs))]

    def set_inputs(self, inputs: Sequence[Buffer], first: int = 0) -> None:
        """Let the inputs from number `first` on, and the outputs that take over their memory, be at `inputs`."""
        table = self.program.table
        for s, buffer in zip(self.inputs[first:], inputs, strict=True):
            table[s] = buffer.address
        for k, i in self.donated.items():
            if i >= first:
                table[self.outputs[k][0]] = inputs[i - first].address

    def run_prepared(self) -> list[Buffer]:
        """Run on inputs that are set; returns the buffers of the outputs that have memory of their own.

        The caller holds the lock.
        """
        table = self.program.table
        results: list[Buffer] = []
        try:
            private = allocate(self.plan.arena) if self.has_host_calls else None
            base = private.address if private is not None else _workspace.address(self.plan.arena)
            for s, nbytes in self.fresh:
                buffer = allocate(nbytes)
                table[s] = buffer.address
                results.append(buffer)
        except OutOfMemoryError:
            results.clear()
            private, base, results = self._allocate_again()
        if base != self.base:
            self.base = base
            for s, offset in self.temporaries:
                table[s] = base + offset
        if _watcher is None:
            self.program.run()
        else:
            _watcher(self)
        return results

    def _allocate_again(self) -> tuple[Buffer | None, int, list[Buffer]]:
        """Allocate temporaries and results once the memory of larger programs is let go of."""
        private, arena = None, self.plan.arena
        try:
            if self.has_host_calls:
                _workspace.resize(0)
                private = allocate(arena)
            else:
                _workspace.resize(arena)
            results = [allocate(nbytes) for _, nbytes in self.fresh]
            for (s, _), buffer in zip(self.fresh, results, strict=True):
                self.program.table[s] = buffer.address
        except OutOfMemoryError:
            raise out_of_memory(arena + sum(nbytes for _, nbytes in self.fresh), arena) from None
        return private, (private or _workspace.buffer).address, results


def shared_memory(nbytes: int) -> int:
    """Return the address of memory that is free until the caller lets go of the lock of running programs."""
    return _workspace.address(nbytes)


def is_watched() -> bool:
    """Whether `watch` has a function run the programs."""
    return _watcher is not None


def arena() -> Buffer:
    """Return the memory that programs share for what they compute in between."""
    return _workspace.buffer


def arena_bytes() -> int:
    """Return the size of that memory."""
    return _workspace.buffer.capacity


def lock() -> threading.RLock:  # type: ignore[valid-type]
    """The lock that a caller of `run_prepared` holds."""
    return _running


def _host_function(step: HostCall) -> Callable[..., None]:
    function, inputs, results = step.function, [a for _, a in step.inputs], [a for _, a in step.results]

    def call(*addresses: int) -> None:
        arrays = [_array(p, a) for p, a in zip(addresses, [*inputs, *results], strict=True)]
        for array in arrays[: len(inputs)]:
            array.flags.writeable = False
        found = function(*arrays[: len(inputs)])
        values = found if isinstance(found, (tuple, list)) else (found,)
        shapes, expected = [np.shape(v) for v in values], [a.shape for a in results]
        if shapes != expected:
            raise ShapeError(message("A host callback returned other shapes than announced", shapes, expected))
        for array, value in zip(arrays[len(inputs) :], values, strict=True):
            array[...] = np.asarray(value)

    return call


def _array(address: int, like: Aval) -> np.ndarray[Any, Any]:
    shape: tuple[int, ...] = like.shape  # type: ignore[assignment]
    raw = (ctypes.c_uint8 * like.nbytes).from_address(address)
    return np.frombuffer(raw, like.dtype.numpy, count=like.size).reshape(shape)

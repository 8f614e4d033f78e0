"""Executables: a plan with its code loaded and its memory laid out; running one is one native call."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from plait.compiler.pipeline import HostCall, Jump, Label, Launch, Plan, Value
from plait.core.aval import Aval
from plait.core.errors import ShapeError, message
from plait.runtime.buffer import Buffer, allocate
from plait.runtime.code import evaluate_size, load_kernel
from plait.runtime.program import ProgramBuilder


class _Workspace:
    """The arena that all programs share: one runs at a time."""

    def __init__(self) -> None:
        self.buffer = allocate(1 << 16)

    def address(self, nbytes: int) -> int:
        if nbytes > self.buffer.nbytes:
            self.buffer = allocate(nbytes)
        return self.buffer.address


_workspace = _Workspace()
_running = threading.RLock()


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
        for step, kernel in zip(plan.steps, loaded, strict=True):
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
        private = allocate(self.plan.arena) if self.has_host_calls else None
        base = private.address if private is not None else _workspace.address(self.plan.arena)
        if base != self.base:
            self.base = base
            for s, offset in self.temporaries:
                table[s] = base + offset
        results: list[Buffer] = []
        for s, nbytes in self.fresh:
            buffer = allocate(nbytes)
            table[s] = buffer.address
            results.append(buffer)
        self.program.run()
        return results


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

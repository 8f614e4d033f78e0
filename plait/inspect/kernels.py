"""What is known of the kernels of a plan: operations, the user's lines, costs, code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from plait.compiler.cost import repetitions, step_bytes, step_flops
from plait.compiler.llvm.jit import assembly
from plait.compiler.pipeline import HostCall, Launch, Plan, Value
from plait.core.graph import Node, forward_scope
from plait.ir import printer
from plait.ir.loop import Kernel
from plait.runtime.code import llvm_text, target

_MOST_OPERATIONS = 6


@dataclass(eq=False)
class KernelReport:
    """One step of a program that computes something.

    Attributes:
        name: of the kernel in object code, or of the host function.
        operations: the primitives in it, in the order in which they are computed.
        sources: the user's lines, as `file:line`.
        modules: paths of the modules that recorded them, below the outermost one that was called.
        flops, bytes_moved: of one run of the program, as the primitives state them.
        times: how often one run of the program runs it; a loop of unknown length counts as one turn.
        step: the step of the plan.
    """

    name: str
    operations: tuple[str, ...]
    sources: tuple[str, ...]
    modules: tuple[str, ...]
    flops: float
    bytes_moved: int
    times: int
    step: Launch | HostCall

    @property
    def title(self) -> str:
        """The operations in one word."""
        found = list(dict.fromkeys(self.operations))
        more = f"+{len(found) - _MOST_OPERATIONS} more" if len(found) > _MOST_OPERATIONS else ""
        return "+".join(found[:_MOST_OPERATIONS]) + more

    @property
    def work(self) -> tuple[Node, ...]:
        """The nodes that it computes, the operands first."""
        return self.step.work[::-1]

    @property
    def operands(self) -> tuple[list[Value], list[Value]]:
        """The memory that it reads, and that it writes."""
        if isinstance(self.step, HostCall):
            return [v for v, _ in self.step.inputs], [v for v, _ in self.step.results]
        return self.step.values[: self.step.reads], self.step.values[self.step.reads :]

    @cached_property
    def _kernel(self) -> Kernel | None:
        return self.step.source.write(self.name, target()) if isinstance(self.step, Launch) else None

    @property
    def structure(self) -> str:
        """What identifies it: kernels of equal structure are compiled once. Empty for a host function."""
        return self.step.source.key if isinstance(self.step, Launch) else ""

    @property
    def loops(self) -> str:
        """Its loop IR."""
        return "" if self._kernel is None else printer.kernel(self._kernel)

    @property
    def llvm(self) -> str:
        """Its LLVM text, before LLVM's own passes."""
        return "" if self._kernel is None else llvm_text(self._kernel)

    @property
    def assembly(self) -> str:
        """Its machine code, as the assembly of this machine."""
        return "" if self._kernel is None else assembly(self.llvm, target())

    def __repr__(self) -> str:
        return f"KernelReport({self.name}: {self.title})"


def kernel_reports(plan: Plan) -> list[KernelReport]:
    """Return the kernels and host functions of a plan, in the order in which they run."""
    reports = []
    for step, times in zip(plan.steps, repetitions(plan), strict=True):
        if isinstance(step, Launch | HostCall):
            operations = _operations(step)
            name = step.source.name if isinstance(step, Launch) else operations[0]
            costs = times * step_flops(step.work), times * step_bytes(step)
            reports.append(KernelReport(name, operations, *_origins(step.work), *costs, times, step))
    return reports


def _operations(step: Launch | HostCall) -> tuple[str, ...]:
    if step.work:
        return tuple(node.prim.name for node in reversed(step.work))
    return (step.source.key.removeprefix("program:"),) if isinstance(step, Launch) else ("host function",)


def _origins(work: Sequence[Node]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The user's lines and the modules."""
    modules = (forward_scope(node.scope)[0] for node in reversed(work))
    first = {(node.code, node.instruction): node for node in work if node.code is not None}
    sources = dict.fromkeys(node.source for node in reversed(first.values()))
    return tuple(sources), tuple(dict.fromkeys(module for module in modules if module is not None))

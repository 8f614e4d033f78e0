"""Explanations of jitted functions, and the log of compilations."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from plait.core import journal
from plait.core.journal import Compilation
from plait.inspect.kernels import KernelReport, kernel_reports
from plait.inspect.tables import count, duration, place, places, size, table
from plait.inspect.viewer import page
from plait.runtime.launch import Executable

_MOST_ROWS = 20


@dataclass(eq=False)
class Version:
    """One compiled version of a function.

    Attributes:
        record: what the journal noted when it was compiled: passes, memory, costs.
        arguments: what it was compiled for: dtype and shape, or the value, by the name of the argument.
        inline: whether its results require gradients, so that it is recorded anew in each call and compiled with
            what surrounds it.
        program: what runs; None where the function is split or `inline`.
    """

    record: Compilation
    arguments: dict[str, str]
    inline: bool
    program: Executable | None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it was compiled."""
        return self.record.reasons

    @property
    def split(self) -> tuple[str, int] | None:
        """File and line of the look at a value at which the function is split."""
        return self.record.split

    @cached_property
    def kernels(self) -> list[KernelReport]:
        """The kernels and host functions of its program, in the order in which they run."""
        return [] if self.program is None else kernel_reports(self.program.plan)

    def code_bytes(self, kernel: KernelReport) -> int:
        """Return the size of the object code of a kernel."""
        return 0 if self.program is None else self.program.code_bytes.get(kernel.structure, 0)

    def __repr__(self) -> str:
        r = self.record
        arguments = ", ".join(f"{name}: {text}" for name, text in self.arguments.items())
        passes = ", ".join(f"{name} {duration(seconds)}" for name, seconds in r.seconds.items())
        lines = [
            f"({arguments})",
            f"  because  {_indented(r.reasons)}",
            f"  called   {place(r.source)}",
            f"  passes   {duration(r.total)}: {passes}",
        ]
        if r.split is not None:
            lines.append(f"  split    at {place(r.split[0])}:{r.split[1]}: Python looks at a value there, so it runs")
            lines.append("           each time, and what is before and after is compiled apart")
        elif self.inline:
            lines.append("  inline   its results require gradients: it is recorded anew in each call")
        else:
            lines += self._program_lines()
        return "\n".join(lines)

    def _program_lines(self) -> list[str]:
        r = self.record
        intensity = f", {r.flops / r.bytes_moved:.3g} FLOP a byte" if r.flops is not None and r.bytes_moved else ""
        rows = [
            (k.name, k.title, places(k.sources), f"{k.times:,}", count(k.flops), size(k.bytes_moved),
             size(self.code_bytes(k)))
            for k in self.kernels[:_MOST_ROWS]
        ]  # fmt: skip
        head = ("kernel", "operations", "lines", "times", "FLOP", "moves", "code")
        more = [f"    … and {len(self.kernels) - _MOST_ROWS} more"] if len(self.kernels) > _MOST_ROWS else []
        return [
            f"  kernels  {r.kernels}: {r.origins['compiled']} compiled by LLVM, {r.origins['disk']} from disk, "
            f"{r.origins['memory']} known",
            f"  memory   {size(r.arena_bytes)} temporaries, {size(r.input_bytes)} inputs, {size(r.output_bytes)} "
            f"outputs, {r.donated} of them in the memory of inputs",
            f"  a call   {count(r.flops or 0, 'FLOP')}, {size(r.bytes_moved or 0)} moved{intensity}",
            *["    " + line for line in table(head, rows, 3).splitlines()],
            *more,
        ]


class Explanation:
    """What is known of a jitted function: its `name` and its `versions`, the oldest first."""

    def __init__(self, name: str, versions: Sequence[Version]) -> None:
        self.name, self.versions = name, list(versions)

    def __repr__(self) -> str:
        if not self.versions:
            return f"{self.name} has not been called yet: nothing is compiled"
        total = duration(sum(v.record.total for v in self.versions))
        head = f"{self.name}: {len(self.versions)} version{'s' * (len(self.versions) > 1)}, compiled in {total}"
        return "\n".join([head, *[f"version {k} {v!r}" for k, v in enumerate(self.versions, 1)]])

    def save_html(self, path: str | os.PathLike[str], seconds: Mapping[str, float] | None = None) -> None:
        """Write a page for the browser: the graph of kernels, their lines, loops and LLVM text, and the passes.

        Args:
            path: the file; it needs no other file and no network.
            seconds: time of each kernel, by its name, as a profile measured it.
        """
        Path(path).write_text(page(self.name, self.versions, seconds or {}), encoding="utf-8")


class CompileLog(list[Compilation]):
    """Compilations, the oldest first; printed as a table."""

    def __repr__(self) -> str:
        rows = [
            (r.what, r.tier, place(r.source), duration(r.total), str(r.kernels), str(r.origins["compiled"]),
             "; ".join(r.reasons) + (f" (failed: {r.failed})" if r.failed else ""))
            for r in self
        ]  # fmt: skip
        head = ("what", "tier", "line", "time", "kernels", "by LLVM", "because")
        return table(head, rows, len(head)) if rows else "nothing was compiled"


def compile_log() -> CompileLog:
    """Return the last 1,000 compilations: of jitted functions, and of eager work.

    Eager work that is seen for the first time runs through kernels of single operations (tier "generic"); when it
    comes back it is compiled as one program (tier "fused").

    Returns:
        A list of records, printed as a table; see `plait.core.journal.Compilation` for what each holds.

    Example:
        >>> @plait.jit
        ... def double(x):
        ...     return x * 2
        >>> double(plait.ones(3))
        tensor([2., 2., 2.])
        >>> plait.compile_log()[-1].what
        'double'
    """
    return CompileLog(journal.records())


def _indented(lines: Sequence[str]) -> str:
    return "\n           ".join(lines)

"""`memory_report`: the peak memory of a function, and what holds it, known before it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from plait.core import tree
from plait.core.errors import check_function
from plait.inspect.tables import count, ruled
from plait.nn.module import Module
from plait.profiling.moments import Holder, worst_moment
from plait.profiling.steps import Origin
from plait.tensor.jit import Jitted, jit
from plait.tensor.names import Names
from plait.tensor.tensor import Parameter, Tensor, node_of

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """The memory of a function at its worst moment.

    Attributes:
        peak_bytes: all of it.
        arena_bytes: of temporaries, with what they share counted once.
        input_bytes: of arguments, and of state that the function reads or writes.
        output_bytes: of results that have memory of their own; new state takes over the memory of the old.
        inputs, outputs: each argument, parameter, other state and result.
        temporaries: those that live at the worst moment, the largest first.
    """

    peak_bytes: int
    arena_bytes: int
    input_bytes: int
    output_bytes: int
    inputs: tuple[Holder, ...]
    outputs: tuple[Holder, ...]
    temporaries: tuple[Holder, ...]

    @property
    def largest(self) -> list[Holder]:
        """The ten largest of all."""
        return sorted([*self.inputs, *self.outputs, *self.temporaries], key=lambda h: -h.nbytes)[:_SHOWN]

    def __repr__(self) -> str:
        parts = f"{count(self.input_bytes, 'B')} inputs and state, {count(self.output_bytes, 'B')} results"
        rows = [("held by", "", "module", "line", "bytes")]
        for h in self.largest:
            rows.append((h.kind, f"{h.name} {h.shape}".strip(), h.origin.place, h.origin.short_line, f"{h.nbytes:,}"))
        head = f"peak {count(self.peak_bytes, 'B')}: {parts}, {count(self.arena_bytes, 'B')} temporaries"
        return "\n".join([head, "", *ruled(rows, left=4)])


def memory_report(function: Callable[..., Any], *args: Any, **kwargs: Any) -> MemoryReport:
    """Tell how much memory a call needs and what holds it, without running it.

    The function is staged and planned as one program, as `jit` does it; eager code that keeps no more alive needs
    about as much. Operations that call the host allocate memory of their own, which is not known.

    Args:
        function: a plain or a jitted function.
        args: its arguments.
        kwargs: its arguments by name.

    Returns:
        A `MemoryReport`, whose text is a table of the ten largest.

    Raises:
        AbstractValueError: the function looks at the value of a tensor, so that it is no single program.

    Example:
        >>> report = plait.memory_report(lambda a, b: plait.exp(a @ b).sum(), plait.ones(512, 64), plait.ones(64, 512))
        >>> report.input_bytes, report.output_bytes
        (262144, 4)
        >>> report.peak_bytes == report.input_bytes + report.output_bytes + report.arena_bytes
        True
    """
    check_function(function, "memory_report")
    program, known = (function if isinstance(function, Jitted) else jit(function)).planned(*args, **kwargs)
    moment = worst_moment(program.plan, list(program.donated))
    names = _parameter_names(function, (args, kwargs))
    inputs = []
    for k, value in enumerate(program.plan.inputs):
        what = known[k] if k < len(known) else None
        kind = "input" if isinstance(what, str) else "parameter" if isinstance(what, Parameter) else "state"
        if k >= len(known):
            inputs.append(Holder("gradient", "", value.nbytes, Origin("")))
        elif isinstance(what, Tensor):
            node = node_of(what)
            holder = Holder(kind, names.get(id(what), ""), value.nbytes, Origin("", line=node.source), repr(node.aval))
            inputs.append(holder)
        else:
            inputs.append(Holder(kind, what or "constant", value.nbytes, Origin("")))
    outputs = tuple(replace(h, name=f"{h.name} (result)") for h in moment.outputs)
    return MemoryReport(
        moment.peak_bytes, moment.arena_bytes, moment.input_bytes, moment.output_bytes,
        tuple(inputs), outputs, moment.temporaries,
    )  # fmt: skip


def _parameter_names(function: Any, arguments: Any) -> dict[int, str]:
    """The names of parameters and buffers of modules that a function takes or names, by the id of the tensor."""
    names = Names(function)
    found = [value for _, _, value in names.globals] + [value for _, value in names.cells]
    found += [getattr(function, "__self__", None), function, *tree.leaves(arguments, lambda v: isinstance(v, Module))]
    result: dict[int, str] = {}
    for module in found:
        if isinstance(module, Module):
            for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
                result.setdefault(id(tensor), name)
    return result

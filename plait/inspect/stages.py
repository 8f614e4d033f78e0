"""The stages of a compilation as text, from the recorded graph to assembly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from plait.compiler.cost import costs
from plait.compiler.pipeline import compile_nodes
from plait.compiler.simplify import simplify
from plait.core.graph import CONSTANT, GET, PLACEHOLDER, Graph, Node, toposort
from plait.core.printer import to_python
from plait.inspect.kernels import KernelReport, kernel_reports
from plait.inspect.tables import count, places, size, table


@dataclass(frozen=True)
class OperationCost:
    """What all operations of one kind cost together: how many run, their operations, and the bytes they would move."""

    count: int
    flops: float
    bytes_moved: int


@dataclass(frozen=True)
class Cost:
    """What one run of a function costs, as its primitives state it; printed as a table.

    Attributes:
        by_operation: the cost of each kind of operation; bytes are those that it would move alone.
        flops: floating-point operations of all together.
        bytes_moved: what the fused kernels read and write: a value that stays inside a kernel is not moved.
    """

    by_operation: dict[str, OperationCost]
    flops: float
    bytes_moved: int

    @property
    def intensity(self) -> float:
        """Floating-point operations for each byte moved."""
        return self.flops / self.bytes_moved if self.bytes_moved else 0.0

    def __repr__(self) -> str:
        rows = [(name, f"{c.count:,}", count(c.flops), size(c.bytes_moved)) for name, c in self.by_operation.items()]
        rows.append(("alone", "", count(self.flops), size(sum(c.bytes_moved for c in self.by_operation.values()))))
        rows.append(("fused", "", count(self.flops), size(self.bytes_moved)))
        text = table(("operation", "count", "FLOP", "moves"), rows, 1)
        return f"{text}\n{self.intensity:.3g} FLOP for each byte moved"


class Stages:
    """What the compiler makes of one graph; each stage is computed when it is looked at.

    Attributes:
        graph: what was recorded, as Python that `plait.core.printer.from_python` reads.
        simplified: the graph after simplification, likewise.
        kernels: the kernels that it becomes, each with its `operations`, `sources`, `structure`, `loops`, `llvm` and
            `assembly`.
    """

    def __init__(self, outputs: Sequence[Node], inputs: Sequence[Node]) -> None:
        self._outputs, self._inputs = outputs, inputs

    @cached_property
    def graph(self) -> str:
        return to_python(Graph(self._inputs, self._outputs))

    @cached_property
    def simplified(self) -> str:
        return to_python(Graph(self._inputs, simplify(self._outputs, _is_given)))

    @cached_property
    def kernels(self) -> list[KernelReport]:
        return kernel_reports(compile_nodes(self._outputs, self._inputs))

    @cached_property
    def cost(self) -> Cost:
        """Operations and bytes of one run."""
        simplified = simplify(self._outputs, _is_given)
        rows: dict[str, OperationCost] = {}
        for node, flops, moved, times in costs(toposort(simplified, _is_given)):
            if node.inputs and node.prim is not GET:
                old = rows.get(node.prim.name, OperationCost(0, 0.0, 0))
                new = OperationCost(old.count + times, old.flops + flops * times, old.bytes_moved + moved * times)
                rows[node.prim.name] = new
        by_operation = dict(sorted(rows.items(), key=lambda item: (-item[1].flops, -item[1].bytes_moved, item[0])))
        flops = sum(row.flops for row in rows.values())
        return Cost(by_operation, flops, sum(k.bytes_moved for k in self.kernels))

    def __repr__(self) -> str:
        parts = [f"# recorded\n{self.graph}", f"# simplified\n{self.simplified}"]
        for k in self.kernels:
            parts.append(f"# kernel {k.name}: {k.title}  {places(k.sources)}\n{k.loops}")
        return "\n".join(parts)


def _is_given(node: Node) -> bool:
    return node.prim is CONSTANT or node.prim is PLACEHOLDER

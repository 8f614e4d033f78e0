"""An interpreter of graphs: one operation after the other, each looked at before the next one runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from plait.compiler.pipeline import compile_nodes
from plait.compiler.simplify import expand
from plait.core.aval import Aval
from plait.core.graph import CONSTANT, GET, Graph, Node, placeholder, record, toposort
from plait.runtime.buffer import Buffer, allocate, to_numpy
from plait.runtime.launch import Executable

Results = list[Buffer]
Memory = dict[Node, Results]


class Interpreter:
    """Runs nodes by kernels of one operation each; loops and branches are Python's.

    Args:
        ran: called after each operation with the frame it ran in, its node and its results.
        left: called at the end of a body with the frame of the call, the node of it, the frame of the body, the
            outputs of the body, and the number of the step (None where there is no loop).
    """

    def __init__(
        self,
        ran: Callable[[Frame, Node, Results], None],
        left: Callable[[Frame, Node, Frame, Sequence[Node], int | None], None],
    ) -> None:
        self.ran, self.left = ran, left
        self._programs: dict[Any, Executable] = {}
        self._bodies: dict[int, tuple[Graph, list[Node]]] = {}

    def run(self, outputs: Sequence[Node], leaves: Sequence[Node], buffers: Results) -> tuple[Frame, list[Node]]:
        """Compute `outputs` from leaves; returns the frame, and the nodes in it that the outputs became."""
        frame = Frame(leaves, buffers)
        outputs = expand(outputs, frame.stop)
        self._compute(frame, outputs)
        return frame, outputs

    def _compute(self, frame: Frame, outputs: Sequence[Node]) -> None:
        for node in toposort(outputs, frame.stop):
            if not frame.stop(node) and node.prim is not GET and node.prim.name != "barrier":
                frame.memory[node] = []
                call = _CALLS.get(node.prim.name, Interpreter._operation)
                frame.memory[node] = found = call(self, frame, node)
                self.ran(frame, node, found)

    def _operation(self, frame: Frame, node: Node) -> Results:
        """Run one operation."""
        inputs = list(dict.fromkeys(i for i in node.inputs if i.prim is not CONSTANT))
        operands = tuple([(i.aval, str(i.value)) if i.prim is CONSTANT else inputs.index(i) for i in node.inputs])
        key = (node.prim, node.params, operands, tuple([i.aval for i in inputs]))
        program = self._programs.get(key)
        if program is None:
            holders = {i: placeholder(i.aval) for i in inputs}
            made = record(node.prim, tuple([holders.get(i, i) for i in node.inputs]), node.params)
            results = [made[k] for k in range(len(node.avals))] if isinstance(node.aval, tuple) else [made]
            program = self._programs[key] = Executable(compile_nodes(results, [*holders.values()], fused=False))
        return program.run([frame.buffer(i) for i in inputs])

    def _body(
        self, frame: Frame, node: Node, graph: Graph, arguments: Results, step: int | None = None
    ) -> Results:  # fmt: skip
        """Run a body of `node`; it is unfolded once."""
        if id(graph) not in self._bodies:
            self._bodies[id(graph)] = (graph, expand(graph.outputs, set(graph.inputs).__contains__))
        outputs = self._bodies[id(graph)][1]
        inner = Frame(graph.inputs, arguments)
        self._compute(inner, outputs)
        self.left(frame, node, inner, outputs, step)
        return [inner.buffer(o) for o in outputs]

    def _cond(self, frame: Frame, node: Node) -> Results:
        chosen, *operands = [frame.buffer(i) for i in node.inputs]
        name = "true" if to_numpy(chosen, np.bool_, ()) else "false"
        return self._body(frame, node, node.params[name], operands)

    def _while_loop(self, frame: Frame, node: Node) -> Results:
        c, b = node.params["num_consts"]
        operands = [frame.buffer(i) for i in node.inputs]
        outside, inside, carry = operands[:c], operands[c : c + b], operands[c + b :]
        step = 0
        while True:
            (more,) = self._body(frame, node, node.params["condition"], [*outside, *carry], step)
            if not to_numpy(more, np.bool_, ()):
                return carry
            carry = self._body(frame, node, node.params["body"], [*inside, *carry], step)
            step += 1

    def _scan(self, frame: Frame, node: Node) -> Results:
        n, c, length = node.params["num_consts"], node.params["num_carry"], node.params["length"]
        operands = [frame.buffer(i) for i in node.inputs]
        consts, carry, xs = operands[:n], operands[n : n + c], operands[n + c :]
        avals = [a.with_shape(a.shape[1:]) for a in (i.aval for i in node.inputs[n + c :])]
        ys = [allocate(a.nbytes) for a in node.avals[c:]]
        for step in range(length)[:: -1 if node.params["reverse"] else 1]:
            rows = [_row(x, a, step) for x, a in zip(xs, avals, strict=True)]
            found = self._body(frame, node, node.params["body"], [*consts, *carry, *rows], step)
            carry = found[:c]
            for y, whole, row in zip(ys, node.avals[c:], found[c:], strict=True):
                size = whole.nbytes // length
                to_numpy(y, np.uint8, (length, size), writable=True)[step] = to_numpy(row, np.uint8, (size,))
        return [*carry, *ys]


_CALLS: dict[str, Callable[[Interpreter, Frame, Node], Results]] = {
    "cond": Interpreter._cond,
    "while_loop": Interpreter._while_loop,
    "scan": Interpreter._scan,
}


class Frame:
    """The values of one run of a graph or body."""

    __slots__ = ("inputs", "memory")

    def __init__(self, inputs: Sequence[Node], buffers: Results) -> None:
        self.inputs = frozenset(inputs)
        self.memory: Memory = {i: [b] for i, b in zip(inputs, buffers, strict=True)}

    def stop(self, node: Node) -> bool:
        """Whether nothing is to be computed for a node."""
        return node in self.memory or node.prim is CONSTANT

    def producer(self, node: Node) -> tuple[Node, int]:
        """The node whose result a node is, and which of its results."""
        while node.prim is GET and node not in self.memory:
            producer, index = node.inputs[0], node.params["index"]
            if producer.prim.name != "barrier":
                return producer, index
            node = producer.inputs[index]
        return node, 0

    def buffer(self, node: Node) -> Buffer:
        """The value of a node."""
        node, index = self.producer(node)
        if node.prim is CONSTANT:
            made = allocate(node.aval.nbytes)
            to_numpy(made, node.dtype.numpy, (), writable=True)[...] = node.value
            return made
        return self.memory[node][index]


def _row(buffer: Buffer, row: Aval, index: int) -> Buffer:
    made = allocate(row.nbytes)
    source = to_numpy(buffer, np.uint8, (buffer.nbytes,))
    to_numpy(made, np.uint8, (row.nbytes,), writable=True)[...] = source[index * row.nbytes :][: row.nbytes]
    return made

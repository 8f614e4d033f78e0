"""The pipeline: from the nodes that are wanted to a plan of kernel launches, jumps and memory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from plait.compiler.abstract import copy_node, flatten_group, generalize, stand_in
from plait.compiler.fuse import fuse, single
from plait.compiler.groups import Group, in_place_nodes
from plait.compiler.kernels import ADVANCE, COPY, START, STORE_ROW, Source, group_buffers, group_source
from plait.compiler.memory import Interval, extend_over_loops, plan
from plait.compiler.schedule import schedule
from plait.compiler.simplify import expand, simplify
from plait.compiler.sizes import Sizes, mapped
from plait.core import flags, journal
from plait.core.aval import Aval, aval
from plait.core.dtype import int64
from plait.core.errors import GradientError, InternalError, message
from plait.core.graph import CONSTANT, GET, PLACEHOLDER, Graph, Node, inline, placeholder, substitute, toposort
from plait.core.primitive import P
from plait.core.printer import to_python
from plait.core.recorder import own


@dataclass(eq=False, slots=True)
class Value:
    """Memory of a program: `place` is "input", "output" or "temporary" (at `offset` of the arena)."""

    nbytes: int
    place: str
    index: int = -1
    offset: int = 0


@dataclass(slots=True)
class Launch:
    """Run a kernel on values (inputs then results) with named integer arguments."""

    source: Source
    values: list[Value]
    scalars: dict[str, int]
    workspaces: list[Value] = field(default_factory=list)
    in_place: list[Value] = field(default_factory=list)  # may share memory: see `in_place_nodes`
    reads: int = -1  # how many of `values` are inputs
    work: tuple[Node, ...] = ()  # what is computed, results first, as nodes that hold no values


@dataclass(eq=False, slots=True)
class Label:
    """A place to jump to."""


@dataclass(slots=True)
class Jump:
    """Go to `label`; with `unless`, only where that boolean is false."""

    label: Label
    unless: Value | None = None


@dataclass(slots=True)
class HostCall:
    """Call a Python function on the values of `inputs`; it fills `results`."""

    function: Callable[..., Any]
    inputs: list[tuple[Value, Aval]]
    results: list[tuple[Value, Aval]]
    work: tuple[Node, ...] = ()


Step = Launch | Label | Jump | HostCall


@dataclass(slots=True)
class Plan:
    """A compiled program before its code is loaded."""

    steps: list[Step]
    inputs: list[Value]
    outputs: list[Value]
    values: list[Value]
    loops: list[tuple[Label, Label]]
    arena: int = 0

    def donate(self, wanted: dict[int, int]) -> dict[int, int]:
        """Let outputs take over the memory of inputs.

        `wanted` maps outputs to inputs of the same size. An output is written in place where nothing reads the
        input afterwards and its kernel reads the input only at the element that it writes; elsewhere it is
        computed in the arena and copied at the end. Returns `wanted`.
        """
        uses = uses_of(self.steps) if wanted else {}
        for k, i in wanted.items():
            source, result = self.inputs[i], self.outputs[k]
            if not can_overwrite(self.steps, source, result, uses):
                final = Value(result.nbytes, "output", k)
                result.place, result.index = "temporary", -1
                self.values.append(final)
                self.outputs[k] = final
                self.steps.append(Launch(COPY, [result, final], {"bytes": result.nbytes}))
        return wanted

    def lives(self) -> dict[Value, Interval]:
        """Return from which step to which each temporary lives; workspaces of launches must be known by now."""
        used: dict[Value, Interval] = {}
        position = {id(s): k for k, s in enumerate(self.steps)}
        for k, step in enumerate(self.steps):
            for value in _touched(step):
                if value.place == "temporary":
                    interval = used.setdefault(value, Interval(value.nbytes, k, k))
                    interval.last = k
        extend_over_loops(list(used.values()), [(position[id(a)], position[id(b)]) for a, b in self.loops])
        return used

    def place(self) -> None:
        """Lay out the temporaries."""
        used = self.lives()
        offsets, self.arena = plan(list(used.values()))
        for value, offset in zip(used, offsets, strict=True):
            value.offset = offset


def uses_of(steps: Sequence[Step]) -> dict[Value, list[int]]:
    """Return the numbers of the steps that touch each value; none at all where there are jumps."""
    uses: dict[Value, list[int]] = {}
    if not any(isinstance(s, Jump) for s in steps):
        for k, s in enumerate(steps):
            for value in _touched(s):
                uses.setdefault(value, []).append(k)
    return uses


def can_overwrite(steps: Sequence[Step], old: Value, new: Value, uses: dict[Value, list[int]]) -> bool:
    """Whether `new`, which straight-line `steps` make, may be written over `old` without changing a read of `old`.

    `uses` are those of the steps.
    """
    if new not in uses:
        return False
    first = uses[new][0]
    step = steps[first]
    same_element = isinstance(step, Launch) and old in step.in_place and new in step.in_place
    return all(k < first or (k == first and same_element) for k in uses.get(old, ()))


def _touched(step: Step) -> list[Value]:
    if isinstance(step, Launch):
        return step.values + step.workspaces
    if isinstance(step, HostCall):
        return [v for v, _ in step.inputs + step.results]
    return [step.unless] if isinstance(step, Jump) and step.unless is not None else []


def compile_nodes(
    outputs: Sequence[Node], leaves: Sequence[Node], fused: bool = True, sizes: Sizes | None = None
) -> Plan:  # fmt: skip
    """Compile the computation of `outputs` from `leaves`.

    With `fused` false every operation is one shape-generic kernel (the first tier). Outputs may repeat and may
    be leaves; each gets memory of its own. `sizes` knows what the same computation was compiled for before.
    """
    computed = {n: placeholder(n.aval) for n in leaves if n.inputs}
    if computed:  # what a gradient history keeps below a value is not to be computed again
        outputs = substitute(outputs, {n: computed.get(n, n) for n in leaves})
        leaves = [computed.get(n, n) for n in leaves]
    return Compiler(fused, sizes).compile(outputs, leaves)


_generic: dict[Any, tuple[Source, dict[str, int], list[int]]] = {}


def generic_source(node: Node) -> tuple[Source, dict[str, int], list[int]]:
    """Return the shape-generic kernel of one node, its integer arguments, and the positions of the inputs it reads."""
    inputs = node.inputs
    same = tuple([inputs.index(i) for i in inputs]) if len(inputs) > 1 else ()
    operands = tuple([(i.aval, str(i.value)) if i.prim is CONSTANT else i.aval for i in inputs])
    key = (node.prim, node.params, operands, same)
    found = _generic.get(key)
    if found is None:
        group, scalars, made = generalize(node)
        originals = list(dict.fromkeys(i for i in inputs if i.prim is not CONSTANT))
        at = {m: inputs.index(o) for m, o in zip(made, originals, strict=True)}
        found = _generic[key] = (group_source(group), scalars, [at[i] for i in group_buffers(group)[0]])
    return found


@contextmanager
def _undisturbed(outputs: Sequence[Node]) -> Iterator[None]:
    """Spare planning what slows it down: looking for the user's line, and for garbage, of which there is none."""
    state, collects = own(), gc.isenabled()
    before, state.location = state.location, next(iter(outputs), None)
    gc.disable()
    try:
        yield
    finally:
        state.location = before
        if collects:
            gc.enable()


class Compiler:
    """Builds one plan."""

    def __init__(self, fused: bool, sizes: Sizes | None = None) -> None:
        self.fused, self.sizes = fused, sizes
        if sizes is not None:
            sizes.begin()
        self.steps: list[Step] = []
        self.values: list[Value] = []
        self.loops: list[tuple[Label, Label]] = []
        self.home: dict[tuple[Node, int], Value] = {}

    def compile(self, outputs: Sequence[Node], leaves: Sequence[Node]) -> Plan:
        inputs = [self.value(leaf.aval.nbytes, "input", k) for k, leaf in enumerate(leaves)]
        for leaf, value in zip(leaves, inputs, strict=True):
            self.home[leaf, 0] = value
        with _undisturbed(outputs):
            found = self.body(outputs)
        results: list[Value] = []
        for k, (node, value) in enumerate(zip(outputs, found, strict=True)):
            if value.place != "temporary":
                copy = self.value(node.aval.nbytes, "output", k)
                self.copy(value, copy)
                value = copy
            value.place, value.index = "output", k
            results.append(value)
        return Plan(self.steps, inputs, results, self.values, self.loops)

    def value(self, nbytes: int, place: str = "temporary", index: int = -1) -> Value:
        made = Value(nbytes, place, index)
        self.values.append(made)
        return made

    def stop(self, node: Node) -> bool:
        return (node, 0) in self.home or node.prim is CONSTANT or node.prim is PLACEHOLDER

    def body(self, outputs: Sequence[Node]) -> list[Value]:
        """Append the steps that compute `outputs`; returns where they are."""
        wanted = _in_memory(outputs)
        flags.show("graph", lambda: self.text(wanted))
        if self.fused:
            with journal.timed("simplify"):
                wanted = _in_memory(simplify(wanted, self.stop))
            flags.show("simplify", lambda: self.text(wanted))
            with journal.timed("fuse"):
                groups = schedule(fuse(wanted, self.stop), wanted)
            flags.show("fuse", lambda: "\n\n".join(group_source(g).key for g in groups))
            with journal.timed("plan"):
                for group in groups:
                    self.emit_group(group)
        else:
            wanted = _in_memory(expand(wanted, self.stop))
            nodes = [n for n in toposort(wanted, self.stop) if not self.stop(n) and n.prim is not GET]
            for group in schedule([single(n) for n in nodes], wanted):
                self.emit_node(group.outputs[0])
        return [self.resolve(o) for o in wanted]

    def text(self, outputs: Sequence[Node]) -> str:
        """The nodes above those that have memory, as runnable Python."""
        inputs = [n for n in toposort(outputs, self.stop) if n.prim is not CONSTANT and self.stop(n)]
        return to_python(Graph(inputs, outputs))

    def resolve(self, node: Node) -> Value:
        """Return the memory of a node."""
        found = self.home.get((node, 0))
        if found is None and node.prim is GET:
            producer, index = node.inputs[0], node.params["index"]
            if producer.prim.name == "barrier":
                return self.memory_of(producer.inputs[index])
            return self.home[producer, index]
        if found is None:
            if node.prim is PLACEHOLDER:
                raise InternalError(f"{node!r} belongs to another graph (recorded at {node.source})")
            raise InternalError(f"{node!r} has no memory")
        return found

    # kernels
    def emit_node(self, node: Node) -> None:
        if node.prim.is_call:
            self.emit_call(node)
            return
        source, scalars, order = generic_source(node)
        values = [self.resolve(node.inputs[k]) for k in order]
        for k, a in enumerate(node.avals):
            self.home[node, k] = value = self.value(a.nbytes)
            values.append(value)
        self.steps.append(Launch(source, values, scalars, reads=len(order), work=(_alone(node),)))

    def emit_group(self, group: Group) -> None:
        anchor = group.anchor
        if anchor is not None and anchor.prim.is_call:
            self.emit_call(anchor)
            return
        flat = flatten_group(group) or (self.sizes.generic(group) if self.sizes is not None else None)
        plain, copies = mapped(group)  # a plan holds no node of the graph, which may hold values
        generic, scalars, new = flat or (plain, {}, copies)
        old = {n: o for o, n in new.items() if o not in group.members}
        values = {i: self.resolve(old[i]) for i in group_buffers(generic)[0]}
        self.launch(generic, scalars, values, {new[o]: o for o in group.outputs}, tuple(plain.members))

    def launch(
        self,
        group: Group,
        scalars: dict[str, int],
        inputs: dict[Node, Value],
        results: dict[Node, Node],
        work: tuple[Node, ...],
    ) -> None:
        reads, writes = group_buffers(group)
        values = [inputs[i] for i in reads]
        for node, index, _ in writes:
            original = results[node]
            self.home[original, index] = value = self.value(original.avals[index].nbytes)
            values.append(value)
        shared = in_place_nodes(group)
        in_place = [v for v, n in zip(values, [*reads, *[n for n, _, _ in writes]], strict=True) if n in shared]
        self.steps.append(Launch(group_source(group), values, scalars, [], in_place, len(reads), work))

    def copy(self, source: Value, result: Value) -> None:
        self.steps.append(Launch(COPY, [source, result], {"bytes": source.nbytes}))

    # control flow
    def emit_call(self, node: Node) -> None:
        name = node.prim.name
        if name == "barrier":
            return
        if node.prim.kind == "host":
            self.host_call(node)
            return
        if name not in _CALLS:
            raise GradientError(message(f"Cannot compute {name}: {node.prim.lower.reason} (recorded at {node.source})"))
        _CALLS[name](self, node)

    def results(self, node: Node, count: int | None = None) -> list[Value]:
        made = [self.value(a.nbytes) for a in node.avals[:count]]
        for k, value in enumerate(made):
            self.home[node, k] = value
        return made

    def run_body(self, graph: Graph, arguments: Sequence[Node]) -> list[Value]:
        """Append the steps of a body; the arguments are nodes that have memory or are computed from such.

        What is computed inside is forgotten afterwards: the body may not run, or run again.
        """
        outside = dict(self.home)
        found = self.body(inline(graph, arguments))
        self.home = outside
        return found

    def handle(self, value: Value, like: Aval) -> Node:
        """Return a node that stands for memory."""
        node = placeholder(like)
        self.home[node, 0] = value
        return node

    def assign(self, sources: Sequence[Value], results: Sequence[Value], begin: int | None = None) -> None:
        """Copy values, all read before any is written.

        What the steps from number `begin` on make is written to its place at once where that changes nothing.
        """
        staged = []
        for source, result in zip(sources, results, strict=True):
            if source is result:
                continue
            if begin is not None and source not in results and self.rename(source, result, begin, sources):
                continue
            if source in results:
                copy = self.value(source.nbytes)
                self.copy(source, copy)
                source = copy
            staged.append((source, result))
        for source, result in staged:
            self.copy(source, result)

    def rename(self, source: Value, result: Value, begin: int, sources: Sequence[Value]) -> bool:
        """Let the steps from `begin` on make `source` in the memory of `result`, if nothing else reads that later."""
        steps = self.steps[begin:]
        is_local = source.place == "temporary" and not any(source in _touched(s) for s in self.steps[:begin])
        is_shared = sum(s is source for s in sources) > 1
        if not is_local or is_shared or not can_overwrite(steps, result, source, uses_of(steps)):
            return False
        for s in steps:
            if isinstance(s, Launch):
                s.values = [result if v is source else v for v in s.values]
                s.in_place = [result if v is source else v for v in s.in_place]
            elif isinstance(s, HostCall):
                s.inputs = [(result if v is source else v, a) for v, a in s.inputs]
                s.results = [(result if v is source else v, a) for v, a in s.results]
        return True

    def cond(self, node: Node) -> None:
        operands = list(node.inputs[1:])
        arguments = [self.handle(self.resolve(o), o.aval) if o.prim is not CONSTANT else o for o in operands]
        predicate = self.memory_of(node.inputs[0])
        results = self.results(node)
        otherwise, end = Label(), Label()
        self.steps.append(Jump(otherwise, predicate))
        begin_true = len(self.steps)
        self.assign(self.run_body(node.params["true"], arguments), results, begin_true)
        self.steps += [Jump(end), otherwise]
        begin_false = len(self.steps)
        self.assign(self.run_body(node.params["false"], arguments), results, begin_false)
        self.steps.append(end)

    def memory_of(self, node: Node) -> Value:
        return self.body([node])[0] if node.prim is CONSTANT else self.resolve(node)

    def while_loop(self, node: Node) -> None:
        c, b = node.params["num_consts"]
        arguments = [o if o.prim is CONSTANT else self.handle(self.resolve(o), o.aval) for o in node.inputs[: c + b]]
        starts = [self.memory_of(o) for o in node.inputs[c + b :]]
        carry = self.results(node)
        self.assign(starts, carry)
        handles = [self.handle(v, a) for v, a in zip(carry, node.avals, strict=True)]
        begin, end = Label(), Label()
        self.steps.append(begin)
        (predicate,) = self.run_body(node.params["condition"], [*arguments[:c], *handles])
        self.steps.append(Jump(end, predicate))
        start = len(self.steps)
        self.assign(self.run_body(node.params["body"], [*arguments[c:], *handles]), carry, start)
        self.steps += [Jump(begin), end]
        self.loops.append((begin, end))

    def scan(self, node: Node) -> None:
        n, c, length = node.params["num_consts"], node.params["num_carry"], node.params["length"]
        consts = [o if o.prim is CONSTANT else self.handle(self.resolve(o), o.aval) for o in node.inputs[:n]]
        starts = [self.memory_of(o) for o in node.inputs[n : n + c]]
        xs = [self.handle(self.resolve(o), o.aval) for o in node.inputs[n + c :]]
        results = self.results(node)
        carry, ys = results[:c], results[c:]
        self.assign(starts, carry)
        if length == 0:
            return
        counter, more = self.value(8), self.value(1)
        reverse = node.params["reverse"]
        first, step = (length - 1, -1) if reverse else (0, 1)
        self.steps.append(Launch(START, [counter, more], {"first": first, "length": length}))
        begin, end = Label(), Label()
        self.steps += [begin, Jump(end, more)]
        at = self.handle(counter, aval(int64))
        handles = [self.handle(v, a) for v, a in zip(carry, node.avals, strict=False)]
        start = len(self.steps)
        found = self.run_body(node.params["body"], [*consts, *handles, *[_element(x, at) for x in xs]])
        for y, value in zip(ys, found[c:], strict=True):
            self.steps.append(Launch(STORE_ROW, [value, counter, y], {"bytes": value.nbytes}))
        self.assign(found[:c], carry, start)
        self.steps.append(Launch(ADVANCE, [counter, more], {"step": step, "length": length}))
        self.steps += [Jump(begin), end]
        self.loops.append((begin, end))

    def host_call(self, node: Node) -> None:
        inputs = [(self.memory_of(i), i.aval) for i in node.inputs]
        results = self.results(node)
        pairs = list(zip(results, node.avals, strict=True))
        self.steps.append(HostCall(partial(node.prim.lower, **node.params), inputs, pairs, (_alone(node),)))


def _in_memory(outputs: Sequence[Node]) -> list[Node]:
    """The outputs, with operations that store those that are constants."""
    return [P.broadcast(o, shape=(), axes=()) if o.prim is CONSTANT else o for o in outputs]


def _alone(node: Node) -> Node:
    """A copy of a node without the graph below it."""
    inputs = tuple([i if i.prim is CONSTANT else stand_in(i, i.aval) for i in node.inputs])
    return copy_node(node, inputs, node.aval, node.params)


def _element(xs: Node, at: Node) -> Node:
    """The slice of `xs` at the loop counter."""
    return P.gather(xs, at, axes=(0,), mode="clip")


_CALLS: dict[str, Callable[[Compiler, Node], None]] = {
    "cond": Compiler.cond,
    "while_loop": Compiler.while_loop,
    "scan": Compiler.scan,
}

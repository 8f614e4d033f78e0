"""Costs: operations and bytes of nodes and of plans, as the primitives state them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from plait.compiler.pipeline import HostCall, Jump, Label, Launch, Plan
from plait.core.graph import CONSTANT, Graph, Node
from plait.core.primitive import Waived

_PARTIAL = ("slice", "gather", "dynamic_slice")  # may read only a part of their first operand


def node_cost(node: Node) -> tuple[float, int]:
    """Return the floating-point operations of a node without its bodies, and the bytes that it alone would move."""
    rule = node.prim.cost
    return (0.0, 0) if isinstance(rule, Waived) or not node.inputs else rule(node)


def costs(nodes: Iterable[Node], times: int = 1) -> Iterator[tuple[Node, float, int, int]]:
    """Yield (node, operations, bytes, how often it runs) of nodes and of what is in their bodies.

    A loop whose length is not known counts as one turn, and of the two sides of a condition the first that needs
    more operations.
    """
    for node in nodes:
        bodies = [value for value in node.params.values() if isinstance(value, Graph)]
        if node.prim.name == "cond":
            bodies = [max(bodies, key=lambda body: sum(f * n for _, f, _, n in costs(body.nodes)))]
        for body in bodies:
            yield from costs(body.nodes, times * node.params.get("length", 1))
        if not bodies:
            yield (node, *node_cost(node), times)


def repetitions(plan: Plan) -> list[int]:
    """Return how often each step of a plan runs; a loop whose length is not known counts as one turn."""
    times = [1] * len(plan.steps)
    position = {id(step): k for k, step in enumerate(plan.steps) if isinstance(step, Label)}
    for begin, end in plan.loops:
        first, last = position[id(begin)], position[id(end)]
        start = plan.steps[first - 1] if first else None
        turns = start.scalars.get("length", 1) if isinstance(start, Launch) else 1
        for k in range(first, last):
            times[k] *= turns
    return times


def step_flops(work: Sequence[Node]) -> float:
    """Return the operations of what one step computes."""
    return sum(node_cost(node)[0] for node in work)


def step_bytes(step: Launch | HostCall) -> int:
    """Return the bytes that a step reads and writes."""
    if isinstance(step, HostCall):
        return sum(value.nbytes for value, _ in [*step.inputs, *step.results])
    if not step.work:
        return 2 * step.scalars.get("bytes", 8)
    members = set(step.work)
    parts: dict[Node, int] = {}
    whole: set[Node] = set()
    for node in step.work:
        for position, source in enumerate(node.inputs):
            if source not in members and source.prim is not CONSTANT:
                if node.prim.name in _PARTIAL and position == 0:
                    parts[source] = parts.get(source, 0) + node.aval.nbytes
                else:
                    whole.add(source)
    unread = sum(max(0, node.aval.nbytes - read) for node, read in parts.items() if node not in whole)
    return sum(value.nbytes for value in step.values) - unread


def plan_cost(plan: Plan) -> tuple[float, int]:
    """Return the operations of one run of a plan, and the bytes that its kernels read and write."""
    flops, moved = 0.0, 0
    for step, times in zip(plan.steps, repetitions(plan), strict=True):
        if not isinstance(step, Label | Jump):
            flops += times * step_flops(step.work)
            moved += times * step_bytes(step)
    return flops, moved

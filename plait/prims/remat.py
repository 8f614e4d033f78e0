"""Rematerialization: what the backward pass computes again instead of keeping it, and names for values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from plait.core.graph import GET, Graph, Node, dependents, inline, placeholder, rebuild, toposort
from plait.core.primitive import P, Primitive, Waived
from plait.prims.custom import call_primitive
from plait.prims.rules import byte_count, element_count
from plait.transforms.batch import batch_graph
from plait.transforms.differentiate import instantiate, linear_placeholder, linearize, residuals, transpose

# checkpoint: the backward pass recomputes the body from its inputs, and from what its policy has stored
# (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016)

Policy = Callable[[Node], bool]


@dataclass(frozen=True, slots=True)
class Budget:
    """Stores what saves most arithmetic for each byte, up to `nbytes` in all."""

    nbytes: int

    def choose(self, needed: Sequence[Node], given: set[Node]) -> list[Node]:
        """Return the nodes to be stored so that `needed` follows from them and from `given`."""
        chosen: dict[Node, list[Node]] = {}
        order = sorted(_choices(needed, given), key=lambda choice: -choice[1] / max(1, choice[2]))
        while True:
            spent = sum(byte_count([n.aval for n in nodes]) for nodes in chosen.values())
            computed = _computed(needed, given, chosen)
            for nodes, _, nbytes in order:
                producer = _producer(nodes[0])
                if spent + nbytes <= self.nbytes and producer in computed:
                    chosen[producer] = nodes
                    spent += nbytes
                    computed = _computed(needed, given, chosen)
            used = {i for n in computed for i in n.inputs} | set(needed)
            still = {p: nodes for p, nodes in chosen.items() if not used.isdisjoint(nodes)}
            if len(still) == len(chosen):
                return [n for nodes in chosen.values() for n in nodes]
            chosen = still


def _producer(node: Node) -> Node:
    return node.inputs[0] if node.prim is GET else node


def _computed(needed: Iterable[Node], given: set[Node], chosen: dict[Node, list[Node]]) -> set[Node]:
    """The nodes that are computed again for `needed` if the values of `chosen` are stored."""
    stored = {n for nodes in chosen.values() for n in nodes}
    found = toposort(needed, lambda n: n in given or n in stored)
    return {n for n in found if n not in given and n not in stored}


def _choices(needed: Sequence[Node], given: set[Node]) -> list[tuple[list[Node], float, int]]:
    """What can be stored: the results of one node that are used, what it costs to compute them, and their bytes."""
    order = toposort(needed, given.__contains__)
    depends = dependents(order, given)
    results: dict[Node, list[Node]] = {}
    for node in order:
        if node not in given and node in depends and not isinstance(node.aval, tuple) and not _is_free(node):
            results.setdefault(_producer(node), []).append(node)
    return [(nodes, _flops(p), byte_count([n.aval for n in nodes])) for p, nodes in results.items()]


def _is_free(node: Node) -> bool:
    """Whether a value is no more than another way to look at its operand."""
    return node.prim.kind == "view" and node.prim is not GET or node.prim is named


def _flops(node: Node) -> float:
    """What it costs to compute a node; one that only moves elements counts with one operation for each."""
    bodies = [graph for graph in node.params.values() if isinstance(graph, Graph)]
    if bodies:
        return float(node.params.get("length", 1)) * sum(_flops(n) for graph in bodies for n in graph.nodes if n.inputs)
    flops = 0.0 if isinstance(node.prim.cost, Waived) else node.prim.cost(node)[0]
    return max(flops, float(sum(element_count(a) for a in node.avals)))


def _stored(policy: Policy | Budget, needed: Sequence[Node], given: set[Node]) -> list[Node]:
    """The values that the policy stores, of those that `needed` follows from; views and constants never are."""
    if isinstance(policy, Budget):
        return policy.choose(needed, given)
    depends = dependents(needed, given)
    names = {n.inputs[0]: n for n in toposort(needed, given.__contains__) if n.prim is named and n not in given}
    found: dict[Node, None] = {}
    seen = set(given)
    stack = list(needed)[::-1]
    while stack:
        node = stack.pop()
        if node in seen or node not in depends:
            continue
        seen.add(node)
        is_value = not isinstance(node.aval, tuple) and (not _is_free(node) or node.prim is named)
        if is_value and (policy(_producer(node)) or node in names and policy(names[node])):
            found[node.inputs[0] if node.prim is named and node.inputs[0] not in given else node] = None
        else:
            stack.extend(node.inputs[::-1])
    return list(found)


def _opened(body: Graph) -> Graph:
    """The body with composites taken apart, so that a policy sees what they are made of."""
    copies: dict[Node, Any] = {i: i for i in body.inputs}
    for node in body.nodes[len(body.inputs) :]:
        inputs = tuple([copies[i] for i in node.inputs])
        if node.prim is GET and isinstance(inputs[0], list):
            copies[node] = inputs[0][node.params["index"]]
        elif node.prim.name == "composite":
            found = inline(_opened(node.params["body"]), inputs)
            copies[node] = found if isinstance(node.aval, tuple) else found[0]
        else:
            copies[node] = rebuild(node, inputs) if inputs else node
    return Graph(body.inputs, [copies[o] for o in body.outputs])


def _checkpoint_linearize(node: Node, tangents: Sequence[Any]) -> tuple[Node, list[Any]]:
    """The forward part also returns what is stored; the linear part takes that, and recomputes the rest."""
    policy = node.params["policy"]
    body = node.params["body"] if policy is None else _opened(node.params["body"])
    results, holders, outs = linearize(body.outputs, body.inputs, -1, [t is not None for t in tangents])
    linear = [o for o in outs if o is not None]
    given = set(body.inputs)
    stored = [] if policy is None else _stored(policy, residuals(outs, holders), given)
    forward, saved = node, []
    if stored:
        forward = P.checkpoint(*node.inputs, body=Graph(body.inputs, [*results, *stored]), policy=policy)
        saved = [forward[len(outs) + k] for k in range(len(stored))]
    held = {*given, *stored}
    used = set(toposort(linear, held.__contains__))
    kept = [(i, x) for i, x in zip(body.inputs, node.inputs, strict=True) if i in used]
    inputs = [*[i for i, _ in kept], *stored, *[h for h in holders if h is not None]]
    fresh = [placeholder(i.aval) for i in inputs]
    inner = Graph(fresh, inline(Graph(inputs, linear), fresh))
    present = [t for t in tangents if t is not None]
    out = P.checkpoint(*[x for _, x in kept], *saved, *present, body=inner, policy=policy)
    position = iter(range(len(linear)))
    return forward, [None if o is None else out[next(position)] for o in outs]


def _checkpoint_transpose(node: Node, cotangent: list[Any], linear: Sequence[bool]) -> list[Any]:
    """Recompute behind a barrier on the cotangents, so that it happens late and is not merged with the forward."""
    values = [instantiate(c, a) for c, a in zip(cotangent, node.avals, strict=True)]
    kept = [i for i, flag in zip(node.inputs, linear, strict=True) if not flag]
    held = P.barrier(*kept, *values)
    recomputed = iter([held[i] for i in range(len(kept))])
    arguments = [
        linear_placeholder(i.aval) if flag else next(recomputed) for i, flag in zip(node.inputs, linear, strict=True)
    ]
    outputs = inline(node.params["body"], arguments)
    inputs = [a for a, flag in zip(arguments, linear, strict=True) if flag]
    found = iter(transpose(outputs, inputs, [held[len(kept) + i] for i in range(len(values))]))
    return [next(found) if flag else None for flag in linear]


def _checkpoint_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: int) -> Node:
    return P.checkpoint(*inputs, body=batch_graph(node.params["body"], batched, size)[0], policy=node.params["policy"])


checkpoint = call_primitive(
    "checkpoint", jvp=Waived("linearize holds the rule"), linearize=_checkpoint_linearize,
    transpose=_checkpoint_transpose, batch=_checkpoint_batch,
)  # fmt: skip

# name: the identity; policies of checkpoint know the value by its name ---------------------------------------------

named = Primitive(
    "name", kind="expand", aval=lambda x, name: x, lower=lambda node: node.inputs[0],
    jvp=lambda node, tangents: tangents[0],
    transpose=Waived("tangents pass it by"),
    batch=lambda node, inputs, batched, size: P.name(inputs[0], **node.params),
    shard=Waived("follows its operand"), cost=Waived("free"), domain=Waived("tested by programs in tests/transforms"),
    oracle=Waived("tested by programs in tests/transforms"),
)  # fmt: skip

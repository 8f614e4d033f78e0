"""effect: a call of Python for what it does. A token, which each effect takes and makes, keeps them in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from plait.core.graph import Graph, Node, Params, rebuild, record
from plait.core.primitive import P, Primitive, Waived
from plait.transforms.batch import broadcast_to_batch

_TESTED = Waived("tested by programs in tests/test_effects.py")


@dataclass(frozen=True, slots=True)
class _PerExample:
    """Calls `function` for each example of the arguments that are batched."""

    function: Callable[..., Any]
    batched: tuple[bool, ...]

    def __call__(self, *arrays: Any) -> None:
        size = next(len(a) for a, flag in zip(arrays, self.batched, strict=True) if flag)
        for k in range(size):
            self.function(*[a[k] if flag else a for a, flag in zip(arrays, self.batched, strict=True)])


def _run(token: Any, *arrays: Any, function: Callable[..., Any]) -> Any:
    function(*[a.copy() for a in arrays])
    return np.ones(token.shape, bool)


def _batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: int) -> Node:
    function, flags = node.params["function"], tuple(batched[1:])
    made = P.effect(*inputs, function=_PerExample(function, flags) if any(flags) else function)
    return made if batched[0] else broadcast_to_batch(made, size)


effect = Primitive(
    "effect", kind="host", aval=lambda token, *operands, function: token, lower=_run,
    jvp=lambda node, tangents: None, transpose=Waived("a token has no derivative"), batch=_batch,
    shard=Waived("replicated"), cost=Waived("unknown"), domain=_TESTED, oracle=_TESTED,
)  # fmt: skip


def silent(graph: Graph) -> Graph:
    """Return a body without its effects: where a transform computes it once more, they have happened."""
    if not _has_effect(graph):
        return graph
    copies: dict[Node, Node] = {i: i for i in graph.inputs}
    for node in graph.nodes[len(graph.inputs) :]:
        inputs = tuple([copies[i] for i in node.inputs])
        if node.prim is effect:
            copies[node] = inputs[0]
        elif any(isinstance(v, Graph) for v in node.params.values()):
            params = Params({k: silent(v) if isinstance(v, Graph) else v for k, v in node.params.items()})
            copies[node] = record(node.prim, inputs, params)
        else:
            copies[node] = rebuild(node, inputs) if inputs else node
    return Graph(graph.inputs, [copies[o] for o in graph.outputs])


def _has_effect(graph: Graph) -> bool:
    return any(
        n.prim is effect or any(isinstance(v, Graph) and _has_effect(v) for v in n.params.values()) for n in graph.nodes
    )

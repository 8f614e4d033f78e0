"""vmap: from a graph on one example to a graph on a batch, which is carried at axis 0."""

from __future__ import annotations

from collections.abc import Sequence

from plait.core.aval import Size
from plait.core.errors import ArgumentError, message
from plait.core.graph import Graph, Node, placeholder, rebuild, recorder
from plait.core.primitive import P, Waived
from plait.transforms.differentiate import between


def broadcast_to_batch(node: Node, size: int) -> Node:
    """Return `node` repeated along a new axis 0."""
    return P.broadcast(node, shape=(size, *node.shape), axes=tuple(range(1, node.ndim + 1)))


def batch(
    outputs: Sequence[Node], inputs: Sequence[Node], replacements: Sequence[Node], batched: Sequence[bool], size: int
) -> tuple[list[Node], list[bool]]:
    """Recompute `outputs` on batched inputs.

    `replacements[i]` stands for `inputs[i]` and carries the batch of `size` at axis 0 where `batched[i]`.
    Returns the new outputs and which of them are batched.
    """
    new: dict[Node, Node] = dict(zip(inputs, replacements, strict=True))
    carries: dict[Node, bool] = dict(zip(inputs, batched, strict=True))
    previous = recorder.location
    try:
        for node in between(outputs, inputs, -1):
            arguments = [new.get(i, i) for i in node.inputs]
            flags = [carries.get(i, False) for i in node.inputs]
            carries[node] = any(flags)
            if not carries[node]:
                new[node] = rebuild(node, tuple(arguments))
                continue
            if isinstance(node.prim.batch, Waived):
                where = f" (recorded at {node.source})" if node.source else ""
                raise ArgumentError(message(f"Cannot batch {node.prim.name}{where}: {node.prim.batch.reason}"))
            recorder.location = node
            new[node] = node.prim.batch(node, arguments, flags, size)
    finally:
        recorder.location = previous
    return [new.get(o, o) for o in outputs], [carries.get(o, False) for o in outputs]


def batch_graph(graph: Graph, batched: Sequence[bool], size: int, all_outputs: bool = True) -> tuple[Graph, list[bool]]:
    """Return the batched graph: inputs with `batched[i]` gain axis 0; with `all_outputs` every output does."""
    inputs = [
        placeholder_like(i, (size, *i.shape) if b else i.shape) for i, b in zip(graph.inputs, batched, strict=True)
    ]
    outputs, carries = batch(graph.outputs, graph.inputs, inputs, batched, size)
    if all_outputs:
        outputs = [o if c else broadcast_to_batch(o, size) for o, c in zip(outputs, carries, strict=True)]
        carries = [True] * len(outputs)
    return Graph(inputs, outputs), carries


def placeholder_like(node: Node, shape: tuple[Size, ...]) -> Node:
    """Return a placeholder with the dtype of `node` and another shape."""
    return placeholder(node.aval.with_shape(shape))

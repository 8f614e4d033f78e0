"""The graph of a model as a list of named operations, for viewers."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from plait.core import tree
from plait.core.graph import CONSTANT, PLACEHOLDER, Node, toposort
from plait.nn.module import Module
from plait.tensor.autograd import no_grad
from plait.tensor.creation import as_tensor
from plait.tensor.tensor import Tensor, node_of


class Operation(NamedTuple):
    """One operation: a unique name with the modules it is in, what it does, on what, and its result."""

    name: str
    kind: str
    inputs: list[str]
    shape: tuple[int, ...]
    dtype: str


def operations_of(model: Module, *inputs: Any) -> list[Operation]:
    """Return what a model records for some inputs, in order; nothing is computed.

    Args:
        model: the module.
        inputs: its arguments, tensors or arrays.
    """
    given = [as_tensor(value).detach() for value in inputs]
    places = {node_of(value): f"input_{k}" for k, value in enumerate(given)}
    places |= {node_of(p): name.replace(".", "/") for name, p in [*model.named_parameters(), *model.named_buffers()]}
    known = set(places)
    scopes: dict[Node, str] = {}

    def claim(name: str, result: Any) -> None:
        """Give what a module recorded, and no module inside it, the name of the module."""
        nodes = [node_of(leaf) for leaf in tree.flatten(result)[0] if isinstance(leaf, Tensor)]
        for node in toposort(nodes, lambda n: n in known or n in scopes):
            if node not in known:
                scopes.setdefault(node, name.replace(".", "/"))

    handles = [
        module.register_forward_hook(lambda _, __, result, name=name: claim(name, result))
        for name, module in model.named_modules()
    ]  # fmt: skip
    try:
        with no_grad():
            model(*given)
    finally:
        for handle in handles:
            handle.remove()
    return _named(scopes, places)


def _named(scopes: dict[Node, str], places: dict[Node, str]) -> list[Operation]:
    names, counts = dict(places), Counter[str]()
    leaves = {node: "Input" if name.startswith("input_") else "Variable" for node, name in places.items()}
    found = [Operation(name, leaves[n], [], n.shape, n.dtype.name) for n, name in places.items()]
    for node, scope in scopes.items():
        kind = "Constant" if node.prim in (CONSTANT, PLACEHOLDER) or not node.inputs else node.prim.name
        base = "/".join(part for part in (scope, kind) if part)
        names[node] = f"{base}_{counts[base]}" if counts[base] else base
        counts[base] += 1
        results = node.aval if isinstance(node.aval, tuple) else (node.aval,)
        used = [names[i] for i in node.inputs if i in names]
        found.append(Operation(names[node], kind, used, results[0].shape, results[0].dtype.name))
    return found

"""A table of the layers of a model: shapes, parameters, arithmetic and memory, found without computing anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from plait.core import tree
from plait.core.errors import ArgumentTypeError, message
from plait.core.graph import Graph, Node, placeholder, toposort
from plait.core.primitive import Waived
from plait.inspect.tables import count, ruled, size
from plait.nn.module import Module
from plait.nn.parameter import Uninitialized
from plait.tensor import lazy
from plait.tensor.staging import Staging
from plait.tensor.tensor import Parameter, Tensor, node_of, to_node, wrap

_COLUMNS = ("layer", "result", "parameters", "FLOPs", "memory")


@dataclass(frozen=True)
class Row:
    """One module: its name and class, shapes of its results, and what it and the modules in it need.

    `flops` are floating-point operations of all its calls together, `nbytes` the bytes of its results; `parameters`
    counts numbers.
    """

    name: str
    kind: str
    shapes: tuple[tuple[int, ...], ...]
    parameters: int
    flops: float
    nbytes: int


@dataclass(frozen=True, repr=False)
class Summary:
    """What `summary` found; shown as a table. Bytes are those of parameters, of buffers, and of all layers' results."""

    rows: tuple[Row, ...]
    parameters: int
    trained: int
    flops: float
    parameter_bytes: int
    buffer_bytes: int
    result_bytes: int

    def __repr__(self) -> str:
        lines = ruled([_COLUMNS, *map(_cells, self.rows)], left=2)
        memory = f"{size(self.parameter_bytes)} parameters, {size(self.buffer_bytes)} buffers, "
        return "\n".join([
            *lines, lines[1],
            f"parameters  {self.parameters:,} ({self.trained:,} trained)",
            f"FLOPs       {count(self.flops)} forward",
            f"memory      {memory}{size(self.result_bytes)} results of layers",
        ])  # fmt: skip


def _cells(row: Row) -> tuple[str, ...]:
    depth = row.name.count(".") + 1 if row.name else 0
    name = f"{row.name.rpartition('.')[2]}: {row.kind}" if row.name else row.kind
    shapes = " ".join(str(list(shape)) for shape in row.shapes)
    return "  " * depth + name, shapes or "-", f"{row.parameters:,}", count(row.flops), size(row.nbytes)


def _flops(nodes: Iterable[Node]) -> float:
    """Return the operations of nodes; a loop of unknown length counts as one turn."""
    total = 0.0
    for node in nodes:
        bodies = [value for value in node.params.values() if isinstance(value, Graph)]
        if bodies:
            total += node.params.get("length", 1) * sum(_flops(body.nodes) for body in bodies)
        elif node.inputs and not isinstance(node.prim.cost, Waived):
            total += node.prim.cost(node)[0]
    return total


class _Watch:
    """Hooks that note what goes in and out of each module."""

    def __init__(self, model: Module) -> None:
        self.results: dict[Module, tuple[tuple[int, ...], ...]] = {}
        self.flops: dict[Module, float] = {}
        self.nbytes: dict[Module, int] = {}
        self.handles = [m.register_forward_hook(self.after, with_kwargs=True) for m in model.modules()]

    def after(self, module: Any, args: Any, kwargs: Any, result: Any) -> None:
        given = {node_of(t) for t in tree.leaves((args, kwargs)) if isinstance(t, Tensor)}
        tensors = [t for t in tree.leaves(result) if isinstance(t, Tensor)]
        known = lambda n: n in given or lazy.has_value(n)  # noqa: E731
        found = [n for n in toposort([node_of(t) for t in tensors], known) if not known(n)]
        self.results[module] = tuple(t.shape for t in tensors)
        self.flops[module] = self.flops.get(module, 0.0) + _flops(found)
        self.nbytes[module] = self.nbytes.get(module, 0) + sum(t.nbytes for t in tensors)

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()


def _run(model: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Watch:
    """Call the model on placeholders; its state is as before afterwards."""
    leaves, treedef = tree.flatten((args, kwargs))
    nodes = [node_of(x) if isinstance(x, Tensor) else to_node(x, None) if hasattr(x, "shape") else None for x in leaves]
    held = [x if n is None else wrap(placeholder(n.aval)) for x, n in zip(leaves, nodes, strict=True)]
    new_args, new_kwargs = tree.unflatten(treedef, held)
    lazy.flush()  # initial values that are pending are not part of the model's work
    watch, outer = _Watch(model), lazy.state.observer
    staging = lazy.state.observer = Staging()
    try:
        model(*new_args, **new_kwargs)
    finally:
        lazy.state.observer = outer
        staging.restore()
        lazy.forget()
        watch.remove()
    return watch


def _count(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() for t in tensors)


def summary(model: Module, *example_inputs: Any, **options: Any) -> Summary:
    """Return a table of the layers of a model, for inputs of given shapes; nothing is computed, nothing changes.

    Args:
        model: the model. Lazy layers must have been called.
        example_inputs: what the model is called with; of tensors only shape and dtype matter.
        options: keyword arguments of the call.

    Returns:
        A `Summary`: shown, it is a table; its fields are the numbers.

    Raises:
        ArgumentTypeError: `model` is no module, or has parameters without a shape.

    Example:
        >>> model = plait.nn.Sequential(plait.nn.Linear(8, 16), plait.nn.ReLU(), plait.nn.Linear(16, 2))
        >>> plait.nn.summary(model, plait.zeros(4, 8))
        layer        result   parameters   FLOPs  memory
        ------------------------------------------------
        Sequential   [4, 2]          178  1.48 k    32 B
          0: Linear  [4, 16]         144  1.09 k   256 B
          1: ReLU    [4, 16]           0     128   256 B
          2: Linear  [4, 2]           34     264    32 B
        ------------------------------------------------
        parameters  178 (178 trained)
        FLOPs       1.48 k forward
        memory      712 B parameters, 0 B buffers, 544 B results of layers
    """
    if not isinstance(model, Module):
        raise ArgumentTypeError(message("summary takes a module", type(model).__name__, "a plait.nn.Module"))
    if any(isinstance(t, Uninitialized) for t in (*model.parameters(), *model.buffers())):
        fix = "call the model once with an input before"
        raise ArgumentTypeError(
            message("A lazy layer of this model has no shapes yet", type(model).__name__, None, fix)
        )
    watch = _run(model, example_inputs, options)
    rows = [
        Row(
            name, type(module).__name__, watch.results.get(module, ()), _count(module.parameters()),
            watch.flops.get(module, 0.0), watch.nbytes.get(module, 0),
        )
        for name, module in model.named_modules()
    ]  # fmt: skip
    parameters, buffers = list(model.parameters()), list(model.buffers())
    leaves = [m for m in model.modules() if not any(True for _ in m.children())]
    return Summary(
        tuple(rows), _count(parameters), _count(p for p in parameters if isinstance(p, Parameter) and p.requires_grad),
        rows[0].flops, sum(p.nbytes for p in parameters), sum(b.nbytes for b in buffers),
        sum(watch.nbytes.get(m, 0) for m in leaves),
    )  # fmt: skip

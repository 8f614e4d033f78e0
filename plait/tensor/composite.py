"""Composites: functions of which eager code records one node, the second time without running them.

What a pure function records depends on the avals of its tensors and on its other arguments. So it is recorded once on
placeholders, and from then on calling it costs a look into a table. The compiler and the transforms see through it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from plait.core import tree
from plait.core.dtype import DType
from plait.core.errors import AbstractValueError
from plait.core.graph import ABSTRACT, CONSTANT, DATA, Graph, Node, Params, placeholder, record, substitute
from plait.core.primitive import PRIMITIVES, Primitive
from plait.core.recorder import in_force
from plait.tensor import lazy
from plait.tensor.effects import Writes
from plait.tensor.tensor import Parameter, Tensor, node_of, wrap

_MOST = 512
_STATIC = frozenset((int, bool, float, str, type(None), DType))
_TENSORS = (Tensor, Parameter)
_SEQUENCES = (tuple, list)
_ARITHMETIC = frozenset(("add", "sub", "mul", "div"))


class Recording:
    """What a function recorded: the parameters of its node, and how results are made of it."""

    __slots__ = ("params", "constants", "count", "treedef")

    def __init__(self, graph: Graph, constants: tuple[Node, ...], treedef: tree.TreeDef | None) -> None:
        self.params = Params(body=graph)
        self.constants = constants
        self.count = len(graph.outputs)
        self.treedef = treedef

    def replay(self, inputs: Sequence[Node]) -> Any:
        """Record the node on other inputs; returns what the function returns."""
        node = record(PRIMITIVES["composite"], (*inputs, *self.constants), self.params)
        if self.treedef is None:
            return wrap(node)
        nodes = [node] if self.count == 1 else [node[k] for k in range(self.count)]
        return tree.unflatten(self.treedef, [wrap(n) for n in nodes])


def composite(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let eager calls of a pure function of tensors and settings record one node.

    The function reads no state, writes to nothing, returns fresh tensors, and does not look at values; arguments
    that are neither tensors nor plain numbers, strings, dtypes or sequences of them make it run as it is.
    """
    known: dict[Any, Recording | None] = {}

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        mode = in_force().mode
        if mode is not None:
            args, kwargs = mode.cast(call.__name__, args, kwargs)
        if lazy.observing() is not None:
            return function(*args, **kwargs)
        key: list[Any] = [mode, len(args)]
        nodes: list[Node] = []
        flags = 0
        values: Any = args
        if kwargs:
            names = sorted(kwargs)
            values = (*args, *names, *[kwargs[name] for name in names])
        for value in values:
            kind = type(value)
            if kind in _TENSORS:
                node = node_of(value)
                flags |= node.flags
                nodes.append(node)
                key.append(node.aval)
            elif kind in _STATIC:
                key.append(kind)
                key.append(value or str(value))  # the text tells 0, -0.0, False and None apart
            elif kind in _SEQUENCES and all(type(v) in _STATIC for v in value):
                key.append(kind)
                key += [(type(v), v or str(v)) for v in value]
                key.append(len(value))
            else:
                return function(*args, **kwargs)
        if flags & ABSTRACT or not nodes:
            return function(*args, **kwargs)
        found = _looked_up(known, tuple(key), function, args, kwargs)
        return function(*args, **kwargs) if found is None else found.replay(nodes)

    return call


class Composites:
    """Composites of one pure function `function(settings, tensors)` of hashable settings and a pytree of tensors.

    For what has many tensors, such as the step of an optimizer. Call `apply`.
    """

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self.function = function
        self._known: dict[Any, Recording | None] = {}

    def apply(self, settings: Any, tensors: Any) -> Any:
        """Call the function, by recording one node where that can stand for it."""
        leaves, treedef = tree.flatten(tensors)
        nodes = [node_of(t) for t in leaves]
        if lazy.observing() is None and not any(n.flags & ABSTRACT for n in nodes):
            place = (in_force().mode, settings, treedef, *[n.aval for n in nodes])
            found = _looked_up(self._known, place, self.function, (settings, tensors), {})
            if found is not None:
                return found.replay(nodes)
        return self.function(settings, tensors)


def _looked_up(
    known: dict[Any, Recording | None], place: Any, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]
) -> Recording | None:  # fmt: skip
    """Return the recording for a place in the table, made now if it is a new one."""
    if place in known:
        return known[place]
    if len(known) >= _MOST:
        known.clear()
    found = known[place] = recording(function, args, kwargs)
    return found


def recording(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recording | None:
    """Record a function on placeholders for its tensors; None where a node cannot stand for what it does."""
    found = _staged(function, args, kwargs)
    if found is None:
        return None
    inputs, outputs, results = found
    nodes = Graph(inputs, outputs).nodes
    constants = tuple([n for n in nodes if n.prim is DATA])
    is_differentiable = any(o.dtype.is_inexact for o in outputs)
    if any(_is_owned(c) for c in constants) or is_differentiable and any(_is_replaced(n.prim) for n in nodes):
        return None
    constants += _numbers(nodes)
    holders = [placeholder(c.aval) for c in constants]
    graph = Graph([*inputs, *holders], substitute(outputs, dict(zip(constants, holders, strict=True))))
    for node in graph.nodes:
        if node.inputs:
            node.code = None  # the line is that of the call
    return Recording(graph, constants, results)


def _numbers(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Numbers that are calculated with, which may follow from sizes: as inputs of the node they may change."""
    users: dict[Node, bool] = {}
    for n in nodes:
        for i in n.inputs:
            if i.prim is CONSTANT:
                users[i] = users.get(i, True) and n.prim.name in _ARITHMETIC
    return tuple([c for c, is_number in users.items() if is_number])


def _staged(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Node], list[Node], tree.TreeDef | None] | None:  # fmt: skip
    """Run a function on placeholders: return them, what it returned and its structure (None: one tensor)."""
    leaves, treedef = tree.flatten((args, kwargs))
    handles = [wrap(placeholder(t.aval)) if isinstance(t, Tensor) else t for t in leaves]
    inputs = [t._node for t in handles if isinstance(t, Tensor)]
    new_args, new_kwargs = tree.unflatten(treedef, handles)
    try:
        with Writes() as writes:
            result = function(*new_args, **new_kwargs)
    except AbstractValueError:
        return None
    if writes.outside():  # it draws random numbers, say
        writes.restore()
        return None
    is_single = isinstance(result, Tensor)
    tensors, results = ([result], None) if is_single else tree.flatten(result)
    for t in tensors:
        if not isinstance(t, Tensor) or any(t._base is h for h in handles if t._base is not None):
            return None
    outputs = [node_of(t) for t in tensors]
    is_written = any(isinstance(h, Tensor) and h._version for h in handles)
    if not outputs or is_written or any(o in inputs for o in outputs):
        return None
    return inputs, outputs, results


def _is_replaced(prim: Primitive) -> bool:
    """Whether differentiating replaces the node itself, or calls what a user wrote."""
    return prim.linearize is not None or prim.name in ("custom_jvp", "custom_vjp")


def _is_owned(node: Node) -> bool:
    """Whether a tensor still has this value: what a function made for itself is let go of."""
    return isinstance(node.extra, weakref.ref) and node.extra() is not None

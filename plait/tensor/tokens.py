"""Effects in program order: calls of Python for what they do, also from inside loops, branches and compiled code.

The order is kept by a token, a tensor that every effect reads and writes. So transforms and `jit` treat effects as
they treat all state that a function writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from plait.core.aval import aval
from plait.core.dtype import bool_
from plait.core.graph import ABSTRACT, Node, constant, data
from plait.core.primitive import P
from plait.runtime.buffer import to_numpy
from plait.tensor import lazy
from plait.tensor.effects import Writes
from plait.tensor.tensor import Tensor, node_of, wrap, write

_token = wrap(data(lazy.scalar_buffer(constant(True, bool_)), aval(bool_)))
_depth: ContextVar[int] = ContextVar("plait.depth", default=0)


@contextmanager
def body() -> Iterator[None]:
    """A context in which what is recorded stands for more than one run, or for none."""
    previous = _depth.set(_depth.get() + 1)
    try:
        yield
    finally:
        _depth.reset(previous)


def perform(function: Callable[..., Any], tensors: Sequence[Tensor]) -> None:
    """Call `function(*arrays)` each time that the program comes here; at once where the values are known."""
    nodes = [node_of(t) for t in tensors]
    if _depth.get() or lazy.state.observer is not None or any(n.flags & ABSTRACT for n in nodes):
        write(_token, P.effect(node_of(_token), *nodes, function=function))
        return
    function(*[to_numpy(lazy.value(t), n.dtype.numpy, n.shape).copy() for t, n in zip(tensors, nodes, strict=True)])


def settle(results: Sequence[Tensor]) -> None:
    """Run the effects that wait, if this is eager code, and compute the results of what caused them with them."""
    node = node_of(_token)
    if node.value is None and not _depth.get() and lazy.state.observer is None and not node.flags & ABSTRACT:
        lazy.flush(_token, *results)
        write(_token, data(_token._node.value, node.aval))  # a leaf, which keeps no history alive


def taken(writes: Writes) -> list[Node]:
    """Take the token out of what a batched body wrote: returns its node there, if it was written."""
    found = writes.tensors.pop(id(_token), None)
    if found is None:
        return []
    node, _token._node = node_of(_token), found[1]
    return [node]


def put_back(nodes: Sequence[Node], results: Sequence[Tensor]) -> None:
    """Let the token be what a batched body left, maybe one for each example, and run the effects."""
    for node in nodes:
        write(_token, P.reduce_and(node, axes=(0,)) if node.ndim else node)
        settle(results)

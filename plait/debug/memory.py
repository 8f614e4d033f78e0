"""What holds the memory: how much there is, the limit that the user sets, and the owners of the largest blocks."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass
from typing import Any

from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.core.graph import FREED, REQUIRES_GRAD, Node
from plait.nn.module import Module
from plait.optim.optimizer import Optimizer
from plait.runtime import buffer as buffers
from plait.runtime.buffer import Buffer
from plait.runtime.launch import arena, arena_bytes
from plait.tensor.tensor import Tensor

_MOST = 10
_UNNAMED = {True: "what programs compute in between", False: "held by a compiled program"}


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """Bytes of memory.

    Attributes:
        live: in use, those of programs included.
        peak: the most that ever were in use.
        cached: kept for reuse.
        arena: of those in use, what programs share for what they compute in between.
        limit: the most that may be in use, or None; see `set_memory_limit`.
    """

    live: int
    peak: int
    cached: int
    arena: int
    limit: int | None


def memory_stats() -> MemoryStats:
    """Return how much memory is in use, was at most, and is kept for reuse.

    Example:
        >>> x = plait.ones((1000, 1000)) + 1
        >>> plait.sync()
        >>> plait.memory_stats().live >= 4_000_000
        True
    """
    found = buffers.memory_statistics()
    return MemoryStats(found.live, found.peak, found.cached, arena_bytes(), found.limit)


def set_memory_limit(limit: int | None) -> None:
    """Set the most bytes that tensors and programs may use; what needs more raises `OutOfMemoryError`.

    The environment variable PLAIT_MEMORY_LIMIT sets it at the start. Before a program runs, its results and
    temporaries are counted; after an error everything is as before the call, which works once there is room.

    Args:
        limit: bytes; None for as many as the system has.

    Raises:
        ArgumentError: the limit is not positive.
        ArgumentTypeError: it is no number.

    Example:
        >>> plait.set_memory_limit(8 << 30)
        >>> plait.memory_stats().limit
        8589934592
        >>> plait.set_memory_limit(None)
    """
    if limit is not None and not isinstance(limit, (int, float)):
        raise ArgumentTypeError(message("A memory limit is a number of bytes", limit, "1 or more, or None"))
    if limit is not None and not limit > 0:
        raise ArgumentError(message("A memory limit is a number of bytes", limit, "1 or more, or None"))
    buffers.set_limit(limit)


def largest_owners(count: int = _MOST) -> str:
    """Return a line of text for each of the largest blocks in use: bytes, shape, name, the line that made it."""
    found = gc.get_objects()
    blocks = [o for o in found if type(o) is Buffer and o.capacity]
    blocks = sorted(blocks, key=lambda b: b.nbytes, reverse=True)[:count]
    wanted = {id(b) for b in blocks}
    nodes = {id(o.value): o for o in found if type(o) is Node and id(getattr(o, "value", None)) in wanted}
    tensors: list[Tensor] = [o for o in found if issubclass(type(o), Tensor) and hasattr(o, "_node")]
    handles = {id(t._node): t for t in tensors}
    names = _names(found, tensors)
    lines = []
    for block in blocks:
        node = nodes.get(id(block))
        text = _UNNAMED[block is arena()] if node is None else _described(node, handles, names)
        lines.append(f"  {block.nbytes:>15,} bytes  {text}")
    return "\n".join([f"The largest of {len([o for o in found if type(o) is Buffer])} blocks:", *lines])


def _described(node: Node, handles: dict[int, Tensor], names: dict[int, str]) -> str:
    handle = node.extra() if isinstance(node.extra, weakref.ref) else handles.get(id(node))
    kept = "kept for backward()" if node.flags & (REQUIRES_GRAD | FREED) and node.inputs else "kept by a program"
    name = kept if handle is None else names.get(id(handle), type(handle).__name__.lower())
    return f"{node.aval}  {name}" + (f"  made at {node.source}" if node.source else "")


def _names(found: list[Any], tensors: list[Tensor]) -> dict[int, str]:
    """The names of parameters and buffers of modules, their gradients, and the state of optimizers."""
    # By type(), as proxies do not like isinstance; what is still being made has no attributes yet.
    modules: list[Module] = [o for o in found if issubclass(type(o), Module) and "_parameters" in vars(o)]
    children = {id(child) for m in modules for child in m.children()}
    names: dict[int, str] = {}
    for root in modules:
        if id(root) not in children:
            for name, tensor in [*root.named_parameters(), *root.named_buffers()]:
                names[id(tensor)] = f"{type(root).__name__}.{name}"
    for tensor in tensors:
        if tensor._grad is not None:
            names[id(tensor._grad)] = f"gradient of {names.get(id(tensor), 'a tensor')}"
    for optimizer in [o for o in found if issubclass(type(o), Optimizer) and "state" in vars(o)]:
        for parameter, state in optimizer.state.items():
            for key, value in state.items():
                owner = names.get(id(parameter), "a parameter")
                names[id(value)] = f"{type(optimizer).__name__} state {key!r} of {owner}"
    return names

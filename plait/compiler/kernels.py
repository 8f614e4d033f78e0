"""Kernel sources: what identifies a kernel, so that equal ones are compiled once, and how it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from plait.compiler.groups import Group
from plait.compiler.lower import inputs_of, lower, results_of
from plait.core.dtype import bool_, int64, uint8
from plait.core.graph import CONSTANT, Node, Params
from plait.core.recorder import in_force
from plait.ir.build import Builder
from plait.ir.loop import Kernel, const


@dataclass(frozen=True, slots=True)
class Source:
    """A kernel not yet compiled: `key` identifies it in every process, `write(name, target)` makes its loop IR."""

    key: str
    write: Callable[[str, Any], Kernel]

    @property
    def name(self) -> str:
        """The name of the kernel in object code."""
        return "k" + blake2b(self.key.encode(), digest_size=8).hexdigest()


def _parameter(value: Any) -> str:
    if isinstance(value, Params):
        return "{" + ",".join(f"{k}:{_parameter(v)}" for k, v in value.items()) + "}"
    return repr(value)


def group_source(group: Group) -> Source:
    """Return the source of a group; its key is the structure of the group."""
    number: dict[Node, int] = {}
    rows = [f"{group.shape}/{group.axes}"]
    for node in inputs_of(group):
        number[node] = len(number)
        rows.append(f"in {node.aval}")
    for node in in_order(group):
        inputs = []
        for i in node.inputs:
            inputs.append(f"{i.dtype.name}:{i.value!r}" if i.prim is CONSTANT else str(number[i]))
        number[node] = len(number)
        rows.append(f"{node.prim.name}({','.join(inputs)}){_parameter(node.params)}->{node.aval}@{group.members[node]}")
    rows.append(f"{[number[o] for o in group.outputs]} {number.get(group.anchor) if group.anchor else None}")
    invariant = in_force().invariant
    if invariant:
        rows.append("batch invariant")
    return Source("\n".join(rows), lambda name, target: lower(group, name, target, invariant))


def in_order(group: Group) -> list[Node]:
    order: list[Node] = []
    done: set[Node] = set()
    for root in group.members:
        stack = [root]
        while stack:
            node = stack[-1]
            waiting = [i for i in node.inputs if i in group.members and i not in done]
            if node in done or not waiting:
                stack.pop()
                if node not in done:
                    done.add(node)
                    order.append(node)
            else:
                stack.extend(waiting)
    return order


def group_buffers(group: Group) -> tuple[list[Node], list[tuple[Node, int, Any]]]:
    """Return the nodes a group's kernel reads and the (node, result, aval) that it writes, in argument order."""
    return inputs_of(group), results_of(group)


# kernels of the programs themselves ------------------------------------------------------------------------------


def _copy(name: str, target: Any) -> Kernel:
    b = Builder(name)
    n = b.scalar("bytes")
    source, result = b.input("source", uint8, n), b.output("result", uint8, n)
    with b.parallel(n, mark="vector", grain=1 << 17) as i:
        b.store(result, i, b.load(source, i))
    return b.finish()


def _store_row(name: str, target: Any) -> Kernel:
    b = Builder(name)
    n = b.scalar("bytes")
    source, counter = b.input("source", uint8, n), b.input("counter", int64, 1)
    result = b.output("result", uint8, n)
    with b.parallel(n, mark="vector", grain=1 << 17) as i:
        b.store(result, b.load(counter, 0) * n + i, b.load(source, i))
    return b.finish()


def _start(name: str, target: Any) -> Kernel:
    b = Builder(name)
    first, length = b.scalar("first"), b.scalar("length")
    counter, more = b.output("counter", int64, 1), b.output("more", bool_, 1)
    with b.parallel(1):
        b.store(counter, 0, first)
        b.store(more, 0, length > 0)
    return b.finish()


def _advance(name: str, target: Any) -> Kernel:
    b = Builder(name)
    step, length = b.scalar("step"), b.scalar("length")
    counter, more = b.output("counter", int64, 1), b.output("more", bool_, 1)
    with b.parallel(1):
        following = b.local(int64, b.load(counter, 0) + step)
        value = following.get()
        b.store(counter, 0, value)
        b.store(more, 0, (value >= const(0)) & (value < length))
    return b.finish()


COPY = Source("program:copy", _copy)
STORE_ROW = Source("program:store_row", _store_row)
START = Source("program:start", _start)
ADVANCE = Source("program:advance", _advance)

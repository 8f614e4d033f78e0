"""Node by node: how work of a structure that was never seen before runs, if all its nodes are known.

The program of one node depends on its primitive, its parameters and the avals of its inputs; constants are inputs. It
is made when such a node is met the second time; that of a function that was recorded as one node is fused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plait.compiler.pipeline import compile_nodes
from plait.compiler.sizes import Sizes
from plait.core import journal
from plait.core.graph import CONSTANT, GET, Node, is_leaf, placeholder, record, toposort
from plait.runtime.buffer import Buffer, allocate, to_numpy
from plait.runtime.launch import Executable

_MOST = 4096
_programs: dict[Any, Executable | None] = {}  # None: met once


def scalar_buffer(node: Node) -> Buffer:
    """Return a buffer that holds a constant."""
    buffer = allocate(node.aval.nbytes)
    to_numpy(buffer, node.dtype.numpy, (), writable=True)[...] = node.value
    return buffer


def run(outputs: Sequence[Node]) -> list[Buffer] | None:
    """Compute `outputs` node by node; None where one of the nodes is met for the first time.

    The caller holds the lock of running programs.
    """
    order = [n for n in toposort(outputs, is_leaf) if n.value is None]
    keys = [(n.prim, n.params, *[i.aval for i in n.inputs]) if n.prim is not GET else None for n in order]
    if not _are_known(keys):
        return None
    uses: dict[Node, int] = dict.fromkeys(outputs, 1)
    for node in order:
        for i in node.inputs:
            uses[i] = uses.get(i, 0) + 1
    values: dict[Node, Any] = {}
    for node, key in zip(order, keys, strict=True):
        if key is None:
            values[node] = values[node.inputs[0]][node.params["index"]]
        else:
            program = _programs[key] or _make(node, key)
            program.set_inputs([_buffer(i, values) for i in node.inputs])
            results = program.run_prepared()
            values[node] = results if isinstance(node.aval, tuple) else results[0]
        for i in node.inputs:
            uses[i] -= 1
            if not uses[i]:
                values.pop(i, None)
    return [values[o] for o in outputs]


def _are_known(keys: Sequence[Any]) -> bool:
    """Whether all nodes were met before; from now on they were."""
    unknown = [k for k in keys if k is not None and k not in _programs]
    if len(_programs) + len(unknown) > _MOST:
        _programs.clear()
    _programs.update(dict.fromkeys(unknown))
    return not unknown


def _make(node: Node, key: Any) -> Executable:
    inputs = [placeholder(i.aval) for i in node.inputs]
    made = record(node.prim, tuple(inputs), node.params)
    results = [made[k] for k in range(len(node.avals))] if isinstance(node.aval, tuple) else [made]
    if node.prim.kind not in ("expand", "call"):
        program = _programs[key] = Executable(compile_nodes(results, inputs, False))
        return program
    with journal.compilation("eager", "fused", node.source, [f"{node.prim.name} was seen before"], "plan"):
        program = _programs[key] = Executable(compile_nodes(results, inputs, sizes=Sizes()))
    return program


def _buffer(node: Node, values: dict[Node, Any]) -> Buffer:
    if node.prim is CONSTANT:
        if node.extra is None:
            node.extra = scalar_buffer(node)
        constant: Buffer = node.extra
        return constant
    found: Buffer = values[node] if node.value is None else node.value
    return found

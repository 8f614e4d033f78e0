"""Node by node: how work of a structure that was never seen before runs, if all its nodes are known.

The program of one node depends on its primitive, its parameters and the avals of its inputs; constants are inputs. It
is made when such a node is met the second time; that of a function that was recorded as one node is fused. Small ones
run together by one native call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from plait.compiler.pipeline import compile_nodes
from plait.compiler.sizes import Sizes
from plait.core import journal
from plait.core.graph import CONSTANT, GET, Node, is_leaf, placeholder, record, toposort
from plait.runtime.batch import Batch, Unit, unit_of
from plait.runtime.buffer import Buffer, allocate, to_numpy
from plait.runtime.launch import Executable, is_watched

_MOST = 4096
_MOST_AT_ONCE = 1 << 22  # bytes of intermediate values: more are let go of one by one
_programs: dict[Any, tuple[Executable, Unit | None] | None] = {}  # None: met once


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
    found = [None if k is None else _programs[k] or _make(n, k) for n, k in zip(order, keys, strict=True)]
    units = [None if f is None else f[1] for f in found]
    nbytes = sum([u.nbytes for u in units if u is not None])
    is_small = nbytes <= _MOST_AT_ONCE and not is_watched()
    if is_small and all(u is not None or n.prim is GET for n, u in zip(order, units, strict=True)):
        return _at_once(outputs, order, units, nbytes)
    return _one_by_one(outputs, order, [None if f is None else f[0] for f in found])


def _at_once(
    outputs: Sequence[Node], order: Sequence[Node], units: Sequence[Unit | None], nbytes: int
) -> list[Buffer]:  # fmt: skip
    """Compute `outputs` by one native call; what is computed in between stays in shared memory until the end."""
    results = [allocate(o.aval.nbytes) for o in outputs]
    owned: dict[Node, list[int | None]] = {}
    copied: list[tuple[int, Node]] = []
    for number, (o, buffer) in enumerate(zip(outputs, results, strict=True)):
        producer, index = (o.inputs[0], o.params["index"]) if o.prim is GET else (o, 0)
        places = owned.setdefault(producer, [None] * len(producer.avals))
        if places[index] is not None or producer.value is not None:
            copied.append((number, o))  # picked twice: each has memory of its own
        else:
            places[index] = buffer.address
    batch, at = Batch(nbytes), {}
    for node, unit in zip(order, units, strict=True):
        if unit is None:
            at[node] = [at[node.inputs[0]][node.params["index"]]]
            continue
        inputs = [at[i][0] if i in at else _value(i).address for i in node.inputs]
        at[node] = batch.add(unit, inputs, owned.get(node))
    batch.run()
    for number, o in copied:
        ctypes.memmove(results[number].address, at[o][0], o.aval.nbytes)
    return results


def _one_by_one(
    outputs: Sequence[Node], order: Sequence[Node], programs: Sequence[Executable | None]
) -> list[Buffer]:  # fmt: skip
    """Compute `outputs` by a call for each node, letting go of what is not needed any more."""
    uses: dict[Node, int] = dict.fromkeys(outputs, 1)
    for node in order:
        for i in node.inputs:
            uses[i] = uses.get(i, 0) + 1
    values: dict[Node, Any] = {}
    for node, program in zip(order, programs, strict=True):
        if program is None:
            values[node] = values[node.inputs[0]][node.params["index"]]
        else:
            program.set_inputs([values[i] if i in values else _value(i) for i in node.inputs])
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


def _make(node: Node, key: Any) -> tuple[Executable, Unit | None]:
    inputs = [placeholder(i.aval) for i in node.inputs]
    made = record(node.prim, tuple(inputs), node.params)
    results = [made[k] for k in range(len(node.avals))] if isinstance(node.aval, tuple) else [made]
    if node.prim.kind not in ("expand", "call"):
        program = Executable(compile_nodes(results, inputs, False))
    else:
        with journal.compilation("eager", "fused", node.source, [f"{node.prim.name} was seen before"], "plan"):
            program = Executable(compile_nodes(results, inputs, sizes=Sizes()))
    found = _programs[key] = program, unit_of(program)
    return found


def _value(node: Node) -> Buffer:
    """The buffer of a leaf."""
    if node.prim is CONSTANT:
        if node.extra is None:
            node.extra = scalar_buffer(node)
        constant: Buffer = node.extra
        return constant
    computed: Buffer = node.value
    return computed

"""Laziness: recorded tensors wait here until a value is looked at; then everything pending runs as one program.

A structure seen for the first time runs operation by operation through shape-generic kernels; when it comes back it
is compiled as one fused program.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plait.compiler.pipeline import compile_nodes
from plait.compiler.sizes import Family, Sizes, family
from plait.core.errors import AbstractValueError, message
from plait.core.graph import (
    ABSTRACT,
    CONSTANT,
    DATA,
    EMPTY,
    PLACEHOLDER,
    REQUIRES_GRAD,
    TRACED,
    Node,
    placeholder,
    substitute,
    toposort,
)
from plait.runtime.buffer import Buffer, allocate, to_numpy
from plait.runtime.launch import Executable, lock
from plait.tensor import units
from plait.tensor.units import scalar_buffer

if TYPE_CHECKING:
    from plait.tensor.tensor import Tensor

NODE_BUDGET = 8192
BYTE_BUDGET = 1 << 30
_CHECK_EVERY = 256
_OWN_REFERENCES = 2  # the local variable and the argument of getrefcount

pending: list[Tensor] = []
"""Handles recorded since the last flush."""

budget = _CHECK_EVERY
"""Length of `pending` at which `over_budget` is to be called."""

_lock = lock()  # one lock for recording's end and for running: two could be taken in either order


class Observer:
    """What a staged function does to the world; see `plait.tensor.jit`."""

    def created(self, tensor: Tensor) -> None:
        """`tensor` was made from data."""

    def written(self, tensor: Tensor, old: Node) -> None:
        """`tensor`, whose node is `old`, is about to get another node."""

    def grad_read(self, tensor: Tensor) -> None:
        """`tensor.grad` is looked at."""

    def grad_written(self, tensor: Tensor) -> None:
        """`tensor.grad` is about to be replaced."""

    def attribute_read(self, owner: Any, name: str) -> None:
        """A plain attribute that steers computation (such as `Module.training`) is looked at."""

    def looked(self, node: Node) -> bool:
        """Python looks at the value of `node`, which is not known; returns whether it is known from now on."""
        return False


class State:
    """`observer` watches while a function is staged; `epoch` counts changes to state that compiled functions hold.

    `transaction` notes what is written while a function runs that may have to be undone. `cells` and `viewed` are the
    ids of tensors that compiled functions hold, and of those that have views.
    """

    __slots__ = ("observer", "transaction", "epoch", "cells", "viewed", "flushes")

    def __init__(self) -> None:
        self.observer: Observer | None = None
        self.transaction: Observer | None = None
        self.epoch = 0
        self.flushes = 0
        self.cells: set[int] = set()
        self.viewed: set[int] = set()


state = State()


def written(tensor: Tensor, old: Node) -> None:
    """Called before the node of a handle is replaced by a write."""
    if state.observer is not None:
        state.observer.written(tensor, old)
    if state.transaction is not None:
        state.transaction.written(tensor, old)
    if id(tensor) in state.cells:
        state.epoch += 1


def viewed(base: Tensor) -> None:
    """Called when a view of `base` is made."""
    state.viewed.add(id(base))
    if id(base) in state.cells:
        state.epoch += 1


def grad_read(tensor: Tensor) -> None:
    """Called before `tensor.grad` is looked at."""
    if state.observer is not None:
        state.observer.grad_read(tensor)


def grad_written(tensor: Tensor) -> None:
    """Called before `tensor.grad` is replaced."""
    if state.observer is not None:
        state.observer.grad_written(tensor)
    if state.transaction is not None:
        state.transaction.grad_written(tensor)
    if id(tensor) in state.cells:
        state.epoch += 1


def over_budget() -> None:
    """Flush when too many nodes or bytes are pending; called each time `pending` reaches `budget`."""
    global budget
    if state.observer is not None:  # nothing is computed while a function is staged
        budget += len(pending)
        return
    nbytes = sum(t._node.aval.nbytes for t in pending[-_CHECK_EVERY:])
    budget += _CHECK_EVERY
    if len(pending) >= NODE_BUDGET or nbytes * (len(pending) // _CHECK_EVERY) > BYTE_BUDGET:
        flush()


def value(tensor: Tensor) -> Buffer:
    """Return the buffer of a tensor, computing everything pending if need be.

    Raises `AbstractValueError` where the value is not known because a function is being staged.
    """
    node = tensor._node
    if state.observer is not None and (node.value is None or node.extra is not None) and not look(node):
        raise _not_known(node)
    found = node.value
    if type(found) is Buffer:
        return found
    if node.prim is CONSTANT:
        if node.extra is None:
            node.extra = scalar_buffer(node)
        result: Buffer = node.extra
        return result
    if node.flags & ABSTRACT and not look(node):
        raise _not_known(node)
    flush(tensor)
    computed: Buffer = tensor._node.value
    return computed


def look(node: Node) -> bool:
    """Ask for the value of a node of a staged function: returns whether staging has ended, so that it can be known."""
    if state.observer is not None:
        return state.observer.looked(node)
    return settle_flags([node])


def settle_flags(nodes: Sequence[Node]) -> bool:
    """Unmark what no placeholder is below of: staging has ended. Returns whether that is so for all `nodes`."""
    for n in toposort(nodes, has_value):
        if n.prim is not PLACEHOLDER and not any(i.flags & ABSTRACT for i in n.inputs):
            n.flags &= ~ABSTRACT
    return not any(n.flags & ABSTRACT for n in nodes)


def _not_known(node: Node) -> AbstractValueError:
    return AbstractValueError(
        message(
            f"The value of a {node.aval} is not known while the function is staged (recorded at {node.source})",
            "a look at the value (bool, int, float, item, numpy, print)",
            "only operations on tensors inside jit, vmap, scan, cond and while_loop",
            "use plait.where or plait.cond instead of `if`, or pass the value as a static argument",
        )
    )


class _Structure:
    """Programs for one structure of pending work.

    Constants that were seen with two values became run-time inputs (`dynamic`), so that a changing learning rate
    is no new program. `sizes` is None while it runs operation by operation.
    """

    __slots__ = ("count", "constants", "dynamic", "sizes", "programs")

    def __init__(self, constants: tuple[Any, ...]) -> None:
        self.count = 0
        self.constants = constants
        self.dynamic: frozenset[int] = frozenset()
        self.sizes: Sizes | None = None
        self.programs: dict[Any, Executable] = {}


_MOST_STRUCTURES = 1024
_structures: dict[Any, _Structure] = {}  # the most recently used last
_MOST_FAMILIES = 256
_families: dict[Any, Family] = {}  # likewise
_FUSED_FROM = 3  # versions of a family: from the third on, one that is new is not waited for to come back


def flush(*tensors: Tensor) -> None:
    """Compute `tensors` and every pending tensor that somebody still holds, as one program."""
    global budget
    with _lock:
        held: dict[Node, Tensor] = {}
        while pending:
            t = pending.pop()  # the last first: a view that nobody holds lets go of its base
            if sys.getrefcount(t) > _OWN_REFERENCES and t._node.value is None and not t._node.flags & ABSTRACT:
                held[t._node] = t
        live = {t._node: t for t in tensors if t._node.value is None}
        for node in reversed(held):
            live.setdefault(node, held[node])
        budget = _CHECK_EVERY
        if live:
            state.flushes += 1
            nodes = list(live)
            buffers = compute(nodes)
            for node, buffer in zip(nodes, buffers, strict=True):
                settle(node, buffer)
                node.extra = weakref.ref(live[node])


def settle(node: Node, buffer: Buffer) -> None:
    """Make `node` a leaf with a value; its inputs are kept only where a gradient may still flow through it."""
    node.value = buffer
    keeps = node.flags & TRACED or (node.flags & REQUIRES_GRAD and any(i.flags & REQUIRES_GRAD for i in node.inputs))
    if not keeps:
        node.prim, node.inputs, node.params = DATA, (), EMPTY


def has_value(node: Node) -> bool:
    """Whether a node is computed (constants count)."""
    return node.value is not None


def compute(outputs: Sequence[Node]) -> list[Buffer]:
    """Run the program of `outputs`; returns their buffers."""
    key, leaves, constants = signature(outputs)
    structure = _structures.pop(key, None)
    values = tuple([c.value for c in constants])
    if structure is None:
        structure = _Structure(values)
        if len(_structures) >= _MOST_STRUCTURES:
            del _structures[next(iter(_structures))]
    _structures[key] = structure
    if structure.sizes is None:
        structure.count += 1
        if structure.count == 1 and (found := units.run(outputs)) is not None:
            return found
        _choose_tier(structure, outputs, constants)
    if values != structure.constants:
        changed = {k for k, (a, b) in enumerate(zip(values, structure.constants, strict=True)) if a != b}
        if changed - structure.dynamic:
            structure.dynamic |= changed
            structure.programs.clear()
    static = tuple([v for k, v in enumerate(values) if k not in structure.dynamic])
    program = structure.programs.get((static, str(static), structure.sizes))
    dynamic = [constants[k] for k in sorted(structure.dynamic)]
    if program is None:
        program = _program(outputs, leaves, dynamic, structure.sizes)
        structure.programs[static, str(static), structure.sizes] = program
    return program.run([leaf.value for leaf in leaves] + [scalar_buffer(c) for c in dynamic])


def _choose_tier(structure: _Structure, outputs: Sequence[Node], constants: Sequence[Node]) -> None:
    """Let a structure that came back, or is one more version of a known one, run as a fused program from now on."""
    key, numbers = family(outputs)
    kin = _families.pop(key, None)
    if kin is None:
        kin = Family()
        if len(_families) >= _MOST_FAMILIES:
            del _families[next(iter(_families))]
    _families[key] = kin
    kin.versions += structure.count == 1
    if structure.count > 1 or kin.versions >= _FUSED_FROM:
        structure.sizes = kin.sizes
        changing = set(kin.observe(numbers))
        structure.dynamic |= {k for k, c in enumerate(constants) if c in changing}


def _program(
    outputs: Sequence[Node], leaves: Sequence[Node], dynamic: Sequence[Node], sizes: Sizes | None
) -> Executable:  # fmt: skip
    if dynamic:
        stand_ins = [placeholder(c.aval) for c in dynamic]
        outputs = replace_constants(outputs, dict(zip(dynamic, stand_ins, strict=True)))
        leaves = [*leaves, *stand_ins]
    program = Executable(compile_nodes(outputs, leaves, sizes is not None, sizes))
    program.plan.forget_sources()
    return program


def replace_constants(outputs: Sequence[Node], replacement: dict[Node, Node]) -> list[Node]:
    """Return pending `outputs` with constants, which nothing computed holds, replaced."""
    computed = {n: n for n in toposort(outputs, has_value) if n.value is not None}
    return substitute(outputs, {**computed, **replacement})


def signature(outputs: Sequence[Node]) -> tuple[Any, list[Node], list[Node]]:
    """Return a hashable structure of the pending nodes, their computed leaves and their constants, in order."""
    number: dict[Node, int] = {}
    rows: list[Any] = []
    leaves: list[Node] = []
    constants: list[Node] = []
    stack: list[Node | None] = list(outputs)[::-1]
    while stack:  # as `toposort`, written out: every flush of eager code passes here
        node = stack.pop()
        if node is None:
            node = stack.pop()
            assert node is not None
            number[node] = len(rows)
            rows.append((node.prim, node.params, tuple([number[i] for i in node.inputs])))
        elif node not in number:
            number[node] = len(rows)
            if node.value is None and node.inputs:
                stack += (node, None, *node.inputs[::-1])
            elif node.prim is CONSTANT:
                constants.append(node)
                rows.append(node.aval)
            elif node.value is not None:
                leaves.append(node)
                rows.append((node.aval,))
            else:
                rows.append((node.prim, node.params, ()))
    rows.append(tuple([number[o] for o in outputs]))
    return tuple(rows), leaves, constants


def sync() -> None:
    """Compute everything pending and wait for it, as before a measurement of time.

    Example:
        >>> x = plait.ones(1000) * 2
        >>> plait.sync()
    """
    flush()

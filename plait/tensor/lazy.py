"""Laziness: recorded tensors wait here until a value is looked at; then everything pending runs as one program.

A structure seen for the first time runs operation by operation through shape-generic kernels; when it comes back it
is compiled as one fused program.
"""

from __future__ import annotations

import gc
import itertools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from plait.compiler.llvm.jit import building
from plait.compiler.pipeline import Plan, compile_nodes
from plait.compiler.sizes import Family, Sizes, family
from plait.core import journal
from plait.core.graph import (
    ABSTRACT,
    CONSTANT,
    DATA,
    EMPTY,
    PLACEHOLDER,
    REQUIRES_GRAD,
    TRACED,
    Node,
    is_leaf,
    placeholder,
    substitute,
    toposort,
    user_line,
)
from plait.core.recorder import compiling
from plait.runtime.buffer import Buffer
from plait.runtime.launch import Executable, lock
from plait.tensor import units
from plait.tensor.leaks import Stage, not_known
from plait.tensor.units import scalar_buffer

if TYPE_CHECKING:
    from plait.tensor.tensor import Tensor

NODE_BUDGET = 8192
BYTE_BUDGET = 1 << 30
_CHECK_EVERY = 256


def _own_references() -> int:
    probe = object()
    return sys.getrefcount(probe)


_OWN_REFERENCES = _own_references()  # the local variable and, before Python 3.14, the argument of getrefcount

VIEWED, HELD = 1, 2  # marks of a tensor: it has had views; a compiled function has its memory

pending: list[Tensor] = []
"""Handles recorded since the last flush."""

budget = _CHECK_EVERY
"""Length of `pending` at which `over_budget` is to be called."""

_lock = lock()  # one lock for recording's end and for running: two could be taken in either order

turn = threading.RLock()
"""Held while a function is staged: state shows placeholders then. Taken before the lock of running, if both are."""


class Claim:
    """Holds a lock until the end of a `with` block, or until `release`.

    A thread inside a running program, which is in a host callback, does not wait for it: the holder may be waiting
    for the program to end.
    """

    __slots__ = ("lock", "is_held")

    def __init__(self, claimed: Any) -> None:
        self.lock = claimed
        self.is_held = False

    def __enter__(self) -> Claim:
        self.is_held = self.lock.acquire(blocking=False) or not _lock._is_owned() and self.lock.acquire()  # type: ignore[attr-defined]
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others have the lock, before the block ends."""
        if self.is_held:
            self.is_held = False
            self.lock.release()


class Observer:
    """What a staged function does to the world; see `plait.tensor.jit`. As a transaction it tells `outer`, too."""

    outer: Observer | None = None

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

    def attribute_written(self, owner: Any, name: str) -> None:
        """A plain attribute of a module has got another value."""

    def looked(self, node: Node) -> bool:
        """Python looks at the value of `node`, which is not known; returns whether it is known from now on."""
        return False


class Checker:
    """What looks at every value that is computed, while debugging; see `plait.debug`."""

    def computed(self, outputs: Sequence[Node], leaves: Sequence[Node], buffers: list[Buffer]) -> None:
        """Eager code has computed `buffers`, the values of `outputs`, from `leaves`."""

    def executable(
        self, outputs: Sequence[Node], leaves: Sequence[Node], plan: Plan, donated: dict[int, int]
    ) -> Executable:  # fmt: skip
        """Return the program of a compiled function."""
        raise NotImplementedError


_observer: ContextVar[Observer | None] = ContextVar("plait.observer", default=None)
_transaction: ContextVar[Observer | None] = ContextVar("plait.transaction", default=None)
observing = _observer.get
"""Returns `state.observer`, in less time."""


_epochs = itertools.count(1)


class State:
    """`observer` watches while a function is staged; `epoch` counts changes to state that compiled functions hold.

    `transaction` notes what is written while a function runs that may have to be undone. These two belong to the
    running thread or asyncio task. `checker` looks at what is computed. `invariant` is how many threads are inside
    `batch_invariant`: any thread may compute what those recorded.
    """

    __slots__ = ("epoch", "flushes", "checker", "invariant")

    def __init__(self) -> None:
        self.checker: Checker | None = None
        self.epoch = 0
        self.flushes = 0
        self.invariant = 0

    def changed(self) -> None:
        """Begin another epoch; no two threads begin the same one."""
        self.epoch = next(_epochs)

    @property
    def observer(self) -> Observer | None:
        """What watches the function that is being staged."""
        return observing()

    @observer.setter
    def observer(self, value: Observer | None) -> None:
        _observer.set(value)

    @property
    def transaction(self) -> Observer | None:
        """What notes writes."""
        return _transaction.get()

    @transaction.setter
    def transaction(self, value: Observer | None) -> None:
        _transaction.set(value)


state = State()


def written(tensor: Tensor, old: Node) -> None:
    """Called before the node of a handle is replaced by a write."""
    if (observer := observing()) is not None:
        observer.written(tensor, old)
    if (transaction := _transaction.get()) is not None:
        transaction.written(tensor, old)
    if tensor._marks & HELD:
        state.changed()


def viewed(base: Tensor) -> None:
    """Called when a view of `base` is made."""
    if not base._marks & VIEWED:
        base._marks |= VIEWED
        if base._marks & HELD:
            state.changed()


def hold(tensors: Iterable[Tensor]) -> None:
    """Note that a compiled function holds the memory of tensors: a write to one changes `state.epoch`."""
    for tensor in tensors:
        tensor._marks |= HELD


def grad_read(tensor: Tensor) -> None:
    """Called before `tensor.grad` is looked at."""
    if (observer := observing()) is not None:
        observer.grad_read(tensor)


def grad_written(tensor: Tensor) -> None:
    """Called before `tensor.grad` is replaced."""
    if (observer := observing()) is not None:
        observer.grad_written(tensor)
    if (transaction := _transaction.get()) is not None:
        transaction.grad_written(tensor)
    if tensor._marks & HELD:
        state.changed()


@contextmanager
def staged(
    transform: str, function: Callable[..., Any], holders: Sequence[Node], arguments: Sequence[str] = ()
) -> Iterator[None]:  # fmt: skip
    """A context in which `transform` runs `function` on placeholders, after which they never get a value."""
    stage, begin = Stage(transform, function, holders, arguments), len(pending)
    try:
        yield
    finally:
        stage.end(pending[min(begin, len(pending)) :])


_held_over_fork: list[Claim] = []


def _before_fork() -> None:
    claim = Claim(turn)
    claim.__enter__()
    _held_over_fork.append(claim)
    _lock.acquire()
    building.acquire()


def _after_fork_in_parent() -> None:
    building.release()
    _lock.release()
    _held_over_fork.pop().release()


def _after_fork_in_child() -> None:
    _held_over_fork.clear()
    for held in (turn, _lock, building):
        held._at_fork_reinit()  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):  # nothing runs, is staged or is compiled while memory is copied
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def over_budget() -> None:
    """Flush when too many nodes or bytes are pending; called each time `pending` reaches `budget`."""
    global budget
    if observing() is not None:  # nothing is computed while a function is staged
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
    if observing() is not None and (node.value is None or node.extra is not None) and not look(node):
        raise not_known(node)
    found = node.value
    if type(found) is Buffer:
        return found
    if node.prim is CONSTANT:
        if node.extra is None:
            node.extra = scalar_buffer(node)
        result: Buffer = node.extra
        return result
    if node.flags & ABSTRACT and not look(node):
        raise not_known(node)
    flush(tensor)
    computed: Buffer = tensor._node.value
    return computed


def look(node: Node) -> bool:
    """Ask for the value of a node of a staged function: returns whether staging has ended, so that it can be known."""
    if (observer := observing()) is not None:
        return observer.looked(node)
    return settle_flags([node])


def settle_flags(nodes: Sequence[Node]) -> bool:
    """Unmark what no placeholder is below of: staging has ended. Returns whether that is so for all `nodes`."""
    for n in toposort(nodes, has_value):
        if n.prim is not PLACEHOLDER and not any(i.flags & ABSTRACT for i in n.inputs):
            n.flags &= ~ABSTRACT
    return not any(n.flags & ABSTRACT for n in nodes)


class _Key:
    """What `signature` returns as a key; its hash is computed once."""

    __slots__ = ("rows", "hash")

    def __init__(self, rows: Any) -> None:
        self.rows, self.hash = rows, hash(rows)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: Any) -> bool:
        return bool(self.hash == other.hash and self.rows == other.rows)


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
    with Claim(turn), _lock:
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
            collects = gc.isenabled()
            gc.disable()  # what is allocated while the structure is looked up is freed at once
            try:
                buffers = compute(nodes)
            except KeyboardInterrupt:
                pending.extend([t for t in live.values() if t._version])  # state goes on to have a value
                raise
            finally:
                if collects:
                    gc.enable()
            for node, buffer in zip(nodes, buffers, strict=True):
                settle(node, buffer)
                tensor = live[node]
                if not (node.flags & REQUIRES_GRAD and isinstance(node.extra, weakref.ref)):  # a leaf keeps its owner
                    node.extra = weakref.ref(tensor)
                if tensor._node is not node and tensor._node.value is None:  # another thread wrote it meanwhile
                    pending.append(tensor)


def forget(nodes: Container[Node] = ()) -> None:
    """Let what depends on placeholders, and `nodes`, no longer wait to be computed; other threads may be recording."""
    with _lock:
        count = len(pending)
        pending[:count] = [t for t in pending[:count] if not t._node.flags & ABSTRACT and t._node not in nodes]


def count_invariant(change: int) -> None:
    """Note that a thread entered `batch_invariant`, or left it."""
    with _lock:
        state.invariant += change


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
    rows, leaves, constants = signature(outputs)
    key = _Key((rows,) if state.invariant else rows)
    structure = _structures.pop(key, None)
    values = tuple([c.value for c in constants])
    if structure is None:
        structure = _Structure(values)
        if len(_structures) >= _MOST_STRUCTURES:
            del _structures[next(iter(_structures))]
    _structures[key] = structure
    if structure.sizes is None:
        structure.count += 1
        is_plain = structure.count == 1 and not state.invariant and state.checker is None
        if is_plain and (found := units.run(outputs)) is not None:
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
    buffers = program.run([leaf.value for leaf in leaves] + [scalar_buffer(c) for c in dynamic])
    if state.checker is not None:
        state.checker.computed(outputs, leaves, buffers)
    return buffers


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
    changing = set(kin.observe(numbers))
    is_known = kin.versions >= _FUSED_FROM and any(_is_made_of_several(o) for o in outputs)
    if structure.count > 1 or is_known or state.invariant:
        structure.sizes = kin.sizes
        structure.dynamic |= {k for k, c in enumerate(constants) if c in changing}


def _is_made_of_several(node: Node) -> bool:
    """Whether there is something to fuse: a single operation runs no faster by itself."""
    return node.prim.kind == "expand" or any(not is_leaf(i) for i in node.inputs)


def _program(
    outputs: Sequence[Node], leaves: Sequence[Node], dynamic: Sequence[Node], sizes: Sizes | None
) -> Executable:  # fmt: skip
    tier, reason = ("generic", "seen for the first time") if sizes is None else ("fused", "seen before")
    changing = [f"{len(dynamic)} numbers that change became inputs"] if dynamic else []
    with journal.compilation("eager", tier, source(), [reason, *changing], "plan"):
        return _compiled(outputs, leaves, dynamic, sizes)


def source() -> str:
    """The user's line that runs, as `file:line`."""
    file, line = user_line()
    return f"{file}:{line}"


def _compiled(
    outputs: Sequence[Node], leaves: Sequence[Node], dynamic: Sequence[Node], sizes: Sizes | None
) -> Executable:  # fmt: skip
    if dynamic:
        stand_ins = [placeholder(c.aval) for c in dynamic]
        outputs = replace_constants(outputs, dict(zip(dynamic, stand_ins, strict=True)))
        leaves = [*leaves, *stand_ins]
    with compiling(state.invariant > 0):
        return Executable(compile_nodes(outputs, leaves, sizes is not None, sizes))


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

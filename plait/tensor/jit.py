"""jit: a function staged once, compiled as one program, with the state it reads and writes found by itself."""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
import warnings
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from plait.compiler.pipeline import compile_nodes
from plait.compiler.sizes import Family, family
from plait.core import tree
from plait.core.errors import PerformanceWarning, check_function, message
from plait.core.graph import (
    ABSTRACT,
    CONSTANT,
    DATA,
    EMPTY,
    FREED,
    PLACEHOLDER,
    REQUIRES_GRAD,
    TRACED,
    Node,
    leaf,
    placeholder,
    rebuild,
    recorder,
    toposort,
)
from plait.runtime.buffer import Buffer, allocate
from plait.runtime.launch import Executable, lock
from plait.tensor import lazy
from plait.tensor.autograd import Function
from plait.tensor.names import Names
from plait.tensor.staging import Staging
from plait.tensor.tensor import Parameter, Tensor, node_of, to_node, wrap, write

_new = object.__new__


class _Entry:
    """One compiled version of a function: for one signature of arguments and one state of its guards."""

    def __init__(
        self, function: Function, leaves: Sequence[Any], treedef: Any, slots: Sequence[int], strict: bool,
        families: dict[Any, Family],
    ) -> None:  # fmt: skip
        outer = lazy.state.observer
        self.function, self.treedef, self.families = function, treedef, families
        self.names = Names(function)
        holders = [placeholder(node_of(leaves[k]).aval) for k in slots]
        handles = [wrap(h) for h in holders]
        staging = lazy.state.observer = Staging(handles, [leaves[k] for k in slots], strict)
        new = list(leaves)
        for k, handle in zip(slots, handles, strict=True):
            new[k] = handle
        is_whole = False
        try:
            args, kwargs = tree.unflatten(treedef, new)
            result = function(*args, **kwargs)
            self.written = [k for k, h in zip(slots, holders, strict=True) if node_of(new[k]) is not h]
            if staging.split is None:
                self.collect((result, [new[k] for k in self.written]) if self.written else result)
            is_whole = True
        finally:
            lazy.state.observer, lazy.state.transaction = outer, None
            written = {k: (t, t._node) for k, (t, _) in staging.writes.items()}
            gradients = {k: (t, t._grad) for k, (t, _) in staging.gradients.items()}
            if staging.split is None or not is_whole:
                staging.restore()
            lazy.pending[:] = [t for t in lazy.pending if not t._node.flags & ABSTRACT]
        self.split = staging.split
        self.arguments = [v for v in leaves if not isinstance(v, Tensor) or type(v) is Parameter]  # keys hold their ids
        self.epoch = self.flushes = -1
        if self.split is None:
            self.build(holders, staging, written, gradients)
            return
        self.guards, self.gradient_guards = [], []
        self.first = result
        for k in self.written:
            write(leaves[k], node_of(new[k]))

    def collect(self, result: Any) -> None:
        leaves, self.out_tree = tree.flatten(result)
        self.template = [None if isinstance(v, Tensor) else v for v in leaves]
        self.returned = [k for k, v in enumerate(leaves) if isinstance(v, Tensor)]
        self.out_nodes = [node_of(leaves[k]) for k in self.returned]

    def build(self, holders: list[Node], staging: Staging, written: Any, gradients: Any) -> None:
        """Turn what was staged into a program: arguments and captured values in, results and new state out."""
        self.guards = list(staging.attribute_guards.values())
        self.gradient_guards = staging.gradient_guards
        changed = [
            (t, new) for k, (t, new) in written.items()
            if not staging.is_new(t, staging.writes[k][1]) and new is not staging.writes[k][1] and t._base is None
        ]  # fmt: skip
        present = [(t, g) for t, g in gradients.values() if g is not None]
        fresh = [(t, g) for t, g in present if staging.is_new(g, g._node)]
        self.cleared = [t for t, g in gradients.values() if g is None]
        self.gradient_of = {id(g): t for t, g in self.gradient_guards if g is not None}
        kept = [(t, g) for t, g in present if not staging.is_new(g, g._node)]
        self.kept_gradients = [(t, g) for t, g in kept if self.gradient_of.get(id(g)) is not t]
        self.changed = {t: None for t, _ in changed}
        self.fresh = [t for t, _ in fresh]
        outputs = [*self.out_nodes, *[n for _, n in changed], *[node_of(g) for _, g in fresh]]
        captured = [n for n in toposort(outputs, lazy.has_value) if n.value is not None and n.prim is not CONSTANT]
        self.cells = [_owner(n) for n in captured]
        self.gradient_buffers = [allocate(t.aval.nbytes) for t in self.fresh]
        self.inline = any(n.flags & (REQUIRES_GRAD | TRACED) for n in self.out_nodes)
        self.program: Executable | None = None
        if self.inline:
            stand_ins = [leaf(PLACEHOLDER, n.aval, None, n.flags | ABSTRACT) for n in captured]
            self.staged = replay(outputs, dict(zip(captured, stand_ins, strict=True)))
            self.holders, self.captured, self.stand_ins = holders, captured, stand_ins
        else:
            self.compile(outputs, holders, captured)
        self.is_visible = False
        self.viewed: list[Tensor] = []
        self.buffers: list[Buffer] = []
        self.gradient_handles: dict[Tensor, Tensor] = {}
        held = [*self.cells, *self.changed, *self.fresh, *[t for t, _ in self.gradient_guards]]
        lazy.state.cells.update(id(c) for c in held if c is not None)

    def compile(self, outputs: list[Node], holders: list[Node], captured: list[Node]) -> None:
        """Compile; new state takes over the memory of the old."""
        cells = {id(c): len(holders) + k for k, c in enumerate(self.cells) if c is not None}
        leaves = [*holders, *captured]
        key, numbers = family(outputs)
        kin = self.families.setdefault(key, Family())
        dynamic = kin.observe(numbers)
        stand_ins = {c: placeholder(c.aval) for c in dynamic}
        donated: dict[int, int] = {}
        for k, t in enumerate(self.changed, len(self.out_nodes)):
            if id(t) not in cells:
                cells[id(t)] = len(leaves)
                leaves.append(placeholder(t.aval))
                self.cells.append(t)
            donated[k] = cells[id(t)]
        self.constants = [n.value if c is None else None for c, n in zip(self.cells, captured, strict=False)]
        self.constants += [None] * (len(self.cells) - len(captured)) + [lazy.scalar_buffer(c) for c in dynamic]
        self.cells += [None] * len(dynamic)
        leaves += stand_ins.values()
        for k, t in enumerate(self.fresh, len(self.out_nodes) + len(self.changed)):
            donated[k] = len(leaves)
            leaves.append(placeholder(t.aval))
        if dynamic:
            outputs = lazy.replace_constants(outputs, stand_ins)
        self.program = Executable(compile_nodes(outputs, leaves, sizes=kin.sizes), donated)
        # From here on no node of the graph is held: it would keep old values alive, and `_own_memory` counts holders.
        self.program.plan.forget_sources()
        self.out_nodes = [_leaf(None, n) for n in self.out_nodes]

    # running
    def matches(self) -> bool:
        """Whether attributes and gradients that steered the staging are as they were."""
        return (
            self.split is not None
            or all(getattr(owner, name) == value for owner, name, value in self.guards)
            and all((t._grad is None) == (g is None) for t, g in self.gradient_guards)
        )

    def bind(self) -> None:
        """Look up the memory of all captured state again, after some of it changed."""
        lazy.flush()
        buffers = []
        for c, constant in zip(self.cells, self.constants, strict=True):
            if c is None:
                assert constant is not None
                buffers.append(constant)
                continue
            cell = self.current(c)
            if node_of(cell).value is None:
                lazy.flush(cell)
            buffers.append(_own_memory(cell) if c in self.changed else lazy.value(cell))
        self.buffers = [*buffers, *self.gradient_buffers]
        self.viewed = [t for t in map(self.current, self.changed) if id(t) in lazy.state.viewed]
        self.is_visible = False
        self.epoch, self.flushes = lazy.state.epoch, lazy.state.flushes

    def current(self, cell: Tensor) -> Tensor:
        """The tensor that a captured one stands for: what was a gradient is that which its parameter has now."""
        owner = self.gradient_of.get(id(cell))
        gradient = cell if owner is None else owner._grad
        if gradient is None or gradient is cell:
            return cell
        lazy.state.cells.add(id(gradient))
        return gradient

    def run(self, leaves: Sequence[Any], slots: Sequence[int]) -> Any:
        """Run on new arguments; returns the results in the structure that the function returned."""
        if self.split is not None:
            return self.run_parts(leaves)
        found = self.run_inline(leaves, slots) if self.inline else self.run_program(leaves, slots)
        if not self.written:
            return found
        result, values = found
        for k, value in zip(self.written, values, strict=True):
            write(leaves[k], node_of(value))
        return result

    def run_parts(self, leaves: Sequence[Any]) -> Any:
        """Run the function as eager code, which is compiled in parts; if it raises, what it wrote is undone."""
        args, kwargs = tree.unflatten(self.treedef, leaves)
        if lazy.state.transaction is not None:
            return self.function(*args, **kwargs)
        staging = lazy.state.transaction = Staging()
        try:
            return self.function(*args, **kwargs)
        except BaseException:
            lazy.state.transaction = None
            staging.restore()
            raise
        finally:
            lazy.state.transaction = None

    def run_program(self, leaves: Sequence[Any], slots: Sequence[int]) -> Any:
        """Run the compiled program."""
        program = self.program
        assert program is not None
        if lazy.pending:
            lazy.flush()
        arguments = [lazy.value(leaves[k]) for k in slots]
        with lock():
            if self.epoch != lazy.state.epoch or self.flushes != lazy.state.flushes:
                self.bind()
                program.set_inputs(self.buffers, len(slots))
            table = program.program.table
            for s, argument in zip(program.inputs, arguments, strict=False):
                table[s] = argument.address
            results = program.run_prepared()
        self.finish()
        count = len(self.returned)
        tensors = [_computed(b, n) for b, n in zip(results[:count], self.out_nodes, strict=True)]
        if count == 1 and len(self.template) == 1 and not self.out_tree.children:
            return tensors[0]
        values = list(self.template)
        for k, t in zip(self.returned, tensors, strict=True):
            values[k] = t
        return tree.unflatten(self.out_tree, values)

    def finish(self) -> None:
        """Make the new state visible: written cells share their memory already; gradients get their handles."""
        for t in self.viewed:
            t._version += 1
        if self.is_visible:
            return
        for t in self.cleared:
            t._grad = None
        for t, g in self.kept_gradients:
            t._grad = g
        for t, buffer in zip(self.fresh, self.gradient_buffers, strict=True):
            handle = self.gradient_handles.get(t)
            if handle is None or handle._node.value is not buffer:
                handle = self.gradient_handles[t] = _computed(buffer, t._node)
                lazy.state.cells.add(id(handle))
            if t._grad is not handle:
                t._grad = handle
                lazy.state.epoch += 1  # others may add to this gradient
        self.is_visible = True
        if self.gradient_guards and (self.fresh or self.cleared):
            lazy.state.epoch += 1  # the next call may need another version

    def run_inline(self, leaves: Sequence[Any], slots: Sequence[int]) -> Any:
        """Record the staged operations on the arguments, so that gradients flow through them."""
        replacement: dict[Node, Node] = {h: node_of(leaves[k]) for h, k in zip(self.holders, slots, strict=True)}
        for c, n, s in zip(self.cells, self.captured, self.stand_ins, strict=True):
            replacement[s] = n if c is None else node_of(self.current(c))
        found = replay(self.staged, replacement)
        count = len(self.returned)
        for t, node in zip(map(self.current, self.changed), found[count:], strict=False):
            lazy.written(t, t._node)
            t._version += 1
            t._node = node
            if node.flags & REQUIRES_GRAD:
                node.extra = weakref.ref(t)
            lazy.pending.append(t)
        for t, node in zip(self.fresh, found[count + len(self.changed) :], strict=True):
            t.grad = wrap(node)
        values = list(self.template)
        for k, node in zip(self.returned, found, strict=False):
            values[k] = wrap(node)
        return tree.unflatten(self.out_tree, values)


def replay(outputs: Sequence[Node], replacement: dict[Node, Node]) -> list[Node]:
    """Record `outputs` anew with some nodes replaced; where gradients flowed they flow again, and nowhere else."""
    result = dict(replacement)
    for node in toposort(outputs, result.__contains__):
        if node not in result and not node.inputs:
            result[node] = node
        elif node not in result:
            made = rebuild(node, tuple([result[i] for i in node.inputs]))
            if made is not node:
                made.flags = made.flags & ~_HISTORY | node.flags & _HISTORY
            result[node] = made
    return [result[o] for o in outputs]


_HISTORY = REQUIRES_GRAD | FREED


def _owner(node: Node) -> Tensor | None:
    """The handle whose value a captured leaf is, if it is still that."""
    tensor = node.extra() if isinstance(node.extra, weakref.ref) else None
    return tensor if tensor is not None and tensor._node is node else None


_OWN_REFERENCES = 2  # the handle, and the argument of getrefcount


def _own_memory(cell: Tensor) -> Buffer:
    """The memory of a cell about to be overwritten: copied first if a recorded history still needs the old value."""
    buffer: Buffer = lazy.value(cell)
    if cell._node.prim is CONSTANT or sys.getrefcount(cell._node) > _OWN_REFERENCES:
        own = allocate(buffer.nbytes)
        ctypes.memmove(own.address, buffer.address, buffer.nbytes)
        node = _leaf(own, cell._node)
        node.flags = cell._node.flags
        node.extra = weakref.ref(cell)
        cell._node = node
        lazy.state.epoch += 1  # other compiled functions hold the old memory
        return own
    return buffer


def _leaf(buffer: Buffer | None, like: Node) -> Node:
    node = _new(Node)
    node.prim, node.inputs, node.params, node.aval = DATA, (), EMPTY, like.aval
    node.value, node.flags, node.extra, node.code, node.instruction = buffer, 0, None, like.code, like.instruction
    return node


def _computed(buffer: Buffer, like: Node) -> Tensor:
    """A handle of a value just computed."""
    node = _leaf(buffer, like)
    tensor = wrap(node)
    node.extra = weakref.ref(tensor)
    return tensor


class Jitted:
    """A compiled function; see `jit`."""

    def __init__(self, function: Function, strict: bool = False) -> None:
        functools.update_wrapper(self, function)
        self.function, self.strict = function, strict
        self._split_lines: set[tuple[str, int]] = set()
        self._entries: dict[Any, list[_Entry]] = {}
        self._families: dict[Any, Family] = {}
        self._lock = threading.RLock()

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        whole = any(type(a) is not Tensor and is_object(a) for a in args)  # models are state, not trees of inputs
        leaves, treedef = tree.flatten((args, kwargs), is_object if whole else None)
        signature: list[Any] = [treedef]
        slots = []
        for k, v in enumerate(leaves):
            if isinstance(v, np.ndarray):
                v = leaves[k] = wrap(to_node(v, None))
            if isinstance(v, Tensor) and type(v) is not Parameter:
                node = node_of(v)
                if node.flags & (ABSTRACT | TRACED | REQUIRES_GRAD):
                    return self.function(*args, **kwargs)  # part of an outer transform or history: record in place
                slots.append(k)
                signature.append(node.aval)
            else:
                signature.append((type(v), _static(v)))
        if lazy.state.observer is not None:
            return self.function(*args, **kwargs)
        key = (tuple(signature), bool(_grad_mode()), recorder.mode)
        entries = self._entries.get(key)
        if entries is not None:
            for entry in entries:
                if (entry.epoch == lazy.state.epoch or entry.matches()) and entry.names.hold():
                    return entry.run(leaves, slots)
        with self._lock:
            lazy.flush(*[leaves[k] for k in slots])
            entry = _Entry(self.function, leaves, treedef, slots, self.strict, self._families)
            self._entries.setdefault(key, []).append(entry)
        if entry.split is None:
            return entry.run(leaves, slots)
        self._warn(entry.split)
        first, entry.first = entry.first, None
        return first

    def _warn(self, line: tuple[str, int]) -> None:
        if line in self._split_lines:
            return
        self._split_lines.add(line)
        name = getattr(self.function, "__name__", "the function")
        text = message(
            f"{name} is compiled in parts: its Python code looks at the value of a tensor here, so it runs each time",
            "a look at the value (bool, int, float, item, numpy)",
            "only operations on tensors, for one program without Python",
            "use plait.where or plait.cond instead of `if`, or pass the value as a static argument; "
            "plait.jit(strict=True) makes this an error",
        )
        warnings.warn_explicit(text, PerformanceWarning, *line)


def _grad_mode() -> int:
    return recorder.mask & REQUIRES_GRAD


def is_object(value: Any) -> bool:
    """Whether an argument is mutable state that keeps its identity, such as a model, though it is a pytree too."""
    return getattr(value, "is_mutable_tree", False) is True


def _static(value: Any) -> Any:
    """A static argument as a hashable key: by structure where it can be hashed, else by identity."""
    if isinstance(value, Parameter):
        return id(value)
    try:
        hash(value)
    except TypeError:
        return id(value)
    return (value, str(value)) if isinstance(value, float) else value


def jit(function: Function | None = None, *, strict: bool = False) -> Any:
    """Compile a function: it is recorded once for each signature of its arguments and then runs as one native call.

    Tensors among the arguments are inputs; models, parameters and all else are static, compared by identity or
    value. Tensors that the function reads from outside (parameters, buffers, optimizer state, random generators)
    are found by themselves, and those that it writes are updated in place. Under another transform the function is
    recorded in place.

    Where Python looks at the value of a tensor, as in `if x > 0`, the function is split: what was recorded so far is
    compiled and runs, Python goes on, and what follows is compiled for each path that is taken.

    Args:
        function: any function of pytrees; without one, a decorator is returned.
        strict: whether a look at a value is an error.

    Raises:
        AbstractValueError: with `strict`, Python looks at the value of a tensor while the function is staged.

    Warns:
        PerformanceWarning: the function is split; the warning names the line, once.

    Example:
        >>> @plait.jit
        ... def f(x):
        ...     return plait.sin(x) * 2
        >>> f(plait.tensor(0.0))
        tensor(0.)
    """
    if function is None:
        return functools.partial(jit, strict=strict)
    check_function(function, "jit")
    return Jitted(function, strict)

"""jit: a function staged once, compiled as one program, with the state it reads and writes found by itself."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Any

import numpy as np

from plait.compiler.pipeline import compile_nodes
from plait.compiler.sizes import Family
from plait.core import journal, tree
from plait.core.aval import Aval, Dim
from plait.core.errors import PerformanceWarning, check_function, message
from plait.core.graph import ABSTRACT, REQUIRES_GRAD, TRACED, placeholder
from plait.core.locks import make_lock
from plait.core.recorder import in_force
from plait.inspect.explanation import Explanation, Version
from plait.inspect.stages import Stages
from plait.runtime.launch import Executable
from plait.tensor import lazy
from plait.tensor.autograd import Function
from plait.tensor.dims import Axes, check_dims, resized
from plait.tensor.invariance import batch_invariant
from plait.tensor.reasons import argument_names, reasons, signature_of
from plait.tensor.staged import Staged
from plait.tensor.tensor import Parameter, Tensor, node_of, to_node, wrap
from plait.tensor.views import is_leaf

_MOST_SIGNATURES = 1024  # the first of more are let go of


class Jitted:
    """A compiled function; see `jit`."""

    def __init__(
        self, function: Function, strict: bool = False, batch_invariant: bool = False, dims: Any = None,
        specialize: bool = False,
    ) -> None:  # fmt: skip
        self.__name__ = type(function).__name__  # where the function has no name of its own
        is_plain = isinstance(function, FunctionType)  # attributes of objects, such as modules, could hide methods
        functools.update_wrapper(self, function, updated=functools.WRAPPER_UPDATES if is_plain else ())
        self.function, self.strict, self.batch_invariant = function, strict, batch_invariant
        self._dims, self._specialize = check_dims(dims or {}), specialize
        self._split_lines: set[tuple[str, int]] = set()
        self._entries: dict[Any, list[Staged]] = {}
        self._families: dict[Any, Family] = {}
        self._axes: dict[Any, Axes] = {}
        self._lock = make_lock()

    def explain(self) -> Explanation:
        """Return what was compiled, why, and what each version does; print it, or `save_html` it.

        Example:
            >>> f = plait.jit(lambda x: plait.tanh(x) * 2)
            >>> f(plait.ones(3)), f(plait.ones(4))
            (tensor([1.5232, 1.5232, 1.5232]), tensor([1.5232, 1.5232, 1.5232, 1.5232]))
            >>> f.explain().versions[1].reasons
            ('argument x: float32[3] -> float32[4]',)
        """
        versions = [
            Version(e.record, signature_of(self.function, key), e.split is None and e.inline, e.program)
            for key, entries in self._entries.items() for e in entries
        ]  # fmt: skip
        return Explanation(self.__name__, sorted(versions, key=lambda v: v.record.number))

    def stages(self, *args: Any, **kwargs: Any) -> Stages:
        """Return what the compiler makes of the function for these arguments, as text; nothing is run.

        Returns:
            The `graph` and the `simplified` graph as Python that `plait.core.printer.from_python` reads, and the
            `kernels`, each with its `loops`, its `llvm` and its `assembly`.

        Raises:
            AbstractValueError: the function looks at the value of a tensor.

        Example:
            >>> print(plait.jit(lambda x: plait.tanh(x) * 2).stages(plait.ones(3)).simplified)
            @staged("float32[3]")
            def graph(a):
                b = P.tanh(a)  # float32[3] ...
        """
        entry, _ = self._staged(args, kwargs, only_staged=True)
        return Stages(entry.staged, [*entry.holders, *entry.stand_ins])

    def planned(self, *args: Any, **kwargs: Any) -> tuple[Executable, list[str | Tensor | None]]:
        """Return the program for these arguments, which is not run, and what its first inputs are.

        Those are the names of arguments, then captured tensors, or None for what no tensor holds any more. Inputs
        after them are memory for new gradients.

        Raises:
            AbstractValueError: the function looks at the value of a tensor.
        """
        entry, names = self._staged(args, kwargs, only_staged=False)
        program = entry.program
        if program is None:
            program = Executable(compile_nodes(entry.staged, [*entry.holders, *entry.stand_ins]))
        return program, [*names, *entry.cells]

    def _staged(self, args: Any, kwargs: Any, only_staged: bool) -> tuple[Staged, list[str]]:
        """Stage for some arguments, not to be called; returns the names of those that are inputs, too."""
        leaves, treedef = tree.flatten((args, kwargs), is_object)
        leaves = [wrap(to_node(v, None)) if isinstance(v, np.ndarray) else v for v in leaves]
        slots = [k for k, v in enumerate(leaves) if isinstance(v, Tensor) and type(v) is not Parameter]
        lazy.flush(*[leaves[k] for k in slots])
        names = argument_names(self.function, treedef)
        entry = Staged(self.function, leaves, treedef, slots, True, {}, only_staged=only_staged)
        return entry, [names[k] for k in slots]

    def __reduce__(self) -> str:
        return str(self.__qualname__)  # as functions are pickled: by name

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.batch_invariant and not in_force().invariant:
            with batch_invariant():
                return self(*args, **kwargs)
        whole = any(type(a) is not Tensor and is_object(a) for a in args)  # models are state, not trees of inputs
        leaves, treedef = tree.flatten((args, kwargs), is_object if whole else None)
        signature: list[Any] = [treedef]
        slots: list[int] = []
        tracked: list[int] = []
        for k, v in enumerate(leaves):
            if isinstance(v, np.ndarray):
                v = leaves[k] = wrap(to_node(v, None))
            if isinstance(v, Tensor) and type(v) is not Parameter:
                node = node_of(v)
                if node.flags & (ABSTRACT | TRACED | REQUIRES_GRAD):
                    if node.flags & (ABSTRACT | TRACED) or is_leaf(node):
                        return self.function(*args, **kwargs)  # part of an outer transform: record in place
                    tracked.append(len(slots))
                slots.append(k)
                signature.append(node.aval)
            else:
                signature.append((type(v), _static(v)))
        if len(leaves) > 1 and len({*map(id, leaves)}) != len(leaves):
            same = {id(leaves[k]): k for k in slots}
            signature.append(tuple([same[id(leaves[k])] for k in slots]))
        if lazy.observing() is not None:
            return self.function(*args, **kwargs)
        state = in_force()
        mode = _invariant(state.mode) if state.invariant else state.mode
        has_gradients = bool(state.mask & REQUIRES_GRAD)
        key = (tuple(signature), _tracked(tuple(tracked)) if tracked and has_gradients else has_gradients, mode)
        entry = self._version(key)
        if entry is not None:
            return entry.run(leaves, slots)
        with lazy.Claim(self._lock) as own, lazy.Claim(lazy.turn) as turn:
            found = self._version(key)  # another thread may have made it meanwhile
            entry = found or self._stage(key, leaves, treedef, slots, (own, turn))
        if found is not None or entry.split is None:
            return entry.run(leaves, slots)
        self._warn(entry.split, entry.reason)
        first, entry.first = entry.first, None
        return first

    def _version(self, key: Any) -> Staged | None:
        """The version for a signature of arguments and the present state of what steered its staging, if any."""
        for entry in self._entries.get(key, ()):
            if (entry.epoch == lazy.state.epoch or entry.matches()) and entry.names.hold():
                return entry
        return None

    def _stage(
        self, key: Any, leaves: Sequence[Any], treedef: Any, slots: Sequence[int], claims: Sequence[lazy.Claim]
    ) -> Staged:  # fmt: skip
        lazy.flush(*[leaves[k] for k in slots])
        why = reasons(self.function, key, self._entries)
        families = {} if self._specialize else self._families
        with journal.compilation(self.__name__, "jit", lazy.source(), why, "stage") as record:
            self._rehearse(key, leaves, treedef, slots)
            entry = Staged(self.function, leaves, treedef, slots, self.strict, families, claims=claims)
            record.split = entry.split
        entry.record = record
        if len(self._entries) >= _MOST_SIGNATURES:
            self._entries.pop(next(iter(self._entries)), None)
        self._entries.setdefault(key, []).append(entry)
        return entry

    def _rehearse(self, key: Any, leaves: Sequence[Any], treedef: Any, slots: Sequence[int]) -> None:
        """Plan for other sizes first where that shows which sizes of a kernel change: those that were declared, and
        those that were 0 or 1 before, with which kernels of another structure were made.
        """
        avals = [node_of(leaves[k]).aval for k in slots]
        others = self._axes.setdefault(_without_sizes(key), Axes()).observe([a.shape for a in avals])
        if self._dims:
            names = argument_names(self.function, treedef)
            declared = resized(self._dims, [names[k] for k in slots], avals)
            others = None if self._entries else [a.shape for a in declared]
        if others is None or self._specialize:
            return
        new = list(leaves)
        for k, a, shape in zip(slots, avals, others, strict=True):
            new[k] = wrap(placeholder(a.with_shape(shape)))
        with contextlib.suppress(Exception):  # sizes that the function refuses, or a look at a value
            Staged(self.function, new, treedef, slots, True, self._families, only_planned=True)

    def _warn(self, line: tuple[str, int], reason: tuple[str, str, str]) -> None:
        if line in self._split_lines:
            return
        self._split_lines.add(line)
        name = getattr(self.function, "__name__", "the function")
        text = message(
            f"{name} is compiled in parts: its Python code {reason[0]} here, so it runs each time",
            reason[1],
            "only operations on tensors, for one program without Python",
            f"{reason[2]}; plait.jit(strict=True) makes this an error",
        )
        warnings.warn_explicit(text, PerformanceWarning, *line)


def _without_sizes(key: Any) -> Any:
    """The key of a version, but for the sizes of tensors and the values of numbers among the arguments."""
    rows: list[Any] = []
    for e in key[0]:
        is_number = isinstance(e, tuple) and e[0] in (int, float, complex)
        rows.append((e.dtype, e.ndim) if isinstance(e, Aval) else e[0] if is_number else e)
    return (tuple(rows), *key[1:])


@functools.cache
def _tracked(slots: tuple[int, ...]) -> str:
    """What stands in keys for gradients that flow on through some of the arguments."""
    return f"through the tensors {', '.join(map(str, slots))} among the arguments"


@functools.cache
def _invariant(mode: Any) -> Any:
    """What stands for a mode of recording in keys of batch-invariant versions."""
    return "batch invariant", mode


def is_object(value: Any) -> bool:
    """Whether an argument is mutable state that keeps its identity, such as a model, though it is a pytree too."""
    return getattr(value, "is_mutable_tree", False) is True


def _static(value: Any) -> Any:
    """A static argument as a hashable key: by structure where it can be hashed, else by identity."""
    if isinstance(value, Parameter):
        return id(value)
    if type(value) is set:
        return frozenset(value)
    try:
        hash(value)
    except TypeError:
        return id(value)
    return (value, str(value)) if isinstance(value, float) else value


def jit(
    function: Function | None = None, *, strict: bool = False, batch_invariant: bool = False,
    dims: Mapping[str, Sequence[Dim | None]] | None = None, specialize: bool = False,
) -> Any:  # fmt: skip
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
        batch_invariant: whether a row of a batch gets the same bits at any size of the batch; see
            `plait.batch_invariant`.
        dims: sizes that change, declared: for names of arguments a tuple with a `plait.Dim`, or None, for each axis.
            They are compiled for any size at once; otherwise that happens when a second size is seen.
        specialize: whether every size gets kernels of its own, always.

    Raises:
        ShapeError: a size is not what `dims` declares.
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
        return functools.partial(jit, strict=strict, batch_invariant=batch_invariant, dims=dims, specialize=specialize)
    check_function(function, "jit")
    return Jitted(function, strict, batch_invariant, dims, specialize)

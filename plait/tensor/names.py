"""The names that a function takes from outside: what they stand for when it is staged, and whether they still do."""

from __future__ import annotations

import dis
import functools
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from plait.core.graph import is_internal

UNBOUND = type("Unbound", (), {"__repr__": lambda self: "unbound"})()
_NUMBERS = (int, float, complex, str, bytes)


class Names:
    """Values of global and enclosing names that a staged function read; `hold` says whether they are the same.

    `readers` are the names of the cells, and the code that reads each of both.
    """

    __slots__ = ("globals", "cells", "readers")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.globals: list[tuple[dict[str, Any], str, Any]] = []
        self.cells: list[tuple[CellType, Any]] = []
        self.readers: dict[tuple[int, str], tuple[str, CodeType]] = {}
        self._collect(function, set())

    def hold(self) -> bool:
        """Whether every name stands for what it stood for."""
        for space, name, value in self.globals:
            found = space.get(name, self)
            if found is not value and not _is_equal(found, value):
                return False
        for cell, value in self.cells:
            try:
                found = cell.cell_contents
            except ValueError:
                return False
            if found is not value and not _is_equal(found, value):
                return False
        return True

    def changes(self) -> Iterator[tuple[str, str, Any, Any]]:
        """Yield (name, where it is read, old value, new value) of what stands for something else now."""
        for k, (space, name, value) in enumerate(self.globals):
            found = space.get(name, UNBOUND)
            if found is not value and not _is_equal(found, value):
                yield name, _line(self.readers[k, "global"][1], name), value, found
        for k, (cell, value) in enumerate(self.cells):
            try:
                found = cell.cell_contents
            except ValueError:
                found = UNBOUND
            if found is not value and not _is_equal(found, value):
                name, code = self.readers[k, "cell"]
                yield name, _line(code, name), value, found

    def _collect(self, function: Any, seen: set[int]) -> None:
        function = _plain(function)
        if id(function) in seen or not isinstance(function, FunctionType) or is_internal(function.__code__):
            return
        seen.add(id(function))
        read, written = _names(function.__code__)
        for name in read - written:
            if name in function.__globals__:
                self.readers[len(self.globals), "global"] = name, function.__code__
                self._watch(function.__globals__[name], seen, space=(function.__globals__, name))
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if name not in written:
                try:
                    value = cell.cell_contents
                except ValueError:
                    continue
                self.readers[len(self.cells), "cell"] = name, function.__code__
                self._watch(value, seen, cell=cell)

    def _watch(self, value: Any, seen: set[int], space: Any = None, cell: CellType | None = None) -> None:
        if isinstance(value, (ModuleType, type)):
            return
        if space is not None:
            self.globals.append((*space, value))
        else:
            assert cell is not None
            self.cells.append((cell, value))
        self._collect(value, seen)


def _line(code: CodeType, name: str) -> str:
    """The first line of some code that reads a name, as `file:line`."""
    for part in _codes(code):
        for instruction in dis.get_instructions(part):
            if instruction.argval == name and instruction.positions and instruction.positions.lineno:
                return f"{code.co_filename}:{instruction.positions.lineno}"
    return f"{code.co_filename}:{code.co_firstlineno}"


def _is_equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and isinstance(a, _NUMBERS) and a == b and str(a) == str(b)


def _plain(function: Any) -> Any:
    """The Python function behind methods, partial applications and wrappers."""
    while True:
        if isinstance(function, MethodType):
            function = function.__func__
        elif isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            return function


def _names(code: CodeType) -> tuple[set[str], set[str]]:
    """The names outside that code, and functions inside it, read and write."""
    read: set[str] = set()
    written: set[str] = set()
    for part in _codes(code):
        for instruction in dis.get_instructions(part):
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                read.add(instruction.argval)
            elif instruction.opname in ("STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF", "DELETE_DEREF"):
                written.add(instruction.argval)
    return read, written


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)

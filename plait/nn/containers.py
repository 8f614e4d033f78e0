"""Modules that hold modules or parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Self

from plait.core.errors import ArgumentTypeError, IndexOutOfRangeError, message
from plait.nn.module import Module
from plait.nn.parameter import Buffer
from plait.tensor.tensor import Parameter, Tensor

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


class _Numbered(Module):
    """What the containers with numbered members share."""

    def _position(self, index: Any) -> int:
        count = len(self._modules)
        if not hasattr(index, "__index__"):
            text = f"{type(self).__name__} is indexed by an integer or a slice"
            raise ArgumentTypeError(message(text, repr(index)))
        if not -count <= index.__index__() < count:
            text = f"{type(self).__name__} has {count} members"
            raise IndexOutOfRangeError(message(text, index, f"{-count} to {count - 1}"))
        return index.__index__() % count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._part(list(self._modules.items())[index])
        return getattr(self, list(self._modules)[self._position(index)])

    def __setitem__(self, index: int, module: Module) -> None:
        self.register_module(list(self._modules)[self._position(index)], module)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter([getattr(self, name) for name in self._modules])

    def append(self, module: Module) -> Self:
        """Add a module at the end; returns the container."""
        self.register_module(str(len(self._modules)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end; returns the container."""
        for module in modules:
            self.append(module)
        return self

    def _renumber(self, members: list[Any]) -> None:
        self._modules.clear()
        self.extend(members)
        self._changed()

    def __delitem__(self, index: Any) -> None:
        members = list(self._modules.values())
        del members[index if isinstance(index, slice) else self._position(index)]
        self._renumber(members)

    def __add__(self, other: Iterable[Module]) -> Self:
        return type(self)._of([*self, *other])

    def __iadd__(self, other: Iterable[Module]) -> Self:
        return self.extend(other)

    def insert(self, index: int, module: Module) -> Self:
        """Add a module before position `index`; returns the container."""
        members = list(self._modules.values())
        members.insert(index, module)
        self._renumber(members)
        return self

    def pop(self, key: Any) -> Any:
        """Take out and return the module at a position, or those of a slice."""
        found = self[key]
        del self[key]
        return found

    @classmethod
    def _of(cls, modules: Iterable[Module]) -> Self:
        return cls().extend(modules)

    def _part(self, items: list[tuple[str, Any]]) -> Self:
        return type(self)._of(module for _, module in items)


class Sequential(_Numbered):
    """Applies modules one after another.

    Args:
        modules: the modules, or one dict of them by name.

    Example:
        >>> plait.nn.Sequential(plait.nn.Linear(2, 3), plait.nn.ReLU())(plait.zeros(1, 2)).shape
        (1, 3)
    """

    def __init__(self, *modules: Any) -> None:
        is_named = len(modules) == 1 and isinstance(modules[0], Mapping)
        named = modules[0].items() if is_named else ((str(i), module) for i, module in enumerate(modules))
        for name, module in named:
            self.register_module(name, module)

    def _part(self, items: list[tuple[str, Any]]) -> Self:
        return type(self)(dict(items))

    def __mul__(self, count: int) -> Self:
        if not hasattr(count, "__index__") or count < 1:
            raise ArgumentTypeError(message("Sequential is repeated", repr(count), "an integer of at least 1"))
        return self._of([*self] * count)

    def __imul__(self, count: int) -> Self:
        return self.extend([*(self * count)][len(self) :])

    __rmul__ = __mul__

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input)
        return input


class ModuleList(_Numbered):
    """A list of modules whose parameters are found.

    Args:
        modules: the modules.

    Example:
        >>> layers = plait.nn.ModuleList([plait.nn.Linear(2, 2) for _ in range(3)])
        >>> len(layers)
        3
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        self.extend(modules or ())

    def _repr_members(self) -> list[str]:
        """Return what `repr` shows; members that look alike are shown once."""
        lines = []
        for text, group in groupby(enumerate(self), lambda numbered: repr(numbered[1])):
            numbers = [k for k, _ in group]
            first, count = numbers[0], len(numbers)
            label = f"({first}): " if count == 1 else f"({first}-{numbers[-1]}): {count} x "
            lines.append(label + text.replace("\n", "\n  "))
        return lines


def _pairs(members: Any, name: str) -> list[tuple[str, Any]]:
    """Return (key, member) pairs of a mapping, or pairs as they are."""
    if isinstance(members, (Mapping, ModuleDict, ParameterDict)):
        return list(members.items())
    pairs = [tuple(pair) if isinstance(pair, (tuple, list)) else (pair,) for pair in members]
    if any(len(pair) != 2 for pair in pairs):
        text = f"{name} is made of a mapping or of (name, member) pairs"
        raise ArgumentTypeError(message(text, type(members).__name__))
    return pairs


class ModuleDict(Module):
    """A dict of modules whose parameters are found.

    Args:
        modules: the modules by name.

    Example:
        >>> heads = plait.nn.ModuleDict({"a": plait.nn.Linear(2, 1), "b": plait.nn.Linear(2, 3)})
        >>> head = heads["b"]
        >>> head(plait.zeros(2)).shape
        (3,)
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        self.update(modules or {})

    def update(self, modules: Any) -> None:
        """Add or replace modules: those of a mapping, or of (name, module) pairs."""
        for name, module in _pairs(modules, "ModuleDict"):
            self.register_module(name, module)

    def clear(self) -> None:
        """Remove all modules."""
        self._modules.clear()
        self._changed()

    def pop(self, name: str) -> Any:
        """Take out and return a module."""
        module = self[name]
        del self[name]
        return module

    def __getitem__(self, name: str) -> Any:
        if name not in self._modules:
            raise KeyError(message("There is no such module", repr(name), ", ".join(self._modules)))
        return getattr(self, name)

    def __setitem__(self, name: str, module: Module) -> None:
        self.register_module(name, module)

    def __delitem__(self, name: str) -> None:
        delattr(self, name)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._modules))

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        """Return the modules."""
        return [self[name] for name in self]

    def items(self) -> Iterable[tuple[str, Module]]:
        """Return (name, module) pairs."""
        return [(name, self[name]) for name in self]


def _described(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"Object of type: {type(value).__name__}"
    kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
    return f"{kind} containing: [{value.dtype} of size {'x'.join(map(str, value.shape))}]"


def _as_member(value: Any) -> Any:
    """Return a tensor as a parameter; what is no tensor is held as it is."""
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, (Parameter, Buffer)) else value


class ParameterList(Module):
    """A list of parameters; other tensors become parameters, and other values are held as they are.

    Args:
        values: the parameters.

    Example:
        >>> weights = plait.nn.ParameterList([plait.ones(2), plait.zeros(3)])
        >>> [w.shape for w in weights], list(weights.state_dict())
        ([(2,), (3,)], ['0', '1'])
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        self._count = 0
        self.extend(values or ())

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def _key(self, index: Any) -> str:
        if not hasattr(index, "__index__"):
            raise ArgumentTypeError(message("ParameterList is indexed by an integer or a slice", repr(index)))
        if not -len(self) <= index.__index__() < len(self):
            text = f"ParameterList has {len(self)} members"
            raise IndexOutOfRangeError(message(text, index, f"{-len(self)} to {len(self) - 1}"))
        return str(index.__index__() % len(self))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)([self[k] for k in range(*index.indices(len(self)))])
        return getattr(self, self._key(index))

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, self._key(index), _as_member(value))

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self.extend(values)

    def append(self, value: Any) -> Self:
        """Add a parameter at the end; returns the list."""
        self._count += 1
        self[-1] = value
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        """Add parameters at the end; returns the list."""
        for value in values:
            self.append(value)
        return self

    def extra_repr(self) -> str:
        return "\n".join(f"  ({k}): {_described(value)}" for k, value in enumerate(self))


class ParameterDict(Module):
    """A dict of parameters; other tensors become parameters, and other values are held as they are.

    Args:
        parameters: the parameters by name, or (name, parameter) pairs.

    Example:
        >>> weights = plait.nn.ParameterDict({"a": plait.ones(2), "b": plait.zeros(3)})
        >>> weights["b"].shape, list(weights.state_dict())
        ((3,), ['a', 'b'])
    """

    def __init__(self, parameters: Any = None) -> None:
        self._names: tuple[str, ...] = ()
        self.update(parameters or {})

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(message("There is no such parameter", repr(name), ", ".join(self._names)))
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(name, str):
            raise ArgumentTypeError(message("The name of a parameter is a string", repr(name)))
        if name not in self._names:
            self._names = (*self._names, name)
        setattr(self, name, _as_member(value))

    def __delitem__(self, name: str) -> None:
        _ = self[name]
        delattr(self, name)
        self._names = tuple(n for n in self._names if n != name)

    def __or__(self, other: Any) -> ParameterDict:
        copy = self.copy()
        copy.update(other)
        return copy

    def __ror__(self, other: Any) -> ParameterDict:
        return ParameterDict(other) | self

    def __ior__(self, other: Any) -> Self:
        self.update(other)
        return self

    def update(self, parameters: Any) -> None:
        """Add or replace parameters: those of a mapping, or of (name, parameter) pairs."""
        for name, value in _pairs(parameters, "ParameterDict"):
            self[name] = value

    def copy(self) -> ParameterDict:
        """Return another dict of the same parameters."""
        return ParameterDict(self)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a parameter, or `default` where there is none."""
        return self[name] if name in self._names else default

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return a parameter; where there is none, add `default`."""
        if name not in self:
            self[name] = default
        return self[name]

    def pop(self, name: str) -> Any:
        """Take out and return a parameter."""
        value = self[name]
        del self[name]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Take out and return the last name and parameter."""
        name = self._names[-1]
        return name, self.pop(name)

    def clear(self) -> None:
        """Remove all parameters."""
        for name in self._names:
            del self[name]

    def fromkeys(self, names: Iterable[str], default: Any = None) -> ParameterDict:
        """Return a dict with `default` under each name."""
        return ParameterDict(dict.fromkeys(names, default))

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._names

    def values(self) -> Iterable[Any]:
        """Return the parameters."""
        return [self[name] for name in self]

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return (name, parameter) pairs."""
        return [(name, self[name]) for name in self]

    def extra_repr(self) -> str:
        return "\n".join(f"  ({name}): {_described(value)}" for name, value in self.items())

"""Modules that hold modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from plait.core.errors import ArgumentTypeError, IndexOutOfRangeError, message
from plait.nn.module import Module


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
            return type(self)._of(list(self._modules.values())[index])
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

    def __delitem__(self, index: Any) -> None:
        members = list(self._modules.values())
        del members[index if isinstance(index, slice) else self._position(index)]
        self._modules.clear()
        self.extend(members)
        self._changed()

    def insert(self, index: int, module: Module) -> None:
        """Add a module before position `index`."""
        members = list(self._modules.values())
        members.insert(index, module)
        self._modules.clear()
        self.extend(members)

    @classmethod
    def _of(cls, modules: list[Module]) -> Self:
        return cls().extend(modules)


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

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)


class ModuleDict(Module):
    """A dict of modules whose parameters are found.

    Args:
        modules: the modules by name.

    Example:
        >>> heads = plait.nn.ModuleDict({"a": plait.nn.Linear(2, 1), "b": plait.nn.Linear(2, 3)})
        >>> heads["b"](plait.zeros(2)).shape
        (3,)
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add or replace modules."""
        for name, module in modules.items():
            self.register_module(name, module)

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

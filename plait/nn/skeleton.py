"""Modules as pytrees: a module is its tensors, each once, and a skeleton that says where they go.

A skeleton is (class, tensors, modules, attributes): `tensors` are (group, name, number of the leaf or None), `modules`
are (name, skeleton), where a module that occurs again is the number of its first occurrence.
"""

from __future__ import annotations

from typing import Any

_RESERVED = frozenset(("_parameters", "_buffers", "_modules", "_version"))


def take_apart(module: Any) -> tuple[list[Any], Any]:
    """Return the leaves of a module and its skeleton."""
    leaves: list[Any] = []
    numbers: dict[int, int] = {}
    met: dict[int, int] = {}

    def number(tensor: Any) -> int:
        if id(tensor) not in numbers:
            numbers[id(tensor)] = len(leaves)
            leaves.append(tensor)
        return numbers[id(tensor)]

    def describe(module: Any) -> Any:
        if module is None or id(module) in met:
            return None if module is None else met[id(module)]
        met[id(module)] = len(met)
        members = module.__dict__
        tensors = tuple(
            (group, name, None if value is None else number(value))
            for group in ("_parameters", "_buffers")
            for name, value in members[group].items()
        )
        modules = tuple((name, describe(child)) for name, child in members["_modules"].items())
        return type(module), tensors, modules, {k: v for k, v in members.items() if k not in _RESERVED}

    skeleton = describe(module)
    return leaves, skeleton


def put_together(skeleton: Any, leaves: list[Any]) -> Any:
    """Return a new module with the given leaves."""
    built: list[Any] = []

    def build(skeleton: Any) -> Any:
        if skeleton is None or isinstance(skeleton, int):
            return None if skeleton is None else built[skeleton]
        kind, tensors, modules, attributes = skeleton
        module = kind.__new__(kind)
        built.append(module)
        members = module.__dict__
        members.update(attributes)
        for group, name, position in tensors:
            members[group][name] = None if position is None else leaves[position]
        for name, child in modules:
            members["_modules"][name] = build(child)
        return module

    return build(skeleton)


def leaf_names(skeleton: Any) -> list[str]:
    """Return how Python reaches each leaf, e.g. `.layers[0].weight`."""
    names: dict[int, str] = {}

    def walk(skeleton: Any, path: str) -> None:
        if isinstance(skeleton, tuple):
            for _, name, position in skeleton[1]:
                if position is not None:
                    names.setdefault(position, f"{path}.{name}")
            for name, child in skeleton[2]:
                walk(child, f"{path}[{name}]" if name.isdigit() else f"{path}.{name}")

    walk(skeleton, "")
    return [names[k] for k in range(len(names))]

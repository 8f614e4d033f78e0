"""Why a jitted function is staged again: what differs from the version that is most like the new one."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from plait.core import tree
from plait.core.aval import Aval
from plait.core.tree import TreeDef
from plait.tensor.tensor import Parameter, Tensor

_MOST_LINES = 20
_MOST_COMPARED = 64  # versions, the newest first
_WIDTH = 60
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def reasons(function: Any, key: Any, versions: Mapping[Any, Sequence[Any]]) -> list[str]:
    """Return why a function is staged for the signature `key`, one line for each difference.

    Args:
        function: the function that is staged.
        key: (signature, whether gradients are recorded, mode), where the signature is the structure of the arguments
            and what identifies each of their leaves.
        versions: the versions that are there, by such keys.
    """
    if not versions:
        return ["first call"]
    if key in versions:
        found = min((list(_state_changes(v)) for v in reversed(versions[key])), key=len)
    else:
        nearest = min(islice(reversed(versions), _MOST_COMPARED), key=lambda old: _distance(old, key))
        found = list(_key_changes(function, nearest, key))
    if len(found) > _MOST_LINES:
        found[_MOST_LINES - 1 :] = [f"… and {len(found) - _MOST_LINES + 1} more"]
    return found or ["something that the function was recorded with has changed"]


def signature_of(function: Any, key: Any) -> dict[str, str]:
    """Return what a version was compiled for: arguments by name, as text."""
    signature = key[0]
    names = argument_names(function, signature[0])
    return {name: _text(element) for name, element in zip(names, signature[1:], strict=False)}


def argument_names(function: Any, treedef: TreeDef) -> list[str]:
    """Return the name of each leaf of the arguments (args, kwargs), written as the function would reach it."""
    return [_argument(path, _positional(function)) for path in tree.paths(treedef)]


def _positional(function: Any) -> tuple[list[str], str]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return [], "args"
    rest = next((p.name for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL), "args")
    return [p.name for p in parameters if p.kind in _POSITIONAL], rest


def _defaults(function: Any) -> dict[str, str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {p.name: _shown(p.default) for p in parameters if p.default is not inspect.Parameter.empty}


def _argument(path: str, positional: tuple[list[str], str]) -> str:
    names, rest = positional
    by_position = re.match(r"\[0\]\[(\d+)\]", path)
    if by_position is not None:
        k = int(by_position[1])
        return (names[k] if k < len(names) else f"{rest}[{k - len(names)}]") + path[by_position.end() :]
    by_name = re.match(r"\[1\]\['(\w+)'\]", path)
    return by_name[1] + path[by_name.end() :] if by_name is not None else path


def _distance(old: Any, new: Any) -> int:
    before, after = old[0], new[0]
    differing = sum(a != b for a, b in zip(before, after, strict=False)) + abs(len(before) - len(after))
    return differing + (old[1:] != new[1:])


def _key_changes(function: Any, old: Any, new: Any) -> Iterator[str]:
    positional, defaults = _positional(function), _defaults(function)
    (before, had_gradients, mode), (after, has_gradients, new_mode) = old, new
    was = dict(zip(tree.paths(before[0]), before[1:], strict=False))
    now = dict(zip(tree.paths(after[0]), after[1:], strict=False))
    for path, a, b in tree.differences(before[0], after[0]):
        name = _argument(path, positional)
        missing = defaults.get(name, "absent")
        yield f"argument {name}: {_part(a, was, path, missing)} -> {_part(b, now, path, missing)}"
    for path, element in now.items():
        if path in was and was[path] != element:
            yield f"argument {_argument(path, positional)}: {_change(was[path], element)}"
    if _repeated(before[1 + len(was) :]) != _repeated(after[1 + len(now) :]):
        yield "the same tensor is passed for several arguments, or no longer"
    if had_gradients is not has_gradients:
        yield f"gradients are recorded: {had_gradients} -> {has_gradients}"
    if mode is not new_mode:
        yield f"mode: {mode} -> {new_mode}"


def _repeated(aliases: Sequence[tuple[int, ...]]) -> list[tuple[int, int]]:
    """The arguments that are the same tensor as one before them, from the end of a signature, if it is there."""
    return [(k, position) for positions in aliases for k, position in enumerate(positions) if position in positions[:k]]


def _part(treedef: TreeDef | None, elements: Mapping[str, Any], path: str, missing: str) -> str:
    if treedef is None:
        return missing
    if treedef.kind is None:
        return _text(elements[path])
    values = iter([_text(elements[path + rest]) for rest in tree.paths(treedef)])
    return _short(
        re.sub(r"(?<![\w'])\*(?![\w'])", lambda match: next(values, "*"), repr(treedef)[len("TreeDef(") : -1])
    )


def _change(old: Any, new: Any) -> str:
    if isinstance(old, tuple) and isinstance(new, tuple) and old[0] is new[0]:
        kind = new[0]
        if issubclass(kind, Parameter) or getattr(kind, "is_mutable_tree", False):
            return f"another {kind.__name__}"
        if kind.__hash__ is None and kind is not set:
            return f"another {kind.__name__}, compared by identity: it cannot be hashed"
        if kind.__eq__ is object.__eq__ and not callable(new[1]):
            return f"another {kind.__name__}, compared by identity: it defines no __eq__"
    was, now = _text(old), _text(new)
    return f"{was} -> {now}" if was != now else f"another {was}"


def _text(element: Any) -> str:
    """What a key holds for one leaf: the aval of a tensor, or the type and value of anything else."""
    if isinstance(element, Aval):
        return str(element)
    kind, value = element
    if kind is set:
        return _shown(set(value))
    if kind.__hash__ is None or kind.__eq__ is object.__eq__ or issubclass(kind, Tensor):
        return getattr(value, "__qualname__", f"a {kind.__name__}")
    return _shown(value[0] if kind is float else value)


def _shown(value: Any) -> str:
    try:
        return _short(repr(value))
    except Exception:  # whatever the user's __repr__ does, the call goes on
        return type(value).__name__


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _state_changes(version: Any) -> Iterator[str]:
    """What keeps a version with the right signature from being run."""
    for owner, name, value in version.guards:
        found = getattr(owner, name)
        if found != value:
            yield f"attribute {name} of {type(owner).__name__}: {_shown(value)} -> {_shown(found)}"
    for tensor, gradient in version.gradient_guards:
        if (tensor._grad is None) != (gradient is None):
            was, now = ("None", "present") if gradient is None else ("present", "None")
            yield f"gradient of {_name_of(tensor, version.guards)}: {was} -> {now}"
    for name, line, value, found in version.names.changes():
        yield f"name {name} ({line}): {_named(value)} -> {_named(found)}"


def _named(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {value.dtype.name}{list(value.shape)}".replace(" [", "[")
    return _shown(value)


def _name_of(tensor: Tensor, guards: Sequence[tuple[Any, str, Any]]) -> str:
    """The name of a parameter in the models that were looked at, or else its dtype and shape."""
    for owner, _, _ in guards:
        for name, parameter in owner.named_parameters() if hasattr(owner, "named_parameters") else ():
            if parameter is tensor:
                return str(name)
    return f"a {type(tensor).__name__} {tensor._node.aval}"

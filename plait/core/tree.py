"""Pytrees: nested containers of leaves, taken apart into a list and put together again.

Lists, tuples, named tuples, dicts, dataclasses and registered classes are containers; None is a container without
leaves; everything else is a leaf. Structures are interned: two that are equal are the same object.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from plait.core.errors import ArgumentError, ArgumentTypeError, InternalError, message

IsLeaf = Callable[[Any], bool]
_MAX_DIFFERENCES = 15


class TreeDef:
    """The structure of a tree: `kind` is the container's type (None for a leaf), `data` what is not in its children.

    Interned: compare with `is` or `==`, both are pointer comparisons.
    """

    __slots__ = ("kind", "data", "children", "num_leaves", "__weakref__")
    kind: type | None
    data: Any
    children: tuple[TreeDef, ...]
    num_leaves: int

    def __repr__(self) -> str:
        return f"TreeDef({_text(self)})"

    def __copy__(self) -> TreeDef:
        return self

    def __deepcopy__(self, memo: Any) -> TreeDef:
        return self

    def __reduce__(self) -> Any:
        return _intern, (self.kind, self.data, self.children)


class Kind(NamedTuple):
    """How a container is taken apart (children, data), put together, and how its children are called in a path."""

    flatten: Callable[[Any], tuple[Sequence[Any], Any]]
    unflatten: Callable[[type, Any, list[Any]], Any]
    names: Callable[[Any, int], list[str]]


_INTERNED: WeakValueDictionary[tuple[Any, ...], TreeDef] = WeakValueDictionary()
_KINDS: dict[type, Kind] = {}
_LEAF_TYPES: set[type] = {int, float, complex, bool, str, bytes}


def _intern(kind: type | None, data: Any, children: tuple[TreeDef, ...]) -> TreeDef:
    key = (kind, data, children)
    found = _INTERNED.get(key)
    if found is None:
        found = TreeDef()
        found.kind, found.data, found.children = kind, data, children
        found.num_leaves = sum([c.num_leaves for c in children]) if kind is not None else 1
        found = _INTERNED.setdefault(key, found)
    return found


LEAF = _intern(None, None, ())


def freeze(value: Any) -> Any:
    """Return a hashable key of a static value: lists, dicts and sets compare by content; 1, 1.0 and True differ.

    Raises `ArgumentTypeError` for any other value that is not hashable.
    """
    kind = type(value)
    if kind is str or value is None:
        return value
    if kind in (bool, int, bytes):
        return kind, value
    if kind in (float, complex):
        return kind, repr(value)
    if kind in (tuple, list):
        return kind, *map(freeze, value)
    if kind is dict:
        return kind, frozenset((freeze(k), freeze(v)) for k, v in value.items())
    if kind in (set, frozenset):
        return kind, frozenset(map(freeze, value))
    try:
        hash(value)
    except TypeError:
        fix = "use tuples, lists, dicts and sets of hashable values, or make it a leaf"
        text = message("A static value cannot be compared", f"a value of type {kind.__name__}", "a hashable value", fix)
        raise ArgumentTypeError(text) from None
    return value


def _copy(value: Any) -> Any:
    if type(value) in (list, tuple):
        return type(value)(map(_copy, value))
    if type(value) is dict:
        return {k: _copy(v) for k, v in value.items()}
    return set(value) if type(value) is set else value


class Static:
    """A value that is part of the structure: compared by content, and safe from later changes to it."""

    __slots__ = ("_value", "key", "_hash")

    def __init__(self, value: Any) -> None:
        self._value, self.key = _copy(value), freeze(value)
        self._hash = hash(self.key)

    @property
    def value(self) -> Any:
        """The value; containers are fresh copies."""
        return _copy(self._value)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Static) and self.key == other.key)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return repr(self._value)


def register(
    kind: type,
    flatten: Callable[[Any], tuple[Iterable[Any], Any]],
    unflatten: Callable[[Any, list[Any]], Any],
    names: Callable[[Any], list[str]] | None = None,
) -> None:
    """Make instances of the class `kind` (but not of its subclasses) containers.

    Args:
        kind: the class.
        flatten: `flatten(instance) -> (children, data)`, where `data` is everything else, compared by content.
        unflatten: `unflatten(data, children) -> instance`.
        names: `names(data)` gives how each child is written in a path, e.g. ".weight"; "[0]", "[1]", … by default.

    Raises:
        ArgumentError: if the class is a container already.
    """
    if kind in _KINDS:
        raise ArgumentError(message("The class is registered already", kind.__name__, None, "register it once"))

    def take_apart(instance: Any) -> tuple[Sequence[Any], Any]:
        children, data = flatten(instance)
        return tuple(children), Static(data)

    def put_together(_: type, data: Static, children: list[Any]) -> Any:
        return unflatten(data.value, children)

    def child_names(data: Static, count: int) -> list[str]:
        return names(data.value) if names is not None else _positions(data, count)

    _LEAF_TYPES.discard(kind)
    _KINDS[kind] = Kind(take_apart, put_together, child_names)


def _positions(data: Any, count: int) -> list[str]:
    return [f"[{i}]" for i in range(count)]


def _sorted_keys(mapping: dict[Any, Any]) -> tuple[Any, ...]:
    try:
        return tuple(sorted(mapping))
    except TypeError:
        return tuple(sorted(mapping, key=lambda k: (type(k).__name__, repr(k))))


def _flatten_dict(mapping: dict[Any, Any]) -> tuple[list[Any], Any]:
    keys = _sorted_keys(mapping)
    return [mapping[k] for k in keys], keys


def _key_names(keys: tuple[Any, ...], count: int) -> list[str]:
    return [f"[{k!r}]" for k in keys]


_KINDS[tuple] = Kind(lambda x: (x, None), lambda kind, data, children: tuple(children), _positions)
_KINDS[list] = Kind(lambda x: (x, None), lambda kind, data, children: children, _positions)
_KINDS[type(None)] = Kind(lambda x: ((), None), lambda kind, data, children: None, _positions)
_KINDS[dict] = Kind(_flatten_dict, lambda kind, keys, children: dict(zip(keys, children, strict=True)), _key_names)
_KINDS[OrderedDict] = Kind(
    lambda x: (list(x.values()), tuple(x)),
    lambda kind, keys, children: OrderedDict(zip(keys, children, strict=True)),
    _key_names,
)
_KINDS[defaultdict] = Kind(
    lambda x: (_flatten_dict(x)[0], (x.default_factory, _sorted_keys(x))),
    lambda kind, data, children: defaultdict(data[0], zip(data[1], children, strict=True)),
    lambda data, count: _key_names(data[1], count),
)


def _named_tuple(kind: Any) -> Kind:
    names = [f".{f}" for f in kind._fields]
    return Kind(lambda x: (x, None), lambda kind, data, children: kind(*children), lambda data, count: names)


def _dataclass(kind: Any) -> Kind:
    fields = [f for f in dataclasses.fields(kind) if f.init]
    dynamic = [f.name for f in fields if not f.metadata.get("static", False)]
    static = [f.name for f in fields if f.metadata.get("static", False)]
    names = [f".{name}" for name in dynamic]

    def take_apart(instance: Any) -> tuple[list[Any], Any]:
        children = [getattr(instance, name) for name in dynamic]
        return children, Static(tuple([getattr(instance, name) for name in static])) if static else None

    def put_together(kind: type, data: Static | None, children: list[Any]) -> Any:
        values = dict(zip(dynamic, children, strict=True))
        if data is not None:
            values.update(zip(static, data.value, strict=True))
        return kind(**values)

    return Kind(take_apart, put_together, lambda data, count: names)


def _kind_of(kind: type) -> Kind | None:
    """Return how `kind` is taken apart, or None for the type of a leaf; found once for each type."""
    found = _KINDS.get(kind)
    if found is None:
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            found = _KINDS[kind] = _named_tuple(kind)
        elif dataclasses.is_dataclass(kind):
            found = _KINDS[kind] = _dataclass(kind)
        else:
            _LEAF_TYPES.add(kind)
    return found


def _flatten(tree: Any, leaves: list[Any]) -> TreeDef:
    kind = type(tree)
    how = None if kind in _LEAF_TYPES else _KINDS.get(kind) or _kind_of(kind)
    if how is None:
        leaves.append(tree)
        return LEAF
    children, data = how.flatten(tree)
    parts = []
    for child in children:
        if type(child) in _LEAF_TYPES:
            leaves.append(child)
            parts.append(LEAF)
        else:
            parts.append(_flatten(child, leaves))
    return _intern(kind, data, tuple(parts))


def _flatten_until(tree: Any, leaves: list[Any], is_leaf: IsLeaf) -> TreeDef:
    how = None if is_leaf(tree) else _kind_of(type(tree))
    if how is None:
        leaves.append(tree)
        return LEAF
    children, data = how.flatten(tree)
    return _intern(type(tree), data, tuple([_flatten_until(c, leaves, is_leaf) for c in children]))


_TUPLES = [_intern(tuple, None, (LEAF,) * n) for n in range(9)]


def flatten(tree: Any, is_leaf: IsLeaf | None = None) -> tuple[list[Any], TreeDef]:
    """Take a tree apart: return its leaves, in order, and its structure.

    Dict keys are visited in sorted order, so that equal dicts have equal structures. Subtrees for which
    `is_leaf(subtree)` holds are kept whole.

    >>> flatten({"b": [1, 2], "a": 3})[0]
    [3, 1, 2]
    """
    if is_leaf is not None:
        found: list[Any] = []
        return found, _flatten_until(tree, found, is_leaf)
    if type(tree) is tuple and len(tree) < len(_TUPLES):
        for item in tree:
            if type(item) not in _LEAF_TYPES:
                break
        else:
            return list(tree), _TUPLES[len(tree)]
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves)


def unflatten(treedef: TreeDef, leaves: Iterable[Any]) -> Any:
    """Put a tree together from its structure and leaves.

    Raises `ArgumentError` if the number of leaves is not that of the structure.
    """
    leaves = list(leaves)
    if len(leaves) != treedef.num_leaves:
        what = "The number of leaves does not fit the structure"
        raise ArgumentError(message(what, len(leaves), treedef.num_leaves, "pass the leaves of one tree"))
    return _build(treedef, iter(leaves))


def _build(treedef: TreeDef, leaves: Iterator[Any]) -> Any:
    kind = treedef.kind
    if kind is None:
        return next(leaves)
    how = _kind_of(kind)
    if how is None:
        raise InternalError(f"{kind} is not a container")
    children = [next(leaves) if c is LEAF else _build(c, leaves) for c in treedef.children]
    return how.unflatten(kind, treedef.data, children)


def leaves(tree: Any, is_leaf: IsLeaf | None = None) -> list[Any]:
    """Return the leaves of a tree, in order."""
    return flatten(tree, is_leaf)[0]


def structure(tree: Any, is_leaf: IsLeaf | None = None) -> TreeDef:
    """Return the structure of a tree."""
    return flatten(tree, is_leaf)[1]


def map_(function: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf | None = None) -> Any:
    """Apply `function` to each leaf of `tree`, and to what stands at its place in every tree of `rest`.

    Raises `ArgumentError` listing the paths where a tree of `rest` differs.

    >>> map_(lambda a, b: a + b, {"x": 1}, {"x": 10})
    {'x': 11}
    """
    first, treedef = flatten(tree, is_leaf)
    others = [flatten_up_to(treedef, other) for other in rest]
    return unflatten(treedef, [function(*args) for args in zip(first, *others, strict=True)])


def __getattr__(name: str) -> Any:
    """Return `map_` as `map`, which is Python's function in this file."""
    if name == "map":
        return map_
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def flatten_up_to(treedef: TreeDef, tree: Any) -> list[Any]:
    """Return the subtrees of `tree` that stand where `treedef` has leaves.

    Raises `ArgumentError` listing the paths where `tree` does not start with the structure `treedef`.
    """
    parts: list[Any] = []
    if not _collect(treedef, tree, parts):
        check(treedef, structure(tree), prefix=True)
    return parts


def _collect(treedef: TreeDef, tree: Any, parts: list[Any]) -> bool:
    if treedef.kind is None:
        parts.append(tree)
        return True
    how = _kind_of(type(tree))
    if how is None or type(tree) is not treedef.kind:
        return False
    children, data = how.flatten(tree)
    if data != treedef.data or len(children) != len(treedef.children):
        return False
    return all(_collect(d, c, parts) for d, c in zip(treedef.children, children, strict=True))


def broadcast_prefix(prefix: Any, tree: Any, is_leaf: IsLeaf | None = None) -> list[Any]:
    """Return one value of `prefix` for each leaf of `tree`: a leaf of `prefix` stands for the whole subtree there.

    >>> broadcast_prefix((0, 1), (5, {"a": 6, "b": 7}))
    [0, 1, 1]
    """
    values, treedef = flatten(prefix, is_leaf)
    parts = flatten_up_to(treedef, tree)
    return [value for value, part in zip(values, parts, strict=True) for _ in range(structure(part).num_leaves)]


def _child_names(treedef: TreeDef) -> list[str]:
    how = None if treedef.kind is None else _kind_of(treedef.kind)
    return [] if how is None else how.names(treedef.data, len(treedef.children))


def paths(treedef: TreeDef) -> list[str]:
    """Return the path of every leaf, written as Python would reach it: `['layers'][0].weight`."""
    if treedef.kind is None:
        return [""]
    named = zip(_child_names(treedef), treedef.children, strict=True)
    return [name + rest for name, child in named for rest in paths(child)]


def leaves_with_path(tree: Any, is_leaf: IsLeaf | None = None) -> list[tuple[str, Any]]:
    """Return (path, leaf) for every leaf of a tree, in order."""
    found, treedef = flatten(tree, is_leaf)
    return list(zip(paths(treedef), found, strict=True))


def check(expected: TreeDef, received: TreeDef, what: str = "The tree structures differ", prefix: bool = False) -> None:
    """Raise `ArgumentError`, listing only the paths that differ, unless the structures are the same.

    With `prefix`, the leaves of `expected` may stand for any subtree.
    """
    if expected is received:
        return
    lines = [
        f"  {path or 'the root'}: received {_summary(found)}, expected {_summary(wanted)}"
        for path, wanted, found in differences(expected, received, prefix)
    ]
    if not lines:
        return
    hidden = len(lines) - _MAX_DIFFERENCES
    if hidden > 0:
        lines[_MAX_DIFFERENCES:] = [f"  … and {hidden} more"]
    fix = "Fix: pass a tree of the expected structure; plait.tree.structure(tree) shows it."
    raise ArgumentError("\n".join([f"{what}, at:", *lines, fix]))


def differences(
    expected: TreeDef, received: TreeDef, prefix: bool = False, path: str = ""
) -> Iterator[tuple[str, TreeDef | None, TreeDef | None]]:  # fmt: skip
    """Yield (path, expected, received) where two structures differ; None stands for nothing."""
    if expected is received or (prefix and expected.kind is None):
        return
    wanted = dict(zip(_child_names(expected), expected.children, strict=True))
    found = dict(zip(_child_names(received), received.children, strict=True))
    if expected.kind is not received.kind or (wanted.keys() == found.keys() and expected.data != received.data):
        yield path, expected, received
        return
    for name, child in wanted.items():
        if name in found:
            yield from differences(child, found[name], prefix, path + name)
        else:
            yield path + name, child, None
    for name, child in found.items():
        if name not in wanted:
            yield path + name, None, child


def _summary(treedef: TreeDef | None) -> str:
    if treedef is None:
        return "nothing"
    text = _text(treedef)
    if len(text) > 60:
        text = text[:57] + "…"
    return "a leaf" if treedef.kind is None else text


def _text(treedef: TreeDef) -> str:
    kind = treedef.kind
    if kind is None:
        return "*"
    if kind is type(None):
        return "None"
    children = [_text(c) for c in treedef.children]
    if kind is list:
        return f"[{', '.join(children)}]"
    if kind is tuple:
        return f"({', '.join(children)}{',' if len(children) == 1 else ''})"
    named = list(zip(_child_names(treedef), children, strict=True))
    if kind is dict:
        return "{" + ", ".join(f"{name[1:-1]}: {child}" for name, child in named) + "}"
    static = [repr(treedef.data)] if isinstance(treedef.data, Static) and treedef.data.value != () else []
    return f"{kind.__name__}({', '.join([f'{name.lstrip(chr(46))}={child}' for name, child in named] + static)})"

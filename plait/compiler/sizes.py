"""Changing sizes: a program compiled again for other sizes shares its kernels with the versions before.

Each size gets a plan of its own, so nothing is ever assumed of a size. But a kernel at the same place of two plans,
whose structure is the same, reads the sizes in which it differs at run time: it is compiled for the second size, and
serves all later ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from plait.compiler.abstract import copy_node, stand_in, symbol
from plait.compiler.groups import Group
from plait.compiler.kernels import group_source, in_order
from plait.compiler.lower import inputs_of
from plait.core.aval import Aval, Dim, Size, aval
from plait.core.graph import CONSTANT, Graph, Node, Params, is_leaf, toposort

_ANY = Dim("?")
Visit = Callable[[int], Size]


class Place:
    """The sizes of the kernel at one place of a program's plans: which of them change, and which change alike."""

    __slots__ = ("first", "kinds", "changing", "last")

    def __init__(self, sizes: Sequence[int]) -> None:
        self.first = tuple(sizes)
        self.kinds = list(sizes)  # sizes of one kind were equal in every plan so far
        self.changing: set[int] = set()
        self.last = max(sizes, default=0)

    def observe(self, sizes: Sequence[int]) -> list[int | None]:
        """Take note of one more plan; returns the number of the symbol that each size becomes, or None."""
        parts: dict[tuple[int, int], int] = {}
        kept: set[int] = set()
        before = frozenset(self.changing)
        for k, (kind, size) in enumerate(zip(self.kinds, sizes, strict=True)):
            part = parts.get((kind, size))
            if part is None:
                part = kind
                if kind in kept:
                    part = self.last = self.last + 1
                    if kind in before:
                        self.changing.add(part)
                kept.add(kind)
                parts[kind, size] = part
            self.kinds[k] = part
            if size != self.first[k]:
                self.changing.add(part)
        numbers: dict[int, int] = {}
        return [numbers.setdefault(k, len(numbers)) if k in self.changing else None for k in self.kinds]


class Sizes:
    """The kernels of one program, or of one kind of eager work, at every size that it was compiled for."""

    def __init__(self) -> None:
        self._places: dict[str, list[Place]] = {}
        self._visited: dict[str, int] = {}

    def begin(self) -> None:
        """Start with the first kernel of another plan."""
        self._visited.clear()

    def generic(self, group: Group) -> tuple[Group, dict[str, int], dict[Node, Node]] | None:
        """Return the next group with the sizes that change as symbols, their values, and the new nodes by the old.

        None where no size is known to change.
        """
        sizes: list[int] = []

        def collect(size: int) -> Size:
            sizes.append(size)
            return _ANY

        key = group_source(mapped(group, collect)[0]).key
        places = self._places.setdefault(key, [])
        number = self._visited.get(key, 0)
        self._visited[key] = number + 1
        if number == len(places):
            places.append(Place(sizes))
            return None
        numbers = places[number].observe(sizes)
        values = {symbol(n).name: size for n, size in zip(numbers, sizes, strict=True) if n is not None}
        if not values:
            return None
        pairs = zip(numbers, sizes, strict=True)
        following = iter([size if n is None else symbol(n) for n, size in pairs])
        made, new = mapped(group, lambda size: next(following))
        return made, values, new


def mapped(group: Group, visit: Visit | None = None) -> tuple[Group, dict[Node, Node]]:
    """Return a group with `visit(size)` for each size that is not structure, and the new nodes by the old.

    Without `visit` it is a copy whose nodes hold no values and no graph below them.
    Structure are 0 and 1 among the sizes of axes, and parameters that kernels need to know.
    """
    new: dict[Node, Node] = {}
    made = Group(group.number, _shape(group.shape, visit), group.axes)
    for node in inputs_of(group):
        new[node] = stand_in(node, _aval(node.aval, visit))
    for node in in_order(group):
        result: Any = tuple([_aval(a, visit) for a in node.aval]) if isinstance(node.aval, tuple) else _aval(
            node.aval, visit
        )  # fmt: skip
        inputs = tuple([i if i.prim is CONSTANT else new[i] for i in node.inputs])
        new[node] = copy_node(node, inputs, result, _params(node, visit))
    made.members = {new[node]: where for node, where in group.members.items()}
    made.anchor = None if group.anchor is None else new[group.anchor]
    made.outputs = [new[o] for o in group.outputs]
    return made, new


def _shape(shape: tuple[Size, ...], visit: Visit | None) -> tuple[Size, ...]:
    return shape if visit is None else tuple([visit(n) if isinstance(n, int) and n > 1 else n for n in shape])


def _aval(a: Aval, visit: Visit | None) -> Aval:
    return a if visit is None else aval(a.dtype, _shape(a.shape, visit))


def _params(node: Node, visit: Visit | None) -> Params:
    if not node.params or visit is None:
        return node.params
    found: dict[str, Any] = {}
    for name, value in node.params.items():
        if name == "shape":
            value = _shape(value, visit)
        elif name in node.prim.runtime:
            value = tuple([visit(v) for v in value]) if isinstance(value, tuple) else visit(value)
        found[name] = value
    return Params(found)


class Family:
    """All versions of one computation: they differ in sizes and in the values of constants.

    `dynamic` are the numbers of the constants that were seen with two values: they become inputs of the program.
    """

    def __init__(self) -> None:
        self.sizes = Sizes()
        self.constants: tuple[Any, ...] | None = None
        self.dynamic: tuple[int, ...] = ()
        self.versions = 0

    def observe(self, constants: Sequence[Node]) -> list[Node]:
        """Take note of the constants of one more version; returns those that change."""
        values = tuple([str(c.value) for c in constants])  # the text keeps -0.0, nan and True apart
        if self.constants is None:
            self.constants = values
        changed = {k for k, (old, new) in enumerate(zip(self.constants, values, strict=True)) if old != new}
        self.dynamic = tuple(sorted({*self.dynamic, *changed}))
        return [constants[k] for k in self.dynamic]


def family(outputs: Sequence[Node]) -> tuple[Any, list[Node]]:
    """Return what is the same for all sizes of a computation, hashable, and its constants in order."""
    number: dict[Node, int] = {}
    rows: list[Any] = []
    constants: list[Node] = []
    for node in toposort(outputs, is_leaf):
        number[node] = len(number)
        kinds = tuple([(a.dtype, a.ndim) for a in node.avals])
        if node.prim is CONSTANT:
            constants.append(node)
            rows.append(kinds)
        elif is_leaf(node):
            rows.append((node.prim if node.value is None else None, kinds))
        else:
            rows.append((node.prim, _fixed(node), kinds, tuple([number[i] for i in node.inputs])))
    return (tuple(rows), tuple([number[o] for o in outputs])), constants


def _fixed(node: Node) -> tuple[Any, ...]:
    """The parameters that do not depend on sizes."""
    runtime = ("shape", *node.prim.runtime)
    return tuple([v for k, v in node.params.items() if k not in runtime and not isinstance(v, Graph)])

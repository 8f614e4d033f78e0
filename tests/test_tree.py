"""Pytrees: round trips, interning, paths, mismatch messages and speed."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple

import pytest

from plait.core import tree
from plait.core.errors import ArgumentError, ArgumentTypeError


class Point(NamedTuple):
    x: Any
    y: Any


@dataclass
class Layer:
    weight: Any
    bias: Any = None
    size: Any = field(default=3, metadata={"static": True})
    double: Any = field(init=False, default=0)


class Box:
    def __init__(self, content: Any, label: Any) -> None:
        self.content, self.label = content, label

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Box) and (self.content, self.label) == (other.content, other.label)


tree.register(Box, lambda b: ([b.content], b.label), lambda label, c: Box(c[0], label), lambda label: [".content"])

TREES = [
    1,
    None,
    (),
    [],
    {},
    (1, 2),
    [1, (2, None), {"a": 3}],
    {"b": 1, "a": [2, {"z": 3}]},
    {1: 2, "a": 3},
    Point(1, [2, 3]),
    Layer([1, 2], {"k": 3}, size=7),
    Layer(1, size=[1, {"a": 2}]),
    OrderedDict([("b", 1), ("a", 2)]),
    defaultdict(list, {"b": 1, "a": 2}),
    Box((1, 2), "label"),
    Box(1, {"nested": [1, 2]}),
]


@pytest.mark.parametrize("value", TREES, ids=lambda tree: type(tree).__name__)
def test_round_trip(value: Any) -> None:
    leaves, treedef = tree.flatten(value)
    assert len(leaves) == treedef.num_leaves
    assert tree.unflatten(treedef, leaves) == value
    assert tree.structure(tree.map_(lambda x: x, value)) is treedef
    assert tree.flatten(value, is_leaf=lambda x: False) == (leaves, treedef)
    assert copy.deepcopy(treedef) is treedef
    assert len(tree.paths(treedef)) == len(leaves)


def test_structures_are_interned() -> None:
    assert tree.structure({"a": 1, "b": 2}) is tree.structure({"b": 3, "a": 4})
    assert tree.structure((1, 2)) is not tree.structure([1, 2])
    assert tree.structure(Layer(1, size=1)) is not tree.structure(Layer(1, size=True))
    assert tree.structure(Layer(1, size=[1])) is tree.structure(Layer(2, size=[1]))
    assert tree.structure(((1,), 2)) is tree.structure(((0,), 0))
    assert pickle.loads(pickle.dumps(tree.structure({"a": (1, None)}))) is tree.structure({"a": (1, None)})


def test_static_values_are_copied() -> None:
    size = [1, 2]
    leaves, treedef = tree.flatten(Layer(1, size=size))
    size.append(3)
    rebuilt = tree.unflatten(treedef, leaves)
    assert rebuilt.size == [1, 2]
    rebuilt.size.append(4)
    assert tree.unflatten(treedef, leaves).size == [1, 2]


def test_unhashable_static_value() -> None:
    with pytest.raises(ArgumentTypeError, match="bytearray"):
        tree.flatten(Layer(1, size=bytearray(b"x")))


def test_dict_order_and_is_leaf() -> None:
    assert tree.leaves({"b": 1, "a": 2}) == [2, 1]
    assert tree.leaves([(1, 2), 3], is_leaf=lambda x: isinstance(x, tuple)) == [(1, 2), 3]
    assert tree.leaves([None, 1], is_leaf=lambda x: x is None) == [None, 1]


def test_map_with_rest() -> None:
    assert tree.map_(lambda a, b: (a, b), [1, 2], [(3, 4), 5]) == [(1, (3, 4)), (2, 5)]
    with pytest.raises(ArgumentError, match=r"\['a'\]: received \[\*\], expected \[\*, \*\]|\['a'\]\[1\]"):
        tree.map_(lambda a, b: a, {"a": [1, 2]}, {"a": [1]})
    assert tree.map is tree.map_  # JAX's name


def test_paths() -> None:
    value = {"layers": [Layer(1, 2)], "p": Point(3, 4), "b": Box(5, "")}
    assert tree.leaves_with_path(value) == [
        ("['b'].content", 5),
        ("['layers'][0].weight", 1),
        ("['layers'][0].bias", 2),
        ("['p'].x", 3),
        ("['p'].y", 4),
    ]


def test_broadcast_prefix() -> None:
    assert tree.broadcast_prefix(0, {"a": [1, 2], "b": None}) == [0, 0]
    none = tree.broadcast_prefix((None, 1), ([1, 2], 3), is_leaf=lambda x: x is None)
    assert none == [None, None, 1]
    with pytest.raises(ArgumentError):
        tree.broadcast_prefix((0, 1), (1, 2, 3))


def test_mismatch_message_is_short_and_names_paths_only() -> None:
    big = {f"layer{i}": {"w": 1, "b": 2} for i in range(200)}
    other = copy.deepcopy(big)
    other["layer7"] = {"w": 1}
    other["layer9"]["w"] = (1, 2)
    other["extra"] = 3
    with pytest.raises(ArgumentError) as info:
        tree.check(tree.structure(big), tree.structure(other))
    text = str(info.value)
    assert "['layer7']['b']: received nothing, expected a leaf" in text
    assert "['layer9']['w']: received (*, *), expected a leaf" in text
    assert "['extra']: received a leaf, expected nothing" in text
    assert "Fix: " in text and len(text.splitlines()) == 5
    with pytest.raises(ArgumentError) as info:
        tree.check(tree.structure(big), tree.structure(dict.fromkeys(big, 1)))
    assert len(str(info.value).splitlines()) <= 20 and "185 more" in str(info.value)


def test_static_difference_is_shown() -> None:
    with pytest.raises(ArgumentError, match="the root: received .*4.*expected .*3"):
        tree.check(tree.structure(Layer(1, size=3)), tree.structure(Layer(1, size=4)))


def test_wrong_number_of_leaves() -> None:
    with pytest.raises(ArgumentError, match="Received: 1. Expected: 2"):
        tree.unflatten(tree.structure([1, 2]), [1])


def test_registering_twice() -> None:
    with pytest.raises(ArgumentError, match="Box"):
        tree.register(Box, lambda b: ([], None), lambda d, c: None)


def test_late_registration_of_a_type_seen_as_leaf() -> None:
    class Late:
        pass

    assert tree.structure(Late()) is tree.LEAF
    tree.register(Late, lambda x: ((), None), lambda d, c: Late())
    assert tree.structure(Late()).num_leaves == 0


def test_flatten_is_fast() -> None:
    values = {f"k{i}": object() for i in range(100)}
    tree.flatten(values)
    best = 1.0
    for _ in range(200):
        start = perf_counter()
        tree.flatten(values)
        best = min(best, perf_counter() - start)
    assert best < 100e-6  # about 15 us on an idle machine

"""Classes, properties, descriptors, dataclasses, containers, own pytrees."""

from __future__ import annotations

import abc
import copy
import dataclasses
import enum
import functools
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque, namedtuple
from typing import Any, NamedTuple

import plait
from tests.semantics.cases import M, S, X, Y, program, stateful

Pair = namedtuple("Pair", "left right")


class Named(NamedTuple):
    """A named tuple with a default."""

    x: Any
    n: int = 2


@dataclasses.dataclass
class Point:
    """A dataclass, which is a pytree."""

    x: Any
    y: Any
    n: int = dataclasses.field(default=2)

    def length(self):
        return (self.x * self.x + self.y * self.y).sqrt()


@dataclasses.dataclass(frozen=True)
class Frozen:
    """An immutable dataclass."""

    value: Any

    def scaled(self, n):
        return dataclasses.replace(self, value=self.value * n)


class Color(enum.Enum):
    """Static values."""

    RED = 1
    GREEN = 2


@program(X, Y)
def dataclass_result(x, y):
    return Point(x * 2, y + 1)


@program(X, Y)
def dataclass_method(x, y):
    return Point(x, y).length()


@program(X)
def frozen_dataclass(x):
    a = Frozen(x)
    return a.scaled(2), a


@program(X)
def dataclass_replace_and_asdict(x):
    p = dataclasses.replace(Point(x, x), y=x * 3)
    return p.y, p.n, [f.name for f in dataclasses.fields(p)]


@program(X)
def dataclass_default_factory(x):
    @dataclasses.dataclass
    class Bag:
        items: list[Any] = dataclasses.field(default_factory=list)

    a, b = Bag(), Bag()
    a.items.append(x)
    return a.items, b.items


@program(X)
def dataclass_post_init(x):
    @dataclasses.dataclass
    class Square:
        side: Any
        area: Any = dataclasses.field(init=False)

        def __post_init__(self):
            self.area = self.side * self.side

    return Square(x).area


@program(Pair(X, Y))
def namedtuple_argument(p):
    return Pair(p.right * 2, p.left), p._replace(left=p.right).left


@program(X)
def typed_namedtuple(x):
    a = Named(x)
    b, n = a
    return a, b * n


@program(X, Color.GREEN)
def enum_argument(x, color):
    return x * color.value if color is Color.GREEN else x


@program(X)
def property_getter_setter(x):
    class Scale:
        def __init__(self):
            self._n = 1

        @property
        def n(self):
            return self._n

        @n.setter
        def n(self, value):
            self._n = value * 2

    s = Scale()
    s.n = 3
    return x * s.n


@program(X)
def cached_property(x):
    calls = []

    class Holder:
        @functools.cached_property
        def doubled(self):
            calls.append(1)
            return x * 2

    h = Holder()
    return h.doubled + h.doubled, len(calls)


@program(X)
def descriptor(x):
    class Scaled:
        def __set_name__(self, owner, name):
            self.name = "_" + name

        def __get__(self, instance, owner=None):
            return getattr(instance, self.name) * 2

        def __set__(self, instance, value):
            setattr(instance, self.name, value)

    class Holder:
        value = Scaled()

    h = Holder()
    h.value = x
    return h.value


@program(X)
def class_and_static_methods(x):
    class Maker:
        factor = 3

        @classmethod
        def scale(cls, y):
            return y * cls.factor

        @staticmethod
        def shift(y):
            return y + 1

    class Other(Maker):
        factor = 5

    return Maker.scale(x), Other.scale(x), Other().shift(x)


@program(X)
def inheritance_and_super(x):
    class Base:
        def apply(self, y):
            return y + 1

    class Left(Base):
        def apply(self, y):
            return super().apply(y) * 2

    class Right(Base):
        def apply(self, y):
            return super().apply(y) * 3

    class Both(Left, Right):
        pass

    return Both().apply(x)


@program(X)
def abstract_class(x):
    class Base(abc.ABC):
        @abc.abstractmethod
        def f(self, y): ...

        def __call__(self, y):
            return self.f(y) + 1

    class Square(Base):
        def f(self, y):
            return y * y

    return Square()(x)


@program(X, raises=TypeError)
def abstract_class_cannot_be_made(x):
    class Base(abc.ABC):
        @abc.abstractmethod
        def f(self, y): ...

    return Base().f(x)


@program(X)
def operators_of_a_class(x):
    class Linear:
        def __init__(self, a, b):
            self.a, self.b = a, b

        def __add__(self, other):
            return Linear(self.a + other.a, self.b + other.b)

        def __rmul__(self, n):
            return Linear(n * self.a, n * self.b)

        def __matmul__(self, y):
            return self.a * y + self.b

    return (2.0 * Linear(x, 1.0) + Linear(1.0, x)) @ x


@program(X)
def call_getitem_len(x):
    class Table:
        def __init__(self):
            self.items = [x, x * 2]

        def __getitem__(self, k):
            return self.items[k]

        def __len__(self):
            return len(self.items)

        def __call__(self, k):
            return self[k] * len(self)

        def __contains__(self, k):
            return 0 <= k < len(self)

    t = Table()
    return t(1), t[0], 5 in t


@program(X)
def getattr_and_setattr(x):
    class Bag:
        def __getattr__(self, name):
            return x * len(name)

    b = Bag()
    b.own = x + 1
    b.__dict__["other"] = x + 2
    return b.four, b.own, b.other, getattr(b, "ab")  # noqa: B009


@program(X)
def slots(x):
    class Slim:
        __slots__ = ("value",)

    s = Slim()
    s.value = x
    s.value = s.value * 2
    return s.value


@program(X)
def local_state(x):
    class Accumulator:
        def __init__(self):
            self.total, self.count = 0.0, 0

        def add(self, y):
            self.total = self.total + y
            self.count += 1
            return self

    a = Accumulator().add(x).add(x * 2)
    return a.total / a.count


@program(X)
def bound_methods(x):
    class A:
        def f(self, y):
            return y * 2

    f = A().f
    return f(x), A.f(A(), x), list(map(A().f, [x, x + 1]))


@program(X)
def metaclass(x):
    class Meta(type):
        def __new__(cls, name, bases, space):
            space["factor"] = 4
            return super().__new__(cls, name, bases, space)

    class A(metaclass=Meta):
        pass

    return x * A.factor


@program(X)
def init_subclass_registry(x):
    class Base:
        registry: dict[str, Any] = {}

        def __init_subclass__(cls, **kwargs):
            Base.registry[cls.__name__] = cls

    class Double(Base):
        def __call__(self, y):
            return y * 2

    return Base.registry["Double"]()(x)


@program(X)
def equality_and_hash_of_objects(x):
    class Key:
        def __init__(self, n):
            self.n = n

        def __eq__(self, other):
            return self.n == other.n

        def __hash__(self):
            return hash(self.n)

    return {Key(1): x, Key(2): x * 2}[Key(2)]


# containers


@program({"a": X, "b": [Y, 2.0]})
def dict_of_lists(d):
    return {"a": d["a"] * d["b"][1], "b": list(d["b"])}


@program({"b": X, "a": Y})
def dict_order(d):
    return sorted(d), {**d, "c": d["a"] + d["b"]}


@program([X, (Y, {"k": X})])
def nested_argument(v):
    a, (b, d) = v
    return [(a * b, {"k": d["k"] + 1})]


@program(X)
def dict_methods(x):
    d = {"a": x}
    d.setdefault("a", x * 100)
    d.setdefault("b", x * 2)
    d.update(c=x * 3)
    gone = d.pop("a")
    return d, gone, d.get("zzz", x * 4), "b" in d


@program(X)
def dict_comprehension_over_items(x):
    return {k.upper(): v * 2 for k, v in {"a": x, "b": x + 1}.items()}


@program(X)
def defaultdict_of_tensors(x):
    d = defaultdict(lambda: x * 0)
    for k in (0, 1, 0):
        d[k] = d[k] + x
    return dict(d)


@program(X)
def ordered_dict(x):
    d = OrderedDict(b=x, a=x * 2)
    d.move_to_end("b")
    return list(d), d["a"]


@program(X)
def deque_window(x):
    d = deque(maxlen=2)
    for v in x:
        d.append(v)
    d.appendleft(x[0] * 10)
    return list(d)


@program(X)
def chain_map_and_counter(x):
    m = ChainMap({"a": x}, {"a": x * 2, "b": x * 3})
    return m["a"] + m["b"], Counter("abca")["a"]


@program(X)
def set_by_identity(x):
    y = x * 2
    s = {x, y, x}
    return len(s), x in s, y in {x}, frozenset([x]) == frozenset([x])


@program(X)
def list_methods(x):
    v = [x]
    v += [x * 2]
    v.insert(0, x * 3)
    v.extend((x * 4,))
    v.reverse()
    last = v.pop()
    return v, last, len(v), v[::2], v * 2


@program(X)
def list_index_by_identity(x):
    y = x * 2
    return [k for k, v in enumerate([x, y, x]) if v is x]


@program(X)
def list_as_a_stack(x):
    stack, out = [(x, 0)], []
    while stack:
        y, depth = stack.pop()
        out.append(y)
        if depth < 2:
            stack += [(y * 2, depth + 1), (y + 1, depth + 2)]
    return out


@program([X, Y], inside=True)
def argument_list_is_a_copy(items):
    items.append(items[0] * 2)
    return items[-1], len(items)


@program(X)
def tuples_compare_and_hash(x):
    return {(1, "a"): x, (2, "b"): x * 2}[2, "b"], (1, 2) < (1, 3)


@program(X)
def aliases_in_a_list(x):
    row = [x]
    rows = [row] * 2
    rows[0][0] = x * 5
    return rows[1][0]


@program(X)
def none_and_strings_in_the_result(x):
    return None, "text", 3, x, (), [], {}, True, 2.5


@program(X)
def shallow_and_deep_copy(x):
    d = {"a": [x * 2]}
    shallow, deep = copy.copy(d), {"a": list(d["a"])}
    d["a"].append(x)
    return len(shallow["a"]), len(deep["a"])


@program((X, 3))
def tuple_argument(pair):
    return pair[0] * pair[1]


# own pytrees


class Complexish:
    """Registered as a pytree."""

    def __init__(self, re: Any, im: Any, tag: str = "") -> None:
        self.re, self.im, self.tag = re, im, tag

    def __mul__(self, other: Complexish) -> Complexish:
        return Complexish(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re, self.tag)


plait.tree.register(Complexish, lambda c: ((c.re, c.im), c.tag), lambda tag, parts: Complexish(*parts, tag))


@program(X, Y)
def own_pytree(x, y):
    z = Complexish(x, y, "z")
    return z * z


@program(X)
def tree_map(x):
    return plait.tree.map_(lambda v: v * 2, {"a": x, "b": (x + 1, None)})


@program({"a": X, "b": (Y,)})
def tree_leaves(d):
    return sum(plait.tree.leaves(d)), len(plait.tree.leaves(d))


@stateful(S)
def instance_with_tensor_state():
    class Mean:
        def __init__(self):
            self.total = plait.tensor(0.0, dtype="float64")
            self.count = plait.tensor(0.0, dtype="float64")

        def __call__(self, x):
            self.total += x
            self.count += 1
            return self.total / self.count

    m = Mean()
    return m.__call__, m


@stateful(X)
def method_jitted_in_the_class():
    class Scaler:
        def __init__(self):
            self.factor = plait.tensor(2.0, dtype="float64")

        @plait.jit
        def apply(self, x):
            return x * self.factor

    s = Scaler()
    return s.apply, s


@stateful(X)
def dict_of_state():
    state = {"mean": plait.zeros(3, dtype="float64"), "count": plait.tensor(0)}

    def f(x):
        state["mean"] += (x - state["mean"]) * 0.1
        state["count"] += 1
        return state["mean"] * 1

    return f, state


@stateful(X, once=True)
def attribute_of_a_plain_object():
    class A:
        calls = 0

    a = A()

    def f(x):
        a.calls += 1
        return x * a.calls

    return f, a


@stateful(M)
def list_of_state():
    rows = [plait.zeros(3, dtype="float64") for _ in range(2)]

    def f(m):
        for row, new in zip(rows, m, strict=True):
            row.add_(new)
        return rows[0] * rows[1]

    return f, rows

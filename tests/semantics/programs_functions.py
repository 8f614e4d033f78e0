"""Closures, generators, arguments of functions, recursion, functools."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Iterator
from typing import Any

import plait
from tests.semantics.cases import M, S, X, Y, program, spec, stateful

FACTOR = 3.0


@program(X, 2.0)
def closure(x, n):
    def inner(y):
        return y * n + x

    return inner(x) + inner(x * 2)


@program(X)
def closure_sees_later_value(x):
    n = 1.0

    def inner():
        return x * n

    n = 5.0
    return inner()


@program(X)
def late_binding(x):
    functions = [lambda y: y * k for k in range(4)]  # noqa: B023
    return [f(x) for f in functions]


@program(X)
def early_binding(x):
    functions = [lambda y, k=k: y * k for k in range(4)]
    return [f(x) for f in functions]


@program(X)
def nonlocal_tensor(x):
    total = x

    def add(y):
        nonlocal total
        total = total + y
        return total

    add(x)
    add(x * 2)
    return total


@program(X)
def nonlocal_number(x):
    count = 0

    def step(y):
        nonlocal count
        count += 1
        return y * count

    return step(step(step(x))), count


@program(X)
def global_number(x):
    return x * FACTOR


@program(X)
def function_factory(x):
    def power(n):
        def apply(y):
            return y**n

        return apply

    return [power(n)(x) for n in (1, 2, 3)]


@program(X)
def counter_in_closure(x):
    def counter():
        n = 0

        def tick():
            nonlocal n
            n += 1
            return n

        return tick

    a, b = counter(), counter()
    return x * a() * a() + b(), a(), b()


@program(X)
def generator(x):
    def parts(y):
        for k in range(3):
            yield y[k] * k

    return sum(parts(x))


@program(X)
def generator_state(x):
    def running():
        total = x * 0
        while True:
            y = yield total
            if y is None:
                return
            total = total + y

    g = running()
    next(g)
    g.send(x)
    return g.send(x * 2)


@program(X)
def generator_return(x):
    def inner():
        yield x
        return x * 10

    def outer():
        result = yield from inner()
        yield result

    return list(outer())


@program(X)
def generator_close(x):
    log = []

    def inner():
        try:
            yield x * 1
            yield x * 2
        finally:
            log.append("closed")

    g = inner()
    first = next(g)
    g.close()
    return first, log


@program(X)
def generator_throw(x):
    def inner():
        y = x
        while True:
            try:
                yield y
            except ValueError:
                y = y * -1

    g = inner()
    next(g)
    return g.throw(ValueError) + next(g)


@program(X)
def generator_expression(x):
    return sum(v * v for v in x)


@program(X)
def own_iterator(x):
    class Windows:
        def __init__(self, y: Any) -> None:
            self.y, self.k = y, 0

        def __iter__(self) -> Iterator[Any]:
            return self

        def __next__(self) -> Any:
            self.k += 1
            if self.k > 2:
                raise StopIteration
            return self.y[self.k - 1 : self.k + 1].sum()

    return list(Windows(x))


@program(X)
def sequence_protocol(x):
    class Rows:
        def __getitem__(self, k):
            if k > 2:
                raise IndexError
            return x[k] * k

    return list(Rows())


@program(X)
def itertools_over_tensors(x):
    pairs = itertools.combinations(x, 2)
    return sum(a * b for a, b in pairs), list(itertools.accumulate(x)), list(itertools.islice(x, 1, 3))


@program(X, Y)
def itertools_chain(x, y):
    return [a + b for a, b in itertools.product(itertools.chain(x[:1], y[:1]), y[1:])]


@program(S, 5)
def recursion(x, n):
    def power(y, k):
        return y if k == 1 else y * power(y, k - 1)

    return power(x, n)


@program(S, 6)
def double_recursion(x, n):
    def fibonacci(k):
        return x if k < 2 else fibonacci(k - 1) + fibonacci(k - 2)

    return fibonacci(n)


@program(X)
def mutual_recursion(x):
    def even(y, n):
        return y if n == 0 else odd(y * 2, n - 1)

    def odd(y, n):
        return y + 1 if n == 0 else even(y + 3, n - 1)

    return even(x, 4), odd(x, 4)


@program({"left": {"leaf": X}, "right": {"left": {"leaf": Y}, "right": {"leaf": X}}})
def tree_recursion(node):
    def visit(n):
        return n["leaf"] if "leaf" in n else plait.tanh(visit(n["left"]) * 2 + visit(n["right"]))

    return visit(node)


@program(X)
def default_argument(x):
    def f(y, n=2, *, offset=1.0):
        return y * n + offset

    return f(x), f(x, 3), f(x, offset=0.5)


@program(X)
def default_is_evaluated_once(x):
    made = []

    def make():
        made.append(1)
        return x * 2

    def f(y, z=make()):  # noqa: B008
        return y + z

    return f(x), f(x), len(made)


@program(X)
def mutable_default(x):
    def append(y, items=[]):  # noqa: B006
        items.append(y)
        return items

    append(x)
    return append(x * 2)


@program(X, Y)
def var_args(x, y):
    def f(*args, **kwargs):
        return sum(args) * kwargs.get("scale", 1.0)

    return f(x, y), f(x, y, scale=2.0), f(*[x, y, x], scale=3.0)


@program(X, Y)
def keyword_only(x, y):
    def f(a, /, b, *, c):
        return a - b * c

    return f(x, c=y, b=x)


@program([X, Y, X])
def star_unpacking(items):
    first, *rest, last = items
    return first * 2, rest, last


@program(M)
def unpack_rows(m):
    a, b = m
    (c, *_), _ = m
    return a * b + c


@program(X)
def walrus(x):
    return (y := x * 2) + y, [z := v * 2 for v in x], z


@program(X)
def comprehension_scope(x):
    k = 100
    parts = [v * k for k, v in enumerate(x)]
    return parts, k


@program(X)
def comprehension_filter(x):
    return {k: v for k, v in enumerate(x) if k % 2 == 0}, [(a, b) for a in range(2) for b in x[a:]]


@program(M)
def nested_comprehension(m):
    return [[v * i + j for j, v in enumerate(row)] for i, row in enumerate(m)]


@program(X)
def partial(x):
    f = functools.partial(plait.clip, min=0.0)
    g = functools.partial(operator.mul, x)
    return f(x), g(3.0), functools.partial(lambda a, b, c: a - b * c, x, c=2.0)(1.0)


@program(X)
def reduce(x):
    return functools.reduce(lambda a, b: a * b + 1, x), functools.reduce(operator.add, [x, x, x], x * 0)


@program(X)
def lru_cache(x):
    calls = []

    @functools.lru_cache
    def scale(n):
        calls.append(n)
        return n * 2

    return x * scale(2) + x * scale(2), calls


@program(X)
def cached_tensor_argument(x):
    calls = []

    @functools.cache
    def square(y):
        calls.append(1)
        return y * y

    return square(x) + square(x), len(calls)


@program(X)
def wraps(x):
    def twice(f):
        @functools.wraps(f)
        def wrapped(y):
            return f(f(y))

        return wrapped

    @twice
    def step(y):
        return y * y + 1

    return step(x), step.__name__


@program(X)
def decorator_with_arguments(x):
    def repeat(n):
        def decorate(f):
            def wrapped(y):
                for _ in range(n):
                    y = f(y)
                return y

            return wrapped

        return decorate

    return repeat(3)(lambda y: y * 1.5)(x)


@program(X)
def singledispatch(x):
    @functools.singledispatch
    def show(v):
        return "other"

    @show.register
    def _(v: plait.Tensor):
        return "tensor"

    return show(x), show(1), x


@program(X, Y)
def map_filter_zip(x, y):
    a = list(map(lambda u, v: u * v, x, y))
    b = [v for k, v in filter(lambda pair: pair[0] > 0, enumerate(x))]
    c = [u + v for u, v in zip(x, reversed(list(y)), strict=True)]
    return a, b, c


@program(X)
def sorted_by_static_key(x):
    pairs = sorted([(2, x[0]), (0, x[1]), (1, x[2])], key=lambda pair: pair[0])
    return [v for _, v in pairs]


@program(X, looks=True)
def sorted_tensors(x):
    return sorted(x), max(x), min(x)


@program(X)
def early_return(x):
    def f(y, stop):
        if stop:
            return y
        y = y * 2
        return y + 1

    return f(x, True), f(x, False)


@program(X)
def function_attributes(x):
    def f(y):
        f.calls += 1
        return y * f.calls

    f.calls = 0
    return f(x), f(x), f.calls


@program(X)
def immediately_called(x):
    return (lambda f: f(f(x)))(lambda y: y * y)


@program(X)
def y_combinator(x):
    z = lambda g: (lambda f: f(f))(lambda f: g(lambda n: f(f)(n)))  # noqa: E731
    return x * z(lambda again: lambda n: 1 if n == 0 else n * again(n - 1))(5)


@program(X, len)
def function_as_argument(x, f):
    return x * f(x)


@program(X, plait.sin)
def operation_as_argument(x, f):
    return f(x) + f(f(x))


@program(X)
def keywords_with_default_none(x, y=None):
    return x if y is None else y


@stateful(X, once=True)
def effect_of_append():
    log = []

    def f(x):
        log.append("called")
        return x * 2

    return f, log


@stateful(X, looks=True)
def effect_in_parts():
    log = []

    def f(x):
        if x.sum() > 0:
            log.append("positive")
        return x * 2

    return f, log


@stateful(X)
def closure_over_tensor():
    scale = plait.tensor([1.0, 2.0, 3.0], dtype="float64")
    return lambda x: (x * scale, scale.sum()), [scale]


@stateful(X)
def nested_functions_write_outer_tensor():
    total = plait.zeros(3, dtype="float64")

    def f(x):
        def add(y):
            def deeper(z):
                total.add_(z)

            deeper(y)
            deeper(y * 2)

        add(x)
        return total * x

    return f, [total]


@stateful(X)
def jitted_inside():
    @plait.jit
    def inner(x, n):
        return x * n + 1

    return lambda x: inner(inner(x, 2), 3), []


@stateful(X)
def jitted_recursion():
    @plait.jit
    def power(x, n):
        return x if n == 0 else x * power(x, n - 1)

    return lambda x: power(x, 3), []


@stateful(X)
def jitted_inside_with_state():
    count = plait.tensor(0.0, dtype="float64")

    @plait.jit
    def inner(x):
        count.add_(1.0)
        return x * count

    return lambda x: inner(x) + inner(x), [count]


@program(spec(1.0, 2.0), spec(3.0, 4.0))
def many_lambdas(x, y):
    table = {"add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b}
    return {name: f(x, y) for name, f in table.items()}

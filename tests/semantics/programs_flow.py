"""Branches, loops, match, with, exceptions."""

from __future__ import annotations

import contextlib

import plait
from tests.semantics.cases import NEGATIVE, M, N, S, X, Y, program, stateful


class Stop(Exception):
    """An exception of a program."""


@program(X, True)
def static_branch(x, flag):
    return x * 2 if flag else x


@program(S, looks=True)
def branch_on_value(x):
    if x > 0:
        return x * 2
    return x * 3


@program(NEGATIVE, looks=True)
def branch_not_taken(x):
    if x > 0:
        return x * 2
    elif x < -0.5:
        return x * x
    else:
        return x * 3


@program(S)
def branch_on_shape(x):
    return x * 2 if x.ndim == 0 and x.dtype is plait.float64 else x


@program(X)
def branch_on_none(x, y=None):
    if y is None:
        y = x * 2
    return x + y


@program(S, looks=True)
def boolean_operators(x):
    return (x > 0 and x * 2), (x < 0 or x * 3), not x


@program(S, looks=True)
def chained_comparison(x):
    return x * 2 if 0 < x < 3 else x


@program(S, looks=True)
def conditional_assignment(x):
    y = x
    if x > 1:
        y = y + 1
    if y > 2:
        y = y * 10
    return y


@program(S, looks=True)
def while_on_value(x):
    while x < 20:
        x = x * 2 + 1
    return x


@program(X)
def while_static(x):
    n = 3
    while n:
        x, n = x * 1.5, n - 1
    return x


@program(S, looks=True)
def while_else(x):
    while x < 5:
        x = x + 2
        if x == 100:
            break
    else:
        return x * 10
    return x


@program(X)
def for_else(x):
    for k in range(5):
        if k == 10:
            break
    else:
        x = x + 1
    return x, k


@program(X, looks=True)
def loop_break(x):
    total = x[0] * 0
    for v in x:
        if v < 0:
            break
        total = total + v
    return total


@program(X, looks=True)
def loop_continue(x):
    total = x[0] * 0
    for v in x:
        if v < 0:
            continue
        total += v
    return total


@program(M)
def nested_loops(m):
    total = m[0, 0] * 0
    for i in range(2):
        for j in range(3):
            if i == j:
                continue
            if j == 2 and i:
                break
            total = total + m[i, j] * (i + 1)
    return total


@program(X)
def loop_with_index(x):
    out = []
    for k, v in enumerate(x, start=1):
        out.append(v / k)
    return plait.stack(out)


@program(X)
def loop_variable_survives(x):
    for v in x:
        x = x + v
    return v * 2


@program(X)
def reversed_loop(x):
    total = 0.0
    for k in reversed(range(len(x))):
        total = total * 2 + x[k]
    return total


@program(N, looks=True)
def range_of_tensor(n):
    return [k * 2 for k in range(n[0])]


@program(S, looks=True, smooth=False)
def newton(x):
    y = x
    while abs(y * y - 2) > 1e-10:
        y = y - (y * y - 2) / (2 * y)
    return y + x - x.detach()


@program(X, "double")
def match_string(x, mode):
    match mode:
        case "double":
            return x * 2
        case "half":
            return x / 2
        case _:
            return x


@program({"kind": "scale", "x": X, "by": 3.0})
def match_mapping(command):
    match command:
        case {"kind": "scale", "x": x, "by": float(n)}:
            return x * n
        case {"kind": "add"}:
            return None
    raise AssertionError


@program((X, Y))
def match_sequence(pair):
    match pair:
        case [single]:
            return single
        case [a, b]:
            return a * b
        case _:
            return None


@program(X)
def match_class(x):
    match x:
        case plait.Tensor(ndim=1):
            return x * 2
        case plait.Tensor():
            return x


@program(X, 3)
def match_guard(x, n):
    match n:
        case int() if n > 5:
            return x
        case int(k) if k > 2:
            return x * k
    return x * 0


@program(S, looks=True)
def match_value_guard(x):
    match x:
        case plait.Tensor() if x > 1:
            return x * 7
        case _:
            return x


@program(X, smooth=False)
def with_no_grad(x):
    with plait.no_grad():
        y = x.detach() * 2
    return x + y


@program(X)
def own_context_manager(x):
    log = []

    class Scope:
        def __enter__(self):
            log.append("in")
            return x * 2

        def __exit__(self, *error):
            log.append("out")
            return False

    with Scope() as y:
        z = y + 1
    return z, log


@program(X)
def contextlib_manager(x):
    log = []

    @contextlib.contextmanager
    def scope(n):
        log.append(n)
        try:
            yield x * n
        finally:
            log.append(-n)

    with scope(1) as a, scope(2) as b:
        c = a + b
    return c, log


@program(X)
def exit_stack(x):
    log = []
    with contextlib.ExitStack() as stack:
        for k in range(3):
            stack.callback(log.append, k)
        y = x * 2
    return y, log


@program(X)
def suppress(x):
    y = x
    with contextlib.suppress(KeyError):
        y = x * 2
        {}["missing"]
        y = x * 3
    return y


@program(X)
def try_except(x):
    try:
        y = x * 2
        raise Stop
    except Stop:
        y = y + 1
    return y


@program(X)
def try_else_finally(x):
    log = []
    try:
        y = x * 2
    except Stop:
        y = x
    else:
        y = y + 1
        log.append("else")
    finally:
        log.append("finally")
    return y, log


@program(X)
def finally_return_order(x):
    log = []

    def f():
        try:
            return x * 2
        finally:
            log.append("finally")

    return f(), log


@program(X)
def exception_carries_tensor(x):
    class Found(Exception):
        def __init__(self, value):
            self.value = value

    def search():
        for k in range(3):
            if k == 1:
                raise Found(x[k] * 10)

    try:
        search()
    except Found as found:
        return found.value


@program(X)
def reraise(x):
    try:
        try:
            raise Stop("inner")
        except Stop as error:
            raise ValueError("outer") from error
    except ValueError as error:
        return x * len(str(error)), type(error.__cause__).__name__


@program(X)
def nested_finally(x):
    log = []
    for k in range(3):
        try:
            if k == 1:
                continue
            x = x + k
        finally:
            log.append(k)
    return x, log


@program(X)
def shape_error_is_caught(x):
    try:
        return x + plait.ones(4, dtype="float64")
    except plait.errors.ShapeError:
        return x * 2


@program(X)
def index_error_is_caught(x):
    out = []
    k = 0
    while True:
        try:
            out.append(x[k])
        except IndexError:
            return out
        k += 1


@program(X)
def attribute_error_is_caught(x):
    try:
        return x.no_such_attribute
    except AttributeError:
        return hasattr(x, "other"), getattr(x, "nothing", x * 2)


@program(X)
def exception_group(x):
    try:
        raise ExceptionGroup("several", [ValueError("a"), Stop("b")])
    except* ValueError:
        y = x * 2
    except* Stop:
        y = y + 1
    return y


@program(X)
def assertion_on_shape(x):
    assert x.shape == (3,), "three"
    return x * 2


@program(S, looks=True)
def assertion_on_value(x):
    assert x > 0
    return x * 2


@program(X, raises=Stop)
def raise_at_once(x):
    raise Stop


@program(X, raises=ZeroDivisionError)
def raise_python_error(x):
    return x * (1 // 0)


@program(X, raises=KeyError)
def raise_missing_key(x):
    return {"a": x}["b"]


@program(X, raises=plait.errors.ShapeError)
def raise_shape_error(x):
    return x @ plait.ones((4, 2), dtype="float64")


@program(X, raises=IndexError)
def raise_index_error(x):
    return x[5]


@program(X, raises=TypeError)
def raise_type_error(x):
    return x + "text"


@program(X, raises=UnboundLocalError)
def raise_unbound(x):
    if x.ndim == 7:
        y = x
    return y


@program(X, raises=RecursionError)
def raise_recursion(x):
    def f(n):
        return f(n + 1)

    return x * f(0)


@program(X, raises=StopIteration)
def raise_stop_iteration(x):
    return next(iter([])) * x


@program(X, raises=AssertionError)
def raise_assertion(x):
    assert x.shape == (4,)


@stateful(X, raises=Stop)
def raise_after_write():
    total = plait.zeros(3, dtype="float64")
    count = plait.tensor(0)

    def f(x):
        count.add_(1)
        total.add_(x)
        x.mul_(2)
        raise Stop

    return f, [total, count]


@stateful(S, raises=Stop, looks=True)
def raise_after_write_and_look():
    total = plait.tensor(0.0, dtype="float64")

    def f(x):
        total.add_(x)
        if total > 0:
            total.mul_(3)
            raise Stop
        return total

    return f, [total]


@stateful(X)
def write_then_caught_exception():
    total = plait.zeros(3, dtype="float64")

    def f(x):
        try:
            total.add_(x)
            raise Stop
        except Stop:
            total.mul_(2)
        return total * 1

    return f, [total]


@stateful(X, looks=True)
def early_return_leaves_state():
    total = plait.tensor(0.0, dtype="float64")

    def f(x):
        if total > 2:
            return total * 0
        total.add_(x.sum())
        return total * 2

    return f, [total]


@stateful(X)
def del_name():
    def f(x):
        y = x * 2
        z = y + 1
        del y
        return z

    return f, []


@program(X)
def conditional_import_and_pass(x):
    import math

    for _ in ():
        pass
    return x * math.pi


@program(X)
def multiple_assignment(x):
    a = b = x * 2
    a = a + 1
    c, d = b, a
    c, d = d, c
    return a, b, c, d, c is a

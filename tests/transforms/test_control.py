"""Loops and branches against plain Python: values, derivatives, batches, and all of them nested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import plait


def tensor(value: Any) -> Any:
    return plait.tensor(value, dtype=plait.float64)


def same(got: Any, want: Any) -> None:
    """A list stands for a batch."""
    want = np.stack([np.asarray(w) for w in want]) if isinstance(want, list) else want
    for a, b in zip(plait.tree.leaves(got), plait.tree.leaves(want), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-10, atol=1e-12)


def arena(function: Any, *args: Any) -> int:
    """The bytes of temporaries of a compiled function."""
    compiled = plait.jit(function)
    compiled(*args)
    ((entry,),) = compiled._entries.values()
    return entry.program.plan.arena


# one program with each construct, beside the same in plain Python


def nested(x: Any, w: Any) -> Any:
    """A scan of a cond of a while loop."""

    def inner(v: Any) -> Any:
        step = lambda s: (s[0] + plait.exp(s[1]), plait.sin(s[1] * w))  # noqa: E731
        return plait.while_loop(lambda s: s[0] < 3.0, step, (v, v))[1]

    def step(c: Any, v: Any) -> Any:
        c = plait.cond(c.sum() > v, lambda c: inner(v) * c, lambda c: c + w * v, c)
        return c, c * v

    last, ys = plait.scan(step, plait.stack([w, w * x]), plait.stack([x, x * w, w - x, x * x]))
    return last.sum() + (ys * ys).sum()


def nested_plain(x: Any, w: Any) -> Any:
    def inner(v: Any) -> Any:
        a, b = v, v
        while a < 3.0:
            a, b = a + plait.exp(b), plait.sin(b * w)
        return b

    c, total = plait.stack([w, w * x]), tensor(0.0)
    for v in (x, x * w, w - x, x * x):
        c = inner(v) * c if c.sum() > v else c + w * v
        total = total + ((c * v) ** 2).sum()
    return c.sum() + total


@pytest.mark.parametrize("x", [0.3, 1.7])
def test_nested_control_flow_is_the_loop_it_says(x: float) -> None:
    x, w = tensor(x), tensor(0.8)
    same(nested(x, w), nested_plain(x, w))
    want = plait.grad(nested_plain, (0, 1))(x, w)
    same(plait.grad(nested, (0, 1))(x, w), want)
    same(plait.jit(plait.grad(nested, (0, 1)))(x, w), want)
    direction = (tensor(1.0), tensor(-0.5))
    same(plait.jvp(nested, (x, w), direction)[1], want[0] - 0.5 * want[1])
    same(plait.grad(plait.grad(nested))(x, w), plait.grad(plait.grad(nested_plain))(x, w))


def test_nested_control_flow_batched() -> None:
    xs, w = tensor([0.3, 1.7, -0.4]), tensor(0.8)
    same(plait.vmap(nested, in_axes=(0, None))(xs, w), [nested_plain(x, w) for x in xs])
    want = [plait.grad(nested_plain)(x, w) for x in xs]
    same(plait.jit(plait.vmap(plait.grad(nested), in_axes=(0, None)))(xs, w), want)
    summed = lambda xs, w: plait.vmap(nested, in_axes=(0, None))(xs, w).sum()  # noqa: E731
    of_xs, of_w = plait.grad(summed, (0, 1))(xs, w)
    same(of_xs, want)
    same(of_w, sum(plait.grad(nested_plain, 1)(x, w).item() for x in xs))


# while_loop backwards


def powers(x: Any, steps: Any, **settings: Any) -> Any:
    start = (plait.tensor(0), x, x * 0.0)
    step = lambda s: (s[0] + 1, plait.sin(s[1]) * 0.9 + x, s[2] + s[1] * s[0])  # noqa: E731
    return plait.while_loop(lambda s: s[0] < steps, step, start, **settings)


def powers_plain(x: Any, steps: int) -> Any:
    v, total = x, x * 0.0
    for k in range(steps):
        v, total = plait.sin(v) * 0.9 + x, total + v * k
    return v, total


@pytest.mark.parametrize("steps", [0, 1, 5, 63, 64, 65, 200])
def test_gradient_through_while(steps: int) -> None:
    f = lambda x, **settings: sum(powers(x, steps, **settings)[1:])  # noqa: E731
    x = tensor(0.4)
    want = plait.grad(lambda x: sum(powers_plain(x, steps)))(x)
    same(plait.grad(f)(x), want)
    same(plait.grad(lambda x: f(x, max_steps=256))(x), want)


def test_gradient_through_a_number_of_steps_that_is_data() -> None:
    slope = plait.jit(plait.grad(lambda x, n: powers(x, n)[2]))
    for steps in (0, 3, 70):
        want = plait.grad(lambda x, n=steps: powers_plain(x, n)[1])(tensor(0.4)) if steps else 0.0
        same(slope(tensor(0.4), plait.tensor(steps)), want)
    plain = plait.grad(lambda x: plait.fori_loop(plait.tensor(2), plait.tensor(5), lambda i, v: v * x + i, x))
    same(plain(tensor(1.1)), plait.grad(lambda x: ((x * x + 2) * x + 3) * x + 4)(tensor(1.1)))


def test_steps_beyond_the_checkpoints_of_all_levels() -> None:
    steps = 64 * 16 * 16 + 1000
    f = lambda x: plait.while_loop(lambda s: s[0] < steps, lambda s: (s[0] + 1, s[1] * x), (plait.tensor(0), x))[1]  # noqa: E731
    same(plait.jit(plait.grad(f))(tensor(1.0)), steps + 1)


def test_memory_of_reverse_while_does_not_grow() -> None:
    """The bounded loop stores something for each step; the other one as much for 100 steps as for 10,000."""

    def needed(steps: int, **settings: Any) -> int:
        def loss(x: Any) -> Any:
            step = lambda s: (s[0] + 1, plait.sin(s[1]) * x)  # noqa: E731
            return plait.while_loop(lambda s: s[0] < steps, step, (plait.tensor(0), x), **settings)[1].sum()

        return arena(plait.grad(loss), plait.ones(256))

    assert needed(100) == needed(10_000)
    assert needed(10_000) < needed(10_000, max_steps=10_000) / 20


def test_reverse_while_with_integers_and_captured_tensors_in_the_carry() -> None:
    table = tensor([0.5, -1.0, 2.0])

    def f(w: Any) -> Any:
        step = lambda s: {"n": s["n"] + 1, "v": s["v"] * w[s["n"] % 3] + table[s["n"] % 3]}  # noqa: E731
        return plait.while_loop(lambda s: s["n"] < 7, step, {"n": plait.tensor(0), "v": tensor(1.0)})["v"]

    def plain(w: Any) -> Any:
        v = tensor(1.0)
        for n in range(7):
            v = v * w[n % 3] + table[n % 3]
        return v

    w = tensor([1.1, 0.7, -0.3])
    same(plait.grad(f)(w), plait.grad(plain)(w))
    same(plait.jit(plait.jacrev(f))(w), plait.grad(plain)(w))
    same(plait.hessian(f)(w), plait.hessian(plain)(w))
    same(plait.grad(lambda w: plait.grad(f)(w).sum())(w), plait.hessian(plain)(w).sum(0))


@pytest.mark.parametrize("settings", [{}, {"max_steps": 4}])
def test_examples_of_a_batch_stop_by_themselves(settings: dict[str, int]) -> None:
    """The derivative of the body is infinite where some have stopped already."""

    def f(x: Any) -> Any:
        step = lambda s: (s[0] - 1.0, s[1] * plait.sqrt(s[0]))  # noqa: E731
        return plait.while_loop(lambda s: s[0] > 0.5, step, (x, x), **settings)[1]

    def plain(x: Any) -> Any:
        a, b = x, x
        while a > 0.5:
            a, b = a - 1.0, b * plait.sqrt(a)
        return b

    xs = tensor([3.0, 0.0, 2.0, 1.0])
    want = [plait.grad(plain)(x) for x in xs]
    same(plait.vmap(f)(xs), [plain(x) for x in xs])
    same(plait.grad(lambda xs: plait.vmap(f)(xs).sum())(xs), want)
    same(plait.jit(plait.vmap(plait.grad(f)))(xs), want)
    same(plait.jvp(plait.vmap(f), (xs,), (xs,))[1], [x * w for x, w in zip(xs, want, strict=True)])


def test_max_steps_ends_a_loop() -> None:
    assert plait.while_loop(lambda x: x < 100, lambda x: x + 1, plait.tensor(0), max_steps=7).item() == 7
    with pytest.raises(plait.errors.ArgumentError, match="max_steps is a number of steps"):
        plait.while_loop(lambda x: x < 1, lambda x: x, plait.tensor(0), max_steps=-1)


# cond and switch


BRANCHES: list[Callable[[Any, Any], Any]] = [
    lambda x, w: plait.log(x) * w,
    lambda x, w: plait.sqrt(x) * w * w,
    lambda x, w: x * w,
    lambda x, w: w * w,
]


@pytest.mark.parametrize("compiled", [False, True])
def test_switch_takes_one_branch(compiled: bool) -> None:
    run = lambda i, x: plait.switch(i, BRANCHES, x, tensor(2.0))  # noqa: E731
    run = plait.jit(run) if compiled else run
    for index, expected in ((-3, 0), (0, 0), (1, 1), (2, 2), (3, 3), (9, 3)):
        same(run(plait.tensor(index), tensor(3.0)), BRANCHES[expected](tensor(3.0), tensor(2.0)))
    assert plait.switch(0, [lambda x: x], tensor(5.0)).item() == 5.0
    with pytest.raises(plait.errors.ArgumentError, match="needs branches"):
        plait.switch(0, [])
    with pytest.raises(plait.errors.ArgumentTypeError, match="one integer"):
        plait.switch(1.5, BRANCHES, tensor(1.0), tensor(1.0))
    with pytest.raises(plait.errors.ArgumentError, match="switch: the branches return different structures"):
        plait.switch(0, [lambda: tensor(1.0), lambda: (tensor(1.0),)])


@pytest.mark.parametrize("captured", [False, True])
def test_gradients_of_batched_branches_come_from_the_chosen_one(captured: bool) -> None:
    """At 0 the derivatives of log and sqrt are infinite, and their examples choose something else."""

    def one(i: Any, x: Any, w: Any) -> Any:
        if captured:
            return plait.switch(i, [lambda f=f: f(x, w) for f in BRANCHES])
        return plait.switch(i, BRANCHES, x, w)

    indices, xs, w = plait.tensor([0, 1, 2, 3, 2]), tensor([1.5, 4.0, 0.0, 0.0, -1.0]), tensor(1.3)
    total = lambda xs, w: plait.vmap(one, in_axes=(0, 0, None))(indices, xs, w).sum()  # noqa: E731
    plain = lambda xs, w: sum(BRANCHES[int(i)](xs[k], w) for k, i in enumerate(indices.numpy()))  # noqa: E731
    same(plait.grad(total, (0, 1))(xs, w), plait.grad(plain, (0, 1))(xs, w))
    same(plait.jit(plait.grad(total, (0, 1)))(xs, w), plait.grad(plain, (0, 1))(xs, w))
    same(plait.hessian(total, 1)(xs, w), plait.hessian(plain, 1)(xs, w))
    second = plait.grad(lambda xs: plait.grad(total)(xs, w).sum())(xs)
    same(second, plait.grad(lambda xs: plait.grad(plain)(xs, w).sum())(xs))
    per_example = plait.vmap(plait.grad(one, 1), in_axes=(0, 0, None))(indices, xs, w)
    same(per_example, plait.grad(plain)(xs, w))


def test_branches_in_branches_batched_twice() -> None:
    def one(x: Any, y: Any) -> Any:
        inner = lambda: plait.cond(y > 0, lambda: plait.log(x) * plait.sqrt(y), lambda: x * y)  # noqa: E731
        return plait.cond(x > 0, inner, lambda: y * y)

    def plain(xs: Any, ys: Any) -> Any:
        total = tensor(0.0)
        for x in xs:
            for y in ys:
                total = total + ((plait.log(x) * plait.sqrt(y) if y > 0 else x * y) if x > 0 else y * y)
        return total

    total = lambda xs, ys: plait.vmap(lambda x: plait.vmap(lambda y: one(x, y))(ys))(xs).sum()  # noqa: E731
    xs, ys = tensor([1.0, 0.0, -2.0]), tensor([4.0, 0.0])
    same(total(xs, ys), plain(xs, ys))
    same(plait.grad(total, (0, 1))(xs, ys), plait.grad(plain, (0, 1))(xs, ys))


# scan with checkpoints


@pytest.mark.parametrize("length", [0, 1, 7, 16, 17])
@pytest.mark.parametrize("reverse", [False, True])
def test_checkpointed_scan_is_the_scan(length: int, reverse: bool) -> None:
    xs, start = tensor(np.linspace(0.1, 1.0, length)), tensor([0.3, 0.4])

    def loss(w: Any, xs: Any, **settings: Any) -> Any:
        step = lambda c, x: (plait.sin(c * w + x), c * x)  # noqa: E731
        last, ys = plait.scan(step, start, xs, length=length, reverse=reverse, **settings)
        return (last**2).sum() + (ys * plait.arange(length)[:, None]).sum()

    w = tensor(0.7)
    want = plait.grad(loss, (0, 1))(w, xs)
    for checkpoint in (True, 3, 100):
        kept = lambda w, xs, c=checkpoint: loss(w, xs, checkpoint=c)  # noqa: E731
        same(kept(w, xs), loss(w, xs))
        same(plait.grad(kept, (0, 1))(w, xs), want)
        same(plait.jvp(kept, (w, xs), (w, xs))[1], plait.jvp(loss, (w, xs), (w, xs))[1])
    ws = tensor([0.7, -0.2])
    batched = plait.jit(plait.vmap(plait.grad(lambda w: loss(w, xs, checkpoint=True))))(ws)
    same(batched, [plait.grad(loss)(w, xs) for w in ws])
    second = plait.grad(plait.grad(lambda w: loss(w, xs, checkpoint=True)))(w)
    same(second, plait.grad(plait.grad(lambda w: loss(w, xs)))(w))


def test_memory_of_checkpointed_scan() -> None:
    def loss(x: Any, checkpoint: bool) -> Any:
        step = lambda c, _: (plait.sin(c) * 0.9 + x, None)  # noqa: E731
        return plait.scan(step, x, length=2500, checkpoint=checkpoint)[0].sum()

    whole, chunked = (arena(plait.grad(lambda x, k=kept: loss(x, k)), plait.ones(512)) for kept in (False, True))
    assert whole >= 2500 * 2048
    assert chunked < 5 * 2 * 50 * 2048


def test_checkpoint_of_scan_is_checked() -> None:
    for wrong in (0, -1, 2.5):
        with pytest.raises(plait.errors.ArgumentError, match="there is no such checkpoint"):
            plait.scan(lambda c, x: (c, x), tensor(0.0), tensor([1.0]), checkpoint=wrong)


# map and associative_scan


@pytest.mark.parametrize("batch_size", [None, 1, 3, 7, 10])
def test_map_in_batches(batch_size: int | None) -> None:
    xs = tensor(np.arange(14.0).reshape(7, 2))
    f = lambda row: {"sum": row["a"].sum() * row["b"], "row": row["a"] * 2}  # noqa: E731
    got = plait.map(f, {"a": xs, "b": xs[:, 0]}, batch_size=batch_size)
    same(got, {"sum": xs.numpy().sum(1) * xs.numpy()[:, 0], "row": xs.numpy() * 2})
    slope = plait.grad(lambda v: plait.map(plait.sin, v, batch_size=batch_size).sum())(xs[:, 0])
    same(slope, np.cos(xs.numpy()[:, 0]))
    for wrong in (0, 1.5):
        with pytest.raises(plait.errors.ArgumentError, match="no such batch size"):
            plait.map(f, {"a": xs, "b": xs[:, 0]}, batch_size=wrong)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 8, 13])
@pytest.mark.parametrize("reverse", [False, True])
def test_associative_scan_is_a_loop(size: int, reverse: bool) -> None:
    """Linear recurrences, whose composition does not commute."""
    rng = np.random.default_rng(size)
    a, b = rng.standard_normal((size, 2)), rng.standard_normal((size, 2))
    then = lambda first, second: (first[0] * second[0], first[1] * second[0] + second[1])  # noqa: E731
    _, got = plait.associative_scan(then, (tensor(a), tensor(b)), reverse=reverse)
    state, expected = np.zeros(2), np.zeros((size, 2))
    for k in reversed(range(size)) if reverse else range(size):
        state = state * a[k] + b[k]
        expected[k] = state
    same(got, expected)


def test_associative_scan_along_an_axis_in_few_rounds() -> None:
    m = tensor(np.random.default_rng(0).standard_normal((3, 33, 2, 2)) * 0.7)
    calls = []

    def combine(a: Any, b: Any) -> Any:
        calls.append(a.shape)
        return a @ b

    got = plait.associative_scan(combine, m, axis=1)
    state, expected = np.broadcast_to(np.eye(2), (3, 2, 2)), []
    for k in range(33):
        state = state @ m.numpy()[:, k]
        expected.append(state)
    same(got, np.stack(expected, 1))
    assert len(calls) <= 2 * 6
    slope = plait.jit(plait.grad(lambda m: plait.associative_scan(plait.matmul, m, axis=1).sum()))(m)
    loop = lambda m: plait.scan(lambda c, x: (c @ x, c @ x), plait.eye(2, dtype=plait.float64), m)[1].sum()  # noqa: E731
    same(slope, plait.vmap(plait.grad(loop))(m))
    with pytest.raises(plait.errors.ShapeError, match="returns what it takes"):
        plait.associative_scan(lambda a, b: a.sum(), m)

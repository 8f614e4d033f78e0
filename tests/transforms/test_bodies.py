"""Programs with bodies: cond, while_loop, scan, fori_loop, callback, checkpoint, at every stage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait
from plait.tensor.tensor import node_of

Array = Any


def tensor(value: Any) -> Any:
    return plait.tensor(value, dtype=plait.float64)


# scan


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("length", [0, 1, 2, 7])
@pytest.mark.parametrize("reverse", [False, True])
def test_scan_is_a_loop(length: int, reverse: bool, compiled: bool) -> None:
    xs = np.linspace(-1, 1, 3 * length).reshape(length, 3)
    weight = tensor([0.5, -1.0, 2.0])

    def run(start: Any, xs: Any) -> Any:
        return plait.scan(lambda h, x: (h * weight + x, (h + x, x * 2)), start, xs, length=length, reverse=reverse)

    start = np.array([1.0, 2.0, 3.0])
    last, (a, b) = (plait.jit(run) if compiled else run)(tensor(start), tensor(xs))
    h, expected = start, np.zeros((length, 3))
    for k in reversed(range(length)) if reverse else range(length):
        expected[k] = h + xs[k]
        h = h * np.array([0.5, -1.0, 2.0]) + xs[k]
    np.testing.assert_allclose(last.numpy(), h)
    np.testing.assert_allclose(a.numpy(), expected)
    np.testing.assert_allclose(b.numpy(), xs * 2)


@pytest.mark.parametrize("length", [0, 1, 5])
def test_gradient_of_scan(length: int) -> None:
    xs = np.linspace(0.2, 1, length)

    def run(w: Any, xs: Any) -> Any:
        return plait.scan(lambda h, x: (plait.sin(h * w + x), h * h), tensor(0.3), xs, length=length)

    def loss(w: Any, xs: Any) -> Any:
        last, ys = run(w, xs)
        return last + ys.sum()

    def unrolled(w: Any, xs: Any) -> Any:
        h, total = tensor(0.3), tensor(0.0)
        for k in range(length):
            total = total + h * h
            h = plait.sin(h * w + xs[k])
        return h + total

    got = plait.grad(loss, argnums=(0, 1))(tensor(0.7), tensor(xs))
    want = plait.grad(unrolled, argnums=(0, 1))(tensor(0.7), tensor(xs))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-12)


def test_nested_scans_with_pytrees() -> None:
    def inner(state: Any, x: Any) -> Any:
        return {"total": state["total"] + x, "count": state["count"] + 1}, state["total"]

    def outer(state: Any, row: Any) -> Any:
        state, seen = plait.scan(inner, state, row)
        return state, (seen, state["total"])

    xs = tensor(np.arange(12.0).reshape(3, 4))
    start = {"total": tensor(0.0), "count": plait.tensor(0)}
    state, (seen, totals) = plait.scan(outer, start, xs)
    running = np.cumsum(np.arange(12.0))
    assert state["count"].item() == 12 and state["total"].item() == running[-1]
    np.testing.assert_allclose(seen.numpy().ravel(), running - np.arange(12.0))
    np.testing.assert_allclose(totals.numpy(), running[3::4])


def test_scan_whose_stacked_results_share_no_memory_with_the_body() -> None:
    """Rows of earlier rounds survive the temporaries of later ones."""

    def step(h: Any, x: Any) -> Any:
        a = plait.cumsum(x)
        b = plait.flip(plait.cumsum(a * h))
        c = plait.cumsum(b + a)
        return h * 0.9, c

    xs = tensor(np.random.default_rng(0).standard_normal((6, 9)))
    _, ys = plait.scan(step, tensor(1.0), xs)
    result = (ys * 1.0).numpy()
    for k, row in enumerate(xs.numpy()):
        a = np.cumsum(row)
        np.testing.assert_allclose(result[k], np.cumsum(np.cumsum(a * 0.9**k)[::-1] + a))


def test_carry_that_swaps() -> None:
    (a, b), _ = plait.scan(lambda s, x: ((s[1], s[0] + x), None), (tensor(1.0), tensor(10.0)), tensor([1.0, 2.0, 3.0]))
    x, y = 1.0, 10.0
    for v in (1.0, 2.0, 3.0):
        x, y = y, x + v
    assert (a.item(), b.item()) == (x, y)


def test_batched_scan() -> None:
    def run(w: Any, xs: Any) -> Any:
        return plait.scan(lambda h, x: (h * w + x, h), tensor(0.0), xs)[0]

    w, xs = np.array([0.5, 1.5, -1.0]), np.random.default_rng(1).standard_normal((3, 4))
    got = plait.vmap(run)(tensor(w), tensor(xs)).numpy()
    want = [run(tensor(a), tensor(b)).item() for a, b in zip(w, xs, strict=True)]
    np.testing.assert_allclose(got, want)
    only_xs = plait.vmap(run, in_axes=(None, 0))(tensor(0.5), tensor(xs)).numpy()
    np.testing.assert_allclose(only_xs, [run(tensor(0.5), tensor(b)).item() for b in xs])


# cond


@pytest.mark.parametrize(
    ("choose", "count"), [(lambda k, some, x: plait.cond(k == 1, some[1], some[0], x), 2), (plait.switch, 4)]
)
@pytest.mark.parametrize("compiled", [False, True])
def test_only_the_chosen_branch_runs(choose: Any, count: int, compiled: bool) -> None:
    ran = []

    def branch(k: int) -> Any:
        def call(x: Array) -> Array:
            ran.append(k)
            return x

        return lambda x: plait.pure_callback(call, plait.tensor(0.0), x)

    def run(k: Any, x: Any) -> Any:
        return choose(k, [branch(k) for k in range(count)], x)

    run = plait.jit(run) if compiled else run
    for k in range(count):
        assert run(plait.tensor(k), plait.tensor(2.0)).item() == 2.0
    assert ran == list(range(count))


def test_cond_with_captured_values_and_gradients() -> None:
    a, b = tensor([1.0, 2.0]), tensor(3.0)

    def f(p: Any, a: Any, b: Any) -> Any:
        return plait.cond(p, lambda: (a * a).sum() * b, lambda: (a * b).sum())

    for flag, want_a, want_b in ((True, [6.0, 12.0], 5.0), (False, [3.0, 3.0], 3.0)):
        got_a, got_b = plait.grad(lambda a, b, p=flag: f(plait.tensor(p), a, b), argnums=(0, 1))(a, b)
        assert got_a.tolist() == want_a and got_b.item() == want_b


def test_batched_predicate_becomes_a_select() -> None:
    f = lambda x: plait.cond(x > 0, lambda x: plait.log(x), lambda x: x * 0.0 - 1.0, x)  # noqa: E731
    x = tensor([-1.0, 1.0, np.e])
    np.testing.assert_allclose(plait.vmap(f)(x).numpy(), [-1.0, 0.0, 1.0], atol=1e-12)


def test_nested_cond_in_while() -> None:
    def step(n: Any) -> Any:
        return plait.cond(n % 2 == 0, lambda n: n // 2, lambda n: 3 * n + 1, n)

    def steps(n: Any) -> Any:
        return plait.while_loop(lambda s: s[0] != 1, lambda s: (step(s[0]), s[1] + 1), (n, plait.tensor(0)))[1]

    assert steps(plait.tensor(27)).item() == 111
    assert plait.jit(steps)(plait.tensor(27)).item() == 111
    assert plait.vmap(steps)(plait.tensor([1, 6, 27, 7])).tolist() == [0, 8, 111, 16]


# while_loop and fori_loop


def test_while_that_never_runs_and_forward_mode() -> None:
    f = lambda x: plait.while_loop(lambda v: v < 10.0, lambda v: v * x, x)  # noqa: E731
    assert f(tensor(11.0)).item() == 11.0
    value, slope = plait.jvp(f, (tensor(2.0),), (tensor(1.0),))
    assert value.item() == 16.0 and slope.item() == 4 * 2.0**3


def test_while_in_reverse_mode() -> None:
    f = lambda x: plait.while_loop(lambda v: v < 10.0, lambda v: v * x, x)  # noqa: E731
    assert plait.grad(f)(tensor(2.0)).item() == 4 * 2.0**3


@pytest.mark.parametrize("compiled", [False, True])
def test_fori_loop_with_numbers_and_tensors(compiled: bool) -> None:
    f = lambda n, x: plait.fori_loop(0, n, lambda i, v: v + i * x, x)  # noqa: E731
    run = plait.jit(f) if compiled else f
    assert run(plait.tensor(5), tensor(2.0)).item() == 2.0 + 10 * 2.0
    fixed = lambda x: plait.fori_loop(0, 5, lambda i, v: v * x + i, x)  # noqa: E731
    slope = plait.grad(fixed)(tensor(1.1)).item()
    h = 1e-6
    assert slope == pytest.approx((fixed(tensor(1.1 + h)).item() - fixed(tensor(1.1 - h)).item()) / (2 * h), rel=1e-6)


# callbacks


def test_callback_in_programs() -> None:
    f = lambda x: plait.pure_callback(np.cbrt, plait.tensor([0.0, 0.0]), x * 2.0) + 1.0  # noqa: E731
    for run in (f, plait.jit(f)):
        np.testing.assert_allclose(run(plait.tensor([4.0, 13.5])).numpy(), [3.0, 4.0], rtol=1e-6)


def test_callback_errors_reach_the_caller() -> None:
    def fails(x: Array) -> Array:
        raise ValueError("no data today")

    f = plait.jit(lambda x: plait.pure_callback(fails, plait.tensor(0.0), x))
    for _ in range(2):
        with pytest.raises(ValueError, match="no data today"):
            f(plait.tensor(1.0)).item()
    assert plait.tensor(2.0).sin().item() == pytest.approx(np.sin(2.0))


def test_gradient_through_callback_is_refused() -> None:
    f = lambda x: plait.pure_callback(np.cbrt, plait.tensor(0.0), x)  # noqa: E731
    with pytest.raises(plait.errors.GradientError, match="callback"):
        plait.grad(f)(plait.tensor(1.0))


# checkpoint


def nodes_kept(function: Any, x: Any) -> set[str]:
    """The primitives whose results the pull-back of a function holds."""
    _, pull = plait.vjp(function, x)
    gradient = node_of(pull(plait.tensor(1.0, dtype=plait.float64))[0])
    stack, names = [gradient], set()
    while stack:
        node = stack.pop()
        names.add(node.prim.name)
        stack.extend(node.inputs)
    return names


def test_checkpoint_computes_again() -> None:
    inner = lambda x: plait.sin(plait.exp(x))  # noqa: E731
    plain = nodes_kept(lambda x: inner(x).sum(), tensor([0.1, 0.2]))
    again = nodes_kept(lambda x: plait.checkpoint(inner)(x).sum(), tensor([0.1, 0.2]))
    assert "barrier" in again and "barrier" not in plain


def test_checkpoint_keeps_python_control_flow_and_closures() -> None:
    scale = tensor(3.0)

    @plait.checkpoint
    def f(x: Any) -> Any:
        return {"y": x * scale if x > 0 else -x}

    g = plait.grad(lambda x: f(x)["y"])
    assert g(tensor(2.0)).item() == 3.0 and g(tensor(-2.0)).item() == -1.0

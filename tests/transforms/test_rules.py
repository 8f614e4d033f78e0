"""Custom derivatives, pytrees, Python control flow, higher orders, leaks and messages of the transforms."""

from __future__ import annotations

import dataclasses
import gc
import math
import weakref
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import plait
from plait.core.errors import AbstractValueError, ArgumentError, GradientError, ShapeError
from plait.core.graph import ABSTRACT, LINEAR, TRACED
from plait.core.primitive import P
from plait.prims.custom import with_transpose
from plait.tensor.tensor import node_of, wrap


def tensor(value: Any) -> Any:
    return plait.tensor(value, dtype=plait.float64)


# custom rules


@plait.custom_jvp
def stable(x: Any, y: Any) -> Any:
    return plait.log(plait.exp(x) + plait.exp(y))


@stable.defjvp
def stable_jvp(primals: Any, tangents: Any) -> Any:
    (x, y), (s, t) = primals, tangents
    out = stable(x, y)
    return out, plait.exp(x - out) * s + plait.exp(y - out) * t


def expected(x: float, y: float) -> list[float]:
    total = math.exp(x) + math.exp(y)
    return [math.exp(x) / total, math.exp(y) / total]


def test_custom_jvp_in_every_transform() -> None:
    x, y = tensor(0.3), tensor(-0.5)
    want = expected(0.3, -0.5)
    got = plait.grad(stable, argnums=(0, 1))(x, y)
    np.testing.assert_allclose([g.item() for g in got], want)
    assert plait.jvp(stable, (x, y), (tensor(1.0), tensor(0.0)))[1].item() == pytest.approx(want[0])
    assert plait.jit(plait.grad(stable))(x, y).item() == pytest.approx(want[0])
    batched = plait.vmap(plait.grad(stable), in_axes=(0, None))(tensor([0.3, 1.0]), y)
    np.testing.assert_allclose(batched.numpy(), [want[0], expected(1.0, -0.5)[0]])
    second = plait.grad(plait.grad(stable))(x, y).item()
    assert second == pytest.approx(want[0] * (1 - want[0]))
    of_batch = plait.grad(lambda v: plait.vmap(stable, in_axes=(0, None))(v, y).sum())(tensor([0.3, 1.0]))
    np.testing.assert_allclose(of_batch.numpy(), batched.numpy())


@plait.custom_vjp
def clipped(x: Any) -> Any:
    return x * 1.0


clipped.defvjp(lambda x: (clipped(x), None), lambda kept, g: (plait.clamp(g, -1.0, 1.0),))


def test_custom_vjp_in_every_transform() -> None:
    f = lambda x: (clipped(x) * 5.0).sum()  # noqa: E731
    x = tensor([1.0, -2.0])
    for run in (plait.grad(f), plait.jit(plait.grad(f)), plait.vmap(plait.grad(f)), plait.grad(plait.checkpoint(f))):
        assert run(x).tolist() == [1.0, 1.0]
    leaf = plait.tensor([1.0, -2.0], requires_grad=True)
    f(leaf).backward()
    assert leaf.grad.tolist() == [1.0, 1.0]
    scanned = plait.grad(lambda x: plait.scan(lambda h, u: (h + clipped(u) * 3.0, None), tensor(0.0), x)[0])
    assert scanned(x).tolist() == [1.0, 1.0]


def test_custom_vjp_with_residuals_and_second_order() -> None:
    @plait.custom_vjp
    def f(x: Any, scale: Any) -> Any:
        return plait.sin(x) * scale

    f.defvjp(
        lambda x, scale: (f(x, scale), (x, scale)),
        lambda kept, g: (g * plait.cos(kept[0]) * kept[1], None),
    )
    x, scale = tensor(0.4), tensor(2.0)
    assert plait.grad(f)(x, scale).item() == pytest.approx(2 * math.cos(0.4))
    assert plait.grad(f, argnums=1)(x, scale).item() == 0.0
    assert plait.grad(plait.grad(f))(x, scale).item() == pytest.approx(-2 * math.sin(0.4))


def test_forward_mode_of_custom_vjp_is_refused() -> None:
    with pytest.raises(GradientError, match="custom_vjp"):
        plait.jvp(clipped, (tensor(1.0),), (tensor(1.0),))


def shifted_product(x: Any, w: Any) -> Any:
    """x[i - 1] * w[i], linear in x, with its transpose given; differentiated in w as usual."""

    def moved(x: Any, by: int) -> Any:
        return P.pad(x, 0.0, low=(by,), high=(-by,), interior=(0,))

    node = with_transpose(lambda x, w: moved(x, 1) * w, lambda y, w: moved(y * w, -1), node_of(x), node_of(w))
    return wrap(node)


def test_given_transpose_in_every_transform() -> None:
    x, w, d = tensor([1.0, 2.0, 3.0]), tensor([4.0, 5.0, 6.0]), tensor([1.0, 0.0, -1.0])
    f = lambda x, w: (shifted_product(x, w) ** 2).sum()  # noqa: E731
    want_x, want_w = [2 * 25 * 1.0, 2 * 36 * 2.0, 0.0], [0.0, 2 * 5 * 1.0, 2 * 6 * 4.0]
    for run in (plait.grad(f, argnums=(0, 1)), plait.jit(plait.grad(f, argnums=(0, 1)))):
        assert [g.tolist() for g in run(x, w)] == [want_x, want_w]
    assert plait.jvp(f, (x, w), (d, d))[1].item() == pytest.approx(50.0 - 48.0)
    mixed = plait.grad(lambda w: (plait.grad(f)(x, w) * d).sum())(w)
    assert mixed.tolist() == [0.0, 4 * 5 * 1.0, 0.0]
    both = plait.stack([x, 2 * x])
    for axes, seconds in (((0, None), [w, w]), ((0, 0), [w, -w])):
        batch = plait.stack(seconds) if axes[1] == 0 else w
        of_batch = plait.vmap(plait.grad(f, argnums=(0, 1)), in_axes=axes)(both, batch)
        one_by_one = [plait.grad(f, argnums=(0, 1))(both[i], seconds[i]) for i in range(2)]
        for k in range(2):
            assert of_batch[k].tolist() == [g[k].tolist() for g in one_by_one]


def test_rules_that_are_missing_or_wrong() -> None:
    with pytest.raises(GradientError, match="has no rule.*defjvp"):
        plait.custom_jvp(lambda x: x)(tensor(1.0))
    with pytest.raises(GradientError, match="has no rules.*defvjp"):
        plait.custom_vjp(lambda x: x)(tensor(1.0))
    wrong = plait.custom_vjp(lambda x: x * 1.0)
    wrong.defvjp(lambda x: (x * 1.0, None), lambda kept, g: g)
    with pytest.raises(GradientError, match="backward returns a tuple"):
        plait.grad(wrong)(tensor(1.0))


# pytrees

Pair = namedtuple("Pair", ["first", "second"])


@dataclasses.dataclass
class Layer:
    weight: Any
    bias: Any
    name: str = dataclasses.field(default="", metadata={"static": True})


def loss(tree: Any) -> Any:
    layer = tree["layer"]
    return (layer.weight * layer.bias).sum() * tree["pair"].first + tree["list"][0] * tree["pair"].second


def parameters() -> Any:
    return {
        "layer": Layer(tensor([1.0, 2.0]), tensor([3.0, 4.0]), "dense"), "pair": Pair(tensor(2.0), tensor(5.0)),
        "list": [tensor(7.0)],
    }  # fmt: skip


def check_gradient(g: Any) -> None:
    assert isinstance(g["layer"], Layer) and g["layer"].name == "dense" and isinstance(g["pair"], Pair)
    assert g["layer"].weight.tolist() == [6.0, 8.0] and g["layer"].bias.tolist() == [2.0, 4.0]
    assert (g["pair"].first.item(), g["pair"].second.item(), g["list"][0].item()) == (11.0, 7.0, 5.0)


def test_gradients_have_the_structure_of_the_argument() -> None:
    check_gradient(plait.grad(loss)(parameters()))
    check_gradient(plait.jit(plait.grad(loss))(parameters()))
    check_gradient(plait.vjp(loss, parameters())[1](tensor(1.0))[0])


def test_trees_through_vmap_and_scan() -> None:
    batch = {"a": tensor([[1.0, 2.0], [3.0, 4.0]]), "b": (tensor([5.0, 6.0]),)}
    out = plait.vmap(lambda t: {"sum": t["a"].sum() + t["b"][0], "pair": Pair(t["a"], 1.0)})(batch)
    assert out["sum"].tolist() == [8.0, 13.0] and out["pair"].second.tolist() == [1.0, 1.0]
    axes = plait.vmap(lambda t: t["a"] * t["b"], in_axes=({"a": 1, "b": None},), out_axes=1)
    assert axes({"a": tensor([[1.0, 2.0], [3.0, 4.0]]), "b": tensor(2.0)}).tolist() == [[2.0, 4.0], [6.0, 8.0]]


def test_jvp_of_trees() -> None:
    value, slope = plait.jvp(loss, (parameters(),), (parameters(),))
    assert value.item() == 57.0 and slope.item() == 3 * 22.0 + 2 * 35.0


def test_aux_and_argnums() -> None:
    f = lambda x, y: ((x * y).sum(), {"seen": x + 1})  # noqa: E731
    (value, aux), gradient = plait.value_and_grad(f, argnums=1, has_aux=True)(tensor([1.0, 2.0]), tensor([3.0, 4.0]))
    assert value.item() == 11.0 and aux["seen"].tolist() == [2.0, 3.0] and gradient.tolist() == [1.0, 2.0]
    both = plait.grad(lambda x, y: x * y, argnums=(0, -1))(tensor(2.0), tensor(5.0))
    assert [g.item() for g in both] == [5.0, 2.0]


# Python control flow and values


@pytest.mark.parametrize("value", [2.0, -3.0])
def test_python_branches_on_values(value: float) -> None:
    def f(x: Any) -> Any:
        if x > 0:
            for _ in range(int(x.item())):
                x = x * x
            return x
        return -x

    slope = 4 * value**3 if value > 0 else -1.0
    assert plait.grad(f)(tensor(value)).item() == pytest.approx(slope)
    assert plait.jvp(f, (tensor(value),), (tensor(1.0),))[1].item() == pytest.approx(slope)
    assert plait.grad(plait.checkpoint(f))(tensor(value)).item() == pytest.approx(slope)
    second = plait.grad(plait.grad(f))(tensor(value)).item()
    assert second == pytest.approx(12 * value**2 if value > 0 else 0.0)


@pytest.mark.parametrize("transform", [plait.jit(strict=True), plait.vmap])
def test_python_branches_are_refused_where_values_are_unknown(transform: Any) -> None:
    def f(x: Any) -> Any:
        return x if x > 0 else -x

    with pytest.raises(AbstractValueError, match=r"not known while the function is staged \(recorded at .*test_rules"):
        transform(f)(tensor([1.0, 2.0]) if transform is plait.vmap else tensor(1.0))
    with pytest.raises(AbstractValueError, match=r"plait\.where or plait\.cond"):
        transform(lambda x: float(x))(tensor([1.0]))
    with pytest.raises(AbstractValueError, match="not known"):
        plait.scan(lambda c, x: (c, x.item()), tensor(0.0), tensor([1.0]))


# higher orders


def test_derivatives_of_high_order() -> None:
    f, x = plait.sin, 0.7
    want = [math.cos(x), -math.sin(x), -math.cos(x), math.sin(x), math.cos(x)]
    for value in want:
        f = plait.grad(f)
        assert f(tensor(x)).item() == pytest.approx(value, rel=1e-12)


def test_mixed_modes_agree() -> None:
    f = lambda x: (plait.exp(x[0] * x[1]) * plait.sin(x[2])).sum()  # noqa: E731
    x = tensor([0.3, -0.6, 1.1])
    hessian = plait.hessian(f)(x).numpy()
    for outer in (plait.jacfwd, plait.jacrev):
        for inner in (plait.jacfwd, plait.jacrev):
            np.testing.assert_allclose(outer(inner(f))(x).numpy(), hessian, rtol=1e-12)
    np.testing.assert_allclose(hessian, hessian.T)
    third = plait.jacfwd(plait.hessian(f))(x).numpy()
    h = 1e-5
    for k, e in enumerate(np.eye(3)):
        shifted = [plait.hessian(f)(tensor(x.numpy() + s * h * e)).numpy() for s in (1, -1)]
        np.testing.assert_allclose(third[..., k], (shifted[0] - shifted[1]) / (2 * h), rtol=1e-6, atol=1e-8)


def test_perturbations_are_not_confused() -> None:
    """d/dx (x * d/dy (x + y)) = 1 at any point."""
    outer = plait.grad(lambda x: x * plait.grad(lambda y: x + y)(tensor(1.0)))
    assert outer(tensor(3.0)).item() == 1.0
    forward = lambda f, x: plait.jvp(f, (x,), (tensor(1.0),))[1]  # noqa: E731
    assert forward(lambda x: x * forward(lambda y: x + y, tensor(1.0)), tensor(3.0)).item() == 1.0
    assert plait.vmap(plait.grad(lambda x: x * plait.grad(lambda y: x * y)(tensor(2.0))))(tensor([3.0])).tolist() == [
        6.0
    ]


def test_backward_inside_and_around_transforms() -> None:
    w = plait.tensor([1.0, 2.0], requires_grad=True)
    gradient = plait.grad(lambda x: (x * w * x).sum())(plait.tensor([3.0, 4.0]))
    gradient.sum().backward()
    assert w.grad.tolist() == [6.0, 8.0]


def test_integer_results_carry_no_gradient() -> None:
    f = lambda x: (x * plait.argmax(x)).sum() + plait.floor(x).sum() * 0.5  # noqa: E731
    assert plait.grad(f)(tensor([1.0, 5.0, 2.0])).tolist() == [1.0, 1.0, 1.0]


# leaks


def test_results_carry_no_traces() -> None:
    x = tensor([1.0, 2.0])
    f = lambda x: plait.sin(x).sum()  # noqa: E731
    results = [
        plait.grad(f)(x), plait.jvp(f, (x,), (x,))[1], plait.vmap(plait.grad(lambda x: x * x))(x), plait.jit(f)(x),
        plait.hessian(f)(x), plait.linearize(f, x)[1](x), plait.vjp(f, x)[1](tensor(1.0))[0],
    ]  # fmt: skip
    for r in results:
        assert not node_of(r).flags & (ABSTRACT | TRACED | LINEAR)


@pytest.mark.parametrize("stage", ["jit", "vmap", "scan"])
def test_a_leaked_value_says_where_it_is_from(stage: str) -> None:
    leaked = []

    def f(x: Any) -> Any:
        leaked.append(x * 2)
        return x + 1

    runs = {"jit": plait.jit(f), "vmap": plait.vmap(f), "scan": lambda x: plait.scan(lambda c, v: (c, f(v)), x, x)[1]}
    runs[stage](tensor([1.0, 2.0])).numpy()
    with pytest.raises(plait.errors.PlaitError, match=f"leaked: .*test_rules.* while {stage} recorded"):
        (leaked[0] + 1).numpy()


def test_gradients_free_what_they_recorded() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        y = plait.sin(x)
        seen.append(weakref.ref(node_of(y)))
        return (y * y).sum()

    result = plait.grad(f)(tensor([1.0, 2.0]))
    result.numpy()
    gc.collect()
    assert seen[0]() is None


def test_a_failing_function_leaves_nothing_behind() -> None:
    def f(x: Any) -> Any:
        raise KeyError("inside")

    for transform in (plait.grad, plait.jit, plait.vmap, plait.checkpoint):
        with pytest.raises(KeyError, match="inside"):
            transform(f)(tensor([1.0]))
    assert plait.is_grad_enabled()
    assert plait.grad(lambda x: (x * x).sum())(tensor([3.0])).tolist() == [6.0]


# messages


def test_messages_of_transforms() -> None:
    with pytest.raises(ShapeError, match=r"grad needs a function that returns a scalar\. Received: shape \(2,\)"):
        plait.grad(lambda x: x)(tensor([1.0, 2.0]))
    with pytest.raises(plait.errors.DTypeError, match="differentiates floating-point arguments.*int64"):
        plait.grad(lambda x: x)(plait.tensor(1))
    with pytest.raises(ArgumentError, match="no such positional argument. Received: 2"):
        plait.grad(lambda x: x, argnums=2)(tensor(1.0))
    with pytest.raises(ShapeError, match="the batch sizes differ"):
        plait.vmap(lambda x, y: x + y)(tensor([1.0]), tensor([1.0, 2.0]))
    with pytest.raises(ArgumentError, match="no argument is batched"):
        plait.vmap(lambda x: x, in_axes=None)(tensor([1.0]))
    with pytest.raises(ShapeError, match="has no axis to map over"):
        plait.vmap(lambda x: x)(tensor(1.0))
    with pytest.raises(plait.errors.PlaitError, match="tangents given to jvp"):
        plait.jvp(plait.sin, (tensor(1.0),), (tensor([1.0]),))
    with pytest.raises(plait.errors.PlaitError, match="changes its carry"):
        plait.scan(lambda c, x: (plait.stack([c, c]), x), tensor(0.0), tensor([1.0]))
    with pytest.raises(plait.errors.PlaitError, match="branches"):
        plait.cond(plait.tensor(True), lambda: tensor(1.0), lambda: tensor([1.0]))

"""jit: same results as eager, state found and updated in place, versions kept apart by what steers them."""

from __future__ import annotations

import copy
import gc
import weakref

import numpy as np
import pytest

import plait
from plait.core.errors import AbstractValueError


def parameters() -> list[plait.Parameter]:
    random = np.random.default_rng(0)
    return [plait.Parameter(random.normal(size=s).astype("float32")) for s in ((4, 8), (8,), (8, 2))]


def step_of(ps: list[plait.Parameter]):
    momentum = [plait.zeros(p.shape) for p in ps]

    def step(x: plait.Tensor, y: plait.Tensor) -> plait.Tensor:
        loss = ((plait.tanh(x @ ps[0] + ps[1]) @ ps[2] - y) ** 2).mean()
        for p in ps:
            p.grad = None
        loss.backward()
        with plait.no_grad():
            for p, m in zip(ps, momentum, strict=True):
                m.mul_(0.9).add_(p.grad)
                p.sub_(m * 0.1)
        return loss

    return step, momentum


def batch() -> tuple[plait.Tensor, plait.Tensor]:
    random = np.random.default_rng(1)
    return (plait.tensor(random.normal(size=(16, n)).astype("float32")) for n in (4, 2))


def test_training_equals_eager() -> None:
    eager_ps, jit_ps = parameters(), parameters()
    eager, eager_m = step_of(eager_ps)
    compiled, jit_m = step_of(jit_ps)
    compiled = plait.jit(compiled)
    x, y = batch()
    for _ in range(5):
        assert eager(x, y).item() == pytest.approx(compiled(x, y).item(), rel=1e-5)
    for a, b in zip([*eager_ps, *eager_m], [*jit_ps, *jit_m], strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-6)
    for a, b in zip(eager_ps, jit_ps, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_state_is_updated_in_place() -> None:
    ps = parameters()
    compiled = plait.jit(step_of(ps)[0])
    x, y = batch()
    compiled(x, y)
    before = [p._node.value.address for p in ps]
    compiled(x, y)
    assert [p._node.value.address for p in ps] == before


def test_values_recorded_before_the_call_keep_the_old_state() -> None:
    p = plait.Parameter([1.0])

    @plait.jit
    def double(x: plait.Tensor) -> plait.Tensor:
        with plait.no_grad():
            p.mul_(2.0)
        return x

    double(plait.tensor(0.0))
    later = p.detach() * 1.0
    double(plait.tensor(0.0))
    assert later.tolist() == [2.0]
    assert p.tolist() == [4.0] if not p.requires_grad else p.detach().tolist() == [4.0]


def test_state_changed_outside_is_seen() -> None:
    scale = plait.tensor(2.0)
    compiled = plait.jit(lambda x: x * scale)
    x = plait.tensor([1.0, 2.0])
    assert compiled(x).tolist() == [2.0, 4.0]
    scale.fill_(3.0)
    assert compiled(x).tolist() == [3.0, 6.0]


def test_gradient_state_guards() -> None:
    p = plait.Parameter([1.0, 2.0])

    @plait.jit
    def accumulate(x: plait.Tensor) -> plait.Tensor:
        loss = (p * x).sum()
        loss.backward()
        return loss

    x = plait.tensor([1.0, 3.0])
    for k in range(1, 4):
        accumulate(x)
        assert p.grad.tolist() == [1.0 * k, 3.0 * k]


def test_shapes_and_static_arguments_make_versions() -> None:
    calls = []

    @plait.jit
    def f(x: plait.Tensor, power: int, flags: dict[str, bool]) -> plait.Tensor:
        calls.append(x.shape)
        return x**power if flags["on"] else x

    x = plait.tensor([2.0, 3.0])
    assert f(x, 2, {"on": True}).tolist() == [4.0, 9.0]
    assert f(x, 2, {"on": True}).tolist() == [4.0, 9.0]
    assert len(calls) == 1
    assert f(x, 3, {"on": True}).tolist() == [8.0, 27.0]
    assert f(x, 3, {"on": False}).tolist() == [2.0, 3.0]
    assert f(plait.tensor([2.0]), 2, {"on": True}).tolist() == [4.0]
    assert len(calls) == 4


def test_structures_go_in_and_out() -> None:
    f = plait.jit(lambda tree: {"sum": tree["a"] + tree["b"][0], "tag": "x", "pair": (tree["a"], 3)})
    out = f({"a": plait.tensor(1.0), "b": [plait.tensor(2.0)]})
    assert out["sum"].item() == 3.0
    assert out["tag"] == "x"
    assert out["pair"][1] == 3
    assert out["pair"][0].item() == 1.0


def test_what_is_returned_keeps_its_identity() -> None:
    p = plait.tensor([1.0])

    @plait.jit
    def f(x: plait.Tensor) -> tuple[plait.Tensor, ...]:
        p.add_(1.0)
        y = x * p
        return p, x, x[0], y, y, y[:1]

    x = plait.ones(2)
    for k in range(2, 5):
        state, same, part, y, again, view = f(x)
        assert state is p and same is x and y is again
        assert p.tolist() == [k] and y.tolist() == [k, k]
        part += 5
        view *= 0
        assert x.tolist() == [6, 1] and y.tolist() == [0, k]
        x.fill_(1)


def test_arguments_that_share_memory() -> None:
    state = plait.zeros(3)

    @plait.jit
    def f(x: plait.Tensor, y: plait.Tensor) -> plait.Tensor:
        x.add_(1.0)
        return y * 2

    @plait.jit
    def g(x: plait.Tensor) -> plait.Tensor:
        state.add_(1.0)
        return x * 2

    for k in range(1, 4):
        assert f(state, state).tolist() == [2 * k] * 3
    state.zero_()
    for k in range(1, 4):
        assert f(state[1:], state).tolist() == [0, 2 * k, 2 * k]
        assert g(state[:1]).tolist() == [2]
        state.sub_(1.0)
    assert f(plait.zeros(3), plait.ones(3) * 5).tolist() == [10, 10, 10]


def test_gradients_flow_through_a_compiled_function() -> None:
    w = plait.Parameter([3.0])
    f = plait.jit(lambda x: (x * w).sum())
    f(plait.tensor([2.0])).backward()
    assert w.grad.tolist() == [2.0]
    assert plait.grad(f)(plait.tensor([2.0])).tolist() == [3.0]
    assert plait.vmap(f)(plait.tensor([[2.0], [4.0]])).tolist() == [6.0, 12.0]


def test_models_are_passed_as_they_are() -> None:
    model, seen = plait.nn.Sequential(plait.nn.Linear(2, 2), plait.nn.BatchNorm1d(2)), []

    @plait.jit
    def f(m: plait.nn.Module, x: plait.Tensor) -> plait.Tensor:
        seen.append(m)
        return m(x).detach()

    for k in range(1, 4):
        f(model, plait.ones(3, 2))
        assert model[1].num_batches_tracked.item() == k
    assert seen == [model]


def test_two_functions_add_to_one_gradient() -> None:
    w = plait.Parameter([1.0])

    @plait.jit
    def begin(x: plait.Tensor) -> None:
        w.grad = None
        (w * x).sum().backward()

    @plait.jit
    def add(x: plait.Tensor) -> None:
        (w * x).sum().backward()

    x = plait.ones(1)
    for rounds in (1, 3, 0, 2):
        begin(x)
        for k in range(rounds):
            add(x * 10)
            assert w.grad is not None and w.grad.tolist() == [1 + 10 * (k + 1)]


def test_looking_at_a_value_says_what_to_do() -> None:
    f = plait.jit(lambda x: x if x > 0 else -x, strict=True)
    with pytest.raises(AbstractValueError, match=r"not known while the function is staged.*test_jit.*where"):
        f(plait.tensor(1.0))


def test_a_failed_staging_leaves_state_alone() -> None:
    p = plait.tensor([1.0])

    @plait.jit
    def f(x: plait.Tensor) -> plait.Tensor:
        p.add_(x)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        f(plait.tensor([5.0]))
    assert p.tolist() == [1.0]


def test_a_deep_copy_does_not_share_state() -> None:
    p = plait.Parameter([1.0])
    other = copy.deepcopy(p)

    @plait.jit
    def f() -> None:
        with plait.no_grad():
            p.add_(1.0)

    f()
    f()
    assert p.detach().tolist() == [3.0]
    assert other.detach().tolist() == [1.0]


def test_methods_and_numpy_arguments() -> None:
    class Scaler:
        def __init__(self) -> None:
            self.factor = plait.tensor(2.0)

        @plait.jit
        def __call__(self, x: plait.Tensor) -> plait.Tensor:
            return x * self.factor

    assert Scaler()(np.array([1.0, 2.0], np.float32)).tolist() == [2.0, 4.0]


def test_views_of_state_follow() -> None:
    table = plait.zeros((3, 2))
    row = table[1]

    @plait.jit
    def f(x: plait.Tensor) -> None:
        table[1] = x

    f(plait.tensor([1.0, 2.0]))
    assert row.tolist() == [1.0, 2.0]
    f(plait.tensor([3.0, 4.0]))
    assert row.tolist() == [3.0, 4.0]
    assert table.tolist() == [[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]


def test_nothing_leaks() -> None:
    f = plait.jit(lambda x: x + 1)
    x = plait.tensor([1.0])
    f(x)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(200):
        f(x)
    gc.collect()
    assert len(gc.get_objects()) - before < 50


def test_a_history_kept_by_the_user_keeps_its_values() -> None:
    w = plait.Parameter([3.0])

    @plait.jit
    def halve() -> None:
        with plait.no_grad():
            w.mul_(0.5)

    halve()
    y = (w * w).sum()
    halve()
    y.backward()
    assert w.grad.tolist() == [3.0]
    assert w.detach().tolist() == [0.75]


def test_programs_hold_no_values() -> None:
    def f(x: plait.Tensor) -> plait.Tensor:
        return plait.tanh(x) * 2.0 + x

    for function in (f, plait.jit(f)):
        x = plait.ones(1000) * 3.0
        function(x).sum().item()
        node = weakref.ref(x._node)
        function(x).sum().item()
        del x
        plait.sync()
        gc.collect()
        assert node() is None


def test_state_advances_under_a_recorded_result() -> None:
    w = plait.Parameter([3.0])

    @plait.jit
    def grow() -> plait.Tensor:
        with plait.no_grad():
            w.mul_(2.0)
        return (w * w).sum()

    for k in range(1, 4):
        w.grad = None
        result = grow()
        assert result.item() == (3.0 * 2**k) ** 2
        result.backward()
        assert w.grad.tolist() == [2 * 3.0 * 2**k]


def test_state_cannot_steer_python_in_one_program() -> None:
    count = plait.tensor(0.0)

    @plait.jit(strict=True)
    def f(x: plait.Tensor) -> plait.Tensor:
        count.add_(1.0)
        return x if count.item() > 2 else -x

    with pytest.raises(AbstractValueError):
        f(plait.tensor(1.0))
    assert count.item() == 0.0


def test_models_and_parameters_are_state_in_arguments_too() -> None:
    model = plait.nn.Linear(3, 1)
    scale = plait.Parameter([2.0])
    optimizer = plait.optim.SGD([*model.parameters(), scale], lr=0.01)
    calls = []

    @plait.jit
    def step(model: plait.nn.Module, scale: plait.Parameter, x: plait.Tensor) -> plait.Tensor:
        calls.append(1)
        loss = ((model(x) * scale) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    x = plait.ones((4, 3))
    losses = [step(model, scale, x).item() for _ in range(4)]
    assert losses == sorted(set(losses), reverse=True)
    assert len(calls) == 1


def test_tensors_made_inside_start_anew_each_call() -> None:
    @plait.jit
    def f(x: plait.Tensor) -> tuple[plait.Tensor, plait.Tensor]:
        total, count = plait.tensor([0.0, 0.0]), plait.zeros(2)
        for _ in range(2):
            total += x
            count += 1.0
        return total * 1.0, count

    for _ in range(3):
        total, count = f(plait.tensor([1.0, 2.0]))
        assert total.tolist() == [2.0, 4.0] and count.tolist() == [2.0, 2.0]


def test_a_step_without_arguments() -> None:
    w = plait.Parameter([2.0])

    @plait.jit
    def step() -> plait.Tensor:
        w.grad = None
        loss = (w * w).sum()
        loss.backward()
        with plait.no_grad():
            w.sub_(0.25 * w.grad)
        return loss

    for k in range(4):
        assert step().item() == 4.0 / 4**k
        assert w.grad.tolist() == [4.0 / 2**k]
        assert w.detach().tolist() == [1.0 / 2**k]


def test_state_that_was_written_from_an_array_is_followed_though_somebody_holds_it() -> None:
    generator = plait.Generator(0)
    generator.set_state(np.array([0, 3, 0], np.uint32))
    held = generator.state._node  # as the frames of a traceback may
    draw = plait.jit(lambda: plait.rand(2, generator=generator))
    found = [draw().tolist() for _ in range(3)]
    assert held.value is not None and generator.get_state().tolist() == [0, 3, 3]
    assert found[0] != found[1] != found[2]


@pytest.mark.parametrize("is_held", [False, True])
def test_gradients_accumulate_over_two_versions_of_a_step(is_held: bool) -> None:
    layer = plait.nn.Linear(2, 1)
    held = []

    def step(x: plait.Tensor, is_first: bool) -> None:
        if is_first:
            layer.zero_grad()
        layer(x).sum().backward()

    run = plait.jit(step)
    for _ in range(3):
        for k in range(3):
            run(plait.ones(1, 2) * (k + 1), k == 0)
            if is_held and not held:
                held.append(layer.weight.grad._node)  # as the frames of a traceback may
        assert layer.weight.grad.tolist() == [[6.0, 6.0]]
        layer.weight.grad = plait.ones(1, 2) * 10
        run(plait.ones(1, 2), False)
        assert layer.weight.grad.tolist() == [[11.0, 11.0]]

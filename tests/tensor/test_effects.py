"""What the bodies of transforms write outside: carried by loops and branches, refused where it differs by example."""

from __future__ import annotations

import gc
import weakref

import pytest

import plait
from plait.core.errors import AbstractValueError


def test_a_loop_carries_what_its_body_writes() -> None:
    table = plait.zeros(3)
    last = table[2]

    def step(carry: plait.Tensor, x: plait.Tensor) -> tuple[plait.Tensor, plait.Tensor]:
        table[1:] = table[:2] + x
        return carry + table.sum(), last * 1

    for run in (step, plait.jit(lambda *a: step(*a))):
        table.zero_()
        carry, seen = plait.scan(run, plait.tensor(0.0), plait.tensor([1.0, 2.0, 3.0]))
        assert table.tolist() == [0, 3, 5] and last.item() == 5
        assert carry.item() == 15 and seen.tolist() == [1, 3, 5]


def test_training_inside_a_loop() -> None:
    def train(loop: bool) -> list[float]:
        plait.manual_seed(0)
        weight, velocity = plait.Parameter([1.0, -2.0]), plait.zeros(2)

        def step(carry: plait.Tensor, x: plait.Tensor) -> tuple[plait.Tensor, plait.Tensor]:
            gradient = plait.grad(lambda w: ((w * x).sum() - 1) ** 2)(weight)
            with plait.no_grad():
                velocity.mul_(0.5).add_(gradient)
                weight.sub_(velocity * 0.1)
            return carry, (weight * weight).sum().detach()

        xs = plait.tensor([[1.0, 2.0], [0.5, -1.0], [0.0, 1.0]])
        if loop:
            found = plait.scan(step, plait.tensor(0.0), xs)[1]
        else:
            found = plait.stack([step(plait.tensor(0.0), x)[1] for x in xs])
        assert weight.requires_grad and weight.is_leaf
        return [*found.tolist(), *weight.tolist(), *velocity.tolist()]

    assert train(True) == pytest.approx(train(False), rel=1e-5)


def test_each_step_draws_other_numbers() -> None:
    layer = plait.nn.Dropout(0.5)
    found = plait.scan(lambda c, x: (c, layer(x)), plait.tensor(0.0), plait.ones(4, 64))[1]
    assert len({str(row.tolist()) for row in found}) == 4


def test_a_gradient_left_by_a_body_is_refused() -> None:
    weight = plait.Parameter([1.0])

    def step(carry: plait.Tensor, x: plait.Tensor) -> tuple[plait.Tensor, plait.Tensor]:
        (weight * x).sum().backward()
        return carry, x

    with pytest.raises(AbstractValueError, match=r"leaves a gradient in `\.grad`.*test_effects.*plait\.grad"):
        plait.scan(step, plait.tensor(0.0), plait.ones(3))
    assert weight.grad is None and weight.tolist() == [1]


def test_values_of_examples_are_refused_with_the_line() -> None:
    norm, log = plait.nn.BatchNorm1d(2), plait.zeros(2)
    with pytest.raises(AbstractValueError, match="vmap writes to a tensor from outside.*test_effects.py"):
        plait.vmap(norm)(plait.ones(3, 4, 2))
    assert norm.running_mean.tolist() == [0, 0] and norm.num_batches_tracked.item() == 0

    def local(x: plait.Tensor) -> plait.Tensor:
        mine = plait.zeros(2)
        mine[0] = x.sum()
        mine[1:] += x[0]
        log.add_(1)  # the same for all examples: once
        return mine

    assert plait.vmap(local)(plait.ones(3, 2)).tolist() == [[2, 1]] * 3 and log.tolist() == [1, 1]


def test_state_written_inside_grad_holds_no_history() -> None:
    total = plait.zeros(2)

    def loss(x: plait.Tensor) -> plait.Tensor:
        total.add_(x)
        return (x * x).sum()

    old = []
    for _ in range(3):
        plait.grad(loss)(plait.ones(2))
        assert total.tolist() == [len(old) + 1] * 2
        old.append(weakref.ref(total._node))
    gc.collect()
    assert [r() is None for r in old] == [True, True, False]


def test_a_function_that_draws_is_no_composite() -> None:
    plait.manual_seed(0)
    first = plait.nn.functional.rrelu(-plait.ones(7), training=True).tolist()
    plait.manual_seed(0)
    assert plait.nn.functional.rrelu(-plait.ones(7), training=True).tolist() == first

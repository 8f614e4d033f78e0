"""What ordinary programs do with tensors, models and transforms together."""

from __future__ import annotations

import numpy as np
import pytest

import plait
from plait import nn, optim
from plait.core.errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError
from plait.tensor import lazy


def test_predictions_have_no_history():
    logits = nn.Linear(2, 3)(plait.ones(4, 2))
    assert logits.requires_grad
    predicted = logits.argmax(1)
    assert not predicted.requires_grad
    assert predicted.numpy().shape == (4,)
    assert not (predicted == 1).to(plait.float32).mean().requires_grad
    assert not (logits > 0).requires_grad


def test_a_mask_of_a_freed_history_can_be_used():
    w = plait.ones(3, requires_grad=True)
    y = w * 2
    mask = y > 1
    y.sum().backward()
    (w * mask).sum().backward()
    assert w.grad.tolist() == [3, 3, 3]


def test_switching_modes_stages_once_for_each_mode():
    model, staged = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)), []

    @plait.jit
    def predict(x):
        staged.append(model.training)
        return model(x)

    with plait.no_grad():
        for _ in range(3):
            model.train()
            predict(plait.ones(2, 3))
            model.eval()
            predict(plait.ones(2, 3))
    assert staged == [True, False]


def test_the_step_of_an_optimizer_is_the_end_of_a_program():
    model = nn.Linear(3, 1)
    optimizer = optim.Adam(model.parameters())
    for _ in range(3):
        loss = model(plait.ones(4, 3)).sum()
        loss.backward()
        optimizer.step()
        assert not lazy.pending


def test_reductions_of_numpy():
    x = plait.arange(6.0).reshape(2, 3)
    assert np.mean(x).item() == 2.5
    assert np.sum(x, axis=0).tolist() == [3, 5, 7]
    assert np.max(x).item() == 5


def test_integers_of_a_list_must_fit():
    with pytest.raises(ArgumentError, match="does not fit uint8. Received: 300. Expected: 0 to 255"):
        plait.tensor([[1, 300]], dtype=plait.uint8)


def test_sizes_of_random_tensors_are_not_negative():
    with pytest.raises(ShapeError, match="Sizes are not negative"):
        plait.rand(2, -1)
    with pytest.raises(ArgumentError, match="low=5, high=3"):
        plait.randint(5, 3, (2,))


def test_an_optimizer_does_not_take_a_model():
    with pytest.raises(ArgumentTypeError, match="Received: Linear. Fix: pass model.parameters()"):
        optim.Adam(nn.Linear(2, 3))


def test_rules_of_custom_vjp_are_checked():
    @plait.custom_vjp
    def f(x):
        return x * 2

    x = plait.ones(2, 3)
    loss = plait.grad(lambda x: f(x).sum())
    f.defvjp(lambda x: f(x), lambda r, g: (g,))
    with pytest.raises(GradientError, match="forward returns a pair. Received: Tensor"):
        loss(x)
    f.defvjp(lambda x: (f(x), None), lambda r, g: (g.sum(),))
    with pytest.raises(ShapeError, match=r"Received: float32\[\]. Expected: float32\[2,3\]"):
        loss(x)


def test_a_function_under_custom_vjp_may_return_its_argument():
    @plait.custom_vjp
    def f(x):
        return x

    f.defvjp(lambda x: (f(x), None), lambda r, g: (g * 3,))
    assert plait.grad(lambda x: f(x).sum())(plait.ones(2)).tolist() == [3, 3]
    assert plait.vmap(plait.grad(f))(plait.ones(2)).tolist() == [3, 3]


def test_a_mask_of_attention_must_fit():
    attention = nn.MultiHeadAttention(8, 2)
    x = plait.ones(2, 5, 8)  # [length, batch, features]
    with pytest.raises(ShapeError, match=r"attn_mask does not fit. Received: \(5, 5\).*batch_first"):
        attention(x, x, x, attn_mask=plait.ones(5, 5, dtype=bool))


def test_results_are_the_same_bits_for_every_number_of_threads() -> None:
    random = np.random.default_rng(0)
    a, b = (plait.tensor(random.normal(size=(300, 200)).astype("float32")) for _ in range(2))

    @plait.jit
    def f(a, b):
        return plait.softmax(a @ b.T, -1).sum(0), (a * b).sum(), plait.cumsum(a, 1)

    threads = plait.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            plait.set_num_threads(count)
            results.append([t.numpy().tobytes() for t in f(a, b)])
    finally:
        plait.set_num_threads(threads)
    assert results[0] == results[1] == results[2]

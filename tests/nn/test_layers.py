"""Layers against plain NumPy (the full comparison with PyTorch is in tests/compare)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait
from plait import nn
from plait.core.errors import ArgumentError, DTypeError, ShapeError
from plait.nn import functional as F

random = np.random.default_rng(0)


def draw(*shape: int) -> Any:
    return random.normal(size=shape).astype(np.float32)


def close(ours: plait.Tensor, expected: Any, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=tolerance, atol=tolerance)


def naive_conv(x: Any, w: Any, stride: int, padding: int, dilation: int) -> Any:
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    reach = dilation * (w.shape[2] - 1) + 1
    rows = range(0, x.shape[2] - reach + 1, stride)
    columns = range(0, x.shape[3] - reach + 1, stride)
    windows = [[x[:, :, i : i + reach : dilation, j : j + reach : dilation] for j in columns] for i in rows]
    return np.einsum("ijncab,ocab->noij", np.array(windows), w.astype(np.float64))


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (1, 2, 2)])
def test_conv2d(stride: int, padding: int, dilation: int) -> None:
    x, w, b = draw(2, 3, 7, 8), draw(4, 3, 3, 3), draw(4)
    result = F.conv2d(plait.tensor(x), plait.tensor(w), plait.tensor(b), stride, padding, dilation)
    close(result, naive_conv(x, w, stride, padding, dilation) + b[:, None, None], 1e-4)
    close(F.conv2d(plait.tensor(x[0]), plait.tensor(w)), naive_conv(x[:1], w, 1, 0, 1)[0], 1e-4)


def test_pooling() -> None:
    x = draw(2, 3, 6, 6)
    blocks = x.reshape(2, 3, 3, 2, 3, 2)
    close(F.max_pool2d(plait.tensor(x), 2), blocks.max((3, 5)))
    close(F.avg_pool2d(plait.tensor(x), 2), blocks.mean((3, 5)))
    close(F.avg_pool2d(plait.tensor(x), 2, divisor_override=1), blocks.sum((3, 5)))


def test_batch_norm_tracks_statistics() -> None:
    layer, x = nn.BatchNorm2d(3), draw(4, 3, 5, 5) * 2 + 1
    result = layer(plait.tensor(x))
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    close(result, (x - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 1e-5), 1e-4)
    close(layer.running_mean, 0.1 * mean)
    close(layer.running_var, 0.9 + 0.1 * x.var((0, 2, 3), ddof=1), 1e-4)
    assert layer.num_batches_tracked.item() == 1
    evaluated = layer.eval()(plait.tensor(x))
    assert layer.num_batches_tracked.item() == 1
    close(evaluated, (x - 0.1 * mean[:, None, None]) / np.sqrt(layer.running_var.numpy()[:, None, None] + 1e-5), 1e-4)


def test_normalization_of_16_bit_floats_is_taken_in_float32() -> None:
    x = (draw(8, 64) + 30).astype(np.float16)
    result = F.layer_norm(plait.tensor(x), 64)
    assert result.dtype is plait.float16
    wide = x.astype(np.float32)
    close(result.to(plait.float32), (wide - wide.mean(1, keepdims=True)) / wide.std(1, keepdims=True), 5e-3)


def test_dropout() -> None:
    plait.manual_seed(0)
    x = plait.ones(100, 100)
    kept = F.dropout(x, 0.3).numpy()
    assert set(np.unique(kept)) == {np.float32(0), np.float32(1 / 0.7)}
    assert np.mean(kept == 0) == pytest.approx(0.3, abs=0.02)
    assert not np.array_equal(kept, F.dropout(x, 0.3).numpy())
    plait.manual_seed(0)
    np.testing.assert_array_equal(kept, F.dropout(x, 0.3).numpy())
    assert F.dropout(x, 1.0).numpy().sum() == 0
    assert nn.Dropout(0.3).eval()(x) is x


def test_compiled_dropout_draws_anew() -> None:
    layer = nn.Dropout(0.5)
    f = plait.jit(layer)
    x = plait.ones(1000)
    plait.manual_seed(1)
    first, second = f(x).numpy().copy(), f(x).numpy().copy()
    assert not np.array_equal(first, second)
    plait.manual_seed(1)
    np.testing.assert_array_equal(first, layer(x).numpy())


def test_embedding() -> None:
    table = draw(5, 3)
    index = np.array([[0, 4], [2, 2]])
    close(F.embedding(plait.tensor(index), plait.tensor(table)), table[index])
    outside = F.embedding(plait.tensor([1, 5, -1]), plait.tensor(table)).numpy()
    assert np.isnan(outside[1:]).all()
    assert not np.isnan(outside[0]).any()


def test_attention() -> None:
    q, k, v = draw(2, 3, 4), draw(2, 5, 4), draw(2, 5, 6)
    scores = q @ k.swapaxes(1, 2) / 2.0
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    close(F.scaled_dot_product_attention(plait.tensor(q), plait.tensor(k), plait.tensor(v)), weights @ v)
    mask = np.array([[True] * 5, [False] * 5, [True, False] * 2 + [False]])
    masked = F.scaled_dot_product_attention(*map(plait.tensor, (q, k, v)), plait.tensor(mask)).numpy()
    assert (masked[:, 1] == 0).all()
    with pytest.raises(ShapeError, match="the sizes do not fit"):
        F.scaled_dot_product_attention(plait.tensor(q), plait.tensor(v), plait.tensor(v))


def test_causal_attention_does_not_look_ahead() -> None:
    attention = nn.MultiHeadAttention(8, 2, batch_first=True)
    x = draw(1, 6, 8)
    changed = x.copy()
    changed[0, 4:] += 1
    results = [attention(*[plait.tensor(a)] * 3, is_causal=True, need_weights=False)[0] for a in (x, changed)]
    close(results[0][:, :4], results[1][:, :4].detach().numpy())
    assert not np.allclose(results[0][:, 4:].detach().numpy(), results[1][:, 4:].detach().numpy())


# losses


def log_softmax(x: Any) -> Any:
    shifted = x.astype(np.float64) - x.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def test_cross_entropy() -> None:
    logits, classes = draw(6, 5), random.integers(0, 5, 6)
    logs = log_softmax(logits)
    each = -logs[np.arange(6), classes]
    x = plait.tensor(logits, requires_grad=True)
    loss = F.cross_entropy(x, plait.tensor(classes))
    close(loss, each.mean())
    loss.backward()
    close(x.grad, (np.exp(logs) - np.eye(5)[classes]) / 6)
    close(F.cross_entropy(plait.tensor(logits), plait.tensor(classes), reduction="none"), each)
    soft = np.exp(logs).astype(np.float32)
    close(F.cross_entropy(plait.tensor(logits), plait.tensor(soft)), -(soft * logs).sum(1).mean())
    assert np.isnan(F.cross_entropy(plait.tensor(logits), plait.tensor([0, 1, 2, 3, 4, 5])).item())


def test_cross_entropy_of_extreme_logits() -> None:
    logits = plait.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    loss = F.cross_entropy(logits, plait.tensor([0, 0]))
    assert loss.item() == 1e4
    loss.backward()
    close(logits.grad, [[0, 0], [-0.5, 0.5]])


def test_other_losses() -> None:
    a, b = draw(3, 4), draw(3, 4)
    close(F.mse_loss(plait.tensor(a), plait.tensor(b)), ((a - b) ** 2).mean())
    close(nn.L1Loss(reduction="sum")(plait.tensor(a), plait.tensor(b)), np.abs(a - b).sum())
    p = 1 / (1 + np.exp(-a.astype(np.float64)))
    y = (b > 0).astype(np.float32)
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    close(F.binary_cross_entropy_with_logits(plait.tensor(a), plait.tensor(y)), expected.mean())
    assert F.binary_cross_entropy_with_logits(plait.tensor([1000.0]), plait.tensor([0.0])).item() == 1000.0


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.cross_entropy(plait.ones(2, 3), plait.zeros(3, dtype=plait.int64)), ShapeError, r"shape \(2,\)"),
        (lambda: F.cross_entropy(plait.ones(2, 3), plait.ones(2, 4)), ShapeError, "probabilities have the shape"),
        (lambda: F.cross_entropy(plait.arange(3), plait.tensor(0)), DTypeError, "takes floating-point input"),
        (lambda: F.cross_entropy(plait.ones(3), plait.tensor(0), reduction="avg"), ArgumentError, "Unknown reduction"),
        (lambda: F.cross_entropy(plait.ones(3), plait.tensor(0), label_smoothing=2), ArgumentError, "label_smoothing"),
        (lambda: F.cross_entropy(plait.ones(3), plait.tensor(0), plait.ones(2)), ShapeError, "one number for each"),
        (lambda: F.nll_loss(plait.ones(2, 3), plait.tensor([True, False])), DTypeError, "Class numbers are integers"),
        (lambda: F.mse_loss(plait.ones(2, 1), plait.ones(2)), ShapeError, "mse_loss compares equal shapes"),
        (lambda: F.pad(plait.ones(2), (1,)), ArgumentError, "pair of integers for each axis"),
        (lambda: F.pad(plait.ones(2), (1, 1, 1, 1)), ShapeError, "more widths than axes"),
        (lambda: F.batch_norm(plait.ones(2, 3), None, None), ArgumentError, "no running statistics"),
        (lambda: F.linear(plait.ones(3), plait.ones(2, 4)), ShapeError, "last axis of input and weight differ"),
        (lambda: F.conv2d(plait.ones(1, 1, 4, 4), plait.ones(1, 1, 3)), ShapeError, "conv2d takes a weight of 4 axes"),
        (lambda: F.embedding(plait.tensor([0]), plait.ones(3)), ShapeError, "is a matrix"),
    ],
)
def test_errors(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


# initial values


@pytest.mark.parametrize(
    ("name", "bound", "spread"),
    [("kaiming_uniform_", (6 / 90) ** 0.5, None), ("xavier_uniform_", (6 / 140) ** 0.5, None),
     ("kaiming_normal_", None, (2 / 90) ** 0.5), ("xavier_normal_", None, (2 / 140) ** 0.5)],
)  # fmt: skip
def test_initial_values(name: str, bound: float | None, spread: float | None) -> None:
    weight = nn.Parameter(np.zeros((50, 90), np.float32))
    assert getattr(nn.init, name)(weight) is weight
    assert weight.requires_grad
    values = weight.detach().numpy()
    if bound is not None:
        assert bound * 0.99 < np.abs(values).max() <= bound
    else:
        assert values.std() == pytest.approx(spread, rel=0.05)


def test_other_initial_values() -> None:
    weight = nn.Parameter(np.zeros((3, 3), np.float32))
    assert nn.init.eye_(weight).tolist() == np.eye(3).tolist()
    assert nn.init.constant_(weight, 2.5).tolist() == [[2.5] * 3] * 3
    values = nn.init.trunc_normal_(plait.zeros(4000), std=2.0, a=-1.0, b=3.0).numpy()
    assert values.min() >= -1
    assert values.max() <= 3
    with pytest.raises(ShapeError, match="The fan of a weight needs two axes"):
        nn.init.kaiming_uniform_(plait.zeros(3))
    with pytest.raises(ArgumentError, match="Unknown nonlinearity"):
        nn.init.calculate_gain("cubic")

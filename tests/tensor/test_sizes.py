"""Changing sizes: later sizes need no new kernels, and give what a version made for them alone gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import plait
from plait import nn
from plait.runtime.code import statistics

F = nn.functional


def kernels() -> int:
    return statistics.compiled + statistics.from_cache


def transformer() -> tuple[Callable[..., Any], Callable[[int], Any]]:
    model = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True).requires_grad_(False)
    return model, lambda n: (plait.randn(3, n, 16),)


def convolutions() -> tuple[Callable[..., Any], Callable[[int], Any]]:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, stride=2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    ).eval().requires_grad_(False)  # fmt: skip
    return model, lambda n: (plait.randn(n, 3, 12, 12),)


def images() -> tuple[Callable[..., Any], Callable[[int], Any]]:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU(), nn.ConvTranspose2d(8, 2, 2, stride=2)).requires_grad_(False)
    return model, lambda n: (plait.randn(2, 3, n + 6, n + 7),)


def recurrent() -> tuple[Callable[..., Any], Callable[[int], Any]]:
    model = nn.GRU(5, 7, batch_first=True).requires_grad_(False)
    return lambda x: model(x)[0], lambda n: (plait.randn(n, 4, 5),)


def reshaping() -> tuple[Callable[..., Any], Callable[[int], Any]]:
    def f(x: plait.Tensor) -> plait.Tensor:
        y = plait.concatenate([x[1:], x[:-1] * 2, plait.flip(x, 0)])
        z = y.reshape(-1, 3, 2).transpose(0, 2).cumsum(-1).softmax(-1)
        return plait.nn.functional.pad(z[..., : x.shape[0]], (1, 2)) @ plait.ones(x.shape[0] + 3, 2)

    return f, lambda n: (plait.randn(n, 6),)


def gathering() -> tuple[Callable[..., Any], Callable[[int], Any]]:
    table = nn.Embedding(11, 6).requires_grad_(False)

    def f(ids: plait.Tensor) -> plait.Tensor:
        h = table(ids)
        best = h.argmax(dim=-1, keepdim=True)
        return h.gather(-1, best) + plait.sort(h, dim=1).values.sum(-1, keepdim=True)

    return f, lambda n: (plait.randint(0, 11, (2, n)),)


CASES = [transformer, convolutions, images, recurrent, reshaping, gathering]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("compiled", [True, False])
def test_forward_and_backward(case: Any, compiled: bool) -> None:
    plait.manual_seed(0)
    function, inputs = case()

    def loss(x: plait.Tensor) -> Any:
        with plait.set_grad_enabled(x.is_floating_point()):
            return (
                plait.value_and_grad(lambda x: (function(x) ** 2).mean())(x) if x.is_floating_point() else function(x)
            )

    call, made, found = plait.jit(loss, strict=True) if compiled else loss, [], []
    for n in (4, 5, 7, 9, 6, 13):
        (x,) = inputs(n)
        x.numpy()
        before = kernels()
        found.append((x, [y.detach().numpy() for y in plait.tree.leaves(call(x))]))
        made.append(kernels() - before)
    assert not any(made[3 if compiled else 4 :]), made
    for x, got in found:
        for g, w in zip(got, plait.tree.leaves(plait.jit(loss)(x)), strict=True):
            np.testing.assert_allclose(g, w.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_two_axes_become_symbolic_one_after_the_other() -> None:
    f = plait.jit(lambda x, w: plait.relu(x @ w).softmax(-1).sum(0))
    made = []
    for rows, inner in ((4, 5), (6, 5), (6, 7), (9, 11), (3, 20), (50, 2)):
        x, w = plait.randn(rows, inner), plait.randn(inner, 8)
        _ = x.numpy(), w.numpy()
        before = kernels()
        got = f(x, w).numpy()
        made.append(kernels() - before)
        scores = np.maximum(x.numpy() @ w.numpy(), 0)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        np.testing.assert_allclose(got, (weights / weights.sum(-1, keepdims=True)).sum(0), rtol=1e-4)
    assert made[3:] == [0, 0, 0], made


def test_sizes_that_coincide_are_told_apart_by_their_places() -> None:
    w = plait.randn(6, 6)
    f = plait.jit(lambda x: (x @ w).softmax(-1).T @ x)
    for rows in (5, 7, 6, 6, 12):
        x = plait.randn(rows, 6)
        x.numpy()
        before = kernels()
        got = f(x).numpy()
        made = kernels() - before
        scores = x.numpy() @ w.numpy()
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        np.testing.assert_allclose(got, (weights / weights.sum(-1, keepdims=True)).T @ x.numpy(), rtol=1e-3, atol=1e-5)
    assert made == 0


def test_empty_and_single_sizes_are_versions_of_their_own() -> None:
    f = plait.jit(lambda x: plait.concatenate([x, x * 2]).cumsum(0).sum(-1))
    for rows in (3, 4, 1, 0, 5, 1, 0):
        x = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
        want = np.concatenate([x, x * 2]).cumsum(0).sum(-1)
        np.testing.assert_allclose(f(plait.tensor(x)).numpy(), want)


def test_numbers_that_change_become_inputs() -> None:
    f = plait.jit(lambda x, rate: x * rate + rate**2)
    made = []
    for rate in (0.5, 0.25, 0.125, -0.0, 3.5, 1e9, 2.0):
        x = plait.randn(17)
        x.numpy()
        before = kernels()
        np.testing.assert_allclose(f(x, rate).numpy(), x.numpy() * np.float32(rate) + np.float32(rate) ** 2, rtol=1e-6)
        made.append(kernels() - before)
    assert sum(made[2:]) == 0, made


def test_fifty_batch_sizes_compile_twice() -> None:
    model = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.LayerNorm(32), nn.Linear(32, 3))
    optimizer = plait.optim.AdamW(model.parameters(), lr=1e-2)

    @plait.jit
    def step(x: plait.Tensor, y: plait.Tensor) -> plait.Tensor:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    compilations = 0
    for n in range(2, 52):
        x, y = plait.randn(n, 6), plait.randint(0, 3, (n,))
        _ = x.numpy(), y.numpy()
        before = kernels()
        step(x, y)
        compilations += kernels() > before
    assert compilations == 2


@pytest.mark.parametrize(("inner", "columns"), [(8, 8), (33, 40), (64, 10), (250, 70), (300, 96)])
def test_products_with_any_number_of_rows(inner: int, columns: int) -> None:
    w = plait.randn(inner, columns)
    f = plait.jit(lambda x, y: (plait.relu(x @ w) + 1, y @ w.T, x.T @ y))
    for rows in (40, 41, *range(1, 20), 97):
        x, y = np.random.default_rng(rows).standard_normal((2, rows, max(inner, columns))).astype(np.float32)
        x, y = x[:, :inner], y[:, :columns]
        want = np.maximum(x @ w.numpy(), 0) + 1, y @ w.numpy().T, x.T @ y
        for g, e in zip(f(plait.tensor(x), plait.tensor(y)), want, strict=True):
            np.testing.assert_allclose(g.numpy(), e, rtol=1e-5, atol=1e-4)


def test_declared_sizes_are_compiled_once_and_checked() -> None:
    batch, length = plait.Dim("batch", min=2, max=64), plait.Dim("length")
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)).requires_grad_(False)

    def function(x: plait.Tensor, y: plait.Tensor) -> plait.Tensor:
        return model(x).softmax(-1).sum(1) + y

    f = plait.jit(function, dims={"x": (batch, length, None), "y": (batch, None)})
    made = []
    for rows, columns in ((3, 5), (4, 5), (7, 9), (64, 2)):
        x, y = plait.randn(rows, columns, 8), plait.randn(rows, 4)
        _ = x.numpy(), y.numpy()
        before = kernels()
        got = f(x, y).numpy()
        made.append(kernels() - before)
        np.testing.assert_allclose(got, function(x, y).numpy(), rtol=1e-5, atol=1e-6)
    assert made[0] > 0 and made[1:] == [0, 0, 0], made
    with pytest.raises(plait.errors.ShapeError, match=r"batch is out of bounds.*65 at axis 0 of x.*2 and at most 64"):
        f(plait.randn(65, 2, 8), plait.randn(65, 4))
    with pytest.raises(plait.errors.ShapeError, match=r"batch has two sizes.*6 at axis 0 of x, 5 at axis 0 of y"):
        f(plait.randn(6, 2, 8), plait.randn(5, 4))
    with pytest.raises(plait.errors.ShapeError, match=r"x has one entry for each axis.*3 for float32\[6,8\]"):
        f(plait.randn(6, 8), plait.randn(6, 4))
    with pytest.raises(plait.errors.ArgumentError, match=r"no tensor among the arguments is called z.*x"):
        plait.jit(lambda x: x, dims={"z": (batch,)})(plait.ones(3))
    with pytest.raises(plait.errors.ArgumentTypeError, match=r"dims names the axes of arguments"):
        plait.jit(lambda x: x, dims={"x": batch})


def test_specialized_versions_share_nothing_that_depends_on_sizes() -> None:
    f = plait.jit(lambda x: (x @ x.T).softmax(-1), specialize=True)
    made = []
    for rows in (3, 4, 5):
        x = plait.randn(rows, 7)
        x.numpy()
        before = kernels()
        f(x).numpy()
        made.append(kernels() - before)
    assert min(made) > 0, made


def test_a_size_of_one_costs_no_further_compilation() -> None:
    model = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.LayerNorm(32), nn.Linear(32, 3)).requires_grad_(False)
    f = plait.jit(lambda x: F.softmax(model(x), -1).sum(0))
    inputs = [plait.randn(n, 6) for n in range(1, 51)]
    wanted = [F.softmax(model(x), -1).sum(0).numpy() for x in inputs]
    with plait.assert_max_compiles(2):
        for x, want in zip(inputs, wanted, strict=True):
            np.testing.assert_allclose(f(x).numpy(), want, rtol=1e-5, atol=1e-6)

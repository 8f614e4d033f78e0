"""The same bits at any number of threads, in every process, and, where asked for, at any size of the batch."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import plait
from plait import nn, optim

F = nn.functional
Work = Callable[..., plait.Tensor]


def data(*shape: int) -> plait.Tensor:
    """Numbers that no order of adding up leaves alone."""
    count = int(np.prod(shape))
    return plait.tensor(np.sin(np.arange(count, dtype=np.float64) * 12.9898).astype(np.float32).reshape(shape))


def seeded(layer: Any) -> Any:
    """A layer with fixed parameters, in evaluation."""
    with plait.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(data(*parameter.shape) * 0.3)
    return layer.eval()


def training() -> plait.Tensor:
    """The parameters after some steps of training."""
    model = seeded(nn.Sequential(nn.Linear(40, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 3))).train()
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    x, y = data(300, 40), plait.arange(300) % 3

    @plait.jit
    def step() -> plait.Tensor:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(4):
        step()
    return plait.concatenate([p.detach().reshape(-1) for p in model.parameters()])


def scattered() -> plait.Tensor:
    return plait.zeros(50).index_add(0, plait.arange(200_000) * 7919 % 50, data(200_000))


WORK: dict[str, Callable[[], plait.Tensor]] = {
    "sum of all": lambda: data(500_000).sum(),
    "sum of rows": lambda: data(300, 700).sum(1),
    "sum of columns": lambda: data(5000, 60).sum(0),
    "variance": lambda: plait.var(data(400, 900)),
    "product": lambda: data(300, 500) @ data(500, 210),
    "product, long": lambda: data(3, 60_000) @ data(60_000, 2),
    "scalar product": lambda: data(400_000) @ data(400_000),
    "half": lambda: (data(130, 300).to(plait.bfloat16) @ data(300, 90).to(plait.bfloat16)).to(plait.float32),
    "convolution": lambda: F.conv2d(data(6, 5, 30, 30), data(7, 5, 3, 3), padding=1),
    "its gradient": lambda: plait.grad(lambda w: (F.conv2d(data(6, 5, 20, 20), w) ** 2).sum())(data(7, 5, 3, 3)),
    "scatter": scattered,
    "cumulative": lambda: plait.cumsum(data(4, 100_000), 1),
    "attention": lambda: F.scaled_dot_product_attention(data(2, 4, 65, 16), data(2, 4, 65, 16), data(2, 4, 65, 16)),
    "softmax": lambda: plait.softmax(data(70, 3000), -1),
    "training": training,
}


def digest(value: plait.Tensor) -> str:
    return hashlib.sha256(np.ascontiguousarray(value.detach().numpy()).tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("name", WORK)
def test_threads_do_not_change_results(name: str) -> None:
    before, compiled = plait.get_num_threads(), plait.jit(WORK[name]) if name != "training" else WORK[name]
    for _ in range(3):
        digest(WORK[name]())  # eager code that comes back is compiled as a whole
    found = []
    try:
        for count in (1, 2, 3, 8):
            plait.set_num_threads(count)
            found.append((digest(WORK[name]()), digest(compiled()), digest(compiled())))
    finally:
        plait.set_num_threads(before)
    assert len(set(found)) == 1 and found[0][1] == found[0][2]


def test_other_processes_get_the_same_bits() -> None:
    program = "import sys; sys.path.insert(0, sys.argv[1]); import test_determinism as t; print(t.digests())"
    command = [sys.executable, "-c", program, os.path.dirname(__file__)]
    for threads in ("1", "5"):
        environment = {**os.environ, "PLAIT_NUM_THREADS": threads}
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
        assert out.stdout.strip() == str(digests())


def digests() -> list[str]:
    """What each piece of work gives, compiled."""
    return [digest(work() if name == "training" else plait.jit(work)()) for name, work in WORK.items()]


# batch invariance

W = {n: data(n, 300) * 0.1 for n in (10, 400)}
GRU = seeded(nn.GRU(6, 12, batch_first=True))
ROWS: dict[str, tuple[Work, tuple[int, ...]]] = {
    "linear": (lambda x: F.linear(x, W[400]), (300,)),
    "linear to few": (lambda x: F.linear(x, W[10]), (300,)),
    "linear to one": (seeded(nn.Linear(64, 1)), (64,)),
    "product": (lambda x: x @ W[400].mT.contiguous(), (300,)),
    "half": (lambda x: F.linear(x.to(plait.bfloat16), W[400].to(plait.bfloat16)).to(plait.float32), (300,)),
    "complex": (lambda x: plait.abs(plait.complex(x, x * 2) @ plait.complex(W[10].mT, W[10].mT * 0.5)), (300,)),
    "short sum": (lambda x: x.sum(-1), (8,)),
    "sum": (lambda x: x.sum(-1), (1000,)),
    "mean of steps": (lambda x: x.mean(1), (50, 24)),
    "variance": (lambda x: plait.var(x, axis=-1), (15,)),
    "short softmax": (lambda x: plait.softmax(x, -1), (5,)),
    "softmax": (lambda x: plait.softmax(x, -1), (4, 9, 130)),
    "layer norm": (seeded(nn.LayerNorm(8)), (8,)),
    "wide layer norm": (seeded(nn.LayerNorm(200)), (7, 200)),
    "group norm": (seeded(nn.GroupNorm(2, 8)), (8, 5, 5)),
    "cumulative": (lambda x: plait.cumsum(x, -1), (3000,)),
    "convolution": (seeded(nn.Conv2d(3, 8, 3, padding=1)), (3, 9, 9)),
    "small convolution": (seeded(nn.Conv2d(2, 4, 3)), (2, 5, 5)),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x * 0.5, x + 1), (4, 11, 16)),
    "recurrent": (lambda x: GRU(x)[0], (5, 6)),
    "perceptron": (
        seeded(nn.Sequential(nn.Linear(20, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 9), nn.Softmax(-1))), (20,),
    ),
    "transformer": (seeded(nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)), (12, 32)),
}  # fmt: skip
SIZES = (1, 2, 7, 64, 3, 1)


def differences(work: Work, shape: tuple[int, ...], run: Callable[[Work, plait.Tensor], Any]) -> list[int]:
    """The sizes of batches that get other bits than the same rows of a large one."""
    x = data(1000, *shape)
    whole, found = run(work, x), []
    for size in SIZES:
        for first in (0, 501):
            if not np.array_equal(run(work, x[first : first + size].clone()), whole[first : first + size]):
                found.append(size)
    return found


@pytest.mark.parametrize("name", ROWS)
def test_a_row_has_the_same_bits_in_any_batch_compiled(name: str) -> None:
    compiled = plait.jit(ROWS[name][0], batch_invariant=True)
    with plait.no_grad():
        assert differences(compiled, ROWS[name][1], lambda work, x: work(x).numpy()) == []


@pytest.mark.parametrize("name", ROWS)
def test_a_row_has_the_same_bits_in_any_batch_eager(name: str) -> None:
    with plait.no_grad(), plait.batch_invariant():
        assert differences(*ROWS[name], lambda work, x: work(x).numpy()) == []


def test_the_work_above_depends_on_the_batch_otherwise() -> None:
    with plait.no_grad():
        found = {n for n in ROWS if differences(plait.jit(ROWS[n][0]), ROWS[n][1], lambda work, x: work(x).numpy())}
    assert {"linear", "short softmax"} <= found


def test_invariance_ends_with_its_context() -> None:
    x, w = data(1, 300), W[400]
    expected = plait.jit(F.linear)(x, w).numpy()
    with plait.batch_invariant():
        inside, pending = plait.jit(F.linear)(x, w).numpy(), F.linear(x, w)
    assert np.array_equal(pending.numpy(), inside) and not np.array_equal(inside, expected)
    assert np.array_equal(plait.jit(F.linear)(x, w).numpy(), expected)


def test_it_cannot_be_entered_inside_a_compiled_function() -> None:
    @plait.jit
    def f(x: plait.Tensor) -> plait.Tensor:
        with plait.batch_invariant():
            return x * 2

    with pytest.raises(plait.errors.ArgumentError, match="batch_invariant=True"):
        f(plait.ones(2))


# sizes: what was compiled before, for which size, does not matter


def _attention_gradients(q: plait.Tensor) -> Any:
    return plait.grad(lambda q: (F.scaled_dot_product_attention(q, q * 2, q + 1) ** 2).sum())(q)


def _weight_gradients(x: plait.Tensor) -> Any:
    def loss(w: plait.Tensor) -> plait.Tensor:
        return F.cross_entropy(F.gelu(x @ w), plait.zeros(x.shape[0], dtype=plait.int64))

    return plait.grad(loss)(W[400][:12, :24])


SIZED = {
    "sums": (lambda x: (x.sum(0), x.sum(1), x.sum(), x.var(0), x.norm(), x.logsumexp(1)), (-1, 12)),
    "rows": (lambda x: (x.softmax(1), F.layer_norm(x, x.shape[1:]), x.cumsum(1)), (5, -1)),
    "columns": (lambda x: (x.softmax(0), F.batch_norm(x, None, None, training=True)), (-1, 9)),
    "products": (lambda x: (x @ x.T, x.T @ x, x @ W[400][:12, :40], x @ W[400][0, :12], x[:, 0] @ x), (-1, 12)),
    "attention": (lambda x: (x @ x.mT).softmax(-1) @ x, (2, -1, 6)),
    "gradients of attention": (_attention_gradients, (2, -1, 16)),
    "gradients of a layer": (_weight_gradients, (-1, 12)),
    "convolution": (
        lambda x: plait.grad(lambda w: (F.conv1d(x, w) ** 2).sum())(W[400][:5, :9].reshape(5, 3, 3)),
        (-1, 3, 8),
    ),
}


@pytest.mark.parametrize("name", SIZED)
def test_versions_for_any_size_give_the_bits_of_one_made_for_it(name: str) -> None:
    function, shape = SIZED[name]

    def inputs(n: int) -> plait.Tensor:
        return plait.tensor(np.random.default_rng(n).standard_normal([n if s < 0 else s for s in shape]).astype("f4"))

    known = plait.jit(function)
    for n in (37, 50):
        known(inputs(n))
    for n in (2, 3, 4, 5, 8, 9, 15, 16, 17, 33, 64, 100, 129):
        want = plait.tree.leaves(plait.jit(function)(inputs(n)))
        for got, expected in zip(plait.tree.leaves(known(inputs(n))), want, strict=True):
            assert got.numpy().tobytes() == expected.numpy().tobytes(), n

"""Mixed precision: which function computes in what, gradients, loss scaling, and models that train as in float32."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any

import numpy as np
import pytest

import plait
import plait.nn.functional as F
from plait import amp, nn, optim
from plait.core.errors import ArgumentError, ArgumentTypeError, DTypeError, GradientError

LOW = {
    "@": lambda x: x @ x.mT,
    "einsum": lambda x: plait.einsum("ij,kj->ik", x, x),
    "bmm": lambda x: plait.bmm(x[None], x.T[None]),
    "addmm": lambda x: plait.addmm(plait.zeros(4, 4), x, x.T),
    "tensordot": lambda x: plait.tensordot(x, x, 2),
    "linear": lambda x: nn.Linear(4, 3)(x),
    "bilinear": lambda x: nn.Bilinear(4, 4, 2)(x, x),
    "conv2d": lambda x: nn.Conv2d(1, 2, 3)(x[None, None]),
    "conv_transpose1d": lambda x: nn.ConvTranspose1d(4, 2, 3)(x[None]),
    "attention": lambda x: F.scaled_dot_product_attention(x[None], x[None], x[None]),
    "multi-head attention": lambda x: nn.MultiheadAttention(4, 2)(x[None], x[None], x[None])[0],
}
HIGH = {
    "softmax": lambda y: y.softmax(-1),
    "log_softmax": lambda y: F.log_softmax(y, -1),
    "sum": lambda y: y.sum(),
    "mean": lambda y: plait.mean(y, axis=0),
    "cumsum": lambda y: y.cumsum(0),
    "norm": lambda y: y.norm(),
    "exp": plait.exp,
    "var": lambda y: y.var(),
    "layer_norm": lambda y: nn.LayerNorm(4)(y),
    "group_norm": lambda y: nn.GroupNorm(2, 4)(y),
    "cross_entropy": lambda y: F.cross_entropy(y, plait.tensor([0, 1, 2, 3])),
    "mse_loss": lambda y: F.mse_loss(y, y * 2),
    "bce": lambda y: nn.BCEWithLogitsLoss()(y, plait.ones(4, 4)),
}
SAME = {
    "relu": plait.relu,
    "gelu": F.gelu,
    "+": lambda y: y + 1,
    "max_pool1d": lambda y: F.max_pool1d(y[None], 2),
    "batch_norm": lambda y: nn.BatchNorm1d(4)(y),
    "lstm": lambda y: nn.LSTM(4, 3)(y[None])[0],
}


@pytest.mark.parametrize("dtype", [plait.bfloat16, plait.float16])
@pytest.mark.parametrize("is_compiled", [False, True])
def test_what_computes_in_what(dtype: Any, is_compiled: bool) -> None:
    x, y = plait.ones(4, 4), plait.ones(4, 4, dtype=dtype)

    def dtypes() -> list[Any]:
        return [f(v).dtype for table, v in ((LOW, x), (HIGH, y), (SAME, y)) for f in table.values()]

    wanted = [dtype] * len(LOW) + [plait.float32] * len(HIGH) + [dtype] * len(SAME)
    names = [*LOW, *HIGH, *SAME]
    found: list[Any] = []
    with amp.autocast(dtype=dtype):
        if is_compiled:
            plait.jit(lambda z: (found.extend(dtypes()), z)[1])(x)
        else:
            found = dtypes()
        assert (x.double() @ x.double()).dtype is plait.float64
    assert dict(zip(names, found, strict=True)) == dict(zip(names, wanted, strict=True))


def test_regions_nest_and_decorate() -> None:
    x = plait.ones(2, 2)
    assert not amp.is_autocast_enabled()
    with amp.autocast("cpu", plait.float16):
        assert amp.get_autocast_dtype() is plait.float16
        with amp.autocast(enabled=False):
            assert (x @ x).dtype is plait.float32
        with amp.autocast():
            assert (x @ x).dtype is plait.bfloat16
        assert (x @ x).dtype is plait.float16

    @amp.autocast()
    def product(x: Any) -> Any:
        return x @ x

    assert product(x).dtype is plait.bfloat16
    with pytest.raises(ZeroDivisionError), amp.autocast():
        _ = 1 // 0
    assert not amp.is_autocast_enabled()


def test_a_compiled_function_has_a_version_for_each_policy() -> None:
    f = plait.jit(lambda x: x @ x)
    x = plait.ones(2, 2)
    found = [f(x).dtype]
    for policy in (amp.Policy(), amp.Policy(plait.float16), amp.Policy(lower=frozenset()), None):
        with amp.custom_policy(policy):
            found.append(f(x).dtype)
    assert found == [plait.float32, plait.bfloat16, plait.float16, plait.float32, plait.float32]


def test_gradients_are_float32_and_compose() -> None:
    random = np.random.default_rng(0)
    w, x = (plait.tensor(random.normal(size=s).astype(np.float32)) for s in ((4, 3), (5, 2, 4)))

    def loss(w: Any, x: Any) -> Any:
        return ((x @ w).softmax(-1) ** 2).sum()

    wanted = plait.vmap(plait.grad(loss), (None, 0))(w, x)
    found = plait.jit(plait.vmap(plait.grad(amp.transform(loss)), (None, 0)))(w, x)
    assert found.dtype is plait.float32
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=0.03)
    assert not np.array_equal(found.numpy(), wanted.numpy())
    p = plait.Parameter(w)
    with amp.autocast():
        y = loss(p, x)
    y.backward()
    assert p.grad.dtype is plait.float32
    np.testing.assert_allclose(p.grad.numpy(), wanted.numpy().sum(0), atol=0.05)


# loss scaling


def setup(value: float = 1.0, **options: Any) -> Any:
    w = plait.Parameter([value, 2.0])
    optimizer = optim.AdamW([("w", w)], lr=0.5)
    return w, optimizer, amp.GradScaler(**{"init_scale": 8.0, "growth_interval": 2, **options})


@pytest.mark.parametrize("is_compiled", [False, True])
def test_bad_steps_are_skipped_and_change_the_scale(is_compiled: bool) -> None:
    w, optimizer, scaler = setup()
    calls = []

    def step(factor: Any) -> None:
        calls.append(1)
        optimizer.zero_grad()
        scaler.scale((w * factor).sum()).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()

    run = plait.jit(step) if is_compiled else step
    scales, steps, before = [], [], []
    for factor in (1.0, np.inf, 1.0, 1.0, np.nan, 3e38):
        before.append(np.array(w.detach().numpy()))
        run(plait.tensor(factor))
        scales.append(scaler.get_scale())
        steps.append(optimizer.state[w]["step"].item())
    assert scales == [8.0, 4.0, 4.0, 8.0, 4.0, 2.0]
    assert steps == [1.0, 1.0, 2.0, 3.0, 3.0, 3.0]
    np.testing.assert_array_equal(before[1], before[2])
    np.testing.assert_array_equal(before[4], w.detach().numpy())
    assert np.isfinite(optimizer.state[w]["exp_avg"].numpy()).all()
    assert len(calls) <= 2 or not is_compiled


def test_unscaled_gradients_are_those_of_the_loss() -> None:
    w, optimizer, scaler = setup()
    scaler.scale([(w * 3).sum()])[0].backward()
    assert w.grad.tolist() == [24.0, 24.0]
    scaler.unscale_(optimizer)
    assert w.grad.tolist() == [3.0, 3.0]
    with pytest.raises(ArgumentError, match="unscaled already"):
        scaler.unscale_(optimizer)


@pytest.mark.parametrize("is_compiled", [False, True])
def test_an_overflow_of_float16_is_found(is_compiled: bool) -> None:
    """Also one that a fused kernel, which keeps float16 as float32 until it stores it, would not see."""

    def check(x: Any, scale: Any) -> Any:
        return amp.unscale([x * 4], scale)

    run = plait.jit(check) if is_compiled else check
    x = plait.tensor([1.0, 30000.0], dtype=plait.float16)
    (found,), is_finite = run(x, plait.tensor(2.0))
    assert bool(np.isfinite(found.float().numpy()).all()) is is_finite.item()
    (found,), is_finite = run(x, plait.tensor(1.0))
    assert not is_finite.item()


def test_the_scale_has_a_floor_and_hopeless_steps_name_the_parameter() -> None:
    w, optimizer, scaler = setup()

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            scaler.scale((w * np.inf).sum()).backward()
            scaler.step(optimizer)
            scaler.update()

    train(24)
    assert scaler.get_scale() == 1.0
    with pytest.raises(GradientError, match=r"last 25 steps were not finite, .* 1. .*gradients of w \(2,\)"):
        train(1)


def test_state_and_other_optimizers() -> None:
    w, optimizer, scaler = setup()
    scaler.scale((w * np.inf).sum()).backward()
    assert scaler.step(optimizer) is None
    scaler.update()
    state = scaler.state_dict()
    assert state == {
        "scale": 4.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2, "_growth_tracker": 0
    }  # fmt: skip
    other = amp.GradScaler()
    other.load_state_dict(state)
    assert other.state_dict() == state

    class Plain(optim.Optimizer):
        def __init__(self, params: Any) -> None:
            super().__init__(params, {"lr": 1.0})

        @plait.no_grad()
        def step(self) -> str:
            w.copy_(w - w.grad)
            return "done"

    plain = Plain([w])
    for factor, result in ((np.inf, None), (1.0, "done")):
        plain.zero_grad()
        scaler.scale((w * factor).sum()).backward()
        assert scaler.step(plain) == result
        scaler.update()
    assert w.tolist() == [0.0, 1.0]
    scaler.update(32.0)
    assert scaler.get_scale() == 32.0
    off = amp.GradScaler(enabled=False)
    assert (off.scale(w) is w, off.get_scale(), off.state_dict()) == (True, 1.0, {})
    assert off.step(plain) == "done"


def test_pure_scaling() -> None:
    """The same as pure functions, where a bad step leaves parameters and state as they are."""
    pure = optim.SGD.functional(lr=0.5)

    @plait.jit
    def step(w: Any, state: Any, scale: Any, factor: Any) -> Any:
        gradients, is_finite = amp.unscale(plait.grad(lambda w: (w * factor).sum() * scale.scale)(w), scale.scale)
        new, new_state = pure.update(gradients, state, w)
        kept = plait.tree.map_(lambda a, b: plait.where(is_finite, a, b), (new, new_state), (w, state))
        return *kept, amp.next_scale(scale, is_finite)

    w = plait.tensor([1.0])
    state, scale = pure.init(w), amp.ScaleState.first(4.0)
    for factor in (1.0, np.inf, 1.0):
        w, state, scale = step(w, state, scale, plait.tensor(factor))
    assert (w.tolist(), state["step"].item(), scale.scale.item()) == ([0.0], 2.0, 2.0)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: amp.autocast(dtype=plait.float32), DTypeError, "lowers to 16 bits. Received: float32"),
        (lambda: amp.autocast(plait.bfloat16), ArgumentError, r"names a device.*autocast\(dtype=...\)"),
        (lambda: amp.transform(1.0), ArgumentTypeError, "amp.transform takes a function"),
        (lambda: amp.GradScaler(growth_factor=1.0), ArgumentError, "The scales do not fit"),
        (lambda: amp.GradScaler().update(), ArgumentError, "No gradients were unscaled"),
        (lambda: amp.GradScaler().load_state_dict({}), ArgumentError, "state of a scaler is empty"),
        (lambda: amp.GradScaler().step(setup()[1], closure=abs), ArgumentError, "does not take a closure"),
    ],
)
def test_errors(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


# models


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Any) -> Any:
        parts = self.mix(self.norms[0](x)).reshape(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        x = x + self.out(mixed.permute(0, 2, 1, 3).reshape(x.shape))
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class Text(nn.Module):
    """A small GPT."""

    def __init__(self, symbols: int, width: int = 32, length: int = 16) -> None:
        self.symbols, self.places = nn.Embedding(symbols, width), nn.Parameter(0.02 * plait.randn(length, width))
        self.blocks, self.norm = nn.Sequential(Block(width, 2), Block(width, 2)), nn.LayerNorm(width)
        self.head = nn.Linear(width, symbols, bias=False)

    def forward(self, x: Any) -> Any:
        return self.head(self.norm(self.blocks(self.symbols(x) + self.places)))


def text_batches() -> Any:
    codes = np.frombuffer(inspect.getsource(textwrap).encode(), np.uint8)
    symbols, ids = np.unique(codes, return_inverse=True)
    random = np.random.default_rng(0)
    for _ in range(50):
        starts = random.integers(0, len(ids) - 17, 8)
        rows = np.stack([ids[k : k + 17] for k in starts])
        yield plait.tensor(rows[:, :-1]), plait.tensor(rows[:, 1:])
    assert len(symbols) < 100


def image_batches() -> Any:
    """Bars of two directions, with noise."""
    random = np.random.default_rng(0)
    for _ in range(40):
        y = random.integers(0, 2, 16)
        x = random.normal(size=(16, 1, 8, 8)) * 0.5
        for k, place in enumerate(random.integers(0, 8, 16)):
            x[k, 0, place if y[k] else slice(None), slice(None) if y[k] else place] += 1.5
        yield plait.tensor(x.astype(np.float32)), plait.tensor(y)


def image_model() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(64, 2),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["text", "images"])
def test_models_train_as_in_float32(kind: str) -> None:
    losses: dict[str, float] = {}
    for name, dtype in (("float32", None), ("bfloat16", plait.bfloat16), ("float16", plait.float16)):
        plait.manual_seed(0)
        model = Text(100) if kind == "text" else image_model()
        optimizer = optim.AdamW(model.parameters(), lr=3e-3)
        scaler = amp.GradScaler(enabled=dtype is plait.float16)

        @plait.jit
        def step(
            x: Any, y: Any, model: Any = model, optimizer: Any = optimizer, scaler: Any = scaler, dtype: Any = dtype
        ) -> Any:
            with amp.autocast(dtype=dtype, enabled=dtype is not None):
                logits = model(x)
                loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), y.reshape(-1))
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            return loss.detach()

        found = [step(x, y).item() for x, y in (text_batches() if kind == "text" else image_batches())]
        losses[name] = float(np.mean(found[-10:]))
        assert np.isfinite(found).all() if dtype is not plait.float16 else np.isfinite(losses[name])
        assert losses[name] < 0.8 * found[0]
    for name in ("bfloat16", "float16"):
        assert abs(losses[name] - losses["float32"]) < 0.03 * losses["float32"] + 0.02, losses


def test_a_model_in_bfloat16_with_master_weights_trains() -> None:
    losses = {}
    for name, dtype in (("float32", plait.float32), ("bfloat16", plait.bfloat16)):
        plait.manual_seed(0)
        model = image_model().to(dtype)
        optimizer = optim.AdamW(model.parameters(), lr=3e-3, master_weights=True)

        @plait.jit
        def step(x: Any, y: Any, model: Any = model, optimizer: Any = optimizer, dtype: Any = dtype) -> Any:
            loss = F.cross_entropy(model(x.to(dtype)).float(), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.detach()

        losses[name] = float(np.mean([step(x, y).item() for x, y in image_batches()][-10:]))
    assert abs(losses["bfloat16"] - losses["float32"]) < 0.05 * losses["float32"] + 0.03, losses

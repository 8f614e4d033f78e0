"""Layers and losses against PyTorch: the same weights and inputs give the same results and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait
from plait import nn
from plait.nn import functional as F

torch = pytest.importorskip("torch")
random = np.random.default_rng(0)


def draw(*shape: int) -> Any:
    return random.normal(size=shape).astype(np.float32)


def check(ours: Any, theirs: Any, *shape: int, tolerance: float = 2e-5, options: dict[str, Any] | None = None) -> None:
    """Compare results, gradients of input and parameters, and state after a call in training mode."""
    state = {k: v.detach().numpy() for k, v in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    array = draw(*shape)
    x, y = plait.tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
    result, expected = ours(x), theirs(y)
    weight = draw(*expected.shape)
    assert result.shape == tuple(expected.shape)
    close(result, expected, tolerance)
    (result * weight).sum().backward()
    (expected * torch.tensor(weight)).sum().backward()
    close(x.grad, y.grad, tolerance)
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for name, p in ours.named_parameters():
        close(p.grad, gradients[name], tolerance * 5)
    for name, b in theirs.named_buffers():
        close(dict(ours.named_buffers())[name], b, tolerance)
    assert repr(ours) == repr(theirs)


def close(ours: Any, theirs: Any, tolerance: float = 2e-5) -> None:
    expected = theirs.detach().numpy()
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=tolerance, atol=tolerance * scale)


def test_evaluation_mode_uses_the_running_statistics() -> None:
    ours, theirs = nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    for _ in range(3):
        x = draw(4, 3, 2, 2) * 3 + 1
        ours(plait.tensor(x))
        theirs(torch.tensor(x))
    check(ours.eval(), theirs.eval(), 4, 3, 2, 2)


def test_model() -> None:
    def build(nn: Any) -> Any:
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 10),
        )  # fmt: skip

    check(build(nn), build(torch.nn), 5, 1, 8, 8, tolerance=1e-4)


@pytest.mark.parametrize("shape", [(6, 5), (4, 5, 3), (2, 5, 3, 2)])
@pytest.mark.parametrize(
    "options",
    [{}, {"reduction": "sum"}, {"reduction": "none"}, {"label_smoothing": 0.1}, {"ignore_index": 2},
     {"ignore_index": 2, "label_smoothing": 0.2}, {"reduction": "none", "label_smoothing": 0.2}],
)  # fmt: skip
@pytest.mark.parametrize("is_weighted", [False, True])
def test_cross_entropy(shape: tuple[int, ...], options: dict[str, Any], is_weighted: bool) -> None:
    logits, classes = draw(*shape), random.integers(0, 5, (shape[0], *shape[2:]))
    weight = random.uniform(0.5, 2, 5).astype(np.float32) if is_weighted else None
    compare_loss("cross_entropy", logits, classes, weight, options)
    if "ignore_index" not in options:
        soft = np.exp(draw(*shape))
        compare_loss("cross_entropy", logits, soft / soft.sum(1, keepdims=True), weight, options)


def compare_loss(name: str, logits: Any, target: Any, weight: Any, options: dict[str, Any]) -> None:
    x, y = plait.tensor(logits, requires_grad=True), torch.tensor(logits, requires_grad=True)
    ours = getattr(F, name)(x, plait.tensor(target), None if weight is None else plait.tensor(weight), **options)
    other = None if weight is None else torch.tensor(weight)
    theirs = getattr(torch.nn.functional, name)(y, torch.tensor(target), other, **options)
    close(ours, theirs)
    ours.sum().backward()
    theirs.sum().backward()
    close(x.grad, y.grad)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses(reduction: str) -> None:
    a, b, p = draw(4, 3), draw(4, 3), random.uniform(0, 1, (4, 3)).astype(np.float32)
    options = {"reduction": reduction}
    for name in ("mse_loss", "l1_loss"):
        ours = getattr(F, name)(plait.tensor(a), plait.tensor(b), **options)
        close(ours, getattr(torch.nn.functional, name)(torch.tensor(a), torch.tensor(b), **options))
    compare_loss("binary_cross_entropy_with_logits", a * 40, p, None, options)
    compare_loss("binary_cross_entropy_with_logits", a, p, p, {**options})
    weights = draw(3)
    ours = F.binary_cross_entropy_with_logits(plait.tensor(a), plait.tensor(p), pos_weight=plait.tensor(weights))
    theirs = torch.nn.functional.binary_cross_entropy_with_logits
    close(ours, theirs(torch.tensor(a), torch.tensor(p), pos_weight=torch.tensor(weights)))


@pytest.mark.parametrize("padding_idx", [None, 2])
def test_embedding(padding_idx: int | None) -> None:
    ours, theirs = nn.Embedding(7, 4, padding_idx), torch.nn.Embedding(7, 4, padding_idx)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    index = random.integers(0, 7, (3, 5))
    index[0, 0] = 2
    result, expected = ours(plait.tensor(index)), theirs(torch.tensor(index))
    close(result, expected)
    (result * result).sum().backward()
    (expected * expected).sum().backward()
    close(ours.weight.grad, theirs.weight.grad)
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("mask", ["none", "bool", "float", "causal", "causal and bool"])
def test_scaled_dot_product_attention(mask: str) -> None:
    arrays = [draw(2, 3, 5, 4), draw(2, 3, 6, 4), draw(2, 3, 6, 7)]
    options: dict[str, Any] = {"is_causal": mask == "causal"}
    seen = random.uniform(size=(5, 6)) > 0.4
    seen[1] = False
    array = {"bool": seen, "float": draw(5, 6)}.get(mask)
    if mask == "causal and bool":
        array = seen & np.tri(5, 6, dtype=bool)
        ours = F.scaled_dot_product_attention(*map(plait.tensor, arrays), plait.tensor(seen), is_causal=True)
    else:
        given = None if array is None else plait.tensor(array)
        ours = F.scaled_dot_product_attention(*map(plait.tensor, arrays), given, **options)
    given = None if array is None else torch.tensor(array)
    theirs = torch.nn.functional.scaled_dot_product_attention(*map(torch.tensor, arrays), given, **options)
    close(ours, theirs)


@pytest.mark.parametrize(
    "options", [{}, {"batch_first": True}, {"bias": False}, {"kdim": 5, "vdim": 3}, {"batch_first": True, "kdim": 5}]
)
@pytest.mark.parametrize("masks", ["none", "padding", "attention", "both", "float"])
def test_multihead_attention(options: dict[str, Any], masks: str) -> None:
    ours, theirs = nn.MultiheadAttention(8, 2, **options), torch.nn.MultiheadAttention(8, 2, **options)
    state = {k: v.numpy() for k, v in theirs.state_dict().items()}
    assert set(ours.state_dict()) == set(state)
    ours.load_state_dict(state)
    shapes = [(4, 3, 8), (6, 3, options.get("kdim", 8)), (6, 3, options.get("vdim", 8))]
    inputs = [draw(*s) for s in shapes]
    if options.get("batch_first"):
        inputs = [x.swapaxes(0, 1).copy() for x in inputs]
    given: dict[str, Any] = {}
    if masks in ("padding", "both"):
        given["key_padding_mask"] = np.arange(6) >= np.array([[6], [4], [3]])
    if masks in ("attention", "both"):
        given["attn_mask"] = ~np.tri(4, 6, dtype=bool)
    if masks == "float":
        given["attn_mask"] = draw(6, 4, 6)
    x, y = plait.tensor(inputs[0], requires_grad=True), torch.tensor(inputs[0], requires_grad=True)
    result, weights = ours(x, *map(plait.tensor, inputs[1:]), **{k: plait.tensor(v) for k, v in given.items()})
    expected = theirs(y, *map(torch.tensor, inputs[1:]), **{k: torch.tensor(v) for k, v in given.items()})
    close(result, expected[0])
    close(weights, expected[1])
    result.sum().backward()
    expected[0].sum().backward()
    close(x.grad, y.grad)
    for name, p in theirs.named_parameters():
        close(dict(ours.named_parameters())[name].grad, p.grad, 1e-4)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad(mode: str) -> None:
    x = draw(2, 3, 4, 5)
    widths = (1, 2, 0, 3)
    close(F.pad(plait.tensor(x), widths, mode), torch.nn.functional.pad(torch.tensor(x), widths, mode))
    cut = (-1, 2, 1, -2)
    close(F.pad(plait.tensor(x), cut, value=3.0), torch.nn.functional.pad(torch.tensor(x), cut, value=3.0))


@pytest.mark.parametrize("name", ["Linear", "Conv2d", "Embedding", "MultiheadAttention", "BatchNorm2d", "LayerNorm"])
def test_initial_values_have_the_distribution_of_pytorch(name: str) -> None:
    plait.manual_seed(0)
    torch.manual_seed(0)
    args = {"Linear": (300, 200), "Conv2d": (30, 40, 3), "Embedding": (300, 100), "MultiheadAttention": (128, 2)}
    ours, theirs = (getattr(m, name)(*args.get(name, (64,))) for m in (nn, torch.nn))
    for key, value in theirs.state_dict().items():
        a, b = ours.state_dict()[key].numpy(), value.numpy()
        assert a.shape == b.shape
        deviation, error = float(b.std()), 5 / np.sqrt(max(1, b.size))
        assert a.std() == pytest.approx(deviation, rel=error, abs=1e-6), key
        assert a.mean() == pytest.approx(float(b.mean()), abs=error * deviation + 1e-6), key
        assert np.abs(a).max() == pytest.approx(float(np.abs(b).max()), rel=0.3, abs=1e-6), key

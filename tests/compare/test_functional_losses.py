"""Losses against PyTorch: reductions, weights, every rank, empty batches, extremes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import plait
from plait.core.errors import ArgumentError, DTypeError, ShapeError
from plait.testing.comparing import close

torch = pytest.importorskip("torch")
from functional import F, T, agree  # noqa: E402

random = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """PyTorch warns of its own arguments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def normal(*shape: int) -> Any:
    return random.normal(size=shape).astype(np.float32)


def unit(*shape: int) -> Any:
    return random.uniform(0.02, 0.98, shape).astype(np.float32)


def signs(*shape: int) -> Any:
    return np.where(random.uniform(size=shape) < 0.5, np.float32(-1), np.float32(1))


def classes(high: int, *shape: int) -> Any:
    return random.integers(0, high, shape)


# name, arguments, options
PAIRS: list[tuple[str, Any, dict[str, Any]]] = [
    ("mse_loss", (normal(3, 4), normal(3, 4)), {}),
    ("mse_loss", (normal(3, 4), normal(3, 4)), {"weight": unit(3, 4)}),
    ("l1_loss", (normal(3, 4), normal(3, 4)), {"weight": unit(3, 4)}),
    ("smooth_l1_loss", (2 * normal(3, 4), normal(3, 4)), {"beta": 0.7}),
    ("smooth_l1_loss", (normal(3, 4), normal(3, 4)), {"beta": 0.0}),
    ("huber_loss", (2 * normal(3, 4), normal(3, 4)), {"delta": 1.5}),
    ("huber_loss", (normal(3, 4), normal(3, 4)), {"weight": unit(3, 4)}),
    ("binary_cross_entropy", (unit(3, 4), unit(3, 4)), {"weight": unit(3, 4)}),
    ("binary_cross_entropy", (unit(3, 4), unit(3, 4)), {"weight": unit(4)}),
    ("binary_cross_entropy_with_logits", (normal(3, 4), unit(3, 4)), {}),
    ("binary_cross_entropy_with_logits", (normal(3, 4), unit(3, 4)), {"weight": unit(4), "pos_weight": unit(3, 1)}),
    ("binary_cross_entropy_with_logits", (np.zeros((2, 3), "f"), unit(2, 3)), {"pos_weight": unit(3)}),
    ("kl_div", (normal(3, 4), unit(3, 4)), {}),
    ("kl_div", (normal(3, 4), normal(3, 4)), {"log_target": True}),
    ("kl_div", (normal(3, 4), unit(4)), {}),
    ("poisson_nll_loss", (normal(3, 4), 4 * unit(3, 4)), {"full": True}),
    ("poisson_nll_loss", (unit(3, 4), 4 * unit(3, 4)), {"log_input": False}),
    ("gaussian_nll_loss", (normal(3, 4), normal(3, 4), unit(3, 4)), {"full": True}),
    ("gaussian_nll_loss", (normal(3, 4), normal(3, 4), unit(3)), {}),
    ("gaussian_nll_loss", (normal(3, 4), normal(3, 4), unit(3, 1)), {"eps": 0.5}),
    ("gaussian_nll_loss", (normal(3, 4), normal(3, 4), 0.5), {}),
    ("soft_margin_loss", (normal(3, 4), signs(3, 4)), {}),
    ("hinge_embedding_loss", (normal(3, 4), signs(3, 4)), {"margin": 0.5}),
    ("margin_ranking_loss", (normal(5), normal(5), signs(5)), {"margin": 0.1}),
    ("cosine_embedding_loss", (normal(5, 3), normal(5, 3), signs(5)), {"margin": 0.2}),
    ("cosine_embedding_loss", (normal(3), normal(3), np.full((), -1, "f")), {}),
    ("triplet_margin_loss", (normal(5, 3), normal(5, 3), normal(5, 3)), {"swap": True}),
    ("triplet_margin_loss", (normal(3), normal(3), normal(3)), {"p": 1.0, "margin": 3.0}),
    ("triplet_margin_with_distance_loss", (normal(5, 3), normal(5, 3), normal(5, 3)), {"margin": 2.0, "swap": True}),
    ("multi_margin_loss", (normal(5, 3), classes(3, 5)), {"p": 2, "margin": 0.6, "weight": unit(3)}),
    ("multi_margin_loss", (normal(3), classes(3)), {}),
    ("multilabel_margin_loss", (normal(2, 4), np.array([[3, 0, -1, 1], [-1, 2, 2, 2]])), {}),
    ("multilabel_margin_loss", (normal(4), np.array([1, 2, 3, 0])), {}),
    ("multilabel_soft_margin_loss", (normal(3, 4), unit(3, 4)), {"weight": unit(4)}),
    ("nll_loss", (normal(4, 3), classes(3, 4)), {"weight": unit(3)}),
    ("nll_loss", (normal(3), classes(3)), {}),
    ("nll_loss", (normal(2, 3, 4), classes(3, 2, 4)), {"ignore_index": 1}),
    ("nll_loss", (normal(2, 3, 4, 2, 2), classes(3, 2, 4, 2, 2)), {"weight": unit(3), "ignore_index": 0}),
    ("cross_entropy", (normal(4, 3), classes(3, 4)), {"weight": unit(3), "label_smoothing": 0.2, "ignore_index": 1}),
    ("cross_entropy", (normal(3), classes(3)), {}),
    ("cross_entropy", (normal(3), unit(3)), {"label_smoothing": 0.1}),
    ("cross_entropy", (normal(2, 3, 4), unit(2, 3, 4)), {"weight": unit(3)}),
    ("linear_cross_entropy", (normal(4, 2), normal(3, 2), classes(3, 4)), {"linear_bias": normal(3)}),
]  # fmt: skip


ONE_LEAF = ("soft_margin_loss", "nll_loss")  # PyTorch differentiates these by their input alone


@pytest.mark.parametrize("case", range(len(PAIRS)), ids=[p[0] for p in PAIRS])
def test_loss(case: int) -> None:
    name, arguments, options = PAIRS[case]
    reduction = ("none", "mean", "sum")[case % 3]
    agree(name, arguments, {**options, "reduction": reduction}, leaves=1 if name in ONE_LEAF else 9)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["mse_loss", "nll_loss", "kl_div", "gaussian_nll_loss", "multilabel_margin_loss"])
def test_reductions(name: str, reduction: str) -> None:
    _, arguments, options = next(p for p in PAIRS if p[0] == name and (p[2] or name != "mse_loss"))
    agree(name, arguments, {**options, "reduction": reduction}, leaves=0)


def test_batch_mean_of_kl_div() -> None:
    agree("kl_div", (normal(3, 4), unit(3, 4)), {"reduction": "batchmean"})


SMOOTH = ["mse_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div",
          "poisson_nll_loss", "gaussian_nll_loss", "cross_entropy", "multilabel_soft_margin_loss",
          "cosine_embedding_loss"]  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivatives(name: str) -> None:
    _, arguments, options = next(p for p in reversed(PAIRS) if p[0] == name)
    agree(name, arguments, options, second=True, leaves=2 if name == "kl_div" else 1)


@pytest.mark.parametrize("old", [{"size_average": False}, {"reduce": False}, {"size_average": True}], ids=str)
def test_old_names_of_the_reduction(old: dict[str, bool]) -> None:
    agree("mse_loss", (normal(3), normal(3)), old)
    agree("cross_entropy", (normal(3, 2), classes(2, 3)), old)


def test_positional_arguments_are_those_of_pytorch() -> None:
    logits, target, weight = normal(4, 3), classes(3, 4), unit(3)
    agree("cross_entropy", (logits, target, weight, None, 1, None, "sum", 0.1), leaves=1)
    agree("nll_loss", (logits, target, weight, None, 1, None, "sum"), leaves=1)
    agree("mse_loss", (logits, logits + 1, None, None, "sum", None))
    agree("poisson_nll_loss", (logits, unit(4, 3), False, True, None, 1.5, None, "sum"))
    agree("binary_cross_entropy_with_logits", (logits, unit(4, 3), None, None, None, "sum", unit(3)), leaves=2)


EMPTY = ["mse_loss", "l1_loss", "smooth_l1_loss", "binary_cross_entropy", "soft_margin_loss", "kl_div"]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_empty_batch(reduction: str) -> None:
    for name in EMPTY:
        agree(name, (unit(0, 3), unit(0, 3)), {"reduction": reduction}, leaves=1)
    agree("cross_entropy", (normal(0, 3), classes(3, 0)), {"reduction": reduction})


def test_all_elements_ignored() -> None:
    agree("cross_entropy", (normal(2, 3), np.array([1, 1])), {"ignore_index": 1}, leaves=0)


LARGE = np.array([-65504.0, -3e4, -200.0, 0.0, 200.0, 3e4, 65504.0], np.float16)


@pytest.mark.parametrize("target", [0.0, 1.0])
@pytest.mark.parametrize("name", ["binary_cross_entropy_with_logits", "multilabel_soft_margin_loss"])
def test_losses_of_the_largest_logits(name: str, target: float) -> None:
    for dtype in (np.float16, np.float32):
        x = plait.tensor(LARGE.astype(dtype), requires_grad=True)
        losses = getattr(F, name)(x, plait.full(LARGE.shape, target, dtype=x.dtype), reduction="none")
        assert np.isfinite(losses.detach().numpy()).all()
        losses.sum().backward()
        close(x.grad, 1 / (1 + np.exp(-LARGE.astype(np.float64))) - target if losses.ndim else x.grad, 1e-3)


def test_other_losses_stay_finite() -> None:
    x, y = plait.tensor(LARGE), plait.zeros(7, dtype=plait.float16)
    for name, options in (
        ("smooth_l1_loss", {}), ("huber_loss", {}), ("l1_loss", {}), ("hinge_embedding_loss", {}),
        ("soft_margin_loss", {}),
    ):  # fmt: skip
        target = plait.full((7,), -1.0, dtype=plait.float16) if name in ("soft_margin_loss",) else y
        assert np.isfinite(getattr(F, name)(x, target, reduction="none", **options).numpy()).all(), name
    logits = plait.tensor(np.stack([LARGE, -LARGE]))
    assert np.isfinite(F.cross_entropy(logits, plait.tensor([5, 1])).numpy())
    wide = plait.tensor([1e30, -1e30], requires_grad=True)
    F.smooth_l1_loss(wide, plait.zeros(2)).backward()
    close(wide.grad, np.array([0.5, -0.5]))


@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0), (1.0, 1.0)])
def test_cross_entropy_of_certain_probabilities(ends: tuple[float, float]) -> None:
    x, y = np.array([ends[0]], np.float32), np.array([ends[1]], np.float32)
    certain = ends[0] == ends[1]  # PyTorch's gradient is 0 there: 0 / 1e-12; the derivative is 1 or -1
    agree("binary_cross_entropy", (x, y), leaves=0 if certain else 1)
    if certain:
        got = plait.grad(lambda x: F.binary_cross_entropy(x, plait.tensor(y)))(plait.tensor(x))
        close(got, np.array([1.0 if ends[0] == 0 else -1.0]))


def test_targets_of_zero_have_finite_gradients() -> None:
    target = plait.tensor([0.0, 0.5], requires_grad=True)
    F.kl_div(plait.tensor([-0.5, -1.0]), target, reduction="sum").backward()
    assert np.isfinite(target.grad.numpy()).all()


# connectionist temporal classification


def frames(steps: int, batch: int, count: int) -> Any:
    x = normal(steps, batch, count)
    return (x - np.log(np.exp(x).sum(-1, keepdims=True))).astype(np.float32)


def both_ctc(x: Any, arguments: Any, options: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """Losses, and gradients by logits."""
    a, b = plait.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    ours = F.ctc_loss(
        F.log_softmax(a, -1), *[plait.tensor(v) if isinstance(v, np.ndarray) else v for v in arguments], **options
    )
    theirs = T.ctc_loss(
        T.log_softmax(b, -1), *[torch.tensor(v) if isinstance(v, np.ndarray) else v for v in arguments], **options
    )
    ours.sum().backward()
    theirs.sum().backward()
    return ours, theirs, a.grad, b.grad


TARGETS = np.array([[1, 2, 2, 3], [3, 3, 3, 3], [2, 1, 2, 1]])
CTC = {
    "matrix": (TARGETS, np.array([9, 8, 5]), np.array([4, 3, 2])),
    "tuples": (TARGETS, (9, 8, 5), (4, 3, 0)),
    "vector": (np.array([1, 2, 2, 3, 1, 3]), (9, 9, 4), (3, 1, 2)),
}


@pytest.mark.parametrize("options", [{"reduction": "mean"}, {"reduction": "sum"}, {"reduction": "none"},
                                     {"blank": 3, "zero_infinity": True}], ids=str)  # fmt: skip
@pytest.mark.parametrize("case", CTC)
def test_ctc(case: str, options: dict[str, Any]) -> None:
    targets, *lengths = CTC[case]
    if "blank" in options:
        targets = (targets + 1) % 3
    ours, theirs, gradient, expected = both_ctc(frames(9, 3, 5), (targets, *lengths), options)
    close(ours, theirs)
    close(gradient, expected)


def test_ctc_of_impossible_sequences() -> None:
    arguments = (np.array([[1, 1, 1], [1, 2, 1]]), (4, 4), (3, 3))
    ours, theirs, gradient, expected = both_ctc(frames(4, 2, 4), arguments, {"zero_infinity": True, "reduction": "sum"})
    close(ours, theirs)
    close(gradient, expected)
    losses = F.ctc_loss(plait.tensor(frames(4, 2, 4)), plait.tensor(arguments[0]), (4, 4), (3, 3), reduction="none")
    assert np.isinf(losses.numpy()).tolist() == [True, False]


def test_ctc_without_a_batch() -> None:
    x, target = frames(6, 1, 4)[:, 0], np.array([1, 2])
    for lengths in ((6, 2), (np.array(6), np.array(2))):
        ours = F.ctc_loss(plait.tensor(x), plait.tensor(target), *map(plait.tensor, lengths))
        theirs = T.ctc_loss(torch.tensor(x), torch.tensor(target), *map(torch.tensor, lengths))
        close(ours, theirs)


def test_ctc_compiled_and_by_finite_differences() -> None:
    x, targets = frames(5, 2, 3).astype(np.float64), plait.tensor([[1, 2], [2, 2]])

    def loss(x: Any) -> Any:
        return F.ctc_loss(x, targets, plait.tensor([5, 4]), plait.tensor([2, 2]), reduction="sum")

    close(plait.jit(loss)(plait.tensor(x)), loss(plait.tensor(x)))
    gradient = plait.grad(loss)(plait.tensor(x)).numpy()
    for place in [(0, 0, 1), (2, 1, 0), (4, 0, 2), (4, 1, 2)]:
        step = np.zeros_like(x)
        step[place] = 1e-6
        difference = (loss(plait.tensor(x + step)).item() - loss(plait.tensor(x - step)).item()) / 2e-6
        assert abs(difference - gradient[place]) < 1e-7


# errors

WRONG: list[tuple[str, Any, dict[str, Any], type[Exception], str]] = [
    ("mse_loss", (normal(3), normal(3, 1)), {}, ShapeError, "compares equal shapes"),
    ("mse_loss", (normal(3), normal(3)), {"reduction": "avg"}, ArgumentError, "Unknown reduction"),
    ("kl_div", (normal(3), normal(3)), {"reduction": "avg"}, ArgumentError, "batchmean"),
    ("cross_entropy", (normal(3, 2), classes(2, 2)), {}, ShapeError, "does not fit the input"),
    ("cross_entropy", (normal(3, 2), classes(2, 3)), {"weight": unit(3)}, ShapeError, "one number for each class"),
    ("cross_entropy", (normal(3, 2), classes(2, 3)), {"label_smoothing": 1.5}, ArgumentError, "label_smoothing"),
    ("nll_loss", (normal(3, 2), normal(3)), {}, DTypeError, "integers"),
    ("smooth_l1_loss", (normal(3), normal(3)), {"beta": -1.0}, ArgumentError, "beta"),
    ("huber_loss", (normal(3), normal(3)), {"delta": 0.0}, ArgumentError, "delta"),
    ("gaussian_nll_loss", (normal(3), normal(3), -1.0), {}, ArgumentError, "not negative"),
    ("gaussian_nll_loss", (normal(3), normal(3), unit(2)), {}, ShapeError, "do not fit the input"),
    ("multi_margin_loss", (normal(3, 2), classes(2, 3)), {"p": 3}, ArgumentError, "1 or 2"),
    ("multilabel_margin_loss", (normal(3, 2), classes(2, 3)), {}, ShapeError, r"\[N, C\]"),
    ("triplet_margin_loss", (normal(3), normal(3), normal(3)), {"margin": 0.0}, ArgumentError, "positive number"),
    ("cosine_embedding_loss", (normal(3, 2), normal(3, 2), signs(3, 2)), {}, ShapeError, "takes vectors"),
    ("binary_cross_entropy", (unit(3), unit(3)), {"weight": unit(2, 3)}, ShapeError, "does not broadcast"),
    ("ctc_loss", (frames(4, 2, 3), classes(3, 2, 2), (4,), (2, 2)), {}, ShapeError, "input_lengths"),
    ("ctc_loss", (frames(4, 2, 3), classes(3, 3), (4, 4), (2, 2)), {}, ShapeError, "sum to 4"),
    ("ctc_loss", (frames(4, 2, 3), classes(3, 2, 2), (4, 4), (2, 2)), {"blank": 3}, ArgumentError, "0 to 2"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "options", "error", "text"), WRONG)
def test_wrong_arguments(name: str, arguments: Any, options: dict[str, Any], error: type[Exception], text: str) -> None:
    given = [plait.tensor(a) if isinstance(a, np.ndarray) else a for a in arguments]
    named = {k: plait.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    with pytest.raises(error, match=text):
        getattr(F, name)(*given, **named)

"""Losses of classes."""

from __future__ import annotations

import math
from typing import Any

from plait.core.errors import ArgumentError, DTypeError, ShapeError, message
from plait.nn.arguments import floating, narrowed, probability, widened
from plait.nn.functional.linear import linear
from plait.nn.functional.losses import loss, softplus, weighted
from plait.tensor.creation import arange
from plait.tensor.cumulative import cumprod
from plait.tensor.functions import clamp, where
from plait.tensor.reductions import log_softmax
from plait.tensor.shaping import as_operand
from plait.tensor.tensor import Tensor

__all__ = [
    "cross_entropy", "linear_cross_entropy", "multi_margin_loss", "multilabel_margin_loss",
    "multilabel_soft_margin_loss", "nll_loss",
]  # fmt: skip

_CLASSES = (
    "    target: class numbers without the axis C{soft}.\n    weight: a factor for each class, a vector [C].\n"
    "    ignore_index: class number of elements that do not count.\n"
)
_EACH = "all elements: without the axis C, NaN where a class number is out of range"


@loss(
    "Return minus the logarithm of the probability of the class; the mean is over those that count, weighted.",
    "    input: logarithms of probabilities [N, C], [N, C, ...] or [C].\n" + _CLASSES.format(soft=""),
    "nll_loss(plait.tensor([[-0.5, -1.0]]), plait.tensor([1]))\n    tensor(1.)",
    operands=1, order="input target weight size_average ignore_index reduce reduction", each=_EACH,
)  # fmt: skip
def nll_loss(input: Tensor, target: Any, weight: Any = None, ignore_index: int = -100) -> Any:
    axis = _class_axis(input, "nll_loss")
    return _class_losses(input, as_operand(target, "nll_loss"), weight, ignore_index, axis)


def _class_losses(logs: Tensor, classes: Tensor, weight: Any, ignore_index: int, axis: int) -> tuple[Tensor, Tensor]:
    """Return minus the weighted logarithms of the classes, and the sum of the weights."""
    weight = _class_weight(weight, logs, axis)
    _check_classes(logs, classes, axis)
    counts = classes != ignore_index.__index__()
    is_valid = (classes >= 0) & (classes < logs.shape[axis])
    hit = _hits(classes, logs, axis)
    losses = -_of_class(logs if weight is None else logs * weight, hit, axis)
    losses = where(counts, where(is_valid, losses, math.nan), 0.0)
    if weight is None:
        return losses, counts.sum().to(logs.dtype)
    return losses, where(counts, _of_class(weight, hit, axis), 0.0).sum()


def _class_axis(x: Tensor, name: str) -> int:
    if not x.ndim:
        raise ShapeError(message(f"{name} takes [N, C, ...] or [C]", "shape ()"))
    return 0 if x.ndim == 1 else 1


def _along(vector: Tensor, axis: int, ndim: int) -> Tensor:
    """Return a vector over classes with axes of size 1 behind it, as many as `axis` of `ndim` has."""
    return vector.reshape(-1, *(1,) * (ndim - axis - 1))


def _of_class(values: Tensor, hit: Tensor, axis: int) -> Tensor:
    """Return, for each element, the value of its class: a masked sum, which needs no gather and no scatter."""
    return where(hit, values, 0.0).sum(axis)


def _hits(classes: Tensor, logs: Tensor, axis: int) -> Tensor:
    """Return a mask of the shape of `logs` that is True at the class of each element."""
    return classes.unsqueeze(axis) == _along(arange(logs.shape[axis]), axis, logs.ndim)


def _class_weight(weight: Any, logs: Tensor, axis: int) -> Tensor | None:
    """Return the factors of the classes in the shape that multiplies `logs`."""
    if weight is None:
        return None
    vector = widened(as_operand(weight, "weight"))
    if vector.shape != (logs.shape[axis],):
        expected = f"({logs.shape[axis]},)"
        raise ShapeError(message("The weight has one number for each class", vector.shape, expected))
    return _along(vector, axis, logs.ndim)


def _check_classes(logs: Tensor, classes: Tensor, axis: int) -> None:
    expected = (*logs.shape[:axis], *logs.shape[axis + 1 :])
    if not classes.dtype.is_integer:
        fix = "convert with .to(plait.int64)"
        raise DTypeError(message("Class numbers are integers", classes.dtype.name, "an integer dtype", fix))
    if classes.shape != expected:
        received = f"an input of shape {logs.shape} and a target of shape {classes.shape}"
        fix = "the target has the shape of the input without its axis of classes"
        raise ShapeError(message("The target does not fit the input", received, f"a target of shape {expected}", fix))


@loss(
    "Return the cross-entropy between logits and classes, or probabilities of them.",
    "    input: logits [N, C], [N, C, ...] or [C].\n" + _CLASSES.format(soft=", or probabilities like `input`")
    + "    label_smoothing: how much of the probability is spread evenly over all classes (Szegedy et al., 2016).\n",
    "cross_entropy(plait.tensor([[0.0, 0.0]]), plait.tensor([1]))\n    tensor(0.6931)",
    operands=1, order="input target weight size_average ignore_index reduce reduction label_smoothing", each=_EACH,
    raises=", or a smoothing outside 0 to 1",
)  # fmt: skip
def cross_entropy(
    input: Tensor, target: Any, weight: Any = None, ignore_index: int = -100, label_smoothing: float = 0.0
) -> Any:
    classes, smoothing = as_operand(target, "cross_entropy"), probability(label_smoothing, "label_smoothing")
    axis = _class_axis(input, "cross_entropy")
    logs = log_softmax(input, axis)
    if classes.dtype.is_inexact:
        return _soft_losses(logs, widened(classes), weight, smoothing, axis)
    losses, total = _class_losses(logs, classes, weight, ignore_index, axis)
    if not smoothing:
        return losses, total
    factor = _class_weight(weight, logs, axis)
    even = -(logs if factor is None else logs * factor).mean(axis)
    return (1 - smoothing) * losses + smoothing * where(classes == ignore_index, 0.0, even), total


def _soft_losses(logs: Tensor, target: Tensor, weight: Any, smoothing: float, axis: int) -> tuple[Tensor, int]:
    if target.shape != logs.shape:
        received = f"an input of shape {logs.shape} and probabilities of shape {target.shape}"
        raise ShapeError(message("cross_entropy: probabilities have the shape of the input", received))
    if smoothing:
        target = target * (1 - smoothing) + smoothing / logs.shape[axis]
    factor = _class_weight(weight, logs, axis)
    losses = -((logs if factor is None else logs * factor) * target).sum(axis)
    return losses, losses.numel()


def linear_cross_entropy(
    input: Any, linear_weight: Any, target: Any, *, linear_bias: Any = None, weight: Any = None,
    reduction: str = "mean", ignore_index: int | None = None, label_smoothing: float = 0.0, options: Any = None,
) -> Tensor:  # fmt: skip
    """Return the cross-entropy between classes and the logits `linear(input, linear_weight, linear_bias)`.

    Args:
        input: features [N, in] or [in].
        linear_weight: a matrix [C, in], or a tensor [C, d1, ..., in] for K-dimensional targets.
        target: class numbers [N, d1, ...], or probabilities [N, C, d1, ...]; without a batch, without N.
        linear_bias: a tensor of the shape of `linear_weight` without its last axis.
        weight: a factor for each class, a vector [C].
        reduction: "mean", "sum" or "none".
        ignore_index: class number of elements that do not count, by default -100.
        label_smoothing: how much of the probability is spread evenly over all classes.
        options: ignored: how PyTorch cuts the batch in chunks.

    Returns:
        A rank-0 tensor, or the losses of all elements.

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: another reduction, or a smoothing outside 0 to 1.

    Example:
        >>> plait.nn.functional.linear_cross_entropy(plait.ones(1, 2), plait.ones(3, 2), plait.tensor([1]))
        tensor(1.0986)
    """
    x, matrix = floating(input, "linear_cross_entropy"), as_operand(linear_weight, "linear_cross_entropy")
    if x.ndim not in (1, 2) or matrix.ndim < 2 or (x.ndim == 1 and matrix.ndim > 2):
        received = f"an input of shape {x.shape}, a weight of shape {matrix.shape}"
        expected = "an input [N, in] or [in], a weight [C, in] or, with a batch, [C, d1, ..., in]"
        raise ShapeError(message("linear_cross_entropy: the sizes do not fit", received, expected))
    bias = None if linear_bias is None else as_operand(linear_bias, "linear_cross_entropy").reshape(-1)
    logits = linear(widened(x), widened(matrix).reshape(-1, matrix.shape[-1]), bias)
    logits = logits.reshape(*x.shape[:-1], *matrix.shape[:-1])
    index = -100 if ignore_index is None else ignore_index
    result = cross_entropy(
        logits, target, weight, ignore_index=index, reduction=reduction, label_smoothing=label_smoothing
    )
    return narrowed(result, x.dtype)


# margins


def _rows(input: Tensor, target: Any, name: str, has_classes: bool) -> tuple[Tensor, Tensor]:
    """Return scores and class numbers with a batch axis in front of the scores' one of classes."""
    classes = as_operand(target, name)
    if not input.ndim:  # one class
        input, classes = input.reshape(1), classes.reshape(1) if has_classes else classes
    expected = input.shape if has_classes else input.shape[:-1]
    if input.ndim not in (1, 2) or classes.shape not in (expected, (1,) if input.ndim == 1 else expected):
        received = f"an input of shape {input.shape} and a target of shape {classes.shape}"
        shape = "[N, C]" if has_classes else "[N]"
        raise ShapeError(message(f"{name} takes [N, C] or [C]", received, f"an input [N, C] and a target {shape}"))
    if not classes.dtype.is_integer:
        fix = "convert with .to(plait.int64)"
        raise DTypeError(message("Class numbers are integers", classes.dtype.name, "an integer dtype", fix))
    return input, classes if has_classes or input.ndim == 2 else classes.reshape(())


@loss(
    "Return the mean over the other classes of max(0, margin - score of the class + score of the other) to the power p "
    "(Crammer and Singer, 2001).",
    "    input: scores [N, C] or [C].\n    target: class numbers [N] or [].\n    p: 1 or 2.\n    margin: the margin.\n"
    "    weight: a factor for each class, a vector [C].\n",
    "multi_margin_loss(plait.tensor([[0.0, 1.0]]), plait.tensor([0]))\n    tensor(1.)",
    operands=1, each="all rows", raises=", or another `p`",
)  # fmt: skip
def multi_margin_loss(input: Tensor, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None) -> Tensor:
    if p not in (1, 2):
        raise ArgumentError(message("multi_margin_loss has an order p", repr(p), "1 or 2"))
    scores, classes = _rows(input, target, "multi_margin_loss", False)
    axis = scores.ndim - 1
    hit = _hits(classes, scores, axis)
    gaps = clamp(margin - _of_class(scores, hit, axis).unsqueeze(axis) + scores, 0.0)
    factor = _class_weight(weight, scores, axis)
    terms = gaps if p == 1 else gaps * gaps
    terms = terms if factor is None else terms * _of_class(factor, hit, axis).unsqueeze(axis)
    return where(hit, 0.0, terms).sum(axis) / scores.shape[axis]


@loss(
    "Return the mean over the classes of the sums of max(0, 1 - score of a target + score of another class).",
    "    input: scores [N, C] or [C].\n    target: class numbers, of the same shape; those from the first negative one "
    "on do not count.\n",
    "multilabel_margin_loss(plait.tensor([0.0, 1.0]), plait.tensor([0, -1]))\n    tensor(1.)",
    operands=1, each="all rows",
)  # fmt: skip
def multilabel_margin_loss(input: Tensor, target: Any) -> Tensor:
    scores, classes = _rows(input, target, "multilabel_margin_loss", True)
    is_target = cumprod((classes >= 0).to(classes.dtype), -1) > 0
    # [..., k, c]: whether the k-th target is class c
    hit = (classes[..., None] == arange(scores.shape[-1])) & is_target[..., None]
    others = ~hit.any(-2)
    wanted = _of_class(scores[..., None, :], hit, -1)
    gaps = clamp(1.0 - wanted[..., None] + scores[..., None, :], 0.0)
    return where(is_target[..., None] & others[..., None, :], gaps, 0.0).sum((-2, -1)) / scores.shape[-1]


@loss(
    "Return the mean over the classes of binary cross-entropies between logits and probabilities.",
    "    input: logits [..., C].\n    target: probabilities, of the same shape.\n"
    "    weight: factors that broadcast to that shape.\n",
    "multilabel_soft_margin_loss(plait.zeros(1, 2), plait.ones(1, 2))\n    tensor(0.6931)",
    same_shape=True, each="all rows",
)  # fmt: skip
def multilabel_soft_margin_loss(input: Tensor, target: Tensor, weight: Any = None) -> Tensor:
    losses = (1.0 - target) * input + softplus(-input)
    return weighted(losses, weight, "multilabel_soft_margin_loss").mean(-1)

"""Losses: functions and modules."""

from __future__ import annotations

import math
from typing import Any

from plait.core.errors import DTypeError, ShapeError, message
from plait.nn.arguments import check_reduction, floating, probability, reduced
from plait.nn.module import Module
from plait.tensor.creation import arange
from plait.tensor.functions import clamp, exp, log1p, where
from plait.tensor.reductions import log_softmax
from plait.tensor.shaping import as_operand
from plait.tensor.tensor import Tensor


def cross_entropy(
    input: Any, target: Any, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """Return the cross-entropy between logits and classes.

    Args:
        input: logits [N, C], [N, C, ...] or [C].
        target: class numbers without the axis C, or probabilities of the shape of `input`.
        weight: a factor for each class, a vector [C].
        ignore_index: class number of elements that do not count.
        reduction: "mean" (over the elements that count, weighted), "sum" or "none".
        label_smoothing: how much of the probability is spread evenly over all classes.

    Returns:
        A rank-0 tensor, or the losses without the axis C; NaN where a class number is out of range.

    Raises:
        ShapeError: the shapes do not fit.
        DTypeError: the logits are not floating-point.
        ArgumentError: another reduction, or a smoothing outside 0 to 1.

    Example:
        >>> plait.nn.functional.cross_entropy(plait.tensor([[0.0, 0.0]]), plait.tensor([1]))
        tensor(0.6931)
    """
    logits, classes = floating(input, "cross_entropy"), as_operand(target, "cross_entropy")
    smoothing = probability(label_smoothing, "label_smoothing")
    axis = _class_axis(logits, "cross_entropy")
    if classes.dtype.is_inexact:
        return _soft_cross_entropy(logits, classes, weight, reduction, smoothing, axis)
    logs = log_softmax(logits, axis)
    loss = nll_loss(logs, classes, weight, ignore_index=ignore_index, reduction=reduction)
    if not smoothing:
        return loss
    spread = logs if weight is None else logs * _along(weight, axis, logs.ndim)
    counts = classes != ignore_index
    even = where(counts, -spread.sum(axis), 0.0)
    if reduction == "mean":
        even = even.sum() / _total_weight(classes, counts, weight, logs, axis)
    elif reduction == "sum":
        even = even.sum()
    return (1 - smoothing) * loss + (smoothing / logs.shape[axis]) * even


def _soft_cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float, axis: int
) -> Tensor:
    if target.shape != logits.shape:
        received = f"an input of shape {logits.shape} and probabilities of shape {target.shape}"
        raise ShapeError(message("cross_entropy: probabilities have the shape of the input", received))
    if smoothing:
        target = target * (1 - smoothing) + smoothing / logits.shape[axis]
    logs = log_softmax(logits, axis)
    logs = logs if weight is None else logs * _along(weight, axis, logs.ndim)
    losses = -(logs * target).sum(axis)
    check_reduction(reduction)
    if reduction == "mean":
        return losses.sum() / max(1, losses.numel())
    return reduced(losses, reduction)


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


def nll_loss(
    input: Any, target: Any, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Return minus the logarithm of the probability of the class.

    Args:
        input: logarithms of probabilities [N, C], [N, C, ...] or [C].
        target: class numbers without the axis C.
        weight: a factor for each class, a vector [C].
        ignore_index: class number of elements that do not count.
        reduction: "mean" (over the elements that count, weighted), "sum" or "none".

    Returns:
        A rank-0 tensor, or the losses without the axis C; NaN where a class number is out of range.

    Raises:
        ShapeError: the shapes do not fit.
        DTypeError: the class numbers are not integers.
        ArgumentError: another reduction.

    Example:
        >>> plait.nn.functional.nll_loss(plait.tensor([[-0.5, -1.0]]), plait.tensor([1]))
        tensor(1.)
    """
    logs, classes = floating(input, "nll_loss"), as_operand(target, "nll_loss")
    axis = _class_axis(logs, "nll_loss")
    check_reduction(reduction)
    _check_classes(logs, classes, weight, axis)
    size = logs.shape[axis]
    hit = _hits(classes, logs, axis)
    counts = classes != ignore_index
    picked = logs if weight is None else logs * _along(weight, axis, logs.ndim)
    losses = -_of_class(picked, hit, axis)
    is_valid = (classes >= 0) & (classes < size)
    losses = where(counts, where(is_valid, losses, math.nan), 0.0)
    if reduction == "mean":
        return losses.sum() / _total_weight(classes, counts, weight, logs, axis)
    return reduced(losses, reduction)


def _check_classes(logs: Tensor, classes: Tensor, weight: Tensor | None, axis: int) -> None:
    expected = (*logs.shape[:axis], *logs.shape[axis + 1 :])
    if classes.dtype.is_inexact or classes.dtype.name == "bool":
        fix = "convert with .to(plait.int64)"
        raise DTypeError(message("Class numbers are integers", classes.dtype.name, "an integer dtype", fix))
    if classes.shape != expected:
        received = f"an input of shape {logs.shape} and a target of shape {classes.shape}"
        fix = "the target has the shape of the input without its axis of classes"
        raise ShapeError(message("The target does not fit the input", received, f"a target of shape {expected}", fix))
    if weight is not None and weight.shape != (logs.shape[axis],):
        expected_weight = f"({logs.shape[axis]},)"
        raise ShapeError(message("The weight has one number for each class", weight.shape, expected_weight))


def _hits(classes: Tensor, logs: Tensor, axis: int) -> Tensor:
    """Return a mask of the shape of `logs` that is True at the class of each element."""
    return classes.unsqueeze(axis) == _along(arange(logs.shape[axis]), axis, logs.ndim)


def _total_weight(classes: Tensor, counts: Tensor, weight: Tensor | None, logs: Tensor, axis: int) -> Tensor:
    if weight is None:
        return counts.sum().to(logs.dtype)
    of_class = _of_class(_along(weight, axis, logs.ndim), _hits(classes, logs, axis), axis)
    return where(counts, of_class, 0.0).sum()


def _paired(input: Any, target: Any, name: str) -> tuple[Tensor, Tensor]:
    x, y = floating(input, name), as_operand(target, name)
    if x.shape != y.shape:
        received = f"an input of shape {x.shape} and a target of shape {y.shape}"
        fix = "reshape one of them, e.g. target[:, None]; nothing is broadcast here, it is most often a mistake"
        raise ShapeError(message(f"{name} compares equal shapes", received, None, fix))
    return x, y


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Return the squared difference, reduced by "mean", "sum" or "none".

    Args:
        input: a tensor.
        target: a tensor of the same shape.
        reduction: how the losses are reduced.

    Returns:
        A rank-0 tensor, or one of the shape of `input`.

    Raises:
        ShapeError: the shapes differ.
        ArgumentError: another reduction.

    Example:
        >>> plait.nn.functional.mse_loss(plait.tensor([1.0, 2.0]), plait.tensor([1.0, 4.0]))
        tensor(2.)
    """
    x, y = _paired(input, target, "mse_loss")
    return reduced((x - y) ** 2, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Return the absolute difference, reduced; arguments and errors are those of `mse_loss`."""
    x, y = _paired(input, target, "l1_loss")
    return reduced((x - y).abs(), reduction)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Tensor | None = None, *, reduction: str = "mean", pos_weight: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy between sigmoid(input) and probabilities, without overflow.

    Args:
        input: logits.
        target: probabilities of the same shape.
        weight: factors that broadcast to that shape.
        reduction: "mean", "sum" or "none".
        pos_weight: factors of the positive class that broadcast to that shape.

    Returns:
        A rank-0 tensor, or one of the shape of `input`.

    Raises:
        ShapeError: the shapes differ.
        ArgumentError: another reduction.

    Example:
        >>> plait.nn.functional.binary_cross_entropy_with_logits(plait.tensor([0.0]), plait.tensor([1.0]))
        tensor(0.6931)
    """
    x, y = _paired(input, target, "binary_cross_entropy_with_logits")
    softplus = log1p(exp(-x.abs())) + clamp(-x, 0.0)  # log(1 + exp(-x))
    scale = 1.0 if pos_weight is None else 1 + (pos_weight - 1) * y
    losses = (1 - y) * x + scale * softplus
    return reduced(losses if weight is None else losses * weight, reduction)


class CrossEntropyLoss(Module):
    """The cross-entropy between logits and classes; the arguments are those of `functional.cross_entropy`."""

    def __init__(
        self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:  # fmt: skip
        self.register_buffer("weight", weight)
        self.ignore_index, self.reduction, self.label_smoothing = ignore_index, reduction, label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )  # fmt: skip


class NLLLoss(Module):
    """Minus the logarithm of the probability of the class; the arguments are those of `functional.nll_loss`."""

    def __init__(self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        self.register_buffer("weight", weight)
        self.ignore_index, self.reduction = ignore_index, reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class MSELoss(Module):
    """The squared difference, reduced by "mean", "sum" or "none"."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return mse_loss(input, target, self.reduction)


class L1Loss(Module):
    """The absolute difference, reduced by "mean", "sum" or "none"."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return l1_loss(input, target, self.reduction)


class BCEWithLogitsLoss(Module):
    """Binary cross-entropy; the arguments are those of `functional.binary_cross_entropy_with_logits`."""

    def __init__(
        self, weight: Tensor | None = None, *, reduction: str = "mean", pos_weight: Tensor | None = None
    ) -> None:
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )

"""Metrics of the order of scores: curves over all thresholds, and the areas under them, as scikit-learn has them."""

from __future__ import annotations

from math import inf, nan
from typing import Any, NamedTuple

import numpy as np

from plait.core.dtype import bool_, float64, int64
from plait.core.errors import DTypeError, ShapeError, message
from plait.metrics.labels import AVERAGES, check_choice
from plait.metrics.metric import Collected, State
from plait.metrics.regression import ranks
from plait.tensor.creation import arange, as_tensor
from plait.tensor.functions import isnan, where
from plait.tensor.sorting import searchsorted, sort
from plait.tensor.stacking import stack
from plait.tensor.tensor import Tensor


class _Scores(Collected):
    """Base class: scores and whether they are of positive samples, [N] or [N, labels]."""

    def measure(self, input: Tensor, target: Tensor) -> State:
        """Return scores and flags as they are; class numbers become one flag for each class."""
        if not input.dtype.is_floating:
            raise DTypeError(message(f"{type(self).__name__} takes scores", input.dtype.name, "floats"))
        if target.dtype.is_inexact:
            text, fix = f"{type(self).__name__} takes classes as targets", "convert with .to(plait.int64)"
            raise DTypeError(message(text, target.dtype.name, "integers or bools", fix))
        if input.ndim == 2 and target.ndim == 1 and len(input) == len(target):
            flags = target.to(int64)[:, None] == arange(input.shape[1])
        elif input.shape == target.shape and input.ndim in (1, 2):
            flags = target != 0
        else:
            text = f"The shapes of {type(self).__name__} do not fit together"
            expected = "scores [N] with targets [N], or scores [N, labels] with targets [N] or [N, labels]"
            raise ShapeError(message(text, f"input {input.shape}, target {target.shape}", expected))
        return {"scores": input, "flags": flags.to(bool_)}


class _Area(_Scores):
    """Base class: a number for each column of scores, and an average of these.

    Args:
        average: of the columns of several classes or labels: "macro": their mean; "weighted": weighted by how many
            samples are positive; "micro": all columns as one; "none" or None: the numbers themselves.
    """

    def __init__(self, average: str | None = "macro") -> None:
        check_choice("average", average, AVERAGES)
        self.average = average

    def area(self, scores: Tensor, is_positive: Tensor) -> Tensor:
        """Return the number of one column."""
        raise NotImplementedError(f"{type(self).__name__}.area")

    def result(self, state: State) -> Tensor:
        """Return the average of the areas."""
        scores, flags = state["scores"], state["flags"]
        if scores.ndim == 1:
            return self.area(scores, flags)
        if self.average == "micro":
            return self.area(scores.reshape(-1), flags.reshape(-1))
        areas = stack([self.area(scores[:, k], flags[:, k]) for k in range(scores.shape[1])])
        if self.average in ("none", None):
            return areas
        weights = flags.sum(0).to(float64) if self.average == "weighted" else as_tensor(1.0, dtype=float64)
        return (areas * weights).sum() / (weights * (areas * 0 + 1)).sum()


class AUROC(_Area):
    """The area under the receiver operating characteristic: how often a positive sample scores above a negative one.

    Equal scores count half. Of several classes each is told from all others; NaN if a class has no samples, or all.

    Args:
        average: of several classes or labels: "macro": the mean of their areas; "weighted": weighted by how many
            samples are positive; "micro": all of them as one; "none" or None: the areas themselves.

    Raises:
        ArgumentError: an unknown average.

    Example:
        >>> auroc = plait.metrics.AUROC()
        >>> auroc.update(plait.tensor([0.1, 0.4, 0.35, 0.8]), plait.tensor([0, 0, 1, 1])).compute().item()
        0.75
    """

    def area(self, scores: Tensor, is_positive: Tensor) -> Tensor:
        """Return the area from the sum of ranks (Mann and Whitney, 1947)."""
        positive = is_positive.sum().to(float64)
        negative = len(scores) - positive
        pairs = positive * negative
        above = where(is_positive, ranks(scores), 0.0).sum() - positive * (positive + 1) / 2
        return where((pairs > 0) & ~isnan(scores).any(), above / where(pairs > 0, pairs, 1.0), nan)


class AveragePrecision(_Area):
    """The average precision: precision at each threshold, weighted by the recall gained there.

    It is 0 if there are no positive samples.

    Args:
        average: of several classes or labels: "macro": the mean of their values; "weighted": weighted by how many
            samples are positive; "micro": all of them as one; "none" or None: the values themselves.

    Raises:
        ArgumentError: an unknown average.

    Example:
        >>> precision = plait.metrics.AveragePrecision()
        >>> precision.update(plait.tensor([0.1, 0.4, 0.35, 0.8]), plait.tensor([0, 0, 1, 1])).compute().item()
        0.8333333333333333
    """

    def area(self, scores: Tensor, is_positive: Tensor) -> Tensor:
        """Return the mean over the positive samples of the precision at their own scores as thresholds."""
        descending = -scores
        positive = is_positive.sum()
        chosen = searchsorted(sort(descending), descending, right=True)
        own = sort(where(is_positive, descending.to(float64), inf))  # the positive ones, then infinity
        right = searchsorted(own, descending.to(float64), right=True)
        right = where(right < positive, right, positive)
        precision = where(is_positive, right.to(float64) / chosen.to(float64), 0.0)
        return precision.sum() / where(positive > 0, positive, 1).to(float64)


class ROC(NamedTuple):
    """A receiver operating characteristic: rates at descending thresholds, the first of which is infinity."""

    fpr: np.ndarray[Any, Any]
    tpr: np.ndarray[Any, Any]
    thresholds: np.ndarray[Any, Any]


class PrecisionRecall(NamedTuple):
    """Precision and recall at ascending thresholds, and a last point (1, 0) without one."""

    precision: np.ndarray[Any, Any]
    recall: np.ndarray[Any, Any]
    thresholds: np.ndarray[Any, Any]


def _cumulative(scores: Tensor, flags: Tensor) -> tuple[np.ndarray[Any, Any], ...]:
    """Return false and true positives at each distinct score, in descending order, and these."""
    values, positive = scores.numpy(), flags.numpy()
    order = np.argsort(-values, kind="stable")
    values, positive = values[order], positive[order]
    ends = np.append(np.nonzero(np.diff(values))[0], len(values) - 1)
    true = np.cumsum(positive)[ends].astype(np.float64)
    return 1 + ends - true, true, values[ends]


class _Curve(_Scores):
    """Base class: a curve for each column of scores; its points are looked at, so it is not for compiled functions."""

    def curve(self, scores: Tensor, flags: Tensor) -> Any:
        """Return the curve of one column."""
        raise NotImplementedError(f"{type(self).__name__}.curve")

    def result(self, state: State) -> Any:
        """Return the curve, or one for each class."""
        scores, flags = state["scores"], state["flags"]
        if scores.ndim == 1:
            return self.curve(scores, flags)
        return [self.curve(scores[:, k], flags[:, k]) for k in range(scores.shape[1])]


class ROCCurve(_Curve):
    """The receiver operating characteristic as NumPy arrays (fpr, tpr, thresholds); one for each of several classes.

    Args:
        drop_intermediate: whether points on a straight line between others are left out.

    Example:
        >>> curve = plait.metrics.ROCCurve()
        >>> curve.update(plait.tensor([0.1, 0.4, 0.3, 0.8]), plait.tensor([0, 0, 1, 1])).compute().tpr.tolist()
        [0.0, 0.5, 0.5, 1.0, 1.0]
    """

    def __init__(self, drop_intermediate: bool = True) -> None:
        self.drop_intermediate = drop_intermediate

    def curve(self, scores: Tensor, flags: Tensor) -> ROC:
        """Return the curve; a rate of none is NaN."""
        false, true, thresholds = _cumulative(scores, flags)
        if self.drop_intermediate and len(false) > 2:
            is_corner = np.concatenate([[True], np.diff(false, 2).astype(bool) | np.diff(true, 2).astype(bool), [True]])
            false, true, thresholds = false[is_corner], true[is_corner], thresholds[is_corner]
        false, true = np.append(0.0, false), np.append(0.0, true)
        rates = [x / x[-1] if x[-1] else np.full(x.shape, nan) for x in (false, true)]
        return ROC(rates[0], rates[1], np.append(inf, thresholds))


class PrecisionRecallCurve(_Curve):
    """Precision and recall as NumPy arrays (precision, recall, thresholds); one for each of several classes.

    Example:
        >>> curve = plait.metrics.PrecisionRecallCurve()
        >>> curve.update(plait.tensor([0.1, 0.4, 0.3, 0.8]), plait.tensor([0, 0, 1, 1])).compute().recall.tolist()
        [1.0, 1.0, 0.5, 0.5, 0.0]
    """

    def curve(self, scores: Tensor, flags: Tensor) -> PrecisionRecall:
        """Return the curve; without positive samples recall is 1."""
        false, true, thresholds = _cumulative(scores, flags)
        recall = true / true[-1] if true[-1] else np.ones_like(true)
        precision = true / (true + false)
        return PrecisionRecall(np.append(precision[::-1], 1.0), np.append(recall[::-1], 0.0), thresholds[::-1])

"""Metrics of predicted classes; their values are those of scikit-learn."""

from __future__ import annotations

from math import nan

from plait.core.dtype import float64, int64
from plait.core.errors import ArgumentError, message
from plait.metrics.labels import AVERAGES, Labelled, check_choice, check_positive_integer
from plait.metrics.metric import State
from plait.tensor.creation import arange, as_tensor, ones_like, zeros_like
from plait.tensor.functions import isnan, sqrt, where
from plait.tensor.products import outer
from plait.tensor.selection import take_along_axis
from plait.tensor.statistics import bincount
from plait.tensor.tensor import Tensor


class Accuracy(Labelled):
    """How many of the predictions are right; of multilabel data: of all labels of a sample at once.

    Args:
        top_k: a prediction is right if the target is among the `top_k` largest scores; of equal scores the class
            with the lower number comes first, as in `argmax`.
        task: "binary", "multiclass", "multilabel", or None to tell from shapes and dtypes.
        threshold: the score above which a label is predicted.
        ignore_index: samples whose target has this value do not count.

    Raises:
        ArgumentError: an unknown task, or `top_k` below 1.

    Example:
        >>> accuracy = plait.metrics.Accuracy()
        >>> scores, target = plait.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), plait.tensor([1, 1, 1])
        >>> accuracy.update(scores, target).compute().item()
        0.6666666666666666
    """

    def __init__(
        self, top_k: int = 1, task: str | None = None, threshold: float = 0.5, ignore_index: int | None = None
    ) -> None:
        super().__init__(None, task, threshold, ignore_index)
        check_positive_integer("top_k", top_k)
        self.top_k = top_k

    def measure(self, input: Tensor, target: Tensor) -> State:
        """Return how many predictions are right, and of how many."""
        task = self.task_of(input, target)
        if task != "multiclass":
            predicted, true, counts = self.flags(input, target)
            is_right, counted = (predicted == true).all(1), counts.any(1)
            unknown = self.strange(input, target)
        else:
            true = target.reshape(-1).to(int64)
            counted = ones_like(true) == 1 if self.ignore_index is None else true != self.ignore_index
            is_right, unknown = self._hits(input, target, true, counted)
        return {"right": (is_right & counted).sum(), "count": counted.sum(), "unknown": unknown}

    def _hits(self, input: Tensor, target: Tensor, true: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        if input.ndim == target.ndim:
            if self.top_k > 1:
                text = "The largest scores cannot be told from class numbers"
                raise ArgumentError(message(text, f"top_k={self.top_k}, input {input.aval}", fix="pass the scores"))
            return input.to(int64).reshape(-1) == true, ((true < 0) & counted).sum()
        classes = input.shape[1]
        scores = input.movedim(1, -1).reshape(-1, classes)
        is_known = (true >= 0) & (true < classes)
        place = where(is_known, true, 0).unsqueeze(1)
        own = take_along_axis(scores, place, 1)
        is_before = (scores > own) | isnan(scores) | (scores == own) & (arange(classes) < place)
        return (is_before.sum(1) < self.top_k) & ~isnan(own.squeeze(1)) & is_known, (~is_known & counted).sum()

    def result(self, state: State) -> Tensor:
        """Return the share of right predictions."""
        return state["right"].to(float64) / state["count"].to(float64)


_ARGUMENTS = """
    Args:
        num_classes: how many classes there are; None takes it from the scores.
        average: "macro": the mean of the classes that occur; "weighted": their mean, weighted by how often each is
            true; "micro": one ratio of all classes together; "none" or None: the ratios themselves. Of binary data
            there is one ratio, that of the positive class.
        zero_division: the value of a ratio by zero: 0, 1 or NaN; averages leave out NaN.
        task: "binary", "multiclass", "multilabel", or None to tell from shapes and dtypes.
        threshold: the score above which a label is predicted.
        ignore_index: samples whose target has this value do not count.

    Raises:
        ArgumentError: an unknown task or average.
"""


class _Ratio(Labelled):
    """A ratio for each class, of how often it was predicted, was true, and both; then an average of these."""

    def __init_subclass__(cls) -> None:
        summary, _, example = (cls.__doc__ or "").partition("\n    Example:")
        own = summary.partition("    Args:\n")
        arguments = _ARGUMENTS.replace("Args:\n", f"Args:\n{own[2]}", 1)
        cls.__doc__ = f"{own[0].rstrip()}\n{arguments}\n    Example:{example}"

    def __init__(
        self, num_classes: int | None = None, average: str | None = "macro", zero_division: float = 0.0,
        task: str | None = None, threshold: float = 0.5, ignore_index: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(num_classes, task, threshold, ignore_index)
        check_choice("average", average, AVERAGES)
        self.average, self.zero_division = average, zero_division

    def parts(self, both: Tensor, predicted: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Return numerator and denominator of the ratio."""
        raise NotImplementedError(f"{type(self).__name__}.parts")

    def measure(self, input: Tensor, target: Tensor) -> State:
        """Return for each class how often it was predicted, was true, and both."""
        if self.task_of(input, target) != "multiclass":
            flags, true, _ = self.flags(input, target)
            counts = [x.sum(0) for x in (flags & true, flags, true)]
            # a label is part of the average even if it does not occur
            return dict(zip(_COUNTS, counts, strict=True)) | {
                "unknown": self.strange(input, target), "present": ones_like(counts[0]),
            }  # fmt: skip
        predicted, true, unknown = self.numbers(input, target)
        classes = self.classes_of(input, target)
        both = where(predicted == true, true, classes)
        counts = [bincount(x, size=classes) for x in (both, predicted, true)]
        present = counts[1] + counts[2]
        return dict(zip(_COUNTS, counts, strict=True)) | {"unknown": unknown, "present": present}

    def result(self, state: State) -> Tensor:
        """Return the average of the ratios."""
        counts = [state[name].to(float64) for name in _COUNTS]
        if self.average == "micro":
            counts = [x.sum(0, keepdim=True) for x in counts]
        above, below = self.parts(*counts)
        ratios = where(below > 0, above / where(below > 0, below, 1.0), self.zero_division)
        if self.average in ("none", None):
            return ratios
        if self.average == "micro":
            return ratios[0]
        weights = ones_like(ratios) if self.average == "macro" else state["true"].to(float64)
        usable = (state["present"] > 0) & ~isnan(ratios)
        weights = where(usable, weights, 0.0)
        weights = where(weights.sum() > 0, weights, usable.to(float64))  # nothing is true: all count the same
        return (where(usable, ratios, 0.0) * weights).sum() / weights.sum()


_COUNTS = ("both", "predicted", "true")


class Precision(_Ratio):
    """How many of the predictions of a class are right: tp / (tp + fp).

    Example:
        >>> precision = plait.metrics.Precision(num_classes=3)
        >>> precision.update(plait.tensor([0, 1, 1, 2]), plait.tensor([0, 1, 2, 2])).compute().item()
        0.8333333333333334
    """

    def parts(self, both: Tensor, predicted: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Return numerator and denominator of the ratio."""
        return both, predicted


class Recall(_Ratio):
    """How many of the samples of a class are found: tp / (tp + fn).

    Example:
        >>> recall = plait.metrics.Recall(num_classes=3, average=None)
        >>> recall.update(plait.tensor([0, 1, 1, 2]), plait.tensor([0, 1, 2, 2])).compute().tolist()
        [1.0, 1.0, 0.5]
    """

    def parts(self, both: Tensor, predicted: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Return numerator and denominator of the ratio."""
        return both, true


class FBetaScore(_Ratio):
    """The harmonic mean of precision and recall, in which recall weighs beta² times as much.

    Args:
        beta: how much recall weighs.

    Example:
        >>> score = plait.metrics.FBetaScore(2.0)
        >>> score.update(plait.tensor([0.9, 0.8, 0.1]), plait.tensor([1, 0, 0])).compute().item()
        0.8333333333333334
    """

    def __init__(
        self, beta: float, num_classes: int | None = None, average: str | None = "macro", zero_division: float = 0.0,
        task: str | None = None, threshold: float = 0.5, ignore_index: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(num_classes, average, zero_division, task, threshold, ignore_index)
        if not beta >= 0:
            raise ArgumentError(message("beta weighs recall", beta, "a number of at least 0"))
        self.beta = beta

    def parts(self, both: Tensor, predicted: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Return numerator and denominator of the ratio."""
        square = self.beta**2
        return (1 + square) * both, square * true + predicted


class F1Score(FBetaScore):
    """The harmonic mean of precision and recall: 2 tp / (2 tp + fp + fn).

    Example:
        >>> score = plait.metrics.F1Score()
        >>> score.update(plait.tensor([0.9, 0.8, 0.1]), plait.tensor([1, 0, 0])).compute().item()
        0.6666666666666666
    """

    def __init__(
        self, num_classes: int | None = None, average: str | None = "macro", zero_division: float = 0.0,
        task: str | None = None, threshold: float = 0.5, ignore_index: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(1.0, num_classes, average, zero_division, task, threshold, ignore_index)


class Dice(F1Score):
    """The Dice coefficient of segmentations, 2 |A ∩ B| / (|A| + |B|) for each class.

    Example:
        >>> dice = plait.metrics.Dice(num_classes=2, average=None)
        >>> dice.update(plait.tensor([[0, 1], [1, 1]]), plait.tensor([[0, 0], [1, 1]])).compute().tolist()
        [0.6666666666666666, 0.8]
    """


class IoU(_Ratio):
    """Intersection over union, the Jaccard index |A ∩ B| / |A ∪ B| of each class.

    Example:
        >>> iou = plait.metrics.IoU(num_classes=2, average=None)
        >>> iou.update(plait.tensor([[0, 1], [1, 1]]), plait.tensor([[0, 0], [1, 1]])).compute().tolist()
        [0.5, 0.6666666666666666]
    """

    def parts(self, both: Tensor, predicted: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Return numerator and denominator of the ratio."""
        return both, predicted + true - both


class ConfusionMatrix(Labelled):
    """How often each class (row) was predicted as each class (column).

    Args:
        num_classes: how many classes there are; None takes it from the scores.
        normalize: divide by the sum of each row ("true"), each column ("pred"), or of all ("all"); None counts.
        task: "binary" or "multiclass", or None to tell from shapes and dtypes.
        threshold: the score above which the positive class is predicted.
        ignore_index: samples whose target has this value do not count.

    Raises:
        ArgumentError: an unknown task or normalization.

    Example:
        >>> matrix = plait.metrics.ConfusionMatrix(num_classes=2)
        >>> matrix.update(plait.tensor([0, 1, 1]), plait.tensor([0, 0, 1])).compute()
        tensor([[1, 1],
                [0, 1]])
    """

    def __init__(
        self, num_classes: int | None = None, normalize: str | None = None, task: str | None = None,
        threshold: float = 0.5, ignore_index: int | None = None,
    ) -> None:  # fmt: skip
        check_choice("task", task, ("binary", "multiclass", None))
        check_choice("normalize", normalize, ("true", "pred", "all", None))
        super().__init__(num_classes, task, threshold, ignore_index)
        self.normalize = normalize

    def measure(self, input: Tensor, target: Tensor) -> State:
        """Return the counts."""
        if self.task_of(input, target) == "binary":
            flags, true, counted = (x.reshape(-1) for x in self.flags(input, target))
            cell = where(counted, 2 * true.to(int64) + flags.to(int64), 4)
            return {"counts": bincount(cell, size=4).reshape(2, 2), "unknown": self.strange(input, target)}
        predicted, true, unknown = self.numbers(input, target)
        classes = self.classes_of(input, target)
        cell = where(true < classes, true * classes + predicted, classes * classes)
        return {"counts": bincount(cell, size=classes * classes).reshape(classes, classes), "unknown": unknown}

    def result(self, state: State) -> Tensor:
        """Return the matrix, divided as asked for."""
        counts = state["counts"]
        if self.normalize is None:
            return counts.clone()
        counts = counts.to(float64)
        axis = {"true": 1, "pred": 0, "all": (0, 1)}[self.normalize]
        total = counts.sum(axis, keepdim=True)
        return where(total > 0, counts / where(total > 0, total, 1.0), 0.0)


class CohenKappa(ConfusionMatrix):
    """Cohen's kappa: the agreement of predictions and targets beyond chance (Cohen, 1960).

    Args:
        num_classes: how many classes there are; None takes it from the scores.
        weights: how disagreement counts: None for all alike, "linear" or "quadratic" in the distance of the classes.
        task: "binary" or "multiclass", or None to tell from shapes and dtypes.
        threshold: the score above which the positive class is predicted.
        ignore_index: samples whose target has this value do not count.

    Raises:
        ArgumentError: an unknown task or weighting.

    Example:
        >>> kappa = plait.metrics.CohenKappa(num_classes=2)
        >>> kappa.update(plait.tensor([0, 1, 1, 1]), plait.tensor([0, 0, 1, 1])).compute().item()
        0.5
    """

    def __init__(
        self, num_classes: int | None = None, weights: str | None = None, task: str | None = None,
        threshold: float = 0.5, ignore_index: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(num_classes, None, task, threshold, ignore_index)
        check_choice("weights", weights, ("linear", "quadratic", None))
        self.weights = weights

    def result(self, state: State) -> Tensor:
        """Return kappa; NaN where chance alone agrees completely."""
        counts = state["counts"].to(float64)
        expected = outer(counts.sum(1), counts.sum(0)) / counts.sum()
        classes = arange(counts.shape[0], dtype=float64)
        distance = (classes[:, None] - classes).abs()
        weights = {None: (distance > 0).to(float64), "linear": distance, "quadratic": distance**2}[self.weights]
        chance = (weights * expected).sum()
        return where(chance > 0, 1 - (weights * counts).sum() / where(chance > 0, chance, 1.0), nan)


class MatthewsCorrCoef(ConfusionMatrix):
    """Matthews' correlation coefficient of predictions and targets, for any number of classes (Gorodkin, 2004).

    Args:
        num_classes: how many classes there are; None takes it from the scores.
        task: "binary" or "multiclass", or None to tell from shapes and dtypes.
        threshold: the score above which the positive class is predicted.
        ignore_index: samples whose target has this value do not count.

    Raises:
        ArgumentError: an unknown task.

    Example:
        >>> coefficient = plait.metrics.MatthewsCorrCoef()
        >>> coefficient.update(plait.tensor([0.9, 0.8, 0.1, 0.2]), plait.tensor([1, 1, 0, 0])).compute().item()
        1.0
    """

    def __init__(
        self, num_classes: int | None = None, task: str | None = None, threshold: float = 0.5,
        ignore_index: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(num_classes, None, task, threshold, ignore_index)

    def result(self, state: State) -> Tensor:
        """Return the coefficient; 0 where predictions or targets are all of one class."""
        counts = state["counts"].to(float64)
        true, predicted, total = counts.sum(1), counts.sum(0), counts.sum()
        covariance = counts.trace() * total - (true * predicted).sum()
        spread = (total**2 - (predicted**2).sum()) * (total**2 - (true**2).sum())
        return where(spread > 0, covariance / sqrt(where(spread > 0, spread, 1.0)), zeros_like(as_tensor(spread)))

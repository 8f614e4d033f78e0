"""How good predicted probabilities are: log loss, Brier score, calibration."""

from __future__ import annotations

from plait.core.dtype import float64, int64
from plait.core.errors import DTypeError, message
from plait.metrics.labels import Labelled, check_choice, check_positive_integer
from plait.metrics.metric import State
from plait.tensor.creation import ones_like
from plait.tensor.functions import clamp, log, sqrt, where
from plait.tensor.inspection import finfo
from plait.tensor.reductions import argmax
from plait.tensor.selection import take_along_axis
from plait.tensor.stacking import stack
from plait.tensor.statistics import bincount
from plait.tensor.tensor import Tensor


class _Probabilities(Labelled):
    """Base class: probabilities of the positive class [N, ...], or of all classes [N, classes, ...]."""

    def __init__(self, task: str | None = None) -> None:
        check_choice("task", task, ("binary", "multiclass", None))
        super().__init__(None, task)

    def rows(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return probabilities [N, classes] (of two classes for binary data), true classes [N], and the number of

        targets that are no class.
        """
        if not input.dtype.is_floating:
            raise DTypeError(message(f"{type(self).__name__} takes probabilities", input.dtype.name, "floats"))
        if self.task_of(input, target) == "binary":
            positive = input.reshape(-1)
            rows, true = stack([1 - positive, positive], 1), target.to(int64).reshape(-1)
        else:
            rows, true = input.movedim(1, -1).reshape(-1, input.shape[1]), target.to(int64).reshape(-1)
        is_known = (true >= 0) & (true < rows.shape[1])
        return rows, where(is_known, true, 0), (~is_known).sum()


class LogLoss(_Probabilities):
    """The mean negative log likelihood of the true classes, given probabilities.

    Args:
        task: "binary": probabilities of the positive class [N, ...]; "multiclass": of each class [N, classes, ...];
            None to tell from the shapes.

    Raises:
        ArgumentError: an unknown task.

    Example:
        >>> loss = plait.metrics.LogLoss()
        >>> loss.update(plait.tensor([0.5, 0.25]), plait.tensor([1, 0])).compute().item()
        0.4904146265058631
    """

    def measure(self, input: Tensor, target: Tensor) -> State:
        """Return the total and the number of samples."""
        rows, true, unknown = self.rows(input, target)
        smallest = finfo(rows.dtype).eps
        rows = clamp(rows, smallest, 1 - smallest).to(float64)
        own = take_along_axis(rows, true.unsqueeze(1), 1).squeeze(1)
        return {"total": -log(own).sum(), "count": ones_like(own).sum(), "unknown": unknown}

    def result(self, state: State) -> Tensor:
        """Return the mean."""
        return state["total"] / state["count"]


class BrierScore(_Probabilities):
    """The mean squared distance of probabilities from what is true (Brier, 1950).

    Of the positive class for binary data, where it lies from 0 to 1; summed over all classes else, from 0 to 2.

    Args:
        task: "binary": probabilities of the positive class [N, ...]; "multiclass": of each class [N, classes, ...];
            None to tell from the shapes.

    Raises:
        ArgumentError: an unknown task.

    Example:
        >>> score = plait.metrics.BrierScore()
        >>> score.update(plait.tensor([0.5, 0.25]), plait.tensor([1, 0])).compute().item()
        0.15625
    """

    def measure(self, input: Tensor, target: Tensor) -> State:
        """Return the total and the number of samples."""
        rows, true, unknown = self.rows(input, target)
        wide = rows.to(float64)
        own = take_along_axis(wide, true.unsqueeze(1), 1).squeeze(1)
        distances = (1 - own) ** 2 if input.shape == target.shape else 1 - 2 * own + (wide**2).sum(1)
        return {"total": distances.sum(), "count": ones_like(own).sum(), "unknown": unknown}

    def result(self, state: State) -> Tensor:
        """Return the mean."""
        return state["total"] / state["count"]


class CalibrationError(_Probabilities):
    """How far confidence and accuracy are apart, in bins of equal width of the confidence (Naeini et al., 2015).

    The confidence is the largest probability, for binary data that of the positive class (and the accuracy how
    often it is true).

    Args:
        n_bins: the number of bins.
        norm: "l1" for the expected calibration error, the mean over the samples; "l2" for the root mean square;
            "max" for the largest of the bins.
        task: "binary": probabilities of the positive class [N, ...]; "multiclass": of each class [N, classes, ...];
            None to tell from the shapes.

    Raises:
        ArgumentError: an unknown norm or task, or `n_bins` below 1.

    Example:
        >>> error = plait.metrics.CalibrationError(n_bins=2)
        >>> error.update(plait.tensor([0.75, 0.75, 0.25, 0.25]), plait.tensor([1, 1, 0, 0])).compute().item()
        0.25
    """

    def __init__(self, n_bins: int = 15, norm: str = "l1", task: str | None = None) -> None:
        super().__init__(task)
        check_positive_integer("n_bins", n_bins)
        check_choice("norm", norm, ("l1", "l2", "max"))
        self.n_bins, self.norm = n_bins, norm

    def measure(self, input: Tensor, target: Tensor) -> State:
        """Return for each bin the number of samples, how many are right, and the total confidence."""
        rows, true, unknown = self.rows(input, target)
        if input.shape == target.shape:
            confidence, is_right = rows[:, 1], true == 1
        else:
            confidence, is_right = rows.amax(1), argmax(rows, 1) == true
        confidence = confidence.to(float64)
        bins = clamp((confidence * self.n_bins).to(int64), 0, self.n_bins - 1)
        totals = [bincount(bins, w.to(float64), size=self.n_bins) for w in (ones_like(bins), is_right, confidence)]
        return {"count": totals[0], "right": totals[1], "confidence": totals[2], "unknown": unknown}

    def result(self, state: State) -> Tensor:
        """Return the error."""
        count = state["count"]
        gaps = where(count > 0, (state["right"] - state["confidence"]).abs() / where(count > 0, count, 1.0), 0.0)
        if self.norm == "max":
            return gaps.amax()
        share = count / count.sum()
        return (share * gaps).sum() if self.norm == "l1" else sqrt((share * gaps**2).sum())

"""Metrics of numbers; their values are those of scikit-learn and SciPy."""

from __future__ import annotations

from math import nan

from plait.core.dtype import float64
from plait.core.errors import ShapeError, message
from plait.metrics.metric import Collected, Metric, State
from plait.tensor.functions import sqrt, where
from plait.tensor.sorting import searchsorted, sort
from plait.tensor.tensor import Tensor


def _pair(what: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if input.shape != target.shape or not input.ndim:
        received = f"input {input.shape}, target {target.shape}"
        raise ShapeError(message(f"The shapes of {what} do not fit together", received, "both of one shape [N, ...]"))
    return input.to(float64), target.to(float64)


class _MeanError(Metric):
    """Base class: the mean of an error over the samples, for each output; then the mean over the outputs."""

    def error(self, difference: Tensor) -> Tensor:
        """Return the error of each element."""
        raise NotImplementedError(f"{type(self).__name__}.error")

    def measure(self, input: Tensor, target: Tensor) -> State:
        """Return the total error of each output, and the number of samples."""
        input, target = _pair(type(self).__name__, input, target)
        errors = self.error(input - target)
        return {"total": errors.sum(0), "count": (errors * 0 + 1).sum(0)}

    def result(self, state: State) -> Tensor:
        """Return the mean over samples and outputs."""
        return (state["total"] / state["count"]).mean()


class MeanSquaredError(_MeanError):
    """The mean squared error.

    Example:
        >>> error = plait.metrics.MeanSquaredError()
        >>> error.update(plait.tensor([1.0, 2.0]), plait.tensor([1.0, 4.0])).compute().item()
        2.0
    """

    def error(self, difference: Tensor) -> Tensor:
        """Return the squares."""
        return difference**2


class RootMeanSquaredError(MeanSquaredError):
    """The root of the mean squared error of each output; the mean of these.

    Example:
        >>> error = plait.metrics.RootMeanSquaredError()
        >>> error.update(plait.tensor([1.0, 2.0]), plait.tensor([1.0, 4.0])).compute().item()
        1.4142135623730951
    """

    def result(self, state: State) -> Tensor:
        """Return the mean of the roots."""
        return sqrt(state["total"] / state["count"]).mean()


class MeanAbsoluteError(_MeanError):
    """The mean absolute error.

    Example:
        >>> error = plait.metrics.MeanAbsoluteError()
        >>> error.update(plait.tensor([1.0, 2.0]), plait.tensor([1.0, 4.0])).compute().item()
        1.0
    """

    def error(self, difference: Tensor) -> Tensor:
        """Return the absolute values."""
        return difference.abs()


class _Moments(Metric):
    """Base class: means and central moments of two variables, added up without cancellation (Chan et al., 1979)."""

    def measure(self, input: Tensor, target: Tensor) -> State:
        """Return the moments of a batch."""
        x, y = _pair(type(self).__name__, input, target)
        mean_x, mean_y = (v.sum(0) / max(len(v), 1) for v in (x, y))
        dx, dy = x - mean_x, y - mean_y
        return {
            "count": (dx * 0 + 1).sum(0), "mean_x": mean_x, "mean_y": mean_y, "error": ((x - y) ** 2).sum(0),
            "xx": (dx * dx).sum(0), "yy": (dy * dy).sum(0), "xy": (dx * dy).sum(0),
        }  # fmt: skip

    def combine(self, a: State, b: State) -> State:
        """Return the moments of both parts together."""
        count = a["count"] + b["count"]
        total = where(count > 0, count, 1.0)
        shift = {k: b[f"mean_{k}"] - a[f"mean_{k}"] for k in "xy"}
        weight = a["count"] * b["count"] / total
        means = {f"mean_{k}": a[f"mean_{k}"] + shift[k] * b["count"] / total for k in "xy"}
        moments = {k: a[k] + b[k] + weight * shift[k[0]] * shift[k[1]] for k in ("xx", "yy", "xy")}
        return {"count": count, "error": a["error"] + b["error"], **means, **moments}


class R2Score(_Moments):
    """The coefficient of determination, the share of the variance that is explained; the mean over the outputs.

    Of a constant target it is 1 if that is predicted exactly, else 0.

    Example:
        >>> score = plait.metrics.R2Score()
        >>> score.update(plait.tensor([1.0, 2.0, 4.0]), plait.tensor([1.0, 2.0, 3.0])).compute().item()
        0.5
    """

    def result(self, state: State) -> Tensor:
        """Return the mean over the outputs."""
        error, spread = state["error"], state["yy"]
        constant = where(error == 0, 1.0, 0.0)
        score = where(spread > 0, 1 - error / where(spread > 0, spread, 1.0), constant)
        return where(state["count"] > 1, score, nan).mean()


class PearsonCorrCoef(_Moments):
    """Pearson's correlation coefficient; the mean over the outputs.

    Example:
        >>> coefficient = plait.metrics.PearsonCorrCoef()
        >>> coefficient.update(plait.tensor([1.0, 2.0, 3.0]), plait.tensor([2.0, 4.0, 6.0])).compute()
        tensor(1.0000, dtype=plait.float64)
    """

    def result(self, state: State) -> Tensor:
        """Return the coefficient; NaN where a variable is constant."""
        spread = sqrt(state["xx"]) * sqrt(state["yy"])
        return where(spread > 0, state["xy"] / where(spread > 0, spread, 1.0), nan).mean()


class SpearmanCorrCoef(Collected):
    """Spearman's rank correlation coefficient of two vectors; equal numbers share the mean of their ranks.

    Example:
        >>> coefficient = plait.metrics.SpearmanCorrCoef()
        >>> coefficient.update(plait.tensor([1.0, 2.0, 9.0]), plait.tensor([2.0, 5.0, 4.0])).compute()
        tensor(0.5000, dtype=plait.float64)
    """

    def measure(self, input: Tensor, target: Tensor) -> State:
        """Return the numbers as they are."""
        if input.ndim != 1:
            raise ShapeError(message("Spearman's coefficient takes vectors", f"input {input.shape}"))
        x, y = _pair(type(self).__name__, input, target)
        return {"x": x, "y": y}

    def result(self, state: State) -> Tensor:
        """Return Pearson's coefficient of the ranks."""
        pearson = PearsonCorrCoef()
        return pearson.result(pearson.measure(ranks(state["x"]), ranks(state["y"])))


def ranks(x: Tensor) -> Tensor:
    """Return the rank of each element of a vector, from 1; equal elements share the mean of their ranks."""
    ordered = sort(x)
    return (searchsorted(ordered, x) + searchsorted(ordered, x, right=True) + 1).to(float64) / 2

"""Means: of numbers, and of the words of a text (perplexity)."""

from __future__ import annotations

from typing import Any

from plait.core.dtype import float64
from plait.core.errors import ShapeError, message
from plait.metrics.metric import Metric, State
from plait.nn.functional import log_softmax
from plait.tensor.creation import as_tensor, ones_like
from plait.tensor.functions import exp
from plait.tensor.selection import take_along_axis
from plait.tensor.tensor import Tensor


class Mean(Metric):
    """The mean of numbers, which may have weights.

    `update(value, weight=1)` takes tensors of any shape; the weights broadcast to the values.

    Example:
        >>> mean = plait.metrics.Mean()
        >>> mean.update(plait.tensor([1.0, 2.0])).update(4.0, 2.0).compute().item()
        2.75
    """

    def measure(self, value: Tensor, weight: Any = 1.0) -> State:
        """Return the weighted sum and the weights' sum."""
        weight = as_tensor(weight).to(float64) * ones_like(value, dtype=float64)
        return {"total": (value.to(float64) * weight).sum(), "weight": weight.sum()}

    def result(self, state: State) -> Tensor:
        """Return the mean."""
        return state["total"] / state["weight"]


class Perplexity(Metric):
    """The perplexity of a language model: exp of the mean negative log likelihood of the tokens.

    `update(input, target)` takes logits [..., vocabulary] and token numbers [...].

    Args:
        ignore_index: targets of this value do not count.

    Example:
        >>> perplexity = plait.metrics.Perplexity()
        >>> perplexity.update(plait.zeros(2, 5, 8), plait.zeros(2, 5, dtype=plait.int64)).compute()
        tensor(8.0000, dtype=plait.float64)
    """

    def __init__(self, ignore_index: int | None = None) -> None:
        self.ignore_index = ignore_index

    def measure(self, input: Tensor, target: Tensor) -> State:
        """Return the total negative log likelihood and the number of tokens."""
        if input.shape[:-1] != target.shape:
            text = "Perplexity needs one row of logits for each token"
            raise ShapeError(
                message(text, f"input {input.shape}, target {target.shape}", (*target.shape, "vocabulary"))
            )
        counted = ones_like(target, dtype=float64)
        if self.ignore_index is not None:
            counted = (target != self.ignore_index).to(float64)
            target = target * counted.to(target.dtype)
        likelihood = take_along_axis(log_softmax(input.to(float64), -1), target.unsqueeze(-1), -1).squeeze(-1)
        return {"total": -(likelihood * counted).sum(), "count": counted.sum()}

    def result(self, state: State) -> Tensor:
        """Return exp of the mean."""
        return exp(state["total"] / state["count"])

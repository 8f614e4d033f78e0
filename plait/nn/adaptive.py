"""The adaptive softmax: a loss over very many classes, of which few are frequent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from plait.core.errors import ArgumentError, ShapeError, message
from plait.nn.arguments import positive
from plait.nn.containers import ModuleList, Sequential
from plait.nn.linear import Linear
from plait.nn.module import Module, check_features
from plait.tensor.functions import where
from plait.tensor.reductions import log_softmax
from plait.tensor.stacking import cat
from plait.tensor.tensor import Tensor

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class OutputLoss(NamedTuple):
    """Log probabilities of the classes that are right, and minus their mean."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """The cross-entropy over classes in clusters, the rare ones in smaller spaces (Grave et al., 2017).

    Args:
        in_features: size of the last axis of the input.
        n_classes: number of classes, sorted from frequent to rare.
        cutoffs: the first class of each cluster but the first, increasing.
        div_value: by how much each cluster is smaller than the one before.
        head_bias: whether the logits of the first cluster have a bias.
        device: "cpu".
        dtype: element type of the parameters, float32 by default.

    Example:
        >>> softmax = plait.nn.AdaptiveLogSoftmaxWithLoss(16, 20, cutoffs=[5, 10])
        >>> output, loss = softmax(plait.zeros(3, 16), plait.tensor([0, 7, 19]))
        >>> output.shape, softmax.log_prob(plait.zeros(3, 16)).shape
        ((3,), (3, 20))
    """

    def __init__(
        self, in_features: int, n_classes: int, cutoffs: Sequence[int], div_value: float = 4.0,
        head_bias: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        ends = list(cutoffs)
        if not ends or ends != sorted({*ends}) or ends[0] < 1 or ends[-1] > n_classes - 1:
            expected = f"increasing integers from 1 to {n_classes - 1}"
            raise ArgumentError(message("cutoffs divide the classes", cutoffs, expected))
        self.in_features, self.n_classes = positive(in_features, "in_features"), positive(n_classes, "n_classes")
        self.cutoffs, self.div_value, self.head_bias = [*ends, n_classes], div_value, head_bias
        self.shortlist_size, self.n_clusters = ends[0], len(ends)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, head_bias, dtype=dtype)
        self.tail = ModuleList()
        for k, (low, high) in enumerate(self._clusters(), 1):
            width = int(in_features // div_value**k)
            parts = Linear(in_features, width, False, dtype=dtype), Linear(width, high - low, False, dtype=dtype)
            self.tail.append(Sequential(*parts))

    def _clusters(self) -> list[tuple[int, int]]:
        return list(zip(self.cutoffs, self.cutoffs[1:], strict=False))

    def reset_parameters(self) -> None:
        """Draw the parameters again."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> OutputLoss:
        """Return the log probability of each target, and minus their mean.

        Args:
            input: features [N, in_features] or [in_features].
            target: class numbers [N], or one; NaN is the result for one that is out of range.

        Raises:
            ShapeError: the sizes do not fit.
        """
        if input.ndim not in (1, 2) or target.shape != input.shape[:-1]:
            received = f"an input of shape {input.shape}, a target of shape {target.shape}"
            expected = "[N, in_features] and [N], or [in_features] and one"
            raise ShapeError(message("AdaptiveLogSoftmaxWithLoss: the sizes do not fit", received, expected))
        logs, classes = self.log_prob(input), target[..., None]
        known = (target >= 0) & (target < self.n_classes)
        chosen = logs.gather(-1, classes.clamp(0, self.n_classes - 1)).squeeze(-1)
        output = where(known, chosen, float("nan"))
        return OutputLoss(output, -output.mean())

    def log_prob(self, input: Tensor) -> Tensor:
        """Return the log probabilities of all classes, [..., n_classes]."""
        check_features("AdaptiveLogSoftmaxWithLoss", input, -1, self.in_features, "in_features")
        head = log_softmax(self.head(input), -1)
        parts = [head[..., : self.shortlist_size]]
        for k, cluster in enumerate(self.tail):
            place = self.shortlist_size + k
            parts.append(log_softmax(cluster(input), -1) + head[..., place : place + 1])
        return cat(parts, -1)

    def predict(self, input: Tensor) -> Tensor:
        """Return the most probable class of each example."""
        return self.log_prob(input).argmax(-1)

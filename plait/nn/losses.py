"""Losses as layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from plait.core.errors import ArgumentTypeError, message
from plait.nn.arguments import check_reduction, positive
from plait.nn.functional import classification, losses
from plait.nn.functional.ctc import ctc_loss
from plait.nn.functional.losses import reduction_of
from plait.nn.layer import Layer
from plait.nn.linear import Linear
from plait.nn.module import Module
from plait.nn.shaping import PairwiseDistance
from plait.tensor.tensor import Tensor

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CTCLoss", "CosineEmbeddingLoss", "CrossEntropyLoss", "GaussianNLLLoss",
    "HingeEmbeddingLoss", "HuberLoss", "KLDivLoss", "L1Loss", "LinearCrossEntropyLoss", "MSELoss",
    "MarginRankingLoss", "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss", "MultiMarginLoss", "NLLLoss",
    "PoissonNLLLoss", "SmoothL1Loss", "SoftMarginLoss", "TripletMarginLoss", "TripletMarginWithDistanceLoss",
]  # fmt: skip


class Loss(Layer):
    """What the losses of a prediction and a target share; `size_average` and `reduce` are the reduction's old names."""

    _more_reductions: ClassVar[tuple[str, ...]] = ()

    def _check(self, given: dict[str, Any]) -> None:
        for name in ("size_average", "reduce"):
            if not isinstance(given.get(name), (bool, type(None))):
                text = f"{name} of {type(self).__name__} is a bool"
                raise ArgumentTypeError(message(text, repr(given[name]), None, 'write reduction="sum"'))
        given["reduction"] = reduction_of(given, type(self).__name__, *self._more_reductions)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = self._call(input, target)
        return loss


class CrossEntropyLoss(Loss, function=classification.cross_entropy, buffers="weight"):
    """The cross-entropy between logits and classes: the negative logarithm of the softmax at the class.

    Example:
        >>> plait.nn.CrossEntropyLoss()(plait.zeros(1, 2), plait.tensor([0]))
        tensor(0.6931)
    """


class NLLLoss(Loss, function=classification.nll_loss, buffers="weight"):
    """Minus the log probability of the class.

    Example:
        >>> plait.nn.NLLLoss()(plait.tensor([[-0.5, -1.0]]), plait.tensor([1]))
        tensor(1.)
    """


class MultiMarginLoss(Loss, function=classification.multi_margin_loss, buffers="weight"):
    """The hinge loss of several classes: by how much others come nearer to the score of the class than a margin.

    Example:
        >>> plait.nn.MultiMarginLoss()(plait.tensor([[1.0, 0.5]]), plait.tensor([0]))
        tensor(0.2500)
    """


class MultiLabelMarginLoss(Loss, function=classification.multilabel_margin_loss):
    """The hinge loss between several classes of an example and all others.

    Example:
        >>> plait.nn.MultiLabelMarginLoss()(plait.tensor([[1.0, 0.5]]), plait.tensor([[0, -1]]))
        tensor(0.2500)
    """


class MultiLabelSoftMarginLoss(Loss, function=classification.multilabel_soft_margin_loss, buffers="weight"):
    """The binary cross-entropy of each class, from logits.

    Example:
        >>> plait.nn.MultiLabelSoftMarginLoss()(plait.zeros(1, 2), plait.tensor([[1.0, 0.0]]))
        tensor(0.6931)
    """


class MSELoss(Loss, function=losses.mse_loss, arguments="size_average reduce reduction"):
    """The squared difference.

    Example:
        >>> plait.nn.MSELoss()(plait.tensor([1.0, 2.0]), plait.tensor([1.0, 4.0]))
        tensor(2.)
    """


class L1Loss(Loss, function=losses.l1_loss, arguments="size_average reduce reduction"):
    """The absolute difference.

    Example:
        >>> plait.nn.L1Loss()(plait.tensor([1.0, 2.0]), plait.tensor([1.0, 4.0]))
        tensor(1.)
    """


class SmoothL1Loss(Loss, function=losses.smooth_l1_loss):
    """The squared difference where it is small, the absolute one elsewhere (Girshick, 2015).

    Example:
        >>> plait.nn.SmoothL1Loss()(plait.tensor([1.0, 2.0]), plait.tensor([1.0, 4.0]))
        tensor(0.7500)
    """


class HuberLoss(Loss, function=losses.huber_loss, arguments="reduction delta"):
    """Half the squared difference where it is small, `delta` times the absolute one elsewhere (Huber, 1964).

    Example:
        >>> plait.nn.HuberLoss()(plait.tensor([1.0, 2.0]), plait.tensor([1.0, 4.0]))
        tensor(0.7500)
    """


class BCELoss(Loss, function=losses.binary_cross_entropy, buffers="weight"):
    """The binary cross-entropy of probabilities.

    Example:
        >>> plait.nn.BCELoss()(plait.tensor([0.5]), plait.tensor([1.0]))
        tensor(0.6931)
    """


class BCEWithLogitsLoss(Loss, function=losses.binary_cross_entropy_with_logits, buffers="weight pos_weight"):
    """The binary cross-entropy of logits.

    Example:
        >>> plait.nn.BCEWithLogitsLoss()(plait.zeros(1), plait.tensor([1.0]))
        tensor(0.6931)
    """


class KLDivLoss(Loss, function=losses.kl_div):
    """The Kullback-Leibler divergence of log probabilities from a target.

    Example:
        >>> plait.nn.KLDivLoss(reduction="batchmean")(plait.tensor([[-0.5, -1.0]]), plait.tensor([[0.5, 0.5]]))
        tensor(0.0569)
    """

    _more_reductions = ("batchmean",)


class PoissonNLLLoss(Loss, function=losses.poisson_nll_loss):
    """The negative log likelihood of counts from a Poisson distribution.

    Example:
        >>> plait.nn.PoissonNLLLoss()(plait.tensor([0.0]), plait.tensor([2.0]))
        tensor(1.)
    """


class GaussianNLLLoss(Loss, function=losses.gaussian_nll_loss):
    """The negative log likelihood of a normal distribution.

    Example:
        >>> plait.nn.GaussianNLLLoss()(plait.zeros(1), plait.ones(1), plait.ones(1))
        tensor(0.5000)
    """

    def forward(self, input: Tensor, target: Tensor, var: Any) -> Tensor:
        loss: Tensor = self._call(input, target, var)
        return loss


class SoftMarginLoss(Loss, function=losses.soft_margin_loss):
    """The logistic loss of scores for classes 1 and -1.

    Example:
        >>> plait.nn.SoftMarginLoss()(plait.zeros(1), plait.ones(1))
        tensor(0.6931)
    """


class HingeEmbeddingLoss(Loss, function=losses.hinge_embedding_loss):
    """Distances of pairs that are alike (1), and by how much those that are not (-1) fall short of a margin.

    Example:
        >>> plait.nn.HingeEmbeddingLoss()(plait.tensor([0.5, 0.5]), plait.tensor([1.0, -1.0]))
        tensor(0.5000)
    """


class MarginRankingLoss(Loss, function=losses.margin_ranking_loss):
    """By how much the first of two scores is not greater (1) or smaller (-1) than the second by a margin.

    Example:
        >>> plait.nn.MarginRankingLoss()(plait.zeros(1), plait.ones(1), plait.ones(1))
        tensor(1.)
    """

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = self._call(input1, input2, target)
        return loss


class CosineEmbeddingLoss(Loss, function=losses.cosine_embedding_loss):
    """One minus the cosine of pairs that are alike (1), and by how much that of others (-1) exceeds a margin.

    Example:
        >>> plait.nn.CosineEmbeddingLoss()(plait.ones(1, 2), plait.ones(1, 2), plait.ones(1))
        tensor(0.)
    """

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = self._call(input1, input2, target)
        return loss


class TripletMarginLoss(Loss, function=losses.triplet_margin_loss):
    """By how much the distance to what is alike is not smaller than that to what is not, by a margin.

    Example:
        >>> plait.nn.TripletMarginLoss()(plait.zeros(1, 2), plait.zeros(1, 2), plait.zeros(1, 2))
        tensor(1.)
    """

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        loss: Tensor = self._call(anchor, positive, negative)
        return loss


class TripletMarginWithDistanceLoss(Loss, function=losses.triplet_margin_with_distance_loss):
    """The triplet margin loss with a distance of your own.

    Example:
        >>> plait.nn.TripletMarginWithDistanceLoss()(plait.zeros(1, 2), plait.zeros(1, 2), plait.zeros(1, 2))
        tensor(1.)
    """

    def _check(self, given: dict[str, Any]) -> None:
        super()._check(given)
        if given["distance_function"] is None:
            given["distance_function"] = PairwiseDistance()

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        loss: Tensor = self._call(anchor, positive, negative)
        return loss


class CTCLoss(Layer, function=ctc_loss, arguments="blank reduction zero_infinity"):
    """The connectionist temporal classification loss (Graves et al., 2006).

    Example:
        >>> logs = plait.log_softmax(plait.zeros(4, 1, 3), -1)
        >>> plait.nn.CTCLoss()(logs, plait.tensor([[1, 2]]), plait.tensor([4]), plait.tensor([2]))
        tensor(0.8432)
    """

    def _check(self, given: dict[str, Any]) -> None:
        check_reduction(given["reduction"])

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any) -> Tensor:
        loss: Tensor = self._call(log_probs, targets, input_lengths, target_lengths)
        return loss


class LinearCrossEntropyLoss(Module):
    """The cross-entropy between classes and the logits of a linear layer that is part of the loss.

    Args:
        in_features: size of the last axis of the input.
        num_classes: number of classes.
        out_features: further axes of the targets.
        bias: whether a bias is added to the logits.
        device: "cpu".
        dtype: element type of the parameters, float32 by default.
        reduction: "mean", "sum" or "none".
        weight: a factor for each class.
        ignore_index: class number of elements that do not count, by default -100.
        label_smoothing: how much of the probability is spread evenly over all classes.
        options: ignored: how PyTorch cuts the batch in chunks.

    Example:
        >>> plait.nn.LinearCrossEntropyLoss(4, 3)(plait.zeros(2, 4), plait.tensor([0, 2])).detach()
        tensor(1.0986)
    """

    def __init__(
        self, in_features: int, num_classes: int, *, out_features: Sequence[int] = (), bias: bool = False,
        device: Any = None, dtype: Any = None, reduction: str = "mean", weight: Tensor | None = None,
        ignore_index: int | None = None, label_smoothing: float = 0.0, options: Any = None,
    ) -> None:  # fmt: skip
        check_reduction(reduction)
        self.num_classes, self.out_features = positive(num_classes, "num_classes"), tuple(out_features)
        self.reduction, self.ignore_index, self.label_smoothing = reduction, ignore_index, label_smoothing
        self.options = options
        self.linear = Linear(in_features, math.prod(self.out_features, start=num_classes), bias, dtype=dtype)
        self.register_buffer("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        shape, bias = (self.num_classes, *self.out_features), self.linear.bias
        return classification.linear_cross_entropy(
            input, self.linear.weight.reshape(*shape, -1), target,
            linear_bias=None if bias is None else bias.reshape(shape), weight=self.weight, reduction=self.reduction,
            ignore_index=self.ignore_index, label_smoothing=self.label_smoothing,
        )  # fmt: skip

    def extra_repr(self) -> str:
        names = ("num_classes", "out_features", "reduction", "ignore_index", "label_smoothing", "options")
        num_classes, out_features, *rest = [f"{name}={getattr(self, name)}" for name in names]
        bias = f"bias={self.linear.bias is not None}"
        return ", ".join([f"in_features={self.linear.in_features}", num_classes, out_features, bias, *rest])

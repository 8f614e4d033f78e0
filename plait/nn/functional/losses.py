"""Losses of each element or pair."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any

from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.primitive import P
from plait.nn.arguments import check_reduction, floating, narrowed, reduced, widened
from plait.nn.functional.distance import pairwise_distance
from plait.tensor.composite import composite
from plait.tensor.functions import clamp, exp, log, log1p, minimum, relu, sqrt, where
from plait.tensor.operators import promoted, to_float
from plait.tensor.shaping import as_operand
from plait.tensor.tensor import Tensor, node_of, wrap

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_embedding_loss", "gaussian_nll_loss",
    "hinge_embedding_loss", "huber_loss", "kl_div", "l1_loss", "margin_ranking_loss", "mse_loss", "poisson_nll_loss",
    "smooth_l1_loss", "soft_margin_loss", "triplet_margin_loss", "triplet_margin_with_distance_loss",
]  # fmt: skip

_DOCUMENT = """{summary}

Args:
{arguments}    {more}reduction: "mean", "sum" or "none".

Returns:
    A rank-0 tensor, or the losses of {each}.

Raises:
    ShapeError: the shapes do not fit.
    DTypeError: the dtypes do not.
    ArgumentError: another reduction{raises}.

Example:
    >>> plait.nn.functional.{example}
"""
_LEGACY = "size_average: with `reduce`, what came before `reduction`.\n    reduce: likewise.\n    "
_OF_INPUT = "    input: predictions.\n    target: what they should be{of}.\n"
_PAIR, _ANY_PAIR = _OF_INPUT.format(of=", of the same shape"), _OF_INPUT.format(of=", of a shape that broadcasts")
_OLD = ("size_average", "reduce")
_DEFAULTS = {"size_average": None, "reduce": None, "reduction": "mean"}


def reduction_of(given: dict[str, Any], name: str, *more: str) -> str:
    """Take the arguments that name a reduction, in PyTorch's new way or its old one, out of the given ones.

    Raises:
        ArgumentError: another reduction.
    """
    average, reduce, reduction = (given.pop(key, default) for key, default in _DEFAULTS.items())
    if average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if average is False else "mean"
    check_reduction(reduction, *more)
    return str(reduction)


def loss(
    summary: str, arguments: str, example: str, *, operands: int = 2, order: str | None = None,
    same_shape: bool = False, integers: bool = False, each: str = "all elements", raises: str = "",
    reductions: Sequence[str] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Tensor]]:  # fmt: skip
    """Make a loss from a function that returns losses to be reduced, or also what their sum is divided by for a mean.

    The first `operands` arguments come to it as tensors of one floating-point dtype, not a 16-bit one; the result has
    the dtype that they had. The very first may hold integers only where `integers` says so. `order` names PyTorch's
    arguments; by default those of the function, the reduction after the positional ones.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Tensor]:
        own, name = signature(function).parameters, function.__name__
        keywords = [p for p in own if own[p].kind is Parameter.KEYWORD_ONLY]
        names = order.split() if order else [*[p for p in own if p not in keywords], *_DEFAULTS, *keywords]
        default = {p: own[p].default if p in own else _DEFAULTS[p] for p in names}
        kind = Parameter.POSITIONAL_OR_KEYWORD
        public = Signature([Parameter(p, kind, default=default[p]) for p in names])

        @composite
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Tensor:
            given = public.bind(*args, **kwargs).arguments
            reduction = reduction_of(given, name, *reductions)
            if not integers:
                floating(given[names[0]], name)
            nodes = promoted([given[p] for p in names[:operands]], name, to_float)
            tensors = [wrap(n) for n in nodes]
            if same_shape:
                _check_same_shape(tensors, name)
            given.update(zip(names, [widened(t) for t in tensors], strict=False))
            losses = function(**given)
            losses, divisor = losses if isinstance(losses, tuple) else (losses, None)
            if reduction == "batchmean":
                result = losses.sum() / max(1, losses.shape[0] if losses.ndim else 1)
            elif divisor is not None and reduction == "mean":
                result = losses.sum() / divisor
            else:
                result = reduced(losses, reduction)
            return narrowed(result, tensors[0].dtype)

        more = _LEGACY if "reduce" in names else ""
        call.__signature__ = public  # type: ignore[attr-defined]
        call.__doc__ = _DOCUMENT.format(
            summary=summary, arguments=arguments, example=example, more=more, each=each, raises=raises
        )
        return call

    return decorate


def _check_same_shape(tensors: Sequence[Tensor], name: str) -> None:
    x, y = tensors[:2]
    if x.shape != y.shape:
        received = f"an input of shape {x.shape} and a target of shape {y.shape}"
        fix = "reshape one of them, e.g. target[:, None]; nothing is broadcast here, it is most often a mistake"
        raise ShapeError(message(f"{name} compares equal shapes", received, None, fix))


def weighted(losses: Tensor, weight: Any, name: str) -> Tensor:
    """Multiply losses by a weight that must broadcast to their shape; None leaves them."""
    if weight is None:
        return losses
    result = losses * as_operand(weight, name)
    if result.shape != losses.shape:
        received = f"a weight of shape {weight.shape} for losses of shape {losses.shape}"
        fix = "pass a weight of that shape, or with sizes 1"
        raise ShapeError(message(f"The weight of {name} does not broadcast to the losses", received, None, fix))
    return result


# differences

_WEIGHT = "    weight: factors of the losses, of their shape; the mean is divided by their sum.\n"


def _weighted_mean(losses: Tensor, weight: Any, name: str) -> Any:
    return losses if weight is None else (weighted(losses, weight, name), as_operand(weight, name).sum())


@loss(
    "Return the squared difference.", _PAIR + _WEIGHT,
    "mse_loss(plait.tensor([1.0, 2.0]), plait.tensor([1.0, 4.0]))\n    tensor(2.)", same_shape=True,
)  # fmt: skip
def mse_loss(input: Tensor, target: Tensor, *, weight: Any = None) -> Any:
    return _weighted_mean((input - target) ** 2, weight, "mse_loss")


@loss(
    "Return the absolute difference.", _PAIR + _WEIGHT,
    "l1_loss(plait.tensor([1.0, 2.0]), plait.tensor([1.0, 4.0]))\n    tensor(1.)", same_shape=True,
)  # fmt: skip
def l1_loss(input: Tensor, target: Tensor, *, weight: Any = None) -> Any:
    return _weighted_mean(abs(input - target), weight, "l1_loss")


@loss(
    "Return the squared difference (halved, over `beta`) where it is below `beta`, the absolute one beyond "
    "(Girshick, 2015).",
    _PAIR + "    beta: where the square ends; 0 gives `l1_loss`.\n",
    "smooth_l1_loss(plait.tensor([1.0, 2.0]), plait.tensor([1.0, 4.0]))\n    tensor(0.7500)",
    same_shape=True, raises=", or a negative `beta`",
)  # fmt: skip
def smooth_l1_loss(input: Tensor, target: Tensor, *, beta: float = 1.0) -> Tensor:
    if beta < 0:
        raise ArgumentError(message("beta of smooth_l1_loss is a distance", beta, "a number of at least 0"))
    size = abs(input - target)
    return size if beta == 0 else _huber(size, beta) / beta


def _huber(size: Tensor, delta: float) -> Tensor:
    """Half the square up to `delta`, linear beyond: no branch, and finite where the square overflows."""
    low = minimum(size, delta)
    return low * (size - 0.5 * low)


@loss(
    "Return half the squared difference where it is below `delta`, beyond that `delta` times the absolute one "
    "(Huber, 1964).",
    _PAIR + "    delta: where the square ends.\n    weight: factors of the losses, of their shape.\n",
    "huber_loss(plait.tensor([1.0, 2.0]), plait.tensor([1.0, 5.0]))\n    tensor(1.2500)",
    order="input target reduction delta weight", same_shape=True, raises=", or a `delta` that is not positive",
)  # fmt: skip
def huber_loss(input: Tensor, target: Tensor, delta: float = 1.0, weight: Any = None) -> Tensor:
    if not delta > 0:
        raise ArgumentError(message("delta of huber_loss is a distance", delta, "a positive number"))
    return weighted(_huber(abs(input - target), delta), weight, "huber_loss")


# negative logarithms of probabilities


@loss(
    "Return the cross-entropy between probabilities of two classes; logarithms are at least -100.",
    "    input: probabilities.\n    target: probabilities, of the same shape.\n"
    "    weight: factors that broadcast to that shape.\n",
    "binary_cross_entropy(plait.tensor([0.5]), plait.tensor([1.0]))\n    tensor(0.6931)", same_shape=True,
)  # fmt: skip
def binary_cross_entropy(input: Tensor, target: Tensor, weight: Any = None) -> Tensor:
    losses = (target - 1.0) * _limited_log(1.0 - input, input) - target * _limited_log(input)
    return weighted(losses, weight, "binary_cross_entropy")


def _limited_log(x: Tensor, complement: Tensor | None = None) -> Tensor:
    """Return log(x), at least -100 with slope 1e12 at 0; `complement` is 1 - x where that is the exact number."""
    is_zero = abs(x) <= 3.7e-44
    limit = (x - x.detach()) * 1e12 - 100.0
    if complement is None:
        return where(is_zero, limit, log(where(is_zero, 1.0, x)))
    return where(is_zero, limit, log1p(-where(is_zero, 0.0, complement)))


def softplus(x: Tensor) -> Tensor:
    """Return log(1 + exp(x))."""
    return wrap(P.softplus(node_of(x)))


@loss(
    "Return the cross-entropy between sigmoid(input) and probabilities, without overflow.",
    "    input: logits.\n    target: probabilities of the same shape.\n"
    "    weight: factors that broadcast to that shape.\n"
    "    pos_weight: factors of the positive class that broadcast to that shape.\n",
    "binary_cross_entropy_with_logits(plait.tensor([0.0]), plait.tensor([1.0]))\n    tensor(0.6931)",
    same_shape=True,
)  # fmt: skip
def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Any = None, *, pos_weight: Any = None
) -> Tensor:
    name = "binary_cross_entropy_with_logits"
    positive = softplus(-input)
    if pos_weight is not None:
        positive = positive * (1.0 + weighted(target, as_operand(pos_weight, name) - 1.0, name))
    return weighted((1.0 - target) * input + positive, weight, name)


@loss(
    "Return the Kullback-Leibler divergence, elementwise: target * (log(target) - input).",
    "    input: logarithms of probabilities.\n    target: probabilities, of a shape that broadcasts.\n"
    "    log_target: whether `target` holds logarithms.\n",
    'kl_div(plait.tensor([-0.5, -1.0]), plait.tensor([0.5, 0.5]), reduction="sum")\n    tensor(0.0569)',
    reductions=("batchmean",),
)  # fmt: skip
def kl_div(input: Tensor, target: Tensor, *, log_target: bool = False) -> Tensor:
    if log_target:
        return exp(target) * (target - input)
    return target * (log(where(target == 0, 1.0, target)) - input)


@loss(
    "Return minus the logarithm of the Poisson probability of counts, by default without the term log(target!).",
    "    input: the expected counts, or their logarithms.\n    target: counts, of a shape that broadcasts.\n"
    "    log_input: whether `input` holds logarithms.\n    full: whether Stirling's approximation of the term "
    "is added.\n    eps: added to the expected counts before their logarithm is taken.\n",
    "poisson_nll_loss(plait.tensor([0.0]), plait.tensor([3.0]))\n    tensor(1.)", integers=True,
    order="input target log_input full size_average eps reduce reduction",
)  # fmt: skip
def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool = True, full: bool = False, eps: float = 1e-8
) -> Tensor:
    losses = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        count = where(target > 1, target, 1.0)
        stirling = count * log(count) - count + 0.5 * log(2 * math.pi * count)
        losses = losses + where(target > 1, stirling, 0.0)
    return losses


@loss(
    "Return minus the logarithm of the density of normal distributions (Nix and Weigend, 1994).",
    "    input: the means.\n    target: samples, of a shape that broadcasts.\n"
    "    var: the variances: a number, or of the shape of `input`, in which the last axis may be missing or any axis "
    "be 1.\n    full: whether the constant term is added.\n    eps: the smallest variance; smaller ones count as it.\n",
    "gaussian_nll_loss(plait.tensor([1.0]), plait.tensor([3.0]), plait.tensor([1.0]))\n    tensor(2.)",
    order="input target var full eps reduction", raises=", or a negative variance",
)  # fmt: skip
def gaussian_nll_loss(input: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6) -> Tensor:
    if isinstance(var, (int, float)) and var < 0:
        raise ArgumentError(message("A variance is not negative", f"var={var}", "a number of at least 0"))
    variance = widened(as_operand(var, "gaussian_nll_loss"))
    if variance.ndim and variance.shape == input.shape[:-1] != input.shape:
        variance = variance[..., None]
    elif variance.ndim not in (0, input.ndim) or any(
        v not in (1, n) for v, n in zip(variance.shape, input.shape, strict=False)
    ):
        received = f"an input of shape {input.shape}, variances of shape {variance.shape}"
        expected = "one for each element, or for each line along the last axis"
        raise ShapeError(message("gaussian_nll_loss: the variances do not fit the input", received, expected))
    # the limit passes the gradient on, as in PyTorch
    variance = where(variance < eps, eps + (variance - variance.detach()), variance)
    losses = 0.5 * (log(variance) + (input - target) ** 2 / variance)
    return losses + 0.5 * math.log(2 * math.pi) if full else losses


# margins


@loss(
    "Return log(1 + exp(-target * input)).", "    input: logits.\n    target: 1 or -1, of a shape that broadcasts.\n",
    "soft_margin_loss(plait.tensor([0.0]), plait.tensor([1.0]))\n    tensor(0.6931)",
)  # fmt: skip
def soft_margin_loss(input: Tensor, target: Tensor) -> Tensor:
    return softplus(-target * input)


@loss(
    "Return the input where the target is 1, max(0, margin - input) where it is -1.",
    "    input: distances.\n    target: 1 or -1, of a shape that broadcasts.\n    margin: the margin.\n",
    "hinge_embedding_loss(plait.tensor([2.0, 0.25]), plait.tensor([1.0, -1.0]))\n    tensor(1.3750)",
)  # fmt: skip
def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0) -> Tensor:
    return where(target != 1, clamp(margin - input, 0.0), 0.0) + where(target != -1, input, 0.0)


@loss(
    "Return max(0, margin - target * (input1 - input2)).",
    "    input1: scores.\n    input2: scores.\n    target: 1 where the first should be larger, -1 where the second.\n"
    "    margin: the margin.\n",
    "margin_ranking_loss(plait.tensor([2.0]), plait.tensor([3.0]), plait.tensor([1.0]))\n    tensor(1.)", operands=3,
    integers=True,
)  # fmt: skip
def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0) -> Tensor:
    if not input1.ndim == input2.ndim == target.ndim:
        received = f"shapes {input1.shape}, {input2.shape} and {target.shape}"
        raise ShapeError(message("margin_ranking_loss takes one number of axes", received))
    return clamp(target * (input2 - input1) + margin, 0.0)


@loss(
    "Return 1 - c where the target is 1, max(0, c - margin) where it is -1, c being the cosine of the inputs.",
    "    input1: vectors [N, D] or [D].\n    input2: likewise.\n    target: 1 or -1, of shape [N] or [].\n"
    "    margin: the margin.\n",
    "cosine_embedding_loss(plait.ones(1, 2), plait.ones(1, 2), plait.tensor([-1.0]))\n    tensor(1.)",
    operands=3, integers=True, each="all pairs",
)  # fmt: skip
def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0) -> Tensor:
    if target.ndim > 1 or input1.ndim != target.ndim + 1 or input2.ndim != target.ndim + 1:
        received = f"inputs of shape {input1.shape} and {input2.shape}, a target of shape {target.shape}"
        expected = "inputs [N, D] and a target [N], or inputs [D] and a target []"
        raise ShapeError(message("cosine_embedding_loss takes vectors", received, expected))
    squares = ((x * x).sum(-1) + 1e-12 for x in (input1, input2))
    cosine = (input1 * input2).sum(-1) / sqrt(math.prod(squares))
    return where(target == 1, 1.0 - cosine, 0.0) + where(target == -1, clamp(cosine - margin, 0.0), 0.0)


_TRIPLET = (
    "    anchor: vectors [..., D].\n    positive: vectors that should be near.\n"
    "    negative: vectors that should be further away, by `margin`.\n"
)
_SWAP = "    swap: whether the distance of the two counts where it is smaller (Balntas et al., 2016).\n"
_MARGIN = ", or a `margin` that is not positive"


@loss(
    "Return max(0, margin + distance to the positive - distance to the negative).",
    f"{_TRIPLET}    margin: the margin.\n    p: order of the norm of the difference.\n"
    f"    eps: added to the difference.\n{_SWAP}",
    "triplet_margin_loss(plait.zeros(1, 2), plait.zeros(1, 2), plait.ones(1, 2), 2.0)\n    tensor(0.5858)",
    operands=3, integers=True, each="all triplets", raises=_MARGIN,
)  # fmt: skip
def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6,
    swap: bool = False,
) -> Tensor:  # fmt: skip
    return _triplet_losses(
        "triplet_margin_loss", (anchor, positive, negative), lambda x, y: pairwise_distance(x, y, p, eps), margin, swap
    )


@loss(
    "Return max(0, margin + distance to the positive - distance to the negative).",
    f"{_TRIPLET}    distance_function: takes two tensors; by default `pairwise_distance`.\n"
    f"    margin: the margin.\n{_SWAP}",
    "triplet_margin_with_distance_loss(plait.zeros(1, 2), plait.zeros(1, 2), plait.ones(1, 2), margin=2.0)"
    "\n    tensor(0.5858)",
    order="anchor positive negative distance_function margin swap reduction", operands=3, integers=True,
    each="all triplets", raises=_MARGIN,
)  # fmt: skip
def triplet_margin_with_distance_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, distance_function: Callable[..., Tensor] | None = None,
    margin: float = 1.0, swap: bool = False,
) -> Tensor:  # fmt: skip
    distance = pairwise_distance if distance_function is None else distance_function
    return _triplet_losses("triplet_margin_with_distance_loss", (anchor, positive, negative), distance, margin, swap)


def _triplet_losses(
    name: str, vectors: tuple[Tensor, Tensor, Tensor], distance: Callable[..., Tensor], margin: float, swap: bool
) -> Tensor:
    if not margin > 0:
        raise ArgumentError(message(f"margin of {name} is a distance", margin, "a positive number"))
    anchor, positive, negative = vectors
    if not anchor.ndim == positive.ndim == negative.ndim:
        received = f"shapes {anchor.shape}, {positive.shape} and {negative.shape}"
        raise ShapeError(message(f"{name} takes one number of axes", received))
    far = distance(anchor, negative)
    far = minimum(far, distance(positive, negative)) if swap else far
    return relu(margin + distance(anchor, positive) - far)

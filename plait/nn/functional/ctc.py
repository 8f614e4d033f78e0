"""Connectionist temporal classification (Graves et al., 2006)."""

from __future__ import annotations

import math
from typing import Any

from plait.core.dtype import int64
from plait.core.errors import ArgumentError, DTypeError, ShapeError, message
from plait.nn.arguments import check_reduction, floating, narrowed, reduced, widened
from plait.tensor.control import scan
from plait.tensor.creation import arange, full, tensor
from plait.tensor.cumulative import cumsum
from plait.tensor.functions import clamp, exp, log, maximum, where
from plait.tensor.selection import gather, take
from plait.tensor.shaping import as_operand, broadcast_to
from plait.tensor.stacking import concatenate
from plait.tensor.tensor import Tensor

__all__ = ["ctc_loss"]

# logarithm of an impossible event: finite, so that differences of two are no NaN; sums of many do not overflow
_IMPOSSIBLE = -1e30


def ctc_loss(
    log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """Return minus the logarithm of the probability that frames, read without repetitions and blanks, are a sequence.

    The gradient is that of the loss by `log_probs`. PyTorch's differs by exp(log_probs): it supposes that they come
    from a log_softmax, behind which both are equal.

    Args:
        log_probs: logarithms of the probabilities of the classes, [T, N, C], or [T, C] without a batch.
        targets: class numbers [N, S], or all sequences in one vector; [S] without a batch.
        input_lengths: how many of the T frames count, a vector [N] or a tuple; a number without a batch.
        target_lengths: how many of the S classes count, likewise.
        blank: the class between two others.
        reduction: "mean" (over the batch, of losses divided by the lengths of the targets), "sum" or "none".
        zero_infinity: whether the infinite losses of sequences too long for their frames are 0.

    Returns:
        A rank-0 tensor, or losses [N].

    Raises:
        ShapeError: the shapes do not fit.
        DTypeError: the class numbers or lengths are not integers.
        ArgumentError: another reduction, or `blank` is no class.
        AbstractValueError: targets in one vector, with lengths that are not known under `jit`; pass a tuple.

    Example:
        >>> half = plait.full((2, 1, 2), 0.5).log()
        >>> plait.nn.functional.ctc_loss(half, plait.tensor([[1]]), (2,), (1,))
        tensor(0.2877)
    """
    x, classes = floating(log_probs, "ctc_loss"), as_operand(targets, "ctc_loss")
    check_reduction(reduction)
    if x.ndim not in (2, 3) or not x.shape[0]:
        raise ShapeError(message("ctc_loss takes [T, N, C] or [T, C]", f"shape {x.shape}", "T of at least 1"))
    if not 0 <= blank < x.shape[-1]:
        raise ArgumentError(message("blank of ctc_loss is no class", blank, f"0 to {x.shape[-1] - 1}"))
    if not classes.dtype.is_integer:
        raise DTypeError(message("Class numbers are integers", classes.dtype.name, "an integer dtype"))
    wide = widened(x if x.ndim == 3 else x[:, None])
    batch = wide.shape[1]
    frames, sizes = (_lengths(v, batch, name) for v, name in ((input_lengths, "input"), (target_lengths, "target")))
    classes = _padded(classes, target_lengths, sizes, batch, x.ndim == 2)
    losses = _losses(clamp(wide, _IMPOSSIBLE), classes.to(int64), frames, sizes, blank)
    losses = where(losses > -_IMPOSSIBLE / 2, 0.0 if zero_infinity else math.inf, losses)
    if reduction == "mean":
        losses = losses / clamp(sizes, 1).to(losses.dtype)
    result = losses.reshape(()) if x.ndim == 2 and reduction == "none" else reduced(losses, reduction)
    return narrowed(result, x.dtype)


def _lengths(value: Any, batch: int, name: str) -> Tensor:
    lengths = as_operand(tensor(value) if isinstance(value, (list, tuple)) else value, "ctc_loss")
    if not lengths.dtype.is_integer:
        raise DTypeError(message(f"{name}_lengths of ctc_loss are integers", lengths.dtype.name, "an integer dtype"))
    if lengths.shape != (batch,) and not (batch == 1 and lengths.numel() == 1):
        raise ShapeError(message(f"{name}_lengths of ctc_loss do not fit", f"shape {lengths.shape}", f"({batch},)"))
    return lengths.reshape(-1).to(int64)


def _padded(classes: Tensor, lengths: Any, sizes: Tensor, batch: int, is_single: bool) -> Tensor:
    """Return the targets as a matrix [N, S], S at least 1."""
    if classes.ndim == 1 and not is_single:
        known = [int(n) for n in (lengths.tolist() if isinstance(lengths, Tensor) else lengths)]
        if classes.shape[0] != sum(known):
            received = f"{classes.shape[0]} class numbers, target_lengths that sum to {sum(known)}"
            raise ShapeError(message("ctc_loss: the targets do not fit their lengths", received))
        starts = (cumsum(sizes, 0) - sizes)[:, None]
        longest = max(known, default=0)
        places = clamp(starts + arange(longest), 0, max(classes.shape[0] - 1, 0))
        classes = take(classes, places, 0) if classes.shape[0] else full((batch, 0), 0)
    elif classes.ndim == 1:
        classes = classes[None]
    if classes.ndim != 2 or classes.shape[0] != batch:
        expected = f"[{batch}, S], or one vector of all"
        raise ShapeError(message("targets of ctc_loss do not fit", f"shape {classes.shape}", expected))
    return classes if classes.shape[1] else full((batch, 1), 0)


def _losses(x: Tensor, classes: Tensor, frames: Tensor, sizes: Tensor, blank: int) -> Tensor:
    """Return the losses [N]: a recursion over time of the logarithms of the probabilities of all beginnings.

    Two states are kept for each place of the target: those that end with a blank before it, and with its class.
    """
    steps, batch, _ = x.shape
    longest = classes.shape[1]
    of_blank = x[:, :, blank : blank + 1]
    of_class = gather(x, 2, broadcast_to(classes, (steps, batch, longest)))
    never = full((batch, 1), _IMPOSSIBLE, dtype=x.dtype)
    rest = full((batch, longest), _IMPOSSIBLE, dtype=x.dtype)
    # a class may follow another one without a blank between them, but not itself
    may_follow = concatenate([full((batch, 1), False), classes[:, 1:] != classes[:, :-1]], 1)
    ends = frames[:, None]

    def step(carry: Any, frame: Any) -> Any:
        blanks, labels = carry
        blank_now, class_now, time = frame
        before = concatenate([never, labels], 1)
        to_blank = _log_sum(blanks, before) + blank_now
        to_class = _log_sum(labels, blanks[:, :-1], where(may_follow, before[:, :-1], _IMPOSSIBLE)) + class_now
        counts = time < ends
        return (where(counts, to_blank, blanks), where(counts, to_class, labels)), ()

    first = concatenate([of_blank[0], rest], 1), concatenate([of_class[0][:, :1], rest[:, 1:]], 1)
    (blanks, labels), _ = scan(step, first, (of_blank[1:], of_class[1:], arange(1, steps)))
    place = arange(longest + 1)
    at_blank = where(place == sizes[:, None], blanks, 0.0).sum(1)
    at_class = where(place[1:] == sizes[:, None], labels, 0.0).sum(1)
    total = _log_sum(at_blank, where(sizes > 0, at_class, _IMPOSSIBLE))
    return where(frames > 0, -total, where(sizes > 0, -_IMPOSSIBLE, 0.0))


def _log_sum(first: Tensor, *others: Tensor) -> Tensor:
    """Return the logarithm of a sum of exponentials."""
    high = first
    for x in others:
        high = maximum(high, x)
    high = high.detach()
    total = exp(first - high)
    for x in others:
        total = total + exp(x - high)
    return high + log(total)

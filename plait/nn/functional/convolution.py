"""Convolutions of one, two and three spatial axes, and their transposes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.primitive import P
from plait.nn.arguments import Sizes, numeric, positive, same_dtype, tuple_of, with_batch
from plait.tensor.composite import composite
from plait.tensor.shaping import as_operand, permute
from plait.tensor.tensor import Tensor, node_of, wrap

__all__ = [
    "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
]  # fmt: skip


def convolution_padding(padding: Any, window: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> Any:
    """Return how many elements are added before and after each spatial axis.

    Raises:
        ArgumentError: an unknown word, negative widths, or "same" with a stride.
    """
    if padding == "valid":
        return ((0, 0),) * len(window)
    if padding == "same":
        if any(s != 1 for s in strides):
            text = 'padding="same" needs stride 1'
            raise ArgumentError(message(text, f"stride={tuple(strides)}", None, "give the padding as integers"))
        totals = [d * (k - 1) for d, k in zip(dilation, window, strict=True)]
        return tuple((t // 2, t - t // 2) for t in totals)
    if isinstance(padding, str):
        raise ArgumentError(message("Unknown padding", repr(padding), '"same", "valid" or integers'))
    return tuple((p, p) for p in tuple_of(padding, len(window), "padding", low=0))


def _operands(name: str, rank: int, input: Any, weight: Any, layout: str) -> tuple[Tensor, Tensor, bool]:
    x, is_single = with_batch(numeric(input, name), rank, name)
    w = as_operand(weight, name)
    same_dtype(x, w, name)
    if w.ndim != rank + 2:
        expected = f"[{layout}, {', '.join('DHW'[-rank:])}]"
        raise ShapeError(message(f"{name} takes a weight of {rank + 2} axes", f"shape {w.shape}", expected))
    return x, w, is_single


def _with_bias(name: str, result: Tensor, bias: Any, is_single: bool) -> Tensor:
    if bias is not None:
        b = as_operand(bias, name)
        if b.shape != result.shape[1:2]:
            received = f"shape {b.shape} for {result.shape[1]} channels"
            raise ShapeError(message(f"{name}: the bias has one number for each output channel", received))
        result = result + b.reshape(-1, *(1,) * (result.ndim - 2))
    return result[0] if is_single else result


@composite
def convolved(
    rank: int, input: Any, weight: Any, bias: Any = None, stride: Sizes = 1, padding: Any = 0, dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """Return the convolution over `rank` spatial axes: see `conv1d`."""
    name = f"conv{rank}d"
    x, w, is_single = _operands(name, rank, input, weight, "out, in / groups")
    strides, dilations = tuple_of(stride, rank, "stride"), tuple_of(dilation, rank, "dilation")
    window = w.shape[2:]
    pairs = convolution_padding(padding, window, strides, dilations)
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, window, strict=True)]
    if any(n + sum(p) < r for n, p, r in zip(x.shape[2:], pairs, reach, strict=True)):
        received = f"an input of shape {x.shape}, padding {pairs}"
        fix = "pad the input or use a smaller kernel"
        raise ShapeError(message(f"{name}: the window is larger than the input", received, f"at least {reach}", fix))
    y = P.conv(
        node_of(x), node_of(w), strides=strides, padding=pairs, lhs_dilation=(1,) * rank, rhs_dilation=dilations,
        groups=positive(groups, "groups"),
    )  # fmt: skip
    return _with_bias(name, wrap(y), bias, is_single)


@composite
def convolved_transposed(
    rank: int, input: Any, weight: Any, bias: Any = None, stride: Sizes = 1, padding: Sizes = 0,
    output_padding: Sizes = 0, groups: int = 1, dilation: Sizes = 1,
) -> Tensor:  # fmt: skip
    """Return the transposed convolution over `rank` spatial axes: see `conv_transpose1d`."""
    name = f"conv_transpose{rank}d"
    x, w, is_single = _operands(name, rank, input, weight, "in, out / groups")
    strides, dilations = tuple_of(stride, rank, "stride"), tuple_of(dilation, rank, "dilation")
    pads, extras = tuple_of(padding, rank, "padding", low=0), tuple_of(output_padding, rank, "output_padding", low=0)
    if any(e >= max(s, d) for e, s, d in zip(extras, strides, dilations, strict=True)):
        received = f"output_padding={extras}, stride={strides}, dilation={dilations}"
        raise ArgumentError(message(f"{name}: output_padding does not fit", received, "less than stride or dilation"))
    if w.shape[0] != x.shape[1] or x.shape[1] % positive(groups, "groups"):
        received = f"an input of shape {x.shape}, a weight of shape {w.shape}, groups={groups}"
        expected = "weight [in, out / groups, ...], and groups that divide the channels"
        raise ShapeError(message(f"{name}: the channels do not fit", received, expected))
    rows = zip(x.shape[2:], w.shape[2:], strides, pads, extras, dilations, strict=True)
    sizes = tuple((n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, k, s, p, e, d in rows)
    if min(sizes) < 1:
        received = f"an input of shape {x.shape} gives {sizes}"
        raise ShapeError(message(f"{name}: the result is empty", received, None, "use less padding"))
    # the extra elements are an input that the convolution does not reach: as if its padding ended earlier
    y = P.conv_input(
        node_of(x), node_of(w), shape=(x.shape[0], w.shape[1] * groups, *sizes), strides=strides,
        padding=tuple((p, p - e) for p, e in zip(pads, extras, strict=True)), lhs_dilation=(1,) * rank,
        rhs_dilation=dilations, groups=groups,
    )  # fmt: skip
    return _with_bias(name, wrap(y), bias, is_single)


_AXES = {1: "one spatial axis", 2: "two spatial axes", 3: "three spatial axes"}
_DOCUMENT = """{summary}

Args:
    input: a tensor [N, in, {sizes}], or [in, {sizes}].
    weight: the windows [{layout}, {sizes}], of the dtype of `input`.
    bias: a vector [out].
    stride: step of the window, one integer or one for each spatial axis.
{padding}
    groups: into how many independent groups the channels are divided.
    dilation: distance of the elements of the window, likewise.

Returns:
    A tensor [N, out, ...].

Raises:
    ShapeError: the channels do not fit, or {misfit}.
    DTypeError: the dtypes differ.
    ArgumentError: an argument has another length, or is out of range.

Example:
    >>> plait.{name}(plait.ones(1, 1, {ones}), plait.ones(1, 1, {ones})).shape
    {result}
"""
_PADDING = '    padding: zeros added at both ends, likewise; or "same" or "valid".'
_TRANSPOSED_PADDING = """    padding: elements cut off at both ends, likewise.
    output_padding: elements added at the end, likewise."""


def _documented(function: Callable[..., Tensor], name: str, rank: int, summary: str, **parts: Any) -> Any:
    function.__name__ = function.__qualname__ = name
    sizes, ones = ", ".join("DHW"[-rank:]), ", ".join("3" * rank)
    function.__doc__ = _DOCUMENT.format(
        name=name, summary=summary.format(_AXES[rank]), sizes=sizes, ones=ones, **parts
    )  # fmt: skip
    return function


def _convolution(rank: int) -> Any:
    def conv(
        input: Any, weight: Any, bias: Any = None, stride: Sizes = 1, padding: Any = 0, dilation: Sizes = 1,
        groups: int = 1,
    ) -> Tensor:  # fmt: skip
        return convolved(rank, input, weight, bias, stride, padding, dilation, groups)

    return _documented(
        conv, f"conv{rank}d", rank, "Slide a window over {} and sum products (cross-correlation).",
        layout="out, in / groups", padding=_PADDING, misfit="the window is larger than the padded input",
        result=(1,) * (rank + 2),
    )  # fmt: skip


def _transposed(rank: int) -> Any:
    def conv_transpose(
        input: Any, weight: Any, bias: Any = None, stride: Sizes = 1, padding: Sizes = 0, output_padding: Sizes = 0,
        groups: int = 1, dilation: Sizes = 1,
    ) -> Tensor:  # fmt: skip
        return convolved_transposed(
            rank, input, weight, bias, stride, padding, output_padding, groups, dilation
        )  # fmt: skip

    return _documented(
        conv_transpose, f"conv_transpose{rank}d", rank,
        "Spread each element over a window of {} and sum: the gradient of a convolution by its input.",
        layout="in, out / groups", padding=_TRANSPOSED_PADDING, misfit="nothing would be left",
        result=(1, 1, *(5,) * rank),
    )  # fmt: skip


conv1d, conv2d, conv3d = (_convolution(rank) for rank in (1, 2, 3))
conv_transpose1d, conv_transpose2d, conv_transpose3d = (_transposed(rank) for rank in (1, 2, 3))


@composite
def conv_tbc(input: Any, weight: Any, bias: Any, pad: int = 0) -> Tensor:
    """Convolve sequences laid out [time, batch, channels].

    Args:
        input: a tensor [T, N, in].
        weight: the windows [width, in, out].
        bias: a vector [out].
        pad: zeros added at both ends of the time.

    Returns:
        A tensor [T', N, out].

    Raises:
        ShapeError: an argument has another number of axes, or the sizes do not fit.

    Example:
        >>> plait.conv_tbc(plait.ones(4, 1, 2), plait.ones(3, 2, 5), plait.zeros(5), pad=1).shape
        (4, 1, 5)
    """
    x, w = as_operand(input, "conv_tbc"), as_operand(weight, "conv_tbc")
    if x.ndim != 3 or w.ndim != 3:
        received = f"shapes {x.shape} and {w.shape}"
        raise ShapeError(message("conv_tbc takes [T, N, in] and [width, in, out]", received, "three axes of both"))
    return permute(conv1d(permute(x, 1, 2, 0), permute(w, 2, 1, 0), bias, padding=pad), 2, 0, 1)

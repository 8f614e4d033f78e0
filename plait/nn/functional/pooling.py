"""Pooling: the mean, the largest element or a norm of each window of one, two or three spatial axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from plait.core.dtype import int64
from plait.core.errors import ArgumentError, DTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.nn.arguments import Sizes, numeric, tuple_of, with_batch
from plait.tensor.composite import composite
from plait.tensor.creation import tensor
from plait.tensor.results import ValuesIndices
from plait.tensor.shaping import as_operand
from plait.tensor.tensor import Tensor, node_of, scalar_node, wrap
from plait.tensor.transforms import custom_jvp

__all__ = [
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "lp_pool1d", "lp_pool2d", "lp_pool3d", "max_pool1d",
    "max_pool1d_with_indices", "max_pool2d", "max_pool2d_with_indices", "max_pool3d", "max_pool3d_with_indices",
    "max_unpool1d", "max_unpool2d", "max_unpool3d",
]  # fmt: skip

AXES = {1: "one spatial axis", 2: "two spatial axes", 3: "three spatial axes"}
_ARGUMENTS = """    input: a tensor [N, C, {sizes}], or [C, {sizes}].
    kernel_size: size of the window, one integer or one for each spatial axis.
    stride: its step, by default its size."""
_RAISES = """    ShapeError: the window is larger than the input, or the input has another number of axes.
    ArgumentError: an argument has another length or is out of range; the padding is more than half a window."""
_DOCUMENT = """{summary}

Args:
{arguments}

Returns:
    {returns}

Raises:
{raises}

Example:
    >>> plait.nn.functional.{name}({call}){part}.shape
    {result}
"""


def documented(function: Callable[..., Any], name: str, rank: int, part: str = "", **parts: str) -> Any:
    """Give a function over `rank` spatial axes its name and its documentation."""
    function.__name__ = function.__qualname__ = name
    sizes = ", ".join("DHW"[-rank:])
    texts = {key: text.format(axes=AXES[rank], sizes=sizes) for key, text in parts.items()}
    function.__doc__ = _DOCUMENT.format(name=name, part=part, **texts)
    return function


# windows


def _geometry(
    name: str, x: Tensor, kernel_size: Sizes, stride: Any, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> dict[str, Any]:
    """Return the parameters of a window reduction over [N, C, *spatial]."""
    rank = x.ndim - 2
    window, pads = tuple_of(kernel_size, rank, "kernel_size"), tuple_of(padding, rank, "padding", low=0)
    strides = window if stride is None or stride == [] or stride == () else tuple_of(stride, rank, "stride")
    dilations = tuple_of(dilation, rank, "dilation")
    if any(2 * p > d * (k - 1) + 1 for p, k, d in zip(pads, window, dilations, strict=True)):
        expected = "at most half of kernel_size"
        raise ArgumentError(
            message(f"{name}: the padding is too wide", f"padding={pads}, kernel_size={window}", expected)
        )
    pairs = []
    for size, k, s, p, d in zip(x.shape[2:], window, strides, pads, dilations, strict=True):
        rest = size + 2 * p - d * (k - 1) - 1
        if rest < 0 and not ceil_mode or rest + s - 1 < 0:
            received = f"an input of shape {x.shape}, kernel_size={window}, padding={pads}"
            raise ShapeError(message(f"{name}: the window is larger than the input", received, None, "pad the input"))
        count = rest // s + 1
        if ceil_mode and rest % s and count * s < size + p:  # one more window, if it starts inside
            count += 1
        pairs.append((p, max(p, (count - 1) * s + d * (k - 1) + 1 - size - p)))
    return {
        "window": (1, 1, *window), "strides": (1, 1, *strides), "padding": ((0, 0), (0, 0), *pairs),
        "window_dilation": (1, 1, *dilations),
    }  # fmt: skip


# means and norms


def _counts(size: int, window: int, stride: int, padding: tuple[int, int], included: int) -> list[int]:
    """Return how many elements each window along an axis has inside the input widened by `included`."""
    starts = range(-padding[0], size + padding[1] - window + 1, stride)
    return [min(s + window, size + included) - max(s, -included) for s in starts]


def _divisor(x: Tensor, params: dict[str, Any], included: Sequence[int]) -> Node:
    """Return the number of elements of each window, one number where all have equally many."""
    spatial = zip(
        x.shape[2:], params["window"][2:], params["strides"][2:], params["padding"][2:], included, strict=True
    )
    rows = [_counts(*axis) for axis in spatial]
    if all(len({*row}) == 1 for row in rows):
        return scalar_node(prod(row[0] for row in rows), x.dtype)
    result = tensor(1, dtype=x.dtype)
    for axis, row in enumerate(rows):
        result = result * tensor(row, x.dtype).reshape(-1, *(1,) * (len(rows) - 1 - axis))
    return node_of(result)


@composite
def averaged(
    name: str, rank: int, input: Any, kernel_size: Sizes, stride: Any, padding: Sizes, ceil_mode: bool,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """Return the mean of each window: see `avg_pool1d`."""
    x, is_single = with_batch(numeric(input, name), rank, name)
    if divisor_override == 0:
        raise ArgumentError(message(f"{name}: divisor_override divides", divisor_override, "a number that is not 0"))
    params = _geometry(name, x, kernel_size, stride, padding, 1, ceil_mode)
    pads = tuple_of(padding, rank, "padding", low=0)
    if divisor_override is not None:
        divisor = scalar_node(divisor_override, x.dtype)
    else:
        divisor = _divisor(x, params, pads if count_include_pad else (0,) * rank)
    result = wrap(P.reduce_window_sum(node_of(x), **params) / divisor)
    return result[0] if is_single else result


def _average(rank: int) -> Any:
    name = f"avg_pool{rank}d"

    def avg_pool(
        input: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> Tensor:  # fmt: skip
        return averaged(
            name, rank, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        )  # fmt: skip

    more = """
    padding: zeros added at both ends.
    ceil_mode: whether a last window that is only partly inside counts.
    count_include_pad: whether the added zeros count in the mean.
    divisor_override: divides the sums instead of the number of elements."""
    return documented(
        avg_pool, name, rank, summary="Return the mean of each window of {axes}.", arguments=_ARGUMENTS + more,
        returns="A tensor [N, C, ...]; integers are divided without rest.", raises=_RAISES,
        call=f"plait.ones(1, 1, {', '.join('4' * rank)}), 2", result=str((1, 1, *(2,) * rank)),
    )  # fmt: skip


avg_pool1d, avg_pool2d, avg_pool3d = (_average(rank) for rank in (1, 2, 3))


def _norm(rank: int) -> Any:
    name = f"lp_pool{rank}d"

    def lp_pool(
        input: Any, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
    ) -> Tensor:
        window = tuple_of(kernel_size, rank, "kernel_size")
        mean = averaged(name, rank, as_operand(input, name) ** norm_type, window, stride, 0, ceil_mode)
        return (mean.sign() * mean.abs().relu() * prod(window)) ** (1.0 / norm_type)

    arguments = _ARGUMENTS.replace("    kernel_size", "    norm_type: the exponent p.\n    kernel_size", 1)
    return documented(
        lp_pool, name, rank, summary="Return the p-norm of each window of {axes}: the p-th root of the sum of x ** p.",
        arguments=arguments + "\n    ceil_mode: whether a last window that is only partly inside counts.",
        returns="A tensor [N, C, ...].", raises=_RAISES,
        call=f"plait.ones(1, 1, {', '.join('4' * rank)}), 1, 2", result=str((1, 1, *(2,) * rank)),
    )  # fmt: skip


lp_pool1d, lp_pool2d, lp_pool3d = (_norm(rank) for rank in (1, 2, 3))


# largest elements


def _flat_positions(position: Node, sizes: Sequence[int], params: dict[str, Any]) -> Node:
    """Return where the elements at positions in their windows lie in the flattened spatial axes."""
    result = scalar_node(0, int64)
    geometry = [params[key][2:] for key in ("window", "strides", "padding", "window_dilation")]
    inner = prod(geometry[0])
    for axis, (size, window, stride, (low, _), dilation) in enumerate(zip(sizes, *geometry, strict=True)):
        inner //= window
        offset = P.rem(P.div(position, scalar_node(inner, int64)), scalar_node(window, int64))
        number = P.iota(dtype=int64, shape=position.shape, axis=axis + 2)
        place = number * scalar_node(stride, int64) + offset * scalar_node(dilation, int64) - scalar_node(low, int64)
        result = result * scalar_node(size, int64) + place
    return result


def largest(
    name: str, rank: int, input: Any, kernel_size: Sizes, stride: Any, padding: Sizes, dilation: Sizes,
    ceil_mode: bool, return_indices: bool,
) -> Any:  # fmt: skip
    """Return the largest element of each window, with its position if asked for: see `max_pool1d`."""
    x, is_single = with_batch(numeric(input, name), rank, name)
    params = _geometry(name, x, kernel_size, stride, padding, dilation, ceil_mode)
    node = node_of(x)
    if not return_indices:
        result = wrap(P.reduce_window_max(node, **params))
        return result[0] if is_single else result
    position = P.window_argmax(node, **params)
    values = wrap(P.window_take(node, position, **params))
    indices = wrap(_flat_positions(position, x.shape[2:], params))
    return ValuesIndices(values[0], indices[0]) if is_single else ValuesIndices(values, indices)


def _maximum(rank: int, with_indices: bool) -> Any:
    name = f"max_pool{rank}d_with_indices" if with_indices else f"max_pool{rank}d"

    def max_pool(
        input: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
        ceil_mode: bool = False, return_indices: bool = with_indices,
    ) -> Any:  # fmt: skip
        return largest(
            name, rank, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices or with_indices
        )  # fmt: skip

    more = """
    padding: elements (that are never the largest) added at both ends.
    dilation: distance of the elements of the window.
    ceil_mode: whether a last window that is only partly inside counts.
    return_indices: whether positions are returned too."""
    pair = "of (values, indices), the indices counting the flattened spatial axes"
    return documented(
        max_pool, name, rank, summary="Return the largest element of each window of {axes}.",
        arguments=_ARGUMENTS + more, raises=_RAISES,
        returns=f"A pair {pair}." if with_indices else f"A tensor [N, C, ...], or a pair {pair}.",
        call=f"plait.ones(1, 1, {', '.join('4' * rank)}), 2", part=".indices" if with_indices else "",
        result=str((1, 1, *(2,) * rank)),
    )  # fmt: skip


max_pool1d, max_pool2d, max_pool3d = (_maximum(rank, False) for rank in (1, 2, 3))
max_pool1d_with_indices, max_pool2d_with_indices, max_pool3d_with_indices = (_maximum(rank, True) for rank in (1, 2, 3))


# the inverse of max pooling


def _unpooled_sizes(
    name: str, spatial: Sequence[int], kernel_size: Sizes, stride: Any, padding: Sizes, output_size: Any
) -> tuple[int, ...]:
    rank = len(spatial)
    window, pads = tuple_of(kernel_size, rank, "kernel_size"), tuple_of(padding, rank, "padding", low=0)
    strides = window if stride is None else tuple_of(stride, rank, "stride")
    usual = tuple((n - 1) * s + k - 2 * p for n, k, s, p in zip(spatial, window, strides, pads, strict=True))
    if output_size is None:
        return usual
    wanted = tuple([n.__index__() for n in output_size])[-rank:]
    fits = len(output_size) in (rank, rank + 2)
    if not fits or any(abs(w - u) >= s for w, u, s in zip(wanted, usual, strides, strict=True)):
        expected = f"less than the stride away from {usual}"
        raise ArgumentError(message(f"{name}: output_size does not fit", tuple(output_size), expected))
    return wanted


def _unpool(rank: int) -> Any:
    name = f"max_unpool{rank}d"

    def max_unpool(
        input: Any, indices: Any, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
        output_size: Sequence[int] | None = None,
    ) -> Tensor:  # fmt: skip
        x, is_single = with_batch(numeric(input, name), rank, name)
        places = as_operand(indices, name)
        places = places[None] if is_single else places
        if places.dtype is not int64:
            raise DTypeError(message(f"{name} takes int64 indices", places.dtype.name, None, "those of max_pool"))
        if places.shape != x.shape:
            raise ShapeError(message(f"{name}: one index for each element", f"{places.shape} for {x.shape}"))
        sizes = _unpooled_sizes(name, x.shape[2:], kernel_size, stride, padding, output_size)
        result = placed(x.reshape(-1, prod(x.shape[2:])), places.reshape(-1, prod(x.shape[2:])), prod(sizes))
        result = result.reshape(*x.shape[:2], *sizes)
        return result[0] if is_single else result

    indices = "    indices: where each element goes, from max pooling.\n    kernel_size"
    more = """
    padding: the padding of the pooling.
    output_size: sizes of the result, where several are possible."""
    ones = ", ".join("4" * rank)
    return documented(
        max_unpool, name, rank, summary="Put elements where max pooling over {axes} took them from, zeros elsewhere.",
        arguments=_ARGUMENTS.replace("    kernel_size", indices, 1) + more, returns="A tensor [N, C, ...].",
        raises="    ShapeError: input and indices differ in shape.\n    ArgumentError: output_size is not possible.\n"
        "    DTypeError: the indices are not int64.",
        call=f"*plait.nn.functional.max_pool{rank}d_with_indices(plait.ones(1, 1, {ones}), 2), 2",
        result=str((1, 1, *(4,) * rank)),
    )  # fmt: skip


def placed(x: Tensor, places: Tensor, size: int) -> Tensor:
    """Return rows of `size` with the elements of the rows of `x` at `places`, which may name one place repeatedly."""

    def coordinates(places: Tensor) -> list[Node]:
        return [P.iota(dtype=int64, shape=places.shape, axis=0), node_of(places)]

    def apply(prim: Any, x: Tensor, places: Tensor) -> Tensor:
        zeros = P.broadcast(scalar_node(0, x.dtype), shape=(x.shape[0], size), axes=())
        return wrap(prim(zeros, node_of(x), *coordinates(places), axes=(0, 1)))

    put = custom_jvp(lambda x, places: apply(P.scatter_set, x, places))

    @put.defjvp
    def derivative(primals: Any, tangents: Any) -> Any:
        x, places = primals
        # elements that meet are equal, if max pooling made the places: each gets the whole cotangent
        return put(x, places), apply(P.scatter_add, tangents[0], places)

    return put(x, places)


max_unpool1d, max_unpool2d, max_unpool3d = (_unpool(rank) for rank in (1, 2, 3))

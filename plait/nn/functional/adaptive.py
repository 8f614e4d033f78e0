"""Pooling to a given size, by windows that follow from it or are drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from plait.core.dtype import float32, float64, int64
from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.nn.arguments import Sizes, floating, tuple_of, with_batch
from plait.nn.functional.neighbours import Neighbours, weighted_sum
from plait.nn.functional.pooling import documented, largest
from plait.sampling import rand
from plait.tensor.results import ValuesIndices
from plait.tensor.shaping import as_operand
from plait.tensor.tensor import Tensor, converted, node_of, scalar_node, to_node, wrap

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices", "adaptive_max_pool2d", "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d", "adaptive_max_pool3d_with_indices", "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices", "fractional_max_pool3d", "fractional_max_pool3d_with_indices",
]  # fmt: skip

_ARGUMENTS = """    input: a tensor [N, C, {sizes}], or [C, {sizes}].
    output_size: the spatial sizes of the result, one integer or one for each axis; None keeps the size of an axis."""
_RAISES = """    ShapeError: the input has another number of axes.
    ArgumentError: output_size has another length, or a size is less than 1."""


def _wanted(output_size: Any, spatial: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes of the result; None stands for the size of the input."""
    sizes = list(output_size) if isinstance(output_size, (tuple, list)) else [output_size] * len(spatial)
    if len(sizes) == len(spatial):
        sizes = [n if s is None else s for s, n in zip(sizes, spatial, strict=True)]
    return tuple_of(sizes, len(spatial), "output_size", low=0)


def _windows(size: int, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the starts and lengths of `count` windows that cover an axis."""
    number = np.arange(count)
    starts = number * size // max(count, 1)
    return starts, -(-((number + 1) * size) // max(count, 1)) - starts


def _places(size: int, count: int) -> np.ndarray[Any, Any]:
    """Return the elements of each window as the columns of a table; -1 stands for none."""
    starts, lengths = _windows(size, count)
    offset = np.arange(lengths.max(initial=1))[:, None]
    return np.where(offset < lengths, starts + offset, -1)


def adaptive_mean(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the means of the windows that cover [N, C, *spatial] evenly."""
    node = converted(node_of(x), float64 if x.dtype is float64 else float32)
    for axis, out in enumerate(sizes, 2):
        size = node.shape[axis]
        assert isinstance(size, int)
        if out and size % out:
            weight = np.broadcast_to(1 / _windows(size, out)[1], _places(size, out).shape)
            node = weighted_sum(node, axis, Neighbours(_places(size, out), weight))
    counts = [n // max(out, 1) for n, out in zip(node.shape[2:], sizes, strict=True)]
    if any(c != 1 for c in counts):
        shape = (*node.shape[:2], *[n for pair in zip(sizes, counts, strict=True) for n in pair])
        total = P.reduce_sum(P.reshape(node, shape=shape), axes=tuple(range(3, len(shape), 2)))
        node = total / scalar_node(prod(counts), total.dtype)
    return wrap(converted(node, x.dtype))


def _average(rank: int) -> Any:
    name = f"adaptive_avg_pool{rank}d"

    def adaptive_avg_pool(input: Any, output_size: Any) -> Tensor:
        x, is_single = with_batch(floating(input, name), rank, name)
        result = adaptive_mean(x, _wanted(output_size, x.shape[2:]))
        return result[0] if is_single else result

    return documented(
        adaptive_avg_pool, name, rank, arguments=_ARGUMENTS, raises=_RAISES, returns="A tensor [N, C, *output_size].",
        summary="Return the means of windows that cover {axes} evenly.",
        call=f"plait.ones(1, 1, {', '.join('5' * rank)}), 2", result=str((1, 1, *(2,) * rank)),
    )  # fmt: skip


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = (_average(rank) for rank in (1, 2, 3))


# largest elements


def _largest_at(x: Tensor, places: Node, counts: Sequence[int], return_indices: bool) -> Any:
    """Return the largest element of each window of the flattened spatial axes, with its position if asked for.

    `places` are [N, C, windows, elements] positions or broadcast to that; -1 stands for none.
    """
    flat = P.reshape(node_of(x), shape=(*x.shape[:2], prod(x.shape[2:])))
    shape = (*x.shape[:2], *places.shape[2:])
    full = P.broadcast(places, shape=shape, axes=tuple(range(4)))
    example, channel = (P.iota(dtype=int64, shape=shape, axis=a) for a in (0, 1))
    found = P.gather(flat, example, channel, full, axes=(0, 1, 2), mode="fill")
    found = P.select(P.lt(full, scalar_node(0, int64)), scalar_node(-float("inf"), found.dtype), found)
    best = P.argmax(found, axis=3, dtype=int64)
    example, channel, window = (P.iota(dtype=int64, shape=best.shape, axis=a) for a in range(3))
    index = P.gather(full, example, channel, window, best, axes=(0, 1, 2, 3), mode="clip")
    value = P.gather(flat, example, channel, index, axes=(0, 1, 2), mode="clip")
    shape = (*x.shape[:2], *counts)
    values, indices = wrap(P.reshape(value, shape=shape)), wrap(P.reshape(index, shape=shape))
    return ValuesIndices(values, indices) if return_indices else values


def _first(result: Any, is_single: bool) -> Any:
    if not is_single:
        return result
    return ValuesIndices(*[r[0] for r in result]) if isinstance(result, ValuesIndices) else result[0]


def _flattened(tables: Sequence[Any], spatial: Sequence[int], xp: Any) -> Any:
    """Combine for each axis [..., windows, elements] into positions in the flattened axes."""
    result = None
    for table, size in zip(tables, spatial, strict=True):
        if result is None:
            result = table
            continue
        a, b = result[..., :, None, :, None], table[..., None, :, None, :]
        joined = xp.where((a < 0) | (b < 0), -1, a * size + b)
        *lead, rows, columns, height, width = joined.shape
        result = joined.reshape(*lead, rows * columns, height * width)
    return result


def _adaptive_largest(name: str, rank: int, input: Any, output_size: Any, return_indices: bool) -> Any:
    x, is_single = with_batch(floating(input, name), rank, name)
    spatial = x.shape[2:]
    sizes = _wanted(output_size, spatial)
    if all(out and n % out == 0 and n for n, out in zip(spatial, sizes, strict=True)):
        window = [n // out for n, out in zip(spatial, sizes, strict=True)]
        result = largest(name, rank, x, window, window, 0, 1, False, return_indices)
    else:
        places = _flattened([_places(n, out).T for n, out in zip(spatial, sizes, strict=True)], spatial, np)
        result = _largest_at(x, to_node(places[None, None]), sizes, return_indices)
    return _first(result, is_single)


def _maximum(rank: int, with_indices: bool) -> Any:
    name = f"adaptive_max_pool{rank}d" + ("_with_indices" if with_indices else "")

    def adaptive_max_pool(input: Any, output_size: Any, return_indices: bool = with_indices) -> Any:
        return _adaptive_largest(name, rank, input, output_size, return_indices or with_indices)

    pair = "of (values, indices), the indices counting the flattened spatial axes"
    return documented(
        adaptive_max_pool, name, rank, raises=_RAISES,
        arguments=_ARGUMENTS + "\n    return_indices: whether positions are returned too.",
        returns=f"A pair {pair}." if with_indices else f"A tensor [N, C, *output_size], or a pair {pair}.",
        summary="Return the largest elements of windows that cover {axes} evenly.",
        call=f"plait.ones(1, 1, {', '.join('5' * rank)}), 2", part=".indices" if with_indices else "",
        result=str((1, 1, *(2,) * rank)),
    )  # fmt: skip


adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = (_maximum(rank, False) for rank in (1, 2, 3))
adaptive_max_pool1d_with_indices, adaptive_max_pool2d_with_indices, adaptive_max_pool3d_with_indices = (
    _maximum(rank, True) for rank in (1, 2, 3)
)


# windows drawn at random


def _random_windows(sample: Tensor, size: int, count: int, window: int) -> Tensor:
    """Return the positions [N, C, count, window] of windows whose distances vary with a sample [N, C]."""
    last = size - window
    number = wrap(P.iota(dtype=sample.dtype, shape=(count,), axis=0))
    step = last / (count - 1) if count > 1 else 0.0
    sample = sample[..., None]
    starts = ((number + sample) * step).to(int64) - (sample * step).to(int64)
    is_last = wrap(P.iota(dtype=int64, shape=(count,), axis=0)) == count - 1
    starts = wrap(P.select(node_of(is_last), scalar_node(last, int64), node_of(starts)))
    return starts[..., None] + wrap(P.iota(dtype=int64, shape=(window,), axis=0))


class _Positions:
    """What `_flattened` needs of an array namespace, for tensors."""

    @staticmethod
    def where(condition: Tensor, a: int, b: Tensor) -> Tensor:
        return wrap(P.select(node_of(condition), scalar_node(a, b.dtype), node_of(b)))


def _fractional(
    name: str, rank: int, input: Any, kernel_size: Sizes, output_size: Any, output_ratio: Any, return_indices: bool,
    samples: Any,
) -> Any:  # fmt: skip
    x, is_single = with_batch(floating(input, name), rank, name)
    spatial, window = x.shape[2:], tuple_of(kernel_size, rank, "kernel_size")
    if (output_size is None) == (output_ratio is None):
        received = f"output_size={output_size}, output_ratio={output_ratio}"
        raise ArgumentError(message(f"{name} takes either output_size or output_ratio", received, "one of them"))
    if output_size is None:
        ratios = list(output_ratio) if isinstance(output_ratio, (tuple, list)) else [output_ratio] * rank
        if len(ratios) != rank or not all(0 < r < 1 for r in ratios):
            expected = f"one number between 0 and 1, or {rank} of them"
            raise ArgumentError(message(f"{name}: output_ratio does not fit", output_ratio, expected))
        output_size = [int(n * r) for n, r in zip(spatial, ratios, strict=True)]
    counts = tuple_of(output_size, rank, "output_size")
    if any(out + k - 1 > n for out, k, n in zip(counts, window, spatial, strict=True)):
        received = f"an input of shape {x.shape}, kernel_size={window}, output_size={counts}"
        expected = "sizes of at least output_size + kernel_size - 1"
        raise ShapeError(message(f"{name}: the windows do not fit in the input", received, expected))
    shape = (*x.shape[:2], rank)
    sample = rand(shape, dtype=x.dtype) if samples is None else as_operand(samples, name)
    sample = sample[None] if sample.ndim == 2 else sample
    if sample.shape != shape:
        raise ShapeError(message(f"{name}: the random samples are [N, C, {rank}]", sample.shape, shape))
    order = range(rank) if rank == 3 else reversed(range(rank))  # PyTorch's: of an image, the columns come first
    rows = zip(order, spatial, counts, window, strict=True)
    tables = [_random_windows(sample[:, :, k], n, out, w) for k, n, out, w in rows]
    places = _flattened(tables, spatial, _Positions)
    return _first(_largest_at(x, node_of(places), counts, return_indices), is_single)


def _random_maximum(rank: int, with_indices: bool) -> Any:
    name = f"fractional_max_pool{rank}d" + ("_with_indices" if with_indices else "")

    def fractional_max_pool(
        input: Any, kernel_size: Sizes, output_size: Any = None, output_ratio: Any = None,
        return_indices: bool = with_indices, _random_samples: Any = None,
    ) -> Any:  # fmt: skip
        return _fractional(
            name, rank, input, kernel_size, output_size, output_ratio, return_indices or with_indices, _random_samples
        )  # fmt: skip

    pair = "of (values, indices), the indices counting the flattened spatial axes"
    return documented(
        fractional_max_pool, name, rank,
        summary="Return the largest elements of windows over {axes} at random distances (Graham, 2014).",
        arguments="""    input: a tensor [N, C, {sizes}], or [C, {sizes}].
    kernel_size: size of the window, one integer or one for each spatial axis.
    output_size: the spatial sizes of the result, likewise.
    output_ratio: or how often the input's, between 0 and 1.
    return_indices: whether positions are returned too.""",
        returns=f"A pair {pair}." if with_indices else f"A tensor [N, C, ...], or a pair {pair}.",
        raises="    ShapeError: the windows do not fit in the input.\n"
        "    ArgumentError: neither or both of output_size and output_ratio, or one out of range.",
        call=f"plait.ones(1, 1, {', '.join('5' * rank)}), 2, 3", part=".indices" if with_indices else "",
        result=str((1, 1, *(3,) * rank)),
    )  # fmt: skip


fractional_max_pool2d, fractional_max_pool3d = (_random_maximum(rank, False) for rank in (2, 3))
fractional_max_pool2d_with_indices, fractional_max_pool3d_with_indices = (
    _random_maximum(rank, True) for rank in (2, 3)
)

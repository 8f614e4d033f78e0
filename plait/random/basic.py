"""Uniform and normal numbers, integers, permutations and classes, with the numbers of `jax.random`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from plait.core.dtype import DType, as_dtype, float32, int32, int64
from plait.core.errors import DTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.rules import broadcast_shapes, broadcast_to
from plait.random.keys import UNSIGNED, Shape, bits_node, split
from plait.tensor.api import arange, take
from plait.tensor.composite import composite
from plait.tensor.functions import limits_of
from plait.tensor.operators import single
from plait.tensor.shaping import new_shape
from plait.tensor.tensor import Tensor, axis_index, converted, scalar_node, to_node, wrap

_MANTISSA = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}


def float_dtype(dtype: Any) -> DType:
    """Return a float dtype, by default float32; raises `DTypeError` for another."""
    wanted = float32 if dtype is None else as_dtype(dtype)
    if wanted.name not in _MANTISSA:
        raise DTypeError(message("Random real numbers are floats", wanted.name, ", ".join(_MANTISSA)))
    return wanted


def _limit(value: Any, dtype: DType) -> Node:
    return converted(to_node(value), dtype) if isinstance(value, (Tensor, np.ndarray)) else scalar_node(value, dtype)


def uniform_node(key: Any, shape: tuple[int, ...], dtype: DType, low: Any, high: Any) -> Node:
    """Random mantissas below the exponent of 1, less 1: multiples of 2**-mantissa in [0, 1)."""
    mantissa = _MANTISSA[dtype.name]
    width = 8 if mantissa < 8 else dtype.bits
    word = UNSIGNED[dtype.bits]
    random = converted(bits_node(key, width, shape), word)
    random = P.shift_right_logical(random, scalar_node(width - mantissa, word))
    one = int(np.array(1, dtype.numpy).view(word.numpy))
    unit = P.bitcast(P.bitwise_or(random, scalar_node(one, word)), dtype=dtype) - scalar_node(1, dtype)
    low, high = _limit(low, dtype), _limit(high, dtype)
    return P.max(low, unit * (high - low) + low)


@composite
def uniform(key: Any, shape: Shape = (), dtype: Any = float32, minval: Any = 0.0, maxval: Any = 1.0) -> Tensor:
    """Draw uniformly from [minval, maxval).

    Args:
        key: a key.
        shape: sizes of the result.
        dtype: a float type, or a complex one, of which both parts are drawn.
        minval: lower end, included.
        maxval: upper end, excluded.

    Returns:
        A tensor of `shape`.

    Raises:
        DTypeError: the dtype is no float.

    Example:
        >>> plait.random.uniform(plait.random.key(0), (2,))
        tensor([0.9477, 0.9786])
    """
    if (wanted := as_dtype(dtype)).is_complex:
        return _of_parts(uniform(k, shape, wanted.real, minval, maxval) for k in split(key))
    return wrap(uniform_node(key, new_shape((shape,)), float_dtype(dtype), minval, maxval))


def _of_parts(parts: Iterable[Tensor]) -> Tensor:
    return wrap(P.complex(*[part._node for part in parts]))


def quantile(x: Node) -> Node:
    """Return erfinv, in single precision by the polynomials that `jax.random` draws with: to 1e-5 in the tails."""
    return P.erfinv_single(x) if x.dtype is float32 else P.erfinv(x)


@composite
def normal(key: Any, shape: Shape = (), dtype: Any = float32) -> Tensor:
    """Draw from the standard normal distribution, by the inverse of its distribution function.

    Args:
        key: a key.
        shape: sizes of the result.
        dtype: a float type, or a complex one, whose parts each have variance 1/2.

    Returns:
        A tensor of `shape`.

    Raises:
        DTypeError: the dtype is no float.

    Example:
        >>> plait.random.normal(plait.random.key(0), (2,))
        tensor([1.6226, 2.0253])
    """
    if (given := as_dtype(dtype)).is_complex:
        return _of_parts(normal(k, shape, given.real) * math.sqrt(0.5) for k in split(key))
    wanted = float_dtype(dtype)
    low = float(np.nextafter(np.array(-1, wanted.numpy), np.array(0, wanted.numpy)))
    drawn = uniform_node(key, new_shape((shape,)), wanted, low, 1.0)
    return wrap(scalar_node(math.sqrt(2), wanted) * quantile(drawn))


@composite
def randint(key: Any, shape: Shape, minval: Any, maxval: Any, dtype: Any = None) -> Tensor:
    """Draw integers uniformly from [minval, maxval).

    Args:
        key: a key.
        shape: sizes of the result.
        minval: lower end, included.
        maxval: upper end, excluded.
        dtype: an integer type; by default int64, drawn with 32 bits (as `jax.random` does) where the ends allow it.

    Returns:
        A tensor of `shape`.

    Raises:
        DTypeError: the dtype is no integer type.

    Example:
        >>> plait.random.randint(plait.random.key(0), (3,), 0, 10, plait.int32)
        tensor([9, 0, 2], dtype=plait.int32)
    """
    if dtype is None:
        low, high = limits_of(int32)
        is_narrow = all(isinstance(v, int) and low <= v <= high for v in (minval, maxval))
        return randint(key, shape, minval, maxval, int32 if is_narrow else int64).to(int64)
    wanted = as_dtype(dtype)
    if not wanted.is_integer:
        raise DTypeError(message("randint draws integers", wanted.name, "an integer type"))
    drawn = wanted if wanted.bits >= 32 else int32  # small types would be biased
    lowest, highest = limits_of(wanted)
    if drawn is not wanted:
        minval, maxval = (_clipped(v, lowest, highest + 1) for v in (minval, maxval))
        highest = limits_of(drawn)[1]
    return wrap(converted(_integers(key, new_shape((shape,)), minval, maxval, drawn, highest), wanted))


def _clipped(value: Any, low: int, high: int) -> Any:
    return value.to(int32).clamp(low, high) if isinstance(value, Tensor) else min(max(value, low), high)


def _integers(key: Any, shape: tuple[int, ...], minval: Any, maxval: Any, dtype: DType, highest: int) -> Node:
    is_beyond = not isinstance(maxval, Tensor) and maxval > highest
    low, high = _limit(minval, dtype), _limit(highest if is_beyond else maxval, dtype)
    word = UNSIGNED[dtype.bits]
    one = scalar_node(1, word)
    span = converted(high - low, word)
    span = P.select(P.le(high, low), one, span + one if is_beyond else span)
    keys = split(key)
    upper, lower = (bits_node(keys[i], dtype.bits, shape) for i in range(2))
    # (upper * 2**bits + lower) modulo span, without overflow
    half = P.rem(scalar_node(1 << dtype.bits // 2, word), span)
    factor = P.rem(half * half, span)
    offset = P.rem(P.rem(upper, span) * factor + P.rem(lower, span), span)
    return low + converted(offset, dtype)


def _shuffled(key: Any, x: Node, axis: int) -> Node:
    """Sort by random words, several times so that equal words do no harm."""
    rounds = math.ceil(3 * math.log(max(1, x.aval.size)) / math.log(2**32 - 1))
    for _ in range(rounds):
        keys = split(key)
        key, words = keys[0], bits_node(keys[1], 32, x.shape)
        x = P.sort(words, x, axis=axis, keys=1, descending=False)[1]
    return x


@composite
def permutation(key: Any, x: Any, axis: int = 0, independent: bool = False) -> Tensor:
    """Permute a tensor along an axis, or the numbers below an integer.

    Args:
        key: a key.
        x: a tensor, or an integer n for a permutation of 0 ... n - 1.
        axis: the axis.
        independent: whether each vector along the axis gets its own permutation.

    Returns:
        A tensor like `x`, or an int64 vector.

    Example:
        >>> plait.random.permutation(plait.random.key(0), 4)
        tensor([0, 1, 3, 2])
    """
    if hasattr(x, "__index__") and not isinstance(x, (Tensor, np.ndarray)):
        return wrap(_shuffled(key, arange(x)._node, 0))
    node = single(x, "permutation")
    axis = axis_index(axis, node.ndim)
    if independent or node.ndim == 1:
        return wrap(_shuffled(key, node, axis))
    order = wrap(_shuffled(key, arange(node.shape[axis])._node, 0))
    return take(wrap(node), order, axis)


@composite
def bernoulli(key: Any, p: Any = 0.5, shape: Shape | None = None) -> Tensor:
    """Draw bools that are True with probability `p`.

    Args:
        key: a key.
        p: a number or a float tensor.
        shape: sizes of the result; by default the shape of `p`.

    Returns:
        A bool tensor.

    Example:
        >>> plait.random.bernoulli(plait.random.key(0), 0.5, (3,))
        tensor([False, False,  True])
    """
    node = to_node(p)
    node = node if node.dtype.is_floating else converted(node, float32)
    sizes = node.shape if shape is None else new_shape((shape,))
    return wrap(P.lt(uniform_node(key, sizes, node.dtype, 0.0, 1.0), node))


@composite
def gumbel(key: Any, shape: Shape = (), dtype: Any = float32) -> Tensor:
    """Draw from the standard Gumbel distribution: -log(-log(u)) of uniform u.

    Args:
        key: a key.
        shape: sizes of the result.
        dtype: a float type.

    Returns:
        A tensor of `shape`.

    Raises:
        DTypeError: the dtype is no float.

    Example:
        >>> plait.random.gumbel(plait.random.key(0), (2,))
        tensor([2.9234, 3.8326])
    """
    wanted = float_dtype(dtype)
    return wrap(_gumbel(key, new_shape((shape,)), wanted))


def _gumbel(key: Any, shape: tuple[int, ...], dtype: DType) -> Node:
    tiny = {"float64": 2.0**-1022, "float16": 2.0**-14}.get(dtype.name, 2.0**-126)
    return -P.log(-P.log(uniform_node(key, shape, dtype, tiny, 1.0)))


@composite
def exponential(key: Any, shape: Shape = (), dtype: Any = float32) -> Tensor:
    """Draw from the exponential distribution of mean 1, by the inverse of its distribution function.

    Args:
        key: a key.
        shape: sizes of the result.
        dtype: a float type.

    Returns:
        A tensor of `shape`.

    Raises:
        DTypeError: the dtype is no float.

    Example:
        >>> plait.random.exponential(plait.random.key(0), (2,))
        tensor([2.9501, 3.8434])
    """
    wanted = float_dtype(dtype)
    return wrap(-P.log1p(-uniform_node(key, new_shape((shape,)), wanted, 0.0, 1.0)))


@composite
def categorical(key: Any, logits: Any, axis: int = -1, shape: Shape | None = None) -> Tensor:
    """Draw class numbers with probabilities softmax(logits), by the Gumbel maximum.

    Args:
        key: a key.
        logits: unnormalized log probabilities.
        axis: the axis of the classes.
        shape: sizes of the result, to which the shape of `logits` without `axis` broadcasts; by default just that.

    Returns:
        An int64 tensor.

    Raises:
        DTypeError: the logits are no floats.
        ShapeError: `shape` does not fit.

    Example:
        >>> plait.random.categorical(plait.random.key(0), plait.zeros(3), shape=(4,))
        tensor([1, 1, 2, 1])
    """
    node = single(logits, "categorical")
    if node.dtype.name not in _MANTISSA:
        raise DTypeError(message("The logits of categorical are floats", node.dtype.name, ", ".join(_MANTISSA)))
    float_dtype(node.dtype)
    axis = axis_index(axis, node.ndim)
    batch = tuple(n for i, n in enumerate(node.shape) if i != axis)
    sizes = batch if shape is None else new_shape((shape,))
    if broadcast_shapes(batch, sizes, name="categorical") != sizes:
        received, expected = f"{batch} and {sizes}", "equal sizes, or 1 in the logits"
        raise ShapeError(message("The logits do not broadcast to the shape", received, expected))
    behind = axis - node.ndim
    position = len(sizes) + 1 + behind
    full = (*sizes[:position], node.shape[axis], *sizes[position:])
    noisy = _gumbel(key, full, node.dtype) + broadcast_to(node, full)
    return wrap(P.argmax(noisy, axis=position, dtype=int64))

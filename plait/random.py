"""Random numbers: Threefry-2x32, counter-based (Salmon et al., 2011).

The functions are pure: each takes a key, and gives for it the numbers of `jax.random` with its default implementation.
Functions that draw from a generator with a state are in `plait.sampling`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from plait.core.dtype import DType, as_dtype, float32, int32, int64, uint8, uint16, uint32, uint64
from plait.core.errors import ArgumentTypeError, DTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.rules import broadcast_shapes, broadcast_to
from plait.tensor.creation import arange
from plait.tensor.functions import limits_of
from plait.tensor.operators import single
from plait.tensor.selection import take
from plait.tensor.shaping import new_shape
from plait.tensor.tensor import Tensor, axis_index, converted, node_of, scalar_node, to_node, wrap

_UNSIGNED = {8: uint8, 16: uint16, 32: uint32, 64: uint64}
_MANTISSA = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}
_Shape = Sequence[int] | int


# keys


def key(seed: Any) -> Tensor:
    """Make a key from an integer seed.

    Args:
        seed: an integer; its lowest 64 bits count.

    Returns:
        A uint32 tensor of shape (2,).

    Raises:
        ArgumentTypeError: the seed is no integer.

    Example:
        >>> plait.random.key(7)
        tensor([0, 7], dtype=plait.uint32)
    """
    if isinstance(seed, Tensor):
        return wrap(_stacked(_seed_words(node_of(seed))))
    try:
        value = seed.__index__()
    except AttributeError:
        raise ArgumentTypeError(message("A seed is an integer", repr(seed), "an integer", "pass e.g. 0")) from None
    return wrap(to_node(np.array([value >> 32 & 0xFFFFFFFF, value & 0xFFFFFFFF], np.uint32)))


PRNGKey = key


def _seed_words(seed: Node) -> list[Node]:
    if not seed.dtype.is_integer or seed.ndim:
        raise ArgumentTypeError(message("A seed is an integer", seed.aval, "a rank-0 integer tensor"))
    high = scalar_node(0, uint32)
    if seed.dtype.bits == 64:
        high = converted(P.shift_right_logical(seed, scalar_node(32, seed.dtype)), uint32)
    return [high, converted(seed, uint32)]


def _stacked(words: Sequence[Node]) -> Node:
    columns = [P.reshape(w, shape=(*w.shape, 1)) for w in words]
    return P.concatenate(*columns, axis=words[0].ndim)


def _key_words(key: Any) -> list[Node]:
    """Return the two rank-0 words of a key."""
    node = single(key, "random")
    if node.dtype is not uint32 or node.shape != (2,):
        fix = "make one with plait.random.key(seed); use vmap for several keys"
        raise ArgumentTypeError(message("This is no key", node.aval, "uint32[2]", fix))
    return [P.reshape(P.slice(node, starts=(i,), limits=(i + 1,), strides=(1,)), shape=()) for i in range(2)]


def _threefry(key: Any, counts: Sequence[Node]) -> list[Node]:
    words = _key_words(key)
    return [P.threefry(*words, *counts, word=i) for i in range(2)]


def _counts(shape: tuple[int, ...]) -> list[Node]:
    """Row-major 64-bit element numbers, as high and low words."""
    flat = P.reshape(P.iota(dtype=int64, shape=(math.prod(shape),), axis=0), shape=shape)
    return [converted(P.shift_right_logical(flat, scalar_node(32, int64)), uint32), converted(flat, uint32)]


def split(key: Any, num: Any = 2) -> Tensor:
    """Make independent keys from one, which should then no longer be used.

    Args:
        key: a key.
        num: how many, or the shape of an array of them.

    Returns:
        A uint32 tensor of shape (num, 2); iterating over it gives the keys.

    Example:
        >>> first, second = plait.random.split(plait.random.key(0))
        >>> first
        tensor([1797259609, 2579123966], dtype=plait.uint32)
    """
    return wrap(_stacked(_threefry(key, _counts(new_shape((num,))))))


def fold_in(key: Any, data: Any) -> Tensor:
    """Make a new key from a key and an integer, e.g. a step number.

    Args:
        key: a key.
        data: an integer below 2**32, or an integer tensor.

    Returns:
        A key.

    Example:
        >>> plait.random.fold_in(plait.random.key(0), 1)
        tensor([ 928981903, 3453687069], dtype=plait.uint32)
    """
    number = converted(node_of(data), uint32) if isinstance(data, Tensor) else scalar_node(data & 0xFFFFFFFF, uint32)
    return wrap(_stacked(_threefry(key, _seed_words(number))))


# numbers from keys


def _bits(key: Any, width: int, shape: tuple[int, ...]) -> Node:
    first, second = _threefry(key, _counts(shape))
    if width == 64:
        high = P.shift_left(converted(first, uint64), scalar_node(32, uint64))
        return P.bitwise_or(high, converted(second, uint64))
    return converted(P.bitwise_xor(first, second), _UNSIGNED[width])


def bits(key: Any, shape: _Shape = (), dtype: Any = uint32) -> Tensor:
    """Draw uniform random bits.

    Args:
        key: a key.
        shape: sizes of the result.
        dtype: an unsigned integer type.

    Returns:
        A tensor of `shape`.

    Raises:
        DTypeError: the dtype is not unsigned.

    Example:
        >>> plait.random.bits(plait.random.key(0), (2,))
        tensor([4070199207, 4202968722], dtype=plait.uint32)
    """
    wanted = as_dtype(dtype)
    if wanted.kind != "u":
        expected = ", ".join(d.name for d in _UNSIGNED.values())
        raise DTypeError(message("Random bits are unsigned integers", wanted.name, expected))
    return wrap(_bits(key, wanted.bits, new_shape((shape,))))


def float_dtype(dtype: Any) -> DType:
    """Return a float dtype, by default float32; raises `DTypeError` for another."""
    wanted = float32 if dtype is None else as_dtype(dtype)
    if wanted.name not in _MANTISSA:
        raise DTypeError(message("Random real numbers are floats", wanted.name, ", ".join(_MANTISSA)))
    return wanted


def _limit(value: Any, dtype: DType) -> Node:
    return converted(to_node(value), dtype) if isinstance(value, (Tensor, np.ndarray)) else scalar_node(value, dtype)


def _uniform(key: Any, shape: tuple[int, ...], dtype: DType, low: Any, high: Any) -> Node:
    """Random mantissas below the exponent of 1, less 1: multiples of 2**-mantissa in [0, 1)."""
    mantissa = _MANTISSA[dtype.name]
    width = 8 if mantissa < 8 else dtype.bits
    word = _UNSIGNED[dtype.bits]
    random = converted(_bits(key, width, shape), word)
    random = P.shift_right_logical(random, scalar_node(width - mantissa, word))
    one = int(np.array(1, dtype.numpy).view(word.numpy))
    unit = P.bitcast(P.bitwise_or(random, scalar_node(one, word)), dtype=dtype) - scalar_node(1, dtype)
    low, high = _limit(low, dtype), _limit(high, dtype)
    return P.max(low, unit * (high - low) + low)


def uniform(key: Any, shape: _Shape = (), dtype: Any = float32, minval: Any = 0.0, maxval: Any = 1.0) -> Tensor:
    """Draw uniformly from [minval, maxval).

    Args:
        key: a key.
        shape: sizes of the result.
        dtype: a float type.
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
    return wrap(_uniform(key, new_shape((shape,)), float_dtype(dtype), minval, maxval))


def normal(key: Any, shape: _Shape = (), dtype: Any = float32) -> Tensor:
    """Draw from the standard normal distribution, by the inverse of its distribution function.

    Args:
        key: a key.
        shape: sizes of the result.
        dtype: a float type.

    Returns:
        A tensor of `shape`.

    Raises:
        DTypeError: the dtype is no float.

    Example:
        >>> plait.random.normal(plait.random.key(0), (2,))
        tensor([1.6226, 2.0253])
    """
    wanted = float_dtype(dtype)
    low = float(np.nextafter(np.array(-1, wanted.numpy), np.array(0, wanted.numpy)))
    drawn = _uniform(key, new_shape((shape,)), wanted, low, 1.0)
    return wrap(scalar_node(math.sqrt(2), wanted) * P.erfinv(drawn))


def randint(key: Any, shape: _Shape, minval: Any, maxval: Any, dtype: Any = int64) -> Tensor:
    """Draw integers uniformly from [minval, maxval).

    Args:
        key: a key.
        shape: sizes of the result.
        minval: lower end, included.
        maxval: upper end, excluded.
        dtype: an integer type.

    Returns:
        A tensor of `shape`.

    Raises:
        DTypeError: the dtype is no integer type.

    Example:
        >>> plait.random.randint(plait.random.key(0), (3,), 0, 10, plait.int32)
        tensor([9, 0, 2], dtype=plait.int32)
    """
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
    word = _UNSIGNED[dtype.bits]
    one = scalar_node(1, word)
    span = converted(high - low, word)
    span = P.select(P.le(high, low), one, span + one if is_beyond else span)
    keys = split(key)
    upper, lower = (_bits(keys[i], dtype.bits, shape) for i in range(2))
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
        key, words = keys[0], _bits(keys[1], 32, x.shape)
        x = P.sort(words, x, axis=axis, keys=1, descending=False)[1]
    return x


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


def bernoulli(key: Any, p: Any = 0.5, shape: _Shape | None = None) -> Tensor:
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
    return wrap(P.lt(_uniform(key, sizes, node.dtype, 0.0, 1.0), node))


def gumbel(key: Any, shape: _Shape = (), dtype: Any = float32) -> Tensor:
    """Draw from the standard Gumbel distribution."""
    wanted = float_dtype(dtype)
    return wrap(_gumbel(key, new_shape((shape,)), wanted))


def _gumbel(key: Any, shape: tuple[int, ...], dtype: DType) -> Node:
    tiny = {"float64": 2.0**-1022, "float16": 2.0**-14}.get(dtype.name, 2.0**-126)
    return -P.log(-P.log(_uniform(key, shape, dtype, tiny, 1.0)))


def exponential(key: Any, shape: _Shape = (), dtype: Any = float32) -> Tensor:
    """Draw from the exponential distribution of mean 1."""
    wanted = float_dtype(dtype)
    return wrap(-P.log1p(-_uniform(key, new_shape((shape,)), wanted, 0.0, 1.0)))


def categorical(key: Any, logits: Any, axis: int = -1, shape: _Shape | None = None) -> Tensor:
    """Draw class numbers with probabilities softmax(logits), by the Gumbel maximum.

    Args:
        key: a key.
        logits: unnormalized log probabilities.
        axis: the axis of the classes.
        shape: sizes of the result, to which the shape of `logits` without `axis` broadcasts; by default just that.

    Returns:
        An int64 tensor.

    Raises:
        ShapeError: `shape` does not fit.

    Example:
        >>> plait.random.categorical(plait.random.key(0), plait.zeros(3), shape=(4,))
        tensor([1, 1, 2, 1])
    """
    node = single(logits, "categorical")
    axis = axis_index(axis, node.ndim)
    batch = tuple(n for i, n in enumerate(node.shape) if i != axis)
    sizes = batch if shape is None else new_shape((shape,))
    if broadcast_shapes(batch, sizes, name="categorical") != sizes:
        raise ShapeError(message("The logits do not broadcast to the shape", f"{batch} and {sizes}"))
    behind = axis - node.ndim
    position = len(sizes) + 1 + behind
    full = (*sizes[:position], node.shape[axis], *sizes[position:])
    noisy = _gumbel(key, full, node.dtype) + broadcast_to(node, full)
    return wrap(P.argmax(noisy, axis=position, dtype=int64))

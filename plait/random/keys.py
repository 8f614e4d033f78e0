"""Keys and bits: Threefry-2x32, counter-based (Salmon et al., 2011), with the numbers of `jax.random`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from plait.core.dtype import as_dtype, int64, uint8, uint16, uint32, uint64
from plait.core.errors import ArgumentTypeError, DTypeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.tensor.composite import composite
from plait.tensor.operators import single
from plait.tensor.shaping import new_shape
from plait.tensor.tensor import Tensor, converted, node_of, scalar_node, to_node, wrap

UNSIGNED = {8: uint8, 16: uint16, 32: uint32, 64: uint64}
Shape = Sequence[int] | int


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


@composite
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


@composite
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


def bits_node(key: Any, width: int, shape: tuple[int, ...]) -> Node:
    """Return random bits as unsigned integers of `width` bits."""
    first, second = _threefry(key, _counts(shape))
    if width == 64:
        high = P.shift_left(converted(first, uint64), scalar_node(32, uint64))
        return P.bitwise_or(high, converted(second, uint64))
    return converted(P.bitwise_xor(first, second), UNSIGNED[width])


@composite
def bits(key: Any, shape: Shape = (), dtype: Any = uint32) -> Tensor:
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
        expected = ", ".join(d.name for d in UNSIGNED.values())
        raise DTypeError(message("Random bits are unsigned integers", wanted.name, expected))
    return wrap(bits_node(key, wanted.bits, new_shape((shape,))))

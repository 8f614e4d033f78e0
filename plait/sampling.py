"""Random numbers from a generator with a state, as in PyTorch.

The state is a tensor, so that `jit` notices that a function reads and advances it.
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from plait import random
from plait.core.dtype import as_dtype, int64, uint32
from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.core.primitive import P
from plait.tensor.methods import copy_
from plait.tensor.shaping import astype, new_shape
from plait.tensor.tensor import Tensor, make_leaf, node_of, to_node, wrap, write


class Generator:
    """A source of random numbers; its state is a key and the number of draws so far.

    Args:
        seed: an integer; None takes one from the operating system.

    Example:
        >>> generator = plait.Generator(0)
        >>> plait.rand(2, generator=generator)
        tensor([0.8423, 0.1824])
    """

    __slots__ = ("state",)
    state: Tensor

    def __init__(self, seed: int | None = None) -> None:
        self.state = wrap(to_node(_state(secrets.randbits(64) if seed is None else seed)))

    def manual_seed(self, seed: int) -> Generator:
        """Start again from `seed`; returns the generator."""
        if not hasattr(seed, "__index__"):
            raise ArgumentTypeError(message("A seed is an integer", repr(seed), "an integer"))
        return self.set_state(_state(seed))

    def get_state(self) -> Tensor:
        """Return a copy of the state: uint32 [key, key, draws]."""
        return wrap(to_node(np.array(self.state.numpy())))

    def set_state(self, state: Any) -> Generator:
        """Continue from a state that `get_state` returned; returns the generator."""
        write(self.state, to_node(state, uint32))
        return self

    def next_key(self) -> Tensor:
        """Return a new key and advance the state."""
        node = node_of(self.state)
        base = wrap(P.slice(node, starts=(0,), limits=(2,), strides=(1,)))
        count = wrap(P.reshape(P.slice(node, starts=(2,), limits=(3,), strides=(1,)), shape=()))
        result = random.fold_in(base, count)
        self.state += _ADVANCE
        return result


def _state(seed: int) -> np.ndarray[Any, Any]:
    return np.array([seed >> 32 & 0xFFFFFFFF, seed & 0xFFFFFFFF, 0], np.uint32)


_ADVANCE = np.array([0, 0, 1], np.uint32)
default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator; returns it."""
    return default_generator.manual_seed(seed)


def _next(generator: Generator | None) -> Tensor:
    return (generator or default_generator).next_key()


def _drawn(x: Tensor, requires_grad: bool) -> Tensor:
    return make_leaf(x._node, requires_grad) if requires_grad else x


_OPTIONS = """

Args:
    {shape}
    dtype: element type, {dtype} by default.
    requires_grad: whether gradients flow to it.
    generator: the source, by default the one that `plait.manual_seed` seeds.

Returns:
    A new tensor.

Example:
    >>> generator = plait.Generator(0)
    >>> plait.{call}.shape
    (2, 3)
"""


def rand(*shape: Any, dtype: Any = None, requires_grad: bool = False, generator: Generator | None = None) -> Tensor:
    return _drawn(random.uniform(_next(generator), new_shape(shape), random.float_dtype(dtype)), requires_grad)


def randn(*shape: Any, dtype: Any = None, requires_grad: bool = False, generator: Generator | None = None) -> Tensor:
    return _drawn(random.normal(_next(generator), new_shape(shape), random.float_dtype(dtype)), requires_grad)


def randint(
    low: int, high: Any = None, size: Any = None, dtype: Any = None, generator: Generator | None = None
) -> Tensor:
    """Draw integers uniformly from [low, high).

    Args:
        low: lower end, included; 0 if left out.
        high: upper end, excluded.
        size: sizes of the result.
        dtype: element type, int64 by default.
        generator: the source, by default the one that `plait.manual_seed` seeds.

    Returns:
        A new tensor.

    Raises:
        ArgumentError: there is no integer from `low` to below `high`.

    Example:
        >>> plait.randint(0, 10, (2, 3)).shape
        (2, 3)
    """
    if size is None:  # randint(high, size)
        low, high, size = 0, low, high
    if isinstance(low, int) and isinstance(high, int) and low >= high:
        raise ArgumentError(message("randint draws from [low, high)", f"low={low}, high={high}", "low less than high"))
    return random.randint(_next(generator), new_shape((size,)), low, high, int64 if dtype is None else as_dtype(dtype))


def rand_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Draw uniformly from [0, 1), with the shape and dtype of `x`."""
    return rand(x.shape, dtype=dtype or x.dtype)


def randn_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Draw from the standard normal distribution, with the shape and dtype of `x`."""
    return randn(x.shape, dtype=dtype or x.dtype)


def randperm(n: int, generator: Generator | None = None) -> Tensor:
    """Draw a permutation of 0 ... n - 1."""
    return random.permutation(_next(generator), n)


def bernoulli(x: Any, generator: Generator | None = None) -> Tensor:
    """Draw 0 or 1, 1 with the probabilities `x`, a float tensor; the result has its shape and dtype."""
    return astype(random.bernoulli(_next(generator), x), x.dtype)


def multinomial(x: Tensor, num_samples: int, replacement: bool = False, generator: Generator | None = None) -> Tensor:
    """Draw class numbers with probabilities proportional to the last axis of `x`.

    Args:
        x: non-negative weights.
        num_samples: how many numbers for each row.
        replacement: whether a class can be drawn twice in a row.
        generator: the source, by default the one that `plait.manual_seed` seeds.

    Returns:
        An int64 tensor [..., num_samples].

    Example:
        >>> plait.multinomial(plait.tensor([0.0, 1.0]), 3, replacement=True)
        tensor([1, 1, 1])
    """
    key, logits = _next(generator), x.log()
    if replacement:
        drawn = random.categorical(key, logits, -1, (num_samples, *x.shape[:-1]))
        return drawn.movedim(0, -1)
    noisy = logits + random.gumbel(key, x.shape, x.dtype)
    return noisy.topk(num_samples)[1]


def uniform_(x: Tensor, low: float = 0.0, high: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with uniform numbers from [low, high); returns the tensor."""
    return copy_(x, random.uniform(_next(generator), x.shape, x.dtype, low, high))


def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers of the given mean and standard deviation; returns the tensor."""
    return copy_(x, random.normal(_next(generator), x.shape, x.dtype) * std + mean)


def bernoulli_(x: Tensor, p: float = 0.5, generator: Generator | None = None) -> Tensor:
    """Fill with 0 and 1, 1 with probability `p`; returns the tensor."""
    return copy_(x, random.bernoulli(_next(generator), p, x.shape))


def exponential_(x: Tensor, rate: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with exponential numbers of mean 1 / `rate`; returns the tensor."""
    return copy_(x, random.exponential(_next(generator), x.shape, x.dtype) / rate)


_SIZES = "shape: sizes, as one tuple or several integers."
rand.__doc__ = "Draw uniformly from [0, 1)." + _OPTIONS.format(
    shape=_SIZES, dtype="float32", call="rand(2, 3, generator=generator)"
)
randn.__doc__ = "Draw from the standard normal distribution." + _OPTIONS.format(
    shape=_SIZES, dtype="float32", call="randn(2, 3, generator=generator)"
)
for _method in (uniform_, normal_, bernoulli_, exponential_):
    setattr(Tensor, _method.__name__, _method)

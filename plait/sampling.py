"""Random numbers from a generator with a state, as in PyTorch.

The state is a tensor, so that `jit` notices that a function reads and advances it.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from plait import random
from plait.core.dtype import as_dtype, float32, int64, uint32
from plait.core.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, message
from plait.core.primitive import P
from plait.tensor import lazy
from plait.tensor.converting import astype
from plait.tensor.creation import asarray, check_device
from plait.tensor.functions import limits_of
from plait.tensor.methods import attach, copy_
from plait.tensor.shaping import new_shape
from plait.tensor.tensor import Tensor, make_leaf, node_of, to_node, wrap, write


class Generator:
    """A source of random numbers; its state is a key and the number of draws so far.

    Args:
        seed: an integer; None takes one from the operating system. PyTorch's `"cpu"` is accepted and does the same.

    Example:
        >>> generator = plait.Generator(0)
        >>> plait.rand(2, generator=generator)
        tensor([0.8423, 0.1824])
    """

    __slots__ = ("state",)
    state: Tensor

    def __init__(self, seed: int | str | None = None) -> None:
        if isinstance(seed, str):
            check_device(seed)
            seed = None
        self.state = wrap(to_node(_state(_fresh_seed() if seed is None else _checked_seed(seed))))

    def manual_seed(self, seed: int) -> Generator:
        """Start again from `seed`; returns the generator."""
        write(self.state, to_node(_state(_checked_seed(seed))))
        return self

    def seed(self) -> int:
        """Start again from a seed of the operating system; returns that."""
        self.manual_seed(_fresh_seed())
        return self.initial_seed()

    def initial_seed(self) -> int:
        """Return the seed that the generator was last started from."""
        high, low, _ = self.state.tolist()
        return int(high) << 32 | int(low)

    def get_state(self) -> Tensor:
        """Return a copy of the state: uint32 [key, key, draws]."""
        return wrap(to_node(np.array(self.state.numpy())))

    def set_state(self, state: Any) -> Generator:
        """Continue from a state that `get_state` returned; returns the generator."""
        new = asarray(state)
        if new.dtype is not uint32 or new.shape != (3,):
            expected = "a state that get_state() returned: uint32[3]"
            raise ArgumentError(message("This is no state of a generator", new.aval, expected))
        write(self.state, to_node(np.array(new.numpy())))
        return self

    def next_key(self) -> Tensor:
        """Return a new key and advance the state."""
        with lazy.Claim(lazy.turn):  # two threads must not draw the same numbers
            return self._advance()

    def _advance(self) -> Tensor:
        node = node_of(self.state)
        base = wrap(P.slice(node, starts=(0,), limits=(2,), strides=(1,)))
        count = wrap(P.reshape(P.slice(node, starts=(2,), limits=(3,), strides=(1,)), shape=()))
        result = random.fold_in(base, count)
        self.state += _ADVANCE
        return result


def _fresh_seed() -> int:
    return int.from_bytes(os.urandom(8))


def _checked_seed(seed: Any) -> int:
    if not hasattr(seed, "__index__"):
        raise ArgumentTypeError(message("A seed is an integer", repr(seed), "an integer"))
    return int(seed.__index__())


def _state(seed: int) -> np.ndarray[Any, Any]:
    return np.array([seed >> 32 & 0xFFFFFFFF, seed & 0xFFFFFFFF, 0], np.uint32)


_ADVANCE = np.array([0, 0, 1], np.uint32)
default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator, from which the functions of `plait` draw.

    Args:
        seed: an integer, of which the lowest 64 bits count.

    Returns:
        The generator.

    Raises:
        ArgumentTypeError: the seed is no integer.

    Example:
        >>> generator = plait.manual_seed(0)
        >>> plait.rand(2)
        tensor([0.8423, 0.1824])
    """
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the operating system; returns the seed.

    Example:
        >>> plait.seed() == plait.initial_seed()
        True
    """
    return default_generator.seed()


def initial_seed() -> int:
    """Return the seed that the default generator was last started from.

    Example:
        >>> generator = plait.manual_seed(7)
        >>> plait.initial_seed()
        7
    """
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """Return a copy of the state of the default generator: uint32 [key, key, number of draws].

    Example:
        >>> state = plait.get_rng_state()
        >>> first = plait.rand(2)
        >>> plait.set_rng_state(state)
        >>> plait.allclose(plait.rand(2), first)
        True
    """
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Let the default generator continue from a state that `get_rng_state` returned.

    Args:
        new_state: the state.

    Raises:
        ArgumentError: this is no state of a generator.

    Example:
        >>> plait.set_rng_state(plait.get_rng_state())
    """
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(enabled: bool = True) -> Iterator[None]:
    """Restore the state of the default generator at the end of the block.

    Example:
        >>> with plait.fork_rng():
        ...     inside = plait.rand(2)
        >>> plait.equal(inside, plait.rand(2))
        tensor([True, True])
    """
    state = default_generator.get_state()
    try:
        yield
    finally:
        if enabled:
            default_generator.set_state(state)


class _Current(threading.local):
    """The generator that replaces the default one in this thread, e.g. while a data loader makes a sample."""

    generator: Generator | None = None


current = _Current()


def _next(generator: Generator | None) -> Tensor:
    return (generator or current.generator or default_generator).next_key()


def _drawn(x: Tensor, requires_grad: bool) -> Tensor:
    return make_leaf(x._node, requires_grad) if requires_grad else x


_DOCUMENT = """{summary}

Args:
    {first}
    dtype: element type, by default {dtype}.
    device: "cpu".
    requires_grad: whether gradients flow to it.
    generator: the source, by default the one that `plait.manual_seed` seeds.

Returns:
    A new tensor.

Raises:
    DTypeError: the dtype is not one that can be drawn.

Example:
    >>> generator = plait.Generator(0)
    >>> plait.{call}.shape
    (2, 3)
"""
_SIZES = "size: sizes, as one tuple or several integers."
_LIKE = "input: a tensor, whose shape the result has."


def _documented(summary: str, first: str, dtype: str, call: str) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        function.__doc__ = _DOCUMENT.format(summary=summary, first=first, dtype=dtype, call=call)
        return function

    return decorate


@_documented("Draw uniformly from [0, 1).", _SIZES, "float32", "rand(2, 3, generator=generator)")
def rand(
    *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, generator: Generator | None = None
) -> Tensor:
    check_device(device)
    return _drawn(random.uniform(_next(generator), new_shape(size), dtype or float32), requires_grad)


@_documented("Draw from the standard normal distribution.", _SIZES, "float32", "randn(2, 3, generator=generator)")
def randn(
    *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, generator: Generator | None = None
) -> Tensor:
    check_device(device)
    return _drawn(random.normal(_next(generator), new_shape(size), dtype or float32), requires_grad)


@_documented("Draw uniformly from [0, 1).", _LIKE, "that of `input`", "rand_like(plait.zeros(2, 3))")
def rand_like(input: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return rand(input.shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


@_documented("Draw from the standard normal distribution.", _LIKE, "that of `input`", "randn_like(plait.zeros(2, 3))")
def randn_like(input: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return randn(input.shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


def randint(
    low: int, high: Any = None, size: Any = None, dtype: Any = None, device: Any = None,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Draw integers uniformly from [low, high).

    Args:
        low: lower end, included; 0 if left out.
        high: upper end, excluded.
        size: sizes of the result.
        dtype: element type, int64 by default; a float type holds whole numbers.
        device: "cpu".
        generator: the source, by default the one that `plait.manual_seed` seeds.

    Returns:
        A new tensor.

    Raises:
        ArgumentError: there is no integer from `low` to below `high`.

    Example:
        >>> plait.randint(0, 10, (2, 3)).shape
        (2, 3)
    """
    check_device(device)
    if size is None or not hasattr(high, "__index__"):  # randint(high, size)
        low, high, size = 0, low, high if size is None else size
    if isinstance(low, int) and isinstance(high, int) and low >= high:
        raise ArgumentError(message("randint draws from [low, high)", f"low={low}, high={high}", "low less than high"))
    wanted = int64 if dtype is None else as_dtype(dtype)
    drawn = wanted if wanted.is_integer and wanted is not int64 else None
    return random.randint(_next(generator), new_shape((size,)), low, high, drawn).to(wanted)


def randint_like(input: Tensor, low: int, high: Any = None, dtype: Any = None, device: Any = None) -> Tensor:
    """Draw integers uniformly from [low, high), with the shape and dtype of `input`.

    Example:
        >>> plait.randint_like(plait.zeros(2), 5, 6)
        tensor([5., 5.])
    """
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, input.shape, dtype or input.dtype, device)


def randperm(n: int, dtype: Any = None, device: Any = None, generator: Generator | None = None) -> Tensor:
    """Draw a permutation of 0 ... n - 1.

    Args:
        n: how many.
        dtype: element type, int64 by default.
        device: "cpu".
        generator: the source.

    Raises:
        ArgumentError: `n` is negative.

    Example:
        >>> plait.sort(plait.randperm(4))
        tensor([0, 1, 2, 3])
    """
    check_device(device)
    if n < 0:
        raise ArgumentError(message("randperm: a number of elements is not negative", n, "0 or more"))
    words = [random.bits(key, (n,), uint32)._node for key in random.split(_next(generator))]
    return wrap(P.shuffle(*words)).to(int64 if dtype is None else dtype)


def normal(
    mean: Any, std: Any = 1.0, size: Any = None, dtype: Any = None, device: Any = None,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Draw normal numbers of given means and standard deviations.

    Args:
        mean: a number or a tensor.
        std: a number or a tensor, not negative.
        size: sizes of the result; by default the common shape of `mean` and `std`.
        dtype: element type, by default theirs.
        device: "cpu".
        generator: the source.

    Returns:
        A new tensor; gradients flow to `mean` and `std`.

    Raises:
        ArgumentError: `std` is a negative number.

    Example:
        >>> plait.normal(plait.zeros(2), 0.0)
        tensor([0., 0.])
    """
    check_device(device)
    if isinstance(std, (int, float)) and std < 0:
        raise ArgumentError(message("normal: a standard deviation is not negative", std, "0 or more"))
    given = [v for v in (mean, std) if isinstance(v, Tensor)]
    kind = dtype or next((v.dtype for v in given), None)
    shape = new_shape((size,)) if size is not None else np.broadcast_shapes(*[v.shape for v in given])
    return random.normal(_next(generator), shape, kind or float32) * std + mean


def bernoulli(input: Any, p: Any = None, generator: Generator | None = None) -> Tensor:
    """Draw 0 or 1, 1 with the probabilities `input` (or `p`); the result has the shape and dtype of `input`.

    Example:
        >>> plait.bernoulli(plait.tensor([0.0, 1.0]))
        tensor([0., 1.])
    """
    x = asarray(input)
    return astype(random.bernoulli(_next(generator), x if p is None else p, x.shape), x.dtype)


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Draw Poisson counts of the given means; the result has their dtype.

    Example:
        >>> plait.poisson(plait.tensor([0.0, 0.0]))
        tensor([0., 0.])
    """
    return random.poisson(_next(generator), input.detach(), None, input.dtype)


def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """Draw how many of `count` trials succeed, each with probability `prob`; the result has the dtype of `count`.

    Example:
        >>> plait.binomial(plait.tensor([3.0, 4.0]), plait.tensor([0.0, 1.0]))
        tensor([0., 4.])
    """
    return random.binomial(_next(generator), count, prob, None, count.dtype)


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, generator: Generator | None = None
) -> Tensor:
    """Draw class numbers with probabilities proportional to the last axis of `input`.

    Args:
        input: non-negative weights, [n] or [m, n].
        num_samples: how many numbers for each row.
        replacement: whether a class can be drawn twice in a row.
        generator: the source, by default the one that `plait.manual_seed` seeds.

    Returns:
        An int64 tensor [..., num_samples].

    Raises:
        DTypeError: the weights are no floats.
        ShapeError: the weights have no axis.
        ArgumentError: more numbers are drawn without replacement than there are classes.

    Example:
        >>> plait.multinomial(plait.tensor([0.0, 1.0]), 3, replacement=True)
        tensor([1, 1, 1])
    """
    if not input.dtype.is_floating:
        raise DTypeError(message("The weights of multinomial are floats", input.dtype.name, "a float dtype"))
    if not input.ndim:
        raise ShapeError(message("multinomial: the weights have no axis", input.aval, "[n] or [m, n]"))
    if not replacement and num_samples > input.shape[-1]:
        received = f"num_samples={num_samples}, {input.shape[-1]} classes"
        raise ArgumentError(message("multinomial cannot draw so many", received, None, "pass replacement=True"))
    key, logits = _next(generator), input.log()
    if replacement:
        drawn = random.categorical(key, logits, -1, (num_samples, *input.shape[:-1]))
        return drawn.movedim(0, -1)
    noisy = logits + random.gumbel(key, input.shape, input.dtype)
    return noisy.topk(num_samples)[1]


# in place


def _fills(summary: str, call: str) -> Callable[[Any], Any]:
    """Make a method that fills a tensor with what the function draws for a key."""

    def decorate(draw: Callable[..., Tensor]) -> Any:
        def method(self: Tensor, *args: Any, generator: Generator | None = None, **kwargs: Any) -> Tensor:
            return copy_(self, draw(_next(generator), self, *args, **kwargs))

        method.__name__ = method.__qualname__ = draw.__name__
        drawn_by = list(inspect.signature(draw).parameters.values())[1:]
        source = inspect.Parameter("generator", inspect.Parameter.KEYWORD_ONLY, default=None)
        method.__signature__ = inspect.Signature([*drawn_by, source])  # type: ignore[attr-defined]
        method.__doc__ = f"{summary}; returns the tensor.\n\nExample:\n    >>> plait.zeros(2).{call}.shape\n    (2,)\n"
        return method

    return decorate


@_fills("Fill with uniform numbers from [low, high)", "uniform_(-1, 1)")
def uniform_(key: Tensor, x: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    return random.uniform(key, x.shape, x.dtype, low, high)


@_fills("Fill with normal numbers of the given mean and standard deviation", "normal_(0.0, 2.0)")
def normal_(key: Tensor, x: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return random.normal(key, x.shape, x.dtype) * std + mean


@_fills("Fill with 0 and 1, 1 with probability `p`, a number or a tensor", "bernoulli_(0.5)")
def bernoulli_(key: Tensor, x: Tensor, p: Any = 0.5) -> Tensor:
    return random.bernoulli(key, p, x.shape)


@_fills("Fill with exponential numbers of mean 1 / `lambd`", "exponential_(2.0)")
def exponential_(key: Tensor, x: Tensor, lambd: float = 1.0) -> Tensor:
    return random.exponential(key, x.shape, x.dtype) / lambd


@_fills("Fill with numbers of a Cauchy distribution", "cauchy_(0.0, 1.0)")
def cauchy_(key: Tensor, x: Tensor, median: float = 0.0, sigma: float = 1.0) -> Tensor:
    return random.cauchy(key, x.shape, x.dtype) * sigma + median


@_fills("Fill with numbers whose logarithm has the given mean and standard deviation", "log_normal_(0.0, 1.0)")
def log_normal_(key: Tensor, x: Tensor, mean: float = 1.0, std: float = 2.0) -> Tensor:
    return (random.normal(key, x.shape, x.dtype) * std + mean).exp()


@_fills("Fill with the number of trials until the first success of probability `p`", "geometric_(0.5)")
def geometric_(key: Tensor, x: Tensor, p: float) -> Tensor:
    return random.geometric(key, p, x.shape)


@_fills("Fill with integers from [low, high), by default all that the dtype holds exactly from 0 on", "random_(0, 5)")
def random_(key: Tensor, x: Tensor, low: int = 0, high: int | None = None) -> Tensor:
    if high is None and low:
        low, high = 0, low
    if high is None:
        bits = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53, "bool": 1}
        high = 2 ** bits[x.dtype.name] if x.dtype.name in bits else limits_of(x.dtype)[1] + 1
    return random.randint(key, x.shape, low, high, int64 if x.dtype.kind != "u" or x.dtype.bits < 64 else x.dtype)


_FILLS = (uniform_, normal_, bernoulli_, exponential_, cauchy_, log_normal_, geometric_, random_)
attach([*_FILLS, multinomial, bernoulli])

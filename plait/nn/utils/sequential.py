"""Chains of layers whose intermediate values are computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.tensor.transforms import checkpoint


def checkpoint_sequential(
    functions: Iterable[Callable[..., Any]], segments: int, input: Any, use_reentrant: bool | None = None,
    preserve_rng_state: bool = True, policy: Any = None, budget: int | None = None,
) -> Any:  # fmt: skip
    """Apply functions one after the other, in segments of which only the arguments are kept for the backward pass.

    The last segment is not computed again, as in PyTorch: its values are needed at once.

    Args:
        functions: a `Sequential`, or functions of one argument.
        segments: how many; about the square root of the number of functions keeps least (Chen et al., 2016).
        input: the argument of the first function.
        use_reentrant: accepted for PyTorch's sake, and of no effect, like `preserve_rng_state`.
        preserve_rng_state: random numbers are the same the second time in any case.
        policy: what is kept besides in each segment; see `plait.checkpoint`, like `budget`.
        budget: bytes that may be kept in each segment.

    Returns:
        What the last function returns.

    Raises:
        ArgumentError: there are fewer functions than segments, or no segments.
        ArgumentTypeError: `functions` cannot be iterated over.

    Example:
        >>> model = plait.nn.Sequential(*[plait.nn.Linear(4, 4) for _ in range(4)])
        >>> x = plait.ones(2, 4)
        >>> plait.allclose(plait.nn.utils.checkpoint_sequential(model, 2, x), model(x))
        True
    """
    if not isinstance(functions, Iterable):
        text = "checkpoint_sequential takes layers one after the other"
        raise ArgumentTypeError(message(text, type(functions).__name__, "a Sequential, or a list of functions"))
    chain = list(functions)
    if type(segments) is not int or not 1 <= segments <= max(1, len(chain)):
        expected = f"1 to {max(1, len(chain))}, the number of functions"
        raise ArgumentError(message("segments is how many parts the functions make", repr(segments), expected))
    size = len(chain) // segments
    for start in range(0, size * (segments - 1), size):
        input = checkpoint(_composed(chain[start : start + size]), input, policy=policy, budget=budget)
    return _composed(chain[size * (segments - 1) :])(input)


def _composed(functions: list[Callable[..., Any]]) -> Callable[[Any], Any]:
    def segment(x: Any) -> Any:
        for function in functions:
            x = function(x)
        return x

    return segment

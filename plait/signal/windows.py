"""Window functions: those of `torch.signal.windows`, and PyTorch's older ones of the top level.

A window is made from its shape: a function of the points 0, 1, … and the number of steps from the first to the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from math import ceil, pi, sqrt
from typing import Any

from plait.core.dtype import as_dtype, float32, int64
from plait.core.errors import ArgumentError, ArgumentTypeError, DTypeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.tensor.operators import scalar_node
from plait.tensor.tensor import Tensor, converted, make_leaf, wrap

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming",
    "hann", "kaiser", "nuttall",
]  # fmt: skip

Shape = Callable[[Node, float], Node]
_DOCUMENT = """{summary}

Args:
    {count}: the number of points.
{periodic}{more}    dtype: a real floating-point dtype, float32 by default.
    layout: accepted for PyTorch's sake.
    device: accepted for PyTorch's sake.
    requires_grad: whether the result is a leaf that requires gradients.

Returns:
    A tensor [{count}]; of one point, it is 1.

Raises:
    ArgumentError: a negative number of points{raises}.
    ArgumentTypeError: the number of points is no integer.
    DTypeError: the dtype is not a real float.

Source: {source}.

Example:
    >>> plait.{example}
"""
_HARRIS = "Harris, On the use of windows for harmonic analysis with the discrete Fourier transform, 1978"
_SYM = (
    "    sym: whether the window is symmetric; if not, it is one period of a periodic one: one point longer, and cut.\n"
)
_PERIODIC = (
    "    periodic: whether the window is one period of a periodic one (one point longer, and cut), or symmetric.\n"
)


def _window(name: str, count: Any, sym: bool, dtype: Any, requires_grad: bool, shape: Shape) -> Tensor:
    if not hasattr(count, "__index__"):
        raise ArgumentTypeError(message(f"{name} takes the number of its points", repr(count), "an integer"))
    size, kind = count.__index__(), float32 if dtype is None else as_dtype(dtype)
    if size < 0:
        raise ArgumentError(message(f"{name} takes the number of its points", size, "at least 0"))
    if not kind.is_floating:
        raise DTypeError(message(f"{name} returns real floats", kind.name, "a real floating-point dtype"))
    points = converted(P.iota(dtype=int64, shape=(size,), axis=0), kind.compute)
    values = shape(points, size - 1 if sym else size) if size > 1 else points + 1.0
    return make_leaf(converted(values, kind), requires_grad) if requires_grad else wrap(converted(values, kind))


def _windows(
    result: str, source: str = _HARRIS, more: str = "", raises: str = "", older: bool = False
) -> Callable[[Callable[..., Shape]], Any]:
    """Make a window of the documented function that returns its shape for the arguments that are its own.

    With `older`, one of PyTorch's top level, which is periodic by default.
    """

    def decorate(shape: Callable[..., Shape]) -> Any:
        name = shape.__name__

        @wraps(shape)
        def window(
            M: Any, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,  # noqa: N803
            requires_grad: bool = False, **parameters: Any,
        ) -> Tensor:  # fmt: skip
            return _window(name, M, sym, dtype, requires_grad, shape(**parameters))

        @wraps(shape)
        def older_window(
            window_length: Any, periodic: bool = True, *values: Any, dtype: Any = None, layout: Any = None,
            device: Any = None, requires_grad: bool = False, **parameters: Any,
        ) -> Tensor:  # fmt: skip
            return _window(name, window_length, not periodic, dtype, requires_grad, shape(*values, **parameters))

        function = older_window if older else window
        count, flag = ("window_length", _PERIODIC) if older else ("M", _SYM)
        example = f"{name}(5, periodic=False)" if older else f"signal.windows.{name}(5)"
        function.__doc__ = _DOCUMENT.format(
            summary=shape.__doc__, count=count, periodic=flag, more=more, raises=raises, source=source,
            example=f"{example}\n    tensor({result})",
        )  # fmt: skip
        return function

    return decorate


def _cosines(coefficients: Sequence[float]) -> Shape:
    def shape(points: Node, steps: float) -> Node:
        total = points * 0.0 + coefficients[0]
        for k, factor in enumerate(coefficients[1:], 1):
            total = total + P.cos(points * (2 * pi * k / steps)) * ((-1) ** k * factor)
        return total

    return shape


def _positive(name: str, value: float, what: str) -> float:
    if not value > 0:
        raise ArgumentError(message(f"{name} needs a positive {what}", value, "a number above 0"))
    return value


@_windows("[0.0000, 0.5000, 1.0000, 0.5000, 0.0000]")
def bartlett() -> Shape:
    """Return a triangle, 0 at both ends."""
    return lambda points, steps: 1.0 - P.abs(points * (2.0 / steps) - 1.0)


@_windows("[0.3090, 0.8090, 1.0000, 0.8090, 0.3090]")
def cosine() -> Shape:
    """Return half a period of the sine."""
    return lambda points, steps: P.sin((points + 0.5) * (pi / (steps + 1)))


@_windows(
    "[0.1353, 0.3679, 1.0000, 0.3679, 0.1353]",
    more="    center: the place of the peak; by default the middle.\n    tau: how fast it decays.\n",
    raises=", or `tau` is not positive",
)  # fmt: skip
def exponential(*, center: float | None = None, tau: float = 1.0) -> Shape:
    """Return exp(-|n - center| / tau) for the points n."""
    rate = -1 / _positive("exponential", tau, "tau")
    return lambda points, steps: P.exp(P.abs(points - (steps / 2 if center is None else center)) * rate)


@_windows(
    "[0.1353, 0.6065, 1.0000, 0.6065, 0.1353]",
    more="    std: its standard deviation, in points.\n", raises=", or `std` is not positive",
)  # fmt: skip
def gaussian(*, std: float = 1.0) -> Shape:
    """Return a bell curve around the middle."""
    scale = 1 / (_positive("gaussian", std, "standard deviation") * sqrt(2))

    def shape(points: Node, steps: float) -> Node:
        distance = (points - steps / 2) * scale
        return P.exp(-(distance * distance))

    return shape


def _kaiser(name: str, beta: float) -> Shape:
    """I0(beta * sqrt(1 - r^2)) / I0(beta), I0(x) being the mean of exp(x cos t) over a half circle.

    The midpoint rule for that mean is exact to the last digit with few nodes; the exponents are less by beta, so that
    the quotient does not overflow.
    """
    if not beta >= 0:
        raise ArgumentError(message(f"{name} needs a beta that is not negative", beta, "at least 0"))
    count = 16 + ceil(5 * sqrt(beta))

    def shape(points: Node, steps: float) -> Node:
        ratio = points * (2.0 / steps) - 1.0
        inside = 1.0 - ratio * ratio
        width = P.sqrt(P.max(inside, scalar_node(0, inside.dtype))) * beta
        nodes = converted(P.iota(dtype=int64, shape=(count,), axis=0), points.dtype)
        cosines = P.cos((nodes + 0.5) * (pi / count))
        total = P.reduce_sum(P.exp(P.reshape(width, shape=(*width.shape, 1)) * cosines - beta), axes=(1,))
        return total / P.reduce_sum(P.exp(cosines * beta - beta), axes=(0,))

    return shape


_KAISER = "Kaiser and Schafer, On the use of the I0-sinh window for spectrum analysis, 1980"
_BETA = "    beta: its narrowness, at least 0.\n"


@_windows("[5.2773e-05, 2.1567e-01, 1.0000e+00, 2.1567e-01, 5.2773e-05]", _KAISER, _BETA, ", or `beta` is negative")
def kaiser(*, beta: float = 12.0) -> Shape:
    """Return the Kaiser window."""
    return _kaiser("kaiser", beta)


@_windows(
    "[0.0000, 0.5000, 1.0000, 0.5000, 0.0000]",
    more="    a: the weights of the cosines of 0, 1, 2, … periods.\n", raises=", or no weights",
)  # fmt: skip
def general_cosine(*, a: Sequence[float] = (0.5, 0.5)) -> Shape:
    """Return a sum of cosines with alternating signs."""
    if not isinstance(a, (list, tuple)) or not a:
        raise ArgumentError(message("general_cosine takes the weights of cosines", repr(a), "a list of numbers"))
    return _cosines(a)


@_windows("[0.0800, 0.5400, 1.0000, 0.5400, 0.0800]", more="    alpha: the constant part.\n")
def general_hamming(*, alpha: float = 0.54) -> Shape:
    """Return alpha - (1 - alpha) * cos."""
    return _cosines((alpha, 1 - alpha))


_HANN = "[0.0000, 0.5000, 1.0000, 0.5000, 0.0000]"
_HAMMING = "[0.0800, 0.5400, 1.0000, 0.5400, 0.0800]"
_BLACKMAN = "[-1.4901e-08,  3.4000e-01,  1.0000e+00,  3.4000e-01, -1.4901e-08]"
_BLACKMANS = (0.42, 0.5, 0.08)
_NUTTALLS = (0.3635819, 0.4891775, 0.1365995, 0.0106411)


@_windows(_HANN)
def hann() -> Shape:
    """Return the Hann window: a period of the cosine, from 0 to 1 and back."""
    return _cosines((0.5, 0.5))


@_windows(_HAMMING)
def hamming() -> Shape:
    """Return the Hamming window: a cosine whose first side lobe vanishes."""
    return _cosines((0.54, 0.46))


@_windows(_BLACKMAN)
def blackman() -> Shape:
    """Return the Blackman window, of three cosines."""
    return _cosines(_BLACKMANS)


@_windows("[0.0004, 0.2270, 1.0000, 0.2270, 0.0004]", "Nuttall, Some windows with very good sidelobe behavior, 1981")
def nuttall() -> Shape:
    """Return the Nuttall window, of four cosines."""
    return _cosines(_NUTTALLS)


# PyTorch's older functions


@_windows(_HANN, older=True)
def hann_window() -> Shape:
    """Return the Hann window."""
    return _cosines((0.5, 0.5))


@_windows(_HAMMING, more="    alpha: the constant part.\n    beta: the factor of the cosine.\n", older=True)
def hamming_window(alpha: float = 0.54, beta: float = 0.46) -> Shape:
    """Return alpha - beta * cos, by default the Hamming window."""
    return _cosines((alpha, beta))


@_windows(_BLACKMAN, older=True)
def blackman_window() -> Shape:
    """Return the Blackman window."""
    return _cosines(_BLACKMANS)


@_windows("[0.0000, 0.5000, 1.0000, 0.5000, 0.0000]", older=True)
def bartlett_window() -> Shape:
    """Return the Bartlett window, a triangle."""
    return lambda points, steps: 1.0 - P.abs(points * (2.0 / steps) - 1.0)


@_windows(
    "[5.2773e-05, 2.1567e-01, 1.0000e+00, 2.1567e-01, 5.2773e-05]", _KAISER, _BETA,
    ", or `beta` is negative", older=True,
)  # fmt: skip
def kaiser_window(beta: float = 12.0) -> Shape:
    """Return the Kaiser window."""
    return _kaiser("kaiser_window", beta)

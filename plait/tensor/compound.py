"""Functions of several operands, of exponents and of divisors."""

from __future__ import annotations

from typing import Any

from plait.core.dtype import complex128, float32, float64, int32
from plait.core.errors import DTypeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.ir.arithmetic import FORMATS
from plait.prims.rules import broadcast_shapes, broadcast_to
from plait.tensor.composite import composite
from plait.tensor.families import both_names, pairwise
from plait.tensor.operators import binary, power, promoted, scalar_node, single, to_float, to_integer
from plait.tensor.results import MantissaExponent
from plait.tensor.tensor import Tensor, converted, wrap

__all__ = [
    "addcdiv", "addcmul", "float_power", "frexp", "gcd", "lcm", "ldexp", "lerp",
]  # fmt: skip


@both_names
@composite
def lerp(x: Any, end: Any, weight: Any) -> Tensor:
    """Interpolate linearly: `x + weight * (end - x)`, exactly `end` at weight 1.

    Args:
        x: values at weight 0.
        end: values at weight 1.
        weight: a tensor or a number.

    Returns:
        A tensor of the broadcast shape, in floating point.

    Example:
        >>> plait.lerp(plait.tensor([0.0, 10.0]), plait.tensor([10.0, 20.0]), 0.25)
        tensor([ 2.5000, 12.5000])
    """
    a, b, w = promoted((x, end, weight), "lerp", to_float)
    size = P.abs(w)
    is_near, rest = P.lt(size, scalar_node(0.5, size.dtype)), scalar_node(1, w.dtype) - w
    return wrap(P.select(is_near, a, b) + P.select(is_near, w, -rest) * (b - a))


def _added(name: str, x: Any, first: Any, second: Any, value: Any, prim: Any) -> Tensor:
    a, b, c = promoted((x, first, second), name)
    term = prim(b, c)
    return wrap(a + (term if value == 1 else term * scalar_node(value, term.dtype)))


@both_names
@composite
def addcmul(x: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """Return x + value * tensor1 * tensor2.

    Args:
        x: a tensor.
        tensor1: first factor.
        tensor2: second factor.
        value: a number that scales the product.

    Returns:
        A tensor of the broadcast shape and promoted dtype.

    Example:
        >>> plait.addcmul(plait.tensor([1.0, 2.0]), plait.tensor([3.0, 4.0]), plait.tensor(2.0), value=0.5)
        tensor([4., 6.])
    """
    return _added("addcmul", x, tensor1, tensor2, value, P.mul)


@both_names
@composite
def addcdiv(x: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """Return x + value * tensor1 / tensor2.

    Args:
        x: a tensor, of floats or complex numbers.
        tensor1: dividend.
        tensor2: divisor.
        value: a number that scales the quotient.

    Returns:
        A tensor of the broadcast shape and promoted dtype.

    Raises:
        DTypeError: all operands are integers.

    Example:
        >>> plait.addcdiv(plait.tensor([1.0, 2.0]), plait.tensor([3.0, 4.0]), plait.tensor(2.0))
        tensor([2.5000, 4.0000])
    """

    def divide(a: Node, b: Node) -> Node:
        if not a.dtype.is_inexact:
            text, fix = "addcdiv does not divide integers", "convert with .to(plait.float32)"
            raise DTypeError(message(text, a.dtype.name, "floats or complex numbers", fix))
        return a / b

    return _added("addcdiv", x, tensor1, tensor2, value, divide)


@both_names
def float_power(x: Any, y: Any) -> Tensor:
    """Return x to the power y, computed in float64, or complex128 if an operand is complex.

    Args:
        x: a tensor or a number.
        y: the exponent, a tensor or a number.

    Returns:
        A float64 or complex128 tensor of the broadcast shape.

    Example:
        >>> plait.float_power(plait.tensor([1, 2, 3]), 2)
        tensor([1., 4., 9.], dtype=plait.float64)
    """
    base, exponent = (_widest(operand) for operand in (x, y))
    return power(base, exponent)


def _widest(x: Any) -> Any:
    if not isinstance(x, Tensor):
        return complex(x) if isinstance(x, complex) else x
    node = single(x, "float_power")
    return wrap(converted(node, complex128 if node.dtype.is_complex else float64))


def _power_of_two(k: Node) -> tuple[Node, Node]:
    """2^k in two factors, so that neither overflows before the product does."""
    half = P.floor(k * scalar_node(0.5, k.dtype))
    return P.exp2(half), P.exp2(k - half)


def _ldexp(a: Node, b: Node) -> Node:
    if a.dtype.is_complex:
        return a * P.exp2(b)
    first, second = _power_of_two(b)
    return a * first * second


ldexp = pairwise("ldexp", binary("ldexp", _ldexp, to_float), "Return x * 2^y.", "[1.0, 3.0] ; 4", "[16., 48.]")


def _exponent(x: Node) -> Node:
    """The exponent of `frexp`, from the bits of a float32 or float64."""
    form = FORMATS[x.dtype]
    is_small = P.lt(P.abs(x), scalar_node(form.smallest, x.dtype))
    normal = P.select(is_small, x * scalar_node(2.0**form.mantissa, x.dtype), x)
    bits = P.shift_right_logical(P.bitcast(P.abs(normal), dtype=form.integer), form.mantissa) - (form.bias - 1)
    exponent = P.convert(P.select(is_small, bits - form.mantissa, bits), dtype=int32)
    has_none = P.bitwise_or(P.eq(x, scalar_node(0, x.dtype)), P.bitwise_not(P.is_finite(x)))
    return P.select(has_none, scalar_node(0, int32), exponent)


@both_names
def frexp(x: Any) -> MantissaExponent:
    """Split x = mantissa * 2^exponent with 0.5 <= |mantissa| < 1; 0, infinities and NaN have the exponent 0.

    Args:
        x: a tensor of floats.

    Returns:
        A named tuple of the `mantissa`, of the dtype of `x`, and the `exponent`, int32.

    Raises:
        DTypeError: `x` does not hold floats.

    Example:
        >>> plait.frexp(plait.tensor([1.0, 10.0]))
        MantissaExponent(mantissa=tensor([0.5000, 0.6250]), exponent=tensor([1, 4], dtype=plait.int32))
    """
    node = single(x, "frexp")
    if not node.dtype.is_floating:
        raise DTypeError(message("frexp takes floats", node.dtype.name, "a float dtype", "convert with .to(...)"))
    wide = converted(node, float64 if node.dtype is float64 else float32)
    exponent = _exponent(wide)
    first, second = _power_of_two(-P.convert(exponent, dtype=wide.dtype))
    return MantissaExponent(wrap(converted(wide * first * second, node.dtype)), wrap(exponent))


def _gcd(a: Node, b: Node) -> Node:
    shape = broadcast_shapes(a.shape, b.shape, name="gcd")
    return P.gcd(broadcast_to(a, shape), broadcast_to(b, shape))


def _lcm(a: Node, b: Node) -> Node:
    divisor = _gcd(a, b)
    safe = P.select(P.eq(divisor, 0), scalar_node(1, a.dtype), divisor)
    return P.abs(a / safe * b)


gcd = pairwise(
    "gcd", binary("gcd", _gcd, to_integer), "Return the greatest common divisor of integers (Euclid's algorithm).",
    "[12, 7] ; 8", "[4, 1]",
)  # fmt: skip
lcm = pairwise(
    "lcm", binary("lcm", _lcm, to_integer), "Return the least common multiple of integers.", "[12, 7] ; 8", "[24, 56]",
)  # fmt: skip

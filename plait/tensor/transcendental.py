"""The error function, the gamma family and their relatives that are functions of PyTorch's main namespace."""

from __future__ import annotations

from math import log, pi
from typing import Any

from plait.core.errors import ArgumentError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.rules import broadcast_shapes, broadcast_to
from plait.tensor.families import both_names, pairwise, unary
from plait.tensor.operators import binary, scalar_node, single, to_float
from plait.tensor.tensor import Tensor, converted, wrap

__all__ = [
    "digamma", "erf", "erfc", "erfinv", "i0", "igamma", "igammac", "lgamma", "logit", "mvlgamma", "polygamma",
    "sinc", "xlogy",
]  # fmt: skip

erf = unary("erf", "erf", to_float, "Return the error function.", "[0.0, 1.0]", "[0.0000, 0.8427]")
erfc = unary(
    "erfc", "erfc", to_float, "Return the complementary error function.", "[0.0, 1.0]", "[1.0000, 0.1573]",
)  # fmt: skip
erfinv = unary(
    "erfinv", "erfinv", to_float, "Return the inverse error function.", "[0.0, 0.5]", "[0.0000, 0.4769]",
)  # fmt: skip
lgamma = unary("lgamma", "lgamma", to_float, "Return log |gamma(x)|.", "[1.0, 4.0]", "[0.0000, 1.7918]")
digamma = unary(
    "digamma", "digamma", to_float, "Return the derivative of log gamma(x).", "[1.0, 2.0]", "[-0.5772,  0.4228]",
)  # fmt: skip
i0 = unary(
    "i0", "modified_bessel_i0", to_float, "Return the modified Bessel function of the first kind of order 0.",
    "[0.0, 1.0]", "[1.0000, 1.2661]",
)  # fmt: skip


def _sinc(x: Node) -> Node:
    if not x.dtype.is_complex:
        return P.sinc(x)
    is_zero = P.eq(x, 0)
    angle = P.select(is_zero, scalar_node(1, x.dtype), x * scalar_node(pi, x.dtype))
    return P.select(is_zero, scalar_node(1, x.dtype), P.sin(angle) / angle)


sinc = unary("sinc", _sinc, to_float, "Return sin(pi x) / (pi x), and 1 at 0.", "[0.0, 0.5]", "[1.0000, 0.6366]")
xlogy = pairwise(
    "xlogy", binary("xlogy", "xlogy", to_float), "Return x log(y), and 0 where x is 0 unless y is NaN.",
    "[0.0, 2.0] ; 3.0", "[0.0000, 2.1972]",
)  # fmt: skip


def elementwise_of(prim: str) -> Any:
    """Return the function of two nodes that broadcasts them before `prim`, which takes equal shapes."""

    def apply(a: Node, b: Node) -> Node:
        shape = broadcast_shapes(a.shape, b.shape, name=prim)
        return getattr(P, prim)(broadcast_to(a, shape), broadcast_to(b, shape))

    return apply


igamma = pairwise(
    "igamma", binary("igamma", elementwise_of("gammainc"), to_float),
    "Return the regularized lower incomplete gamma function of order x at y (Temme 1979; NIST chapter 8).",
    "[1.0, 2.0] ; 1.5", "[0.7769, 0.4422]",
)  # fmt: skip
igammac = pairwise(
    "igammac", binary("igammac", elementwise_of("gammaincc"), to_float),
    "Return the regularized upper incomplete gamma function of order x at y (Temme 1979; NIST chapter 8).",
    "[1.0, 2.0] ; 1.5", "[0.2231, 0.5578]",
)  # fmt: skip


@both_names
def logit(x: Any, eps: float | None = None) -> Tensor:
    """Return log(x / (1 - x)).

    Args:
        x: a tensor; NaN outside [0, 1], unless `eps` is given.
        eps: where given, `x` is limited to the range from eps to 1 - eps.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> plait.logit(plait.tensor([0.5, 0.9]))
        tensor([0.0000, 2.1972])
    """
    node = single(x, "logit")
    node = converted(node, to_float(node.dtype))
    one = scalar_node(1, node.dtype)
    if eps is not None:
        node = P.clamp(node, scalar_node(eps, node.dtype), scalar_node(1 - eps, node.dtype))
    return wrap(P.log(node / (one - node)))


def polygamma(n: int, x: Any) -> Tensor:
    """Return the derivative of order `n` of `digamma`.

    Args:
        n: order, from 0 to 100.
        x: a tensor.

    Returns:
        A tensor of the shape of `x`; integers are converted to float32.

    Raises:
        ArgumentError: `n` is out of range.

    Example:
        >>> plait.polygamma(1, plait.tensor([1.0, 2.0]))
        tensor([1.6449, 0.6449])
    """
    if isinstance(n, Tensor):  # as a method, x.polygamma(n)
        n, x = x, n
    if n == 0:
        return digamma(x)
    node = single(x, "polygamma")
    return wrap(P.polygamma(converted(node, to_float(node.dtype)), order=n))


@both_names
def mvlgamma(x: Any, p: int) -> Tensor:
    """Return the logarithm of the multivariate gamma function of dimension `p`.

    Args:
        x: a tensor of numbers greater than (p - 1) / 2.
        p: dimension, at least 1.

    Returns:
        A tensor of the shape of `x`: the sum of lgamma(x - j / 2) for j below p, and p (p - 1) / 4 log(pi).

    Raises:
        ArgumentError: `p` is less than 1.

    Example:
        >>> plait.mvlgamma(plait.tensor([2.0, 3.0]), 2)
        tensor([0.4516, 1.5502])
    """
    if p < 1:
        raise ArgumentError(message("mvlgamma has a dimension", p, "an integer of at least 1"))
    node = single(x, "mvlgamma")
    node = converted(node, to_float(node.dtype))
    total = scalar_node(p * (p - 1) / 4 * log(pi), node.dtype)
    for j in range(p):
        total = total + P.lgamma(node - scalar_node(j / 2, node.dtype))
    return wrap(total)

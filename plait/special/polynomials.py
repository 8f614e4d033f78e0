"""Orthogonal polynomials whose degree is an operand; Abramowitz and Stegun, chapter 22."""

from __future__ import annotations

from typing import Any

from plait.core.dtype import DType, float32, float64
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.rules import broadcast_shapes, broadcast_to
from plait.tensor.families import pairwise
from plait.tensor.operators import binary, scalar_node

__all__ = [
    "chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w",
    "hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p",
    "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w",
]  # fmt: skip


def _to_wide_float(dtype: DType) -> DType:
    return dtype if dtype in (float32, float64) else float32


def _polynomial(family: str, kind: str, result: str, shifted: bool = False) -> Any:
    """Make the function of a family of the primitive."""

    def apply(x: Node, n: Node) -> Node:
        shape = broadcast_shapes(x.shape, n.shape, name=name)
        if shifted:
            x = x * scalar_node(2, x.dtype) - scalar_node(1, x.dtype)
        return P.orthogonal_polynomial(broadcast_to(x, shape), broadcast_to(n, shape), family=family)

    head, letter = family.rsplit("_", 1)
    name = f"{'shifted_' if shifted else ''}{head}_polynomial_{letter}"
    where = "2 x - 1" if shifted else "x"
    summary = f"Return {kind} of degree y at {where}; 0 for negative degrees, which are rounded towards 0."
    rule = binary(name, apply, _to_wide_float)
    return pairwise(name, rule, summary, "[0.25, 2.0] ; 3", result)


_FIRST, _SECOND = "the Chebyshev polynomial of the first kind", "the Chebyshev polynomial of the second kind"
_THIRD, _FOURTH = "the Chebyshev polynomial of the third kind", "the Chebyshev polynomial of the fourth kind"
chebyshev_polynomial_t = _polynomial("chebyshev_t", _FIRST, "[-0.6875, 26.0000]")
chebyshev_polynomial_u = _polynomial("chebyshev_u", _SECOND, "[-0.8750, 56.0000]")
chebyshev_polynomial_v = _polynomial("chebyshev_v", _THIRD, "[-0.1250, 41.0000]")
chebyshev_polynomial_w = _polynomial("chebyshev_w", _FOURTH, "[-1.6250, 71.0000]")
shifted_chebyshev_polynomial_t = _polynomial("chebyshev_t", _FIRST, "[ 1., 99.]", shifted=True)
shifted_chebyshev_polynomial_u = _polynomial("chebyshev_u", _SECOND, "[  1., 204.]", shifted=True)
shifted_chebyshev_polynomial_v = _polynomial("chebyshev_v", _THIRD, "[  1., 169.]", shifted=True)
shifted_chebyshev_polynomial_w = _polynomial("chebyshev_w", _FOURTH, "[  1., 239.]", shifted=True)
hermite_polynomial_h = _polynomial("hermite_h", "the physicist's Hermite polynomial", "[-2.8750, 40.0000]")
hermite_polynomial_he = _polynomial("hermite_he", "the probabilist's Hermite polynomial", "[-0.7344,  2.0000]")
laguerre_polynomial_l = _polynomial("laguerre_l", "the Laguerre polynomial", "[ 0.3411, -0.3333]")
legendre_polynomial_p = _polynomial("legendre_p", "the Legendre polynomial", "[-0.3359, 17.0000]")

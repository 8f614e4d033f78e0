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
chebyshev_polynomial_t = _polynomial("chebyshev_t", _FIRST, "")
chebyshev_polynomial_u = _polynomial("chebyshev_u", _SECOND, "")
chebyshev_polynomial_v = _polynomial("chebyshev_v", _THIRD, "")
chebyshev_polynomial_w = _polynomial("chebyshev_w", _FOURTH, "")
shifted_chebyshev_polynomial_t = _polynomial("chebyshev_t", _FIRST, "", shifted=True)
shifted_chebyshev_polynomial_u = _polynomial("chebyshev_u", _SECOND, "", shifted=True)
shifted_chebyshev_polynomial_v = _polynomial("chebyshev_v", _THIRD, "", shifted=True)
shifted_chebyshev_polynomial_w = _polynomial("chebyshev_w", _FOURTH, "", shifted=True)
hermite_polynomial_h = _polynomial("hermite_h", "the physicist's Hermite polynomial", "")
hermite_polynomial_he = _polynomial("hermite_he", "the probabilist's Hermite polynomial", "")
laguerre_polynomial_l = _polynomial("laguerre_l", "the Laguerre polynomial", "")
legendre_polynomial_p = _polynomial("legendre_p", "the Legendre polynomial", "")

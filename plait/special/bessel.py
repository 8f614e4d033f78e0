"""Bessel functions of orders 0 and 1 and the Airy function; Abramowitz and Stegun, chapters 9 and 10."""

from __future__ import annotations

from typing import Any

from plait.core.graph import Node
from plait.core.primitive import P
from plait.tensor.families import unary
from plait.tensor.operators import to_float
from plait.tensor.transcendental import i0

__all__ = [
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "i0e", "i1", "i1e", "modified_bessel_i0",
    "modified_bessel_i1", "modified_bessel_k0", "modified_bessel_k1", "scaled_modified_bessel_k0",
    "scaled_modified_bessel_k1", "spherical_bessel_j0",
]  # fmt: skip

_KINDS = {
    "bessel_j": "the Bessel function of the first kind",
    "bessel_y": "the Bessel function of the second kind",
    "modified_bessel_i": "the modified Bessel function of the first kind",
    "modified_bessel_k": "the modified Bessel function of the second kind",
}


def _bessel(prim: str, result: str, name: str = "") -> Any:
    """Make the function of a Bessel primitive."""
    kind, order, scaled = prim.removeprefix("scaled_")[:-1], prim[-1], prim.startswith("scaled_")
    factor = "" if not scaled else ", times exp(-|x|)" if kind.endswith("i") else ", times exp(x)"
    name = name or prim
    summary = f"Return {_KINDS[kind]} of order {order}{factor}."
    return unary(name, prim, to_float, summary, "[0.5, 2.0]", result)


bessel_j0 = _bessel("bessel_j0", "[0.9385, 0.2239]")
bessel_j1 = _bessel("bessel_j1", "[0.2423, 0.5767]")
bessel_y0 = _bessel("bessel_y0", "[-0.4445,  0.5104]")
bessel_y1 = _bessel("bessel_y1", "[-1.4715, -0.1070]")
modified_bessel_i0 = i0
modified_bessel_k0 = _bessel("modified_bessel_k0", "[0.9244, 0.1139]")
modified_bessel_k1 = _bessel("modified_bessel_k1", "[1.6564, 0.1399]")
i0e = _bessel("scaled_modified_bessel_i0", "[0.6450, 0.3085]", "i0e")
i1 = modified_bessel_i1 = _bessel("modified_bessel_i1", "[0.2579, 1.5906]", "i1")
i1e = _bessel("scaled_modified_bessel_i1", "[0.1564, 0.2153]", "i1e")
scaled_modified_bessel_k0 = _bessel("scaled_modified_bessel_k0", "[1.5241, 0.8416]")
scaled_modified_bessel_k1 = _bessel("scaled_modified_bessel_k1", "[2.7310, 1.0335]")
j0, j1, y0, y1 = bessel_j0, bessel_j1, bessel_y0, bessel_y1
k0, k1, k0e, k1e = modified_bessel_k0, modified_bessel_k1, scaled_modified_bessel_k0, scaled_modified_bessel_k1


def _prim(name: str, **params: int) -> Any:
    def apply(x: Node) -> Node:
        return getattr(P, name)(x, **params)

    return apply


spherical_bessel_j0 = unary(
    "spherical_bessel_j0", _prim("spherical_bessel", order=0), to_float,
    "Return the spherical Bessel function of the first kind of order 0, sin(x) / x.", "[0.0, 2.0]", "[1.0000, 0.4546]",
)  # fmt: skip
airy_ai = unary(
    "airy_ai", _prim("airy_ai", derivative=0), to_float, "Return the Airy function Ai.", "[0.0, 1.0]",
    "[0.3550, 0.1353]",
)  # fmt: skip

"""The normal distribution, the scaled error function, entropies and the zeta function."""

from __future__ import annotations

from plait.tensor.families import pairwise, unary
from plait.tensor.operators import binary, to_float

__all__ = [
    "entr", "erfcx", "log_ndtr", "ndtr", "ndtri", "xlog1py", "zeta",
]  # fmt: skip

ndtr = unary(
    "ndtr", "ndtr", to_float, "Return the distribution function of the standard normal distribution.",
    "[0.0, 1.0]", "[0.5000, 0.8413]",
)  # fmt: skip
log_ndtr = unary(
    "log_ndtr", "log_ndtr", to_float, "Return the logarithm of `ndtr`, also where that underflows.",
    "[0.0, -50.0]", "[   -0.6931, -1254.8314]",
)  # fmt: skip
ndtri = unary(
    "ndtri", "ndtri", to_float, "Return the quantile of the standard normal distribution, the inverse of `ndtr`.",
    "[0.5, 0.975]", "[0.0000, 1.9600]",
)  # fmt: skip
erfcx = unary(
    "erfcx", "erfcx", to_float, "Return exp(x^2) erfc(x), also where erfc(x) underflows.", "[0.0, 100.0]",
    "[1.0000, 0.0056]",
)  # fmt: skip
entr = unary(
    "entr", "entr", to_float, "Return -x log(x): 0 at 0, and minus infinity below.", "[0.0, 0.5]", "[0.0000, 0.3466]",
)  # fmt: skip
xlog1py = pairwise(
    "xlog1py", binary("xlog1py", "xlog1py", to_float), "Return x log(1 + y), and 0 where x is 0 unless y is NaN.",
    "[0.0, 2.0] ; 3.0", "[0.0000, 2.7726]",
)  # fmt: skip
zeta = pairwise(
    "zeta", binary("zeta", "zeta", to_float),
    "Return the Hurwitz zeta function, the sum of (y + k)^-x over k >= 0 (Euler and Maclaurin; NIST 25.11).",
    "[2.0, 3.0] ; 1.0", "[1.6449, 1.2021]",
)  # fmt: skip

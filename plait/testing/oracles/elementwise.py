"""NumPy and SciPy references for the elementwise primitives that have no function of their own there."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from plait.core.dtype import DType

Array = Any


def rsqrt(x: Array) -> Array:
    """1 / sqrt(x)."""
    return 1 / np.sqrt(x)


def exp2(x: Array) -> Array:
    """2 to the power x, also of complex numbers."""
    return np.exp(x * np.log(2)) if x.dtype.kind == "c" else np.exp2(x)


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x)), also of complex numbers."""
    return 1 / (1 + np.exp(-x)) if x.dtype.kind == "c" else special.expit(x)


def softplus(x: Array) -> Array:
    """log(1 + exp(x))."""
    return np.logaddexp(0, x)


def polygamma(x: Array, *, order: int) -> Array:
    """The derivative of order `order` of digamma."""
    return special.polygamma(order, np.asarray(x, np.float64))


def airy_ai(x: Array, *, derivative: int) -> Array:
    """The Airy function Ai or its derivative."""
    return special.airy(x)[derivative]


def spherical_bessel(x: Array, *, order: int) -> Array:
    """The spherical Bessel function of the first kind; SciPy has it for x >= 0 only."""
    return special.spherical_jn(order, np.abs(x)) * np.sign(np.where(x == 0, 1, x)) ** order


_POLYNOMIALS = {
    "chebyshev_t": special.eval_chebyt,
    "chebyshev_u": special.eval_chebyu,
    "chebyshev_v": lambda n, x: special.eval_chebyu(n, x) - special.eval_chebyu(n - 1, x),
    "chebyshev_w": lambda n, x: special.eval_chebyu(n, x) + special.eval_chebyu(n - 1, x),
    "hermite_h": special.eval_hermite,
    "hermite_he": special.eval_hermitenorm,
    "laguerre_l": special.eval_laguerre,
    "legendre_p": special.eval_legendre,
}


def orthogonal_polynomial(x: Array, n: Array, *, family: str) -> Array:
    """The polynomial of degree n, 0 for negative degrees."""
    degree = np.maximum(n, 0).astype(np.int64)
    return np.where(n < 0, 0, _POLYNOMIALS[family](degree, np.asarray(x, np.float64))).astype(x.dtype)


def div(x: Array, y: Array) -> Array:
    """True division of floats; of integers, truncated towards zero."""
    if x.dtype.kind not in "iu":
        return x / y
    return np.asarray(np.floor_divide(x, y) + ((np.remainder(x, y) != 0) & ((x < 0) != (y < 0)))).astype(x.dtype)


def pow(x: Array, y: Array) -> Array:
    """x to the power y; a negative power of an integer is 1 / x^|y|, truncated (0 for x = 0)."""
    if x.dtype.kind not in "iu":
        return np.power(x, y)
    x, y = np.broadcast_arrays(x, y)
    reciprocal = np.where(x == 1, 1, np.where(x == -1, np.where(y % 2 == 1, -1, 1), 0)).astype(x.dtype)
    return np.where(y < 0, reciprocal, np.power(x, np.where(y < 0, np.zeros_like(y), y)))


def integer_pow(x: Array, *, exponent: int) -> Array:
    """x to a constant integer power."""
    return np.power(x, np.asarray(exponent).astype(x.dtype))


def popcount(x: Array) -> Array:
    """Number of one bits of the two's complement representation."""
    return np.unpackbits(_bytes(x), axis=-1).sum(axis=-1).astype(x.dtype)


def clz(x: Array) -> Array:
    """Number of leading zero bits."""
    bits = np.unpackbits(_bytes(x)[..., ::-1], axis=-1)
    return np.where(bits.any(axis=-1), bits.argmax(axis=-1), bits.shape[-1]).astype(x.dtype)


def _bytes(x: Array) -> Array:
    x = np.ascontiguousarray(x).reshape(np.shape(x))
    return np.frombuffer(x.tobytes(), np.uint8).reshape(*x.shape, x.dtype.itemsize)


def shift_left(x: Array, count: Array) -> Array:
    """Shift towards the high bits, filling with zeros."""
    return np.left_shift(x, count)


def shift_right_arithmetic(x: Array, count: Array) -> Array:
    """Shift towards the low bits, filling with the sign bit, whatever the signedness of the dtype."""
    signed = np.dtype(f"i{x.dtype.itemsize}")
    return np.right_shift(x.view(signed), count.view(signed)).view(x.dtype)


def shift_right_logical(x: Array, count: Array) -> Array:
    """Shift towards the low bits, filling with zeros."""
    unsigned = np.dtype(f"u{x.dtype.itemsize}")
    return np.right_shift(x.view(unsigned), count.view(unsigned)).view(x.dtype)


def convert(x: Array, *, dtype: DType) -> Array:
    """Conversion of values: floats to integers saturate, NaN gives 0; complex to real keeps the real part."""
    x = np.asarray(x)
    if x.dtype.kind == "c" and dtype.kind not in "cb":
        x = x.real
    if x.dtype.kind in "fV" and dtype.is_integer:
        limits = np.iinfo(dtype.numpy)
        wide = np.trunc(x.astype(np.float64))
        inside = (wide >= float(limits.min)) & (wide < float(limits.max))
        edges = np.where(np.isnan(wide), 0, np.where(wide < 0, limits.min, limits.max)).astype(dtype.numpy)
        return np.where(inside, np.where(inside, wide, 0).astype(dtype.numpy), edges)
    with np.errstate(all="ignore"):
        return x.astype(dtype.numpy)


def bitcast(x: Array, *, dtype: DType) -> Array:
    """The same bits seen as another dtype of the same size."""
    return np.asarray(x).view(dtype.numpy)


def complex(re: Array, im: Array) -> Array:
    """re + i im."""
    re, im = np.broadcast_arrays(re, im)
    result = np.empty(re.shape, np.result_type(re.dtype, np.complex64))
    result.real, result.imag = re, im
    return result


def threefry(key0: Array, key1: Array, count0: Array, count1: Array, *, word: int) -> Array:
    """Threefry-2x32 with 20 rounds, in the notation of Random123."""
    key0, key1, x0, x1 = (np.array(a, np.uint32) for a in np.broadcast_arrays(key0, key1, count0, count1))
    schedule = [key0, key1, key0 ^ key1 ^ np.uint32(0x1BD11BDA)]
    rotations = [13, 15, 26, 6, 17, 29, 16, 24]
    with np.errstate(over="ignore"):
        x0, x1 = x0 + schedule[0], x1 + schedule[1]
        for r in range(20):
            x0 = x0 + x1
            x1 = (x1 << np.uint32(rotations[r % 8])) | (x1 >> np.uint32(32 - rotations[r % 8]))
            x1 = x1 ^ x0
            if r % 4 == 3:
                s = r // 4 + 1
                x0, x1 = x0 + schedule[s % 3], x1 + schedule[(s + 1) % 3] + np.uint32(s)
    return (x0, x1)[word]

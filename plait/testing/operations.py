"""Steps of random programs: functions and movement. Each adds a value, or returns None where nothing fits."""

from __future__ import annotations

import math

import numpy as np

from plait.core.dtype import bool_, float8_e4m3fn, float8_e5m2, float32, float64, int16, int32, int64, uint8, uint32
from plait.core.graph import Node
from plait.core.primitive import P
from plait.testing.laws import epsilon
from plait.testing.sampler import FLOAT_KINDS, INTEGER_KINDS, Sample, Sampler, Shape, broadcasts, is_float

_SMOOTH: dict[str, tuple[float, float]] = {  # bound and slope, for every argument
    "sin": (1, 1), "cos": (1, 1), "tanh": (1, 1), "atan": (1.6, 1), "logistic": (1, 0.3), "erf": (1, 1.2),
    "erfc": (2, 1.2),
}  # fmt: skip
_GROWING = {"exp": math.exp, "expm1": math.exp, "sinh": math.cosh, "cosh": math.cosh, "exp2": math.exp}
_FROM_ONE: dict[str, tuple[float, float]] = {  # |f(x)| <= a * x and slope, for x >= 1
    "log": (1, 1), "log2": (1.5, 1.5), "log10": (1, 0.5), "sqrt": (1, 0.5), "rsqrt": (1, 0.5), "digamma": (1, 1.7),
    "lgamma": (5, 5), "log1p": (1, 0.5), "asinh": (1, 1), "cbrt": (1, 0.5), "acosh": (1, 4e3),
}  # fmt: skip
_INSIDE = {"asin": 2.3, "acos": 2.3, "atanh": 5.3, "erfinv": 3.5, "tan": 2.6}  # slope on [-0.9, 0.9]


def unary_float(s: Sampler) -> Sample | None:
    """A smooth function."""
    x = s.pick(is_float)
    if x is None:
        return None
    kind = s.integer(0, 4)
    if kind == 0:
        name = s.choose(("neg", "abs", "copy"))
        node = P.select(P.eq(x.node, x.node), x.node, -x.node) if name == "copy" else getattr(P, name)(x.node)
        return s.keep(node, x.bound, x.error, rounds=False)
    if kind == 1 and x.bound <= 3:
        name = s.choose(list(_GROWING))
        high = _GROWING[name](x.bound)
        return s.keep(getattr(P, name)(x.node), high, high * x.error)
    if kind == 2:
        name = s.choose([n for n in _FROM_ONE if n != "acosh"])
        factor, slope = _FROM_ONE[name]
        one = P.abs(x.node) + 1.0
        error = x.error + epsilon(x.dtype) * (x.bound + 1)
        return s.keep(getattr(P, name)(one), factor * (x.bound + 1), slope * error)
    if kind == 3:
        name = s.choose(list(_INSIDE))
        inside = P.clamp(x.node, -0.875, 0.875)
        return s.keep(getattr(P, name)(inside), 3.0, _INSIDE[name] * x.error)
    name = s.choose(list(_SMOOTH))
    bound, slope = _SMOOTH[name]
    return s.keep(getattr(P, name)(x.node), bound, slope * x.error)


def powers(s: Sampler) -> Sample | None:
    """Integer powers."""
    x = s.pick(lambda v: v.dtype.is_inexact and v.bound <= 8)
    if x is None:
        return None
    k = s.choose((2, 2, 3, 4))
    return s.keep(P.integer_pow(x.node, exponent=k), x.bound**k, k * x.bound ** (k - 1) * x.error)


def rounding(s: Sampler) -> Sample | None:
    """Functions that jump, of exact values."""
    x = s.pick(lambda v: is_float(v) and v.is_exact)
    if x is None:
        return None
    return s.keep(getattr(P, s.choose(("floor", "ceil", "round", "trunc", "sign")))(x.node), x.bound + 1, rounds=False)


def binary_float(s: Sampler) -> Sample | None:
    """Arithmetic of two floats."""
    x = s.pick(is_float)
    if x is None:
        return None
    y = s.partner(x)
    if s.chance(0.5):
        x, y = y, x
    name = s.choose(("add", "sub", "mul", "mul", "max", "min", "div", "rem", "copysign", "atan2"))
    if name in ("add", "sub"):
        return s.keep(getattr(P, name)(x.node, y.node), x.bound + y.bound, x.error + y.error)
    if name == "mul":
        return s.keep(x.node * y.node, x.bound * y.bound, x.error * y.bound + y.error * x.bound)
    if name in ("max", "min"):
        return s.keep(getattr(P, name)(x.node, y.node), max(x.bound, y.bound), max(x.error, y.error), rounds=False)
    if name == "div":
        below = P.abs(y.node) + 1.0
        error = x.error + x.bound * (y.error + epsilon(y.dtype) * (y.bound + 1))
        return s.keep(x.node / below, x.bound, error)
    if name == "atan2":
        return s.keep(
            P.atan2(x.node, P.abs(y.node) + 1.0), 1.6, x.error + x.bound * y.error + epsilon(y.dtype) * y.bound
        )
    if not (x.is_exact and y.is_exact):
        return None
    return s.keep(getattr(P, name)(x.node, y.node), x.bound, rounds=False)


def binary_integer(s: Sampler) -> Sample | None:
    """Arithmetic and bits of two integers."""
    x = s.pick(lambda v: v.dtype.is_integer)
    if x is None:
        return None
    name = s.choose(
        ("add", "sub", "mul", "div", "rem", "max", "min", "bitwise_and", "bitwise_or", "bitwise_xor", "shift_left",
         "shift_right_arithmetic", "shift_right_logical", "neg", "abs", "sign", "bitwise_not", "popcount", "clz", "pow")
    )  # fmt: skip
    top = float(np.iinfo(x.dtype.numpy).max)
    if name in ("neg", "abs", "sign", "bitwise_not", "popcount", "clz"):
        return s.keep(getattr(P, name)(x.node), top)
    y = s.partner(x)
    if name == "pow":
        return s.keep(P.pow(x.node, P.bitwise_and(y.node, 3)), top)
    return s.keep(getattr(P, name)(x.node, y.node), top if name in ("mul", "sub", "add", "shift_left") else top)


def comparison(s: Sampler) -> Sample | None:
    """A boolean from exact values."""
    x = s.pick(lambda v: v.is_exact and not v.dtype.is_complex and v.dtype is not bool_)
    if x is None:
        return None
    y = s.partner(x)
    if not y.is_exact:
        return None
    return s.keep(getattr(P, s.choose(("eq", "ne", "lt", "le", "gt", "ge")))(x.node, y.node), 1.0)


def logic(s: Sampler) -> Sample | None:
    """Operations on booleans."""
    x = s.pick(lambda v: v.dtype is bool_)
    if x is None:
        return comparison(s)
    name = s.choose(("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "eq"))
    if name == "bitwise_not":
        return s.keep(P.bitwise_not(x.node), 1.0)
    y = s.pick(lambda v: v.dtype is bool_ and broadcasts(v.shape, x.shape))
    return None if y is None else s.keep(getattr(P, name)(x.node, y.node), 1.0)


def selection(s: Sampler) -> Sample | None:
    """A choice by an exact boolean."""
    x = s.pick()
    c = None if x is None else s.pick(lambda v: v.dtype is bool_ and broadcasts(v.shape, x.shape))
    if x is None or x.dtype is bool_:
        return None
    y = s.partner(x)
    if c is None:
        c = s.leaf(bool_, x.shape)
    if not broadcasts(np.broadcast_shapes(x.shape, c.shape), y.shape):
        return None
    node = P.select(c.node, *s.choose(((x.node, y.node), (y.node, x.node))))
    return s.keep(node, max(x.bound, y.bound), max(x.error, y.error), rounds=False)


def conversion(s: Sampler) -> Sample | None:
    """Another dtype."""
    x = s.pick(lambda v: not v.dtype.is_complex)
    if x is None:
        return None
    if is_float(x) and x.is_exact and x.bound < 100 and s.chance(0.3):
        kind = s.choose((*INTEGER_KINDS, bool_))
        return s.keep(P.convert(x.node, dtype=kind), x.bound)
    if x.dtype is float32 and s.chance(0.1):
        small = s.choose((float8_e4m3fn, float8_e5m2))
        error = 0.0 if x.is_exact else x.error + 0.3 * x.bound
        return s.keep(P.convert(P.convert(x.node, dtype=small), dtype=float32), 1.2 * x.bound, error, rounds=False)
    if x.dtype.is_integer and s.chance(0.4):
        return s.keep(P.convert(x.node, dtype=s.choose(INTEGER_KINDS)), np.inf)
    kind = s.choose(FLOAT_KINDS)
    if x.bound > 3e4:
        return None
    return s.keep(P.convert(x.node, dtype=kind), x.bound * 1.01, x.error, rounds=not x.is_exact)


def bits(s: Sampler) -> Sample | None:
    """The bits of an exact float as an integer."""
    x = s.pick(lambda v: is_float(v) and v.is_exact and v.dtype.bits >= 16)
    if x is None:
        return None
    kind = {16: int16, 32: int32, 64: int64}[x.dtype.bits]
    return s.keep(P.bitcast(x.node + 0.0, dtype=kind), np.inf)


def random_bits(s: Sampler) -> Sample | None:
    """Threefry of a counter."""
    keys = [s.leaf(uint32, (), 0, 1000).node for _ in range(2)]
    shape = s.shape()
    counts = P.convert(P.iota(dtype=int64, shape=(math.prod(shape),), axis=0), dtype=uint32)
    return s.keep(P.threefry(*keys, P.reshape(counts, shape=shape), keys[0], word=s.integer(0, 1)), np.inf)


def complex_values(s: Sampler) -> Sample | None:
    """Complex arithmetic, and the way back to reals."""
    z = s.pick(lambda v: v.dtype.is_complex)
    if z is None or s.chance(0.3):
        x = s.pick(lambda v: v.dtype in (float32, float64))
        if x is None:
            return None
        y = s.partner(x)
        return s.keep(P.complex(x.node, y.node), x.bound + y.bound, x.error + y.error, rounds=False)
    name = s.choose(("real", "imag", "conj", "neg", "mul", "add", "sub", "abs"))
    if name in ("real", "imag", "conj", "neg"):
        return s.keep(getattr(P, name)(z.node), z.bound, z.error, rounds=False)
    if name == "abs":
        return s.keep(P.abs(z.node), z.bound, z.error)
    w = s.pick(lambda v: v.dtype is z.dtype and broadcasts(v.shape, z.shape)) or z
    if name == "mul":
        return s.keep(z.node * w.node, z.bound * w.bound, z.error * w.bound + w.error * z.bound)
    return s.keep(getattr(P, name)(z.node, w.node), z.bound + w.bound, z.error + w.error)


# movement


def moved(s: Sampler, x: Sample, node: Node) -> Sample | None:
    """Add elements of `x` at other places."""
    return s.keep(node, x.bound, x.error, rounds=False)


def reshaping(s: Sampler) -> Sample | None:
    """Axes split, merged, added and removed."""
    x = s.pick()
    if x is None:
        return None
    shape = list(x.shape)
    for _ in range(s.integer(1, 3)):
        kind = s.integer(0, 3)
        if kind == 0 and len(shape) >= 2:
            k = s.integer(0, len(shape) - 2)
            shape[k : k + 2] = [shape[k] * shape[k + 1]]
        elif kind == 1 and shape:
            k = s.integer(0, len(shape) - 1)
            factors = [f for f in (2, 3, 4, 5, 7) if shape[k] and shape[k] % f == 0]
            if factors and len(shape) < 5:
                f = s.choose(factors)
                shape[k : k + 1] = [f, shape[k] // f] if s.chance(0.5) else [shape[k] // f, f]
        elif kind == 2 and len(shape) < 5:
            shape.insert(s.integer(0, len(shape)), 1)
        elif 1 in shape:
            shape.remove(1)
    return moved(s, x, P.reshape(x.node, shape=tuple(shape)))


def broadcasting(s: Sampler) -> Sample | None:
    """New axes, and axes of size 1 stretched."""
    x = s.pick(lambda v: len(v.shape) <= 3)
    if x is None:
        return None
    shape: list[int] = []
    axes: list[int] = []
    for n in x.shape:
        if s.chance(0.3) and len(shape) < 4:
            shape.append(s.choose((1, 2, 3, 5)))
        axes.append(len(shape))
        shape.append(s.choose((1, 2, 4, 17)) if n == 1 else n)
    if s.chance(0.4):
        shape.append(s.choose((1, 2, 3, 7)))
    if math.prod(shape) > s.limit:
        return None
    return moved(s, x, P.broadcast(x.node, shape=tuple(shape), axes=tuple(axes)))


def transposing(s: Sampler) -> Sample | None:
    """Axes in another order, or reversed."""
    x = s.pick(lambda v: len(v.shape) >= 1)
    if x is None:
        return None
    if s.chance(0.4):
        return moved(s, x, P.reverse(x.node, axes=s.axes(len(x.shape))))
    return moved(s, x, P.transpose(x.node, permutation=s.permutation(len(x.shape))))


def slicing(s: Sampler) -> Sample | None:
    """A slice with steps, or one whose start is a value."""
    x = s.pick(lambda v: len(v.shape) >= 1)
    if x is None:
        return None
    if s.chance(0.25):
        sizes = tuple(s.integer(min(1, n), n) for n in x.shape)
        places = [s.leaf(int64, (), -1, max(n, 1)).node for n in x.shape]
        if s.chance(0.5):
            return moved(s, x, P.dynamic_slice(x.node, *places, sizes=sizes))
        update = s.leaf(x.dtype, sizes, 0, 2)
        node = P.dynamic_update_slice(x.node, update.node, *places)
        return s.keep(node, max(x.bound, update.bound), x.error, rounds=False)
    starts = tuple(s.integer(0, n // 3) for n in x.shape)
    limits = tuple(s.integer(max(a, n // 2), n) for a, n in zip(starts, x.shape, strict=True))
    strides = tuple(s.choose((1, 1, 1, 2, 3)) for _ in x.shape)
    return moved(s, x, P.slice(x.node, starts=starts, limits=limits, strides=strides))


def padding(s: Sampler) -> Sample | None:
    """Edges added or cut, gaps between elements."""
    x = s.pick(lambda v: 1 <= len(v.shape) <= 3 and v.dtype is not bool_ and v.size <= s.limit)
    if x is None:
        return None
    interior = tuple(s.choose((0, 0, 0, 1, 2)) if n < 20 else 0 for n in x.shape)
    low = tuple(s.integer(-1 if n > 2 else 0, 2) for n in x.shape)
    high = tuple(s.integer(-1 if n > 2 else 0, 2) for n in x.shape)
    value = s.choose((0, 1, 1.5)) if x.dtype.is_inexact else s.choose((0, 1))
    node = P.pad(x.node, value, low=low, high=high, interior=interior)
    return s.keep(node, max(x.bound, 1.5), x.error, rounds=False)


def concatenation(s: Sampler) -> Sample | None:
    """Values joined along an axis."""
    x = s.pick(lambda v: len(v.shape) >= 1 and v.size <= s.limit)
    if x is None:
        return None
    axis = s.integer(0, len(x.shape) - 1)
    fits = lambda v: (  # noqa: E731
        v.dtype is x.dtype and len(v.shape) == len(x.shape)
        and all(a == b or k == axis for k, (a, b) in enumerate(zip(v.shape, x.shape, strict=True)))
    )  # fmt: skip
    parts = [x, s.pick(fits) or x, *([s.leaf(x.dtype, x.shape, 0, 2)] if s.chance(0.3) else [])]
    parts = [parts[k] for k in s.permutation(len(parts))]
    node = P.concatenate(*[p.node for p in parts], axis=axis)
    return s.keep(node, max(p.bound for p in parts), max(p.error for p in parts), rounds=False)


def counting(s: Sampler) -> Sample | None:
    """An iota."""
    shape = s.shape(s.integer(1, 3))
    dtype = s.choose((int32, int64, float32, float64, uint8))
    if shape and max(shape) > 120:
        return None
    return s.keep(P.iota(dtype=dtype, shape=shape, axis=s.integer(0, len(shape) - 1)), float(max(shape)), rounds=False)


def places_along(s: Sampler, size: int, shape: Shape) -> Node:
    """Indices below `size`: integers of the program, limited, or new ones."""
    found = s.pick(lambda v: v.dtype.is_integer and v.is_exact and v.shape == shape)
    if found is not None and s.chance(0.5):
        wide = P.convert(found.node, dtype=int64)
        return P.clamp(wide, 0, size - 1)
    return s.leaf(int64, shape, 0, size - 1).node


def gathering(s: Sampler) -> Sample | None:
    """Elements at given places."""
    x = s.pick(lambda v: len(v.shape) >= 1 and v.size > 0)
    if x is None:
        return None
    axes = s.axes(len(x.shape))[:2]
    if s.chance(0.3):
        axes = axes[::-1]
    shape = s.choose(((), (3,), (5,), (2, 4), (1,)))
    indices = [places_along(s, x.shape[a], shape) for a in axes]
    return moved(s, x, P.gather(x.node, *indices, axes=axes, mode=s.choose(("clip", "fill"))))


def scattering(s: Sampler) -> Sample | None:
    """Updates at given places."""
    x = s.pick(lambda v: len(v.shape) >= 1 and v.size > 0 and not v.dtype.is_complex and v.dtype is not bool_)
    if x is None:
        return None
    axes = s.axes(len(x.shape))[:2]
    shape = s.choose(((), (3,), (5,), (2, 4)))
    rest = tuple(n for k, n in enumerate(x.shape) if k not in axes)
    indices = [places_along(s, x.shape[a], shape) for a in axes]
    whole = s.pick(lambda v: v.dtype is x.dtype and v.shape == (*shape, *rest)) or s.leaf(
        x.dtype, (*shape, *rest), 0, 2
    )
    name = s.choose(("set", "add", "min", "max"))
    node = getattr(P, f"scatter_{name}")(x.node, whole.node, *indices, axes=axes)
    if name == "add":
        return s.keep(node, x.bound + 8 * whole.bound, x.error + 8 * whole.error)
    return s.keep(node, max(x.bound, whole.bound), max(x.error, whole.error), rounds=False)

"""Between dtypes: conversion, bit casts, complex parts; and Threefry, the source of random bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import Any

from plait.core.aval import Aval
from plait.core.dtype import (
    ALL,
    COMPLEXES,
    FLOAT8,
    DType,
    bfloat16,
    bool_,
    complex64,
    complex128,
    float8_e4m3fn,
    float8_e5m2,
    float16,
    float32,
    float64,
    uint32,
)
from plait.core.errors import ArgumentError, DTypeError, message
from plait.core.graph import Node, constant
from plait.core.primitive import Domain, P, Primitive, Waived
from plait.ir.complex import Complex, as_complex
from plait.ir.loop import Expr, binary, const, select as choose, unary
from plait.prims.rules import (
    ELEMENTWISE_SHARD,
    NOT_LINEAR,
    PIECEWISE_CONSTANT,
    UNSIGNED_OF,
    binary_rule,
    bounds,
    broadcast_to,
    check_dtype,
    draw,
    elementwise,
    elementwise_batch,
    elementwise_cost,
    elementwise_domain,
    linear_elementwise,
    shapes_for,
    unary_rule,
)

STORED = (*ALL, *FLOAT8)


# the storage formats of small floats, as integer arithmetic on float32


@dataclass(frozen=True, slots=True)
class Format:
    """A small float: mantissa bits, exponent bias, largest finite value, what is beyond it, and its special bits."""

    mantissa: int
    bias: int
    largest: float
    overflow: float
    infinity: int
    nan: int

    @property
    def shift(self) -> int:
        """Mantissa bits that float32 has more."""
        return 23 - self.mantissa

    @property
    def has_float32_range(self) -> bool:
        """Whether the exponents are those of float32, so that subnormals need no special care."""
        return self.bias == 127

    @property
    def smallest_normal(self) -> float:
        """The smallest normal value."""
        return 2.0 ** (1 - self.bias)

    @property
    def step(self) -> float:
        """The distance between subnormal values."""
        return 2.0 ** (1 - self.bias - self.mantissa)


FORMATS = {
    bfloat16: Format(7, 127, 3.3895313892515355e38, inf, 0x7F80, 0x7FC0),
    float16: Format(10, 15, 65504.0, inf, 0x7C00, 0x7E00),
    float8_e5m2: Format(2, 15, 57344.0, inf, 0x7C, 0x7E),
    float8_e4m3fn: Format(3, 7, 448.0, nan, 0x7F, 0x7F),
}


def round_to(value: Expr, dtype: DType) -> Expr:
    """Return the float32 `value` rounded to nearest, ties to even, on the grid of a small float `dtype`.

    A value of a dtype that is its own compute dtype is returned as it is.
    """
    form = FORMATS.get(dtype)
    if form is None:
        return value
    if dtype is float16:
        return unary("half", value)
    bits = value.bitcast(uint32)
    is_odd = (bits >> form.shift) & 1
    kept = (0xFFFFFFFF >> form.shift) << form.shift
    result = ((bits + is_odd + ((1 << (form.shift - 1)) - 1)) & kept).bitcast(float32)
    if not form.has_float32_range:
        subnormal = unary("rint", value * (1 / form.step)) * form.step
        result = choose(unary("abs", value) < form.smallest_normal, subnormal, result)
    beyond = binary("copysign", const(form.overflow, float32), value)
    result = choose(unary("abs", result) > form.largest, beyond, result)
    return choose(value.eq(value), result, value)


def encode(value: Expr, dtype: DType) -> Expr:
    """Return the bits of a float32 `value` stored as a small float `dtype`, as an unsigned integer of its width."""
    form = FORMATS[dtype]
    value = round_to(value, dtype)
    bits = value.bitcast(uint32)
    magnitude = bits & 0x7FFFFFFF
    field = (magnitude >> form.shift) - ((127 - form.bias) << form.mantissa)
    if not form.has_float32_range:
        size = unary("abs", value)
        field = choose(size < form.smallest_normal, (size * (1 / form.step)).cast(uint32), field)
    field = choose(magnitude.eq(0x7F800000), const(form.infinity, uint32), field)
    field = choose(magnitude > 0x7F800000, const(form.nan, uint32), field)
    sign = (bits >> 31) << (dtype.bits - 1)
    return (field | sign).cast(UNSIGNED_OF[dtype.bits])


def decode(bits: Expr, dtype: DType) -> Expr:
    """Return the float32 value of the stored `bits` (an unsigned integer) of a small float `dtype`."""
    form = FORMATS[dtype]
    wide = bits.cast(uint32)
    magnitude = wide & ((1 << (dtype.bits - 1)) - 1)
    value = ((magnitude << form.shift) + ((127 - form.bias) << 23)).bitcast(float32)
    if not form.has_float32_range:
        value = choose(magnitude < (1 << form.mantissa), magnitude.cast(float32) * form.step, value)
        special = choose(magnitude.eq(form.infinity), const(form.overflow, float32), const(nan, float32))
        value = choose(magnitude >= form.infinity, special, value)
    sign = (wide >> (dtype.bits - 1)) << 31
    return (value.bitcast(uint32) | sign).bitcast(float32)


# conversion


def _convert_aval(x: Aval, *, dtype: DType) -> Aval:
    check_dtype("convert", x.dtype, STORED)
    check_dtype("convert", dtype, STORED)
    return x.with_dtype(dtype)


def _convert(x: Any, *, dtype: DType) -> Any:
    if isinstance(x, Complex):
        if dtype.is_complex:
            return x.cast(dtype.real)
        if dtype is bool_:
            return x.ne(0.0)
        x = x.re
    if dtype.is_complex:
        return as_complex(x.cast(dtype.real), dtype.real)
    return round_to(x.cast(dtype.compute), dtype)


def _convert_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    (tangent,) = tangents
    return None if tangent is None or not node.dtype.is_inexact else P.convert(tangent, dtype=node.dtype)


def _convert_samples(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for target in STORED:
        low = 0 if "u" in (dtype.kind, target.kind) else -50
        yield [draw(random, dtype, (size,), low, 50)], {"dtype": target}


convert = elementwise(
    "convert", _convert_aval, _convert, jvp=_convert_jvp,
    transpose=linear_elementwise(lambda ct, x: P.convert(ct, dtype=x.dtype)),
    domain=Domain(STORED, sample=_convert_samples, smooth=False), oracle="oracle.elementwise.convert",
)  # fmt: skip


def _bitcast_aval(x: Aval, *, dtype: DType) -> Aval:
    for side in (x.dtype, dtype):
        if side is bool_ or side.is_complex:
            fix = "bitcast the real and imaginary parts" if side.is_complex else "convert with .to(plait.uint8)"
            raise DTypeError(message(f"bitcast does not take {side.name}", side.name, "integers or real floats", fix))
    if x.dtype.itemsize != dtype.itemsize:
        received = f"{x.dtype.name} ({x.dtype.itemsize} bytes) and {dtype.name} ({dtype.itemsize} bytes)"
        raise DTypeError(
            message("bitcast keeps the element size", received, "dtypes of one size", "choose a target of that size")
        )
    return x.with_dtype(dtype)


def _bitcast(site: Any, index: list[Any]) -> Expr:
    value: Expr = site.read(0, index)
    source, target = site.dtype(0), site.params["dtype"]
    if source in FORMATS:
        value = encode(value, source)
    if target in FORMATS:
        return decode(value.bitcast(UNSIGNED_OF[target.bits]), target)
    return value.bitcast(target)


def _bitcast_samples(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    # small positive integers are subnormals of the floats of their width, never NaN
    for target in STORED:
        if target.bits == dtype.bits and not target.is_complex:
            yield [draw(random, dtype, (size,), 0, 100)], {"dtype": target}


# an index function of its input and not "elementwise": the bits depend on how the operand is stored
bitcast = Primitive(
    "bitcast", kind="view", aval=_bitcast_aval, lower=_bitcast, jvp=Waived("bits have no derivative"),
    transpose=NOT_LINEAR, batch=elementwise_batch, shard=ELEMENTWISE_SHARD, cost=elementwise_cost(1),
    domain=Domain(
        tuple(d for d in STORED if d is not bool_ and not d.is_complex), sample=_bitcast_samples, smooth=False
    ),
    oracle="oracle.elementwise.bitcast",
)  # fmt: skip


# complex numbers


def _part_jvp(name: str) -> Any:
    def jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
        (tangent,) = tangents
        return None if tangent is None else getattr(P, name)(tangent)

    return jvp


def _complex_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    if all(t is None for t in tangents):
        return None
    zero = constant(0, node.dtype.real)
    return broadcast_to(P.complex(*[zero if t is None else t for t in tangents]), node.shape)


def _real_dtype(dtype: DType) -> DType:
    return dtype.real


def _complex_dtype(dtype: DType) -> DType:
    return complex128 if dtype is float64 else complex64


_COMPLEX_DOMAIN = elementwise_domain(COMPLEXES, (-3, 3))

# cotangents pair with tangents as Re(cotangent * tangent), without conjugation
real = elementwise(
    "real", unary_rule(COMPLEXES, "real", _real_dtype), lambda z: z.re, jvp=_part_jvp("real"),
    transpose=linear_elementwise(lambda ct, z: P.complex(ct, 0)), domain=_COMPLEX_DOMAIN, oracle="numpy.real", flops=0,
)  # fmt: skip
imag = elementwise(
    "imag", unary_rule(COMPLEXES, "imag", _real_dtype), lambda z: z.im, jvp=_part_jvp("imag"),
    transpose=linear_elementwise(lambda ct, z: P.complex(constant(0, ct.dtype), -ct)),
    domain=_COMPLEX_DOMAIN, oracle="numpy.imag", flops=0,
)  # fmt: skip
conj = elementwise(
    "conj", unary_rule(COMPLEXES, "conj"), lambda z: z.conj(), jvp=_part_jvp("conj"),
    transpose=linear_elementwise(lambda ct, z: P.conj(ct)), domain=_COMPLEX_DOMAIN, oracle="numpy.conj", flops=1,
)  # fmt: skip
complex_ = elementwise(
    "complex", binary_rule((float32, float64), "complex", _complex_dtype), Complex, jvp=_complex_jvp,
    transpose=linear_elementwise(lambda ct, re, im: P.real(ct), lambda ct, re, im: -P.imag(ct)),
    domain=elementwise_domain((float32, float64), (-3, 3), (-3, 3)), oracle="oracle.elementwise.complex", flops=0,
)  # fmt: skip


# random bits

_PARITY = 0x1BD11BDA
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def _threefry_aval(*avals: Aval, word: int) -> Aval:
    if word not in (0, 1):
        raise ArgumentError(message("threefry gives two words", f"word={word}", "word 0 or 1", "pass word=0 or word=1"))
    return _threefry_rule(*avals)


_threefry_rule = binary_rule((uint32,), "threefry")


def _threefry(key0: Expr, key1: Expr, count0: Expr, count1: Expr, *, word: int) -> Expr:
    """Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011)."""
    keys = (key0, key1, key0 ^ key1 ^ _PARITY)
    x0, x1 = count0 + key0, count1 + key1
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = ((x1 << rotation) | (x1 >> (32 - rotation))) ^ x0
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + keys[(group + 2) % 3] + (group + 1)
    return (x0, x1)[word]


def _threefry_samples(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for word in (0, 1):
        for shapes in shapes_for(4, size):
            yield [draw(random, dtype, shape, *bounds(dtype)) for shape in shapes], {"word": word}


threefry = elementwise(
    "threefry", _threefry_aval, _threefry, jvp=PIECEWISE_CONSTANT,
    domain=Domain((uint32,), sample=_threefry_samples, smooth=False), oracle="oracle.elementwise.threefry", flops=90,
)  # fmt: skip

"""Conversions between storage types (what memory holds) and compute types (what registers hold).

bfloat16 and the 8-bit floats are converted by integer arithmetic, rounding to nearest even; float16 too where
the processor has no instructions for it.
"""

from __future__ import annotations

from plait.compiler.llvm.text import Target, Value, Writer, integer, kind_of, literal
from plait.core.dtype import DType, bfloat16, bool_, float8_e4m3fn, float8_e5m2, float16, float32

# exponent bias, mantissa bits, the bits of infinity (or, without infinities, of NaN)
_FORMATS = {float16: (15, 10, 0x7C00), float8_e5m2: (15, 2, 0x7C), float8_e4m3fn: (7, 3, 0x7F)}
_INFINITY = 0x7F800000
_MAGNITUDE = 0x7FFFFFFF


def storage_kind(dtype: DType) -> str:
    """The LLVM type of one element in memory."""
    if dtype.kind == "f" and dtype.bits < 32 or dtype is bool_:
        return f"i{dtype.itemsize * 8}"
    return kind_of(dtype)


def from_storage(w: Writer, target: Target, dtype: DType, x: Value) -> Value:
    """Convert a loaded element of a storage dtype to its compute dtype."""
    if dtype is bool_:
        return w.compare("icmp ne", x, integer(0, x.kind))
    if dtype is bfloat16:
        wide = w.binary("shl", w.convert("zext", x, "i32"), integer(16, "i32"))
        result = w.convert("bitcast", wide, "float")
        w.narrow[result.text] = dtype, x
        return result
    if dtype is float16 and target.converts_half:
        return w.convert("fpext", w.convert("bitcast", x, "half"), "float")
    return _widen_float(w, dtype, x) if dtype in _FORMATS else x


def to_storage(w: Writer, target: Target, dtype: DType, x: Value) -> Value:
    """Convert a value of the compute dtype of `dtype` to what is stored."""
    origin = w.narrow.get(x.text)
    if origin is not None and origin[0] is dtype:  # a copy
        return origin[1]
    if dtype is bool_:
        return w.convert("zext", x, "i8")
    if dtype is bfloat16:
        return _narrow_bfloat(w, x)
    if dtype is float16 and target.converts_half:
        return w.convert("bitcast", w.convert("fptrunc", x, "half"), "i16")
    return _narrow_float(w, dtype, x) if dtype in _FORMATS else x


def _word(value: int) -> Value:
    return integer(value, "i32")


def _widen_float(w: Writer, dtype: DType, x: Value) -> Value:
    bias, mantissa, infinity = _FORMATS[dtype]
    bits = w.convert("zext", x, "i32")
    size = w.binary("and", bits, _word((1 << dtype.bits - 1) - 1))
    sign = w.binary("shl", w.binary("lshr", bits, _word(dtype.bits - 1)), _word(31))
    shifted = w.binary("shl", size, _word(23 - mantissa))
    normal = w.binary("add", shifted, _word(127 - bias << 23))
    small = w.binary("fmul", w.convert("uitofp", size, "float"), literal(2.0 ** (1 - bias - mantissa), float32))
    is_small = w.compare("icmp ult", size, _word(1 << mantissa))
    result = w.select(is_small, w.convert("bitcast", small, "i32"), normal)
    special = w.binary("or", shifted, _word(_INFINITY))
    result = w.select(w.compare("icmp uge", size, _word(infinity)), special, result)
    return w.convert("bitcast", w.binary("or", result, sign), "float")


def _round_bits(w: Writer, bits: Value, drop: int) -> Value:
    """bits >> drop, rounded to nearest even."""
    odd = w.binary("and", w.binary("lshr", bits, _word(drop)), _word(1))
    rounded = w.binary("add", w.binary("add", bits, _word((1 << drop - 1) - 1)), odd)
    return w.binary("lshr", rounded, _word(drop))


def _narrow_bfloat(w: Writer, x: Value) -> Value:
    bits = w.convert("bitcast", x, "i32")
    quiet = w.binary("or", w.binary("lshr", bits, _word(16)), _word(0x40))
    rounded = w.select(w.compare("fcmp uno", x, x), quiet, _round_bits(w, bits, 16))
    return w.convert("trunc", rounded, "i16")


def _narrow_float(w: Writer, dtype: DType, x: Value) -> Value:
    bias, mantissa, infinity = _FORMATS[dtype]
    bits = w.convert("bitcast", x, "i32")
    size = w.binary("and", bits, _word(_MAGNITUDE))
    normal = w.binary("sub", _round_bits(w, size, 23 - mantissa), _word(127 - bias << mantissa))
    # adding this power of two makes the addition round to the spacing of the subnormals
    magic = literal(2.0 ** (24 - bias - mantissa), float32)
    shifted = w.binary("fadd", w.convert("bitcast", size, "float"), magic)
    small = w.binary("sub", w.convert("bitcast", shifted, "i32"), _word(127 + 24 - bias - mantissa << 23))
    result = w.select(w.compare("icmp ult", size, _word(128 - bias << 23)), small, normal)
    result = w.call("umin", result, _word(infinity))
    result = w.select(w.compare("icmp ugt", size, _word(_INFINITY)), _word((1 << dtype.bits - 1) - 1), result)
    sign = w.binary("shl", w.binary("lshr", bits, _word(31)), _word(dtype.bits - 1))
    return w.convert("trunc", w.binary("or", result, sign), f"i{dtype.bits}")

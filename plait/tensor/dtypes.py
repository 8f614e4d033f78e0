"""PyTorch's short names of dtypes: `plait.float` is `plait.float32`, `plait.long` is `plait.int64`, …"""

from __future__ import annotations

from plait.core.dtype import bool_, complex64, complex128, float16, float32, float64, int16, int32, int64

__all__ = ["bool", "cdouble", "cfloat", "double", "float", "half", "int", "long", "short"]

bool = bool_
half, float, double = float16, float32, float64
short, int, long = int16, int32, int64
cfloat, cdouble = complex64, complex128

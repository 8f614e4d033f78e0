"""Discrete Fourier transforms, computed by SciPy's or NumPy's pocketfft."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from math import log2
from typing import Any

import numpy as np

from plait.core.aval import Aval, Size, aval
from plait.core.dtype import COMPLEXES, DType, complex64, complex128, float32, float64
from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import Domain, P, Primitive
from plait.prims.rules import AxisMap, byte_count, check_dtype, draw, element_count

FLOATS = (float32, float64)
NORMS = ("backward", "ortho", "forward")
_ACCEPTED = {"fft": COMPLEXES, "ifft": COMPLEXES, "rfft": FLOATS, "irfft": COMPLEXES}
_INVERSE_OF = {"rfft": "irfft", "irfft": "rfft"}
_INVERSE_NORM = dict(zip(NORMS, reversed(NORMS), strict=True))

threads: list[Callable[[], int]] = []
"""The function that says how many threads a transform may use; filled by the layer that knows."""


def _aval(x: Aval, *, kind: str, axes: tuple[int, ...], norm: str, size: int = 0) -> Aval:
    if kind not in _ACCEPTED or norm not in NORMS:
        expected = f"one of {', '.join(_ACCEPTED)} and one of {', '.join(NORMS)}"
        raise ArgumentError(message("fft: unknown transform", f"kind={kind!r}, norm={norm!r}", expected))
    check_dtype(kind, x.dtype, _ACCEPTED[kind])
    if not axes or len(set(axes)) != len(axes) or not all(0 <= axis < x.ndim for axis in axes):
        raise ShapeError(message(f"{kind} takes distinct axes", axes, f"axes of {x}, from 0 to {x.ndim - 1}"))
    shape, last = list(x.shape), axes[-1]
    if kind == "irfft":
        if x.shape[last] != size // 2 + 1:
            expected = f"{size // 2 + 1} for a result of size {size}"
            raise ShapeError(message("irfft: a half spectrum has n // 2 + 1 elements", x.shape[last], expected))
        shape[last] = size
    elif kind == "rfft":
        shape[last] = _whole(x.shape[last]) // 2 + 1
    if not all(_whole(shape[axis]) > 0 for axis in axes):
        fix = "pad the axis, or give its length"
        raise ShapeError(message(f"{kind} of no elements is undefined", f"{x}", "sizes of at least 1", fix))
    dtype = x.dtype
    if kind in ("rfft", "irfft"):
        dtype = {float32: complex64, float64: complex128, complex64: float32, complex128: float64}[dtype]
    return aval(dtype, tuple(shape))


def _whole(size: Size) -> int:
    if not isinstance(size, int):
        raise ShapeError(message("A transformed axis has a known size", size, "an integer"))
    return size


@cache
def _pocketfft() -> tuple[Any, bool]:
    """The module with the transforms, and whether it has threads."""
    has_scipy = importlib.util.find_spec("scipy") is not None
    return (importlib.import_module("scipy.fft"), True) if has_scipy else (np.fft, False)


def _lower(x: Any, *, kind: str, axes: tuple[int, ...], norm: str, size: int = 0) -> Any:
    if not x.size:  # pocketfft refuses empty batches
        shape = list(x.shape)
        shape[axes[-1]] = {"rfft": x.shape[axes[-1]] // 2 + 1, "irfft": size}.get(kind, shape[axes[-1]])
        return np.zeros(shape)
    module, has_threads = _pocketfft()
    options: dict[str, Any] = {"workers": threads[0]()} if has_threads and threads else {}
    if kind == "irfft":
        options["s"] = [*[x.shape[axis] for axis in axes[:-1]], size]
    return getattr(module, f"{kind}n")(x, axes=axes, norm=norm, **options)


# rules: the transform is linear, its matrix symmetric


def _jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    return None if tangents[0] is None else node.prim(tangents[0], **node.params)


def _transpose(node: Node, cotangent: Node, linear: Sequence[bool]) -> list[Node | None]:
    """A half spectrum stands for a whole one: but for the first (and the middle) frequency its elements count twice."""
    kind, axes, norm = node.params["kind"], node.params["axes"], node.params["norm"]
    x = node.inputs[0]
    if kind in ("fft", "ifft"):
        return [node.prim(cotangent, **node.params)]
    options = {"kind": _INVERSE_OF[kind], "axes": axes, "norm": _INVERSE_NORM[norm]}
    last = axes[-1]
    if kind == "rfft":
        halved = cotangent * _counts(cotangent.aval, last, _whole(x.shape[last]), 0.5)
        return [P.fft(P.conj(halved), size=x.shape[last], **options)]
    found = P.fft(cotangent, **options)
    return [P.conj(found) * _counts(x.aval, last, node.params["size"], 2.0)]


def _counts(like: Aval, axis: int, size: int, inner: float) -> Node:
    """The weights of a half spectrum of `size` along `axis`: 1 for frequencies without a mirror image, else `inner`."""
    count = size // 2 + 1
    position = P.iota(dtype=like.dtype.real, shape=(count, *(1,) * (like.ndim - 1 - axis)), axis=0)
    is_single = P.eq(position, 0.0)
    if size % 2 == 0:
        is_single = P.bitwise_or(is_single, P.eq(position, float(size // 2)))
    single = P.convert(is_single, dtype=like.dtype)
    return single * (1 - inner) + inner


def _batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    return node.prim(inputs[0], **{**node.params, "axes": tuple(axis + 1 for axis in node.params["axes"])})


def _shard(node: Node) -> AxisMap:
    labels = tuple(None if axis in node.params["axes"] else axis for axis in range(node.ndim))
    return (labels,), labels


def _cost(node: Node) -> tuple[float, int]:
    x = node.inputs[0]
    count = max(element_count(x.aval), element_count(node.aval))
    points = 1
    for axis in node.params["axes"]:
        points *= max(_whole(x.shape[axis]), _whole(node.shape[axis]))
    return 5.0 * count * log2(max(points, 2)), byte_count([x.aval, node.aval])


def _sample(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    n = max(size, 1)
    half = n // 2 + 1
    cases: list[tuple[str, tuple[int, ...], tuple[int, ...], str, int]]
    if dtype.is_complex:
        cases = [("fft", (n,), (0,), "backward", 0), ("ifft", (2, n), (1,), "backward", 0)]
        cases += [("fft", (3, n, 2), (1, 2), "ortho", 0), ("ifft", (0, n), (1,), "forward", 0)]
        cases += [("irfft", (half,), (0,), "backward", n), ("irfft", (3, half), (0, 1), "forward", n)]
        cases += [("irfft", (half, 2), (1, 0), "ortho", n)]
    else:
        cases = [("rfft", (n,), (0,), "backward", 0), ("rfft", (3, n), (0, 1), "ortho", 0)]
        cases += [("rfft", (n, 4), (1, 0), "forward", 0), ("rfft", (0, n), (1,), "backward", 0)]
    for kind, shape, axes, norm, length in cases:
        params = {"kind": kind, "axes": axes, "norm": norm}
        yield [draw(random, dtype, shape)], params if kind != "irfft" else {**params, "size": length}


fft = Primitive(
    "fft", kind="host", aval=_aval, lower=_lower, jvp=_jvp, transpose=_transpose, batch=_batch, shard=_shard,
    cost=_cost, domain=Domain((*FLOATS, *COMPLEXES), sample=_sample, tolerance=64.0), oracle="oracle.fft.fft",
)  # fmt: skip
"""The discrete Fourier transform over `axes`; `kind` and `norm` mean what they mean in NumPy.

"rfft" gives the half spectrum along the last of `axes`; "irfft" takes one and gives `size` real elements.
"""

"""The transforms, each a row: name, kind of the primitive, whether the spectrum is the Hermitian operand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from plait.core.dtype import complex64, complex128, float32, float64
from plait.core.errors import ArgumentError, DTypeError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.prims.fft import NORMS, threads
from plait.runtime.host import thread_count
from plait.tensor.families import both_names
from plait.tensor.operators import scalar_node, single
from plait.tensor.tensor import Tensor, axis_index, converted, integers, wrap

threads[:] = [thread_count]

_DOCUMENT = """{summary}

Args:
    x: a tensor{operand}; integers and bools are converted to float32.
    {sizes}
    {axis}; `dim` is another name{more}.
    norm: which direction is divided by the number n of points: "backward" (the default) the inverse, "forward" the
        other, "ortho" both by sqrt(n).

Returns:
    A tensor of {result}.

Raises:
    ShapeError: there is no such axis, one is named twice, or a length is less than 1.
    DTypeError: the dtype of `x` is not accepted.
    ArgumentError: an unknown `norm`.

Source: Cooley and Tukey, "An algorithm for the machine calculation of complex Fourier series", 1965.

Example:
    >>> plait.fft.{example}
"""
_ONE = (
    "n: the length to which the {what} is cropped or padded with zeros; by default {default}.",
    "axis: the axis to transform",
)
_MANY = (
    "s: a length for each axis, as `n` of the transform of one axis; -1 for the default.",
    "axes: the axes to transform, by default {default}",
)
_OPERAND = {"rfft": ", real", "irfft": ", half of a spectrum that is its own conjugate mirror image"}
_RESULT = {
    "fft": "complex numbers, of the shape of `x` but for the lengths",
    "ifft": "complex numbers, of the shape of `x` but for the lengths",
    "rfft": "complex numbers, of size n // 2 + 1 along the (last) axis",
    "irfft": "real numbers",
}


def _norm(norm: str | None, swapped: bool) -> str:
    if norm is None:
        norm = "backward"
    if norm not in NORMS:
        raise ArgumentError(message("Unknown norm of a Fourier transform", repr(norm), "one of " + ", ".join(NORMS)))
    return NORMS[2 - NORMS.index(norm)] if swapped else norm


def _operand(x: Any, name: str, kind: str) -> Node:
    node = single(x, name)
    if kind == "rfft":
        if node.dtype.is_complex:
            text, fix = f"{name} takes real numbers", "use the complex transform, or pass x.real"
            raise DTypeError(message(text, node.dtype.name, "a real dtype", fix))
        return converted(node, float64 if node.dtype is float64 else float32)
    return converted(node, complex128 if node.dtype in (float64, complex128) else complex64)


def _resized(node: Node, sizes: dict[int, int], name: str) -> Node:
    """Crop or pad axes with zeros at their end."""
    for axis, size in sizes.items():
        if size < 1:
            text = f"{name} needs at least one point on each axis"
            raise ShapeError(message(text, f"{size} on axis {axis} for shape {node.shape}", "lengths of at least 1"))
    high = tuple([sizes.get(i, n) - n for i, n in enumerate(node.shape)])
    if not any(high):
        return node
    zeros = (0,) * node.ndim
    return P.pad(node, scalar_node(0, node.dtype), low=zeros, high=high, interior=zeros)


def _transformed(
    x: Any, name: str, kind: str, hermitian: bool, given: Sequence[int | None], axis: Any, norm: str | None
) -> Tensor:
    """Transform over axes, one length or None for each; with `hermitian` the conjugate, the other way round."""
    node = _operand(x, name, kind)
    scaling = _norm(norm, hermitian)
    axes = tuple([axis_index(a, node.ndim) for a in axis])
    if len(set(axes)) != len(axes):
        raise ShapeError(message(f"{name}: an axis is named twice", tuple(axis), "distinct axes"))
    if not axes:
        if kind in ("rfft", "irfft"):
            raise ShapeError(message(f"{name} transforms at least one axis", f"axes {axes}", "at least one"))
        return wrap(node)
    sizes = {a: node.shape[a] if n is None else n for a, n in zip(axes, given, strict=True)}
    options: dict[str, Any] = {"kind": kind, "axes": axes, "norm": scaling}
    if kind == "irfft":
        last = axes[-1]
        length = 2 * (node.shape[last] - 1) if given[-1] is None else given[-1]
        options["size"] = length
        sizes[last] = length // 2 + 1 if length >= 1 else 0
        node = P.conj(node) if hermitian else node
    result = P.fft(_resized(node, sizes, name), **options)
    return wrap(P.conj(result) if hermitian and kind == "rfft" else result)


def _documented(
    function: Any, name: str, summary: str, kind: str, lines: tuple[str, str], aliases: dict[str, str], **more: str
) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = _DOCUMENT.format(
        summary=summary, operand=_OPERAND.get(kind, ""), sizes=lines[0], axis=lines[1], result=_RESULT[kind], **more
    )
    return both_names(function, **aliases)


def _of_one(name: str, kind: str, hermitian: bool, summary: str, example: str) -> Any:
    def function(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
        return _transformed(x, name, kind, hermitian, [n], [axis], norm)

    result, default = ("result", "2 * (size - 1)") if kind == "irfft" else ("axis", "its size")
    lines = (_ONE[0].format(what=result, default=default), _ONE[1])
    return _documented(function, name, summary, kind, lines, {"axes": "axis"}, more="", example=example)


def _of_many(name: str, kind: str, hermitian: bool, summary: str, example: str, default: Any = None) -> Any:
    def function(x: Any, s: Any = None, axes: Any = default, norm: str | None = None) -> Tensor:
        chosen, ndim = axes, single(x, name).ndim
        lengths = None if s is None else integers(s, f"{name}: s")
        if chosen is None:
            chosen = range(ndim) if lengths is None else range(-len(lengths), 0)
        chosen = integers(chosen, f"{name}: axes")
        given = [None] * len(chosen) if lengths is None else lengths
        if len(given) != len(chosen):
            raise ShapeError(message(f"{name} takes one length for each axis", f"s={s}, axes {chosen}"))
        return _transformed(x, name, kind, hermitian, [None if n == -1 else n for n in given], chosen, norm)

    text = "all, or as many of the last as `s` has lengths" if default is None else "the last two"
    lines = (_MANY[0], _MANY[1].format(default=text))
    return _documented(function, name, summary, kind, lines, {"axis": "axes"}, more="", example=example)


def _family(name: str, kind: str, hermitian: bool, summary: str, examples: Sequence[str]) -> tuple[Any, Any, Any]:
    """Return the transforms of one axis, of two and of many; `summary` has a place for the axes."""
    make: Callable[..., Any] = _of_many
    samples = [example.replace("\n", "\n    ") for example in examples]
    return (
        _of_one(name, kind, hermitian, summary.format("along one axis"), samples[0]),
        make(f"{name}2", kind, hermitian, summary.format("over two axes"), samples[1], (-2, -1)),
        make(f"{name}n", kind, hermitian, summary.format("over several axes"), samples[2]),
    )


_square = "plait.ones((2, 2))"
fft, fft2, fftn = _family(
    "fft", "fft", False, "Return the discrete Fourier transform {}.",
    ("fft(plait.tensor([1.0, 0.0, 0.0, 0.0]))\ntensor([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j])",
     f"fft2({_square})\ntensor([[4.+0.j, 0.+0.j],\n        [0.+0.j, 0.+0.j]])",
     f"fftn({_square}).real.sum()\ntensor(4.)"),
)  # fmt: skip
ifft, ifft2, ifftn = _family(
    "ifft", "ifft", False, "Return the inverse discrete Fourier transform {}.",
    ("ifft(plait.tensor([4.0, 0.0, 0.0, 0.0])).real\ntensor([1., 1., 1., 1.])",
     f"ifft2(plait.fft.fft2({_square})).real\ntensor([[1., 1.],\n        [1., 1.]])",
     f"ifftn(plait.fft.fftn({_square})).real.sum()\ntensor(4.)"),
)  # fmt: skip
rfft, rfft2, rfftn = _family(
    "rfft", "rfft", False, "Return the first half of the Fourier transform of real numbers {}.",
    ("rfft(plait.tensor([1.0, 0.0, 0.0, 0.0]))\ntensor([1.+0.j, 1.+0.j, 1.+0.j])",
     "rfft2(plait.ones((2, 4))).shape\n(2, 3)",
     "rfftn(plait.ones((2, 4)))[0, 0]\ntensor(8.+0.j)"),
)  # fmt: skip
irfft, irfft2, irfftn = _family(
    "irfft", "irfft", False, "Return the real numbers of which `x` is the first half of the Fourier transform {}.",
    ("irfft(plait.tensor([4.0, 0.0, 0.0]))\ntensor([1., 1., 1., 1.])",
     "irfft2(plait.fft.rfft2(plait.ones((2, 4))))\ntensor([[1., 1., 1., 1.],\n        [1., 1., 1., 1.]])",
     "irfftn(plait.fft.rfftn(plait.ones((2, 3))), s=(2, 3))\ntensor([[1., 1., 1.],\n        [1., 1., 1.]])"),
)  # fmt: skip
hfft, hfft2, hfftn = _family(
    "hfft", "irfft", True, "Return the Fourier transform, which is real, of a Hermitian signal given by half {}.",
    ("hfft(plait.tensor([1.0, 1.0, 1.0]))\ntensor([4., 0., 0., 0.])",
     "hfft2(plait.ones((2, 3))).shape\n(2, 4)",
     "hfftn(plait.ones((2, 3)))[0]\ntensor([8., 0., 0., 0.])"),
)  # fmt: skip
ihfft, ihfft2, ihfftn = _family(
    "ihfft", "rfft", True, "Return the first half of the inverse Fourier transform of real numbers {}.",
    ("ihfft(plait.tensor([4.0, 0.0, 0.0, 0.0])).real\ntensor([1., 1., 1.])",
     "ihfft2(plait.ones((2, 4))).shape\n(2, 3)",
     "ihfftn(plait.ones((2, 4))).real[0]\ntensor([1., 0., 0.])"),
)  # fmt: skip

"""Abstract values: dtype and shape, interned so that equality is identity."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from plait.core.dtype import DType
from plait.core.errors import ArgumentTypeError, ShapeError, message

_MOST_BYTES = 1 << 63


class Dim:
    """A size known only at run time. Two are equal when they are the same object.

    Args:
        name: how it prints.
        hint: a size that it has had.
        min: the smallest size that it may have, where it declares that of an argument (see `plait.jit`).
        max: the largest; None for any.

    Example:
        >>> plait.Dim("batch", max=512)
        batch
    """

    __slots__ = ("name", "hint", "min", "max")

    def __init__(self, name: str, hint: int = 0, *, min: int = 0, max: int | None = None) -> None:
        self.name, self.hint, self.min, self.max = name, hint, min, max

    def __repr__(self) -> str:
        return self.name


Size = int | Dim


class Aval:
    """What is known of a value before it is computed: `dtype` and `shape` (integers or `Dim`)."""

    __slots__ = ("dtype", "shape", "ndim", "__weakref__")
    dtype: DType
    shape: tuple[Size, ...]
    ndim: int

    def __repr__(self) -> str:
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]"

    def __deepcopy__(self, memo: object) -> Aval:
        return self

    @property
    def size(self) -> int:
        """Number of elements; needs every dimension to be an integer."""
        return prod(self.shape)  # type: ignore[arg-type]

    @property
    def nbytes(self) -> int:
        """Bytes of the dense row-major value."""
        return self.size * self.dtype.itemsize

    def with_shape(self, shape: Iterable[Size]) -> Aval:
        """Return the aval of the same dtype with another shape."""
        return aval(self.dtype, tuple(shape))

    def with_dtype(self, dtype: DType) -> Aval:
        """Return the aval of the same shape with another dtype."""
        return aval(dtype, self.shape)


_INTERNED: dict[tuple[DType, tuple[Size, ...]], Aval] = {}


def aval(dtype: DType, shape: tuple[Size, ...] = ()) -> Aval:
    """Return the one `Aval` for this dtype and shape."""
    found = _INTERNED.get((dtype, shape))
    if found is None:
        shape = _checked(dtype, shape)
        found = object.__new__(Aval)
        found.dtype, found.shape, found.ndim = dtype, shape, len(shape)
        found = _INTERNED.setdefault((dtype, shape), found)
    return found


def _checked(dtype: DType, shape: tuple[Size, ...]) -> tuple[Size, ...]:
    """Return a shape not seen before, its sizes plain integers; raise where none of the memory could hold it."""
    if not all(isinstance(s, Dim) or hasattr(s, "__index__") for s in shape):
        raise ArgumentTypeError(message("A shape is made of integers", shape, None, "pass e.g. (2, 3)"))
    shape = tuple([s if isinstance(s, Dim) else s.__index__() for s in shape])
    sizes = [s for s in shape if not isinstance(s, Dim)]
    if min(sizes, default=0) < 0:
        raise ShapeError(message("Sizes are not negative", shape, None, "-1 is understood by reshape only"))
    if prod(max(s, 1) for s in sizes) * dtype.itemsize >= _MOST_BYTES:
        raise ShapeError(message("A tensor has less than 2**63 bytes", f"{dtype} of shape {shape}", "smaller sizes"))
    return shape


def is_static(shape: Iterable[Size]) -> bool:
    """Whether every size is an integer."""
    return all(isinstance(s, int) for s in shape)

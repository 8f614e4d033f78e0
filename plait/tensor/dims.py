"""Declared sizes: which axes of a jitted function's arguments change, and between which bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plait.core.aval import Aval, Dim
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message

Dims = Mapping[str, Sequence[Dim | None]]
Shape = tuple[Any, ...]


class Axes:
    """The shapes of a function's arguments when it was staged first, and the axes whose sizes changed since."""

    def __init__(self) -> None:
        self.first: list[Shape] = []
        self.changing: set[tuple[int, int]] = set()

    def observe(self, shapes: Sequence[Shape]) -> list[Shape] | None:
        """Take note of shapes; returns others to plan for, where an axis has its first size above 1."""
        if not self.first:
            self.first = list(shapes)
        changed = {
            (k, axis)
            for k, (old, new) in enumerate(zip(self.first, shapes, strict=True))
            for axis, (a, b) in enumerate(zip(old, new, strict=True))
            if a < 2 <= b
        }
        if changed <= self.changing:
            return None
        self.changing |= changed
        kinds: dict[tuple[int, int], int] = {}
        others = [list(shape) for shape in shapes]
        for k, axis in sorted(changed):
            pair = self.first[k][axis], shapes[k][axis]
            others[k][axis] = shapes[k][axis] + 1 + kinds.setdefault(pair, len(kinds))
        return [tuple(shape) for shape in others]


def check_dims(dims: Any) -> Dims:
    """Return what `plait.jit` was given as `dims`; raises `ArgumentTypeError` unless it has the right form."""
    is_known = isinstance(dims, Mapping) and all(
        isinstance(name, str) and isinstance(axes, (tuple, list)) and all(a is None or isinstance(a, Dim) for a in axes)
        for name, axes in dims.items()
    )
    if not is_known:
        fix = 'pass e.g. dims={"x": (plait.Dim("batch"), None)}'
        raise ArgumentTypeError(message("dims names the axes of arguments", repr(dims), "a dict of tuples", fix))
    return dict(dims)


def resized(dims: Dims, names: Sequence[str], avals: Sequence[Aval]) -> list[Aval]:
    """Check the sizes of arguments, and return their avals with another size for each declared axis.

    Args:
        dims: what was declared.
        names: what the arguments are called; a declaration holds for the argument that it names and all inside it.
        avals: of these arguments.

    Raises:
        ShapeError: two axes that are declared to have one size differ, or a size is out of bounds.
        ArgumentError: no argument has a name that is declared.
    """
    sizes: dict[Dim, tuple[int, str]] = {}
    for k, axis, dim in _declared(dims, names, avals):
        size, place = int(avals[k].shape[axis]), f"axis {axis} of {names[k]}"  # type: ignore[arg-type]
        if not dim.min <= size <= (size if dim.max is None else dim.max):
            most = "" if dim.max is None else f" and at most {dim.max}"
            raise ShapeError(message(f"{dim} is out of bounds", f"{size} at {place}", f"at least {dim.min}{most}"))
        known, where = sizes.setdefault(dim, (size, place))
        if known != size:
            raise ShapeError(message(f"{dim} has two sizes", f"{known} at {where}, {size} at {place}", "one size"))
    others = {dim: _other(dim, size, k) for k, (dim, (size, _)) in enumerate(sizes.items())}
    shapes = [list(a.shape) for a in avals]
    for k, axis, dim in _declared(dims, names, avals):
        shapes[k][axis] = others[dim]
    return [a.with_shape(shape) for a, shape in zip(avals, shapes, strict=True)]


def _other(dim: Dim, size: int, number: int) -> int:
    """A size that the axis might have too, not like that of another."""
    other = max(size, 2) + 1 + number
    if dim.max is None or other <= dim.max:
        return other
    return max(size - 1 - number, dim.min, 2) if size > 2 else size


def _declared(dims: Dims, names: Sequence[str], avals: Sequence[Aval]) -> Iterator[tuple[int, int, Dim]]:
    for name, axes in dims.items():
        found = [k for k, n in enumerate(names) if n == name or n.startswith((f"{name}[", f"{name}."))]
        if not found:
            text = f"dims: no tensor among the arguments is called {name}"
            raise ArgumentError(message(text, ", ".join(dims), ", ".join(names) or "no tensors"))
        for k in found:
            if len(axes) != avals[k].ndim:
                received = f"{len(axes)} for {avals[k]}"
                raise ShapeError(message(f"dims: {names[k]} has one entry for each axis", received, avals[k].ndim))
            yield from ((k, axis, dim) for axis, dim in enumerate(axes) if dim is not None)

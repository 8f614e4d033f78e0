"""Images looked up at arbitrary places: sampling on a grid, and the grids of affine maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod
from typing import Any

from plait.core.dtype import float32, float64, int64
from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.nn.arguments import floating, same_dtype
from plait.prims.custom import with_transpose
from plait.tensor.composite import composite
from plait.tensor.contraction import matmul
from plait.tensor.creation import arange
from plait.tensor.shaping import as_operand, broadcast_to
from plait.tensor.stacking import stack
from plait.tensor.tensor import Tensor, converted, node_of, scalar_node, wrap

__all__ = ["affine_grid", "grid_sample", "grid_sampler", "grid_sampler_2d", "grid_sampler_3d"]

_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


# coordinates: nodes of places along one axis, in pixels


def _reflected(place: Node, low: float, span: float) -> Node:
    """Mirror places at `low` and at `low + span` until they are between."""
    if not span:
        return place * 0.0
    distance = P.abs(place - low)
    extra = P.rem(distance, scalar_node(span, place.dtype))
    is_even = P.eq(P.rem(P.floor(distance / span), scalar_node(2, place.dtype)), scalar_node(0, place.dtype))
    return P.select(is_even, extra, -extra + span) + low


def _inside(place: Node, size: int, padding: str, align: bool) -> Node:
    """Move places outside an axis to where the padding takes its elements from."""
    if padding == "zeros":
        return place
    if padding == "reflection":
        place = _reflected(place, 0.0, float(size - 1)) if align else _reflected(place, -0.5, float(size))
    first, last = scalar_node(0, place.dtype), scalar_node(size - 1, place.dtype)
    # at the border itself the derivative is 0
    return P.select(P.le(place, first), first, P.select(P.ge(place, last), last, place))


def _pixels(grid: Node, size: int, align: bool) -> Node:
    """Return places from -1 to 1 in pixels; those far outside (and NaN) at a place where nothing is read."""
    place = (grid + 1.0) * ((size - 1) / 2) if align else ((grid + 1.0) * float(size) - 1.0) * 0.5
    far = (scalar_node(v, place.dtype) for v in (-4 * size - 4, 5 * size + 4))
    return P.clamp(P.select(P.ne(place, place), scalar_node(-4 * size - 4, place.dtype), place), *far)


Terms = list[tuple[Node, Node | None]]  # along one axis: positions of elements (floats), and their weights


def _linear_terms(place: Node, size: int, padding: str, align: bool) -> Terms:
    place = _inside(place, size, padding, align)
    first = P.floor(place)
    share = place - first
    return [(first, -share + 1.0), (first + 1.0, share)]


def _nearest_terms(place: Node, size: int, padding: str, align: bool) -> Terms:
    return [(P.round(_inside(place, size, padding, align)), None)]


def _cubic_terms(place: Node, size: int, padding: str, align: bool) -> Terms:
    first, a = P.floor(place), -0.75
    share = place - first
    rest = -share + 1.0

    def near(x: Node) -> Node:
        return ((x * (a + 2) - (a + 3)) * x) * x + 1.0

    def far(x: Node) -> Node:
        return ((x * a - 5 * a) * x + 8 * a) * x - 4 * a

    weights = [far(share + 1.0), near(share), near(rest), far(rest + 1.0)]
    return [(_inside(first + float(k - 1), size, padding, align), w) for k, w in enumerate(weights)]


_TERMS: dict[str, Callable[..., Terms]] = {
    "bilinear": _linear_terms, "nearest": _nearest_terms, "bicubic": _cubic_terms,
}  # fmt: skip


def _corner(corner: Sequence[tuple[Node, Node | None]], spatial: Sequence[int]) -> tuple[Node, Node | None]:
    """Return the position in the flattened spatial axes (-1 outside) of one term of each axis, and its weight."""
    index: Node | None = None
    valid: Node | None = None
    weight: Node | None = None
    for (place, share), size in zip(corner, spatial, strict=True):
        position = P.convert(place, dtype=int64)
        within = P.bitwise_and(P.ge(position, scalar_node(0, int64)), P.lt(position, scalar_node(size, int64)))
        index = position if index is None else index * size + position
        valid = within if valid is None else P.bitwise_and(valid, within)
        weight = share if weight is None or share is None else weight * share
    assert index is not None
    return P.select(valid, index, scalar_node(-1, int64)), weight


def _looked_up(x: Node, terms: Sequence[Terms]) -> Node:
    """Return [N, C, *places]: sums of the elements of [N, C, *spatial] that the terms of each axis name."""
    spatial, places = x.shape[2:], terms[0][0][0].shape[1:]
    corners = [_corner(corner, spatial) for corner in product(*terms)]
    flat = P.reshape(x, shape=(*x.shape[:2], prod(spatial)))
    tables = [index for index, _ in corners] + [weight for _, weight in corners if weight is not None]
    tables = [P.reshape(t, shape=(t.shape[0], prod(places))) for t in tables]
    # computed once, not once for each channel
    held = P.barrier(*tables)
    found = with_transpose(_take, _put(flat.shape), flat, *[held[k] for k in range(len(tables))])
    return P.reshape(found, shape=(*x.shape[:2], *places))


def _halves(tables: Sequence[Node]) -> list[tuple[Node, Node | None]]:
    """Pair indices with their weights, if there are any: "nearest" has one index and none."""
    half = (len(tables) + 1) // 2
    return list(zip(tables[:half], tables[half:] or [None], strict=True))


def _take(flat: Node, *tables: Node) -> Node:
    """Return sums of elements of [N, C, pixels] at positions [N, places], with weights."""
    total: Node | None = None
    for index, weight in _halves(tables):
        example = P.iota(dtype=int64, shape=index.shape, axis=0)
        found = P.transpose(P.gather(flat, example, index, axes=(0, 2), mode="fill"), permutation=(0, 2, 1))
        if weight is not None:
            found = found * P.broadcast(weight, shape=found.shape, axes=(0, 2))
        total = found if total is None else total + found
    assert total is not None
    return total


def _put(shape: tuple[Any, ...]) -> Callable[..., Node]:
    """Make the transpose of `_take`: it adds rows of channels, which lie together in memory."""
    images, channels, size = shape

    def put(cotangent: Node, *tables: Node) -> Node:
        total = P.broadcast(scalar_node(0, cotangent.dtype), shape=(images * size, channels), axes=())
        rows = P.barrier(P.transpose(cotangent, permutation=(0, 2, 1)))[0]
        for index, weight in _halves(tables):
            first = P.iota(dtype=int64, shape=index.shape, axis=0) * size
            place = P.select(P.lt(index, scalar_node(0, int64)), index, index + first)
            updates = rows if weight is None else rows * P.broadcast(weight, shape=rows.shape, axes=(0, 1))
            total = P.scatter_add(total, updates, place, axes=(0,))
        return P.transpose(P.reshape(total, shape=(images, size, channels)), permutation=(0, 2, 1))

    return put


@composite
def grid_sample(
    input: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Tensor:
    """Look images up at places of a grid, interpolating between pixels (Jaderberg et al., 2015).

    Args:
        input: a tensor [N, C, H, W] or [N, C, D, H, W].
        grid: the places [N, *sizes, 2 or 3], from -1 to 1 along the last axis of the image, the one before, ...
        mode: "bilinear", "nearest", or (for two axes) "bicubic".
        padding_mode: what is outside: "zeros", "border" or "reflection".
        align_corners: whether -1 and 1 are the centres of the corner pixels, not their outer edges.

    Returns:
        A tensor [N, C, *sizes].

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: an unknown mode, or "bicubic" for three axes.
        DTypeError: the dtypes differ, or are no floats.

    Example:
        >>> image = plait.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> plait.nn.functional.grid_sample(image, plait.zeros(1, 1, 1, 2))
        tensor([[[[1.5000]]]])
    """
    x, places = floating(input, "grid_sample"), as_operand(grid, "grid_sample")
    same_dtype(x, places, "grid_sample")
    rank = x.ndim - 2
    if rank not in (2, 3) or places.ndim != x.ndim or places.shape[-1] != rank or places.shape[0] != x.shape[0]:
        expected = "[N, C, H, W] and [N, H', W', 2], or [N, C, D, H, W] and [N, D', H', W', 3]"
        raise ShapeError(message("grid_sample: shapes do not fit", f"{x.shape} and {places.shape}", expected))
    if min(x.shape[2:]) < 1:
        raise ShapeError(message("grid_sample takes images that are not empty", f"shape {x.shape}"))
    if mode not in _MODES or mode == "bicubic" and rank == 3:
        raise ArgumentError(message("Unknown mode of grid_sample", repr(mode), ", ".join(_MODES[: 5 - rank])))
    if padding_mode not in _PADDINGS:
        raise ArgumentError(message("Unknown padding_mode", repr(padding_mode), ", ".join(_PADDINGS)))
    wide = float64 if x.dtype is float64 else float32
    terms = []
    for axis, size in enumerate(x.shape[2:]):
        along = node_of(places[..., rank - 1 - axis])
        place = _pixels(converted(along, wide), size, bool(align_corners))
        terms.append(_TERMS[mode](place, size, padding_mode, bool(align_corners)))
    result = _looked_up(converted(node_of(x), wide), terms)
    return wrap(converted(result, x.dtype))


def _sampler(name: str, ranks: tuple[int, ...]) -> Any:
    def sampler(input: Any, grid: Any, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Tensor:
        x = as_operand(input, name)
        if x.ndim - 2 not in ranks:
            expected = f"{' or '.join(map(str, ranks))} spatial axes"
            raise ShapeError(message(f"{name} takes images", f"shape {x.shape}", expected))
        if interpolation_mode not in range(3) or padding_mode not in range(3):
            received = f"interpolation_mode={interpolation_mode}, padding_mode={padding_mode}"
            raise ArgumentError(message(f"{name} takes numbers of modes", received, "0, 1 or 2"))
        return grid_sample(x, grid, _MODES[interpolation_mode], _PADDINGS[padding_mode], align_corners)

    ones = ranks[0] * ", 1"
    call = f"plait.ones(1, 1{ones}), plait.zeros(1{ones}, {ranks[0]}), 0, 0, False"
    sampler.__name__ = sampler.__qualname__ = name
    sampler.__doc__ = f"""Look images up at places of a grid: `grid_sample`, with modes given by number.

    Args:
        input: a tensor [N, C, *spatial].
        grid: the places, as `grid_sample` takes them.
        interpolation_mode: 0 for "bilinear", 1 for "nearest", 2 for "bicubic".
        padding_mode: 0 for "zeros", 1 for "border", 2 for "reflection".
        align_corners: whether -1 and 1 are the centres of the corner pixels.

    Returns:
        A tensor [N, C, *sizes].

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: there is no such mode.

    Example:
        >>> plait.{name}({call}).shape
        {(1, 1, *(1,) * ranks[0])}
    """
    return sampler


grid_sampler = _sampler("grid_sampler", (2, 3))
grid_sampler_2d = _sampler("grid_sampler_2d", (2,))
grid_sampler_3d = _sampler("grid_sampler_3d", (3,))


@composite
def affine_grid(theta: Any, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Return the grid for `grid_sample` that an affine map makes of the pixels of an image.

    Args:
        theta: the maps [N, 2, 3], or [N, 3, 4].
        size: the sizes [N, C, H, W], or [N, C, D, H, W], of the result of `grid_sample`.
        align_corners: whether -1 and 1 are the centres of the corner pixels, not their outer edges.

    Returns:
        A tensor [N, H, W, 2], or [N, D, H, W, 3].

    Raises:
        ShapeError: `theta` and `size` do not fit.
        DTypeError: `theta` is not of floats.

    Example:
        >>> plait.nn.functional.affine_grid(plait.tensor([[[1.0, 0, 0], [0, 1, 0]]]), (1, 1, 1, 2))[0, 0]
        tensor([[-0.5000,  0.0000],
                [ 0.5000,  0.0000]])
    """
    maps, rank = floating(theta, "affine_grid"), len(size) - 2
    sizes = [n.__index__() for n in size]
    if rank not in (2, 3) or maps.shape != (sizes[0], rank, rank + 1) or min(sizes) < 1:
        expected = "[N, 2, 3] for sizes [N, C, H, W], or [N, 3, 4] for [N, C, D, H, W]"
        raise ShapeError(message("affine_grid: the sizes do not fit", f"{maps.shape} for {tuple(size)}", expected))
    spatial = sizes[2:]
    axes = [_centres(n, bool(align_corners), maps) for n in spatial]
    shaped = [a.reshape(*[-1 if i == k else 1 for i in range(rank)]) for k, a in enumerate(axes)]
    columns = [broadcast_to(a, spatial) for a in reversed(shaped)]
    base = stack([*columns, columns[0] * 0 + 1], -1).reshape(-1, rank + 1)
    return matmul(base, maps.mT).reshape(sizes[0], *spatial, rank)


def _centres(size: int, align: bool, like: Tensor) -> Tensor:
    """Return the centres of the pixels of an axis that reaches from -1 to 1."""
    if size == 1:
        return arange(1).to(like.dtype)
    step = 2 / (size - 1) if align else 2 / size
    first = -1.0 if align else step / 2 - 1
    return (arange(size).to(float64) * step + first).to(like.dtype)

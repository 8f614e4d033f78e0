"""Movement of elements by index arithmetic: reshape, broadcast, transpose, slice, pad, concatenate, reverse, iota."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

from plait.core.aval import Aval, Size, aval, is_static
from plait.core.dtype import ALL, FLOAT8, FLOATS, INTEGERS, DType, bool_
from plait.core.errors import ShapeError, message
from plait.core.graph import Node, constant, full
from plait.core.primitive import Domain, P, Primitive, Waived
from plait.ir.loop import Expr, Index, cast, const, is_const
from plait.prims.lines import Site, batch_all, choose
from plait.prims.rules import AxisMap, byte_count, check_dtype, check_same_dtype, draw, element_count, where

Axes = tuple[int, ...]
MOVABLE = (*ALL, *FLOAT8)
Sample = Iterator[tuple[list[Any], dict[str, Any]]]


# shared rules


def linear_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    """The jvp of a primitive that is linear in all inputs that can have a tangent: itself, applied to the tangents."""
    if all(t is None for t in tangents):
        return None
    operands = [
        t if t is not None else full(0, x.aval) if x.dtype is node.dtype else x  # indices stay as they are
        for t, x in zip(tangents, node.inputs, strict=True)
    ]
    return node.prim(*operands, **node.params)


def move_cost(node: Node) -> tuple[float, int]:
    """The cost of reading and writing each element of the result once."""
    return 0.0, 2 * byte_count([node.aval])


def kept_axes(node: Node, keeps: Callable[[int], bool]) -> AxisMap:
    """The axis map that shards the axes `k` of equal-rank operands and result where `keeps(k)`; others are not."""
    labels = tuple(k if keeps(k) else None for k in range(node.ndim))
    return tuple(labels if x.ndim == node.ndim else (None,) * x.ndim for x in node.inputs), labels


def check_permutation(name: str, axes: Axes, ndim: int) -> None:
    """Raise `ShapeError` unless `axes` are distinct and each is in range(ndim)."""
    if len(set(axes)) != len(axes) or any(not 0 <= a < ndim for a in axes):
        expected = f"distinct axes from 0 to {ndim - 1}" if ndim else "no axes"
        raise ShapeError(message(f"{name} received bad axes", axes, expected, "name each axis once, counted from 0"))


def _check_rank(name: str, ndim: int, **params: Sequence[Any]) -> None:
    for key, values in params.items():
        if len(values) != ndim:
            what = f"{name} needs one entry of {key} for each axis"
            raise ShapeError(message(what, f"{len(values)} entries {tuple(values)}", f"{ndim} entries"))


def _movable(name: str, *operands: Aval) -> DType:
    dtype = check_same_dtype(name, *operands)
    check_dtype(name, dtype, MOVABLE)
    return dtype


# reshape


def _element_text(shape: tuple[Size, ...]) -> str:
    return f"{shape}" + (f" with {prod(shape)} elements" if is_static(shape) else "")  # type: ignore[arg-type]


def _reshape_aval(x: Aval, *, shape: tuple[Size, ...]) -> Aval:
    _movable("reshape", x)
    counts = [prod(s for s in sizes if isinstance(s, int)) for sizes in (x.shape, shape)]
    symbols = [sorted(id(s) for s in sizes if not isinstance(s, int)) for sizes in (x.shape, shape)]
    negative = any(isinstance(s, int) and s < 0 for s in shape)
    if negative or counts[0] != counts[1] or (symbols[0] != symbols[1] and counts[0] != 0):
        fix = "choose sizes whose product is the number of elements"
        raise ShapeError(message("Cannot reshape", _element_text(x.shape), _element_text(shape), fix))
    return aval(x.dtype, shape)


def _same(a: Index, b: Index) -> bool:
    return a is b or (is_const(a) and is_const(b) and _int(a) == _int(b))


def _int(size: Index) -> int:
    return int(size.attr if isinstance(size, Expr) else size)


def flatten_index(index: Sequence[Index], shape: Sequence[Index]) -> Index:
    """Return the row-major position of an index."""
    flat: Index = 0
    for i, size in zip(index, shape, strict=True):
        flat = flat * size + i if not is_const(flat, 0) else i
    return flat


def unflatten_index(flat: Index, shape: Sequence[Index]) -> list[Index]:
    """Return the index at a row-major position."""
    flat, result = const(flat), []
    for size in reversed(shape[1:]):
        result.append(flat % size)
        flat = flat // size
    return [flat, *reversed(result)] if shape else []


def _groups(target: Sequence[Index], source: Sequence[Index]) -> Iterator[tuple[list[int], list[int]]]:
    """Pair the smallest runs of axes with equal products, axes of size 1 left out."""
    left = [k for k, size in enumerate(target) if not is_const(size, 1)]
    right = [k for k, size in enumerate(source) if not is_const(size, 1)]
    while left and right and _same(target[left[-1]], source[right[-1]]):
        yield [left.pop()], [right.pop()]
    while left and right:
        i = j = 1
        a, b = target[left[0]], source[right[0]]
        while not _same(a, b):
            comparable = is_const(a) and is_const(b)
            if comparable and _int(a) < _int(b) and i < len(left):
                a, i = a * target[left[i]], i + 1
            elif comparable and _int(b) < _int(a) and j < len(right):
                b, j = b * source[right[j]], j + 1
            else:
                i, j = len(left), len(right)
                break
        yield left[:i], right[:j]
        left, right = left[i:], right[j:]
    if left or right:
        yield left, right


def reshape_index(index: Sequence[Index], target: Sequence[Index], source: Sequence[Index]) -> list[Index]:
    """Return where the element at `index` of a value of shape `target` is in its reshape to `source`.

    Axes that the reshape leaves alone are passed through; only split and merged runs cost arithmetic.
    """
    result: list[Index] = [0] * len(source)
    if any(is_const(size, 0) for size in (*target, *source)):
        return result
    for outer, inner in _groups(target, source):
        flat = flatten_index([index[k] for k in outer], [target[k] for k in outer])
        for k, i in zip(inner, unflatten_index(flat, [source[k] for k in inner]), strict=True):
            result[k] = i
    return result


def _reshape_lower(site: Site, index: list[Index]) -> Any:
    return site.read(0, reshape_index(index, site.out_shape, site.shape(0)))


def _reshape_samples(random: Any, dtype: DType, size: int) -> Sample:
    for old, new in (
        ((), (1, 1)),
        ((size, 6), (size * 2, 3)),
        ((size, 6), (6 * size,)),
        ((4, size, 3), (2, 1, 2, size, 3)),
        ((4, 6), (3, 8)),
        ((2, size, 3), (3, size, 2)),
    ):
        yield [draw(random, dtype, old)], {"shape": new}


reshape = Primitive(
    "reshape", kind="view", aval=_reshape_aval, lower=_reshape_lower, jvp=linear_jvp,
    transpose=lambda node, ct, linear: [P.reshape(ct, shape=node.inputs[0].shape)],
    batch=lambda node, inputs, batched, size: P.reshape(inputs[0], shape=(size, *node.shape)),
    shard=Waived("axes are merged and split"), cost=move_cost,
    domain=Domain(MOVABLE, sample=_reshape_samples), oracle="oracle.movement.reshape",
)  # fmt: skip


# broadcast


def _broadcast_aval(x: Aval, *, shape: tuple[Size, ...], axes: Axes) -> Aval:
    _movable("broadcast", x)
    _check_rank("broadcast", x.ndim, axes=axes)
    check_permutation("broadcast", axes, len(shape))
    if list(axes) != sorted(axes) or any(s not in (1, shape[a]) for s, a in zip(x.shape, axes, strict=True)):
        expected = f"sizes that are 1 or those of {shape} at the increasing axes {axes}"
        raise ShapeError(message("Cannot broadcast", x.shape, expected, "add or remove axes with reshape"))
    return aval(x.dtype, shape)


def _broadcast_lower(site: Site, index: list[Index]) -> Any:
    sizes = site.shape(0)
    return site.read(0, [0 if is_const(s, 1) else index[a] for s, a in zip(sizes, site.params["axes"], strict=True)])


def _broadcast_transpose(node: Node, ct: Node, linear: Sequence[bool]) -> list[Node]:
    x, axes = node.inputs[0], node.params["axes"]
    kept = {a for s, a in zip(x.shape, axes, strict=True) if s == node.shape[a]}
    summed = tuple(a for a in range(node.ndim) if a not in kept)
    result = P.reduce_sum(ct, axes=summed) if summed else ct
    return [result if result.shape == x.shape else P.reshape(result, shape=x.shape)]


def _broadcast_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    axes = (0, *[a + 1 for a in node.params["axes"]])
    return P.broadcast(inputs[0], shape=(size, *node.shape), axes=axes)


def _broadcast_shard(node: Node) -> AxisMap:
    pairs = zip(node.inputs[0].shape, node.params["axes"], strict=True)
    return (tuple(a if s == node.shape[a] else None for s, a in pairs),), tuple(range(node.ndim))


def _broadcast_samples(random: Any, dtype: DType, size: int) -> Sample:
    yield [draw(random, dtype, ())], {"shape": (size, 2), "axes": ()}
    yield [draw(random, dtype, (size,))], {"shape": (3, size), "axes": (1,)}
    yield [draw(random, dtype, (1, size))], {"shape": (4, 3, size), "axes": (1, 2)}
    yield [draw(random, dtype, (size, 1))], {"shape": (size, 2, 5), "axes": (0, 2)}


broadcast = Primitive(
    "broadcast", kind="view", aval=_broadcast_aval, lower=_broadcast_lower, jvp=linear_jvp,
    transpose=_broadcast_transpose, batch=_broadcast_batch, shard=_broadcast_shard,
    cost=lambda node: (0.0, byte_count([node.aval, node.inputs[0].aval])),
    domain=Domain(MOVABLE, sample=_broadcast_samples), oracle="oracle.movement.broadcast",
)  # fmt: skip


# transpose


def _transpose_aval(x: Aval, *, permutation: Axes) -> Aval:
    _movable("transpose", x)
    _check_rank("transpose", x.ndim, permutation=permutation)
    check_permutation("transpose", permutation, x.ndim)
    return x.with_shape([x.shape[a] for a in permutation])


def inverse_permutation(permutation: Axes) -> Axes:
    """Return the permutation that undoes `permutation`."""
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


def _transpose_lower(site: Site, index: list[Index]) -> Any:
    return site.read(0, [index[k] for k in inverse_permutation(site.params["permutation"])])


def _transpose_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    return P.transpose(inputs[0], permutation=(0, *[a + 1 for a in node.params["permutation"]]))


def _transpose_samples(random: Any, dtype: DType, size: int) -> Sample:
    yield [draw(random, dtype, ())], {"permutation": ()}
    yield [draw(random, dtype, (size, 3))], {"permutation": (1, 0)}
    yield [draw(random, dtype, (2, size, 3))], {"permutation": (1, 2, 0)}


transpose = Primitive(
    "transpose", kind="view", aval=_transpose_aval, lower=_transpose_lower, jvp=linear_jvp,
    transpose=lambda node, ct, linear: [P.transpose(ct, permutation=inverse_permutation(node.params["permutation"]))],
    batch=_transpose_batch,
    shard=lambda node: ((tuple(range(node.ndim)),), node.params["permutation"]), cost=move_cost,
    domain=Domain(MOVABLE, sample=_transpose_samples), oracle="oracle.movement.transpose",
)  # fmt: skip


# slice


def _is_whole(size: Size, start: int, limit: Size, stride: int) -> bool:
    return start == 0 and stride == 1 and limit == size


def _slice_aval(x: Aval, *, starts: Axes, limits: tuple[Size, ...], strides: Axes) -> Aval:
    _movable("slice", x)
    _check_rank("slice", x.ndim, starts=starts, limits=limits, strides=strides)
    shape: list[Size] = []
    for axis, (size, start, limit, stride) in enumerate(zip(x.shape, starts, limits, strides, strict=True)):
        if _is_whole(size, start, limit, stride):
            shape.append(size)
            continue
        known = isinstance(size, int) and isinstance(limit, int)
        if not known or stride < 1 or not 0 <= start <= limit <= size:  # type: ignore[operator]
            expected = f"0 <= start <= limit <= {size} and stride >= 1"
            raise ShapeError(message(f"Bad slice of axis {axis}", f"{start}:{limit}:{stride}", expected))
        shape.append(-(-(limit - start) // stride))  # type: ignore[operator]
    return x.with_shape(shape)


def _slice_lower(site: Site, index: list[Index]) -> Any:
    starts, strides = site.params["starts"], site.params["strides"]
    return site.read(0, [i * stride + start for i, start, stride in zip(index, starts, strides, strict=True)])


def _slice_transpose(node: Node, ct: Node, linear: Sequence[bool]) -> list[Node]:
    starts, strides = node.params["starts"], node.params["strides"]
    high = []
    for size, start, limit, stride, count in zip(
        node.inputs[0].shape, starts, node.params["limits"], strides, node.shape, strict=True
    ):
        covered = 0 if count == 0 else (count - 1) * stride + 1 if isinstance(count, int) else 0
        high.append(0 if _is_whole(size, start, limit, stride) else size - start - covered)
    interior = tuple(s - 1 for s in strides)
    return [P.pad(ct, constant(0, ct.dtype), low=starts, high=tuple(high), interior=interior)]


def _slice_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    starts, limits, strides = (node.params[k] for k in ("starts", "limits", "strides"))
    return P.slice(inputs[0], starts=(0, *starts), limits=(size, *limits), strides=(1, *strides))


def _slice_samples(random: Any, dtype: DType, size: int) -> Sample:
    yield [draw(random, dtype, ())], {"starts": (), "limits": (), "strides": ()}
    yield [draw(random, dtype, (size,))], {"starts": (size // 3,), "limits": (size,), "strides": (2,)}
    yield [draw(random, dtype, (size + 2, 5))], {"starts": (1, 0), "limits": (size + 1, 5), "strides": (3, 1)}
    yield [draw(random, dtype, (4, size))], {"starts": (2, 0), "limits": (2, size), "strides": (1, 1)}


slice_ = Primitive(
    "slice", kind="view", aval=_slice_aval, lower=_slice_lower, jvp=linear_jvp, transpose=_slice_transpose,
    batch=_slice_batch, shard=lambda node: kept_axes(node, lambda k: node.shape[k] == node.inputs[0].shape[k]),
    cost=move_cost, domain=Domain(MOVABLE, sample=_slice_samples), oracle="oracle.movement.slice",
    runtime=("starts", "limits"),
)  # fmt: skip


# pad


def _pad_aval(x: Aval, value: Aval, *, low: Axes, high: Axes, interior: Axes) -> Aval:
    dtype = _movable("pad", x, value)
    _check_rank("pad", x.ndim, low=low, high=high, interior=interior)
    if value.shape:
        raise ShapeError(message("The padding value must be one number", value.shape, "shape ()"))
    shape: list[Size] = []
    for axis, (size, before, after, between) in enumerate(zip(x.shape, low, high, interior, strict=True)):
        if before == after == between == 0:
            shape.append(size)
            continue
        spread = size + max(size - 1, 0) * between if isinstance(size, int) else -1
        if between < 0 or spread < 0 or spread + before + after < 0:
            received = f"low {before}, high {after}, interior {between} on size {size}"
            raise ShapeError(message(f"Bad padding of axis {axis}", received, "a size of at least 0, interior >= 0"))
        shape.append(spread + before + after)
    return aval(dtype, tuple(shape))


def _pad_lower(site: Site, index: list[Index]) -> Any:
    params = site.params
    inside: Expr = const(True, bool_)
    source: list[Index] = []
    rows = zip(index, site.shape(0), params["low"], params["high"], params["interior"], strict=True)
    for i, size, low, high, interior in rows:
        position = const(i - low)
        if not (isinstance(low, int) and low <= 0):
            inside = inside & (position >= 0)
        if interior:
            inside = inside & (position % (interior + 1)).eq(0)
            position = position // (interior + 1)
        if not (isinstance(high, int) and high <= 0):
            inside = inside & (position < size)
        source.append(position)
    value = site.read(0, source, inside)
    return value if is_const(inside, 1) else choose(inside, value, site.read(1, []))


def _pad_transpose(node: Node, ct: Node, linear: Sequence[bool]) -> list[Node | None]:
    x, value = node.inputs
    low, high, interior = (node.params[k] for k in ("low", "high", "interior"))
    of_x = of_value = None
    if linear[0]:
        negated = (tuple(-n for n in low), tuple(-n for n in high))
        of_x = P.pad(ct, constant(0, ct.dtype), low=negated[0], high=negated[1], interior=(0,) * node.ndim)
        if any(interior):
            strides = tuple(n + 1 for n in interior)
            of_x = P.slice(of_x, starts=(0,) * node.ndim, limits=of_x.shape, strides=strides)
    if linear[1]:
        outside = where(_pad_mask(node), 0, ct, ct.dtype)
        of_value = P.reduce_sum(outside, axes=tuple(range(node.ndim))) if node.ndim else outside
    return [of_x, of_value]


def _pad_mask(node: Node) -> Node:
    """True where the result of a pad comes from its operand."""
    ones = full(True, node.inputs[0].aval.with_dtype(bool_))
    return P.pad(ones, constant(False, bool_), **node.params)


def _pad_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    x, value = inputs
    params = {k: (0, *node.params[k]) for k in ("low", "high", "interior")}
    if not batched[1]:
        return P.pad(x, value, **params)
    (x,) = batch_all([x], batched[:1], size)
    padded = P.pad(x, constant(0, x.dtype), **params)
    return P.select(_pad_mask(node), padded, P.broadcast(value, shape=padded.shape, axes=(0,)))


def _pad_keeps(node: Node, axis: int) -> bool:
    return all(node.params[k][axis] == 0 for k in ("low", "high", "interior"))


def _pad_samples(random: Any, dtype: DType, size: int) -> Sample:
    for shape, low, high, interior in (
        ((), (), (), ()),
        ((size,), (2,), (0,), (0,)),
        ((size, 3), (0, 1), (3, -2), (2, 0)),
        ((size + 2,), (-1,), (-1,), (0,)),
        ((size + 1, 2), (-1, 0), (2, 1), (1, 3)),
    ):
        params = {"low": low, "high": high, "interior": interior}
        yield [draw(random, dtype, shape), draw(random, dtype, ())], params


pad = Primitive(
    "pad", kind="view", aval=_pad_aval, lower=_pad_lower, jvp=linear_jvp, transpose=_pad_transpose, batch=_pad_batch,
    shard=lambda node: kept_axes(node, lambda k: _pad_keeps(node, k)), cost=move_cost,
    domain=Domain(MOVABLE, sample=_pad_samples), oracle="oracle.movement.pad", runtime=("low", "high"),
)  # fmt: skip


# concatenate


def _concatenate_aval(*operands: Aval, axis: int) -> Aval:
    if not operands:
        raise ShapeError(message("concatenate needs an operand", "none", "at least one"))
    _movable("concatenate", *operands)
    first = operands[0]
    if not 0 <= axis < first.ndim:
        raise ShapeError(message("concatenate along a missing axis", axis, f"an axis of {first}", "use stack"))
    for other in operands[1:]:
        rest = [k for k in range(first.ndim) if k != axis]
        if other.ndim != first.ndim or any(other.shape[k] != first.shape[k] for k in rest):
            received = f"{first.shape} and {other.shape}"
            raise ShapeError(message("concatenate: shapes differ", received, f"equal sizes except on axis {axis}"))
    if len(operands) == 1:
        return first
    sizes = [x.shape[axis] for x in operands]
    if not is_static(sizes):
        raise ShapeError(message("concatenate along a symbolic axis", sizes, "integer sizes"))
    return first.with_shape((*first.shape[:axis], sum(sizes), *first.shape[axis + 1 :]))  # type: ignore[arg-type]


def _concatenate_lower(site: Site, index: list[Index]) -> Any:
    axis, end = site.params["axis"], const(0)
    parts = []
    for k in range(len(site.ins)):
        size = site.shape(k)[axis]
        if is_const(size, 0):
            continue
        start, end = end, end + size
        position = const(index[axis] - start)
        parts.append((k, position, end))
    if not parts:
        return site.read(0, index, const(False, bool_))
    result: Any = None
    for n, (k, position, end) in reversed(list(enumerate(parts))):
        before = const(True, bool_) if n == len(parts) - 1 else const(index[axis]) < end
        inside = before if n == 0 else before & (position >= 0)
        value = site.read(k, [*index[:axis], position, *index[axis + 1 :]], inside)
        result = value if result is None else choose(before, value, result)
    return result


def _concatenate_transpose(node: Node, ct: Node, linear: Sequence[bool]) -> list[Node | None]:
    axis, start = node.params["axis"], 0
    results: list[Node | None] = []
    for x, is_linear in zip(node.inputs, linear, strict=True):
        size = x.shape[axis]
        if len(node.inputs) == 1:
            return [ct]
        starts = tuple(start if k == axis else 0 for k in range(node.ndim))
        start += size
        limits = (*node.shape[:axis], start, *node.shape[axis + 1 :])
        piece = P.slice(ct, starts=starts, limits=limits, strides=(1,) * node.ndim) if is_linear else None
        results.append(piece)
    return results


def _concatenate_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    return P.concatenate(*batch_all(inputs, batched, size), axis=node.params["axis"] + 1)


def _concatenate_samples(random: Any, dtype: DType, size: int) -> Sample:
    for shapes, axis in (
        (((size,),), 0),
        (((size,), (3,), (0,), (1,)), 0),
        (((2, size, 3), (2, 4, 3)), 1),
        (((size, 2), (size, 1), (size, 5)), 1),
    ):
        yield [draw(random, dtype, shape) for shape in shapes], {"axis": axis}


concatenate = Primitive(
    "concatenate", kind="view", aval=_concatenate_aval, lower=_concatenate_lower, jvp=linear_jvp,
    transpose=_concatenate_transpose, batch=_concatenate_batch,
    shard=lambda node: kept_axes(node, lambda k: k != node.params["axis"]), cost=move_cost,
    domain=Domain(MOVABLE, sample=_concatenate_samples), oracle="oracle.movement.concatenate",
)  # fmt: skip


# reverse


def _reverse_aval(x: Aval, *, axes: Axes) -> Aval:
    _movable("reverse", x)
    check_permutation("reverse", axes, x.ndim)
    return x


def _reverse_lower(site: Site, index: list[Index]) -> Any:
    sizes, axes = site.shape(0), site.params["axes"]
    return site.read(0, [sizes[k] - 1 - i if k in axes else i for k, i in enumerate(index)])


def _reverse_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: Size) -> Node:
    return P.reverse(inputs[0], axes=tuple(a + 1 for a in node.params["axes"]))


def _reverse_samples(random: Any, dtype: DType, size: int) -> Sample:
    yield [draw(random, dtype, ())], {"axes": ()}
    yield [draw(random, dtype, (size,))], {"axes": (0,)}
    yield [draw(random, dtype, (2, size, 3))], {"axes": (1, 2)}


reverse = Primitive(
    "reverse", kind="view", aval=_reverse_aval, lower=_reverse_lower, jvp=linear_jvp,
    transpose=lambda node, ct, linear: [P.reverse(ct, axes=node.params["axes"])], batch=_reverse_batch,
    shard=lambda node: kept_axes(node, lambda k: k not in node.params["axes"]), cost=move_cost,
    domain=Domain(MOVABLE, sample=_reverse_samples), oracle="oracle.movement.reverse",
)  # fmt: skip


# iota


def _iota_aval(*, dtype: DType, shape: tuple[Size, ...], axis: int) -> Aval:
    check_dtype("iota", dtype, INTEGERS + FLOATS)
    check_permutation("iota", (axis,), len(shape))
    return aval(dtype, shape)


def _iota_samples(random: Any, dtype: DType, size: int) -> Sample:
    for shape, axis in (((size,), 0), ((3, size), 1), ((size, 2), 0)):
        yield [], {"dtype": dtype, "shape": shape, "axis": axis}


_NO_INPUTS = Waived("iota has no inputs")
iota = Primitive(
    "iota", kind="view", aval=_iota_aval,
    lower=lambda site, index: cast(const(index[site.params["axis"]]), site.params["dtype"].compute),
    jvp=_NO_INPUTS, transpose=_NO_INPUTS, batch=_NO_INPUTS,
    shard=lambda node: ((), tuple(None if k == node.params["axis"] else k for k in range(node.ndim))),
    cost=lambda node: (float(element_count(node.aval)), byte_count([node.aval])),
    domain=Domain(INTEGERS + FLOATS, sample=_iota_samples), oracle="oracle.movement.iota",
)  # fmt: skip

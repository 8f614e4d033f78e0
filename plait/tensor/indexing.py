"""`x[...]` and `x[...] = v` with all of NumPy's rules.

An index is split in two: a basic part (integers, slices, None, Ellipsis), which is a view, and an advanced part
(integer and boolean tensors), which is a gather from that view or a scatter into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from plait.core.dtype import bool_, int64, uint8
from plait.core.errors import (
    AbstractValueError,
    ArgumentTypeError,
    AxisError,
    IndexOutOfRangeError,
    ShapeError,
    message,
)
from plait.core.graph import ABSTRACT, CONSTANT, Node
from plait.core.primitive import P
from plait.prims.rules import broadcast_shapes, broadcast_to
from plait.runtime.buffer import to_numpy
from plait.tensor import lazy
from plait.tensor.operators import scalar_node
from plait.tensor.tensor import Tensor, check_write, converted, make_view, node_of, to_node, wrap, write
from plait.tensor.views import Step, step


@dataclass(slots=True)
class Plan:
    """A parsed index.

    `steps` is the basic part. After it, axis `axes[k]` of the view is indexed by `arrays[k]`: an int64 node of
    non-negative positions or a bool node, which covers as many axes as it has. `position` is where the axes of the
    broadcast arrays go in the result.
    """

    steps: tuple[Step, ...]
    arrays: list[Node]
    axes: list[int]
    position: int


_FULL = slice(None)
_BOUNDS = {int, type(None)}


def parse(x: Tensor, index: Any) -> Plan:
    """Split an index of `x` into its basic and advanced parts.

    Raises:
        IndexOutOfRangeError: an integer is out of range.
        ShapeError: too many indices, or a mask of another shape.
        ArgumentTypeError: something that cannot index.
    """
    items = index if isinstance(index, tuple) else (index,)
    key = _basic_key(items)
    plan = None if key is None else _plans.get((x.shape, key))
    if plan is None:
        plan = _parse(x.shape, [_item(i) for i in items])
        if key is not None:
            if len(_plans) > 4096:
                _plans.clear()
            _plans[x.shape, key] = plan
    return plan


_plans: dict[Any, Plan] = {}


def _basic_key(items: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Return a key for a basic index (a slice itself cannot be hashed), or None for another index."""
    key: list[Any] = []
    for item in items:
        kind = type(item)
        if kind is int or item is None or item is Ellipsis:
            key.append(item)
        elif kind is slice and {type(item.start), type(item.stop), type(item.step)} <= _BOUNDS:
            key.append((item.start, item.stop, item.step))
        else:
            return None
    return tuple(key)


def _parse(shape: tuple[int, ...], items: list[Any]) -> Plan:
    used = sum(_consumed(i) for i in items)
    if used > len(shape):
        text = "Too many indices"
        raise AxisError(message(text, f"{used} for a tensor of shape {shape}", f"at most {len(shape)}"))
    dots = [k for k, i in enumerate(items) if i is Ellipsis]
    if len(dots) > 1:
        raise AxisError(message("An index can have one Ellipsis", f"{len(dots)} of them"))
    at = dots[0] if dots else len(items)
    items[at : at + len(dots)] = [_FULL] * (len(shape) - used)
    return _Planner(shape).plan(items)


def _item(item: Any) -> Any:
    """Normalize one item: an int, a slice, None, Ellipsis, or a node of bool or of positions."""
    if item is None or item is Ellipsis or isinstance(item, slice):
        return item
    if isinstance(item, (bool, np.bool_)):
        return scalar_node(bool(item), bool_)
    if isinstance(item, Tensor):
        node = node_of(item)
    elif hasattr(item, "__index__") and not (isinstance(item, np.ndarray) and item.ndim):
        return item.__index__()
    elif isinstance(item, (list, tuple, np.ndarray)):
        array = _array_of(item)
        if array.dtype != object:
            return array
        node = to_node(item)
    else:
        expected = "integers, slices, None, Ellipsis, and integer or bool tensors, arrays or lists"
        raise ArgumentTypeError(message(f"A {type(item).__name__} cannot index a tensor", repr(item)[:40], expected))
    if node.dtype is not bool_ and not node.dtype.is_integer:
        _refuse_dtype(node.dtype.name)
    return node


def _array_of(item: Any) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(item) if isinstance(item, np.ndarray) or len(item) else np.zeros(0, np.int64)
    except ValueError:
        text = "A nested list used as an index needs equal lengths"
        raise ShapeError(
            message(text, repr(item)[:40], None, "index with one list for each axis: x[rows, columns]")
        ) from None


def _refuse_dtype(name: str) -> None:
    text = message("A tensor used as an index is of integers or bools", name, None, "convert with .to(plait.int64)")
    raise ArgumentTypeError(text)


def _consumed(item: Any) -> int:
    if item is None or item is Ellipsis:
        return 0
    if isinstance(item, np.ndarray):
        return item.ndim if item.dtype == bool else 1
    return item.ndim if isinstance(item, Node) and item.dtype is bool_ else 1


class _Planner:
    """Collects the view of the basic part axis by axis, and the arrays of the advanced part."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = shape
        self.starts: list[int] = []
        self.limits: list[int] = []
        self.strides: list[int] = []
        self.reversed: list[int] = []
        self.result: list[int] = []  # shape of the view
        self.arrays: list[Node] = []
        self.axes: list[int] = []

    def plan(self, items: Sequence[Any]) -> Plan:
        places: list[tuple[int, int]] = []  # of the advanced items, integers included: place in the index, in the view
        has_arrays = any(isinstance(i, (Node, np.ndarray)) for i in items)
        for place, item in enumerate(items):
            if isinstance(item, (int, Node, np.ndarray)) and has_arrays:
                covered = sum(a.ndim if a.dtype is bool_ else 1 for a in self.arrays)
                places.append((place, len(self.result) - covered))
            self._add(item)
        adjacent = all(b[0] - a[0] == 1 for a, b in zip(places, places[1:], strict=False))
        return Plan(self._steps(), self.arrays, self.axes, places[0][1] if places and adjacent else 0)

    def _add(self, item: Any) -> None:
        if item is None:
            self.result.append(1)
            return
        axis = len(self.starts)
        if isinstance(item, int):
            size = self.shape[axis]
            if not -size <= item < size:
                raise _out_of_range(item, axis, size)
            self._take(item % size, item % size + 1, 1)
        elif isinstance(item, slice):
            self._add_slice(item, axis)
        else:
            self._add_array(item, axis)

    def _take(self, start: int, limit: int, stride: int) -> None:
        self.starts.append(start)
        self.limits.append(limit)
        self.strides.append(stride)

    def _add_slice(self, item: slice, axis: int) -> None:
        if item.step is not None and not item.step.__index__():
            raise ShapeError(message("The step of a slice is zero", item, "a step other than 0"))
        start, stop, stride = item.indices(self.shape[axis])
        count = len(range(start, stop, stride))
        if not count:
            start, stop, stride = 0, 0, 1
        elif stride < 0:
            self.reversed.append(axis)
            start, stop, stride = start + (count - 1) * stride, start + 1, -stride
        self._take(start, stop, stride)
        self.result.append(count)

    def _add_array(self, item: Any, axis: int) -> None:
        is_mask = item.dtype == np.bool_ if isinstance(item, np.ndarray) else item.dtype is bool_
        covered = item.ndim if is_mask else 1
        sizes = tuple(self.shape[axis : axis + covered])
        if is_mask and 0 in item.shape and all(k in (0, n) for k, n in zip(item.shape, sizes, strict=False)):
            item = np.zeros(sizes, bool)  # an empty mask of fewer elements selects nothing, as in NumPy
        if is_mask and tuple(item.shape) != sizes:
            text = "A mask has the shape of the axes it covers"
            raise AxisError(message(text, tuple(item.shape), sizes))
        self.axes.append(len(self.result))
        for size in sizes:
            self._take(0, size, 1)
            self.result.append(size)
        self.arrays.append(item if isinstance(item, Node) and is_mask else _positions(item, axis, sizes))

    def _steps(self) -> tuple[Step, ...]:
        ends = [max(s, e) for s, e in zip(self.starts, self.limits, strict=True)]
        steps = []
        if any(self.starts) or tuple(ends) != tuple(self.shape) or set(self.strides) - {1}:
            cut = step("slice", starts=tuple(self.starts), limits=tuple(ends), strides=tuple(self.strides))
            steps.append(cut)
        if self.reversed:
            steps.append(step("reverse", axes=tuple(self.reversed)))
        sliced = [-((s - e) // n) for s, e, n in zip(self.starts, ends, self.strides, strict=True)]
        if sliced != self.result:
            steps.append(step("reshape", shape=tuple(self.result)))
        return tuple(steps)


def _out_of_range(value: int, axis: int, size: int) -> IndexOutOfRangeError:
    expected = f"{-size} to {size - 1}" if size else "nothing: the axis is empty"
    return IndexOutOfRangeError(message(f"Index out of range on axis {axis} of size {size}", value, expected))


def _positions(item: Any, axis: int, sizes: Sequence[int]) -> Node:
    """Return int64 positions counted from the first; arrays from outside are checked here, masks stay masks."""
    if isinstance(item, np.ndarray):
        if item.dtype == np.bool_:
            return to_node(item)
        if item.dtype.kind not in "iu":
            _refuse_dtype(str(item.dtype))
        if item.size:
            for extreme in (int(item.min()), int(item.max())):
                if not -sizes[0] <= extreme < sizes[0]:
                    raise _out_of_range(extreme, axis, sizes[0])
        return to_node(np.where(item < 0, item + sizes[0], item).astype(np.int64))
    return positions(item, sizes[0], axis)


_MOST_CHECKED = 4096
_REARRANGING = ("reshape", "transpose", "broadcast", "reverse")  # the same positions in other places


def positions(index: Node, size: int, axis: int = 0) -> Node:
    """Return integers as int64 positions on an axis, negative ones counted from the end.

    At most 4096 that are computed already are checked; where none is negative, nothing is recorded. Others are not
    waited for: those out of range read the nearest element, and are dropped in a write.

    Raises:
        IndexOutOfRangeError: an integer that was checked is out of range.
    """
    known = index
    while known.value is None and known.prim.name in _REARRANGING:
        known = known.inputs[0]
    if known.value is not None and 0 < known.aval.size <= _MOST_CHECKED and lazy.observing() is None:
        found = lazy.scalar_buffer(known) if known.prim is CONSTANT else known.value
        array = to_numpy(found, known.dtype.numpy, known.shape)
        # as unsigned numbers the negative ones are the largest
        if int(array.view(f"u{array.itemsize}").max()) < size:
            return converted(index, int64)
        for extreme in (int(array.min()), int(array.max())):
            if not -size <= extreme < size:
                raise _out_of_range(extreme, axis, size)
    index = converted(index, int64)
    return P.select(P.lt(index, scalar_node(0, int64)), index + scalar_node(size, int64), index)


def _count(flat: Node) -> int:
    """Return how often a flat mask holds, which is looked at."""
    if flat.flags & ABSTRACT and not lazy.look(flat):
        text = f"The number of elements that a mask selects is not known while the function is staged ({flat.source})"
        fix = "use plait.where(mask, x, 0), or assign by a mask: x[mask] = value"
        raise AbstractValueError(message(text, flat.aval, "operations whose shape does not depend on values", fix))
    return int(wrap(P.reduce_sum(converted(flat, int64), axes=(0,))).item())


def mask_positions(mask: Node) -> Node:
    """Return the flat positions where `mask` holds, int64; their number is looked at."""
    flat = P.reshape(mask, shape=(mask.aval.size,))
    return P.nonzero(flat, size=_count(flat), fill=0)


def _without_masks(node: Node, plan: Plan) -> tuple[tuple[int, ...], list[Node], list[int]]:
    """Replace each mask by positions on one axis merged from those it covers.

    Returns the shape with merged axes, the position arrays and their axes.
    """
    shape = list(node.shape)
    arrays, axes, shift = [], [], 0
    for array, axis in zip(plan.arrays, plan.axes, strict=True):
        axis += shift
        if array.dtype is bool_:
            shape[axis : axis + array.ndim] = [prod(shape[axis : axis + array.ndim])]
            shift += 1 - array.ndim
            array = mask_positions(array)
        arrays.append(array)
        axes.append(axis)
    return tuple(shape), arrays, axes


def _common(arrays: Sequence[Node]) -> list[Node]:
    shape = broadcast_shapes(*[a.shape for a in arrays], name="the index arrays")
    return [broadcast_to(a, shape) for a in arrays]


def getitem(x: Tensor, index: Any) -> Tensor:
    """Return `x[index]`: a view for a basic index, a new tensor where index arrays take part."""
    if isinstance(index, Tensor) and index.dtype.is_integer and x.ndim:  # what the plan comes to, without one
        node = node_of(x)
        return wrap(P.gather(node, positions(node_of(index), node.shape[0]), axes=(0,), mode="clip"))
    plan = parse(x, index)
    target = make_view(x, *plan.steps) if plan.steps or not plan.arrays else x
    if not plan.arrays:
        return target
    node = node_of(target)
    shape, arrays, axes = _without_masks(node, plan)
    if shape != node.shape:
        node = P.reshape(node, shape=shape)
    indices = _common(arrays)
    result = P.gather(node, *indices, axes=tuple(axes), mode="clip")
    count, position = indices[0].ndim, plan.position
    if position:
        order = (*range(count, count + position), *range(count), *range(count + position, result.ndim))
        result = P.transpose(result, permutation=order)
    return wrap(result)


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """Do `x[index] = value`: the value broadcasts, and is converted to the dtype of `x`.

    Raises:
        ShapeError: the value does not broadcast to what is indexed.
    """
    plan = parse(x, index)
    target = make_view(x, *plan.steps) if plan.steps else x
    if isinstance(value, Tensor) and _is_same_view(value, target):
        check_write(target)
        return  # x[i] += v has already written through the view
    new = scalar_node(value, x.dtype) if type(value) in (bool, int, float, complex) else to_node(value, x.dtype)
    if not plan.arrays:
        write(target, _fitted(new, target.shape))
    else:
        write(target, replaced(node_of(target), plan, new))


def _is_same_view(a: Tensor, b: Tensor) -> bool:
    base = a._base
    return base is not None and base is b._base and a._view == b._view and a._base_version == base._version


def _fitted(value: Node, shape: Sequence[int]) -> Node:
    """Broadcast a value to what is assigned; leading axes of size 1 may be dropped."""
    while value.ndim > len(shape) and value.shape[0] == 1:
        value = P.reshape(value, shape=value.shape[1:])
    fits = value.ndim <= len(shape) and all(
        n in (1, m) for n, m in zip(value.shape[::-1], tuple(shape)[::-1], strict=False)
    )
    if not fits:
        text = "The assigned value does not broadcast to what is indexed"
        raise ShapeError(message(text, value.shape, tuple(shape), "reshape the value"))
    return broadcast_to(value, tuple(shape))


def _masked(node: Node, mask: Node, axis: int, value: Node) -> Node:
    """Assign where a mask holds, without knowing how often it does unless the value depends on it."""
    before, after = node.shape[:axis], node.shape[axis + mask.ndim :]
    spread = P.broadcast(mask, shape=node.shape, axes=tuple(range(axis, axis + mask.ndim)))
    rows = value.shape[-1 - len(after)] if value.ndim > len(after) else 1
    if rows == 1:
        one = (*before, *([1] * mask.ndim), *after)
        value = _fitted(value, (*before, 1, *after))
        return P.select(spread, P.reshape(value, shape=one), node)
    flat = P.reshape(mask, shape=(mask.aval.size,))
    ranks = P.cumsum(converted(flat, int64), axis=0, reverse=False) - scalar_node(1, int64)
    count = rows if mask.flags & ABSTRACT else _count(flat)
    value = _fitted(value, (*before, count, *after))
    if not count:
        return node
    taken = P.gather(value, P.select(flat, ranks, scalar_node(0, int64)), axes=(axis,), mode="clip")
    order = (*range(1, axis + 1), 0, *range(axis + 1, taken.ndim))
    taken = P.transpose(taken, permutation=order) if axis else taken
    return P.select(spread, P.reshape(taken, shape=node.shape), node)


def scatter_added(node: Node, updates: Node, *indices: Node, axes: tuple[int, ...]) -> Node:
    """Return `node` with the updates added at positions; the sum of bools says whether any holds."""
    if node.dtype is not bool_:
        return P.scatter_add(node, updates, *indices, axes=axes)
    result = P.scatter_max(converted(node, uint8), converted(updates, uint8), *indices, axes=axes)
    return converted(result, bool_)


def replaced(node: Node, plan: Plan, value: Node, accumulate: bool = False) -> Node:
    """Return `node` with `value` where the arrays of `plan` point, or added there; it has no basic part."""
    if len(plan.arrays) == 1 and plan.arrays[0].dtype is bool_ and not accumulate:
        return _masked(node, plan.arrays[0], plan.axes[0], value)
    shape, arrays, axes = _without_masks(node, plan)
    flat = node if shape == node.shape else P.reshape(node, shape=shape)
    indices = _common(arrays)
    index_shape, position = indices[0].shape, plan.position
    rest = tuple(n for i, n in enumerate(shape) if i not in axes)
    result_shape = (*rest[:position], *index_shape, *rest[position:])
    value = _fitted(value, result_shape)
    if position:
        count = len(index_shape)
        order = (*range(position, position + count), *range(position), *range(position + count, len(result_shape)))
        value = P.transpose(value, permutation=order)
    scatter = scatter_added if accumulate else P.scatter_set
    result = scatter(flat, value, *indices, axes=tuple(axes))
    return result if shape == node.shape else P.reshape(result, shape=node.shape)

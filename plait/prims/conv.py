"""Convolution and its two gradients: three bilinear primitives, each the transpose of the others.

All come from one trilinear form, the sum over x[n, c, i] * w[o, c, t] * y[n, o, p] for the positions and taps with
p * stride + t * rhs_dilation - low = i * lhs_dilation: `conv` gives the derivative by y, `conv_input` by x,
`conv_weight` by w.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from plait.core.aval import Aval, Size, aval
from plait.core.dtype import COMPLEXES, FLOATS, INTEGERS, DType
from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import Domain, P, Primitive, Waived
from plait.ir.convolution import Convolution, Window, convolve_directly, weigh_directly
from plait.ir.gemm import product
from plait.ir.loop import Index
from plait.ir.patches import convolve, convolve_spaced, is_spaced, weigh
from plait.prims.rules import byte_count, check_dtype, check_same_dtype, draw, element_count

NUMBERS = INTEGERS + FLOATS + COMPLEXES
_SMALL = 8192  # multiply-adds below which packing costs more than it saves

Shape = tuple[Size, ...]
Pairs = tuple[tuple[int, int], ...]


# shapes


def _check_params(
    x: Shape, w: Shape, strides: Sequence[int], padding: Pairs, lhs: Sequence[int], rhs: Sequence[int], groups: int
) -> None:
    rank = len(x) - 2
    if rank < 1 or len(w) != len(x):
        fix = "add axes of size 1 so that both have a batch or output axis, a channel axis and the same spatial axes"
        what = "conv takes x[N, C, *spatial] and w[O, C / groups, *window]"
        raise ShapeError(message(what, f"{x} and {w}", None, fix))
    for name, value in (("strides", strides), ("padding", padding), ("lhs_dilation", lhs), ("rhs_dilation", rhs)):
        if len(value) != rank:
            what = f"conv: {name} needs one entry for each spatial axis"
            raise ArgumentError(message(what, value, f"{rank} entries"))
        if name != "padding" and any(v < 1 for v in value):  # type: ignore[operator]
            raise ArgumentError(message(f"conv: {name} must be positive", value, "integers of at least 1"))
    if any(isinstance(t, int) and t < 1 for t in w[2:]):
        raise ShapeError(message("conv: the window is empty", w, "window sizes of at least 1"))
    if groups < 1 or (isinstance(w[0], int) and w[0] % groups):
        fix = "choose output channels divisible by groups"
        raise ShapeError(message("conv: groups must divide the output channels", f"groups={groups}, w{w}", None, fix))
    if x[1] != (w[1] * groups if isinstance(w[1], int) else w[1] if groups == 1 else None):
        expected = f"x with {w[1]} * {groups} channels on axis 1"
        fix = "the window's axis 1 is the channels of x divided by groups"
        raise ShapeError(message("conv: channels do not match", f"x{x}, w{w}, groups={groups}", expected, fix))


def _spatial(size: Size, taps: Size, stride: int, pad: tuple[int, int], lhs: int, rhs: int) -> Size:
    if isinstance(size, int) and isinstance(taps, int):
        padded = ((size - 1) * lhs + 1 if size else 0) + pad[0] + pad[1]
        reach = (taps - 1) * rhs
        return (padded - reach - 1) // stride + 1 if padded > reach else 0
    if isinstance(taps, int) and stride == lhs == 1 and sum(pad) == (taps - 1) * rhs:
        return size
    fix = "use stride 1 and padding that keeps the size, or give the axis a fixed size"
    raise ShapeError(message("conv: this output size does not follow from a symbolic size", size, None, fix))


def _out_shape(
    x: Shape, w: Shape, strides: Sequence[int], padding: Pairs,
    lhs_dilation: Sequence[int], rhs_dilation: Sequence[int], groups: int,
) -> Shape:  # fmt: skip
    _check_params(x, w, strides, padding, lhs_dilation, rhs_dilation, groups)
    per_axis = zip(x[2:], w[2:], strides, padding, lhs_dilation, rhs_dilation, strict=True)
    return (x[0], w[0], *(_spatial(*axis) for axis in per_axis))


def _checked_dtype(name: str, *avals: Aval) -> DType:
    dtype = check_same_dtype(name, *avals)
    check_dtype(name, dtype, NUMBERS)
    return dtype


def _check_y(name: str, y: Aval, expected: Shape) -> None:
    if y.shape != expected:
        raise ShapeError(message(f"{name}: y does not have the shape of the convolution's result", y.shape, expected))


def _conv_aval(x: Aval, w: Aval, **params: Any) -> Aval:
    return aval(_checked_dtype("conv", x, w), _out_shape(x.shape, w.shape, **params))


def _input_aval(y: Aval, w: Aval, *, shape: Shape, **params: Any) -> Aval:
    dtype = _checked_dtype("conv_input", y, w)
    _check_y("conv_input", y, _out_shape(shape, w.shape, **params))
    return aval(dtype, shape)


def _weight_aval(x: Aval, y: Aval, *, shape: Shape, **params: Any) -> Aval:
    dtype = _checked_dtype("conv_weight", x, y)
    _check_y("conv_weight", y, _out_shape(x.shape, shape, **params))
    return aval(dtype, shape)


# rules: each primitive is named by its operands' roles, and the role of its result

_ROLES = {"conv": ("x", "w", "y"), "conv_input": ("y", "w", "x"), "conv_weight": ("x", "y", "w")}


def _apply(role: str, operands: dict[str, Node], shape: Shape, params: dict[str, Any]) -> Node:
    """Record the primitive whose result has `role`, of aval shape `shape`, on the operands of the other two."""
    if role == "y":
        return P.conv(operands["x"], operands["w"], **params)
    if role == "x":
        return P.conv_input(operands["y"], operands["w"], shape=shape, **params)
    return P.conv_weight(operands["x"], operands["y"], shape=shape, **params)


def _window_params(node: Node) -> dict[str, Any]:
    return {k: v for k, v in node.params.items() if k != "shape"}


def _jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    total: Node | None = None
    for position, tangent in enumerate(tangents):
        if tangent is not None:
            operands = [*node.inputs]
            operands[position] = tangent
            term = node.prim(*operands, **node.params)
            total = term if total is None else total + term
    return total


def _transpose(node: Node, cotangent: Node, linear: Sequence[bool]) -> list[Node | None]:
    *names, result = _ROLES[node.prim.name]
    operands = {**dict(zip(names, node.inputs, strict=True)), result: cotangent}
    params = _window_params(node)
    return [
        _apply(name, operands, operand.shape, params) if is_linear else None
        for name, operand, is_linear in zip(names, node.inputs, linear, strict=True)
    ]


_CHANNEL = {"x": 1, "w": 0, "y": 1}


def _folds(carriers: set[str], groups: int, size: int) -> tuple[dict[str, tuple[int, int]], int]:
    """Where a batch axis goes: for each role that carries it (the axis it joins, groups on that axis), new groups."""
    if "w" not in carriers:
        return {"x": (0, 1), "y": (0, 1)}, groups
    if "x" not in carriers:
        return {"w": (0, groups), "y": (1, groups)}, groups
    if "y" not in carriers:
        return {"x": (1, groups), "w": (1, 1)}, groups
    return {role: (axis, 1) for role, axis in _CHANNEL.items()}, groups * size


def _fold(node: Node, axis: int, groups: int) -> Node:
    """Merge axis 0, a batch, into `axis` of the rest: within each of its groups the batch comes first."""
    size, shape = node.shape[0], list[Any](node.shape[1:])
    split = (size, *shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
    order = (*range(1, axis + 2), 0, *range(axis + 2, len(split)))
    shape[axis] *= size
    moved = P.transpose(P.reshape(node, shape=split), permutation=order)
    return P.reshape(moved, shape=tuple(shape))


def _unfold(node: Node, axis: int, groups: int, size: int) -> Node:
    """Inverse of `_fold`."""
    shape: list[Any] = list(node.shape)
    shape[axis] //= size
    split = (*shape[:axis], groups, size, shape[axis] // groups, *shape[axis + 1 :])
    order = (axis + 1, *range(axis + 1), *range(axis + 2, len(split)))
    moved = P.transpose(P.reshape(node, shape=split), permutation=order)
    return P.reshape(moved, shape=(size, *shape))


def _batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: int) -> Node:
    *names, result = _ROLES[node.prim.name]
    carriers = {result, *(name for name, b in zip(names, batched, strict=True) if b)}
    params = _window_params(node)
    folds, params["groups"] = _folds(carriers, params["groups"], size)
    operands = {
        name: _fold(operand, *folds[name]) if name in carriers else operand
        for name, operand in zip(names, inputs, strict=True)
    }
    axis, groups = folds[result]
    shape: list[Any] = list(node.shape)
    shape[axis] *= size
    return _unfold(_apply(result, operands, tuple(shape), params), axis, groups, size)


def _cost(node: Node) -> tuple[float, int]:
    avals = dict(zip(_ROLES[node.prim.name], [*[i.aval for i in node.inputs], node.aval], strict=True))
    taps = element_count(avals["w"].with_shape(avals["w"].shape[1:]))
    return 2.0 * element_count(avals["y"]) * taps, byte_count(avals.values())


# the kernels


def _is_small(site: Any, y: Sequence[Index], w: Sequence[Index]) -> bool:
    work = product([*y[1 if site.invariant else 0 :], *w[1:]])  # of one example, or of the batch
    return bool(site.out.dtype.is_complex) or (isinstance(work, int) and work <= _SMALL)


def _per_group(channels: Index, groups: int) -> Index:
    return channels // groups


def _total_dtype(site: Any) -> DType:
    dtype: DType = site.out.dtype
    return dtype if dtype.is_complex else dtype.compute


def _windows(site: Any, x: Sequence[Index], w: Sequence[Index], y: Sequence[Index]) -> list[Window]:
    p = site.params
    per_axis = zip(
        x[2:], y[2:], w[2:], p["strides"], [low for low, _ in p["padding"]], p["lhs_dilation"], p["rhs_dilation"],
        strict=True,
    )  # fmt: skip
    return [Window(*axis) for axis in per_axis]


def _emit(site: Any, c: Convolution, is_small: bool) -> None:
    few = c.outputs == 1 or (c.outputs == 2 and isinstance(c.inputs, int) and c.inputs <= 8)
    if is_small or few:
        convolve_directly(site.builder, c)
    elif is_spaced(c):
        convolve_spaced(site.builder, c)
    else:
        convolve(site.builder, c)


def _conv_lower(site: Any) -> None:
    x, w, y, groups = site.shape(0), site.shape(1), site.out_shape, site.params["groups"]
    outputs = _per_group(w[0], groups)

    def write(n: Index, channel: Index, position: Sequence[Index], value: Any) -> None:
        site.write([n, channel, *position], value)

    def read_x(n: Index, channel: Index, position: Sequence[Index], guard: Any) -> Any:
        return site.read(0, [n, channel, *position], guard)

    def read_w(group: Index, o: Index, channel: Index, taps: Sequence[Index]) -> Any:
        return site.read(1, [group * outputs + o, channel, *taps])

    c = Convolution(
        _windows(site, x, w, y), y[0], groups, w[1], outputs, _total_dtype(site), site.target, write, read_x, read_w,
    )  # fmt: skip
    _emit(site, c, _is_small(site, y, w))


def _input_lower(site: Any) -> None:
    """The gradient by x is a convolution of y with the mirrored window: stride and input dilation change places."""
    y, w, x, groups = site.shape(0), site.shape(1), site.out_shape, site.params["groups"]
    outputs = _per_group(w[0], groups)
    windows = [
        Window(v.out, v.size, v.taps, v.spacing, v.reach - v.low, v.stride, v.dilation) for v in _windows(site, x, w, y)
    ]

    def write(n: Index, channel: Index, position: Sequence[Index], value: Any) -> None:
        site.write([n, channel, *position], value)

    def read_y(n: Index, channel: Index, position: Sequence[Index], guard: Any) -> Any:
        return site.read(0, [n, channel, *position], guard)

    def read_w(group: Index, channel: Index, o: Index, taps: Sequence[Index]) -> Any:
        mirrored = [n - 1 - t for n, t in zip(w[2:], taps, strict=True)]
        return site.read(1, [group * outputs + o, channel, *mirrored])

    c = Convolution(windows, x[0], groups, outputs, w[1], _total_dtype(site), site.target, write, read_y, read_w)
    _emit(site, c, _is_small(site, x, [0, outputs, *w[2:]]))


def _weight_lower(site: Any) -> None:
    x, y, w, groups = site.shape(0), site.shape(1), site.out_shape, site.params["groups"]
    outputs = _per_group(w[0], groups)

    def write(o: Index, channel: Index, taps: Sequence[Index], value: Any) -> None:
        site.write([o, channel, *taps], value)

    def read_x(n: Index, channel: Index, position: Sequence[Index], guard: Any) -> Any:
        return site.read(0, [n, channel, *position], guard)

    def read_y(n: Index, channel: Index, position: Sequence[Index]) -> Any:
        return site.read(1, [n, channel, *position])

    c = Convolution(
        _windows(site, x, w, y), x[0], groups, w[1], outputs, _total_dtype(site), site.target, write,
        read_x=read_x, read_y=read_y,
    )  # fmt: skip
    few = isinstance(c.inputs, int) and isinstance(outputs, int) and c.inputs * outputs <= 4
    (weigh_directly if site.out.dtype.is_complex or few else weigh)(site.builder, c)


# samples

_CASES: list[tuple[Any, ...]] = [
    # x, w, strides, padding, lhs_dilation, rhs_dilation, groups; "s" stands for the size
    ((2, 3, "s"), (4, 3, 3), (1,), ((1, 1),), (1,), (1,), 1),
    ((1, 4, "s", 5), (6, 2, 2, 3), (2, 1), ((1, 0), (2, 1)), (1, 1), (1, 2), 2),
    ((3, 2, "s", "s"), (5, 2, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1), 1),
    ((1, 3, "s", 7), (3, 1, 3, 3), (1, 2), ((1, 1), (1, 1)), (1, 1), (1, 1), 3),
    ((2, 2, "s"), (3, 2, 3), (2,), ((2, 3),), (3,), (2,), 1),
    ((1, 2, 6, "s"), (2, 2, 2, 1), (1, 1), ((-1, 0), (0, 1)), (1, 1), (1, 1), 1),
    ((1, 2, 3, 4, "s"), (3, 2, 2, 2, 1), (1, 2, 1), ((1, 0), (0, 1), (0, 0)), (1, 1, 1), (1, 1, 1), 1),
    ((9, 11, "s", 6), (10, 11, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), 1),
]


def _sampled(result: str) -> Any:
    """Make the `sample` of the primitive whose result has this role."""

    def sample(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
        names = next(roles for roles in _ROLES.values() if roles[2] == result)[:2]
        for case in _CASES:
            x, w = (tuple(size if n == "s" else n for n in shape) for shape in case[:2])
            params = dict(zip(("strides", "padding", "lhs_dilation", "rhs_dilation", "groups"), case[2:], strict=True))
            shapes: dict[str, Any] = {"x": x, "w": w, "y": _out_shape(x, w, **params)}
            if result != "y":
                params["shape"] = shapes[result]
            yield [draw(random, dtype, shapes[name], -2.0, 2.0) for name in names], params

    return sample


_SHARD = Waived("a convolution is sharded by its batch axis alone: map over shards")


def _primitive(name: str, rule: Any, lower: Any) -> Primitive:
    domain = Domain(NUMBERS, sample=_sampled(_ROLES[name][2]), tolerance=256.0)
    return Primitive(
        name, kind="kernel", aval=rule, lower=lower, jvp=_jvp, transpose=_transpose, batch=_batch,
        shard=_SHARD, cost=_cost, domain=domain, oracle=f"oracle.conv.{name}",
    )  # fmt: skip


conv = _primitive("conv", _conv_aval, _conv_lower)
"""Cross-correlation of x[N, C, *spatial] with w[O, C / groups, *window] over any number of spatial axes.

Params: `strides`, `padding` ((low, high) for each axis; negative crops), `lhs_dilation` (zeros between elements
of x), `rhs_dilation` (between taps) and `groups`.
"""

conv_input = _primitive("conv_input", _input_aval, _input_lower)
"""The transpose of `conv` by x: from y and w, a value of x's shape `shape`."""

conv_weight = _primitive("conv_weight", _weight_aval, _weight_lower)
"""The transpose of `conv` by w: from x and y, a value of w's shape `shape`."""

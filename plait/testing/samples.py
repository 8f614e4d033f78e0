"""Random typed programs over the primitives."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from plait.core.aval import aval
from plait.core.dtype import bfloat16, bool_, float32, float64, int32, int64
from plait.core.graph import Graph, Node, placeholder
from plait.core.primitive import P
from plait.testing.laws import epsilon
from plait.testing.operations import (
    binary_float,
    binary_integer,
    bits,
    broadcasting,
    comparison,
    complex_values,
    concatenation,
    conversion,
    counting,
    gathering,
    logic,
    moved,
    padding,
    powers,
    random_bits,
    reshaping,
    rounding,
    scattering,
    selection,
    slicing,
    transposing,
    unary_float,
)
from plait.testing.sampler import FLOAT_KINDS, INTEGER_KINDS, Program, Sample, Sampler, Shape, is_float


def random_program(seed: int) -> Program:
    """Return the random program of a seed."""
    random = np.random.default_rng(seed)
    kind = random.random()
    limit = 60_000 if kind < 0.006 else 2500 if kind < 0.05 else 250
    sampler = Sampler(random, limit)
    for _ in range(sampler.integer(1, 3)):
        dtype = sampler.choose(FLOAT_KINDS if sampler.chance(0.75) else (*INTEGER_KINDS, bool_))
        sampler.leaf(dtype, sampler.shape(), -2 if dtype.is_inexact else -20, 2 if dtype.is_inexact else 20)
    steps = sampler.integer(2, 4 if limit > 2500 else 9)
    for _ in range(4 * steps):
        if steps and sampler.choose(WIDE if limit > 2500 else STEPS)(sampler) is not None:
            steps -= 1
    made = [s for s in sampler.pool if s.node.inputs] or sampler.pool
    chosen = [made[-1], *[sampler.choose(made) for _ in range(sampler.integer(0, 3))]]
    if sampler.chance(0.05):
        chosen.append(sampler.pool[0])
    return Program([s.node for s in chosen], sampler.leaves, sampler.arrays, [s.error for s in chosen])


# reductions and rows


def _spread(y: Node, like: Shape, axes: Sequence[int]) -> Node:
    return P.broadcast(y, shape=like, axes=tuple(k for k in range(len(like)) if k not in axes))


def _count(shape: Shape, axes: Sequence[int]) -> int:
    return max(1, math.prod(shape[a] for a in axes))


def reducing(s: Sampler) -> Sample | None:
    """A reduction over some axes."""
    x = s.pick()
    if x is None:
        return None
    axes = s.axes(len(x.shape)) if s.chance(0.9) else ()
    n = _count(x.shape, axes)
    if x.dtype is bool_:
        return s.keep(getattr(P, s.choose(("reduce_or", "reduce_and")))(x.node, axes=axes), 1.0)
    name = s.choose(("reduce_sum", "reduce_sum", "reduce_max", "reduce_min", "reduce_prod"))
    if name in ("reduce_max", "reduce_min"):
        if x.dtype.is_complex or any(x.shape[a] == 0 for a in axes):
            return None
        return s.keep(getattr(P, name)(x.node, axes=axes), x.bound, x.error, rounds=False)
    if name == "reduce_prod":
        if x.dtype.is_inexact and n * math.log(max(1.0, x.bound)) > 7:
            return None
        top = max(1.0, x.bound) ** n if x.dtype.is_inexact else np.inf
        return s.keep(P.reduce_prod(x.node, axes=axes), top, n * top * (x.error + epsilon(x.dtype)))
    error = n * x.error + n * epsilon(x.dtype) * x.bound
    return s.keep(P.reduce_sum(x.node, axes=axes), n * x.bound + (x.bound == 0), error)


def positions(s: Sampler) -> Sample | None:
    """The place of an extreme, or an order, of exact values."""
    x = s.pick(lambda v: v.is_exact and len(v.shape) >= 1 and not v.dtype.is_complex and v.dtype is not bool_)
    if x is None:
        return None
    axis = s.integer(0, len(x.shape) - 1)
    if s.chance(0.4):
        return s.keep(P.argsort(x.node, axis=axis, descending=s.chance(0.5)), float(x.shape[axis]))
    if x.shape[axis] == 0:
        return None
    return s.keep(getattr(P, s.choose(("argmax", "argmin")))(x.node, axis=axis, dtype=int64), float(x.shape[axis]))


def softmax(s: Sampler) -> Sample | None:
    """Rows normalised by their exponentials."""
    x = s.pick(lambda v: is_float(v) and len(v.shape) >= 1 and v.bound <= 4 and v.size > 0)
    if x is None:
        return None
    axes = (len(x.shape) - 1,) if s.chance(0.7) else s.axes(len(x.shape))
    e = P.exp(x.node - _spread(P.reduce_max(x.node, axes=axes), x.shape, axes))
    total = P.reduce_sum(e, axes=axes)
    n = _count(x.shape, axes)
    error = (4 + n) * x.error + 8 * n * epsilon(x.dtype)
    if s.chance(0.3):
        return s.keep(P.log(total), math.log(n) + 1, error)
    return s.keep(e / _spread(total, x.shape, axes), 1.0, error)


def normalization(s: Sampler) -> Sample | None:
    """Rows with their mean taken away and their size made one."""
    x = s.pick(lambda v: is_float(v) and len(v.shape) >= 1 and v.bound <= 8 and v.size > 0 and v.dtype.bits >= 32)
    if x is None:
        return None
    axes = (len(x.shape) - 1,) if s.chance(0.7) else s.axes(len(x.shape))
    n = _count(x.shape, axes)
    mean = P.reduce_sum(x.node, axes=axes) * (1.0 / n)
    centred = x.node - _spread(mean, x.shape, axes)
    variance = P.reduce_sum(centred * centred, axes=axes) * (1.0 / n)
    scale = P.rsqrt(variance + 0.5)
    error = 20 * (1 + x.bound) ** 3 * (x.error + n * epsilon(x.dtype) * x.bound)
    return s.keep(centred * _spread(scale, x.shape, axes), 2 * x.bound * 1.5, error)


def cumulative(s: Sampler) -> Sample | None:
    """A running sum, product or extreme."""
    x = s.pick(lambda v: len(v.shape) >= 1 and not v.dtype.is_complex and v.dtype is not bool_)
    if x is None:
        return None
    axis = s.integer(0, len(x.shape) - 1)
    n = max(1, x.shape[axis])
    params = {"axis": axis, "reverse": s.chance(0.4)}
    name = s.choose(("cumsum", "cumsum", "cummax", "cummin", "cumprod", "cumlogsumexp"))
    if name in ("cummax", "cummin"):
        return s.keep(getattr(P, name)(x.node, **params), x.bound, x.error, rounds=False)
    if name == "cumlogsumexp" and is_float(x) and x.bound < 20:
        return s.keep(P.cumlogsumexp(x.node, **params), x.bound + math.log(n), x.error * n + n * epsilon(x.dtype) * 30)
    if name == "cumprod":
        if x.dtype.is_inexact and n * math.log(max(1.0, x.bound)) > 7:
            return None
        top = max(1.0, x.bound) ** n if x.dtype.is_inexact else np.inf
        return s.keep(P.cumprod(x.node, **params), top, n * top * (x.error + epsilon(x.dtype)))
    return s.keep(P.cumsum(x.node, **params), n * x.bound, n * (x.error + epsilon(x.dtype) * x.bound * n))


def sorting(s: Sampler) -> Sample | None:
    """A sort, with a payload where the keys are exact, and the largest elements."""
    x = s.pick(lambda v: len(v.shape) >= 1 and not v.dtype.is_complex and v.dtype is not bool_)
    if x is None:
        return None
    axis = s.integer(0, len(x.shape) - 1)
    if s.chance(0.3):
        k = s.integer(0, x.shape[axis])
        return moved(s, x, P.top_k(x.node, k=k, axis=axis, largest=s.chance(0.5))[0])
    descending = s.chance(0.4)
    payload = s.pick(lambda v: v.shape == x.shape and not v.dtype.is_complex and v.dtype is not bool_)
    if x.is_exact and payload is not None and s.chance(0.6):
        both = P.sort(x.node, payload.node, axis=axis, keys=1, descending=descending)
        moved(s, x, both[0])
        return moved(s, payload, both[1])
    return moved(s, x, P.sort(x.node, axis=axis, keys=1, descending=descending)[0])


def windows(s: Sampler) -> Sample | None:
    """A reduction over sliding windows."""
    x = s.pick(lambda v: 1 <= len(v.shape) <= 4 and v.size > 0 and not v.dtype.is_complex and v.dtype is not bool_)
    if x is None:
        return None
    rank = len(x.shape)
    window = tuple(s.integer(1, min(n, 3)) for n in x.shape)
    free = [w == 1 for w in window]
    strides = tuple(1 if f else s.integer(1, 2) for f in free)
    padded = tuple((0, 0) if f else (s.integer(0, 1), s.integer(0, 1)) for f in free)
    params = {"window": window, "strides": strides, "padding": padded, "window_dilation": (1,) * rank}
    n = math.prod(window)
    if s.chance(0.5):
        node = P.reduce_window_sum(x.node, **params)
        return s.keep(node, n * x.bound, n * (x.error + epsilon(x.dtype) * x.bound))
    params["padding"] = ((0, 0),) * rank  # a window in the padding alone would be infinite
    return s.keep(P.reduce_window_max(x.node, **params), x.bound, x.error, rounds=False)


# contractions


def _weights(s: Sampler, x: Sample, shape: Shape) -> Sample:
    found = s.pick(lambda v: v.dtype is x.dtype and v.shape == shape)
    low = 0 if x.dtype.kind == "u" else -1
    return found if found is not None and s.chance(0.6) else s.leaf(x.dtype, shape, low, 1)


def _product(s: Sampler, node: Node, x: Sample, w: Sample, n: int) -> Sample | None:
    bound = max(1, n) * x.bound * w.bound
    error = max(1, n) * (x.error * w.bound + w.error * x.bound + n * epsilon(x.dtype) * x.bound * w.bound)
    return s.keep(node, bound if x.dtype.is_inexact else np.inf, error if x.dtype.is_inexact else 0.0)


def contraction(s: Sampler) -> Sample | None:
    """A matrix product over any axes."""
    x = s.pick(lambda v: len(v.shape) >= 1 and v.dtype is not bool_ and v.size <= s.limit)
    if x is None:
        return None
    rank = len(x.shape)
    order = s.permutation(rank)
    batch = order[: s.choose((0, 0, 1)) if rank > 1 else 0]
    contract = order[len(batch) : len(batch) + s.choose((1, 1, 1, 2))]
    free = s.choose(((), (1,), (2,), (5,), (16,), (17,)))
    labels = [("b", a) for a in batch] + [("c", a) for a in contract] + [("f", k) for k in range(len(free))]
    arranged = [labels[k] for k in s.permutation(len(labels))]
    shape = tuple(free[k] if kind == "f" else x.shape[k] for kind, k in arranged)
    if math.prod(shape) > s.limit or x.size * math.prod(free) > 40 * s.limit:
        return None
    w = _weights(s, x, shape)
    places = {label: k for k, label in enumerate(arranged)}
    pairs = tuple(places["c", a] for a in contract), tuple(places["b", a] for a in batch)
    node = P.dot_general(x.node, w.node, contract=(contract, pairs[0]), batch=(batch, pairs[1]))
    return _product(s, node, x, w, math.prod(x.shape[a] for a in contract))


def convolution(s: Sampler) -> Sample | None:
    """A small convolution or one of its gradients."""
    rank = s.integer(1, 2)
    groups = s.choose((1, 1, 1, 2))
    channels, filters = groups * s.integer(1, 3), groups * s.integer(1, 3)
    shape = (s.integer(1, 2), channels, *[s.integer(3, 7) for _ in range(rank)])
    dtype = s.choose((float32, float32, float64, bfloat16, int32))
    x = s.leaf(dtype, shape)
    taps = tuple(s.integer(1, 3) for _ in range(rank))
    w = s.leaf(dtype, (filters, channels // groups, *taps), -1, 1)
    params = {
        "strides": tuple(s.integer(1, 2) for _ in taps),
        "padding": tuple((s.integer(0, 1), s.integer(0, 2)) for _ in taps),
        "lhs_dilation": tuple(s.choose((1, 1, 2)) for _ in taps),
        "rhs_dilation": tuple(s.choose((1, 1, 2)) for _ in taps),
        "groups": groups,
    }
    n = channels * math.prod(taps)
    y = P.conv(x.node, w.node, **params)
    result = _product(s, y, x, w, n)
    if result is None or 0 in y.shape or s.chance(0.5):
        return result
    other = _weights(s, x, y.shape)  # type: ignore[arg-type]
    if s.chance(0.5):
        back = P.conv_input(other.node, w.node, shape=shape, **params)
        return _product(s, back, other, w, filters * math.prod(taps))
    back = P.conv_weight(x.node, other.node, shape=w.shape, **params)
    return _product(s, back, x, other, math.prod(y.shape))  # type: ignore[arg-type]


# bodies


def looping(s: Sampler) -> Sample | None:
    """A scan over axis 0, carrying a state."""
    x = s.pick(lambda v: v.dtype in (float32, float64) and 1 <= len(v.shape) <= 3 and v.shape[0] <= 8 and v.bound <= 8)
    if x is None:
        return None
    row = x.shape[1:]
    w, start = s.leaf(x.dtype, row, -1, 1), s.leaf(x.dtype, row, -1, 1)
    wi, ci, xi = (placeholder(aval(x.dtype, row)) for _ in range(3))
    following = P.tanh(ci * 0.5 + xi * wi)
    body = Graph([wi, ci, xi], [following, following + xi])
    node = P.scan(
        w.node, start.node, x.node, body=body, length=x.shape[0], num_consts=1, num_carry=1, reverse=s.chance(0.4)
    )
    error = 4 * x.error + 100 * epsilon(x.dtype)
    s.keep(node[0], 1.0, error)
    return s.keep(node[1], 1 + x.bound, error)


def choosing(s: Sampler) -> Sample | None:
    """A cond on an exact boolean."""
    x = s.pick(lambda v: v.dtype in (float32, float64))
    if x is None:
        return None
    p = s.pick(lambda v: v.dtype is bool_ and v.shape == ()) or s.leaf(bool_, ())
    holders = [placeholder(x.node.aval) for _ in range(2)]
    true, false = Graph(holders[:1], [P.sin(holders[0]) + 1.0]), Graph(holders[1:], [holders[1] * 0.5])
    node = P.cond(p.node, x.node, true=true, false=false)
    return s.keep(node[0], max(2.0, x.bound), x.error)


def repeating(s: Sampler) -> Sample | None:
    """A while loop with a counter."""
    x = s.pick(lambda v: v.dtype in (float32, float64) and v.bound <= 8)
    if x is None:
        return None
    last = s.leaf(int64, (), 0, 5)
    c = [placeholder(aval(int64)), placeholder(aval(int64)), placeholder(x.node.aval)]
    condition = Graph(c, [P.lt(c[1], c[0])])
    b = [placeholder(aval(int64)), placeholder(x.node.aval)]
    body = Graph(b, [b[0] + 1, b[1] * 0.5 + 1.0])
    start = s.leaf(int64, (), 0, 0)
    node = P.while_loop(last.node, start.node, x.node, condition=condition, body=body, num_consts=(1, 0))
    return s.keep(node[1], x.bound + 2, x.error)


_POINTWISE = [unary_float] * 8 + [binary_float] * 10 + [binary_integer] * 4 + [conversion] * 4 + [selection] * 3
_POINTWISE += [powers, rounding, comparison, logic, bits, complex_values]
_MOVEMENT = [reshaping, broadcasting, transposing, slicing] * 3 + [padding, concatenation] * 2 + [counting]
_ROWS = [reducing] * 6 + [softmax, softmax, normalization]
WIDE = [*_POINTWISE, *_MOVEMENT, *_ROWS]
STEPS = [
    *WIDE, *[gathering, scattering, contraction] * 2, cumulative, cumulative, positions, sorting, windows, convolution,
    random_bits, looping, choosing, repeating,
]  # fmt: skip

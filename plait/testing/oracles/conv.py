"""Convolution from its definition, in the widest precision of the kind."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np

from plait.testing.oracles.contract import widest


def _dilated(x: Any, padding: Any, lhs_dilation: Any) -> Any:
    """The input with zeros between elements and around (negative padding crops)."""
    spatial = x.shape[2:]
    sizes = [(n - 1) * d + 1 if n else 0 for n, d in zip(spatial, lhs_dilation, strict=True)]
    spread: Any = np.zeros((*x.shape[:2], *sizes), x.dtype)
    spread[(..., *(slice(None, None, d) for d in lhs_dilation))] = x
    spread = np.pad(spread, [(0, 0), (0, 0), *((max(low, 0), max(high, 0)) for low, high in padding)])
    crop = [slice(max(-low, 0), n - max(-high, 0)) for (low, high), n in zip(padding, spread.shape[2:], strict=True)]
    return spread[(..., *crop)]


def _taps(x: Any, window: Any, out: Any, strides: Any, padding: Any, lhs_dilation: Any, rhs_dilation: Any) -> Any:
    """Yield each tap and a view of the input that it multiplies, over all outputs."""
    padded = _dilated(x, padding, lhs_dilation)
    for tap in product(*map(range, window)):
        starts = [t * d for t, d in zip(tap, rhs_dilation, strict=True)]
        steps = zip(starts, strides, out, strict=True)
        yield tap, padded[(..., *(slice(a, a + (n - 1) * s + 1 if n else a, s) for a, s, n in steps))]


def _out(x: Any, w: Any, strides: Any, padding: Any, lhs: Any, rhs: Any) -> list[int]:
    result = []
    for n, t, s, (low, high), dx, dw in zip(x, w, strides, padding, lhs, rhs, strict=True):
        free = ((n - 1) * dx + 1 if n else 0) + low + high - (t - 1) * dw - 1
        result.append(free // s + 1 if free >= 0 else 0)
    return result


def conv(x: Any, w: Any, *, strides: Any, padding: Any, lhs_dilation: Any, rhs_dilation: Any, groups: int) -> Any:
    """Cross-correlation of x[N, C, *spatial] with w[O, C / groups, *window]."""
    x, w = widest(x), widest(w)
    out = _out(x.shape[2:], w.shape[2:], strides, padding, lhs_dilation, rhs_dilation)
    result = np.zeros((x.shape[0], groups, w.shape[0] // groups, *out), x.dtype)
    weights = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    for tap, patch in _taps(x, w.shape[2:], out, strides, padding, lhs_dilation, rhs_dilation):
        grouped = patch.reshape(x.shape[0], groups, w.shape[1], *out)
        result += np.einsum("ngc...,goc->ngo...", grouped, weights[(..., *tap)])
    return result.reshape(x.shape[0], w.shape[0], *out)


def conv_input(y: Any, w: Any, *, shape: Any, groups: int, **params: Any) -> Any:
    """The transpose of `conv` by x."""
    y, w = widest(y), widest(w)
    # positions of x in its padded form, so that scattering into that and gathering back transposes the padding
    place = _dilated(np.arange(1, int(np.prod(shape)) + 1).reshape(shape), params["padding"], params["lhs_dilation"])
    total = np.zeros(int(np.prod(shape)) + 1, y.dtype)
    out = list(y.shape[2:])
    weights = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    grouped = y.reshape(y.shape[0], groups, y.shape[1] // groups, *out)
    plain = {"padding": [(0, 0)] * len(out), "lhs_dilation": [1] * len(out)}
    for tap, where in _taps(place, w.shape[2:], out, **{**params, **plain}):
        part = np.einsum("ngo...,goc->ngc...", grouped, weights[(..., *tap)])
        np.add.at(total, where.ravel(), part.reshape(where.shape).ravel())
    return total[1:].reshape(shape)


def conv_weight(x: Any, y: Any, *, shape: Any, groups: int, **params: Any) -> Any:
    """The transpose of `conv` by w."""
    x, y = widest(x), widest(y)
    out = list(y.shape[2:])
    grouped = y.reshape(y.shape[0], groups, y.shape[1] // groups, *out)
    result = np.zeros((groups, shape[0] // groups, *shape[1:]), x.dtype)
    for tap, patch in _taps(x, shape[2:], out, **params):
        patches = patch.reshape(x.shape[0], groups, shape[1], *out)
        flat = [v.reshape(*v.shape[:3], prod(out)) for v in (grouped, patches)]
        result[(..., *tap)] = np.einsum("ngop,ngcp->goc", *flat)
    return result.reshape(shape)

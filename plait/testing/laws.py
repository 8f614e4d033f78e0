"""The laws that every primitive obeys over its declared domain, as checks that print their own reproduction.

`check(primitive, dtype, size, law)` draws the samples of the primitive's `Domain` and compares compiled results
with the NumPy/SciPy oracle, finite differences, inner products and loops over examples.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from plait.compiler.pipeline import compile_nodes
from plait.core.aval import aval
from plait.core.dtype import DType, as_dtype
from plait.core.graph import Node, full, placeholder
from plait.core.primitive import PRIMITIVES, Domain, P, Primitive, Waived
from plait.runtime.buffer import from_numpy, to_numpy
from plait.runtime.launch import Executable
from plait.transforms.batch import batch, broadcast_to_batch
from plait.transforms.differentiate import instantiate, pull_back, push_forward

Array = Any
SIZES = (0, 1, 7, 37)


def run(outputs: Sequence[Node], leaves: Sequence[Node], arrays: Sequence[Array], fused: bool = True) -> list[Array]:
    """Compile and run a graph on NumPy arrays."""
    program = Executable(compile_nodes(outputs, leaves, fused))
    buffers = program.run([from_numpy(np.asarray(a), copy=True) for a in arrays])
    return [to_numpy(b, o.dtype.numpy, o.shape).copy() for b, o in zip(buffers, outputs, strict=True)]  # type: ignore[arg-type]


def leaf(array: Array) -> Node:
    """Return a graph input for an array."""
    return placeholder(aval(as_dtype(array.dtype), array.shape))


def apply(primitive: Primitive, inputs: Sequence[Node], params: dict[str, Any]) -> list[Node]:
    """Record a primitive; returns all its results."""
    node = primitive(*inputs, **params)
    return [node[k] for k in range(len(node.aval))] if isinstance(node.aval, tuple) else [node]


def samples(
    primitive: Primitive, dtype: DType, size: int, seed: int = 0
) -> Iterator[tuple[list[Array], dict[str, Any]]]:
    """Draw the cases of a primitive's domain."""
    domain = primitive.domain
    assert isinstance(domain, Domain)
    assert domain.sample is not None
    random = np.random.default_rng([seed, size, zlib.crc32(f"{primitive.name} {dtype.name}".encode())])
    for arrays, params in domain.sample(random, dtype, size):
        yield [np.asarray(a) for a in arrays], params


def oracle(primitive: Primitive) -> Callable[..., Any]:
    """Return the reference implementation of a primitive."""
    name = primitive.oracle
    assert isinstance(name, str)
    module, function = name.rsplit(".", 1)
    if module.startswith("oracle."):
        module = "plait.testing.oracles." + module.removeprefix("oracle.")
    result: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return result


def widen(array: Array) -> Array:
    """The array in the widest precision of its kind."""
    kind = as_dtype(array.dtype).kind
    return array.astype({"f": np.float64, "c": np.complex128}.get(kind, array.dtype))


def epsilon(dtype: DType) -> float:
    """Distance from 1 to the next larger number."""
    if not dtype.is_inexact:
        return 0.0
    return {"float8_e4m3fn": 0.125, "float8_e5m2": 0.25, "bfloat16": 2.0**-7, "float16": 2.0**-10}.get(
        dtype.name, float(np.finfo(dtype.real.numpy).eps) if dtype.bits >= 32 else 0.0
    )


def slack(dtype: DType, wide: float) -> float:
    """Return the factor on a derivative's tolerance: `wide`, but 1 where epsilon is so coarse that more hides all."""
    return wide if dtype.bits >= 32 else 1.0


def expect_close(got: Array, want: Array, tolerance: float, what: str) -> None:
    """Raise `AssertionError` unless two arrays agree to `tolerance` epsilons, NaN and infinities included."""
    got_dtype = as_dtype(got.dtype)
    assert got.shape == tuple(np.shape(want)), f"{what}: shape {got.shape}, expected {np.shape(want)}"
    if not got_dtype.is_inexact:
        assert np.array_equal(got, np.asarray(want).astype(got.dtype)), f"{what}:\n got {got!r}\nwant {want!r}"
        return
    with np.errstate(all="ignore"):
        rounded = np.asarray(want).astype(got.dtype)
        wide, reference = widen(got), widen(rounded)
        finite = np.abs(reference[np.isfinite(reference)])
        scale = max(1.0, float(finite.max())) if finite.size else 1.0
        allowed = tolerance * epsilon(got_dtype) * (np.abs(reference) + min(scale, 1e3))
        same = (wide == reference) | (np.isnan(wide) & np.isnan(reference)) | (np.abs(wide - reference) <= allowed)
    if not np.all(same):
        k = np.unravel_index(int(np.argmin(same)), same.shape)
        raise AssertionError(f"{what}: at {tuple(map(int, k))} got {wide[k]!r}, expected {reference[k]!r}")


def _as_list(values: Any) -> list[Array]:
    return list(values) if isinstance(values, (tuple, list)) else [values]


# laws ------------------------------------------------------------------------------------------------------------


BITWISE = ("bitcast", "nextafter")  # what these return depends on the precision of their operands


def value(primitive: Primitive, dtype: DType, arrays: list[Array], params: dict[str, Any], tolerance: float) -> None:
    """Compiled equals the oracle, fused and through shape-generic kernels."""
    given = arrays if primitive.name in BITWISE else [widen(a) for a in arrays]
    with np.errstate(all="ignore"):
        want = _as_list(oracle(primitive)(*given, **params))
    leaves = [leaf(a) for a in arrays]
    outputs = apply(primitive, leaves, params)
    for fused in (True, False):
        found = run(outputs, leaves, arrays, fused)
        for g, w in zip(found, want, strict=True):
            expect_close(g, w, tolerance, "fused" if fused else "generic")


def _differentiable(arrays: Sequence[Array]) -> list[int]:
    return [k for k, a in enumerate(arrays) if as_dtype(a.dtype).is_inexact]


def _random_like(array: Array, seed: int) -> Array:
    random = np.random.default_rng(seed)
    values = random.uniform(-1, 1, array.shape)
    if np.iscomplexobj(array):
        values = values + 1j * random.uniform(-1, 1, array.shape)
    return np.asarray(values).astype(array.dtype)


def _smooth(primitive: Primitive) -> bool:
    return isinstance(primitive.domain, Domain) and primitive.domain.smooth


def derivative(
    primitive: Primitive, dtype: DType, arrays: list[Array], params: dict[str, Any], tolerance: float
) -> None:
    """The jvp equals central differences; the vjp is its transpose: <Jv, w> = <v, J'w>."""
    chosen = _differentiable(arrays)
    if not chosen or not _smooth(primitive) or not arrays[0].size:
        return
    leaves = [leaf(a) for a in arrays]
    outputs = [o for o in apply(primitive, leaves, params) if o.dtype.is_inexact]
    if not outputs:
        return
    directions = [leaf(arrays[k]) for k in chosen]
    results, tangents = push_forward(outputs, [leaves[k] for k in chosen], directions)
    present = [instantiate(t, o.aval) for t, o in zip(tangents, results, strict=True)]
    vectors = [_random_like(arrays[k], 10 + k) for k in chosen]
    pushed = run(present, [*leaves, *directions], [*arrays, *vectors])
    for g, w in zip(pushed, _differences(primitive, arrays, params, chosen, vectors), strict=True):
        if w is not None:
            expect_close(g, w, 3e7 if dtype.real.bits == 64 else tolerance * slack(dtype, 16), "jvp")
    if isinstance(primitive.jvp, Waived):
        return
    seeds = [leaf(g) for g in pushed]
    weights = [_random_like(g, 20 + k) for k, g in enumerate(pushed)]
    try:
        _, pull = pull_back(outputs, [leaves[k] for k in chosen])
        pulled = [instantiate(c, leaves[k].aval) for c, k in zip(pull(seeds), chosen, strict=True)]
    except Exception as error:
        if isinstance(primitive.transpose, Waived) and primitive.transpose.reason in str(error):
            return
        raise
    back = run(pulled, [*leaves, *seeds], [*arrays, *weights])
    forward = sum(np.sum(widen(a) * widen(b)) for a, b in zip(pushed, weights, strict=True))
    backward = sum(np.sum(widen(a) * widen(b)) for a, b in zip(back, vectors, strict=True))
    size = sum(float(np.sum(np.abs(widen(a) * widen(b)))) for a, b in zip(pushed, weights, strict=True)) + 1
    # Only the real parts are equal where a map is linear over the reals alone, as conj and abs are.
    forward, backward = np.real(forward), np.real(backward)
    assert abs(forward - backward) <= slack(dtype, 64) * tolerance * epsilon(dtype) * size, (
        f"transpose: {forward} != {backward}"
    )


def _differences(
    primitive: Primitive, arrays: list[Array], params: dict[str, Any], chosen: Sequence[int], vectors: Sequence[Array]
) -> list[Any]:
    """Central differences of the oracle in double precision."""
    step = 1e-6
    reference = oracle(primitive)

    def shifted(sign: float) -> list[Array]:
        moved = [widen(a) for a in arrays]
        for k, v in zip(chosen, vectors, strict=True):
            moved[k] = np.asarray(moved[k] + sign * step * widen(v))
        return _as_list(reference(*moved, **params))

    with np.errstate(all="ignore"):
        pairs = zip(shifted(1.0), shifted(-1.0), strict=True)
        found = [
            (np.asarray(a) - np.asarray(b)) / (2 * step) if np.asarray(a).dtype.kind in "fc" else None for a, b in pairs
        ]
    return [f for f in found if f is not None]


def batching(primitive: Primitive, dtype: DType, arrays: list[Array], params: dict[str, Any], tolerance: float) -> None:
    """vmap equals a loop, with every operand batched and with each one alone."""
    if isinstance(primitive.batch, Waived) or not arrays:
        return
    size = 3
    masks = [[True] * len(arrays)]
    if len(arrays) > 1:
        masks += [[k == j for k in range(len(arrays))] for j in range(len(arrays))]
    leaves = [leaf(a) for a in arrays]
    outputs = apply(primitive, leaves, params)
    random = np.random.default_rng(3)
    for mask in masks:
        stacked = [np.stack([random.permuted(a.reshape(-1)).reshape(a.shape) for _ in range(size)]) if m else a
                   for a, m in zip(arrays, mask, strict=True)]  # fmt: skip
        new = [leaf(s) for s in stacked]
        results, carries = batch(outputs, leaves, new, mask, size)
        full = [r if c else broadcast_to_batch(r, size) for r, c in zip(results, carries, strict=True)]
        got = run(full, new, stacked)
        for i in range(size):
            example = [s[i] if m else s for s, m in zip(stacked, mask, strict=True)]
            want = run(outputs, leaves, example)
            for g, w in zip(got, want, strict=True):
                expect_close(g[i], w, tolerance, f"vmap, batched {mask}, example {i}")


def _loss(primitive: Primitive, leaves: Sequence[Node], params: dict[str, Any], seed: int = 5) -> Node | None:
    """A real scalar function of a primitive's results: the weighted sum of their squares."""
    total: Node | None = None
    for o in apply(primitive, leaves, params):
        if not o.dtype.is_inexact:
            continue
        real = P.real(o) * P.real(o) + P.imag(o) * P.imag(o) if o.dtype.is_complex else o * o
        term = P.reduce_sum(real * 0.5, axes=tuple(range(o.ndim)))
        total = term if total is None else total + term
    return total


def second_order(
    primitive: Primitive, dtype: DType, arrays: list[Array], params: dict[str, Any], tolerance: float
) -> None:
    """vmap of grad equals a loop of grads; grad of vmap the same; jvp of grad equals differences of grad."""
    chosen = _differentiable(arrays)
    if not chosen or not _smooth(primitive) or isinstance(primitive.jvp, Waived) and primitive.linearize is None:
        return
    leaves = [leaf(a) for a in arrays]
    loss = _loss(primitive, leaves, params)
    if loss is None or not arrays[0].size:
        return
    wanted = [leaves[k] for k in chosen]
    _, pull = pull_back([loss], wanted)
    one = full(1, loss.aval)
    gradients = [instantiate(c, leaves[k].aval) for c, k in zip(pull([one]), chosen, strict=True)]
    size = 2
    stacked = [np.stack([a, a[::-1] if a.ndim and k in chosen else a]) for k, a in enumerate(arrays)]
    new = [leaf(s) for s in stacked]
    mapped, carries = batch(gradients, leaves, new, [True] * len(new), size)
    mapped = [m if c else broadcast_to_batch(m, size) for m, c in zip(mapped, carries, strict=True)]
    losses, carried = batch([loss], leaves, new, [True] * len(new), size)
    total = P.reduce_sum(losses[0], axes=(0,)) if carried[0] else losses[0] * float(size)
    _, pull_total = pull_back([total], [new[k] for k in chosen])
    of_map = [instantiate(c, new[k].aval) for c, k in zip(pull_total([one]), chosen, strict=True)]
    got = run([*mapped, *of_map], new, stacked)
    n = len(chosen)
    for i in range(size):
        want = run(gradients, leaves, [s[i] for s in stacked])
        for k in range(n):
            expect_close(got[k][i], want[k], slack(dtype, 64) * tolerance, "vmap of grad")
            expect_close(got[n + k][i], want[k], slack(dtype, 64) * tolerance, "grad of vmap")
    if dtype.real.bits == 64:
        _forward_over_reverse(gradients, wanted, leaves, arrays, chosen, tolerance)


def _forward_over_reverse(
    gradients: list[Node],
    wanted: list[Node],
    leaves: list[Node],
    arrays: list[Array],
    chosen: list[int],
    tolerance: float,
) -> None:
    vectors = [_random_like(arrays[k], 30 + k) for k in chosen]
    directions = [leaf(v) for v in vectors]
    results, tangents = push_forward(gradients, wanted, directions)
    present = [instantiate(t, r.aval) for t, r in zip(tangents, results, strict=True)]
    got = run(present, [*leaves, *directions], [*arrays, *vectors])
    step = 1e-6

    def shifted(sign: float) -> list[Array]:
        moved = list(arrays)
        for k, v in zip(chosen, vectors, strict=True):
            moved[k] = (moved[k] + sign * step * v).astype(arrays[k].dtype)
        return run(gradients, leaves, moved)

    for g, a, b in zip(got, shifted(1.0), shifted(-1.0), strict=True):
        want = (a - b) / (2 * step)
        scale = max(1.0, float(np.max(np.abs(want), initial=0.0)))
        assert np.allclose(g, want, rtol=1e-4, atol=1e-5 * scale), f"jvp of grad: {g} != {want}"


LAWS: dict[str, Callable[..., None]] = {
    "value": value, "derivative": derivative, "batching": batching, "second_order": second_order,
}  # fmt: skip


def check(name: str, dtype: str, size: int, law: str, seed: int = 0) -> int:
    """Check one law of one primitive on all samples of its domain; returns how many there were.

    Raises `AssertionError` whose text ends with the call that reproduces it.
    """
    primitive, kind = PRIMITIVES[name], as_dtype(dtype)
    assert isinstance(primitive.domain, Domain)
    count = 0
    for count, (arrays, params) in enumerate(samples(primitive, kind, size, seed), 1):
        try:
            LAWS[law](primitive, kind, arrays, params, primitive.domain.tolerance)
        except Exception as error:
            shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in arrays)
            again = f"plait.testing.laws.check({name!r}, {dtype!r}, {size}, {law!r}, {seed})"
            text = f"{type(error).__name__}: {error}\n  case {count}: {shapes} {params}\n  reproduce: {again}"
            raise AssertionError(text) from error
    return count

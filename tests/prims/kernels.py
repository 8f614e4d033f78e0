"""Runs graphs node by node on NumPy arrays: kernels compiled, views interpreted, the rest by their oracles."""

from __future__ import annotations

import ctypes
import functools
import importlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np

import plait.prims  # noqa: F401  (registers the primitives)
from plait.compiler.evaluate import Evaluator, KernelSite, flatten_index, sizes_product, unflatten_index
from plait.compiler.llvm.emit import emit
from plait.compiler.llvm.jit import compile_module, host_target, load
from plait.core.aval import Dim, aval
from plait.core.dtype import as_dtype, int64
from plait.core.graph import CONSTANT, GET, Node, placeholder, toposort
from plait.core.primitive import PRIMITIVES
from plait.ir.build import Builder
from plait.ir.check import check
from plait.ir.interp import evaluate as value_of, run
from plait.ir.loop import Function, make
from plait.transforms.differentiate import linearize, push_forward, transpose

Array = Any


def oracle(node: Node) -> Any:
    """Return the reference function of a node's primitive."""
    parts = node.prim.oracle.split(".")
    module = f"plait.testing.oracles.{parts[1]}" if parts[0] == "oracle" else parts[0]
    result: Any = importlib.import_module(module)
    for name in parts[2:] if parts[0] == "oracle" else parts[1:]:
        result = getattr(result, name)
    return result


def inputs_for(arrays: Sequence[Array]) -> list[Node]:
    """Return a placeholder for each array."""
    return [placeholder(aval(as_dtype(a.dtype), a.shape)) for a in arrays]


def evaluate(outputs: Sequence[Node], inputs: Sequence[Node], arrays: Sequence[Array]) -> list[Array]:
    """Compute nodes; several results come as a list."""
    known: dict[Node, Any] = dict(zip(inputs, arrays, strict=True))
    for node in toposort(outputs):
        if node not in known and node.prim is not CONSTANT:
            known[node] = _compute(node, [known.get(i) for i in node.inputs])
    return [_constant(o) if o.prim is CONSTANT else known[o] for o in outputs]


def _constant(node: Node) -> Array:
    return np.asarray(node.value).astype(node.dtype.numpy)


def _compute(node: Node, arrays: list[Array]) -> Any:
    if node.prim is GET:
        return arrays[0][node.params["index"]]
    if node.prim.kind == "expand":
        expanded = node.prim.lower(node)
        results = list(expanded) if isinstance(expanded, list) else [expanded]
        pairs = [(i, a) for i, a in zip(node.inputs, arrays, strict=True) if a is not None]
        found = evaluate(results, [i for i, _ in pairs], [a for _, a in pairs])
        return found if isinstance(node.aval, tuple) else found[0]
    if node.prim.kind in ("reduce", "elementwise") and node.prim.name != "convert":
        operands = [_constant(i) if a is None else a for i, a in zip(node.inputs, arrays, strict=True)]
        with np.errstate(all="ignore"):
            return np.asarray(oracle(node)(*operands, **node.params)).astype(node.dtype.numpy)
    return _run(node, arrays)


def _run(node: Node, arrays: list[Array], sizes: Mapping[Any, int] = MappingProxyType({})) -> Any:
    """Run the lowering of one node; `sizes` holds the values of symbolic sizes."""
    builder = Builder(node.prim.name)
    memory: dict[Any, Array] = {}

    def declare(value: Any, array: Array, written: bool) -> Any:
        dtype = value.dtype
        size = sizes_product(builder, value.shape) * (2 if dtype.is_complex else 1)
        buffer = (builder.output if written else builder.input)("b", dtype.real, size)
        memory[buffer] = array.reshape(-1).view(dtype.real.numpy)
        return buffer

    buffers = {
        i: declare(i.aval, np.ascontiguousarray(a), False)
        for i, a in zip(node.inputs, arrays, strict=True)
        if i.prim is not CONSTANT
    }
    avals = node.aval if isinstance(node.aval, tuple) else (node.aval,)
    written = [_poison(a.with_shape([sizes.get(n, n) for n in a.shape])) for a in avals]
    results = [declare(a, array, True) for a, array in zip(avals, written, strict=True)]
    evaluator = Evaluator(builder, buffers)
    if node.prim.kind == "kernel":
        node.prim.lower(KernelSite(evaluator, node, results, None, None))
    else:
        with builder.parallel(node.aval.size) as i:
            index = unflatten_index(i, evaluator.shape(node))
            value = evaluator.compute(node, index, None)
            evaluator.store(results[0], node.dtype, flatten_index(index, evaluator.shape(node)), value)
    kernel = builder.finish()
    check(kernel)
    named = {dim.name: size for dim, size in sizes.items()}
    for buffer in kernel.workspaces:
        memory[buffer] = _poison(aval(buffer.dtype, (_number(buffer.size, sizes),)))
    for function in kernel.functions:
        arguments = [memory[b] for b in function.buffers], [named[name] for name in function.scalars]
        (run_compiled if node.prim.kind == "kernel" else run)(function, *arguments)
    return written if isinstance(node.aval, tuple) else written[0]


def run_compiled(function: Function, arrays: Sequence[Array], scalars: Sequence[int]) -> None:
    """Execute a function as the interpreter's `run` does, in machine code."""
    call = _compiled(emit(function, host_target()), function.name)
    table = (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])
    args = (ctypes.c_int64 * (len(arrays) + len(scalars)))(*range(len(arrays)), *scalars)
    extent = function.extent
    env = {make("scalar", (), int64, name): np.asarray(v) for name, v in zip(function.scalars, scalars, strict=True)}
    call(table, args, 0, int(value_of(extent, env)))


@functools.cache
def _compiled(text: str, name: str) -> Any:
    address = load(compile_module(text, host_target()), [name])[name]
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(address)


def _number(size: Any, sizes: Mapping[Any, int]) -> int:
    if isinstance(size, int):
        return size
    env = {make("scalar", (), int64, dim.name): np.asarray(value) for dim, value in sizes.items()}
    return int(value_of(size, env))


def evaluate_symbolic(name: str, arrays: Sequence[Array], params: dict[str, Any], axes: Sequence[int]) -> Any:
    """Compute one primitive with the sizes of `axes`, equal in all operands, known only at run time."""
    dims = {a: Dim(f"n{a}") for a in axes}
    inputs = [
        placeholder(aval(as_dtype(x.dtype), tuple(dims.get(a, n) for a, n in enumerate(x.shape)))) for x in arrays
    ]
    node = PRIMITIVES[name](*inputs, **params)
    return _run(node, list(arrays), {dim: arrays[0].shape[a] for a, dim in dims.items()})


def _poison(value: Any) -> Array:
    """Return memory of a pattern that shows where nothing was written."""
    raw = np.full(value.nbytes, 1 if value.dtype.kind == "b" else 0xA5, np.uint8)
    return raw.view(value.dtype.numpy).reshape(value.shape)


# laws


def samples(name: str, dtype: Any, sizes: Sequence[int]) -> list[tuple[list[Array], dict[str, Any]]]:
    """Return the cases of a primitive's domain."""
    random = np.random.default_rng(7)
    domain = PRIMITIVES[name].domain
    return [case for size in sizes for case in domain.sample(random, dtype, size)]  # type: ignore[union-attr]


def check_values(name: str, dtype: Any, sizes: Sequence[int] = (0, 1, 2, 5)) -> None:
    """Compare a primitive with its oracle over its domain."""
    prim = PRIMITIVES[name]
    for arrays, params in samples(name, dtype, sizes):
        inputs = inputs_for(arrays)
        node = prim(*inputs, **params)
        expected = oracle(node)(*[_wide(a) for a in arrays], **params)
        (found,) = evaluate([node], inputs, arrays)
        several = isinstance(node.aval, tuple)
        for got, want in zip(found if several else [found], expected if several else [expected], strict=True):
            close(got, want, prim.domain.tolerance, (name, dtype, params, arrays))


def close(got: Array, want: Array, tolerance: float, what: Any = "") -> None:
    """Assert that `got` is `want`, up to some units of its epsilon where it is inexact."""
    want = np.asarray(want)
    assert got.shape == want.shape, what
    kind = as_dtype(got.dtype)
    if not kind.is_inexact:
        np.testing.assert_array_equal(got, want, str(what))
        return
    epsilon = float(ml_dtypes.finfo(kind.real.numpy).eps)
    exact = want.astype(np.complex128 if kind.is_complex else np.float64)
    np.testing.assert_allclose(
        got.astype(exact.dtype), exact, rtol=tolerance * epsilon, atol=tolerance * epsilon, err_msg=str(what)
    )


def _wide(x: Array) -> Array:
    dtype = as_dtype(x.dtype)
    return x.astype(np.complex128 if dtype.is_complex else np.float64) if dtype.is_inexact else x


def _dot(pairs: Sequence[tuple[Any, Any]]) -> Any:
    return sum(np.sum(a * b) for a, b in pairs if a is not None and b is not None)


def _flat_outputs(node: Node) -> list[Node]:
    found = [node[i] for i in range(len(node.aval))] if isinstance(node.aval, tuple) else [node]
    return [o for o in found if o.dtype.is_inexact]


def check_derivatives(name: str, arrays: Sequence[Array], params: dict[str, Any], order: int = 1) -> None:
    """Compare jvp with finite differences and transpose with jvp; of the jvp itself too for order 2."""
    inputs = inputs_for(arrays)
    outputs = _flat_outputs(PRIMITIVES[name](*inputs, **params))
    active = [i for i in inputs if i.dtype.is_inexact]
    fixed = [(i, a) for i, a in zip(inputs, arrays, strict=True) if i not in active]
    values = [a for i, a in zip(inputs, arrays, strict=True) if i in active]
    _check_jvp(outputs, active, values, fixed, order)


def _check_jvp(outputs: list[Node], active: list[Node], values: list[Array], fixed: Any, order: int) -> None:
    random = np.random.default_rng(3)
    directions = [_random_like(random, v) for v in values]
    holders = inputs_for(directions)
    primal, tangents = push_forward(outputs, active, holders)
    others, other_values = [i for i, _ in fixed], [a for _, a in fixed]
    at = [*active, *holders, *others]
    kept = [k for k, t in enumerate(tangents) if t is not None]
    found = evaluate([*primal, *[tangents[k] for k in kept]], at, [*values, *directions, *other_values])
    step = 1e-6

    def shifted(sign: int) -> list[Array]:
        moved = [v + sign * step * d for v, d in zip(values, directions, strict=True)]
        return evaluate(outputs, [*active, *others], [*moved, *other_values])

    for k, (low, high) in enumerate(zip(shifted(-1), shifted(1), strict=True)):
        want = (high - low) / (2 * step)
        got = found[len(primal) + kept.index(k)] if k in kept else np.zeros_like(want)
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-6)
    _check_transpose(outputs, active, values, fixed, directions)
    if order > 1:
        chosen = [tangents[k] for k in kept]
        _check_jvp(chosen, [*active, *holders], [*values, *directions], fixed, order - 1)  # type: ignore[arg-type]


def _check_transpose(outputs: Any, active: Any, values: Any, fixed: Any, directions: Any) -> None:
    random = np.random.default_rng(4)
    _, holders, tangents = linearize(outputs, active)
    kept = [t for t in tangents if t is not None]
    covalues = [_random_like(random, np.empty(t.shape, t.dtype.numpy)) for t in kept]
    cotangents = inputs_for(covalues)
    back = transpose(kept, [h for h in holders if h is not None], cotangents)
    others, other_values = [i for i, _ in fixed], [a for _, a in fixed]
    at = [*active, *holders, *others, *cotangents]
    present = [b for b in back if b is not None]
    found = evaluate([*kept, *present], at, [*values, *directions, *other_values, *covalues])
    pulled = iter(found[len(kept) :])
    results = [None if b is None else next(pulled) for b in back]
    for holder, b in zip(holders, back, strict=True):
        assert b is None or b.aval is holder.aval
    left = _dot(list(zip(found[: len(kept)], covalues, strict=True)))
    right = _dot(list(zip(directions, results, strict=True)))
    np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-9)


def _random_like(random: Any, x: Array) -> Array:
    result = random.uniform(-1, 1, x.shape)
    return result + 1j * random.uniform(-1, 1, x.shape) if x.dtype.kind == "c" else result


def check_batch(name: str, arrays: Sequence[Array], params: dict[str, Any], size: int = 3) -> None:
    """Compare the batching rule with a loop, for every choice of batched operands."""
    prim = PRIMITIVES[name]
    for mask in range(1, 2 ** len(arrays)):
        flags = [bool(mask >> k & 1) for k in range(len(arrays))]
        stacked = [
            np.stack([np.roll(a, s) for s in range(size)]) if f else a for a, f in zip(arrays, flags, strict=True)
        ]
        inputs, singles = inputs_for(stacked), inputs_for(arrays)
        node = prim(*singles, **params)
        (got,) = evaluate([prim.batch(node, inputs, flags, size)], inputs, stacked)
        each = [
            evaluate([node], singles, [s[k] if f else s for s, f in zip(stacked, flags, strict=True)])[0]
            for k in range(size)
        ]
        if isinstance(node.aval, tuple):
            for position, result in enumerate(got):
                np.testing.assert_array_equal(result, np.stack([e[position] for e in each]))
        else:
            np.testing.assert_allclose(got, np.stack(each), rtol=1e-12)

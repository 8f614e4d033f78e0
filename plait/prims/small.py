"""Kernels that factorize a batch of small real matrices, one matrix at a time in the cache of a thread."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from typing import Any

from plait.core.dtype import int32, int64
from plait.core.graph import Node
from plait.core.primitive import P, Primitive, Waived
from plait.ir.gemm import ceil_div, grain, product, smaller
from plait.ir.loop import const, select, unary
from plait.prims.lapack import refuse_indefinite, refuse_singular
from plait.prims.matrices import SHARD, batch_rule, cost_of, matrix_rule

SMALL = 64  # sizes up to which a matrix stays in cache, and substitution beats blocked algorithms
_WIDTH = 32  # right-hand sides that are solved at a time
_INNER = Waived("the primitive that expands to it holds the rule")


def is_small(x: Node) -> bool:
    """Whether square matrices are for the kernels of this file."""
    n = x.shape[-1]
    return not x.dtype.is_complex and isinstance(n, int) and n <= SMALL and x.shape[-2] == n and x.aval.size > 0


def checked(results: list[Node], check: Node | None) -> list[Node]:
    """Let results wait for a host call that raises where `info` is not zero."""
    if check is None:
        return results
    held = P.barrier(*results, check)
    return [held[k] for k in range(len(results))]


def _kernel(name: str, aval: Any, lower: Callable[[Any], None], multi: bool) -> Primitive:
    return Primitive(
        name, kind="kernel", aval=aval, lower=lower, jvp=_INNER, transpose=_INNER, batch=batch_rule, shard=SHARD,
        cost=cost_of(1.0), domain=_INNER, oracle=_INNER, multi=multi,
    )  # fmt: skip


def _triangular(site: Any) -> None:
    """Substitution row by row; the unknowns that are found stay in cache."""
    b, dtype, params = site.builder, site.out.dtype.compute, site.params
    *outer, n, columns = site.shape(1)
    width = 1 if columns == 1 else _WIDTH
    chunks = ceil_div(columns, width)
    place: Callable[[Any], Any] = (lambda k: k) if params["forward"] else (lambda k: n - 1 - k)
    with b.parallel(product(outer) * chunks, grain=grain(2 * n * n * width)) as task:
        batch, first = site.unflatten(task // chunks, outer), task % chunks * width
        found = b.stack(dtype, SMALL * width)

        def element(row: Any, k: Any) -> Any:
            return site.read(0, [*batch, k, row] if params["transposed"] else [*batch, row, k])

        def finish(step: Any, j: Any, rest: Any) -> None:
            row = place(step)
            value = b.local(dtype, rest if params["unit"] else rest / element(row, row))
            b.store(found, step * width + j, value.get())
            site.write([*batch, row, first + j], value.get())

        with b.loop(0, n) as step:
            row = place(step)
            if width == 1:
                total = b.accumulator("add", dtype, 0)
                with b.vector(0, step) as k:
                    total.add(element(row, place(k)) * b.load(found, k))
                finish(step, 0, site.read(1, [*batch, row, first]) - total.get())
            else:
                with b.vector(0, smaller(columns - first, width)) as j:
                    rest = b.local(dtype, site.read(1, [*batch, row, first + j]))
                    with b.loop(0, step) as k:
                        rest.set(rest.get() - element(row, place(k)) * b.load(found, k * width + j))
                    finish(step, j, rest.get())


triangular_solve_small = _kernel("triangular_solve_small", lambda a, b, **params: b, _triangular, False)
"""The solution of op(a) x = b by substitution, forward or backward."""


def _cholesky(site: Any) -> None:
    """Row by row of the transposed factor, each taken from all rows after it."""
    b, dtype = site.builder, site.dtype(0).compute
    *outer, n, _ = site.shape(0)
    with b.parallel(product(outer), grain=grain(n * n * n)) as task:
        batch, rows, failed = site.unflatten(task, outer), b.stack(dtype, SMALL * SMALL), b.local(int64, 0)
        with b.loop(0, n) as i, b.loop(0, i + 1) as j:
            b.store(rows, j * SMALL + i, site.read(0, [*batch, i, j]))
        with b.loop(0, n) as k:
            pivot = b.local(dtype, b.load(rows, k * (SMALL + 1)))
            with b.when(~(pivot.get() > 0) & failed.get().eq(0)):
                failed.set(k + 1)
            root = b.local(dtype, unary("sqrt", pivot.get()))
            with b.vector(k, n) as j:
                b.store(rows, k * SMALL + j, b.load(rows, k * SMALL + j) / root.get())
            with b.loop(k + 1, n) as i:
                factor = b.local(dtype, b.load(rows, k * SMALL + i))
                with b.vector(i, n) as j:
                    change = factor.get() * b.load(rows, k * SMALL + j)
                    b.store(rows, i * SMALL + j, b.load(rows, i * SMALL + j) - change)
        with b.loop(0, n) as i, b.vector(0, n) as j:
            value = b.load(rows, j * SMALL + i, j <= i)
            site.write([*batch, i, j], select(failed.get().eq(0), value, const(nan, dtype)))
        site.write(batch, failed.get().cast(int32), output=1)


cholesky_small = _kernel(
    "cholesky_small",
    matrix_rule("cholesky", lambda b, m, n: (((*b, m, n), None), (b, int32)), square=True), _cholesky, True,
)  # fmt: skip
"""The lower factor (NaN where there is none) and info."""


def _lu(site: Any) -> None:
    """Elimination with row exchanges."""
    b, dtype = site.builder, site.dtype(0).compute
    *outer, n, _ = site.shape(0)
    with b.parallel(product(outer), grain=grain(n * n * n)) as task:
        batch, failed = site.unflatten(task, outer), b.local(int64, 0)
        rows, order = b.stack(dtype, SMALL * SMALL), b.stack(int64, SMALL)
        with b.loop(0, n) as i:
            b.store(order, i, i)
            with b.vector(0, n) as j:
                b.store(rows, i * SMALL + j, site.read(0, [*batch, i, j]))
        with b.loop(0, n) as k:
            largest, chosen = b.local(dtype, unary("abs", b.load(rows, k * (SMALL + 1)))), b.local(int64, k)
            with b.loop(k + 1, n) as i:
                size = b.local(dtype, unary("abs", b.load(rows, i * SMALL + k)))
                with b.when(size.get() > largest.get()):
                    largest.set(size.get())
                    chosen.set(i)
            other = b.local(int64, chosen.get()).get()
            site.write([*batch, k], (other + 1).cast(int32), output=1)
            with b.when(other.ne(k)):
                with b.vector(0, n) as j:
                    first, second = (b.local(dtype, b.load(rows, at * SMALL + j)) for at in (k, other))
                    b.store(rows, k * SMALL + j, second.get())
                    b.store(rows, other * SMALL + j, first.get())
                one, two = (b.local(int64, b.load(order, at)) for at in (k, other))
                b.store(order, k, two.get())
                b.store(order, other, one.get())
            pivot = b.local(dtype, b.load(rows, k * (SMALL + 1)))
            with b.when(pivot.get().eq(0) & failed.get().eq(0)):
                failed.set(k + 1)
            divisor = b.local(dtype, select(pivot.get().eq(0), const(1, dtype), pivot.get()))
            with b.loop(k + 1, n) as i:
                factor = b.local(dtype, b.load(rows, i * SMALL + k) / divisor.get())
                b.store(rows, i * SMALL + k, factor.get())
                with b.vector(k + 1, n) as j:
                    change = factor.get() * b.load(rows, k * SMALL + j)
                    b.store(rows, i * SMALL + j, b.load(rows, i * SMALL + j) - change)
        with b.loop(0, n) as i:
            site.write([*batch, i], b.load(order, i), output=2)
            with b.vector(0, n) as j:
                site.write([*batch, i, j], b.load(rows, i * SMALL + j))
        site.write(batch, failed.get().cast(int32), output=3)


def _lu_shapes(b: Any, m: Any, n: Any) -> Any:
    return ((*b, m, n), None), ((*b, n), int32), ((*b, m), int64), (b, int32)


lu_small = _kernel("lu_small", matrix_rule("lu", _lu_shapes, square=True), _lu, True)
"""Packed factors, pivots from 1, the order of the rows, and info."""


def _check(name: str, refuse: Callable[..., Any]) -> Primitive:
    return Primitive(
        name, kind="host", aval=lambda info, **params: info, lower=refuse, jvp=_INNER, transpose=_INNER,
        batch=batch_rule, shard=SHARD, cost=Waived("free"), domain=_INNER, oracle=_INNER,
    )  # fmt: skip


check_definite = _check("check_definite", refuse_indefinite)
"""Info, or an error that names the first matrix where it is not zero."""
check_regular = _check("check_regular", refuse_singular)
"""Info, or an error that names the first matrix where it is not zero."""

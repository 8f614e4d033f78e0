"""Solving with larger triangles: each task substitutes in some columns, a tile of rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plait.core.primitive import Primitive, Waived
from plait.ir.build import Builder
from plait.ir.gemm import ceil_div, choose_tile, grain, product, smaller
from plait.ir.loop import Buffer, Expr, Index, const, fma
from plait.prims.matrices import SHARD, batch_rule, cost_of

MOST = 2048  # sizes up to which the operands stay in cache
Factor = Callable[[Index, Index], Expr]
"""What multiplies the unknown of the second step in the equation of the first."""


def substitute(
    b: Builder, found: Buffer, width: int, height: int, low: Index, n: Index, factor: Factor, unit: bool
) -> None:
    """Find the unknowns of `height` steps from `low` on, when those before are known; their sums stay in registers.

    Args:
        b: where to write to.
        found: right-hand sides, which the unknowns replace: rows of `width` columns, in the order of the steps.
        width: columns.
        height: steps.
        low: the first step.
        n: how many steps there are.
        factor: the coefficients of the equations.
        unit: whether the coefficient of the unknown of a step itself is 1.
    """
    dtype = found.dtype
    sums = b.stack(dtype, height * width)
    steps = [smaller(low + r, n - 1) for r in range(height)]  # those beyond the last are not stored
    with b.vector(0, width) as j:
        for r in range(height):
            b.store(sums, r * width + j, const(0, dtype))
    with b.loop(0, low) as k:
        for r, step in enumerate(steps):
            value = b.local(dtype, factor(step, k)).get()
            with b.vector(0, width) as j:
                total = fma(value, b.load(found, k * width + j), b.load(sums, r * width + j))
                b.store(sums, r * width + j, total)
    for r, step in enumerate(steps):
        inner = [b.local(dtype, factor(step, steps[k])).get() for k in range(r)]
        divisor = None if unit else b.local(dtype, factor(step, step)).get()
        with b.vector(0, width) as j:
            rest = b.load(found, step * width + j) - b.load(sums, r * width + j)
            for k, value in enumerate(inner):
                rest = fma(-value, b.load(sums, k * width + j), rest)
            b.store(sums, r * width + j, rest if divisor is None else rest / divisor)
    with b.vector(0, width) as j:
        for r in range(height):
            b.store(found, (low + r) * width + j, b.load(sums, r * width + j), low + r < n)


class _Substitution:
    """The columns of one task; `found` holds them, the unknowns in the order in which they are found."""

    def __init__(self, site: Any, task: Any) -> None:
        self.site, self.b, self.params = site, site.builder, site.params
        self.dtype = site.out.dtype.compute
        *outer, self.n, self.columns = site.shape(1)
        self.tile = _tile(site)
        self.width = self.tile.columns
        chunks = ceil_div(self.columns, self.width)
        self.batch, self.first = site.unflatten(task // chunks, outer), task % chunks * self.width
        b: Builder = self.b
        self.found = b.stack(self.dtype, MOST * self.width)

    def place(self, step: Index) -> Index:
        """The row of the unknown that is found in a step."""
        return step if self.params["forward"] else self.n - 1 - step

    def factor(self, step: Index, earlier: Index) -> Expr:
        """What multiplies an earlier unknown in the equation of a step."""
        row, column = self.place(step), self.place(earlier)
        at = [*self.batch, column, row] if self.params["transposed"] else [*self.batch, row, column]
        factor: Expr = self.site.read(0, at)
        return factor

    def solve(self) -> None:
        """Find the unknowns."""
        height, unit = self.tile.rows, self.params["unit"]
        with self.b.loop(0, self.n, height) as low:
            substitute(self.b, self.found, self.width, height, low, self.n, self.factor, unit)

    def take(self) -> None:
        """Copy the right-hand sides; the columns that a last chunk lacks are zeros."""
        b, count = self.b, smaller(self.columns - self.first, self.width)
        with b.loop(0, self.n) as step:
            with b.when(const(count) < self.width), b.vector(0, self.width) as j:
                b.store(self.found, step * self.width + j, const(0, self.dtype))
            with b.vector(0, count) as j:
                value = self.site.read(1, [*self.batch, self.place(step), self.first + j])
                b.store(self.found, step * self.width + j, value)

    def put(self) -> None:
        """Write the unknowns."""
        b = self.b
        with b.loop(0, self.n) as step, b.vector(0, smaller(self.columns - self.first, self.width)) as j:
            value = b.load(self.found, step * self.width + j)
            self.site.write([*self.batch, self.place(step), self.first + j], value)


def _tile(site: Any) -> Any:
    n, columns = site.shape(1)[-2:]
    return choose_tile(site.target, site.out.dtype.compute, columns, n)


def _lower(site: Any) -> None:
    b, (*outer, n, columns), tile = site.builder, site.shape(1), _tile(site)
    with b.parallel(product(outer) * ceil_div(columns, tile.columns), grain=grain(n * n * tile.columns)) as task:
        work = _Substitution(site, task)
        work.take()
        work.solve()
        work.put()


_INNER = Waived("the primitive that expands to it holds the rule")
triangular_solve_tiled = Primitive(
    "triangular_solve_tiled", kind="kernel", aval=lambda a, b, **params: b, lower=_lower, jvp=_INNER, transpose=_INNER,
    batch=batch_rule, shard=SHARD, cost=cost_of(1.0), domain=_INNER, oracle=_INNER,
)  # fmt: skip
"""The solution of op(a) x = b by substitution, forward or backward."""

"""Factorizations of matrices, and solving with them; leading axes are a batch.

The host computes the values (`plait.prims.lapack`); the derivatives are written with other primitives. They follow
Giles, "Collected matrix derivative results" (2008), Murray, "Differentiation of the Cholesky decomposition" (2016),
and Roberts and Roberts, "QR and LQ decomposition matrix backpropagation algorithms" (2020).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from plait.core.aval import Aval, aval
from plait.core.dtype import DType, int32, int64
from plait.core.errors import ShapeError, message
from plait.core.graph import Node, constant
from plait.core.primitive import Domain, P, Primitive, Waived
from plait.prims import lapack
from plait.prims.blocked import is_medium
from plait.prims.matrices import (
    FIELDS,
    SHARD,
    UP_TO_PHASE,
    adjoint,
    as_dtype,
    batch_rule,
    block,
    check_square,
    cost_of,
    domain_of,
    extended,
    identity,
    lower_part,
    matrix_rule,
    offsets,
    on_host,
    product,
    swapped,
    upper_part,
    well_conditioned,
    where,
)
from plait.prims.rules import (
    NOT_LINEAR,
    PIECEWISE_CONSTANT,
    broadcast_to,
    byte_count,
    check_dtype,
    check_same_dtype,
    draw,
    element_count,
)
from plait.prims.small import checked, is_small

# cholesky


def _cholesky_jvp(node: Node, tangents: Sequence[Any]) -> list[Any]:
    factor, (dx,) = node[0], tangents
    half = constant(0.5, dx.dtype)
    dx = (dx + adjoint(dx)) * half
    left = P.triangular_solve(factor, dx, lower=True, unit=False, transposed=False, left=True)
    conjugate = P.conj(factor) if factor.dtype.is_complex else factor
    both = P.triangular_solve(conjugate, left, lower=True, unit=False, transposed=True, left=False)
    halved = lower_part(both, -1) + where(P.eq(offsets(both), constant(0, int64)), both * half)
    return [product(factor, halved), None]


_INNER = Waived("the primitive that expands to it holds the rule")
_cholesky_rule = matrix_rule("cholesky", lambda b, m, n, check: (((*b, m, n), None), (b, int32)), square=True)


def _choose_cholesky(node: Node) -> list[Node]:
    """One kernel for a batch of small real matrices, LAPACK for others."""
    (x,), check = node.inputs, node.params["check"]
    small = is_small(x)
    found = P.cholesky_small(x) if small else P.cholesky_lapack(x, check=check)
    results = [found[0], found[1]]
    return checked(results, P.check_definite(found[1]) if small and check else None)


cholesky = Primitive(
    "cholesky", kind="expand", aval=_cholesky_rule, lower=_choose_cholesky, jvp=_cholesky_jvp, transpose=NOT_LINEAR,
    batch=batch_rule, shard=SHARD, cost=cost_of(1 / 3), multi=True, domain=domain_of("positive", check=False),
    oracle="oracle.linalg.cholesky",
)  # fmt: skip
"""The lower triangle L with L L^H = x, and info: 0, or the order of the leading minor that is not positive.

Only the lower triangle of `x` is read; the derivative is that of (x + x^H) / 2.
"""

cholesky_lapack = on_host(
    "cholesky_lapack", _cholesky_rule, lapack.cholesky, 1 / 3, jvp=_INNER, multi=True, domain=_INNER, oracle=_INNER,
)  # fmt: skip
"""`cholesky` by LAPACK."""

# LU


def _padded(x: Node, rows: Any, columns: Any) -> Node:
    """Fill matrices up to a size with zeros, and ones on the new part of the diagonal."""
    m, n = x.shape[-2:]
    if (m, n) == (rows, columns):
        return x
    zeros, outer = (0,) * x.ndim, (0,) * (x.ndim - 2)
    padded = P.pad(x, constant(0.0, x.dtype), low=zeros, high=(*outer, rows - m, columns - n), interior=zeros)
    row = P.iota(dtype=int64, shape=(rows, columns), axis=0)
    on = P.bitwise_and(P.ge(row, constant(min(m, n), int64)), P.eq(offsets(padded), constant(0, int64)))
    return padded + broadcast_to(P.convert(on, dtype=x.dtype), padded.shape)


def rows_in_order(x: Node, order: Node) -> Node:
    """Return the rows of matrices in the order that a permutation for each gives."""
    count = prod(x.shape[:-2])  # type: ignore[arg-type]
    flat = P.reshape(x, shape=(count, *x.shape[-2:]))
    rows = P.reshape(order, shape=(count, order.shape[-1]))
    matrix = P.iota(dtype=int64, shape=tuple(rows.shape), axis=0)
    found = P.gather(flat, matrix, rows, axes=(0, 1), mode="clip")
    return P.reshape(found, shape=(*x.shape[:-2], order.shape[-1], x.shape[-1]))


def _lu_jvp(node: Node, tangents: Sequence[Any]) -> list[Any]:
    packed, order = node[0], node[2]
    m, n = packed.shape[-2:]
    k = min(m, n)  # type: ignore[type-var]
    lower = lower_part(_padded(block(packed, m, k), m, m), -1) + identity(_padded(block(packed, m, k), m, m))
    upper = upper_part(_padded(upper_part(block(packed, k, n)), n, n))
    dx = rows_in_order(tangents[0], order)
    left = P.triangular_solve(lower, dx, lower=True, unit=True, transposed=False, left=True)
    both = P.triangular_solve(upper, left, lower=False, unit=False, transposed=False, left=False)
    return [product(lower, lower_part(both, -1)) + product(upper_part(both), upper), None, None, None]


def _lu_shapes(b: Any, m: Any, n: Any, what: str | None) -> Any:
    return ((*b, m, n), None), ((*b, min(m, n)), int32), ((*b, m), int64), (b, int32)


def _choose_lu(node: Node) -> list[Node]:
    """One kernel for real matrices up to some size, LAPACK for others."""
    (x,), what = node.inputs, node.params["what"]
    if not is_small(x) and not is_medium(x):
        found = P.lu_lapack(x, what=what)
        return [found[k] for k in range(4)]
    found = P.lu_small(x) if is_small(x) else P.lu_blocked(x)
    return checked([found[k] for k in range(4)], P.check_regular(found[3], what=what) if what else None)


lu = Primitive(
    "lu", kind="expand", aval=matrix_rule("lu", _lu_shapes), lower=_choose_lu, jvp=_lu_jvp, transpose=NOT_LINEAR,
    batch=batch_rule, shard=SHARD, cost=cost_of(2 / 3), multi=True, domain=domain_of(what=None),
    oracle="oracle.linalg.lu",
)  # fmt: skip
"""L below the diagonal (its own is 1) and U; pivots from 1; the permutation of the rows; and info.

Row k was exchanged with row pivots[k]. With `what`, the name of a function, singular matrices are refused.
"""


lu_lapack = on_host(
    "lu_lapack", matrix_rule("lu", _lu_shapes), lapack.lu, 2 / 3, jvp=_INNER, multi=True, domain=_INNER, oracle=_INNER,
)  # fmt: skip
"""`lu` by LAPACK."""


def _permutation_rule(pivots: Aval, *, size: int) -> Aval:
    return aval(int64, (*pivots.shape[:-1], size))


def _permutation_sample(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for shape in ((size,), (3, size)):
        first = np.broadcast_to(np.arange(1, size + 1), shape)
        yield [np.asarray(random.integers(first, size + 2, shape), np.int32)], {"size": size + 1}


pivots_to_permutation = Primitive(
    "pivots_to_permutation", kind="host", aval=_permutation_rule, lower=lapack.permutation, jvp=PIECEWISE_CONSTANT,
    transpose=NOT_LINEAR, batch=batch_rule, shard=SHARD, cost=lambda node: (0.0, byte_count([node.aval])),
    domain=Domain((int32,), sample=_permutation_sample), oracle="oracle.linalg.permutation",
)  # fmt: skip
"""The order of rows after row k was exchanged with row pivots[k], counted from 1, for all k."""

# triangular systems


def _triangular_rule(a: Aval, b: Aval, *, left: bool, **_: Any) -> Aval:
    check_dtype("solve_triangular", check_same_dtype("solve_triangular", a, b), FIELDS)
    check_square("solve_triangular", a)
    if b.ndim != a.ndim or b.shape[:-2] != a.shape[:-2] or b.shape[-2 if left else -1] != a.shape[-1]:
        expected = "the same batch, and right-hand sides of " + ("as many rows" if left else "as many columns")
        raise ShapeError(message("solve_triangular: the shapes do not fit", f"{a} and {b}", expected))
    return b


def _triangle_of(x: Node, lower: bool, unit: bool) -> Node:
    return lower_part(x, -int(unit)) if lower else upper_part(x, int(unit))


def _triangular_jvp(node: Node, tangents: Sequence[Any]) -> Node | None:
    a, (da, db) = node.inputs[0], tangents
    right = db
    if da is not None:
        part = _triangle_of(da, node.params["lower"], node.params["unit"])
        part = swapped(part) if node.params["transposed"] else part
        change = product(part, node) if node.params["left"] else product(node, part)
        right = -change if db is None else db - change
    return P.triangular_solve(a, right, **node.params)


def _triangular_transpose(node: Node, cotangent: Node, linear: Sequence[bool]) -> list[Node | None]:
    params = {**node.params, "transposed": not node.params["transposed"]}
    return [None, P.triangular_solve(node.inputs[0], cotangent, **params)]


def _triangular_sample(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for case in range(16):
        lower, unit, transposed, left = (bool(case >> bit & 1) for bit in range(4))
        batch = ((), (3,), (0,))[case % 3]
        a = well_conditioned(random, dtype, (*batch, size, size), "triangular")
        b = draw(random, dtype, (*batch, size, 3) if left else (*batch, 2, size), -1.0, 1.0)
        yield [a, b], {"lower": lower, "unit": unit, "transposed": transposed, "left": left}


def _choose_triangular(node: Node) -> Node:
    """One kernel for real matrices up to some size, BLAS for others."""
    (a, b), params = node.inputs, node.params
    if not (is_small(a) or is_medium(a)) or not node.aval.size:
        return P.triangular_solve_lapack(a, b, **params)
    solve = P.triangular_solve_small if is_small(a) else P.triangular_solve_tiled
    forward, unit = params["lower"] != params["transposed"], params["unit"]
    if params["left"]:
        return solve(a, b, transposed=params["transposed"], forward=forward, unit=unit)
    return swapped(solve(a, swapped(b), transposed=not params["transposed"], forward=not forward, unit=unit))


triangular_solve = Primitive(
    "triangular_solve", kind="expand", aval=_triangular_rule, lower=_choose_triangular, jvp=_triangular_jvp,
    transpose=_triangular_transpose, batch=batch_rule, shard=SHARD, cost=cost_of(1.0),
    domain=Domain(FIELDS, sample=_triangular_sample, tolerance=512.0), oracle="oracle.linalg.triangular_solve",
)  # fmt: skip
"""The solution of op(a) x = b (`left`) or x op(a) = b; `a` is the triangle `lower` or not, op transposes it or not."""
triangular_solve_lapack = on_host(
    "triangular_solve_lapack", _triangular_rule, lapack.triangular_solve, 1.0, jvp=_INNER, transpose=_INNER,
    domain=_INNER, oracle=_INNER,
)  # fmt: skip
"""`triangular_solve` by BLAS."""
# systems with a factorized matrix: `x` counts as the variable, its factors as constants that go with it


def _solve_rule(packed: Aval, order: Aval, x: Aval, b: Aval, *, transposed: bool) -> Aval:
    return _triangular_rule(x, b, left=True)


def _solve_lower(node: Node) -> Node:
    packed, order, _, b = node.inputs
    lower = {"lower": True, "unit": True, "transposed": node.params["transposed"], "left": True}
    upper = {"lower": False, "unit": False, "transposed": node.params["transposed"], "left": True}
    if not node.params["transposed"]:
        return P.triangular_solve(packed, P.triangular_solve(packed, rows_in_order(b, order), **lower), **upper)
    solved = P.triangular_solve(packed, P.triangular_solve(packed, b, **upper), **lower)
    return rows_in_order(solved, P.argsort(order, axis=order.ndim - 1, descending=False))


def _solve_jvp(node: Node, tangents: Sequence[Any]) -> Node | None:
    packed, order, x, _ = node.inputs
    _, _, dx, db = tangents
    if dx is None and db is None:
        return None
    if dx is not None:
        change = product(swapped(dx) if node.params["transposed"] else dx, node)
        db = -change if db is None else db - change
    return P.solve_factorized(packed, order, x, db, **node.params)


def _solve_transpose(node: Node, cotangent: Node, linear: Sequence[bool]) -> list[Node | None]:
    found = P.solve_factorized(*node.inputs[:3], cotangent, transposed=not node.params["transposed"])
    return [None, None, None, found]


solve_factorized = Primitive(
    "solve_factorized", kind="expand", aval=_solve_rule, lower=_solve_lower, jvp=_solve_jvp,
    transpose=_solve_transpose, batch=batch_rule, shard=SHARD, cost=lambda node: (2.0 * element_count(node.aval), 0),
    domain=Waived("its operands depend on each other: tested in tests/linalg"),
    oracle=Waived("its operands depend on each other: tested in tests/linalg"),
)  # fmt: skip
"""The solution y of x y = b, or of x^T y = b, from the packed LU factors of `x` and the order of its rows."""

# QR


def _qr_shapes(b: Any, m: Any, n: Any, full: bool) -> Any:
    k = m if full else min(m, n)
    return ((*b, m, k), None), ((*b, k, n), None)


def _qr_jvp(node: Node, tangents: Sequence[Any]) -> list[Any]:
    (x,), (dx,) = node.inputs, tangents
    m, n = x.shape[-2:]
    k = min(m, n)  # type: ignore[type-var]
    q, r, d = block(node[0], m, k), block(node[1], k, k), block(dx, m, k)
    change = P.triangular_solve(r, d, lower=False, unit=False, transposed=False, left=False)
    inner = product(adjoint(q), change)
    below = lower_part(inner, -1)
    turn = below - adjoint(below)
    if x.dtype.is_complex:  # the diagonal of R stays real
        turn = turn + where(P.eq(offsets(inner), constant(0, int64)), inner - as_dtype(P.real(inner), x.dtype))
    dq = product(q, turn - inner) + change
    dr = product(adjoint(dq), x) + product(adjoint(q), dx)
    if node[0].shape[-1] != k:
        dq, rest = extended(node[0], q, dq)
        dr = P.concatenate(dr, product(adjoint(rest), dx) + product(adjoint(block(dq, m, m, 0, k)), x), axis=x.ndim - 2)
    return [dq, upper_part(dr)]


qr = on_host(
    "qr", matrix_rule("qr", _qr_shapes), lapack.qr, 4.0, jvp=_qr_jvp, multi=True,
    domain=UP_TO_PHASE, oracle=UP_TO_PHASE,
)  # fmt: skip
"""Q with orthonormal columns (square with `full`) and the upper triangle R."""

geqrf = on_host(
    "geqrf", matrix_rule("geqrf", lambda b, m, n: (((*b, m, n), None), ((*b, min(m, n)), None))), lapack.geqrf, 2.0,
    jvp=Waived("geqrf has no derivative: use qr"), multi=True, domain=UP_TO_PHASE, oracle=UP_TO_PHASE,
)  # fmt: skip
"""R above Householder vectors, and their factors."""

# LDL


def _ldl_shapes(b: Any, m: Any, n: Any, hermitian: bool, check: bool) -> Any:
    return ((*b, m, n), None), ((*b, m), int32), (b, int32)


ldl = on_host(
    "ldl", matrix_rule("ldl_factor", _ldl_shapes, square=True), lapack.ldl, 1 / 3, multi=True,
    jvp=Waived("ldl_factor has no derivative: use plait.linalg.solve"), domain=UP_TO_PHASE, oracle=UP_TO_PHASE,
)  # fmt: skip
"""Packed L and D of a symmetric (or Hermitian) matrix by Bunch and Kaufman, pivots, and info."""


def _ldl_solve_rule(packed: Aval, pivots: Aval, b: Aval, *, hermitian: bool) -> Aval:
    return _triangular_rule(packed, b, left=True)


def _ldl_solve_jvp(node: Node, tangents: Sequence[Any]) -> Any:
    packed, pivots, _ = node.inputs
    return None if tangents[2] is None else P.ldl_solve(packed, pivots, tangents[2], **node.params)


def _ldl_solve_transpose(node: Node, cotangent: Node, linear: Sequence[bool]) -> list[Node | None]:
    packed, pivots, _ = node.inputs
    if not (node.params["hermitian"] and packed.dtype.is_complex):
        return [None, None, P.ldl_solve(packed, pivots, cotangent, **node.params)]
    return [None, None, P.conj(P.ldl_solve(packed, pivots, P.conj(cotangent), **node.params))]


ldl_solve = on_host(
    "ldl_solve", _ldl_solve_rule, lapack.ldl_solve, 2.0, jvp=_ldl_solve_jvp, transpose=_ldl_solve_transpose,
    domain=UP_TO_PHASE, oracle=UP_TO_PHASE,
)  # fmt: skip
"""The solution of a system from the result of `ldl`, which counts as constant in derivatives."""

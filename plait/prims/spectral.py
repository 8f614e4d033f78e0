"""Inverses, determinants, eigenvalues, singular values and exponentials of matrices; leading axes are a batch.

The host computes the values (`plait.prims.lapack`); the derivatives are written with other primitives (Giles,
"Collected matrix derivative results", 2008).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import nan
from typing import Any

import numpy as np

from plait.core.aval import Aval
from plait.core.dtype import DType, int32, int64
from plait.core.graph import Node, constant
from plait.core.primitive import Domain, P, Primitive, Waived
from plait.prims import lapack
from plait.prims.blocked import is_medium
from plait.prims.linalg import rows_in_order
from plait.prims.matrices import (
    FIELDS,
    SHARD,
    UP_TO_PHASE,
    adjoint,
    as_columns,
    as_dtype,
    as_rows,
    batch_rule,
    block,
    cost_of,
    diagonal,
    domain_of,
    extended,
    identity,
    inverse_or_zero,
    is_tiny,
    largest,
    matrix_rule,
    offsets,
    on_host,
    product,
    swapped,
    where,
)
from plait.prims.rules import NOT_LINEAR, broadcast_to, check_same_dtype, draw
from plait.prims.small import checked, is_small

# inverses and determinants


def _inv_jvp(node: Node, tangents: Sequence[Any]) -> list[Any]:
    return [-product(node[0], tangents[0], node[0]), None]


def _inv_lower(node: Node) -> list[Node]:
    """Real matrices up to some size: from the factors of one kernel, LAPACK for others."""
    (x,), what = node.inputs, node.params["what"]
    if not is_small(x) and not is_medium(x):
        found = P.inv_lapack(x, what=what)
        return [found[0], found[1]]
    factors = P.lu_small(x) if is_small(x) else P.lu_blocked(x)
    packed, info = factors[0], factors[3]
    rows = rows_in_order(identity(x), factors[2])
    left = P.triangular_solve(packed, rows, lower=True, unit=True, transposed=False, left=True)
    solved = P.triangular_solve(packed, left, lower=False, unit=False, transposed=False, left=True)
    regular = P.eq(P.reshape(info, shape=(*info.shape, 1, 1)), constant(0, int32))
    results = [where(regular, solved, nan), info]
    return checked(results, P.check_regular(info, what=what) if what else None)


_INNER = Waived("the primitive that expands to it holds the rule")
_inv_rule = matrix_rule("inv", lambda b, m, n, what: (((*b, m, n), None), (b, int32)), square=True)
inv = Primitive(
    "inv", kind="expand", aval=_inv_rule, lower=_inv_lower, jvp=_inv_jvp, transpose=NOT_LINEAR, batch=batch_rule,
    shard=SHARD, cost=cost_of(2.0), multi=True, domain=domain_of(what=None), oracle="oracle.linalg.inv",
)  # fmt: skip
"""The inverse and info; with `what`, the name of a function, singular matrices are refused, else they give NaN."""


inv_lapack = on_host(
    "inv_lapack", _inv_rule, lapack.inv, 2.0, jvp=_INNER, multi=True, domain=_INNER, oracle=_INNER,
)  # fmt: skip
"""`inv` by LAPACK."""


def _pinv_jvp(node: Node, tangents: Sequence[Any]) -> Any:
    """The formula of Golub and Pereyra (1973), which holds where the rank is locally constant."""
    (a, _, _), dx = node.inputs, tangents[0]
    if dx is None:
        return None
    dxh, rest = adjoint(dx), -product(node, dx, node)
    outer = product(node, adjoint(node), dxh)
    inner = product(dxh, adjoint(node), node)
    return rest + outer - product(outer, a, node) + inner - product(node, a, inner)


pinv = on_host(
    "pinv", matrix_rule("pinv", lambda b, m, n, hermitian: (((*b, n, m), None),)), lapack.pinv, 10.0, jvp=_pinv_jvp,
    domain=Waived("tested against NumPy's in tests/linalg"), oracle=Waived("tested against NumPy's in tests/linalg"),
)  # fmt: skip
"""The pseudoinverse; singular values up to max(atol, rtol * the largest), operands, count as zero."""


def _trace_of_product(a: Node, b: Node) -> Node:
    """The trace of a b."""
    return P.reduce_sum(swapped(a) * b, axes=(a.ndim - 2, a.ndim - 1))


def _factors(x: Node) -> tuple[Node, Node] | None:
    """The diagonal of U, and where rows were exchanged, of real matrices for which there is a kernel."""
    if not is_small(x) and not is_medium(x):
        return None
    found = P.lu_small(x) if is_small(x) else P.lu_blocked(x)
    n, outer = x.shape[-1], x.shape[:-2]
    flat = P.reshape(found[0], shape=(*outer, n * n))
    one, zero = (1,) * len(outer), (0,) * len(outer)
    on = P.slice(flat, starts=(*zero, 0), limits=flat.shape, strides=(*one, n + 1))
    place = P.iota(dtype=int32, shape=found[1].shape, axis=x.ndim - 2) + constant(1, int32)
    return on, P.ne(found[1], place)


def _det_lower(node: Node) -> Node:
    """From the factors of a kernel, or by LAPACK."""
    (x,), factors = node.inputs, _factors(node.inputs[0])
    if factors is None:
        return P.det_lapack(x)
    on, exchanged = factors
    return P.reduce_prod(where(exchanged, -on, on), axes=(x.ndim - 2,))


_det_rule = matrix_rule("det", lambda b, m, n: ((b, None),), square=True)
det = Primitive(
    "det", kind="expand", aval=_det_rule, lower=_det_lower,
    jvp=lambda node, tangents: _trace_of_product(P.adjugate(node.inputs[0]), tangents[0]),
    transpose=NOT_LINEAR, batch=batch_rule, shard=SHARD, cost=cost_of(2 / 3), domain=domain_of(),
    oracle="numpy.linalg.det",
)  # fmt: skip
"""The determinant; its derivative is the cofactor matrix, of singular matrices too."""

det_lapack = on_host("det_lapack", _det_rule, lapack.det, 2 / 3, jvp=_INNER, domain=_INNER, oracle=_INNER)
"""`det` by LAPACK."""


def _adjugate_jvp(node: Node, tangents: Sequence[Any]) -> Node:
    """In the basis of the singular vectors: products of all singular values but two, without a division."""
    x, (dx,) = node.inputs[0], tangents
    n = x.shape[-1]
    found = P.svd(x, full=False)
    u, s, vh = found[0], found[1], found[2]
    axis, row = x.ndim - 1, as_columns(s)
    above = P.gt(offsets(x), constant(0, int64))
    square = broadcast_to(row, x.shape)
    between = _exclusive_product(where(above, square, 1.0), axis)
    before, after = _exclusive_product(s, axis - 1), _exclusive_product(s, axis - 1, reverse=True)
    pairs = where(above, as_rows(before) * as_dtype(between, s.dtype) * as_columns(after))
    pairs = as_dtype(pairs + swapped(pairs), x.dtype)
    inner = product(adjoint(u), dx, adjoint(vh))
    on = P.eq(offsets(x), constant(0, int64))
    trace = product(pairs, as_rows(diagonal(inner)))
    middle = where(on, broadcast_to(trace, x.shape), -(inner * pairs))
    phase = P.reshape(P.det(u) * P.det(vh), shape=(*x.shape[:-2], 1, 1))
    return product(adjoint(vh), middle, adjoint(u)) * phase if n else dx


def _exclusive_product(x: Node, axis: int, reverse: bool = False) -> Node:
    """The product of the elements before each (with `reverse`, after it)."""
    zeros = (0,) * x.ndim
    edge = tuple((1 if k == axis else 0) for k in range(x.ndim))
    cut = tuple((-1 if k == axis else 0) for k in range(x.ndim))
    low, high = (cut, edge) if reverse else (edge, cut)
    shifted = P.pad(x, constant(1.0, x.dtype), low=low, high=high, interior=zeros)
    return P.cumprod(shifted, axis=axis, reverse=reverse)


adjugate = on_host(
    "adjugate", matrix_rule("adjugate", lambda b, m, n: (((*b, m, n), None),), square=True), lapack.adjugate, 4.0,
    jvp=_adjugate_jvp, domain=domain_of(), oracle="oracle.linalg.adjugate",
)  # fmt: skip
"""The transpose of the cofactor matrix: det(x) times the inverse, also where there is none."""


def _slogdet_jvp(node: Node, tangents: Sequence[Any]) -> list[Any]:
    x, (dx,) = node.inputs[0], tangents
    change = _trace_of_product(P.inv(x, what=None)[0], dx)
    if not x.dtype.is_complex:
        return [None, change]
    zero = constant(0.0, x.dtype.real)
    return [node[0] * P.complex(zero, P.imag(change)), P.real(change)]


def _slogdet_lower(node: Node) -> list[Node]:
    """From the factors of a kernel, or by LAPACK."""
    (x,), factors = node.inputs, _factors(node.inputs[0])
    if factors is None:
        found = P.slogdet_lapack(x)
        return [found[0], found[1]]
    (on, exchanged), last = factors, x.ndim - 2
    sign = where(exchanged, -P.sign(on), P.sign(on))
    return [P.reduce_prod(sign, axes=(last,)), P.reduce_sum(P.log(P.abs(on)), axes=(last,))]


_slogdet_rule = matrix_rule("slogdet", lambda b, m, n: ((b, None), (b, float)), square=True)
slogdet = Primitive(
    "slogdet", kind="expand", aval=_slogdet_rule, lower=_slogdet_lower, jvp=_slogdet_jvp, transpose=NOT_LINEAR,
    batch=batch_rule, shard=SHARD, cost=cost_of(2 / 3), multi=True, domain=domain_of(), oracle="oracle.linalg.slogdet",
)  # fmt: skip
"""The sign of the determinant (its phase for complex matrices), and the logarithm of its absolute value."""

slogdet_lapack = on_host(
    "slogdet_lapack", _slogdet_rule, lapack.slogdet, 2 / 3, jvp=_INNER, multi=True, domain=_INNER, oracle=_INNER,
)  # fmt: skip
"""`slogdet` by LAPACK."""

# spectra


def _eigh_jvp(node: Node, tangents: Sequence[Any]) -> list[Any]:
    w, v, (dx,) = node[0], node[1], tangents
    inner = product(adjoint(v), (dx + adjoint(dx)) * constant(0.5, dx.dtype), v)
    gaps = as_columns(w) - as_rows(w)
    weights = inverse_or_zero(gaps, is_tiny(gaps, largest(w)))
    change = product(v, as_dtype(weights, v.dtype) * inner)
    on = diagonal(inner)
    return [P.real(on) if on.dtype.is_complex else on, change]


def _vectors_too(name: str, values: int, **params: Any) -> Callable[..., tuple[Node, Any]]:
    """Make the `linearize` rule of a function of values alone: the function with vectors takes its place."""

    def linearize(node: Node, tangents: Sequence[Any]) -> tuple[Node, Any]:
        whole = getattr(P, name)(node.inputs[0], **params)
        return whole[values], whole.prim.jvp(whole, tangents)[values]

    return linearize


_BY_VECTORS = Waived("linearize holds the rule, which takes the function with vectors instead")
_VALUES = (((), float),)
eigh = on_host(
    "eigh", matrix_rule("eigh", lambda b, m, n: (((*b, n), float), ((*b, n, n), None)), square=True), lapack.eigh, 9.0,
    jvp=_eigh_jvp, multi=True, domain=UP_TO_PHASE, oracle=UP_TO_PHASE,
)  # fmt: skip
"""Eigenvalues, ascending, and eigenvectors; only the lower triangle is read, the derivative is that of (x + x^H) / 2.

Pairs of equal eigenvalues are left out of the derivative of the vectors, where it would be infinite.
"""
eigvalsh = on_host(
    "eigvalsh", matrix_rule("eigvalsh", lambda b, m, n: (((*b, n), float),), square=True), lapack.eigvalsh, 4 / 3,
    jvp=_BY_VECTORS, linearize=_vectors_too("eigh", 0), domain=domain_of("positive"), oracle="oracle.linalg.eigvalsh",
)  # fmt: skip
"""The eigenvalues of `eigh` alone."""


def _eig_jvp(node: Node, tangents: Sequence[Any]) -> list[Any]:
    w, v, (dx,) = node[0], node[1], tangents
    turned = product(as_dtype(dx, v.dtype), v)
    inner = product(P.inv(v, what=None)[0], turned)
    gaps = as_columns(w) - as_rows(w)
    change = product(v, inverse_or_zero(gaps, is_tiny(gaps, largest(w))) * inner)
    along = P.reduce_sum(P.real(P.conj(v) * change), axes=(v.ndim - 2,))  # vectors keep their length
    return [diagonal(inner), change - v * as_dtype(as_columns(along), v.dtype)]


eig = on_host(
    "eig", matrix_rule("eig", lambda b, m, n: (((*b, n), complex), ((*b, n, n), complex)), square=True), lapack.eig,
    25.0, jvp=_eig_jvp, multi=True, domain=UP_TO_PHASE, oracle=UP_TO_PHASE,
)  # fmt: skip
"""Complex eigenvalues and eigenvectors of length 1."""
eigvals = on_host(
    "eigvals", matrix_rule("eigvals", lambda b, m, n: (((*b, n), complex),), square=True), lapack.eigvals, 10.0,
    jvp=_BY_VECTORS, linearize=_vectors_too("eig", 0), domain=UP_TO_PHASE, oracle=UP_TO_PHASE,
)  # fmt: skip
"""The eigenvalues of `eig` alone."""


def _svd_shapes(b: Any, m: Any, n: Any, full: bool) -> Any:
    k = min(m, n)
    return ((*b, m, m if full else k), None), ((*b, k), float), ((*b, n if full else k, n), None)


def _svd_jvp(node: Node, tangents: Sequence[Any]) -> list[Any]:
    (x,), (dx,) = node.inputs, tangents
    (m, n), s = x.shape[-2:], node[1]
    k = s.shape[-1]
    u, v = block(node[0], m, k), adjoint(block(node[2], k, n))
    inner = product(adjoint(u), dx, v)
    on = diagonal(inner)
    column, row = as_columns(s), as_rows(s)
    gaps = (column - row) * (column + row)
    top = largest(s)
    weights = as_dtype(inverse_or_zero(gaps, is_tiny(gaps, top * top)), x.dtype)
    wide_column, wide_row = as_dtype(column, x.dtype), as_dtype(row, x.dtype)
    by_column, by_row = inner * wide_column, inner * wide_row
    inverse = inverse_or_zero(column, P.eq(column, constant(0.0, s.dtype)))
    turn_u = weights * (by_column + adjoint(by_column))
    if x.dtype.is_complex:  # the phases that U and V share are split: half of the turn is enough for products of both
        half = constant(0.5, x.dtype)
        diagonal_turn = (inner - adjoint(inner)) * half * as_dtype(inverse, x.dtype)
        turn_u = turn_u + where(P.eq(offsets(inner), constant(0, int64)), diagonal_turn)
    du = product(u, turn_u)
    dv = product(v, weights * (by_row + adjoint(by_row)))
    scale = as_dtype(inverse, x.dtype)
    if m > k:
        beyond = product(dx, v)
        du = du + (beyond - product(u, product(adjoint(u), beyond))) * scale
    if n > k:
        beyond = product(adjoint(dx), u)
        dv = dv + (beyond - product(v, product(adjoint(v), beyond))) * scale
    if node[0].shape[-1] != k:
        du = extended(node[0], u, du)[0]
    if node[2].shape[-2] != k:
        dv = extended(adjoint(node[2]), v, dv)[0]
    return [du, P.real(on) if on.dtype.is_complex else on, adjoint(dv)]


svd = on_host(
    "svd", matrix_rule("svd", _svd_shapes), lapack.svd, 20.0, jvp=_svd_jvp, multi=True,
    domain=UP_TO_PHASE, oracle=UP_TO_PHASE,
)  # fmt: skip
"""U, the singular values in descending order, and V^H; U and V are square with `full`.

Pairs of equal singular values, and those that are zero, are left out of the derivative of the vectors.
"""
svdvals = on_host(
    "svdvals", matrix_rule("svdvals", lambda b, m, n: (((*b, min(m, n)), float),)), lapack.svdvals, 4.0,
    jvp=_BY_VECTORS, linearize=_vectors_too("svd", 1, full=False), domain=domain_of(),
    oracle="oracle.linalg.svdvals",
)  # fmt: skip
"""The singular values of `svd` alone."""

# the exponential


def _exp_shapes(b: Any, m: Any, n: Any) -> Any:
    return (((*b, m, n), None),)


def _along(x: Node, direction: Node) -> tuple[Node, Any]:
    """The matrices [[x, direction], [0, x]]: functions of them have the derivative along `direction` at upper right."""
    axis, none = x.ndim - 1, where(P.lt(offsets(x), offsets(x)), x)
    top, bottom = P.concatenate(x, direction, axis=axis), P.concatenate(none, x, axis=axis)
    return P.concatenate(top, bottom, axis=axis - 1), x.shape[-1]


def _upper_right(x: Node, n: Any) -> Node:
    return block(x, n, 2 * n, 0, n)


def _derivative_rule(x: Aval, direction: Aval) -> Aval:
    check_same_dtype("matrix_exp", x, direction)
    return x


def _derivative_jvp(node: Node, tangents: Sequence[Any]) -> Node:
    (x, direction), (dx, change) = node.inputs, tangents
    total = None if change is None else P.matrix_exp_derivative(x, change)
    if dx is None:
        return total
    whole, n = _along(x, direction)
    zero = where(P.lt(offsets(x), offsets(x)), x)
    turned, _ = _along(dx, zero)
    second = _upper_right(P.matrix_exp_derivative(whole, turned), n)
    return second if total is None else total + second


def _derivative_sample(random: Any, dtype: DType, size: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for shape in ((size, size), (2, size, size)):
        yield [draw(random, dtype, shape, -1.0, 1.0) / max(size, 1) for _ in range(2)], {}


def _exp_lower(x: Any, direction: Any) -> Any:
    n = x.shape[-1]
    whole = np.block([[x, direction], [np.zeros_like(x), x]])
    return lapack.matrix_exp(whole)[..., :n, n:]


matrix_exp = on_host(
    "matrix_exp", matrix_rule("matrix_exp", _exp_shapes, square=True), lapack.matrix_exp, 16.0,
    jvp=lambda node, tangents: P.matrix_exp_derivative(node.inputs[0], tangents[0]),
    domain=domain_of(), oracle="oracle.linalg.matrix_exp",
)  # fmt: skip
"""The exponential of a matrix, by scaling and squaring (Higham, 2005)."""
matrix_exp_derivative = on_host(
    "matrix_exp_derivative", _derivative_rule, _exp_lower, 128.0, jvp=_derivative_jvp,
    transpose=lambda node, cotangent, linear: [None, P.matrix_exp_derivative(swapped(node.inputs[0]), cotangent)],
    domain=Domain(FIELDS, sample=_derivative_sample, tolerance=512.0), oracle="oracle.linalg.matrix_exp_derivative",
)  # fmt: skip
"""The derivative of `matrix_exp` along a direction, in which it is linear (Mathias, 1996)."""

"""Factorizations: Cholesky, LU, QR, LDL, and products of Householder reflections."""

from __future__ import annotations

from typing import Any

from plait.core.dtype import int32
from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.linalg.operands import check_order, matrix, named, operands, sizes, square, with_batch
from plait.prims.linalg import rows_in_order
from plait.prims.matrices import (
    adjoint,
    adjoint as conjugate_transpose,
    as_rows,
    block,
    identity,
    lower_part,
    product,
    upper_part,
)
from plait.prims.rules import broadcast_to
from plait.tensor.operators import single
from plait.tensor.results import QR, Cholesky, LDLFactors, LDLFactorsInfo, LUFactors, LUFactorsInfo, PermutedLU
from plait.tensor.tensor import Tensor, wrap

__all__ = [
    "cholesky", "cholesky_ex", "householder_product", "ldl_factor", "ldl_factor_ex", "ldl_solve", "lu", "lu_factor",
    "lu_factor_ex", "lu_solve", "qr",
]  # fmt: skip


def _factor(x: Any, upper: bool, check: bool, name: str) -> tuple[Node, Node]:
    node = square(x, name)
    found = P.cholesky(adjoint(node) if upper else node, check=check)
    return adjoint(found[0]) if upper else found[0], found[1]


@named
def cholesky(x: Any, *, upper: bool = False) -> Tensor:
    """Return the triangle L with L @ L.mH = x, of a symmetric (or Hermitian) positive-definite matrix.

    The gradient is that of the symmetric part of `x` (Murray, "Differentiation of the Cholesky decomposition", 2016).

    Args:
        x: a tensor (..., n, n) of float32, float64 or complex numbers; only one triangle is read.
        upper: whether to read the upper triangle and return the triangle U with U.mH @ U = x.

    Returns:
        A tensor of the shape of `x`.

    Raises:
        LinAlgError: a matrix is not positive-definite; raised when the value is computed.
        ShapeError: the matrices are not square.
        DTypeError: another dtype.

    Example:
        >>> plait.linalg.cholesky(plait.tensor([[4.0, 2.0], [2.0, 5.0]]))
        tensor([[2., 0.],
                [1., 2.]])
    """
    return wrap(_factor(x, upper, True, "cholesky")[0])


@named
def cholesky_ex(x: Any, *, upper: bool = False, check_errors: bool = False) -> Cholesky:
    """Return the Cholesky factor, and instead of an error where a matrix is not positive-definite.

    Args:
        x: as in `cholesky`.
        upper: as in `cholesky`.
        check_errors: whether to raise as `cholesky` does.

    Returns:
        `(L, info)`; `info` holds for each matrix 0, or the order of the leading minor that is not positive (then the
        factor is NaN).

    Example:
        >>> plait.linalg.cholesky_ex(plait.tensor([[4.0, 2.0], [2.0, 5.0]])).L
        tensor([[2., 0.],
                [1., 2.]])
        >>> plait.linalg.cholesky_ex(plait.tensor([[1.0, 0.0], [0.0, -1.0]])).info
        tensor(2, dtype=plait.int32)
    """
    factor, info = _factor(x, upper, check_errors, "cholesky_ex")
    return Cholesky(wrap(factor), wrap(info))


# LU


def _check_pivot(name: str, pivot: bool) -> None:
    if not pivot:
        raise ArgumentError(message(f"{name} exchanges rows: without that it is unstable", "pivot=False", "pivot=True"))


def packed_lu(x: Any, name: str, check: bool) -> Node:
    """Return the node of the primitive `lu`."""
    return P.lu(matrix(x, name), what=name if check else None)


@named
def lu_factor(x: Any, *, pivot: bool = True) -> LUFactors:
    """Return the LU factorization with exchanged rows in one matrix, for `lu_solve`.

    Args:
        x: a tensor (..., m, n) of float32, float64 or complex numbers.
        pivot: rows are always exchanged; False is refused.

    Returns:
        `(LU, pivots)`: the upper triangle and, below the diagonal, the lower one, whose diagonal is 1; row k was
        exchanged with row pivots[k], counted from 1 (int32).

    Raises:
        LinAlgError: a square matrix is singular; raised when the value is computed.
        ShapeError: fewer than two axes.

    Example:
        >>> plait.linalg.lu_factor(plait.tensor([[1.0, 2.0], [4.0, 8.5]])).pivots
        tensor([2, 2], dtype=plait.int32)
    """
    _check_pivot("lu_factor", pivot)
    found = packed_lu(x, "lu_factor", False)
    return LUFactors(wrap(found[0]), wrap(found[1]))


@named
def lu_factor_ex(x: Any, *, pivot: bool = True, check_errors: bool = False) -> LUFactorsInfo:
    """Return the LU factorization in one matrix, and which matrices are singular.

    Args:
        x: as in `lu_factor`.
        pivot: as in `lu_factor`.
        check_errors: whether a singular matrix raises `LinAlgError`.

    Returns:
        `(LU, pivots, info)`; `info` holds 0, or the number of the first zero on the diagonal of U.

    Example:
        >>> plait.linalg.lu_factor_ex(plait.zeros((2, 2))).info
        tensor(1, dtype=plait.int32)
    """
    _check_pivot("lu_factor_ex", pivot)
    found = packed_lu(x, "lu_factor_ex", check_errors)
    return LUFactorsInfo(wrap(found[0]), wrap(found[1]), wrap(found[3]))


def unpacked(packed: Node) -> tuple[Node, Node]:
    """Return L and U of packed factors."""
    m, n = packed.shape[-2:]
    k = min(m, n)  # type: ignore[type-var]
    left = block(packed, m, k)
    return lower_part(left, -1) + identity(left), upper_part(block(packed, k, n))


def permutation_matrix(order: Node, like: Node) -> Node:
    """Return the matrix that puts row k of its factor at order[k]."""
    m = order.shape[-1]
    rows = P.iota(dtype=order.dtype, shape=(m, m), axis=0)
    columns = P.reshape(order, shape=(*order.shape[:-1], 1, m))
    shape = (*order.shape[:-1], m, m)
    return P.convert(P.eq(broadcast_to(rows, shape), broadcast_to(columns, shape)), dtype=like.dtype)


@named
def lu(x: Any, *, pivot: bool = True) -> PermutedLU:
    """Return the factors of x = P @ L @ U: a permutation, a lower triangle with diagonal 1, an upper triangle.

    Args:
        x: a tensor (..., m, n) of float32, float64 or complex numbers.
        pivot: rows are always exchanged; False is refused.

    Returns:
        `(P, L, U)` of shapes (..., m, m), (..., m, k) and (..., k, n) with k = min(m, n).

    Raises:
        ShapeError: fewer than two axes.

    Example:
        >>> plait.linalg.lu(plait.tensor([[1.0, 2.0], [4.0, 8.5]])).L
        tensor([[1.0000, 0.0000],
                [0.2500, 1.0000]])
    """
    _check_pivot("lu", pivot)
    found = packed_lu(x, "lu", False)
    lower, upper = unpacked(found[0])
    return PermutedLU(wrap(permutation_matrix(found[2], lower)), wrap(lower), wrap(upper))


@named
def lu_solve(LU: Any, pivots: Any, y: Any, *, left: bool = True, adjoint: bool = False) -> Tensor:  # noqa: N803
    """Solve x @ result = y with the result of `lu_factor(x)`.

    Args:
        LU: packed factors (..., n, n).
        pivots: exchanged rows (..., n), counted from 1.
        y: right-hand sides (..., n, k), or (..., k, n) with `left=False` (`B` is another name).
        left: False for result @ x = y.
        adjoint: whether to solve with x.mH.

    Returns:
        A tensor of the broadcast shape of `y`.

    Raises:
        ShapeError: the shapes do not fit.

    Example:
        >>> factors = plait.linalg.lu_factor(plait.tensor([[0.0, 2.0], [4.0, 0.0]]))
        >>> plait.linalg.lu_solve(*factors, plait.tensor([[2.0], [4.0]]))
        tensor([[1.],
                [1.]])
    """
    packed, b = operands("lu_solve", LU, y)
    exchanged = single(pivots, "lu_solve")
    if packed.ndim < 2 or b.ndim < 2 or exchanged.shape != packed.shape[:-1]:
        expected = "packed factors (..., n, n), pivots (..., n) and a right-hand side (..., n, k)"
        received = f"shapes {packed.shape}, {exchanged.shape} and {b.shape}"
        raise ShapeError(message("lu_solve: the shapes do not fit", received, expected))
    order = P.pivots_to_permutation(exchanged, size=packed.shape[-1])
    if not left:
        b = conjugate_transpose(b)
    packed, order, b = with_batch("lu_solve", packed, order, b, core=(2, 1, 2))
    solved = _solved(packed, order, b, adjoint is left)
    return wrap(solved if left else conjugate_transpose(solved))


def _solved(packed: Node, order: Node, b: Node, is_adjoint: bool) -> Node:
    lower, upper = ({"lower": low, "unit": low, "transposed": is_adjoint, "left": True} for low in (True, False))
    if not is_adjoint:
        ordered = P.triangular_solve(packed, rows_in_order(b, order), **lower)
        return P.triangular_solve(packed, ordered, **upper)
    conjugated = P.conj(packed) if packed.dtype.is_complex else packed
    ordered = P.triangular_solve(conjugated, P.triangular_solve(conjugated, b, **upper), **lower)
    return rows_in_order(ordered, P.argsort(order, axis=order.ndim - 1, descending=False))


# QR


@named
def qr(x: Any, mode: str = "reduced") -> QR:
    """Return the factors of x = Q @ R: orthonormal columns, and an upper triangle.

    Args:
        x: a tensor (..., m, n) of float32, float64 or complex numbers.
        mode: "reduced" (k = min(m, n) columns of Q), "complete" (m), or "r" (Q is empty).

    Returns:
        `(Q, R)` of shapes (..., m, k) and (..., k, n).

    Raises:
        ArgumentError: another mode.
        ShapeError: fewer than two axes.

    Source of the gradient: Roberts and Roberts, "QR and LQ decomposition matrix backpropagation algorithms", 2020. It
    takes the first min(m, n) columns to be independent.

    Example:
        >>> plait.linalg.qr(plait.tensor([[3.0, 1.0], [4.0, 2.0]])).R.abs()
        tensor([[5.0000, 2.2000],
                [0.0000, 0.4000]])
    """
    check_order("qr, mode", mode, ("reduced", "complete", "r"))
    node = matrix(x, "qr")
    found = P.qr(node, full=mode == "complete")
    empty = P.slice(P.reshape(node, shape=(node.aval.size,)), starts=(0,), limits=(0,), strides=(1,))
    return QR(wrap(empty if mode == "r" else found[0]), wrap(found[1]))


class Reflections:
    """A product of Householder reflections H_1 ... H_k with H_i = 1 - tau_i v_i v_i^H.

    It is 1 - V T V^H with the triangle T = (1 + D U)^-1 D, where D has tau on its diagonal and U is the part of V^H V
    above the diagonal (Schreiber and Van Loan, "A storage-efficient WY representation", 1989).
    """

    def __init__(self, packed: Node, tau: Node, name: str) -> None:
        if packed.ndim < 2 or tau.shape[:-1] != packed.shape[:-2] or not tau.ndim:
            received = f"shapes {packed.shape} and {tau.shape}"
            raise ShapeError(message(f"{name}: the shapes do not fit", received, "(..., m, n) and (..., k)"))
        m, n, k = sizes((*packed.shape[-2:], tau.shape[-1]))
        if k > min(m, n):
            raise ShapeError(message(f"{name} takes one factor for each vector", f"m={m}, n={n}, k={k}", "k <= m, n"))
        left = block(packed, m, k)
        self.vectors, self.tau = lower_part(left, -1) + identity(left), as_rows(tau)
        inner = product(adjoint(self.vectors), self.vectors)
        self.triangle = identity(inner) + self.tau * upper_part(inner, 1)

    def times(self, x: Node, inverse: bool = False) -> Node:
        """Multiply by the product, or by its adjoint."""
        inner, triangle, tau = product(adjoint(self.vectors), x), self.triangle, self.tau
        if inverse:
            conjugate, scale = (P.conj(v) if v.dtype.is_complex else v for v in (triangle, tau))
            inner = scale * P.triangular_solve(conjugate, inner, lower=False, unit=True, transposed=True, left=True)
        else:
            inner = P.triangular_solve(triangle, tau * inner, lower=False, unit=True, transposed=False, left=True)
        return x - product(self.vectors, inner)


@named
def householder_product(x: Any, tau: Any) -> Tensor:
    """Return the first n columns of a product of Householder reflections, given as `geqrf` returns them.

    Args:
        x: a tensor (..., m, n); the vectors stand below the diagonal, their first element is 1.
        tau: factors (..., k), k <= n.

    Returns:
        A tensor (..., m, n).

    Raises:
        ShapeError: the shapes do not fit.

    Example:
        >>> x = plait.tensor([[3.0, 1.0], [4.0, 2.0]])
        >>> plait.allclose(plait.linalg.householder_product(*plait.geqrf(x)), plait.linalg.qr(x).Q, atol=1e-6)
        True
    """
    packed, factors = operands("householder_product", x, tau)
    if packed.ndim > 1 and packed.shape[-1] > packed.shape[-2]:
        raise ShapeError(message("householder_product takes vectors of m >= n elements", packed.aval, "m >= n"))
    return wrap(Reflections(packed, factors, "householder_product").times(identity(packed)))


# LDL


def _ldl(x: Any, hermitian: bool, check: bool, name: str) -> Node:
    return P.ldl(square(x, name), hermitian=hermitian, check=check)


@named
def ldl_factor(x: Any, *, hermitian: bool = False) -> LDLFactors:
    """Return the factors of a symmetric indefinite matrix x = L @ D @ L.mT, D having blocks of 1 or 2 rows.

    Needs SciPy. It has no gradient: `solve` does.

    Args:
        x: a tensor (..., n, n) of float32, float64 or complex numbers; only the lower triangle is read.
        hermitian: whether complex matrices are Hermitian (x = L @ D @ L.mH) rather than symmetric.

    Returns:
        `(LD, pivots)`, for `ldl_solve`.

    Raises:
        LinAlgError: a matrix is singular; raised when the value is computed.
        MissingDependencyError: SciPy is not installed.

    Source: Bunch and Kaufman, "Some stable methods for calculating inertia and solving symmetric linear systems", 1977.

    Example:
        >>> plait.linalg.ldl_factor(plait.tensor([[2.0, 0.0], [1.0, 3.0]])).LD
        tensor([[2.0000, 0.0000],
                [0.5000, 2.5000]])
    """
    found = _ldl(x, hermitian, False, "ldl_factor")
    return LDLFactors(wrap(found[0]), wrap(found[1]))


@named
def ldl_factor_ex(x: Any, *, hermitian: bool = False, check_errors: bool = False) -> LDLFactorsInfo:
    """Return the LDL factorization, and which matrices are singular.

    Args:
        x: as in `ldl_factor`.
        hermitian: as in `ldl_factor`.
        check_errors: whether a singular matrix raises `LinAlgError`.

    Returns:
        `(LD, pivots, info)`; `info` holds 0, or the number of the first zero block of D.

    Example:
        >>> plait.linalg.ldl_factor_ex(plait.tensor([[2.0, 0.0], [1.0, 3.0]])).info
        tensor(0, dtype=plait.int32)
    """
    found = _ldl(x, hermitian, check_errors, "ldl_factor_ex")
    return LDLFactorsInfo(wrap(found[0]), wrap(found[1]), wrap(found[2]))


@named
def ldl_solve(LD: Any, pivots: Any, y: Any, *, hermitian: bool = False) -> Tensor:  # noqa: N803
    """Solve x @ result = y with the result of `ldl_factor(x)`.

    Args:
        LD: packed factors (..., n, n).
        pivots: how rows were exchanged (..., n).
        y: right-hand sides (..., n, k) (`B` is another name).
        hermitian: as given to `ldl_factor`.

    Returns:
        A tensor of the broadcast shape of `y`. Gradients flow to `y` alone.

    Raises:
        ShapeError: the shapes do not fit.
        MissingDependencyError: SciPy is not installed.

    Example:
        >>> factors = plait.linalg.ldl_factor(plait.tensor([[2.0, 1.0], [1.0, 3.0]]))
        >>> plait.linalg.ldl_solve(*factors, plait.tensor([[3.0], [4.0]]))
        tensor([[1.],
                [1.]])
    """
    packed, b = operands("ldl_solve", LD, y)
    exchanged = P.convert(single(pivots, "ldl_solve"), dtype=int32)
    if exchanged.shape[-1:] != packed.shape[-1:]:
        received = f"shapes {exchanged.shape} and {packed.shape}"
        raise ShapeError(message("ldl_solve takes a pivot for each row", received, "(..., n) and (..., n, n)"))
    packed, exchanged, b = with_batch("ldl_solve", packed, exchanged, b, core=(2, 1, 2))
    return wrap(P.ldl_solve(packed, exchanged, b, hermitian=hermitian))

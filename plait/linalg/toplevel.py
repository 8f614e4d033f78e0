"""The functions of linear algebra that PyTorch has outside `linalg`, and as methods of tensors."""

from __future__ import annotations

from typing import Any

from plait.core.errors import ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.linalg import factorizations, products, solving, spectra
from plait.linalg.factorizations import Reflections, permutation_matrix, unpacked
from plait.linalg.measures import det, slogdet
from plait.linalg.operands import also_named, matrix, named, operands, square, with_batch
from plait.linalg.products import matrix_exp, matrix_power
from plait.prims.matrices import adjoint, identity, product
from plait.prims.rules import broadcast_shapes
from plait.tensor.functions import log
from plait.tensor.methods import attach
from plait.tensor.operators import scalar_node, single
from plait.tensor.results import QR, ColumnsSVD, PackedQR, PermutedLU, TriangularSolution
from plait.tensor.tensor import Tensor, node_of, wrap

__all__ = [
    "cholesky", "cholesky_inverse", "cholesky_solve", "cross", "det", "geqrf", "inverse", "logdet", "lu", "lu_solve",
    "lu_unpack", "matrix_exp", "matrix_power", "orgqr", "ormqr", "pinverse", "qr", "slogdet", "svd",
    "triangular_solve",
]  # fmt: skip


def _triangle_solve(factor: Node, b: Node, lower: bool, is_adjoint: bool) -> Node:
    conjugated = P.conj(factor) if is_adjoint and factor.dtype.is_complex else factor
    return P.triangular_solve(conjugated, b, lower=lower, unit=False, transposed=is_adjoint, left=True)


@named
def cholesky(x: Any, upper: bool = False) -> Tensor:
    """Return the Cholesky factor; see `plait.linalg.cholesky`.

    Args:
        x: a symmetric positive-definite tensor (..., n, n).
        upper: whether to return the upper triangle.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> plait.cholesky(plait.tensor([[4.0, 2.0], [2.0, 5.0]]))
        tensor([[2., 0.],
                [1., 2.]])
    """
    return factorizations.cholesky(x, upper=upper)


@also_named(L="x")
def cholesky_inverse(x: Any, upper: bool = False) -> Tensor:
    """Return the inverse of the matrix with the Cholesky factor `x`.

    Args:
        x: a triangle (..., n, n) with a positive diagonal.
        upper: which triangle it is.

    Returns:
        A tensor of the shape of `x`.

    Raises:
        ShapeError: the matrices are not square.

    Example:
        >>> plait.cholesky_inverse(plait.tensor([[2.0, 0.0], [0.0, 1.0]]))
        tensor([[0.2500, 0.0000],
                [0.0000, 1.0000]])
    """
    factor = square(x, "cholesky_inverse")
    inverse = _triangle_solve(factor, identity(factor), not upper, upper)
    return wrap(product(adjoint(inverse), inverse))


@also_named(L="factor")
def cholesky_solve(x: Any, factor: Any, upper: bool = False) -> Tensor:
    """Solve a system whose matrix has a known Cholesky factor.

    Args:
        x: right-hand sides (..., n, k) (`B` and `input` are other names).
        factor: the Cholesky factor (..., n, n) (`L` is another name).
        upper: which triangle it is.

    Returns:
        A tensor of the broadcast shape of `x`.

    Raises:
        ShapeError: the shapes do not fit.

    Example:
        >>> plait.cholesky_solve(plait.tensor([[4.0], [1.0]]), plait.tensor([[2.0, 0.0], [0.0, 1.0]]))
        tensor([[1.],
                [1.]])
    """
    triangle, b = operands("cholesky_solve", factor, x)
    if triangle.ndim < 2 or b.ndim < 2:
        received = f"shapes {b.shape} and {triangle.shape}"
        raise ShapeError(message("cholesky_solve takes matrices", received, "(..., n, k) and (..., n, n)"))
    triangle, b = with_batch("cholesky_solve", triangle, b)
    first = _triangle_solve(triangle, b, not upper, upper)
    return wrap(_triangle_solve(triangle, first, not upper, not upper))


@named
def cross(x: Any, y: Any, axis: int | None = None) -> Tensor:
    """Return the vector product of vectors of three elements; see `plait.linalg.cross`.

    Args:
        x: a tensor of numbers.
        y: a tensor of as many axes.
        axis: the axis of the vectors, by default the first of size 3 (`dim` is another name).

    Returns:
        A tensor of the broadcast shape.

    Raises:
        ShapeError: there is no axis of size 3.

    Example:
        >>> plait.cross(plait.tensor([1, 0, 0]), plait.tensor([0, 1, 0]))
        tensor([0, 0, 1])
    """
    if axis is None:
        shape = broadcast_shapes(single(x, "cross").shape, single(y, "cross").shape, name="cross")
        if 3 not in shape:
            raise ShapeError(message("cross takes vectors of three elements", f"shape {shape}", "an axis of size 3"))
        axis = shape.index(3)
    return products.cross(x, y, axis)


@named
def inverse(x: Any) -> Tensor:
    """Return the inverse; see `plait.linalg.inv`.

    Example:
        >>> plait.inverse(plait.tensor([[2.0, 0.0], [0.0, 4.0]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
    """
    return solving.inv(x)


@named
def pinverse(x: Any, rcond: float = 1e-15) -> Tensor:
    """Return the pseudoinverse; see `plait.linalg.pinv`.

    Args:
        x: a tensor (..., m, n).
        rcond: singular values up to this times the largest one count as zero.

    Returns:
        A tensor (..., n, m).

    Example:
        >>> plait.pinverse(plait.tensor([[2.0, 0.0], [0.0, 0.0]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.0000]])
    """
    return solving.pinv(x, rtol=rcond)


@named
def logdet(x: Any) -> Tensor:
    """Return the logarithm of the determinant: NaN where it is negative, -inf where it is zero.

    Args:
        x: a tensor (..., n, n) of float32, float64 or complex numbers.

    Returns:
        A tensor of the shape of the batch; complex for complex matrices.

    Raises:
        ShapeError: the matrices are not square.

    Example:
        >>> plait.logdet(plait.tensor([[2.0, 0.0], [0.0, 1.0]]))
        tensor(0.6931)
    """
    sign, size = slogdet(x)
    if sign.dtype.is_complex:
        return log(sign) + size
    is_negative = P.lt(node_of(sign), scalar_node(0.0, sign.dtype))
    return wrap(P.select(is_negative, scalar_node(float("nan"), size.dtype), node_of(size)))


@named
def lu(x: Any, pivot: bool = True, get_infos: bool = False) -> tuple[Tensor, ...]:
    """Return the LU factorization in one matrix; see `plait.linalg.lu_factor` (and `lu`, whose factors are apart).

    Args:
        x: a tensor (..., m, n).
        pivot: rows are always exchanged; False is refused.
        get_infos: whether to return also 0, or the number of the first zero pivot, for each matrix.

    Returns:
        `(LU, pivots)` or `(LU, pivots, infos)`.

    Example:
        >>> plait.lu(plait.tensor([[1.0, 2.0], [4.0, 8.5]]))[0]
        tensor([[ 4.0000,  8.5000],
                [ 0.2500, -0.1250]])
    """
    found = factorizations.lu_factor_ex(x, pivot=pivot)
    return tuple(found) if get_infos else tuple(found[:2])


@also_named(LU_data="LU", LU_pivots="pivots", b="x")
def lu_solve(x: Any, LU: Any, pivots: Any) -> Tensor:  # noqa: N803 - the name of PyTorch
    """Solve a system with a factorized matrix; see `plait.linalg.lu_solve`.

    Args:
        x: right-hand sides (..., n, k) (`b` is another name).
        LU: packed factors (..., n, n) (`LU_data` is another name).
        pivots: exchanged rows (..., n) (`LU_pivots` is another name).

    Returns:
        A tensor of the broadcast shape of `x`.

    Example:
        >>> plait.lu_solve(plait.tensor([[2.0], [4.0]]), *plait.lu(plait.tensor([[0.0, 2.0], [4.0, 0.0]])))
        tensor([[1.],
                [1.]])
    """
    return factorizations.lu_solve(LU, pivots, x)


@also_named(LU_data="LU", LU_pivots="pivots")
def lu_unpack(LU: Any, pivots: Any, unpack_data: bool = True, unpack_pivots: bool = True) -> PermutedLU:  # noqa: N803
    """Return the factors P, L and U of packed ones.

    Args:
        LU: packed factors (..., m, n) (`LU_data` is another name).
        pivots: exchanged rows (..., min(m, n)) (`LU_pivots` is another name).
        unpack_data: whether L and U are wanted; else they are empty.
        unpack_pivots: whether P is wanted; else it is empty.

    Returns:
        `(P, L, U)`; see `plait.linalg.lu`.

    Raises:
        ShapeError: fewer than two axes, or not one pivot for each of min(m, n) rows.

    Example:
        >>> plait.lu_unpack(*plait.lu(plait.tensor([[1.0, 2.0], [4.0, 8.5]]))).U
        tensor([[ 4.0000,  8.5000],
                [ 0.0000, -0.1250]])
    """
    packed = matrix(LU, "lu_unpack")
    nothing = P.iota(dtype=packed.dtype.real, shape=(0,), axis=0)
    nothing = P.convert(nothing, dtype=packed.dtype) if packed.dtype.is_complex else nothing
    exchanged, expected = single(pivots, "lu_unpack"), (*packed.shape[:-2], min(packed.shape[-2:]))
    if exchanged.shape != expected:
        raise ShapeError(message("lu_unpack takes a pivot for each row", exchanged.shape, expected, "pass lu(x)[1]"))
    order = P.pivots_to_permutation(exchanged, size=packed.shape[-2])
    parts = unpacked(packed) if unpack_data else (nothing, nothing)
    matrix_of_rows = permutation_matrix(order, packed) if unpack_pivots else nothing
    return PermutedLU(wrap(matrix_of_rows), wrap(parts[0]), wrap(parts[1]))


@named
def qr(x: Any, some: bool = True) -> QR:
    """Return the factors of x = Q @ R; see `plait.linalg.qr`.

    Args:
        x: a tensor (..., m, n).
        some: False for a square Q.

    Returns:
        `(Q, R)`.

    Example:
        >>> plait.qr(plait.tensor([[3.0, 1.0], [4.0, 2.0]])).R.abs()
        tensor([[5.0000, 2.2000],
                [0.0000, 0.4000]])
    """
    return factorizations.qr(x, "reduced" if some else "complete")


@named
def svd(x: Any, some: bool = True, compute_uv: bool = True) -> ColumnsSVD:
    """Return the singular value decomposition x = U @ diag(S) @ V.mH; see `plait.linalg.svd`, which returns V.mH.

    Args:
        x: a tensor (..., m, n).
        some: False for square U and V.
        compute_uv: False for zeros in their place.

    Returns:
        `(U, S, V)`.

    Example:
        >>> plait.svd(plait.tensor([[3.0, 0.0], [0.0, 4.0]])).S
        tensor([4., 3.])
    """
    if compute_uv:
        u, s, vh = spectra.svd(x, not some)
        return ColumnsSVD(u, s, wrap(adjoint(node_of(vh))))
    node = matrix(x, "svd")
    batch, zero = node.shape[:-2], scalar_node(0.0, node.dtype)
    u, v = (wrap(P.broadcast(zero, shape=(*batch, n, n), axes=())) for n in node.shape[-2:])
    return ColumnsSVD(u, spectra.svdvals(x), v)


@named
def geqrf(x: Any) -> PackedQR:
    """Return a QR factorization as LAPACK packs it: R, below it Householder vectors, and their factors.

    It has no gradient: `plait.linalg.qr` does.

    Args:
        x: a tensor (..., m, n).

    Returns:
        `(a, tau)` of shapes (..., m, n) and (..., min(m, n)), for `orgqr` and `ormqr`.

    Raises:
        ShapeError: fewer than two axes.

    Example:
        >>> plait.geqrf(plait.tensor([[3.0, 1.0], [4.0, 2.0]])).tau
        tensor([1.6000, 0.0000])
    """
    found = P.geqrf(matrix(x, "geqrf"))
    return PackedQR(wrap(found[0]), wrap(found[1]))


@also_named(input2="tau")
def orgqr(x: Any, tau: Any) -> Tensor:
    """Return the first columns of a product of Householder reflections; see `plait.linalg.householder_product`.

    Example:
        >>> plait.orgqr(*plait.geqrf(plait.tensor([[3.0], [4.0]])))
        tensor([[-0.6000],
                [-0.8000]])
    """
    return factorizations.householder_product(x, tau)


@also_named(other="y", input3="y", input2="tau")
def ormqr(x: Any, tau: Any, y: Any, left: bool = True, transpose: bool = False) -> Tensor:
    """Multiply by the square Q of a QR factorization, given as `geqrf` returns it.

    Args:
        x: packed Householder vectors (..., m, k).
        tau: their factors (..., k).
        y: a tensor (..., m, n), or (..., n, m) with `left=False` (`other` is another name).
        left: False for y @ Q.
        transpose: whether to multiply by Q.mH.

    Returns:
        A tensor of the shape of `y`.

    Raises:
        ShapeError: the shapes do not fit.

    Example:
        >>> packed, tau = plait.geqrf(plait.tensor([[3.0], [4.0]]))
        >>> plait.ormqr(packed, tau, plait.tensor([[3.0], [4.0]]), transpose=True).round(decimals=4)
        tensor([[-5.],
                [ 0.]])
    """
    packed, factors, other = operands("ormqr", x, tau, y)
    if min(packed.ndim, other.ndim) < 2 or other.shape[-2 if left else -1] != packed.shape[-2]:
        received = f"shapes {packed.shape} and {other.shape}"
        raise ShapeError(message("ormqr: the shapes do not fit", received, "(..., m, k) and (..., m, n)"))
    reflections = Reflections(packed, factors, "ormqr")
    if left:
        return wrap(reflections.times(other, inverse=transpose))
    return wrap(adjoint(reflections.times(adjoint(other), inverse=not transpose)))


@also_named(b="x", A="y")
def triangular_solve(
    x: Any, y: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> TriangularSolution:
    """Solve y @ result = x, where `y` is a triangle; see `plait.linalg.solve_triangular`.

    Args:
        x: right-hand sides (..., n, k) (`b` and `input` are other names).
        y: a triangle (..., n, n) (`A` is another name).
        upper: which triangle it is.
        transpose: whether to solve with y.mT.
        unitriangular: whether the diagonal counts as 1 and is not read.

    Returns:
        `(solution, cloned_coefficient)`, the second a copy of `y`.

    Raises:
        ShapeError: the shapes do not fit.

    Example:
        >>> plait.triangular_solve(plait.tensor([[2.0], [2.0]]), plait.tensor([[1.0, 1.0], [0.0, 2.0]])).solution
        tensor([[1.],
                [1.]])
    """
    b, a = operands("triangular_solve", x, y)
    if a.ndim < 2 or b.ndim < 2:
        raise ShapeError(message("triangular_solve takes matrices", f"shapes {b.shape} and {a.shape}", "(..., n, n)"))
    a, b = with_batch("triangular_solve", a, b)
    found = P.triangular_solve(a, b, lower=not upper, unit=unitriangular, transposed=transpose, left=True)
    return TriangularSolution(wrap(found), wrap(a))


attach([
    cholesky, cholesky_inverse, cholesky_solve, cross, det, geqrf, inverse, logdet, lu, lu_solve, matrix_exp,
    matrix_power, orgqr, ormqr, pinverse, qr, slogdet, svd, triangular_solve,
])  # fmt: skip

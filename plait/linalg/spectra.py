"""Eigenvalues and singular values."""

from __future__ import annotations

from typing import Any

from plait.core.errors import ArgumentError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.linalg.operands import matrix, named, square
from plait.prims.matrices import adjoint
from plait.tensor.results import SVD, Eigen
from plait.tensor.tensor import Tensor, wrap

__all__ = ["eig", "eigh", "eigvals", "eigvalsh", "svd", "svdvals"]


def _one_triangle(x: Any, triangle: str, name: str) -> Node:
    node = square(x, name)
    if triangle.upper() not in ("L", "U"):
        raise ArgumentError(message(f"{name} reads one triangle", f"UPLO={triangle!r}", '"L" or "U"'))
    return node if triangle.upper() == "L" else adjoint(node)


@named
def eigh(x: Any, UPLO: str = "L") -> Eigen:  # noqa: N803 - the name of NumPy and PyTorch
    """Return the eigenvalues and eigenvectors of a symmetric (or Hermitian) matrix.

    The signs (phases) of the vectors are free. The gradient is that of the symmetric part of `x`. Pairs of eigenvalues
    that are equal to rounding are left out of the gradient of the vectors, which would be infinite: it is right for
    functions of the whole space that their vectors span, but misses their part of V @ diag(f(w)) @ V.mH.

    Args:
        x: a tensor (..., n, n) of float32, float64 or complex numbers.
        UPLO: which triangle is read, "L" or "U".

    Returns:
        `(eigenvalues, eigenvectors)`: real numbers (..., n) in ascending order, and orthonormal columns.

    Raises:
        ShapeError: the matrices are not square.
        ArgumentError: another triangle.
        LinAlgError: no convergence (NaN or infinities); raised when the value is computed.

    Example:
        >>> plait.linalg.eigh(plait.tensor([[2.0, 1.0], [1.0, 2.0]])).eigenvalues
        tensor([1., 3.])
    """
    found = P.eigh(_one_triangle(x, UPLO, "eigh"))
    return Eigen(wrap(found[0]), wrap(found[1]))


@named
def eigvalsh(x: Any, UPLO: str = "L") -> Tensor:  # noqa: N803
    """Return the eigenvalues of a symmetric (or Hermitian) matrix, in ascending order.

    Args:
        x: a tensor (..., n, n) of float32, float64 or complex numbers.
        UPLO: which triangle is read, "L" or "U".

    Returns:
        Real numbers (..., n).

    Raises:
        ShapeError: the matrices are not square.
        ArgumentError: another triangle.

    Example:
        >>> plait.linalg.eigvalsh(plait.tensor([[2.0, 1.0], [1.0, 2.0]]))
        tensor([1., 3.])
    """
    return wrap(P.eigvalsh(_one_triangle(x, UPLO, "eigvalsh")))


@named
def eig(x: Any) -> Eigen:
    """Return the eigenvalues and eigenvectors of a square matrix, complex also for real matrices.

    The phases of the vectors are free, their length is 1. As with `eigh`, pairs of equal eigenvalues are left out of
    the gradient of the vectors.

    Args:
        x: a tensor (..., n, n) of float32, float64 or complex numbers.

    Returns:
        `(eigenvalues, eigenvectors)`: complex numbers (..., n) in no particular order, and columns.

    Raises:
        ShapeError: the matrices are not square.
        LinAlgError: no convergence (NaN or infinities); raised when the value is computed.

    Example:
        >>> plait.linalg.eig(plait.tensor([[0.0, -1.0], [1.0, 0.0]])).eigenvalues.imag.abs()
        tensor([1., 1.])
    """
    found = P.eig(square(x, "eig"))
    return Eigen(wrap(found[0]), wrap(found[1]))


@named
def eigvals(x: Any) -> Tensor:
    """Return the eigenvalues of a square matrix, complex also for real matrices.

    Args:
        x: a tensor (..., n, n) of float32, float64 or complex numbers.

    Returns:
        Complex numbers (..., n), in no particular order.

    Raises:
        ShapeError: the matrices are not square.

    Example:
        >>> plait.linalg.eigvals(plait.tensor([[2.0, 0.0], [0.0, 3.0]])).real
        tensor([2., 3.])
    """
    return wrap(P.eigvals(square(x, "eigvals")))


def _check_driver(driver: str | None) -> None:
    if driver not in (None, "gesvd", "gesvdj", "gesvda"):
        raise ArgumentError(message("svd: unknown driver", repr(driver), 'None, "gesvd", "gesvdj" or "gesvda"'))


@named
def svd(x: Any, full_matrices: bool = True, *, driver: str | None = None) -> SVD:
    """Return the singular value decomposition x = U @ diag(S) @ Vh.

    The signs (phases) of pairs of vectors are free. As with `eigh`, pairs of singular values that are equal to
    rounding are left out of the gradient of the vectors.

    Args:
        x: a tensor (..., m, n) of float32, float64 or complex numbers.
        full_matrices: whether U and Vh are square; else they have k = min(m, n) columns and rows.
        driver: a choice that PyTorch has on GPUs; it changes nothing here.

    Returns:
        `(U, S, Vh)` of shapes (..., m, m or k), (..., k) in descending order, and (..., n or k, n).

    Raises:
        ShapeError: fewer than two axes.
        LinAlgError: no convergence (NaN or infinities); raised when the value is computed.

    Source of the gradient: Townsend, "Differentiating the singular value decomposition", 2016.

    Example:
        >>> plait.linalg.svd(plait.tensor([[3.0, 0.0], [0.0, 4.0]])).S
        tensor([4., 3.])
    """
    _check_driver(driver)
    found = P.svd(matrix(x, "svd"), full=full_matrices)
    return SVD(wrap(found[0]), wrap(found[1]), wrap(found[2]))


@named
def svdvals(x: Any, *, driver: str | None = None) -> Tensor:
    """Return the singular values, in descending order.

    Args:
        x: a tensor (..., m, n) of float32, float64 or complex numbers.
        driver: a choice that PyTorch has on GPUs; it changes nothing here.

    Returns:
        Real numbers (..., min(m, n)).

    Raises:
        ShapeError: fewer than two axes.

    Example:
        >>> plait.linalg.svdvals(plait.tensor([[3.0, 0.0], [0.0, 4.0]]))
        tensor([4., 3.])
    """
    _check_driver(driver)
    return wrap(P.svdvals(matrix(x, "svdvals")))

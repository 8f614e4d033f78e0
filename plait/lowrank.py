"""Approximations of low rank by random projections."""

from __future__ import annotations

from typing import Any

from plait import linalg
from plait.core.errors import ArgumentError, message
from plait.linalg.operands import also_named, matrix, sizes
from plait.sampling import randn
from plait.tensor.contraction import matmul
from plait.tensor.functions import conj
from plait.tensor.reductions import mean
from plait.tensor.results import ColumnsSVD
from plait.tensor.shaping import broadcast_to, matrix_transpose
from plait.tensor.tensor import Tensor, wrap

__all__ = ["pca_lowrank", "svd_lowrank"]


def _adjoint(x: Tensor) -> Tensor:
    return conj(matrix_transpose(x))


def _basis(x: Tensor, q: int, niter: int) -> Tensor:
    """Orthonormal columns that span nearly the range of `x`, by power iteration from random vectors."""
    start = randn(sizes((x.shape[-1], q)), dtype=x.dtype.real).to(x.dtype)
    q_factor = linalg.qr(matmul(x, start)).Q
    for _ in range(niter):
        q_factor = linalg.qr(matmul(_adjoint(x), q_factor)).Q
        q_factor = linalg.qr(matmul(x, q_factor)).Q
    return q_factor


def _check(name: str, q: int, niter: int, shape: Any) -> None:
    most = min(sizes(shape[-2:]))
    if not 0 <= q <= most:
        raise ArgumentError(message(f"{name}: no approximation of this rank", f"q={q}", f"0 to {most}"))
    if niter < 0:
        raise ArgumentError(message(f"{name}: iterations are counted", f"niter={niter}", "niter >= 0"))


@also_named(M="subtract")
def svd_lowrank(x: Any, q: int | None = 6, niter: int = 2, subtract: Any = None) -> ColumnsSVD:
    """Return the q largest singular values and their vectors, nearly: x = U @ diag(S) @ V.mH.

    Args:
        x: a tensor (..., m, n) of float32, float64 or complex numbers.
        q: how many; somewhat more than the rank that is sought.
        niter: power iterations; more are more exact.
        subtract: a tensor that broadcasts with `x` and is subtracted first (`M` is another name).

    Returns:
        `(U, S, V)` of shapes (..., m, q), (..., q) and (..., n, q).

    Raises:
        ArgumentError: `q` is larger than a size of `x`, or `niter` is negative.
        ShapeError: fewer than two axes.

    Source: Halko, Martinsson and Tropp, "Finding structure with randomness", 2009, algorithms 4.4 and 5.1.

    Example:
        >>> x = plait.outer(plait.arange(4.0), plait.ones(3))
        >>> U, S, V = plait.svd_lowrank(x, q=1)
        >>> plait.allclose(U * S @ V.mT, x, atol=1e-4)
        True
    """
    tensor = wrap(matrix(x, "svd_lowrank"))
    count = 6 if q is None else q
    _check("svd_lowrank", count, niter, tensor.shape)
    if subtract is not None:
        tensor = tensor - broadcast_to(subtract, tensor.shape)
    is_wide = tensor.shape[-2] < tensor.shape[-1]
    tall = _adjoint(tensor) if is_wide else tensor
    basis = _basis(tall, count, niter)
    u, s, vh = linalg.svd(matmul(_adjoint(basis), tall), full_matrices=False)
    left, right = matmul(basis, u), _adjoint(vh)
    return ColumnsSVD(right, s, left) if is_wide else ColumnsSVD(left, s, right)


@also_named()
def pca_lowrank(x: Any, q: int | None = None, center: bool = True, niter: int = 2) -> ColumnsSVD:
    """Return the q principal components of the rows of a matrix, nearly.

    Args:
        x: a tensor (..., m, n): m observations of n variables.
        q: how many components, by default min(6, m, n).
        center: whether to subtract the means of the columns first.
        niter: power iterations; more are more exact.

    Returns:
        `(U, S, V)`: the columns of V are the principal directions, S**2 / (m - 1) the variances along them, and
        x @ V[:, :k] projects to the first k.

    Raises:
        ArgumentError: `q` is larger than a size of `x`, or `niter` is negative.
        ShapeError: fewer than two axes.

    Source: Halko, Martinsson and Tropp, "Finding structure with randomness", 2009.

    Example:
        >>> points = plait.outer(plait.arange(4.0), plait.tensor([3.0, 4.0]))
        >>> plait.pca_lowrank(points, q=1).V.abs()
        tensor([[0.6000],
                [0.8000]])
    """
    tensor = wrap(matrix(x, "pca_lowrank"))
    count = min(6, *sizes(tensor.shape[-2:])) if q is None else q
    _check("pca_lowrank", count, niter, tensor.shape)
    return svd_lowrank(tensor - mean(tensor, axis=-2, keepdims=True) if center else tensor, count, niter)

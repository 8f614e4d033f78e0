"""Normal vectors of a given covariance, and orthogonal matrices."""

from __future__ import annotations

from typing import Any

from plait.core.dtype import float32
from plait.core.errors import ArgumentError, ShapeError, message
from plait.linalg import cholesky, eigh, qr, svd
from plait.prims.rules import broadcast_shapes
from plait.random.basic import normal
from plait.random.keys import Shape
from plait.tensor.api import asarray, sign, sqrt
from plait.tensor.einsum import einsum
from plait.tensor.shaping import new_shape
from plait.tensor.tensor import Tensor

_FACTORS = ("cholesky", "eigh", "svd")


def multivariate_normal(
    key: Any, mean: Any, cov: Any, shape: Shape | None = None, dtype: Any = float32, method: str = "cholesky"
) -> Tensor:
    """Draw vectors from the normal distribution of a given mean and covariance.

    Args:
        key: a key.
        mean: the mean, [..., n].
        cov: the covariance, [..., n, n], symmetric and positive semi-definite (for "cholesky": definite).
        shape: the axes before the vectors; by default those of `mean` and `cov`.
        dtype: a float type.
        method: which root of the covariance is taken: "cholesky", "eigh" or "svd".

    Returns:
        A tensor [*shape, n].

    Raises:
        ShapeError: mean and covariance do not fit each other or the shape.
        ArgumentError: another method.

    Example:
        >>> plait.random.multivariate_normal(plait.random.key(0), plait.zeros(2), plait.eye(2))
        tensor([1.6226, 2.0253])
    """
    if method not in _FACTORS:
        raise ArgumentError(message("multivariate_normal: unknown method", repr(method), f"one of {_FACTORS}"))
    mean, cov = asarray(mean).to(dtype), asarray(cov).to(dtype)
    if mean.ndim < 1 or cov.ndim < 2 or cov.shape[-2:] != (mean.shape[-1],) * 2:
        received, expected = f"a mean of {mean.shape}, a covariance of {cov.shape}", "[..., n] and [..., n, n]"
        raise ShapeError(message("multivariate_normal: mean and covariance do not fit", received, expected))
    batch = broadcast_shapes(mean.shape[:-1], cov.shape[:-2], name="multivariate_normal")
    sizes = batch if shape is None else new_shape((shape,))
    if broadcast_shapes(batch, sizes, name="multivariate_normal") != sizes:
        raise ShapeError(message("multivariate_normal: the shape does not fit", sizes, f"axes before {batch}"))
    return mean + einsum("...ij,...j->...i", _root(cov, method), normal(key, (*sizes, mean.shape[-1]), dtype))


def _root(cov: Tensor, method: str) -> Tensor:
    if method == "cholesky":
        return cholesky(cov)
    if method == "eigh":
        values, vectors = eigh(cov)
        return vectors * sqrt(values)[..., None, :]
    vectors, values, _ = svd(cov)
    return vectors * sqrt(values)[..., None, :]


def orthogonal(key: Any, n: int, shape: Shape = (), dtype: Any = float32, m: int | None = None) -> Tensor:
    """Draw orthogonal matrices, evenly over all of them (the Haar measure).

    Args:
        key: a key.
        n: number of rows.
        shape: the axes before the matrices.
        dtype: a float type.
        m: number of columns, by default `n`; the shorter of the two directions is orthonormal.

    Returns:
        A tensor [*shape, n, m].

    Source: Mezzadri, How to generate random matrices from the classical compact groups, 2007.

    Example:
        >>> q = plait.random.orthogonal(plait.random.key(0), 3)
        >>> plait.allclose(q @ q.mT, plait.eye(3), atol=1e-5)
        True
    """
    columns = n if m is None else m
    q, r = qr(normal(key, (*new_shape((shape,)), max(n, columns), min(n, columns)), dtype))
    q = q * sign(r.diagonal(0, -2, -1))[..., None, :]
    return q.mT if n < columns else q

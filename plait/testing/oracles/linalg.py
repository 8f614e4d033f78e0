"""NumPy references for linear algebra; where a primitive reads one triangle, its symmetric part stands for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

Array = Any


def adjoint(x: Array) -> Array:
    """The matrices transposed and conjugated."""
    return np.swapaxes(np.conj(x), -1, -2)


def _hermitian(x: Array) -> Array:
    return (x + adjoint(x)) / 2


def _no_info(x: Array) -> Array:
    return np.zeros(x.shape[:-2], np.int32)


def cholesky(x: Array, *, check: bool) -> tuple[Array, Array]:
    """The factor, and 0 for success."""
    return np.linalg.cholesky(_hermitian(x)), _no_info(x)


def lu(x: Array, *, what: str | None) -> tuple[Array, Array, Array, Array]:
    """Elimination row by row."""
    packed, n = np.array(x), x.shape[-1]
    pivots = np.zeros(x.shape[:-1], np.int32)
    rows = np.zeros(x.shape[:-1], np.int64)
    for at in np.ndindex(x.shape[:-2]):
        a, order = packed[at], np.arange(n)
        for k in range(n):
            row = k + int(np.argmax(np.abs(a[k:, k])))
            a[[k, row]], order[[k, row]], pivots[at][k] = a[[row, k]], order[[row, k]], row + 1
            a[k + 1 :, k] /= a[k, k]
            a[k + 1 :, k + 1 :] -= np.outer(a[k + 1 :, k], a[k, k + 1 :])
        rows[at] = order
    return packed, pivots, rows, _no_info(x)


def permutation(pivots: Array, *, size: int) -> Array:
    """The order of rows after the exchanges."""
    result = np.zeros((*pivots.shape[:-1], size), np.int64)
    for at in np.ndindex(pivots.shape[:-1]):
        order = list(range(size))
        for k, p in enumerate(pivots[at]):
            order[k], order[p - 1] = order[p - 1], order[k]
        result[at] = order
    return result


def triangular_solve(a: Array, b: Array, *, lower: bool, unit: bool, transposed: bool, left: bool) -> Array:
    """The general solution with the triangle alone."""
    triangle = np.tril(a, -int(unit)) if lower else np.triu(a, int(unit))
    triangle = triangle + np.eye(a.shape[-1]) if unit else triangle
    if transposed:
        triangle = np.swapaxes(triangle, -1, -2)
    return np.linalg.solve(triangle, b) if left else b @ np.linalg.inv(triangle)


def inv(x: Array, *, what: str | None) -> tuple[Array, Array]:
    """The inverse, and 0 for success."""
    return np.linalg.inv(x), _no_info(x)


def adjugate(x: Array) -> Array:
    """The determinant times the inverse."""
    return np.linalg.det(x)[..., None, None] * np.linalg.inv(x)


def slogdet(x: Array) -> tuple[Array, Array]:
    """Sign and logarithm."""
    found = np.linalg.slogdet(x)
    return found[0], found[1]


def eigvalsh(x: Array) -> Array:
    """The eigenvalues of the symmetric part."""
    return np.linalg.eigvalsh(_hermitian(x))


def svdvals(x: Array) -> Array:
    """The singular values."""
    return np.linalg.svd(x, compute_uv=False) if x.size else np.zeros(x.shape[:-1])


def matrix_exp(x: Array) -> Array:
    """SciPy's exponential."""
    return scipy.linalg.expm(x) if x.size else x


def matrix_exp_derivative(x: Array, direction: Array) -> Array:
    """The upper right block of the exponential of [[x, direction], [0, x]]."""
    n = x.shape[-1]
    return matrix_exp(np.block([[x, direction], [np.zeros_like(x), x]]))[..., :n, n:]

"""Named tuples of the functions with several results: PyTorch's names of the fields and those of the standard."""

from __future__ import annotations

from typing import Any, NamedTuple

from plait.tensor.tensor import Tensor


class ValuesIndices(NamedTuple):
    """Elements that were found along an axis, and their positions: of max, min, sort, topk, median, mode, …"""

    values: Tensor
    indices: Tensor


class MinMax(NamedTuple):
    """The smallest and the largest element: of aminmax."""

    min: Tensor
    max: Tensor


class MantissaExponent(NamedTuple):
    """Factors 0.5 <= |mantissa| < 1 and the powers of two that go with them: of frexp."""

    mantissa: Tensor
    exponent: Tensor


class Histogram(NamedTuple):
    """Counts and the edges of the bins: of histogram; of histogramdd, with the edges of each column."""

    hist: Tensor
    bin_edges: Any


class UniqueAll(NamedTuple):
    """The distinct elements, where the first of each is, where each element is among them, and how often they are."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """The distinct elements, and how often they are."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """The distinct elements, and where each element is among them."""

    values: Tensor
    inverse_indices: Tensor


class Eigen(NamedTuple):
    """Eigenvalues, and eigenvectors in columns: of linalg.eig and eigh."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QR(NamedTuple):
    """Orthonormal columns, and an upper triangle."""

    Q: Tensor
    R: Tensor


class SVD(NamedTuple):
    """Left singular vectors in columns, singular values, and right singular vectors in rows, conjugated."""

    U: Tensor
    S: Tensor
    Vh: Tensor


class ColumnsSVD(NamedTuple):
    """Left singular vectors in columns, singular values, and right singular vectors in columns: of svd."""

    U: Tensor
    S: Tensor
    V: Tensor


class SignLogDet(NamedTuple):
    """The sign (or phase) of a determinant, and the logarithm of its absolute value."""

    sign: Tensor
    logabsdet: Tensor


class Cholesky(NamedTuple):
    """A Cholesky factor, and for each matrix 0 or the order of the leading minor that is not positive."""

    L: Tensor
    info: Tensor


class PermutedLU(NamedTuple):
    """A permutation matrix, a lower triangle and an upper one."""

    P: Tensor
    L: Tensor
    U: Tensor


class LUFactors(NamedTuple):
    """L, but for its diagonal of ones, and U in one matrix, and the row (from 1) exchanged with each."""

    LU: Tensor
    pivots: Tensor


class LUFactorsInfo(NamedTuple):
    """As `LUFactors`, and for each matrix 0 or the number of the first zero on the diagonal of U."""

    LU: Tensor
    pivots: Tensor
    info: Tensor


class LDLFactors(NamedTuple):
    """L and D in one matrix, and how rows were exchanged."""

    LD: Tensor
    pivots: Tensor


class LDLFactorsInfo(NamedTuple):
    """As `LDLFactors`, and for each matrix 0 or the number of the first zero block of D."""

    LD: Tensor
    pivots: Tensor
    info: Tensor


class InverseInfo(NamedTuple):
    """An inverse, and for each matrix 0 or the number of the first zero pivot."""

    inverse: Tensor
    info: Tensor


class ResultInfo(NamedTuple):
    """A solution, and for each matrix 0 or the number of the first zero pivot."""

    result: Tensor
    info: Tensor


class LeastSquares(NamedTuple):
    """What least squares gives: the solution, sums of squared residuals, rank and singular values."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


class PackedQR(NamedTuple):
    """R above Householder vectors, and their factors: of geqrf."""

    a: Tensor
    tau: Tensor


class TriangularSolution(NamedTuple):
    """A solution, and the matrix: of triangular_solve."""

    solution: Tensor
    cloned_coefficient: Tensor

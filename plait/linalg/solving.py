"""Systems of equations: solving, inverses, least squares, pseudoinverses."""

from __future__ import annotations

from math import prod
from typing import Any

from plait.core.dtype import int64
from plait.core.errors import ArgumentError, ShapeError, message
from plait.core.graph import Node
from plait.core.primitive import P
from plait.linalg.measures import count_above
from plait.linalg.operands import (
    also_named,
    check_order,
    matrix,
    named,
    operands,
    sizes,
    square,
    tolerances,
    with_batch,
)
from plait.prims.matrices import check_square, product, swapped
from plait.tensor.creation import empty
from plait.tensor.operators import single
from plait.tensor.results import InverseInfo, LeastSquares, ResultInfo
from plait.tensor.shaping import movedim, reshape
from plait.tensor.tensor import Tensor, wrap
from plait.tensor.views import detached

__all__ = [
    "inv", "inv_ex", "lstsq", "pinv", "solve", "solve_ex", "solve_triangular", "tensorinv", "tensorsolve",
]  # fmt: skip


def _is_vectors(a: Node, b: Node) -> bool:
    """Whether right-hand sides are vectors: one, or a batch of them that cannot be a matrix."""
    if b.ndim == 1 or b.ndim != a.ndim - 1 or b.shape != a.shape[:-1]:
        return b.ndim == 1
    return b.shape[-2] != a.shape[-1] or b.shape[-1] == 0


def _solved(x: Any, y: Any, left: bool, name: str, check: bool) -> tuple[Node, Node]:
    a, b = operands(name, x, y)
    if a.ndim < 2:
        raise ShapeError(message(f"{name} takes matrices", f"shape {a.shape}", "(..., n, n)"))
    check_square(name, a.aval)
    is_vectors, n = _is_vectors(a, b), a.shape[-1]
    if is_vectors:
        b = P.reshape(b, shape=(*b.shape, 1))
    elif not left:
        b = swapped(b)
    if b.ndim < 2 or b.shape[-2] != n:
        expected = f"right-hand sides of {n} elements: (..., {n}, k), or ({n},)"
        raise ShapeError(message(f"{name}: the shapes do not fit", f"shapes {a.shape} and {b.shape}", expected))
    # the factors count as constants: the rule of the primitive solves with them again
    factors = P.lu(detached(a), what=name if check else None)
    packed, order, a, b = with_batch(name, factors[0], factors[2], a, b, core=(2, 1, 2, 2))
    found = P.solve_factorized(packed, order, a, b, transposed=not left)
    if is_vectors:
        return P.reshape(found, shape=found.shape[:-1]), factors[3]
    return found if left else swapped(found), factors[3]


@named
def solve(x: Any, y: Any, *, left: bool = True) -> Tensor:
    """Return the solution of x @ result = y, by LU factorization.

    Args:
        x: a tensor (..., n, n) of float32, float64 or complex numbers.
        y: right-hand sides (..., n, k), a vector (n,), or vectors (..., n) of the batch of `x` where they cannot be a
            matrix.
        left: False for result @ x = y, with `y` of shape (..., k, n).

    Returns:
        A tensor of the broadcast shape of `y`.

    Raises:
        LinAlgError: a matrix is singular; raised when the value is computed.
        ShapeError: the shapes do not fit.
        DTypeError: another dtype.

    Example:
        >>> plait.linalg.solve(plait.tensor([[2.0, 0.0], [1.0, 1.0]]), plait.tensor([2.0, 3.0]))
        tensor([1., 2.])
    """
    return wrap(_solved(x, y, left, "solve", True)[0])


@named
def solve_ex(x: Any, y: Any, *, left: bool = True, check_errors: bool = False) -> ResultInfo:
    """Return the solution of x @ result = y, and which matrices are singular.

    Args:
        x: as in `solve`.
        y: as in `solve`.
        left: as in `solve`.
        check_errors: whether a singular matrix raises `LinAlgError`.

    Returns:
        `(result, info)`; `info` holds 0, or the number of the first zero pivot (the result is then not finite).

    Example:
        >>> plait.linalg.solve_ex(plait.zeros((2, 2)), plait.ones(2)).info
        tensor(1, dtype=plait.int32)
    """
    found, info = _solved(x, y, left, "solve_ex", check_errors)
    return ResultInfo(wrap(found), wrap(info))


@named
def solve_triangular(x: Any, y: Any, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """Return the solution of x @ result = y, where `x` is a triangle.

    Args:
        x: a tensor (..., n, n) of float32, float64 or complex numbers; the other triangle is not read.
        y: right-hand sides (..., n, k), or (..., k, n) with `left=False`.
        upper: which triangle it is.
        left: False for result @ x = y.
        unitriangular: whether the diagonal counts as 1 and is not read.

    Returns:
        A tensor of the broadcast shape of `y`; not finite where the diagonal has a zero.

    Raises:
        ShapeError: the shapes do not fit.

    Example:
        >>> plait.linalg.solve_triangular(plait.tensor([[2.0, 0.0], [1.0, 1.0]]), plait.ones((2, 1)), upper=False)
        tensor([[0.5000],
                [0.5000]])
    """
    a, b = operands("solve_triangular", x, y)
    if a.ndim < 2 or b.ndim < 2:
        raise ShapeError(message("solve_triangular takes matrices", f"shapes {a.shape} and {b.shape}", "(..., n, n)"))
    a, b = with_batch("solve_triangular", a, b)
    return wrap(P.triangular_solve(a, b, lower=not upper, unit=unitriangular, transposed=False, left=left))


@named
def inv(x: Any) -> Tensor:
    """Return the inverse. To solve a system use `solve`: it is faster and more exact.

    Args:
        x: a tensor (..., n, n) of float32, float64 or complex numbers.

    Returns:
        A tensor of the shape of `x`.

    Raises:
        LinAlgError: a matrix is singular; raised when the value is computed.
        ShapeError: the matrices are not square.

    Example:
        >>> plait.linalg.inv(plait.tensor([[2.0, 0.0], [0.0, 4.0]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
    """
    return wrap(P.inv(square(x, "inv"), what="inv")[0])


@named
def inv_ex(x: Any, *, check_errors: bool = False) -> InverseInfo:
    """Return the inverse, and which matrices are singular.

    Args:
        x: as in `inv`.
        check_errors: whether a singular matrix raises `LinAlgError`.

    Returns:
        `(inverse, info)`; `info` holds 0, or the number of the first zero pivot (the inverse is then NaN).

    Example:
        >>> plait.linalg.inv_ex(plait.zeros((2, 2))).info
        tensor(1, dtype=plait.int32)
    """
    found = P.inv(square(x, "inv_ex"), what="inv_ex" if check_errors else None)
    return InverseInfo(wrap(found[0]), wrap(found[1]))


@also_named(rcond="rtol", tol="rtol")
def pinv(x: Any, rtol: Any = None, *, atol: Any = None, hermitian: bool = False) -> Tensor:
    """Return the pseudoinverse (Moore and Penrose), by singular values.

    Args:
        x: a tensor (..., m, n) of float32, float64 or complex numbers.
        rtol: singular values up to this times the largest one count as zero; by default max(m, n) * epsilon, or 0 where
            `atol` is given. A number, or a tensor with one for each matrix (`rcond` is another name).
        atol: singular values up to this count as zero too.
        hermitian: whether `x` is symmetric (or Hermitian); then only the lower triangle is read.

    Returns:
        A tensor (..., n, m).

    Raises:
        ShapeError: fewer than two axes.

    Source of the gradient: Golub and Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares
    problems whose variables separate", 1973. It holds where the rank does not change.

    Example:
        >>> plait.linalg.pinv(plait.tensor([[2.0, 0.0], [0.0, 0.0]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.0000]])
    """
    node = square(x, "pinv") if hermitian else matrix(x, "pinv")
    node, *limits = with_batch("pinv", node, *tolerances(node, atol, rtol), core=(2, 0, 0))
    absolute, relative = limits
    return wrap(P.pinv(node, absolute, relative, hermitian=hermitian))


_DRIVERS = (None, "gelsy", "gels", "gelsd", "gelss")


@named
def lstsq(x: Any, y: Any, rcond: Any = None, *, driver: str | None = None) -> LeastSquares:
    """Return the solution of least norm among those that minimize |x @ result - y|.

    Args:
        x: a tensor (..., m, n) of float32, float64 or complex numbers.
        y: right-hand sides (..., m, k), or vectors (..., m).
        rcond: singular values up to this times the largest one count as zero; by default max(m, n) * epsilon.
        driver: PyTorch's choice of an algorithm, "gelsy", "gels", "gelsd" or "gelss"; here it only says which of the
            other results there are.

    Returns:
        `(solution, residuals, rank, singular_values)`: the residuals are sums of squares for each column, empty
        unless m > n and every matrix has full rank; the rank is empty for "gels", the singular values are empty
        unless the driver is "gelsd" or "gelss".

    Raises:
        ArgumentError: another driver.
        ShapeError: the shapes do not fit.

    Example:
        >>> x, y = plait.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), plait.tensor([[1.0], [3.0], [5.0]])
        >>> plait.linalg.lstsq(x, y).solution
        tensor([[1.0000],
                [2.0000]])
    """
    check_order("lstsq, driver", driver, _DRIVERS)
    a, b = operands("lstsq", x, y)
    if a.ndim < 2:
        raise ShapeError(message("lstsq takes matrices", f"shape {a.shape}", "(..., m, n)"))
    is_vectors = b.ndim == 1 or b.ndim == a.ndim - 1 and b.shape == a.shape[:-1]
    columns = P.reshape(b, shape=(*b.shape, 1)) if is_vectors else b
    if columns.ndim < 2 or columns.shape[-2] != a.shape[-2]:
        received = f"shapes {a.shape} and {b.shape}"
        raise ShapeError(message("lstsq: the shapes do not fit", received, "as many rows in both"))
    absolute, relative = tolerances(a, None, rcond)
    a, columns, absolute, relative = with_batch("lstsq", a, columns, absolute, relative, core=(2, 2, 0, 0))
    solution = product(P.pinv(a, absolute, relative, hermitian=False), columns)
    singular = P.svdvals(detached(a))
    m, n = sizes(a.shape[-2:])
    residuals = _nothing(a)
    if m > n and driver not in (None, "gelsy"):
        rest = P.abs(columns - product(a, solution))
        residuals = P.reduce_sum(rest * rest, axes=(a.ndim - 2,))
    if is_vectors:
        solution = P.reshape(solution, shape=solution.shape[:-1])
    ranks = empty(0, dtype=int64) if driver == "gels" else wrap(count_above(singular, absolute, relative))
    values = singular if driver in ("gelsd", "gelss") else _nothing(a)
    return LeastSquares(wrap(solution), wrap(residuals), ranks, wrap(values))


def _nothing(like: Node) -> Node:
    """An empty vector of real numbers."""
    return P.iota(dtype=like.dtype.real, shape=(0,), axis=0)


@named
def tensorinv(x: Any, ind: int = 2) -> Tensor:
    """Return the inverse for `tensordot(x, ..., ind)`: of `x` as a matrix of its first axes and the others.

    Args:
        x: a tensor whose first `ind` sizes have the same product as the others.
        ind: how many axes count as rows.

    Returns:
        A tensor of shape x.shape[ind:] + x.shape[:ind].

    Raises:
        ArgumentError: `ind` is not positive.
        ShapeError: the products of sizes differ.
        LinAlgError: it is singular; raised when the value is computed.

    Example:
        >>> plait.linalg.tensorinv(plait.eye(4).reshape(4, 2, 2), 1).shape
        (2, 2, 4)
    """
    node = single(x, "tensorinv")
    if ind <= 0:
        raise ArgumentError(message("tensorinv takes a positive number of axes", f"ind={ind}", "ind > 0"))
    rows, columns = sizes(node.shape[:ind]), sizes(node.shape[ind:])
    if prod(rows) != prod(columns):
        text = "tensorinv: the first sizes need the same product as the others"
        raise ShapeError(message(text, f"shape {node.shape} with ind={ind}", "a square matrix"))
    return reshape(inv(reshape(wrap(node), (prod(rows), prod(columns)))), (*columns, *rows))


@also_named(axis="axes", dims="axes")
def tensorsolve(x: Any, y: Any, axes: Any = None) -> Tensor:
    """Return the solution of tensordot(x, result, result.ndim) = y.

    Args:
        x: a tensor whose first sizes, after `axes` were moved to the end, have the same product as the others.
        y: right-hand side; its sizes are the first ones of `x`.
        axes: axes of `x` to move to the end first (`dims` is another name).

    Returns:
        A tensor of shape x.shape[y.ndim:].

    Raises:
        ShapeError: the sizes do not fit.
        LinAlgError: it is singular; raised when the value is computed.

    Example:
        >>> plait.linalg.tensorsolve(2 * plait.eye(4).reshape(2, 2, 4), plait.ones((2, 2)))
        tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    tensor, right = wrap(single(x, "tensorsolve")), wrap(single(y, "tensorsolve"))
    if axes is not None:
        tensor = movedim(tensor, tuple(axes), tuple(range(tensor.ndim - len(axes), tensor.ndim)))
    shape = tensor.shape[right.ndim :]
    if prod(shape) != right.numel() or tensor.numel() != right.numel() * prod(shape):
        text = "tensorsolve: the sizes of x do not make a square matrix for y"
        raise ShapeError(message(text, f"shapes {tensor.shape} and {right.shape}", "y.shape + shape of the result"))
    return reshape(solve(reshape(tensor, (right.numel(), prod(shape))), reshape(right, (-1,))), shape)

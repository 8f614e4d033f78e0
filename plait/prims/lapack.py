"""What the host primitives of linear algebra call: NumPy's LAPACK, and SciPy's for what NumPy lacks or does slowly.

Every function takes arrays whose leading axes are a batch, and reads no more of a matrix than it says.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from plait.core.errors import LinAlgError, MissingDependencyError, message

Array = Any
_PREFIX = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}
_BLOCK = 64  # columns that LAPACK's blocked algorithms get room for
_LARGE = 96  # sizes from which SciPy's routines, matrix by matrix, beat NumPy's batched ones


@functools.cache
def _scipy(module: str) -> Any:
    """Return a module of scipy.linalg, or None without SciPy; it is imported when it is first needed."""
    return importlib.import_module(f"scipy.linalg.{module}") if importlib.util.find_spec("scipy") else None


def _routine(name: str, like: Array, module: str = "lapack") -> Any:
    """Return the routine of LAPACK or BLAS for the dtype of `like`, or None without SciPy."""
    library = _scipy(module)
    return None if library is None else getattr(library, _PREFIX[like.dtype.name] + name)


def _needed(name: str, like: Array, what: str) -> Any:
    routine = _routine(name, like)
    if routine is None:
        fix = 'pip install "plait[linalg]"'
        raise MissingDependencyError(message(f"{what} needs SciPy's LAPACK", "no SciPy", "an installed SciPy", fix))
    return routine


def _flat(array: Array, core: int) -> Array:
    """Merge the leading axes, the batch, into one."""
    return array.reshape(-1, *array.shape[array.ndim - core :]) if array.size else array


def _batch(array: Array, core: int = 2) -> tuple[int, ...]:
    return tuple(array.shape[: array.ndim - core])


def _failure(what: str, info: Array, reason: str, fix: str) -> LinAlgError:
    """The error of the first matrix of a batch whose `info` is not zero."""
    at = np.unravel_index(int(np.argmax(info != 0)), info.shape) if info.ndim else ()
    place = f"the matrix at {tuple(map(int, at))} of the batch" if at else "the matrix"
    return LinAlgError(message(f"{what}: {place} {reason.format(int(info[at]))}", None, None, fix))


def refuse_singular(info: Array, *, what: str) -> Array:
    """Return `info`; raises `LinAlgError` in the name of a function where it is not zero."""
    if info.any():
        fix = "use plait.linalg.lstsq or pinv, or the function ending in _ex, which reports in `info`"
        raise _failure(what, info, "is singular: element {} of the diagonal of U is zero", fix)
    return info


def refuse_indefinite(info: Array) -> Array:
    """Return `info`; raises `LinAlgError` where it is not zero."""
    if info.any():
        fix = "check that it is symmetric, or add a small multiple of the identity; cholesky_ex reports in `info`"
        raise _failure("cholesky", info, "is not positive-definite: its leading minor of order {} is not positive", fix)
    return info


def _converging(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let an iteration of NumPy that does not converge raise the error of this library."""

    @functools.wraps(function)
    def call(*arrays: Array, **params: Any) -> Any:
        try:
            return function(*arrays, **params)
        except np.linalg.LinAlgError as error:
            text = f"{function.__name__} failed"
            raise LinAlgError(message(text, str(error), "finite matrices", "look for NaN and infinities")) from None

    return call


# factorizations


def cholesky(a: Array, *, check: bool) -> tuple[Array, Array]:
    """Return L and, for each matrix, 0 or the order of the leading minor that is not positive."""
    info = np.zeros(_batch(a), np.int32)
    n = a.shape[-1]
    routine = _routine("potrf", a) if n >= _LARGE else None
    if routine is not None:
        result = np.empty_like(a)
        for k, x in enumerate(_flat(a, 2)):
            # in column-major order the lower triangle of x is the upper one of its transpose
            found, failed = routine(x.T, lower=0, clean=1)
            _flat(result, 2)[k] = found.T if not failed else np.nan
            info.reshape(-1)[k] = failed
    else:
        try:
            result = np.linalg.cholesky(a)
        except np.linalg.LinAlgError:
            result, found = _cholesky_one_by_one(a)
            info[...] = found
    if check:
        refuse_indefinite(info)
    return result, info


def _cholesky_one_by_one(a: Array) -> tuple[Array, Array]:
    result, info = np.full_like(a, np.nan), np.zeros(_batch(a), np.int32)
    for at in np.ndindex(info.shape):
        try:
            result[at] = np.linalg.cholesky(a[at])
        except np.linalg.LinAlgError:
            info[at] = _first_failing_minor(a[at])
    return result, info


def _first_failing_minor(a: Array) -> int:
    low, high = 0, len(a)  # the minor of order `low` is positive, that of order `high` is not
    while high - low > 1:
        middle = (low + high) // 2
        try:
            np.linalg.cholesky(a[:middle, :middle])
            low = middle
        except np.linalg.LinAlgError:
            high = middle
    return high


def lu(a: Array, *, what: str | None) -> tuple[Array, Array, Array, Array]:
    """Return packed L and U, pivots from 1, the permutation of the rows and info; `what` refuses singular matrices."""
    *batch, m, n = a.shape
    result = np.array(a)
    pivots = np.empty((*batch, min(m, n)), np.int32)
    info = np.zeros(batch, np.int32)
    routine = _routine("getrf", a)
    if not a.size:
        pivots[...] = np.arange(1, min(m, n) + 1)
    elif routine is None:
        _eliminate(result, pivots, info)
    else:
        rows = _flat(result, 2), _flat(pivots, 1), info.reshape(-1)
        for k, x in enumerate(_flat(a, 2)):
            rows[0][k], rows[1][k], rows[2][k] = routine(x)
        pivots += 1
    if what is not None:
        refuse_singular(info, what=what)
    return result, pivots, permutation(pivots, size=m), info


def _eliminate(a: Array, pivots: Array, info: Array) -> None:
    """Gaussian elimination with partial pivoting in place, all matrices of the batch at once."""
    m, n = a.shape[-2:]
    for k in range(min(m, n)):
        row = k + np.argmax(np.abs(a[..., k:, k]), axis=-1)
        pivots[..., k] = row + 1
        swap = row[..., None, None]
        chosen = np.take_along_axis(a, swap, -2)
        np.put_along_axis(a, swap, a[..., k : k + 1, :], -2)
        a[..., k : k + 1, :] = chosen
        pivot = a[..., k, k]
        info[...] = np.where((pivot == 0) & (info == 0), k + 1, info)
        a[..., k + 1 :, k] /= np.where(pivot == 0, 1, pivot)[..., None]
        a[..., k + 1 :, k + 1 :] -= a[..., k + 1 :, k, None] * a[..., k, None, k + 1 :]


def permutation(pivots: Array, *, size: int) -> Array:
    """Return the rows in the order that exchanging row k with row pivots[k], counted from 1, gives."""
    rows = np.broadcast_to(np.arange(size), (*_batch(pivots, 1), size)).copy()
    for k in range(pivots.shape[-1]):
        other = np.clip(pivots[..., k, None].astype(np.int64) - 1, 0, max(size - 1, 0))
        chosen = np.take_along_axis(rows, other, -1)
        np.put_along_axis(rows, other, rows[..., k : k + 1], -1)
        rows[..., k : k + 1] = chosen
    return rows


@_converging
def qr(a: Array, *, full: bool) -> tuple[Array, Array]:
    """Return Q and R, Q square with `full`."""
    *batch, m, n = a.shape
    geqrf = _routine("geqrf", a) if min(m, n) >= _LARGE and a.size else None
    if geqrf is None:
        found = np.linalg.qr(a, mode="complete" if full else "reduced")
        return found[0], found[1]
    # NumPy's works in double precision, whatever the dtype
    make_q = _routine("ungqr" if np.iscomplexobj(a) else "orgqr", a)
    k, rows = m if full else min(m, n), _flat(a, 2)
    q, r = np.empty((len(rows), m, k), a.dtype), np.empty((len(rows), k, n), a.dtype)
    for x, q_of_x, r_of_x in zip(rows, q, r, strict=True):
        packed, factors, _, _ = geqrf(x, lwork=_BLOCK * n)
        r_of_x[...] = np.triu(packed[:k])
        reflectors = np.zeros((m, k), a.dtype, order="F")
        reflectors[:, : min(k, n)] = packed[:, :k]
        q_of_x[...] = make_q(reflectors, factors, lwork=_BLOCK * k, overwrite_a=1)[0]
    return q.reshape(*batch, m, k), r.reshape(*batch, k, n)


def geqrf(a: Array) -> tuple[Array, Array]:
    """Return R above the Householder vectors, and their factors."""
    if not a.size:
        return a, np.zeros((*_batch(a), min(a.shape[-2:])), a.dtype)
    packed, factors = np.linalg.qr(a, mode="raw")
    return np.swapaxes(packed, -1, -2), factors


def ldl(a: Array, *, hermitian: bool, check: bool) -> tuple[Array, Array, Array]:
    """Return packed L and D of the Bunch-Kaufman factorization, pivots from 1 (negative in 2x2 blocks) and info."""
    result, pivots = np.array(a), np.empty(a.shape[:-1], np.int32)
    info = np.zeros(_batch(a), np.int32)
    if a.size:
        routine = _needed("hetrf" if hermitian and np.iscomplexobj(a) else "sytrf", a, "ldl_factor")
        rows = _flat(result, 2), _flat(pivots, 1), info.reshape(-1)
        for k, x in enumerate(_flat(a, 2)):
            found, rows[1][k], rows[2][k] = routine(x, lower=1)
            rows[0][k] = np.tril(found)
    if check and info.any():
        raise _failure("ldl_factor", info, "is singular: block {} of D is zero", "use ldl_factor_ex, or linalg.lstsq")
    return result, pivots, info


def ldl_solve(packed: Array, pivots: Array, b: Array, *, hermitian: bool) -> Array:
    """Solve with the result of `ldl`."""
    result = np.empty_like(b)
    if b.size:
        routine = _needed("hetrs" if hermitian and np.iscomplexobj(b) else "sytrs", b, "ldl_solve")
        for k, (x, p, y) in enumerate(zip(_flat(packed, 2), _flat(pivots, 1), _flat(b, 2), strict=True)):
            _flat(result, 2)[k] = routine(x, p, y, lower=1)[0]
    return result


# solving


def triangular_solve(a: Array, b: Array, *, lower: bool, unit: bool, transposed: bool, left: bool) -> Array:
    """Solve op(a) x = b, or x op(a) = b; the other triangle of `a` is not read."""
    result = np.empty_like(b)
    if not b.size:
        return result
    routine = _routine("trsm", a, "blas")
    pairs = zip(_flat(a, 2), _flat(b, 2), strict=True)
    out = _flat(result, 2)
    if routine is not None:
        # row-major arrays are column-major ones of the transposes, for which all sides are exchanged
        for k, (x, y) in enumerate(pairs):
            out[k] = routine(1.0, x.T, y.T, side=int(left), lower=int(not lower), trans_a=transposed, diag=unit).T
        return result
    triangle = np.tril(a) if lower else np.triu(a)
    if unit:
        n = a.shape[-1]
        triangle[..., range(n), range(n)] = 1
    if transposed == left:
        triangle = np.swapaxes(triangle, -1, -2)
    result[...] = _solve_or_nan(triangle, b if left else np.swapaxes(b, -1, -2), left)
    return result


def _solve_or_nan(a: Array, b: Array, left: bool) -> Array:
    try:
        found = np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        found = np.full_like(b, np.nan)
        for at in np.ndindex(_batch(a)):
            if np.linalg.matrix_rank(a[at]) == a.shape[-1]:
                found[at] = np.linalg.solve(a[at], b[at])
    return found if left else np.swapaxes(found, -1, -2)


def inv(a: Array, *, what: str | None) -> tuple[Array, Array]:
    """Return inverses and info; without `what` that of a singular matrix is NaN, with it they are refused."""
    info = np.zeros(_batch(a), np.int32)
    getrf, getri = (_routine(name, a) if a.shape[-1] >= _LARGE else None for name in ("getrf", "getri"))
    if getrf is None:
        try:
            return np.linalg.inv(a), info
        except np.linalg.LinAlgError:
            result = np.full_like(a, np.nan)
            for at in np.ndindex(info.shape):
                info[at] = lu(a[at], what=None)[3]
                if not info[at]:
                    result[at] = np.linalg.inv(a[at])
    else:
        result = np.full_like(a, np.nan)
        for k, x in enumerate(_flat(a, 2)):
            # the inverse of the transpose is the transpose of the inverse: no copy to column-major order
            packed, pivots, info.reshape(-1)[k] = getrf(x.T)
            if not info.reshape(-1)[k]:
                _flat(result, 2)[k] = getri(packed, pivots, lwork=_BLOCK * len(x), overwrite_lu=1)[0].T
    if what is not None:
        refuse_singular(info, what=what)
    return result, info


def pinv(a: Array, atol: Array, rtol: Array, *, hermitian: bool) -> Array:
    """Return the pseudoinverse; singular values up to max(atol, rtol * the largest) count as zero."""
    if not a.size:
        return np.zeros((*_batch(a), a.shape[-1], a.shape[-2]), a.dtype)
    if hermitian:
        s, u = eigh(a)
        vh = np.swapaxes(u.conj(), -1, -2)
    else:
        u, s, vh = svd(a, full=False)
    size = np.abs(s)
    cutoff = np.maximum(atol, rtol * size.max(-1))[..., None]
    with np.errstate(all="ignore"):
        inverse = np.where(size > cutoff, 1 / s, 0).astype(s.dtype)
    return np.swapaxes(vh.conj(), -1, -2) @ (inverse[..., None] * np.swapaxes(u.conj(), -1, -2))


# determinants


def _large_factors(a: Array) -> Iterator[tuple[Array, int]] | None:
    """Diagonals of U and the numbers of row exchanges, where that is faster than NumPy's determinant."""
    getrf = _routine("getrf", a) if a.shape[-1] >= _LARGE else None
    if getrf is None:
        return None
    found = (getrf(x.T) for x in _flat(a, 2))
    return ((packed.diagonal(), int(np.sum(p != np.arange(len(p))))) for packed, p, _ in found)


def slogdet(a: Array) -> tuple[Array, Array]:
    """Return the sign of the determinant, and the logarithm of its absolute value."""
    with np.errstate(all="ignore"):
        factors = _large_factors(a)
        if factors is None:
            found = np.linalg.slogdet(a)
            return found[0], found[1]
        sign, log = np.empty(_batch(a), a.dtype), np.empty(_batch(a), a.real.dtype)
        for k, (diagonal, exchanges) in enumerate(factors):
            size = np.abs(diagonal)
            sign.reshape(-1)[k] = np.prod(diagonal / np.where(size == 0, 1, size)) * (-1) ** exchanges
            log.reshape(-1)[k] = np.sum(np.log(size))
        return sign, log


def det(a: Array) -> Array:
    """Return determinants."""
    with np.errstate(all="ignore"):
        factors = _large_factors(a)
        if factors is None:
            return np.linalg.det(a)
        return np.array([np.prod(d) * (-1) ** e for d, e in factors], a.dtype).reshape(_batch(a))


def adjugate(a: Array) -> Array:
    """Return the transposes of the cofactor matrices, of singular matrices too.

    Where a matrix is well conditioned that is det(a) times its inverse; elsewhere the one of its singular values,
    rotated back, which divides by nothing.
    """
    with np.errstate(all="ignore"):
        inverse, info = inv(a, what=None)
        n = a.shape[-1]
        condition = np.abs(a).sum(-1).max(-1, initial=0) * np.abs(inverse).sum(-1).max(-1, initial=0)
        determinant = det(a)
        result = determinant[..., None, None] * inverse
        is_good = (condition < 0.01 / np.finfo(a.dtype).eps) & (determinant != 0) & np.isfinite(determinant)
        bad = (info != 0) | ~is_good
        if n and bad.any():
            result[bad] = _adjugate_by_rotation(a[bad])
    return result


def _adjugate_by_rotation(a: Array) -> Array:
    if not np.isfinite(a).all():
        return np.full_like(a, np.nan)
    u, s, vh = np.linalg.svd(a)
    ones = np.ones_like(s[..., :1])
    before = np.cumprod(np.concatenate([ones, s[..., :-1]], -1), -1)
    after = np.cumprod(np.concatenate([ones, s[..., :0:-1]], -1), -1)[..., ::-1]
    phase = np.linalg.det(u) * np.linalg.det(vh)
    rotated = np.swapaxes(vh.conj(), -1, -2) * (before * after)[..., None, :]
    return phase[..., None, None] * (rotated @ np.swapaxes(u.conj(), -1, -2))


# spectra


@_converging
def eigh(a: Array) -> tuple[Array, Array]:
    """Return the eigenvalues, in ascending order, and eigenvectors of the Hermitian matrix of a lower triangle."""
    found = np.linalg.eigh(a)
    return found[0], found[1]


@_converging
def eigvalsh(a: Array) -> Array:
    """Return the eigenvalues of the Hermitian matrix of a lower triangle, in ascending order."""
    return np.linalg.eigvalsh(a)


def _complex(array: Array) -> Array:
    return array.astype(np.result_type(array.dtype, np.complex64), copy=False)


@_converging
def eig(a: Array) -> tuple[Array, Array]:
    """Return complex eigenvalues and eigenvectors."""
    found = np.linalg.eig(a)
    return _complex(found[0]), _complex(found[1])


@_converging
def eigvals(a: Array) -> Array:
    """Return complex eigenvalues."""
    return _complex(np.linalg.eigvals(a))


@_converging
def svd(a: Array, *, full: bool) -> tuple[Array, Array, Array]:
    """Return U, the singular values in descending order, and V^H; U and V square with `full`."""
    if a.size:
        found = np.linalg.svd(a, full_matrices=full)
        return found[0], found[1], found[2]
    *batch, m, n = a.shape
    k = min(m, n)
    u, vh = (np.zeros((*batch, *shape), a.dtype) for shape in ((m, m if full else k), (n if full else k, n)))
    for square in (u, vh):
        square[..., range(min(square.shape[-2:])), range(min(square.shape[-2:]))] = 1
    return u, np.zeros((*batch, k), a.real.dtype), vh


@_converging
def svdvals(a: Array) -> Array:
    """Return the singular values, in descending order."""
    return svd(a, full=False)[1] if not a.size else np.linalg.svd(a, compute_uv=False)


# the exponential (Higham, "The scaling and squaring method for the matrix exponential revisited", 2005)

_PADE = {
    3: (120.0, 60.0, 12.0, 1.0),
    5: (30240.0, 15120.0, 3360.0, 420.0, 30.0, 1.0),
    7: (17297280.0, 8648640.0, 1995840.0, 277200.0, 25200.0, 1512.0, 56.0, 1.0),
    9: (17643225600.0, 8821612800.0, 2075673600.0, 302702400.0, 30270240.0, 2162160.0, 110880.0, 3960.0, 90.0, 1.0),
    13: (64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
         10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0),
}  # fmt: skip
# the norms up to which each order is exact to rounding
_LIMITS = {
    64: ((3, 1.495585217958292e-2), (5, 2.539398330063230e-1), (7, 9.504178996162932e-1), (9, 2.097847961257068),
         (13, 5.371920351148152)),
    32: ((3, 4.258730016922831e-1), (5, 1.880152677804762), (7, 3.925724783138660)),
}  # fmt: skip


def matrix_exp(a: Array) -> Array:
    """Return the exponential of each matrix."""
    if not a.size:
        return a
    limits = _LIMITS[64 if a.dtype.name in ("float64", "complex128") else 32]
    with np.errstate(all="ignore"):
        norms = np.abs(a).sum(-2).max(-1).reshape(-1)
        order = np.array([next((o for o, limit in limits if x <= limit), limits[-1][0]) for x in norms])
        scale = np.where(norms > limits[-1][1], np.ceil(np.log2(norms / limits[-1][1])), 0)
        squarings = np.where(np.isfinite(norms), scale, 0).astype(int)
        x, result = _flat(a, 2), np.empty_like(_flat(a, 2))
        for o, s in {(int(o), int(s)) for o, s in zip(order, squarings, strict=True)}:
            chosen = (order == o) & (squarings == s)
            found = _pade(x[chosen] * x.real.dtype.type(2.0**-s), _PADE[o])
            for _ in range(s):
                found = found @ found
            result[chosen] = found
    return result.reshape(a.shape)


def _pade(a: Array, coefficients: Sequence[float]) -> Array:
    """The rational approximation: (V - U)^-1 (V + U), U odd and V even in `a`."""
    real = a.real.dtype.type
    identity = np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape)
    square = a @ a
    powers = [identity, square]
    while len(powers) < min(len(coefficients) // 2, 4):
        powers.append(powers[-1] @ square)

    def polynomial(chosen: Sequence[float]) -> Array:
        low = sum(real(c) * p for c, p in zip(chosen, powers, strict=False))
        high = chosen[len(powers) :]  # of order 13: two levels of powers up to the sixth
        return low + powers[3] @ sum(real(c) * p for c, p in zip(high, powers[1:], strict=False)) if high else low

    odd, even = a @ polynomial(coefficients[1::2]), polynomial(coefficients[::2])
    return _solve_or_nan(even - odd, even + odd, True)

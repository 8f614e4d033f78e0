"""Values against NumPy and SciPy: every dtype, batches, no elements, views; compiled and mapped; without SciPy."""

from __future__ import annotations

import numpy as np
import pytest

import plait
from plait.core.errors import MissingDependencyError
from plait.prims import lapack

scipy_linalg = pytest.importorskip("scipy.linalg")

L = plait.linalg
DTYPES = ("float32", "float64", "complex64", "complex128")


def general(shape, dtype="float64", seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=shape) + (1j * random.normal(size=shape) if dtype.startswith("c") else 0)
    return x.astype(dtype)


def positive(shape, dtype="float64", seed=0):
    x = general(shape, dtype, seed)
    return (x @ np.swapaxes(x.conj(), -1, -2) + np.eye(shape[-1])).astype(dtype)


def close(got, want, dtype="float64", scale=1.0):
    tolerance = (2e-4 if dtype in ("float32", "complex64") else 1e-10) * scale
    assert np.asarray(got).shape == np.shape(want)
    np.testing.assert_allclose(np.asarray(got), want, rtol=tolerance, atol=tolerance)


# name: our function, the reference, the kind of matrix
ONE = {
    "cholesky": (L.cholesky, np.linalg.cholesky, positive),
    "inv": (L.inv, np.linalg.inv, positive),
    "det": (L.det, np.linalg.det, general),
    "logabsdet": (lambda x: L.slogdet(x).logabsdet, lambda x: np.linalg.slogdet(x)[1], general),
    "sign": (lambda x: L.slogdet(x).sign, lambda x: np.linalg.slogdet(x)[0], general),
    "eigvalsh": (L.eigvalsh, np.linalg.eigvalsh, positive),
    "svdvals": (L.svdvals, lambda x: np.linalg.svd(x, compute_uv=False), general),
    "pinv": (L.pinv, np.linalg.pinv, positive),
    "matrix_exp": (lambda x: L.matrix_exp(x / 4), lambda x: scipy_linalg.expm(x / 4), general),
    "power 5": (lambda x: L.matrix_power(x, 5), lambda x: np.linalg.matrix_power(x, 5), general),
    "power -2": (lambda x: L.matrix_power(x, -2), lambda x: np.linalg.matrix_power(x, -2), positive),
    "qr": (lambda x: (lambda f: f.Q @ f.R)(L.qr(x)), lambda x: x, general),
    "svd": (lambda x: (lambda f: f.U * f.S[..., None, :] @ f.Vh)(L.svd(x)), lambda x: x, general),
    "eigh": (lambda x: (lambda w, v: v * w[..., None, :] @ v.mH)(*L.eigh(x)), lambda x: x, positive),
    "eig": (lambda x: (lambda w, v: L.solve(v.mT, (v * w[..., None, :]).mT).mT)(*L.eig(x)), lambda x: x, general),
    "lu": (lambda x: (lambda f: f.P @ f.L @ f.U)(L.lu(x)), lambda x: x, general),
    "geqrf": (lambda x: plait.ormqr(*plait.geqrf(x), L.qr(x, "r").R), lambda x: x, general),
    "nuclear norm": (lambda x: L.matrix_norm(x, "nuc"), lambda x: np.linalg.norm(x, "nuc", (-2, -1)), general),
    "spectral norm": (lambda x: L.matrix_norm(x, 2), lambda x: np.linalg.norm(x, 2, (-2, -1)), general),
    "cond": (L.cond, np.linalg.cond, positive),
    "trace": (L.trace, lambda x: np.trace(x, axis1=-2, axis2=-1), general),
}


LARGE = ("cholesky", "inv", "logabsdet", "sign", "lu", "qr")  # other routines take over from some size on


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ONE)
def test_one_matrix(name, dtype):
    function, reference, kind = ONE[name]
    for shape in ((2, 3, 5, 5), (120, 120)) if name in LARGE else ((2, 3, 5, 5),):
        x = kind(shape, dtype)
        if shape[-1] == 120:
            x = x / 120 + 2 * np.eye(120, dtype=dtype)
        want = reference(x.astype("complex128" if dtype.startswith("c") else "float64"))
        close(function(plait.tensor(x)), want, dtype, 10 * max(1.0, float(np.abs(want).max())))


@pytest.mark.parametrize("name", ONE)
def test_views(name):
    function, reference, kind = ONE[name]
    x = kind((3, 4, 4))
    close(function(plait.tensor(x).mT[::2]), reference(x.transpose(0, 2, 1)[::2]), scale=1e3)


@pytest.mark.parametrize("name", [n for n in ONE if n not in ("nuclear norm", "spectral norm", "cond")])
@pytest.mark.parametrize("shape", [(0, 0), (0, 3, 3), (2, 0, 0)])
def test_no_elements(name, shape):
    function, reference, _ = ONE[name]
    want = np.zeros(shape) if name in ("qr", "svd", "eigh", "eig", "geqrf", "lu") else None
    if name == "svdvals":
        want = np.zeros(shape[:-1])
    elif want is None:
        want = np.zeros(shape) if name in ("matrix_exp", "pinv") else reference(np.zeros(shape))
    assert np.asarray(function(plait.zeros(shape, dtype=plait.float64))).shape == want.shape


@pytest.mark.parametrize("name", ONE)
def test_compiled_and_mapped(name):
    function, _, kind = ONE[name]
    x = plait.tensor(kind((3, 4, 4)))
    want = np.asarray(function(x))
    for _ in range(2):
        close(plait.jit(function)(x), want)
    close(plait.vmap(function)(x), want)


@pytest.mark.parametrize("with_scipy", [True, False])
def test_systems(with_scipy, monkeypatch):
    """NumPy suffices for all but LDL."""
    if not with_scipy:
        monkeypatch.setattr(lapack, "_scipy", lambda module: None)
    for dtype in DTYPES:
        a, b = general((2, 5, 5), dtype), general((2, 5, 3), dtype, 1)
        A, B = plait.tensor(a), plait.tensor(b)
        want = np.linalg.solve(a, b)
        close(L.solve(A, B), want, dtype, 20)
        close(L.solve(A, B.mT, left=False).mT, np.linalg.solve(np.swapaxes(a, 1, 2), b), dtype, 20)
        close(L.solve(A, B[..., 0]), want[..., 0], dtype, 20)
        close(L.solve(A[0], B[0, :, 0]), want[0, :, 0], dtype, 20)
        close(L.lu_solve(*L.lu_factor(A), B), want, dtype, 20)
        adjoint = np.linalg.solve(np.swapaxes(a.conj(), 1, 2), b)
        close(L.lu_solve(*L.lu_factor(A), B, adjoint=True), adjoint, dtype, 50)
        p = positive((2, 5, 5), dtype)
        close(plait.cholesky_solve(B, L.cholesky(plait.tensor(p))), np.linalg.solve(p, b), dtype, 20)
        close(plait.cholesky_inverse(L.cholesky(plait.tensor(p), upper=True), upper=True), np.linalg.inv(p), dtype, 20)
        for upper in (False, True):
            t = (np.triu if upper else np.tril)(a) + 3 * np.eye(5, dtype=dtype)
            close(L.solve_triangular(plait.tensor(t), B, upper=upper), np.linalg.solve(t, b), dtype, 20)
        tall = general((6, 3), dtype)
        close(L.lstsq(plait.tensor(tall), plait.tensor(tall[:, 0])).solution, [1, 0, 0], dtype, 20)
        for shape in ((3, 5), (5, 3)):
            f = L.lu(plait.tensor(general(shape, dtype)))
            close(f.P @ f.L @ f.U, general(shape, dtype), dtype)
        assert np.isnan(L.inv_ex(plait.zeros((2, 2))).inverse.numpy()).all()
    symmetric = plait.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=plait.float64)
    if with_scipy:
        close(L.ldl_solve(*L.ldl_factor(symmetric), plait.tensor([[3.0], [3.0]], dtype=plait.float64)), [[1.0], [1.0]])
    else:
        with pytest.raises(MissingDependencyError, match=r"pip install \"plait\[linalg\]\""):
            L.ldl_factor(symmetric).LD.numpy()


def test_least_squares_of_any_rank():
    for m, n, rank in ((6, 3, 2), (3, 6, 3), (5, 5, 1)):
        a = general((m, rank), seed=1) @ general((rank, n), seed=2)
        b = general((m, 2), seed=3)
        found = L.lstsq(plait.tensor(a), plait.tensor(b), driver="gelsd")
        want = np.linalg.lstsq(a, b, rcond=None)
        close(found.solution, want[0])
        assert found.rank.item() == rank == L.matrix_rank(plait.tensor(a)).item()
        close(found.singular_values, want[3])


def test_tensors_as_matrices():
    a, b = general((2, 3, 6)), general((2, 3))
    close(L.tensorsolve(plait.tensor(a), plait.tensor(b)), np.linalg.tensorsolve(a, b))
    close(L.tensorinv(plait.tensor(a)), np.linalg.tensorinv(a))
    moved = np.moveaxis(a, 2, 0)
    close(L.tensorsolve(plait.tensor(moved), plait.tensor(b), axes=(0,)), np.linalg.tensorsolve(moved, b, axes=(0,)))


@pytest.mark.parametrize("order", [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_norms(order):
    x = general((3, 4, 5))
    for axes in ((0, 1), (-1, 0)):
        want = np.linalg.norm(x, order, axes, keepdims=True)
        close(L.norm(plait.tensor(x), order, axes, keepdims=True), want)
    if not isinstance(order, str):
        close(L.norm(plait.tensor(x), order, 1), np.linalg.norm(x, order, 1))


def test_low_rank():
    for shape in ((20, 12), (2, 8, 15)):
        x = general((*shape[:-1], 3)) @ general((*shape[:-2], 3, shape[-1]), seed=1)
        for u, s, v in (plait.svd_lowrank(plait.tensor(x), q=4), plait.svd_lowrank(plait.tensor(x + 1), q=4, M=1.0)):
            close(u * s[..., None, :] @ v.mT, x)
        u, s, v = plait.pca_lowrank(plait.tensor(x), q=4)
        close(u * s[..., None, :] @ v.mT, x - x.mean(-2, keepdims=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(65, 65), (96, 96), (2, 3, 70, 70), (1, 131, 131)])
@pytest.mark.parametrize("compiled", [False, True])
def test_factors_by_blocks(dtype, shape, compiled):
    x = general(shape, dtype)
    call = plait.jit if compiled else lambda f: f
    f = call(L.lu)(plait.tensor(x))
    close(f.P @ f.L @ f.U, x, dtype, 10)
    packed, pivots = call(L.lu_factor)(plait.tensor(x))
    for k, one in enumerate(x.reshape(-1, *shape[-2:])):
        want, places = scipy_linalg.lu_factor(one.astype("float64"))
        close(packed.reshape(-1, *shape[-2:])[k], want, dtype, 100)
        assert np.array_equal(pivots.reshape(-1, shape[-1])[k].numpy() - 1, places)
    sign, log = np.linalg.slogdet(x.astype("float64"))
    found = call(L.slogdet)(plait.tensor(x))
    close(found.sign, sign, dtype)
    close(found.logabsdet, log, dtype, 10)


def test_singular_matrices_by_blocks():
    x = general((100, 100))
    x[:, 50] = 0
    assert L.det(plait.tensor(x)).item() == 0
    assert L.lu_factor_ex(plait.tensor(x)).info.item() == 51
    x[3, 7] = np.nan
    assert np.isnan(L.det(plait.tensor(x)).item())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(97, 97), (2, 100, 130), (130, 100), (2, 0, 100, 100)])
@pytest.mark.parametrize("mode", ["reduced", "complete"])
def test_qr_of_larger_matrices_stays_in_the_dtype(dtype, shape, mode):
    x = general(shape, dtype)
    q, r = (np.asarray(t) for t in L.qr(plait.tensor(x), mode=mode))
    like = np.linalg.qr(x, mode=mode)
    assert (q.shape, r.shape, q.dtype) == (like.Q.shape, like.R.shape, x.dtype)
    close(q @ r, x, dtype, 10)
    close(
        np.swapaxes(q.conj(), -1, -2) @ q, np.broadcast_to(np.eye(q.shape[-1]), (*shape[:-2], *q.shape[-1:] * 2)), dtype
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 33, 130])
@pytest.mark.parametrize("case", range(8))
def test_larger_triangles(dtype, columns, case):
    """Substitution in tiles: rows and columns that fill no tile, every side and triangle."""
    upper, left, unit = (bool(case >> bit & 1) for bit in range(3))
    x = general((2, 99, 99), dtype) / 99 + np.eye(99, dtype=dtype)
    y = general((2, 99, columns) if left else (2, columns, 99), dtype)
    found = L.solve_triangular(plait.tensor(x), plait.tensor(y), upper=upper, left=left, unitriangular=unit)
    triangle = np.triu(x) if upper else np.tril(x)
    if unit:
        triangle[:, range(99), range(99)] = 1
    close(triangle @ np.asarray(found) if left else np.asarray(found) @ triangle, y, dtype)


def test_inverse_of_a_larger_singular_matrix_is_nan():
    x = general((2, 100, 100))
    x[1, :, 7] = 0
    found = L.inv_ex(plait.tensor(x))
    assert np.asarray(found.info).tolist() == [0, 8]
    close(np.asarray(found.inverse)[0], np.linalg.inv(x[0]), scale=100)
    assert np.isnan(np.asarray(found.inverse)[1]).all()


def test_lu_unpack_takes_the_pivots_of_its_matrix():
    packed, pivots = plait.lu(plait.tensor([[1.0, 2.0], [4.0, 8.5]]))[:2]
    for wrong in (pivots[:1], pivots[None], 1):
        with pytest.raises(plait.errors.ShapeError, match="lu_unpack takes a pivot for each row"):
            plait.lu_unpack(packed, wrong)

"""Derivatives against differences, of functions that do not depend on signs or phases; of second order too."""

from __future__ import annotations

import numpy as np
import pytest

import plait

L = plait.linalg


def matrices(shape, kind="general", is_complex=False, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=shape) + (1j * random.normal(size=shape) if is_complex else 0)
    if kind == "positive":
        x = x @ np.swapaxes(x.conj(), -1, -2) + np.eye(shape[-1])
    return x


def magnitude(x, seed=7):
    """A real number that depends on all elements."""
    weights = plait.tensor(matrices(x.shape, seed=seed))
    size = (x * x.conj()).real if x.dtype.is_complex else x * x
    return (size * weights).sum() + (x.real if x.dtype.is_complex else x).sum()


def symmetric(x):
    return (x + x.mH) / 2


def invariant_svd(x):
    u, s, vh = L.svd(x, full_matrices=False)
    return u * s.log()[..., None, :] @ vh


def invariant_eigh(x):
    w, v = L.eigh(x)
    return v * (w * w + w)[..., None, :] @ v.mH


def null_space(x):
    """The projection to what the rows of `x` do not reach."""
    rest = L.svd(x).Vh[..., x.shape[-2] :, :]
    return rest.mH @ rest


def complement(x):
    rest = L.qr(x, "complete").Q[..., x.shape[-1] :]
    return rest @ rest.mH


def from_eigenvectors(x):
    w, v = L.eig(x)
    return v * w.exp()[..., None, :] @ L.inv(v)


B = plait.tensor(matrices((4, 2), seed=5))
FUNCTIONS = {
    "cholesky": (lambda x: L.cholesky(symmetric(x)), (2, 4, 4), "positive"),
    "cholesky upper": (lambda x: L.cholesky(symmetric(x), upper=True), (4, 4), "positive"),
    "solve": (lambda x: L.solve(x, B.to(x.dtype)), (2, 4, 4), "general"),
    "solve left": (lambda x: L.solve(x, x.mT @ x, left=False), (4, 4), "general"),
    "solve_triangular": (lambda x: L.solve_triangular(x, B.to(x.dtype), upper=True), (4, 4), "positive"),
    "lu_solve": (lambda x: L.lu_solve(*L.lu_factor(x), B.to(x.dtype), adjoint=True), (4, 4), "general"),
    "inv": (L.inv, (2, 4, 4), "general"),
    "det": (L.det, (2, 4, 4), "general"),
    "slogdet": (lambda x: L.slogdet(x).logabsdet, (4, 4), "general"),
    "sign": (lambda x: L.slogdet(x).sign, (4, 4), "general"),
    "lu": (lambda x: L.lu(x).L + L.lu(x).U, (4, 4), "general"),
    "lu wide": (lambda x: plait.lu(x)[0], (3, 5), "general"),
    "lu tall": (lambda x: plait.lu(x)[0], (5, 3), "general"),
    "qr tall": (lambda x: plait.concat([L.qr(x).Q, L.qr(x).R]), (5, 3), "general"),
    "qr wide": (lambda x: L.qr(x).R, (3, 5), "general"),
    "qr complete": (complement, (5, 3), "general"),
    "svd": (invariant_svd, (2, 4, 4), "general"),
    "svd tall": (invariant_svd, (5, 3), "general"),
    "svd wide": (invariant_svd, (3, 5), "general"),
    "svd complete": (null_space, (3, 5), "general"),
    "svdvals": (L.svdvals, (2, 3, 5), "general"),
    "eigh": (lambda x: invariant_eigh(symmetric(x)), (2, 4, 4), "positive"),
    "eigh upper": (lambda x: L.eigvalsh(symmetric(x), "U"), (4, 4), "positive"),
    "eig": (from_eigenvectors, (4, 4), "general"),
    "eigvals": (lambda x: (L.eigvals(x) ** 3).sum(-1), (4, 4), "general"),
    "pinv": (L.pinv, (2, 5, 3), "general"),
    "pinv of rank 2": (lambda x: L.pinv(x @ x.mT[:2]), (4, 2), "general"),
    "lstsq": (lambda x: L.lstsq(x, B.to(x.dtype)).solution, (4, 3), "general"),
    "matrix_exp": (L.matrix_exp, (2, 3, 3), "general"),
    "householder": (lambda x: L.householder_product(x, x[0, :2]), (4, 3), "general"),
    "matrix_power": (lambda x: L.matrix_power(x, -3), (3, 3), "positive"),
    "nuclear norm": (lambda x: L.matrix_norm(x, "nuc"), (3, 4), "general"),
    "cond": (lambda x: L.cond(x, 1), (3, 3), "general"),
    "cholesky_solve": (lambda x: plait.cholesky_solve(B.to(x.dtype), L.cholesky(symmetric(x))), (4, 4), "positive"),
    "cholesky_inverse": (lambda x: plait.cholesky_inverse(L.cholesky(symmetric(x))), (4, 4), "positive"),
}


def difference(function, x, direction, step=1e-6):
    high, low = (function(plait.tensor(x + sign * step * direction)) for sign in (1, -1))
    return (np.asarray(high) - np.asarray(low)) / (2 * step)


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradient(name, is_complex):
    function, shape, kind = FUNCTIONS[name]
    x, direction = matrices(shape, kind, is_complex), matrices(shape, "general", is_complex, 1)
    loss = lambda t: magnitude(function(t))  # noqa: E731
    want = difference(loss, x, direction)
    gradient = np.asarray(plait.grad(loss)(plait.tensor(x)))
    np.testing.assert_allclose(np.sum((gradient.conj() * direction).real), want, rtol=2e-5, atol=1e-6)
    _, pushed = plait.jvp(loss, (plait.tensor(x),), (plait.tensor(direction),))
    np.testing.assert_allclose(pushed.item(), want, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_order(name):
    function, shape, kind = FUNCTIONS[name]
    x, direction = matrices(shape, kind), matrices(shape, "general", seed=1)
    slope = plait.grad(lambda t: magnitude(function(t)))
    want = difference(slope, x, direction)
    _, got = plait.jvp(slope, (plait.tensor(x),), (plait.tensor(direction),))
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(want).max())))


def test_equal_eigenvalues_leave_the_gradient_finite():
    """Their part of a function of the matrix is left out; functions of the space that they span are right."""
    x = plait.eye(3, dtype=plait.float64) * 2
    gradient = plait.grad(lambda t: invariant_eigh(t).sum())(x)
    np.testing.assert_allclose(np.asarray(gradient), 5.0 * np.eye(3), atol=1e-12)
    projection = lambda t: (lambda v: magnitude(v @ v.mH))(L.eigh(t).eigenvectors[:, 1:])  # noqa: E731
    x = matrices((3, 3), seed=2)
    q = np.linalg.qr(x)[0]
    x, direction = q @ np.diag([1.0, 2.0, 2.0]) @ q.T, matrices((3, 3), "positive", seed=3)
    got = np.sum(np.asarray(plait.grad(projection)(plait.tensor(x))) * direction)
    np.testing.assert_allclose(got, difference(projection, x, direction), rtol=1e-5)
    x = plait.eye(3, dtype=plait.float64) * 2
    np.testing.assert_allclose(np.asarray(plait.grad(lambda t: L.svdvals(t).sum())(x)), np.eye(3), atol=1e-12)


def test_determinant_of_singular_matrices():
    """The gradient is the matrix of cofactors, for every rank; so is the second derivative's."""
    for rank in (2, 1, 0):
        x = matrices((3, rank), seed=rank) @ matrices((rank, 3), seed=4)
        cofactors = np.array([[np.linalg.det(np.delete(np.delete(x, i, 0), j, 1)) * (-1) ** (i + j) for j in range(3)]
                              for i in range(3)])  # fmt: skip
        np.testing.assert_allclose(np.asarray(plait.grad(L.det)(plait.tensor(x))), cofactors, atol=1e-10)
        direction = matrices((3, 3), seed=9)
        _, second = plait.jvp(plait.grad(L.det), (plait.tensor(x),), (plait.tensor(direction),))
        want = difference(plait.grad(L.det), x, direction, 1e-5)
        np.testing.assert_allclose(np.asarray(second), want, atol=1e-6)


def test_gradients_do_not_need_scipy(monkeypatch):
    monkeypatch.setattr("plait.prims.lapack._scipy", lambda module: None)
    for name in ("cholesky", "solve", "inv", "det", "slogdet", "qr tall", "svd", "eigh", "eig", "lstsq"):
        test_gradient(name, False)

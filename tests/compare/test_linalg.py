"""Gradients of linear algebra against PyTorch's, of functions that do not depend on signs or phases."""

from __future__ import annotations

import numpy as np
import pytest

import plait

torch = pytest.importorskip("torch")

FUNCTIONS = {
    "svd": (lambda lib, x: (lambda u, s, vh: u * s * s @ vh)(*lib.linalg.svd(x, full_matrices=False)), (4, 6)),
    "eigh": (lambda lib, x: (lambda w, v: v * w[..., None, :] ** 3 @ v.mH)(*lib.linalg.eigh(x + x.mH)), (5, 5)),
    "eig": (lambda lib, x: (lambda w, v: v * w[..., None, :] ** 2 @ lib.linalg.inv(v))(*lib.linalg.eig(x)), (4, 4)),
    "qr": (lambda lib, x: (lambda q, r: q @ (r * r))(*lib.linalg.qr(x)), (6, 4)),
    "lstsq": (lambda lib, x: lib.linalg.lstsq(x, x[:, :2] ** 2)[0], (5, 3)),
    "lstsq wide": (lambda lib, x: lib.linalg.lstsq(x, x[:, :2] ** 2)[0], (3, 5)),
    "pinv of low rank": (lambda lib, x: lib.linalg.pinv(x @ x[:2].mT), (5, 3)),
    "pinv hermitian": (lambda lib, x: lib.linalg.pinv(x @ x.mH, hermitian=True), (4, 4)),
    "householder": (lambda lib, x: lib.linalg.householder_product(x, x[0, :2]), (5, 3)),
    "svd top level": (lambda lib, x: (lambda u, s, v: u * s[..., None, :] @ v.mH * s.sum())(*lib.svd(x)), (3, 4)),
    "cholesky chain": (lambda lib, x: lib.cholesky_solve(x, lib.linalg.cholesky(x @ x.mH)), (4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradient(name, dtype):
    function, shape = FUNCTIONS[name]
    random = np.random.default_rng(3)
    x = (random.normal(size=(2, *shape)) + (1j * random.normal(size=(2, *shape)) if dtype[0] == "c" else 0))[0]
    mine, theirs = plait.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    got, want = function(plait, mine), function(torch, theirs)
    np.testing.assert_allclose(np.asarray(got.detach()), want.detach().numpy(), rtol=1e-8, atol=1e-10)
    weights = random.normal(size=want.shape)
    for value, lib in ((got, plait), (want, torch)):
        real = value.real + 2 * value.imag if value.dtype in (plait.complex128, torch.complex128) else value
        (real * lib.tensor(weights)).sum().backward()
    np.testing.assert_allclose(np.asarray(mine.grad), theirs.grad.numpy(), rtol=1e-7, atol=1e-8)

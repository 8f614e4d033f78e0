"""What is refused, and what the message says: at the call, or when the value is computed."""

from __future__ import annotations

import numpy as np
import pytest

import plait
from plait.core.errors import ArgumentError, DTypeError, LinAlgError, ShapeError

L = plait.linalg
WRONG = [
    (lambda: L.cholesky(plait.ones((2, 3))), ShapeError, "square"),
    (lambda: L.inv(plait.ones(3)), ShapeError, "matrices"),
    (lambda: L.det(plait.ones((2, 2), dtype=plait.int64)), DTypeError, "int64"),
    (lambda: L.svd(plait.ones((2, 2), dtype=plait.float16)), DTypeError, "float16"),
    (lambda: L.solve(plait.eye(3), plait.ones(2)), ShapeError, "3 elements"),
    (lambda: L.solve(plait.ones((2, 3, 3)), plait.ones((4, 3, 1))), ShapeError, "broadcast"),
    (lambda: L.solve_triangular(plait.eye(3), plait.ones((2, 2)), upper=True), ShapeError, "do not fit"),
    (lambda: L.qr(plait.eye(2), mode="full"), ArgumentError, "'complete'"),
    (lambda: L.eigh(plait.eye(2), "X"), ArgumentError, "UPLO"),
    (lambda: L.lu(plait.eye(2), pivot=False), ArgumentError, "pivot"),
    (lambda: L.matrix_norm(plait.eye(2), 3), ArgumentError, "'nuc'"),
    (lambda: L.matrix_norm(plait.ones(2)), ShapeError, "two axes"),
    (lambda: L.norm(plait.ones((2, 2, 2)), 2), ShapeError, "which axes"),
    (lambda: L.vector_norm(plait.tensor([1, 2])), DTypeError, "int64"),
    (lambda: L.cross(plait.ones(2), plait.ones(2)), ShapeError, "size 3"),
    (lambda: L.multi_dot([plait.eye(2)]), ArgumentError, "two"),
    (lambda: L.tensorinv(plait.ones((2, 3)), 1), ShapeError, "square matrix"),
    (lambda: L.householder_product(plait.ones((2, 3)), plait.ones(2)), ShapeError, "m >= n"),
    (lambda: L.lstsq(plait.eye(2), plait.ones(2), driver="qr"), ArgumentError, "gelsd"),
    (lambda: plait.lu_solve(plait.ones((2, 1)), plait.eye(3), plait.tensor([1, 2])), ShapeError, "pivots"),
    (lambda: plait.svd_lowrank(plait.eye(3), q=4), ArgumentError, "q=4"),
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG)
def test_refused_at_the_call(call, error, text):
    with pytest.raises(error, match=text):
        call()


SINGULAR = [
    (L.inv, "singular"), (lambda x: L.solve(x, plait.ones((2, 1))), "singular"), (L.cholesky, "positive-definite"),
    (lambda x: L.inv_ex(x, check_errors=True).inverse, "singular"),
    (lambda x: L.cholesky_ex(x, check_errors=True).L, "positive-definite"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "text"), SINGULAR)
def test_refused_when_computed(function, text):
    """The error names the place in the batch, is NumPy's too, and leaves later work alone."""
    batch = plait.stack([plait.eye(2), plait.ones((2, 2)) * 0])
    with pytest.raises(np.linalg.LinAlgError, match=rf"\(1,\) of the batch is (not )?{text}"):
        function(batch).numpy()
    with pytest.raises(LinAlgError, match="the matrix is"):
        plait.jit(function)(batch[1]).numpy()
    assert (plait.ones(2) + 1).tolist() == [2.0, 2.0]


def test_information_in_place_of_errors():
    batch = plait.tensor([[[2.0, 0.0], [0.0, 1.0]], [[1.0, 2.0], [2.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]])
    assert L.cholesky_ex(batch).info.tolist() == [0, 2, 2]
    assert np.isnan(L.cholesky_ex(batch).L.numpy()).all((1, 2)).tolist() == [False, True, True]
    assert L.inv_ex(batch).info.tolist() == L.solve_ex(batch, plait.ones((2, 1))).info.tolist() == [0, 0, 2]
    assert L.lu_factor_ex(batch).info.tolist() == [0, 0, 2]
    large = plait.eye(150)
    large[120, 120] = -1.0
    assert L.cholesky_ex(large).info.item() == 121

"""Rearranging, joining, contracting and picking, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import plait
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError
from plait.tensor import api

X = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
T = plait.Tensor(X)
S = plait.Tensor(np.arange(9).reshape(3, 3))
A = np.arange(9).reshape(3, 3)
SAME = {
    "reshape": (lambda: T.reshape(4, -1), X.reshape(4, -1)),
    "view": (lambda: T.view((3, 8)), X.reshape(3, 8)),
    "flatten": (lambda: T.flatten(1), X.reshape(2, 12)),
    "ravel": (lambda: T.ravel(), X.ravel()),
    "unflatten": (lambda: T.unflatten(-1, (2, -1)), X.reshape(2, 3, 2, 2)),
    "squeeze": (lambda: api.squeeze(T[:, :1], 1), X[:, 0]),
    "unsqueeze": (lambda: T.unsqueeze(-1), X[..., None]),
    "expand_dims": (lambda: api.expand_dims(T, (0, 2)), np.expand_dims(X, (0, 2))),
    "permute": (lambda: T.permute(2, 0, 1), X.transpose(2, 0, 1)),
    "T": (lambda: T.T, X.T),
    "mT": (lambda: T.mT, X.mT),
    "transpose": (lambda: T.transpose(0, 2), X.swapaxes(0, 2)),
    "transpose all": (lambda: api.transpose(T), X.T),
    "movedim": (lambda: T.movedim((0, 1), (2, 0)), np.moveaxis(X, (0, 1), (2, 0))),
    "expand": (lambda: T[:1].expand(5, -1, 4), np.broadcast_to(X[:1], (5, 3, 4))),
    "narrow": (lambda: T.narrow(2, -3, 2), X[:, :, 1:3]),
    "diagonal": (lambda: S.diagonal(1), np.diagonal(A, 1)),
    "diagonal below": (lambda: S[:, :2].diagonal(-1), np.diagonal(A[:, :2], -1)),
    "diagonal axes": (lambda: T.diagonal(0, 0, 2), np.diagonal(X, 0, 0, 2)),
    "diagonal none": (lambda: S.diagonal(5), np.diagonal(A, 5)),
    "diag": (lambda: api.diag(S), np.diag(A)),
    "diag of vector": (lambda: api.diag(S[0], -2), np.diag(A[0], -2)),
    "trace": (lambda: S.trace(), np.trace(A)),
    "diag above": (lambda: api.diag(S[1], 1), np.diag(A[1], 1)),
    "tril": (lambda: T.tril(1), np.tril(X, 1)),
    "triu": (lambda: T.triu(-1), np.triu(X, -1)),
    "tile": (lambda: T.tile(2, 1, 3, 1), np.tile(X, (2, 1, 3, 1))),
    "method repeat": (lambda: T.repeat(1, 2, 1), np.tile(X, (1, 2, 1))),
    "tile few": (lambda: T.tile(2), np.tile(X, 2)),
    "repeat": (lambda: api.repeat(T, 2, 1), np.repeat(X, 2, 1)),
    "repeat flat": (lambda: api.repeat(S, 3), np.repeat(A, 3)),
    "flip": (lambda: T.flip((0, 2)), np.flip(X, (0, 2))),
    "roll": (lambda: T.roll((1, -2), (0, 2)), np.roll(X, (1, -2), (0, 2))),
    "roll flat": (lambda: T.roll(5), np.roll(X, 5)),
    "concatenate": (lambda: api.cat([T, T[:, :1]], 1), np.concatenate([X, X[:, :1]], 1)),
    "concatenate flat": (lambda: api.concat([T, S], axis=None), np.concatenate([X, A], axis=None)),
    "stack": (lambda: api.stack([T, T], -1), np.stack([X, X], -1)),
    "pad": (
        lambda: api.pad(T, ((1, 0), (0, 2), (1, 1)), constant_values=3),
        np.pad(X, ((1, 0), (0, 2), (1, 1)), constant_values=3),
    ),
    "take": (lambda: T.take(plait.Tensor([[0, -1]]), 1), np.take(X, [[0, -1]], 1)),
    "take flat": (lambda: api.take(T, plait.Tensor([5, 7])), np.take(X, [5, 7])),
    "take_along_axis": (
        lambda: api.take_along_axis(T, plait.Tensor([[[1, 0]]]), 2),
        np.take_along_axis(X, np.array([[[1, 0]]]), 2),
    ),
    "masked_select": (lambda: T.masked_select(T > 20), X[X > 20]),
    "masked_fill": (lambda: T.masked_fill(T > 3, 0), np.where(X > 3, 0, X)),
    "matmul": (lambda: T @ T.mT, X @ X.mT),
    "matmul vector": (lambda: T @ T[0, 0], X @ X[0, 0]),
    "vector matmul": (lambda: T[0, 0, :3] @ T, X[0, 0, :3] @ X),
    "dot": (lambda: T[0, 0] @ T[1, 1], X[0, 0] @ X[1, 1]),
    "matmul batch": (lambda: T[:, None] @ T[0].T, X[:, None] @ X[0].T),
    "matmul left": (lambda: T[0] @ T.mT, X[0] @ X.mT),
    "outer": (lambda: api.outer(S[0], S[1]), np.outer(A[0], A[1])),
    "vecdot": (lambda: api.vecdot(T, T, axis=1), (X * X).sum(1)),
    "tensordot": (lambda: api.tensordot(T, T, ([1, 2], [1, 2])), np.tensordot(X, X, ([1, 2], [1, 2]))),
    "tensordot 1": (lambda: api.tensordot(S, S, 1), np.tensordot(A, A, 1)),
    "reflected": (lambda: A @ S, A @ A),
    "index_add": (lambda: S.index_add(0, plait.Tensor([0, 0]), S[1:]), A + np.stack([A[1] + A[2], 0 * A[0], 0 * A[0]])),
    "index_fill": (lambda: S.index_fill(1, plait.Tensor([-1]), 7), np.where([False, False, True], 7, A)),
    "arange": (lambda: api.arange(5, 0, -2), np.arange(5, 0, -2)),
    "arange float": (lambda: api.arange(0, 1, 0.3), np.arange(0, 1, 0.3)),
    "arange none": (lambda: api.arange(3, 1), np.arange(3, 1)),
    "linspace": (lambda: api.linspace(-1, 2, 7), np.linspace(-1, 2, 7)),
    "linspace open": (lambda: api.linspace(0, 1, 4, endpoint=False), np.linspace(0, 1, 4, endpoint=False)),
    "linspace 1": (lambda: api.linspace(3, 9, 1), np.linspace(3, 9, 1)),
    "logspace": (lambda: api.logspace(0, 2, 3), np.logspace(0, 2, 3)),
    "eye": (lambda: api.eye(2, 4, 1), np.eye(2, 4, 1)),
    "full": (lambda: api.full((2, 2), 7), np.full((2, 2), 7)),
    "one_hot": (lambda: api.one_hot(plait.Tensor([2, 0])), np.eye(3)[[2, 0]]),
    "argwhere": (lambda: api.argwhere(T > 20), np.argwhere(X > 20)),
}


@pytest.mark.parametrize("name", SAME)
def test_as_numpy(name):
    result, expected = SAME[name][0](), np.asarray(SAME[name][1])
    assert result.shape == expected.shape
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("mode", ["edge", "reflect", "symmetric", "wrap"])
def test_borders(mode):
    widths = ((0, 1), (2, 1), (0, 3))
    np.testing.assert_array_equal(api.pad(T, widths, mode).numpy(), np.pad(X, widths, mode))


EQUATIONS = [
    ("ij,jk->ik", 2), ("ij,jk", 2), ("ij,ij->", 2), ("ij,kj->ik", 2), ("ii->i", 1), ("ii", 1), ("ij->ji", 1), ("ij->",
    1),
    ("ij,jk,kl->il", 3), ("ij,j->i", "v"), ("i,j->ij", "vv"), ("...j,j->...", "v"), ("ij,ij->ij", 2),
    ("ij,ik,il->jkl", 3),
    ("...i,...i->...", 2), ("ii,i->", "v"), ("i...,i...->...", 2), ("ij,kl->", 2),
]  # fmt: skip


@pytest.mark.parametrize(("equation", "count"), EQUATIONS)
def test_einsum(equation, count):
    random = np.random.default_rng(0)
    matrix, vector = random.normal(size=(3, 3)).astype(np.float32), random.normal(size=3).astype(np.float32)
    arrays = [matrix] * count if isinstance(count, int) else [vector] * 2 if count == "vv" else [matrix, vector]
    result = api.einsum(equation, *[plait.Tensor(a) for a in arrays])
    np.testing.assert_allclose(result.numpy(), np.einsum(equation, *arrays), rtol=1e-5, atol=1e-6)


def test_einsum_batches():
    a, b = np.ones((4, 1, 2, 3), np.float32), np.arange(30.0, dtype=np.float32).reshape(5, 3, 2)
    expected = np.einsum("...ij,...jk->...ik", a, b)
    np.testing.assert_allclose(api.einsum("...ij,...jk->...ik", plait.Tensor(a), plait.Tensor(b)).numpy(), expected)


def test_matmul_of_integers_and_halves():
    assert (S @ S).dtype is plait.int64 and (S.half() @ S.half()).dtype is plait.float16
    assert api.matmul(S, S.float()).dtype is plait.float32
    assert (api.zeros(2, 0) @ api.zeros(0, 3)).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_split_and_friends():
    assert [p.tolist() for p in api.split(api.arange(5), 2)] == [[0, 1], [2, 3], [4]]
    assert [p.tolist() for p in api.arange(5).split([1, 4])] == [[0], [1, 2, 3, 4]]
    assert [p.shape for p in T.chunk(3, 2)] == [(2, 3, 2), (2, 3, 2)] and len(T.unbind(1)) == 3
    grid = api.meshgrid(api.arange(2), api.arange(3))
    for g, e in zip(grid, np.meshgrid(np.arange(2), np.arange(3)), strict=True):
        np.testing.assert_array_equal(g.numpy(), e)
    rows, columns = api.nonzero(plait.Tensor([[0, 1], [2, 0]]))
    assert rows.tolist() == [0, 1] and columns.tolist() == [1, 0]
    a, b = api.broadcast_tensors(api.ones(3, 1), api.ones(2))
    assert a.shape == b.shape == (3, 2)


def test_scatter():
    base, index = api.zeros(3, 4), plait.Tensor([[0, 2, 1], [1, 1, 0]])
    source = plait.Tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    expected = np.zeros((3, 4), np.float32)
    np.put_along_axis(expected[:2], index.numpy(), source.numpy(), 1)
    expected[1, 1] = 5
    assert base.scatter(1, index[:, :1], source)[:2, :3].sum().item() == 5
    total = base.scatter_add(1, index, source)
    assert total.tolist() == [[1, 3, 2, 0], [6, 9, 0, 0], [0, 0, 0, 0]]
    assert base.scatter(1, index, source, reduce="amax")[1].tolist() == [6, 5, 0, 0]
    assert base.scatter_(0, plait.Tensor([[2]]), 9.0)[2, 0].item() == 9 and base.tolist()[2][0] == 9
    x = api.zeros(3)
    x.index_put_((plait.Tensor([0, 0, 2]),), plait.Tensor([1.0, 2.0, 3.0]), accumulate=True)
    assert x.tolist() == [3, 0, 3]
    assert x.index_put((plait.Tensor([1]),), plait.Tensor([5.0])).tolist() == [3, 5, 3] and x.tolist() == [3, 0, 3]
    assert x.index_copy(0, plait.Tensor([1]), plait.Tensor([8.0])).tolist() == [3, 8, 3]


def test_creation():
    assert plait.Tensor([1, 2]).dtype is plait.int64 and plait.Tensor([1.0]).dtype is plait.float32
    assert plait.Tensor(True).dtype is plait.bool_ and plait.Tensor(1j).dtype is plait.complex64
    assert plait.Tensor([]).dtype is plait.float32 and plait.Tensor([[]]).shape == (1, 0)
    assert plait.Tensor([np.float64(1.0)]).dtype is plait.float64 and plait.Tensor(np.int8(3)).dtype is plait.int8
    assert plait.Tensor([plait.Tensor(1.0), 2.0]).tolist() == [1, 2]
    array = np.zeros(4, np.float32)
    copied = plait.Tensor(array)
    array += 1
    assert copied.tolist() == [0] * 4
    memory = api.ones(64).numpy()
    shared = api.from_numpy(memory)
    memory[0] = 5
    assert shared[0].item() == 5 and api.as_tensor(shared) is shared and api.asarray(shared, copy=True) is not shared
    assert api.zeros((2, 3)).shape == api.zeros(2, 3).shape == (2, 3) and api.zeros(()).shape == ()
    assert api.ones_like(S).dtype is plait.int64 and api.full_like(T, 2, dtype="int8").dtype is plait.int8
    assert api.ones(2, requires_grad=True).requires_grad and api.arange(3.0, dtype="float64").dtype is plait.float64
    fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(plait.Tensor(fortran).numpy(), fortran)
    np.testing.assert_array_equal(api.from_numpy(np.arange(10)[::-2]).numpy(), np.arange(10)[::-2])


ERRORS = [
    (
        lambda: T.reshape(5, 5),
        ShapeError,
        r"Received: \(5, 5\) for a tensor of shape \(2, 3, 4\)\. Expected: 24 elements",
    ),
    (lambda: T.reshape(-1, -1), ShapeError, "at most one size may be -1"),
    (lambda: T.reshape("a"), ArgumentTypeError, "A shape is made of integers"),
    (lambda: T.permute(0, 1), ShapeError, "a permutation of the 3 axes"),
    (lambda: T.expand(2, 2, 4), ShapeError, "Only axes of size 1 can be expanded"),
    (lambda: T.narrow(0, 1, 5), ShapeError, "start=1, length=5 on an axis of size 2"),
    (lambda: T.split([1, 2], 1)[0].split(0), ArgumentError, "at least one element"),
    (lambda: T.split([1, 1], 1), ShapeError, r"Received: \[1, 1\]\. Expected: a sum of 3"),
    (lambda: T @ T, ShapeError, r"inner sizes differ\. Received: shapes \(2, 3, 4\) and \(2, 3, 4\)\..*y\.mT"),
    (lambda: T @ plait.Tensor(1.0), ShapeError, r"multiply by a scalar with \*"),
    (lambda: T + api.ones(3), ShapeError, r"Shapes do not broadcast in add\. Received: \(2, 3, 4\) and \(3,\)"),
    (lambda: api.stack([T, S]), ShapeError, "stack needs equal shapes"),
    (lambda: api.stack([]), ArgumentError, "at least one tensor"),
    (lambda: api.einsum("ij->k", S), ArgumentError, "names each letter once"),
    (lambda: api.einsum("ij,jk->ik", S, api.ones(4, 2)), ShapeError, "axis 'j' has two sizes. Received: 3 and 4"),
    (lambda: api.einsum("ijk->i", S), ArgumentError, "A term of einsum names each axis"),
    (lambda: api.pad(T, 1, "mirror"), ArgumentError, "Unknown mode of pad"),
    (lambda: api.pad(T, 9, "reflect"), ShapeError, "wider than the axis allows"),
    (lambda: S.gather(0, plait.Tensor([0])), ShapeError, "gather"),
    (lambda: S.gather(0, plait.Tensor([[0.5]])), ArgumentTypeError, "gather takes integer positions"),
    (lambda: S.masked_fill(S, 0), ArgumentTypeError, "A mask is of bools"),
    (lambda: S.scatter(0, S, S, reduce="mean"), ArgumentError, "Unknown reduce"),
    (lambda: plait.Tensor([[1], [1, 2]]), ShapeError, "Nested sequences need equal lengths"),
    (lambda: plait.Tensor("a"), ArgumentTypeError, "Cannot make a tensor of this"),
    (lambda: plait.Tensor([None]), ArgumentTypeError, "Cannot make a tensor of this"),
    (lambda: api.zeros(-1), ShapeError, "Sizes are not negative"),
    (lambda: api.arange(0, 3, 0), ArgumentError, "step of arange is zero"),
    (lambda: api.zeros(2, dtype="float7"), plait.errors.DTypeError, "Unknown dtype"),
    (lambda: api.from_numpy([1]), ArgumentTypeError, "use plait.tensor"),
    (lambda: T.to("cuda"), ArgumentError, "Unknown device"),
]


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS)
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call()

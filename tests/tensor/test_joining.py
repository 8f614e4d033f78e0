"""Joining and transposing, whose kernels have loops of their own, against NumPy for sizes around those of the loops."""

from __future__ import annotations

import numpy as np
import pytest

import plait

random = np.random.default_rng(0)


def _twice(function, *arrays):
    """The results on first sight, through kernels of any size, and compiled for these sizes."""
    return [function(*[plait.tensor(a) for a in arrays]).numpy() for _ in range(2)]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("size", [1, 5, 17, 80])
@pytest.mark.parametrize("dtype", [np.float32, np.complex64, bool, np.int8])
def test_concatenate(axis, size, dtype):
    arrays = []
    for length in (1, 4, 0, 20):
        shape = [size, 3, 7]
        shape[axis] = length
        arrays.append((random.normal(size=shape) * 9).astype(dtype))
    for got in _twice(lambda *x: plait.concatenate(x, axis=axis), *arrays):
        np.testing.assert_array_equal(got, np.concatenate(arrays, axis))
    if dtype is np.float32:
        for got in _twice(lambda *x: plait.concatenate([v * 2 for v in x], axis=axis).reshape(-1), *arrays):
            np.testing.assert_array_equal(got, 2 * np.concatenate(arrays, axis).reshape(-1))


@pytest.mark.parametrize("count", [1, 2, 5, 40])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_stack(count, axis):
    arrays = [random.normal(size=(70, 3)).astype(np.float32) for _ in range(count)]
    for got in _twice(lambda *x: plait.stack(x, axis), *arrays):
        np.testing.assert_array_equal(got, np.stack(arrays, axis))


@pytest.mark.parametrize("shape", [(300, 40), (17, 300), (3, 20, 65), (2, 3, 5, 7)])
def test_transposes(shape):
    a = random.normal(size=shape).astype(np.float32)
    for order in {
        tuple(range(len(shape)))[::-1],
        (len(shape) - 1, *range(len(shape) - 1)),
        (1, 0, *range(2, len(shape))),
    }:
        for got in _twice(lambda x: x.permute(order).contiguous() + 1, a):  # noqa: B023 - called at once
            np.testing.assert_array_equal(got, a.transpose(order) + 1)
    for got in _twice(lambda x: x.reshape(-1, shape[0]).T.contiguous(), a):
        np.testing.assert_array_equal(got, a.reshape(-1, shape[0]).T)


OTHERS = {
    "roll": (lambda x: plait.roll(x, 7), lambda a: np.roll(a, 7)),
    "roll axes": (lambda x: x.roll((1, -2), dims=(0, 1)), lambda a: np.roll(a, (1, -2), (0, 1))),
    "rot90": (lambda x: plait.rot90(x, 3, (0, 1)), lambda a: np.rot90(a, 3)),
    "rot180": (lambda x: plait.rot90(x, -2), lambda a: np.rot90(a, 2)),
    "hstack": (lambda x: plait.hstack([x, x]), lambda a: np.hstack([a, a])),
    "vstack": (lambda x: plait.vstack([x[0], x]), lambda a: np.vstack([a[0], a])),
    "dstack": (lambda x: plait.dstack([x, x]), lambda a: np.dstack([a, a])),
    "column_stack": (lambda x: plait.column_stack([x[:, 0], x]), lambda a: np.column_stack([a[:, 0], a])),
    "tile": (lambda x: plait.tile(x, (2, 1, 3)), lambda a: np.tile(a, (2, 1, 3))),
    "diag_embed": (lambda x: plait.diag_embed(x, -1)[1], lambda a: np.diag(a[1], -1)),
    "tril_indices": (lambda x: plait.tril_indices(4, 6, -1), lambda a: np.stack(np.tril_indices(4, -1, 6))),
    "triu_indices": (lambda x: plait.triu_indices(5, 3, 1), lambda a: np.stack(np.triu_indices(5, 1, 3))),
    "unravel_index": (
        lambda x: plait.stack(plait.unravel_index(plait.tensor([1, 33]), (5, 7))), lambda a: np.array([[0, 4], [1, 5]]),
    ),
    "vander": (lambda x: plait.vander(x[0], 3), lambda a: np.vander(a[0], 3)),
    "cartesian_prod": (
        lambda x: plait.cartesian_prod(x[0, :2], x[1, :3]),
        lambda a: np.stack(np.meshgrid(a[0, :2], a[1, :3], indexing="ij"), -1).reshape(-1, 2),
    ),
    "block_diag": (lambda x: plait.block_diag(x[:1, :2], x[0, 0], x[2]), lambda a: _blocks(a)),
}  # fmt: skip


def _blocks(a):
    result = np.zeros((3, 10), np.float32)
    result[0, :2], result[1, 2], result[2, 3:] = a[0, :2], a[0, 0], a[2]
    return result


@pytest.mark.parametrize("name", OTHERS)
def test_others(name):
    call, want = OTHERS[name]
    a = random.normal(size=(5, 7)).astype(np.float32)
    for got in _twice(call, a):
        np.testing.assert_allclose(got, want(a), rtol=1e-6)

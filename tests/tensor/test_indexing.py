"""Indexing against NumPy, reading and writing."""

from __future__ import annotations

import numpy as np
import pytest

import plait
from plait.tensor import api

I = np.array  # noqa: E741
MASK = np.arange(5) % 2 == 0
MASK2 = (np.arange(20) % 3 == 0).reshape(4, 5)
BASIC = [
    0, -1, slice(None), slice(1, 3), slice(None, None, 2), slice(None, None, -1), slice(3, 0, -2), slice(10, 20),
    slice(2, 1), None, ..., (), (0, 1), (0, ..., 2), (slice(1, None), 2), (..., slice(None, None, -2)),
    (None, 0, None, slice(1, 4, 2)), (1, 2, 3), (slice(None), -1, slice(-3, None)), (..., None), np.int64(1),
]  # fmt: skip
ADVANCED = [
    [0, 2], I([1, 1, 3]), I([[0, 1], [2, -1]]), ([0, 1], [1, 2]), (slice(None), [0, 4]), (slice(1, 3), [0, 4], 2),
    ([0, 1], slice(None), [1, 2]), (0, slice(None), [1, 2]), (slice(None), 0, [1, 2]), (slice(None), [[0], [1]], [1,
    2]),
    (None, [0, 1]), ([0, 1], None, [1, 2]), (..., [0, 2]), ([1], slice(None, None, -1), slice(1, 3)), [], I([], int),
    (slice(None), MASK), MASK2, (MASK2, 1), (0, MASK), (slice(None), MASK, [2]), (I([True, False, True, True]),),
    True, False, (slice(None), True), I(2), (slice(None), I(1), I([0, 1])), ([0, 1], 2, 3), (MASK2[:, 0], slice(None),
    1),
]  # fmt: skip
SHAPE = (4, 5, 6)


def _base():
    return np.arange(120, dtype=np.float32).reshape(SHAPE)


@pytest.mark.parametrize("index", BASIC + ADVANCED, ids=repr)
def test_read(index):
    result, expected = plait.Tensor(_base())[index], _base()[index]
    assert result.shape == expected.shape
    np.testing.assert_array_equal(result.numpy(), expected)


@pytest.mark.parametrize("index", BASIC + ADVANCED, ids=repr)
@pytest.mark.parametrize("whole", [False, True])
def test_write(index, whole):
    x, expected = plait.Tensor(_base()), _base()
    value = -1 - np.arange(expected[index].size, dtype=np.float32).reshape(expected[index].shape) if whole else -5
    repeated = isinstance(index, np.ndarray) and index.dtype != bool and len(np.unique(index)) < index.size
    if repeated and whole:
        pytest.skip("which of several values for one element is kept is not defined")
    x[index] = value
    expected[index] = value
    np.testing.assert_array_equal(x.numpy(), expected)


def test_tensors_as_index():
    x, a = plait.Tensor(_base()), _base()
    rows, columns = I([0, -1]), I([[1], [2]])
    np.testing.assert_array_equal(x[plait.Tensor(rows)].numpy(), a[rows])
    np.testing.assert_array_equal(x[plait.Tensor(rows), plait.Tensor(columns)].numpy(), a[rows, columns])
    np.testing.assert_array_equal(x[x > 50].numpy(), a[a > 50])
    np.testing.assert_array_equal(x[plait.Tensor(2)].numpy(), a[2])
    np.testing.assert_array_equal(x[plait.Tensor(1) : plait.Tensor(3)].numpy(), a[1:3])
    x[plait.Tensor(rows)] += 1
    a[rows] += 1
    x[x > 70] = 0
    a[a > 70] = 0
    np.testing.assert_array_equal(x.numpy(), a)
    later = plait.Tensor([8]) + 1  # not computed yet: clipped, not waited for
    assert x[later].tolist() == x[[3]].tolist()


@pytest.mark.parametrize("seed", range(12))
def test_random_indices(seed):
    random = np.random.default_rng(seed)
    items: list = []
    for size in SHAPE[: random.integers(1, 4)]:
        if random.integers(4) == 0:
            items.append(None)
        kind = random.integers(4)
        start, stop = random.integers(-size - 1, size + 1, 2)
        step = int(random.choice([-2, -1, 1, 3]))
        items.append(
            [int(random.integers(-size, size)), slice(int(start), int(stop), step), random.integers(-size, size, 3),
             random.integers(-size, size, (2, 1))][kind]
        )  # fmt: skip
    index = tuple(items)
    np.testing.assert_array_equal(plait.Tensor(_base())[index].numpy(), _base()[index])


def test_value_is_converted_and_broadcast():
    x = api.zeros(3, 4, dtype="int64")
    x[1] = 2.7
    x[:, 0] = [1, 2, 3]
    x[2, 1:] = plait.Tensor([[7.9]])
    assert x.tolist() == [[1, 0, 0, 0], [2, 2, 2, 2], [3, 7, 7, 7]]
    x[x == 7] = plait.Tensor([1, 2, 3])
    assert x[2].tolist() == [3, 1, 2, 3]


ERRORS = [
    (5, IndexError, r"Index out of range on axis 0 of size 4\. Received: 5\. Expected: -4 to 3"),
    (
        (0, 0, 0, 0),
        ValueError,
        r"Too many indices\. Received: 4 for a tensor of shape \(4, 5, 6\)\. Expected: at most 3",
    ),
    ((..., ...), ValueError, "one Ellipsis"),
    (slice(None, None, 0), ValueError, "The step of a slice is zero"),
    ("a", TypeError, "A str cannot index a tensor"),
    (1.5, TypeError, "A float cannot index a tensor"),
    ([0.5], TypeError, "A tensor used as an index is of integers or bools"),
    ([0, 9], IndexError, r"Index out of range on axis 0 of size 4\. Received: 9"),
    (plait.Tensor([0, 9]), IndexError, r"Index out of range on axis 0 of size 4\. Received: 9"),
    ((0, plait.Tensor([-6])), IndexError, r"Index out of range on axis 1 of size 5\. Received: -6\. Expected: -5 to 4"),
    (MASK, ValueError, r"A mask has the shape of the axes it covers\. Received: \(5,\)\. Expected: \(4,\)"),
    (([0, 1], [0, 1, 2]), ValueError, "Shapes do not broadcast in the index arrays"),
]


@pytest.mark.parametrize(("index", "kind", "text"), ERRORS, ids=[repr(e[0]) for e in ERRORS])
def test_errors(index, kind, text):
    with pytest.raises(kind, match=text) as info:
        plait.Tensor(_base())[index]
    assert isinstance(info.value, plait.errors.PlaitError)


def test_error_of_assignment():
    x = plait.Tensor(_base())
    with pytest.raises(
        ValueError, match=r"does not broadcast to what is indexed\. Received: \(3,\)\. Expected: \(5, 6\)"
    ):
        x[0] = [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="does not broadcast"):
        x[x > 115] = plait.Tensor([1.0, 2.0])


def test_iteration_and_length():
    x = plait.Tensor([[1, 2], [3, 4]])
    assert [r.tolist() for r in x] == [[1, 2], [3, 4]] and len(x) == 2
    a, b = x
    assert b.tolist() == [3, 4] and 3 in x and 9 not in x
    with pytest.raises(TypeError, match="rank-0"):
        len(x[0, 0])
    with pytest.raises(TypeError, match="rank-0"):
        iter(x[0, 0])

"""Selection and scattering, against NumPy; the same under jit and vmap; positions out of range."""

from __future__ import annotations

import numpy as np
import pytest

import plait
from plait.core.errors import AbstractValueError, ArgumentError, IndexOutOfRangeError, ShapeError

random = np.random.default_rng(0)
X = random.normal(size=(4, 5)).astype(np.float32)
INDEX = random.integers(-4, 4, (3, 5))
ROWS = np.array([2, -1, 2])
SOURCE = random.normal(size=(3, 5)).astype(np.float32)
MASK = X > 0
UFUNCS = {"sum": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum, "mean": np.add}
START = {"sum": 0, "prod": 1, "amax": -np.inf, "amin": np.inf, "mean": 0}


def _at(x, where, values, reduce, include_self):
    result = x.astype(np.float64)
    if not include_self:
        result[where] = START[reduce]
    UFUNCS[reduce].at(result, where, values)
    if reduce == "mean":
        count = np.full(x.shape, float(include_self))
        np.add.at(count, where, 1)
        result /= np.maximum(count, 1)
    return result


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", UFUNCS)
def test_reducing_scatters(reduce, include_self):
    by_element = (INDEX, np.broadcast_to(np.arange(5), INDEX.shape))
    t = [plait.tensor(v) for v in (X, INDEX, SOURCE, ROWS)]
    for function, where, args in (
        (plait.scatter_reduce, by_element, (t[1], t[2])),
        (plait.index_reduce, (ROWS,), (t[3], t[2])),
    ):
        want = _at(X, where, SOURCE, reduce, include_self)

        def call(x, index, source, function=function):
            return function(x, 0, index, source, reduce, include_self)

        for got in (call(t[0], *args), plait.jit(call)(t[0], *args)):
            np.testing.assert_allclose(got.numpy(), want, rtol=1e-5, atol=1e-6)


def test_reducing_bools():
    x, index = plait.tensor([True, False, True]), plait.tensor([0, 1, 1])
    values = plait.tensor([False, False, True])
    assert plait.scatter_reduce(x, 0, index, values, "sum").tolist() == [True, True, True]
    assert plait.scatter_reduce(x, 0, index, values, "prod").tolist() == [False, False, True]
    assert x.index_put((index,), values, accumulate=True).tolist() == [True, True, True]


FORMS = {
    "put": (lambda p: plait.put(p(X), p(INDEX[0] + 8), p(SOURCE[0])), lambda: _put(X, INDEX[0] + 8, SOURCE[0])),
    "index_add": (lambda p: p(X).index_add(0, p(ROWS), p(SOURCE), alpha=2), lambda: _at(X, (ROWS,), 2 * SOURCE, "sum",
                                                                                       True)),
    "index_add last": (lambda p: p(X.T).index_add(1, p(ROWS), p(SOURCE.T)),
                       lambda: _at(X, (ROWS,), SOURCE, "sum", True).T),
    "index_fill": (lambda p: p(X).index_fill(1, p(ROWS), 3), lambda: _filled(X, ROWS)),
    "take_along_dim": (lambda p: plait.take_along_dim(p(X), p(INDEX), 0), lambda: np.take_along_axis(X, INDEX, 0)),
    "masked_scatter": (lambda p: plait.masked_scatter(p(X), p(MASK), p(SOURCE)), lambda: _masked(X, MASK, SOURCE)),
    "masked_select": (lambda p: plait.masked_select(p(X), p(MASK)), lambda: X[MASK]),
    "argwhere": (lambda p: plait.argwhere(p(MASK)), lambda: np.argwhere(MASK)),
    "nonzero": (lambda p: p(X).nonzero(), lambda: np.argwhere(X)),
    "repeat": (lambda p: plait.repeat_interleave(p(X), p(np.array([0, 2, 0, 3])), 0),
               lambda: np.repeat(X, [0, 2, 0, 3], 0)),
    "positions": (lambda p: plait.repeat_interleave(p(np.array([2, 0, 1]))), lambda: np.array([0, 0, 2])),
    "select_scatter": (lambda p: plait.select_scatter(p(X), p(X[0] * 0), 0, 2), lambda: X * (np.arange(4) != 2)[:,
                                                                                                             None]),
    "where": (lambda p: plait.stack(plait.where(p(MASK))), lambda: np.stack(np.where(MASK))),
}  # fmt: skip


def _put(x, index, values):
    result = x.copy()
    np.put(result, index, values)
    return result


def _filled(x, index):
    result = x.copy()
    result[:, index] = 3
    return result


def _masked(x, mask, source):
    result = x.copy()
    result[mask] = source.reshape(-1)[: mask.sum()]
    return result


@pytest.mark.parametrize("name", FORMS)
def test_forms(name):
    call, want = FORMS[name]
    for _ in range(2):  # the first time through kernels of any size, the second time compiled for these
        np.testing.assert_allclose(call(plait.tensor).numpy(), want(), rtol=1e-5)


def test_static_sizes():
    x = plait.tensor([0.0, 3.0, 0.0, 5.0])
    staged = plait.jit(lambda v: plait.nonzero(v, size=3))
    assert [c.tolist() for c in staged(x)] == [[1, 3, -1]]
    assert plait.nonzero_static(x, size=1).tolist() == [[1]]
    many = plait.vmap(lambda v: plait.nonzero_static(v, size=2, fill_value=9))(plait.tensor([[0, 1, 2], [0, 0, 4]]))
    assert many.tolist() == [[[1], [2]], [[2], [9]]]
    total = plait.jit(lambda v, n: plait.repeat_interleave(v, n, output_size=3))
    assert total(plait.tensor([7, 8]), plait.tensor([1, 2])).tolist() == [7, 8, 8]
    for call in (plait.nonzero, lambda v: plait.masked_select(v, v > 0), lambda v: plait.repeat_interleave(v, v.int())):
        with pytest.raises(AbstractValueError, match="not known while the function is staged"):
            plait.vmap(call)(plait.ones(2, 3))


@pytest.mark.parametrize("count", [1, 2047, 2048, 2049, 70001])
def test_compaction_of_many(count):
    mask = random.random((2, count)) < 0.3
    assert plait.nonzero(plait.tensor(mask))[1].tolist() == np.nonzero(mask)[1].tolist()
    assert plait.tensor(mask[0]).nonzero().shape == (mask[0].sum(), 1)


def test_gradients_of_scatters():
    def loss(x, source):
        total = plait.scatter_reduce(x, 0, plait.tensor(INDEX), source, "mean")
        return (plait.masked_scatter(total, plait.tensor(MASK), source) ** 2).sum()

    x, source = plait.tensor(X, dtype="float64"), plait.tensor(SOURCE, dtype="float64")
    for position, gradient in enumerate(plait.grad(loss, argnums=(0, 1))(x, source)):
        step = plait.tensor(random.normal(size=gradient.shape)) * 1e-6
        moved = [[x, source], [x, source]]
        moved[0][position], moved[1][position] = moved[0][position] + step, moved[1][position] - step
        slope = (loss(*moved[0]) - loss(*moved[1])).item() / 2
        assert slope == pytest.approx((gradient * step).sum().item(), rel=1e-4)


OUT_OF_RANGE = {
    "take": lambda x, i: plait.take(x, i, 0),
    "gather": lambda x, i: x.gather(1, i[None]),
    "index_select": lambda x, i: x.index_select(0, i),
    "index_add": lambda x, i: x.index_add(0, i, x[:2]),
    "scatter": lambda x, i: x.scatter(0, i[None], 1.0),
    "index_put": lambda x, i: x.index_put((i,), plait.tensor(1.0)),
    "getitem": lambda x, i: x[i],
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_positions_out_of_range(name):
    with pytest.raises(IndexOutOfRangeError, match=r"Index out of range on axis . of size .*Received: 50\."):
        OUT_OF_RANGE[name](plait.tensor(X), plait.tensor([0, 50]))


ERRORS = [
    (lambda x: x.scatter_reduce(0, plait.tensor(INDEX), x, "median"), ArgumentError, "Unknown reduce.*'median'"),
    (lambda x: x.put(plait.tensor([1]), x), ShapeError, "an element for each position"),
    (lambda x: x.masked_fill(x > 0, x), ShapeError, "masked_fill takes one number.*plait.where"),
    (lambda x: x.index_fill(0, plait.tensor([0]), x), ShapeError, "index_fill takes one number"),
    (lambda x: plait.select_scatter(x, x, 0, 0), ShapeError, "The source of select_scatter has another shape"),
    (lambda x: plait.repeat(x, plait.tensor([1, 2]), 0), ShapeError, r"\(2,\) for 4 elements"),
    (lambda x: plait.repeat(x, plait.tensor([1, -2, 1, 1]), 0), ArgumentError, "a negative one"),
    (lambda x: plait.nonzero(x[0, 0]), ShapeError, "nonzero needs an axis"),
    (lambda x: plait.nonzero(x, size=-1), ArgumentError, "size=-1"),
    (lambda x: x.index_add(0, plait.tensor([0]), x), ShapeError, r"index \(1,\), source \(4, 5\)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS)
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call(plait.tensor(X))

"""Where views are in memory, against NumPy; writes through all kinds of views; other shapes in place."""

from __future__ import annotations

import numpy as np
import pytest

import plait
from plait.core.errors import ArgumentError, GradientError, ShapeError

SHAPE = (4, 6, 2)
VIEWS = {
    "whole": lambda x: x,
    "index": lambda x: x[1],
    "slice": lambda x: x[1:3, ::2],
    "transpose": lambda x: x.swapaxes(0, 2),
    "transposed slice": lambda x: x.swapaxes(0, 1)[2:5, 1],
    "split axis": lambda x: x.reshape(4, 3, 2, 2).swapaxes(1, 2),
    "merged": lambda x: x.reshape(24, 2)[3:20:4],
    "merged part": lambda x: x[1:3].reshape(-1)[5:],
    "new axis": lambda x: x[:, None, 2:3],
}


def _pair():
    array = np.arange(48, dtype=np.float32).reshape(SHAPE)
    return plait.tensor(array), array


@pytest.mark.parametrize("name", VIEWS)
def test_strides_are_those_of_numpy(name):
    x, a = (VIEWS[name](v) for v in _pair())
    wide = [k for k, n in enumerate(a.shape) if n > 1]
    assert [x.stride(k) for k in wide] == [a.strides[k] // 4 for k in wide]
    base = a.base if a.base is not None else a
    assert x.storage_offset() == (a.ctypes.data - base.ctypes.data) // 4
    assert x.is_contiguous() == a.flags.c_contiguous and (x.contiguous() is x) == a.flags.c_contiguous


def test_contiguous_copies_what_is_no_block():
    x, _ = _pair()
    turned = x.swapaxes(0, 1).contiguous()
    turned.zero_()
    assert x.sum().item() == np.arange(48).sum() and turned.is_contiguous()
    merged = x.swapaxes(0, 1).reshape(-1)  # shares memory here, is a copy in PyTorch
    assert merged.contiguous().fill_(0).sum().item() == 0 and x.sum().item() > 0


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((3, 4), (5, 1), 0),
        ((2, 2, 2), (1, 7, 3), 4),
        ((48,), (1,), 0),
        ((), (), 7),
        ((3, 0), (1, 1), 5),
        ((4,), (0,), 2),
    ],
)
def test_as_strided(size, stride, offset):
    x, a = _pair()
    b = np.lib.stride_tricks.as_strided(a.reshape(-1)[offset:], size, [4 * s for s in stride])
    np.testing.assert_array_equal(plait.as_strided(x, size, stride, offset).numpy(), b)
    v = x.swapaxes(0, 1).as_strided(size, stride, offset)  # of the memory, not of the view
    np.testing.assert_array_equal(v.numpy(), b)
    if b.size and 0 not in stride:
        v[...] = -1
        b[...] = -1
        np.testing.assert_array_equal(x.numpy(), a)


@pytest.mark.parametrize(("axis", "size", "step"), [(1, 3, 1), (1, 2, 2), (0, 2, 1), (-1, 1, 1), (1, 6, 5), (1, 0, 2)])
def test_unfold(axis, size, step):
    x, a = _pair()
    expected = np.moveaxis(
        np.stack([np.take(a, range(k, k + size), axis) for k in range(0, a.shape[axis] - size + 1, step)], 0),
        (0, (axis % 3) + 1), (axis % 3, 3),
    )  # fmt: skip
    v = x.unfold(axis, size, step)
    np.testing.assert_array_equal(v.numpy(), expected)
    if size <= step and size:
        v *= 10
        assert x.sum().item() == a.sum() + 9 * expected.sum()


WRITTEN = {
    "select": (lambda x: x.select(1, -1), lambda a: a[:, -1]),
    "slice": (lambda x: plait.slice(x, 1, 1, None, 2), lambda a: a[:, 1::2]),
    "tensor_split": (lambda x: x.tensor_split(4, 1)[1], lambda a: np.array_split(a, 4, 1)[1]),
    "hsplit": (lambda x: x.hsplit(3)[2], lambda a: np.hsplit(a, 3)[2]),
    "vsplit": (lambda x: x.vsplit([1, 3])[1], lambda a: np.vsplit(a, [1, 3])[1]),
    "dsplit": (lambda x: x.dsplit(2)[0], lambda a: np.dsplit(a, 2)[0]),
    "diagonal": (lambda x: x.diagonal(1, 0, 1), lambda a: _diagonal(a, 1)),
    "atleast": (lambda x: plait.atleast_3d(x[0]), lambda a: a[0][:, :, None]),
    "adjoint": (lambda x: x.mH[:, 1], lambda a: a.swapaxes(1, 2)[:, 1]),
}


def _diagonal(a, offset):
    view = np.diagonal(a, offset)
    view.flags.writeable = True
    return view


@pytest.mark.parametrize("name", WRITTEN)
def test_writes_reach_the_base(name):
    x, a = _pair()
    of_x, of_a = WRITTEN[name]
    v, b = of_x(x), of_a(a)
    assert v.shape == b.shape
    v -= 100
    b -= 100
    np.testing.assert_array_equal(x.numpy(), a)


def test_complex_views():
    z = plait.tensor([1 + 2j, 3 + 4j])
    pairs = plait.view_as_real(z)
    pairs[0, 1] = 7
    assert z.tolist() == [1 + 7j, 3 + 4j] and plait.view_as_complex(pairs).tolist() == z.tolist()
    x = plait.zeros(2, 2)
    plait.view_as_complex(x)[1] = 5 - 1j
    assert x.tolist() == [[0, 0], [5, -1]]
    with pytest.raises(ShapeError, match="pairs on the last axis"):
        plait.view_as_complex(plait.zeros(3))


def test_shapes_in_place():
    x = plait.tensor(np.arange(6.0).reshape(1, 2, 3))
    assert x.squeeze_().t_().shape == (3, 2) and x.unsqueeze_(0).swapaxes_(1, 2).shape == (1, 2, 3)
    row = x[0]
    with pytest.raises(ArgumentError, match=r"squeeze_ cannot change a tensor that has views.*x\.squeeze"):
        x.squeeze_()
    row.t_()
    row[0, 1] = 50
    assert row.shape == (3, 2) and x[0, 1, 0].item() == 50
    del row
    assert x.squeeze_().resize_(2, 2).tolist() == [[0, 1], [2, 50]] and x.resize_(5).tolist()[4] == 0
    with pytest.raises(GradientError, match="leaf that requires gradients"):
        plait.ones(2, 1, requires_grad=True).squeeze_()


def test_fill_diagonal():
    for shape, wrap in (((3, 3), False), ((7, 3), False), ((7, 3), True), ((2, 5), True), ((3, 3, 3), False)):
        a = np.zeros(shape, np.float32)
        np.fill_diagonal(a, 4, wrap)
        np.testing.assert_array_equal(plait.zeros(shape).fill_diagonal_(4, wrap).numpy(), a)


ERRORS = [
    (lambda x: plait.as_strided(x, (4, 13), (12, 1)), ArgumentError, "leaves the memory.*positions 0 to 48.*0 to 47"),
    (lambda x: plait.as_strided(x, (2,), (1, 1)), ShapeError, "a stride for each size"),
    (lambda x: x.unfold(1, 7, 1), ArgumentError, "windows inside the axis"),
    (lambda x: x.hsplit(4), ArgumentError, "hsplit makes equal pieces.*4 of an axis of size 6"),
    (lambda x: plait.vsplit(x[0, 0], 1), ShapeError, "at least 2 axes"),
    (lambda x: x.select(0, 4), plait.errors.IndexOutOfRangeError, "axis 0 of size 4.*Received: 4.*-4 to 3"),
    (lambda x: x.reshape(2, 24).fill_diagonal_(1).reshape(2, 3, 8).fill_diagonal_(1), ShapeError, "no main diagonal"),
    (lambda x: x.sum_to_size(5, 2), ShapeError, "does not broadcast"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS)
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call(_pair()[0])

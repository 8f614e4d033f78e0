"""Views share memory with their base, writes reach both; gradients start and stop where they should."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import plait
from plait.tensor import api

VIEWS = {
    "index": lambda x: x[1], "slice": lambda x: x[1:3, ::2], "reverse": lambda x: x[::-1],
    "chain": lambda x: x[1:][0][2:5],
    "reshape": lambda x: x.reshape(-1)[3:9], "transpose": lambda x: x.T[2], "newaxis": lambda x: x[:, None, 1],
    "flatten": lambda x: x.reshape(2, 2, 6).transpose(1, 2, 0).reshape(12, 2)[4:7] if isinstance(x, np.ndarray) else
    x.reshape(2, 2, 6).permute(1, 2, 0)[0, 4:7],
    "strided": lambda x: x[1::2, 4:0:-2],
}  # fmt: skip
SAME = [n for n in VIEWS if n != "flatten"]


@pytest.mark.parametrize("name", SAME)
def test_write_through_view(name):
    x, a = plait.Tensor(np.arange(24.0).reshape(4, 6)), np.arange(24.0).reshape(4, 6)
    v, b = VIEWS[name](x), VIEWS[name](a)
    v += 100
    b += 100
    v *= 2
    b *= 2
    np.testing.assert_array_equal(x.numpy(), a)
    np.testing.assert_array_equal(v.numpy(), b)
    x[...] = x - 1
    a[...] = a - 1
    np.testing.assert_array_equal(v.numpy(), b)


def test_nested_assignment():
    x = api.zeros(3, 3)
    x[0][1] = 5
    y = x[:, 0]
    y += 1
    z = y[1:]
    z.zero_()
    assert x.tolist() == [[1, 5, 0], [0, 0, 0], [0, 0, 0]]
    x.T[2] = plait.Tensor([7.0, 8.0, 9.0])
    assert x[:, 2].tolist() == [7, 8, 9] and y.tolist() == [1, 0, 0]


def test_view_functions_share():
    x = api.zeros(2, 6)
    for v in (
        x.view(3, 4), x.flatten(), x.unsqueeze(0), x.T, x.mT, x.narrow(1, 2, 2), x.chunk(2, 1)[1], x.split(1)[1],
        x.unbind()[0], x.detach(), x.data, x.squeeze(), x.movedim(0, 1), x.swapaxes(0, 1), x.unflatten(1, (2, 3)),
        x.diagonal(), x.expand(1, 2, 6), x.contiguous(),
    ):  # fmt: skip
        before = x.sum().item()
        v += 1
        assert x.sum().item() == before + v.numel(), v.shape
    before = x.clone()
    x += 1
    assert (x - before).tolist() == [[1.0] * 6] * 2


def test_expanded_views_cannot_be_written():
    with pytest.raises(plait.errors.ArgumentError, match=r"Cannot write to an expanded view.*\.clone\(\)"):
        api.zeros(3, 1).expand(3, 2).add_(1)


def test_bit_and_complex_views():
    x = api.zeros(2)
    x.view("int32")[0] = 0x3F800000
    assert x.tolist() == [1, 0]
    z = plait.Tensor([1 + 2j, 3 + 4j])
    z.real *= 10
    z.imag[1] = 0
    assert z.tolist() == [10 + 2j, 30]


def test_in_place_methods():
    x = plait.Tensor([1.0, -4.0])
    same = x
    x.abs_().sqrt_().mul_(3).sub_(1).clamp_(max=4).neg_()
    assert same is x and x.tolist() == [-2, -4]
    assert (
        x.fill_(2).tolist() == [2, 2] and x.zero_().tolist() == [0, 0] and x.copy_(plait.Tensor(3)).tolist() == [3, 3]
    )
    x -= 1
    x /= 4
    x **= 2
    assert x.tolist() == [0.25, 0.25] and same is x and x._version > 5
    n = plait.Tensor([1, 2])
    with pytest.raises(plait.errors.ArgumentError, match=r"cannot store its result in the dtype.*float32.*int64"):
        n += 0.5
    with pytest.raises(
        plait.errors.ArgumentError, match=r"cannot change the shape.*Received: \(2, 2\)\. Expected: \(2,\)"
    ):
        n += api.ones(2, 2, dtype="int64")
    n @= plait.Tensor([[0, 1], [1, 0]])
    assert n.tolist() == [2, 1]


def test_values_are_those_of_the_time():
    x = plait.Tensor([1.0, 2.0])
    y = x * 1
    z = x[0]
    w = z * 1
    x += 1
    assert y.tolist() == [1, 2] and w.item() == 1 and z.item() == 2


def test_many_writes_to_a_row():
    x = api.zeros(2, 2)
    row = x[0]
    for _ in range(3000):
        row += 1
    assert x.tolist() == [[3000, 3000], [0, 0]]


def test_leaves():
    w = plait.Tensor([1.0, 2.0], requires_grad=True)
    assert w.is_leaf and w.requires_grad and not (w * 2).is_leaf and (w * 2).requires_grad
    for write in (lambda: w.add_(1), lambda: w[0].zero_(), lambda: w.__setitem__(0, 5)):
        with pytest.raises(plait.errors.GradientError, match=r"leaf tensor that requires gradients.*plait\.no_grad"):
            write()
    with plait.no_grad():
        w += 1
        w[0] = 7
    assert w.tolist() == [7, 3] and w.is_leaf and w.requires_grad
    w.data *= 2
    w.detach()[1] = 0
    assert w.tolist() == [14, 0] and w.is_leaf and w.requires_grad
    w.data = plait.Tensor([1.0, 1.0])
    assert w.tolist() == [1, 1] and w.requires_grad
    with pytest.raises(plait.errors.GradientError, match=r"\.detach\(\)\.numpy\(\)"):
        w.numpy()
    with pytest.raises(plait.errors.GradientError, match="Only floating-point"):
        plait.Tensor([1], requires_grad=True)
    with pytest.raises(plait.errors.GradientError, match="only on a leaf"):
        (w * 2).requires_grad_(False)
    assert plait.Tensor([1.0]).requires_grad_().requires_grad


def test_gradients_through_writes():
    w = plait.Parameter([1.0, 2.0, 3.0])
    x = api.zeros(2, 3)
    x[0] = w * 2
    x[1, ::2] = w[::2] ** 2
    x[:, 1] *= 10
    x.sum().backward()
    assert w.grad.tolist() == [2 + 2, 20, 2 + 6]


def test_gradient_stops():
    w = plait.Parameter([1.0, 2.0])
    y = w * 3
    (y * y.detach()).sum().backward()
    assert w.grad.tolist() == [9, 18]
    w.grad = None
    old = (w * w).sum()
    with plait.no_grad():
        w.mul_(10)
    (old + (w * 1).sum()).backward()
    assert w.grad.tolist() == [3, 5]  # `old` uses the value before the write


def test_writes_without_gradient_keep_the_history():
    w = plait.Parameter([1.0, 2.0])
    y = w * 3
    row = y[:1]
    y.detach().mul_(10)
    with plait.no_grad():
        row += 1
        seen = y[1:]
    assert y.tolist() == [31, 60] and row.requires_grad and not seen.requires_grad
    (y * y).sum().backward()  # of the values as they are, through the history as it was
    assert w.grad.tolist() == [2 * 31 * 3, 2 * 60 * 3]
    x = plait.zeros(2)
    with plait.no_grad():
        x.copy_(w * 2)
    assert not x.requires_grad and x.tolist() == [2, 4]


def test_errors_name_both_lines():
    w = plait.Parameter([1.0, 2.0])
    view = w[:1]
    with pytest.raises(plait.errors.GradientError) as caught:
        view.zero_()
    first = test_errors_name_both_lines.__code__.co_firstlineno
    for line in (first + 1, first + 2, first + 4):
        assert f"test_views.py:{line}" in str(caught.value)
    y = w * 2
    with plait.no_grad():
        part = y[:1]
    with pytest.raises(plait.errors.GradientError, match="made while gradients were not recorded") as caught:
        part.add_(w[:1])
    for line in (first + 10, first + 12):
        assert f"test_views.py:{line}" in str(caught.value)
    wide = plait.zeros(2, 1).expand(2, 3)
    with pytest.raises(plait.errors.ArgumentError, match="expanded view") as caught:
        wide.add_(1)
    for line in (first + 15, first + 17):
        assert f"test_views.py:{line}" in str(caught.value)


def test_clone_copy_and_pickle():
    w = plait.Parameter([1.0, 2.0])
    (w.clone() * 3).sum().backward()
    assert w.grad.tolist() == [3, 3]
    for other in (copy.deepcopy(w), pickle.loads(pickle.dumps(w)), plait.Parameter(w)):
        assert type(other) is plait.Parameter and other.requires_grad and other.tolist() == [1, 2]
        with plait.no_grad():
            other.zero_()
        assert w.tolist() == [1, 2]
    half = plait.Tensor([1.5], dtype="bfloat16")
    assert pickle.loads(pickle.dumps(half)).dtype is plait.bfloat16
    with pytest.raises(plait.errors.GradientError, match="deeply"):
        copy.deepcopy(w * 2)


def test_looking_at_values():
    x = plait.Tensor([[1.5]])
    assert x.item() == float(x) == 1.5 and int(x) == 1 and bool(x) and f"{x:.2f}" == "1.50"
    assert plait.Tensor(3).__index__() == 3 and [10, 20, 30, 40][plait.Tensor(3)] == 40
    array = api.arange(4).numpy()
    assert array.flags.writeable and np.asarray(api.ones(2)).tolist() == [1, 1]
    assert np.asarray(api.ones(2), dtype=np.int8).dtype == np.int8
    with pytest.raises(ValueError, match=r"exactly one element\. Received: shape \(2,\)"):
        api.ones(2).item()
    with pytest.raises(ValueError, match=r"ambiguous.*\.any\(\)"):
        bool(api.ones(2))
    with pytest.raises(TypeError, match="Only an integer tensor is an index"):
        [1][plait.Tensor(0.0)]


def test_attributes():
    x = api.zeros(2, 3, dtype="float64")
    assert x.shape == (2, 3) and x.ndim == x.dim() == 2 and x.size == x.numel() == 6 and x.size(1) == 3
    assert x.size() == (2, 3) and x.itemsize == x.element_size() == 8 and x.nbytes == 48 and x.device == "cpu"
    assert x.is_floating_point() and not x.is_complex() and hash(x) == hash(x) and x in {x: 1}

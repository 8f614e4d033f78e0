"""Hooks on gradients; gradients of tensors that are no leaves; names of PyTorch that are explained, not there."""

from __future__ import annotations

import pytest

import plait
from plait.core.errors import GradientError


def test_hooks_replace_gradients():
    w = plait.ones(2, requires_grad=True)
    seen = []
    first = w.register_hook(lambda g: seen.append(g.tolist()))
    second = w.register_hook(lambda g: g * 2)
    y = w * 3
    y.register_hook(lambda g: g + 1)
    (y * 5).sum().backward()
    assert w.grad.tolist() == [36, 36] and seen == [[18, 18]]
    first.remove()
    second.remove()
    w.grad = None
    w.sum().backward()
    assert w.grad.tolist() == [1, 1] and len(seen) == 1


def test_complex_hooks_see_gradients():
    z = plait.tensor([1 + 2j], requires_grad=True)
    y = z * 1
    y.register_hook(lambda g: g * 1j)
    (y.real * 3 + y.imag).sum().backward()
    assert z.grad.tolist() == [(3 + 1j) * 1j]


def test_hooks_do_not_make_new_programs():
    w = plait.ones(3, requires_grad=True)
    for k in range(4):
        y = w * 2
        y.register_hook(lambda g, k=k: g * k)
        y.sum().backward()
    assert w.grad.tolist() == [12] * 3


def test_accumulated_and_retained():
    w = plait.ones(2, requires_grad=True)
    order = []
    w.register_post_accumulate_grad_hook(lambda leaf: order.append(leaf.grad.tolist()))
    y = w * 2
    assert not y.retains_grad
    y.retain_grad()
    z = (y * y).sum()
    z.backward(retain_graph=True)
    z.backward()
    assert y.retains_grad and y.grad.tolist() == [8, 8] and order == [[8, 8], [16, 16]]


def test_hooks_are_staged():
    w = plait.ones(2, requires_grad=True)
    w.register_hook(lambda g: g * 10)
    step = plait.jit(lambda: (w * 3).sum().backward())
    step()
    step()
    assert w.grad.tolist() == [60, 60]


def test_hooks_need_gradients():
    with pytest.raises(GradientError, match="register_hook needs a tensor that requires gradients"):
        plait.ones(2).register_hook(print)
    with pytest.raises(GradientError, match="Only leaves accumulate gradients"):
        (plait.ones(2, requires_grad=True) * 2).register_post_accumulate_grad_hook(print)
    with pytest.raises(TypeError, match="register_hook takes a function"):
        plait.ones(2, requires_grad=True).register_hook(5)


def test_names_that_are_not_there():
    x = plait.ones(2)
    for owner, name, advice in (
        (x, "cuda", "values live on the CPU"), (x, "to_sparse", "dense tensors"), (x, "map_", "pure_callback"),
        (plait, "sparse_coo_tensor", "dense tensors"), (plait, "compile", r"plait\.jit"), (plait, "abs_", r"x\.abs_\("),
        (plait, "channels_last", "row-major order"), (plait, "FloatTensor", r"plait\.tensor"),
    ):  # fmt: skip
        assert not hasattr(owner, name)
        with pytest.raises(AttributeError, match=advice):
            getattr(owner, name)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'$"):
        _ = x.nonsense
    with pytest.raises(TypeError, match="There is no complex32.*cfloat"):
        x.chalf()


def test_questions():
    x = plait.zeros(2, 3)
    assert x.nelement() == 6 and x.ndimension() == 2 and x.get_device() == -1 and x.is_cpu and not x.is_cuda
    assert x.is_signed() and x.is_same_size(plait.ones(2, 3)) and x.T.T.is_set_to(x.T.T) and not x.is_set_to(x.T)
    assert x.T.dim_order() == (1, 0) and x.data_ptr() == x.data_ptr() != 0 and not x.is_conj()
    assert plait.is_tensor(x) and plait.numel(x) == 6 and plait.tensor([3]).is_nonzero() and x.type() == "plait.float32"
    assert x.new_ones(2, dtype=plait.int8).dtype is plait.int8 and x.new_tensor([1]).dtype is plait.float32
    assert (
        x.half().dtype is plait.half
        and x.to(plait.ones(1, dtype="int8")).dtype is plait.int8
        and plait.long is plait.int64
    )
    assert x.to("cpu", plait.double).dtype is plait.float64 and x.to(x.dtype) is x and x.to(x.dtype, copy=True) is not x

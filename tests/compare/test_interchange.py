"""Tensors in the hands of other libraries: NumPy's functions, DLPack, einops, the Array API's tools, SciPy, sklearn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import plait
from plait.core.errors import ArgumentError, GradientError

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
compat = pytest.importorskip("array_api_compat")
extra = pytest.importorskip("array_api_extra")
einops = pytest.importorskip("einops")
einops_array_api = pytest.importorskip("einops.array_api")

A = np.array([1.0, -2.0, 3.0])
X = plait.tensor([0.5, 2.0, -1.5])
CUBE = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)


# NumPy

TENSORS = [
    lambda a, x: a + x, lambda a, x: x - a, lambda a, x: a @ x, lambda a, x: a > x, lambda a, x: a // x,
    lambda a, x: abs(a) ** x, lambda a, x: np.float64(2) * x, lambda a, x: np.sin(x), lambda a, x: np.add(a, x),
    lambda a, x: np.arctan2(x, a), lambda a, x: np.maximum(x, 1), lambda a, x: np.matmul(a, x),
    lambda a, x: np.isfinite(x), lambda a, x: np.rint(x), lambda a, x: np.logical_and(x, a), lambda a, x: np.sum(x),
    lambda a, x: np.std(x), lambda a, x: np.clip(x, 0, 1), lambda a, x: np.round(x), lambda a, x: np.cumsum(x),
    lambda a, x: np.add([1.0, 2.0, 3.0], x), lambda a, x: np.divmod(x, a)[1], lambda a, x: np.square(x),
]  # fmt: skip
ARRAYS = [
    lambda a, x: np.add.reduce(x), lambda a, x: np.multiply.outer(a, x), lambda a, x: np.concatenate([a, x]),
    lambda a, x: np.stack([x, x]), lambda a, x: np.where(a > 0, x, a), lambda a, x: np.asarray(x, dtype=np.float64),
    lambda a, x: np.array([x[0], x[1]]), lambda a, x: np.linalg.norm(x), lambda a, x: np.sort(x), lambda a, x: a[x > 0],
    lambda a, x: np.sin(x, out=np.empty(3)), lambda a, x: np.add(a, x, dtype=np.float64),
    lambda a, x: np.einsum("i,i->", a, x), lambda a, x: np.maximum.accumulate(x),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "number"), [("t", k) for k in range(len(TENSORS))] + [("a", k) for k in range(len(ARRAYS))]
)
def test_numpy(kind, number):
    """Functions of NumPy make tensors where plait has the function, and arrays elsewhere: never arrays of objects."""
    function = (TENSORS if kind == "t" else ARRAYS)[number]
    result, wanted = function(A, X), function(A, X.numpy())
    assert isinstance(result, plait.Tensor if kind == "t" else (np.ndarray, np.generic))
    assert np.asarray(result).dtype.kind == np.asarray(wanted).dtype.kind
    np.testing.assert_allclose(np.asarray(result), wanted, rtol=1e-5)


def test_numpy_in_place_and_gradients():
    a = A.copy()
    a += X
    np.testing.assert_allclose(a, A + X.numpy())
    p = plait.Parameter([1.0, 2.0])
    np.multiply(np.array([3.0, 4.0], np.float32), np.square(p)).sum().backward()
    assert p.grad.tolist() == [6, 16]
    assert plait.jit(lambda x: np.sin(x) + 1)(X).shape == (3,)
    with pytest.raises(GradientError, match=r"call \.detach\(\)\.numpy\(\)"):
        np.add.reduce(p)
    with pytest.raises(ArgumentError, match=r"use plait\.add\(\.\.\., out=x\)"):
        np.add(A, 1, out=plait.zeros(3))


# DLPack


@pytest.mark.parametrize("name", ["float32", "float64", "float16", "int8", "int64", "uint8", "bool", "complex64"])
@pytest.mark.parametrize("size", [0, 3, 1000])
def test_dlpack(name, size):
    values = np.arange(size).astype(name)
    ours = plait.asarray(values)
    for back in (torch.from_dlpack(ours), np.from_dlpack(ours), np.from_dlpack(ours, copy=True)):
        assert np.asarray(back).dtype == name and np.array_equal(np.asarray(back), values)
    with jax.enable_x64(True):
        arrays = [torch.from_numpy(values.copy()), values, jax.numpy.asarray(values)]
        assert np.array_equal(np.asarray(jax.numpy.from_dlpack(ours)), values) or not size
    for array in arrays:
        for made in (plait.from_dlpack(array), plait.asarray(array), plait.tensor(array)):
            assert made.dtype.name == name and np.array_equal(made.numpy(), values)


def test_dlpack_of_other_forms():
    bfloat = torch.arange(40, dtype=torch.bfloat16)
    for made in (plait.from_dlpack(bfloat), plait.asarray(bfloat), plait.tensor(bfloat)):
        assert made.dtype is plait.bfloat16 and torch.equal(torch.from_dlpack(made), bfloat)
    assert plait.from_dlpack(torch.arange(12).reshape(3, 4).T).tolist() == np.arange(12).reshape(3, 4).T.tolist()
    shared = plait.ones((100,))
    torch.from_dlpack(shared)[0] = 5
    assert shared[0].item() == 5
    source = torch.ones(100)
    copy = plait.tensor(source)
    source[0] = 7
    assert copy[0].item() == 1
    with pytest.raises(BufferError, match="detach"):
        plait.from_dlpack(torch.ones(3, requires_grad=True))
    with pytest.raises(ArgumentError, match="cannot be shared without a copy"):
        plait.from_dlpack(torch.ones(3), copy=False)


# einops, array_api_compat, array_api_extra


@pytest.mark.parametrize("module", [einops, einops_array_api], ids=["einops", "array_api"])
def test_einops(module):
    x = plait.asarray(CUBE)
    assert module.rearrange(x, "a b c -> c (a b)").tolist() == einops.rearrange(CUBE, "a b c -> c (a b)").tolist()
    assert module.repeat(x, "a b c -> b a r c", r=2).tolist() == einops.repeat(CUBE, "a b c -> b a r c", r=2).tolist()
    for name in ("min", "max", "sum", "mean", "prod"):
        result = module.reduce(x, "a (b d) c -> c d", name, d=3)
        np.testing.assert_allclose(result.numpy(), einops.reduce(CUBE, "a (b d) c -> c d", name, d=3), rtol=1e-5)
    packed, shapes = module.pack([x, x[:, :, 0]], "a b *")
    assert [t.tolist() for t in module.unpack(packed, shapes, "a b *")] == [x.tolist(), x[:, :, 0].tolist()]
    assert np.array_equal(module.asnumpy(x), CUBE) and module.rearrange([x, x], "l a b c -> l c (a b)").shape == (
        2,
        4,
        6,
    )


def test_einops_einsum_and_gradients():
    x = plait.asarray(CUBE).requires_grad_()
    result = einops.einsum(x, x, "a b c, a d c -> b d")
    np.testing.assert_allclose(result.detach().numpy(), np.einsum("abc,adc->bd", CUBE, CUBE))
    einops.reduce(x * x, "a b c -> c", "sum").sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * CUBE)
    assert einops.parse_shape(x, "a _ c") == {"a": 2, "c": 4}
    assert plait.jit(lambda v: einops.rearrange(v, "a b c -> (a b) c"))(x).shape == (6, 4)


def test_array_api_tools():
    x = plait.tensor([[1.0, 2.0], [3.0, 5.0]])
    a = x.numpy().copy()
    assert compat.array_namespace(x, 1.0, None) is compat.array_namespace(x, api_version="2024.12") is plait
    assert compat.is_array_api_obj(x) and not compat.is_lazy_array(x) and compat.is_writeable_array(x)
    assert (compat.device(x), compat.size(x), compat.to_device(x, "cpu") is x) == ("cpu", 4, True)
    pairs = [
        (extra.cov(x), np.cov(a)), (extra.kron(x, x), np.kron(a, a)), (extra.pad(x, 1), np.pad(a, 1)),
        (extra.sinc(x), np.sinc(a)), (extra.isclose(x, x), a == a), (extra.create_diagonal(x[0]), np.diag(a[0])),
        (extra.setdiff1d(x, x[0]), np.array([3, 5])), (extra.nunique(x), 4), (extra.atleast_nd(x, ndim=3), a[None]),
        (extra.one_hot(plait.tensor([1, 0]), 2), np.eye(2)[::-1]), (extra.at(x, 0).set(7.0, copy=True), [[7, 7], a[1]]),
        (extra.apply_where(x > 2, x, lambda v: v * 2, lambda v: -v), np.where(a > 2, a * 2, -a)),
    ]  # fmt: skip
    for ours, wanted in pairs:
        assert isinstance(ours, plait.Tensor)
        np.testing.assert_allclose(ours.numpy(), wanted, rtol=1e-5, atol=1e-6)


def test_scipy_and_sklearn():
    pytest.importorskip("sklearn")
    root = Path(__file__).parents[2]
    environment = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": str(root)}
    program = [sys.executable, Path(__file__).with_name("ecosystem.py")]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("0 of 1")

"""DLPack both ways, and how tensors print."""

from __future__ import annotations

import gc

import ml_dtypes
import numpy as np
import pytest

import plait
from plait.tensor import api, dlpack
from plait.tensor.repr import print_options

DTYPES = [np.float32, np.float64, np.float16, np.int8, np.int64, np.uint16, np.complex64, np.bool_]


@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip(dtype):
    x = api.ones(4, 16, dtype=dtype)
    array = np.from_dlpack(x)
    assert array.dtype == dtype and array.shape == (4, 16)
    assert array.ctypes.data == x.numpy().ctypes.data
    back = plait.Tensor(api.from_dlpack(x))
    assert back.dtype is x.dtype and api.from_dlpack(array).numpy().ctypes.data == array.ctypes.data


def test_lifetime():
    plait.sync()  # pending work holds imported memory
    gc.collect()
    before = len(dlpack._exported)
    array = np.from_dlpack(api.arange(100) * 2)
    gc.collect()
    assert len(dlpack._exported) == before + 1 and array.tolist() == list(range(0, 200, 2))
    del array
    gc.collect()
    assert len(dlpack._exported) == before
    capsule = api.ones(3).__dlpack__()
    assert len(dlpack._exported) == before + 1
    del capsule
    assert len(dlpack._exported) == before


def test_capsules():
    x = api.arange(6)
    for version in (None, (1, 0)):
        capsule = x.__dlpack__(max_version=version)
        assert api.from_dlpack(capsule).tolist() == [0, 1, 2, 3, 4, 5]
        with pytest.raises(plait.errors.ArgumentError, match="no unused DLPack capsule.*consumed once"):
            api.from_dlpack(capsule)
    assert x.__dlpack_device__() == (1, 0)
    copied = np.from_dlpack(x, copy=True)
    copied[0] = 9
    assert x[0].item() == 0
    half = api.ones(32, dtype="bfloat16")
    assert api.from_dlpack(half).dtype is plait.bfloat16


def test_import():
    read_only = np.arange(64.0)
    read_only.flags.writeable = False
    assert api.from_dlpack(read_only).tolist() == list(range(64))
    strided = api.from_dlpack(np.arange(12).reshape(3, 4).T[::2])
    np.testing.assert_array_equal(strided.numpy(), np.arange(12).reshape(3, 4).T[::2])
    assert api.from_dlpack(np.zeros((0, 3))).shape == (0, 3)
    with pytest.raises(plait.errors.ArgumentError, match="cannot be shared without a copy"):
        api.from_dlpack(np.arange(100)[::2], copy=False)
    with pytest.raises(plait.errors.GradientError, match=r"use x\.detach\(\)"):
        np.from_dlpack(plait.Parameter([1.0]))
    with pytest.raises(plait.errors.ArgumentTypeError, match="from_dlpack does not take a list"):
        api.from_dlpack([1, 2])


PRINTED = [
    (lambda: api.tensor(3), "tensor(3)"),
    (lambda: api.tensor([[1.0, 2.0]], dtype="float64"), "tensor([[1., 2.]], dtype=plait.float64)"),
    (lambda: api.tensor([1.0, 2.5, -0.25]), "tensor([ 1.0000,  2.5000, -0.2500])"),
    (lambda: api.tensor([1e-9, 1.5]), "tensor([1.0000e-09, 1.5000e+00])"),
    (lambda: api.tensor([1e10]), "tensor([1.0000e+10])"),
    (lambda: api.tensor([1.0, float("nan"), float("inf")]), "tensor([ 1., nan, inf])"),
    (lambda: api.tensor([True, False]), "tensor([ True, False])"),
    (lambda: api.tensor([[1, -20], [300, 4]]), "tensor([[  1, -20],\n        [300,   4]])"),
    (lambda: api.zeros(2, 2, 1), "tensor([[[0.],\n         [0.]],\n\n        [[0.],\n         [0.]]])"),
    (lambda: api.tensor([1 + 2j, -1.5j]), "tensor([ 1.0000+2.0000j, -0.0000-1.5000j])"),
    (lambda: api.zeros(0, 3), "tensor([], shape=(0, 3))"),
    (lambda: api.arange(2000), "tensor([   0,    1,    2, ..., 1997, 1998, 1999], shape=(2000,))"),
    (lambda: plait.Parameter([1.0]), "Parameter([1.], requires_grad=True)"),
    (lambda: plait.Parameter([1.0]) * 2, "tensor([2.], gradient of mul)"),
    (lambda: api.ones(1, dtype="bfloat16"), "tensor([1.], dtype=plait.bfloat16)"),
    (lambda: api.tensor(1.5, dtype="float8_e5m2"), "tensor(1.5000, dtype=plait.float8_e5m2)"),
]


@pytest.mark.parametrize(("make", "text"), PRINTED)
def test_repr(make, text):
    assert repr(make()) == str(make()) == text


def test_repr_of_large_and_long():
    text = repr(api.zeros(100, 100))
    assert text.count("\n") == 6 and "..." in text and text.endswith("shape=(100, 100))")
    assert max(map(len, repr(api.arange(100)).split("\n"))) <= print_options.line_width
    assert np.array([1.0], ml_dtypes.bfloat16).dtype.kind == "V"


def test_repr_of_abstract():
    seen = []
    plait.vmap(lambda x: seen.append(repr(x * 2)) or x)(api.ones(3, 2))
    assert seen[0].startswith("tensor(<abstract>, shape=(2,), dtype=plait.float32, recorded at ")
    assert "test_interchange.py:" in seen[0]

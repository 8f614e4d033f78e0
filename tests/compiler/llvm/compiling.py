"""Runs compiled loop IR on NumPy arrays, each in front of an unreadable page."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

from plait.compiler.llvm.emit import emit
from plait.compiler.llvm.jit import compile_module, load

PAGE = mmap.PAGESIZE
_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


def fenced(array):
    """A copy that ends where an unreadable page begins (a little before, if the dtype asks for it)."""
    pages = -(-max(array.nbytes, 1) // PAGE)
    memory = mmap.mmap(-1, (pages + 1) * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(address + pages * PAGE), ctypes.c_size_t(PAGE), 0) == 0
    whole = np.frombuffer(memory, np.uint8, pages * PAGE)
    whole[:] = 0xAB
    copy = whole[pages * PAGE - array.nbytes :].view(array.dtype) if array.nbytes else whole[:0].view(array.dtype)
    copy[:] = array
    return copy, whole[: pages * PAGE - array.nbytes]


def compile_function(function, target):
    """Compile one function; return a callable of (arrays, scalars, low, high)."""
    address = load(compile_module(emit(function, target), target), [function.name])[function.name]
    entry = _FUNCTION(address)

    def call(arrays, scalars, low, high):
        table = np.array([a.ctypes.data for a in arrays], np.uint64)
        args = np.array([*range(len(arrays)), *scalars], np.int64)
        entry(table.ctypes.data, args.ctypes.data, low, high)

    return call


def same_bits(a, b):
    """Equal, where any NaN equals any NaN and -0 differs from 0."""
    if a.dtype.kind not in "fV":
        return a == b
    with np.errstate(all="ignore"):
        x, y = a.astype("f8"), b.astype("f8")
    return (np.isnan(x) & np.isnan(y)) | ((x == y) & (np.signbit(x) == np.signbit(y)))


def assert_same(got, want, what="result"):
    """Fail with the first elements that differ."""
    wrong = np.nonzero(~same_bits(want, got))[0]
    assert not len(wrong), f"{what} at {wrong[:8]}: expected {want[wrong[:8]]}, got {got[wrong[:8]]}"

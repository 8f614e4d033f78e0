"""Compiles functions of expressions, samples their arguments and measures errors in units of the last place."""

from __future__ import annotations

import ctypes

import numpy as np

from plait.compiler.llvm.emit import emit
from plait.compiler.llvm.jit import compile_module, host_target, load
from plait.ir.build import Builder
from plait.ir.interp import evaluate
from plait.ir.loop import make

_ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
_serial = iter(range(1 << 30))


class Compiled:
    """A function of expressions, as machine code for flat arrays of its operands' dtype.

    `function` takes `count` expressions and returns a tuple of expressions.
    """

    def __init__(self, function, dtype, count):
        self.function, self.dtype, self.count = function, dtype, count
        b = Builder(f"sampled{next(_serial)}")
        size = b.scalar("size")
        inputs = [b.input(f"x{i}", dtype, size) for i in range(count)]
        self.dtypes = [e.dtype for e in function(*self.leaves())]
        outputs = [b.output(f"y{i}", result, size) for i, result in enumerate(self.dtypes)]
        with b.parallel(size, mark="vector") as i:
            for buffer, value in zip(outputs, function(*(b.load(x, i) for x in inputs)), strict=True):
                b.store(buffer, i, value)
        (unit,) = b.finish().functions
        order = {buffer.name: k for k, buffer in enumerate((*inputs, *outputs))}
        self.positions = [order[buffer.name] for buffer in unit.buffers]
        target = host_target()
        self.entry = _ENTRY(load(compile_module(emit(unit, target), target), [unit.name])[unit.name])

    def leaves(self):
        """Stand-ins for the operands."""
        return [make("scalar", (), self.dtype, f"x{i}") for i in range(self.count)]

    def __call__(self, *arrays):
        """The results as arrays."""
        arrays = [np.ascontiguousarray(a, self.dtype.numpy) for a in np.broadcast_arrays(*arrays)]
        results = [np.empty(arrays[0].size, d.numpy) for d in self.dtypes]
        both = [*arrays, *results]
        table = np.array([both[k].ctypes.data for k in self.positions], np.uint64)
        args = np.array([*range(len(both)), arrays[0].size], np.int64)
        self.entry(table.ctypes.data, args.ctypes.data, 0, arrays[0].size)
        return results

    def interpreted(self, *arrays):
        """The same by the interpreter."""
        leaves = self.leaves()
        env = dict(zip(leaves, arrays, strict=True))
        return [evaluate(e, env) for e in self.function(*leaves)]


def ulp_error(got, exact):
    """The distance of `got` from `exact` (of a wider dtype), in units of the last place of the dtype of `got`."""
    info = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        _, exponent = np.frexp(np.maximum(np.abs(exact), exact.dtype.type(info.smallest_normal)))
        error = np.abs(got.astype(exact.dtype) - exact) / np.ldexp(exact.dtype.type(1), exponent - info.nmant - 1)
        largest = exact.dtype.type(info.max) * (1 + exact.dtype.type(info.eps) / 4)
        right = (got == exact) | (np.isnan(got) & np.isnan(exact))
        right |= (np.abs(exact) >= largest) & (got == np.copysign(np.inf, exact))
    error = np.where(right, 0, error)
    return np.where(np.isnan(error), np.inf, error).astype(float)


def specials(dtype):
    """Zeros, infinities, NaN, the smallest and largest numbers, and a few small ones, of both signs."""
    info = np.finfo(dtype)
    small = [info.smallest_subnormal, info.smallest_normal, np.nextafter(info.smallest_normal, 0, dtype=dtype)]
    sizes = [0, *small, info.eps, 0.5, 1 - info.epsneg, 1, 1 + info.eps, 1.5, 2, 3, 1e5, 1e10, info.max, np.inf, np.nan]
    return np.array([*sizes, *(-s for s in sizes)], dtype)


def samples(dtype, count, seed=0):
    """Special values, any bit patterns, and numbers of several magnitudes."""
    random = np.random.default_rng(seed)
    bits = random.integers(0, 2 ** (8 * np.dtype(dtype).itemsize), count, dtype=f"u{np.dtype(dtype).itemsize}")
    near_one = 1 + random.uniform(-0.01, 0.01, count)
    ranges = [random.uniform(-limit, limit, count) for limit in (1, 10, 100, 750)]
    return np.concatenate([specials(dtype), bits.view(dtype), *(a.astype(dtype) for a in (*ranges, near_one))])

"""Compiles loop IR for several machines and compares with the interpreter, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from plait.compiler.llvm.jit import host_target, level_target
from plait.ir.check import check
from plait.ir.interp import run
from tests.compiler.llvm.compiling import assert_same, compile_function, fenced


@pytest.fixture(params=["host", "x86-64-v3", "x86-64"])
def target(request):
    """The machines to compile for."""
    if request.param == "host":
        return host_target()
    if not host_target().triple.startswith("x86_64") or (request.param != "x86-64" and host_target().vector_bytes < 32):
        pytest.skip("another processor")
    return level_target(request.param)


@pytest.fixture
def compiled(target):
    """`compiled(kernel, arrays, scalars)`: check, compile, run; return what became of the arrays."""

    def execute(kernel, arrays, scalars=()):
        check(kernel)
        pairs = [fenced(a) for a in arrays]
        actual = [copy for copy, _ in pairs]
        for function in kernel.functions:
            extent = function.extent.attr if function.extent.op == "const" else scalars[0]
            call = compile_function(function, target)
            for low, high in ((0, extent // 3), (extent // 3, extent)):
                call(actual, scalars, low, high)
        assert all((before == 0xAB).all() for _, before in pairs), "memory in front of an array was written"
        return actual

    return execute


@pytest.fixture
def agree(compiled):
    """`agree(kernel, arrays, scalars, tolerance)`: compare every array with the interpreter; return the arrays."""

    def compare(kernel, arrays, scalars=(), tolerance=None):
        expected = [a.copy() for a in arrays]
        for function in kernel.functions:
            run(function, expected, scalars, 0, scalars[0] if function.extent.op == "scalar" else None)
        actual = compiled(kernel, arrays, scalars)
        for k, (want, got) in enumerate(zip(expected, actual, strict=True)):
            assert_same(got, want, f"array {k}") if tolerance is None else np.testing.assert_allclose(
                got, want, rtol=tolerance, atol=tolerance
            )
        return actual

    return compare

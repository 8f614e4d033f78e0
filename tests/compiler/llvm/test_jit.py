"""Targets, compilation errors, and loading."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from plait.compiler.llvm.emit import emit
from plait.compiler.llvm.jit import compile_module, host_target, level_target, load
from plait.core.dtype import float32
from plait.core.errors import ArgumentError, InternalError
from plait.ir.build import Builder
from tests.compiler.llvm.compiling import compile_function


def scale(factor):
    """A kernel y = x * factor; all have the same name."""
    b = Builder("scale")
    x, y = b.input("x", float32, 20), b.output("y", float32, 20)
    with b.parallel(20, "vector") as i:
        b.store(y, i, b.load(x, i) * factor)
    return b.finish().functions[0]


def test_importing_does_not_load_llvm():
    """The first compilation does."""
    code = "import sys, plait.compiler.llvm.jit, plait.compiler.llvm.emit; sys.exit('llvmlite.binding' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_environment_restricts_the_processor(monkeypatch):
    """PLAIT_CPU names a level."""
    monkeypatch.setenv("PLAIT_CPU", "x86-64-v3")
    assert host_target.__wrapped__() == level_target("x86-64-v3")
    assert level_target("x86-64-v3").vector_bytes == 32
    monkeypatch.setenv("PLAIT_CPU", "z80")
    with pytest.raises(ArgumentError, match="Unknown processor level.*'z80'"):
        host_target.__wrapped__()


def test_functions_of_one_name_live_side_by_side():
    """Every object is a library of its own, and compilation gives the same bytes again."""
    target = host_target()
    double, triple = compile_function(scale(2.0), target), compile_function(scale(3.0), target)
    x, y, z = np.arange(20, dtype="f4"), np.zeros(20, "f4"), np.zeros(20, "f4")
    double([x, y], [], 0, 20)
    triple([x, z], [], 3, 20)
    assert (y == x * 2).all()
    assert (z[3:] == x[3:] * 3).all()
    assert not z[:3].any()
    text = emit(scale(2.0), target)
    assert compile_module(text, target) == compile_module(text, target)


def test_several_functions_in_one_module():
    """Texts may be concatenated."""
    target, functions = host_target(), [scale(1.0), scale(2.0)]
    functions[1].name = "other"
    addresses = load(compile_module("".join(emit(f, target) for f in functions), target), [f.name for f in functions])
    assert len(set(addresses.values())) == 2


def test_wrong_text_is_an_internal_error():
    """Whether it does not parse or does not verify."""
    for text in ("define nonsense", "define i32 @f() {\n ret void\n}"):
        with pytest.raises(InternalError, match="LLVM rejects"):
            compile_module(text, host_target())

"""Kernels in memory: found among those loaded, in the persistent cache, or compiled."""

from __future__ import annotations

import functools
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from plait.compiler.kernels import Source
from plait.compiler.llvm.emit import emit
from plait.compiler.llvm.jit import Target, compile_module, host_target, load
from plait.core import flags, journal
from plait.ir import printer
from plait.ir.loop import Expr, Kernel
from plait.runtime.cache import ObjectCache, object_cache

_OPERATIONS: dict[str, Any] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a // b if b else 0,
    "rem": lambda a, b: a % b if b else 0,
    "min": min,
    "max": max,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "select": lambda c, a, b: a if c else b,
}


def _encode(size: Any) -> Any:
    """A size as an integer, the name of a scalar, or [operation, operands...]."""
    if not isinstance(size, Expr):
        return int(size)
    if size.op in ("const", "scalar"):
        return size.attr
    return [size.op, *map(_encode, size.args)]


def evaluate_size(size: Any, scalars: dict[str, int]) -> int:
    """Compute an encoded size from the values of the scalars."""
    if isinstance(size, list):
        return int(_OPERATIONS[size[0]](*[evaluate_size(a, scalars) for a in size[1:]]))
    return scalars[size] if isinstance(size, str) else size


@dataclass(frozen=True, slots=True)
class LoadedKernel:
    """A kernel ready to run: (address, extent, grain) of its functions, the bytes of its workspaces, its rounds.

    `nbytes` is the size of its object code.
    """

    functions: tuple[tuple[int, Any, int], ...]
    scalars: tuple[str, ...]
    workspaces: tuple[Any, ...]
    rounds: Any
    nbytes: int


@dataclass(slots=True)
class CompileStatistics:
    """What compiling has cost this process so far."""

    compiled: int = 0
    from_cache: int = 0
    seconds: float = 0.0


statistics = CompileStatistics()
_loaded: dict[str, LoadedKernel] = {}


@functools.cache
def target() -> Target:
    """The machine that this process runs on."""
    return host_target()


@functools.cache
def cache() -> ObjectCache:
    """The persistent cache for this machine."""
    return object_cache(str(target()))


def load_kernel(source: Source) -> LoadedKernel:
    """Return the loaded kernel of `source`, compiling it if it is nowhere yet."""
    found = _loaded.get(source.key)
    if found is not None:
        journal.found("memory")
        return found
    with uninterrupted():
        return _found_or_compiled(source)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until a block ends: LLVM's objects are not to be left half made."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    received: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if received:
        raise KeyboardInterrupt


def _found_or_compiled(source: Source) -> LoadedKernel:
    with journal.timed("cache"):
        stored = cache().get(source.key)
    if stored is not None:
        statistics.from_cache += 1
        journal.found("disk")
    else:
        journal.found("compiled")
        stored = compile_source(source)
        with journal.timed("cache"):
            cache().put(source.key, stored)
    with journal.timed("load"):
        found = _loaded[source.key] = _load(stored)
    return found


def compile_source(source: Source) -> bytes:
    """Compile a kernel; returns its header and object code."""
    start = time.perf_counter()
    with journal.timed("lower"):
        kernel = source.write(source.name, target())
    flags.show("loop", lambda: printer.kernel(kernel))
    with journal.timed("emit"):
        text = llvm_text(kernel)
    flags.show("llvm", lambda: text)
    with journal.timed("llvm"):
        code = compile_module(text, target())
    header = json.dumps(_describe(kernel)).encode()
    statistics.compiled += 1
    statistics.seconds += time.perf_counter() - start
    return len(header).to_bytes(4, "little") + header + code


def llvm_text(kernel: Kernel) -> str:
    """Return the functions of a kernel as LLVM text."""
    return "\n".join(emit(f, target()) for f in kernel.functions)


def _describe(kernel: Kernel) -> dict[str, Any]:
    return {
        "functions": [[f.name, _encode(f.extent), f.grain] for f in kernel.functions],
        "scalars": kernel.functions[0].scalars if kernel.functions else [],
        "rounds": _encode(kernel.rounds),
        "workspaces": [["mul", _encode(w.size), w.dtype.itemsize] for w in kernel.workspaces],
    }


def _load(stored: bytes) -> LoadedKernel:
    size = int.from_bytes(stored[:4], "little")
    header = json.loads(stored[4 : 4 + size])
    names = [name for name, _, _ in header["functions"]]
    addresses = load(stored[4 + size :], names) if names else {}
    functions = tuple((addresses[name], extent, grain) for name, extent, grain in header["functions"])
    sizes = tuple(header["scalars"]), tuple(header["workspaces"]), header["rounds"]
    return LoadedKernel(functions, *sizes, len(stored) - 4 - size)

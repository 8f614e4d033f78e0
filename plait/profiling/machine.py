"""What the machine can do at most: arithmetic of its vector units and bytes from its memory, both measured."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

import numpy as np

from plait.compiler.llvm.jit import compile_module, host_target, load
from plait.runtime import host
from plait.runtime.program import ProgramBuilder

_SECONDS = 0.1  # that each measurement repeats
_TASKS = 64  # of each thread
_FMA_ROUNDS = 1000
_CHAINS = 12  # enough to hide the latency of two units, and registers for them exist everywhere
_BLOCK = 4096
_LEVELS = (1 << 18, 1 << 22, 1 << 27)  # bytes read again and again: of a core's cache, of a shared one, of memory


@dataclass(frozen=True, slots=True)
class Machine:
    """The best that was measured on this machine with its present number of threads.

    Attributes:
        flops: operations per second of float32 multiply-adds.
        bandwidths: (bytes, bytes per second) for data that is read repeatedly, from cache sizes to memory.
    """

    flops: float
    bandwidths: tuple[tuple[int, float], ...]

    def bandwidth(self, nbytes: float) -> float:
        """Return the bytes per second at which `nbytes` can be read."""
        return next((rate for size, rate in self.bandwidths if nbytes <= size), self.bandwidths[-1][1])

    def floor(self, flops: float, nbytes: float, width: int = 4) -> float:
        """Return the least seconds for an amount of work: max(operations / peak, bytes / bandwidth).

        Args:
            flops: operations.
            nbytes: bytes read and written.
            width: bytes of an element; float64 has half the peak.
        """
        return max(flops * max(1.0, width / 4) / self.flops, nbytes / self.bandwidth(nbytes))


def machine() -> Machine:
    """Return what the machine can do, measured at the first call with a number of threads; takes about half a second.

    Example:
        >>> plait.profiling.machine.machine().floor(flops=0, nbytes=1e9) > 0
        True
    """
    return _measured(host.thread_count())


@functools.cache
def _measured(threads: int) -> Machine:
    target = host_target()
    lanes = max(target.vector_bytes, 4) // 4
    symbols = load(compile_module(_multiply_add(lanes) + _read(lanes), target), ["peak_flops", "peak_bytes"])
    memory = np.ones(_LEVELS[-1] + 64, np.uint8)  # written: pages that never were are all the same one
    tasks = _TASKS * threads
    seconds = _best(symbols["peak_flops"], memory, tasks)
    flops = 2.0 * lanes * _CHAINS * _FMA_ROUNDS * tasks / seconds
    rates = [(size, size / _best(symbols["peak_bytes"], memory, size // _BLOCK)) for size in _LEVELS]
    return Machine(flops, tuple(rates))


def _best(function: int, memory: np.ndarray[tuple[int], np.dtype[np.uint8]], tasks: int) -> float:
    builder = ProgramBuilder()
    slot = builder.slot()
    builder.kernel(function, [slot], [], extent=tasks)
    program = builder.build()
    program.set(slot, -(-memory.ctypes.data // 64) * 64)
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while (start := time.perf_counter()) < end or best == float("inf"):
        program.run()
        best = min(best, time.perf_counter() - start)
    return best


def _memory_of_slot() -> str:
    return """
  %slot = load i64, ptr %args
  %at = getelementptr ptr, ptr %table, i64 %slot
  %memory = load ptr, ptr %at"""


def _multiply_add(lanes: int) -> str:
    """Independent chains of x = x * a + a. The memory is only written if a chain ends in NaN, which none does."""
    vector = f"<{lanes} x float>"
    zero, factor = "zeroinitializer", "splat (float 0x3FE0000000000000)"
    phis = "\n".join(f"  %x{k} = phi {vector} [ {zero}, %entry ], [ %y{k}, %loop ]" for k in range(_CHAINS))
    steps = "\n".join(
        f"  %y{k} = call {vector} @llvm.fmuladd.v{lanes}f32({vector} %x{k}, {vector} {factor}, {vector} {factor})"
        for k in range(_CHAINS)
    )
    sums = [f"  %s0 = fadd {vector} %y0, {zero}"]
    sums += [f"  %s{k} = fadd {vector} %s{k - 1}, %y{k}" for k in range(1, _CHAINS)]
    return f"""
declare {vector} @llvm.fmuladd.v{lanes}f32({vector}, {vector}, {vector})

define void @peak_flops(ptr %table, ptr %args, i64 %low, i64 %high) {{
entry:{_memory_of_slot()}
  %tasks = sub i64 %high, %low
  %rounds = mul i64 %tasks, {_FMA_ROUNDS}
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i1, %loop ]
{phis}
{steps}
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %rounds
  br i1 %more, label %loop, label %done
done:
{chr(10).join(sums)}
  %one = extractelement {vector} %s{_CHAINS - 1}, i32 0
  %never = fcmp uno float %one, %one
  br i1 %never, label %keep, label %end
keep:
  store {vector} %s{_CHAINS - 1}, ptr %memory, align 4
  br label %end
end:
  ret void
}}
"""


def _read(lanes: int) -> str:
    """Read blocks of memory into eight sums; written only if they are all ones, which the fill excludes."""
    vector, step = f"<{lanes} x i32>", 8 * 4 * lanes
    phis = "\n".join(f"  %x{k} = phi {vector} [ zeroinitializer, %entry ], [ %y{k}, %loop ]" for k in range(8))
    steps = "\n".join(
        f"  %p{k} = getelementptr i8, ptr %here, i64 {k * 4 * lanes}\n"
        f"  %v{k} = load {vector}, ptr %p{k}, align 4\n  %y{k} = or {vector} %x{k}, %v{k}"
        for k in range(8)
    )
    sums = [f"  %s0 = or {vector} %y0, %y0"] + [f"  %s{k} = or {vector} %s{k - 1}, %y{k}" for k in range(1, 8)]
    return f"""
define void @peak_bytes(ptr %table, ptr %args, i64 %low, i64 %high) {{
entry:{_memory_of_slot()}
  %first = mul i64 %low, {_BLOCK}
  %last = mul i64 %high, {_BLOCK}
  br label %loop
loop:
  %i = phi i64 [ %first, %entry ], [ %i1, %loop ]
{phis}
  %here = getelementptr i8, ptr %memory, i64 %i
{steps}
  %i1 = add i64 %i, {step}
  %more = icmp ult i64 %i1, %last
  br i1 %more, label %loop, label %done
done:
{chr(10).join(sums)}
  %one = extractelement {vector} %s7, i32 0
  %never = icmp eq i32 %one, -1
  br i1 %never, label %keep, label %end
keep:
  store {vector} %s7, ptr %memory, align 4
  br label %end
end:
  ret void
}}
"""

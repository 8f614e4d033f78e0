"""Debugging: where a NaN comes from, what holds the memory, keys used twice, values inside compiled code."""

from __future__ import annotations

from plait.debug.memory import MemoryStats
from plait.debug.nonfinite import nans
from plait.debug.printing import breakpoint, print
from plait.random.reuse import key_reuse

__all__ = ["MemoryStats", "breakpoint", "key_reuse", "nans", "print"]

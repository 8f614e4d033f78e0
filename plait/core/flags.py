"""Environment variables that plait reads, in one place."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable

STAGES = ("graph", "simplify", "fuse", "loop", "llvm")

debug: frozenset[str] = frozenset(s for s in os.environ.get("PLAIT_DEBUG", "").replace(" ", "").split(",") if s)
"""Stages of the compiler to print to standard error: any of `STAGES`, or "all"."""

if not debug <= {*STAGES, "all"}:
    unknown = ", ".join(sorted(debug - {*STAGES, "all"}))
    warnings.warn(f"PLAIT_DEBUG: unknown stage {unknown}; there are {', '.join(STAGES)} and all", stacklevel=1)

logs: frozenset[str] = frozenset(s for s in os.environ.get("PLAIT_LOG", "").replace(" ", "").split(",") if s)
"""What to report on standard error as it happens: "compile" prints a line for each compilation."""

if not logs <= {"compile"}:
    unknown = ", ".join(sorted(logs - {"compile"}))
    warnings.warn(f"PLAIT_LOG: unknown kind {unknown}; there is compile", stacklevel=1)

_limit = os.environ.get("PLAIT_MEMORY_LIMIT", "")
memory_limit: int | None = int(_limit) if _limit.isdecimal() else None
"""The most bytes that tensors may use, as `plait.set_memory_limit` sets it."""

if _limit and memory_limit is None:
    warnings.warn(f"PLAIT_MEMORY_LIMIT={_limit} is no number of bytes and has no effect", stacklevel=1)


def show(stage: str, text: Callable[[], str]) -> None:
    """Print `text()` where PLAIT_DEBUG names the stage."""
    if debug and (stage in debug or "all" in debug):
        print(f"# {stage}\n{text()}", file=sys.stderr)

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


def show(stage: str, text: Callable[[], str]) -> None:
    """Print `text()` where PLAIT_DEBUG names the stage."""
    if debug and (stage in debug or "all" in debug):
        print(f"# {stage}\n{text()}", file=sys.stderr)

"""Environment variables that plait reads, in one place."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

STAGES = ("graph", "simplify", "fuse", "loop", "llvm")

debug: frozenset[str] = frozenset(s for s in os.environ.get("PLAIT_DEBUG", "").replace(" ", "").split(",") if s)
"""Stages of the compiler to print to standard error: any of `STAGES`, or "all"."""


def show(stage: str, text: Callable[[], str]) -> None:
    """Print `text()` where PLAIT_DEBUG names the stage."""
    if debug and (stage in debug or "all" in debug):
        print(f"# {stage}\n{text()}", file=sys.stderr)

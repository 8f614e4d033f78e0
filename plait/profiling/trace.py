"""Traces in the JSON format of Chrome's trace viewer, which Perfetto reads too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plait.profiling.session import Kernel, Span

_PROCESS = 1
_PROGRAMS = 0  # the row of whole programs; that of thread k is k + 1


def text_of(
    kernels: Sequence[Kernel],
    spans: Iterable[Span],
    programs: Iterable[tuple[float, float]],
    memory: Iterable[tuple[float, int]],
) -> str:
    """Return a trace; see "Trace Event Format" (Google). Times are microseconds from the start of the profile."""
    spans = list(spans)
    threads = sorted({span.thread for span in spans})
    names = {_PROGRAMS: "programs"} | {t + 1: f"thread {t}" for t in threads}
    events: list[dict[str, Any]] = [_meta("process_name", 0, {"name": "plait"})]
    for row, name in names.items():
        events.append(_meta("thread_name", row, {"name": name}))
        events.append(_meta("thread_sort_index", row, {"sort_index": row}))
    events += [_complete("program", _PROGRAMS, begin, end, {}) for begin, end in programs]
    for span in spans:
        origin = kernels[span.kernel].origin
        notes = {"module": origin.place, "line": origin.line}
        events.append(_complete(origin.title, span.thread + 1, span.begin, span.end, notes))
    for seconds, nbytes in memory:
        events.append(
            {"name": "memory", "ph": "C", "ts": seconds * 1e6, "pid": _PROCESS, "args": {"bytes in use": nbytes}}
        )
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"})


def _meta(name: str, row: int, values: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "ph": "M", "ts": 0, "pid": _PROCESS, "tid": row, "args": values}


def _complete(name: str, row: int, begin: float, end: float, notes: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name, "cat": "plait", "ph": "X", "ts": begin * 1e6, "dur": max(0.0, end - begin) * 1e6,
        "pid": _PROCESS, "tid": row, "args": notes,
    }  # fmt: skip

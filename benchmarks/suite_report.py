"""The table and the plot of `suite.py`."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Iterable
from typing import Any

PEERS = ("torch", "torch.compile", "jax", "tf", "tf xla")
Row = dict[str, Any]


def fastest(row: Row, peers: Iterable[str] = PEERS) -> str | None:
    """Return the peer with the lowest median."""
    found = [p for p in peers if "median_s" in row["runs"].get(p, {})]
    return min(found, key=lambda p: row["runs"][p]["median_s"]) if found else None


def ratio(row: Row, ours: str = "plait jit", peers: Iterable[str] = PEERS, key: str = "median_s") -> float:
    """Return the fastest peer's median over ours; not a number where one of them is missing."""
    times = [row["runs"][p][key] for p in peers if "median_s" in row["runs"].get(p, {})]
    if not times or "median_s" not in row["runs"].get(ours, {}):
        return math.nan
    return min(times) / row["runs"][ours][key]


def ratio_text(row: Row, ours: str, peers: Iterable[str]) -> str:
    """Return the ratio of medians, and that of best times, which other processes on the machine disturb less."""
    median, best = (ratio(row, ours, peers, key) for key in ("median_s", "best_s"))
    if math.isnan(median):
        return "–"
    return f"{median:.2f} ({best:.2f})" if median >= 1 else f"**{median:.2f}** ({best:.2f})"


def time_text(seconds: float) -> str:
    for scale, unit in ((1, "s"), (1e3, "ms")):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def line(row: Row) -> str:
    """Return a row of the table."""
    ours, eager, peer = row["runs"].get("plait jit", {}), row["runs"].get("plait", {}), fastest(row)
    pair = lambda run: f"{time_text(run['median_s'])} ({time_text(run['best_s'])})" if "median_s" in run else "–"  # noqa: E731
    times = [pair(ours), pair(row["runs"][peer]) if peer else "–", peer or "–"]
    shown = [ratio_text(row, "plait jit", PEERS), ratio_text(row, "plait", ("torch",))]
    reached = f"{row['floor_s'] / ours['median_s']:.0%}" if "median_s" in ours else "–"
    first = [
        ours.get("first_s"),
        row["runs"].get("jax", {}).get("first_s"),
        row["runs"].get("torch.compile", {}).get("first_s"),
    ]
    firsts = " / ".join("–" if f is None else f"{f:.2g}" for f in first)
    memory = [r["peak_mib"] for p, r in row["runs"].items() if p in PEERS and "peak_mib" in r]
    peaks = f"{ours['peak_mib']:.0f}" if "peak_mib" in ours else "–"
    lowest = f"{min(memory):.0f}" if memory else "–"
    cells = [row["name"], *times, shown[0], pair(eager), shown[1], time_text(row["floor_s"]), reached, firsts]
    return f"| {' | '.join([*cells, f'{peaks} / {lowest}'])} |"


HEAD = (
    "| Case | plait.jit | fastest peer | which | ratio | plait eager | torch eager / plait eager | floor | reached "
    "| first call: plait / jax / torch.compile, s | peak memory: plait / lowest peer, MiB |"
)


def remarks(row: Row) -> list[str]:
    """Return what went wrong in a case."""
    return [
        f"{row['name']}, {n}: {r['error']}" for n, r in row["runs"].items() if "error" in r and not r.get("skipped")
    ]


def mean(ratios: Iterable[float]) -> tuple[float, int]:
    """Return the geometric mean of what are numbers, and how many these are."""
    logs = [math.log(r) for r in ratios if not math.isnan(r)]
    return (math.exp(sum(logs) / len(logs)) if logs else math.nan), len(logs)


def table(result: dict[str, Any]) -> str:
    """Return everything as Markdown."""
    rows = result["cases"]
    ratios = [ratio(r) for r in rows]
    average, count = mean(ratios)
    best, _ = mean(ratio(r, key="best_s") for r in rows)
    eager, eager_count = mean(ratio(r, "plait", ("torch",)) for r in rows)
    flops, bandwidth = result["peaks"]["flops"], result["peaks"]["bandwidth"]
    text = [
        f"{result['machine']}. {', '.join(f'{n} {v}' for n, v in result['versions'].items())}. {result['date']}.",
        "",
        "Times are median (best) of steps in turns. A ratio is the median of the fastest peer over that of `plait.jit`:"
        " above 1 plait is faster. The floor is the larger of FLOPs over the measured peak ("
        + ", ".join(f"{n} {v / 1e9:.0f} GFLOP/s" for n, v in flops.items())
        + ") and bytes over the measured bandwidth ("
        + ", ".join(f"{v / 1e9:.0f} GB/s at {n} MiB" for n, v in bandwidth.items())
        + "). Memory is the peak beyond what importing costs, compilation included.",
        "",
        f"Geometric mean of the ratios: {average:.2f} in {count} cases, {sum(r >= 1 for r in ratios)} of them at 1 or"
        f" more (of best times: {best:.2f}); eager against eager PyTorch: {eager:.2f} in {eager_count}.",
        "",
        HEAD,
        "| --- " * HEAD.count(" | ") + "| --- |",
        *[line(r) for r in rows],
    ]
    if wrong := [remark for r in rows for remark in remarks(r)]:
        text += ["", "Failed, or with other results than plait:", "", *[f"- {w}" for w in wrong]]
    return "\n".join(text) + "\n"


def plot(result: dict[str, Any], path: str) -> bool:
    """Draw the speed of each peer relative to plait as bars; returns whether matplotlib is installed."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    rows = [r for r in result["cases"] if not math.isnan(ratio(r))]
    figure_class = importlib.import_module("matplotlib.figure").Figure
    figure = figure_class(figsize=(10, 1.5 + 0.24 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows))
    colors = ["#2f6db3" if ratio(r) >= 1 else "#e07b39" for r in rows]
    axes.barh(places, [ratio(r) - 1 for r in rows], left=1, color=colors)
    for k, r in enumerate(rows):
        text = f" {ratio(r):.2f} {fastest(r)} "
        axes.text(ratio(r), k, text, va="center", ha="left" if ratio(r) >= 1 else "right", fontsize=7)
    axes.axvline(1, color="#777777", linewidth=1)
    axes.set_yticks(places, [r["name"] for r in rows], fontsize=7)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel("median of the fastest peer over that of plait.jit (above 1: plait is faster)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    return True

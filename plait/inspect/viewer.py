"""A page for the browser about a compiled function: the graph of its kernels, their lines, code and costs."""

from __future__ import annotations

import linecache
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from plait.compiler.pipeline import Value
from plait.core.graph import CONSTANT, Node
from plait.inspect.kernels import KernelReport
from plait.inspect.tables import count, duration, place, size

if TYPE_CHECKING:
    from plait.inspect.explanation import Version

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})
_WIDTH, _LINE, _GAP, _RISE = 250, 15, 24, 46  # of a box, a line of text in it, and the spaces between boxes
_MOST_OPERATIONS = 8  # that a box shows
_MOST_BESIDE = 6  # boxes in one row

_STYLE = """
:root { color-scheme: light dark; --line: #8888; --box: #8881; --mark: #3b82f6; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5rem; }
h1 code { font-size: 1.4rem; }
h2 { font-size: 1.15rem; margin-top: 2rem; border-top: 1px solid var(--line); padding-top: 1rem; }
table { border-collapse: collapse; }
td, th { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
td.text, th.text { text-align: left; }
td:not(.text) { white-space: nowrap; }
code, pre, svg text { font-family: ui-monospace, monospace; font-size: 12px; }
pre { background: var(--box); padding: .8rem; overflow: auto; max-height: 32rem; margin: .3rem 0; }
.graph { overflow: auto; max-height: 44rem; border: 1px solid var(--line); }
svg text { fill: currentColor; font-size: 11px; }
svg rect { fill: Canvas; stroke: var(--line); }
svg path { fill: none; stroke: var(--line); stroke-width: 1.2; }
.kernel { cursor: pointer; }
.kernel:hover rect, .kernel.chosen rect { stroke: var(--mark); stroke-width: 2; }
tr.kernel:hover, tr.chosen { background: var(--box); }
.kernel text.title { font-weight: 600; }
section.code { display: none; }
section.code.chosen { display: block; }
.bar { display: inline-block; height: .7em; background: var(--mark); vertical-align: baseline; }
"""

_SCRIPT = """
document.addEventListener("click", event => {
  const chosen = event.target.closest("[data-kernel]");
  if (!chosen) return;
  const name = chosen.dataset.kernel, scope = chosen.closest("article");
  for (const item of scope.querySelectorAll("[data-kernel], section.code"))
    item.classList.toggle("chosen", item.dataset.kernel === name || item.id === name);
  document.getElementById(name).scrollIntoView({block: "nearest"});
});
"""


def page(name: str, versions: Sequence[Version], seconds: Mapping[str, float]) -> str:
    """Return the page of a function.

    Args:
        name: of the function.
        versions: what was compiled.
        seconds: time of each kernel, by its name, as a profile measured it.
    """
    parts = [_version(k, version, seconds) for k, version in enumerate(versions, 1)]
    empty = "" if parts else "<p>It has not been called yet: nothing is compiled.</p>"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(name)}: compiled</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1><code>{escape(name)}</code></h1>\n{empty}"
        f"{''.join(parts)}<script>{_SCRIPT}</script></body></html>\n"
    )


def escape(text: str) -> str:
    """Return text as it is written in a page."""
    return text.translate(_ESCAPES)


def _version(number: int, version: Version, seconds: Mapping[str, float]) -> str:
    arguments = ", ".join(f"{name}: {text}" for name, text in version.arguments.items())
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in version.reasons)
    parts = [
        f"<h2>Version {number} <code>({escape(arguments)})</code></h2>",
        f"<p>Compiled for a call at {_line(version.record.source)}, because</p><ul>{reasons}</ul>",
        _passes(version),
    ]
    if version.split is not None:
        file, line = version.split
        parts.append(f"<p>Split at {_line(f'{file}:{line}')}: Python looks at a value there.</p>")
    elif version.inline:
        parts.append("<p>Its results require gradients: it is recorded anew in each call.</p>")
    else:
        ids = {id(k.step): f"v{number}-{k.name}" for k in version.kernels}
        distinct = {ids[id(k.step)]: k for k in version.kernels}
        parts += [
            _memory(version),
            f'<div class="graph">{_graph(version.kernels, ids)}</div>',
            _table(version, ids, seconds),
            *[_code(k, identifier) for identifier, k in distinct.items()],
        ]
    return f"<article>{''.join(parts)}</article>\n"


def _passes(version: Version) -> str:
    total = version.record.total or 1.0
    rows = "".join(
        f'<tr><td class="text">{escape(name)}</td><td>{duration(s)}</td>'
        f'<td class="text"><span class="bar" style="width: {200 * s / total:.0f}px"></span></td></tr>'
        for name, s in sorted(version.record.seconds.items(), key=lambda item: -item[1])
    )
    return f'<table><tr><th class="text">pass</th><th>{duration(version.record.total)}</th><th></th></tr>{rows}</table>'


def _memory(version: Version) -> str:
    r = version.record
    return (
        f"<p>{r.kernels} kernels: {r.origins['compiled']} compiled by LLVM, {r.origins['disk']} from disk, "
        f"{r.origins['memory']} known. Memory: {size(r.arena_bytes)} temporaries, {size(r.input_bytes)} inputs, "
        f"{size(r.output_bytes)} outputs, {r.donated} of them in the memory of inputs. A call: "
        f"{count(r.flops or 0, 'FLOP')}, {size(r.bytes_moved or 0)} moved.</p>"
    )


def _line(source: str) -> str:
    """A `file:line`, with the text of that line where the file can be read."""
    file, _, number = source.rpartition(":")
    text = linecache.getline(file, int(number)).strip() if number.isdigit() else ""
    code = f" <code>{escape(text)}</code>" if text else ""
    return f'<span title="{escape(source)}">{escape(place(source))}</span>{code}'


def _table(version: Version, ids: Mapping[int, str], seconds: Mapping[str, float]) -> str:
    head = "".join(f"<th>{text}</th>" for text in ("runs", "time", "FLOP", "moves", "code"))
    rows = []
    for k in version.kernels:
        time = duration(seconds[k.name]) if k.name in seconds else ""
        lines, modules = "<br>".join(map(_line, k.sources)), escape(", ".join(k.modules))
        cells = (f"{k.times:,}", time, count(k.flops), size(k.bytes_moved), size(version.code_bytes(k)))
        rows.append(
            f'<tr class="kernel" data-kernel="{ids[id(k.step)]}"><td class="text"><code>{escape(k.name)}</code></td>'
            f'<td class="text">{escape(k.title)}</td><td class="text">{lines}</td><td class="text">{modules}</td>'
            f"{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        )
    left = "".join(f'<th class="text">{text}</th>' for text in ("kernel", "operations", "lines", "modules"))
    return f"<table><tr>{left}{head}</tr>{''.join(rows)}</table>"


def _code(kernel: KernelReport, identifier: str) -> str:
    parts = (("Structure", kernel.structure), ("Loops", kernel.loops), ("LLVM", kernel.llvm))
    texts = "".join(
        f"<details{' open' * (title == 'Loops')}><summary>{title}</summary><pre>{escape(text)}</pre></details>"
        for title, text in parts
    )
    return f'<section class="code" id="{identifier}"><h3><code>{escape(kernel.name)}</code></h3>{texts}</section>'


# the graph


def _edges(kernels: Sequence[KernelReport]) -> list[tuple[int, int, int]]:
    """Return (number of the kernel that writes, of the one that reads, bytes) of every value between two kernels."""
    made: dict[Value, int] = {}
    edges: list[tuple[int, int, int]] = []
    for number, kernel in enumerate(kernels):
        reads, writes = kernel.operands
        edges += [(made[value], number, value.nbytes) for value in dict.fromkeys(reads) if value in made]
        made.update(dict.fromkeys(writes, number))
    return edges


def _rows(kernels: Sequence[KernelReport], edges: Sequence[tuple[int, int, int]]) -> list[list[int]]:
    """Return the kernels in rows, each below those whose results it reads, and near to them."""
    depth = [0] * len(kernels)
    above: dict[int, list[int]] = {}
    for source, reader, _ in edges:
        depth[reader] = max(depth[reader], depth[source] + 1)
        above.setdefault(reader, []).append(source)
    layers: dict[int, list[int]] = {}
    for number, layer in enumerate(depth):
        layers.setdefault(layer, []).append(number)
    column: dict[int, float] = {}
    rows: list[list[int]] = []
    for layer in sorted(layers):
        near = {n: [column[a] for a in above.get(n, ())] for n in layers[layer]}
        order = sorted(layers[layer], key=lambda n: (sum(near[n]) / len(near[n]) if near[n] else 0.0, n))
        column.update((n, position / len(order)) for position, n in enumerate(order))
        rows += [order[k : k + _MOST_BESIDE] for k in range(0, len(order), _MOST_BESIDE)]
    return rows


def _graph(kernels: Sequence[KernelReport], ids: Mapping[int, str]) -> str:
    """The kernels as boxes, with what they compute, and arrows for the values between them."""
    edges = _edges(kernels)
    rows = _rows(kernels, edges)
    box: dict[int, tuple[float, float, float]] = {}
    widest = max(map(len, rows), default=0) * (_WIDTH + _GAP)
    y = float(_GAP)
    for row in rows:
        heights = [_height(kernels[n]) for n in row]
        x = (widest - len(row) * (_WIDTH + _GAP)) / 2 + _GAP
        for n, height in zip(row, heights, strict=True):
            box[n] = (x, y, height)
            x += _WIDTH + _GAP
        y += max(heights) + _RISE
    arrows = "".join(_arrow(box[a], box[b], nbytes) for a, b, nbytes in edges)
    boxes = "".join(_box(kernels[n], *box[n], ids[id(kernels[n].step)]) for n in box)
    marker = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" style="fill: #888"/></marker></defs>'
    )
    size_of_it = f'width="{widest + _GAP}" height="{y:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size_of_it}>{marker}{arrows}{boxes}</svg>'


def _shown(kernel: KernelReport) -> list[str]:
    work = kernel.work
    lines = [_operation(node) for node in work[:_MOST_OPERATIONS]]
    return lines + ([f"… and {len(work) - _MOST_OPERATIONS} more"] if len(work) > _MOST_OPERATIONS else [])


def _operation(node: Node) -> str:
    avals = ", ".join(map(str, node.avals))
    scalars = [str(i.value) for i in node.inputs if i.prim is CONSTANT]
    arguments = f"({', '.join(scalars)})" if scalars else ""
    return f"{node.prim.name}{arguments} {avals}  {place(node.source)}"


def _height(kernel: KernelReport) -> int:
    return _LINE * (len(_shown(kernel)) + 2)


def _box(kernel: KernelReport, x: float, y: float, height: float, identifier: str) -> str:
    lines = "".join(
        f'<text x="{x + 8:.0f}" y="{y + _LINE * (k + 2.2):.0f}">{escape(_cut(text))}</text>'
        for k, text in enumerate(_shown(kernel))
    )
    tip = escape("\n".join([kernel.name, *map(_operation, kernel.work), *kernel.sources]))
    return (
        f'<g class="kernel" data-kernel="{identifier}"><title>{tip}</title>'
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{_WIDTH}" height="{height:.0f}" rx="5"/>'
        f'<text class="title" x="{x + 8:.0f}" y="{y + _LINE * 1.1:.0f}">{escape(_cut(kernel.title))}</text>{lines}</g>'
    )


def _cut(text: str) -> str:
    most = _WIDTH // 7
    return text if len(text) <= most else text[: most - 1] + "…"


def _arrow(start: tuple[float, float, float], end: tuple[float, float, float], nbytes: int) -> str:
    x1, y1 = start[0] + _WIDTH / 2, start[1] + start[2]
    x2, y2 = end[0] + _WIDTH / 2, end[1]
    middle = max(_RISE / 2, (y2 - y1) / 2)
    aside = (_WIDTH + _GAP) * 0.7 if y2 - y1 > _RISE * 2 and abs(x1 - x2) < _WIDTH else 0.0  # around what is between
    bend = f"{x1 + aside:.0f} {y1 + middle:.0f} {x2 + aside:.0f} {y2 - middle:.0f}"
    curve = f"M{x1:.0f} {y1:.0f}C{bend} {x2:.0f} {y2:.0f}"
    return f'<path d="{curve}" marker-end="url(#tip)"><title>{size(nbytes)}</title></path>'

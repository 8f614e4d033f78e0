"""Random programs of views, writes and reads: made once, run by any library, shrunk and printed where two differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

SHAPES = ((4, 6), (2, 3, 4), (6,), (1, 5), (3, 1, 2))


@dataclass(frozen=True)
class Line:
    """One line of Python: `text` with `source` as x and `other` as y; a write has no `result`."""

    result: str
    source: str
    text: str
    other: str = ""
    prefix: str = ""

    def __str__(self) -> str:
        text = self.text.format(x=self.source, y=self.other)
        return self.prefix + (f"{self.result} = {text}" if self.result else text)


def views_of(shape: tuple[int, ...], random: np.random.Generator) -> list[tuple[str, tuple[int, ...]]]:
    """Texts of views of a tensor of `shape` that NumPy, PyTorch and plait agree on, with their shapes."""
    rank, found = len(shape), []
    model = np.empty(shape)
    if rank:
        axis = int(random.integers(rank))
        n = shape[axis]
        low = int(random.integers(n))
        high = int(random.integers(low, n)) + 1
        stride = int(random.integers(1, 3))
        part = ["slice(None)"] * rank
        for cut in (f"slice({low}, {high})", f"slice({low}, None, {stride})", f"{low}", f"{low - n}"):
            part[axis] = cut
            found.append(f"{{x}}[({', '.join(part)}, ...)]")
        found += ["{x}[..., None]", "{x}[None]"]
    found += [f"transpose({{x}}, {(*range(1, rank), 0)})"] if rank > 1 else []
    found += [f"diagonal({{x}}, {int(random.integers(-1, 2))})"] if rank >= 2 and min(shape[:2]) > 1 else []
    found += ["squeeze({x})"] if 1 in shape else []
    found += ["alias({x})"]
    wide = {"slice": slice, "transpose": np.transpose, "diagonal": np.diagonal, "squeeze": np.squeeze}
    space = {**wide, "alias": lambda x: x[...], "x": model}
    return [(text, eval(text.format(x="x"), space).shape) for text in found]


class Maker:
    """Makes a random program of `count` lines on a base `a` of a random shape, and others of the shape of `a`."""

    def __init__(
        self, seed: int, count: int, operations: Callable[[Maker], None], others: tuple[str, ...] = ()
    ) -> None:  # fmt: skip
        self.random = np.random.default_rng(seed)
        self.shape = SHAPES[self.random.integers(len(SHAPES))]
        self.shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("a", *others), self.shape)
        self.numbers_only: set[str] = set()  # to which, and to views of which, nothing but numbers is written
        self.lines: list[Line] = []
        while len(self.lines) < count:
            operations(self)

    def name(self) -> str:
        """A tensor that exists."""
        names = list(self.shapes)
        return names[int(self.random.integers(len(names)))]

    def fitting(self, name: str) -> str:
        """A tensor that broadcasts to the one called `name`, or a number."""
        shape = self.shapes[name]
        fits = [n for n, s in self.shapes.items() if _broadcasts(s, shape) and name not in self.numbers_only]
        number = f"{self.random.normal():.3f}"
        return fits[int(self.random.integers(len(fits)))] if fits and self.random.random() < 0.6 else number

    def add(
        self, source: str, text: str, shape: tuple[int, ...] | None, other: str = "", prefix: str = ""
    ) -> None:  # fmt: skip
        """Add a line whose result has `shape`; None: it has no result."""
        result = "" if shape is None else f"t{len(self.lines)}"
        self.lines.append(Line(result, source, text, other, prefix))
        if shape is not None:
            self.shapes[result] = shape
            if source in self.numbers_only or ".detach()" in text:
                self.numbers_only.add(result)


def _broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    pairs = zip(small[::-1], large[::-1], strict=False)
    return len(small) <= len(large) and all(a in (1, b) for a, b in pairs)


def values_only(maker: Maker) -> None:
    """Add a view, a read or a write."""
    kind, source = maker.random.random(), maker.name()
    shape = maker.shapes[source]
    if kind < 0.45:
        found = views_of(shape, maker.random)
        text, result = found[int(maker.random.integers(len(found)))]
        if 0 not in result:
            maker.add(source, text, result)
    elif kind < 0.6:
        maker.add(source, "{x} * 0.5 + {y}", shape, maker.fitting(source))
    else:
        texts = ("{x} += {y}", "{x} *= {y}", "{x}[...] = {y}", "{x} -= {y}")
        maker.add(source, texts[int(maker.random.integers(len(texts)))], None, maker.fitting(source))


def needed(lines: list[Line], drop: int) -> list[Line] | None:
    """`lines` without one, and without what needs its result."""
    gone: set[str] = set()
    kept = []
    for k, line in enumerate(lines):
        if k == drop or gone & {line.source, line.other}:
            gone |= {line.result} - {""}
        else:
            kept.append(line)
    return kept if len(kept) < len(lines) else None


def shrunk(lines: list[Line], differs: Callable[[list[Line]], bool]) -> list[Line]:
    """The shortest program found, by leaving out lines, for which `differs` still holds."""
    changed = True
    while changed:
        changed = False
        for k in reversed(range(len(lines))):
            shorter = needed(lines, k)
            if shorter is not None and differs(shorter):
                lines, changed = shorter, True
                break
    return lines


def text_of(shape: tuple[int, ...], lines: list[Line]) -> str:
    """A program as Python."""
    return "\n".join([f"a = base{shape}", *map(str, lines)])


def execute(lines: list[Line], space: dict[str, Any]) -> Iterator[None]:
    """Run a program in `space`, which holds `a` and the functions; yields after each line."""
    for line in lines:
        exec(str(line), space)
        yield

"""Random sequences of views and writes under autograd: values, gradients and errors are those of PyTorch.

What requires gradients is not written to detached views: PyTorch keeps its history when the value is long another.
Where PyTorch refuses what plait computes, a line is left out: operands that overlap in memory, and looks at a view
that was made under `no_grad` of what was written since. Where it refuses to differentiate because a value was
overwritten, its gradients are those that it gives where copies of values are saved.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import plait
from tests.tensor.sequences import Line, Maker, shrunk, text_of, views_of

torch = pytest.importorskip("torch")

_ONLY_TORCH = ("another view of its base has been modified", "single memory location. Please clone")


def operations(maker: Maker) -> None:
    """Add a view, a detached or expanded one, a read, or a write, with or without recording gradients."""
    kind, source = maker.random.random(), maker.name()
    shape = maker.shapes[source]
    prefix = "with no_grad(): " if maker.random.random() < 0.15 else ""
    if kind < 0.4:
        found = views_of(shape, maker.random)
        text, result = found[int(maker.random.integers(len(found)))]
        if 0 not in result:
            maker.add(source, text, result, prefix=prefix)
    elif kind < 0.47:
        maker.add(source, "{x}.detach()", shape)
    elif kind < 0.5:
        wide = (2, *shape)
        maker.add(source, f"{{x}}.expand{wide}", wide)
    elif kind < 0.72:
        texts = ("{x} * {y}", "{x}.sin() + {y}", "{x}.exp()")
        maker.add(source, texts[int(maker.random.integers(3))], shape, maker.fitting(source), prefix)
    else:
        texts = ("{x}.add_({y})", "{x}.mul_({y})", "{x}.copy_(as_tensor({y}))", "{x}.sin_()", "{x}[...] = {y}")
        maker.add(source, texts[int(maker.random.integers(5))], None, maker.fitting(source), prefix)


def functions(library: Any) -> dict[str, Any]:
    def as_tensor(value: Any) -> Any:
        return value if isinstance(value, library.Tensor) else library.tensor(value, dtype=library.float64)

    return {
        "transpose": library.permute, "diagonal": library.diagonal, "squeeze": library.squeeze,
        "alias": lambda x: x[...],
        "as_tensor": as_tensor, "no_grad": library.no_grad,
    }  # fmt: skip


def run(lines: list[Line], space: dict[str, Any], skipped: dict[int, str]) -> Iterator[tuple[int, str]]:
    """Run a program; yields (line, error) and goes on after an error without the line and what needs it."""
    for k, line in enumerate(lines):
        needs = {line.source, line.other} if line.other[:1].isalpha() else {line.source}
        if k in skipped or not needs <= space.keys():
            continue
        try:
            exec(str(line), space)
        except (RuntimeError, plait.errors.PlaitError) as error:
            yield k, str(error)


def outcome(shape: tuple[int, ...], lines: list[Line], library: Any, skipped: dict[Any, str]) -> dict[str, Any]:
    """Errors by line, then values, `requires_grad` and the gradients of the leaves."""
    start = np.linspace(-1.0, 1.0, int(np.prod(shape))).reshape(shape)
    w = library.tensor(start * 0.5, dtype=library.float64, requires_grad=True)
    space = {**functions(library), "w": w, "a": library.tensor(start, dtype=library.float64) + w * 0.5}
    errors = dict(run(lines, space, skipped))
    tensors = {k: v for k, v in space.items() if isinstance(v, library.Tensor)}
    result: dict[str, Any] = {"errors": errors}
    result |= {k: np.array(v.detach().numpy()) for k, v in tensors.items()}
    result |= {f"{k}.requires_grad": v.requires_grad for k, v in tensors.items()}
    terms = []
    for name, v in tensors.items():
        if v.requires_grad and name not in skipped:
            weights = library.tensor(np.cos(np.arange(v.numel())).reshape(tuple(v.shape)), dtype=library.float64)
            try:
                terms.append((v * weights).sum())
            except RuntimeError as error:
                errors[name] = str(error)
    try:
        sum(terms).backward()
    except RuntimeError as error:
        if not any(text in str(error) for text in _ONLY_TORCH):
            raise
        return result
    result["w.grad"] = np.zeros(shape) if w.grad is None else np.array(w.grad.numpy())
    return result


def by_torch(
    shape: tuple[int, ...], lines: list[Line], skipped: dict[Any, str] | None = None
) -> tuple[dict[str, Any], dict[Any, str]]:
    """What PyTorch gives, and the lines that only it refuses, `skipped` among them."""
    skipped = dict(skipped or {})
    while True:
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t.detach().clone(), lambda t: t):
            found = outcome(shape, lines, torch, skipped)
        only = {k: e for k, e in found["errors"].items() if any(text in e for text in _ONLY_TORCH)}
        if not only:
            return found, skipped
        first = next(iter(only))
        skipped[first] = only[first]


def difference(shape: tuple[int, ...], lines: list[Line]) -> str:
    """What differs first, or an empty text."""
    wanted, skipped = by_torch(shape, lines)
    found = outcome(shape, lines, plait, skipped)
    more = {k: e for k, e in wanted["errors"].items() if k not in found["errors"] and "created in no_grad mode" in e}
    if more:  # plait knows that the value overwritten was a constant
        wanted, skipped = by_torch(shape, lines, more)
        found = outcome(shape, lines, plait, skipped)
    if wanted["errors"].keys() != found["errors"].keys():
        return f"errors of plait {found['errors']}\nof PyTorch {wanted['errors']}"
    for name, value in wanted.items():
        if name.endswith(".requires_grad"):  # PyTorch says yes also of what a gradient of zero flows to
            if found[name] and not value:
                return f"{name} is True"
        elif name != "errors" and not (
            np.shape(value) == np.shape(found[name]) and np.allclose(value, found[name], 1e-12, 1e-12, equal_nan=True)
        ):
            return f"{name} is\n{found[name]}\nnot\n{value}"
    return ""


@pytest.mark.parametrize("seed", range(80))
def test_as_in_torch(seed: int) -> None:
    maker = Maker(seed, 12, operations, others=("w",))
    if difference(maker.shape, maker.lines):
        lines = shrunk(maker.lines, lambda some: bool(difference(maker.shape, some)))
        pytest.fail(f"{text_of(maker.shape, lines)}\n{difference(maker.shape, lines)}", pytrace=False)

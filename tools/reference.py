"""Write docs/reference/: a page for each public namespace, from the docstrings, with the peers' names.

    python tools/reference.py           the pages
    python tools/reference.py --peers   first tools/peers.json, which needs PyTorch and JAX

A test checks that the pages are current; the tests of the docstrings run their examples.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"
PEERS = ROOT / "tools" / "peers.json"
sys.path.insert(0, str(ROOT))

import plait  # noqa: E402
from plait.testing.surface import NAMESPACES, module_of, public_functions  # noqa: E402

# where the peers keep what plait keeps in a namespace
PLACES = {
    "plait": {"NumPy": ("numpy",), "PyTorch": ("torch", "torch.func"), "JAX": ("jax.numpy", "jax", "jax.lax")},
    "plait.linalg": {"NumPy": ("numpy.linalg",), "PyTorch": ("torch.linalg",), "JAX": ("jax.numpy.linalg",)},
    "plait.fft": {"NumPy": ("numpy.fft",), "PyTorch": ("torch.fft",), "JAX": ("jax.numpy.fft",)},
    "plait.special": {"NumPy": ("scipy.special",), "PyTorch": ("torch.special",), "JAX": ("jax.scipy.special",)},
    "plait.signal.windows": {"NumPy": ("scipy.signal.windows",), "PyTorch": ("torch.signal.windows",), "JAX": ()},
    "plait.masked": {"NumPy": ("numpy.ma",), "PyTorch": ("torch.masked",), "JAX": ()},
    "plait.random": {"NumPy": ("numpy.random",), "PyTorch": (), "JAX": ("jax.random",)},
    "plait.nn.functional": {"NumPy": (), "PyTorch": ("torch.nn.functional",), "JAX": ("jax.nn", "jax.numpy")},
}  # fmt: skip
# peers' functions of another name
OTHER_NAMES = {
    "NumPy": {
        "plait.cat": "concatenate", "plait.concat": "concatenate", "plait.permute": "transpose",
        "plait.permute_dims": "transpose", "plait.clamp": "clip", "plait.amax": "max", "plait.amin": "min",
        "plait.mul": "multiply", "plait.sub": "subtract", "plait.div": "divide", "plait.neg": "negative",
        "plait.mm": "matmul", "plait.bmm": "matmul", "plait.unsqueeze": "expand_dims", "plait.topk": "partition",
        "plait.masked_select": "extract", "plait.cumulative_sum": "cumsum", "plait.cumulative_prod": "cumprod",
        "plait.gather": "take_along_axis", "plait.broadcast_tensors": "broadcast_arrays", "plait.eq": "equal",
        "plait.ne": "not_equal", "plait.lt": "less", "plait.le": "less_equal", "plait.gt": "greater",
        "plait.ge": "greater_equal", "plait.erf": None, "plait.movedim": "moveaxis", "plait.logical_not": "logical_not",
        "plait.repeat_interleave": "repeat", "plait.index_select": "take", "plait.histc": "histogram",
    },
    "PyTorch": {
        "plait.grad": "torch.func.grad", "plait.astype": "torch.Tensor.to", "plait.permute_dims": "permute",
        "plait.concat": "cat", "plait.expand_dims": "unsqueeze", "plait.broadcast_arrays": "broadcast_tensors",
        "plait.cumulative_sum": "cumsum", "plait.cumulative_prod": "cumprod", "plait.take_along_axis": "take_along_dim",
        "plait.bitwise_invert": "bitwise_not", "plait.matrix_transpose": "torch.Tensor.mT", "plait.power": "pow",
        "plait.unique_values": "unique", "plait.jit": "torch.compile", "plait.load": "safetensors.torch.load_file",
        "plait.save": "safetensors.torch.save_file", "plait.checkpoint": "torch.utils.checkpoint.checkpoint",
    },
    "JAX": {
        "plait.custom_jvp": "jax.custom_jvp", "plait.cat": "concatenate", "plait.concat": "concat",
        "plait.cond": "jax.lax.cond", "plait.mm": "matmul", "plait.bmm": "matmul", "plait.gather": "take_along_axis",
        "plait.topk": "jax.lax.top_k", "plait.clamp": "clip", "plait.unsqueeze": "expand_dims", "plait.mul": "multiply",
        "plait.sub": "subtract", "plait.div": "divide", "plait.neg": "negative", "plait.permute": "permute_dims",
        "plait.checkpoint": "jax.checkpoint", "plait.index_select": "take", "plait.repeat_interleave": "repeat",
    },
}  # fmt: skip


def collect_peers() -> None:
    """Write down which functions of plait each peer has under the same name."""
    found: dict[str, dict[str, str]] = {}
    for full_name, _ in public_functions():
        namespace, _, name = full_name.rpartition(".")
        for peer, places in PLACES[namespace].items():
            for place in places:
                if callable(getattr(_imported(place), name, None)):
                    found.setdefault(peer, {})[full_name] = f"{place}.{name}"
                    break
    PEERS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _imported(place: str) -> Any:
    try:
        return importlib.import_module(place)
    except ImportError:
        parent, _, name = place.rpartition(".")
        return getattr(importlib.import_module(parent), name, None)


def peer_names(full_name: str, known: dict[str, dict[str, str]]) -> str:
    """Return a line that names the function in NumPy, PyTorch and JAX, as far as they have it."""
    parts = []
    for peer in ("NumPy", "PyTorch", "JAX"):
        name = known.get(peer, {}).get(full_name) or OTHER_NAMES[peer].get(full_name)
        if name:
            places = PLACES[full_name.rpartition(".")[0]][peer]
            parts.append(f"{peer} `{name if '.' in name else f'{places[0]}.{name}'}`")
    return " · ".join(parts)


def sections(namespace: str) -> Iterator[tuple[str, Callable[..., Any], list[str]]]:
    """Yield (first name, function, other names) of a namespace."""
    names: dict[int, list[str]] = {}
    functions: dict[int, Callable[..., Any]] = {}
    for full_name, function in public_functions():
        if full_name.rpartition(".")[0] == namespace:
            names.setdefault(id(function), []).append(full_name)
            functions[id(function)] = function
    for key, function in functions.items():
        own = f"{namespace}.{getattr(function, '__name__', '')}"
        first = own if own in names[key] else names[key][0]
        yield first, function, [n for n in names[key] if n != first]


def page(namespace: str, known: dict[str, dict[str, str]]) -> str:
    """Return the text of the page of a namespace."""
    module = module_of(namespace)
    lines = [f"# {namespace}", "", f"{(module.__doc__ or '').strip().splitlines()[0]}", ""]
    lines += ["Generated from the docstrings by `python tools/reference.py`; the tests run every example.", ""]
    for name, function, aliases in sorted(sections(namespace), key=lambda s: s[0]):
        lines += [f"## {name}", "", "```python", f"{name}{_signature(function)}", "```", ""]
        lines += [_markdown(inspect.cleandoc(function.__doc__ or "")), ""]
        if aliases:
            lines += ["Also called " + ", ".join(f"`{a}`" for a in aliases) + ".", ""]
        peers = peer_names(name, known)
        if peers:
            lines += [f"Elsewhere: {peers}", ""]
    return "\n".join(lines)


def _signature(function: Callable[..., Any]) -> str:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return "(...)"
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return re.sub(r" at 0x[0-9a-f]+", "", str(signature.replace(parameters=plain, return_annotation=signature.empty)))


_ENTRY = re.compile(r"^    (\*{0,2}\w+): ")


def _markdown(text: str) -> str:
    """Turn the sections of a docstring into Markdown."""
    lines: list[str] = []
    block = ""
    for line in text.splitlines():
        if line in ("Args:", "Returns:", "Raises:", "Example:"):
            if block == "Example:":
                lines.append("```")
            block = line
            lines += [f"**{line.rstrip(':')}**", ""]
            if block == "Example:":
                lines.append("```python")
        elif block == "Example:":
            lines.append(line.removeprefix("    "))
        elif block in ("Args:", "Raises:") and _ENTRY.match(line):
            lines.append(_ENTRY.sub(r"- `\1`: ", line))
        else:
            lines.append(textwrap.dedent(line) if block == "Returns:" else line.removeprefix("    "))
    if block == "Example:":
        while lines and not lines[-1].strip():
            lines.pop()
        lines.append("```")
    return "\n".join(lines)


def pages() -> dict[Path, str]:
    """Return the text of every page."""
    known = json.loads(PEERS.read_text(encoding="utf-8"))
    made = {
        FOLDER / f"{n.removeprefix('plait.') if n != 'plait' else 'functions'}.md": page(n, known) for n in NAMESPACES
    }
    index = ["# Reference", "", f"plait {plait.__version__}: every public function, by namespace.", ""]
    index += [f"- [{path.stem}]({path.name})" for path in made]
    return {**made, FOLDER / "index.md": "\n".join([*index, ""])}


if __name__ == "__main__":
    if "--peers" in sys.argv:
        collect_peers()
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    print(f"wrote {len(pages())} pages in {FOLDER.relative_to(ROOT)}")

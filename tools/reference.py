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

CLASSES = (
    "plait.nn", "plait.nn.init", "plait.nn.utils", "plait.nn.utils.parametrize", "plait.nn.utils.parametrizations",
    "plait.nn.utils.rnn", "plait.optim", "plait.optim.schedules", "plait.optim.lr_scheduler", "plait.optim.swa_utils",
    "plait.amp", "plait.data", "plait.data.transforms", "plait.metrics", "plait.metrics.functional", "plait.train",
    "plait.train.loggers", "plait.io",
)  # fmt: skip
# where the peers keep what plait keeps in a namespace; the first place that has a name counts
PLACES = {
    "plait": {
        "NumPy": ("numpy",), "PyTorch": ("torch", "torch.func", "torch.nn.functional"),
        "JAX": ("jax.numpy", "jax", "jax.lax", "jax.nn"),
    },
    "plait.linalg": {"NumPy": ("numpy.linalg",), "PyTorch": ("torch.linalg",), "JAX": ("jax.numpy.linalg",)},
    "plait.fft": {"NumPy": ("numpy.fft",), "PyTorch": ("torch.fft",), "JAX": ("jax.numpy.fft",)},
    "plait.special": {"NumPy": ("scipy.special",), "PyTorch": ("torch.special",), "JAX": ("jax.scipy.special",)},
    "plait.signal.windows": {"NumPy": ("scipy.signal.windows",), "PyTorch": ("torch.signal.windows",), "JAX": ()},
    "plait.masked": {"NumPy": ("numpy.ma",), "PyTorch": ("torch.masked",), "JAX": ()},
    "plait.random": {"NumPy": ("numpy.random",), "PyTorch": (), "JAX": ("jax.random",)},
    "plait.nn.functional": {"NumPy": (), "PyTorch": ("torch.nn.functional",), "JAX": ("jax.nn", "jax.numpy")},
}  # fmt: skip
_ARRAYS = {
    "plait.cat": "concatenate", "plait.permute": "permute_dims", "plait.clamp": "clip", "plait.mul": "multiply",
    "plait.sub": "subtract", "plait.div": "divide", "plait.neg": "negative", "plait.mm": "matmul",
    "plait.bmm": "matmul", "plait.unsqueeze": "expand_dims", "plait.gather": "take_along_axis",
    "plait.take_along_dim": "take_along_axis",
    "plait.movedim": "moveaxis", "plait.broadcast_tensors": "broadcast_arrays", "plait.eq": "equal",
    "plait.ne": "not_equal", "plait.lt": "less", "plait.le": "less_equal", "plait.gt": "greater",
    "plait.ge": "greater_equal", "plait.repeat_interleave": "repeat", "plait.index_select": "take",
    "plait.tensor_split": "array_split", "plait.unbind": "unstack", "plait.swapdims": "swapaxes",
    "plait.flatten": "ravel", "plait.view": "reshape", "plait.expand": "broadcast_to", "plait.tensor": "array",
    "plait.clone": "copy", "plait.select": None, "plait.split": None,
}  # fmt: skip
# peers' functions of another name; None where the function of the same name does something else
OTHER_NAMES: dict[str, dict[str, str | None]] = {
    "NumPy": {
        **_ARRAYS, "plait.masked_select": "extract", "plait.histc": "histogram", "plait.from_numpy": "asarray",
        "plait.trapz": "trapezoid", "plait.ger": "outer", "plait.erf": "scipy.special.erf",
        "plait.erfc": "scipy.special.erfc", "plait.erfinv": "scipy.special.erfinv",
        "plait.lgamma": "scipy.special.gammaln", "plait.digamma": "scipy.special.digamma",
        "plait.logsumexp": "scipy.special.logsumexp", "plait.softmax": "scipy.special.softmax",
        "plait.log_softmax": "scipy.special.log_softmax", "plait.sigmoid": "scipy.special.expit",
        "plait.logit": "scipy.special.logit", "plait.linalg.expm": "scipy.linalg.expm",
        "plait.linalg.kron": "numpy.kron", "plait.load": "safetensors.numpy.load_file",
        "plait.save": "safetensors.numpy.save_file",
    },
    "PyTorch": {
        "plait.astype": "torch.Tensor.to", "plait.permute_dims": "permute", "plait.expand_dims": "unsqueeze",
        "plait.broadcast_arrays": "broadcast_tensors", "plait.cumulative_sum": "cumsum",
        "plait.cumulative_prod": "cumprod", "plait.take_along_axis": "take_along_dim",
        "plait.bitwise_invert": "bitwise_not", "plait.invert": "bitwise_not",
        "plait.left_shift": "bitwise_left_shift", "plait.right_shift": "bitwise_right_shift",
        "plait.matrix_transpose": "torch.Tensor.mT", "plait.unique_values": "unique",
        "plait.repeat": "repeat_interleave",
        "plait.equal": "eq", "plait.unstack": "unbind", "plait.mod": "remainder", "plait.fabs": "abs",
        "plait.rint": "round", "plait.conjugate": "conj", "plait.degrees": "rad2deg", "plait.radians": "deg2rad",
        "plait.vecdot": "torch.linalg.vecdot", "plait.expand": "torch.Tensor.expand", "plait.view": "torch.Tensor.view",
        "plait.expand_as": "torch.Tensor.expand_as", "plait.view_as": "torch.Tensor.view_as",
        "plait.reshape_as": "torch.Tensor.reshape_as", "plait.sum_to_size": "torch.Tensor.sum_to_size",
        "plait.fork_rng": "torch.random.fork_rng", "plait.log_sigmoid": "torch.nn.functional.logsigmoid",
        "plait.swish": "torch.nn.functional.silu", "plait.slice": None, "plait.pad": None,
        "plait.linalg.expm": "matrix_exp", "plait.linalg.kron": "torch.kron", "plait.linalg.outer": "torch.outer",
        "plait.linalg.tensordot": "torch.tensordot", "plait.linalg.matrix_transpose": "torch.Tensor.mT",
        "plait.jit": "torch.compile", "plait.load": "safetensors.torch.load_file",
        "plait.save": "safetensors.torch.save_file", "plait.checkpoint": "torch.utils.checkpoint.checkpoint",
    },
    "JAX": {
        **_ARRAYS, "plait.topk": "jax.lax.top_k", "plait.logsigmoid": "jax.nn.log_sigmoid",
        "plait.logsumexp": "jax.nn.logsumexp", "plait.erfinv": "jax.scipy.special.erfinv",
        "plait.linalg.expm": "jax.scipy.linalg.expm", "plait.linalg.kron": "jax.numpy.kron",
        "plait.load": "safetensors.flax.load_file", "plait.save": "safetensors.flax.save_file", "plait.scatter": None,
        "plait.scatter_add": None, "plait.slice": None, "plait.nn.functional.pad": None,
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
    for peer, names in OTHER_NAMES.items():
        for full_name, name in names.items():
            if name is not None and not _exists(_in_full(full_name, peer, name)):
                print(f"{peer} has no {name}: see OTHER_NAMES of {full_name}")
    PEERS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _imported(place: str) -> Any:
    try:
        return importlib.import_module(place)
    except ImportError:
        parent, _, name = place.rpartition(".")
        return getattr(importlib.import_module(parent), name, None)


def _exists(full_name: str) -> bool:
    """Whether a peer that is installed here has this name; one that is not is believed."""
    place, _, name = full_name.rpartition(".")
    try:
        return hasattr(_imported(place), name)
    except ImportError:
        return True


def _in_full(full_name: str, peer: str, name: str) -> str:
    return name if "." in name else f"{PLACES[full_name.rpartition('.')[0]][peer][0]}.{name}"


def peer_names(full_name: str, known: dict[str, dict[str, str]]) -> str:
    """Return a line that names the function in NumPy, PyTorch and JAX, as far as they have it."""
    parts = []
    for peer in ("NumPy", "PyTorch", "JAX"):
        name = OTHER_NAMES[peer].get(full_name, known.get(peer, {}).get(full_name))
        if name:
            parts.append(f"{peer} `{_in_full(full_name, peer, name)}`")
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


GENERATED = "Generated from the docstrings by `python tools/reference.py`; the tests run every example."


def page(namespace: str, known: dict[str, dict[str, str]]) -> str:
    """Return the text of the page of a namespace."""
    module = module_of(namespace)
    entries = sorted(sections(namespace), key=lambda s: s[0])
    lines = [f"# {namespace}", "", f"{(module.__doc__ or '').strip().splitlines()[0]}", "", GENERATED, ""]
    lines += _links({n: name for name, _, aliases in entries for n in (name, *aliases)})
    for name, function, aliases in entries:
        lines += _entry(name, f"{name}{_signature(function)}", function)
        if aliases:
            lines += ["Also called " + ", ".join(f"`{a}`" for a in aliases) + ".", ""]
        peers = peer_names(name, known)
        if peers:
            lines += [f"Elsewhere: {peers}", ""]
    return "\n".join(lines)


def _links(headings: dict[str, str]) -> list[str]:
    """Return links from names to headings of the page, whose anchors are their words in lower case, without dots."""
    shown = [f"[{n.rpartition('.')[2]}](#{headings[n].lower().replace('.', '')})" for n in sorted(headings)]
    return [*textwrap.wrap(" · ".join(shown), 120, break_long_words=False, break_on_hyphens=False), ""]


def _entry(name: str, code: str, documented: Any) -> list[str]:
    return [f"## {name}", "", "```python", code, "```", "", _markdown(inspect.getdoc(documented) or ""), ""]


def tensor_page() -> str:
    """Return the page of what tensors have beside the functions of `plait` as methods."""
    names = [n for n in sorted(dir(plait.Tensor)) if not n.startswith("_")]
    members = {n: inspect.getattr_static(plait.Tensor, n) for n in names}
    public = {full_name for full_name, _ in public_functions()}
    functions = {n for n in names if f"plait.{n}" in public and not isinstance(members[n], property)}
    in_place = [n for n in names if n.endswith("_") and n[:-1] in members and n not in functions]
    own = [n for n in names if n not in functions and n not in in_place]
    fixed = [n for n in own if FIXED in (inspect.getdoc(members[n]) or "")]
    own = [n for n in own if n not in fixed]
    lines = ["# plait.Tensor", "", "The attributes and methods that are no functions of `plait`.", "", GENERATED, ""]
    lines += _links({f"Tensor.{n}": f"Tensor.{n}" for n in own})
    for title, text, listed in (
        ("Methods that are functions too", "`x.name(...)` is `plait.name(x, ...)`, in PyTorch's form where the "
         "[two forms](../names.md#two-meanings-of-one-name) differ; see [functions](functions.md).", functions),
        ("Methods that write in place", "They write the result of the method without the underscore to the tensor, and "
         "return it.", in_place),
        ("Attributes that never change", "They are there for code that asks; tensors are dense values in the memory of "
         "the CPU.", fixed),
    ):  # fmt: skip
        marked = [f"`{n}`" for n in sorted(listed)]
        lines += [f"## {title}", "", *textwrap.wrap(text, 120), "", *textwrap.wrap(" ".join(marked), 120), ""]
    for name in own:
        member = members[name]
        code = f"x.{name}" if isinstance(member, property) else f"x.{name}{_signature(member, is_method=True)}"
        lines += _entry(f"Tensor.{name}", code, member)
    return "\n".join(lines)


def class_page(namespace: str) -> str:
    """Return the page of a namespace of classes: each with its own methods and properties, one line for each."""
    module = importlib.import_module(namespace)
    names = getattr(module, "__all__", [n for n in dir(module) if not n.startswith("_")])
    own = "plait" if hasattr(module, "__all__") else namespace  # else it also has what it imports
    members = {n: getattr(module, n) for n in sorted(names)}
    documented = {
        n: m for n, m in members.items()
        if callable(m) and (getattr(m, "__module__", None) or "").startswith(own) and inspect.getdoc(m)
        and not (inspect.isfunction(m) and m.__module__.startswith("plait.nn.functional"))
    }  # fmt: skip
    lines = [f"# {namespace}", "", f"{(module.__doc__ or '').strip().splitlines()[0]}", "", GENERATED, ""]
    lines += _links({f"{namespace}.{n}": f"{namespace}.{n}" for n in documented})
    for name, member in documented.items():
        lines += _entry(f"{namespace}.{name}", f"{namespace}.{name}{_signature(member)}", member)
        lines += _own_methods(member) if isinstance(member, type) else []
    return "\n".join(lines)


def _own_methods(cls: type) -> list[str]:
    """Return a list of the documented public methods and properties that a class defines itself."""
    lines = []
    for name, member in vars(cls).items():
        text = inspect.getdoc(member) if not name.startswith("_") else None
        plain = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        if text and (inspect.isfunction(plain) or isinstance(member, property)):
            is_bound = inspect.isfunction(plain) and not isinstance(member, staticmethod)
            call = f".{name}" if isinstance(member, property) else f".{name}{_signature(plain, is_method=is_bound)}"
            lines.append(f"- `{call}`: {text.splitlines()[0]}")
    return [*lines, ""] if lines else []


def _signature(function: Callable[..., Any], is_method: bool = False) -> str:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return "(...)"
    parameters = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()][is_method:]
    plain = [p.replace(default=_Sorted(p.default)) if isinstance(p.default, frozenset) else p for p in parameters]
    return re.sub(r" at 0x[0-9a-f]+", "", str(signature.replace(parameters=plain, return_annotation=signature.empty)))


class _Sorted(frozenset[Any]):
    """A set that shows itself in one order in every process."""

    def __repr__(self) -> str:
        return f"frozenset({{{', '.join(map(repr, sorted(self)))}}})"


FIXED = "tensors of plait are dense values in the memory of the CPU"
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
    made |= {FOLDER / f"{n.removeprefix('plait.')}.md": class_page(n) for n in CLASSES}
    made[FOLDER / "Tensor.md"] = tensor_page()
    index = ["# Reference", "", f"plait {plait.__version__}: every public function and class, by namespace.", ""]
    for path, text in made.items():
        title, _, summary = text.splitlines()[:3]
        index.append(f"- [{title.removeprefix('# ')}]({path.name}): {summary}")
    return {**made, FOLDER / "index.md": "\n".join([*index, ""])}


if __name__ == "__main__":
    if "--peers" in sys.argv:
        collect_peers()
    FOLDER.mkdir(exist_ok=True)
    written = pages()
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    print(f"wrote {len(written)} pages in {FOLDER.relative_to(ROOT)}")

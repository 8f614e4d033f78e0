"""Graphs as Python: print one as a function that records it again, and read such text back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, count, product
from keyword import iskeyword
from math import inf, isfinite, nan
from string import ascii_lowercase
from typing import Any

from plait.core import dtype as _dtypes
from plait.core.aval import Aval, Dim, aval
from plait.core.dtype import ALL, FLOAT8, DType, as_dtype
from plait.core.errors import ArgumentError, message
from plait.core.graph import CONSTANT, Graph, Node, constant, placeholder
from plait.core.primitive import P, Primitive

_INDENT = "    "
_NAMESPACE: dict[str, Any] = {"P": P, "constant": constant, "inf": inf, "nan": nan}
_NAMESPACE.update({d.name: d for d in (*ALL, *FLOAT8) if d is not _dtypes.bool_}, bool_=_dtypes.bool_)


def to_python(graph: Graph, name: str = "graph") -> str:
    """Return a graph as Python that builds it: one line for each node, with its dtype, shape and source line.

    Values that the graph uses from outside become further arguments. Parameters without a literal form (functions,
    symbolic sizes) are written as names; `from_python` is told what they mean.

    Args:
        graph: the graph.
        name: name of the function.

    Returns:
        The text, such as

            @staged("float32[3]")
            def graph(a):
                b = P.mul(a, 2.0)  # float32[3]  train.py:12
                return (b,)
    """
    return _Printer().print(graph, name)


def from_python(text: str, environment: Mapping[str, Any] | None = None) -> Graph:
    """Return the graph that a text of `to_python` describes.

    The text is run as code: read only what you trust.

    Args:
        text: what `to_python` returned.
        environment: what names without a literal form stand for.

    Raises:
        ArgumentError: if the text uses an unknown name or holds no graph.
    """
    namespace = {**_NAMESPACE, **(environment or {})}
    namespace["staged"] = _stager(namespace)
    known = set(namespace)
    try:
        exec(compile(text, "<graph>", "exec"), namespace)
    except NameError as error:
        fix = f"pass from_python(text, {{{error.name!r}: …}})"
        raise ArgumentError(message("The text uses a name without a literal form", error.name, None, fix)) from None
    found = [value for key, value in namespace.items() if key not in known and isinstance(value, Graph)]
    if not found:
        raise ArgumentError(message("The text holds no graph", None, "a function under @staged(...)", "use to_python"))
    return found[-1]


def _stager(namespace: dict[str, Any]) -> Callable[..., Any]:
    def size(text: str) -> int | Dim:
        if text.isdigit():
            return int(text)
        result: Dim = namespace.setdefault(text, Dim(text))
        return result

    def parse(text: str) -> Aval:
        name, _, sizes = text.rstrip("]").partition("[")
        return aval(as_dtype(name), tuple(size(s) for s in sizes.split(",") if s))

    def staged(*avals: str) -> Callable[[Callable[..., Any]], Graph]:
        inputs = [placeholder(parse(a)) for a in avals]
        return lambda function: Graph(inputs, function(*inputs))

    return staged


def _names() -> Iterator[str]:
    for length in count(1):
        for letters in product(ascii_lowercase, repeat=length):
            name = "".join(letters)
            if not iskeyword(name) and name not in _NAMESPACE:
                yield name


class _Printer:
    """One run of `to_python`: names are unique in the whole text, as nested functions see the outer ones."""

    def __init__(self) -> None:
        self.fresh = _names()
        self.names: dict[Node, str] = {}
        self.objects: dict[Any, str] = {}
        self.used: set[str] = set()
        self.outside: list[Node] = []

    def print(self, graph: Graph, name: str) -> str:
        """Return the text of the whole graph."""
        self.used.add(name)
        for node in graph.inputs:
            self.define(node)
        body = self.body(graph, _INDENT)
        return "\n".join([*self.header([*graph.inputs, *self.outside], name, ""), *body]) + "\n"

    def header(self, inputs: list[Node], name: str, indent: str) -> list[str]:
        avals = ", ".join(f'"{i.aval}"' for i in inputs)
        return [f"{indent}@staged({avals})", f"{indent}def {name}({', '.join(self.names[i] for i in inputs)}):"]

    def define(self, node: Node) -> str:
        self.names[node] = next(name for name in self.fresh if name not in self.used)
        return self.names[node]

    def body(self, graph: Graph, indent: str) -> list[str]:
        lines: list[str] = []
        graphs: dict[Graph, str] = {}
        for node in graph.nodes[len(graph.inputs) :]:
            if node.prim is CONSTANT:
                continue
            if node.prim.kind == "leaf":
                if node not in self.names:
                    self.define(node)
                    self.outside.append(node)
                continue
            call = self.call(node, graphs, lines, indent)
            lines.append(f"{indent}{self.define(node)} = {call}  # {_comment(node)}")
        results = "".join(f"{self.operand(o, None)}, " for o in graph.outputs).rstrip(" ")
        return [*lines, f"{indent}return ({results[:-1] if len(graph.outputs) > 1 else results})"]

    def call(self, node: Node, graphs: dict[Graph, str], lines: list[str], indent: str) -> str:
        if node.prim.name == "get":
            return f"{self.names[node.inputs[0]]}[{node.params['index']}]"
        arguments = [self.operand(i, _scalar_dtype(node)) for i in node.inputs]
        for key, value in node.params.items():
            arguments.append(f"{key}={self.literal(value, key, graphs, lines, indent)}")
        return f"P.{node.prim.name}({', '.join(arguments)})"

    def operand(self, node: Node, dtype: DType | None) -> str:
        """A name or a constant; one of the `dtype` that a Python scalar would take here is written as a scalar."""
        if node.prim is not CONSTANT:
            return self.names[node]
        value = _number(node.value)
        return value if node.dtype is dtype else f"constant({value}, {_dtype_name(node.dtype)})"

    def literal(self, value: Any, key: str, graphs: dict[Graph, str], lines: list[str], indent: str) -> str:
        if isinstance(value, tuple):
            parts = [self.literal(v, key, graphs, lines, indent) for v in value]
            return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
        if isinstance(value, Graph):
            if value not in graphs:
                graphs[value] = self.unique(key)
                lines.extend(self.nested(value, graphs[value], indent))
            return graphs[value]
        if isinstance(value, DType):
            return _dtype_name(value)
        if isinstance(value, Primitive):
            return f"P.{value.name}"
        if value is None or isinstance(value, (str, bytes, bool, int, float, complex)):
            return _number(value)
        if isinstance(value, Dim):
            return value.name
        if value not in self.objects:
            self.objects[value] = self.unique(_identifier(value))
        return self.objects[value]

    def nested(self, graph: Graph, name: str, indent: str) -> list[str]:
        """The lines of a function inside a function; its names end with it, but for those of outside values."""
        names = dict(self.names)
        for node in graph.inputs:
            self.define(node)
        body = self.body(graph, indent + _INDENT)
        lines = [*self.header(list(graph.inputs), name, indent), *body]
        self.names = {**names, **{node: self.names[node] for node in self.outside}}
        return lines

    def unique(self, base: str) -> str:
        taken = {*self.used, *self.names.values(), *_NAMESPACE}
        candidates = chain([base], (f"{base}_{k}" for k in count(2)))
        name = next(n for n in candidates if n not in taken and not iskeyword(n))
        self.used.add(name)
        return name


def _scalar_dtype(node: Node) -> DType | None:
    """The dtype that Python scalars among the operands would take: that of the first operand written by name."""
    first = next((i for i in node.inputs if i.prim is not CONSTANT and not isinstance(i.aval, tuple)), None)
    if first is None:
        return None
    before = node.inputs[: node.inputs.index(first)]
    return first.dtype if all(isinstance(i.aval, tuple) or i.dtype is first.dtype for i in before) else None


def _identifier(value: Any) -> str:
    name = getattr(value, "__name__", type(value).__name__)
    return name if name.isidentifier() else "function"


def _dtype_name(dtype: DType) -> str:
    return "bool_" if dtype is _dtypes.bool_ else dtype.name


def _number(value: Any) -> str:
    if isinstance(value, complex) and not (isfinite(value.real) and isfinite(value.imag)):
        return f"complex({value.real!r}, {value.imag!r})"
    return repr(value)


def _comment(node: Node) -> str:
    avals = node.aval if isinstance(node.aval, tuple) else (node.aval,)
    text = ", ".join(map(str, avals))
    path, _, line = node.source.rpartition(":")
    where = f"  {os.path.basename(path)}:{line}" if path else ""
    return (f"({text})" if isinstance(node.aval, tuple) else text) + where

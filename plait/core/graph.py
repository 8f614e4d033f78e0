"""Nodes and graphs: what eager recording, staging and every transform produce alike."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from types import CodeType
from typing import Any

from plait.core import primitive as _primitive
from plait.core.aval import Aval, Size, aval
from plait.core.dtype import DType, float32
from plait.core.errors import ArgumentTypeError, InternalError, message
from plait.core.primitive import PRIMITIVES, Primitive, Waived
from plait.core.recorder import in_force, own, recorder as recorder

# What a node depends on, or-ed along the graph: a tensor that requires gradients, a placeholder, a variable of a
# running gradient transform, a linear placeholder, a history that backward() has freed.
REQUIRES_GRAD, ABSTRACT, TRACED, LINEAR, FREED = 1, 2, 4, 8, 16
_HISTORY = REQUIRES_GRAD | FREED
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_BACKWARD = "|backward"
_IS_INTERNAL: dict[str, bool] = {}  # by file name, whose hash is kept (that of a code object is not)


class Params(dict[str, Any]):
    """The parameters of a node: an immutable, hashable dict."""

    __slots__ = ("_hash",)

    def __hash__(self) -> int:  # type: ignore[override]
        try:
            return self._hash
        except AttributeError:
            self._hash: int = hash(tuple(self.items()))
            return self._hash


EMPTY = Params()


@cache
def _position(index: int) -> Params:
    return Params(index=index)


class Node:
    """One operation in a graph: `(primitive, inputs, params, aval, source line, module path)`.

    `aval` is an `Aval`, or a tuple of them for a primitive with several results, which `P.get` selects from.
    `value` is the buffer once computed, or the Python scalar of a constant. `scope` is the path of the module that
    recorded it, None outside of modules; see `backward_scope`.
    """

    __slots__ = (
        "prim", "inputs", "params", "aval", "value", "flags", "code", "instruction", "scope", "extra", "__weakref__",
    )  # fmt: skip
    prim: Primitive
    inputs: tuple[Node, ...]
    params: Params
    aval: Aval
    value: Any
    flags: int
    code: CodeType | None
    instruction: int
    scope: str | None
    extra: Any

    @property
    def shape(self) -> tuple[Size, ...]:
        """Shape of the result."""
        return self.aval.shape

    @property
    def dtype(self) -> DType:
        """Dtype of the result."""
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        """Number of axes of the result."""
        return self.aval.ndim

    @property
    def avals(self) -> tuple[Aval, ...]:
        """Avals of all results, also of a single one."""
        return self.aval if isinstance(self.aval, tuple) else (self.aval,)

    @property
    def source(self) -> str:
        """The user's `file:line` that recorded this node, or an empty string."""
        if self.code is None:
            return ""
        for start, end, line in self.code.co_lines():
            if start <= self.instruction < end and line is not None:
                return f"{self.code.co_filename}:{line}"
        return f"{self.code.co_filename}:{self.code.co_firstlineno}"

    def __repr__(self) -> str:
        inputs = ", ".join(f"{i.prim.name}:{i.aval}" for i in self.inputs)
        return f"Node({self.prim.name}({inputs}) -> {self.aval})"

    def __deepcopy__(self, memo: Any) -> Node:
        return self

    def __getitem__(self, index: int) -> Node:
        if not isinstance(self.aval, tuple):
            raise InternalError(f"{self!r} has one result; slice with P.slice")
        node = _new(Node)  # as `record`, written out: results are picked often, at the line of what made them
        node.prim, node.inputs, node.params, node.aval = GET, (self,), _position(index), self.aval[index]
        flags = self.flags & in_force().mask
        node.flags = flags if node.aval.dtype.is_inexact else flags & ~_HISTORY
        node.value = node.extra = None
        node.code, node.instruction, node.scope = self.code, self.instruction, self.scope
        return node

    def __neg__(self) -> Node:
        return call(PRIMITIVES["neg"], (self,), {})

    def __add__(self, other: Any) -> Node:
        return call(PRIMITIVES["add"], (self, other), {})

    def __radd__(self, other: Any) -> Node:
        return call(PRIMITIVES["add"], (other, self), {})

    def __sub__(self, other: Any) -> Node:
        return call(PRIMITIVES["sub"], (self, other), {})

    def __rsub__(self, other: Any) -> Node:
        return call(PRIMITIVES["sub"], (other, self), {})

    def __mul__(self, other: Any) -> Node:
        return call(PRIMITIVES["mul"], (self, other), {})

    def __rmul__(self, other: Any) -> Node:
        return call(PRIMITIVES["mul"], (other, self), {})

    def __truediv__(self, other: Any) -> Node:
        return call(PRIMITIVES["div"], (self, other), {})

    def __rtruediv__(self, other: Any) -> Node:
        return call(PRIMITIVES["div"], (other, self), {})


_new = object.__new__


def locate(node: Node) -> None:
    """Store the user's source position in `node`, the innermost frame outside plait, and the module path."""
    state = in_force()
    override = state.location
    if override is not None:
        node.code, node.instruction, node.scope = override.code, override.instruction, override.scope
        return
    node.scope = state.scope
    frame = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        internal = _IS_INTERNAL.get(code.co_filename)
        if internal is None:
            internal = _IS_INTERNAL[code.co_filename] = code.co_filename.startswith(_PACKAGE)
        if not internal:
            node.code, node.instruction = code, frame.f_lasti
            return
        frame = frame.f_back  # type: ignore[assignment]
    node.code, node.instruction = None, 0


def backward_scope(scope: str | None) -> str:
    """Return the scope of what carries gradients back through operations of a scope."""
    return _BACKWARD if scope is None else scope if scope.endswith(_BACKWARD) else scope + _BACKWARD


def derivative_place(node: Node) -> Node:
    """Return a location for what belongs to the derivative of `node`: the line of it, and the scope of gradients."""
    place = _new(Node)
    place.code, place.instruction, place.scope = node.code, node.instruction, backward_scope(node.scope)
    return place


def forward_scope(scope: str | None) -> tuple[str | None, bool]:
    """Return the module path of a scope, None outside of modules, and whether gradients are carried back there."""
    if scope is None or not scope.endswith(_BACKWARD):
        return scope, False
    return scope.removesuffix(_BACKWARD) or None, True


def is_internal(code: CodeType) -> bool:
    """Whether code is a part of plait."""
    return code.co_filename.startswith(_PACKAGE)


def user_line() -> tuple[str, int]:
    """Return file and line of the innermost frame outside plait."""
    frame = sys._getframe(1)
    while frame.f_back is not None and is_internal(frame.f_code):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def record(prim: Primitive, inputs: tuple[Node, ...], params: Params = EMPTY) -> Node:
    """Add one node to the graph; shape and dtype errors are raised here.

    `inputs` are nodes, `params` hashable values. Returns the new `Node`.
    """
    if len(inputs) == 1:  # written out for one and two inputs: this is the hot path of eager code
        flags: int = inputs[0].flags
        key: Any = inputs[0].aval
    elif len(inputs) == 2:
        x, y = inputs
        flags, key = x.flags | y.flags, (x.aval, y.aval)
    else:
        flags, key = 0, tuple([i.aval for i in inputs])
        for i in inputs:
            flags |= i.flags
    if params:
        key = (tuple(params.items()), key)  # its hash is faster than that of Params
    result = prim.cache.get(key)
    if result is None:
        _check_settings(prim, params)
        result = prim.cache[key] = prim.aval(*[i.aval for i in inputs], **params)
    node = _new(Node)
    node.prim = prim
    node.inputs = inputs
    node.params = params
    node.aval = result  # type: ignore[assignment]
    node.value = node.extra = None
    flags &= in_force().mask
    if flags & _HISTORY and isinstance(result, Aval) and not result.dtype.is_inexact:
        flags &= ~_HISTORY  # no gradient flows through integers and booleans
    node.flags = flags
    locate(node)
    return node


def _check_settings(prim: Primitive, params: Params) -> None:
    for name, value in params.items():
        if hasattr(value, "_node"):
            text = f"{prim.name}: {name} is a setting, known when the operation is recorded"
            fix = "pass a Python value, e.g. bool(x) or int(x)"
            raise ArgumentTypeError(message(text, f"a tensor of shape {value.shape}", None, fix))


def call(prim: Primitive, inputs: Sequence[Any], params: dict[str, Any]) -> Node:
    """Record `prim` on nodes; Python scalars among the inputs take the dtype of the first node."""
    for i in inputs:
        if type(i) is not Node:
            dtype = next(i.aval.dtype for i in inputs if isinstance(i, Node) and not isinstance(i.aval, tuple))
            inputs = [i if isinstance(i, Node) else constant(i, dtype) for i in inputs]
            break
    return record(prim, tuple(inputs), Params(params) if params else EMPTY)


_primitive.CALL.append(call)


def leaf(prim: Primitive, result: Aval, value: Any = None, flags: int = 0, params: Params = EMPTY) -> Node:
    """Make a node without inputs."""
    node = _new(Node)
    node.prim, node.inputs, node.params, node.aval = prim, (), params, result
    node.value, node.flags, node.extra = value, flags, None
    locate(node)
    return node


_LEAF = "a leaf has no inputs"


def _leaf_primitive(name: str) -> Primitive:
    waived = Waived(_LEAF)
    return Primitive(
        name, kind="leaf", aval=lambda: aval(float32), lower=waived, jvp=waived, transpose=waived,
        batch=waived, shard=waived, cost=waived, domain=waived, oracle=waived,
    )  # fmt: skip


DATA = _leaf_primitive("data")
CONSTANT = _leaf_primitive("constant")
PLACEHOLDER = _leaf_primitive("placeholder")

_CONSTANTS: dict[Any, Node] = {}


def constant(value: bool | int | float | complex, dtype: DType) -> Node:
    """Return the node of a rank-0 constant of `dtype`."""
    key = (value, str(value), dtype)  # the text keeps -0.0, nan and True apart from 0.0 and 1
    node = _CONSTANTS.get(key)
    if node is None:
        if len(_CONSTANTS) > 4096:
            _CONSTANTS.clear()
        node = _CONSTANTS[key] = leaf(CONSTANT, aval(dtype), value)
        node.code = None
    return node


def full(value: bool | int | float | complex, like: Aval) -> Node:
    """Return a node of the aval `like` filled with one constant."""
    node = constant(value, like.dtype)
    return node if not like.shape else call(PRIMITIVES["broadcast"], (node,), {"shape": like.shape, "axes": ()})


def data(buffer: Any, result: Aval, flags: int = 0) -> Node:
    """Return the leaf for a computed value that lives in `buffer`."""
    return leaf(DATA, result, buffer, flags)


def placeholder(result: Aval) -> Node:
    """Return an abstract leaf: an input of a staged graph."""
    return leaf(PLACEHOLDER, result, None, ABSTRACT)


def is_leaf(node: Node) -> bool:
    """Whether nothing has to be computed for this node."""
    return node.value is not None or not node.inputs


def toposort(outputs: Iterable[Node], stop: Callable[[Node], bool] | None = None) -> list[Node]:
    """Return the nodes that `outputs` need, inputs first; nothing below a node with `stop(node)` is visited."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[Any] = list(outputs)[::-1]
    while stack:
        node = stack.pop()
        if node is None:  # all below the next one have been visited
            order.append(stack.pop())
        elif node not in seen:
            seen.add(node)
            if not node.inputs or stop is not None and stop(node):
                order.append(node)
            else:
                stack.append(node)
                stack.append(None)
                stack.extend(node.inputs[::-1])
    return order


class Graph:
    """A closed function of nodes: `inputs` are placeholders or variables, `outputs` any nodes.

    Graphs compare and hash by structure, so that identical bodies are one cache entry.
    """

    __slots__ = ("inputs", "outputs", "_nodes", "_key", "_hash", "extra")

    def __init__(self, inputs: Iterable[Node], outputs: Iterable[Node]) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._nodes: list[Node] | None = None
        self._key: tuple[Any, ...] | None = None
        self._hash: int | None = None
        self.extra: Any = None

    @property
    def nodes(self) -> list[Node]:
        """Every node that the outputs need, inputs first; graph inputs come first of all."""
        if self._nodes is None:
            stop = set(self.inputs)
            inner = toposort(self.outputs, stop.__contains__)
            self._nodes = [*self.inputs, *[n for n in inner if n not in stop]]
        return self._nodes

    @property
    def key(self) -> tuple[Any, ...]:
        """Hashable structure: equal for graphs that compute the same from equal inputs."""
        if self._key is None:
            number = {n: k for k, n in enumerate(self.nodes)}
            rows: list[Any] = [tuple(i.aval for i in self.inputs)]
            for n in self.nodes[len(self.inputs) :]:
                if n.prim is CONSTANT:
                    rows.append((n.prim, n.aval, repr(n.value)))  # the text keeps -0.0, nan and True apart
                elif n.prim is DATA:
                    rows.append((n.prim, n.aval, id(n)))
                else:
                    rows.append((n.prim, n.params, tuple(number[i] for i in n.inputs)))
            self._key = (*rows, tuple(number[o] for o in self.outputs))
        return self._key

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Graph) and hash(self) == hash(other) and self.key == other.key)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(self.key)
        return self._hash

    def __deepcopy__(self, memo: Any) -> Graph:
        return self

    def __repr__(self) -> str:
        return f"Graph({', '.join(str(i.aval) for i in self.inputs)} -> {', '.join(str(o.aval) for o in self.outputs)})"

    @property
    def avals(self) -> tuple[Aval, ...]:
        """Avals of the outputs."""
        return tuple(o.aval for o in self.outputs)


def rebuild(node: Node, inputs: tuple[Node, ...]) -> Node:
    """Record the operation of `node` on other inputs, keeping its source line, if it has one."""
    if all(a is b for a, b in zip(inputs, node.inputs, strict=True)):
        return node
    state = own()
    previous = state.location
    if node.code is not None:
        state.location = node
    try:
        return record(node.prim, inputs, node.params)
    finally:
        state.location = previous


def substitute(outputs: Sequence[Node], replacement: dict[Node, Node]) -> list[Node]:
    """Return `outputs` recomputed with some nodes replaced; what does not depend on those is kept as it is."""
    result = dict(replacement)
    for node in toposort(outputs, result.__contains__):
        if node not in result:
            result[node] = rebuild(node, tuple([result[i] for i in node.inputs])) if node.inputs else node
    return [result[o] for o in outputs]


def inline(graph: Graph, inputs: Sequence[Node]) -> list[Node]:
    """Record the body of `graph` on `inputs`; returns its outputs."""
    return substitute(graph.outputs, dict(zip(graph.inputs, inputs, strict=True)))


def dependents(outputs: Iterable[Node], sources: Iterable[Node]) -> set[Node]:
    """Return the nodes between `sources` and `outputs`, sources included."""
    active = set(sources)
    for node in toposort(outputs, set(active).__contains__):
        if any(i in active for i in node.inputs):
            active.add(node)
    return active


def close(inputs: Sequence[Node], outputs: Sequence[Node]) -> tuple[Graph, list[Node]]:
    """Make a closed graph: what it uses from outside becomes further inputs.

    Returns the graph, its inputs being `inputs` then one for each captured node, and the captured nodes.
    """
    active = dependents(outputs, inputs)
    sources = set(inputs)
    captured: dict[Node, Node] = {}
    for node in [*toposort(outputs, lambda n: n not in active or n in sources), *outputs]:
        for i in node.inputs if node in active and node not in sources else ():
            if i not in active and i.prim is not CONSTANT and i not in captured:
                captured[i] = _stand_in(i)
        if node not in active and node in outputs and node.prim is not CONSTANT and node not in captured:
            captured[node] = _stand_in(node)
    if captured:
        outputs = substitute(outputs, {**{i: i for i in inputs}, **captured})
        return Graph([*inputs, *captured.values()], outputs), list(captured)
    return Graph(inputs, outputs), []


def _stand_in(node: Node) -> Node:
    result = leaf(PLACEHOLDER, node.aval, None, ABSTRACT)
    result.code, result.instruction, result.scope = node.code, node.instruction, node.scope
    return result


def verify(graph: Graph) -> None:
    """Check every invariant of a graph; raises `InternalError` at the first that is broken."""
    known: set[Node] = set()
    if len(set(graph.inputs)) != len(graph.inputs):
        raise InternalError("graph inputs are not distinct")
    inputs = set(graph.inputs)
    for node in graph.nodes:
        if node in inputs:
            known.add(node)
            continue
        if PRIMITIVES.get(node.prim.name) is not node.prim:
            raise InternalError(f"{node!r}: unregistered primitive")
        if node.prim is PLACEHOLDER:
            raise InternalError(f"{node!r}: placeholder of another graph (recorded at {node.source})")
        if any(i not in known for i in node.inputs):
            raise InternalError(f"{node!r}: an input comes after its use")
        if node.inputs and node.prim.aval(*[i.aval for i in node.inputs], **node.params) != node.aval:
            raise InternalError(f"{node!r}: aval does not follow from its inputs")
        hash(node.params)
        known.add(node)


def _get_aval(tuple_aval: Any, *, index: int) -> Aval:
    result: Aval = tuple_aval[index]
    return result


def _get_jvp(node: Node, tangents: Sequence[Any]) -> Any:
    return None if tangents[0] is None else tangents[0][node.params["index"]]


def _get_transpose(node: Node, cotangent: Node, linear: Sequence[bool]) -> list[Any]:
    results: list[Any] = [None] * len(node.inputs[0].aval)  # type: ignore[arg-type]
    results[node.params["index"]] = cotangent
    return [results]


GET = Primitive(
    "get", kind="view", aval=_get_aval,
    lower=Waived("the results of its producer are separate buffers"),
    jvp=_get_jvp, transpose=_get_transpose,
    batch=lambda node, inputs, batched, size: inputs[0][node.params["index"]],
    shard=Waived("follows its producer"), cost=Waived("free"),
    domain=Waived("tested with every primitive of several results"), oracle=Waived("tested with its producer"),
)  # fmt: skip

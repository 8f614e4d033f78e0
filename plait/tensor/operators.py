"""The operators of `Tensor`, and the promotion of operands that they share with the function namespace."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from plait import prims  # noqa: F401  (registers the primitives)
from plait.core.aval import Aval
from plait.core.dtype import DType, bool_, float32, promote, promote_scalar, uint8
from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.core.graph import _IS_INTERNAL, EMPTY, FREED, REQUIRES_GRAD, Node, locate
from plait.core.primitive import PRIMITIVES, P, Primitive
from plait.core.recorder import in_force
from plait.tensor import lazy
from plait.tensor.tensor import Parameter, Tensor, converted, node_of, scalar_node, to_node, wrap, write

_new = object.__new__
_RANK = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
_OPERANDS = (Tensor, bool, int, float, complex, np.ndarray, np.generic)


def operand(value: Any, name: str) -> Node | bool | int | float | complex:
    """Return the node of a tensor or array, or a weakly typed Python scalar."""
    if isinstance(value, Tensor):
        return node_of(value)
    if isinstance(value, np.ndarray) and value.ndim:
        return to_node(value)
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.item()
    if isinstance(value, (bool, int, float, complex)):
        return value
    expected, fix = "a tensor, a NumPy array or a Python number", "convert with plait.tensor(...)"
    raise ArgumentTypeError(message(f"{name} does not take a {type(value).__name__}", repr(value)[:40], expected, fix))


def common_dtype(operands: Sequence[Node | DType | bool | int | float | complex]) -> DType:
    """Return the dtype that an operation on these computes in, as PyTorch promotes.

    Tensors count alike whatever their rank, as in the Array API standard; Python scalars are weak.
    """
    dtypes = [o if isinstance(o, DType) else o.dtype for o in operands if isinstance(o, (DType, Node))]
    dtype = reduce(promote, dtypes or [bool_])
    for o in operands:
        if not isinstance(o, (Node, DType)):
            dtype = promote_scalar(dtype, o)
    return dtype


def promoted(values: Sequence[Any], name: str, rule: Callable[[DType], DType] | None = None) -> list[Node]:
    """Return the nodes of operands in their common dtype, as PyTorch promotes them; `rule` maps it to the final one.

    Raises:
        ArgumentTypeError: an operand is no tensor, array or number.
    """
    nodes = [node_of(v) for v in values if isinstance(v, Tensor)]
    if len(nodes) == len(values) and rule is None and len({n.aval.dtype for n in nodes}) == 1:
        return nodes
    operands = [operand(v, name) for v in values]
    dtype = common_dtype(operands)
    if rule is not None:
        dtype = rule(dtype)
    return [converted(o, dtype) if isinstance(o, Node) else scalar_node(o, dtype) for o in operands]


def single(x: Any, name: str) -> Node:
    """Return the node of one operand; a Python number becomes a rank-0 tensor."""
    value = operand(x, name)
    return value if isinstance(value, Node) else to_node(value)


def to_float(dtype: DType) -> DType:
    """Return the dtype in which functions with real results compute: float32 for integers and bools."""
    return dtype if dtype.is_inexact else float32


def to_integer(dtype: DType) -> DType:
    """Return uint8 for bool, other dtypes as they are."""
    return uint8 if dtype is bool_ else dtype


# the arithmetic of the operators, on nodes of one dtype


def _on_bool(name: str, on_bool: str) -> Callable[[Node, Node], Node]:
    return lambda a, b: PRIMITIVES[on_bool if a.dtype is bool_ else name](a, b)


def wrong_sign(remainder: Node, b: Node) -> Node:
    """Whether a truncated remainder differs in sign from the divisor: then the floored one is a divisor away."""
    zero = scalar_node(0, b.dtype)
    return P.bitwise_and(P.ne(remainder, zero), P.ne(P.lt(remainder, zero), P.lt(b, zero)))


def floored_quotient(a: Node, b: Node) -> Node:
    """Return floor(a / b), rounded once."""
    if a.dtype.kind == "u":
        return a / b
    remainder = P.rem(a, b)
    lower = P.convert(wrong_sign(remainder, b), dtype=a.dtype)
    if a.dtype.kind == "i":
        return a / b - lower
    quotient, plain, zero = P.round((a - remainder) / b) - lower, a / b, scalar_node(0, b.dtype)
    quotient = P.select(P.eq(quotient, zero), P.copysign(zero, plain), quotient)
    # with an infinity the standard wants the floor of the quotient, where Python has NaN or -1
    is_finite = P.bitwise_and(P.is_finite(a), P.is_finite(b))
    return P.select(P.eq(b, zero), plain, P.select(is_finite, quotient, P.floor(plain)))


def power(x: Any, exponent: Any) -> Tensor:
    """Return `x` raised to `exponent`; small whole exponents are products."""
    plain = isinstance(exponent, (int, float)) and not isinstance(exponent, bool)
    if plain and isinstance(x, Tensor) and not x.dtype.is_storage_only:
        dtype = promote_scalar(x.dtype, exponent)
        if dtype.is_integer and exponent < 0:
            text = "Integers cannot be raised to negative integer powers"
            raise ArgumentError(message(text, exponent, "an exponent of at least 0", "convert with .to(plait.float32)"))
        if dtype is not bool_ and abs(exponent) <= 64 and exponent == int(exponent):
            node = converted(node_of(x), dtype)
            return wrap(node if exponent == 1 else P.integer_pow(node, exponent=int(exponent)))
        if exponent == 0.5 and dtype.is_inexact:
            return wrap(P.sqrt(converted(node_of(x), dtype)))
    a, b = promoted((x, exponent), "pow", to_integer)
    return wrap(P.pow(a, b))


def _shifted_right(a: Node, count: Node) -> Node:
    return P.shift_right_logical(a, count) if a.dtype.kind == "u" else P.shift_right_arithmetic(a, count)


def binary(
    name: str, prim: str | Callable[[Node, Node], Node], rule: Callable[[DType], DType] | None = None
) -> Callable[[Any, Any], Tensor]:
    """Return the function of two operands that promotes them by `rule` and applies `prim`."""
    function = P.__getattr__(prim) if isinstance(prim, str) else prim

    def apply(x: Any, y: Any) -> Tensor:
        a, b = promoted((x, y), name, rule)
        return wrap(function(a, b))

    return apply


BINARY: dict[str, Callable[[Any, Any], Tensor]] = {
    "add": binary("add", _on_bool("add", "bitwise_or")),
    "subtract": binary("subtract", "sub"),
    "multiply": binary("multiply", _on_bool("mul", "bitwise_and")),
    "divide": binary("divide", "div", to_float),
    "floor_divide": binary("floor_divide", floored_quotient, to_integer),
    "remainder": binary("remainder", "mod", to_integer),
    "pow": power,
    "equal": binary("equal", "eq"),
    "not_equal": binary("not_equal", "ne"),
    "less": binary("less", "lt"),
    "less_equal": binary("less_equal", "le"),
    "greater": binary("greater", "gt"),
    "greater_equal": binary("greater_equal", "ge"),
    "bitwise_and": binary("bitwise_and", "bitwise_and"),
    "bitwise_or": binary("bitwise_or", "bitwise_or"),
    "bitwise_xor": binary("bitwise_xor", "bitwise_xor"),
    "bitwise_left_shift": binary("bitwise_left_shift", "shift_left", to_integer),
    "bitwise_right_shift": binary("bitwise_right_shift", _shifted_right, to_integer),
}

# recording an operator

_SCALARS: dict[tuple[type, Any, DType], Node] = {}


def _scalar(kind: type, value: Any, dtype: DType) -> Node | None:
    """Return the constant of a weak scalar that `dtype` absorbs, or None."""
    if value != value or kind is float and not value or promote_scalar(dtype, value) is not dtype:
        return None  # nan and the two zeros of floats are not their own dictionary keys
    if len(_SCALARS) > 4096:
        _SCALARS.clear()
    node = _SCALARS[kind, value, dtype] = scalar_node(value, dtype)
    return node


def _operator(general: Callable[[Any, Any], Tensor], prim: Primitive, reflected: bool = False) -> Any:
    """Return the method of a binary operator.

    Operands whose avals were seen before, and needed no conversion, take a path written for speed: it does what
    `record` and `wrap` do. All others go through `general`.
    """
    seen: dict[tuple[Aval, Aval], Aval] = {}
    known, scalars, get_frame, pending = seen.get, _SCALARS.get, sys._getframe, lazy.pending
    mask = ~(REQUIRES_GRAD | FREED) if prim.name in _COMPARISONS else -1

    def method(self: Tensor, other: Any) -> Tensor:
        a = self._node if self._base is None else node_of(self)
        kind = type(other)
        if kind is Tensor or kind is Parameter:
            b = other._node if other._base is None else node_of(other)
        elif kind is float or kind is int:
            b = scalars((kind, other, a.aval.dtype)) or _scalar(kind, other, a.aval.dtype)
            if b is None:
                return general(other, self) if reflected else general(self, other)
        elif isinstance(other, _OPERANDS):
            return general(other, self) if reflected else general(self, other)
        else:
            return NotImplemented
        if reflected:
            a, b = b, a
        result = known((a.aval, b.aval))
        if result is None:
            tensor = general(other, self) if reflected else general(self, other)
            if tensor._node.prim is prim and tensor._node.inputs == (a, b):
                seen[a.aval, b.aval] = tensor._node.aval
            return tensor
        node = _new(Node)
        node.prim = prim
        node.inputs = (a, b)
        node.params = EMPTY
        node.aval = result
        node.value = node.extra = None
        state = in_force()
        node.flags = (a.flags | b.flags) & state.mask & mask
        frame = get_frame(1)
        code = frame.f_code
        if state.location is None and _IS_INTERNAL.get(code.co_filename) is False:
            node.code = code
            node.instruction = frame.f_lasti
            node.scope = state.scope
        else:
            locate(node)
        tensor = _new(Tensor)
        tensor._node = node
        tensor._base = tensor._grad = None
        tensor._version = tensor._marks = 0
        pending.append(tensor)
        if len(pending) > lazy.budget:
            lazy.over_budget()
        return tensor

    return method


def operator_method(general: Callable[[Any, Any], Any], reflected: bool = False) -> Any:
    """Return the method of a binary operator that applies `general`, and leaves strange operands to Python."""

    def method(self: Tensor, other: Any) -> Any:
        if not isinstance(other, _OPERANDS):
            return NotImplemented
        return general(other, self) if reflected else general(self, other)

    return method


def _in_place(general: Callable[[Any, Any], Tensor], name: str) -> Any:
    def method(self: Tensor, other: Any) -> Tensor:
        return assign(self, general(self, other), name) if isinstance(other, _OPERANDS) else NotImplemented

    return method


def assign(target: Tensor, value: Tensor, name: str) -> Tensor:
    """Write `value` to `target`; raises `ArgumentError` if shape or kind of dtype do not allow it."""
    node = value._node
    if not isinstance(target, Tensor):
        text = f"{name} in place writes to a tensor"
        raise ArgumentTypeError(message(text, repr(target)[:40], None, "pass a tensor"))
    if node.shape != target.shape:
        text = f"{name} in place cannot change the shape of its tensor"
        raise ArgumentError(message(text, node.shape, target.shape, "use the function that returns a new tensor"))
    if _RANK[node.dtype.kind] > _RANK[target.dtype.kind]:
        text = f"{name} in place cannot store its result in the dtype of its tensor"
        fix = "use the function that returns a new tensor"
        raise ArgumentError(message(text, f"a result of {node.dtype.name}", target.dtype.name, fix))
    write(target, converted(node, target.dtype))
    return target


_METHODS = {
    "add": ("add", "add"), "sub": ("subtract", "sub"), "mul": ("multiply", "mul"), "truediv": ("divide", "div"),
    "and": ("bitwise_and", "bitwise_and"), "or": ("bitwise_or", "bitwise_or"), "xor": ("bitwise_xor", "bitwise_xor"),
    "lshift": ("bitwise_left_shift", "shift_left"), "rshift": ("bitwise_right_shift", "shift_right_arithmetic"),
    "floordiv": ("floor_divide", None), "mod": ("remainder", None), "pow": ("pow", None),
    "eq": ("equal", "eq"), "ne": ("not_equal", "ne"), "lt": ("less", "lt"), "le": ("less_equal", "le"),
    "gt": ("greater", "gt"), "ge": ("greater_equal", "ge"),
}  # fmt: skip
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


def _attach(method_name: str, general: Any, prim: str | None) -> None:
    def build(reflected: bool = False) -> Any:
        if prim is None:
            return operator_method(general, reflected)
        return _operator(general, PRIMITIVES[prim], reflected)

    setattr(Tensor, f"__{method_name}__", build())
    if method_name not in _COMPARISONS:
        setattr(Tensor, f"__r{method_name}__", build(reflected=True))
        setattr(Tensor, f"__i{method_name}__", _in_place(general, f"{method_name}="))


for _name, (_general, _prim) in _METHODS.items():
    _attach(_name, BINARY[_general], _prim)

"""Writing LLVM IR as text: values, nested scopes, and instructions that are hoisted and shared as they are written."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from plait.core.dtype import DType, bool_


@dataclass(frozen=True, slots=True)
class Target:
    """The machine that code is generated for.

    `cpu` and `features` are LLVM's names, `vector_bytes` is the width of a vector register (0: no vectors) and
    `vector_registers` their number.
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    vector_registers: int

    @property
    def scales(self) -> bool:
        """Whether the processor itself multiplies by powers of two (`vscalef`)."""
        return self.vector_bytes == 64 and self.triple.startswith("x86_64")

    @property
    def has_lookups(self) -> bool:
        """Whether one instruction looks up 16 constants by a vector of indices."""
        return self.vector_bytes == 64 and self.triple.startswith("x86_64")

    @property
    def permutes(self) -> bool:
        """Whether the processor permutes 32-bit elements across a register by an index."""
        return self.vector_bytes >= 32 and self.triple.startswith("x86_64")

    @property
    def has_tiles(self) -> bool:
        """Whether the processor multiplies tiles of bfloat16 and int8 numbers (AMX)."""
        return self._has("+amx-tile", "+amx-bf16", "+amx-int8")

    @property
    def has_bfloat_dots(self) -> bool:
        """Whether the processor adds products of bfloat16 numbers to float32 faster than those of float32.

        In vectors only AMD's do: on Intel's they take longer than what they replace.
        """
        return self.has_tiles or self._has("+avx512bf16") and self.cpu.startswith("znver")

    @property
    def has_byte_dots(self) -> bool:
        """Whether the processor adds products of 8-bit integers to int32, in tiles or in vectors."""
        return self.has_tiles or self._has("+avx512vnni")

    def _has(self, *features: str) -> bool:
        return self.vector_bytes == 64 and set(features) <= set(self.features.split(","))

    @property
    def converts_half(self) -> bool:
        """Whether the processor itself converts float16."""
        return self.triple.startswith(("aarch64", "arm64")) or "+f16c" in self.features.split(",")


class Value:
    """An operand: `text` of element type `kind`, in `lanes` lanes, available from scope number `depth` on."""

    __slots__ = ("constant", "depth", "kind", "lanes", "text")

    def __init__(self, text: str, kind: str, lanes: int = 1, depth: int = 0, constant: Any = None) -> None:
        self.text, self.kind, self.lanes, self.depth, self.constant = text, kind, lanes, depth, constant

    @property
    def type(self) -> str:
        """The LLVM type."""
        return self.kind if self.lanes == 1 else f"<{self.lanes} x {self.kind}>"

    @property
    def typed(self) -> str:
        """Type and text, as instructions write their first operand."""
        return f"{self.type} {self.text}"


class Scope:
    """A straight piece of code.

    `certain`: it runs whenever the scope around it does. `writes`: the locals and buffers that it may change.
    """

    __slots__ = ("block", "certain", "first", "lines", "numbered", "remembered", "writes")

    def __init__(self, certain: bool, writes: frozenset[Any], block: str) -> None:
        self.lines: list[str] = []
        self.certain, self.writes = certain, writes
        self.first = self.block = block
        self.numbered: list[str] = []
        self.remembered: list[Any] = []


def kind_of(dtype: DType) -> str:
    """The LLVM type of one value of a compute dtype."""
    if dtype.kind == "f":
        return "float" if dtype.bits == 32 else "double"
    return f"i{dtype.bits}"


def literal(value: Any, dtype: DType) -> Value:
    """A constant of a compute dtype."""
    if dtype.kind == "f":
        number = value
        if dtype.bits == 32:
            number = _round_to_float(value)
        return Value(f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}", kind_of(dtype), constant=value)
    if dtype is bool_:
        return Value("true" if value else "false", "i1", constant=bool(value))
    return Value(str(value), kind_of(dtype), constant=value)


def _round_to_float(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return float("inf") if value > 0 else -float("inf")


def integer(value: int, kind: str = "i64") -> Value:
    """An integer constant."""
    return Value(str(value), kind, constant=value)


def vector_literal(kind: str, elements: Sequence[Any]) -> Value:
    """A vector constant from integers or bools."""
    text = ", ".join(f"{kind} {str(e).lower()}" for e in elements)
    return Value(f"<{text}>", kind, len(elements))


def suffix(value: Value) -> str:
    """How intrinsics name a type: `v16f32`, `i64`."""
    kind = {"float": "f32", "double": "f64", "half": "f16", "ptr": "p0"}.get(value.kind, value.kind)
    return kind if value.lanes == 1 else f"v{value.lanes}{kind}"


class Writer:
    """Writes the body of one function.

    Every pure instruction goes to the outermost open scope in which its operands exist, in front of the loops
    still open inside that scope: that is loop-invariant code motion. An instruction whose text exists in an open
    scope is not written again.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.entry: list[str] = []
        self.tables: dict[str, str] = {}  # constants in memory: definition to name
        self.scopes = [Scope(True, frozenset(), "entry")]
        self.cache: dict[Any, tuple[Value, int]] = {}
        self.narrow: dict[str, tuple[DType, Value]] = {}  # of values loaded from a narrower storage dtype: their origin
        self.floor = 0  # the outermost scope that instructions may go to
        self._numbered: dict[str, Value] = {}
        self._count = 0

    # scopes
    @property
    def depth(self) -> int:
        """The number of the innermost scope."""
        return len(self.scopes) - 1

    @property
    def barrier(self) -> int:
        """The outermost scope that is certain to run only if the innermost one does."""
        depth = self.depth
        while depth and self.scopes[depth].certain:
            depth -= 1
        return depth

    def unchanged(self, name: Any) -> int:
        """The outermost scope in which a local or buffer still has the value it has now."""
        depth = self.depth
        while depth and name not in self.scopes[depth].writes:
            depth -= 1
        return depth

    def label(self, hint: str) -> str:
        """A new block name."""
        self._count += 1
        return f"{hint}{self._count}"

    def open(self, hint: str, certain: bool, writes: frozenset[Any]) -> Scope:
        """Start a scope in a block of its own."""
        scope = Scope(certain, writes, self.label(hint))
        self.scopes.append(scope)
        return scope

    def open_inline(self, certain: bool, writes: frozenset[Any]) -> None:
        """Start a scope that continues the current block."""
        self.scopes.append(Scope(certain, writes, self.scopes[-1].block))

    def close(self) -> Scope:
        """End the innermost scope and return it; its text is not yet part of the function."""
        scope = self.scopes.pop()
        for text in scope.numbered:
            del self._numbered[text]
        for key in scope.remembered:
            del self.cache[key]
        return scope

    def close_inline(self) -> None:
        """End a scope of `open_inline`."""
        scope = self.close()
        self.scopes[-1].lines += scope.lines
        self.scopes[-1].block = scope.block

    def branch(self, condition: Value, yes: str, no: str) -> None:
        """Append a conditional branch to the innermost scope."""
        self.line(f"br i1 {condition.text}, label %{yes}, label %{no}")

    def jump(self, block: str) -> None:
        """Append a branch to the innermost scope."""
        self.line(f"br label %{block}")

    def start_block(self, block: str) -> None:
        """Continue the innermost scope in a new block."""
        self.scopes[-1].lines.append(f"{block}:")
        self.scopes[-1].block = block

    def splice(self, scope: Scope) -> None:
        """Append a closed scope as blocks of the innermost scope."""
        lines = self.scopes[-1].lines
        lines.append(f"{scope.first}:")
        lines += scope.lines
        self.scopes[-1].block = scope.block

    def line(self, text: str) -> None:
        """Append an instruction without a result to the innermost scope."""
        self.scopes[-1].lines.append("  " + text)

    def remember(self, key: Any, value: Value, life: int) -> None:
        """Keep `cache[key] = (value, life)` until scope number `life` closes, at the latest that of the floor."""
        life = max(life, self.floor)
        self.cache[key] = value, life
        self.scopes[life].remembered.append(key)

    # instructions
    def define(self, kind: str, lanes: int, text: str, depth: int) -> Value:
        """Write a pure instruction into scope `depth`, or find it."""
        found = self._numbered.get(text)
        if found is None:
            depth = max(depth, self.floor)
            found = self._numbered[text] = self.read(kind, lanes, text, depth)
            self.scopes[depth].numbered.append(text)
        return found

    def read(self, kind: str, lanes: int, text: str, depth: int) -> Value:
        """Write an instruction that depends on memory into scope `depth`."""
        self._count += 1
        name = f"%v{self._count}"
        self.scopes[depth].lines.append(f"  {name} = {text}")
        return Value(name, kind, lanes, depth)

    def stack(self, type_: str, alignment: int) -> Value:
        """Reserve memory for the whole call."""
        self._count += 1
        name = f"%m{self._count}"
        self.entry.append(f"  {name} = alloca {type_}, align {alignment}")
        return Value(name, "ptr")

    def binary(self, op: str, a: Value, b: Value) -> Value:
        """Write `op a, b`; integer additions and multiplications of constants are folded."""
        if a.kind == "i64" and (folded := _fold(op, a, b)) is not None:
            return folded
        a, b = self.same_lanes(a, b)
        return self.define(a.kind, a.lanes, f"{op} {a.typed}, {b.text}", max(a.depth, b.depth))

    def compare(self, op: str, a: Value, b: Value) -> Value:
        """Write `icmp` or `fcmp`."""
        a, b = self.same_lanes(a, b)
        return self.define("i1", a.lanes, f"{op} {a.typed}, {b.text}", max(a.depth, b.depth))

    def convert(self, op: str, x: Value, kind: str) -> Value:
        """Write `op x to kind`."""
        to = kind if x.lanes == 1 else f"<{x.lanes} x {kind}>"
        return self.define(kind, x.lanes, f"{op} {x.typed} to {to}", x.depth)

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """Write a select; the condition is widened too, since a scalar one would become a branch."""
        condition, a, b = self.same_lanes(condition, a, b)
        depth = max(condition.depth, a.depth, b.depth)
        return self.define(a.kind, a.lanes, f"select {condition.typed}, {a.typed}, {b.typed}", depth)

    def call(self, name: str, *args: Value, flag: str = "") -> Value:
        """Call a pure intrinsic `llvm.<name>` that returns the type of its operands."""
        args = self.same_lanes(*args)
        x = args[0]
        operands = ", ".join(a.typed for a in args) + flag
        text = f"call {x.type} @llvm.{name}.{suffix(x)}({operands})"
        return self.define(x.kind, x.lanes, text, max(a.depth for a in args))

    def same_lanes(self, *values: Value) -> tuple[Value, ...]:
        """Widen the scalars among the values if one is a vector."""
        lanes = max(v.lanes for v in values)
        return values if lanes == 1 else tuple(self.widen(v, lanes) for v in values)

    def widen(self, x: Value, lanes: int) -> Value:
        """Repeat a scalar in all lanes."""
        if x.lanes == lanes:
            return x
        if x.constant is not None:
            return Value(f"splat ({x.typed})", x.kind, lanes)
        type_ = f"<{lanes} x {x.kind}>"
        first = self.define(x.kind, lanes, f"insertelement {type_} poison, {x.typed}, i64 0", x.depth)
        text = f"shufflevector {type_} {first.text}, {type_} poison, <{lanes} x i32> zeroinitializer"
        return self.define(x.kind, lanes, text, x.depth)

    def shuffle(self, a: Value, b: Value | None, picks: Sequence[int]) -> Value:
        """Pick lanes out of two vectors."""
        other = f"{a.type} poison" if b is None else b.typed
        depth = a.depth if b is None else max(a.depth, b.depth)
        return self.define(
            a.kind, len(picks), f"shufflevector {a.typed}, {other}, {vector_literal('i32', picks).typed}", depth
        )

    def in_halves(self, compute: Callable[..., Value], *args: Value) -> Value:
        """Compute a function of vectors wider than registers on the halves of each."""
        count = args[0].lanes // 2
        low, high = (
            compute(*[self.shuffle(a, None, range(start, start + count)) for a in args]) for start in (0, count)
        )
        return self.shuffle(low, high, range(2 * count))

    def table(self, function: str, content: str) -> Value:
        """The address of constants in memory, given as LLVM writes them."""
        name = self.tables.setdefault(content, f"@{function}.table{len(self.tables)}")
        return Value(name, "ptr")

    def address(self, base: Value, kind: str, offset: Value) -> Value:
        """The address of element `offset` (a vector of them gives a vector of addresses)."""
        if offset.constant == 0:
            return base
        text = f"getelementptr {kind}, ptr {base.text}, {offset.typed}"
        return self.define("ptr", offset.lanes, text, max(base.depth, offset.depth))

    def function(self, name: str) -> str:
        """Return the finished function."""
        (root,) = self.scopes
        tables = [f"{name} = private constant {content}, align 64" for content, name in self.tables.items()]
        lines = [*tables, f"define void @{name}(ptr %table, ptr %args, i64 %low, i64 %high) nounwind {{", "entry:"]
        return "\n".join([*lines, *self.entry, *root.lines, "  ret void", "}", ""])


def _fold(op: str, a: Value, b: Value) -> Value | None:
    x, y = a.constant, b.constant
    if x is not None and y is not None and op in ("add", "sub", "mul"):
        result = x + y if op == "add" else x - y if op == "sub" else x * y
        return integer((result + 2**63) % 2**64 - 2**63)
    if op == "add" and x == 0 or op == "mul" and x == 1:
        return b
    if op in ("add", "sub") and y == 0 or op == "mul" and y == 1:
        return a
    return None

"""Blocks of dot products of narrow numbers: in the tile registers of the processor, or in its vector registers."""

from __future__ import annotations

from collections.abc import Callable

from plait.compiler.llvm.text import Value, Writer, integer
from plait.compiler.llvm.values import Values
from plait.core.dtype import bfloat16
from plait.core.errors import InternalError
from plait.ir.dots import has_dots
from plait.ir.loop import Buffer, Dots, Local

_ROWS, _BYTES = 16, 64  # of a tile; a vector has as many bytes
_LEFT, _RIGHT = 4, 6  # the first tile registers of the operands; those of the sums are 0 to 3
_TALL = 8  # rows of sums in vector registers

Counted = Callable[[Value, Value, int, Callable[[Value], None], frozenset[Local | Buffer]], None]


def configure_tiles(w: Writer, name: str) -> None:
    """Give all 8 tile registers 16 rows of 64 bytes: once in a function, since it takes as long as many products."""
    content = [1, *[0] * 15, *[_BYTES, 0] * 8, *[0] * 16, *[_ROWS] * 8, *[0] * 8]
    table = w.table(name, f"[64 x i8] [{', '.join(f'i8 {byte}' for byte in content)}]")
    w.line(f"call void @llvm.x86.ldtilecfg(ptr {table.text})")


def add_dots(values: Values, counted: Counted, s: Dots) -> None:
    """Emit a `Dots`; `counted` emits a loop."""
    target = values.target
    if not has_dots(target, s.left.dtype):
        raise InternalError("loop IR: dot products of blocks for a processor without them")
    (_Tiles if target.has_tiles else _Vectors)(values, counted, s).emit()


class _Block:
    """One block: the addresses of its operands, and loops over k."""

    def __init__(self, values: Values, counted: Counted, s: Dots) -> None:
        self.w, self.counted, self.s = values.w, counted, s
        self.left, self.right = values.address(s.left, s.left_at)[0], values.address(s.right, s.right_at)[0]
        self.sums, self.depth = values.address(s.sums, s.sums_at)[0], values.value(s.depth)
        self.size = s.left.dtype.itemsize
        self.across = range(s.columns // _ROWS)

    def lines(self, body: Callable[[Value, Value], None]) -> None:
        """Emit a loop over lines of k; `body` receives where those of the operands begin."""
        s, w = self.s, self.w

        def line(k: Value) -> None:
            left, right = (w.binary("mul", k, integer(n * self.size)) for n in (s.rows, s.columns))
            body(w.address(self.left, "i8", left), w.address(self.right, "i8", right))

        self.counted(integer(0), self.depth, _BYTES // self.size, line, frozenset())


class _Tiles(_Block):
    """Up to 2 x 2 tiles of sums stay in registers for all k."""

    def emit(self) -> None:
        s, w = self.s, self.w
        down, pitch = range(s.rows // _ROWS), 4 * s.columns
        tiles = [(r, c, integer(_ROWS * (r * pitch + 4 * c))) for r in down for c in self.across]
        if s.left.dtype is bfloat16:
            name = "tdpbf16ps"
        else:
            name = "tdpb" + "".join("s" if b.dtype.kind == "i" else "u" for b in (s.left, s.right)) + "d"

        def products(left: Value, right: Value) -> None:
            for c in self.across:
                self.move("loadd", _RIGHT + c, right, integer(c * _BYTES), pitch)
            for r in down:
                self.move("loadd", _LEFT + r, left, integer(r * _ROWS * _BYTES), _BYTES)
            for r, c, _ in tiles:
                w.line(f"call void @llvm.x86.{name}(i8 {2 * r + c}, i8 {_LEFT + r}, i8 {_RIGHT + c})")

        for r, c, offset in tiles:
            if s.adds:
                self.move("loadd", 2 * r + c, self.sums, offset, pitch)
            else:
                w.line(f"call void @llvm.x86.tilezero(i8 {2 * r + c})")
        self.lines(products)
        for r, c, offset in tiles:
            self.move("stored", 2 * r + c, self.sums, offset, pitch)

    def move(self, name: str, register: int, base: Value, offset: Value, pitch: int) -> None:
        """Load or store a tile; `offset` and `pitch` are in bytes."""
        address = self.w.address(base, "i8", offset)
        self.w.line(f"call void @llvm.x86.tile{name}64(i8 {register}, ptr {address.text}, i64 {pitch})")


class _Vectors(_Block):
    """Some rows after another, the sums of each of which stay in one or two registers for all k.

    The processor multiplies unsigned bytes by signed ones. Of two operands of one kind, the right has 128 added to it
    (or taken from it), for which the sum over k of the left is corrected in the end.
    """

    def emit(self) -> None:
        for first in range(0, self.s.rows, _TALL):
            self.rows(first)

    def rows(self, first: int) -> None:
        s, w = self.s, self.w
        kind = "float" if s.left.dtype is bfloat16 else "i32"
        is_shifted = kind == "i32" and s.left.dtype is s.right.dtype
        places = [(r, c) for r in range(_TALL) for c in self.across]
        total = {at: w.stack(f"<16 x {kind}>", _BYTES) for at in places}
        extra = [w.stack("<16 x i32>", _BYTES) for _ in range(_TALL)] if is_shifted else []
        home = {(r, c): w.address(self.sums, kind, integer((first + r) * s.columns + _ROWS * c)) for r, c in places}
        for at in places:
            self.store(total[at], self.load(home[at], kind) if s.adds else w.widen(_zero(kind), 16))
        for register in extra:
            self.store(register, w.widen(_zero("i32"), 16))

        def line(left: Value, right: Value) -> None:
            for r, register in enumerate(extra):
                ones = w.widen(integer(0x01010101, "i32"), 16)
                row = self.load(w.address(left, "i8", integer((first + r) * _BYTES)), "i32")
                self.store(register, self.dot(self.load(register, "i32"), row, ones, "i32"))
            self.counted(integer(0), integer(16), 1, lambda q: group(left, right, q), frozenset())

        def group(left: Value, right: Value, q: Value) -> None:
            here = w.address(right, "i8", w.binary("mul", q, integer(4 * s.columns)))
            columns = [self.load(w.address(here, "i8", integer(c * _BYTES)), "i32") for c in self.across]
            if is_shifted:
                columns = [w.binary("xor", v, w.widen(integer(-0x7F7F7F80, "i32"), 16)) for v in columns]
            here = w.address(left, "i32", q)
            for r in range(_TALL):
                address = w.address(here, "i8", integer((first + r) * _BYTES))
                row = w.widen(w.read("i32", 1, f"load i32, ptr {address.text}, align 4", w.depth), 16)
                for c in self.across:
                    old = self.load(total[r, c], kind)
                    self.store(total[r, c], self.dot(old, row, columns[c], kind))

        self.lines(line)
        for r, c in places:
            value = self.load(total[r, c], kind)
            if is_shifted:
                value = w.binary("sub" if s.left.dtype.kind == "i" else "add", value, w.widen(self.sum(extra[r]), 16))
            w.line(f"store {value.typed}, ptr {home[r, c].text}, align 4")

    def load(self, address: Value, kind: str) -> Value:
        return self.w.read(kind, 16, f"load <16 x {kind}>, ptr {address.text}, align 4", self.w.depth)

    def store(self, address: Value, value: Value) -> None:
        self.w.line(f"store {value.typed}, ptr {address.text}, align {_BYTES}")

    def dot(self, total: Value, left: Value, right: Value, kind: str) -> Value:
        """Add the products of each group to its sum; a vector of ones stands for either kind of operand."""
        w, is_bfloat = self.w, kind == "float"
        name, type_ = (
            ("avx512bf16.dpbf16ps.512", "<32 x bfloat>") if is_bfloat else ("avx512.vpdpbusd.512", "<64 x i8>")
        )
        pair = (left, right) if is_bfloat or self.s.left.dtype.kind == "u" else (right, left)
        depth = max(left.depth, right.depth, total.depth)
        a, b = (w.define(type_, 1, f"bitcast {v.typed} to {type_}", v.depth) for v in pair)
        text = f"call {total.type} @llvm.x86.{name}({total.typed}, {a.typed}, {b.typed})"
        return w.define(kind, 16, text, depth)

    def sum(self, register: Value) -> Value:
        """128 times the sum of all lanes."""
        value, w = self.load(register, "i32"), self.w
        text = f"call i32 @llvm.vector.reduce.add.v16i32({value.typed})"
        return w.binary("shl", w.define("i32", 1, text, value.depth), integer(7, "i32"))


def _zero(kind: str) -> Value:
    return Value("0.0", kind, constant=0.0) if kind == "float" else integer(0, kind)

"""Expressions of the loop IR: values, scalar or in vector lanes, and the memory they read."""

from __future__ import annotations

from dataclasses import dataclass, field

from plait.compiler.llvm.lanes import Lanes
from plait.compiler.llvm.memory import NEAR, load_lanes, load_scalar, spread
from plait.compiler.llvm.operations import apply, divide_small
from plait.compiler.llvm.storage import from_storage, storage_kind, to_storage
from plait.compiler.llvm.tables import lookup
from plait.compiler.llvm.text import Target, Value, Writer, integer, kind_of, literal, vector_literal
from plait.core.dtype import DType, float16, int64
from plait.core.errors import InternalError
from plait.ir.loop import Accumulator, Buffer, Expr, Function, Local, Variable


@dataclass(slots=True)
class Slot:
    """Where a local lives; an accumulator of vector loops has lane accumulators besides, by width."""

    address: Value
    lanes: int
    banks: dict[int, list[Value]] = field(default_factory=dict)


class Values:
    """Emits the expressions of one function; `lanes` are those being computed, if any."""

    def __init__(self, function: Function, target: Target) -> None:
        self.function, self.target, self.w = function, target, Writer(target)
        self.lanes: Lanes | None = None
        self.variables: dict[Variable, tuple[Value, int]] = {}
        self.limits: dict[Variable, int] = {}
        self.slots: dict[Local, Slot] = {}
        self.memory: dict[Buffer, Value] = {}
        self.zeros: Value | None = None

    # expressions
    def value(self, expr: Expr) -> Value:
        """Emit an expression, as a vector if it varies between lanes, as a scalar if not."""
        cache = self.w.cache
        pending = [expr]
        while pending:
            e = pending[-1]
            if e in cache:
                pending.pop()
                continue
            is_leaf = e.op == "load" or not e.args or self.is_affine(e)
            wanted = e.args[::2] if e.op == "rarely" else e.args
            missing = [] if is_leaf else [a for a in wanted if a not in cache]
            if missing:
                pending += missing
                continue
            pending.pop()
            if is_leaf:
                value, life = self.leaf(e)
            elif e.op == "rarely":
                value, life = self.rarely(e), self.w.depth
            else:
                operands = [cache[a] for a in e.args]
                life = max(operand[1] for operand in operands)
                values = [operand[0] for operand in operands]
                if e.op == "lookup":
                    value = lookup(self.w, self.function.name, e.attr, e.dtype, values[0])
                elif e.op == "half":
                    stored = to_storage(self.w, self.target, float16, values[0])
                    value = from_storage(self.w, self.target, float16, stored)
                elif e.op in ("div", "rem") and values[0].lanes > 1 and self.is_small(e):
                    value = divide_small(self.w, e.op, *values)
                else:
                    value = apply(self.w, e.op, e.dtype, e.args[-1].dtype, *values)
            self.w.remember(e, value, life)
        return cache[expr][0]

    def rarely(self, e: Expr) -> Value:
        """Emit a branch around what only the rare value needs."""
        w, (condition, rare, common) = self.w, e.args
        width = self.lanes.width if self.lanes is not None and self.varies(e) else 1
        chosen, other = (w.widen(w.cache[a][0], width) for a in (condition, common))
        start, outer, leave = w.scopes[-1].block, w.floor, w.label("end")
        taken = self.any_of(chosen)
        w.open("rare", False, frozenset())
        w.floor = w.depth
        value = w.select(chosen, w.widen(self.value(rare), width), other)
        w.jump(leave)
        w.floor = outer
        scope = w.close()
        w.branch(taken, scope.first, leave)
        w.splice(scope)
        w.start_block(leave)
        text = f"phi {value.type} [ {value.text}, %{scope.block} ], [ {other.text}, %{start} ]"
        return w.read(value.kind, value.lanes, text, w.depth)

    def life(self, expr: Expr) -> tuple[Value, int]:
        """Emit an expression; return it with the scope at whose end it must be forgotten."""
        self.value(expr)
        return self.w.cache[expr]

    def varies(self, expr: Expr | None) -> bool:
        """Whether an expression differs between the lanes being computed."""
        return expr is not None and self.lanes is not None and self.lanes.analysis.varies(expr)

    def is_affine(self, expr: Expr) -> bool:
        """Whether an expression steps evenly from lane to lane."""
        return expr.dtype is int64 and self.varies(expr) and self.stride(expr) is not None

    def stride(self, index: Expr) -> Expr | None:
        """The difference between lanes, None if it is not constant."""
        assert self.lanes is not None
        return self.lanes.analysis.stride(index)

    def leaf(self, e: Expr) -> tuple[Value, int]:
        """Emit a read, a constant, or index arithmetic that is done once for all lanes."""
        w = self.w
        if e.op == "const":
            return literal(e.attr, e.dtype), 0
        if e.op == "load":
            return self.load(e)
        if self.is_affine(e):
            return self.affine(e)
        if e.op == "var":
            return self.variables[e.attr]
        if e.op == "scalar":
            return self.argument(len(self.function.buffers) + self.function.scalars.index(e.attr)), 0
        if e.op not in ("local", "accumulator"):
            raise InternalError(f"loop IR: unknown expression {e.op!r}")
        slot, depth = self.slots[e.attr], w.unchanged(e.attr)
        type_ = register_type(e.dtype, slot.lanes)
        value = w.read(kind_of(e.dtype), slot.lanes, f"load {type_}, ptr {slot.address.text}", depth)
        if isinstance(e.attr, Accumulator):
            value = self.combined(e.attr, slot, value)
        return value, w.depth

    def affine(self, e: Expr) -> tuple[Value, int]:
        """The vector first + stride * lane of an index expression."""
        lanes, step = self.lanes, self.stride(e)
        assert lanes is not None
        assert step is not None
        first, life = self.first(e)
        stride, stride_life = self.life(step)
        if stride.constant is not None:
            offsets = vector_literal("i64", [k * stride.constant for k in range(lanes.width)])
        else:
            offsets = self.w.binary("mul", self.w.widen(stride, lanes.width), lane_numbers("i64", lanes.width))
        return self.w.binary("add", self.w.widen(first, lanes.width), offsets), max(life, stride_life)

    def first(self, e: Expr) -> tuple[Value, int]:
        """The scalar value of an index expression in lane 0, and its life."""
        if not self.varies(e):
            return self.life(e)
        assert self.lanes is not None
        if e.op == "var":
            return self.lanes.first, self.lanes.life
        found = self.w.cache.get(("first", e))
        if found is None:
            operands = [self.first(a) for a in e.args]
            value = apply(self.w, e.op, e.dtype, e.dtype, *(operand[0] for operand in operands))
            found = value, max(operand[1] for operand in operands)
            self.w.remember(("first", e), *found)
        return found

    def is_small(self, quotient: Expr) -> bool:
        """Whether both operands of an index division are known to be natural numbers below 2**31."""
        limits = [self.limit(a) for a in quotient.args]
        return quotient.dtype is int64 and all(limit is not None and limit < 2**31 for limit in limits)

    def limit(self, e: Expr) -> int | None:
        """The largest value of an index expression that is never negative, None if not known."""
        if e.op == "const":
            return e.attr if e.attr >= 0 else None
        if e.op == "var":
            return self.limits.get(e.attr)
        if e.op not in ("add", "mul", "div", "rem"):
            return None
        a, b = (self.limit(x) for x in e.args)
        if a is None or b is None:
            return None
        if e.op in ("add", "mul"):
            return a + b if e.op == "add" else a * b
        if e.args[1].op != "const" or b == 0:
            return None
        return a // b if e.op == "div" else min(a, b - 1)

    # memory
    def argument(self, position: int) -> Value:
        """The int64 at a position of the argument array."""
        address = self.w.address(Value("%args", "ptr"), "i64", integer(position))
        return self.w.define("i64", 1, f"load i64, ptr {address.text}", 0)

    def base(self, buffer: Buffer) -> Value:
        """The address of a buffer."""
        found = self.memory.get(buffer)
        if found is None:
            floor, self.w.floor = self.w.floor, 0  # it is needed for longer than what is being written
            slot = self.argument(self.function.buffers.index(buffer))
            address = self.w.address(Value("%table", "ptr"), "ptr", slot)
            found = self.memory[buffer] = self.w.define("ptr", 1, f"load ptr, ptr {address.text}", 0)
            self.w.floor = floor
        return found

    def address(self, buffer: Buffer, index: Expr) -> tuple[Value, int]:
        """The address of an element (of lane 0), and its life.

        The index is split into the terms known in each scope, so that all but the last are added outside the loops.
        """
        w, kind, constant, life = self.w, storage_kind(buffer.dtype), 0, 0
        terms: list[Value] = []
        pending = [(index, 1)]
        while pending:
            e, factor = pending.pop()
            if e.op == "add":
                pending += [(a, factor) for a in reversed(e.args)]
            elif e.op == "mul" and e.args[1].op == "const":
                pending.append((e.args[0], factor * e.args[1].attr))
            else:
                value, term_life = self.first(e)
                life = max(life, term_life)
                if value.constant is not None:
                    constant += value.constant * factor
                else:
                    terms.append(w.binary("mul", value, integer(factor)))
        address, partial = self.base(buffer), integer(0)
        terms.sort(key=lambda term: term.depth)
        for i, term in enumerate(terms):
            partial = w.binary("add", partial, term)
            if i + 1 == len(terms) or terms[i + 1].depth != term.depth:
                address, partial = w.address(address, kind, partial), integer(0)
        return w.address(address, kind, integer(constant)), life

    def addresses(self, buffer: Buffer, index: Expr) -> tuple[Value, int, int]:
        """The address of lane 0 and its stride -1 or 1 to `NEAR`, or else all addresses and 0; and their life."""
        assert self.lanes is not None
        kind, step = storage_kind(buffer.dtype), self.stride(index)
        if step is None:
            vector, life = self.life(index)
            return self.w.address(self.base(buffer), kind, vector), 0, life
        first, life = self.address(buffer, index)
        stride, stride_life = self.life(step)
        if stride.constant is not None and stride.constant in (-1, *range(1, NEAR + 1)):
            return first, stride.constant, life
        return spread(self.w, kind, self.lanes.width, first, stride), 0, max(life, stride_life)

    def load(self, e: Expr) -> tuple[Value, int]:
        """Emit a load."""
        w, buffer, index = self.w, e.attr, e.args[0]
        guard = e.args[1] if len(e.args) > 1 else None
        kind = storage_kind(buffer.dtype)
        condition, life = self.life(guard) if guard is not None else (None, 0)
        if self.varies(index) or self.varies(guard):
            assert self.lanes is not None
            address, stride, index_life = self.addresses(buffer, index)
            if address.lanes == 1 and stride == 0:
                address = w.widen(address, self.lanes.width)
            mask = self.mask(condition)
            raw = load_lanes(w, kind, self.lanes.width, address, stride, mask, buffer)
        else:
            address, index_life = self.address(buffer, index)
            if self.lanes is not None and not self.lanes.sure:
                condition = self.conjunction(condition, self.any_lane())
            if condition is not None:
                address = w.select(condition, address, self.zero_memory())
            raw = load_scalar(w, kind, address, buffer)
        # what is loaded under a condition is right only while the scope of the condition is open
        life = max(life, index_life, w.barrier) if buffer.space == "input" else w.depth
        return from_storage(w, self.target, buffer.dtype, raw), life

    def zero_memory(self) -> Value:
        """Memory that holds 0, to be read in place of what must not be read."""
        if self.zeros is None:
            self.zeros = self.w.stack("i64", 8)
            self.w.entry.append(f"  store i64 0, ptr {self.zeros.text}")
        return self.zeros

    # masks
    def conjunction(self, a: Value | None, b: Value | None) -> Value | None:
        """a and b, where None is true."""
        return b if a is None else a if b is None else self.w.binary("and", a, b)

    def mask(self, condition: Value | None) -> Value | None:
        """The live lanes in which a condition holds."""
        assert self.lanes is not None
        return self.conjunction(self.lanes.mask, condition)

    def any_lane(self) -> Value:
        """Whether any lane is alive."""
        assert self.lanes is not None
        assert self.lanes.mask is not None
        return self.any_of(self.lanes.mask)

    def any_of(self, mask: Value) -> Value:
        """Whether a condition holds in any lane."""
        if mask.lanes == 1:
            return mask
        bits = self.w.define(f"i{mask.lanes}", 1, f"bitcast {mask.typed} to i{mask.lanes}", mask.depth)
        return self.w.compare("icmp ne", bits, integer(0, bits.kind))

    # accumulators
    def merge(self, accumulator: Accumulator, a: Value, b: Value) -> Value:
        """Combine two partial results."""
        return apply(self.w, accumulator.op, accumulator.dtype, accumulator.dtype, a, b)

    def combined(self, accumulator: Accumulator, slot: Slot, value: Value) -> Value:
        """Combine the lanes of an accumulator with its scalar part, in a fixed tree."""
        for lanes, banks in slot.banks.items():
            kind, type_ = value.kind, register_type(accumulator.dtype, lanes)
            parts = [self.w.read(kind, lanes, f"load {type_}, ptr {bank.text}", value.depth) for bank in banks]
            while len(parts) > 1:
                parts = [self.merge(accumulator, a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
            part = parts[0]
            while part.lanes > 1:
                half = part.lanes // 2
                if half == 1:
                    a, b = (self.w.define(kind, 1, f"extractelement {part.typed}, i64 {k}", part.depth) for k in (0, 1))
                else:
                    a, b = (self.w.shuffle(part, None, range(start, start + half)) for start in (0, half))
                part = self.merge(accumulator, a, b)
            value = self.merge(accumulator, value, part)
        return value


def register_type(dtype: DType, lanes: int) -> str:
    """The LLVM type of a value of a compute dtype."""
    return kind_of(dtype) if lanes == 1 else f"<{lanes} x {kind_of(dtype)}>"


def lane_numbers(kind: str, width: int) -> Value:
    """The vector 0, 1, 2, ..."""
    return vector_literal(kind, range(width))

"""Loop IR to LLVM IR: every statement, scalar or in vector lanes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from plait.compiler.llvm.lanes import Lanes, Plan, analyse, outer_accumulators, plan, postorder
from plait.compiler.llvm.memory import load_lanes, load_scalar, spread, store_lanes, store_pairs, store_scalar
from plait.compiler.llvm.operations import apply, divide_small, identity
from plait.compiler.llvm.storage import from_storage, storage_kind, to_storage
from plait.compiler.llvm.text import Target, Value, Writer, integer, kind_of, literal, vector_literal
from plait.core.dtype import DType, int64
from plait.core.errors import InternalError
from plait.ir.loop import (
    Accumulate,
    Accumulator,
    Allocate,
    Assign,
    Buffer,
    Declare,
    Expr,
    For,
    Function,
    If,
    Local,
    Statement,
    Store,
    Variable,
    While,
    const,
    walk,
)

_MAX_UNROLLED_VECTORS = 8
_MAX_UNROLLED_SIZE = 512


def emit(function: Function, target: Target) -> str:
    """Return LLVM text IR that defines `void <name>(ptr table, ptr args, i64 low, i64 high)`.

    Args:
        function: a function that `plait.ir.check` accepts.
        target: the machine.

    Returns:
        The definition; several may be concatenated into one module.
    """
    return Emitter(function, target).run()


@dataclass(slots=True)
class Slot:
    """Where a local lives; an accumulator of vector loops has lane accumulators besides, by width."""

    address: Value
    lanes: int
    banks: dict[int, list[Value]] = field(default_factory=dict)


class Emitter:
    """Emits one function."""

    def __init__(self, function: Function, target: Target) -> None:
        self.function, self.target, self.w = function, target, Writer()
        self.lanes: Lanes | None = None
        self.variables: dict[Variable, tuple[Value, int]] = {}
        self.slots: dict[Local, Slot] = {}
        self.memory: dict[Buffer, Value] = {}
        self.plans: dict[int, Plan] = {}
        self.limits: dict[Variable, int] = {}
        self.written: dict[int, frozenset[Local | Buffer]] = {}
        self.banks: dict[Accumulator, dict[int, int]] = {}
        self.zeros: Value | None = None
        for s in walk(function.body):
            if isinstance(s, For) and s.mark == "vector":
                chosen = self.plan(s.body)
                for accumulator in outer_accumulators(s.body) if chosen.width > 1 else ():
                    counts = self.banks.setdefault(accumulator, {})
                    counts[chosen.width] = max(counts.get(chosen.width, 1), chosen.unroll)

    def run(self) -> str:
        """Emit the function."""
        f = self.function
        self.bound(f.variable, const(0), f.extent)
        loop = self.vector_loop if f.mark == "vector" else self.scalar_loop
        loop(f.variable, Value("%low", "i64"), Value("%high", "i64"), 1, f.body)
        return self.w.function(f.name)

    def plan(self, body: list[Statement]) -> Plan:
        """The plan of a vector loop, by its body."""
        found = self.plans.get(id(body))
        if found is None:
            found = self.plans[id(body)] = plan(body, self.target)
        return found

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
            missing = [] if is_leaf else [a for a in e.args if a not in cache]
            if missing:
                pending += missing
                continue
            pending.pop()
            if is_leaf:
                value, life = self.leaf(e)
            else:
                operands = [cache[a] for a in e.args]
                life = max(operand[1] for operand in operands)
                values = [operand[0] for operand in operands]
                if e.op in ("div", "rem") and values[0].lanes > 1 and self.is_small(e):
                    value = divide_small(self.w, e.op, *values)
                else:
                    value = apply(self.w, e.op, e.dtype, e.args[-1].dtype, *values)
            self.w.remember(e, value, life)
        return cache[expr][0]

    def life(self, expr: Expr) -> tuple[Value, int]:
        """Emit an expression; return it with the scope at whose end it must be forgotten."""
        self.value(expr)
        return self.w.cache[expr]

    def vector(self, expr: Expr) -> Value:
        """Emit an expression and widen it to the lanes, if there are any."""
        value = self.value(expr)
        return value if self.lanes is None else self.w.widen(value, self.lanes.width)

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
        type_ = _type(e.dtype, slot.lanes)
        value = w.read(kind_of(e.dtype), slot.lanes, f"load {type_}, ptr {slot.address.text}", depth)
        if isinstance(e.attr, Accumulator):
            value = self.combined(e.attr, slot, value)
        return value, w.depth

    def affine(self, e: Expr) -> tuple[Value, int]:
        """The vector first + stride * lane of an index expression."""
        lanes, step = self.lanes, self.stride(e)
        assert lanes is not None and step is not None
        first, life = self.first(e)
        stride, stride_life = self.life(step)
        if stride.constant is not None:
            offsets = vector_literal("i64", [k * stride.constant for k in range(lanes.width)])
        else:
            offsets = self.w.binary("mul", self.w.widen(stride, lanes.width), _lane_numbers("i64", lanes.width))
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
            slot = self.argument(self.function.buffers.index(buffer))
            address = self.w.address(Value("%table", "ptr"), "ptr", slot)
            found = self.memory[buffer] = self.w.define("ptr", 1, f"load ptr, ptr {address.text}", 0)
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
        """The address of lane 0 and its stride 1, -1 or 2, or else all addresses and 0; and their life."""
        assert self.lanes is not None
        kind, step = storage_kind(buffer.dtype), self.stride(index)
        if step is None:
            vector, life = self.life(index)
            return self.w.address(self.base(buffer), kind, vector), 0, life
        first, life = self.address(buffer, index)
        stride, stride_life = self.life(step)
        if stride.constant in (1, -1, 2):
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
        assert self.lanes is not None and self.lanes.mask is not None
        mask = self.lanes.mask
        bits = self.w.define(f"i{mask.lanes}", 1, f"bitcast {mask.typed} to i{mask.lanes}", mask.depth)
        return self.w.compare("icmp ne", bits, integer(0, bits.kind))

    # statements
    def block(self, body: Sequence[Statement]) -> None:
        """Emit statements in order."""
        skip = False
        for i, s in enumerate(body):
            if skip:
                skip = False
            elif isinstance(s, Store):
                following = body[i + 1] if i + 1 < len(body) else None
                if isinstance(following, Store) and self.is_pair(s, following):
                    self.guarded(s, functools.partial(self.store_pair, s, following))
                    skip = True
                else:
                    self.guarded(s, functools.partial(self.store, s))
            else:
                self.statement(s)

    def statement(self, s: Statement) -> None:
        """Emit any statement but a store."""
        if isinstance(s, For):
            self.loop(s)
        elif isinstance(s, While):
            self.repeat(s)
        elif isinstance(s, If):
            self.branch(s)
        elif isinstance(s, Declare):
            self.declare(s.local, s.value)
        elif isinstance(s, Assign):
            self.write(self.slots[s.local], self.value(s.value))
        elif isinstance(s, Accumulate):
            self.guarded(s, functools.partial(self.accumulate, s))
        elif isinstance(s, Allocate):
            assert isinstance(s.buffer.size, int)
            if s.buffer not in self.memory:
                self.memory[s.buffer] = self.w.stack(f"[{s.buffer.size} x {storage_kind(s.buffer.dtype)}]", 64)
        else:
            raise InternalError(f"loop IR: unknown statement {s!r}")

    def store(self, s: Store) -> None:
        """Emit a store that the guard (if any) has been applied to."""
        value = to_storage(self.w, self.target, s.buffer.dtype, self.value(s.value))
        if self.lanes is None:
            store_scalar(self.w, value, self.address(s.buffer, s.index)[0])
            return
        address, stride, _ = self.addresses(s.buffer, s.index)
        store_lanes(self.w, self.w.widen(value, self.lanes.width), address, stride, self.lanes.mask)

    def is_pair(self, even: Store, odd: Store) -> bool:
        """Whether two stores write neighbouring elements in each lane, as for a complex number."""
        if self.lanes is None or even.buffer is not odd.buffer or even.guard is not odd.guard:
            return False
        step = self.stride(even.index)
        if step is None or step.attr != 2 or odd.index is not even.index + 1:
            return False
        loads = (e for e in postorder([odd.value]) if e.op == "load" and e.attr is odd.buffer)
        return all(e.args[0] is odd.index for e in loads)

    def store_pair(self, even: Store, odd: Store) -> None:
        """Emit two stores as one."""
        assert self.lanes is not None
        dtype, width = even.buffer.dtype, self.lanes.width
        parts = [self.w.widen(to_storage(self.w, self.target, dtype, self.value(s.value)), width) for s in (even, odd)]
        store_pairs(self.w, parts[0], parts[1], self.address(even.buffer, even.index)[0], self.lanes.mask)

    def guarded(self, s: Store | Accumulate, emit_statement: Callable[[], None]) -> None:
        """Emit a statement under its guard: nothing of it is executed where the guard is false."""
        if s.guard is None:
            emit_statement()
        elif self.varies(s.guard):
            lanes = self.lanes
            assert lanes is not None
            mask = self.mask(self.value(s.guard))
            assert mask is not None
            self.w.open_inline(certain=False, writes=_written([s]))
            self.lanes = lanes.under(mask)
            emit_statement()
            self.lanes = lanes
            self.w.close_inline()
        else:
            self.when(self.value(s.guard), emit_statement, _written([s]))

    # locals
    def declare(self, local: Local, initial: Expr) -> None:
        """Reserve a slot and initialise it."""
        width = 1 if self.lanes is None else self.lanes.width
        slot = self.slots[local] = Slot(self.w.stack(_type(local.dtype, width), local.dtype.itemsize * width), width)
        self.write(slot, self.value(initial))
        if isinstance(local, Accumulator) and self.lanes is None:
            for lanes, count in self.banks.get(local, {}).items():
                type_ = _type(local.dtype, lanes)
                neutral = self.w.widen(identity(local.op, local.dtype), lanes)
                slot.banks[lanes] = [self.w.stack(type_, 64) for _ in range(count)]
                for bank in slot.banks[lanes]:
                    self.w.line(f"store {neutral.typed}, ptr {bank.text}")

    def write(self, slot: Slot, value: Value) -> None:
        """Assign to a slot."""
        self.w.line(f"store {self.w.widen(value, slot.lanes).typed}, ptr {slot.address.text}")

    def accumulate(self, s: Accumulate) -> None:
        """Combine a value into an accumulator, lane by lane where it is shared by the lanes."""
        accumulator, slot = s.accumulator, self.slots[s.accumulator]
        value, address, width = self.value(s.value), slot.address, slot.lanes
        if self.lanes is not None and accumulator not in self.lanes.analysis.locals:
            width = self.lanes.width
            address = slot.banks[width][self.lanes.bank % len(slot.banks[width])]
        value, type_ = self.w.widen(value, width), _type(accumulator.dtype, width)
        old = self.w.read(value.kind, width, f"load {type_}, ptr {address.text}", self.w.depth)
        new = self.merge(accumulator, value, old)
        if self.lanes is not None and self.lanes.mask is not None:
            new = self.w.select(self.lanes.mask, new, old)
        self.w.line(f"store {new.typed}, ptr {address.text}")

    def merge(self, accumulator: Accumulator, a: Value, b: Value) -> Value:
        """Combine two partial results."""
        return apply(self.w, accumulator.op, accumulator.dtype, accumulator.dtype, a, b)

    def combined(self, accumulator: Accumulator, slot: Slot, value: Value) -> Value:
        """Combine the lanes of an accumulator with its scalar part, in a fixed tree."""
        for lanes, banks in slot.banks.items():
            kind, type_ = value.kind, _type(accumulator.dtype, lanes)
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

    # control
    def loop(self, s: For) -> None:
        """Emit a for loop."""
        low, high = self.value(s.low), self.value(s.high)
        self.bound(s.variable, s.low, s.high)
        if s.mark == "vector":
            self.vector_loop(s.variable, low, high, 1, s.body)
        elif s.mark == "unroll":
            if low.constant is None or high.constant is None:
                raise InternalError("loop IR: an unrolled loop needs constant bounds")
            for k in range(low.constant, high.constant, s.step):
                with self.inline(s.body):
                    self.variables[s.variable] = integer(k), self.w.depth
                    self.block(s.body)
        else:
            self.scalar_loop(s.variable, low, high, s.step, s.body)

    def bound(self, variable: Variable, low: Expr, high: Expr) -> None:
        """Note the range of a loop variable, if it is constant."""
        if low.op == high.op == "const" and low.attr >= 0:
            self.limits[variable] = high.attr - 1

    def scalar_loop(self, variable: Variable, low: Value, high: Value, step: int, body: list[Statement]) -> None:
        """Emit a loop of single iterations."""

        def iteration(index: Value) -> None:
            self.variables[variable] = index, self.w.depth
            self.block(body)

        self.counted(low, high, step, iteration, self.writes(body))

    def vector_loop(self, variable: Variable, low: Value, high: Value, step: int, body: list[Statement]) -> None:
        """Emit a loop of whole vectors, then one masked vector (or more, if unrolled) for what is left."""
        chosen = self.plan(body)
        width, unroll = chosen.width, chosen.unroll
        if width < 2:
            self.scalar_loop(variable, low, high, step, body)
            return
        analysis, writes = analyse(variable, body), self.writes(body)

        def vector(first: Value, bank: int, mask: Value | None = None) -> None:
            outer = self.lanes
            self.lanes = Lanes(analysis, width, first, self.w.depth, mask, bank)
            self.block(body)
            self.lanes = outer

        def turn(first: Value) -> None:
            for k in range(unroll):
                with self.inline(body):
                    vector(self.w.binary("add", first, integer(k * width)), k)

        def rest(first: Value) -> None:
            vector(first, 0, self.live_lanes(first, high, width))

        if low.constant is not None and high.constant is not None:
            count = max(0, high.constant - low.constant)
            if self.is_short(count, chosen):
                for k in range(count // width):
                    with self.inline(body):
                        vector(integer(low.constant + k * width), k)
                whole = integer(low.constant + count // width * width)
                unroll = 1
            else:
                unroll = min(unroll, max(1, count // width))
                whole = integer(low.constant + count // (width * unroll) * (width * unroll))
                self.counted(low, whole, width * unroll, turn, writes)
        else:
            count_value = self.w.call("smax", self.w.binary("sub", high, low), integer(0))
            whole = self.w.binary("add", low, self.w.binary("and", count_value, integer(-width * unroll)))
            self.counted(low, whole, width * unroll, turn, writes)
        self.counted(whole, high, width, rest, writes, at_most_once=unroll == 1)

    def is_short(self, count: int, chosen: Plan) -> bool:
        """Whether a vector loop of a constant count is written out."""
        vectors = count // chosen.width
        if vectors > _MAX_UNROLLED_VECTORS:
            return False
        return chosen.uses_stack or vectors * chosen.size <= _MAX_UNROLLED_SIZE

    def live_lanes(self, first: Value, high: Value, width: int) -> Value:
        """The mask of the lanes below the end of a loop."""
        if first.constant is not None and high.constant is not None:
            return vector_literal("i1", [first.constant + k < high.constant for k in range(width)])
        left = self.w.convert("trunc", self.w.binary("sub", high, first), "i32")
        return self.w.compare("icmp ult", _lane_numbers("i32", width), left)

    def counted(
        self,
        low: Value,
        high: Value,
        step: int,
        body: Callable[[Value], None],
        writes: frozenset[Local | Buffer],
        at_most_once: bool = False,
    ) -> None:
        """Emit `for index in range(low, high, step)` around what `body(index)` emits."""
        w = self.w
        known = low.constant is not None and high.constant is not None
        if known and low.constant >= high.constant:
            return
        if known and (at_most_once or low.constant + step >= high.constant):
            w.open_inline(True, writes)
            body(low)
            w.close_inline()
            return
        if at_most_once:
            self.when(w.compare("icmp slt", low, high), lambda: body(low), writes)
            return
        enter = None if known else w.compare("icmp slt", low, high)
        if enter is not None:
            w.open("enter", False, writes)
        header = w.open("loop", True, writes)
        index = Value(f"%{w.label('i')}", "i64", 1, w.depth)
        body(index)
        following = w.read("i64", 1, f"add nsw i64 {index.text}, {step}", w.depth)
        again, leave = w.compare("icmp slt", following, high), w.label("done")
        w.branch(again, header.first, leave)
        inner = w.close()
        phi = f"  {index.text} = phi i64 [ {low.text}, %{w.scopes[-1].block} ], [ {following.text}, %{inner.block} ]"
        inner.lines.insert(0, phi)
        w.jump(inner.first)
        w.splice(inner)
        if enter is not None:
            outer = w.close()
            w.branch(enter, outer.first, leave)
            w.splice(outer)
        w.start_block(leave)

    def when(self, condition: Value, body: Callable[[], None], writes: frozenset[Local | Buffer]) -> None:
        """Emit an if without else."""
        w, leave = self.w, self.w.label("end")
        w.open("then", False, writes)
        body()
        w.jump(leave)
        then = w.close()
        w.branch(condition, then.first, leave)
        w.splice(then)
        w.start_block(leave)

    def branch(self, s: If) -> None:
        """Emit an if statement."""
        w, leave, scopes = self.w, self.w.label("end"), []
        condition = self.value(s.condition)
        if condition.lanes > 1:
            raise InternalError(f"loop IR: the condition of an if ({s.condition.op}) varies between lanes")
        for body in (s.body, s.orelse):
            w.open("branch", False, self.writes(body))
            self.block(body)
            w.jump(leave)
            scopes.append(w.close())
        w.branch(condition, scopes[0].first, scopes[1].first)
        for scope in scopes:
            w.splice(scope)
        w.start_block(leave)

    def repeat(self, s: While) -> None:
        """Emit a while loop."""
        w, writes = self.w, self.writes(s.body)
        header = w.open("while", True, writes)
        condition = self.value(s.condition)
        body = w.open("do", False, writes)
        self.block(s.body)
        w.jump(header.first)
        w.close()
        leave = w.label("done")
        w.branch(condition, body.first, leave)
        w.splice(body)
        w.close()
        w.jump(header.first)
        w.splice(header)
        w.start_block(leave)

    def writes(self, body: list[Statement]) -> frozenset[Local | Buffer]:
        """The locals and buffers that a body may change."""
        found = self.written.get(id(body))
        if found is None:
            found = self.written[id(body)] = _written(body)
        return found

    @contextmanager
    def inline(self, body: list[Statement]) -> Iterator[None]:
        """A scope of its own in the current block: one copy of an unrolled body."""
        self.w.open_inline(True, self.writes(body))
        yield
        self.w.close_inline()


def _written(body: Sequence[Statement]) -> frozenset[Local | Buffer]:
    names: set[Local | Buffer] = set()
    for s in walk(body):
        if isinstance(s, (Declare, Assign)):
            names.add(s.local)
        elif isinstance(s, Accumulate):
            names.add(s.accumulator)
        elif isinstance(s, (Store, Allocate)):
            names.add(s.buffer)
    return frozenset(names)


def _type(dtype: DType, lanes: int) -> str:
    return kind_of(dtype) if lanes == 1 else f"<{lanes} x {kind_of(dtype)}>"


def _lane_numbers(kind: str, width: int) -> Value:
    return vector_literal(kind, range(width))

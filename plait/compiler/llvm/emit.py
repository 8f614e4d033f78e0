"""Loop IR to LLVM IR: every statement, scalar or in vector lanes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from plait.compiler.llvm.dots import add_dots, configure_tiles
from plait.compiler.llvm.lanes import Lanes, Plan, analyse, outer_accumulators, plan, postorder
from plait.compiler.llvm.memory import NEAR, TRUE, store_between, store_lanes, store_scalar
from plait.compiler.llvm.operations import identity
from plait.compiler.llvm.storage import storage_kind, to_storage
from plait.compiler.llvm.text import Target, Value, integer, vector_literal
from plait.compiler.llvm.values import Slot, Values, lane_numbers, register_type
from plait.core.errors import InternalError
from plait.ir.loop import (
    Accumulate,
    Accumulator,
    Allocate,
    Assign,
    Buffer,
    Declare,
    Dots,
    Expr,
    For,
    Function,
    If,
    Local,
    Prefetch,
    Scan,
    Statement,
    Store,
    Variable,
    While,
    const,
    walk,
)

_MAX_UNROLLED_VECTORS = 8
_MAX_UNROLLED_SIZE = 512
_MOST_COPIED = 96  # size of a body up to which whole vectors have a loop of their own, without a mask


def emit(function: Function, target: Target) -> str:
    """Return LLVM text IR that defines `void <name>(ptr table, ptr args, i64 low, i64 high)`.

    Args:
        function: a function that `plait.ir.check` accepts.
        target: the machine.

    Returns:
        The definition; several may be concatenated into one module.
    """
    return Emitter(function, target).run()


class Emitter:
    """Emits one function."""

    def __init__(self, function: Function, target: Target) -> None:
        self.function, self.target = function, target
        self.values = Values(function, target)
        self.w = self.values.w
        self.plans: dict[int, Plan] = {}
        self.written: dict[int, frozenset[Local | Buffer]] = {}
        self.banks: dict[Accumulator, dict[int, int]] = {}
        for s in walk(function.body):
            if isinstance(s, For) and s.mark == "vector":
                chosen = self.plan(s.variable, s.body)
                for accumulator in outer_accumulators(s.body) if chosen.width > 1 else ():
                    counts = self.banks.setdefault(accumulator, {})
                    counts[chosen.width] = max(counts.get(chosen.width, 1), chosen.unroll)

    def run(self) -> str:
        """Emit the function."""
        f = self.function
        self.bound(f.variable, const(0), f.extent)
        loop = self.vector_loop if f.mark == "vector" else self.scalar_loop
        uses_tiles = self.target.has_tiles and any(isinstance(s, Dots) for s in walk(f.body))
        if uses_tiles:
            configure_tiles(self.w, f.name)
        loop(f.variable, Value("%low", "i64"), Value("%high", "i64"), 1, f.body)
        if uses_tiles:
            self.w.line("call void @llvm.x86.tilerelease()")
        return self.w.function(f.name)

    def plan(self, variable: Variable, body: list[Statement]) -> Plan:
        """The plan of a vector loop, by its body."""
        found = self.plans.get(id(body))
        if found is None:
            found = self.plans[id(body)] = plan(variable, body, self.target, self.function.in_order)
        return found

    # statements
    def block(self, body: Sequence[Statement]) -> None:
        """Emit statements in order."""
        done = 0
        for i, s in enumerate(body):
            if i < done:
                continue
            done = i + 1
            if not isinstance(s, Store):
                self.statement(s)
                continue
            together = self.interleaved(body[i : i + NEAR])
            done = i + len(together)
            action = functools.partial(self.store, s)
            self.guarded(s, action if len(together) == 1 else functools.partial(self.store_together, together))

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
            self.assign(self.values.slots[s.local], self.values.value(s.value))
        elif isinstance(s, Accumulate):
            self.guarded(s, functools.partial(self.accumulate, s))
        elif isinstance(s, Scan):
            self.scan(s)
        elif isinstance(s, Prefetch):
            address = self.values.address(s.buffer, s.index)[0]
            self.w.line(f"call void @llvm.prefetch.p0(ptr {address.text}, i32 0, i32 {4 - s.level}, i32 1)")
        elif isinstance(s, Allocate):
            assert isinstance(s.buffer.size, int)
            if s.buffer not in self.values.memory:
                self.values.memory[s.buffer] = self.w.stack(f"[{s.buffer.size} x {storage_kind(s.buffer.dtype)}]", 64)
        elif isinstance(s, Dots):
            add_dots(self.values, self.counted, s)
        else:
            raise InternalError(f"loop IR: unknown statement {s!r}")

    def store(self, s: Store) -> None:
        """Emit a store that the guard (if any) has been applied to."""
        value = to_storage(self.w, self.target, s.buffer.dtype, self.values.value(s.value))
        if self.values.lanes is None:
            store_scalar(self.w, value, self.values.address(s.buffer, s.index)[0])
            return
        address, stride, _ = self.values.addresses(s.buffer, s.index)
        store_lanes(self.w, self.w.widen(value, self.values.lanes.width), address, stride, self.values.lanes.mask)

    def interleaved(self, body: Sequence[Statement]) -> list[Store]:
        """The stores, from the first on, that together write all elements between lanes, as of complex numbers."""
        first = body[0]
        assert isinstance(first, Store)
        step = None if self.values.lanes is None else self.values.stride(first.index)
        count = step.attr if step is not None and step.op == "const" else 1
        found = [s for k, s in enumerate(body[:count]) if isinstance(s, Store) and _follows(first, s, k)]
        return found if len(found) == count > 1 else [first]

    def store_together(self, stores: Sequence[Store]) -> None:
        """Emit stores that interleave as one."""
        assert self.values.lanes is not None
        first, width = stores[0], self.values.lanes.width
        dtype = first.buffer.dtype
        parts = [
            self.w.widen(to_storage(self.w, self.target, dtype, self.values.value(s.value)), width) for s in stores
        ]
        store_between(self.w, parts, self.values.address(first.buffer, first.index)[0], self.values.lanes.mask)

    def guarded(self, s: Store | Accumulate, emit_statement: Callable[[], None]) -> None:
        """Emit a statement under its guard: nothing of it is executed where the guard is false."""
        if s.guard is None:
            emit_statement()
        elif self.values.varies(s.guard):
            lanes = self.values.lanes
            assert lanes is not None
            mask = self.values.mask(self.values.value(s.guard))
            assert mask is not None
            self.w.open_inline(certain=False, writes=_written([s]))
            self.values.lanes = lanes.under(mask)
            emit_statement()
            self.values.lanes = lanes
            self.w.close_inline()
        else:
            self.when(self.values.value(s.guard), emit_statement, _written([s]))

    # locals
    def declare(self, local: Local, initial: Expr) -> None:
        """Reserve a slot and initialise it."""
        width = 1 if self.values.lanes is None else self.values.lanes.width
        slot = self.values.slots[local] = Slot(
            self.w.stack(register_type(local.dtype, width), local.dtype.itemsize * width), width
        )
        self.write(slot, self.values.value(initial))
        if isinstance(local, Accumulator) and self.values.lanes is None:
            for lanes, count in self.banks.get(local, {}).items():
                type_ = register_type(local.dtype, lanes)
                neutral = self.w.widen(identity(local.op, local.dtype), lanes)
                slot.banks[lanes] = [self.w.stack(type_, 64) for _ in range(count)]
                for bank in slot.banks[lanes]:
                    self.w.line(f"store {neutral.typed}, ptr {bank.text}")

    def write(self, slot: Slot, value: Value) -> None:
        """Assign to a slot."""
        self.w.line(f"store {self.w.widen(value, slot.lanes).typed}, ptr {slot.address.text}")

    def assign(self, slot: Slot, value: Value) -> None:
        """Assign to a slot in the lanes that are alive."""
        lanes = self.values.lanes
        if lanes is not None and not lanes.sure and lanes.mask is not None:
            type_ = f"<{slot.lanes} x {value.kind}>"
            old = self.w.read(value.kind, slot.lanes, f"load {type_}, ptr {slot.address.text}", self.w.depth)
            value = self.w.select(lanes.mask, value, old)
        self.write(slot, value)

    def accumulate(self, s: Accumulate) -> None:
        """Combine a value into an accumulator, lane by lane where it is shared by the lanes."""
        accumulator, slot = s.accumulator, self.values.slots[s.accumulator]
        value, address, width = self.values.value(s.value), slot.address, slot.lanes
        if self.values.lanes is not None and accumulator not in self.values.lanes.analysis.locals:
            width = self.values.lanes.width
            address = slot.banks[width][self.values.lanes.bank % len(slot.banks[width])]
        value, type_ = self.w.widen(value, width), register_type(accumulator.dtype, width)
        old = self.w.read(value.kind, width, f"load {type_}, ptr {address.text}", self.w.depth)
        new = self.values.merge(accumulator, value, old)
        if self.values.lanes is not None and self.values.lanes.mask is not None:
            new = self.w.select(self.values.lanes.mask, new, old)
        self.w.line(f"store {new.typed}, ptr {address.text}")

    def scan(self, s: Scan) -> None:
        """Combine each lane with those before it, in steps of twice the distance, and all with what was before."""
        accumulator, carry = s.accumulator, self.values.slots[s.accumulator].address
        dtype, depth, lanes = accumulator.dtype, self.w.depth, self.values.lanes
        value = self.values.value(s.value)
        before = self.w.read(value.kind, 1, f"load {value.kind}, ptr {carry.text}", depth)
        result = last = self.values.merge(accumulator, before, value) if lanes is None else value
        if lanes is not None:
            neutral = self.w.widen(identity(accumulator.op, dtype), lanes.width)
            result = self.w.widen(value, lanes.width)
            if lanes.mask is not None:
                result = self.w.select(lanes.mask, result, neutral)
            distance = 1
            while distance < lanes.width:
                picks = [lanes.width - 1 if k < distance else lanes.width + k - distance for k in range(lanes.width)]
                result = self.values.merge(accumulator, self.w.shuffle(neutral, result, picks), result)
                distance *= 2
            end = self.w.define(value.kind, 1, f"extractelement {result.typed}, i64 {lanes.width - 1}", result.depth)
            result, last = (self.values.merge(accumulator, before, v) for v in (result, end))
        self.w.line(f"store {last.typed}, ptr {carry.text}")
        slot = self.values.slots[s.local] = Slot(self.w.stack(result.type, dtype.itemsize * result.lanes), result.lanes)
        self.write(slot, result)

    # control
    def loop(self, s: For) -> None:
        """Emit a for loop."""
        low, high = self.values.value(s.low), self.values.value(s.high)
        self.bound(s.variable, s.low, s.high)
        if s.mark == "vector":
            self.vector_loop(s.variable, low, high, 1, s.body)
        elif s.mark == "unroll":
            if low.constant is None or high.constant is None:
                raise InternalError("loop IR: an unrolled loop needs constant bounds")
            for k in range(low.constant, high.constant, s.step):
                with self.inline(s.body):
                    self.values.variables[s.variable] = integer(k), self.w.depth
                    self.block(s.body)
        else:
            self.scalar_loop(s.variable, low, high, s.step, s.body)

    def bound(self, variable: Variable, low: Expr, high: Expr) -> None:
        """Note the range of a loop variable, if it is constant."""
        if low.op == high.op == "const" and low.attr >= 0:
            self.values.limits[variable] = high.attr - 1

    def scalar_loop(self, variable: Variable, low: Value, high: Value, step: int, body: list[Statement]) -> None:
        """Emit a loop of single iterations."""

        def iteration(index: Value) -> None:
            self.values.variables[variable] = index, self.w.depth
            self.block(body)

        self.counted(low, high, step, iteration, self.writes(body))

    def vector_loop(self, variable: Variable, low: Value, high: Value, step: int, body: list[Statement]) -> None:
        """Emit a loop of whole vectors, then one masked vector (or more, if unrolled) for what is left.

        Sums are added in the same order whether or not the bounds are constants. A big body has one copy, with a mask.
        """
        chosen = self.plan(variable, body)
        width, unroll = chosen.width, chosen.unroll
        if width < 2:
            self.scalar_loop(variable, low, high, step, body)
            return
        analysis, writes, is_big = analyse(variable, body), self.writes(body), chosen.size > _MOST_COPIED

        def vector(first: Value, bank: int, mask: Value | None = None) -> None:
            outer = self.values.lanes
            self.values.lanes = Lanes(analysis, width, first, self.w.depth, mask, bank)
            self.block(body)
            self.values.lanes = outer

        def turn(first: Value) -> None:
            for k in range(unroll):
                with self.inline(body):
                    vector(self.w.binary("add", first, integer(k * width)), k)

        def rest(first: Value) -> None:
            vector(first, 0, self.live_lanes(first, high, width))

        if low.constant is not None and high.constant is not None:
            count = max(0, high.constant - low.constant)
            if self.is_short(count, chosen):
                vectors = count // width
                for k in range(vectors):
                    with self.inline(body):
                        vector(integer(low.constant + k * width), k % unroll if k < vectors // unroll * unroll else 0)
                whole = integer(low.constant + count // width * width)
                unroll = 1
            else:
                unroll = unroll if count >= width * unroll else 1
                whole = integer(low.constant + count // (width * unroll) * (width * unroll))
                if is_big and whole.constant != high.constant:
                    whole, unroll = low, 0
                self.counted(low, whole, width * unroll, turn, writes)
        elif is_big:
            whole, unroll = low, 0
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
        return self.w.compare("icmp ult", lane_numbers("i32", width), left)

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
        condition = self.values.value(s.condition)
        if condition.lanes > 1:
            self.branch_of_lanes(s, condition)
            return
        for body in (s.body, s.orelse):
            w.open("branch", False, self.writes(body))
            self.block(body)
            w.jump(leave)
            scopes.append(w.close())
        w.branch(condition, scopes[0].first, scopes[1].first)
        for scope in scopes:
            w.splice(scope)
        w.start_block(leave)

    def branch_of_lanes(self, s: If, condition: Value) -> None:
        """Emit an if statement whose condition differs between lanes: each part where it holds in some lane."""
        opposite = self.w.binary("xor", condition, self.w.widen(TRUE, condition.lanes))
        for chosen, body in ((condition, s.body), (opposite, s.orelse)):
            if body:
                mask = self.values.mask(chosen)
                assert mask is not None
                self.when(self.values.any_of(mask), functools.partial(self.block_under, mask, body), self.writes(body))

    def block_under(self, mask: Value, body: list[Statement]) -> None:
        """Emit statements for the lanes of a mask; what only they need is computed only there."""
        lanes, floor = self.values.lanes, self.w.floor
        assert lanes is not None
        self.values.lanes, self.w.floor = lanes.under(mask), self.w.depth
        self.block(body)
        self.values.lanes, self.w.floor = lanes, floor

    def repeat(self, s: While) -> None:
        """Emit a while loop; where its condition differs between lanes, until it holds in none."""
        w, writes = self.w, self.writes(s.body)
        header = w.open("while", True, writes)
        condition, lanes = self.values.value(s.condition), self.values.lanes
        if condition.lanes > 1:
            mask = self.values.mask(condition)
            assert lanes is not None
            assert mask is not None
            self.values.lanes, condition = lanes.under(mask), self.values.any_of(mask)
        body = w.open("do", False, writes)
        self.block(s.body)
        w.jump(header.first)
        w.close()
        self.values.lanes = lanes
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
        elif isinstance(s, Scan):
            names |= {s.accumulator, s.local}
        elif isinstance(s, (Store, Allocate)):
            names.add(s.buffer)
        elif isinstance(s, Dots):
            names.add(s.sums)
    return frozenset(names)


def _follows(first: Store, s: Store, number: int) -> bool:
    """Whether a store is the one `number` elements behind the first, and reads nothing that those before it write."""
    if s.buffer is not first.buffer or s.guard is not first.guard or s.index is not first.index + number:
        return False
    read = [e.args[0] for e in postorder([s.value]) if e.op == "load" and e.attr is s.buffer]
    return not number or all(index is s.index for index in read)

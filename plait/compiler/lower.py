"""Lowering: one group of fused nodes to one kernel of loop IR."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from plait.compiler.evaluate import (
    Element,
    Evaluator,
    KernelSite,
    flatten_index,
    number,
    sizes_product,
    unflatten_index,
)
from plait.compiler.groups import COLUMNS, Group, input_map
from plait.core.dtype import DType, bool_
from plait.core.graph import CONSTANT, GET, Node
from plait.ir.build import AccumulatorValue, Builder
from plait.ir.complex import Complex
from plait.ir.loop import Buffer, Expr, Index, Kernel, Value, binary, const, is_const, select
from plait.ir.machine import writing_for

WORK_PER_THREAD = 16384  # elements worth waking another thread for
BLOCK = 16384  # elements of an operand that one task joins
NARROW = 16  # elements of a row, of a reduction or concatenation, below which its rows are in vector lanes
FEWEST = 4  # elements of a row up to which an elementwise kernel has rows in vector lanes
FEW = 64  # rows of a concatenation below which each operand has loops of its own
STRIP = 16  # elements of the last axis that are done together where memory is read across it,
TILE = 256  # and of the axis along which that memory is contiguous


def inputs_of(group: Group) -> list[Node]:
    """Return the nodes that a group reads from memory, in a fixed order."""
    stored = set(group.members)
    found: dict[Node, None] = {}
    for member in group.members:
        for i in member.inputs:
            if i not in stored and i.prim is not CONSTANT:
                found[i] = None
    return list(found)


def results_of(group: Group) -> list[Any]:
    """Return (node, result number, aval) of every buffer that a group writes."""
    found: list[Any] = []
    for node in group.outputs:
        if isinstance(node.aval, tuple):
            found += [(node, k, a) for k, a in enumerate(node.avals)]
        else:
            found.append((node, 0, node.aval))
    return found


_SHIFTING = ("slice", "reverse", "pad", "dynamic_slice")  # views whose axes are those of their operand


def lower(group: Group, name: str, target: Any, invariant: bool = False) -> Kernel:
    """Write the kernel of a group; its buffers are `inputs_of(group)` then `results_of(group)`.

    If `invariant`, what is computed for a row does not depend on how many rows there are, to the last bit.
    """
    with writing_for(lookups=target.has_lookups):
        kernel = _Lowering(group, name, target, invariant).run()
    for function in kernel.functions:
        function.in_order = invariant
    return kernel


def identity_value(op: str, dtype: DType) -> Value:
    """The neutral element of an accumulate operation in a compute dtype."""
    if op in ("add", "or", "xor"):
        return False if dtype is bool_ else 0
    if op == "mul":
        return 1
    if op == "and":
        return True if dtype is bool_ else -1
    if dtype is bool_:
        return op == "min"
    if dtype.is_floating:
        return float("inf") if op == "min" else float("-inf")
    low = -(1 << (dtype.bits - 1)) if dtype.kind == "i" else 0
    high = (1 << (dtype.bits - (dtype.kind == "i"))) - 1
    return high if op == "min" else low


class _Lowering:
    def __init__(self, group: Group, name: str, target: Any, invariant: bool) -> None:
        self.group, self.target, self.invariant = group, target, invariant
        self.builder = Builder(name)
        buffers = {}
        for k, node in enumerate(inputs_of(group)):
            buffers[node] = self.declare(f"in{k}", node.aval, False)
        self.results: dict[tuple[Node, int], Buffer] = {}
        for k, (node, result, aval) in enumerate(results_of(group)):
            self.results[node, result] = self.declare(f"out{k}", aval, True)
        self.evaluator = Evaluator(self.builder, buffers)
        self.shape: list[Index] = [number(self.builder, n) for n in group.shape]

    def declare(self, name: str, aval: Any, written: bool) -> Buffer:
        size = sizes_product(self.builder, aval.shape)
        dtype = aval.dtype
        if dtype.is_complex:
            size = const(size) * 2 if isinstance(size, Expr) else size * 2
        make = self.builder.output if written else self.builder.input
        return make(name, dtype.real, size)

    def run(self) -> Kernel:
        if self.group.anchor is not None:
            self.anchored(self.group.anchor)
        elif self.group.axes is None:
            self.elementwise()
        else:
            self.rows(self.group.axes)
        return self.builder.finish()

    # storing
    def store(self, nodes: Sequence[Node], index: Sequence[Index], guard: Expr | None = None) -> None:
        """Compute and store members at an index of the group's space; every value is read before any is written."""
        values = [(n, self.own_index(n, index)) for n in nodes]
        elements = [(n, where, self.evaluator.read(n, where, guard)) for n, where in values]
        if len(elements) > 1:
            elements = [(n, where, self.settle(v)) for n, where, v in elements]
        for node, where, value in elements:
            buffer = self.results[node, 0]
            offset = flatten_index(where, self.evaluator.shape(node))
            self.evaluator.store(buffer, node.dtype, offset, value, guard)

    def store_each(self, indices: Sequence[Sequence[Index]]) -> None:
        """Compute all outputs, which have the group's shape, at several indices, then store them one by one."""
        nodes = self.group.outputs
        found = [[self.settle(self.evaluator.read(n, self.own_index(n, i))) for i in indices] for n in nodes]
        for node, values in zip(nodes, found, strict=True):
            for index, value in zip(indices, values, strict=True):
                offset = flatten_index(self.own_index(node, index), self.evaluator.shape(node))
                self.evaluator.store(self.results[node, 0], node.dtype, offset, value)

    def settle(self, value: Element) -> Element:
        if isinstance(value, Complex):
            return Complex(self.settle(value.re), self.settle(value.im))
        return self.builder.local(value.dtype, value).get()

    def own_index(self, node: Node, index: Sequence[Index]) -> list[Index]:
        where = self.group.members[node]
        assert where is not None
        return [0 if a is None else index[a] for a in where]

    # kernels with their own loops
    def anchored(self, anchor: Node) -> None:
        group = self.group
        count = len(anchor.aval) if isinstance(anchor.aval, tuple) else 1
        follow = self.follow if [o for o in group.outputs if o is not anchor] else None
        results = [self.results.get((anchor, k)) for k in range(count)]
        anchor.prim.lower(KernelSite(self.evaluator, anchor, results, self.target, follow, self.invariant))

    def follow(self, value: Element, index: Sequence[Index], guard: Expr | None) -> None:
        """Store what is fused behind the anchor, at the element that it has just computed."""
        assert self.group.anchor is not None
        self.evaluator.bind(self.group.anchor, value)
        self.store(self.group.outputs, list(index), guard)
        del self.evaluator.bound[self.group.anchor]
        self.evaluator.memo.clear()

    # elementwise
    def elementwise(self) -> None:
        joined = self.joined()
        if joined is not None:
            self.pieces(joined)
            return
        self.unshape()
        runs = self.runs(())
        outer, last = runs[:-1], runs[-1] if runs else []
        if not outer:
            extent = self.extent(last)
            with self.builder.parallel(extent, mark="vector", grain=WORK_PER_THREAD) as i:
                self.store(self.group.outputs, self.place([(last, i)]))
            return
        width = self.extent(last)
        is_narrow = isinstance(width, int) and width <= FEWEST
        down = None if is_narrow else self.read_across(outer, last)
        if down is not None:
            self.elementwise_in_tiles(outer, down, last)
        elif isinstance(width, int) and 0 < width * 2 <= BLOCK and (is_narrow or len(outer) > 1):
            self.elementwise_in_blocks(outer, last, width)
        else:
            with self.outer_loop(outer, width) as at, self.builder.vector(0, width) as j:
                self.store(self.group.outputs, self.place([*at, (last, j)]))

    def unshape(self) -> None:
        """Go over the space of what the only result is a reshape of: the same elements in the same order.

        There no index is split to find an element, unless the rows are too narrow for vector lanes.
        """
        group, result = self.group, self.group.outputs[0]
        source = self._unshaped(result)
        if len(group.outputs) > 1 or source is result or source not in group.members:
            return
        space = Group(group.number, source.shape, outputs=[source])
        space.members[source] = space.identity
        for member in group.members:  # consumers first
            for position, i in enumerate(member.inputs if member in space.members else ()):
                if i in group.members:
                    where = input_map(member, position, space.members[member])
                    space.members[i] = where if space.members.get(i, where) == where else None
        shape, self.shape, self.group = self.shape, self.evaluator.shape(source), space
        runs = self.runs(())
        width = self.extent(runs[-1]) if runs else 1
        if len(runs) > 1 and isinstance(width, int) and width < NARROW:
            self.shape, self.group = shape, group
        else:
            self.results[source, 0] = self.results[result, 0]

    def elementwise_in_blocks(self, outer: list[list[int]], last: list[int], width: int) -> None:
        """Several rows to a task; the narrowest have lanes across, and what is stored for them is interleaved."""
        *rest, down = outer
        rows, count = BLOCK // width, self.extent(down)
        counts = [*[self.extent(r) for r in rest], (count + (rows - 1)) // rows]
        total = self.extent([a for r in rest for a in r]) * counts[-1]
        with self.builder.parallel(total) as p:
            *places, block = unflatten_index(p, counts)
            at = list(zip(rest, places, strict=True))
            low = const(block) * rows
            high = binary("min", low + rows, const(count))
            fills_lanes = not isinstance(count, int) or count >= NARROW or width < 3  # else a row is better
            if width <= FEWEST and fills_lanes:
                with self.builder.vector(low, high) as i:
                    self.store_each([self.place([*at, (down, i), (last, const(j))]) for j in range(width)])
            else:
                with self.builder.loop(low, high) as i, self.builder.vector(0, width) as j:
                    self.store(self.group.outputs, self.place([*at, (down, i), (last, j)]))

    def joined(self) -> Node | None:
        """The concatenation that is all that this group stores, if it is one, and not of nothing."""
        if len(self.group.outputs) != 1 or 0 in self.group.shape:
            return None
        node = self._unshaped(self.group.outputs[0])
        return node if node.prim.name == "concatenate" and node in self.group.members else None

    def _unshaped(self, node: Node) -> Node:
        """What a chain of reshapes inside the group begins with: the same elements in the same order."""
        while node.prim.name == "reshape" and node in self.group.members:
            node = node.inputs[0]
        return node

    def pieces(self, joined: Node) -> None:
        """Write the operands of a concatenation one after the other: no element looks for its own."""
        axis, shape = joined.params["axis"], self.evaluator.shape(joined)
        outer = const(sizes_product(self.builder, joined.shape[:axis]))
        inner = sizes_product(self.builder, joined.shape[axis + 1 :])
        step, start = const(shape[axis]) * inner, const(0)
        found: list[tuple[Node, Expr, Expr]] = []  # operands, how many elements of each are together, and where
        for operand in joined.inputs:
            length = const(self.evaluator.shape(operand)[axis]) * inner
            found.append((operand, length, start))
            start = start + length
        found = [f for f in found if not is_const(f[1], 0)]
        buffer = self.results[self.group.outputs[0], 0]

        def put(o: Expr, position: Expr, value: Element) -> None:
            self.evaluator.store(buffer, joined.dtype, o * step + position, value)

        if is_const(outer) and int(outer.attr) < FEW:
            for operand, length, begin in found:
                self.piece(operand, axis, outer, length, begin, put)
            return
        is_fixed = is_const(step) and all(is_const(length) for _, length, _ in found)
        is_narrow = is_fixed and int(step.attr) < NARROW  # lanes across: too few elements are together
        grain = max(1, WORK_PER_THREAD // int(step.attr)) if is_const(step) else 1
        with self.builder.parallel(outer, mark="vector" if is_narrow else "", grain=grain) as o:
            for operand, length, begin in found:
                if is_narrow:
                    for j in range(int(length.attr)):
                        put(o, begin + j, self.joined_element(operand, axis, o, const(j), length))
                else:
                    with self.builder.vector(0, length) as j:
                        put(o, begin + j, self.joined_element(operand, axis, o, j, length))

    def joined_element(self, operand: Node, axis: int, before: Expr, within: Expr, length: Expr) -> Element:
        """The element of an operand at a place before its axis and one of `length` from it on."""
        memory = self.evaluator.buffers.get(self._unshaped(operand))
        if memory is not None:
            return self.evaluator.load(memory, operand.dtype, before * length + within, None)
        shape = self.evaluator.shape(operand)
        return self.evaluator.read(
            operand, [*unflatten_index(before, shape[:axis]), *unflatten_index(within, shape[axis:])]
        )

    def piece(
        self, operand: Node, axis: int, outer: Expr, length: Expr, begin: Expr,
        put: Callable[[Expr, Expr, Element], None],
    ) -> None:  # fmt: skip
        """Open loops of their own over one operand, and put its elements, from the place `begin` of a row on."""
        shape = self.evaluator.shape(operand)
        wide = [a for a, n in enumerate(shape) if not is_const(n, 1)]
        if len(wide) < 2 or self._unshaped(operand) in self.evaluator.buffers:
            blocks = (length + (BLOCK - 1)) // BLOCK
            with self.builder.parallel(outer * blocks) as task:
                o, block = unflatten_index(task, [int(outer.attr), blocks])
                low = const(block) * BLOCK
                with self.builder.vector(low, binary("min", low + BLOCK, length)) as j:
                    put(const(o), begin + j, self.joined_element(operand, axis, const(o), j, length))
            return
        lead, width = [shape[a] for a in wide[:-1]], shape[wide[-1]]
        grain = max(1, WORK_PER_THREAD // max(1, width)) if isinstance(width, int) else 1
        total = sizes_product(self.builder, [operand.shape[a] for a in wide[:-1]])
        with self.builder.parallel(total, grain=grain) as p, self.builder.vector(0, width) as last:
            place = dict(zip(wide, [*unflatten_index(p, lead), last], strict=True))
            index = [place.get(a, 0) for a in range(len(shape))]
            before, within = (flatten_index(index[k], shape[k]) for k in (slice(axis), slice(axis, None)))
            put(const(before), begin + within, self.evaluator.read(operand, index))

    def read_across(self, outer: list[list[int]], last: list[int]) -> list[int] | None:
        """The run along which something in memory is contiguous that also lies along the last, as in a transpose."""
        for where in self.directions():
            if where and where[-1] is not None and where[-1] != last[-1] and last[-1] in where:
                return next((run for run in outer if where[-1] in run), None)
        return None

    def elementwise_in_tiles(self, outer: list[list[int]], down: list[int], last: list[int]) -> None:
        """Compute tiles in which cache lines read across the last axis are used whole."""
        rest = [run for run in outer if run is not down]
        height, width = self.extent(down), self.extent(last)
        tiles, strips = (height + (TILE - 1)) // TILE, (width + (STRIP - 1)) // STRIP
        counts = [tiles, *[self.extent(r) for r in rest], strips]
        total = const(tiles) * self.extent([a for r in rest for a in r]) * strips
        with self.builder.parallel(total) as p:
            tile, *at, strip = unflatten_index(p, counts)
            top, low = const(tile) * TILE, const(strip) * STRIP
            bottom, end = binary("min", top + TILE, const(height)), binary("min", low + STRIP, const(width))
            with self.builder.loop(top, bottom) as i, self.builder.vector(low, end) as j:
                places = [*zip(rest, at, strict=True), (down, i), (last, j)]
                self.store(self.group.outputs, self.place(places))

    def runs(self, axes: Sequence[int]) -> list[list[int]]:
        """Split the axes of the space into runs that one loop can cover.

        Neighbouring axes share a loop where every value in memory holds both, contiguously, or neither, and no view
        looks at the index. Reduced axes and others never share one.
        """
        shape = self.group.shape
        candidates = [a for a in range(len(shape)) if shape[a] != 1]
        mergeable = all(self.is_aligned(m) for m in self.group.members)
        maps = self.maps() if mergeable else []
        runs: list[list[int]] = []
        for a in candidates:
            together = mergeable and runs and (a in axes) == (runs[-1][-1] in axes)
            if together and all(_contiguous(m, runs[-1][-1], a) for m in maps):
                runs[-1].append(a)
            else:
                runs.append([a])
        return runs

    def is_aligned(self, node: Node) -> bool:
        if node.prim.kind == "reduce" or node.prim is GET:
            return True
        if self.group.members[node] is None or (node.prim.kind == "view" and not node.inputs):
            return False
        if node.prim.kind == "view":
            return node.prim.name in ("reshape", "broadcast") and self.plain_view(node)
        return True

    def plain_view(self, node: Node) -> bool:
        """Whether a reshape or broadcast only adds or removes axes of size 1, or is of a value in memory."""
        if node.prim.name == "reshape" and node.inputs[0] not in self.evaluator.buffers:
            return [n for n in node.inputs[0].shape if n != 1] == [n for n in node.shape if n != 1]
        return True

    def maps(self) -> list[Any]:
        """How everything in memory lies in the space."""
        from_inputs = []
        for member, own in self.group.members.items():
            for position, i in enumerate(member.inputs):
                if i in self.evaluator.buffers:
                    is_reshape = member.prim.name == "reshape"  # memory has no shape
                    from_inputs.append(own if is_reshape else _map_of(member, position, own))
        return [*from_inputs, *[self.group.members[o] for o in self.group.outputs]]

    def directions(self) -> list[Any]:
        """Along which axes of the space what is in memory lies, wherever on them it begins and which way it goes."""
        found, own = [], {o: self.group.members[o] for o in self.group.outputs}
        for member in self.group.members:  # consumers first
            for position, i in enumerate(member.inputs):
                shifted = member.prim.name in _SHIFTING or member.prim.name == "reshape" and i in self.evaluator.buffers
                where = own.get(member) if shifted and not position else _map_of(member, position, own.get(member))
                if i in self.evaluator.buffers:
                    found.append(where)
                else:
                    own.setdefault(i, where)
        return found

    def extent(self, run: Sequence[int]) -> Index:
        total: Index = 1
        for a in run:
            n = self.shape[a]
            total = total * n if isinstance(total, int) and isinstance(n, int) else const(total) * n
        return total

    def place(self, positions: Sequence[tuple[list[int], Index]]) -> list[Index]:
        """Index of the space from the counters of its runs; a run's counter stands on its last axis."""
        index: list[Index] = [0] * len(self.shape)
        for run, counter in positions:
            if run:
                index[run[-1]] = counter
        return index

    @contextmanager
    def outer_loop(
        self, outer: list[list[int]], inner: Index, lanes: bool = False, when: Expr | None = None
    ) -> Iterator[list[Any]]:  # fmt: skip
        """The parallel loop over the product of outer runs, all of them or, where `when` is false, none."""
        extents = [self.extent(r) for r in outer]
        total = self.extent([a for r in outer for a in r])
        if when is not None:
            total = select(when, const(total), const(0))
        work = inner if isinstance(inner, int) else 256
        grain = max(1, WORK_PER_THREAD // max(1, work))
        with self.builder.parallel(total, mark="vector" if lanes else "", grain=grain) as p:
            yield list(zip(outer, unflatten_index(p, extents), strict=True))

    # reductions
    def rows(self, axes: tuple[int, ...]) -> None:
        runs = self.runs(axes)
        inner = [r for r in runs if r[0] in axes]
        outer = [r for r in runs if r[0] not in axes]
        work = self.extent([a for r in inner for a in r])
        # lanes across: they would be empty
        may_be_short = len(outer) == 1 and not self.invariant
        is_short = isinstance(work, int) and work < NARROW and may_be_short
        if not inner or (runs[-1] is inner[-1] and not is_short):
            is_long = None
            if isinstance(work, Expr) and may_be_short and inner:  # how a row is summed depends on its length alone
                is_long = work >= NARROW
                with self.outer_loop(outer, work, lanes=True, when=work < NARROW) as at:
                    self.row(at, inner, vector=False)
                self.evaluator.forget()
            with self.outer_loop(outer, work, when=is_long) as at:
                self.row(at, inner, vector=True)
        elif not is_short and not self.has_complex_totals():
            self.across(outer, inner)
        elif len(outer) == 1:
            with self.outer_loop(outer, work, lanes=True) as at:
                self.row(at, inner, vector=False)
        else:
            with self.outer_loop(outer[:-1], 256) as at, self.builder.vector(0, self.extent(outer[-1])) as j:
                self.row([*at, (outer[-1], j)], inner, vector=False)

    def across(self, outer: list[list[int]], inner: list[list[int]]) -> None:
        """Reduce strips of columns: memory is read along the rows, and what belongs to the strip stays in the cache."""
        width = self.extent(outer[-1])
        is_whole = isinstance(width, int) and width % COLUMNS == 0
        strips = const(width + (COLUMNS - 1)) // COLUMNS
        counts = [*[self.extent(r) for r in outer[:-1]], strips]
        tasks = self.extent([a for r in outer[:-1] for a in r]) * strips
        work = self.extent([a for r in inner for a in r])
        grain = max(1, WORK_PER_THREAD // (work * COLUMNS)) if isinstance(work, int) and work else 1
        with self.builder.parallel(tasks, grain=grain) as p:
            *places, strip = unflatten_index(p, counts)
            low = const(strip) * COLUMNS
            size = COLUMNS if is_whole else binary("min", const(COLUMNS), const(width) - low)
            self.strip(list(zip(outer[:-1], places, strict=True)), outer[-1], inner, low, size)

    def strip(self, at: list[Any], columns: list[int], inner: list[list[int]], low: Expr, size: Index) -> None:
        """As `row`, for the columns from `low` on: their totals are in memory."""
        totals: dict[Node, Buffer] = {}
        whole = [self.extent(r) for r in inner]

        @contextmanager
        def visit(extents: Sequence[Index], known: Sequence[Node]) -> Iterator[tuple[Expr, list[Index]]]:
            with self.builder.loops(extents) as counters, self.builder.vector(0, size) as j:
                for node in known:
                    self.evaluator.bind(node, self.builder.load(totals[node], j))
                yield j, self.place([*at, (columns, low + j), *zip(inner, counters)])  # noqa: B905 - none, or all

        at_once = self.stored_at_once()
        for level in self.levels():
            known = list(totals)
            for node in level:
                totals[node] = self.builder.stack(node.dtype.compute, COLUMNS)
                with visit([], []) as (j, _):
                    self.builder.store(totals[node], j, identity_value(node.prim.lower, node.dtype.compute))
            with visit(whole, known) as (j, index):
                for node in level:
                    value = const(self.evaluator.read(node.inputs[0], index))
                    combined = binary(node.prim.lower, self.builder.load(totals[node], j), value)
                    self.builder.store(totals[node], j, combined)
                if at_once:
                    self.store(at_once, index)
        later = [] if at_once else self.outputs_by_element()
        for extents, stored in ((), self.outputs_by_row()), (whole, later):
            if stored:
                with visit(extents, list(totals)) as (_, index):
                    self.store(stored, index)

    def row(self, at: list[Any], inner: list[list[int]], vector: bool) -> None:
        """One row: its reductions level by level, then what is stored per row, then per element."""
        at_once = self.stored_at_once()
        for level in self.levels():
            totals = [self.start(node) for node in level]
            with self.inner_loops(inner, vector and not any(map(_is_serial, level))) as counters:
                index = self.place([*at, *zip(inner, counters, strict=True)])
                for node, total in zip(level, totals, strict=True):
                    self.accumulate(total, self.evaluator.read(node.inputs[0], index))
                if at_once:
                    self.store(at_once, index)
            for node, total in zip(level, totals, strict=True):
                self.evaluator.bind(node, self.settle(_total(total)))
        if by_row := self.outputs_by_row():
            self.store(by_row, self.place(at))
        if (by_element := self.outputs_by_element()) and not at_once:
            with self.inner_loops(inner, vector) as counters:
                self.store(by_element, self.place([*at, *zip(inner, counters, strict=True)]))

    def has_complex_totals(self) -> bool:
        return any(n.prim.kind == "reduce" and n.dtype.is_complex for n in self.group.members)

    def is_row(self, node: Node) -> bool:
        """Whether a value is stored once for each row."""
        return node.prim.kind == "reduce" or node.shape != self.group.shape

    def outputs_by_row(self) -> list[Node]:
        return [o for o in self.group.outputs if self.is_row(o)]

    def outputs_by_element(self) -> list[Node]:
        return [o for o in self.group.outputs if not self.is_row(o)]

    def stored_at_once(self) -> list[Node]:
        """What is stored per element, if that is done while the row is reduced: if none of it waits for a total.

        Only where all is done in one pass: what is written may take the place of what is read.
        """
        stored = self.outputs_by_element()
        if len(self.levels()) != 1:
            return []
        seen, stack = set(stored), list(stored)
        while stack:
            for i in stack.pop().inputs:
                if i in self.group.members and i not in seen:
                    if i.prim.kind == "reduce":
                        return []
                    seen.add(i)
                    stack.append(i)
        return stored

    def levels(self) -> list[list[Node]]:
        """Reductions grouped so that each level needs only those before it."""
        depth: dict[Node, int] = {}

        def visit(node: Node) -> int:
            if node not in self.group.members:
                return 0
            if node not in depth:
                depth[node] = 0
                below = max([visit(i) for i in node.inputs], default=0)
                depth[node] = below + (node.prim.kind == "reduce")
            return depth[node]

        levels: dict[int, list[Node]] = {}
        for node in reversed(self.group.members):
            if node.prim.kind == "reduce":
                levels.setdefault(visit(node), []).append(node)
        return [levels[k] for k in sorted(levels)]

    @contextmanager
    def inner_loops(self, inner: list[list[int]], vector: bool) -> Iterator[list[Expr]]:
        with self.builder.loops([self.extent(r) for r in inner], "vector" if vector else "") as counters:
            yield counters

    def start(self, node: Node) -> Any:
        op, dtype = node.prim.lower, node.dtype
        if dtype.is_complex:
            if op == "mul":
                return _Product(self.builder, dtype.real)
            return [self.builder.accumulator(op, dtype.real, 0) for _ in range(2)]
        return self.builder.accumulator(op, dtype.compute, identity_value(op, dtype.compute))

    def accumulate(self, total: Any, value: Element) -> None:
        if isinstance(total, list):
            total[0].add(value.re)
            total[1].add(value.im)
        else:
            total.add(value)


class _Product:
    """A running complex product."""

    def __init__(self, builder: Builder, dtype: DType) -> None:
        self.re, self.im = builder.local(dtype, 1.0), builder.local(dtype, 0.0)
        self.builder = builder

    def add(self, value: Complex) -> None:
        product = self.get() * value
        re, im = (self.builder.local(p.dtype, p) for p in (product.re, product.im))
        self.re.set(re.get())
        self.im.set(im.get())

    def get(self) -> Complex:
        return Complex(self.re.get(), self.im.get())


def _total(total: Any) -> Element:
    if isinstance(total, (AccumulatorValue, _Product)):
        return total.get()
    return Complex(total[0].get(), total[1].get())


def _is_serial(node: Node) -> bool:
    return bool(node.dtype.is_complex and node.prim.lower == "mul")


def _map_of(member: Node, position: int, own: Any) -> Any:
    from_kind = member.prim.kind
    if from_kind == "reduce":
        source = member.inputs[position]
        return tuple(None if n == 1 else i for i, n in enumerate(source.shape))
    return input_map(member, position, own)


def _contiguous(where: Any, first: int, second: int) -> bool:
    """Whether a value that lies as `where` moves through both axes as through one."""
    if where is None:
        return False
    present = [a for a in where if a is not None]
    if (first in present) != (second in present):
        return False
    return first not in present or present.index(second) == present.index(first) + 1

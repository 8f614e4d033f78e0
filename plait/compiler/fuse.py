"""Fusion: decide which nodes share a kernel.

Nodes are visited consumers first. A node is pulled into the kernel of its consumers where it can be evaluated on
the fly, gets a buffer where it is needed by several kernels, and starts a kernel of its own otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from plait.compiler.groups import COLUMNS, INJECTIVE, AxisMap, Group, identity_map, input_map
from plait.core.aval import Size, is_static
from plait.core.dtype import int8, int32, uint8
from plait.core.graph import CONSTANT, GET, Node, is_leaf, toposort
from plait.core.recorder import in_force

CONTRACTIONS = ("dot_general", "conv", "conv_input", "conv_weight")
FOLLOWED = (*CONTRACTIONS, "nonzero")  # kernels behind which elementwise work is fused
SCATTERS = ("scatter_set", "scatter_add", "scatter_mul", "scatter_min", "scatter_max")
CHEAP = {
    "add", "sub", "mul", "neg", "abs", "max", "min", "select", "convert", "bitcast", "eq", "ne", "lt", "le", "gt", "ge",
    "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "sign", "clamp", "real", "imag", "conj", "complex",
    "is_finite", "copysign",
}  # fmt: skip
AGAIN = {"exp", "exp2", "expm1", "erf", "tanh", "logistic", "log", "log1p", "sqrt", "rsqrt", "sin", "cos"}
MOST_WEIGHT = 240  # bounds the code of one kernel and the recursion that writes it
_HEAVY = 6  # the weight of an operation that is not in CHEAP: the code of a function such as exp
_TALL = 4096  # elements of columns of which `COLUMNS` stay in the cache
_LARGE = 1 << 19  # elements that cost more to write and to read again than to compute twice
_SMALL = 32768  # elements below which a kernel need not be spread over threads


def _size(node: Node) -> int:
    return prod(n if isinstance(n, int) else 1 << 20 for n in node.shape)


class Fuser:
    """The state of one fusion: groups so far, and in which of them each node is evaluated or stored."""

    def __init__(self, outputs: Sequence[Node], stop: Callable[[Node], bool]) -> None:
        self.stop = stop
        self.wanted = set(outputs)
        self.groups: list[Group] = []
        self.evaluated: dict[Node, list[Group]] = {}
        self.consumers: dict[Node, list[tuple[Node, int]]] = {}
        self.seen_through: dict[Node, Node | None] = {}  # members without a map: the view that moves them
        self.order = [n for n in toposort(outputs, stop) if not stop(n)]
        for node in self.order:
            for position, i in enumerate(node.inputs):
                self.consumers.setdefault(i, []).append((node, position))

    def run(self) -> list[Group]:
        for node in reversed(self.order):
            if node.prim is CONSTANT:
                continue
            self.place(node)
        return self.sorted()

    # bookkeeping
    def new_group(self, node: Node, shape: tuple[Size, ...], axes: tuple[int, ...] | None = None) -> Group:
        group = Group(len(self.groups), shape, axes)
        self.groups.append(group)
        return group

    def join(self, node: Node, group: Group, where: AxisMap | None) -> None:
        group.members[node] = where
        group.weight += 1 if node.prim.name in CHEAP or node.prim.kind == "view" else _HEAVY
        self.evaluated.setdefault(node, []).append(group)

    def store(self, node: Node, group: Group, readers: Sequence[Group]) -> None:
        """Give `node`, a member of `group`, a buffer; `readers` run after the group."""
        group.outputs.append(node)
        self.evaluated[node] = [group]
        self.precede(group, readers)

    def precede(self, group: Group, readers: Sequence[Group]) -> None:
        later = 0
        for r in readers:
            if r is not group:
                later |= 1 << r.number | r.after
        if later & ~group.after:
            bit = 1 << group.number
            for g in self.groups:
                if g is group or g.after & bit:
                    g.after |= later

    def comes_before(self, group: Group, readers: Sequence[Group]) -> bool:
        """Whether `group` may run before all `readers`."""
        return not any(r is not group and r.after >> group.number & 1 for r in readers)

    def readers(self, node: Node) -> dict[Group, list[AxisMap | None]]:
        """The kernels that read `node`, each with the maps of its reads."""
        found: dict[Group, list[AxisMap | None]] = {}
        for consumer, position in self.consumers.get(node, ()):
            for group in self.evaluated.get(consumer, ()):
                found.setdefault(group, []).append(self.access(group, consumer, position))
        return found

    def access(self, group: Group, consumer: Node, position: int) -> AxisMap | None:
        kind = consumer.prim.kind
        if consumer.prim is GET:
            return None
        if kind == "reduce":
            return identity_map(consumer.inputs[0].shape) if group.members.get(consumer) is not None else None
        if kind in ("elementwise", "view"):
            return input_map(consumer, position, group.members[consumer])
        return None

    # decisions
    def place(self, node: Node) -> None:
        readers = self.readers(node)
        kind = node.prim.kind
        if (
            node.prim.is_call
            or node.prim is GET
            or node.prim.multi
            or (kind == "kernel" and node.prim.name not in FOLLOWED)
        ):
            self.own(node, readers)
        elif kind == "kernel":
            self.place_followed(node, readers)
        elif kind == "reduce":
            self.place_reduction(node, readers)
        else:
            self.place_pointwise(node, readers)

    def own(self, node: Node, readers: dict[Group, list[AxisMap | None]]) -> None:
        """A kernel of its own, with nothing fused behind it."""
        if node.prim is GET:
            self.evaluated[node] = self.evaluated.get(node, []) or self.group_of_producer(node)
            self.precede(self.evaluated[node][0], list(readers))
            return
        if node in self.evaluated:
            return
        group = self.new_group(node, ())
        group.anchor = node
        self.join(node, group, None)
        self.store(node, group, list(readers))

    def group_of_producer(self, node: Node) -> list[Group]:
        producer = node.inputs[0]
        if producer not in self.evaluated:
            group = self.new_group(producer, ())
            group.anchor = producer
            self.join(producer, group, None)
            group.outputs.append(producer)
        return self.evaluated[producer]

    def place_followed(self, node: Node, readers: dict[Group, list[AxisMap | None]]) -> None:
        for group, maps in readers.items():
            if (
                group.shape == node.shape and group.axes is None and group.anchor is None
                and all(m == group.identity for m in maps) and self.comes_before(group, list(readers))
            ):  # fmt: skip
                group.anchor = node
                self.join(node, group, group.identity)
                if len(readers) > 1 or node in self.wanted:
                    self.store(node, group, list(readers))
                return
        group = self.new_group(node, node.shape)
        group.anchor = node
        self.join(node, group, group.identity)
        self.store(node, group, list(readers))

    def place_reduction(self, node: Node, readers: dict[Group, list[AxisMap | None]]) -> None:
        operand, axes = node.inputs[0], node.params["axes"]
        kept = [i for i in range(operand.ndim) if i not in axes]
        where: AxisMap = tuple(None if operand.shape[i] == 1 else i for i in kept)
        for group, maps in readers.items():
            if (
                group.shape == operand.shape and group.axes in (None, axes) and group.anchor is None
                and all(m == where for m in maps) and self.worthwhile(group, operand, axes)
                and group.weight < MOST_WEIGHT and self.comes_before(group, list(readers))
            ):  # fmt: skip
                group.axes = axes
                self.join(node, group, where)
                if len(readers) > 1 or node in self.wanted:
                    self.store(node, group, list(readers))
                return
        if len(readers) == 1 and node not in self.wanted:
            ((group, maps),) = readers.items()
            if self.becomes_epilogue(group, node, maps):
                group.shape, group.axes = operand.shape, axes
                group.members = {
                    n: None if m is None else tuple(None if a is None else kept[a] for a in m)
                    for n, m in group.members.items()
                }
                self.join(node, group, where)
                return
        group = self.new_group(node, operand.shape, axes)
        self.join(node, group, where)
        self.store(node, group, list(readers))

    def worthwhile(self, group: Group, operand: Node, axes: tuple[int, ...]) -> bool:
        """Whether one pass over rows beats separate kernels: enough rows, and contiguous or short, or all is small."""
        return self.worthwhile_rows(operand.shape, axes)

    def worthwhile_rows(self, shape: tuple[Size, ...], axes: tuple[int, ...]) -> bool:
        if not is_static(shape) or prod(shape) <= _SMALL and not in_force().invariant:  # type: ignore[arg-type]
            return True
        rows = prod(n for i, n in enumerate(shape) if i not in axes)  # type: ignore[misc]
        if in_force().invariant:
            return len(shape) - 1 in axes or prod(shape) // max(1, rows) <= _TALL  # type: ignore[arg-type]
        if len(shape) - 1 in axes:
            return rows >= 16
        return rows >= 16 * COLUMNS and prod(shape) // rows <= _TALL  # type: ignore[arg-type]

    def becomes_epilogue(self, group: Group, node: Node, maps: list[AxisMap | None]) -> bool:
        return (
            group.shape == node.shape and group.axes is None and group.anchor is None
            and all(m == group.identity for m in maps)
            and all(m is not None for m in group.members.values())
            and group.weight < MOST_WEIGHT
        )  # fmt: skip

    def place_pointwise(self, node: Node, readers: dict[Group, list[AxisMap | None]]) -> None:
        groups = list(readers)
        if node not in self.wanted and groups and self.inlinable(node, readers):
            for group, maps in readers.items():
                self.join(node, group, maps[0] if all(m == maps[0] for m in maps) else None)
            if len(readers) == 1:
                self.seen_through[node] = self.view_before(node, groups[0])
            return
        for group, maps in readers.items():
            if self.open(group) and self.comes_before(group, groups) and self.storable(group, node, maps):
                self.join(node, group, maps[0])
                self.store(node, group, groups)
                return
        group = self.new_group(node, node.shape)
        self.join(node, group, group.identity)
        self.store(node, group, groups)

    def storable(self, group: Group, node: Node, maps: list[AxisMap | None]) -> bool:
        """Whether the group visits each element of `node` once: at its own elements, or once for each of its rows."""
        where = maps[0]
        if where is None or any(m != where for m in maps):
            return False
        if where == group.identity and group.shape == node.shape:
            return True
        if group.anchor is not None:
            return False
        axes = tuple(i for i in range(len(group.shape)) if i not in where)
        if not axes or group.shape[axes[-1]] == 1 or group.axes not in (None, axes):
            return False
        rows = tuple(i for i, n in enumerate(group.shape) if n != 1 and i not in axes)
        if tuple(a for a in where if a is not None) != rows or not self.worthwhile_rows(group.shape, axes):
            return False
        group.axes = axes
        return True

    def open(self, group: Group) -> bool:
        anchored = group.anchor is not None and group.anchor.prim.name not in FOLLOWED
        return not anchored and group.weight < MOST_WEIGHT

    def inlinable(self, node: Node, readers: dict[Group, list[AxisMap | None]]) -> bool:
        if any(g.weight >= MOST_WEIGHT or (g.anchor and g.anchor.prim.is_call) for g in readers):
            return False
        if node.prim.kind == "view":
            return True
        if any(self.is_whole_input(g, node) for g in readers):
            if _widens_bytes(node) and all(g.anchor and g.anchor.prim.name == "dot_general" for g in readers):
                return True
            return len(readers) == 1 and node.prim.name in CHEAP and all(_reads_once(g) for g in readers)
        if all(c.prim.name == "gather" and not k and _size(c) <= _size(node) for c, k in self.consumers[node]):
            return len(self.consumers[node]) == 1  # no element is computed more often than if it were stored
        if len(readers) > 1:
            wide = [i for i in node.inputs if _size(i) == _size(node) and not is_constant(i)]
            return len(wide) <= 1 and (node.prim.name in CHEAP or self.again(node, wide, readers))
        ((group, maps),) = readers.items()
        if len(set(maps)) == 1 and maps[0] is not None:
            return node.prim.name in CHEAP or self.hoistable(group, maps[0])
        view = self.view_before(node, group)
        if view is not None and (node.prim.name in CHEAP or self.hoistable(group, group.members[view] or ())):
            return True
        return len(maps) == 1 and self.read_once(node)

    def again(self, node: Node, wide: list[Node], readers: dict[Group, list[AxisMap | None]]) -> bool:
        """Whether two kernels should both compute a large node: one of them reads what it is made of anyway."""
        maps = [m for found in readers.values() for m in found]
        if len(readers) != 2 or node.prim.name not in AGAIN or _size(node) < _LARGE or None in maps:
            return False
        above, below = node, wide
        while len(below) == 1:
            (at,) = below
            others = [c for c, _ in self.consumers[at] if c is not above]
            if any(group in self.evaluated.get(c, ()) for c in others for group in readers):
                return True
            if at.prim.name not in CHEAP or self.stop(at):
                return False
            above, below = at, [i for i in at.inputs if _size(i) == _size(node) and not is_constant(i)]
        return False

    def view_before(self, node: Node, group: Group) -> Node | None:
        """The view that lies in the group's space through which all reads of `node` pass, at one index.

        Between the node and that view are elementwise operations of its shape and views that repeat no element.
        """
        found = set()
        for c, _ in self.consumers[node]:
            is_same_shape = c.prim.kind == "elementwise" and c.shape == node.shape
            is_moved_once = c.prim.kind == "view" and c.prim.name in INJECTIVE and len(c.inputs) == 1
            if not is_same_shape and not is_moved_once:
                return None
            is_placed = group.members.get(c) is not None
            found.add(self.seen_through.get(c) if not is_placed else c if is_moved_once else None)
        return found.pop() if len(found) == 1 else None

    def is_whole_input(self, group: Group, node: Node) -> bool:
        """Whether the anchor's own loops read `node`, directly or through views."""
        anchor = group.anchor
        if anchor is None:
            return False
        stack, seen = list(anchor.inputs), set()
        while stack:
            i = stack.pop()
            if i is node:
                return True
            if i in group.members and i not in seen and i is not anchor:
                seen.add(i)
                stack.extend(i.inputs)
        return False

    def hoistable(self, group: Group, where: AxisMap) -> bool:
        """Whether the loops that do not move the node are innermost, so that it is computed once."""
        missing = [i for i, n in enumerate(group.shape) if n != 1 and i not in where]
        if not missing:
            return True
        if group.axes is not None:
            return set(missing) <= set(group.axes)
        used = [i for i in where if i is not None]
        return not used or max(used) < min(missing)

    def read_once(self, node: Node) -> bool:
        ((consumer, _),) = self.consumers[node]
        while consumer.prim.kind == "view" and consumer.prim.name in INJECTIVE:
            following = self.consumers.get(consumer, ())
            if len(following) != 1:
                return False
            ((consumer, _),) = following
        return consumer.prim.kind in ("elementwise", "reduce")

    def sorted(self) -> list[Group]:
        """Order the groups so that each comes after what it reads, close to its first reader's need."""
        position = {n: k for k, n in enumerate(self.order)}
        home = {o: g for g in self.groups for o in g.outputs}
        last = {g: max(position[m] for m in g.members) for g in self.groups}
        result: list[Group] = []
        done: set[Group] = set()
        for root in sorted(self.groups, key=lambda g: last[g]):
            stack = [root]
            while stack:
                group = stack[-1]
                if group in done:
                    stack.pop()
                    continue
                needs = {
                    self.home(i, home) for m in group.members for i in m.inputs if i not in group.members or i in home
                }
                waiting = [g for g in needs if g is not None and g is not group and g not in done]
                if waiting:
                    stack.extend(sorted(waiting, key=lambda g: -last[g]))
                else:
                    done.add(group)
                    result.append(group)
                    stack.pop()
        return result

    def home(self, node: Node, home: dict[Node, Group]) -> Group | None:
        return home.get(node.inputs[0] if node.prim is GET and node.inputs else node)


def _reads_once(group: Group) -> bool:
    """Whether the anchor reads each element of its operands about once."""
    return group.anchor is not None and group.anchor.prim.name in SCATTERS


def _widens_bytes(node: Node) -> bool:
    """Whether a node converts 8-bit integers to int32: a matrix product would rather read what it is made of."""
    return node.prim.name == "convert" and node.dtype is int32 and node.inputs[0].dtype in (int8, uint8)


def is_constant(node: Node) -> bool:
    """Whether the node is a constant, possibly broadcast."""
    return node.prim is CONSTANT or (node.prim.name == "broadcast" and node.inputs[0].prim is CONSTANT)


def fuse(outputs: Sequence[Node], stop: Callable[[Node], bool] = is_leaf) -> list[Group]:
    """Group the nodes that `outputs` need, down to those for which `stop` holds, into kernels in execution order."""
    return Fuser([o for o in outputs if not stop(o)], stop).run()


def single(node: Node) -> Group:
    """Return the kernel of one node alone."""
    if node.prim.kind == "reduce":
        operand, axes = node.inputs[0], node.params["axes"]
        group = Group(0, operand.shape, axes)
        group.members[node] = tuple(None if n == 1 else i for i, n in enumerate(operand.shape) if i not in axes)
    else:
        group = Group(0, node.shape if not isinstance(node.aval, tuple) else ())
        group.members[node] = group.identity
        if node.prim.kind == "kernel":
            group.anchor = node
    group.outputs.append(node)
    return group

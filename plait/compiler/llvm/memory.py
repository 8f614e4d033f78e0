"""Vector loads and stores: contiguous, reversed, interleaved, gathered."""

from __future__ import annotations

from collections.abc import Sequence

from plait.compiler.llvm.text import Value, Writer, integer, literal, suffix, vector_literal
from plait.core.dtype import bool_
from plait.ir.loop import Buffer

TRUE = literal(True, bool_)
NEAR = 4  # elements between lanes up to which whole vectors are read and written, and shuffled


def alignment(kind: str) -> int:
    """The natural alignment of an element, in bytes."""
    return {"float": 4, "double": 8}.get(kind) or max(1, int(kind[1:]) // 8)


def place(w: Writer, kind: str, lanes: int, text: str, operands: list[Value], buffer: Buffer) -> Value:
    """Write a load, hoisted as far as it is certain to be executed and reads the same."""
    depth = max(w.barrier, *(o.depth for o in operands))
    if buffer.space == "input":
        return w.define(kind, lanes, text, depth)
    return w.read(kind, lanes, text, max(depth, w.unchanged(buffer)))


def load_scalar(w: Writer, kind: str, address: Value, buffer: Buffer) -> Value:
    """Load one element."""
    text = f"load {kind}, ptr {address.text}, align {alignment(kind)}"
    return place(w, kind, 1, text, [address], buffer)


def load_lanes(
    w: Writer, kind: str, lanes: int, address: Value, stride: int, mask: Value | None, buffer: Buffer
) -> Value:
    """Load a vector.

    Args:
        w: the writer.
        kind: the element type in memory.
        lanes: the width.
        address: of lane 0, or the vector of all addresses.
        stride: 1, -1 or 2 to `NEAR` elements between lanes; 0 for a vector of addresses.
        mask: the lanes to load; the others are 0. None for all.
        buffer: what is read.

    Returns:
        The vector.
    """
    if stride == -1:
        start = w.address(address, kind, integer(1 - lanes))
        reverse = range(lanes - 1, -1, -1)
        mask = None if mask is None else w.shuffle(w.widen(mask, lanes), None, reverse)
        return w.shuffle(load_lanes(w, kind, lanes, start, 1, mask, buffer), None, reverse)
    if stride > 1 and mask is None:
        return _load_between(w, kind, lanes, address, stride, buffer)
    if stride > 1:
        address = _spread(w, kind, lanes, address, stride)
        stride = 0
    type_ = f"<{lanes} x {kind}>"
    if stride == 1 and mask is None:
        text = f"load {type_}, ptr {address.text}, align {alignment(kind)}"
        return place(w, kind, lanes, text, [address], buffer)
    mask = w.widen(mask or TRUE, lanes)
    name = "load" if stride == 1 else "gather"
    pointer = f"{address.type} align {alignment(kind)} {address.text}"
    text = (
        f"call {type_} @llvm.masked.{name}.{suffix(Value('', kind, lanes))}.{suffix(address)}"
        f"({pointer}, {mask.typed}, {type_} zeroinitializer)"
    )
    return place(w, kind, lanes, text, [address, mask], buffer)


def _load_between(w: Writer, kind: str, lanes: int, address: Value, stride: int, buffer: Buffer) -> Value:
    """Load whole vectors and pick from them every `stride`-th element."""
    last = (lanes - 1) * stride  # the last vector ends there, so nothing beyond it is read
    starts = sorted({min(k * lanes, last - lanes + 1) for k in range(stride)})
    result: Value | None = None
    for start in starts:
        part = load_lanes(w, kind, lanes, w.address(address, kind, integer(start)), 1, None, buffer)
        inside = [start <= k * stride < start + lanes for k in range(lanes)]
        if result is None:
            result = w.shuffle(part, None, [k * stride if i else 0 for k, i in enumerate(inside)])
        else:
            result = w.shuffle(result, part, [lanes + k * stride - start if i else k for k, i in enumerate(inside)])
    assert result is not None
    return result


def store_scalar(w: Writer, value: Value, address: Value) -> None:
    """Store one element."""
    w.line(f"store {value.typed}, ptr {address.text}, align {alignment(value.kind)}")


def store_lanes(w: Writer, value: Value, address: Value, stride: int, mask: Value | None) -> None:
    """Store a vector; the arguments are those of `load_lanes`."""
    kind, lanes = value.kind, value.lanes
    lane = _only_lane(mask) if stride else None
    if lane is not None:
        # LLVM (22) would store the one lane of a truncated vector in its wide type, over what follows it
        element = w.define(kind, 1, f"extractelement {value.typed}, i64 {lane}", value.depth)
        store_scalar(w, element, w.address(address, kind, integer(lane * stride)))
        return
    if stride == -1:
        reverse = range(lanes - 1, -1, -1)
        value = w.shuffle(value, None, reverse)
        mask = None if mask is None else w.shuffle(w.widen(mask, lanes), None, reverse)
        address = w.address(address, kind, integer(1 - lanes))
        stride = 1
    if stride > 1:
        address = _spread(w, kind, lanes, address, stride)
        stride = 0
    if stride == 1 and mask is None:
        w.line(f"store {value.typed}, ptr {address.text}, align {alignment(kind)}")
        return
    mask = w.widen(mask or TRUE, lanes)
    name = "store" if stride == 1 else "scatter"
    pointer = f"{address.type} align {alignment(kind)} {address.text}"
    w.line(f"call void @llvm.masked.{name}.{suffix(value)}.{suffix(address)}({value.typed}, {pointer}, {mask.typed})")


def _only_lane(mask: Value | None) -> int | None:
    """The live lane of a constant mask that has just one."""
    if mask is None or not mask.text.startswith("<"):
        return None
    live = [k for k, bit in enumerate(mask.text[1:-1].split(", ")) if bit == "i1 true"]
    return live[0] if len(live) == 1 else None


def store_between(w: Writer, values: Sequence[Value], address: Value, mask: Value | None) -> None:
    """Store two to `NEAR` vectors interleaved, as the parts of complex numbers are."""
    lanes, count = values[0].lanes, len(values)
    places = [divmod(k, count) for k in range(count * lanes)]
    wide = [values[0], values[1]]
    if count > 2:
        both = range(2 * lanes)
        wide = [w.shuffle(values[0], values[1], both), w.shuffle(values[2], values[-1], both)]
    if mask is not None:
        mask = w.shuffle(w.widen(mask, lanes), None, [lane for lane, _ in places])
    store_lanes(w, w.shuffle(wide[0], wide[1], [lane + part * lanes for lane, part in places]), address, 1, mask)


def spread(w: Writer, kind: str, lanes: int, address: Value, stride: Value) -> Value:
    """The addresses of lanes that are `stride` elements apart."""
    if stride.constant is not None:
        return _spread(w, kind, lanes, address, stride.constant)
    offsets = w.binary("mul", w.widen(stride, lanes), vector_literal("i64", range(lanes)))
    return w.address(address, kind, offsets)


def _spread(w: Writer, kind: str, lanes: int, address: Value, stride: int) -> Value:
    return w.address(address, kind, vector_literal("i64", [k * stride for k in range(lanes)]))

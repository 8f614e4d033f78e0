"""Lookups in small tables of constants: by permuting registers where the processor can, else from memory."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from plait.compiler.llvm.text import Value, Writer, integer, kind_of, literal
from plait.core.dtype import DType
from plait.ir.loop import TABLE


def lookup(w: Writer, function: str, table: tuple[float, ...], dtype: DType, index: Value) -> Value:
    """The entries of a table at indices modulo its size; `function` is the name of the function being written."""
    kind, lanes = kind_of(dtype), index.lanes
    entries = [literal(entry, dtype) for entry in table]
    most = w.target.vector_bytes // dtype.itemsize
    if lanes > most > 1:
        return w.in_halves(functools.partial(lookup, w, function, table, dtype), index)
    if lanes > 1 and w.target.permutes:
        low, high = _constant(entries[:lanes]), _constant(entries[-lanes:])
        if lanes == TABLE:
            return _call(w, "avx512.permvar.sf.512", low, low, index)
        if lanes == TABLE // 2 and w.target.vector_bytes == 64:
            name = "pd.512" if kind == "double" else "ps.256"
            return _call(w, f"avx512.vpermi2var.{name}", low, low, index, high)
        if kind == "float" and lanes == TABLE // 2:
            picks = [_call(w, "avx2.permps", low, part, index) for part in (low, high)]
            is_high = w.compare("icmp ne", w.binary("and", index, integer(lanes, index.kind)), integer(0, index.kind))
            return w.select(is_high, picks[1], picks[0])
    return _from_memory(w, function, entries, index)


def _constant(entries: Sequence[Value]) -> Value:
    return Value(f"<{', '.join(e.typed for e in entries)}>", entries[0].kind, len(entries))


def _call(w: Writer, name: str, like: Value, *args: Value) -> Value:
    text = f"call {like.type} @llvm.x86.{name}({', '.join(a.typed for a in args)})"
    return w.define(like.kind, like.lanes, text, max(a.depth for a in args))


def _from_memory(w: Writer, function: str, entries: Sequence[Value], index: Value) -> Value:
    kind, lanes = entries[0].kind, index.lanes
    content = f"[{len(entries)} x {kind}] [{', '.join(e.typed for e in entries)}]"
    place = w.binary("and", index, integer(len(entries) - 1, index.kind))
    place = place if index.kind == "i64" else w.convert("zext", place, "i64")
    address = w.address(w.table(function, content), kind, place)
    if lanes == 1:
        return w.define(kind, 1, f"load {kind}, ptr {address.text}", address.depth)
    size, letter = (4, "f32") if kind == "float" else (8, "f64")
    type_ = f"<{lanes} x {kind}>"
    text = (
        f"call {type_} @llvm.masked.gather.v{lanes}{letter}.v{lanes}p0"
        f"({address.type} align {size} {address.text}, <{lanes} x i1> splat (i1 true), {type_} poison)"
    )
    return w.define(kind, lanes, text, address.depth)

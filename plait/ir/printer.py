"""Loop IR as readable text."""

from __future__ import annotations

from collections.abc import Iterable

from plait.ir.loop import (
    Accumulate,
    Allocate,
    Assign,
    Declare,
    Dots,
    Expr,
    For,
    Function,
    If,
    Kernel,
    Prefetch,
    Scan,
    Statement,
    Store,
    While,
)

_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "rem": "%", "and": "&", "or": "|", "xor": "^", "shl": "<<",
    "shr": ">>", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
}  # fmt: skip


_LEAVES = ("const", "var", "scalar", "local", "accumulator")


class _Writer:
    """Writes statements; an expression used several times gets a name where it is first used."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: list[dict[Expr, str]] = [{}]
        self.count = 0

    def named(self, e: Expr) -> str | None:
        return next((scope[e] for scope in reversed(self.names) if e in scope), None)

    def text(self, e: Expr) -> str:
        """The expression, its shared parts by name."""
        return self.named(e) or self.operation(e)

    def operation(self, e: Expr) -> str:
        parts = [self.text(a) for a in e.args]
        if e.op in _INFIX:
            return f"({parts[0]} {_INFIX[e.op]} {parts[1]})"
        if e.op == "load":
            return f"{e.attr.name}[{parts[0]}]" + (f" if {parts[1]} else 0" if len(parts) > 1 else "")
        if e.op in ("cast", "bitcast"):
            return f"{e.op}<{e.dtype.name}>({parts[0]})"
        if e.op == "lookup":
            return f"{e.attr}[{parts[0]} % {len(e.attr)}]"
        return f"{e.op}({', '.join(parts)})" if parts else str(e.attr)

    def share(self, roots: Iterable[Expr | None], pad: str) -> None:
        """Name every part that occurs more than once."""
        uses: dict[Expr, int] = {}
        order: list[Expr] = []
        stack = [(r, False) for r in roots if r is not None]
        while stack:
            e, done = stack.pop()
            if done:
                order.append(e)
                continue
            uses[e] = uses.get(e, 0) + 1
            if uses[e] == 1 and self.named(e) is None:
                stack.append((e, True))
                stack.extend((a, False) for a in e.args)
        for e in order:
            if uses[e] > 1 and e.op not in _LEAVES:
                self.count += 1
                name = f"t{self.count}"
                self.lines.append(f"{pad}{name} = {self.operation(e)}")
                self.names[-1][e] = name

    def block(self, body: Iterable[Statement], depth: int) -> None:
        self.names.append({})
        pad = "    " * depth
        for s in body:
            if isinstance(s, For):
                self.share([s.low, s.high], pad)
                bounds = f"{self.text(s.low)}, {self.text(s.high)}" + (f", {s.step}" if s.step != 1 else "")
                self.lines.append(f"{pad}{(s.mark + ' ') if s.mark else ''}for {s.variable} in range({bounds}):")
                self.block(s.body, depth + 1)
            elif isinstance(s, (If, While)):
                self.share([s.condition], pad)
                word = "while" if isinstance(s, While) else "if"
                self.lines.append(f"{pad}{word} {self.text(s.condition)}:")
                self.block(s.body, depth + 1)
                if isinstance(s, If) and s.orelse:
                    self.lines.append(f"{pad}else:")
                    self.block(s.orelse, depth + 1)
            elif isinstance(s, Allocate):
                self.lines.append(f"{pad}{s.buffer}")
            elif isinstance(s, Dots):
                self.share([s.sums_at, s.left_at, s.right_at, s.depth], pad)
                self.lines.append(pad + self.dots(s))
            else:
                self.share(_operands(s), pad)
                self.lines.append(pad + self.simple(s))
        self.names.pop()

    def dots(self, s: Dots) -> str:
        sums, left, right = (
            f"{buffer.name}[{self.text(at)} + {place}]"
            for buffer, at, place in (
                (s.sums, s.sums_at, f"i * {s.columns} + j"), (s.left, s.left_at, f"line(k, i of {s.rows})"),
                (s.right, s.right_at, f"group(k, j of {s.columns})"),
            )
        )  # fmt: skip
        ranges = f"i < {s.rows}, j < {s.columns}, k < {self.text(s.depth)}"
        return f"{sums} {'+=' if s.adds else '='} {left} * {right} for {ranges}"

    def simple(self, s: Declare | Assign | Accumulate | Scan | Store | Prefetch) -> str:
        if isinstance(s, Prefetch):
            return f"prefetch {s.buffer.name}[{self.text(s.index)}] to L{s.level}"
        if isinstance(s, Declare):
            return f"{s.local}: {s.local.dtype.name} = {self.text(s.value)}"
        if isinstance(s, Assign):
            return f"{s.local} = {self.text(s.value)}"
        if isinstance(s, Scan):
            return f"{s.local}: {s.local.dtype.name} = ({s.accumulator} {s.accumulator.op}= {self.text(s.value)})"
        guard = f" if {self.text(s.guard)}" if s.guard is not None else ""
        if isinstance(s, Accumulate):
            return f"{s.accumulator} {s.accumulator.op}= {self.text(s.value)}{guard}"
        return f"{s.buffer.name}[{self.text(s.index)}] = {self.text(s.value)}{guard}"


def _operands(s: Declare | Assign | Accumulate | Scan | Store | Prefetch) -> list[Expr | None]:
    if isinstance(s, Prefetch):
        return [s.index]
    if isinstance(s, Store):
        return [s.index, s.value, s.guard]
    return [s.value, s.guard] if isinstance(s, Accumulate) else [s.value]


def function(f: Function) -> str:
    """Return a function as text."""
    writer = _Writer()
    arguments = ", ".join([*(repr(b) for b in f.buffers), *(f"{s}: int64" for s in f.scalars)])
    mark = f"parallel {f.mark}".strip()
    writer.lines.append(f"def {f.name}({arguments}):")
    writer.lines.append(f"    {mark} for {f.variable} in range({writer.text(f.extent)}):")
    writer.block(f.body, 2)
    return "\n".join(writer.lines)


def kernel(k: Kernel) -> str:
    """Return a kernel as text: its functions in order.

    Example:
        >>> from plait.core.dtype import float32
        >>> from plait.ir.build import Builder
        >>> b = Builder("double")
        >>> x, y = b.input("x", float32, 10), b.output("y", float32, 10)
        >>> with b.parallel(10, mark="vector") as i:
        ...     b.store(y, i, b.load(x, i) * 2.0)
        >>> print(kernel(b.finish()))
        def double_0(input x: float32[10], output y: float32[10]):
            parallel vector for p1 in range(10):
                y[p1] = (x[p1] * 2.0)
    """
    text = "\n\n".join(function(f) for f in k.functions)
    return text if k.rounds == 1 else f"# for round in range({k.rounds}):\n\n{text}"

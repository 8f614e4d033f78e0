"""Random programs over integers (so that every order of accumulation is exact): compiled against interpreted."""

from __future__ import annotations

import random as python_random

import numpy as np
import pytest

from plait.core.dtype import int32, int64, uint8
from plait.ir.build import Builder
from plait.ir.loop import binary, cast, const, select, unary

SIZE = 64
DTYPES = (int32, int64, uint8)


class Program:
    """Writes one random kernel."""

    def __init__(self, seed):
        self.random = python_random.Random(seed)
        self.b = Builder(f"program{seed}")
        self.inputs = [self.b.input(f"x{k}", d, SIZE) for k, d in enumerate(DTYPES)]
        self.outputs = [self.b.output(f"y{k}", d, SIZE * SIZE) for k, d in enumerate(DTYPES)]
        self.n = self.b.scalar("n")
        self.locals = []
        self.uniform = []
        self.in_lanes = False

    def pick(self, *choices):
        return self.random.choice(choices)

    def index(self, variables):
        """An index in [0, SIZE) for a load."""
        v = self.random.choice(variables) if variables else const(3)
        kind = self.random.randrange(7)
        if kind == 0:
            return const(self.random.randrange(SIZE))
        if kind == 1:
            return (v * self.n) % SIZE
        if kind == 2:
            return (v // 3 + self.random.randrange(9)) % SIZE
        if kind == 3:
            return binary("min", SIZE - 1 - v, const(SIZE - 1))
        if kind == 4:
            return cast(self.b.load(self.inputs[2], v), int64) % SIZE
        return v

    def value(self, dtype, variables, depth=3):
        """An expression."""
        if depth == 0 or self.random.random() < 0.15:
            kind = self.random.randrange(4)
            if kind == 0:
                return const(self.random.randrange(-5, 50), dtype)
            readable = [handle for handle in self.locals if handle.local.dtype is dtype]
            if kind == 1 and readable:
                return self.random.choice(readable).get()
            if kind == 2 and variables:
                return cast(self.random.choice(variables), dtype)
            buffer = self.inputs[DTYPES.index(dtype)]
            if self.random.random() < 0.3:
                v = self.random.choice(variables) if variables else const(1)
                shift = self.random.randrange(-5, 50)
                guard = (v + shift >= 0) & (v + shift < SIZE)
                return self.b.load(buffer, v + shift, guard)
            return self.b.load(buffer, self.index(variables))
        op = self.pick(
            "add", "sub", "mul", "min", "max", "and", "xor", "shl", "shr", "div", "rem", "select", "cast", "not"
        )
        if op == "select":
            a, c = self.value(dtype, variables, depth - 1), self.value(dtype, variables, depth - 1)
            return select(self.condition(variables, depth - 1), a, c)
        if op == "cast":
            return cast(self.value(self.pick(*DTYPES), variables, depth - 1), dtype)
        if op == "not":
            return unary(op, self.value(dtype, variables, depth - 1))
        return binary(op, self.value(dtype, variables, depth - 1), self.value(dtype, variables, depth - 1))

    def condition(self, variables, depth=1):
        """A bool."""
        dtype = self.pick(*DTYPES)
        op = self.pick("lt", "ge", "eq", "ne")
        result = binary(op, self.value(dtype, variables, depth), self.value(dtype, variables, depth))
        return result if self.random.random() < 0.7 else unary("not", result)

    def store(self, where, variables):
        """A store to an element that belongs to the iteration."""
        k = self.random.randrange(len(DTYPES))
        guard = self.condition(variables) if self.random.random() < 0.3 else None
        self.b.store(self.outputs[k], where, self.value(DTYPES[k], variables), guard)

    def body(self, where, variables, depth):
        """Statements; `where` is an element of the outputs that only this iteration writes."""
        known = len(self.locals)
        for _ in range(self.random.randrange(1, 4)):
            kind = self.random.randrange(8)
            uniform = [v for v in variables if v in self.uniform]
            if kind == 0:
                dtype = self.pick(*DTYPES)
                self.locals.append(self.b.local(dtype, self.value(dtype, variables)))
            elif kind == 1 and self.locals[known:]:
                handle = self.random.choice(self.locals[known:])
                handle.set(self.value(handle.local.dtype, variables))
            elif kind == 2 and depth:
                self.reduction(where, variables, depth)
            elif kind == 3 and depth and not (self.in_lanes and not uniform):
                with self.b.when(self.uniform_condition(uniform)):
                    self.body(where, variables, depth - 1)
                with self.b.otherwise():
                    self.store(where, variables)
            elif kind == 4 and depth and not self.in_lanes:
                with self.vector(0, self.pick(5, 16, SIZE, self.n)) as j:
                    self.body(where // SIZE * SIZE + j, [*variables, j], depth - 1)
            else:
                self.store(where, variables)
        del self.locals[known:]

    def uniform_condition(self, uniform):
        """A condition that all lanes share."""
        locals_, self.locals = self.locals, [] if self.in_lanes else self.locals
        result = self.condition(uniform)
        self.locals = locals_
        return result

    def vector(self, low, high):
        """A vector loop that notes that lanes are being computed."""
        program, loop = self, self.b.vector(low, high)

        class Context:
            def __enter__(self):
                program.in_lanes = True
                return loop.__enter__()

            def __exit__(self, *error):
                program.in_lanes = False
                return loop.__exit__(*error)

        return Context()

    def reduction(self, where, variables, depth):
        """An accumulator over an inner loop; a vector loop if there is none yet."""
        k = self.random.randrange(len(DTYPES))
        dtype = DTYPES[k]
        a = self.b.accumulator(self.pick("add", "mul", "min", "max", "and", "or", "xor"), dtype, 3)
        mark = "vector" if not self.in_lanes and self.random.random() < 0.6 else self.pick("", "unroll")
        high = self.pick(0, 3, 21, SIZE, self.n) if mark == "vector" else 3 if mark else self.pick(2, self.n)
        loop = self.vector(0, high) if mark == "vector" else self.b.loop(0, high, 1, mark)
        with loop as r:
            if mark != "vector":
                self.uniform.append(r)
            guard = self.condition([*variables, r]) if self.random.random() < 0.4 else None
            a.add(self.value(dtype, [*variables, r]), guard)
        self.b.store(self.outputs[k], where, a.get() + self.value(dtype, variables, 1))


@pytest.mark.parametrize("seed", range(60))
def test_random_program(seed, agree):
    """One program, whose parallel loop may itself be a vector loop."""
    program = Program(seed)
    mark = "vector" if seed % 3 == 0 else ""
    extent = 37 if mark else 5
    with program.b.parallel(extent, mark) as i:
        program.in_lanes = bool(mark)
        if not mark:
            program.uniform.append(i)
        program.body(i if mark else i * SIZE, [i], 3)
    random = np.random.default_rng(seed)
    arrays = [random.integers(0, 100, SIZE).astype(d.numpy) for d in DTYPES]
    arrays += [np.zeros(SIZE * SIZE, d.numpy) for d in DTYPES]
    agree(program.b.finish(), arrays, [7])

"""Programs that are no networks: a stencil, the formula of Black and Scholes, a thousand small operations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cases import Case, integers, numbers

# The stencil of the heat equation with periodic borders. Each library in its own way: rolled arrays where that fuses,
# for PyTorch a padded array and slices, whose only copies are those of the borders.


def rolled(roll: Any, u: Any) -> Any:
    around = roll(u, 1, 0) + roll(u, -1, 0) + roll(u, 1, 1) + roll(u, -1, 1)
    return u + 0.1 * (around - 4.0 * u)


def torch_stencil(kit: Any, side: int, steps: int) -> Any:
    lib = kit.lib

    def step(u: Any) -> Any:
        for _ in range(steps):
            if kit.compiled:
                u = rolled(lib.roll, u)
            else:
                padded = lib.nn.functional.pad(u[None, None], (1, 1, 1, 1), mode="circular")[0, 0]
                around = padded[2:, 1:-1] + padded[:-2, 1:-1]
                around += padded[1:-1, 2:]
                around += padded[1:-1, :-2]
                u = u * 0.6 + around * 0.1
        return u

    return kit.call(step, numbers("field", side, side))


def plait_stencil(kit: Any, side: int, steps: int) -> Any:
    lib = kit.lib
    body = lambda k, u: rolled(lib.roll, u)  # noqa: E731
    return kit.call(lambda u: lib.fori_loop(0, steps, body, u), numbers("field", side, side))


def jax_stencil(kit: Any, side: int, steps: int) -> Any:
    return kit.call(
        lambda u: kit.loop(steps, lambda u: rolled(kit.roll, u), u), numbers("field", side, side)
    )  # fmt: skip


def black_scholes(log: Any, exp: Any, erf: Any, sqrt: Any, s: Any, k: Any, t: Any, r: float, v: float) -> Any:
    """Return the price and the derivative by the price of the stock of European calls."""
    root = v * sqrt(t)
    d1 = (log(s / k) + (r + v * v / 2) * t) / root
    normal = lambda x: 0.5 * (1.0 + erf(x * math.sqrt(0.5)))  # noqa: E731
    delta = normal(d1)
    return s * delta - k * exp(-r * t) * normal(d1 - root), delta


def options(count: int) -> list[np.ndarray]:
    bounds = {"price": (50, 150), "strike": (50, 150), "time": (0.1, 2)}
    return [numbers(name, count, low=low, high=high) for name, (low, high) in bounds.items()]


def torch_options(kit: Any, count: int) -> Any:
    lib = kit.lib
    return kit.call(
        lambda *x: black_scholes(lib.log, lib.exp, lib.erf, lib.sqrt, *x, r=0.03, v=0.2), *options(count)
    )  # fmt: skip


def jax_options(kit: Any, count: int) -> Any:
    return kit.call(
        lambda *x: black_scholes(kit.log, kit.exp, kit.erf, kit.sqrt, *x, r=0.03, v=0.2), *options(count)
    )  # fmt: skip


# A thousand operations of many kinds on a few numbers each: what a step costs beside its arithmetic.


def small_program(tanh: Any, total: Any, x: Any, y: Any, count: int) -> Any:
    for k in range(count // 5):
        x = tanh(x * y + 0.1 * (k % 7))
        y = y - 0.01 * total(x)
    return x, y


def torch_small(kit: Any, count: int, size: int) -> Any:
    total = lambda x: x.sum(1, keepdim=True)  # noqa: E731
    return kit.call(
        lambda x, y: small_program(kit.lib.tanh, total, x, y, count), numbers("x", size, size), numbers("y", size, size)
    )


def jax_small(kit: Any, count: int, size: int) -> Any:
    total = lambda x: kit.mean(x, 1) * x.shape[1]  # noqa: E731
    return kit.call(
        lambda x, y: small_program(kit.tanh, total, x, y, count), numbers("x", size, size), numbers("y", size, size)
    )


# A tree of small products, each of other operands: no loop to roll, no two kernels next to each other.


def tree(tanh: Any, matrices: Any, x: Any, order: Any) -> Any:
    found = [x]
    for a, b, m in order:
        found.append(tanh(found[a] @ matrices[m] + found[b]))
    return found[-1]


def tree_inputs(kit: Any, count: int, size: int) -> Any:
    order = [tuple(int(i) for i in row) for row in integers("order", 16, count // 3, 3)]
    order = [(k - min(a, k), k - min(b, k), m) for k, (a, b, m) in enumerate(order)]
    return order, [kit.array(0.1 * numbers(f"matrix {m}", size, size)) for m in range(16)]


def torch_tree(kit: Any, count: int, size: int) -> Any:
    order, matrices = tree_inputs(kit, count, size)
    return kit.call(lambda m, x: tree(kit.lib.tanh, m, x, order), matrices, numbers("x", size, size))


def jax_tree(kit: Any, count: int, size: int) -> Any:
    order, matrices = tree_inputs(kit, count, size)
    return kit.call(lambda m, x: tree(kit.tanh, m, x, order), matrices, numbers("x", size, size))


TINY = {"count": 30, "size": 4}

CASES = [
    Case("stencil, 50 steps on 512 x 512", torch_stencil, jax_stencil, {"side": 512, "steps": 50},
         {"side": 8, "steps": 3}, plait=plait_stencil, flops=lambda side, steps: 7.0 * side**2 * steps,
         traffic=lambda side, steps: 8.0 * side**2 * steps),
    Case("Black-Scholes on 10^6", torch_options, jax_options, {"count": 10**6}, {"count": 100}, flops=0,
         traffic=lambda count: 20.0 * count),
    Case("1000 small operations, elementwise and sums, 8 x 8", torch_small, jax_small, {"count": 1000, "size": 8},
         TINY, flops=0, traffic=0, tolerance=1e-3),
    Case("1000 small operations, products in a graph, 16 x 16", torch_tree, jax_tree, {"count": 1000, "size": 16},
         TINY, flops=lambda count, size: 2.0 * size**3 * (count // 3), traffic=0, tolerance=1e-3),
]  # fmt: skip

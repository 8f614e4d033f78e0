"""Going back over a loop of unknown length, in memory that does not grow with it.

The carries before some evenly spaced steps are kept; the stretch behind each is run again and divided in the same
way, then step by step (Griewank & Walther, "Revolve", 2000, with fixed numbers of checkpoints instead of optimal ones).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from plait.core.dtype import int64
from plait.core.graph import Graph, Node, close, constant, inline, placeholder
from plait.core.primitive import P

# Carries kept at each level: up to their product each step is run again once for each level, beyond it more often.
_LEVELS = (64, 16, 16)


def loop(condition: Callable[..., Node], body: Callable[..., Sequence[Node]], carry: Sequence[Node]) -> list[Node]:
    """Record a while loop whose condition and body are functions of the nodes of the carry."""
    holders = [[placeholder(c.aval) for c in carry] for _ in range(2)]
    test, of_test = close(holders[0], [condition(*holders[0])])
    step, of_step = close(holders[1], body(*holders[1]))
    n = len(carry)
    graphs = [Graph([*g.inputs[n:], *g.inputs[:n]], g.outputs) for g in (test, step)]
    out = P.while_loop(
        *of_test, *of_step, *carry, condition=graphs[0], body=graphs[1], num_consts=(len(of_test), len(of_step))
    )
    return [out[k] for k in range(n)]


def count_steps(
    condition: Graph, cond_consts: Sequence[Node], step: Graph, consts: Sequence[Node], carry: Sequence[Node]
) -> Node:  # fmt: skip
    """Return how often `step` runs before `condition` fails; both take constants, then the carry."""
    return loop(
        lambda count, *now: inline(condition, [*cond_consts, *now])[0],
        lambda count, *now: [count + 1, *inline(step, [*consts, *now])],
        [constant(0, int64), *carry],
    )[0]


def rewind(
    step: Graph, back: Graph, consts: Sequence[Node], carry: Sequence[Node], steps: Node, cotangents: Sequence[Node]
) -> list[Node]:  # fmt: skip
    """Go back over `steps` applications of `step` to `carry`.

    Args:
        step: from constants and carry to the next carry.
        back: from constants, the carry before a step, and cotangents after it to the cotangents before it.
        consts: the constants.
        carry: the carry before the first step.
        steps: how many there are.
        cotangents: those after the last step.

    Returns:
        The cotangents before the first step.
    """

    def advance(now: Sequence[Node], count: Node) -> list[Node]:
        return loop(
            lambda k, *_: P.lt(k, count),
            lambda k, *now: [k + 1, *inline(step, [*consts, *now])],
            [constant(0, int64), *now],
        )[1:]

    def stretch(level: int, start: Sequence[Node], count: Node, after: Sequence[Node]) -> list[Node]:
        """Go back over `count` steps from `start`."""
        if level == len(_LEVELS):
            turn = lambda k, *cts: inline(back, [*consts, *advance(start, k), *cts])  # noqa: E731
            return _backwards(count, turn, after)
        most = _LEVELS[level]
        stride = P.max(P.div(count + (most - 1), constant(most, int64)), constant(1, int64))
        kept = _checkpoints(most, stride, count, advance, start)

        def part(k: Node, *cts: Node) -> list[Node]:
            first = [P.gather(x, k, axes=(0,), mode="clip") for x in kept]
            return stretch(level + 1, first, P.min(stride, count - k * stride), cts)

        return _backwards(P.div(count + stride - 1, stride), part, after)

    return stretch(0, carry, steps, cotangents)


def _backwards(count: Node, turn: Callable[..., Sequence[Node]], state: Sequence[Node]) -> list[Node]:
    """Apply `turn(k, *state)` for k from count - 1 down to 0."""
    zero = constant(0, int64)
    return loop(lambda k, *_: P.ge(k, zero), lambda k, *now: [k - 1, *turn(k, *now)], [count - 1, *state])[1:]


def _checkpoints(
    most: int, stride: Node, count: Node, advance: Callable[..., Any], start: Sequence[Node]
) -> list[Node]:
    """The carries before steps 0, stride, 2 * stride ...; behind the last such step nothing is run."""
    holders = [placeholder(x.aval) for x in (constant(0, int64), *start)]
    done, now = holders[0] + stride, holders[1:]
    after = advance(now, P.select(P.lt(done, count), stride, constant(0, int64)))
    graph, outside = close(holders, [done, *after, *now])
    n = len(holders)
    body = Graph([*graph.inputs[n:], *graph.inputs[:n]], graph.outputs)
    out = P.scan(
        *outside, constant(0, int64), *start, body=body, length=most, num_consts=len(outside), num_carry=n,
        reverse=False,
    )  # fmt: skip
    return [out[n + k] for k in range(len(start))]

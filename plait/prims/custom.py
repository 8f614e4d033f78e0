"""Functions with their own derivative, ordering and calls of the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from plait.core.aval import Aval
from plait.core.graph import Graph, Node, inline, placeholder
from plait.core.primitive import P, Primitive, Waived
from plait.transforms.batch import batch, batch_graph, broadcast_to_batch
from plait.transforms.differentiate import instantiate, linearize

Rule = Callable[..., Any]
_BY_PROGRAM = Waived("the compiler inlines the body")
_WHOLE = Waived("follows its body")
_TESTED = Waived("tested by programs in tests/transforms")


def _body_aval(*operands: Aval, body: Graph, **_: Any) -> tuple[Aval, ...]:
    return body.avals


def call_primitive(name: str, **slots: Any) -> Primitive:
    """Make a primitive whose meaning is a body."""
    defaults = {
        "aval": _body_aval, "lower": _BY_PROGRAM, "shard": _WHOLE, "cost": _WHOLE, "domain": _TESTED,
        "oracle": _TESTED, "multi": True,
    }  # fmt: skip
    return Primitive(name, kind="call", **{**defaults, **slots})


def batched_rule(rule: Rule, flags: Sequence[bool] | None, size: int) -> Rule:
    """Return a rule over nodes that applies `rule` to each example of its batched arguments (None: all are)."""

    def apply(*arguments: Node) -> list[Node | None]:
        carried = [True] * len(arguments) if flags is None else list(flags)
        inputs = [placeholder(a.aval.with_shape(a.shape[f:])) for a, f in zip(arguments, carried, strict=True)]
        outputs = rule(*inputs)
        present = [o for o in outputs if o is not None]
        results, carries = batch(present, inputs, arguments, carried, size)
        found = iter([r if c else broadcast_to_batch(r, size) for r, c in zip(results, carries, strict=True)])
        return [None if o is None else next(found) for o in outputs]

    return apply


# custom_jvp: rule(*primals, *tangents) -> tangents of the outputs ------------------------------------------------


def _custom_jvp_jvp(node: Node, tangents: Sequence[Any]) -> Any:
    return node.params["rule"](
        *node.inputs, *[instantiate(t, i.aval) for t, i in zip(tangents, node.inputs, strict=True)]
    )


def _custom_jvp_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: int) -> Node:
    body, _ = batch_graph(node.params["body"], batched, size)
    return P.custom_jvp(*inputs, body=body, rule=batched_rule(node.params["rule"], [*batched, *batched], size))


custom_jvp = call_primitive(
    "custom_jvp", jvp=_custom_jvp_jvp, batch=_custom_jvp_batch,
    transpose=Waived("its jvp rule is differentiated instead"),
)  # fmt: skip

# custom_vjp: forward(*primals) -> (outputs..., residuals...), backward(*residuals, *cotangents) -> cotangents -----


def _custom_vjp_jvp(node: Node, tangents: Sequence[Any]) -> list[Any]:
    count = len(node.avals)
    residual = node.params["forward"](*node.inputs)[count:]
    present = [instantiate(t, i.aval) for t, i in zip(tangents, node.inputs, strict=True)]
    out = P.custom_vjp_tangent(
        *residual, *present, avals=node.aval, backward=node.params["backward"], num_residuals=len(residual)
    )
    return [out[i] if a.dtype.is_inexact else None for i, a in enumerate(node.avals)]  # type: ignore[arg-type]


def _custom_vjp_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: int) -> Node:
    """The backward function runs per example; the cotangent of an unbatched input is the sum over the batch."""
    body, _ = batch_graph(node.params["body"], batched, size)
    per_example = batched_rule(node.params["backward"], None, size)

    def backward(*arguments: Node) -> list[Node | None]:
        found = per_example(*arguments)
        return [c if b or c is None else P.reduce_sum(c, axes=(0,)) for c, b in zip(found, batched, strict=True)]

    forward = batched_rule(node.params["forward"], batched, size)
    return P.custom_vjp(*inputs, body=body, forward=forward, backward=backward)


custom_vjp = call_primitive(
    "custom_vjp", jvp=_custom_vjp_jvp, batch=_custom_vjp_batch,
    transpose=Waived("its backward function is used instead"),
)  # fmt: skip


def _tangent_transpose(node: Node, cotangent: list[Any], linear: Sequence[bool]) -> list[Any]:
    n = node.params["num_residuals"]
    values = [instantiate(c, a) for c, a in zip(cotangent, node.avals, strict=True)]
    return [None] * n + list(node.params["backward"](*node.inputs[:n], *values))


custom_vjp_tangent = Primitive(
    "custom_vjp_tangent", kind="call", aval=lambda *operands, avals, **_: avals,
    lower=Waived("a function with custom_vjp has no forward-mode derivative; use custom_jvp"),
    jvp=Waived("a function with custom_vjp has no second derivative in forward mode; use custom_jvp"),
    transpose=_tangent_transpose, batch=Waived("batched before it is differentiated; put vmap inside grad"),
    shard=_WHOLE, cost=_WHOLE, domain=_TESTED, oracle=_TESTED, multi=True,
)  # fmt: skip

# tap: the identity; its cotangent passes through a function of Python --------------------------------------------

tap = Primitive(
    "tap", kind="expand", aval=lambda x, hooks: x, lower=lambda node: node.inputs[0],
    jvp=lambda node, tangents: None if tangents[0] is None else P.tap(tangents[0], **node.params),
    transpose=lambda node, cotangent, linear: [node.params["hooks"](cotangent)],
    batch=lambda node, inputs, batched, size: P.tap(inputs[0], **node.params),
    shard=_WHOLE, cost=Waived("free"), domain=_TESTED, oracle=_TESTED,
)  # fmt: skip


# linear: a function that is linear in its first operand, with its transpose: gathers instead of scatters ------------


def with_transpose(forward: Rule, backward: Rule, x: Node, *others: Node) -> Node:
    """Return `forward(x, *others)`, linear in `x`: cotangents of `x` are `backward(cotangent, *others)`.

    In the other operands it is differentiated as usual.
    """

    def graph(function: Rule, first: Aval) -> Graph:
        holders = [placeholder(first), *[placeholder(o.aval) for o in others]]
        return Graph(holders, [function(*holders)])

    if not x.dtype.is_inexact:
        return forward(x, *others)  # type: ignore[no-any-return]
    body = graph(forward, x.aval)
    return P.linear(x, *others, body=body, back=graph(backward, body.outputs[0].aval))


def _linear_jvp(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    body: Graph = node.params["body"]
    first, *others = tangents
    result = None if first is None else P.linear(first, *node.inputs[1:], **node.params)
    if any(t is not None for t in others):
        _, holders, (found,) = linearize(body.outputs, body.inputs, -1, [False, *[t is not None for t in others]])
        if found is not None:
            graph = Graph([*body.inputs, *[h for h in holders if h is not None]], [found])
            (term,) = inline(graph, [*node.inputs, *[t for t in others if t is not None]])
            result = term if result is None else result + term
    return result


def _linear_transpose(node: Node, cotangent: Node, linear: Sequence[bool]) -> list[Node | None]:
    others, body, back = node.inputs[1:], node.params["body"], node.params["back"]
    return [P.linear(cotangent, *others, body=back, back=body), *[None] * len(others)]


def _linear_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: int) -> Node:
    first = inputs[0] if batched[0] else broadcast_to_batch(inputs[0], size)
    flags = [True, *batched[1:]]
    body, back = (batch_graph(node.params[k], flags, size)[0] for k in ("body", "back"))
    return P.linear(first, *inputs[1:], body=body, back=back)


linear = Primitive(
    "linear", kind="expand", aval=lambda *operands, body, back: body.avals[0],
    lower=lambda node: inline(node.params["body"], node.inputs)[0],
    jvp=_linear_jvp, transpose=_linear_transpose, batch=_linear_batch, shard=_WHOLE, cost=_WHOLE, domain=_TESTED,
    oracle=_TESTED,
)  # fmt: skip


# barrier: identity; its results are available only after all its inputs, and it is never simplified away ---------
def _barrier_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: int) -> Node:
    return P.barrier(*[x if b else broadcast_to_batch(x, size) for x, b in zip(inputs, batched, strict=True)])


barrier = Primitive(
    "barrier", kind="call", aval=lambda *operands: operands, lower=Waived("its results are its inputs"),
    jvp=lambda node, tangents: list(tangents), transpose=lambda node, cotangent, linear: list(cotangent),
    batch=_barrier_batch, shard=_WHOLE, cost=Waived("free"), domain=_TESTED, oracle=_TESTED, multi=True,
)  # fmt: skip

# callback: a pure Python function of NumPy arrays ----------------------------------------------------------------


def _callback_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: int) -> Node:
    """Call once for each example, by a scan."""
    xs = [x if b else broadcast_to_batch(x, size) for x, b in zip(inputs, batched, strict=True)]
    holders = [placeholder(i.aval) for i in node.inputs]
    call = P.callback(*holders, **node.params)
    body = Graph(holders, [call[i] for i in range(len(node.avals))])
    return P.scan(*xs, body=body, length=size, num_consts=0, num_carry=0, reverse=False)


callback = Primitive(
    "callback", kind="host", aval=lambda *operands, function, avals: avals,
    lower=lambda *arrays, function, avals: function(*[a.copy() for a in arrays]),
    jvp=Waived("a host callback has no derivative; wrap it with custom_jvp or custom_vjp"),
    transpose=Waived("a host callback is not linear"), batch=_callback_batch,
    shard=_WHOLE, cost=Waived("unknown"), domain=_TESTED, oracle=_TESTED, multi=True,
)  # fmt: skip

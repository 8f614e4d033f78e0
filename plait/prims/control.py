"""Control flow with bodies: cond, while_loop, scan. The rules transform the bodies and rebuild the node."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

from plait.core.aval import Aval, aval
from plait.core.dtype import bool_
from plait.core.errors import ArgumentError, DTypeError, ShapeError, message
from plait.core.graph import LINEAR, Graph, Node, inline, placeholder, toposort
from plait.core.primitive import P, Primitive, Waived
from plait.prims.choose import unused
from plait.prims.effect import silent
from plait.prims.rewind import count_steps, rewind
from plait.transforms.batch import batch_graph, broadcast_to_batch
from plait.transforms.differentiate import instantiate, linear_placeholder, split, transpose, zeros

_BY_PROGRAM = Waived("the compiler turns the bodies into jumps between kernels")
_WHOLE = Waived("replicated: a body has no axis map")
_BODIES = Waived("the sum over its bodies")
_TESTED = Waived("tested by programs with bodies in tests/transforms")


def _match(what: str, received: Sequence[Aval], expected: Sequence[Aval]) -> None:
    if list(received) != list(expected):
        text = message(
            what, list(received), list(expected), "return values of these shapes and dtypes; convert with .to(dtype)"
        )
        raise (ShapeError if [a.shape for a in received] != [a.shape for a in expected] else DTypeError)(text)


# cond ------------------------------------------------------------------------------------------------------------


def _cond_aval(predicate: Aval, *operands: Aval, true: Graph, false: Graph) -> tuple[Aval, ...]:
    if predicate is not aval(bool_):
        fix = "reduce it with .all() or .any(), or use where for an elementwise choice"
        raise ShapeError(message("cond needs one boolean", predicate, aval(bool_), fix))
    _match("The branches of cond differ", false.avals, true.avals)
    return true.avals


def _cond_linearize(node: Node, tangents: Sequence[Any]) -> tuple[Node, list[Any]]:
    """Both branches return the residuals of both (`unused` for the other's); the linear cond chooses again."""
    predicate, operands = node.inputs[0], node.inputs[1:]
    mask = [t is not None for t in tangents[1:]]
    sides = [silent(node.params[k]) for k in ("true", "false")]
    parts = [split(side, mask) for side in sides]
    bodies, linear = [], []
    count = len(node.avals)
    used = [any(p[2][i] is not None for p in parts) for i in range(count)]
    stored = [[r.aval for r in p[3]] for p in parts]
    for which, (results, holders, outs, kept) in enumerate(parts):
        others = [unused(a) for a in stored[1 - which]]
        both = kept + others if which == 0 else others + kept
        bodies.append(Graph(sides[which].inputs, results + both))
        stand_ins = [[placeholder(a) for a in s] for s in stored]
        tangent_inputs = [
            h if h is not None else placeholder(o.aval) for h, o, m in zip(holders, operands, mask, strict=True) if m
        ]
        selected = [instantiate(o, a) for o, a, u in zip(outs, node.avals, used, strict=True) if u]
        inner = inline(Graph([*kept, *tangent_inputs], selected), [*stand_ins[which], *tangent_inputs])
        linear.append(Graph([*stand_ins[0], *stand_ins[1], *tangent_inputs], inner))
    forward = P.cond(predicate, *operands, true=bodies[0], false=bodies[1])
    kept_values = [forward[count + i] for i in range(len(stored[0]) + len(stored[1]))]
    present = [t for t in tangents[1:] if t is not None]
    out = P.cond(predicate, *kept_values, *present, true=linear[0], false=linear[1])
    positions = iter(range(count))
    return forward, [out[next(positions)] if u else None for u in used]


def _transposed(body: Graph, linear: Sequence[bool], cotangents: Sequence[Node]) -> list[Node]:
    """Cotangents of the linear inputs of a body, computed on its own other inputs."""
    inputs = [i for i, flag in zip(body.inputs, linear, strict=True) if flag]
    found = transpose(body.outputs, inputs, cotangents)
    return [instantiate(c, i.aval) for c, i in zip(found, inputs, strict=True)]


def _relinear(body: Graph, linear: Sequence[bool]) -> Graph:
    """The body on fresh inputs, the linear ones marked so that transposition finds them."""
    from_inputs = [
        linear_placeholder(i.aval) if flag else placeholder(i.aval) for i, flag in zip(body.inputs, linear, strict=True)
    ]
    return Graph(from_inputs, inline(body, from_inputs))


def _cond_transpose(node: Node, cotangent: list[Any], linear: Sequence[bool]) -> list[Any]:
    flags = linear[1:]
    others = [i for i, flag in zip(node.inputs[1:], flags, strict=True) if not flag]
    values = [instantiate(c, a) for c, a in zip(cotangent, node.avals, strict=True)]
    branches = []
    for key in ("true", "false"):
        body = _relinear(node.params[key], flags)
        cotangents = [placeholder(v.aval) for v in values]
        kept = [i for i, flag in zip(body.inputs, flags, strict=True) if not flag]
        branches.append(Graph([*kept, *cotangents], _transposed(body, flags, cotangents)))
    out = P.cond(node.inputs[0], *others, *values, true=branches[0], false=branches[1])
    positions = iter(range(len(flags)))
    return [None, *[out[next(positions)] if flag else None for flag in flags]]


def _cond_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: int) -> Node:
    if batched[0]:
        return P.choose(*inputs, **node.params, batched=tuple(batched[1:]))
    true, false = (batch_graph(node.params[k], batched[1:], size)[0] for k in ("true", "false"))
    return P.cond(*inputs, true=true, false=false)


cond = Primitive(
    "cond", kind="call", aval=_cond_aval, lower=_BY_PROGRAM, linearize=_cond_linearize,
    jvp=Waived("linearize holds the rule"), transpose=_cond_transpose, batch=_cond_batch,
    shard=_WHOLE, cost=_BODIES, domain=_TESTED, oracle=_TESTED, multi=True,
)  # fmt: skip

# while_loop ------------------------------------------------------------------------------------------------------


def _while_aval(*operands: Aval, condition: Graph, body: Graph, num_consts: tuple[int, int]) -> tuple[Aval, ...]:
    """Operands: constants of the condition, constants of the body, then the carry."""
    carry = operands[sum(num_consts) :]
    _match("The condition of while_loop must return one boolean", condition.avals, [aval(bool_)])
    _match("The body of while_loop changes its carry", body.avals, carry)
    return carry


def _while_parts(node: Node, values: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    c, b = node.params["num_consts"]
    return list(values[:c]), list(values[c : c + b]), list(values[c + b :])


def _while_jvp(node: Node, tangents: Sequence[Any]) -> list[Any]:
    cond_consts, body_consts, carry = _while_parts(node, node.inputs)
    _, const_tangents, carry_tangents = _while_parts(node, tangents)
    body = silent(node.params["body"])
    active = [t is not None for t in carry_tangents]
    while True:
        results, holders, outs, _ = split(body, [*[t is not None for t in const_tangents], *active])
        grown = [a or o is not None for a, o in zip(active, outs, strict=True)]
        if grown == active:
            break
        active = grown
    n = len(const_tangents)
    live = [i for i, a in enumerate(active) if a]
    const_holders = [h for h in holders[:n] if h is not None]
    carry_holders = [holders[n + i] for i in live]
    new_body = Graph(
        [*body.inputs[:n], *const_holders, *body.inputs[n:], *carry_holders],  # type: ignore[list-item]
        [*results, *[instantiate(outs[i], carry[i].aval) for i in live]],
    )
    condition = silent(node.params["condition"])
    new_condition = Graph([*condition.inputs, *[placeholder(carry[i].aval) for i in live]], condition.outputs)
    present = [t for t in const_tangents if t is not None]
    starts = [instantiate(carry_tangents[i], carry[i].aval) for i in live]
    out = P.while_loop(
        *cond_consts, *body_consts, *present, *carry, *starts, condition=new_condition, body=new_body,
        num_consts=(len(cond_consts), n + len(present)),
    )  # fmt: skip
    result: list[Any] = [None] * len(carry)
    for position, i in enumerate(live):
        result[i] = out[len(carry) + position]
    return result


def _while_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: int) -> Node:
    cond_consts, body_consts, carry = _while_parts(node, inputs)
    cond_flags, body_flags, carry_flags = _while_parts(node, batched)
    while True:
        _, outs = batch_graph(node.params["body"], [*body_flags, *carry_flags], size, all_outputs=False)
        condition, (per_example,) = batch_graph(node.params["condition"], [*cond_flags, *carry_flags], size, False)
        grown = [per_example or a or b for a, b in zip(carry_flags, outs, strict=True)]
        if grown == carry_flags:
            break
        carry_flags = grown
    num_consts = node.params["num_consts"]
    if per_example:  # every example steps until its own condition fails; the loop ends when all have
        body = _batched_step(node, condition, [*body_flags, *carry_flags], body_consts, size)
        condition = Graph(condition.inputs, [P.reduce_or(condition.outputs[0], axes=(0,))])
        body_consts = [*cond_consts, *body_consts]
        num_consts = (len(cond_consts), len(body_consts))
    else:
        body, outs = batch_graph(node.params["body"], [*body_flags, *carry_flags], size, all_outputs=False)
        results = [
            broadcast_to_batch(o, size) if flag and not b else o
            for o, flag, b in zip(body.outputs, carry_flags, outs, strict=True)
        ]
        body = Graph(body.inputs, results)
    starts = [
        c if had or not flag else broadcast_to_batch(c, size)
        for c, had, flag in zip(carry, batched[len(batched) - len(carry) :], carry_flags, strict=True)
    ]
    out = P.while_loop(*cond_consts, *body_consts, *starts, condition=condition, body=body, num_consts=num_consts)
    return _all_batched(out, carry_flags, size)


def _batched_step(node: Node, condition: Graph, flags: Sequence[bool], consts: Sequence[Node], size: int) -> Graph:
    """The body for a batch, on the constants of the condition too: examples whose condition fails stay as they are."""
    body: Graph = node.params["body"]
    n = len(consts)
    inputs = [
        placeholder(i.aval.with_shape((size, *i.shape)) if flag else i.aval)
        for i, flag in zip(body.inputs, flags, strict=True)
    ]
    stand_ins = [placeholder(i.aval) for i in condition.inputs[: len(condition.inputs) - len(inputs) + n]]
    (alive,) = inline(condition, [*stand_ins, *inputs[n:]])
    results: list[Any] = [None] * len(body.outputs)
    for group, used in _independent(body, n):
        idle = [body.inputs[n + k] for k in group]
        true, false = (
            Graph([body.inputs[k] for k in used], outputs) for outputs in ([body.outputs[k] for k in group], idle)
        )
        chosen = P.choose(
            alive, *[inputs[k] for k in used], true=true, false=false, batched=tuple([flags[k] for k in used])
        )
        for position, k in enumerate(group):
            results[k] = chosen[position]
    return Graph([*stand_ins, *inputs], results)


def _independent(body: Graph, num_consts: int) -> list[tuple[list[int], list[int]]]:
    """Divide the carry of a loop so that what is linear in something stays apart from the rest.

    Returns pairs: positions in the carry that depend on the same of its parts, and the inputs of the body they need.
    """
    number = {i: k for k, i in enumerate(body.inputs)}
    needs = [
        {number[i] for i in toposort([o], number.__contains__) if i in number} | {num_consts + k}
        for k, o in enumerate(body.outputs)
    ]
    reach = [set(found) for found in needs]
    for _ in reach:  # a step later, what a part depends on has come from further
        reach = [r.union(*[reach[k - num_consts] for k in r if k >= num_consts]) for r in reach]
    groups: dict[frozenset[int], list[int]] = {}
    for k, r in enumerate(reach):
        groups.setdefault(frozenset(i for i in r if i >= num_consts), []).append(k)
    return [(group, sorted(set().union(*[needs[k] for k in group]))) for group in groups.values()]


def _all_batched(out: Node, flags: Sequence[bool], size: int) -> Node:
    if all(flags):
        return out
    results = [out[i] if flag else broadcast_to_batch(out[i], size) for i, flag in enumerate(flags)]
    return P.barrier(*results)


def _while_transpose(node: Node, cotangent: list[Any], linear: Sequence[bool]) -> list[Any]:
    """Count the steps, then go back over them, each from its own carry, which is computed again; see `rewind`."""
    cond_consts, body_consts, carry = _while_parts(node, node.inputs)
    _, l_const, l_carry = _while_parts(node, linear)
    while True:  # what begins as zeros may become linear later
        body = _relinear(node.params["body"], [*l_const, *l_carry])
        grown = [a or bool(o.flags & LINEAR) for a, o in zip(l_carry, body.outputs, strict=True)]
        if grown == l_carry:
            break
        l_carry = grown
    flags = [*l_const, *l_carry]
    n, own = len(body_consts), [not flag for flag in l_carry]
    kept = [i for i, flag in zip(body.inputs, flags, strict=True) if not flag]
    consts = list(compress(body_consts, [not flag for flag in l_const]))
    step = Graph(kept, compress(body.outputs, own))
    cotangents = [placeholder(o.aval) for o in compress(body.outputs, l_carry)]
    found = _transposed(Graph(body.inputs, compress(body.outputs, l_carry)), flags, cotangents)
    sums = [placeholder(i.aval) for i in compress(body.inputs[:n], l_const)]
    totals = [P.add(s, f) for s, f in zip(sums, found[: len(sums)], strict=True)]
    back = Graph([*kept, *cotangents, *sums], [*found[len(sums) :], *totals])
    test: Graph = node.params["condition"]
    condition = Graph([*test.inputs[: len(cond_consts)], *compress(test.inputs[len(cond_consts) :], own)], test.outputs)
    starts = list(compress(carry, own))
    values = [instantiate(c, a) for c, a in compress(zip(cotangent, node.avals, strict=True), l_carry)]
    zero_sums = [zeros(s.aval) for s in sums]
    steps = count_steps(condition, cond_consts, step, consts, starts)
    out = iter(rewind(step, back, consts, starts, steps, [*values, *zero_sums]))
    of_carry = [next(out) if flag else None for flag in l_carry]
    of_const = [next(out) if flag else None for flag in l_const]
    return [*[None] * len(cond_consts), *of_const, *of_carry]


while_loop = Primitive(
    "while_loop", kind="call", aval=_while_aval, lower=_BY_PROGRAM, jvp=_while_jvp,
    transpose=_while_transpose,
    batch=_while_batch, shard=_WHOLE, cost=Waived("the number of steps is known only at run time"),
    domain=_TESTED, oracle=_TESTED, multi=True,
)  # fmt: skip

# scan ------------------------------------------------------------------------------------------------------------


def _scan_aval(
    *operands: Aval, body: Graph, length: int, num_consts: int, num_carry: int, reverse: bool
) -> tuple[Aval, ...]:
    """Operands: constants, the first carry, then the scanned (axis 0); results: last carry, stacked outputs."""
    carry = operands[num_consts : num_consts + num_carry]
    for x in operands[num_consts + num_carry :]:
        if x.ndim == 0 or x.shape[0] != length:
            raise ShapeError(message("scan goes over axis 0 of every input", x, f"axis 0 of size {length}"))
    if length < 0:
        raise ArgumentError(message("scan needs a length", length, "a non-negative integer"))
    _match("The body of scan changes its carry", body.avals[:num_carry], carry)
    return (*carry, *[a.with_shape((length, *a.shape)) for a in body.avals[num_carry:]])


def _scan(
    node: Node, operands: Sequence[Node], body: Graph, num_consts: int, num_carry: int, flip: bool = False
) -> Node:
    return P.scan(
        *operands, body=body, length=node.params["length"], num_consts=num_consts, num_carry=num_carry,
        reverse=node.params["reverse"] != flip,
    )  # fmt: skip


def _scan_parts(node: Node, values: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    n, c = node.params["num_consts"], node.params["num_carry"]
    return list(values[:n]), list(values[n : n + c]), list(values[n + c :])


def _scan_linearize(node: Node, tangents: Sequence[Any]) -> tuple[Node, list[Any]]:
    """The forward scan also stacks what the linear part needs; the linear scan reads it back."""
    body = silent(node.params["body"])
    n, c = node.params["num_consts"], node.params["num_carry"]
    const_t, carry_t, xs_t = _scan_parts(node, tangents)
    active = [t is not None for t in carry_t]
    while True:
        mask = [*[t is not None for t in const_t], *active, *[t is not None for t in xs_t]]
        results, holders, outs, kept = split(body, mask)
        grown = [a or o is not None for a, o in zip(active, outs[:c], strict=True)]
        if grown == active:
            break
        active = grown
    fixed = [r for r in kept if r in body.inputs[:n]]
    given = [r for r in kept if r in body.inputs[n + c :]]
    stacked = [r for r in kept if r not in fixed and r not in given]
    forward = _scan(node, node.inputs, Graph(body.inputs, [*results, *stacked]), n, c)
    count = len(node.avals)
    saved = [forward[count + i] for i in range(len(stacked))] + [node.inputs[body.inputs.index(r)] for r in given]
    stacked += given
    h_const, h_carry, h_xs = _scan_parts(node, holders)
    live = [i for i, a in enumerate(active) if a]
    ys = [i for i in range(c, count) if outs[i] is not None]
    linear_inputs = [
        *fixed, *[h for h in h_const if h is not None], *[h_carry[i] for i in live],
        *stacked, *[h for h in h_xs if h is not None],
    ]  # fmt: skip
    stand_ins = {r: placeholder(r.aval) for r in kept}
    linear_outputs = [*[instantiate(outs[i], node.avals[i]) for i in live], *[outs[i] for i in ys]]
    inner = inline(Graph(linear_inputs, linear_outputs), [stand_ins.get(i, i) for i in linear_inputs])
    linear_body = Graph([stand_ins.get(i, i) for i in linear_inputs], inner)
    fixed_values = [node.inputs[body.inputs.index(r)] for r in fixed]
    carry = node.inputs[n : n + c]
    operands = [
        *fixed_values, *[t for t in const_t if t is not None],
        *[instantiate(carry_t[i], carry[i].aval) for i in live], *saved, *[t for t in xs_t if t is not None],
    ]  # fmt: skip
    num_consts = len(fixed) + sum(t is not None for t in const_t)
    out = _scan(node, operands, linear_body, num_consts, len(live))
    result: list[Any] = [None] * count
    for position, i in enumerate([*live, *ys]):
        result[i] = out[position]
    return forward, result


def _summed(term: Node, stacked: dict[Node, Node]) -> Node | None:
    """The sum of `term` over all steps as one product or sum, if its operands are stacked anyway; else None."""
    if term.prim.name == "transpose":
        inner = _summed(term.inputs[0], stacked)
        return None if inner is None else P.transpose(inner, **term.params)
    operands = [stacked.get(i) for i in term.inputs]
    if None in operands:
        return None
    if term.prim.name == "reduce_sum":
        return P.reduce_sum(*operands, axes=_with_steps(term.params["axes"]))
    if term.prim.name == "dot_general":
        contract, batch = term.params["contract"], term.params["batch"]
        later = tuple(tuple(axis + 1 for axis in axes) for axes in batch)
        return P.dot_general(*operands, contract=tuple(_with_steps(axes) for axes in contract), batch=later)
    return None


def _with_steps(axes: Sequence[int]) -> tuple[int, ...]:
    return (0, *[axis + 1 for axis in axes])


def _scan_transpose(node: Node, cotangent: list[Any], linear: Sequence[bool]) -> list[Any]:
    """Run backwards: the carry is the cotangent of the carry and the sums for the constants.

    What is added to a sum in each step is computed for all steps at once, behind the loop, where its operands are
    stacked anyway: the gradient of a weight is then one product.
    """
    c = node.params["num_carry"]
    consts, _, xs = _scan_parts(node, node.inputs)
    l_const, _, l_xs = _scan_parts(node, linear)
    flags = [*l_const, *[True] * c, *l_xs]
    body = _relinear(node.params["body"], flags)
    b_const, _, b_xs = _scan_parts(node, body.inputs)
    values = [instantiate(t, a) for t, a in zip(cotangent, node.avals, strict=True)]
    ct_carry, ct_ys = values[:c], values[c:]
    sums = [i for i, flag in zip(consts, l_const, strict=True) if flag]
    in_carry, in_sums = [placeholder(v.aval) for v in ct_carry], [placeholder(s.aval) for s in sums]
    in_ys = [placeholder(v.aval.with_shape(v.shape[1:])) for v in ct_ys]
    found = _transposed(body, flags, [*in_carry, *in_ys])
    count = len(sums)
    terms, new_carry, new_ys = found[:count], found[count : count + c], found[count + c :]
    kept_const = [i for i, flag in zip(b_const, l_const, strict=True) if not flag]
    kept_xs = [i for i, flag in zip(b_xs, l_xs, strict=True) if not flag]
    xs_values = [i for i, flag in zip(xs, l_xs, strict=True) if not flag]
    given = dict(zip([*kept_xs, *in_ys], [*xs_values, *ct_ys], strict=True))
    stand_ins = given | {
        y: placeholder(y.aval.with_shape((node.params["length"], *y.shape))) for y in new_ys if y not in given
    }
    looped = [i for i, term in enumerate(terms) if _summed(term, stand_ins) is None]
    k = len(looped)
    outputs = [*new_carry, *[P.add(in_sums[i], terms[i]) for i in looped], *new_ys]
    back = Graph([*kept_const, *in_carry, *[in_sums[i] for i in looped], *kept_xs, *in_ys], outputs)
    operands = [
        *[i for i, flag in zip(consts, l_const, strict=True) if not flag], *ct_carry,
        *[zeros(sums[i].aval) for i in looped], *xs_values, *ct_ys,
    ]  # fmt: skip
    out = _scan(node, operands, back, len(kept_const), c + k, flip=True)
    stacked = {y: out[c + k + i] for i, y in enumerate(new_ys)} | given
    after = iter(range(c, c + k))
    totals = iter([out[next(after)] if i in looped else _summed(term, stacked) for i, term in enumerate(terms)])
    after_sums = iter(range(c + k, c + k + sum(l_xs)))
    return [
        *[next(totals) if flag else None for flag in l_const], *[out[i] for i in range(c)],
        *[out[next(after_sums)] if flag else None for flag in l_xs],
    ]  # fmt: skip


def _scan_batch(node: Node, inputs: Sequence[Node], batched: Sequence[bool], size: int) -> Node:
    consts, carry, xs = _scan_parts(node, inputs)
    f_const, f_carry, f_xs = _scan_parts(node, batched)
    start_flags = f_carry
    while True:
        _, outs = batch_graph(node.params["body"], [*f_const, *f_carry, *f_xs], size, all_outputs=False)
        grown = [a or b for a, b in zip(f_carry, outs[: len(carry)], strict=True)]
        if grown == f_carry:
            break
        f_carry = grown
    body, outs = batch_graph(node.params["body"], [*f_const, *f_carry, *f_xs], size, all_outputs=False)
    wanted = [*f_carry, *[True] * (len(outs) - len(carry))]
    results = [
        broadcast_to_batch(o, size) if w and not b else o for o, w, b in zip(body.outputs, wanted, outs, strict=True)
    ]
    starts = [
        broadcast_to_batch(x, size) if w and not b else x for x, w, b in zip(carry, f_carry, start_flags, strict=True)
    ]
    moved = [_swap(x) if b else x for x, b in zip(xs, f_xs, strict=True)]
    operands = [*consts, *starts, *moved]
    out = _scan(node, operands, Graph(body.inputs, results), len(consts), len(carry))
    final = [out[i] if flag else broadcast_to_batch(out[i], size) for i, flag in enumerate(f_carry)]
    return P.barrier(*final, *[_swap(out[i]) for i in range(len(carry), len(wanted))])


def _swap(x: Node) -> Node:
    return P.transpose(x, permutation=(1, 0, *range(2, x.ndim)))


scan = Primitive(
    "scan", kind="call", aval=_scan_aval, lower=_BY_PROGRAM, linearize=_scan_linearize,
    jvp=Waived("linearize holds the rule"), transpose=_scan_transpose, batch=_scan_batch,
    shard=_WHOLE, cost=_BODIES, domain=_TESTED, oracle=_TESTED, multi=True,
)  # fmt: skip

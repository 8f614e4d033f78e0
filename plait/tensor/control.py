"""Control flow over pytrees of tensors: cond, switch, while_loop, fori_loop, scan, pure_callback."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isqrt
from typing import Any

from plait.core import tree
from plait.core.aval import Aval, aval
from plait.core.dtype import as_dtype, int64
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, check_function, message
from plait.core.graph import CONSTANT, Graph, Node, close, placeholder, substitute, toposort
from plait.core.primitive import P
from plait.tensor import lazy, tokens
from plait.tensor.autograd import Function, as_tensors, output_nodes
from plait.tensor.effects import record_body, write_all
from plait.tensor.tensor import Tensor, node_of, wrap


def _placeholders(treedef: tree.TreeDef, avals: Sequence[Aval]) -> tuple[list[Node], Any]:
    holders = [placeholder(a) for a in avals]
    return holders, tree.unflatten(treedef, [wrap(h) for h in holders])


def _with_constants(inputs: Sequence[Node], outputs: Sequence[Node]) -> tuple[Graph, list[Node]]:
    """Close a body whose first inputs are what it takes from outside; returns that too."""
    graph, outside = close(inputs, outputs)
    n = len(inputs)
    return Graph([*graph.inputs[n:], *graph.inputs[:n]], graph.outputs), outside


def _flatten(values: Any, what: str) -> tuple[list[Node], tree.TreeDef]:
    leaves, treedef = tree.flatten(values)
    return [node_of(t) for t in as_tensors(leaves, what)], treedef


def _leave(states: Sequence[Tensor], found: Sequence[Node]) -> list[Tensor]:
    """Write what a body left in tensors from outside, and run its effects; returns the other results."""
    results = [wrap(n) for n in found[len(states) :]]
    write_all(states, found[: len(states)])
    tokens.settle(results)
    return results


def cond(predicate: Any, true_function: Function, false_function: Function, *operands: Any) -> Any:
    """Return `true_function(*operands)` if the predicate holds, else `false_function(*operands)`.

    Only the chosen branch runs. Both are recorded, and must return the same structure, shapes and dtypes. Under `vmap`
    with a predicate for each example, all examples take both branches; gradients are those of the chosen one.

    Args:
        predicate: one boolean.
        true_function: the branch for a predicate that holds.
        false_function: the branch for one that does not.
        *operands: pytrees of tensors.

    Returns:
        What the branch returned.

    Raises:
        ArgumentTypeError: the predicate is not one tensor, or a branch returns something else than tensors.
        ArgumentError: the branches return different structures.
        ShapeError: the predicate has axes, or the branches return different shapes.
        DTypeError: the branches return different dtypes.

    Example:
        >>> plait.cond(plait.tensor(True), lambda x: x + 1, lambda x: x - 1, plait.tensor(1.0))
        tensor(2.)
    """
    found = _flatten(predicate, "cond")[0]
    if len(found) != 1:
        received = f"{type(predicate).__name__} of {len(found)} tensors"
        raise ArgumentTypeError(message("The predicate of cond is one tensor", received, "a boolean"))
    return _branch(found[0], true_function, false_function, operands, "cond")


def _branch(chosen: Node, true_function: Function, false_function: Function, operands: Any, what: str) -> Any:
    inputs, treedef = _flatten(operands, what)
    sides = [_recorded_side(f, treedef, [i.aval for i in inputs], what) for f in (true_function, false_function)]
    true_tree, false_tree = (side[0][2] for side in sides)
    tree.check(true_tree, false_tree, f"{what}: the branches return different structures")
    states = list({id(t): t for _, written, _, _ in sides for t in written}.values())
    graphs, captured = [], []
    for (holders, outputs, _, is_outside), written, starts, ends in sides:
        own = {id(t): pair for t, *pair in zip(written, starts, ends, strict=True)}
        pairs = [own.get(id(t)) or [holder := placeholder(node_of(t).aval), holder] for t in states]
        inside = [*[start for start, _ in pairs], *holders]
        graph, outside = _cut(inside, [*[end for _, end in pairs], *outputs], is_outside)
        graphs.append(graph)
        captured.append(outside)
    n = len(states) + len(inputs)
    others = [[placeholder(i.aval) for i in outside] for outside in reversed(captured)]
    true = Graph([*graphs[0].inputs, *others[0]], graphs[0].outputs)
    false = Graph([*graphs[1].inputs[:n], *others[1], *graphs[1].inputs[n:]], graphs[1].outputs)
    before = [node_of(t) for t in states]
    node = P.cond(chosen, *before, *inputs, *captured[0], *captured[1], true=true, false=false)
    found = [node[k] for k in range(len(node.avals))]
    return tree.unflatten(true_tree, _leave(states, found))


def _recorded_side(function: Function, treedef: tree.TreeDef, avals: Sequence[Aval], what: str) -> Any:
    check_function(function, what)

    def record() -> Any:
        holders, args = _placeholders(treedef, avals)
        known = {t._node for t in lazy.pending}
        with tokens.body(), lazy.staged(what, function, holders):
            outputs, out_tree = output_nodes(function(*args), what)
        return holders, outputs, out_tree, lambda n: n in known or n.value is not None

    return record_body(record, what)


def _cut(
    inputs: Sequence[Node], outputs: Sequence[Node], is_outside: Callable[[Node], bool]
) -> tuple[Graph, list[Node]]:
    """Close a branch, as `close` does; what it computes of values from outside is a part of it, run if it is chosen."""
    sources = set(inputs)
    order = toposort(outputs, lambda n: n in sources or is_outside(n))
    found = [n for n in order if n not in sources and n.prim is not CONSTANT and (not n.inputs or is_outside(n))]
    captured = {n: placeholder(n.aval) for n in found}
    return Graph([*inputs, *captured.values()], substitute(outputs, {**{i: i for i in inputs}, **captured})), found


def switch(index: Any, branches: Sequence[Function], *operands: Any) -> Any:
    """Call the function number `index` of `branches`; an index outside of the sequence means its first or last element.

    Only the chosen branch runs. All are recorded, and must return the same structure, shapes and dtypes. Under `vmap`
    with an index for each example, all examples take all branches; gradients are those of the chosen ones.

    Args:
        index: an integer, or an integer tensor of rank 0.
        branches: functions.
        *operands: pytrees of tensors.

    Returns:
        What the branch returned.

    Raises:
        ArgumentTypeError: the index is no integer, or a branch cannot be called.
        ArgumentError: there are no branches, or they return different structures.
        ShapeError: the branches return different shapes.
        DTypeError: the branches return different dtypes.

    Example:
        >>> branches = [lambda x: x, lambda x: x * x, plait.sin]
        >>> plait.switch(plait.tensor(1), branches, plait.tensor(3.0))
        tensor(9.)
    """
    (chosen,) = as_tensors([index], "switch")
    if not chosen.dtype.is_integer or chosen.shape:
        raise ArgumentTypeError(message("The index of switch is one integer", chosen._node.aval, "int64[]"))
    if not isinstance(branches, Sequence):
        raise ArgumentTypeError(message("switch takes a sequence of functions", type(branches).__name__, "a list"))
    if not branches:
        raise ArgumentError(message("switch needs branches", "none", "at least one function"))
    for branch in branches:
        check_function(branch, "switch")

    def choose(low: int, high: int, *operands: Any) -> Any:
        if high - low == 1:
            return branches[low](*operands)
        middle = (low + high) // 2
        first, second = (lambda *x: choose(low, middle, *x)), (lambda *x: choose(middle, high, *x))
        return _branch(node_of(chosen < middle), first, second, operands, "switch")

    return choose(0, len(branches), *operands)


def while_loop(condition: Function, body: Function, initial: Any, max_steps: int | None = None) -> Any:
    """Return the carry after applying `body` as long as `condition(carry)` holds.

    Reverse mode goes back over the steps in memory that does not grow with their number: the carry before a step is
    computed again, three times as long as there are at most 16,000 steps. With `max_steps`, what the derivative needs
    is stored for so many steps instead: more memory, less time.

    Args:
        condition: takes the carry, returns one boolean.
        body: takes the carry, returns the next one.
        initial: the first carry, a pytree of tensors.
        max_steps: the loop ends after so many steps at the latest.

    Returns:
        The last carry.

    Raises:
        ArgumentError: `max_steps` is no number of steps, or the body changes the structure of the carry.
        ShapeError: the condition does not return one boolean, or the body changes a shape.
        DTypeError: the body changes a dtype.

    Example:
        >>> plait.while_loop(lambda x: x < 50, lambda x: x * 2, plait.tensor(1))
        tensor(64)
        >>> plait.grad(lambda x: plait.while_loop(lambda y: y < 50, lambda y: y * x, x))(plait.tensor(2.0))
        tensor(192.)
    """
    check_function(condition, "while_loop")
    check_function(body, "while_loop")
    if max_steps is not None:
        return _bounded(condition, body, initial, max_steps)
    carry, treedef = _flatten(initial, "while_loop")
    single, avals = tree.structure((initial,)), [c.aval for c in carry]

    def record() -> Any:
        holders, args = _placeholders(single, avals)
        again = tree.unflatten(single, [wrap(h) for h in holders])
        with tokens.body(), lazy.staged("while_loop", body, holders):
            test = output_nodes(condition(*again), "while_loop")[0]
            return holders, test, *output_nodes(body(*args), "while_loop")

    (holders, c_out, b_out, b_tree), states, starts, ends = record_body(record, "while_loop")
    tree.check(treedef, b_tree, "while_loop: the body changes the structure of the carry")
    test, of_test = _with_constants([*starts, *holders], c_out)
    step, of_step = _with_constants([*starts, *holders], [*ends, *b_out])
    node = P.while_loop(
        *of_test, *of_step, *[node_of(t) for t in states], *carry, condition=test, body=step,
        num_consts=(len(of_test), len(of_step)),
    )  # fmt: skip
    found = [node[k] for k in range(len(node.avals))]
    return tree.unflatten(treedef, _leave(states, found))


def _bounded(condition: Function, body: Function, initial: Any, max_steps: int) -> Any:
    if not isinstance(max_steps, int) or isinstance(max_steps, bool) or max_steps < 0:
        raise ArgumentError(message("while_loop: max_steps is a number of steps", repr(max_steps), "an int from 0 on"))

    def step(carry: Any, _: Any) -> Any:
        return cond(condition(carry), body, lambda carry: carry, carry), None

    return scan(step, initial, length=max_steps)[0]


def scan(
    function: Function, initial: Any, xs: Any = None, length: int | None = None, reverse: bool = False,
    checkpoint: bool | int = False,
) -> Any:  # fmt: skip
    """Loop over axis 0 of `xs` while carrying state.

    Args:
        function: `(carry, x) -> (carry, y)`, recorded once.
        initial: the first carry, a pytree of tensors.
        xs: a pytree of tensors scanned over axis 0, or None.
        length: number of steps; needed where `xs` is None.
        reverse: whether to go from the last element to the first.
        checkpoint: whether the derivative keeps only the carries between chunks of steps, and computes what is inside
            of a chunk again: the length of a chunk, or True for the square root of the number of steps, which needs
            least memory.

    Returns:
        `(carry, ys)` with the `y` of all steps stacked along axis 0.

    Raises:
        ArgumentError: the inputs differ in size, there is no length, the length of a chunk is below 1, or the function
            changes the structure of the carry.
        ArgumentTypeError: the function does not return a pair.
        ShapeError: an input has no axis, or the function changes the shape of the carry.
        DTypeError: the function changes the dtype of the carry.

    Example:
        >>> plait.scan(lambda total, x: (total + x, total), plait.tensor(0.0), plait.tensor([1.0, 2.0, 3.0]))
        (tensor(6.), tensor([0., 1., 3.]))
    """
    check_function(function, "scan")
    carry, carry_tree = _flatten(initial, "scan")
    scanned, _ = _flatten(xs, "scan")
    steps = _scan_length(scanned, length)
    chunk = _chunk_length(checkpoint, steps)
    pair = tree.structure((initial, xs))
    avals = [c.aval for c in carry] + [x.aval.with_shape(x.shape[1:]) for x in scanned]

    def record() -> Any:
        holders, args = _placeholders(pair, avals)
        with tokens.body(), lazy.staged("scan", function, holders):
            return holders, *_carry_and_ys(function(*args))

    (inputs, outputs, (new_carry, ys_tree)), states, starts, ends = record_body(record, "scan")
    tree.check(carry_tree, new_carry, "scan: the function changes the structure of the carry")
    body, outside = _with_constants([*starts, *inputs], [*ends, *outputs])
    first = [*[node_of(t) for t in states], *carry]
    found = _record_scan(body, outside, first, scanned, steps, reverse, chunk)
    results = _leave(states, found)
    return tree.unflatten(carry_tree, results[: len(carry)]), tree.unflatten(ys_tree, results[len(carry) :])


def _scan_length(scanned: Sequence[Node], length: int | None) -> int:
    for x in scanned:
        if x.ndim == 0:
            raise ShapeError(message("scan goes over axis 0 of every input", "shape ()", "at least one axis"))
    sizes = {int(x.shape[0]) for x in scanned} | ({length} if length is not None else set())  # type: ignore[arg-type]
    if len(sizes) != 1:
        fix = "pass length=" if not sizes else "give all inputs the same size of axis 0"
        raise ArgumentError(message("scan needs one length", sorted(sizes) or "none", "one length", fix))
    return sizes.pop()


def _chunk_length(checkpoint: bool | int, steps: int) -> int | None:
    """The number of steps after which a carry is kept; None: what every step needs is."""
    if checkpoint is False:
        return None
    if not isinstance(checkpoint, int) or checkpoint < 1:
        expected = "True, False or a number of steps from 1 on"
        raise ArgumentError(message("scan: there is no such checkpoint", repr(checkpoint), expected))
    return max(1, isqrt(steps)) if checkpoint is True else checkpoint


def _carry_and_ys(result: Any) -> tuple[list[Node], tuple[tree.TreeDef, tree.TreeDef]]:
    if not isinstance(result, tuple) or len(result) != 2:
        received = f"{type(result).__name__}" + (f" of {len(result)}" if isinstance(result, tuple) else "")
        raise ArgumentTypeError(message("scan: the function returns a pair", received, "(carry, y)"))
    carry, carry_tree = output_nodes(result[0], "scan")
    ys, ys_tree = output_nodes(result[1], "scan")
    return [*carry, *ys], (carry_tree, ys_tree)


def _record_scan(
    body: Graph, consts: Sequence[Node], carry: Sequence[Node], xs: Sequence[Node], steps: int, reverse: bool,
    chunk: int | None,
) -> list[Node]:  # fmt: skip
    """Record a scan; with `chunk` one of checkpoints of so many steps each, and one of those that are left."""
    n, c, count = len(consts), len(carry), len(body.outputs)
    settings = {"num_consts": n, "num_carry": c, "reverse": reverse}
    if chunk is None or steps == 0:
        node = P.scan(*consts, *carry, *xs, body=body, length=steps, **settings)
        return [node[k] for k in range(count)]
    whole = steps // chunk * chunk
    parts = [(low, high) for low, high in ((0, whole), (whole, steps)) if low < high]
    ys: list[list[Node]] = []
    for low, high in reversed(parts) if reverse else parts:
        size = min(chunk, high - low)
        rows = [P.reshape(_rows(x, low, high), shape=((high - low) // size, size, *x.shape[1:])) for x in xs]
        inner = _checkpointed(body, size, settings)
        node = P.scan(*consts, *carry, *rows, body=inner, length=(high - low) // size, **settings)
        carry = [node[k] for k in range(c)]
        ys.append([P.reshape(node[k], shape=(high - low, *node.avals[k].shape[2:])) for k in range(c, count)])
    if reverse:
        ys.reverse()
    return [*carry, *[P.concatenate(*pieces, axis=0) for pieces in zip(*ys, strict=True)]]


def _rows(x: Node, low: int, high: int) -> Node:
    starts, limits = (low, *[0] * (x.ndim - 1)), (high, *x.shape[1:])
    return P.slice(x, starts=starts, limits=limits, strides=(1,) * x.ndim)


def _checkpointed(body: Graph, steps: int, settings: dict[str, Any]) -> Graph:
    """A body that runs `steps` steps of a scan; differentiated, it keeps what it is given and nothing else."""
    fixed = settings["num_consts"] + settings["num_carry"]
    avals = [i.aval if k < fixed else i.aval.with_shape((steps, *i.shape)) for k, i in enumerate(body.inputs)]
    inner, outer = ([placeholder(a) for a in avals] for _ in range(2))
    node = P.scan(*inner, body=body, length=steps, **settings)
    inside = Graph(inner, [node[k] for k in range(len(body.outputs))])
    kept = P.checkpoint(*outer, body=inside, policy=None)
    return Graph(outer, [kept[k] for k in range(len(body.outputs))])


def fori_loop(low: int, high: int, body: Function, initial: Any) -> Any:
    """Return the carry after `carry = body(i, carry)` for i in range(low, high).

    With integer bounds the loop is a `scan`; with tensors it is a `while_loop`.

    Args:
        low: the first `i`, an integer or an integer tensor of rank 0.
        high: the number after the last `i`.
        body: `(i, carry) -> carry`, recorded once.
        initial: the first carry, a pytree of tensors.

    Returns:
        The last carry.

    Raises:
        ArgumentTypeError: a bound is no integer.

    Example:
        >>> plait.fori_loop(0, 3, lambda i, total: total + i, plait.tensor(10))
        tensor(13)
    """
    if isinstance(low, int) and isinstance(high, int):
        indices = wrap(P.iota(dtype=int64, shape=(max(0, high - low),), axis=0)) + low
        return scan(lambda carry, i: (body(i, carry), None), initial, indices)[0]
    first, last = (as_tensors([b], "fori_loop")[0] for b in (low, high))
    for bound in (first, last):
        if not bound.dtype.is_integer or bound.shape:
            raise ArgumentTypeError(message("The bounds of fori_loop are integers", bound._node.aval, "int64[]"))

    def step(state: Any) -> Any:
        i, carry = state
        return i + 1, body(i, carry)

    return while_loop(lambda state: state[0] < last, step, (first, initial))[1]


def pure_callback(function: Callable[..., Any], results: Any, *args: Any) -> Any:
    """Call a Python function of NumPy arrays from compiled code.

    Args:
        function: takes NumPy arrays, returns arrays; it must have no side effects.
        results: pytree of `(shape, dtype)` pairs or tensors that tell what it returns.
        args: tensors.

    Example:
        >>> plait.pure_callback(np.sqrt, plait.tensor(0.0), plait.tensor(9.0))
        tensor(3.)
    """
    check_function(function, "pure_callback")
    inputs, treedef = _flatten(args, "pure_callback")
    kinds, out_tree = tree.flatten(results, is_leaf=_is_spec)
    for k in kinds:
        if not isinstance(k, Tensor) and not _is_spec(k):
            expected = "tensors or (shape, dtype) pairs, e.g. ((3,), plait.float32)"
            raise ArgumentTypeError(message("pure_callback needs to know what it returns", repr(k), expected))
    avals = tuple(k.aval if isinstance(k, Tensor) else aval(as_dtype(k[1]), tuple(k[0])) for k in kinds)

    def call(*arrays: Any) -> Any:
        found = function(*tree.unflatten(treedef, arrays))
        return tree.leaves(found)

    node = P.callback(*inputs, function=call, avals=avals)
    return tree.unflatten(out_tree, [wrap(node[k]) for k in range(len(kinds))])


def _is_spec(value: Any) -> bool:
    return (
        isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], tuple) and not isinstance(value[1], tuple)
    )

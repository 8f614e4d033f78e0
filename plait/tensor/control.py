"""Control flow over pytrees of tensors: cond, while_loop, fori_loop, scan, map, pure_callback."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from plait.core import tree
from plait.core.aval import Aval, aval
from plait.core.dtype import as_dtype, int64
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, check_function, message
from plait.core.graph import Graph, Node, close, placeholder
from plait.core.primitive import P
from plait.tensor.autograd import Function, as_tensors, output_nodes
from plait.tensor.tensor import Tensor, node_of, wrap


def _stage(function: Function, treedef: tree.TreeDef, avals: Sequence[Aval], what: str) -> Any:
    """Record `function` on placeholders; returns (inputs, outputs, tree of the outputs)."""
    check_function(function, what)
    holders = [placeholder(a) for a in avals]
    outputs, out_tree = output_nodes(function(*tree.unflatten(treedef, [wrap(h) for h in holders])), what)
    return holders, outputs, out_tree


def _close_together(parts: Sequence[tuple[Sequence[Node], Sequence[Node]]]) -> tuple[list[Graph], list[list[Node]]]:
    graphs, captured = [], []
    for inputs, outputs in parts:
        graph, outside = close(inputs, outputs)
        graphs.append(graph)
        captured.append(outside)
    return graphs, captured


def _flatten(values: Any, what: str) -> tuple[list[Node], tree.TreeDef]:
    leaves, treedef = tree.flatten(values)
    return [node_of(t) for t in as_tensors(leaves, what)], treedef


def _pack(node: Node, treedef: tree.TreeDef, low: int = 0) -> Any:
    return tree.unflatten(treedef, [wrap(node[low + k]) for k in range(treedef.num_leaves)])


def cond(predicate: Any, true_function: Function, false_function: Function, *operands: Any) -> Any:
    """Return `true_function(*operands)` if the predicate holds, else `false_function(*operands)`.

    Only the chosen branch runs. Both are recorded, and must return the same structure, shapes and dtypes.

    Example:
        >>> plait.cond(plait.tensor(True), lambda x: x + 1, lambda x: x - 1, plait.tensor(1.0))
        tensor(2.)
    """
    inputs, treedef = _flatten(operands, "cond")
    avals = [i.aval for i in inputs]
    true_in, true_out, true_tree = _stage(true_function, treedef, avals, "cond")
    false_in, false_out, false_tree = _stage(false_function, treedef, avals, "cond")
    tree.check(true_tree, false_tree, "cond: the branches return different structures")
    (true, false), (true_outside, false_outside) = _close_together([(true_in, true_out), (false_in, false_out)])
    n = len(inputs)
    true_extra, false_extra = ([placeholder(i.aval) for i in outside] for outside in (false_outside, true_outside))
    true = Graph([*true.inputs[:n], *true.inputs[n:], *true_extra], true.outputs)
    false = Graph([*false.inputs[:n], *false_extra, *false.inputs[n:]], false.outputs)
    found = _flatten(predicate, "cond")[0]
    if len(found) != 1:
        received = f"{type(predicate).__name__} of {len(found)} tensors"
        raise ArgumentTypeError(message("The predicate of cond is one tensor", received, "a boolean"))
    chosen = found[0]
    node = P.cond(chosen, *inputs, *true_outside, *false_outside, true=true, false=false)
    return _pack(node, true_tree)


def while_loop(condition: Function, body: Function, initial: Any) -> Any:
    """Return the carry after applying `body` as long as `condition(carry)` holds.

    Differentiable in forward mode; for reverse mode use `scan` or `fori_loop` with a fixed length.

    Example:
        >>> plait.while_loop(lambda x: x < 50, lambda x: x * 2, plait.tensor(1))
        tensor(64)
    """
    carry, treedef = _flatten(initial, "while_loop")
    avals = [c.aval for c in carry]
    single = tree.structure((initial,))
    c_in, c_out, _ = _stage(condition, single, avals, "while_loop")
    b_in, b_out, b_tree = _stage(body, single, avals, "while_loop")
    tree.check(treedef, b_tree, "while_loop: the body changes the structure of the carry")
    (cond_graph, body_graph), (c_outside, b_outside) = _close_together([(c_in, c_out), (b_in, b_out)])
    n = len(carry)
    condition_graph = Graph([*cond_graph.inputs[n:], *cond_graph.inputs[:n]], cond_graph.outputs)
    body_graph = Graph([*body_graph.inputs[n:], *body_graph.inputs[:n]], body_graph.outputs)
    node = P.while_loop(
        *c_outside, *b_outside, *carry, condition=condition_graph, body=body_graph,
        num_consts=(len(c_outside), len(b_outside)),
    )  # fmt: skip
    return _pack(node, treedef)


def scan(function: Function, initial: Any, xs: Any = None, length: int | None = None, reverse: bool = False) -> Any:
    """Loop over axis 0 of `xs` while carrying state.

    Args:
        function: `(carry, x) -> (carry, y)`, recorded once.
        initial: the first carry, a pytree of tensors.
        xs: a pytree of tensors scanned over axis 0, or None.
        length: number of steps; needed where `xs` is None.
        reverse: whether to go from the last element to the first.

    Returns:
        `(carry, ys)` with the `y` of all steps stacked along axis 0.

    Example:
        >>> plait.scan(lambda total, x: (total + x, total), plait.tensor(0.0), plait.tensor([1.0, 2.0, 3.0]))
        (tensor(6.), tensor([0., 1., 3.]))
    """
    carry, carry_tree = _flatten(initial, "scan")
    scanned, _ = _flatten(xs, "scan")
    for x in scanned:
        if x.ndim == 0:
            raise ShapeError(message("scan goes over axis 0 of every input", "shape ()", "at least one axis"))
    sizes = {int(x.shape[0]) for x in scanned} | ({length} if length is not None else set())  # type: ignore[arg-type]
    if len(sizes) != 1:
        fix = "pass length=" if not sizes else "give all inputs the same size of axis 0"
        raise ArgumentError(message("scan needs one length", sorted(sizes) or "none", "one length", fix))
    (steps,) = sizes
    pair = tree.structure((initial, xs))
    avals = [c.aval for c in carry] + [x.aval.with_shape(x.shape[1:]) for x in scanned]
    inputs, outputs, out_tree = _stage_pair(function, pair, avals)
    new_carry, ys_tree = out_tree
    tree.check(carry_tree, new_carry, "scan: the function changes the structure of the carry")
    graph, outside = close(inputs, outputs)
    n, c = len(inputs), len(carry)
    body = Graph([*graph.inputs[n:], *graph.inputs[:n]], graph.outputs)
    node = P.scan(
        *outside, *carry, *scanned, body=body, length=steps, num_consts=len(outside), num_carry=c, reverse=reverse
    )
    return _pack(node, carry_tree), _pack(node, ys_tree, c)


def _stage_pair(function: Function, treedef: tree.TreeDef, avals: Sequence[Aval]) -> Any:
    check_function(function, "scan")
    holders = [placeholder(a) for a in avals]
    result = function(*tree.unflatten(treedef, [wrap(h) for h in holders]))
    if not isinstance(result, tuple) or len(result) != 2:
        received = f"{type(result).__name__}" + (f" of {len(result)}" if isinstance(result, tuple) else "")
        raise ArgumentTypeError(message("scan: the function returns a pair", received, "(carry, y)"))
    carry, carry_tree = output_nodes(result[0], "scan")
    ys, ys_tree = output_nodes(result[1], "scan")
    return holders, [*carry, *ys], (carry_tree, ys_tree)


def fori_loop(low: int, high: int, body: Function, initial: Any) -> Any:
    """Return the carry after `carry = body(i, carry)` for i in range(low, high).

    With integer bounds the loop is a `scan` (reverse mode works); with tensors it is a `while_loop`.

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


def map_(function: Function, xs: Any) -> Any:
    """Apply `function` to each element of axis 0, one after another, and stack the results.

    Args:
        function: takes the elements, recorded once; `vmap` computes all at once instead.
        xs: a pytree of tensors of the same size of axis 0.

    Returns:
        The results, stacked along axis 0.

    Raises:
        ArgumentError: the sizes differ.

    Example:
        >>> plait.map(lambda x: x * x, plait.tensor([1.0, 2.0, 3.0]))
        tensor([1., 4., 9.])
    """
    return scan(lambda carry, x: (carry, function(x)), (), xs)[1]


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
    return _pack(node, out_tree)


def _is_spec(value: Any) -> bool:
    return (
        isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], tuple) and not isinstance(value[1], tuple)
    )

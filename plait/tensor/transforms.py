"""vmap, checkpoint and functions with their own derivatives, over pytrees of tensors."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from plait.core import tree
from plait.core.errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError, check_function, message
from plait.core.graph import Graph, Node, close, dependents, inline, placeholder
from plait.core.primitive import P
from plait.prims.remat import Budget, Policy
from plait.tensor import lazy, tokens
from plait.tensor.autograd import Function, as_tensors, conjugated, output_nodes
from plait.tensor.effects import Writes, refuse
from plait.tensor.tensor import axis_index, node_of, wrap
from plait.transforms.batch import batch, broadcast_to_batch


def _move(node: Node, source: int, destination: int) -> Node:
    if source == destination:
        return node
    order = [a for a in range(node.ndim) if a != source]
    order.insert(destination, source)
    return P.transpose(node, permutation=tuple(order))


def vmap(function: Function, in_axes: Any = 0, out_axes: Any = 0) -> Function:
    """Return a function that applies `function` to every example of a batch, as one batched computation.

    Args:
        function: written for one example.
        in_axes: the batch axis of each argument: an integer, None (not batched), or a pytree prefix of these.
        out_axes: where the batch axis goes in the results: an integer or a pytree prefix.

    Raises:
        ArgumentError: nothing is batched, or the batch sizes differ.
        AbstractValueError: Python looks at a value that differs between examples.

    Example:
        >>> plait.vmap(lambda x, y: (x * y).sum())(plait.ones((3, 2)), plait.ones((3, 2)))
        tensor([2., 2., 2.])
    """
    check_function(function, "vmap")

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        leaves, treedef = tree.flatten((args, kwargs))
        tensors = as_tensors(leaves, "vmap")
        axes = _input_axes(in_axes, args, kwargs)
        nodes = [node_of(t) for t in tensors]
        size = _batch_size(nodes, axes, tree.paths(treedef))
        moved = [n if a is None else _move(n, axis_index(a, n.ndim), 0) for n, a in zip(nodes, axes, strict=True)]
        holders = [
            n if a is None else placeholder(n.aval.with_shape(n.shape[1:])) for n, a in zip(moved, axes, strict=True)
        ]
        new_args, new_kwargs = tree.unflatten(treedef, [wrap(h) for h in holders])
        with Writes() as writes, tokens.body(), lazy.staged("vmap", function, holders, tree.paths(treedef)):
            outputs, out_tree = output_nodes(function(*new_args, **new_kwargs), "vmap")
        mapped = [(h, m) for h, m, a in zip(holders, moved, axes, strict=True) if a is not None]
        del new_args, new_kwargs
        effects = tokens.taken(writes)
        refuse(writes, "vmap", lambda node: node in dependents([node], [h for h, _ in mapped]))
        wanted = [*outputs, *effects]
        results, carries = batch(wanted, [h for h, _ in mapped], [m for _, m in mapped], [True] * len(mapped), size)
        tokens.put_back(results[len(outputs) :], [wrap(r) for r in results[: len(outputs)]])
        results, carries = results[: len(outputs)], carries[: len(outputs)]
        full = [r if c else broadcast_to_batch(r, size) for r, c in zip(results, carries, strict=True)]
        places = tree.broadcast_prefix(out_axes, tree.unflatten(out_tree, full), is_leaf=lambda x: x is None)
        final = [_move(r, 0, axis_index(a, r.ndim, "out_axes")) for r, a in zip(full, places, strict=True)]
        return tree.unflatten(out_tree, [wrap(r) for r in final])

    return wrapped


def _input_axes(in_axes: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int | None]:
    """The batch axis of every leaf; keyword arguments are batched along axis 0."""
    is_none = lambda x: x is None  # noqa: E731
    prefix = tuple(in_axes) if isinstance(in_axes, list) else in_axes
    if isinstance(prefix, tuple) and len(prefix) != len(args):
        raise ArgumentError(message("in_axes has one entry for each argument", len(prefix), len(args)))
    found = tree.broadcast_prefix(prefix, args, is_leaf=is_none)
    found += [0] * len(tree.leaves(kwargs))
    for a in found:
        if a is not None and not isinstance(a, int):
            raise ArgumentTypeError(message("in_axes holds integers and None", a))
    return found


def _batch_size(nodes: Sequence[Node], axes: Sequence[int | None], names: Sequence[str]) -> int:
    sizes: dict[int, str] = {}
    for n, a, name in zip(nodes, axes, names, strict=True):
        if a is None:
            continue
        if n.ndim == 0:
            fix = "pass in_axes=None for this argument"
            raise ShapeError(message(f"vmap: argument {name} has no axis to map over", "shape ()", f"an axis {a}", fix))
        sizes.setdefault(int(n.shape[axis_index(a, n.ndim, "in_axes")]), name)  # type: ignore[arg-type]
    if not sizes:
        fix = "give at least one argument an axis in in_axes"
        raise ArgumentError(message("vmap: no argument is batched", "in_axes is None everywhere", None, fix))
    if len(sizes) > 1:
        received = ", ".join(f"{n} at {name}" for n, name in sizes.items())
        raise ShapeError(message("vmap: the batch sizes differ", received, "one size"))
    return next(iter(sizes))


# functions recorded as one node ----------------------------------------------------------------------------------


class Recorded:
    """A function recorded on aliases of its concrete arguments, so that Python may look at values."""

    def __init__(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], what: str) -> None:
        leaves, treedef = tree.flatten((args, kwargs))
        self.inputs = [node_of(t) for t in as_tensors(leaves, what)]
        aliases = [_alias(n) for n in self.inputs]
        new_args, new_kwargs = tree.unflatten(treedef, [wrap(a) for a in aliases])
        outputs, self.treedef = output_nodes(function(*new_args, **new_kwargs), what)
        graph, captured = close(aliases, outputs)
        self.captured = captured
        self.graph = graph

    def unflatten(self, node: Node) -> Any:
        """The results of a node of several results, in the structure that the function returned."""
        return tree.unflatten(self.treedef, [wrap(node[k]) for k in range(len(node.avals))])


def _alias(node: Node) -> Node:
    return P.reshape(node, shape=node.shape)


def checkpoint(
    function: Function, *args: Any, policy: Policy | None = None, budget: int | None = None,
    use_reentrant: bool | None = None, preserve_rng_state: bool = True, **kwargs: Any,
) -> Any:  # fmt: skip
    """Let the backward pass compute the intermediate values of a function again instead of keeping them.

    Trades time for memory (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016). Composes with every
    transform.

    Args:
        function: any function of pytrees of tensors.
        *args: its arguments, for a call at once as in PyTorch; without any, the function is returned, as in JAX.
        policy: which values are kept all the same; see `plait.checkpoint_policies`. By default none.
        budget: how many bytes may be kept in each call: those that save most arithmetic for each byte.
        use_reentrant: accepted for PyTorch's sake, and of no effect.
        preserve_rng_state: likewise; random numbers are the same the second time in any case.
        **kwargs: more arguments of `function`.

    Returns:
        The result of `function`, or a function.

    Raises:
        ArgumentError: both `policy` and `budget` are given, or the budget is no number of bytes.
        ArgumentTypeError: `function` or `policy` cannot be called.

    Example:
        >>> block = lambda x: plait.sin(plait.sin(x))
        >>> plait.grad(plait.checkpoint(block))(plait.tensor(0.0))
        tensor(1.)
        >>> plait.checkpoint(block, plait.tensor(0.0), use_reentrant=False)
        tensor(0.)
    """
    check_function(function, "checkpoint")
    rule = _checked_policy(policy, budget)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        recorded = Recorded(function, args, kwargs, "checkpoint")
        body = _detached_body(recorded.graph)
        return recorded.unflatten(P.checkpoint(*recorded.inputs, *recorded.captured, body=body, policy=rule))

    return wrapped(*args, **kwargs) if args or kwargs else wrapped


def _checked_policy(policy: Any, budget: Any) -> Policy | Budget | None:
    if policy is not None:
        check_function(policy, "The policy of checkpoint")
        if budget is not None:
            text = "checkpoint takes a policy or a budget"
            raise ArgumentError(message(text, "both", None, "leave one out"))
        return policy  # type: ignore[no-any-return]
    if budget is None:
        return None
    if not isinstance(budget, int) or isinstance(budget, bool) or budget < 0:
        raise ArgumentError(message("The budget of checkpoint is a number of bytes", repr(budget), "an int from 0 on"))
    return Budget(budget)


def _detached_body(graph: Graph) -> Graph:
    """The body on placeholders, free of the values and flags of the arguments that it was recorded on."""
    from_inputs = [placeholder(i.aval) for i in graph.inputs]
    return Graph(from_inputs, inline(graph, from_inputs))


class custom_jvp:  # noqa: N801 - a decorator
    """A function whose forward-mode derivative is given by `defjvp`; reverse mode follows from it.

    Example:
        >>> @plait.custom_jvp
        ... def f(x):
        ...     return plait.sin(x)
        >>> @f.defjvp
        ... def f_jvp(primals, tangents):
        ...     (x,), (t,) = primals, tangents
        ...     return f(x), plait.cos(x) * t
    """

    def __init__(self, function: Function) -> None:
        check_function(function, "custom_jvp")
        functools.update_wrapper(self, function)
        self.function = function
        self.rule: Function | None = None

    def defjvp(self, rule: Function) -> Function:
        """Set the rule: `(primals, tangents) -> (output, output tangent)`, both tuples; returns it."""
        self.rule = rule
        return rule

    def __call__(self, *args: Any) -> Any:
        rule = self.rule
        if rule is None:
            fix = "decorate its rule with @f.defjvp"
            raise GradientError(message(f"custom_jvp: {self.function.__name__} has no rule", None, None, fix))
        treedef = tree.structure(args)
        recorded = Recorded(self.function, args, {}, "custom_jvp")
        if recorded.captured:
            _check_captured(recorded, "custom_jvp")
        count = len(recorded.inputs)

        def on_nodes(*nodes: Node) -> list[Node | None]:
            primals = tree.unflatten(treedef, [wrap(n) for n in nodes[:count]])
            tangents = tree.unflatten(treedef, [wrap(n) for n in nodes[len(nodes) // 2 :][:count]])
            _, out = _pair(rule(primals, tangents), "custom_jvp: the rule", "(output, output tangent)")
            found, _ = output_nodes(out, "custom_jvp")
            return list(found)

        inputs = [*recorded.inputs, *recorded.captured]
        return recorded.unflatten(P.custom_jvp(*inputs, body=_detached_body(recorded.graph), rule=on_nodes))


def _check_captured(recorded: Recorded, what: str) -> None:
    for node in recorded.captured:
        if node.flags & ~1 and node.dtype.is_inexact:
            fix = "pass it as an argument"
            where = f"a {node.aval} recorded at {node.source}"
            raise GradientError(message(f"{what}: the function uses a traced value from outside", where, None, fix))


class custom_vjp:  # noqa: N801 - a decorator
    """A function whose reverse-mode derivative is given by `defvjp`.

    Example:
        >>> @plait.custom_vjp
        ... def f(x):
        ...     return plait.sin(x)
        >>> f.defvjp(lambda x: (f(x), x), lambda x, g: (g * plait.cos(x),))
    """

    def __init__(self, function: Function) -> None:
        check_function(function, "custom_vjp")
        functools.update_wrapper(self, function)
        self.function = function
        self.rules: tuple[Function, Function] | None = None

    def defvjp(self, forward: Function, backward: Function) -> None:
        """Set the rules.

        Args:
            forward: the same arguments -> `(output, residuals)`.
            backward: `(residuals, cotangent) -> tuple of cotangents`, one for each argument.
        """
        self.rules = (forward, backward)

    def __call__(self, *args: Any) -> Any:
        if self.rules is None:
            fix = "call f.defvjp(forward, backward)"
            raise GradientError(message(f"custom_vjp: {self.function.__name__} has no rules", None, None, fix))
        forward, backward = self.rules
        treedef = tree.structure(args)
        recorded = Recorded(self.function, args, {}, "custom_vjp")
        if recorded.captured:
            _check_captured(recorded, "custom_vjp")
        count, outputs = len(recorded.inputs), len(recorded.graph.outputs)
        residual_tree: list[Any] = []

        def on_forward(*nodes: Node) -> list[Node]:
            result = forward(*tree.unflatten(treedef, [wrap(n) for n in nodes[:count]]))
            out, residuals = _pair(result, "custom_vjp: forward", "(output, residuals)")
            kept, structure = output_nodes(residuals, "custom_vjp")
            residual_tree[:] = [structure]
            return [*output_nodes(out, "custom_vjp")[0], *kept]

        def on_backward(*nodes: Node) -> list[Node | None]:
            kept, given = nodes[: len(nodes) - outputs], nodes[len(nodes) - outputs :]
            cotangent = tree.unflatten(recorded.treedef, [wrap(conjugated(g)) for g in given])
            found = backward(tree.unflatten(residual_tree[0], [wrap(k) for k in kept]), cotangent)
            own = [None if c is None else conjugated(c) for c in _cotangents(found, args, recorded.inputs)]
            return [*own, *[None] * len(recorded.captured)]

        inputs = [*recorded.inputs, *recorded.captured]
        node = P.custom_vjp(*inputs, body=_detached_body(recorded.graph), forward=on_forward, backward=on_backward)
        return recorded.unflatten(node)


def _pair(value: Any, what: str, expected: str) -> tuple[Any, Any]:
    if not isinstance(value, tuple) or len(value) != 2:
        received = f"{type(value).__name__}" + (f" of {len(value)}" if isinstance(value, tuple) else "")
        raise GradientError(message(f"{what} returns a pair", received, expected))
    return value


def _cotangents(found: Any, args: tuple[Any, ...], inputs: Sequence[Node]) -> list[Node | None]:
    """Match the tuple that a backward function returned with the arguments; None means zero."""
    if not isinstance(found, tuple) or len(found) != len(args):
        received = f"{type(found).__name__}" + (f" of {len(found)}" if isinstance(found, tuple) else "")
        raise GradientError(message("custom_vjp: backward returns a tuple", received, f"{len(args)} cotangents"))
    result: list[Node | None] = []
    for f, a in zip(found, args, strict=True):
        if f is None:
            result += [None] * len(tree.leaves(a))
        else:
            tree.check(
                tree.structure(a), tree.structure(f), "custom_vjp: a cotangent has the structure of its argument"
            )
            result += [node_of(t) for t in as_tensors(tree.leaves(f), "custom_vjp")]
    for r, i in zip(result, inputs, strict=True):
        if r is not None and i.dtype.is_inexact and r.aval is not i.aval:
            raise ShapeError(message("custom_vjp: a cotangent has the shape and dtype of its argument", r.aval, i.aval))
    return result

"""Differentiation and batching of functions of tensors: the transforms of `plait.transforms` over pytrees."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from plait.core import tree
from plait.core.dtype import int64
from plait.core.errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    GradientError,
    ShapeError,
    check_function,
    message,
)
from plait.core.graph import FREED, REQUIRES_GRAD, TRACED, Node, full, placeholder, recorder, substitute, toposort
from plait.core.primitive import P
from plait.tensor import lazy
from plait.tensor.effects import Writes
from plait.tensor.hooks import hooks_of
from plait.tensor.tensor import Tensor, node_of, to_node, wrap
from plait.transforms.batch import batch, broadcast_to_batch
from plait.transforms.differentiate import instantiate, linearize as linearize_nodes, pull_back, push_forward
from plait.transforms.gradients import gradients, history_of

Function = Callable[..., Any]


class _GradMode:
    """A context manager and decorator that sets whether gradient history is recorded."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self.previous: list[int] = []

    def __enter__(self) -> None:
        self.previous.append(recorder.mask)
        recorder.mask = -1 if self.enabled else ~(REQUIRES_GRAD | FREED)

    def __exit__(self, *_: object) -> None:
        recorder.mask = self.previous.pop()

    def __call__(self, function: Function) -> Function:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with _GradMode(self.enabled):
                return function(*args, **kwargs)

        return wrapped


def no_grad() -> _GradMode:
    """Return a context manager (and decorator) in which operations do not require gradients.

    Example:
        >>> w = plait.Parameter([1.0])
        >>> with plait.no_grad():
        ...     w *= 2.0
    """
    return _GradMode(False)


def enable_grad() -> _GradMode:
    """Return a context manager (and decorator) in which gradient history is recorded, inside `no_grad` too.

    Example:
        >>> w = plait.ones(2, requires_grad=True)
        >>> with plait.no_grad(), plait.enable_grad():
        ...     (w * 2).requires_grad
        True
    """
    return _GradMode(True)


def inference_mode(mode: bool = True) -> _GradMode:
    """Return `no_grad()`, under PyTorch's other name; with `mode=False` `enable_grad()`.

    Example:
        >>> with plait.inference_mode():
        ...     (plait.ones(2, requires_grad=True) * 2).requires_grad
        False
    """
    return _GradMode(not mode)


class set_grad_enabled(_GradMode):  # noqa: N801 - PyTorch's name
    """Set whether gradient history is recorded, from now on; as a context manager until its end.

    Args:
        mode: whether it is.

    Example:
        >>> with plait.set_grad_enabled(False):
        ...     (plait.ones(2, requires_grad=True) * 2).requires_grad
        False
    """

    def __init__(self, mode: bool) -> None:
        super().__init__(mode)
        super().__enter__()

    def __enter__(self) -> None:
        """It is set already."""


def is_grad_enabled() -> bool:
    """Return whether gradient history is being recorded.

    Example:
        >>> with plait.no_grad():
        ...     plait.is_grad_enabled()
        False
    """
    return bool(recorder.mask & REQUIRES_GRAD)


# backward --------------------------------------------------------------------------------------------------------


def backward(
    tensor: Tensor, gradient: Any = None, retain_graph: bool = False, inputs: Sequence[Tensor] | None = None
) -> None:
    """Accumulate the gradient of `tensor` into the `.grad` of the leaves that require gradients.

    Args:
        tensor: a scalar, or any tensor if `gradient` is given.
        gradient: the cotangent of `tensor`; by default 1. Gradients of complex tensors are those of PyTorch:
            the derivative by the real part plus i times that by the imaginary part.
        retain_graph: whether `backward` may be called again through the same history.
        inputs: leaves to which the gradient is limited.

    Raises:
        GradientError: the tensor does not require gradients, is not a scalar, or its history was freed.
    """
    node = node_of(tensor)
    _check_history(node)
    cotangent = conjugated(_cotangent(node, gradient))
    history = history_of(node, REQUIRES_GRAD)
    leaves = _gradient_leaves(history)
    if inputs is not None:
        wanted = {node_of(t) for t in inputs}
        leaves = [leaf for leaf in leaves if leaf in wanted]
    with no_grad():
        result, found = gradients(history, leaves, REQUIRES_GRAD, cotangent)
        for leaf, g in zip(leaves, found, strict=True):
            owner = leaf.extra() if isinstance(leaf.extra, weakref.ref) else None
            if owner is not None and g is not None:
                _accumulate(owner, conjugated(g))
    if not retain_graph:
        _free(history, leaves)
    if result is not node and tensor._node is node:
        result.flags = node.flags
        tensor._node = result


def conjugated(node: Node) -> Node:
    """Turn a cotangent into a gradient, or the other way round.

    Inside, cotangents pair with tangents as Re(cotangent * tangent), so that transposes need no conjugation; users
    see gradients, which pair as Re(conj(gradient) * tangent) and so point uphill, as in PyTorch.
    """
    return P.conj(node) if node.dtype.is_complex else node


def _check_history(node: Node) -> None:
    if node.flags & REQUIRES_GRAD:
        return
    if node.flags & FREED:
        text = "The gradient history of this tensor was freed by an earlier backward()"
        raise GradientError(message(text, fix="call the first backward with retain_graph=True"))
    text = "backward() needs a tensor that requires gradients"
    fix = "make a leaf require gradients, e.g. plait.tensor(..., requires_grad=True), and compute outside no_grad"
    raise GradientError(message(text, f"a {node.aval} recorded at {node.source or 'an unknown place'}", None, fix))


def _cotangent(node: Node, gradient: Any) -> Node:
    if gradient is None:
        if node.aval.size != 1:
            text = "backward() without a gradient needs a scalar"
            raise GradientError(message(text, f"shape {node.shape}", "one element", "call .sum() or .mean() first"))
        if node.dtype.is_complex:
            text, fix = "backward() without a gradient needs a real scalar", "take e.g. .abs() or .real first"
            raise GradientError(message(text, node.dtype.name, "a float dtype", fix))
        return full(1, node.aval)
    cotangent = to_node(gradient, node.dtype)
    if cotangent.shape != node.shape:
        raise ShapeError(message("The gradient must have the shape of the tensor", cotangent.shape, node.shape))
    return cotangent


def _free(history: Sequence[Node], leaves: Sequence[Node]) -> None:
    """Let nobody differentiate the nodes between `leaves` and the last node again."""
    active = set(leaves)
    for n in history:
        if n.flags & REQUIRES_GRAD and any(i in active for i in n.inputs):
            active.add(n)
            n.flags = n.flags & ~REQUIRES_GRAD | FREED
    last = history[-1]
    if last.inputs:
        last.flags = last.flags & ~REQUIRES_GRAD | FREED


def _gradient_leaves(history: Sequence[Node]) -> list[Node]:
    """The leaves that require gradients in a history; raises where a freed one is met."""
    leaves = []
    for n in history:
        if not n.flags & REQUIRES_GRAD:
            if n.flags & FREED:
                _check_history(n)
            continue
        if not any(i.flags & REQUIRES_GRAD for i in n.inputs):
            leaves.append(n)
    return leaves


def _accumulate(owner: Tensor, gradient: Node) -> None:
    current, hooks = owner.grad, hooks_of(owner)
    new = wrap(gradient) if hooks is None else hooks.apply(wrap(gradient))
    if current is None:
        owner.grad = new
    else:
        current += new
    for hook in () if hooks is None else list(hooks.accumulated.values()):
        hook(owner)


# variables of functional transforms ------------------------------------------------------------------------------


_active: weakref.WeakSet[Node] = weakref.WeakSet()


def _variable(node: Node) -> Node:
    """An alias of `node` with respect to which is differentiated; outer transforms see through it."""
    variable = P.reshape(node, shape=node.shape)
    variable.flags |= TRACED
    _active.add(variable)
    return variable


def _release(outputs: Sequence[Node | None], call: _Call) -> None:
    """Let go of finished variables: what was recorded on them depends only on outer ones from now on."""
    _active.difference_update(call.variables)
    ends = [*outputs, *[t._node for t, _ in call.writes.tensors.values()]]
    call.writes.tensors.clear()
    for node in toposort([o for o in ends if o is not None], lambda n: not n.flags & TRACED):
        if node.flags & TRACED and node not in _active and not any(i.flags & TRACED for i in node.inputs):
            node.flags &= ~TRACED


def as_tensors(values: Sequence[Any], what: str, verb: str = "takes") -> list[Tensor]:
    """Check that all leaves are tensors (arrays and numbers are converted)."""
    result = []
    for v in values:
        if isinstance(v, Tensor):
            result.append(v)
        else:
            try:
                result.append(wrap(to_node(v, None)))
            except (TypeError, ValueError):
                fix = "pass tensors, arrays or numbers, or hide other values in a closure"
                raise ArgumentTypeError(
                    message(f"{what} {verb} pytrees of tensors", type(v).__name__, None, fix)
                ) from None
    return result


def _differentiable(argument: Any, what: str) -> list[Node]:
    """Return the nodes of an argument. In reverse mode, integers beside floats (a module's counters) get zeros."""
    nodes = [node_of(t) for t in as_tensors(tree.leaves(argument), what)]
    is_mixed = what in ("grad", "vjp") and any(n.dtype.is_inexact for n in nodes)
    for n in nodes:
        if not n.dtype.is_inexact and not is_mixed:
            fix = "convert with .to(plait.float32), or choose other argnums"
            raise DTypeError(message(f"{what} differentiates floating-point arguments", n.aval, "a float dtype", fix))
    return nodes


class _Call:
    """One call of a function under differentiation: which arguments are variables, and the recorded outputs."""

    def __init__(
        self, function: Function, args: Sequence[Any], kwargs: dict[str, Any], argnums: Any, what: str
    ) -> None:
        check_function(function, what)
        numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        for k in numbers:
            if not isinstance(k, int) or not -len(args) <= k < len(args):
                expected = f"argnums from {-len(args)} to {len(args) - 1}" if args else "a positional argument"
                raise ArgumentError(message(f"{what}: there is no such positional argument", k, expected))
        chosen = tuple(args[k] for k in numbers)
        self.treedef = tree.structure(chosen)
        self.nodes = [node for argument in chosen for node in _differentiable(argument, what)]
        self.variables = [_variable(n) for n in self.nodes]
        new = tree.unflatten(self.treedef, [wrap(v) for v in self.variables])
        args = list(args)
        for k, value in zip(numbers, new, strict=True):
            args[k] = value
        with Writes() as self.writes:
            self.output = function(*args, **kwargs)
        self.single = isinstance(argnums, int)

    def pack(self, cotangents: Sequence[Node | None]) -> Any:
        filled = [instantiate(c, n.aval) for c, n in zip(cotangents, self.nodes, strict=True)]
        result = tree.unflatten(self.treedef, [wrap(f) for f in filled])
        return result[0] if self.single else result


def value_and_grad(function: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """Return a function that computes `function` and its gradient.

    Args:
        function: returns a real scalar tensor, or with `has_aux` a pair of it and any other value.
        argnums: positions of the arguments (pytrees of float tensors) to differentiate with respect to.
        has_aux: see `function`.

    Returns:
        A function of the same arguments that returns `(value, gradient)`; with `has_aux` `((value, aux), gradient)`.
        The gradient has the structure of the argument, or is a tuple of them if `argnums` is a sequence.

    Example:
        >>> plait.value_and_grad(lambda x: (x * x).sum())(plait.tensor([1.0, 2.0]))
        (tensor(5.), tensor([2., 4.]))
    """
    check_function(function, "grad")

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        call = _Call(function, args, kwargs, argnums, "grad")
        output, aux = _with_aux(call.output) if has_aux else (call.output, None)
        node = _scalar_output(output)
        result, found = gradients(history_of(node, TRACED, call.variables), call.variables, TRACED, full(1, node.aval))
        aux_nodes = [node_of(t) for t in tree.leaves(aux) if isinstance(t, Tensor)]
        packed = call.pack([None if g is None else conjugated(g) for g in found])
        _release([result, *[node_of(t) for t in tree.leaves(packed)], *aux_nodes], call)
        value = wrap(result)
        return ((value, aux), packed) if has_aux else (value, packed)

    return wrapped


def _with_aux(output: Any) -> tuple[Any, Any]:
    if not isinstance(output, tuple) or len(output) != 2:
        received = f"{type(output).__name__}" + (f" of {len(output)}" if isinstance(output, tuple) else "")
        text = "grad with has_aux=True needs a function that returns a pair"
        raise ArgumentTypeError(message(text, received, "(loss, aux)"))
    return output


def _scalar_output(output: Any) -> Node:
    if not isinstance(output, Tensor):
        fix = "return the loss; with has_aux=True a pair (loss, aux)"
        raise ArgumentTypeError(
            message("grad needs a function that returns a scalar tensor", type(output).__name__, None, fix)
        )
    node = node_of(output)
    if node.shape != ():
        fix = "reduce it with .sum() or .mean(), or use jacrev or vjp"
        raise ShapeError(message("grad needs a function that returns a scalar", f"shape {node.shape}", "shape ()", fix))
    if not node.dtype.is_floating:
        raise DTypeError(message("grad needs a real floating-point result", node.dtype.name, "a float dtype"))
    return node


def grad(function: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """Return the gradient of a scalar function; see `value_and_grad`.

    Example:
        >>> plait.grad(lambda x: x ** 3)(plait.tensor(2.0))
        tensor(12.)
    """
    both = value_and_grad(function, argnums, has_aux)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def output_nodes(output: Any, what: str) -> tuple[list[Node], tree.TreeDef]:
    """Return the nodes of what a transformed function returned, and its structure."""
    leaves, treedef = tree.flatten(output)
    return [node_of(t) for t in as_tensors(leaves, f"The function given to {what}", "returns")], treedef


def _rebuild(treedef: tree.TreeDef, nodes: Sequence[Node | None], avals: Sequence[Node]) -> Any:
    filled = [instantiate(n, a.aval) for n, a in zip(nodes, avals, strict=True)]
    return tree.unflatten(treedef, [wrap(n) for n in filled])


def _match_tree(values: Any, treedef: tree.TreeDef, nodes: Sequence[Node], what: str) -> list[Node]:
    leaves, received = tree.flatten(values)
    tree.check(treedef, received, f"{what}: the tree structures differ")
    result = [node_of(t) for t in as_tensors(leaves, what)]
    for r, n in zip(result, nodes, strict=True):
        if r.aval is not n.aval:
            text = message(f"{what}: shape or dtype differs", r.aval, n.aval)
            raise (ShapeError if r.shape != n.shape else DTypeError)(text)
    return result


def jvp(function: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Compute a function and its directional derivative.

    Args:
        function: any function of pytrees of tensors.
        primals: tuple of the arguments.
        tangents: tuple of directions, of the same structure, shapes and dtypes.

    Returns:
        `(output, output tangent)`.

    Example:
        >>> plait.jvp(plait.sin, (plait.tensor(0.0),), (plait.tensor(2.0),))
        (tensor(0.), tensor(2.))
    """
    for name, values in (("primals", primals), ("tangents", tangents)):
        if not isinstance(values, (tuple, list)):
            text, fix = f"jvp takes its {name} as a tuple", "write (x,) for one argument"
            raise ArgumentTypeError(message(text, type(values).__name__, "a tuple", fix))
    call = _Call(function, tuple(primals), {}, tuple(range(len(primals))), "jvp")
    directions = _match_tree(tuple(tangents), call.treedef, call.nodes, "The tangents given to jvp")
    nodes, treedef = output_nodes(call.output, "jvp")
    results, pushed = push_forward(nodes, call.variables, directions, TRACED)
    _refuse_custom_vjp(pushed)
    _release([*results, *pushed], call)
    return tree.unflatten(treedef, [wrap(r) for r in results]), _rebuild(treedef, pushed, results)


def _refuse_custom_vjp(tangents: Sequence[Node | None]) -> None:
    for node in toposort([t for t in tangents if t is not None], lazy.has_value):
        if node.prim.name == "custom_vjp_tangent":
            raise GradientError(message(f"Forward mode: {node.prim.lower.reason} (recorded at {node.source})"))


def vjp(function: Function, *primals: Any) -> tuple[Any, Function]:
    """Compute a function and the function that pulls cotangents back.

    Returns:
        `(output, pull)`; `pull(cotangent)` returns a tuple with one cotangent for each primal. For complex tensors
        it is the adjoint of the derivative, as in PyTorch: the transpose, conjugated.

    Example:
        >>> value, pull = plait.vjp(lambda x: x * x, plait.tensor(3.0))
        >>> pull(plait.tensor(1.0))
        (tensor(6.),)
    """
    call = _Call(function, primals, {}, tuple(range(len(primals))), "vjp")
    nodes, treedef = output_nodes(call.output, "vjp")
    results, pull = pull_back(nodes, call.variables, TRACED)
    _release(results, call)

    def apply(cotangent: Any) -> Any:
        given = _match_tree(cotangent, treedef, results, "The cotangent given to the pull-back")
        found = [None if c is None else conjugated(c) for c in pull([conjugated(g) for g in given])]
        _release(found, call)
        return call.pack(found)

    return tree.unflatten(treedef, [wrap(r) for r in results]), apply


def linearize(function: Function, *primals: Any) -> tuple[Any, Function]:
    """Compute a function and its derivative at `primals` as a linear function of tangents.

    The derivative is recorded once and can be applied many times.

    Example:
        >>> value, derivative = plait.linearize(lambda x: x * x, plait.tensor(3.0))
        >>> derivative(plait.tensor(1.0))
        tensor(6.)
    """
    call = _Call(function, primals, {}, tuple(range(len(primals))), "linearize")
    nodes, treedef = output_nodes(call.output, "linearize")
    results, holders, outs = linearize_nodes(nodes, call.variables, TRACED)
    _refuse_custom_vjp(outs)
    _release(results, call)

    def apply(*tangents: Any) -> Any:
        given = _match_tree(tangents, call.treedef, call.nodes, "The tangents given to the derivative")
        replacement = {h: g for h, g in zip(holders, given, strict=True) if h is not None}
        present = [o for o in outs if o is not None]
        found = iter(substitute(present, replacement))
        pushed = [None if o is None else next(found) for o in outs]
        _release(pushed, call)
        return _rebuild(treedef, pushed, results)

    return tree.unflatten(treedef, [wrap(r) for r in results]), apply


# Jacobians -------------------------------------------------------------------------------------------------------


def _basis(node: Node) -> Node:
    """The unit tangents of a value, along a new axis 0."""
    n = node.aval.size
    return P.reshape(_identity(n, node), shape=(n, *node.shape))


def _identity(n: int, like: Node) -> Node:
    from_rows, columns = (P.iota(dtype=int64, shape=(n, n), axis=a) for a in (0, 1))
    return P.convert(P.eq(from_rows, columns), dtype=like.dtype)


def _along_basis(linear: Sequence[Node | None], source: Node, avals: Sequence[Node]) -> list[Node]:
    """Evaluate linear outputs of `source` for every unit vector, along a new axis 0."""
    n = source.aval.size
    present = [o for o in linear if o is not None]
    found, carries = batch(present, [source], [_basis(source)], [True], n)
    values = iter([f if c else broadcast_to_batch(f, n) for f, c in zip(found, carries, strict=True)])
    zeros = [broadcast_to_batch(full(0, a.aval), n) for a in avals]
    return [z if o is None else next(values) for o, z in zip(linear, zeros, strict=True)]


def jacfwd(function: Function, argnums: int | Sequence[int] = 0) -> Function:
    """Return the Jacobian of a function, column by column in forward mode (for more outputs than inputs).

    Args:
        function: takes and returns pytrees of tensors; a complex one must be holomorphic.
        argnums: which arguments to differentiate with respect to.

    Returns:
        A function of the same arguments. Its result has the structure of the output; each leaf holds the structure of
        the argument, with shape `output.shape + input.shape`.

    Raises:
        GradientError: the function has no derivative in forward mode.
        DTypeError: an argument is neither a float nor complex.

    Example:
        >>> plait.jacfwd(lambda x: x * x)(plait.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        call = _Call(function, args, kwargs, argnums, "jacfwd")
        nodes, treedef = output_nodes(call.output, "jacfwd")
        results, holders, outs = linearize_nodes(nodes, call.variables, TRACED)
        _refuse_custom_vjp(outs)
        columns = []
        for holder, variable in zip(holders, call.nodes, strict=True):
            assert holder is not None
            others = {h: full(0, h.aval) for h in holders if h is not None and h is not holder}
            alone = iter(substitute([o for o in outs if o is not None], others))
            linear = [None if o is None else next(alone) for o in outs]
            found = _along_basis(linear, holder, results)
            columns.append([_last_axes(f, r, variable) for f, r in zip(found, results, strict=True)])
        return _jacobian(call, treedef, results, columns)

    return wrapped


def _last_axes(found: Node, result: Node, variable: Node) -> Node:
    """Move the basis from axis 0 to the end and give it the shape of the variable."""
    moved = P.transpose(found, permutation=(*range(1, found.ndim), 0))
    return P.reshape(moved, shape=(*result.shape, *variable.shape))


def _jacobian(call: _Call, treedef: tree.TreeDef, results: Sequence[Node], columns: Sequence[Sequence[Node]]) -> Any:
    _release([n for column in columns for n in column], call)
    leaves = []
    for k in range(len(results)):
        packed = tree.unflatten(call.treedef, [wrap(column[k]) for column in columns])
        leaves.append(packed[0] if call.single else packed)
    return tree.unflatten(treedef, leaves)


def jacrev(function: Function, argnums: int | Sequence[int] = 0) -> Function:
    """Return the Jacobian of a function, row by row in reverse mode (for more inputs than outputs).

    Args:
        function: takes and returns pytrees of tensors; a complex one must be holomorphic.
        argnums: which arguments to differentiate with respect to.

    Returns:
        A function with the result of that of `jacfwd`.

    Raises:
        GradientError: the function has no derivative in reverse mode.
        DTypeError: an argument is neither a float nor complex.

    Example:
        >>> plait.jacrev(lambda x: (x * x).sum())(plait.tensor([1.0, 2.0]))
        tensor([2., 4.])
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        call = _Call(function, args, kwargs, argnums, "jacrev")
        nodes, treedef = output_nodes(call.output, "jacrev")
        results, pull = pull_back(nodes, call.variables, TRACED)
        rows = []
        for k, result in enumerate(results):
            seed = placeholder(result.aval)
            cotangents: list[Node | None] = [None] * len(results)
            cotangents[k] = seed
            found = _along_basis(pull(cotangents), seed, call.nodes)
            rows.append([P.reshape(f, shape=(*result.shape, *n.shape)) for f, n in zip(found, call.nodes, strict=True)])
        return _jacobian(call, treedef, results, list(zip(*rows, strict=True)))

    return wrapped


def hessian(function: Function, argnums: int | Sequence[int] = 0) -> Function:
    """Return the matrix of second derivatives of a scalar function: `jacfwd(jacrev(function))`.

    Args:
        function: takes pytrees of tensors, returns a tensor of one element.
        argnums: which arguments to differentiate with respect to.

    Returns:
        A function of the same arguments; each leaf of its result has the shape of two arguments, one after the other.

    Raises:
        GradientError: the function has no derivative.
        DTypeError: an argument is neither a float nor complex.

    Example:
        >>> plait.hessian(lambda x: x[0] * x[1])(plait.tensor([1.0, 2.0]))
        tensor([[0., 1.],
                [1., 0.]])
    """
    return jacfwd(jacrev(function, argnums), argnums)

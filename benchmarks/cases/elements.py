"""Functions of 4 million numbers: rows, reductions, movement, indices, order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cases import Case, integers, numbers

ROWS, COLUMNS, COUNT = 2048, 2048, 2**22
Function = Callable[..., Any]


def case(
    name: str, torch: Function, jax: Function, inputs: Callable[[int, int], Any], traffic: float,
    tf: Function | bool = False, gradient: int | tuple[int, ...] | None = None, plait: Function | None = None,
    tolerance: float = 1e-5, rows: int = ROWS, columns: int = COLUMNS,
) -> Case:  # fmt: skip
    """Return a case of a function of tensors: its first argument is the library (`torch`, `jax.numpy`, `tf`).

    Args:
        inputs: returns arrays for so many rows and columns.
        traffic: bytes for each element.
        gradient: by which arguments the function is differentiated, with its value.
    """

    def step(kit: Any, library: Any, function: Function, rows: int, columns: int) -> Any:
        call = lambda *tensors: function(library, *tensors)  # noqa: E731
        return kit.call(
            call if gradient is None else kit.value_and_grad(call, gradient), *inputs(rows, columns)
        )  # fmt: skip

    own = (lambda kit, **s: step(kit, kit.lib, plait, **s)) if plait else None
    theirs = (lambda kit, **s: step(kit, kit.tf, tf, **s)) if callable(tf) else tf
    return Case(
        name, lambda kit, **s: step(kit, kit.lib, torch, **s), lambda kit, **s: step(kit, JaxNames(kit), jax, **s),
        {"rows": rows, "columns": columns}, {"rows": 8, "columns": 8}, plait=own, tf=theirs, flops=0,
        traffic=lambda rows, columns: traffic * rows * columns, tolerance=tolerance,
    )  # fmt: skip


class JaxNames:
    """`jax.numpy`, and `nn` and `lax` with it."""

    def __init__(self, kit: Any) -> None:
        self.np, self.nn, self.lax = kit.np, kit.jax.nn, kit.lax

    def __getattr__(self, name: str) -> Any:
        return getattr(self.np, name)


def matrix(rows: int, columns: int) -> list[np.ndarray]:
    return [numbers("matrix", rows, columns)]


def matrix_and_scale(rows: int, columns: int) -> list[np.ndarray]:
    return [numbers("matrix", rows, columns), numbers("scale", columns), numbers("shift", columns)]


def matrix_and_labels(rows: int, columns: int) -> list[np.ndarray]:
    return [numbers("matrix", rows, columns), integers("labels", columns, rows)]


def cube(rows: int, columns: int) -> list[np.ndarray]:
    return [numbers("cube", rows // 4, 4, columns // 4, 4)]


def vector(rows: int, columns: int) -> list[np.ndarray]:
    return [numbers("vector", rows * columns)]


def vector_and_places(rows: int, columns: int) -> list[np.ndarray]:
    count = rows * columns
    return [numbers("vector", count), integers("places", count, count)]


def matrix_and_rows(rows: int, columns: int) -> list[np.ndarray]:
    return [numbers("matrix", rows, columns), integers("rows", rows, rows)]


def jax_layer_norm(t: Any, x: Any, w: Any, b: Any) -> Any:
    mean = t.mean(x, -1, keepdims=True)
    return (x - mean) * t.lax.rsqrt(t.var(x, -1, keepdims=True) + 1e-5) * w + b


def tf_layer_norm(t: Any, x: Any, w: Any, b: Any) -> Any:
    mean, variance = t.nn.moments(x, [-1], keepdims=True)
    return t.nn.batch_normalization(x, mean, variance, b, w, 1e-5)


def torch_layer_norm(t: Any, x: Any, w: Any, b: Any) -> Any:
    return t.nn.functional.layer_norm(x, x.shape[-1:], w, b)


def square(function: Function) -> Function:
    """Return the mean square of a function, which has a gradient."""
    return lambda t, *x: t.square(function(t, *x)).mean()


def tf_square(function: Function) -> Function:
    return lambda t, *x: t.reduce_mean(t.square(function(t, *x)))


def torch_softmax(t: Any, x: Any) -> Any:
    return t.softmax(x, -1)


def torch_gelu(t: Any, x: Any) -> Any:
    return t.nn.functional.gelu(x)


def jax_gelu(t: Any, x: Any) -> Any:
    return t.nn.gelu(x, approximate=False)


def jax_cross_entropy(t: Any, x: Any, y: Any) -> Any:
    return -t.mean(t.take_along_axis(t.nn.log_softmax(x), y[:, None], 1))


REDUCTIONS = {  # PyTorch's and plait's name, JAX's, TensorFlow's
    "sum": ("sum", "sum", "reduce_sum"),
    "maximum": ("amax", "max", "reduce_max"),
    "argmax": ("argmax", "argmax", "argmax"),
    "logsumexp": ("logsumexp", None, "reduce_logsumexp"),
}


def reduction(name: str, axis: int | None) -> Case:
    ours, theirs, tf = REDUCTIONS[name]
    where = "all" if axis is None else f"axis {axis}"
    place = (0, 1) if axis is None and name in ("logsumexp", "maximum") else axis

    def jax(t: Any, x: Any) -> Any:
        return getattr(t, theirs)(x, axis) if theirs else t.nn.logsumexp(x, axis)

    def tensorflow(t: Any, x: Any) -> Any:
        if name == "argmax":
            return t.argmax(t.reshape(x, [-1]) if axis is None else x, axis or 0)
        return getattr(t, tf)(x, axis)

    def torch(t: Any, x: Any) -> Any:
        return getattr(t, ours)(x) if place is None else getattr(t, ours)(x, place)

    return case(f"{name} of 4M, {where}", torch, jax, matrix, 4, tf=tensorflow, tolerance=1e-4)


CASES = [
    case("softmax of 4M", torch_softmax, lambda t, x: t.nn.softmax(x), matrix, 8, tf=lambda t, x: t.nn.softmax(x)),
    case("softmax of 4M, with gradient", square(torch_softmax), square(lambda t, x: t.nn.softmax(x)), matrix, 8,
         tf=tf_square(lambda t, x: t.nn.softmax(x)), gradient=0, tolerance=1e-4),
    case("layer norm of 4M", torch_layer_norm, jax_layer_norm, matrix_and_scale, 8, tf=tf_layer_norm),
    case("layer norm of 4M, with gradient", square(torch_layer_norm), square(jax_layer_norm), matrix_and_scale, 8,
         tf=tf_square(tf_layer_norm), gradient=(0, 1, 2), tolerance=1e-4),
    case("GELU of 4M", torch_gelu, jax_gelu, matrix, 8, tf=lambda t, x: t.nn.gelu(x, approximate=False)),
    case("GELU of 4M, with gradient", square(torch_gelu), square(jax_gelu), matrix, 8,
         tf=tf_square(lambda t, x: t.nn.gelu(x, approximate=False)), gradient=0, tolerance=1e-4),
    case("cross-entropy of 4M, with gradient", lambda t, x, y: t.nn.functional.cross_entropy(x, y), jax_cross_entropy,
         matrix_and_labels, 8, tf=lambda t, x, y: t.reduce_mean(
             t.nn.sparse_softmax_cross_entropy_with_logits(y, x)), gradient=0, tolerance=1e-4),
    *[reduction(name, axis) for name in REDUCTIONS for axis in (0, 1, None)],
    case("transposed copy of 2048 x 2048", lambda t, x: x.t().contiguous(), lambda t, x: t.transpose(x) + 0.0,
         matrix, 8, tf=lambda t, x: t.transpose(x), plait=lambda t, x: x.T + 0.0),
    case("axes 0, 2, 1, 3 of 512 x 4 x 512 x 4", lambda t, x: x.permute(0, 2, 1, 3).contiguous(),
         lambda t, x: t.transpose(x, (0, 2, 1, 3)) + 0.0, cube, 8, tf=lambda t, x: t.transpose(x, (0, 2, 1, 3)),
         plait=lambda t, x: x.permute(0, 2, 1, 3) + 0.0),
    case("axes 3, 1, 2, 0 of 512 x 4 x 512 x 4", lambda t, x: x.permute(3, 1, 2, 0).contiguous(),
         lambda t, x: t.transpose(x, (3, 1, 2, 0)) + 0.0, cube, 8, tf=lambda t, x: t.transpose(x, (3, 1, 2, 0)),
         plait=lambda t, x: x.permute(3, 1, 2, 0) + 0.0),
    case("gather of 4M numbers", lambda t, x, i: x[i], lambda t, x, i: x[i], vector_and_places, 16,
         tf=lambda t, x, i: t.gather(x, i)),
    case("gather of rows of 2048 numbers", lambda t, x, i: x.index_select(0, i), lambda t, x, i: x[i], matrix_and_rows,
         8, tf=lambda t, x, i: t.gather(x, i)),
    case("scatter-add of 4M numbers", lambda t, x, i: t.zeros_like(x).index_add(0, i, x),
         lambda t, x, i: t.zeros_like(x).at[i].add(x), vector_and_places, 16,
         tf=lambda t, x, i: t.math.unsorted_segment_sum(x, i, x.shape[0]), tolerance=1e-4),
    case("scatter-add of rows of 2048 numbers", lambda t, x, i: t.zeros_like(x).index_add(0, i, x),
         lambda t, x, i: t.zeros_like(x).at[i].add(x), matrix_and_rows, 8,
         tf=lambda t, x, i: t.math.unsorted_segment_sum(x, i, x.shape[0]), tolerance=1e-4),
    case("sort of 4M", lambda t, x: t.sort(x)[0], lambda t, x: t.sort(x), vector, 8, tf=lambda t, x: t.sort(x),
         plait=lambda t, x: t.sort(x)),
    case("sort of 2048 rows of 2048", lambda t, x: t.sort(x)[0], lambda t, x: t.sort(x), matrix, 8,
         tf=lambda t, x: t.sort(x), plait=lambda t, x: t.sort(x)),
    case("cumulative sum of 4M", lambda t, x: t.cumsum(x, 0), lambda t, x: t.cumsum(x), vector, 8,
         tf=lambda t, x: t.cumsum(x), tolerance=1e-3),
    case("cumulative sum of 4M, axis 0", lambda t, x: t.cumsum(x, 0), lambda t, x: t.cumsum(x, 0), matrix, 8,
         tf=lambda t, x: t.cumsum(x, 0), tolerance=1e-4),
    case("cumulative sum of 4M, axis 1", lambda t, x: t.cumsum(x, 1), lambda t, x: t.cumsum(x, 1), matrix, 8,
         tf=lambda t, x: t.cumsum(x, 1), tolerance=1e-4),
]  # fmt: skip

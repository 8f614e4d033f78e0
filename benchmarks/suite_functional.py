"""Kits of `suite.py` for JAX and TensorFlow: layers as functions of named parameters, images as [N, H, W, C].

`Counting` is a third one that computes nothing and counts the work of products and convolutions.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from cases import weight

Step = Callable[[], Any]


class Parameters:
    """Parameters and buffers by PyTorch's names; they are made when they are first asked for."""

    def __init__(self, kit: Any, values: dict[str, Any] | None = None) -> None:
        self.kit, self.known, self.values = kit, values, dict(values or {})
        self.updates: dict[str, Any] = {}

    def __call__(self, name: str, *shape: int, kind: str = "plain") -> Any:
        """Return a parameter; its shape is PyTorch's, its `kind` says how its axes are ordered here."""
        if self.known is None and name not in self.values:
            self.values[name] = np.ascontiguousarray(self.kit.arranged(weight(name, shape), kind))
        return self.values[name]


def is_buffer(name: str) -> bool:
    return name.rpartition(".")[2].startswith("running_")


class Layers:
    """Layers that all of these frameworks build from the same few functions."""

    def arranged(self, array: np.ndarray, kind: str) -> np.ndarray:
        if kind == "linear":
            return array.T
        if kind == "conv":
            return array.transpose(2, 3, 1, 0)
        if kind == "depthwise":
            return self.arranged_depthwise(array)
        if kind == "transposed":
            return self.arranged_transposed(array)
        return array

    def linear(self, p: Parameters, name: str, x: Any, outputs: int, bias: bool = True) -> Any:
        y = self.dense(x, p(f"{name}.weight", outputs, x.shape[-1], kind="linear"))
        return y + p(f"{name}.bias", outputs) if bias else y

    def conv(
        self, p: Parameters, name: str, x: Any, outputs: int, size: int, stride: int = 1, bias: bool = False
    ) -> Any:
        w = p(f"{name}.weight", outputs, x.shape[-1], size, size, kind="conv")
        y = self.convolution(x, w, stride, (size - 1) // 2)
        return y + p(f"{name}.bias", outputs) if bias else y

    def layer_norm(self, p: Parameters, name: str, x: Any) -> Any:
        mean = self.mean(x, -1)
        centred = x - mean
        scale = self.rsqrt(self.mean(centred * centred, -1) + 1e-5)
        return centred * scale * p(f"{name}.weight", x.shape[-1]) + p(f"{name}.bias", x.shape[-1])

    def head(self, p: Parameters, name: str, x: Any, outputs: int) -> Any:
        """Mean over the image, and a linear layer."""
        return self.linear(p, name, self.pooled(x), outputs)

    def norm_parameters(self, p: Parameters, name: str, channels: int) -> list[Any]:
        return [p(f"{name}.{part}", channels) for part in ("weight", "bias", "running_mean", "running_var")]


class Jax(Layers):
    """`jax.jit`, with donated state."""

    family = "jax"

    def __init__(self) -> None:
        self.jax = self.lib = importlib.import_module("jax")
        self.jax.config.update("jax_enable_x64", False)
        self.np, self.lax = importlib.import_module("jax.numpy"), importlib.import_module("jax.lax")
        self.relu, self.tanh, self.sigmoid = self.jax.nn.relu, self.np.tanh, self.jax.nn.sigmoid
        self.rsqrt, self.reshape, self.grad, self.jvp = self.lax.rsqrt, self.np.reshape, self.jax.grad, self.jax.jvp
        self.log, self.exp, self.erf, self.sqrt, self.roll = (
            self.np.log,
            self.np.exp,
            self.lax.erf,
            self.np.sqrt,
            self.np.roll,
        )

    def array(self, a: np.ndarray, dtype: str | None = None) -> Any:
        tensor = self.np.asarray(a.astype(np.int32) if a.dtype == np.int64 else a)
        return tensor.astype(dtype) if dtype else tensor

    def compile(self, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        return self.jax.jit(function, **options)

    def call(self, function: Callable[..., Any], *arrays: Any) -> Step:
        tensors = [self.array(a) if isinstance(a, np.ndarray) else a for a in arrays]
        function = self.compile(function)
        return lambda: function(*tensors)

    def collect(self, model: Callable[..., Any], inputs: list[Any]) -> dict[str, Any]:
        found = Parameters(self)
        self.jax.eval_shape(lambda *x: model(self, found, *x), *inputs)
        return {n: self.array(a) for n, a in found.values.items()}

    def infer(self, model: Callable[..., Any], *arrays: np.ndarray) -> Step:
        """Return the call of `model(kit, parameters, *inputs)`."""
        inputs = [self.array(a) for a in arrays]
        values = self.collect(model, inputs)
        forward = self.compile(lambda values, *x: model(self, Parameters(self, values), *x))
        return lambda: forward(values, *inputs)

    def train(
        self, loss_of: Callable[..., Any], optimizer: str, *arrays: np.ndarray, lr: float, **options: float
    ) -> Step:
        """Return a training step of `loss_of(kit, parameters, *inputs)`."""
        jax, inputs = self.jax, [self.array(a) for a in arrays]
        values = self.collect(loss_of, inputs)
        buffers = {n: values.pop(n) for n in list(values) if is_buffer(n)}
        zeros = {n: self.np.zeros_like(x) for n, x in values.items()}

        def loss_and_updates(values: Any, buffers: Any, inputs: Any) -> Any:
            p = Parameters(self, {**values, **buffers})
            return loss_of(self, p, *inputs), {**buffers, **p.updates}

        def step(state: Any, inputs: Any) -> Any:
            values, buffers, first, second, count = state
            (loss, buffers), gradients = jax.value_and_grad(loss_and_updates, has_aux=True)(values, buffers, inputs)
            if optimizer == "SGD":
                first = jax.tree.map(lambda m, g: options["momentum"] * m + g, first, gradients)
                values = jax.tree.map(lambda v, m: v - lr * m, values, first)
                return (values, buffers, first, second, count), loss
            count = count + 1
            decay = options.get("weight_decay", 0.0)
            first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
            second = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, second, gradients)
            rate, scale = lr / (1 - 0.9**count), self.lax.rsqrt(1 - 0.999**count)
            values = jax.tree.map(
                lambda v, m, s: v * (1 - lr * decay) - rate * m / (self.np.sqrt(s) * scale + 1e-8),
                values, first, second,
            )  # fmt: skip
            return (values, buffers, first, second, count), loss

        compiled = jax.jit(step, donate_argnums=0)
        second = jax.tree.map(self.np.copy, zeros) if optimizer != "SGD" else None
        state = [(values, buffers, zeros, second, self.np.float32(0))]

        def once() -> Any:
            state[0], loss = compiled(state[0], inputs)
            return loss

        return once

    def arranged_depthwise(self, array: np.ndarray) -> np.ndarray:
        return array.transpose(2, 3, 1, 0)

    def arranged_transposed(self, array: np.ndarray) -> np.ndarray:
        return array.transpose(2, 3, 0, 1)[::-1, ::-1]

    def dense(self, x: Any, w: Any) -> Any:
        return x @ w

    def convolution(self, x: Any, w: Any, stride: int, padding: int, groups: int = 1) -> Any:
        return self.lax.conv_general_dilated(
            x, w, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )  # fmt: skip

    def depthwise(self, x: Any, w: Any, stride: int) -> Any:
        return self.convolution(x, w, stride, (w.shape[0] - 1) // 2, x.shape[-1])

    def conv_transposed(self, x: Any, w: Any, stride: int) -> Any:
        return self.lax.conv_transpose(
            x, w, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )  # fmt: skip

    def batch_norm(self, p: Parameters, name: str, x: Any, training: bool) -> Any:
        w, b, mean, variance = self.norm_parameters(p, name, x.shape[-1])
        if training:
            count = x.size // x.shape[-1]
            fresh = self.np.mean(x, (0, 1, 2))
            spread = self.np.mean(self.np.square(x - fresh), (0, 1, 2))
            p.updates[f"{name}.running_mean"] = 0.9 * mean + 0.1 * fresh
            p.updates[f"{name}.running_var"] = 0.9 * variance + 0.1 * spread * (count / (count - 1))
            mean, variance = fresh, spread
        return (x - mean) * (w * self.lax.rsqrt(variance + 1e-5)) + b

    def max_pool(self, x: Any, size: int, stride: int, padding: int = 0) -> Any:
        pads = ((0, 0), (padding, padding), (padding, padding), (0, 0))
        return self.lax.reduce_window(x, -math.inf, self.lax.max, (1, size, size, 1), (1, stride, stride, 1), pads)

    def pooled(self, x: Any) -> Any:
        return self.np.mean(x, (1, 2))

    def mean(self, x: Any, axis: int) -> Any:
        return self.np.mean(x, axis, keepdims=True)

    def average(self, x: Any) -> Any:
        return self.np.mean(x)

    def channels_first(self, x: Any) -> Any:
        return self.np.transpose(x, (0, 3, 1, 2))

    def time_first(self, x: Any) -> Any:
        return self.np.swapaxes(x, 0, 1)

    def gelu(self, x: Any) -> Any:
        return self.jax.nn.gelu(x, approximate=False)

    def attention(self, q: Any, k: Any, v: Any, causal: bool = False) -> Any:
        """Attention of [N, L, heads, size]."""
        return self.jax.nn.dot_product_attention(q, k, v, is_causal=causal)

    def cross_entropy(self, logits: Any, labels: Any) -> Any:
        chosen = self.np.take_along_axis(self.jax.nn.log_softmax(logits), labels[..., None], -1)
        return -self.np.mean(chosen)

    def embedding(self, table: Any, rows: Any) -> Any:
        return self.np.asarray(table)[rows]

    def concatenate(self, parts: Any, axis: int) -> Any:
        return self.np.concatenate(parts, axis)

    def split(self, x: Any, count: int, axis: int) -> Any:
        return self.np.split(x, count, axis)

    def scan(self, body: Callable[..., Any], carry: Any, xs: Any) -> Any:
        """Return the last carry of a loop over the first axis."""
        return self.lax.scan(lambda c, x: (body(c, x), None), carry, xs)[0]

    def loop(self, count: int, body: Callable[[Any], Any], carry: Any) -> Any:
        return self.lax.fori_loop(0, count, lambda k, c: body(c), carry)

    def zeros(self, *shape: int) -> Any:
        return self.np.zeros(shape, self.np.float32)

    def value_and_grad(self, function: Any, argnums: Any) -> Any:
        return self.jax.value_and_grad(function, argnums)

    def vmap(self, function: Any, in_axes: Any) -> Any:
        return self.jax.vmap(function, in_axes)

    def wait(self, result: Any) -> None:
        self.jax.block_until_ready(result)

    def numpy(self, tensor: Any) -> np.ndarray:
        return np.asarray(tensor.astype("float32") if tensor.dtype == "bfloat16" else tensor)


class TensorFlow(Layers):
    """`tf.function`, with XLA or without, and the optimizers' own kernels."""

    family = "tf"

    def __init__(self, xla: bool, threads: int) -> None:
        self.tf = self.lib = importlib.import_module("tensorflow")
        self.xla = xla
        self.tf.config.threading.set_intra_op_parallelism_threads(threads)
        self.tf.config.threading.set_inter_op_parallelism_threads(threads)
        tf = self.tf
        self.relu, self.tanh, self.sigmoid, self.rsqrt = tf.nn.relu, tf.tanh, tf.sigmoid, tf.math.rsqrt
        self.reshape, self.log, self.exp, self.erf, self.sqrt = tf.reshape, tf.math.log, tf.exp, tf.math.erf, tf.sqrt
        self.roll = tf.roll

    def array(self, a: np.ndarray, dtype: str | None = None) -> Any:
        tensor = self.tf.constant(a.astype(np.int32) if a.dtype == np.int64 else a)
        return self.tf.cast(tensor, dtype) if dtype else tensor

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return self.tf.function(function, jit_compile=self.xla, autograph=False)

    def call(self, function: Callable[..., Any], *arrays: Any) -> Step:
        tensors = [self.array(a) if isinstance(a, np.ndarray) else a for a in arrays]
        function = self.compile(function)
        return lambda: function(*tensors)

    def collect(self, model: Callable[..., Any], inputs: list[Any]) -> dict[str, Any]:
        found = Parameters(self)
        self.tf.function(lambda *x: model(self, found, *x), autograph=False).get_concrete_function(*inputs)
        return found.values

    def infer(self, model: Callable[..., Any], *arrays: np.ndarray) -> Step:
        inputs = [self.array(a) for a in arrays]
        values = {n: self.array(a) for n, a in self.collect(model, inputs).items()}
        forward = self.compile(lambda *x: model(self, Parameters(self, values), *x))  # so they are constants
        return lambda: forward(*inputs)

    def train(
        self, loss_of: Callable[..., Any], optimizer: str, *arrays: np.ndarray, lr: float, **options: float
    ) -> Step:
        tf, raw, inputs = self.tf, self.tf.raw_ops, [self.array(a) for a in arrays]
        variables = {n: tf.Variable(a) for n, a in self.collect(loss_of, inputs).items()}
        trained = [v for n, v in variables.items() if not is_buffer(n)]
        slots = [[tf.Variable(tf.zeros_like(v)) for v in trained] for _ in range(1 if optimizer == "SGD" else 2)]
        count = tf.Variable(0.0)

        def step(*inputs: Any) -> Any:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(trained)
                p = Parameters(self, variables)
                loss = loss_of(self, p, *inputs)
            gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, trained)]
            for name, value in p.updates.items():
                variables[name].assign(value)
            if optimizer == "SGD":
                for v, m, g in zip(trained, slots[0], gradients, strict=True):
                    raw.ResourceApplyMomentum(
                        var=v.handle, accum=m.handle, lr=lr, grad=g, momentum=options["momentum"]
                    )  # fmt: skip
                return loss
            n = count.assign_add(1.0)
            first, second = 0.9**n, 0.999**n
            for v, m, s, g in zip(trained, *slots, gradients, strict=True):
                if decay := options.get("weight_decay"):
                    v.assign(v * (1 - lr * decay))
                raw.ResourceApplyAdam(  # its epsilon stands before the correction of the bias
                    var=v.handle, m=m.handle, v=s.handle, beta1_power=first, beta2_power=second, lr=lr, beta1=0.9,
                    beta2=0.999, epsilon=1e-8 * tf.sqrt(1 - second), grad=g,
                )  # fmt: skip
            return loss

        compiled = self.compile(step)
        return lambda: compiled(*inputs)

    def arranged_depthwise(self, array: np.ndarray) -> np.ndarray:
        return array.transpose(2, 3, 0, 1)

    def arranged_transposed(self, array: np.ndarray) -> np.ndarray:
        return array.transpose(2, 3, 1, 0)

    def dense(self, x: Any, w: Any) -> Any:
        return self.tf.linalg.matmul(x, w) if len(x.shape) == 2 else self.tf.tensordot(x, w, 1)

    def convolution(self, x: Any, w: Any, stride: int, padding: int, groups: int = 1) -> Any:
        pads = [[0, 0], [padding, padding], [padding, padding], [0, 0]]
        return self.tf.nn.conv2d(x, w, stride, pads)

    def depthwise(self, x: Any, w: Any, stride: int) -> Any:
        pad = (w.shape[0] - 1) // 2
        if pad and stride > 1:
            x = self.tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        return self.tf.nn.depthwise_conv2d(x, w, [1, stride, stride, 1], "SAME" if stride == 1 else "VALID")

    def conv_transposed(self, x: Any, w: Any, stride: int) -> Any:
        n, h, k, _ = x.shape
        shape = (n, h * stride, k * stride, w.shape[2])
        return self.tf.nn.conv2d_transpose(x, w, shape, stride, "VALID")

    def batch_norm(self, p: Parameters, name: str, x: Any, training: bool) -> Any:
        w, b, mean, variance = self.norm_parameters(p, name, x.shape[-1])
        if not training:
            return self.tf.nn.batch_normalization(x, mean, variance, b, w, 1e-5)
        y, mean, variance = self.tf.compat.v1.nn.fused_batch_norm(
            x, w, b, mean, variance, epsilon=1e-5, is_training=True, exponential_avg_factor=0.1
        )
        p.updates |= {f"{name}.running_mean": mean, f"{name}.running_var": variance}
        return y

    def max_pool(self, x: Any, size: int, stride: int, padding: int = 0) -> Any:
        if padding:  # XLA takes no explicit padding here
            pads = [[0, 0], [padding, padding], [padding, padding], [0, 0]]
            x = self.tf.pad(x, pads, constant_values=-math.inf)
        return self.tf.nn.max_pool2d(x, size, stride, "VALID")

    def pooled(self, x: Any) -> Any:
        return self.tf.reduce_mean(x, (1, 2))

    def mean(self, x: Any, axis: int) -> Any:
        return self.tf.reduce_mean(x, axis, keepdims=True)

    def average(self, x: Any) -> Any:
        return self.tf.reduce_mean(x)

    def channels_first(self, x: Any) -> Any:
        return self.tf.transpose(x, (0, 3, 1, 2))

    def time_first(self, x: Any) -> Any:
        return self.tf.transpose(x, (1, 0, 2))

    def gelu(self, x: Any) -> Any:
        return self.tf.nn.gelu(x, approximate=False)

    def attention(self, q: Any, k: Any, v: Any, causal: bool = False) -> Any:
        tf = self.tf
        q, k, v = (tf.transpose(x, (0, 2, 1, 3)) for x in (q, k, v))
        scores = tf.matmul(q, k, transpose_b=True) * (1 / math.sqrt(q.shape[-1]))
        if causal:
            seen = np.tril(np.ones((q.shape[2], k.shape[2]), bool))
            scores = tf.where(seen, scores, np.float32(-np.inf))
        return tf.transpose(tf.matmul(tf.nn.softmax(scores), v), (0, 2, 1, 3))

    def cross_entropy(self, logits: Any, labels: Any) -> Any:
        return self.tf.reduce_mean(self.tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))

    def embedding(self, table: Any, rows: Any) -> Any:
        return self.tf.gather(table, rows)

    def concatenate(self, parts: Any, axis: int) -> Any:
        return self.tf.concat(parts, axis)

    def split(self, x: Any, count: int, axis: int) -> Any:
        return self.tf.split(x, count, axis)

    def scan(self, body: Callable[..., Any], carry: Any, xs: Any) -> Any:
        count = xs.shape[0]
        condition = lambda k, c: k < count  # noqa: E731
        step = lambda k, c: (k + 1, body(c, xs[k]))  # noqa: E731
        return self.tf.while_loop(condition, step, (0, carry), maximum_iterations=count)[1]

    def loop(self, count: int, body: Callable[[Any], Any], carry: Any) -> Any:
        return self.tf.while_loop(
            lambda k, c: k < count, lambda k, c: (k + 1, body(c)), (0, carry), maximum_iterations=count
        )[1]

    def zeros(self, *shape: int) -> Any:
        return self.tf.zeros(shape)

    def value_and_grad(self, function: Any, argnums: Any) -> Any:
        every = (argnums,) if isinstance(argnums, int) else argnums

        def both(*tensors: Any) -> Any:
            with self.tf.GradientTape() as tape:
                tape.watch([tensors[k] for k in every])
                value = function(*tensors)
            found = [self.tf.convert_to_tensor(g) for g in tape.gradient(value, [tensors[k] for k in every])]
            return value, found[0] if isinstance(argnums, int) else found

        return both

    def wait(self, result: Any) -> None:
        pass

    def numpy(self, tensor: Any) -> np.ndarray:
        return self.tf.cast(tensor, "float32").numpy() if tensor.dtype == "bfloat16" else tensor.numpy()


class Counting(Layers):
    """Counts FLOPs of products and convolutions and the bytes of parameters; results are zeros that take no memory."""

    family = "jax"

    def __init__(self) -> None:
        self.flops = self.first = self.traffic = 0.0
        for name in ("relu", "tanh", "sigmoid", "gelu", "rsqrt", "sqrt", "exp", "log", "erf"):
            setattr(self, name, lambda x: x)

    def array(self, a: np.ndarray, dtype: str | None = None) -> Any:
        return a

    def compile(self, function: Any, **options: Any) -> Any:
        return function

    def infer(self, model: Callable[..., Any], *arrays: np.ndarray) -> Step:
        return lambda: self._forward(model, arrays, 0)

    def train(self, loss_of: Callable[..., Any], optimizer: str, *arrays: np.ndarray, **options: Any) -> Step:
        # read and write parameters and moments, write and read gradients; parameters are read once more for backward
        moves = 7 if optimizer == "SGD" else 9
        return lambda: self._forward(loss_of, arrays, moves)

    def _forward(self, model: Callable[..., Any], arrays: Any, moves: int) -> Any:
        p = Parameters(self)
        result = model(self, p, *arrays)
        size = 4 * sum(a.size for n, a in p.values.items() if not is_buffer(n))
        self.traffic += size * max(moves, 1) + sum(a.nbytes for a in arrays)
        if moves:  # the gradient of each product takes two of its kind, except that of the inputs of the first
            self.flops = 3 * self.flops - self.first
        return result

    def _product(self, shape: tuple[int, ...], inner: int) -> Any:
        work = 2.0 * math.prod(shape) * inner
        self.first = self.first or work
        self.flops += work
        return self.zeros(*shape)

    def arranged(self, array: np.ndarray, kind: str) -> np.ndarray:
        return array

    def dense(self, x: Any, w: Any) -> Any:
        return self._product((*x.shape[:-1], w.shape[0]), x.shape[-1])

    def convolution(self, x: Any, w: Any, stride: int, padding: int, groups: int = 1) -> Any:
        n, *image, _ = x.shape
        outputs, inner, *window = w.shape
        image = [(s + 2 * padding - k) // stride + 1 for s, k in zip(image, window, strict=True)]
        return self._product((n, *image, outputs), inner * math.prod(window))

    def depthwise(self, x: Any, w: Any, stride: int) -> Any:
        return self.convolution(x, w, stride, (w.shape[-1] - 1) // 2)

    def conv_transposed(self, x: Any, w: Any, stride: int) -> Any:
        n, h, k, inner = x.shape
        self._product((n, h, k, w.shape[1] * w.shape[2] * w.shape[3]), inner)
        return self.zeros(n, h * stride, k * stride, w.shape[1])

    def batch_norm(self, p: Parameters, name: str, x: Any, training: bool) -> Any:
        self.norm_parameters(p, name, x.shape[-1])
        return x

    def layer_norm(self, p: Parameters, name: str, x: Any) -> Any:
        p(f"{name}.weight", x.shape[-1])
        p(f"{name}.bias", x.shape[-1])
        return x

    def max_pool(self, x: Any, size: int, stride: int, padding: int = 0) -> Any:
        n, h, w, c = x.shape
        return self.zeros(n, (h + 2 * padding - size) // stride + 1, (w + 2 * padding - size) // stride + 1, c)

    def pooled(self, x: Any) -> Any:
        return self.zeros(x.shape[0], x.shape[-1])

    def attention(self, q: Any, k: Any, v: Any, causal: bool = False) -> Any:
        n, length, heads, size = q.shape
        # half of the products are of places that are not seen
        self._product((n, heads, length, k.shape[1]), 2 * size // (2 if causal else 1))
        return q

    def average(self, x: Any) -> Any:
        return np.float32(0)

    def channels_first(self, x: Any) -> Any:
        return x

    def time_first(self, x: Any) -> Any:
        return np.swapaxes(x, 0, 1)

    def cross_entropy(self, logits: Any, labels: Any) -> Any:
        return np.float32(0)

    def embedding(self, table: Any, rows: Any) -> Any:
        return self.zeros(*rows.shape, table.shape[1])

    def reshape(self, x: Any, shape: Any) -> Any:
        return self.zeros(*np.broadcast_to(np.float32(0), x.shape).reshape(shape).shape)

    def concatenate(self, parts: Any, axis: int) -> Any:
        return np.concatenate(parts, axis)

    def split(self, x: Any, count: int, axis: int) -> Any:
        return np.split(x, count, axis)

    def scan(self, body: Callable[..., Any], carry: Any, xs: Any) -> Any:
        for k in range(len(xs)):
            carry = body(carry, xs[k])
        return carry

    def zeros(self, *shape: int) -> Any:
        return np.broadcast_to(np.float32(0), shape)

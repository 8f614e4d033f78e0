"""Derivatives beside those of training steps: gradients of each example, Hessian-vector products."""

from __future__ import annotations

from typing import Any

from cases import Case, integers, numbers, weight

Sizes = tuple[int, ...]


def parameters(kit: Any, widths: Sizes) -> list[Any]:
    """Return weights [inputs, outputs] and biases in turn."""
    found = []
    for k, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False)):
        found += [weight(f"{k}.weight", (outputs, inputs)).T.copy(), weight(f"{k}.bias", (outputs,))]
    return [kit.array(a) for a in found]


def network(tanh: Any, w: Any, x: Any) -> Any:
    for k in range(0, len(w), 2):
        x = x @ w[k] + w[k + 1]
        if k + 2 < len(w):
            x = tanh(x)
    return x


def torch_examples(kit: Any, widths: Sizes, batch: int) -> Any:
    def loss(w: Any, x: Any, y: Any) -> Any:
        return kit.functional.cross_entropy(network(kit.lib.tanh, w, x), y)

    gradient = kit.vmap(kit.grad(loss), (None, 0, 0))
    return kit.call(gradient, parameters(kit, widths), numbers("x", batch, widths[0]), integers("y", widths[-1], batch))


def jax_examples(kit: Any, widths: Sizes, batch: int) -> Any:
    def loss(w: Any, x: Any, y: Any) -> Any:
        return kit.cross_entropy(network(kit.tanh, w, x), y)

    gradient = kit.vmap(kit.grad(loss), (None, 0, 0))
    return kit.call(gradient, parameters(kit, widths), numbers("x", batch, widths[0]), integers("y", widths[-1], batch))


def work(widths: Sizes, batch: int) -> tuple[float, float]:
    """Return FLOPs and bytes of gradients of each example: forward, gradients of activations, outer products."""
    pairs = list(zip(widths, widths[1:], strict=False))
    products = sum(2.0 * batch * a * b for a, b in pairs)
    return 2.5 * products, 4.0 * batch * sum(a * b + b for a, b in pairs)


def vector_product(kit: Any, tanh: Any, widths: Sizes, batch: int) -> Any:
    w = parameters(kit, widths)
    v = [kit.array(numbers(f"direction {k}", *x.shape)) for k, x in enumerate(w)]

    def product(w: Any, v: Any, x: Any, y: Any) -> Any:
        loss = lambda w: ((network(tanh, w, x) - y) ** 2).mean()  # noqa: E731
        return kit.jvp(kit.grad(loss), (w,), (v,))[1]

    return kit.call(product, w, v, numbers("x", batch, widths[0]), numbers("y", batch, widths[-1]))


def torch_hessian(kit: Any, widths: Sizes, batch: int) -> Any:
    return vector_product(kit, kit.lib.tanh, widths, batch)


def jax_hessian(kit: Any, widths: Sizes, batch: int) -> Any:
    return vector_product(kit, kit.tanh, widths, batch)


def tf_hessian(kit: Any, widths: Sizes, batch: int) -> Any:
    """Forward over reverse, as TensorFlow's guide does it."""
    tf, w = kit.tf, parameters(kit, widths)
    v = [kit.array(numbers(f"direction {k}", *x.shape)) for k, x in enumerate(w)]

    def product(w: Any, v: Any, x: Any, y: Any) -> Any:
        with tf.autodiff.ForwardAccumulator(w, v) as accumulator:
            with tf.GradientTape() as tape:
                tape.watch(w)
                loss = tf.reduce_mean((network(tf.tanh, w, x) - y) ** 2)
            gradient = tape.gradient(loss, w)
        return accumulator.jvp(gradient)

    return kit.call(product, w, v, numbers("x", batch, widths[0]), numbers("y", batch, widths[-1]))


CASES = [
    Case("gradients of each example, 256 x MLP 64-128-10", torch_examples, jax_examples,
         {"widths": (64, 128, 10), "batch": 256}, {"widths": (4, 8, 3), "batch": 4}, tf=False,  # it has no such vmap
         flops=lambda **s: work(**s)[0], traffic=lambda **s: work(**s)[1]),
    Case("Hessian-vector product, MLP 128-512-512-10, batch 128", torch_hessian, jax_hessian,
         {"widths": (128, 512, 512, 10), "batch": 128}, {"widths": (4, 8, 3), "batch": 4}, tf=tf_hessian,
         flops=lambda widths, batch: 10.0 * batch * sum(a * b for a, b in zip(widths, widths[1:], strict=False)) * 1.0,
         traffic=lambda widths, batch: 12.0 * sum(a * b for a, b in zip(widths, widths[1:], strict=False)),
         tolerance=1e-3),
]  # fmt: skip

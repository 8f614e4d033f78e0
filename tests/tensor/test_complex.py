"""Gradients of complex tensors: PyTorch's convention, dL/dRe + i dL/dIm, in every way to ask for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import plait
from plait.core.errors import GradientError

RANDOM = np.random.default_rng(0)
Z = RANDOM.normal(size=(3, 3)) + 1j * RANDOM.normal(size=(3, 3))
W = RANDOM.normal(size=(3, 3)) + 1j * RANDOM.normal(size=(3, 3))

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "square": lambda z: z * z, "quotient": lambda z: W / z, "power": lambda z: z**z, "cube": lambda z: z**3,
    "exp": plait.exp, "log": plait.log, "sqrt": plait.sqrt, "tanh": plait.tanh, "conj": lambda z: z.conj() * z * z,
    "parts": lambda z: z.real * z.imag + 1j * z.imag, "abs": plait.abs, "sign": plait.sign,
    "matmul": lambda z: z @ plait.tensor(W), "einsum": lambda z: plait.einsum("ij,kj->ik", z, z.conj()),
    "prod": lambda z: z.prod(0), "cumprod": lambda z: plait.cumprod(z, 1), "cumsum": lambda z: plait.cumsum(z, 0),
    "where": lambda z: plait.where(z.real > 0, z, z * z), "gather": lambda z: z[[0, 2, 0]] * z,
    "fft": lambda z: plait.fft.fft2(z), "irfft": lambda z: plait.fft.irfft(z, 4), "var": lambda z: z.var(0),
    "scan": lambda z: plait.scan(lambda c, x: (c * x, c + x), z[0], z)[1],
    "checkpoint": plait.checkpoint(lambda z: plait.sin(z) * z),
    "cond": lambda z: plait.cond(z.real.sum() > -1e9, lambda z: z * z, lambda z: z, z),
}  # fmt: skip


def numeric(loss: Callable[[Any], Any], z: Any) -> Any:
    """The derivative by the real part of each element, plus i times that by its imaginary part."""
    step, result = 1e-6, np.zeros_like(z)
    for index in np.ndindex(z.shape):
        for direction in (1, 1j):
            shift = np.zeros_like(z)
            shift[index] = step * direction
            change = loss(plait.tensor(z + shift)).item() - loss(plait.tensor(z - shift)).item()
            result[index] += direction * change / (2 * step)
    return result


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradient(name: str) -> None:
    def loss(z: Any) -> Any:
        y = FUNCTIONS[name](z)
        weights = RANDOM_WEIGHTS[: y.numel()].reshape(y.shape)
        return (y * weights).sum().real if y.dtype.is_complex else (y * weights.real).sum()

    want = numeric(plait.jit(loss), Z)
    z = plait.tensor(Z, requires_grad=True)
    loss(z).backward()
    assert np.allclose(z.grad, want, 1e-6, 1e-6)
    assert np.allclose(plait.grad(loss)(plait.tensor(Z)), want, 1e-6, 1e-6)
    assert np.allclose(plait.vjp(loss, plait.tensor(Z))[1](plait.tensor(1.0, dtype=plait.float64))[0], want, 1e-6, 1e-6)


RANDOM_WEIGHTS = plait.tensor(RANDOM.normal(size=64) + 1j * RANDOM.normal(size=64))


def test_descent() -> None:
    """A step against the gradient makes the loss smaller: what the convention is for."""
    target = plait.tensor(W)
    loss = lambda z: ((z - target).abs() ** 2).sum()  # noqa: E731
    z = plait.tensor(Z)
    moved = z - 0.5 * plait.grad(loss)(z)
    assert np.allclose(moved, W)


def test_vjp_is_the_adjoint() -> None:
    f = lambda z: plait.exp(z) * z.conj()  # noqa: E731
    z, v, w = plait.tensor(Z), plait.tensor(W), plait.tensor(Z.T * 1j)
    slope = plait.jvp(f, (z,), (v,))[1]
    (back,) = plait.vjp(f, z)[1](w)
    inner = lambda a, b: (a.conj() * b).sum().real.item()  # noqa: E731
    assert inner(w, slope) == pytest.approx(inner(back, v))


def test_custom_vjp_sees_gradients() -> None:
    @plait.custom_vjp
    def scaled(z: Any) -> Any:
        return z * 1j

    scaled.defvjp(lambda z: (z * 1j, None), lambda _, g: (g * -1j,))  # the adjoint of i is -i
    loss = lambda f: lambda z: (f(z) * plait.tensor(W)).sum().real  # noqa: E731
    z = plait.tensor(Z)
    assert np.allclose(plait.grad(loss(scaled))(z), plait.grad(loss(lambda z: z * 1j))(z))


def test_jacobians_of_holomorphic_functions() -> None:
    z = plait.tensor(Z[0])
    want = np.diag(2 * Z[0])
    for transform in (plait.jacfwd, plait.jacrev):
        assert np.allclose(transform(lambda z: z * z)(z), want)


def test_a_complex_loss_has_no_gradient() -> None:
    z = plait.tensor(1.0 + 1.0j, requires_grad=True)
    with pytest.raises(GradientError, match=r"needs a real scalar. Received: complex64.*\.abs\(\) or \.real"):
        (z * z).backward()
    y = z * z
    y.backward(plait.tensor(1.0 + 0.0j))
    assert z.grad is not None and z.grad.item() == 2 - 2j

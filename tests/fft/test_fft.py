"""Fourier transforms against NumPy; their dtypes, derivatives, batching and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import plait
from plait.core.errors import ArgumentError, DTypeError, PlaitError, ShapeError
from plait.prims import fft as prims

RANDOM = np.random.default_rng(0)
ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
REAL_INPUT = ("rfft", "ihfft", "rfft2", "rfftn")


def operand(name: str, shape: tuple[int, ...]) -> Any:
    real = RANDOM.normal(size=shape)
    return real if name in REAL_INPUT else real + 1j * RANDOM.normal(size=shape)


def close(got: Any, want: Any, tolerance: float = 1e-11) -> None:
    got = np.asarray(got)
    assert got.shape == want.shape
    assert np.abs(got - want).max(initial=0) <= tolerance * max(1.0, np.abs(want).max(initial=0))


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
def test_one_axis(name: str, norm: str | None) -> None:
    for shape, n, axis in (((5,), None, -1), ((3, 8), 5, 0), ((3, 8), 11, 1), ((2, 7, 3), None, -2), ((0, 4), None, 1)):
        x = operand(name, shape)
        close(getattr(plait.fft, name)(x, n, axis, norm), getattr(np.fft, name)(x, n, axis, norm))


@pytest.mark.parametrize("name", ["fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn"])
def test_several_axes(name: str) -> None:
    x = operand(name, (4, 5, 6))
    for s, axes in ((None, (0, 1)), ((3, 7), (-1, 0)), ((6, 3), (1, 2)), ((4,), (1,))):
        close(getattr(plait.fft, name)(x, s=s, axes=axes), getattr(np.fft, name)(x, s=s, axes=axes))
        close(getattr(plait.fft, name)(x, s=s, dim=axes, norm="ortho"), getattr(np.fft, name)(x, s, axes, "ortho"))
    last = (-2, -1) if name[-1] == "2" else (0, 1, 2)
    close(getattr(plait.fft, name)(x), getattr(np.fft, name)(x, axes=last))
    close(
        getattr(plait.fft, name)(x, (3, -1)),
        getattr(np.fft, name)(x, (3, x.shape[2] if "ir" not in name else 10), (1, 2)),
    )


def test_hermitian_of_several_axes() -> None:
    x = operand("rfft", (4, 6))
    half = plait.fft.ihfft2(x)
    close(half, np.conj(np.fft.rfft2(x)) / 24)
    close(plait.fft.hfft2(half), x)
    close(plait.fft.hfftn(plait.fft.ihfftn(x, norm="ortho"), norm="ortho"), x)


def test_dtypes() -> None:
    x32, x64 = plait.ones(4), plait.ones(4, dtype=plait.float64)
    for given in (x32, x32.to(plait.int64), x32.to(plait.bool_), x32.to(plait.float16), x32.to(plait.complex64)):
        assert plait.fft.fft(given).dtype is plait.complex64
        assert plait.fft.irfft(given).dtype is plait.float32
    assert plait.fft.rfft(x32).dtype is plait.complex64 and plait.fft.rfft(x64).dtype is plait.complex128
    assert plait.fft.hfft(x64).dtype is plait.float64
    assert plait.fft.fftfreq(4, dtype=plait.float64).dtype is plait.float64


def test_frequencies_and_shifts() -> None:
    for n in (1, 4, 7):
        close(plait.fft.fftfreq(n, 0.5), np.fft.fftfreq(n, 0.5), 1e-6)
        close(plait.fft.rfftfreq(n, 0.5), np.fft.rfftfreq(n, 0.5), 1e-6)
        x = RANDOM.normal(size=(n, 5))
        for axes in (None, 0, (1,), (0, -1)):
            for name in ("fftshift", "ifftshift"):
                close(getattr(plait.fft, name)(x, axes=axes), getattr(np.fft, name)(x, axes))


FUNCTIONS: list[tuple[Callable[..., Any], str]] = [
    (plait.fft.fft, "fft"), (lambda x: plait.fft.ifft(x, 3), "ifft"), (plait.fft.rfft, "rfft"),
    (lambda x: plait.fft.irfft(x, 5), "irfft"), (lambda x: plait.fft.irfft(x, 4), "irfft"),
    (plait.fft.hfft, "hfft"), (plait.fft.ihfft, "ihfft"), (plait.fft.rfft2, "rfft2"),
    (lambda x: plait.fft.irfft2(x, (3, 5), norm="ortho"), "irfft2"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "name"), FUNCTIONS)
def test_derivatives_batching_and_jit(function: Callable[..., Any], name: str) -> None:
    x = plait.tensor(operand(name, (3, 4)))
    v = plait.tensor(operand(name, (3, 4)))
    y, slope = plait.jvp(function, (x,), (v,))
    close(slope, function(v).numpy())  # linear
    weights = plait.tensor(operand("fft" if y.dtype.is_complex else "rfft", y.shape))
    _, pull = plait.vjp(function, x)
    (back,) = pull(weights)
    inner = lambda a, b: (a.conj() * b).sum().real  # noqa: E731
    assert inner(weights, slope).item() == pytest.approx(inner(back, v).item())  # <w, Jv> = <J*w, v>
    close(plait.jit(function)(x), y.numpy())
    if name[-1] != "2":
        close(plait.vmap(function)(x), y.numpy())
    energy = lambda x: (function(x).abs() ** 2).sum() ** 2  # noqa: E731
    hessian = plait.jvp(plait.grad(energy), (x,), (v,))[1]
    step = 1e-6
    numeric = (plait.grad(energy)(x + step * v) - plait.grad(energy)(x - step * v)) / (2 * step)
    close(hessian, numeric.numpy(), 1e-7)


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prims, "_pocketfft", lambda: (np.fft, False))
    x = operand("fft", (3, 8))
    close(plait.fft.fftn(x), np.fft.fftn(x))
    close(plait.fft.irfft2(x, (4, 9)), np.fft.irfft2(x, (4, 9)))


ERRORS: list[tuple[Callable[[], Any], type[PlaitError], str]] = [
    (lambda: plait.fft.fft(plait.ones(3), 0), ShapeError, r"fft needs at least one point.*Received: 0 on axis 0"),
    (lambda: plait.fft.fft(plait.ones(0)), ShapeError, r"at least one point"),
    (lambda: plait.fft.fft(plait.ones(3), dim=1), ShapeError, r"axis out of range"),
    (lambda: plait.fft.rfft(plait.ones(3) * 1j), DTypeError, r"rfft takes real numbers. Received: complex64"),
    (lambda: plait.fft.fft(plait.ones(3), norm="half"), ArgumentError, r"Unknown norm.*Received: 'half'"),
    (lambda: plait.fft.fft2(plait.ones((3, 3)), dim=(0, 0)), ShapeError, r"an axis is named twice"),
    (lambda: plait.fft.fftn(plait.ones((3, 3)), s=(2,), dim=(0, 1)), ShapeError, r"one length for each axis"),
    (lambda: plait.fft.fftfreq(0), ArgumentError, r"Received: 0. Expected: at least 1"),
    (lambda: plait.fft.rfftfreq(3, dtype=plait.int64), DTypeError, r"returns floats. Received: int64"),
]


@pytest.mark.parametrize(("call", "error", "text"), ERRORS)
def test_errors(call: Callable[[], Any], error: type[PlaitError], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_axes_have_pytorchs_name_too() -> None:
    x = plait.tensor(np.random.default_rng(0).normal(size=(3, 4, 5)))
    for name in ("fft2", "rfft2", "ifftn", "fftshift"):
        function = getattr(plait.fft, name)
        np.testing.assert_array_equal(function(x, dim=(0, 1)).numpy(), function(x, axes=(0, 1)).numpy())

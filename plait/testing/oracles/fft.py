"""Fourier transforms in double precision, by their definition: sums of powers of a root of 1."""

from __future__ import annotations

from typing import Any

import numpy as np


def fft(x: Any, *, kind: str, axes: tuple[int, ...], norm: str, size: int = 0) -> Any:
    """The transform over `axes`, one after the other, as products with the matrix of each."""
    *others, last = axes
    inverse = kind.startswith("i")
    if kind == "irfft":
        for axis in others:
            x = _along(x, axis, True, norm)
        mirrored = np.conj(np.take(x, np.arange((size - 1) // 2, 0, -1), last))
        return _along(np.concatenate([_without_imaginary(x, last, size), mirrored], last), last, True, norm).real
    x = _along(x, last, inverse, norm)
    if kind == "rfft":
        x = np.take(x, np.arange(x.shape[last] // 2 + 1), last)
    for axis in others:
        x = _along(x, axis, inverse, norm)
    return x


def _along(x: Any, axis: int, inverse: bool, norm: str) -> Any:
    n = x.shape[axis]
    angle = 2 * np.pi * np.outer(np.arange(n), np.arange(n)) / n
    matrix = np.exp(1j * angle if inverse else -1j * angle)
    scaled = norm == ("backward" if inverse else "forward")
    factor = 1 / n if scaled else n**-0.5 if norm == "ortho" else 1.0
    return np.moveaxis(np.moveaxis(x, axis, -1) @ matrix, -1, axis) * factor


def _without_imaginary(x: Any, axis: int, size: int) -> Any:
    """Frequencies that are their own mirror image are real."""
    position = np.arange(size // 2 + 1).reshape(-1, *(1,) * (x.ndim - 1 - axis))
    return np.where((position == 0) | (2 * position == size), x.real, x)

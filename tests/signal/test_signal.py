"""Windows against SciPy; the short-time Fourier transform by its definition, and its inverse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import plait
from plait.core.errors import ArgumentError, ArgumentTypeError, DTypeError, PlaitError, ShapeError

reference = pytest.importorskip("scipy.signal.windows")
windows = plait.signal.windows
WINDOWS: list[tuple[str, dict[str, Any], Callable[..., Any]]] = [
    ("bartlett", {}, reference.bartlett), ("blackman", {}, reference.blackman), ("cosine", {}, reference.cosine),
    ("hann", {}, reference.hann), ("hamming", {}, reference.hamming), ("nuttall", {}, reference.nuttall),
    ("exponential", {"tau": 2.5}, lambda n, sym: reference.exponential(n, None, 2.5, sym)),
    ("gaussian", {"std": 2.0}, lambda n, sym: reference.gaussian(n, 2.0, sym)),
    ("general_hamming", {"alpha": 0.7}, lambda n, sym: reference.general_hamming(n, 0.7, sym)),
    ("general_cosine", {"a": [0.4, 0.3, 0.2]}, lambda n, sym: reference.general_cosine(n, [0.4, 0.3, 0.2], sym)),
    *[("kaiser", {"beta": b}, lambda n, sym, b=b: reference.kaiser(n, b, sym)) for b in (0.0, 8.6, 300.0)],
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "oracle"), WINDOWS)
def test_windows(name: str, arguments: dict[str, Any], oracle: Callable[..., Any]) -> None:
    for size in (0, 1, 2, 9, 16):
        for sym in (True, False):
            got = getattr(windows, name)(size, sym=sym, dtype=plait.float64, **arguments)
            assert np.allclose(got, oracle(size, sym=sym), 1e-12, 1e-13), (size, sym)


def test_older_windows() -> None:
    for name, older in (("hann", "hann_window"), ("bartlett", "bartlett_window"), ("blackman", "blackman_window")):
        assert (getattr(plait, older)(8) == getattr(windows, name)(8, sym=False)).all()
        assert (getattr(plait, older)(8, False) == getattr(windows, name)(8)).all()
    assert (plait.kaiser_window(8, True, 5.0) == windows.kaiser(8, sym=False, beta=5.0)).all()
    assert np.allclose(plait.hamming_window(8, True, 0.6, 0.3), windows.general_cosine(8, a=[0.6, 0.3], sym=False))
    window = plait.hann_window(4, dtype=plait.float16, requires_grad=True)
    assert window.dtype is plait.float16 and window.requires_grad and window.is_leaf


MODES = {"reflect": "reflect", "constant": "constant", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("hop", [3, 4])
@pytest.mark.parametrize("mode", MODES)
def test_stft(hop: int, mode: str) -> None:
    random = np.random.default_rng(0)
    x, w = random.normal(size=(2, 50)), random.uniform(0.5, 1.5, 10)
    padded, wide = np.pad(x, ((0, 0), (6, 6)), mode=MODES[mode]), np.pad(w, 1)
    frames = np.stack([padded[:, k : k + 12] * wide for k in range(0, padded.shape[1] - 11, hop)], 1)
    want = np.fft.rfft(frames).swapaxes(1, 2)
    arguments: dict[str, Any] = {"hop_length": hop, "win_length": 10, "window": plait.tensor(w)}
    got = plait.stft(plait.tensor(x), 12, pad_mode=mode, return_complex=True, **arguments)
    assert np.allclose(got, want)
    whole = plait.stft(plait.tensor(x[0]), 12, pad_mode=mode, onesided=False, return_complex=False, normalized=True,
                       **arguments)  # fmt: skip
    assert whole.shape == (12, want.shape[2], 2)
    assert np.allclose(whole[:7, :, 0], want[0].real / np.sqrt(12)) and np.allclose(
        whole[:7, :, 1], want[0].imag / np.sqrt(12)
    )


def test_frames_begin_with_their_window() -> None:
    x = plait.arange(1.0, 13.0)
    for length, sums in ((4, [10, 18, 26, 34, 42]), (5, [15, 25, 35, 45]), (8, [36, 52, 68])):
        got = plait.stft(x, 8, 2, length, plait.ones(length), center=False, return_complex=True, align_to_window=True)
        assert np.allclose(got[0].real, sums)


@pytest.mark.parametrize("hop", [4, 5, 16])
def test_istft_inverts_stft(hop: int) -> None:
    random = np.random.default_rng(0)
    for x in (random.normal(size=(2, 100)), random.normal(size=100) + 1j * random.normal(size=100)):
        signal, window = plait.tensor(x), windows.hann(16, dtype=plait.float64, sym=False) + 0.1
        options: dict[str, Any] = {"hop_length": hop, "window": window}
        spectrum = plait.stft(signal, 16, return_complex=True, normalized=True, **options)
        back = plait.istft(
            spectrum, 16, length=100, normalized=True, return_complex=bool(np.iscomplexobj(x)), **options
        )
        covered = (spectrum.shape[-1] - 1) * hop + 8
        assert back.shape == x.shape and np.allclose(back[..., :covered], x[..., :covered])


def test_derivatives_and_batching() -> None:
    x = plait.tensor(np.random.default_rng(0).normal(size=(3, 40)))
    window = windows.hann(8, sym=False, dtype=plait.float64)

    def through(x: Any, w: Any) -> Any:
        return plait.istft(plait.stft(x, 8, 2, window=w, return_complex=True) ** 2, 8, 2, window=w, length=40)

    assert np.allclose(plait.vmap(through, (0, None))(x, window), through(x, window))
    assert np.allclose(plait.jit(through)(x, window), through(x, window))
    loss = lambda x: (through(x, window) ** 2).sum()  # noqa: E731
    v = plait.tensor(np.random.default_rng(1).normal(size=(3, 40)))
    slope = (loss(x + 1e-6 * v) - loss(x - 1e-6 * v)).item() / 2e-6
    assert (plait.grad(loss)(x) * v).sum().item() == pytest.approx(slope, rel=1e-6)  # windows that begin with 0


s = plait.ones(20)
ERRORS: list[tuple[Callable[[], Any], type[PlaitError], str]] = [
    (lambda: windows.hann(-1), ArgumentError, r"hann takes the number of its points. Received: -1"),
    (lambda: windows.hann(2.5), ArgumentTypeError, r"Received: 2.5. Expected: an integer"),
    (lambda: windows.hann(3, dtype=plait.int64), DTypeError, r"returns real floats. Received: int64"),
    (lambda: windows.gaussian(3, std=0.0), ArgumentError, r"positive standard deviation"),
    (lambda: windows.exponential(3, tau=-1.0), ArgumentError, r"positive tau"),
    (lambda: windows.kaiser(3, beta=-1.0), ArgumentError, r"not negative"),
    (lambda: windows.general_cosine(3, a=[]), ArgumentError, r"the weights of cosines"),
    (lambda: plait.stft(s, 8), ArgumentError, r"needs return_complex"),
    (lambda: plait.stft(s, 50, center=False, return_complex=True), ShapeError, r"shorter than a frame"),
    (lambda: plait.stft(s, 50, return_complex=True), ShapeError, r"cannot pad by reflect so far"),
    (lambda: plait.stft(s, 8, win_length=9, return_complex=True), ArgumentError, r"0 < win_length <= n_fft"),
    (lambda: plait.stft(s, 8, hop_length=0, return_complex=True), ArgumentError, r"0 < hop"),
    (
        lambda: plait.stft(s, 8, window=plait.ones(5), return_complex=True),
        ShapeError,
        r"another size. Received: \(5,\)",
    ),
    (lambda: plait.stft(s.to(plait.int64), 8, return_complex=True), DTypeError, r"floating-point signal"),
    (lambda: plait.stft(s[None, None], 8, return_complex=True), ShapeError, r"rank 1 or 2"),
    (lambda: plait.stft(s, 8, pad_mode="mirror", return_complex=True), ArgumentError, r"unknown pad_mode"),
    (lambda: plait.stft(s * 1j, 8, onesided=True), ArgumentError, r"no half spectrum"),
    (lambda: plait.stft(s, 8, align_to_window=True, return_complex=True), ArgumentError, r"centred or aligned"),
    (lambda: plait.istft(plait.ones((5, 3)), 8), DTypeError, r"takes a complex spectrum"),
    (lambda: plait.istft(plait.ones((5, 3)) * 1j, 9, onesided=False), ShapeError, r"Received: 5. Expected: 9"),
    (lambda: plait.istft(plait.ones((5, 3)) * 1j, 8, hop_length=9), ArgumentError, r"frames that touch"),
    (lambda: plait.istft(plait.ones((5, 3)) * 1j, 8, return_complex=True), ArgumentError, r"that of a real signal"),
]


@pytest.mark.parametrize(("call", "error", "text"), ERRORS)
def test_errors(call: Callable[[], Any], error: type[PlaitError], text: str) -> None:
    with pytest.raises(error, match=text):
        call()

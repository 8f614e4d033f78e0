"""Signals: windows, and the short-time Fourier transform."""

from __future__ import annotations

from plait.signal import windows
from plait.signal.spectra import istft, stft
from plait.signal.windows import bartlett_window, blackman_window, hamming_window, hann_window, kaiser_window

__all__ = [
    "bartlett_window",
    "blackman_window",
    "hamming_window",
    "hann_window",
    "istft",
    "kaiser_window",
    "stft",
    "windows",
]

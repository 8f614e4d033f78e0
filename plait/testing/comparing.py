"""What comparisons with other libraries share: random arrays, and closeness in units of the largest value."""

from __future__ import annotations

from typing import Any

import numpy as np

import plait


def arrays(seed: int, *shapes: tuple[int, ...], scale: float = 1.0) -> list[np.ndarray[Any, Any]]:
    """Normal float32 arrays."""
    random = np.random.default_rng(seed)
    return [(scale * random.standard_normal(s)).astype(np.float32) for s in shapes]


def numpy(value: Any) -> Any:
    """A tensor of any library as a NumPy array."""
    if isinstance(value, plait.Tensor):
        return value.detach().numpy()
    if hasattr(value, "detach"):
        return value.detach().numpy()
    return np.asarray(value)


def close(got: Any, want: Any, tolerance: float = 2e-5, floor: float = 1e-6) -> None:
    """Check that two arrays agree to `tolerance` of the largest value, or of `floor` if that is larger."""
    a, b = numpy(got), numpy(want)
    assert a.shape == b.shape, (a.shape, b.shape)
    a, b = a.astype(np.complex128), b.astype(np.complex128)
    finite = np.abs(b[np.isfinite(b)])
    scale = max(floor, float(finite.max(initial=0.0)))
    with np.errstate(invalid="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= tolerance * scale)
    assert same.all(), f"{a[~same][:5]} != {b[~same][:5]}"

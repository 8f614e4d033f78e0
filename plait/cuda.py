"""What programs ask before they use a CUDA device; there is none yet.

`plait.device("cuda" if plait.cuda.is_available() else "cpu")` works as in PyTorch.
"""

from __future__ import annotations

__all__ = ["device_count", "is_available"]


def is_available() -> bool:
    """Return whether programs can run on a CUDA device: not yet.

    Example:
        >>> plait.cuda.is_available()
        False
    """
    return False


def device_count() -> int:
    """Return how many CUDA devices programs can run on: none yet.

    Example:
        >>> plait.cuda.device_count()
        0
    """
    return 0

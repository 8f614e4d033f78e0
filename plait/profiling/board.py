"""Profiles for TensorBoard: the table as text, each kernel's time, and memory over time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from plait.train.loggers.tensorboard import TensorBoardLogger

if TYPE_CHECKING:
    from plait.profiling.session import Kernel

_MOST_KERNELS = 50


def save(
    folder: str | os.PathLike[str],
    scalars: Mapping[str, float],
    kernels: Sequence[Kernel],
    text: str,
    memory: Sequence[tuple[float, int]],
) -> None:
    """Write an event file.

    Args:
        folder: where it goes.
        scalars: numbers by name.
        kernels: the kernels, the most expensive first; the time of each is logged as "kernel_ms/…".
        text: the profile's table.
        memory: (seconds, bytes in use); logged by microseconds as "memory/used_bytes".
    """
    logger = TensorBoardLogger(folder)
    logger.log(0, scalars)
    times: dict[str, float] = {}
    for kernel in kernels[:_MOST_KERNELS]:
        where = (kernel.origin.place, kernel.name, kernel.origin.short_line)
        name = "kernel_ms/" + " ".join(part for part in where if part)
        times[name] = times.get(name, 0.0) + kernel.seconds * 1e3
    logger.log(0, times)
    for seconds, nbytes in memory:
        logger.log(round(seconds * 1e6), {"memory/used_bytes": float(nbytes)})
    logger.log_text(0, "profile", "    " + text.replace("\n", "\n    "))
    logger.close()

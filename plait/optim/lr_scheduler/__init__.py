"""PyTorch's schedulers: they set the options of an optimizer, once for each epoch or step, by `schedules`.

A scheduler is stepped outside `jit`; a compiled step reads the new rate as state and is not compiled again.
"""

from __future__ import annotations

from plait.optim.lr_scheduler.base import LRScheduler
from plait.optim.lr_scheduler.cycles import CyclicLR, OneCycleLR
from plait.optim.lr_scheduler.factors import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from plait.optim.lr_scheduler.plateau import ReduceLROnPlateau
from plait.optim.lr_scheduler.several import ChainedScheduler, SequentialLR

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR",
    "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR",
    "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip

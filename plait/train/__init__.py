"""Training: the loop, what happens around it, logs, and checkpoints."""

from __future__ import annotations

from plait.train.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    LambdaCallback,
    LearningRateMonitor,
    TerminateOnNaN,
    TimeLimit,
)
from plait.train.checkpoint import CheckpointManager
from plait.train.history import History
from plait.train.loggers import CSVLogger, JSONLLogger, Logger, MLflowLogger, TensorBoardLogger, WandbLogger
from plait.train.progress import ProgressBar
from plait.train.trainer import Trainer

__all__ = [
    "CSVLogger", "Callback", "Checkpoint", "CheckpointManager", "EarlyStopping", "History", "JSONLLogger",
    "LambdaCallback", "LearningRateMonitor", "Logger", "MLflowLogger", "ProgressBar", "TensorBoardLogger",
    "TerminateOnNaN", "TimeLimit", "Trainer", "WandbLogger",
]  # fmt: skip

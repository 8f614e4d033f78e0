"""Loggers: one interface to files, TensorBoard, Weights & Biases and MLflow."""

from __future__ import annotations

from plait.train.loggers.files import CSVLogger, JSONLLogger
from plait.train.loggers.logger import Logger
from plait.train.loggers.services import MLflowLogger, WandbLogger
from plait.train.loggers.tensorboard import TensorBoardLogger

__all__ = ["CSVLogger", "JSONLLogger", "Logger", "MLflowLogger", "TensorBoardLogger", "WandbLogger"]

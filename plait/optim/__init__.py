"""Optimizers: one rule each, for the parameters of a model (`step`) and for pytrees (`functional`)."""

from __future__ import annotations

from plait.optim.adam import Adam, AdamW
from plait.optim.optimizer import Functional, Optimizer
from plait.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Functional", "Optimizer"]

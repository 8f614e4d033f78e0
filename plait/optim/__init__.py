"""Optimizers: one rule each, for the parameters of a model (`step`) and for pytrees (`functional`)."""

from __future__ import annotations

from plait.optim import lr_scheduler, schedules, swa_utils
from plait.optim.adam import LAMB, Adam, Adamax, AdamW, NAdam, RAdam, Sophia
from plait.optim.adaptive import Adadelta, Adafactor, Adagrad, RMSprop
from plait.optim.lbfgs import LBFGS
from plait.optim.matrix import Muon, Shampoo
from plait.optim.optimizer import Optimizer
from plait.optim.rule import Functional, RuleOptimizer
from plait.optim.sgd import ASGD, LARS, SGD, Lion, Rprop
from plait.optim.trees import accumulate, clip_by_global_norm, clip_by_value, decay_groups, ema, global_norm

__all__ = [
    "ASGD", "LAMB", "LARS", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax",
    "Functional", "Lion", "Muon", "NAdam", "Optimizer", "RAdam", "RMSprop", "Rprop", "RuleOptimizer", "Shampoo",
    "Sophia", "accumulate", "clip_by_global_norm", "clip_by_value", "decay_groups", "ema", "global_norm",
    "lr_scheduler", "schedules", "swa_utils",
]  # fmt: skip

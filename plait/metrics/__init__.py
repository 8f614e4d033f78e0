"""Metrics: numbers about many batches, added up as they come; `functional` has them for one batch."""

from __future__ import annotations

from plait.metrics import functional
from plait.metrics.averages import Mean, Perplexity
from plait.metrics.classification import (
    Accuracy,
    CohenKappa,
    ConfusionMatrix,
    Dice,
    F1Score,
    FBetaScore,
    IoU,
    MatthewsCorrCoef,
    Precision,
    Recall,
)
from plait.metrics.metric import Metric
from plait.metrics.probabilities import BrierScore, CalibrationError, LogLoss
from plait.metrics.ranking import AUROC, AveragePrecision, PrecisionRecallCurve, ROCCurve
from plait.metrics.regression import (
    MeanAbsoluteError,
    MeanSquaredError,
    PearsonCorrCoef,
    R2Score,
    RootMeanSquaredError,
    SpearmanCorrCoef,
)
from plait.metrics.text import BLEU

__all__ = [
    "AUROC", "BLEU", "Accuracy", "AveragePrecision", "BrierScore", "CalibrationError", "CohenKappa", "ConfusionMatrix",
    "Dice", "F1Score", "FBetaScore", "IoU", "LogLoss", "MatthewsCorrCoef", "Mean", "MeanAbsoluteError",
    "MeanSquaredError", "Metric", "PearsonCorrCoef", "Perplexity", "Precision", "PrecisionRecallCurve", "R2Score",
    "ROCCurve", "Recall", "RootMeanSquaredError", "SpearmanCorrCoef", "functional",
]  # fmt: skip

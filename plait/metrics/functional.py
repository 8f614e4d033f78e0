"""Metrics of one batch as functions: `f1_score(input, target, average="micro")` is `F1Score(average="micro")` of it."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Any

from plait.metrics import averages, classification, probabilities, ranking, regression, text
from plait.metrics.metric import Metric

Function = Callable[..., Any]


def _function(name: str, metric: type[Metric]) -> Function:
    def function(input: Any, target: Any, *args: Any, **options: Any) -> Any:
        return metric(*args, **options).evaluate(input, target)

    given = [Parameter(n, Parameter.POSITIONAL_OR_KEYWORD, annotation="Any") for n in ("input", "target")]
    options = signature(metric).parameters.values()
    function.__signature__ = Signature([*given, *options])  # type: ignore[attr-defined]
    function.__name__ = function.__qualname__ = name
    summary, _, rest = (metric.__doc__ or "").partition("\n")
    arguments = _section(rest, "Args:", "Raises:", "Example:")
    raises = _section(rest, "Raises:", "Example:") + "    ShapeError: the shapes do not fit together.\n"
    function.__doc__ = (
        f"{summary}\n\nThe function of one batch; `plait.metrics.{metric.__name__}` adds up many.\n\n"
        f"Args:\n    input: the predictions.\n    target: what is true.\n{arguments}\n"
        f"Returns:\n    What `{metric.__name__}.compute` returns.\n\nRaises:\n{raises}"
    )
    return function


def _section(document: str, title: str, *ends: str) -> str:
    """Return the lines of a section of a docstring, indented by four."""
    _, found, rest = document.partition(title + "\n")
    for end in ends:
        rest = rest.partition(f"    {end}")[0]
    return "".join(f"{line[4:]}\n" for line in rest.rstrip().splitlines()) if found else ""


_TABLE: dict[str, type[Metric]] = {
    "accuracy": classification.Accuracy,
    "auroc": ranking.AUROC,
    "average_precision": ranking.AveragePrecision,
    "bleu": text.BLEU,
    "brier_score": probabilities.BrierScore,
    "calibration_error": probabilities.CalibrationError,
    "cohen_kappa": classification.CohenKappa,
    "confusion_matrix": classification.ConfusionMatrix,
    "dice": classification.Dice,
    "f1_score": classification.F1Score,
    "fbeta_score": classification.FBetaScore,
    "iou": classification.IoU,
    "log_loss": probabilities.LogLoss,
    "matthews_corrcoef": classification.MatthewsCorrCoef,
    "mean_absolute_error": regression.MeanAbsoluteError,
    "mean_squared_error": regression.MeanSquaredError,
    "pearson_corrcoef": regression.PearsonCorrCoef,
    "perplexity": averages.Perplexity,
    "precision": classification.Precision,
    "precision_recall_curve": ranking.PrecisionRecallCurve,
    "r2_score": regression.R2Score,
    "recall": classification.Recall,
    "roc_curve": ranking.ROCCurve,
    "root_mean_squared_error": regression.RootMeanSquaredError,
    "spearman_corrcoef": regression.SpearmanCorrCoef,
}
globals().update({name: _function(name, metric) for name, metric in _TABLE.items()})
__all__ = list(_TABLE)

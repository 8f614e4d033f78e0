"""Metrics: streamed over batches of odd sizes they equal scikit-learn's (or SciPy's) of the whole."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import pytest

import plait
from plait import metrics
from plait.core.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from plait.metrics import functional

reference = pytest.importorskip("sklearn.metrics")
stats = pytest.importorskip("scipy.stats")

RANDOM = np.random.default_rng(0)
N, CLASSES = 103, 5
TARGET = RANDOM.integers(0, 4, N)  # the last class never occurs
SCORES = RANDOM.normal(size=(N, CLASSES)).round(1).astype(np.float32)  # rounding makes ties
SCORES[:, 4] -= 9
PREDICTED = SCORES.argmax(1)
PROBABILITIES = np.exp(SCORES.astype(np.float64)) / np.exp(SCORES.astype(np.float64)).sum(1, keepdims=True)
FLAGS = RANDOM.integers(0, 2, N)
CHANCE = RANDOM.uniform(size=N).round(2)
LABELS = RANDOM.integers(0, 2, (N, 3)) * np.array([1, 1, 0])
LABEL_SCORES = RANDOM.uniform(size=(N, 3)).round(2)
X, Y = RANDOM.normal(100, 1, N), RANDOM.normal(100, 2, N)
X2, Y2 = RANDOM.normal(size=(N, 2)), RANDOM.normal(size=(N, 2))
TIED = RANDOM.integers(0, 9, N).astype(float)
ALL = list(range(CLASSES))


def parts(*arrays: Any) -> Any:
    """Batches of odd sizes, one sample and none among them."""
    edges = [0, 17, 18, 18, 61, N]
    for low, high in zip(edges, edges[1:], strict=False):
        yield tuple(a[low:high] for a in arrays)


def quiet(f: Any) -> Any:
    @functools.wraps(f)
    def call(*args: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return f(*args)

    return call


def prf(name: str, **options: Any) -> Any:
    return quiet(lambda y, x: getattr(reference, name)(y, x, **options))


def top(k: int) -> Any:
    # scikit-learn puts the class with the higher number first among equal scores: turn the classes around
    return lambda y, s: reference.top_k_accuracy_score(CLASSES - 1 - y, s[:, ::-1], k=k, labels=ALL)


def thresholded(f: Any, level: float = 0.5) -> Any:
    return lambda y, s: f(y, s > level)


def error_of_calibration(norm: str) -> Any:
    def value(y: Any, p: Any) -> float:
        confidence, right = (p, y == 1) if p.ndim == 1 else (p.max(1), p.argmax(1) == y)
        gaps, shares = [], []
        for k in range(10):
            chosen = np.minimum((confidence * 10).astype(int), 9) == k
            if chosen.any():
                gaps.append(abs(confidence[chosen].mean() - right[chosen].mean()))
                shares.append(chosen.mean())
        if norm == "max":
            return max(gaps)
        return np.dot(shares, gaps) if norm == "l1" else np.sqrt(np.dot(shares, np.square(gaps)))

    return value


def cohen(weights: str) -> Any:
    return prf("cohen_kappa_score", weights=weights, labels=ALL)


AVERAGES = ("micro", "macro", "weighted", None)
CASES: dict[str, tuple[Any, Any, Any, Any]] = {
    "accuracy": (metrics.Accuracy(), SCORES, TARGET, lambda y, s: reference.accuracy_score(y, s.argmax(1))),
    "accuracy of classes": (metrics.Accuracy(), PREDICTED, TARGET, reference.accuracy_score),
    "accuracy binary": (metrics.Accuracy(), CHANCE, FLAGS, thresholded(reference.accuracy_score)),
    "accuracy multilabel": (
        metrics.Accuracy(task="multilabel"), LABEL_SCORES, LABELS, thresholded(reference.accuracy_score),
    ),
    **{f"accuracy top {k}": (metrics.Accuracy(top_k=k), SCORES, TARGET, top(k)) for k in (2, 3)},
    "confusion": (
        metrics.ConfusionMatrix(CLASSES), PREDICTED, TARGET, lambda y, p: reference.confusion_matrix(y, p, labels=ALL),
    ),
    **{
        f"confusion {how}": (
            metrics.ConfusionMatrix(normalize=how), SCORES, TARGET,
            lambda y, s, how=how: reference.confusion_matrix(y, s.argmax(1), labels=ALL, normalize=how),
        )
        for how in ("true", "pred", "all")
    },
    "confusion binary": (
        metrics.ConfusionMatrix(threshold=0.3), CHANCE, FLAGS, thresholded(reference.confusion_matrix, 0.3),
    ),
    "kappa": (metrics.CohenKappa(CLASSES), PREDICTED, TARGET, reference.cohen_kappa_score),
    **{
        f"kappa {w}": (metrics.CohenKappa(CLASSES, w), PREDICTED, TARGET, cohen(w))
        for w in ("linear", "quadratic")
    },
    "matthews": (metrics.MatthewsCorrCoef(CLASSES), PREDICTED, TARGET, reference.matthews_corrcoef),
    "matthews constant": (metrics.MatthewsCorrCoef(2), FLAGS, FLAGS * 0, quiet(reference.matthews_corrcoef)),
    "log loss": (metrics.LogLoss(), PROBABILITIES, TARGET, prf("log_loss", labels=ALL)),
    "log loss binary": (metrics.LogLoss(), CHANCE, FLAGS, reference.log_loss),
    "log loss extreme": (metrics.LogLoss(), FLAGS.astype(float), 1 - FLAGS, reference.log_loss),
    "brier": (metrics.BrierScore(), PROBABILITIES, TARGET, prf("brier_score_loss", labels=ALL)),
    "brier binary": (metrics.BrierScore(), CHANCE, FLAGS, reference.brier_score_loss),
    **{
        f"calibration {norm} {np.ndim(p)}": (metrics.CalibrationError(10, norm), p, y, error_of_calibration(norm))
        for norm in ("l1", "l2", "max") for p, y in ((PROBABILITIES, TARGET), (CHANCE, FLAGS))
    },
    "mse": (metrics.MeanSquaredError(), X, Y, reference.mean_squared_error),
    "mse outputs": (metrics.MeanSquaredError(), X2, Y2, reference.mean_squared_error),
    "rmse outputs": (metrics.RootMeanSquaredError(), X2, Y2, reference.root_mean_squared_error),
    "mae": (metrics.MeanAbsoluteError(), X, Y, reference.mean_absolute_error),
    "r2": (metrics.R2Score(), X, Y, reference.r2_score),
    "r2 outputs": (metrics.R2Score(), X2, Y2, reference.r2_score),
    "r2 constant": (metrics.R2Score(), X, Y * 0, reference.r2_score),
    "pearson": (metrics.PearsonCorrCoef(), X, X + Y, lambda y, x: stats.pearsonr(y, x).statistic),
    "spearman": (metrics.SpearmanCorrCoef(), TIED, X + TIED, lambda y, x: stats.spearmanr(y, x).statistic),
    "auroc": (metrics.AUROC(), CHANCE, FLAGS, reference.roc_auc_score),
    "auroc one kind": (metrics.AUROC(), CHANCE, FLAGS * 0, lambda y, x: np.nan),
    **{
        f"auroc multiclass {a}": (
            metrics.AUROC(a), PROBABILITIES[:, :4], TARGET,
            lambda y, p, a=a: reference.roc_auc_score(np.eye(4)[y], p, average=a),
        )
        for a in AVERAGES
    },
    **{
        f"average precision {a}": (
            metrics.AveragePrecision(a), LABEL_SCORES, LABELS, prf("average_precision_score", average=a),
        )
        for a in AVERAGES
    },
    "average precision binary": (metrics.AveragePrecision(), CHANCE, FLAGS, reference.average_precision_score),
    "roc": (metrics.ROCCurve(), CHANCE, FLAGS, reference.roc_curve),
    "roc whole": (metrics.ROCCurve(False), CHANCE, FLAGS, prf("roc_curve", drop_intermediate=False)),
    "roc one kind": (metrics.ROCCurve(), CHANCE, FLAGS * 0, quiet(reference.roc_curve)),
    "precision recall": (metrics.PrecisionRecallCurve(), CHANCE, FLAGS, reference.precision_recall_curve),
    "precision recall none": (
        metrics.PrecisionRecallCurve(), CHANCE, FLAGS * 0, quiet(reference.precision_recall_curve),
    ),
}  # fmt: skip

RATIOS = {
    "precision_score": metrics.Precision, "recall_score": metrics.Recall, "f1_score": metrics.F1Score,
    "jaccard_score": metrics.IoU, "fbeta_score": functools.partial(metrics.FBetaScore, 0.5),
}  # fmt: skip
for _name, _metric in RATIOS.items():
    _beta = {"beta": 0.5} if _name == "fbeta_score" else {}
    for _average in AVERAGES:
        _labels = {"labels": ALL} if _average is None else {}
        _options = {"average": _average, "zero_division": 1.0, **_beta}
        CASES[f"{_name} {_average}"] = (
            _metric(CLASSES, _average, 1.0), PREDICTED, TARGET, prf(_name, **_options, **_labels)
        )  # fmt: skip
        CASES[f"{_name} {_average} multilabel"] = (
            _metric(None, _average, task="multilabel"), LABEL_SCORES, LABELS,
            thresholded(prf(_name, average=_average, zero_division=0.0, **_beta)),
        )  # fmt: skip
    CASES[f"{_name} binary"] = (_metric(), CHANCE, FLAGS, thresholded(prf(_name, **_beta)))
    if _name != "jaccard_score":
        for _average in ("macro", "weighted"):
            CASES[f"{_name} {_average} nan"] = (
                _metric(CLASSES, _average, np.nan), PREDICTED % 3, TARGET,
                prf(_name, average=_average, zero_division=np.nan, **_beta),
            )  # fmt: skip
CASES["dice"] = (metrics.Dice(CLASSES), PREDICTED, TARGET, prf("f1_score", average="macro"))


def close(found: Any, expected: Any) -> None:
    if isinstance(expected, tuple):
        assert len(found) == len(expected)
        for f, e in zip(found, expected, strict=True):
            np.testing.assert_allclose(f, e, rtol=1e-12)
    else:
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", CASES)
def test_streamed_equals_scikit_learn(name: str) -> None:
    metric, input, target, expected = CASES[name]
    for batch in parts(input, target):
        metric.update(*batch)
    close(metric.compute(), expected(target, input))
    metric.reset()


@pytest.mark.parametrize("name", [n for n in CASES if "one kind" not in n])
def test_merged_restored_and_at_once_are_the_same(name: str) -> None:
    metric, input, target, expected = CASES[name]
    first, second, *rest = parts(input, target)
    metric.reset().update(*first).update(*second)
    others = [metric.clone(), metric.clone()]
    others[0].load_state_dict(metric.state_dict())
    for batch in rest:
        others[1].update(*batch)
    others[0].merge(others[1])
    whole = expected(target, input)
    close(others[0].compute(), whole)
    close(metric.evaluate(input, target), whole)
    metric.reset()


@pytest.mark.parametrize("name", [n for n in CASES if not CASES[n][0].is_collected])
def test_compiled_updates_are_the_same(name: str) -> None:
    metric, input, target, expected = CASES[name]
    metric.reset().prepare(input, target)
    update = plait.jit(lambda x, y: metric.update(x, y) and None)
    for low, high in ((0, 40), (40, 80), (80, N)):
        update(input[low:high], target[low:high])
    close(metric.compute(), expected(target, input))
    metric.reset()


def test_functional_form_is_compiled_and_batched() -> None:
    scores, target = plait.tensor(SCORES[:100].reshape(4, 25, 5)), plait.tensor(TARGET[:100].reshape(4, 25))
    alone = [functional.f1_score(s, t).item() for s, t in zip(scores, target, strict=True)]
    np.testing.assert_allclose(plait.vmap(plait.jit(functional.f1_score))(scores, target).numpy(), alone)
    area = plait.jit(functional.auroc)(plait.tensor(CHANCE), plait.tensor(FLAGS))
    np.testing.assert_allclose(area.item(), reference.roc_auc_score(FLAGS, CHANCE))
    assert functional.fbeta_score(CHANCE, FLAGS, 2.0).item() == functional.fbeta_score(CHANCE, FLAGS, beta=2.0).item()


def test_ignored_targets_do_not_count() -> None:
    marked = np.where(np.arange(N) % 3 == 0, -100, TARGET)
    kept = marked != -100
    for name, metric in {
        "accuracy_score": metrics.Accuracy(ignore_index=-100),
        "cohen_kappa_score": metrics.CohenKappa(ignore_index=-100),
        "matthews_corrcoef": metrics.MatthewsCorrCoef(ignore_index=-100),
        "precision_score": metrics.Precision(average="micro", ignore_index=-100),
    }.items():
        options = {"average": "micro"} if name == "precision_score" else {}
        expected = getattr(reference, name)(TARGET[kept], PREDICTED[kept], **options)
        np.testing.assert_allclose(metric.update(SCORES, marked).compute().item(), expected)
    flags = np.where(np.arange(N) % 3 == 0, -1, FLAGS)
    expected = reference.f1_score(FLAGS[flags >= 0], CHANCE[flags >= 0] > 0.5)
    np.testing.assert_allclose(metrics.F1Score(ignore_index=-1).evaluate(CHANCE, flags).item(), expected)


def test_images_are_samples_of_pixels() -> None:
    scores, target = RANDOM.normal(size=(2, 3, 4, 5)), RANDOM.integers(0, 3, (2, 4, 5))
    flat = scores.transpose(0, 2, 3, 1).reshape(-1, 3).argmax(1)
    expected = reference.jaccard_score(target.reshape(-1), flat, average=None)
    np.testing.assert_allclose(metrics.IoU(average=None).update(scores, target).compute().numpy(), expected)
    close(functional.accuracy(scores, target), (flat == target.reshape(-1)).mean())


def test_mean_and_perplexity() -> None:
    mean = metrics.Mean()
    for x, w in parts(X, TIED):
        mean.update(x, w)
    np.testing.assert_allclose(mean.compute().item(), np.average(X, weights=TIED))
    logits, tokens = RANDOM.normal(size=(3, 7, 11)), RANDOM.integers(0, 11, (3, 7))
    tokens[1, 4:] = -100
    likelihood = np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    chosen = np.take_along_axis(likelihood, np.maximum(tokens, 0)[..., None], -1)[..., 0]
    perplexity = metrics.Perplexity(ignore_index=-100)
    for k in range(3):
        perplexity.update(logits[k : k + 1], tokens[k : k + 1])
    np.testing.assert_allclose(perplexity.compute().item(), np.exp(-chosen[tokens >= 0].mean()))


def test_bleu() -> None:
    # the example of Papineni et al. (2002): "the" occurs at most twice in a reference
    references = ["the cat is on the mat", "there is a cat on the mat"]
    bleu = metrics.BLEU(n_gram=1)
    bleu.update(["the the the the the the the"], [references])
    np.testing.assert_allclose(bleu.compute().item(), 2 / 7)
    sentence, longer = "a b c d e".split(), "a b c d f g h".split()
    precisions = [4 / 5, 3 / 4, 2 / 3, 1 / 2]
    expected = np.exp(1 - 7 / 5) * np.prod(precisions) ** 0.25
    np.testing.assert_allclose(functional.bleu([sentence], [[longer]]).item(), expected)
    assert functional.bleu(["a b"], [["c d"]]).item() == 0
    with pytest.raises(ArgumentTypeError, match="a list of references"):
        bleu.update("a b", ["a b"])


WRONG = {
    "task": (lambda: metrics.Accuracy(task="classes"), ArgumentError, "Received: 'classes'"),
    "average": (lambda: metrics.F1Score(average="mean"), ArgumentError, "no such average"),
    "top_k": (lambda: metrics.Accuracy(top_k=0), ArgumentError, "top_k is at least 1"),
    "top_k of classes": (lambda: functional.accuracy(PREDICTED, TARGET, 2), ArgumentError, "pass the scores"),
    "beta": (lambda: metrics.FBetaScore(-1.0), ArgumentError, "beta"),
    "shapes": (lambda: functional.accuracy(SCORES, TARGET[:5]), ShapeError, r"target \(5,\)"),
    "float classes": (lambda: functional.f1_score(X, Y, 3, task="multiclass"), DTypeError, "class numbers"),
    "number of classes": (lambda: functional.f1_score(PREDICTED, TARGET), ArgumentError, "pass num_classes"),
    "unknown class": (lambda: functional.confusion_matrix(PREDICTED, TARGET + 2, 5), ArgumentError, "of them"),
    "unknown flag": (lambda: functional.accuracy(CHANCE, FLAGS * 2), ArgumentError, "no class"),
    "integers": (lambda: functional.auroc(TARGET, FLAGS), DTypeError, "scores"),
    "float targets": (lambda: functional.auroc(CHANCE, CHANCE), DTypeError, "Received: float64"),
    "shapes of scores": (lambda: functional.auroc(CHANCE, FLAGS[:3]), ShapeError, "do not fit"),
    "shapes of numbers": (lambda: functional.r2_score(X, Y[:3]), ShapeError, "R2Score"),
    "no batch": (lambda: metrics.Accuracy().compute(), ArgumentError, "no batch"),
    "merge": (lambda: metrics.Accuracy().merge(metrics.Mean()), ArgumentTypeError, "Received: Mean"),
    "other shape": (lambda: metrics.F1Score().update(SCORES, TARGET).update(X2, FLAGS), ShapeError, "reset"),
    "other state": (lambda: metrics.Mean().update(1.0).load_state_dict({"x": 1}), ArgumentError, "no state of Mean"),
    "staged": (lambda: plait.jit(metrics.Mean().update)(plait.ones(3)), ArgumentError, "call prepare"),
    "perplexity": (lambda: functional.perplexity(SCORES, SCORES), ShapeError, "vocabulary"),
    "bins": (lambda: metrics.CalibrationError(n_bins=2.5), ArgumentTypeError, "n_bins is an integer"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_errors(name: str) -> None:
    call, error, text = WRONG[name]
    with pytest.raises(error, match=text):
        call()

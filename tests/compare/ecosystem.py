"""Functions of SciPy and scikit-learn run on tensors by their Array API dispatch, and on NumPy arrays.

A program of its own, since SciPy reads the switch when it is imported: `SCIPY_ARRAY_API=1 python ecosystem.py`.
It prints the cases that fail and how many there are; a case fails where the result is no tensor, or differs.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import scipy.cluster.vq as vq
import sklearn
from scipy import differentiate, fft, integrate, ndimage, signal, special, stats
from scipy.spatial.transform import Rotation
from sklearn import (
    decomposition,
    discriminant_analysis,
    kernel_approximation,
    linear_model,
    metrics,
    model_selection,
    naive_bayes,
    pipeline,
    preprocessing,
)

import plait

warnings.simplefilter("ignore")
sklearn.set_config(array_api_dispatch=True)
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=40).astype("float32")
Y = RANDOM.normal(size=40).astype("float32")
POSITIVE, HALF, WIDE = np.abs(X) + 0.1, np.full_like(X, 0.3), X.astype("float64")
IMAGE = RANDOM.normal(size=(9, 9)).astype("float32")
POINTS = RANDOM.normal(size=(60, 4)).astype("float32")
TARGET = (POINTS @ np.array([1, 2, -1, 0.5], "float32") + 0.1 * RANDOM.normal(size=60)).astype("float32")
CLASSES = (TARGET > 0).astype("int64")
OTHERS = (POINTS[:, 0] > 0).astype("int64")
SCORES = 1 / (1 + np.exp(-TARGET))
NUMERATOR, DENOMINATOR = signal.butter(3, 0.2)

ONE = {
    special: "entr erf erfc expit gammaln i0 i0e i1 i1e log_ndtr ndtr logsumexp softmax log_softmax",
    stats: "skew kurtosis variation zscore sem describe circmean circstd tmean tvar sigmaclip normaltest jarque_bera "
           "iqr median_abs_deviation differential_entropy rankdata",
    signal: "detrend hilbert envelope wiener",
    fft: "rfft ihfft dct idct dst fftshift",
    ndimage: "sobel laplace center_of_mass spline_filter",
    integrate: "trapezoid cumulative_trapezoid cumulative_simpson",
}  # fmt: skip
SCIPY = [(function, module, (IMAGE if module is ndimage else WIDE if module is stats else X,))
         for module, names in ONE.items() for function in names.split()]  # fmt: skip
SCIPY += [
    ("betainc", special, (POSITIVE, POSITIVE, HALF)), ("gammainc", special, (POSITIVE, POSITIVE)),
    ("xlogy", special, (POSITIVE, POSITIVE)), ("logit", special, (HALF,)), ("ndtri", special, (HALF,)),
    ("gmean", stats, (POSITIVE,)), ("entropy", stats, (POSITIVE,)), ("pearsonr", stats, (X, Y)),
    ("ttest_ind", stats, (X, Y)), ("kruskal", stats, (X, Y)), ("mannwhitneyu", stats, (X, Y)),
    ("levene", stats, (X, Y)), ("spearmanrho", stats, (X, Y)), ("quantile", stats, (WIDE, np.array([0.2, 0.5]))),
    ("convolve", signal, (X, HALF[:5])), ("fftconvolve", signal, (X, HALF[:5])), ("correlate", signal, (X, HALF[:5])),
    ("resample", signal, (X, 25)), ("resample_poly", signal, (X, 2, 3)), ("savgol_filter", signal, (X, 5, 2)),
    ("lfilter", signal, (NUMERATOR, DENOMINATOR, WIDE)), ("filtfilt", signal, (NUMERATOR, DENOMINATOR, WIDE)),
    ("medfilt", signal, (X, 3)), ("freqz", signal, (NUMERATOR, DENOMINATOR)),
    ("gaussian_filter", ndimage, (IMAGE, 1.0)), ("median_filter", ndimage, (IMAGE, 3)), ("zoom", ndimage, (IMAGE, 2.0)),
    ("rotate", ndimage, (IMAGE, 30.0)), ("label", ndimage, (IMAGE > 0,)), ("whiten", vq, (POINTS,)),
    ("vq", vq, (POINTS, POINTS[:2])), ("kmeans2", vq, (POINTS, POINTS[:2])),
]  # fmt: skip
ESTIMATORS = [
    (decomposition.PCA(2, svd_solver="full"), None, ("inverse",)), (linear_model.Ridge(solver="svd"), TARGET, ()),
    (linear_model.RidgeClassifier(solver="svd"), CLASSES, ()),
    (linear_model.LogisticRegression(), CLASSES, ("predict_proba",)),
    (discriminant_analysis.LinearDiscriminantAnalysis(), CLASSES, ("predict_proba",)),
    (naive_bayes.GaussianNB(), CLASSES, ("predict_proba",)), (preprocessing.StandardScaler(), None, ()),
    (preprocessing.MinMaxScaler(), None, ()), (preprocessing.MaxAbsScaler(), None, ()),
    (preprocessing.Normalizer(), None, ()), (preprocessing.PolynomialFeatures(2), None, ()),
    (kernel_approximation.Nystroem(n_components=5, random_state=0), None, ()),
    (pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge(solver="svd")), TARGET, ()),
]  # fmt: skip
METRICS = [
    ((TARGET, TARGET + 0.1), "mean_squared_error mean_absolute_error r2_score explained_variance_score max_error "
                             "median_absolute_error mean_pinball_loss"),
    ((CLASSES, OTHERS), "accuracy_score balanced_accuracy_score f1_score precision_score recall_score jaccard_score "
                        "hamming_loss zero_one_loss confusion_matrix cohen_kappa_score"),
    ((CLASSES, SCORES), "log_loss brier_score_loss roc_auc_score average_precision_score roc_curve det_curve"),
    ((POINTS, POINTS[:5]), "pairwise.cosine_similarity pairwise.rbf_kernel pairwise.euclidean_distances "
                           "pairwise.linear_kernel pairwise.polynomial_kernel"),
]  # fmt: skip


def leaves(result):
    """Return the arrays and numbers of a result, in order."""
    if isinstance(result, (plait.Tensor, np.ndarray, np.generic, int, float)):
        return [result]
    items = result if isinstance(result, (tuple, list)) else getattr(result, "_asdict", dict)().values()
    return [leaf for item in items for leaf in leaves(item)]


def convert(value):
    return plait.asarray(value) if isinstance(value, np.ndarray) else value


def compare(function, arguments, needs_tensor=True):
    """Return what is wrong with `function` of tensors, or None."""
    wanted = leaves(function(*arguments))
    try:
        ours = leaves(function(*map(convert, arguments)))
        assert not needs_tensor or any(isinstance(v, plait.Tensor) for v in ours), "no tensor"
        for a, b in zip(ours, wanted, strict=True):
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=0.01, atol=2e-3)
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:300]}"
    return None


def fitted(estimator, target, methods):
    """Return the function of data that fits an estimator and applies it."""
    names = methods or (("predict",) if hasattr(estimator, "predict") else ("transform",))

    def run(data, *rest):
        model = sklearn.clone(estimator).fit(data, *rest)
        if names == ("inverse",):
            return model.inverse_transform(model.transform(data))  # the signs of the components are free
        return [getattr(model, name)(data) for name in names]

    return run, (POINTS,) if target is None else (POINTS, target)


def cases():
    for name, module, arguments in SCIPY:
        if hasattr(module, name):
            yield f"{module.__name__}.{name}", getattr(module, name), arguments, True
    for name in ("hann", "kaiser", "gaussian"):
        more = () if name == "hann" else (3.0,)
        window = getattr(signal.windows, name)
        yield name, lambda x, f=window, m=more: f(8, *m, xp=plait if isinstance(x, plait.Tensor) else np), (X,), True
    yield "Rotation", lambda q: Rotation.from_quat(q).as_matrix(), (np.array([0.0, 0.0, 0.6, 0.8]),), True
    yield "derivative", lambda x: differentiate.derivative(lambda v: v * v * v, x).df, (WIDE[:5],), True
    for estimator, target, methods in ESTIMATORS:
        yield str(estimator)[:60], *fitted(estimator, target, methods), True
    for arguments, names in METRICS:
        for name in names.split():
            function = metrics
            for part in name.split("."):
                function = getattr(function, part)
            yield name, function, arguments, False
    yield (
        "cross_val_predict",
        lambda x, y: model_selection.cross_val_predict(linear_model.Ridge(solver="svd"), x, y, cv=3),
        (POINTS, TARGET),
        True,
    )


def main() -> int:
    failures = {name: wrong for name, *case in cases() if (wrong := compare(*case))}
    for name, wrong in failures.items():
        print(name, wrong)
    print(f"{len(failures)} of {sum(1 for _ in cases())} fail")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())

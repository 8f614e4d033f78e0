"""Special functions, with the names of `torch.special`; those that SciPy calls otherwise have its names too."""

from __future__ import annotations

# ruff: noqa: F401, F403 - every import here is a public name
from plait.special.bessel import *
from plait.special.normal import *
from plait.special.polynomials import *
from plait.tensor.activations import sigmoid as expit
from plait.tensor.arithmetic import round
from plait.tensor.elementary import exp2, expm1, log1p
from plait.tensor.reductions import log_softmax, logsumexp, softmax
from plait.tensor.transcendental import (
    digamma,
    erf,
    erfc,
    erfinv,
    i0,
    igamma as gammainc,
    igammac as gammaincc,
    lgamma as gammaln,
    logit,
    mvlgamma as multigammaln,
    polygamma,
    sinc,
    xlogy,
)

psi = digamma

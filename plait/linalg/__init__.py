"""Linear algebra: the functions of `torch.linalg`, `numpy.linalg` and of the Array API standard's extension.

Leading axes are a batch everywhere. Values come from LAPACK, by way of NumPy; SciPy, the extra `plait[linalg]`, makes
large matrices faster and is needed for the LDL factorization. Everything has derivatives of every order, forward and
reverse, except where a docstring says otherwise.
"""

# ruff: noqa: F401, F403 - every import here is a name of this namespace

from __future__ import annotations

from plait.core.errors import LinAlgError
from plait.linalg.factorizations import *
from plait.linalg.measures import *
from plait.linalg.products import *
from plait.linalg.solving import *
from plait.linalg.spectra import *

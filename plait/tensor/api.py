"""The function namespace, in one list: the Array API standard first, then NumPy and PyTorch."""

from __future__ import annotations

from plait.tensor import methods as _methods  # noqa: F401  (attaches the methods of Tensor)
from plait.tensor.contraction import matmul, tensordot, vecdot
from plait.tensor.dlpack import from_dlpack
from plait.tensor.repr import PrintOptions, print_options
from plait.tensor.tensor import Parameter, Tensor

__all__ = [
    "Parameter",
    "PrintOptions",
    "Tensor",
    "from_dlpack",
    "matmul",
    "print_options",
    "tensordot",
    "vecdot",
]

# ruff: noqa: F403 - modules that list their own public names
from plait.tensor import activations, arithmetic, compound, elementary, extremes, logic, parts, transcendental
from plait.tensor.activations import *
from plait.tensor.arithmetic import *
from plait.tensor.compound import *
from plait.tensor.elementary import *
from plait.tensor.extremes import *
from plait.tensor.logic import *
from plait.tensor.parts import *
from plait.tensor.transcendental import *

for _module in (activations, arithmetic, compound, elementary, extremes, logic, parts, transcendental):
    __all__ += _module.__all__

from plait.tensor import einops_backend as _einops, inspection, interchange as _numpy  # noqa: F401  (they register)
from plait.tensor.inspection import *

__all__ += inspection.__all__

from plait.tensor import cumulative, reductions, sets, sorting, statistics
from plait.tensor.cumulative import *
from plait.tensor.reductions import *
from plait.tensor.sets import *
from plait.tensor.sorting import *
from plait.tensor.statistics import *

for _module in (cumulative, reductions, sets, sorting, statistics):
    __all__ += _module.__all__

from plait.tensor import einsum as _einsum, products
from plait.tensor.einsum import *
from plait.tensor.products import *

for _module in (_einsum, products):
    __all__ += _module.__all__

from plait.tensor import (
    attributes,
    converting,
    creation,
    diagonals,
    dtypes,
    grids,
    rearranging,
    scattering,
    selection,
    shaping,
    splitting,
    stacking,
    strides,
)
from plait.tensor.attributes import *
from plait.tensor.converting import *
from plait.tensor.creation import *
from plait.tensor.diagonals import *
from plait.tensor.dtypes import *
from plait.tensor.grids import *
from plait.tensor.rearranging import *
from plait.tensor.scattering import *
from plait.tensor.selection import *
from plait.tensor.shaping import *
from plait.tensor.splitting import *
from plait.tensor.stacking import *
from plait.tensor.strides import *

for _module in (
    attributes, converting, creation, diagonals, dtypes, grids, rearranging, scattering, selection, shaping, splitting,
    stacking, strides,
):  # fmt: skip
    __all__ += _module.__all__

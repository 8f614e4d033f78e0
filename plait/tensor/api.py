"""The function namespace: what the modules of this folder list as public, in one place."""

# ruff: noqa: F403 - each module lists its own public names

from __future__ import annotations

from plait.tensor import (  # noqa: F401  (what Tensor is for einops and NumPy; its methods)
    activations,
    arithmetic,
    attributes,
    compound,
    converting,
    copies,
    creation,
    cumulative,
    diagonals,
    dtypes,
    einops_backend,
    einsum as einsum_module,
    elementary,
    extremes,
    grids,
    inspection,
    interchange,
    logic,
    methods,
    parts,
    products,
    rearranging,
    reductions,
    scattering,
    selection,
    sets,
    shaping,
    sorting,
    splitting,
    stacking,
    statistics,
    strides,
    transcendental,
)
from plait.tensor.activations import *
from plait.tensor.arithmetic import *
from plait.tensor.attributes import *
from plait.tensor.compound import *
from plait.tensor.contraction import matmul, tensordot, vecdot
from plait.tensor.converting import *
from plait.tensor.copies import *
from plait.tensor.creation import *
from plait.tensor.cumulative import *
from plait.tensor.diagonals import *
from plait.tensor.dlpack import from_dlpack
from plait.tensor.dtypes import *
from plait.tensor.einsum import *
from plait.tensor.elementary import *
from plait.tensor.extremes import *
from plait.tensor.grids import *
from plait.tensor.inspection import *
from plait.tensor.logic import *
from plait.tensor.parts import *
from plait.tensor.products import *
from plait.tensor.rearranging import *
from plait.tensor.reductions import *
from plait.tensor.repr import PrintOptions, print_options
from plait.tensor.scattering import *
from plait.tensor.selection import *
from plait.tensor.sets import *
from plait.tensor.shaping import *
from plait.tensor.sorting import *
from plait.tensor.splitting import *
from plait.tensor.stacking import *
from plait.tensor.statistics import *
from plait.tensor.strides import *
from plait.tensor.tensor import Parameter, Tensor
from plait.tensor.transcendental import *

_MODULES = (
    activations, arithmetic, attributes, compound, converting, copies, creation, cumulative, diagonals, dtypes,
    einsum_module, elementary, extremes, grids, inspection, logic, parts, products, rearranging, reductions, scattering,
    selection, sets, shaping, sorting, splitting, stacking, statistics, strides, transcendental,
)  # fmt: skip
__all__ = [
    "Parameter", "PrintOptions", "Tensor", "from_dlpack", "matmul", "print_options", "tensordot", "vecdot",
    *[name for module in _MODULES for name in module.__all__],
]  # fmt: skip

"""The elementwise functions in one namespace; `both_names` gives a function the names of PyTorch's arguments too."""

# ruff: noqa: F401, F403 - every import here is a name of this namespace

from __future__ import annotations

from plait.tensor.activations import *
from plait.tensor.arithmetic import *
from plait.tensor.compound import *
from plait.tensor.elementary import *
from plait.tensor.extremes import *
from plait.tensor.extremes import limits_of
from plait.tensor.families import both_names
from plait.tensor.logic import *
from plait.tensor.parts import *
from plait.tensor.transcendental import *

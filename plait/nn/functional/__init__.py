"""The functions behind the layers, with PyTorch's names and order of arguments."""

# ruff: noqa: F401, F403 - every import here is a name of this namespace

from __future__ import annotations

from plait.nn.functional import namespace
from plait.nn.functional.activation import *
from plait.nn.functional.adaptive import *
from plait.nn.functional.attention import *
from plait.nn.functional.classification import *
from plait.nn.functional.convolution import *
from plait.nn.functional.ctc import *
from plait.nn.functional.distance import *
from plait.nn.functional.dropout import *
from plait.nn.functional.embedding import *
from plait.nn.functional.folding import *
from plait.nn.functional.grid import *
from plait.nn.functional.linear import *
from plait.nn.functional.losses import *
from plait.nn.functional.normalization import *
from plait.nn.functional.padding import *
from plait.nn.functional.pooling import *
from plait.nn.functional.resampling import *
from plait.tensor.absent import of_functional as __getattr__  # says what to use for a name that is not here

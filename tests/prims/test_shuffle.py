"""Random permutations: the words decide alone, every permutation is as likely, and each place is there once."""

from __future__ import annotations

import numpy as np
import pytest

from plait.core.aval import aval
from plait.core.dtype import float32, uint32
from plait.core.errors import DTypeError, ShapeError
from plait.core.graph import placeholder
from plait.core.primitive import P
from tests.prims.kernels import check_batch, check_values, evaluate, inputs_for


def test_values() -> None:
    check_values("shuffle", uint32, (0, 1, 5))


def test_batch() -> None:
    words = np.random.default_rng(0).integers(0, 2**32, (2, 3, 7), np.uint32)
    check_batch("shuffle", [words[0], words[1]], {})


def test_all_permutations_are_as_likely() -> None:
    words = np.random.default_rng(0).integers(0, 2**32, (2, 24000, 4), np.uint32)
    inputs = inputs_for(list(words))
    (got,) = evaluate([P.shuffle(*inputs)], inputs, list(words))
    _, counts = np.unique(got @ [64, 16, 4, 1], return_counts=True)
    assert len(counts) == 24 and ((counts - 1000) ** 2 / 1000).sum() < 50  # chi-square of 23 degrees, p = 0.001


def test_many_places_are_in_buckets() -> None:
    words = np.random.default_rng(0).integers(0, 2**32, (2, 200_000), np.uint32)
    inputs = inputs_for(list(words))
    (got,) = evaluate([P.shuffle(*inputs)], inputs, list(words))
    assert np.array_equal(np.sort(got), np.arange(200_000))
    assert abs(np.corrcoef(got, np.arange(200_000))[0, 1]) < 0.01
    assert abs(np.corrcoef(got[1:], got[:-1])[0, 1]) < 0.01


def test_errors() -> None:
    words, numbers = placeholder(aval(uint32, (4,))), placeholder(aval(float32, (4,)))
    with pytest.raises(DTypeError, match="random words"):
        P.shuffle(numbers, words)
    with pytest.raises(ShapeError, match="two words for each place"):
        P.shuffle(words, placeholder(aval(uint32, (3,))))

"""DLPack with TensorFlow, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

import plait

tf = pytest.importorskip("tensorflow")
DTYPES = "bool uint8 int32 int64 float16 bfloat16 float32 float64 complex64".split()


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_goes_there_and_back(dtype: str) -> None:
    x = plait.arange(6).reshape(2, 3).to(dtype)
    there = tf.experimental.dlpack.from_dlpack(x.__dlpack__())
    assert there.dtype.name == dtype
    assert there.numpy().astype("complex64").tolist() == x.to(plait.complex64).tolist()
    back = plait.from_dlpack(tf.experimental.dlpack.to_dlpack(there))
    assert back.dtype is x.dtype
    assert bool((back == x).all())


def test_tensors_of_each_other_are_taken() -> None:
    theirs = tf.constant([[1.0, 2.0]])
    assert plait.from_dlpack(theirs).tolist() == plait.tensor(theirs).tolist() == [[1, 2]]
    assert np.asarray(tf.convert_to_tensor(plait.ones(2))).tolist() == [1, 1]

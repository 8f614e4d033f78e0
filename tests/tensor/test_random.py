"""Random numbers: those of `jax.random` (0.10.2) for the same key; the generator's state; rough statistics."""

from __future__ import annotations

import numpy as np
import pytest

import plait
from plait import random, sampling
from plait.tensor import api

KEY = random.key(42)
FROM_JAX = {
    "split": (
        lambda: random.split(KEY, 3), (3, 2),
        [1832780943, 270669613, 64467757, 2916123636, 2465931498, 255383827],
    ),
    "split2d": (
        lambda: random.split(KEY, (2, 2)), (2, 2, 2),
        [1832780943, 270669613, 64467757, 2916123636, 2465931498, 255383827, 3134548294, 894150801],
    ),
    "fold_in": (lambda: random.fold_in(KEY, 7), (2,), [2547012911, 1371500959]),
    "key_large": (lambda: random.key(2**40 + 5), (2,), [256, 5]),
    "key_negative": (lambda: random.key(-3), (2,), [4294967295, 4294967293]),
    "bits8": (lambda: random.bits(KEY, (3, 2), "uint8"), (3, 2), [162, 217, 249, 215, 21, 216]),
    "bits16": (lambda: random.bits(KEY, (3, 2), "uint16"), (3, 2), [5026, 12505, 63993, 49623, 29461, 20184]),
    "bits32": (
        lambda: random.bits(KEY, (3, 2), "uint32"), (3, 2),
        [2098992034, 2919706841, 2646866425, 2409546199, 1935504149, 2516274904],
    ),
    "bits64": (
        lambda: random.bits(KEY, (3, 2), "uint64"), (3, 2),
        [7871734211187709741, 276886910877598708, 10591095138341673235, 13462782411356743825, 12687676868490354166,
         11878554724538143822],
    ),
    "uniform_float16": (
        lambda: random.uniform(KEY, (5,), "float16"), (5,),
        [0.076171875, 0.1904296875, 0.9755859375, 0.7568359375, 0.44921875],
    ),
    "normal_float16": (
        lambda: random.normal(KEY, (5,), "float16"), (5,),
        [-1.4296875, -0.87548828125, 1.974609375, 0.69677734375, -0.1270751953125],
    ),
    "uniform_bfloat16": (
        lambda: random.uniform(KEY, (5,), "bfloat16"), (5,),
        [0.6328125, 0.84375, 0.96875, 0.8359375, 0.078125],
    ),
    "normal_bfloat16": (
        lambda: random.normal(KEY, (5,), "bfloat16"), (5,),
        [0.34375, 1.015625, 1.890625, 0.984375, -1.40625],
    ),
    "uniform_float32": (
        lambda: random.uniform(KEY, (5,), "float32"), (5,),
        [0.48870956897735596, 0.6797971725463867, 0.6162714958190918, 0.5610160827636719, 0.4506446123123169],
    ),
    "normal_float32": (
        lambda: random.normal(KEY, (5,), "float32"), (5,),
        [-0.02830461598932743, 0.4671318531036377, 0.2957029640674591, 0.15354591608047485, -0.12403281778097153],
    ),
    "uniform_float64": (
        lambda: random.uniform(KEY, (5,), "float64"), (5,),
        [0.4267275666499091, 0.015010069515314584, 0.5741444178995352, 0.7298188969046309, 0.687800341230566],
    ),
    "normal_float64": (
        lambda: random.normal(KEY, (5,), "float64"), (5,),
        [-0.18471174528191162, -2.169824560397754, 0.18693555179382582, 0.6122653570510959, 0.4896249504757018],
    ),
    "uniform_range": (
        lambda: random.uniform(KEY, (4,), minval=-2.0, maxval=3.0), (4,),
        [0.443547845, 1.39898586, 1.08135748, 0.805080414],
    ),
    "randint_int8": (lambda: random.randint(KEY, (5,), 3, 100, "int8"), (5,), [38, 79, 89, 54, 28]),
    "randint_uint8": (lambda: random.randint(KEY, (5,), 3, 100, "uint8"), (5,), [38, 79, 89, 54, 28]),
    "randint_int32": (lambda: random.randint(KEY, (5,), 3, 100, "int32"), (5,), [38, 79, 89, 54, 28]),
    "randint_int64": (lambda: random.randint(KEY, (5,), 3, 100, "int64"), (5,), [34, 78, 93, 73, 60]),
    "randint_uint32": (lambda: random.randint(KEY, (5,), 3, 100, "uint32"), (5,), [38, 79, 89, 54, 28]),
    "randint_wide": (
        lambda: random.randint(KEY, (4,), -(2**31), 2**31, "int32"), (4,),
        [977810628, 1236381714, -1367112521, -1019495231],
    ),
    "randint_256": (lambda: random.randint(KEY, (4,), 0, 256, "uint8"), (4,), [196, 18, 183, 193]),
    "permutation_n": (lambda: random.permutation(KEY, 9), (9,), [7, 4, 2, 5, 3, 6, 8, 0, 1]),
    "permutation_x": (
        lambda: random.permutation(KEY, api.arange(12).reshape(4, 3)), (4, 3),
        [6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5],
    ),
    "permutation_axis": (
        lambda: random.permutation(KEY, api.arange(12).reshape(4, 3), axis=1), (4, 3),
        [2, 0, 1, 5, 3, 4, 8, 6, 7, 11, 9, 10],
    ),
    "permutation_independent": (
        lambda: random.permutation(KEY, api.arange(12).reshape(4, 3), independent=True), (4, 3),
        [3, 7, 2, 6, 4, 5, 9, 10, 11, 0, 1, 8],
    ),
    "bernoulli": (
        lambda: random.bernoulli(KEY, api.tensor(0.3, "float64"), (8,)), (8,),
        [False, True, False, False, False, False, False, False],
    ),
    "bernoulli_p": (lambda: random.bernoulli(KEY, api.tensor([0.1, 0.5, 0.9])), (3,), [False, False, True]),
    "categorical": (
        lambda: random.categorical(KEY, api.tensor([0.0, 1.0, 2.0]), shape=(6,)), (6,),
        [2, 2, 2, 2, 1, 2],
    ),
    "categorical_axis": (
        lambda: random.categorical(KEY, api.arange(12).float().reshape(3, 4) / 4, axis=0), (4,),
        [2, 2, 2, 2],
    ),
    "gumbel": (lambda: random.gumbel(KEY, (4,)), (4,), [0.334093392, 0.952019453, 0.725530565, 0.54817152]),
    "exponential": (lambda: random.exponential(KEY, (4,)), (4,), [0.670817494, 1.13880062, 0.957819998, 0.823292494]),
    "big": (lambda: random.bits(KEY, 100000).to("uint64").sum(), (), [214562099915735]),
}  # fmt: skip
EXACT = [f"uniform_{t}" for t in ("float16", "bfloat16", "float32", "float64")]


@pytest.mark.parametrize("name", FROM_JAX)
def test_same_numbers_as_jax(name):
    call, shape, expected = FROM_JAX[name]
    result = call()
    assert result.shape == shape
    array = result.numpy().reshape(-1)
    expected = np.array(expected, array.dtype)
    if result.dtype.is_floating and name not in EXACT:
        tolerance = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 2e-6, "float64": 1e-12}[result.dtype.name]
        np.testing.assert_allclose(array.astype(float), expected.astype(float), rtol=tolerance, atol=tolerance)
    else:
        assert array.tolist() == expected.tolist()


def test_generator():
    sampling.manual_seed(3)
    first, second = sampling.rand(4), sampling.rand(4)
    sampling.manual_seed(3)
    assert first.tolist() == sampling.rand(4).tolist() != second.tolist()
    state = sampling.default_generator.get_state()
    assert state.shape == (3,) and state.tolist() == [0, 3, 1]
    following = sampling.randn(3)
    sampling.default_generator.set_state(state)
    assert sampling.randn(3).tolist() == following.tolist()
    own = sampling.Generator(3)
    assert sampling.rand(4, generator=own).tolist() == first.tolist()


def test_generator_under_jit():
    generator = sampling.Generator(0)
    draw = plait.jit(lambda: sampling.rand(3, generator=generator))
    compiled = [draw().tolist() for _ in range(3)]
    assert generator.get_state().tolist() == [0, 0, 3]
    generator.manual_seed(0)
    assert compiled == [sampling.rand(3, generator=generator).tolist() for _ in range(3)]


def test_samplers():
    sampling.manual_seed(0)
    assert sorted(sampling.randperm(20).tolist()) == list(range(20))
    x = sampling.randint(-2, 3, (1000,))
    assert x.dtype is plait.int64 and sorted(set(x.tolist())) == [-2, -1, 0, 1, 2]
    assert sampling.randint(5, (2, 2)).shape == (2, 2)
    assert set(sampling.bernoulli(api.full(50, 0.5)).tolist()) == {0.0, 1.0}
    w = sampling.randn(2, 2, requires_grad=True)
    assert w.requires_grad and w.is_leaf and sampling.rand(2, dtype="float64").dtype is plait.float64
    y = api.zeros(1000)
    assert abs(y.normal_(2.0, 3.0).mean().item() - 2) < 0.4 and abs(y.std().item() - 3) < 0.3
    assert y.uniform_(1, 2).min().item() >= 1 and y.max().item() <= 2 and 0.9 < y.exponential_().mean().item() < 1.1
    assert 0.2 < y.bernoulli_(0.3).mean().item() < 0.4
    weights = api.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    rows = sampling.multinomial(weights, 200, replacement=True)
    assert rows.shape == (2, 200) and set(rows[0].tolist()) == {1} and set(rows[1].tolist()) == {0, 2}
    assert sorted(sampling.multinomial(api.ones(4), 4).tolist()) == [0, 1, 2, 3]
    assert sampling.rand_like(w).shape == sampling.randn_like(w).shape == (2, 2)


def test_statistics():
    x = random.normal(KEY, (20000,))
    assert abs(x.mean().item()) < 0.03 and abs(x.var().item() - 1) < 0.04
    assert len(set(random.bits(KEY, (1000,)).tolist())) == 1000


def test_errors():
    with pytest.raises(
        plait.errors.ArgumentTypeError, match=r"no key\. Received: float32\[2\]\. Expected: uint32\[2\]"
    ):
        random.split(api.ones(2))
    with pytest.raises(plait.errors.DTypeError, match="Random real numbers are floats"):
        random.normal(KEY, (2,), "int32")
    with pytest.raises(plait.errors.DTypeError, match="randint draws integers"):
        random.randint(KEY, (2,), 0, 1, "float32")
    with pytest.raises(plait.errors.DTypeError, match="unsigned"):
        random.bits(KEY, (2,), "int32")
    with pytest.raises(plait.errors.ArgumentTypeError, match="A seed is an integer"):
        random.key(1.5)

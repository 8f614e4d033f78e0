"""Data against torch.utils.data."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest

import plait
from plait import data

torch = pytest.importorskip("torch")
Point = namedtuple("Point", "x y")


def plain(value):
    if isinstance(value, (torch.Tensor, plait.Tensor)):
        return str(value.dtype).split(".")[1], value.tolist()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return type(value), [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


SAMPLES = {
    "arrays": [np.float32([1, 2]), np.float32([3, 4])],
    "numbers": [1, 2], "floats": [1.5, 2.0], "bools": [True, False], "scalars": [np.int16(3), np.int16(4)],
    "strings": ["a", "b"], "tuples": [(1, "a"), (2, "b")], "lists": [[1, 2.0], [3, 4.0]],
    "named": [Point(1, 2), Point(3, 4)], "nested": [{"a": {"b": (1, [2])}}, {"a": {"b": (3, [4])}}],
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_default_collate(name):
    assert plain(data.default_collate(SAMPLES[name])) == plain(torch.utils.data.default_collate(SAMPLES[name]))


@pytest.mark.parametrize("name", SAMPLES)
def test_default_convert(name):
    for sample in SAMPLES[name]:
        assert plain(data.default_convert(sample)) == plain(torch.utils.data.default_convert(sample))


@pytest.mark.parametrize("options", [
    {}, {"batch_size": 4}, {"batch_size": 4, "drop_last": True}, {"batch_size": None},
    {"batch_sampler": [[3, 1], [2]]}, {"sampler": [2, 0], "batch_size": 2},
], ids=str)  # fmt: skip
def test_loader(options):
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    ours = data.DataLoader(data.TensorDataset(x, y), **options)
    theirs = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y)), **options
    )  # fmt: skip
    assert len(ours) == len(theirs) and [plain(list(b)) for b in ours] == [plain(list(b)) for b in theirs]


@pytest.mark.parametrize("workers", [0, 2])
def test_divided_stream(workers):
    def samples(info):
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        yield from range(first, 11, step)

    class Ours(data.IterableDataset):
        def __iter__(self):
            return samples(data.get_worker_info())

    class Theirs(torch.utils.data.IterableDataset):
        def __iter__(self):
            return samples(torch.utils.data.get_worker_info())

    options = {"batch_size": 3, "num_workers": workers}
    ours = [b.tolist() for b in data.DataLoader(Ours(), **options)]
    assert ours == [b.tolist() for b in torch.utils.data.DataLoader(Theirs(), **options)]


@pytest.mark.parametrize("lengths", [[3, 7], [0.5, 0.5], [0.3, 0.3, 0.4], [1 / 3] * 3])
def test_random_split_sizes(lengths):
    ours, theirs = (f(range(10), lengths) for f in (data.random_split, torch.utils.data.random_split))
    assert [len(p) for p in ours] == [len(p) for p in theirs]


@pytest.mark.parametrize("count", [1, 3, 4])
@pytest.mark.parametrize("drop_last", [False, True])
def test_distributed_sampler(count, drop_last):
    for rank in range(count):
        options = {"shuffle": False, "drop_last": drop_last}
        theirs = torch.utils.data.DistributedSampler(range(10), count, rank, **options)
        assert list(data.DistributedSampler(range(10), count, rank, **options)) == list(theirs)


def test_pad_collate():
    rows = [np.arange(3.0), np.arange(5.0)]
    wanted = torch.nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], batch_first=True, padding_value=-1)
    assert data.pad_collate(rows, padding_value=-1).tolist() == wanted.tolist()

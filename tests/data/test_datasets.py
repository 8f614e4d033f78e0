"""Datasets, samplers and collate functions."""

from __future__ import annotations

import json
import pickle
from collections import Counter, OrderedDict, namedtuple

import numpy as np
import pytest

import plait
from plait import data
from plait.core.errors import ArgumentError, ArgumentTypeError, IndexOutOfRangeError, ShapeError

Point = namedtuple("Point", "x y")


def test_tensor_dataset_and_subclasses():
    dataset = data.TensorDataset(plait.arange(12).reshape(6, 2), np.arange(6.0))
    x, y = dataset[-1]
    assert x.tolist() == [10, 11] and y.item() == 5 and len(dataset) == 6
    batch = next(iter(data.DataLoader(dataset, batch_size=2, sampler=[4, 1])))
    assert [b.tolist() for b in batch] == [[[8, 9], [2, 3]], [4, 1]]

    class Doubled(data.TensorDataset):
        def __getitem__(self, index):
            return tuple(2 * t for t in super().__getitem__(index))

    batch = next(iter(data.DataLoader(Doubled(*dataset.tensors), batch_size=2, sampler=[4, 1])))
    assert batch[1].tolist() == [8, 2]


def test_combined_datasets():
    both = data.TensorDataset(np.arange(2)) + data.TensorDataset(np.arange(2, 5))
    assert [both[i][0].item() for i in range(-5, 5)] == [0, 1, 2, 3, 4] * 2
    with pytest.raises(IndexOutOfRangeError, match="There is no such sample"):
        both[5]
    assert data.StackDataset([1, 2], "ab")[1] == (2, "b")
    parts = data.random_split(range(10), [0.5, 0.25, 0.25], plait.Generator(0))
    assert [len(p) for p in parts] == [6, 2, 2] and sorted(i for p in parts for i in p) == list(range(10))
    again = data.random_split(range(10), [0.5, 0.25, 0.25], plait.Generator(0))
    assert [list(p) for p in again] == [list(p) for p in parts]


def test_packed_list():
    values = data.PackedList([{"a": 1}, "b", None])
    assert values[:] == [{"a": 1}, "b", None] == pickle.loads(pickle.dumps(values))[:]
    with pytest.raises(IndexOutOfRangeError):
        values[3]


def test_arrays_in_files(tmp_path):
    rows = np.arange(24, dtype=np.float32).reshape(6, 4)
    np.save(tmp_path / "x.npy", rows)
    rows.tofile(tmp_path / "x.raw")
    dataset = data.MemoryMappedDataset(tmp_path / "x.npy")
    raw = data.MemoryMappedDataset(tmp_path / "x.raw", dtype=np.float32, shape=(4,))
    for found in (dataset, raw, pickle.loads(pickle.dumps(dataset))):
        assert len(found) == 6 and np.array_equal(found[4].numpy(), rows[4])
        batch = next(iter(data.DataLoader(found, batch_size=3, sampler=[5, 0, 5])))
        assert np.array_equal(batch.numpy(), rows[[5, 0, 5]])
    assert len(pickle.dumps(dataset)) < 1000
    with pytest.raises(ArgumentError, match="96 bytes"):
        data.MemoryMappedDataset(tmp_path / "x.raw", dtype=np.float32, shape=(5,))
    with pytest.raises(ArgumentError, match="dtype="):
        data.MemoryMappedDataset(tmp_path / "x.raw")


def test_tokens(tmp_path):
    np.arange(10, dtype=np.uint16).tofile(tmp_path / "a.bin")
    np.arange(100, 108, dtype=np.uint16).tofile(tmp_path / "b.bin")
    dataset = data.TokenDataset([tmp_path / "a.bin", tmp_path / "b.bin"], length=4, stride=2)
    starts = [dataset[i][0][0].item() for i in range(len(dataset))]
    assert starts == [0, 2, 4, 100, 102]
    x, y = next(iter(data.DataLoader(dataset, batch_size=5)))
    assert np.array_equal(x.numpy() + 1, y.numpy()) and x.numpy()[:, 0].tolist() == starts and x.dtype is plait.int64
    with pytest.raises(ArgumentError, match=r"length \+ 1 = 21"):
        data.TokenDataset(tmp_path / "a.bin", 20)


def test_tables_and_lines(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import feather, parquet

    table = pyarrow.table({"x": [1, 2, 3], "y": ["a", "b", "c"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    feather.write_feather(table, tmp_path / "a.feather", compression="uncompressed")
    (tmp_path / "a.csv").write_text("x,y\n1,a\n2,b\n3,c\n")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    for suffix in ("parquet", "feather", "csv"):
        dataset = data.TableDataset([tmp_path / f"a.{suffix}"] * 2)
        assert len(dataset) == 6 and dataset[4] == {"x": 2, "y": "b"}
        assert list(data.read_records(tmp_path / f"a.{suffix}")) == table.to_pylist()
        assert data.TableDataset(tmp_path / f"a.{suffix}", ["y"])[0] == {"y": "a"}
    lines = data.TextLineDataset([tmp_path / "a.jsonl", tmp_path / "a.csv"], str.strip)
    assert len(lines) == 7 and json.loads(lines[2]) == {"x": 3, "y": "c"} and lines[6] == "3,c"
    with pytest.raises(ArgumentError, match=r"a\.xls"):
        data.read_table(tmp_path / "a.xls")


def test_missing_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.csv", None)
    with pytest.raises(plait.core.errors.MissingDependencyError, match=r'pip install "plait\[data\]"'):
        data.read_table("a.csv")


@pytest.fixture
def shards(tmp_path):
    for i in range(8):
        (tmp_path / f"{i}.txt").write_text("".join(f"{i}-{j}\n" for j in range(10 + i)))
    return [tmp_path / f"{i}.txt" for i in range(8)]


def test_shards(shards):
    def run(dataset, **options):
        return [record for batch in data.DataLoader(dataset, batch_size=4, **options) for record in batch]

    every = {line for path in shards for line in path.read_text().split()}
    wanted = run(data.ShardedDataset(shards, buffer_size=40))
    assert set(wanted) == every and len(wanted) == len(every) and wanted != sorted(wanted)
    assert wanted == run(data.ShardedDataset(shards, buffer_size=40), num_workers=3, workers="thread")
    ranks = [run(data.ShardedDataset(shards, num_replicas=2, rank=rank)) for rank in range(2)]
    assert set(ranks[0]) | set(ranks[1]) == every and len(ranks[0]) + len(ranks[1]) == len(every)
    with pytest.raises(ArgumentError, match="cannot be divided"):
        data.ShardedDataset(shards, num_replicas=9, rank=0)


def test_resuming_shards_does_not_transform_again(shards):
    seen = []
    loaded = data.DataLoader(data.ShardedDataset(shards, transform=lambda r: (seen.append(r), r)[1]), batch_size=3)
    batches = iter(loaded)
    for _ in range(5):
        next(batches)
    again = data.DataLoader(loaded.dataset, batch_size=3)
    again.load_state_dict(loaded.state_dict())
    rest = list(batches)
    seen.clear()
    assert list(again) == rest and len(seen) == sum(map(len, rest))


# samplers


def test_distributed_sampler_covers_everything():
    def orders(**options):
        return [list(data.DistributedSampler(range(10), 3, rank, **options)) for rank in range(3)]

    for options, total in [({}, 12), ({"drop_last": True}, 9), ({"shuffle": False}, 12)]:
        parts = orders(**options)
        assert [len(p) for p in parts] == [total // 3] * 3
        assert len({i for p in parts for i in p}) == min(total, 10)
    sampler = data.DistributedSampler(range(10), 1, 0)
    loaded = data.DataLoader(range(10), 10, sampler=sampler)
    assert next(iter(loaded)).tolist() != next(iter(loaded)).tolist()  # epochs differ without set_epoch
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    with pytest.raises(ArgumentError, match="rank"):
        data.DistributedSampler(range(10), 2, 2)


def test_weighted_sampler():
    sampler = data.WeightedRandomSampler([1, 0, 3], 4000, generator=plait.Generator(0))
    counts = Counter(sampler)
    assert set(counts) == {0, 2} and 2.7 < counts[2] / counts[0] < 3.3
    assert sorted(data.WeightedRandomSampler([1, 0, 3], 2, replacement=False)) == [0, 2]
    for weights, count, options in [([-1, 1], 1, {}), ([1, 0], 2, {"replacement": False}), ([[1]], 1, {})]:
        with pytest.raises(ArgumentError):
            data.WeightedRandomSampler(weights, count, **options)


def test_a_sample_drawn_twice_has_two_streams():
    class Noise(data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return data.sample_generator().random()

    drawn = data.DataLoader(Noise(), 50, sampler=data.RandomSampler(range(2), replacement=True, num_samples=50))
    assert len(set(next(iter(drawn)).tolist())) == 50


def test_stratified_sampler():
    labels = np.array([0] * 60 + [1] * 30 + [2] * 10)
    order = list(data.StratifiedSampler(labels, plait.Generator(0)))
    assert sorted(order) == list(range(100)) and order != list(data.StratifiedSampler(labels, plait.Generator(1)))
    for start in range(0, 100, 10):
        counts = np.bincount(labels[order[start : start + 10]], minlength=3)
        assert np.abs(counts - [6, 3, 1]).max() <= 1


def test_bucket_sampler():
    lengths = np.random.default_rng(0).integers(1, 100, 500)
    sampler = data.BucketBatchSampler(lengths, 10, bucket_size=10, generator=plait.Generator(0))
    batches = list(sampler)
    assert sorted(i for b in batches for i in b) == list(range(500)) and len(batches) == len(sampler)
    padded = sum(len(b) * lengths[b].max() for b in batches)
    assert padded < 1.15 * lengths.sum()
    batches = list(data.BucketBatchSampler(lengths, 100, max_tokens=800))
    assert max(len(b) * lengths[b].max() for b in batches) <= 800
    with pytest.raises(ArgumentError, match="longer than a batch"):
        data.BucketBatchSampler([5, 900], 10, max_tokens=800)


# collate functions


def test_default_collate():
    batch = [
        {"a": np.float32(i), "b": [i, 1.5], "c": Point(np.ones(2), f"{i}"), "d": plait.tensor([i]), "e": True}
        for i in range(2)
    ]
    found = data.default_collate(batch)
    assert found["a"].dtype is plait.float32 and found["e"].dtype is plait.bool_
    assert [x.dtype for x in found["b"]] == [plait.int64, plait.float64]
    assert isinstance(found["c"], Point) and found["c"].y == ("0", "1") and found["d"].tolist() == [[0], [1]]
    assert type(data.default_collate([OrderedDict(x=1)])) is OrderedDict
    cases = [
        ([np.ones(2), np.ones(3)], ShapeError, r"\(3,\) in sample 1 of the batch.*pad_collate"),
        ([{"x": [1]}, {"x": [1, 2]}], ShapeError, r"equal lengths at sample\['x'\]"),
        ([{"x": 1}, {"y": 1}], ArgumentError, "no 'x'"),
        ([object()], ArgumentTypeError, "ToTensor"),
        ([np.array(["a"])], ArgumentTypeError, "numbers"),
    ]
    for batch, kind, text in cases:
        with pytest.raises(kind, match=text):
            data.default_collate(batch)


def test_pad_collate():
    batch = [{"x": np.arange(n), "label": n} for n in (3, 1)]
    found, lengths = data.pad_collate(batch, padding_value=-1, multiple_of=4, side="left", return_lengths=True)
    assert found["x"].tolist() == [[-1, 0, 1, 2], [-1, -1, -1, 0]] and found["label"].tolist() == [3, 1]
    assert lengths["x"].tolist() == [3, 1]
    with pytest.raises(ShapeError, match="first axis"):
        data.pad_collate([np.ones((2, 3)), np.ones((2, 4))])


def test_pack_collate_loses_nothing():
    sequences = [np.arange(n) + 100 * i for i, n in enumerate((5, 17, 3, 8, 1), 1)]
    packed = data.pack_collate(sequences, length=8, padding_value=-1)
    tokens, segments, positions = (part.numpy() for part in packed)
    assert tokens.shape == (5, 8) and ((segments == 0) == (tokens == -1)).all()
    found = [tokens[r][segments[r] == s] for r in range(5) for s in range(1, segments[r].max() + 1)]
    assert sorted(np.concatenate(found)) == sorted(np.concatenate(sequences))
    assert np.array_equal(positions[segments > 0], tokens[segments > 0] % 100)

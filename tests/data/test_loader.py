"""DataLoader: the same batches from all kinds of workers, exact resuming, clear errors, nothing left over."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import plait
from plait import data
from plait.data import transport

ROOT = Path(__file__).resolve().parents[2]


class Noise(data.Dataset):
    """What each source of randomness gives for a sample."""

    def __len__(self):
        return 22

    def __getitem__(self, index):
        own = data.sample_generator().random(), plait.rand(()).item()
        return np.full(1000, index, np.float32), own, (random.random(), np.random.rand())


class Stream(data.IterableDataset):
    """Numbers divided among workers, with noise."""

    def __init__(self, total, num_streams=None):
        self.total = total
        if num_streams:
            self.num_streams = num_streams

    def __iter__(self):
        worker = data.get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for i in range(first, self.total, step):
            yield i, np.random.rand(), data.sample_generator().random()


class Failing(data.Dataset):
    def __init__(self, action):
        self.action = action

    def __len__(self):
        return 20

    def __getitem__(self, index):
        if index == 13:
            self.action()
        return index


def numbers(batch):
    """Return a batch as plain numbers."""
    if isinstance(batch, list):
        return [numbers(part) for part in batch]
    return batch.tolist()


def loader(dataset, seed=0, **options):
    plait.manual_seed(seed)
    return data.DataLoader(dataset, **{"batch_size": 4, **options})


def kinds(*names):
    known = {
        "alone": {}, "processes": {"num_workers": 3}, "thread": {"num_workers": 2, "workers": "thread"},
        "persistent": {"num_workers": 1, "persistent_workers": True, "prefetch_factor": 5},
    }  # fmt: skip
    return pytest.mark.parametrize("options", [known[n] for n in names], ids=names)


@pytest.fixture(scope="module")
def expected():
    loaded = loader(Noise(), shuffle=True)
    return [[numbers(batch) for batch in loaded] for _ in range(2)]


@kinds("processes", "thread", "persistent")
def test_batches_do_not_depend_on_workers(expected, options):
    loaded = loader(Noise(), shuffle=True, **options)
    parts = 2 if "workers" in options else 3  # threads share the global generators
    for epoch in expected:
        found = [numbers(batch) for batch in loaded]
        assert [batch[:parts] for batch in found] == [batch[:parts] for batch in epoch]


def test_streams_of_samples(expected):
    """Each sample has its own numbers, in each epoch others, whatever batch it is in."""
    other = [numbers(batch) for batch in loader(Noise(), batch_size=5, sampler=range(22))]

    def by_index(batches):
        return {i[0]: noise for rows, own, _ in batches for i, *noise in zip(rows, *own, strict=True)}

    first, second = map(by_index, expected)
    assert first == by_index(other)
    assert len({x for noise in (*first.values(), *second.values()) for x in noise}) == 4 * 22
    assert [b[0] for b in expected[0]] != [b[0] for b in expected[1]]


def test_the_users_random_numbers_are_left_alone():
    loaded = loader(Noise())
    random.seed(1), np.random.seed(1)
    wanted = random.random(), np.random.rand()
    random.seed(1), np.random.seed(1)
    state = plait.get_rng_state()
    iter(loaded)  # draws the seed
    assert not np.array_equal(state.numpy(), plait.get_rng_state().numpy())
    state = plait.get_rng_state()
    list(loaded)
    assert (random.random(), np.random.rand()) == wanted
    assert np.array_equal(state.numpy(), plait.get_rng_state().numpy())
    assert data.get_worker_info() is None


@kinds("alone", "processes")
def test_resume_in_mid_epoch(expected, options):
    loaded = loader(Noise(), shuffle=True, **options)
    batches = iter(loaded)
    first = [numbers(next(batches)) for _ in range(2)]
    state = json.loads(json.dumps(loaded.state_dict()))
    batches.close()
    again = loader(Noise(), seed=99, shuffle=True, **options)
    again.load_state_dict(state)
    assert first + [numbers(batch) for batch in again] == expected[0]
    assert again.epoch == 1 and [numbers(batch) for batch in again] == expected[1]


def test_resume_of_samplers_with_state():
    def loaded():
        sampler = data.RandomSampler(range(9), generator=plait.Generator(3))
        return data.DataLoader(range(9), 2, sampler=sampler)

    one = loaded()
    list(one)
    batches = iter(one)
    next(batches)
    state = one.state_dict()
    two = loaded()
    two.load_state_dict(state)
    assert [b.tolist() for b in two] == [b.tolist() for b in batches]
    assert [b.tolist() for b in two] == [b.tolist() for b in one]


@kinds("alone", "processes", "thread")
def test_parts_of_a_stream_do_not_depend_on_workers(options):
    def run(loaded):
        return [[part for i, part in enumerate(numbers(b)) if i != 1 or "workers" not in options] for b in loaded]

    wanted = run(loader(Stream(23, num_streams=4)))
    assert sorted(i for batch in wanted for i in batch[0]) == list(range(23))
    loaded = loader(Stream(23, num_streams=4), **options)
    assert run(loaded) == wanted
    batches = run(loaded)
    again = loader(Stream(23, num_streams=4), **options)
    again.set_epoch(1)
    iterator = iter(again)
    first = run([next(iterator) for _ in range(3)])
    resumed = loader(Stream(23, num_streams=4), seed=5)
    resumed.load_state_dict(again.state_dict())
    assert first + run(resumed) == batches


def test_user_code_divides_streams():
    found = [b[0].tolist() for b in loader(Stream(10), num_workers=2, workers="thread")]
    assert found == [[0, 2, 4, 6], [1, 3, 5, 7], [8], [9]]
    assert [len(b[0]) for b in loader(Stream(10), drop_last=True)] == [4, 4]
    assert [x[0] for x in loader(Stream(3), batch_size=None)] == [0, 1, 2]


def test_spawned_workers_share_arrays():
    x = np.arange(100_000.0)
    dataset = data.TensorDataset(x, np.arange(100_000))
    batches = list(loader(dataset, batch_size=50_000, num_workers=1, multiprocessing_context="spawn"))
    assert np.array_equal(np.concatenate([b[0].numpy() for b in batches]), x)


def test_batches_that_are_kept_stay_as_they_are():
    kept = list(loader(Noise(), batch_size=1, num_workers=1))
    assert [batch[0].numpy().mean() for batch in kept] == list(range(22))
    kept[0][0][:] = -1.0
    assert kept[1][0].numpy().mean() == 1


def test_without_shared_memory(monkeypatch, expected):
    def fail(size):
        raise OSError("no memory")

    monkeypatch.setattr(transport, "memory_file", fail)
    assert [numbers(b) for b in loader(Noise(), shuffle=True, num_workers=2)] == expected[0]


@pytest.mark.parametrize("dtype", ["bfloat16", "complex64", "bool", "uint8"])
def test_transport_of_dtypes(dtype):
    receiving, sending = multiprocessing.Pipe()
    x = plait.arange(3000).to(getattr(plait, dtype if dtype != "bool" else "bool_"))
    value = {"x": x, "scalar": plait.tensor(2), "name": "a", "raw": np.asfortranarray(np.ones((50, 60)))}
    transport.Sender(sending, True).send(7, value)
    header, found = transport.Receiver(receiving).receive()
    receiving.close(), sending.close()
    assert header == 7 and found["x"].dtype is x.dtype and found["name"] == "a" and found["scalar"].item() == 2
    assert np.array_equal(found["x"].numpy(), x.numpy()) and np.array_equal(found["raw"], value["raw"])


def test_regions_are_used_again():
    receiving, sending = multiprocessing.Pipe()
    sender, receiver = transport.Sender(sending, True), transport.Receiver(receiving)
    kept = []
    for i in range(12):
        sender.send(i, np.full(5000 + i, i))
        kept = [*kept[-2:], receiver.receive()[1]]
        sender.free += receiver.take_returned()
        assert [a[0] for a in kept] == list(range(max(0, i - 2), i + 1))
    receiving.close(), sending.close()
    assert sender.made <= 4 and len(receiver.regions) <= 4


def fail():
    raise FileNotFoundError("no such image")


def test_error_names_the_sample():
    with pytest.raises(FileNotFoundError, match="while making sample 13 of Failing: no such image") as caught:
        list(loader(Failing(fail), num_workers=2))
    assert isinstance(caught.value, data.SampleError)
    assert "Traceback of the worker" in str(caught.value) and "in fail\n" in str(caught.value)


@kinds("alone", "thread")
def test_error_names_the_sample_of_a_subset(options):
    dataset = data.Subset(Failing(fail), [1, 13])
    with pytest.raises(FileNotFoundError) as caught:
        list(loader(dataset, batch_sampler=[[0], [1]], batch_size=1, **options))
    assert caught.value.__notes__ == ["while making samples [1] of Subset"]
    with pytest.raises(FileNotFoundError) as caught:
        list(data.DataLoader(dataset, batch_size=None, **options))
    assert caught.value.__notes__ == ["while making sample 1 of Subset, which is sample 13 of Failing"]


def test_stop_iteration_does_not_end_the_epoch():
    def stop():
        raise StopIteration

    with pytest.raises(data.SampleError, match="StopIteration while making sample 13 of Failing"):
        list(loader(Failing(stop)))


def test_killed_worker():
    start = time.monotonic()
    with pytest.raises(data.WorkerError, match=r"killed by SIGKILL, while making samples \[12, 13, 14, 15\]"):
        list(loader(Failing(lambda: os.kill(os.getpid(), signal.SIGKILL)), num_workers=2))
    assert time.monotonic() - start < 5


def test_timeout():
    with pytest.raises(data.WorkerError, match=r"within timeout=0.3 seconds.*\[12, 13, 14, 15\]"):
        list(loader(Failing(lambda: time.sleep(0.7)), num_workers=1, timeout=0.3))


def test_persistent_workers_survive_errors_of_the_loop():
    loaded = loader(range(20), num_workers=1, persistent_workers=True)
    for batch in loaded:
        assert batch.tolist() == [0, 1, 2, 3]
        break
    process = loaded._pool.processes[0].pid
    assert [b.tolist()[0] for b in loaded] == [0, 4, 8, 12, 16]
    assert loaded._pool.processes[0].pid == process


def test_as_they_are_ready():
    loaded = loader(range(20), num_workers=2, workers="thread", in_order=False)
    assert sorted(i for b in loaded for i in b.tolist()) == list(range(20))
    with pytest.raises(plait.core.errors.ArgumentError, match="in_order"):
        loaded.state_dict()


def children_of(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry))
    return found


def resident(pids):
    """Return the memory of processes in KiB, what they share divided among them."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_eight_workers_is_flat():
    names = data.PackedList(f"folder/image_{i:07d}.png" for i in range(200_000))
    loaded = loader(names, batch_size=1000, shuffle=True, num_workers=8)
    before, sizes = children_of(os.getpid()), []
    for k, _ in enumerate(loaded):
        if k in (40, 199):
            sizes.append(resident([os.getpid(), *children_of(os.getpid())]))
    assert sizes[1] < 1.05 * sizes[0], sizes
    assert children_of(os.getpid()) == before


def is_running(pid: int) -> bool:
    """Whether a process runs: one that has ended may still wait for its parent to look."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name)
def test_nothing_is_left_when_the_program_is_ended(number):
    script = """
        import time
        from plait import data
        class Slow(data.Dataset):
            def __len__(self): return 1000
            def __getitem__(self, index):
                time.sleep(0.01)
                return index
        for batch in data.DataLoader(Slow(), batch_size=10, num_workers=2):
            print(batch[0].item(), flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout.readline() == "0\n", program.stderr.read()
        workers = children_of(program.pid)
        assert len(workers) == 2
        start = time.monotonic()
        program.send_signal(number)
        program.wait(10)
        while any(map(is_running, workers)) and time.monotonic() - start < 10:
            time.sleep(0.02)
        assert not any(map(is_running, workers))
        assert number is signal.SIGKILL or "KeyboardInterrupt" in program.stderr.read()


BAD = [
    ({"batch_size": 0}, "positive"),
    ({"num_workers": -1}, "num_workers"),
    ({"num_workers": 1.5}, "integer"),
    ({"prefetch_factor": 2}, "no workers"),
    ({"persistent_workers": True}, "no workers"),
    ({"shuffle": True, "sampler": [0]}, "sampler"),
    ({"batch_sampler": [[0]], "drop_last": True}, "batch_sampler"),
    ({"batch_size": None, "drop_last": True}, "full"),
    ({"workers": "fiber"}, "kind of workers"),
    ({"dataset": 3}, "dataset"),
    ({"dataset": Stream(3), "shuffle": True}, "IterableDataset"),
]


@pytest.mark.parametrize(("options", "text"), BAD, ids=["-".join(o) for o, _ in BAD])
def test_arguments(options, text):
    with pytest.raises((plait.core.errors.ArgumentError, plait.core.errors.ArgumentTypeError), match=text):
        data.DataLoader(**{"dataset": range(4), **options})


def test_state_of_another_loader():
    with pytest.raises(plait.core.errors.ArgumentError, match="no state of a DataLoader"):
        data.DataLoader(range(4)).load_state_dict({"epoch": 0})
    state = data.DataLoader(Stream(4, num_streams=2)).state_dict()
    with pytest.raises(plait.core.errors.ArgumentError, match="other parts"):
        data.DataLoader(Stream(4, num_streams=3)).load_state_dict(state)


def test_lengths():
    for options, count in [({}, 10), ({"batch_size": 4}, 3), ({"batch_size": 4, "drop_last": True}, 2)]:
        loaded = data.DataLoader(range(10), **options)
        assert len(loaded) == count == len(list(loaded))
    assert len(data.DataLoader(range(10), batch_size=None)) == 10
    with pytest.raises(plait.core.errors.ArgumentTypeError, match="number of samples"):
        len(data.DataLoader(Stream(4)))

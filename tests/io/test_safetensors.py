"""Saving and loading tensors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plait
from plait import nn
from plait.core.errors import ArgumentError, ArgumentTypeError

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings, strategies as st

DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64", "float8_e4m3fn", "float8_e5m2", "complex64",
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 5)])
def test_round_trip(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    values = plait.tensor(np.random.default_rng(0).integers(0, 2, shape)).to(dtype)
    plait.save({"x": values, "y": plait.arange(3)}, tmp_path / "file")
    loaded = plait.load(tmp_path / "file")
    assert list(loaded) == ["x", "y"]
    assert loaded["x"].aval is values.aval
    assert loaded["x"].numpy().tobytes() == values.numpy().tobytes()


def test_a_model_is_restored(tmp_path: Path) -> None:
    model, twin = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2))
    model(plait.ones(5, 3) * plait.arange(5)[:, None])
    plait.save(model.state_dict(), tmp_path / "model.safetensors", {"epoch": "3"})
    twin.load_state_dict(plait.load(tmp_path / "model.safetensors"))
    x = plait.ones(2, 3)
    np.testing.assert_array_equal(model.eval()(x).detach().numpy(), twin.eval()(x).detach().numpy())


def test_other_libraries_can_read_it(tmp_path: Path) -> None:
    numpy_files = pytest.importorskip("safetensors.numpy")
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    plait.save({"transposed": plait.tensor(array).T, "parameter": nn.Parameter(array)}, tmp_path / "a")
    np.testing.assert_array_equal(numpy_files.load_file(tmp_path / "a")["transposed"], array.T)
    numpy_files.save_file({"x": array}, tmp_path / "b")
    np.testing.assert_array_equal(plait.load(str(tmp_path / "b"))["x"].numpy(), array)


def test_a_file_is_replaced_at_once_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    plait.save({"x": plait.ones(2)}, path)

    def fail(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        plait.save({"x": plait.zeros(2)}, path)
    assert plait.load(path)["x"].tolist() == [1.0, 1.0]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_mapped_tensors_share_the_memory_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    arrays = {f"x{n}": np.arange(n, dtype=np.float32) for n in (3, 16, 17, 1024, 4096, 10**6)}
    plait.save(arrays, path)
    file = plait.io.TensorFile(path)
    begin = np.frombuffer(file._memory, np.uint8).ctypes.data
    shared = {name for name in file if 0 <= file[name].numpy().ctypes.data - begin < path.stat().st_size}
    assert shared == {"x16", "x17", "x1024", "x4096", "x1000000"}, "all of 64 bytes or more"
    before = path.read_bytes()
    loaded = plait.load(path, mmap=True)
    loaded["x1024"] += 1.0
    plait.sync()
    assert loaded["x1024"][0].item() == 1.0 and path.read_bytes() == before
    plait.save({"x1024": np.zeros(1024)}, path)
    assert file["x1000000"][-1].item() == 10**6 - 1, "the old file lives on until nobody looks at it"


def test_mapping_reads_only_what_is_used(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:  # a sparse file of 64 GiB
        header = b'{"x":{"dtype":"F32","shape":[17179869184],"data_offsets":[0,68719476736]}}'
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + (64 << 30))
    mapped = plait.io.TensorFile(path)
    assert mapped.shapes == {"x": (1 << 34,)} and repr(mapped).endswith("1 tensors)")


def test_metadata(tmp_path: Path) -> None:
    plait.save({"x": plait.ones(2)}, tmp_path / "file", {"epoch": "3"})
    assert plait.io.TensorFile(tmp_path / "file").metadata == {"epoch": "3"}
    with pytest.raises(ArgumentTypeError, match="Metadata are strings by name"):
        plait.save({}, tmp_path / "file", {"epoch": 3})


def test_errors(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(ArgumentTypeError, match="Only tensors by name are saved. Received: Linear"):
        plait.io.save_file(nn.Linear(1, 1), path)
    with pytest.raises(ArgumentTypeError, match="Received: int under 'step'"):
        plait.io.save_file({"step": 3}, path)
    with pytest.raises(ArgumentError, match="has no complex128"):
        plait.save({"x": plait.zeros(1, dtype=plait.complex128)}, path)
    with pytest.raises(FileNotFoundError):
        plait.load(path)
    with pytest.raises(ArgumentError, match="a tensor of this name. Received: '__metadata__'"):
        plait.save({"__metadata__": plait.ones(1)}, path)
    with pytest.raises(ArgumentError, match="a tensor of this name"):
        plait.save({"\ud800": plait.ones(1)}, path)
    assert not path.exists()


def header(text: str | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    text = text if isinstance(text, bytes) else text.encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype: str = '"F32"', shape: str = "[1]", offsets: str = "[0,4]") -> str:
    return f'{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}'


DAMAGED = {
    "empty": (b"", "it has 0 bytes"),
    "short": (b"1234567", "it has 7 bytes"),
    "text": (b"not a safetensors file", "a header of"),
    "length bomb": (header("{}", length=2**63), "a header of 9223372036854775808 bytes in a file of 10"),
    "truncated": (header(f'{{"x":{entry()}}}', b"123"), "need 4 bytes, and the file has 3"),
    "trailing": (header(f'{{"x":{entry()}}}', b"12345"), "need 4 bytes, and the file has 5"),
    "no object": (header("[1]"), "no JSON object"),
    "no JSON": (header("{1}"), "the header is not JSON"),
    "no UTF-8": (header(b'{"\xff":1}'), "the header is not JSON"),
    "deep": (header("[" * 100_000), "it is nested too deeply"),
    "NaN": (header('{"x":NaN}'), "holds NaN, which is not finite"),
    "infinity": (header('{"x":1e999}'), "holds 1e999, which is not finite"),
    "twice": (header(f'{{"x":{entry()},"x":{entry()}}}', b"1234"), "'x' comes twice"),
    "metadata": (header('{"__metadata__":{"a":1}}'), "not strings by name"),
    "entry": (header('{"x":{"dtype":"F32"}}'), "is not described by dtype, shape and data_offsets"),
    "dtype": (header(f'{{"x":{entry("3")}}}'), "a dtype that plait does not have, '3'"),
    "shape": (header(f'{{"x":{entry(shape="[-1]")}}}', b"1234"), "is no list of at most 64 sizes"),
    "bool shape": (header(f'{{"x":{entry(shape="[true]")}}}', b"1234"), "is no list of at most 64 sizes"),
    "rank": (header(f'{{"x":{entry(shape=str([1] * 65))}}}', b"1234"), "is no list of at most 64 sizes"),
    "large": (header(f'{{"x":{entry(shape="[4294967296,4294967296]")}}}', b"1234"), "is too large"),
    "empty but large": (header(f'{{"x":{entry(shape="[0,4294967296,4294967296]", offsets="[0,0]")}}}'), "is too large"),
    "offsets": (header(f'{{"x":{entry(offsets="[4,0]")}}}', b"1234"), "needs 4 bytes, and its place has -4"),
    "out of range": (header(f'{{"x":{entry(offsets="[400,404]")}}}', b"1234"), "begins behind a hole"),
    "overlap": (header(f'{{"x":{entry()},"y":{entry(offsets="[2,6]")}}}', b"123456"), "overlaps with another tensor"),
    "bools": (header(f'{{"x":{entry(chr(34) + "BOOL" + chr(34), "[2]", "[0,2]")}}}', b"\1\2"), "other than 0 and 1"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files(tmp_path: Path, name: str) -> None:
    content, text = DAMAGED[name]
    (tmp_path / "file").write_bytes(content)
    for mmap in (False, True):
        with pytest.raises(ArgumentError, match="This is no safetensors file, or it is damaged") as caught:
            plait.load(tmp_path / "file", mmap=mmap)
        assert text in str(caught.value)


@pytest.mark.parametrize("start", [b"PK\x03\x04\0\0\x08\x08\0\0\0\0", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j"])
def test_pickled_files_are_refused_with_the_way_to_convert_them(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(start + bytes(100))
    with pytest.raises(ArgumentError, match=r"Pickled files are not read.*safetensors.torch.save_file\(torch.load\("):
        plait.load(path)


VALID = header(f'{{"x":{entry()},"yy":{entry(chr(34) + "I64" + chr(34), "[2]", "[4,20]")}}}', bytes(20))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), max_size=4),
    stop=st.integers(0, len(VALID)), tail=st.binary(max_size=8),
)  # fmt: skip
def test_any_bytes_are_read_or_refused(tmp_path: Path, changes: list[tuple[int, int]], stop: int, tail: bytes) -> None:
    content = bytearray(VALID)
    for place, value in changes:
        content[place] = value
    path = tmp_path / "file"
    path.write_bytes(bytes(content[:stop] + tail if stop < len(VALID) else content))
    for mmap in (False, True):
        try:
            found = plait.load(path, mmap=mmap)
        except ArgumentError:
            continue
        assert sum(x.nbytes for x in found.values()) <= len(content)

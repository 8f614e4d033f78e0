"""Loggers: what they write is read back by the package that it is for."""

from __future__ import annotations

import csv
import io
import json
import sys
import time
from typing import Any

import numpy as np
import pytest

import plait
from plait import nn, optim, train
from plait.core.errors import ArgumentError, ArgumentTypeError, MissingDependencyError, ShapeError
from plait.train.loggers.graphs import operations_of
from plait.train.loggers.tensorboard import png

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
IMAGE = np.random.default_rng(1).uniform(-0.2, 1.2, size=(3, 5, 7)).astype(np.float32)


def fitted(*loggers: train.Logger) -> train.History:
    plait.manual_seed(0)
    model = nn.Linear(3, 1)
    trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1), nn.functional.mse_loss)
    callbacks = [*loggers, train.LearningRateMonitor()]  # loggers come last all the same
    pairs = (X, X[:, :1])
    return trainer.fit(pairs, 2, validation=pairs, batch_size=5, log_every=2, callbacks=callbacks, progress=False)


def rows_of(history: train.History) -> list[dict[str, float]]:
    """What is to be logged of `fitted`: two rows of steps and one of the epoch, twice."""
    rows = []
    for epoch, record in enumerate(history):
        for k in (0, 2):
            first = epoch * 4 + k
            rows.append({"step": first + 2, "loss": sum(history.losses[first : first + 2]) / 2, "lr": 0.1})
        rows.append({("epoch_loss" if name == "loss" else name): value for name, value in record.items()})
    return rows


def test_csv_and_jsonl_hold_the_numbers_as_they_are(tmp_path: Any) -> None:
    history = fitted(train.CSVLogger(tmp_path / "a" / "log.csv"), train.JSONLLogger(tmp_path / "b" / "log.jsonl"))
    expected = rows_of(history)
    assert expected[2]["lr"] == 0.1 and expected[2]["val_loss"] == history["val_loss"][0]
    with (tmp_path / "a" / "log.csv").open(newline="") as file:
        found = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    assert found == expected
    assert [json.loads(line) for line in (tmp_path / "b" / "log.jsonl").read_text().splitlines()] == expected


def test_files_are_continued_or_replaced(tmp_path: Any) -> None:
    for append, count in ((False, 1), (True, 2), (False, 1)):
        logger, other = train.CSVLogger(tmp_path / "a.csv", append), train.JSONLLogger(tmp_path / "a.jsonl", append)
        logger.log(1, {"loss": 0.5, "new": 1.0} if append else {"loss": 0.5})
        other.log(1, {"loss": float("nan")})
        assert len((tmp_path / "a.csv").read_text().splitlines()) == count + 1
        lines = (tmp_path / "a.jsonl").read_text().splitlines()
        assert len(lines) == count and json.loads(lines[-1]) == {"step": 1, "loss": "nan"}
    with pytest.raises(ArgumentError, match="CSVLogger keeps no images"):
        logger.log_image(1, "image", IMAGE)


@pytest.fixture
def board() -> Any:
    return pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def read(board: Any, folder: Any) -> Any:
    return board.EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0}).Reload()


def test_tensorboard_reads_scalars_of_a_fit(board: Any, tmp_path: Any) -> None:
    history = fitted(train.TensorBoardLogger(tmp_path))  # flushed, but not closed
    events = read(board, tmp_path)
    for name in ("loss", "lr", "epoch_loss", "val_loss"):
        expected = [(row["step"], row[name]) for row in rows_of(history) if name in row]
        found = [(event.step, event.value) for event in events.Scalars(name)]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_tensorboard_reads_images_histograms_text_and_graphs(board: Any, tmp_path: Any) -> None:
    logger = train.TensorBoardLogger(tmp_path)
    logger.log_image(3, "image", IMAGE)
    logger.log_histogram(4, "weights", plait.tensor([0.0, 1.0, 1.0, 2.0, float("nan")], dtype=plait.bfloat16), bins=4)
    logger.log_text(5, "sample", "To **be**, ö")
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.BatchNorm1d(4)))
    logger.log_graph(model, X)
    logger.close()
    events = read(board, tmp_path)
    (image,) = events.Images("image")
    assert (image.step, image.height, image.width) == (3, 5, 7)
    pillow = pytest.importorskip("PIL.Image")
    pixels = np.asarray(pillow.open(io.BytesIO(image.encoded_image_string)))
    np.testing.assert_array_equal(pixels, np.rint(IMAGE.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0))
    (histogram,) = events.Histograms("weights")
    value = histogram.histogram_value
    assert (value.min, value.max, value.num, value.sum, value.sum_squares) == (0.0, 2.0, 4.0, 4.0, 6.0)
    assert (list(value.bucket), list(value.bucket_limit)) == ([1, 0, 2, 1], [0.5, 1.0, 1.5, 2.0])
    (text,) = events.Tensors("sample/text_summary")
    assert text.tensor_proto.string_val[0].decode() == "To **be**, ö"
    assert events.summary_metadata["sample/text_summary"].plugin_data.plugin_name == "text"
    nodes = {node.name: node for node in events.Graph().node}
    assert {"input_0", "0/weight", "0/bias", "1/1/weight", "1/1/running_mean"} <= nodes.keys()
    assert any(name.startswith("1/0/") for name in nodes) and any(name.startswith("1/1/") for name in nodes)
    assert all(i in nodes for node in nodes.values() for i in node.input)
    assert [d.size for d in nodes["0/weight"].attr["_output_shapes"].list.shape[0].dim] == [4, 3]


def test_tensorboard_reads_hyperparameters(board: Any, tmp_path: Any) -> None:
    data = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2")
    logger = train.TensorBoardLogger(tmp_path)
    logger.log_hparams({"lr": 0.1, "bias": True, "kind": "linear"}, {"accuracy": 0.5})
    with pytest.raises(ArgumentTypeError, match="Received: list"):
        logger.log_hparams({"sizes": [1, 2]})
    logger.close()
    metadata = read(board, tmp_path).summary_metadata
    start = data.HParamsPluginData.FromString(metadata["_hparams_/session_start_info"].plugin_data.content)
    hparams = start.session_start_info.hparams
    assert hparams["lr"].number_value == 0.1 and hparams["bias"].bool_value is True
    assert hparams["kind"].string_value == "linear"
    experiment = data.HParamsPluginData.FromString(metadata["_hparams_/experiment"].plugin_data.content).experiment
    assert [m.name.tag for m in experiment.metric_infos] == ["accuracy"]
    assert read(board, tmp_path).Scalars("accuracy")[0].value == 0.5


def test_images_are_checked_and_written_exactly() -> None:
    pillow = pytest.importorskip("PIL.Image")
    for channels, mode in ((1, "L"), (3, "RGB"), (4, "RGBA")):
        pixels = np.random.default_rng(channels).integers(0, 256, (4, 6, channels)).astype(np.uint8)
        image = pillow.open(io.BytesIO(png(pixels)))
        assert image.mode == mode
        np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)
    logger = train.Logger()
    with pytest.raises(ArgumentError, match="Logger keeps no images"):
        logger.log_image(0, "x", IMAGE)
    pytest.importorskip("tensorboard")
    with pytest.raises(ShapeError, match=r"shape \(5, 7, 3\)"):
        train.TensorBoardLogger("unused").log_image(0, "x", IMAGE.transpose(1, 2, 0))


def test_graphs_compute_nothing_and_leave_no_hooks() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
    before = plait.get_rng_state().tolist()
    names = [operation.name for operation in operations_of(model.eval(), X)]
    assert len(set(names)) == len(names) and plait.get_rng_state().tolist() == before
    assert operations_of(model, X) == operations_of(model, X)


@pytest.mark.parametrize(
    ("package", "make"),
    [
        ("tensorboard.compat.proto", lambda: train.TensorBoardLogger("x")), ("wandb", lambda: train.WandbLogger("x")),
        ("mlflow", lambda: train.MLflowLogger("x")),
    ],
)  # fmt: skip
def test_a_missing_package_is_named(package: str, make: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r'pip install "plait\[' + package.split(".")[0]):
        make()


@pytest.mark.filterwarnings("ignore")  # of its own database
def test_mlflow_keeps_a_run(tmp_path: Any) -> None:
    pytest.importorskip("mlflow")
    logger = train.MLflowLogger("digits", "first", uri=tmp_path / "runs")
    history = fitted(logger)
    logger.log_hparams({"lr": 0.1}, {"best": 0.5})
    logger.log_text(1, "sample", "To be")
    logger.close()
    run = logger.client.get_run(logger.run_id)
    assert run.data.params == {"lr": "0.1"} and run.data.metrics["best"] == 0.5 and run.info.status == "FINISHED"
    found = [(m.step, m.value) for m in logger.client.get_metric_history(logger.run_id, "val_loss")]
    assert found == list(zip((4, 8), history["val_loss"], strict=True))


@pytest.mark.filterwarnings("ignore")
def test_wandb_keeps_a_run_offline(tmp_path: Any, monkeypatch: Any) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = train.WandbLogger("digits", "first", folder=tmp_path)
    logger.log(1, {"loss": 0.5})
    logger.log_hparams({"lr": 0.1}, {"best": 0.5})
    logger.close()
    (written,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    end = time.monotonic() + 30
    while b"best" not in written.read_bytes() and time.monotonic() < end:  # its process writes in its own time
        time.sleep(0.05)
    content = written.read_bytes()
    assert b"loss" in content and b"best" in content and b"first" in content

"""Logs for TensorBoard, written through its own package."""

from __future__ import annotations

import os
import struct
import time
import weakref
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from plait.core.errors import ArgumentError, ArgumentTypeError, MissingDependencyError, message
from plait.train.loggers.graphs import Operation, operations_of
from plait.train.loggers.logger import Logger, array_of, pixels_of


class TensorBoardLogger(Logger):
    """Event files for TensorBoard: scalars, images, histograms, text, graphs and hyperparameters.

    The files are flushed at least every ten seconds, after each epoch, and when the process ends.

    Args:
        folder: where the files are; show them by `tensorboard --logdir folder`.

    Raises:
        MissingDependencyError: the package tensorboard is not installed.

    Example:
        >>> logger = plait.train.TensorBoardLogger("runs/1")
        >>> logger.log(1, {"loss": 0.5})
        >>> logger.log_histogram(1, "weight", plait.randn(100))
        >>> logger.close()
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._proto = _library()
        self._writer: Any = None

    def _add(self, step: int, **content: Any) -> None:
        if self._writer is None:
            self._writer = self._proto.EventFileWriter(str(self.folder), flush_secs=10)
            self._close = weakref.finalize(self, self._writer.close)
        self._writer.add_event(self._proto.Event(wall_time=time.time(), step=step, **content))

    def _summary(self, step: int, **value: Any) -> None:
        self._add(step, summary=self._proto.Summary(value=[self._proto.Summary.Value(**value)]))

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Log numbers by name."""
        values = [self._proto.Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self._add(step, summary=self._proto.Summary(value=values))

    def log_image(self, step: int, name: str, image: Any) -> None:
        """Log an image: [height, width], [channels, height, width]; uint8, or floats from 0 to 1."""
        pixels = pixels_of(image)
        height, width, channels = pixels.shape
        image = self._proto.Summary.Image(
            height=height, width=width, colorspace=channels, encoded_image_string=png(pixels)
        )
        self._summary(step, tag=name, image=image)

    def log_histogram(self, step: int, name: str, values: Any, bins: int = 64) -> None:
        """Log how the elements of a tensor are distributed; those that are not finite are left out."""
        elements = array_of(values).astype(np.float64).reshape(-1)
        elements = elements[np.isfinite(elements)]
        counts, limits = np.histogram(elements, bins)
        extremes = {"min": elements.min(), "max": elements.max()} if elements.size else {}
        histogram = self._proto.HistogramProto(
            num=elements.size, sum=elements.sum(), sum_squares=(elements**2).sum(), bucket_limit=limits[1:],
            bucket=counts, **extremes,
        )  # fmt: skip
        self._summary(step, tag=name, histo=histogram)

    def log_text(self, step: int, name: str, text: str) -> None:
        """Log text, which TensorBoard shows as Markdown."""
        tensor = self._proto.TensorProto(dtype="DT_STRING", string_val=[text.encode()])
        tensor.tensor_shape.dim.add(size=1)
        self._summary(step, tag=f"{name}/text_summary", metadata=self._metadata("text", b""), tensor=tensor)

    def log_graph(self, model: Any, *inputs: Any) -> None:
        """Log the graph of what a model computes for some inputs, in boxes for its modules."""
        nodes = [self._node(operation) for operation in operations_of(model, *inputs)]
        graph = self._proto.GraphDef(node=nodes, versions=self._proto.VersionDef(producer=22))
        self._add(0, graph_def=graph.SerializeToString())

    def _node(self, operation: Operation) -> Any:
        shape = self._proto.TensorShapeProto()
        for size in operation.shape:
            shape.dim.add(size=size)
        shapes = self._proto.AttrValue(list=self._proto.AttrValue.ListValue(shape=[shape]))
        dtype = self._proto.AttrValue(s=operation.dtype.encode())
        return self._proto.NodeDef(
            name=operation.name, op=operation.kind, input=operation.inputs,
            attr={"_output_shapes": shapes, "dtype": dtype},
        )  # fmt: skip

    def log_hparams(self, hparams: Mapping[str, Any], metrics: Mapping[str, float] | None = None) -> None:
        """Log the options of a run (numbers, bools, strings), and its results."""
        for name, value in hparams.items():
            if not isinstance(value, (bool, int, float, str)):
                text = f"The hyperparameter {name!r} cannot be logged"
                raise ArgumentTypeError(message(text, type(value).__name__, "a number, a bool or a string"))
        api, data = self._proto.hparams_api, self._proto.hparams_data
        results = [api.MetricInfo(name=api.MetricName(tag=name)) for name in metrics or {}]
        kinds = {bool: "DATA_TYPE_BOOL", str: "DATA_TYPE_STRING"}
        infos = [
            api.HParamInfo(name=name, type=kinds.get(type(value), "DATA_TYPE_FLOAT64"))
            for name, value in hparams.items()
        ]  # fmt: skip
        start = data.SessionStartInfo(start_time_secs=time.time())
        for name, value in hparams.items():
            field = {bool: "bool_value", str: "string_value"}.get(type(value), "number_value")
            setattr(start.hparams[name], field, value)
        end = data.SessionEndInfo(status="STATUS_SUCCESS", end_time_secs=time.time())
        for tag, entry in (
            ("experiment", {"experiment": api.Experiment(hparam_infos=infos, metric_infos=results)}),
            ("session_start_info", {"session_start_info": start}),
            ("session_end_info", {"session_end_info": end}),
        ):
            content = data.HParamsPluginData(version=0, **entry).SerializeToString()
            empty = self._proto.TensorProto(dtype="DT_FLOAT")
            empty.float_val.append(0.0)
            self._summary(0, tag=f"_hparams_/{tag}", metadata=self._metadata("hparams", content), tensor=empty)
        self.log(0, metrics or {})

    def _metadata(self, plugin: str, content: bytes) -> Any:
        plugin_data = self._proto.SummaryMetadata.PluginData(plugin_name=plugin, content=content)
        return self._proto.SummaryMetadata(plugin_data=plugin_data)

    def flush(self) -> None:
        """Bring to disk what was logged."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """End the file; the next entry begins another one."""
        if self._writer is not None:
            self._close()
            self._writer = None


def _library() -> Any:
    """Return the classes of the package tensorboard that are needed here."""
    try:
        from tensorboard.compat.proto import (
            attr_value_pb2,
            event_pb2,
            graph_pb2,
            node_def_pb2,
            summary_pb2,
            tensor_pb2,
            tensor_shape_pb2,
            versions_pb2,
        )
        from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        text = message("TensorBoardLogger needs the package tensorboard", fix='pip install "plait[tensorboard]"')
        raise MissingDependencyError(text, name="tensorboard") from None
    found = ModuleType("tensorboard")
    modules = (
        attr_value_pb2, event_pb2, graph_pb2, node_def_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, versions_pb2,
    )  # fmt: skip
    for module in modules:
        vars(found).update({name: value for name, value in vars(module).items() if name[0].isupper()})
    vars(found).update(EventFileWriter=EventFileWriter, hparams_api=api_pb2, hparams_data=plugin_data_pb2)
    return found


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    """Return an image, uint8 [height, width, 1, 3 or 4 channels], as a PNG file (ISO/IEC 15948)."""
    height, width, channels = pixels.shape
    kinds = {1: 0, 3: 2, 4: 6}
    if channels not in kinds:
        raise ArgumentError(message("An image has 1, 3 or 4 channels", channels))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, kinds[channels], 0, 0, 0)
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    data = zlib.compress(rows.tobytes())
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")

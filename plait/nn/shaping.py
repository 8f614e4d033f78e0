"""Layers without parameters that rearrange, resample or compare."""

from __future__ import annotations

from typing import Any, ClassVar

from plait.nn.functional import distance, folding, resampling
from plait.nn.layer import Layer
from plait.nn.module import Module
from plait.tensor.tensor import Tensor

__all__ = [
    "ChannelShuffle", "CosineSimilarity", "Flatten", "Fold", "Identity", "PairwiseDistance", "PixelShuffle",
    "PixelUnshuffle", "Unflatten", "Unfold", "Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d",
]  # fmt: skip


class Identity(Module):
    """Returns its input; arguments of the constructor are ignored.

    Example:
        >>> plait.nn.Identity()(plait.tensor([1.0]))
        tensor([1.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        return input


class Flatten(Module):
    """Merges the axes from `start_dim` to `end_dim`: by default all but the batch.

    Example:
        >>> plait.nn.Flatten()(plait.zeros(2, 3, 4)).shape
        (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits the axis `dim` into axes of the sizes `unflattened_size`, of which one may be -1.

    Example:
        >>> plait.nn.Unflatten(1, (3, 4))(plait.zeros(2, 12)).shape
        (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class PixelShuffle(Layer, function=folding.pixel_shuffle, shown="upscale_factor={upscale_factor}"):
    """Moves channels into space: [N, C * r * r, H, W] to [N, C, H * r, W * r] (Shi et al., 2016).

    Example:
        >>> plait.nn.PixelShuffle(2)(plait.zeros(1, 4, 3, 3)).shape
        (1, 1, 6, 6)
    """


class PixelUnshuffle(Layer, function=folding.pixel_unshuffle, shown="downscale_factor={downscale_factor}"):
    """Moves space into channels: the inverse of `PixelShuffle`.

    Example:
        >>> plait.nn.PixelUnshuffle(2)(plait.zeros(1, 1, 6, 6)).shape
        (1, 4, 3, 3)
    """


class ChannelShuffle(Layer, function=folding.channel_shuffle, shown="groups={groups}"):
    """Interleaves groups of channels (Zhang et al., 2018).

    Example:
        >>> plait.nn.ChannelShuffle(2)(plait.arange(4.0).reshape(1, 4, 1)).flatten()
        tensor([0., 2., 1., 3.])
    """


_WINDOW = "kernel_size={kernel_size}, dilation={dilation}, padding={padding}, stride={stride}"


class Unfold(Layer, function=folding.unfold, shown=_WINDOW):
    """Writes each window of an image as a column.

    Example:
        >>> plait.nn.Unfold(2)(plait.zeros(1, 3, 4, 4)).shape
        (1, 12, 9)
    """


class Fold(Layer, function=folding.fold, shown="output_size={output_size}, " + _WINDOW):
    """Sums columns into the windows of an image that they come from: the transpose of `Unfold`.

    Example:
        >>> plait.nn.Fold((4, 4), 2)(plait.zeros(1, 12, 9)).shape
        (1, 3, 4, 4)
    """


_INTERPOLATION = "size scale_factor mode align_corners recompute_scale_factor"


class Upsample(Layer, function=resampling.interpolate, arguments=_INTERPOLATION):
    """Resamples spatial axes to a size, or by a factor.

    Example:
        >>> plait.nn.Upsample(scale_factor=2)(plait.tensor([[[1.0, 2.0]]]))
        tensor([[[1., 1., 2., 2.]]])
    """

    def extra_repr(self) -> str:
        is_sized = self.scale_factor is None
        return f"size={self.size}, mode={self.mode!r}" if is_sized else (
            f"scale_factor={self.scale_factor}, mode={self.mode!r}"
        )  # fmt: skip

    def _check(self, given: dict[str, Any]) -> None:
        factor = given["scale_factor"]
        if factor is not None:
            given["scale_factor"] = tuple(map(float, factor)) if isinstance(factor, (tuple, list)) else float(factor)


class _Upsampling2d(Upsample):
    """Upsampling of images by a fixed method."""

    _mode: ClassVar[str]
    _align_corners: ClassVar[bool | None] = None

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, self._mode, self._align_corners)


class UpsamplingNearest2d(_Upsampling2d):
    """Upsamples images [N, C, H, W] to a size, or by a factor, repeating pixels.

    Example:
        >>> plait.nn.UpsamplingNearest2d(scale_factor=2)(plait.zeros(1, 1, 3, 3)).shape
        (1, 1, 6, 6)
    """

    _mode = "nearest"


class UpsamplingBilinear2d(_Upsampling2d):
    """Upsamples images [N, C, H, W] to a size, or by a factor, linearly between the corners.

    Example:
        >>> plait.nn.UpsamplingBilinear2d(scale_factor=2)(plait.zeros(1, 1, 3, 3)).shape
        (1, 1, 6, 6)
    """

    _mode, _align_corners = "bilinear", True


class _Comparison(Layer):
    """A function of two tensors."""

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        result: Tensor = self._call(x1, x2)
        return result


class CosineSimilarity(_Comparison, function=distance.cosine_similarity):
    """The cosine of the angle between vectors along axis `dim`.

    Example:
        >>> plait.nn.CosineSimilarity(0)(plait.tensor([1.0, 0.0]), plait.tensor([2.0, 0.0]))
        tensor(1.)
    """


class PairwiseDistance(_Comparison, function=distance.pairwise_distance):
    """The p-norm of differences along the last axis.

    Example:
        >>> plait.nn.PairwiseDistance()(plait.tensor([0.0, 3.0]), plait.tensor([4.0, 0.0]))
        tensor(5.)
    """

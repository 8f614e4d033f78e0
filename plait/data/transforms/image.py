"""Transforms of images, with the names and arguments of `torchvision.transforms.v2`.

An image is one of Pillow, an array [H, W, C] or [H, W], or a tensor [..., C, H, W]. A tensor gives a tensor, everything
else an array. Integers stand for 0 to 255, floats for 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from plait.core.dtype import as_dtype, float32
from plait.core.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, message
from plait.data.extras import package
from plait.data.streams import sample_generator
from plait.data.transforms.transform import Transform, probability
from plait.tensor.creation import as_tensor
from plait.tensor.tensor import Tensor

Array = np.ndarray[Any, Any]
_GRAY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow and torchvision have it


def as_array(image: Any) -> Array:
    """Return an image as an array [..., H, W, C].

    Raises:
        ArgumentTypeError: it is no image.
        ShapeError: it has too few axes.
    """
    if isinstance(image, Tensor):
        array = image.detach().numpy()
        if array.ndim < 3:
            raise ShapeError(message("A tensor of an image has three axes", f"shape {array.shape}", "[C, H, W]"))
        return np.moveaxis(array, -3, -1)
    if not isinstance(image, np.ndarray) and not hasattr(image, "getbands"):
        expected = "an image of Pillow, an array [H, W, C] or a tensor [C, H, W]"
        raise ArgumentTypeError(message("This is no image", type(image).__name__, expected))
    array = np.asarray(image)
    if array.ndim not in (2, 3):
        raise ShapeError(message("An array of an image has two or three axes", f"shape {array.shape}", "[H, W, C]"))
    return array[..., None] if array.ndim == 2 else array


def on_arrays(image: Any, function: Callable[[Array], Array]) -> Any:
    """Apply a function of arrays [..., H, W, C] to an image."""
    result = function(as_array(image))
    if isinstance(image, Tensor):
        return as_tensor(np.ascontiguousarray(np.moveaxis(result, -1, -3)))
    return result[..., 0] if isinstance(image, np.ndarray) and image.ndim == 2 else result


def _size(size: Any, name: str = "size") -> tuple[int, int]:
    values = (size, size) if hasattr(size, "__index__") else tuple(size)
    values = values * 2 if len(values) == 1 else values
    if len(values) != 2 or min(values) < 1:
        raise ArgumentError(message(f"{name} is a height and a width", size, "one or two positive integers"))
    return int(values[0]), int(values[1])


def _top(array: Array) -> float:
    return 1.0 if array.dtype.kind == "f" else 255.0


def _like(result: Array, dtype: Any) -> Array:
    """Return computed values in the dtype and range of the image that they were computed from."""
    if dtype.kind == "f":
        return np.clip(result, 0, 1).astype(dtype)
    return np.clip(np.rint(result), 0, 255).astype(dtype)


class ToImage(Transform):
    """Makes a tensor [C, H, W] of an image, with its values as they are.

    Example:
        >>> plait.data.transforms.ToImage()(np.zeros((4, 5, 3), np.uint8)).shape
        (3, 4, 5)
    """

    def __call__(self, x: Any) -> Tensor:
        return x if isinstance(x, Tensor) else as_tensor(np.ascontiguousarray(np.moveaxis(as_array(x), -1, -3)))


class ToDtype(Transform):
    """Converts to a dtype; with `scale`, integers of 0 to 255 become floats of 0 to 1, and back.

    Example:
        >>> convert = plait.data.transforms.ToDtype(plait.float32, scale=True)
        >>> convert(np.full((1, 1), 255, np.uint8))
        array([[1.]], dtype=float32)
    """

    def __init__(self, dtype: Any, scale: bool = False) -> None:
        self.dtype, self.scale = as_dtype(dtype), scale

    def __call__(self, x: Any) -> Any:
        return on_arrays(x, self._convert)

    def _convert(self, array: Array) -> Array:
        if not self.scale or array.dtype.kind == "f" and self.dtype.is_floating:
            return array.astype(self.dtype.numpy)
        if self.dtype.is_floating:
            return array.astype(self.dtype.numpy) * self.dtype.numpy.type(1 / 255)
        return _like(array * (255.0 / _top(array)), np.dtype(np.uint8)).astype(self.dtype.numpy)


class ToTensor(Transform):
    """Makes a tensor float32 [C, H, W] of an image, integers of 0 to 255 scaled to 0 to 1.

    Example:
        >>> plait.data.transforms.ToTensor()(np.full((1, 2), 255, np.uint8))
        tensor([[[1., 1.]]])
    """

    def __init__(self) -> None:
        self._image, self._scale = ToImage(), ToDtype(float32, scale=True)

    def __call__(self, x: Any) -> Tensor:
        return self._image(self._scale(x))


class Normalize(Transform):
    """Subtracts a mean from each channel and divides by a standard deviation.

    Args:
        mean: a number for each channel.
        std: a number for each channel.
        inplace: without effect.

    Raises:
        DTypeError: at the call, for an image of integers.

    Example:
        >>> plait.data.transforms.Normalize([0.5], [0.5])(plait.ones(1, 1, 2))
        tensor([[[1., 1.]]])
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        self.mean, self.std, self.inplace = mean, std, inplace
        if np.any(np.asarray(std) == 0):
            raise ArgumentError(message("A standard deviation is not 0", std, "positive numbers"))

    def __call__(self, x: Any) -> Any:
        return on_arrays(x, self._normalize)

    def _normalize(self, array: Array) -> Array:
        if array.dtype.kind != "f":
            fix = "convert before with ToTensor() or ToDtype(plait.float32, scale=True)"
            raise DTypeError(message("Normalize takes floats", array.dtype.name, "a float dtype", fix))
        if len(np.atleast_1d(self.mean)) not in (1, array.shape[-1]):
            received = f"{len(self.mean)} means, {array.shape[-1]} channels"
            raise ShapeError(message("Normalize takes a mean for each channel", received))
        return (array - np.asarray(self.mean, array.dtype)) / np.asarray(self.std, array.dtype)


_KERNELS: dict[str, tuple[float, Callable[[Array], Array]]] = {
    "bilinear": (1.0, lambda x: np.maximum(0, 1 - np.abs(x))),
    "bicubic": (2.0, lambda x: np.where(
        np.abs(x) < 1, (1.5 * np.abs(x) - 2.5) * x**2 + 1,
        np.where(np.abs(x) < 2, ((-0.5 * np.abs(x) + 2.5) * np.abs(x) - 4) * np.abs(x) + 2, 0),
    )),
}  # fmt: skip


def _weights(size: int, wanted: int, interpolation: str, antialias: bool) -> Array:
    """Return the matrix [wanted, size] that resamples a line, as Pillow and torchvision weigh it."""
    ratio = size / wanted
    centers = (np.arange(wanted) + 0.5) * ratio
    if interpolation == "nearest":
        return np.eye(size, dtype=np.float32)[np.minimum(centers.astype(int), size - 1)]
    _, kernel = _KERNELS[interpolation]
    scale = max(ratio, 1.0) if antialias else 1.0
    weights = kernel((np.arange(size) + 0.5 - centers[:, None]) / scale)
    if not antialias:  # the border repeats
        weights = np.zeros((wanted, size))
        reach = int(_KERNELS[interpolation][0])
        for step in range(-reach, reach + 1):
            at = np.floor(centers - 0.5) + step
            np.add.at(weights, (np.arange(wanted), np.clip(at, 0, size - 1).astype(int)), kernel(centers - 0.5 - at))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def resize(array: Array, size: tuple[int, int], interpolation: str = "bilinear", antialias: bool = True) -> Array:
    """Return an array [..., H, W, C] in another size, by "nearest", "bilinear" or "bicubic" interpolation.

    Example:
        >>> plait.data.transforms.image.resize(np.ones((4, 4, 1), np.float32), (2, 3)).shape
        (2, 3, 1)
    """
    height, width = array.shape[-3:-1]
    if (height, width) == size:
        return array
    rows, columns = (_weights(n, m, interpolation, antialias) for n, m in zip((height, width), size, strict=True))
    across = np.einsum("ij,...hjc->...hic", columns, array.astype(np.float32), optimize=True)
    if array.dtype.kind != "f":  # as Pillow does
        across = _like(across, array.dtype).astype(np.float32)
    down = np.einsum("ij,...jwc->...iwc", rows, across, optimize=True)
    return down.astype(array.dtype) if array.dtype.kind == "f" else _like(down, array.dtype)


class Resize(Transform):
    """Changes the size; an image of Pillow by Pillow itself, which is faster.

    Args:
        size: height and width; or one integer, the length of the shorter edge.
        interpolation: "nearest", "bilinear" or "bicubic".
        max_size: the most that the longer edge becomes, with one integer as `size`.
        antialias: whether to smooth what becomes smaller.

    Example:
        >>> plait.data.transforms.Resize(4)(np.zeros((8, 16, 3), np.uint8)).shape
        (4, 8, 3)
    """

    def __init__(
        self, size: Any, interpolation: str = "bilinear", max_size: int | None = None, antialias: bool = True
    ) -> None:
        self.size, self.interpolation, self.max_size, self.antialias = size, interpolation, max_size, antialias
        _check_interpolation(interpolation)
        self._is_edge = hasattr(size, "__index__") or len(size) == 1
        self._pair = _size(size)

    def __call__(self, x: Any) -> Any:
        if hasattr(x, "getbands"):
            height, width = self._wanted(x.height, x.width)
            return x.resize((width, height), _resampling(self.interpolation))
        return on_arrays(x, lambda a: resize(a, self._wanted(*a.shape[-3:-1]), self.interpolation, self.antialias))

    def _wanted(self, height: int, width: int) -> tuple[int, int]:
        if not self._is_edge:
            return self._pair
        scale = self._pair[0] / min(height, width)
        if self.max_size is not None:
            scale = min(scale, self.max_size / max(height, width))
        return max(1, int(height * scale)), max(1, int(width * scale))


def _check_interpolation(name: str) -> None:
    if name not in ("nearest", *_KERNELS):
        raise ArgumentError(message("Unknown interpolation", repr(name), '"nearest", "bilinear" or "bicubic"'))


class Pad(Transform):
    """Adds a border.

    Args:
        padding: its width: one integer, (left and right, top and bottom), or (left, top, right, bottom).
        fill: its value.
        padding_mode: "constant", "edge", "reflect" or "symmetric".

    Example:
        >>> plait.data.transforms.Pad(1)(np.ones((1, 1)))
        array([[0., 0., 0.],
               [0., 1., 0.],
               [0., 0., 0.]])
    """

    def __init__(self, padding: Any, fill: float = 0, padding_mode: str = "constant") -> None:
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode
        values = (padding,) if hasattr(padding, "__index__") else tuple(padding)
        if len(values) not in (1, 2, 4) or min(values) < 0:
            raise ArgumentError(message("padding is a border", padding, "one, two or four integers of at least 0"))
        if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
            expected = '"constant", "edge", "reflect" or "symmetric"'
            raise ArgumentError(message("Unknown padding_mode", repr(padding_mode), expected))
        self._left, self._top, self._right, self._bottom = values * (4 // len(values))

    def __call__(self, x: Any) -> Any:
        return on_arrays(x, lambda a: self._pad(a, self._top, self._bottom, self._left, self._right))

    def _pad(self, array: Array, top: int, bottom: int, left: int, right: int) -> Array:
        widths = [(0, 0)] * (array.ndim - 3) + [(top, bottom), (left, right), (0, 0)]
        options = {"constant_values": self.fill} if self.padding_mode == "constant" else {}
        return np.pad(array, widths, self.padding_mode, **options)


class CenterCrop(Transform):
    """Cuts out the middle; where the image is smaller, it is padded with zeros.

    Example:
        >>> plait.data.transforms.CenterCrop(2)(np.arange(16).reshape(4, 4))
        array([[ 5,  6],
               [ 9, 10]])
    """

    def __init__(self, size: Any) -> None:
        self.size = size
        self._pair = _size(size)

    def __call__(self, x: Any) -> Any:
        return on_arrays(x, self._crop)

    def _crop(self, array: Array) -> Array:
        array = _padded_to(array, self._pair, Pad(0))
        top, left = (round((n - m) / 2) for n, m in zip(array.shape[-3:-1], self._pair, strict=True))
        return _cut(array, top, left, *self._pair)


def _padded_to(array: Array, size: tuple[int, int], pad: Pad) -> Array:
    """Pad both sides alike (the end by one more) where an image is smaller than `size`."""
    lacks = [max(0, m - n) for n, m in zip(array.shape[-3:-1], size, strict=True)]
    if not any(lacks):
        return array
    (top, bottom), (left, right) = ((lack // 2, lack - lack // 2) for lack in lacks)
    return pad._pad(array, top, bottom, left, right)


def _cut(array: Array, top: int, left: int, height: int, width: int) -> Array:
    return array[..., top : top + height, left : left + width, :]


class RandomCrop(Transform):
    """Cuts out a part at a random place.

    Args:
        size: height and width.
        padding: a border that is added before, as `Pad` takes it.
        pad_if_needed: whether to add a border to an image that is smaller, which is an error else.
        fill: the value of the border.
        padding_mode: as `Pad` takes it.

    Raises:
        ShapeError: at the call, for an image that is too small.

    Example:
        >>> plait.data.transforms.RandomCrop(32, padding=4)(np.zeros((32, 32, 3))).shape
        (32, 32, 3)
    """

    def __init__(
        self, size: Any, padding: Any = None, pad_if_needed: bool = False, fill: float = 0,
        padding_mode: str = "constant",
    ) -> None:  # fmt: skip
        self.size, self.padding, self.pad_if_needed, self.fill = size, padding, pad_if_needed, fill
        self.padding_mode = padding_mode
        self._pair, self._pad = _size(size), Pad(padding or 0, fill, padding_mode)

    def __call__(self, x: Any) -> Any:
        return on_arrays(x, self._crop)

    def _crop(self, array: Array) -> Array:
        array = self._pad(array) if self.padding is not None and array.ndim == 3 else array
        array = _padded_to(array, self._pair, self._pad) if self.pad_if_needed else array
        rooms = [n - m for n, m in zip(array.shape[-3:-1], self._pair, strict=True)]
        if min(rooms) < 0:
            received = f"{array.shape[-3]} by {array.shape[-2]}"
            raise ShapeError(message("The image is smaller than the part", received, self._pair, "pad_if_needed=True"))
        top, left = (int(sample_generator().integers(room + 1)) for room in rooms)
        return _cut(array, top, left, *self._pair)


class RandomResizedCrop(Transform):
    """Cuts out a part of random area, shape and place, and changes its size (Szegedy et al., 2015).

    Args:
        size: height and width of the result.
        scale: the range of the area, as a fraction of the image's.
        ratio: the range of width to height.
        interpolation: "nearest", "bilinear" or "bicubic".
        antialias: whether to smooth what becomes smaller.

    Example:
        >>> plait.data.transforms.RandomResizedCrop(8)(np.zeros((32, 48, 3), np.uint8)).shape
        (8, 8, 3)
    """

    def __init__(
        self, size: Any, scale: tuple[float, float] = (0.08, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = "bilinear", antialias: bool = True,
    ) -> None:  # fmt: skip
        self.size, self.scale, self.ratio = size, scale, ratio
        self.interpolation, self.antialias = interpolation, antialias
        self._pair = _size(size)
        _check_interpolation(interpolation)
        if not (0 < scale[0] <= scale[1] and 0 < ratio[0] <= ratio[1]):
            received = f"scale={scale}, ratio={ratio}"
            raise ArgumentError(message("A range begins with its smaller end", received, "positive, rising numbers"))

    def __call__(self, x: Any) -> Any:
        if hasattr(x, "getbands"):
            top, left, height, width = self._part(x.height, x.width)
            kernel = _resampling(self.interpolation)
            return x.resize(self._pair[::-1], kernel, (left, top, left + width, top + height))
        return on_arrays(x, self._crop)

    def _crop(self, array: Array) -> Array:
        part = _cut(array, *self._part(*array.shape[-3:-1]))
        return resize(part, self._pair, self.interpolation, self.antialias)

    def _part(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Draw top, left, height and width; after ten that do not fit, the middle is taken."""
        random = sample_generator()
        for _ in range(10):
            area = height * width * random.uniform(*self.scale)
            ratio = math.exp(random.uniform(*map(math.log, self.ratio)))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return int(random.integers(height - h + 1)), int(random.integers(width - w + 1)), h, w
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
        return (height - h) // 2, (width - w) // 2, h, w


def _resampling(interpolation: str) -> Any:
    """Return Pillow's way of resampling."""
    return package("PIL.Image", "Images of Pillow").Resampling[interpolation.upper()]


class _Random(Transform):
    """A transform that is applied with probability `p`."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(p)

    def __call__(self, x: Any) -> Any:
        return on_arrays(x, self._change) if sample_generator().random() < self.p else x

    def _change(self, array: Array) -> Array:
        raise NotImplementedError


class RandomHorizontalFlip(_Random):
    """Mirrors left and right with probability `p`.

    Example:
        >>> plait.data.transforms.RandomHorizontalFlip(p=1)(np.array([[1, 2]]))
        array([[2, 1]])
    """

    def _change(self, array: Array) -> Array:
        return array[..., :, ::-1, :]


class RandomVerticalFlip(_Random):
    """Mirrors top and bottom with probability `p`.

    Example:
        >>> plait.data.transforms.RandomVerticalFlip(p=1)(np.array([[1], [2]]))
        array([[2],
               [1]])
    """

    def _change(self, array: Array) -> Array:
        return array[..., ::-1, :, :]


def _gray(array: Array) -> Array:
    """Return the brightness [..., H, W, 1], in float32."""
    return (array @ _GRAY)[..., None] if array.shape[-1] == 3 else array.astype(np.float32)


class Grayscale(Transform):
    """Removes color.

    Args:
        num_output_channels: 1, or 3 equal ones.

    Example:
        >>> plait.data.transforms.Grayscale()(np.full((1, 1, 3), 7, np.uint8)).tolist()
        [[[7]]]
    """

    def __init__(self, num_output_channels: int = 1) -> None:
        if num_output_channels not in (1, 3):
            raise ArgumentError(message("Grayscale makes one channel or three", num_output_channels, "1 or 3"))
        self.num_output_channels = num_output_channels

    def __call__(self, x: Any) -> Any:
        return on_arrays(x, lambda a: np.repeat(_like(_gray(a), a.dtype), self.num_output_channels, axis=-1))


class RandomGrayscale(_Random):
    """Removes color with probability `p`, but not channels.

    Example:
        >>> plait.data.transforms.RandomGrayscale(p=1)(np.full((1, 1, 3), 7, np.uint8)).tolist()
        [[[7, 7, 7]]]
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def _change(self, array: Array) -> Array:
        return np.repeat(_like(_gray(array), array.dtype), array.shape[-1], axis=-1)


class RandomErasing(_Random):
    """Replaces a random rectangle with probability `p` (Zhong et al., 2020).

    Args:
        p: the probability.
        scale: the range of its area, as a fraction of the image's.
        ratio: the range of its height to width.
        value: what it is filled with: a number, a number for each channel, or "random" for normal noise.

    Example:
        >>> erased = plait.data.transforms.RandomErasing(p=1)(plait.ones(3, 16, 16))
        >>> bool((erased == 0).numpy().any()), bool((erased == 1).numpy().any())
        (True, True)
    """

    def __init__(
        self, p: float = 0.5, scale: tuple[float, float] = (0.02, 0.33), ratio: tuple[float, float] = (0.3, 3.3),
        value: Any = 0,
    ) -> None:  # fmt: skip
        super().__init__(p)
        self.scale, self.ratio, self.value = scale, ratio, value

    def _change(self, array: Array) -> Array:
        random, (height, width) = sample_generator(), array.shape[-3:-1]
        for _ in range(10):
            area = height * width * random.uniform(*self.scale)
            ratio = math.exp(random.uniform(*map(math.log, self.ratio)))
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < h < height and 0 < w < width:
                result = array.copy()
                part = _cut(result, int(random.integers(height - h + 1)), int(random.integers(width - w + 1)), h, w)
                part[...] = random.standard_normal(part.shape) if self.value == "random" else self.value
                return result
        return array


class ColorJitter(Transform):
    """Changes brightness, contrast, saturation and hue at random, in a random order.

    Args:
        brightness: the range of the factor, or its greatest distance from 1.
        contrast: likewise.
        saturation: likewise.
        hue: the range of the shift as a fraction of the color circle, or its greatest size, at most 0.5.

    Example:
        >>> plait.data.transforms.ColorJitter(brightness=0.2, hue=0.1)(np.full((2, 2, 3), 99, np.uint8)).shape
        (2, 2, 3)
    """

    def __init__(self, brightness: Any = 0, contrast: Any = 0, saturation: Any = 0, hue: Any = 0) -> None:
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue
        around = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
        self._ranges = {name: _range(getattr(self, name), name, center) for name, center in around.items()}

    def __call__(self, x: Any) -> Any:
        return on_arrays(x, self._jitter)

    def _jitter(self, array: Array) -> Array:
        random, top = sample_generator(), _top(array)
        values = array.astype(np.float32) / np.float32(top)
        for name in random.permutation(list(_CHANGES)):
            low, high = self._ranges[name]
            if low != high:
                values = np.clip(_CHANGES[name](values, np.float32(random.uniform(low, high))), 0, 1)
        return _like(values * np.float32(top), array.dtype)


def _range(value: Any, name: str, center: float) -> tuple[float, float]:
    low, high = (center - value, center + value) if isinstance(value, (int, float)) else value
    low = max(0.0, low) if center else low
    if low > high or name == "hue" and not -0.5 <= low <= high <= 0.5:
        expected = "a number, or a range" + (", within -0.5 to 0.5" if name == "hue" else "")
        raise ArgumentError(message(f"ColorJitter: {name} is out of range", value, expected))
    return float(low), float(high)


def _blend(values: Array, other: Any, factor: Any) -> Array:
    return factor * values + (1 - factor) * other


def _shift_hue(values: Array, shift: Any) -> Array:
    """Turn the color circle of RGB values, through hue, saturation and value."""
    if values.shape[-1] != 3:
        return values
    top, low = values.max(-1), values.min(-1)
    spread = np.where(top > low, top - low, 1)
    r, g, b = np.moveaxis(values, -1, 0)
    hue = np.where(top == r, (g - b) / spread % 6, np.where(top == g, (b - r) / spread + 2, (r - g) / spread + 4))
    hue = np.where(top > low, hue, 0) + 6 * shift
    k = (hue[..., None] + np.array([5, 3, 1], np.float32)) % 6
    return top[..., None] - (top - low)[..., None] * np.clip(np.minimum(k, 4 - k), 0, 1)


_CHANGES: dict[str, Callable[[Array, Any], Array]] = {
    "brightness": lambda values, factor: values * factor,
    "contrast": lambda values, factor: _blend(values, _gray(values).mean((-3, -2, -1), keepdims=True), factor),
    "saturation": lambda values, factor: _blend(values, _gray(values), factor),
    "hue": _shift_hue,
}

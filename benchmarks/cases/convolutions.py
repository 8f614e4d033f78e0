"""Convolutional networks: training of small ones, inference of large ones. Images are [N, C, H, W] in `torch`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cases import Case, integers, numbers

# models of PyTorch and plait


def residual_network(nn: Any, bottleneck: bool, stem: int, depths: tuple[int, ...], width: int, classes: int) -> Any:
    """Return ResNet-20 and its like (3x3 stem, basic blocks) or ResNet-50 and its like (7x7 stem, bottlenecks)."""
    expansion = 4 if bottleneck else 1

    def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> list[Any]:
        return [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)]

    class Block(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int) -> None:
            super().__init__()
            outputs = expansion * width
            if bottleneck:
                parts = [
                    *convolution(inputs, width, 1), nn.ReLU(), *convolution(width, width, 3, stride), nn.ReLU(),
                    *convolution(width, outputs, 1),
                ]  # fmt: skip
            else:
                parts = [*convolution(inputs, width, 3, stride), nn.ReLU(), *convolution(width, outputs, 3)]
            self.body = nn.Sequential(*parts)
            same = stride == 1 and inputs == outputs
            self.shortcut = nn.Identity() if same else nn.Sequential(*convolution(inputs, outputs, 1, stride))
            self.activation = nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.activation(self.body(x) + self.shortcut(x))

    layers = [*convolution(3, width, stem, 2 if stem > 3 else 1), nn.ReLU()]
    layers += [nn.MaxPool2d(3, 2, 1)] if stem > 3 else []
    inputs = width
    for stage, depth in enumerate(depths):
        for k in range(depth):
            layers.append(Block(inputs, width << stage, 2 if stage and not k else 1))
            inputs = expansion * width << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def mobile_network(nn: Any, widths: tuple[int, ...], classes: int) -> Any:
    """Return a network of depthwise 3x3 and 1x1 convolutions, in the way of MobileNet."""
    layers = [nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    for inputs, outputs in zip(widths, widths[1:], strict=False):
        stride = 2 if outputs > inputs else 1
        layers += [
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False), nn.BatchNorm2d(inputs), nn.ReLU(),
            nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
        ]  # fmt: skip
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))


def u_network(lib: Any, width: int, depth: int) -> Any:
    """Return a U-Net: pairs of 3x3 convolutions, max pooling down, transposed convolutions up, one output channel."""
    nn = lib.nn

    def pair(inputs: int, outputs: int) -> Any:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU()
        )

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [width << k for k in range(depth + 1)]
            self.down = nn.ModuleList([pair(a, b) for a, b in zip([3, *widths], widths, strict=False)])
            self.up = nn.ModuleList([nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[:-1]])
            self.join = nn.ModuleList([pair(2 * w, w) for w in widths[:-1]])
            self.pool, self.out = nn.MaxPool2d(2), nn.Conv2d(width, 1, 1)

        def forward(self, x: Any) -> Any:
            kept = []
            for k, block in enumerate(self.down):
                x = block(self.pool(x) if k else x)
                kept.append(x)
            for k in reversed(range(depth)):
                x = self.join[k](lib.cat([kept[k], self.up[k](x)], 1))
            return self.out(x)

    return Net()


def trunk(nn: Any, widths: tuple[tuple[int, int], ...]) -> Any:
    """Return the convolutions of VGG: so many of each width, with max pooling after each group."""
    layers, inputs = [], 3
    for count, outputs in widths:
        for _ in range(count):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


# the same as functions, for JAX and TensorFlow; names of parameters are those of the modules above


def jax_residual(
    bottleneck: bool, stem: int, depths: Any, width: int, classes: int, training: bool
) -> Callable[..., Any]:
    def normed(kit: Any, p: Any, name: str, place: int, x: Any, outputs: int, size: int, stride: int = 1) -> Any:
        x = kit.conv(p, f"{name}{place}", x, outputs, size, stride)
        return kit.batch_norm(p, f"{name}{place + 1}", x, training)

    def block(kit: Any, p: Any, name: str, x: Any, width: int, stride: int) -> Any:
        body, outputs = f"{name}.body.", width * (4 if bottleneck else 1)
        if bottleneck:
            y = kit.relu(normed(kit, p, body, 0, x, width, 1))
            y = kit.relu(normed(kit, p, body, 3, y, width, 3, stride))
            y = normed(kit, p, body, 6, y, outputs, 1)
        else:
            y = kit.relu(normed(kit, p, body, 0, x, width, 3, stride))
            y = normed(kit, p, body, 3, y, outputs, 3)
        if stride != 1 or x.shape[-1] != outputs:
            x = normed(kit, p, f"{name}.shortcut.", 0, x, outputs, 1, stride)
        return kit.relu(x + y)

    def model(kit: Any, p: Any, x: Any) -> Any:
        x = kit.relu(normed(kit, p, "", 0, x, width, stem, 2 if stem > 3 else 1))
        place = 3
        if stem > 3:
            x, place = kit.max_pool(x, 3, 2, 1), 4
        for stage, depth in enumerate(depths):
            for k in range(depth):
                x = block(kit, p, str(place), x, width << stage, 2 if stage and not k else 1)
                place += 1
        return kit.head(p, str(place + 2), x, classes)

    return model


def jax_mobile(widths: tuple[int, ...], classes: int) -> Callable[..., Any]:
    def model(kit: Any, p: Any, x: Any) -> Any:
        x = kit.relu(kit.batch_norm(p, "1", kit.conv(p, "0", x, widths[0], 3), True))
        place = 3
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            x = kit.depthwise(x, p(f"{place}.weight", inputs, 1, 3, 3, kind="depthwise"), 2 if outputs > inputs else 1)
            x = kit.relu(kit.batch_norm(p, str(place + 1), x, True))
            x = kit.conv(p, str(place + 3), x, outputs, 1)
            x = kit.relu(kit.batch_norm(p, str(place + 4), x, True))
            place += 6
        return kit.head(p, str(place + 2), x, classes)

    return model


def jax_u(width: int, depth: int) -> Callable[..., Any]:
    def pair(kit: Any, p: Any, name: str, x: Any, outputs: int) -> Any:
        x = kit.relu(kit.conv(p, f"{name}.0", x, outputs, 3, bias=True))
        return kit.relu(kit.conv(p, f"{name}.2", x, outputs, 3, bias=True))

    def model(kit: Any, p: Any, x: Any) -> Any:
        kept = []
        for k in range(depth + 1):
            x = pair(kit, p, f"down.{k}", kit.max_pool(x, 2, 2) if k else x, width << k)
            kept.append(x)
        for k in reversed(range(depth)):
            outputs = width << k
            w = p(f"up.{k}.weight", 2 * outputs, outputs, 2, 2, kind="transposed")
            x = kit.conv_transposed(x, w, 2) + p(f"up.{k}.bias", outputs)
            x = pair(kit, p, f"join.{k}", kit.concatenate([kept[k], x], -1), outputs)
        return kit.conv(p, "out", x, 1, 1, bias=True)

    return model


# the steps


def classify(kit: Any, model: Any, batch: int, side: int, classes: int) -> Any:
    loss = lambda model, x, y: kit.functional.cross_entropy(model(x), y)  # noqa: E731
    data = numbers("images", batch, 3, side, side), integers("labels", classes, batch)
    return kit.train(kit.images(model), loss, "SGD", *data, lr=0.01, momentum=0.9)


def jax_classify(kit: Any, model: Any, batch: int, side: int, classes: int) -> Any:
    data = last(numbers("images", batch, 3, side, side)), integers("labels", classes, batch)
    loss = lambda kit, p, x, y: kit.cross_entropy(model(kit, p, x), y)  # noqa: E731
    return kit.train(loss, "SGD", *data, lr=0.01, momentum=0.9)


def last(images: np.ndarray) -> np.ndarray:
    """Return images with their channels on the last axis."""
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def torch_resnet20(kit: Any, batch: int, side: int, depths: Any) -> Any:
    return classify(kit, residual_network(kit.nn, False, 3, depths, 16, 10), batch, side, 10)


def jax_resnet20(kit: Any, batch: int, side: int, depths: Any) -> Any:
    return jax_classify(kit, jax_residual(False, 3, depths, 16, 10, True), batch, side, 10)


def torch_resnet50(kit: Any, batch: int, side: int, depths: Any) -> Any:
    model = residual_network(kit.nn, True, 7, depths, 64, 1000)
    return kit.infer(kit.images(model), numbers("images", batch, 3, side, side))


def jax_resnet50(kit: Any, batch: int, side: int, depths: Any) -> Any:
    model = jax_residual(True, 7, depths, 64, 1000, False)
    return kit.infer(model, last(numbers("images", batch, 3, side, side)))


def torch_mobile(kit: Any, batch: int, side: int, widths: Any) -> Any:
    return classify(kit, mobile_network(kit.nn, widths, 10), batch, side, 10)


def jax_mobile_step(kit: Any, batch: int, side: int, widths: Any) -> Any:
    return jax_classify(kit, jax_mobile(widths, 10), batch, side, 10)


def torch_u(kit: Any, batch: int, side: int, width: int, depth: int) -> Any:
    loss = lambda model, x, y: ((model(x) - y) ** 2).mean()  # noqa: E731
    data = numbers("images", batch, 3, side, side), numbers("masks", batch, 1, side, side)
    return kit.train(kit.images(u_network(kit.lib, width, depth)), loss, "Adam", *data, lr=1e-4)


def jax_u_step(kit: Any, batch: int, side: int, width: int, depth: int) -> Any:
    model = jax_u(width, depth)

    def loss(kit: Any, p: Any, x: Any, y: Any) -> Any:
        return kit.average((model(kit, p, x) - y) ** 2)

    data = last(numbers("images", batch, 3, side, side)), last(numbers("masks", batch, 1, side, side))
    return kit.train(loss, "Adam", *data, lr=1e-4)


def torch_trunk(kit: Any, side: int, widths: Any) -> Any:
    return kit.infer(kit.images(trunk(kit.nn, widths)), numbers("images", 1, 3, side, side))


def jax_trunk(kit: Any, side: int, widths: Any) -> Any:
    def model(kit: Any, p: Any, x: Any) -> Any:
        place = 0
        for count, outputs in widths:
            for _ in range(count):
                x = kit.relu(kit.conv(p, str(place), x, outputs, 3, bias=True))
                place += 2
            x, place = kit.max_pool(x, 2, 2), place + 1
        return kit.channels_first(x)

    return kit.infer(model, last(numbers("images", 1, 3, side, side)))


VGG = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
MOBILE = (32, 64, 128, 128, 256, 256, 512, 512, 512)
SMALL = {"batch": 2, "side": 16}

CASES = [
    Case("ResNet-20, 32 x 3 x 32 x 32, SGD with momentum", torch_resnet20, jax_resnet20,
         {"batch": 32, "side": 32, "depths": (3, 3, 3)}, {**SMALL, "depths": (1, 1)}, tolerance=1e-2, training=True),
    *[
        Case(f"ResNet-50, {batch} x 3 x 224 x 224, inference", torch_resnet50, jax_resnet50,
             {"batch": batch, "side": 224, "depths": (3, 4, 6, 3)}, {"batch": 1, "side": 32, "depths": (1, 1)},
             tolerance=1e-3)
        for batch in (1, 8)
    ],
    Case("depthwise network, 32 x 3 x 32 x 32, SGD with momentum", torch_mobile, jax_mobile_step,
         {"batch": 32, "side": 32, "widths": MOBILE}, {**SMALL, "widths": (8, 16, 16)}, tolerance=1e-2, training=True),
    Case("U-Net, 4 x 3 x 64 x 64, Adam", torch_u, jax_u_step,
         {"batch": 4, "side": 64, "width": 32, "depth": 3}, {**SMALL, "width": 4, "depth": 1}, tolerance=1e-2,
         training=True),
    Case("VGG-16 trunk, 1 x 3 x 224 x 224, inference", torch_trunk, jax_trunk,
         {"side": 224, "widths": VGG}, {"side": 16, "widths": ((1, 8), (1, 16))}, tolerance=1e-3),
]  # fmt: skip

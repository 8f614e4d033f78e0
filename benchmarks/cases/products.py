"""Matrix products: few rows to square, transposed operands, batches, bfloat16, int8."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Case, numbers

Shape = tuple[int, int, int]


def operands(shape: Shape, layout: str, batch: int | None) -> list[np.ndarray]:
    """Return the operands of a product [m, k] x [k, n] as they are stored: T stands for a transposed one."""
    m, k, n = shape
    lead = () if batch is None else (batch,)
    a, b = lead + ((m, k) if layout[0] == "N" else (k, m)), lead + ((k, n) if layout[1] == "N" else (n, k))
    return [numbers("a", *a), numbers("b", *b) / np.float32(np.sqrt(k))]


def torch_product(kit: Any, shape: Shape, layout: str, batch: int | None, dtype: str) -> Any:
    tensors = [kit.array(a, None if dtype == "float32" else dtype) for a in operands(shape, layout, batch)]

    def product(a: Any, b: Any) -> Any:
        return (a if layout[0] == "N" else a.mT) @ (b if layout[1] == "N" else b.mT)

    return kit.call(product, *tensors)


def jax_product(kit: Any, shape: Shape, layout: str, batch: int | None, dtype: str) -> Any:
    tensors = [kit.array(a, None if dtype == "float32" else dtype) for a in operands(shape, layout, batch)]
    swap = lambda x, way: x if way == "N" else kit.np.swapaxes(x, -1, -2)  # noqa: E731
    return kit.call(lambda a, b: swap(a, layout[0]) @ swap(b, layout[1]), *tensors)


def tf_product(kit: Any, shape: Shape, layout: str, batch: int | None, dtype: str) -> Any:
    tensors = [kit.array(a, None if dtype == "float32" else dtype) for a in operands(shape, layout, batch)]
    ways = {"transpose_a": layout[0] == "T", "transpose_b": layout[1] == "T"}
    return kit.call(lambda a, b: kit.tf.matmul(a, b, **ways), *tensors)


def integers8(shape: Shape) -> list[np.ndarray]:
    return [np.clip(np.round(20 * a * s), -127, 127).astype(np.int8)
            for a, s in zip(operands(shape, "NN", None), (1, np.sqrt(shape[1])), strict=True)]  # fmt: skip


def torch_int8(kit: Any, shape: Shape) -> Any:
    """PyTorch's product of int8 with int32 results is `_int_mm`."""
    return kit.call(kit.lib._int_mm, *integers8(shape))


def plait_int8(kit: Any, shape: Shape) -> Any:
    lib = kit.lib
    return kit.call(lambda a, b: a.to(lib.int32) @ b.to(lib.int32), *integers8(shape))


def jax_int8(kit: Any, shape: Shape) -> Any:
    return kit.call(
        lambda a, b: kit.lax.dot(a, b, preferred_element_type=kit.np.int32), *integers8(shape)
    )  # fmt: skip


def flops(shape: Shape, batch: int | None = None, **other: Any) -> float:
    return 2.0 * shape[0] * shape[1] * shape[2] * (batch or 1)


def traffic(shape: Shape, batch: int | None = None, dtype: str = "int8", **other: Any) -> float:
    m, k, n = shape
    size = {"float32": 4, "bfloat16": 2, "int8": 1}[dtype]
    return (batch or 1) * (size * (m * k + k * n) + (4 if dtype == "int8" else size) * m * n)


def case(shape: Shape, layout: str = "NN", batch: int | None = None, dtype: str = "float32") -> Case:
    name = " x ".join(str(s) for s in ((batch, *shape) if batch else shape))
    sizes = {"shape": shape, "layout": layout, "batch": batch, "dtype": dtype}
    return Case(
        f"product {name} {layout}{'' if dtype == 'float32' else f' {dtype}'}", torch_product, jax_product, sizes,
        {"shape": (4, 8, 6), "batch": batch and 2}, tf=tf_product, flops=flops, traffic=traffic, dtype=dtype,
        tolerance=2e-2 if dtype == "bfloat16" else 1e-4,
    )  # fmt: skip


SHAPES: list[Shape] = [
    (1, 4096, 4096), (4, 4096, 4096), (16, 4096, 4096), (64, 4096, 4096), (64, 784, 128), (256, 256, 256),
    (512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (1000, 1003, 997), (4096, 64, 4096), (64, 16384, 64),
]  # fmt: skip

CASES = [
    *[case(shape) for shape in SHAPES],
    *[case(shape, layout) for shape in ((1, 4096, 4096), (1024, 1024, 1024), (128, 2048, 512))
      for layout in ("NT", "TN") if shape[0] > 1 or layout == "NT"],
    *[case(shape, layout, batch) for batch, shape, layout in (
        (96, (128, 64, 128), "NT"), (96, (128, 128, 64), "NN"), (1024, (16, 16, 16), "NN"), (16, (512, 512, 512), "NN"),
    )],
    *[case(shape, layout, dtype="bfloat16") for shape, layout in (
        ((1, 4096, 4096), "NT"), ((16, 4096, 4096), "NT"), ((1024, 1024, 1024), "NN"), ((2048, 2048, 2048), "NN"),
    )],
    # left out in TensorFlow, whose int8 product is part of its quantized graphs
    *[Case(f"product {' x '.join(map(str, shape))} int8", torch_int8, jax_int8, {"shape": shape},
           {"shape": (32, 32, 32)}, plait=plait_int8, tf=False, flops=flops, traffic=traffic, dtype="int8")
      for shape in ((32, 4096, 4096), (1024, 1024, 1024))],
]  # fmt: skip

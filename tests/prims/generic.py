"""Runs one lowering as a shape-generic kernel: every size and every run-time parameter is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from kernels import inputs_for

from plait.compiler.evaluate import Evaluator, KernelSite, ViewSite, flatten_index, unflatten_index
from plait.core.aval import Aval
from plait.core.graph import Node
from plait.core.primitive import Primitive
from plait.ir.build import Builder
from plait.ir.check import check
from plait.ir.interp import evaluate, run
from plait.ir.loop import Buffer, Index

Array = Any


class _Sizes:
    """Replaces the integers that a site shows by scalars of the kernel, but for sizes of 1."""

    def __init__(self, builder: Builder, node: Node) -> None:
        self.builder, self.node = builder, node
        self.values: dict[str, int] = {}

    def scalar(self, name: str, value: int) -> Index:
        self.values[name] = value
        return self.builder.scalar(name)

    def shape(self, aval: Aval) -> list[Index]:
        return [n if n == 1 else self.scalar(f"n{n}", n) for n in aval.shape]  # type: ignore[arg-type, misc]

    def apply(self, site: Any) -> Any:
        node = self.node
        site.shape = lambda i: self.shape(node.inputs[i].aval)
        for key in node.prim.runtime:
            values = enumerate(node.params[key])
            site.params[key] = tuple(self.scalar(f"{key}{k}", n) for k, n in values)
        return site


class _View(ViewSite):
    out_shape: Any = ()


class _Kernel(KernelSite):
    out_shape: Any = ()


def execute(prim: Primitive, arrays: Sequence[Array], params: dict[str, Any]) -> Array:
    """Return the result of a primitive, computed by its shape-generic lowering."""
    inputs = inputs_for(arrays)
    node, builder = prim(*inputs, **params), Builder(prim.name)
    sizes = _Sizes(builder, node)
    result = np.zeros(node.shape, node.dtype.numpy)
    memory: dict[Buffer, Array] = {}

    def declare(make: Any, array: Array) -> Buffer:
        flat = array.reshape(-1)
        buffer: Buffer = make("b", inputs_for([flat])[0].dtype, flat.size)
        memory[buffer] = flat
        return buffer

    buffers = {i: declare(builder.input, np.ascontiguousarray(a)) for i, a in zip(inputs, arrays, strict=True)}
    output = declare(builder.output, result)
    evaluator = Evaluator(builder, buffers)
    shape = sizes.shape(node.aval)
    if prim.kind == "kernel":
        kernel_site = sizes.apply(_Kernel(evaluator, node, [output], None, None))
        kernel_site.out_shape = shape
        prim.lower(kernel_site)
    else:
        with builder.parallel(node.aval.size) as position:
            site = sizes.apply(_View(evaluator, node, None))
            site.out_shape = shape
            index = unflatten_index(position, shape)
            builder.store(output, flatten_index(index, shape), prim.lower(site, index))
    kernel = builder.finish()
    check(kernel)
    scalars = {builder.scalar(name): np.asarray(value) for name, value in sizes.values.items()}
    for buffer in kernel.workspaces:
        size = buffer.size if isinstance(buffer.size, int) else int(evaluate(buffer.size, scalars))
        memory[buffer] = np.full(size, 77, buffer.dtype.numpy)
    for function in kernel.functions:
        run(function, [memory[b] for b in function.buffers], [sizes.values[s] for s in function.scalars])
    return result

"""Wrong shapes, dtypes, types and empty inputs: what every public entry says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plait
from plait import nn
from plait.core.errors import (
    AbstractValueError,
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    GradientError,
    IndexOutOfRangeError,
    PlaitError,
    ShapeError,
)

t, F = plait.tensor, nn.functional
x, v, i, b = t([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), t([1.0, 2.0, 3.0]), t([1, 2, 3]), t([True, False, True])
true = t(True)
Case = tuple[Callable[[], Any], type[PlaitError], str]


def parameter(*values: float) -> Any:
    return plait.Parameter(list(values))


def twice() -> None:
    p = parameter(1.0, 2.0)
    y = (p * p).sum()
    y.backward()
    y.backward()


def in_place() -> None:
    p = parameter(1.0)
    p += 1.0


def changes(target: Any, value: Any) -> None:
    target += value


CREATION: list[Case] = [
    (lambda: t("abc"), ArgumentTypeError, r"Cannot make a tensor of this. Received: str \(abc\). Expected: numbers"),
    (lambda: t(None), ArgumentTypeError, r"Received: NoneType"),
    (lambda: t([[1, 2], [3]]), ShapeError, r"Nested sequences need equal lengths.*Fix: pad the shorter ones"),
    (lambda: t([1.0], dtype="float31"), DTypeError, r"Unknown dtype. Received: 'float31'. Expected: one of bool, int8"),
    (lambda: t(300, dtype=plait.uint8), ArgumentError, r"does not fit uint8. Received: 300. Expected: 0 to 255"),
    (lambda: t([1], requires_grad=True), GradientError, r"can require gradients. Received: int64. Fix: convert"),
    (lambda: plait.zeros(-1), ShapeError, r"Sizes are not negative. Received: \(-1,\)"),
    (lambda: plait.zeros((2, 2.5)), ArgumentTypeError, r"A shape is made of integers.*Fix: pass e.g. \(2, 3\)"),
    (lambda: plait.full((2,), "a"), ArgumentTypeError, r"Received: str \(a\)"),
    (lambda: plait.arange(0, 10, 0), ArgumentError, r"step of arange is zero"),
    (lambda: plait.arange("a"), ArgumentTypeError, r"arange takes numbers. Received: 'a'"),
    (lambda: plait.linspace(0, 1, -1), ArgumentError, r"Received: -1. Expected: num of at least 0"),
    (lambda: plait.eye(-2), ShapeError, r"Sizes are not negative"),
    (lambda: plait.from_numpy([1]), ArgumentTypeError, r"takes a NumPy array. Received: list. Fix: use plait.tensor"),
    (lambda: plait.Parameter([1]), GradientError, r"Received: int64"),
    (lambda: plait.manual_seed("a"), ArgumentTypeError, r"A seed is an integer. Received: 'a'"),
]

OPERATORS: list[Case] = [
    (lambda: x + t([1.0, 2.0]), ShapeError, r"do not broadcast in add. Received: \(2, 3\) and \(2,\).*Fix: reshape"),
    (lambda: x @ t([1.0, 2.0]), ShapeError, r"inner sizes differ. Received: shapes \(2, 3\) and \(2,\).*x @ y.mT"),
    (lambda: x @ t(3.0), ShapeError, r"matmul needs vectors or matrices.*Fix: multiply by a scalar with \*"),
    (lambda: b - b, DTypeError, r"sub does not take bool. Received: bool.*Fix: convert with .to\(plait.int64\)"),
    (lambda: -b, DTypeError, r"neg does not take bool"),
    (lambda: ~v, DTypeError, r"bitwise_not does not take float32"),
    (lambda: v & v, DTypeError, r"bitwise_and does not take float32. Received: float32. Expected: one of bool, int8"),
    (lambda: i << 1.5, DTypeError, r"shift_left does not take float32"),
    (lambda: t([1], dtype=plait.uint64) + t([1]), DTypeError, r"uint64 has no common type.*Fix: convert one of them"),
    (
        lambda: plait.ones(2, dtype=plait.float8_e5m2) + 1,
        DTypeError,
        r"storage only: convert with .to\(",
    ),
    (lambda: plait.sin("a"), ArgumentTypeError, r"sin does not take a str. Received: 'a'. Expected: a tensor"),
    (lambda: plait.maximum(x, t([1.0, 2.0])), ShapeError, r"do not broadcast in max"),
    (lambda: plait.where(b, v), ArgumentError, r"takes a condition and two branches.*plait.nonzero"),
    (lambda: plait.clamp(v), ArgumentError, r"clamp needs a limit. Received: min=None, max=None"),
    (lambda: bool(v), ArgumentError, r"ambiguous. Received: shape \(3,\). Fix: use .any\(\) or .all\(\)"),
    (lambda: float(x), ArgumentError, r"needs exactly one element. Received: shape \(2, 3\)"),
    (lambda: len(t(1.0)), ArgumentTypeError, r"rank-0 tensor has no length"),
    (lambda: iter(t(1.0)), ArgumentTypeError, r"cannot be iterated over"),
    (lambda: changes(t([1.0]), x), ArgumentError, r"in place cannot change the shape.*Received: \(2, 3\)"),
    (lambda: changes(t([1]), 1.5), ArgumentError, r"in place cannot store its result.*float32. Expected: int64"),
    (lambda: v.to("cuda"), ArgumentError, r"Unknown device. Received: 'cuda'. Expected: \"cpu\""),
    (lambda: v.to("float99"), DTypeError, r"Unknown dtype. Received: 'float99'"),
]

INDEXING: list[Case] = [
    (lambda: x[5], IndexOutOfRangeError, r"on axis 0 of size 2. Received: 5. Expected: -2 to 1"),
    (lambda: x[[5]], IndexOutOfRangeError, r"Received: 5. Expected: -2 to 1"),
    (lambda: x[0, 0, 0], ShapeError, r"Too many indices. Received: 3 for a tensor of shape \(2, 3\)"),
    (lambda: x["a"], ArgumentTypeError, r"A str cannot index a tensor. Received: 'a'. Expected: integers, slices"),
    (lambda: x[1.5], ArgumentTypeError, r"A float cannot index a tensor"),
    (lambda: x[t([0.5])], ArgumentTypeError, r"integers or bools. Received: float32. Fix: convert"),
    (
        lambda: x[t([True])],
        ShapeError,
        r"the shape of the axes it covers. Received: \(1,\). Expected: \(2,\)",
    ),
    (lambda: x[::0], ShapeError, r"step of a slice is zero"),
    (lambda: x[..., ...], ShapeError, r"one Ellipsis. Received: 2"),
    (lambda: x.__setitem__(0, t([1.0, 2.0])), ShapeError, r"does not broadcast to what is indexed. Received: \(2,\)"),
    (lambda: x.__setitem__(9, 1.0), IndexOutOfRangeError, r"Received: 9"),
    (lambda: x.__setitem__(0, "a"), ArgumentTypeError, r"Received: str"),
]

FUNCTIONS: list[Case] = [
    (lambda: x.reshape(4), ShapeError, r"another number of elements. Received: \(4,\) for a tensor of shape \(2, 3\)"),
    (lambda: x.reshape(-1, -1), ShapeError, r"at most one size may be -1"),
    (
        lambda: x.transpose(0, 5),
        ShapeError,
        r"axis out of range for a tensor of 2 axes. Received: 5. Expected",
    ),
    (lambda: x.permute(0, 0), ShapeError, r"names each axis once. Received: \(0, 0\)"),
    (lambda: plait.broadcast_to(v, (2, 2)), ShapeError, r"Only axes of size 1 can be expanded"),
    (lambda: plait.concatenate([]), ArgumentError, r"needs at least one tensor. Received: an empty sequence"),
    (lambda: plait.concatenate([x, v]), ShapeError, r"shapes differ. Received: \(2, 3\) and \(3,\)"),
    (lambda: plait.stack([v, t([1.0])]), ShapeError, r"stack needs equal shapes.*Fix: use concatenate"),
    (lambda: plait.split(v, [1, 1]), ShapeError, r"do not add up. Received: \[1, 1\]. Expected: a sum of 3"),
    (lambda: plait.split(v, 0), ArgumentError, r"at least one element. Received: 0"),
    (lambda: plait.repeat(v, -1), ArgumentError, r"number of repetitions. Received: -1"),
    (lambda: plait.pad(v, (1,)), ShapeError, r"Bad widths of pad. Received: \(1,\). Expected: non-negative"),
    (lambda: plait.pad(v, ((1, 1),), mode="nope"), ArgumentError, r"Unknown mode of pad. Received: 'nope'"),
    (lambda: plait.tril(v), ShapeError, r"tril needs a matrix. Received: shape \(3,\)"),
    (lambda: plait.sum(v, axis=2), ShapeError, r"axis out of range for a tensor of 1 axes. Received: 2"),
    (lambda: plait.sum(v, axis=(0, 0)), ShapeError, r"An axis is named twice"),
    (lambda: plait.sum(v, axis="a"), ArgumentTypeError, r"axis is an integer. Received: 'a'"),
    (lambda: plait.max(t([])), ShapeError, r"of no elements is undefined.*Fix: check the size first"),
    (lambda: plait.argmax(t([])), ShapeError, r"argmax of no elements is undefined"),
    (lambda: plait.topk(v, 9), ShapeError, r"cannot take so many elements. Received: k=9. Expected: 0 to 3"),
    (lambda: plait.einsum("ij,jk->ik", x), PlaitError, r"operand"),
    (lambda: plait.einsum("ij,jk->ik", x, x), ShapeError, r"."),
    (lambda: plait.outer(x, v), ShapeError, r"outer takes two vectors"),
    (lambda: plait.take(v, t([0.5])), ArgumentTypeError, r"integer positions. Received: float32"),
    (lambda: plait.masked_fill(v, v, 1.0), ArgumentTypeError, r"A mask is of bools. Received: float32"),
]

BACKWARD: list[Case] = [
    (lambda: v.backward(), GradientError, r"needs a tensor that requires gradients.*requires_grad=True"),
    (lambda: (parameter(1.0, 2.0) * 2).backward(), GradientError, r"needs a scalar. Received: shape \(2,\).*\.sum\(\)"),
    (lambda: (parameter(1.0, 2.0) * 2).backward(t([1.0])), ShapeError, r"must have the shape of the tensor"),
    (twice, GradientError, r"freed by an earlier backward.*retain_graph=True"),
    (in_place, GradientError, r"written in place.*with plait.no_grad\(\)"),
    (lambda: parameter(1.0).numpy(), GradientError, r"Fix: call .detach\(\).numpy\(\)"),
    (lambda: i.requires_grad_(), GradientError, r"can require gradients. Received: int64"),
]

TRANSFORMS: list[Case] = [
    (lambda: plait.grad(3), ArgumentTypeError, r"grad takes a function. Received: int"),
    (lambda: plait.vmap(v), ArgumentTypeError, r"vmap takes a function. Received: Tensor"),
    (lambda: plait.jit(3), ArgumentTypeError, r"jit takes a function"),
    (lambda: plait.checkpoint(3), ArgumentTypeError, r"checkpoint takes a function"),
    (lambda: plait.custom_vjp(3), ArgumentTypeError, r"custom_vjp takes a function"),
    (lambda: plait.jvp(3, (v,), (v,)), ArgumentTypeError, r"jvp takes a function"),
    (lambda: plait.grad(lambda x: x)(v), ShapeError, r"returns a scalar. Received: shape \(3,\).*jacrev or vjp"),
    (lambda: plait.grad(lambda x: 1.0)(v), ArgumentTypeError, r"scalar tensor. Received: float"),
    (lambda: plait.grad(lambda x: x.sum())(i), DTypeError, r"differentiates floating-point arguments. Received: int64"),
    (lambda: plait.grad(lambda x: x.sum())("a"), ArgumentTypeError, r"grad takes pytrees of tensors. Received: str"),
    (lambda: plait.grad(lambda x: x.sum())(), ArgumentError, r"no such positional argument"),
    (
        lambda: plait.grad(lambda x: x.sum(), argnums=3)(v),
        ArgumentError,
        r"Received: 3. Expected: argnums from -1",
    ),
    (lambda: plait.grad(lambda x: x.sum(), has_aux=True)(v), ArgumentTypeError, r"a pair. Received: Tensor. Expected"),
    (lambda: plait.grad(lambda x: x.sum().to(plait.int32))(v), DTypeError, r"Received: int32"),
    (lambda: plait.jvp(plait.sin, v, v), ArgumentTypeError, r"jvp takes its primals as a tuple.*\(x,\)"),
    (lambda: plait.jvp(plait.sin, (v,), (i,)), DTypeError, r"tangents given to jvp: shape or dtype differs"),
    (lambda: plait.jvp(plait.sin, (v,), ()), ArgumentError, r"tree structures differ, at:\n  \[0\]: received nothing"),
    (lambda: plait.vjp(plait.sin, v)[1](x), ShapeError, r"cotangent given to the pull-back.*float32\[2,3\]"),
    (lambda: plait.linearize(plait.sin, v)[1](x), ShapeError, r"Received: float32\[2,3\]. Expected: float32\[3\]"),
    (lambda: plait.jacfwd(lambda x: "a")(v), ArgumentTypeError, r"given to jacfwd returns pytrees of tensors"),
    (lambda: plait.jacrev(lambda x: x)(i), DTypeError, r"jacrev differentiates floating-point"),
    (lambda: plait.vmap(lambda x: x)(t(1.0)), ShapeError, r"has no axis to map over.*in_axes=None"),
    (lambda: plait.vmap(lambda x: x, in_axes="a")(v), ArgumentTypeError, r"in_axes holds integers and None"),
    (lambda: plait.vmap(lambda x: x, in_axes=(0, 0))(v), ArgumentError, r"one entry for each argument. Received: 2"),
    (lambda: plait.vmap(lambda x, y: x)(v, t([1.0])), ShapeError, r"batch sizes differ. Received: 3 at"),
    (lambda: plait.vmap(lambda x: x, out_axes=3)(v), ShapeError, r"out_axes out of range"),
    (lambda: plait.vmap(lambda x: "a")(v), ArgumentTypeError, r"given to vmap returns pytrees of tensors"),
    (lambda: plait.vmap(lambda x: x.item())(v), AbstractValueError, r"not known while the function is staged"),
    (
        lambda: plait.jit(lambda x: 1 if x.sum() > 0 else 2, strict=True)(v),
        AbstractValueError,
        r"plait.where or plait.cond",
    ),
    (lambda: plait.jit(lambda x: x.numpy(), strict=True)(v), AbstractValueError, r"a look at the value"),
]

CONTROL: list[Case] = [
    (lambda: plait.scan(3, v, v), ArgumentTypeError, r"scan takes a function"),
    (lambda: plait.scan(lambda c, x: c, t(0.0), v), ArgumentTypeError, r"returns a pair. Received: Tensor"),
    (lambda: plait.scan(lambda c, x: (c, x), t(0.0)), ArgumentError, r"one length. Received: none.*pass length="),
    (lambda: plait.scan(lambda c, x: (c, x), t(0.0), t(1.0)), ShapeError, r"over axis 0 of every input"),
    (lambda: plait.scan(lambda c, x: (c, x), t(0.0), (v, t([1.0]))), ArgumentError, r"Received: \[1, 3\]"),
    (lambda: plait.scan(lambda c, x: (v, x), t(0.0), v), ShapeError, r"changes its carry. Received: \[float32\[3\]\]"),
    (lambda: plait.scan(lambda c, x: (c.to(plait.int32), x), t(0.0), v), DTypeError, r"changes its carry"),
    (lambda: plait.scan(lambda c, x: ((c, c), x), t(0.0), v), ArgumentError, r"changes the structure of the carry"),
    (lambda: plait.scan(lambda c, x: (c, x), t(0.0), None, length=-1), ArgumentError, r"a non-negative integer"),
    (lambda: plait.cond(v, lambda: v, lambda: v), ShapeError, r"one boolean. Received: float32\[3\].*\.all\(\)"),
    (lambda: plait.cond(true, lambda: v, lambda: x), ShapeError, r"branches of cond differ"),
    (lambda: plait.cond(true, lambda: v, lambda: i), DTypeError, r"convert with .to\(dtype\)"),
    (lambda: plait.cond(true, lambda: v, lambda: (v, v)), ArgumentError, r"branches return different structures"),
    (lambda: plait.cond(true, 3, 4), ArgumentTypeError, r"cond takes a function"),
    (lambda: plait.while_loop(3, 3, v), ArgumentTypeError, r"while_loop takes a function"),
    (lambda: plait.while_loop(lambda c: c, lambda c: c, v), ShapeError, r"must return one boolean"),
    (lambda: plait.while_loop(lambda c: c.sum() > 0, lambda c: c[0], v), ShapeError, r"changes its carry"),
    (lambda: plait.while_loop(lambda c: c.sum() > 0, lambda c: c, "a"), ArgumentTypeError, r"pytrees of tensors"),
    (lambda: plait.fori_loop(0, 2.5, lambda i, c: c, v), ArgumentTypeError, r"bounds of fori_loop are integers"),
    (lambda: plait.pure_callback(np.sin, "a", v), ArgumentTypeError, r"needs to know what it returns"),
    (lambda: plait.pure_callback(lambda a: a[:1], v, v).numpy(), ShapeError, r"other shapes than announced"),
    (lambda: plait.pure_callback(lambda a: (a, a), v, v).numpy(), ShapeError, r"other shapes than announced"),
]

LAYERS: list[Case] = [
    (lambda: nn.Linear(0, 3), ArgumentError, r"in_features is too small. Received: 0"),
    (lambda: nn.Linear("a", 3), ArgumentTypeError, r"in_features is an integer. Received: 'a'"),
    (lambda: nn.Linear(4, 3)(x), ShapeError, r"in_features=4. Received: an input of shape \(2, 3\). Expected: size 4"),
    (lambda: nn.Linear(3, 3)(i), DTypeError, r"takes floating-point input. Received: int64"),
    (lambda: nn.Linear(3, 3)("a"), ArgumentTypeError, r"takes a tensor. Received: str"),
    (lambda: nn.Conv2d(3, 4, 3)(plait.ones((1, 2, 5, 5))), ShapeError, r"in_channels=3.*\(1, 2, 5, 5\)"),
    (lambda: nn.Conv2d(3, 4, 3)(plait.ones((1, 3, 2, 2))), ShapeError, r"window is larger than the input.*Fix: pad"),
    (lambda: nn.Conv2d(3, 4, 3, groups=2), ArgumentError, r"groups must divide the channels"),
    (lambda: nn.Conv2d(3, 4, 3, padding="nope"), ArgumentError, r"Unknown padding. Received: 'nope'"),
    (lambda: nn.MaxPool2d(3)(x), ShapeError, r"max_pool2d takes 4 axes. Received: shape \(2, 3\)"),
    (lambda: nn.MaxPool2d(0)(plait.ones((1, 1, 4, 4))), ArgumentError, r"kernel_size does not fit. Received: 0"),
    (lambda: nn.AvgPool2d(9)(plait.ones((1, 1, 4, 4))), ShapeError, r"window is larger than the input"),
    (lambda: nn.BatchNorm2d(3)(x), ShapeError, r"rank 4"),
    (lambda: nn.BatchNorm2d(3)(plait.ones((1, 3, 1, 1))), ShapeError, r"more than one value.*a larger batch"),
    (lambda: nn.LayerNorm(4)(x), ShapeError, r"other last axes. Received: an input of shape \(2, 3\)"),
    (lambda: nn.Dropout(2.0), ArgumentError, r"p is a probability. Received: 2.0"),
    (lambda: nn.Embedding(3, 2)(v), DTypeError, r"integer row numbers. Received: float32"),
    (lambda: nn.MultiHeadAttention(5, 2), ArgumentError, r"num_heads must divide embed_dim"),
    (lambda: nn.Sequential(3), ArgumentTypeError, r"Expected: a Module"),
    (lambda: nn.Module()(x), ArgumentTypeError, r"Fix: define Module.forward"),
    (lambda: nn.Linear(3, 3).load_state_dict({}), ArgumentError, r"nothing was loaded:\n  missing: weight"),
    (lambda: nn.Linear(3, 3).load_state_dict(3), ArgumentTypeError, r"A state dict is a dict. Received: int"),
    (lambda: F.cross_entropy(x, t([0])), ShapeError, r"target does not fit the input.*a target of shape \(2,\)"),
    (lambda: F.cross_entropy(x, t([0, 1]), reduction="nope"), ArgumentError, r"Unknown reduction. Received: 'nope'"),
    (lambda: F.cross_entropy(i, i), DTypeError, r"floating-point input"),
    (lambda: F.mse_loss(x, v[:2]), ShapeError, r"compares equal shapes"),
]

OPTIMIZERS: list[Case] = [
    (lambda: plait.optim.SGD([], lr=0.1), ArgumentError, r"An optimizer needs parameters. Received: none"),
    (lambda: plait.optim.SGD(v, lr=0.1), ArgumentTypeError, r"an iterable of parameters. Received: one tensor"),
    (lambda: plait.optim.Adam(["a"]), ArgumentTypeError, r"take parameters. Received: str"),
    (lambda: plait.optim.SGD([parameter(1.0)], lr=-1), ArgumentError, r"lr is out of range. Received: -1"),
    (lambda: plait.optim.SGD([parameter(1.0)], lr=float("nan")), ArgumentError, r"lr is out of range. Received: nan"),
    (lambda: plait.optim.SGD([parameter(1.0)], lr="a"), ArgumentTypeError, r"lr is a number. Received: 'a'"),
    (lambda: plait.optim.SGD([parameter(1.0)], lr=1, nesterov=True), ArgumentError, r"Nesterov momentum needs"),
    (lambda: plait.optim.Adam([parameter(1.0)], betas=(1.5, 0.9)), ArgumentError, r"betas are two numbers"),
    (lambda: plait.optim.Adam([parameter(1.0)]).load_state_dict({}), ArgumentError, r"no state dict of an optimizer"),
    (lambda: plait.optim.SGD([p := parameter(1.0), p], lr=0.1), ArgumentError, r"A parameter comes twice"),
]

GROUPS = {
    "creation": CREATION, "operators": OPERATORS, "indexing": INDEXING, "functions": FUNCTIONS, "backward": BACKWARD,
    "transforms": TRANSFORMS, "control": CONTROL, "layers": LAYERS, "optimizers": OPTIMIZERS,
}  # fmt: skip


@pytest.mark.parametrize(("group", "number"), [(g, k) for g, cases in GROUPS.items() for k in range(len(cases))])
def test_message(group: str, number: int) -> None:
    call, kind, pattern = GROUPS[group][number]
    with pytest.raises(kind) as raised:
        call()
    text = str(raised.value)
    assert re.search(pattern, text, re.DOTALL), text
    assert text[0].isupper() or text.split(":")[0].split(" ")[0] in text, text
    assert ".." not in text.replace("...", "") and "  " not in text.replace("\n  ", ""), text


@pytest.mark.parametrize("operation", ["+", "-", "*", "/", "@", "//", "%"])
def test_operators_with_other_types_are_python_type_errors(operation: str) -> None:
    for other in ("'a'", "None", "object()"):
        with pytest.raises(TypeError, match="unsupported operand|Only an integer tensor"):
            eval(f"v {operation} {other}")


def test_saving_and_loading(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match=r"Only tensors by name are saved. Received: int under 'a'"):
        plait.io.save_file({"a": 3}, tmp_path / "a")
    with pytest.raises(ArgumentTypeError, match=r"Received: list. Expected: a dict"):
        plait.io.save_file([v], tmp_path / "a")
    with pytest.raises(ArgumentTypeError, match=r"This cannot be saved. Received: object at a.1. Expected: tensors"):
        plait.save({"a": [v, object()]}, tmp_path / "a")
    with pytest.raises(FileNotFoundError, match=r"There is no such folder.*Fix: create it first"):
        plait.save({"a": v}, tmp_path / "none" / "a")
    with pytest.raises(FileNotFoundError, match="missing"):
        plait.load(tmp_path / "missing")
    for content in (b"", b"nothing", b"\x10" + b"\0" * 7 + b"{" * 16):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(ArgumentError, match="This is no safetensors file"):
            plait.load(tmp_path / "bad")


def test_plait_errors_are_python_errors() -> None:
    """What a program that knows nothing of plait catches."""
    assert issubclass(ShapeError, ValueError) and issubclass(DTypeError, TypeError)
    assert issubclass(IndexOutOfRangeError, IndexError) and issubclass(GradientError, RuntimeError)


def test_errors_name_the_line_that_recorded_the_operation() -> None:
    def f(x: Any) -> Any:
        y = plait.sin(x)  # the line that is named
        return 1 if y > 0 else 2

    with pytest.raises(AbstractValueError) as raised:
        plait.jit(f, strict=True)(t(1.0))
    line = f.__code__.co_firstlineno + 2
    assert f"{Path(__file__).name}:{line}" in str(raised.value)

"""Modules: members, state dicts, modes, text, and modules as pytrees."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest

import plait
from plait import nn
from plait.core import tree
from plait.core.errors import ArgumentError, ArgumentTypeError, DTypeError


class Block(nn.Module):
    def __init__(self, size: int) -> None:
        self.linear = nn.Linear(size, size)
        self.norm = nn.BatchNorm1d(size)
        self.register_buffer("scale", plait.tensor(2.0), persistent=False)
        self.extra = nn.Parameter([1.0])

    def forward(self, x: plait.Tensor) -> plait.Tensor:
        return self.norm(self.linear(x)) * self.scale + self.extra


class Model(nn.Module):
    def __init__(self) -> None:
        self.first, self.blocks = nn.Linear(3, 4), nn.ModuleList([Block(4), Block(4)])
        self.table = nn.Linear(4, 3)

    def forward(self, x: plait.Tensor) -> plait.Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.table(x)


def test_members_are_found_in_order() -> None:
    model = Model()
    names = [name for name, _ in model.named_parameters()]
    assert names[:6] == [
        "first.weight", "first.bias", "blocks.0.extra", "blocks.0.linear.weight", "blocks.0.linear.bias",
        "blocks.0.norm.weight",
    ]  # fmt: skip
    assert len(names) == 14
    assert [name for name, _ in model.named_children()] == ["first", "blocks", "table"]
    assert "blocks.1.norm" in dict(model.named_modules())
    assert model.get_submodule("blocks.1.norm") is model.blocks[1].norm
    assert [n for n, _ in model.blocks[0].named_buffers()] == [
        "scale", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
    ]  # fmt: skip


def test_shared_parameters_come_once() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert tree.structure(model).num_leaves == 3
    rebuilt = tree.map_(lambda x: x, model)
    assert rebuilt[0].weight is rebuilt[1].weight
    x = plait.ones(2, 3)
    gradient = plait.grad(lambda m: (m(x) ** 2).sum())(model)
    (model(x) ** 2).sum().backward()
    np.testing.assert_allclose(gradient[0].weight.detach().numpy(), model[0].weight.grad.numpy(), rtol=1e-6)


def test_subclasses_need_not_call_super() -> None:
    assert len(list(Model().parameters())) == 14


def test_attributes_can_be_replaced_and_deleted() -> None:
    layer = nn.Linear(2, 2)
    layer.bias = None
    assert [n for n, _ in layer.named_parameters()] == ["weight"]
    layer.weight = nn.Parameter(np.ones((2, 2), np.float32))
    assert layer(plait.ones(1, 2)).tolist() == [[2.0, 2.0]]
    layer.child = nn.Identity()
    del layer.child
    assert not hasattr(layer, "child")
    with pytest.raises(ArgumentTypeError, match="Only a Parameter or None can be assigned to the parameter 'weight'"):
        layer.weight = plait.ones(2, 2)
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'nothing'"):
        _ = layer.nothing
    with pytest.raises(ArgumentError, match="without dots"):
        layer.register_buffer("a.b", plait.ones(1))
    with pytest.raises(ArgumentError, match="already"):
        layer.register_buffer("forward", plait.ones(1))
    with pytest.raises(ArgumentTypeError, match="'x' cannot be a buffer. Received: int"):
        layer.register_buffer("x", 1)
    with pytest.raises(ArgumentTypeError, match="'x' is no parameter"):
        layer.register_parameter("x", plait.ones(1))
    with pytest.raises(ArgumentTypeError, match="'x' cannot be a child"):
        layer.register_module("x", nn.Linear)


def test_a_module_without_forward_says_so() -> None:
    with pytest.raises(ArgumentTypeError, match=r"define ModuleList.forward\(self, ...\)"):
        nn.ModuleList()(1)


# state dicts


def test_state_dict_shares_memory_and_leaves_out_what_is_not_persistent() -> None:
    model = Model()
    state = model.state_dict()
    assert "blocks.0.scale" not in state
    assert "blocks.0.norm.num_batches_tracked" in state
    with plait.no_grad():
        model.first.bias.fill_(7)
    assert state["first.bias"].tolist() == [7.0] * 4
    assert not state["first.bias"].requires_grad


def test_load_state_dict_copies() -> None:
    model, other = Model(), Model()
    assert model.load_state_dict(other.state_dict()) == ([], [])
    with plait.no_grad():
        other.first.weight.zero_()
    assert model.first.weight.detach().numpy().any()
    model.load_state_dict({k: np.asarray(v.numpy()) for k, v in other.state_dict().items()})
    assert not model.first.weight.detach().numpy().any()
    assert model.first.weight.requires_grad


def test_load_state_dict_lists_every_problem_and_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    state = {"0.weight": np.zeros((3, 2)), "0.bias": np.zeros(5), "1.weight": np.zeros((1, 3)), "2.bias": np.zeros(1)}
    with pytest.raises(ArgumentError) as error:
        model.load_state_dict(state)
    assert str(error.value) == (
        "The state dict does not fit this Sequential, and nothing was loaded:\n"
        "  missing: 1.bias\n"
        "  unexpected: 2.bias\n"
        "  0.bias: received shape (5,), expected (3,)\n"
        "Fix: load it into the architecture that saved it."
    )
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    del state["0.bias"]
    assert model.load_state_dict(state, strict=False) == (["0.bias", "1.bias"], ["2.bias"])
    assert not model[0].weight.detach().numpy().any()


# modes and conversions


def test_modes() -> None:
    model = Model()
    assert model.training
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    model.train()
    assert all(m.training for m in model.modules())
    with pytest.raises(ArgumentTypeError, match="takes a bool"):
        model.train("yes")  # type: ignore[arg-type]


def test_compiled_functions_follow_the_mode_and_replaced_members() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    f = plait.jit(lambda x: model(x).detach())
    x = plait.ones(64, 2)
    assert (f(x).numpy() == 0).any()
    model.eval()
    np.testing.assert_allclose(f(x).numpy(), model[0](x).detach().numpy(), rtol=1e-6)
    model.train()
    assert (f(x).numpy() == 0).any()
    model.eval()
    model[0] = nn.Linear(2, 2)
    np.testing.assert_allclose(f(x).numpy(), model[0](x).detach().numpy(), rtol=1e-6)
    model[0].weight = nn.Parameter(np.zeros((2, 2), np.float32))
    np.testing.assert_allclose(f(x).numpy(), model[0](x).detach().numpy(), rtol=1e-6)
    model[0].to(plait.float64)
    assert f(x.to(plait.float64)).dtype is plait.float64


def test_conversion_keeps_identity_and_integers() -> None:
    layer = nn.BatchNorm1d(3)
    weight = layer.weight
    assert layer.to(plait.float64) is layer
    assert layer.weight is weight
    assert weight.dtype is plait.float64
    assert weight.requires_grad
    assert layer.num_batches_tracked.dtype is plait.int64
    assert layer.half().running_var.dtype is plait.float16
    with pytest.raises(ArgumentError, match="converted to floating-point dtypes"):
        layer.to(plait.int32)
    with pytest.raises(ArgumentError, match="no such device"):
        layer.to("cuda")


def test_apply_zero_grad_requires_grad() -> None:
    model, seen = Model(), []
    model.apply(lambda m: seen.append(type(m).__name__))
    assert seen[-1] == "Model"
    assert len(seen) == 10
    model(plait.ones(2, 3)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    model.requires_grad_(False)
    assert not model(plait.ones(2, 3)).requires_grad


def test_copies_are_independent() -> None:
    model = Model()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(nn.Linear(3, 4)))):
        source = model if isinstance(twin, Model) else None
        if source is not None:
            with plait.no_grad():
                twin.first.weight.zero_()
            assert source.first.weight.detach().numpy().any()
        assert twin(plait.ones(2, 3)).requires_grad


def test_repr() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU(), nn.Dropout(0.1)))
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Dropout(p=0.1, inplace=False)\n"
        "  )\n"
        ")"
    )


# pytrees


def test_a_module_is_a_pytree() -> None:
    model = Model()
    leaves, structure = tree.flatten(model)
    assert len(leaves) == 14 + 2 * 4
    assert tree.structure(Model()) is structure
    assert tree.structure(Model().eval()) is not structure
    paths = [path for path, _ in tree.leaves_with_path(model)]
    assert paths[:2] == [".first.weight", ".first.bias"]
    assert ".blocks[1].norm.running_mean" in paths
    twin = tree.unflatten(structure, leaves)
    assert type(twin) is Model
    assert twin.blocks[1].linear.weight is model.blocks[1].linear.weight


def test_gradients_over_modules_equal_backward() -> None:
    model, x = Model(), plait.tensor(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32))

    def loss(model: Model, x: plait.Tensor) -> plait.Tensor:
        return (model(x) ** 2).mean()

    before = model.blocks[0].norm.running_mean.numpy().copy()
    gradients = plait.grad(loss)(model, x)
    np.testing.assert_array_equal(model.blocks[0].norm.running_mean.numpy(), before)
    loss(model, x).backward()
    for (name, p), g in zip(model.named_parameters(), gradients.parameters(), strict=True):
        np.testing.assert_allclose(g.detach().numpy(), p.grad.numpy(), rtol=1e-4, atol=1e-6, err_msg=name)
    assert gradients.blocks[0].norm.num_batches_tracked.item() == 0


def test_per_sample_gradients_and_ensembles() -> None:
    model, x = nn.Linear(3, 2), plait.tensor(np.arange(12.0, dtype=np.float32).reshape(4, 3))

    def loss(model: nn.Module, x: plait.Tensor) -> plait.Tensor:
        return (model(x) ** 2).sum()

    each = plait.vmap(plait.grad(loss), in_axes=(None, 0))(model, x)
    for k in range(4):
        one = plait.grad(loss)(model, x[k])
        np.testing.assert_allclose(each.weight[k].detach().numpy(), one.weight.detach().numpy(), rtol=1e-5)
    models = [nn.Linear(3, 2) for _ in range(3)]
    stacked = tree.map_(lambda *leaves: plait.stack(leaves), *models)
    together = plait.vmap(lambda m, x: m(x), in_axes=(0, None))(stacked, x)
    for k, one in enumerate(models):
        np.testing.assert_allclose(together[k].detach().numpy(), one(x).detach().numpy(), rtol=1e-5)


# containers


def test_sequential() -> None:
    model = nn.Sequential({"a": nn.Linear(2, 3), "b": nn.ReLU()})
    assert list(model.state_dict()) == ["a.weight", "a.bias"]
    assert isinstance(model[-1], nn.ReLU)
    assert len(model[:1]) == 1
    model = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Sigmoid())
    del model[1]
    model.insert(0, nn.Identity())
    assert [type(m).__name__ for m in model] == ["Identity", "ReLU", "Sigmoid"]
    with pytest.raises(IndexError, match="Sequential has 3 members. Received: 3. Expected: -3 to 2"):
        model[3]
    with pytest.raises(ArgumentTypeError, match="an integer or a slice"):
        model["x"]
    with pytest.raises(ArgumentTypeError, match="'1' cannot be a child"):
        nn.Sequential(nn.ReLU(), plait.relu)


def test_module_dict() -> None:
    heads = nn.ModuleDict({"a": nn.Linear(2, 1)})
    heads["b"] = nn.Identity()
    assert list(heads) == ["a", "b"]
    assert "b" in heads
    del heads["b"]
    assert [name for name, _ in heads.items()] == ["a"]
    with pytest.raises(KeyError, match="There is no such module"):
        heads["c"]


def test_wrong_inputs_of_layers() -> None:
    cases = [
        (nn.Linear(3, 2), plait.ones(4, 5), "Linear(3, 2) was made with in_features=3. Received: an input of shape"),
        (nn.Conv2d(3, 2, 3), plait.ones(1, 1, 8, 8), "Conv2d(3, 2, (3, 3)) was made with in_channels=3"),
        (nn.Conv2d(1, 2, 9), plait.ones(1, 1, 8, 8), "conv2d: the window is larger than the input"),
        (nn.Conv1d(1, 2, 3), plait.ones(1, 1, 8, 8), "Conv1d(1, 2, (3,)) was made with in_channels=1"),
        (nn.BatchNorm2d(3), plait.ones(4, 3), "BatchNorm2d takes other axes"),
        (nn.BatchNorm1d(3), plait.ones(1, 3), "needs more than one value for each channel"),
        (nn.BatchNorm1d(3), plait.ones(2, 4), "BatchNorm1d(3) was made with num_features=3"),
        (nn.LayerNorm(3), plait.ones(2, 4), "layer_norm was made for other last axes"),
        (nn.MaxPool2d(9), plait.ones(1, 1, 8, 8), "max_pool2d: the window is larger than the input"),
        (nn.MaxPool2d(2, padding=2), plait.ones(1, 1, 8, 8), "max_pool2d: the padding is too wide"),
        (nn.AvgPool2d(2), plait.ones(8, 8), "avg_pool2d takes 4 axes"),
    ]  # fmt: skip
    for layer, x, text in cases:
        with pytest.raises(ValueError, match=re.escape(text)):
            layer(x)


def test_wrong_dtypes_of_layers() -> None:
    cases = [
        (nn.Linear(3, 2), plait.ones(4, 3, dtype=plait.int64), "linear takes floating-point input"),
        (nn.Linear(3, 2), plait.ones(4, 3, dtype=plait.float64), "linear takes input and weight of one dtype"),
        (nn.Conv2d(1, 2, 1), plait.ones(1, 1, 2, 2, dtype=plait.float64), "conv2d takes input and weight of one dtype"),
        (nn.Embedding(3, 2), plait.ones(4), "embedding takes integer row numbers"),
        (nn.Dropout(), plait.arange(3), "dropout takes floating-point input"),
        (nn.BatchNorm1d(3), plait.ones(2, 3, dtype=plait.int32), "batch_norm takes floating-point input"),
    ]  # fmt: skip
    for layer, x, text in cases:
        with pytest.raises(DTypeError, match=text):
            layer(x)


def test_wrong_arguments_of_layers() -> None:
    for make, text in [
        (lambda: nn.Linear(0, 2), "in_features is too small"),
        (lambda: nn.Linear(2.5, 2), "in_features is an integer"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "groups must divide the channels"),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), "kernel_size does not fit"),
        (lambda: nn.Conv2d(3, 4, "3"), "kernel_size is an integer or a tuple of integers"),
        (lambda: nn.Conv2d(3, 4, 3, stride=0), "stride does not fit"),
        (lambda: nn.Conv2d(3, 4, 3, stride=2, padding="same"), 'padding="same" needs stride 1'),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), "Unknown padding"),
        (lambda: nn.Conv2d(3, 4, 3, padding_mode="mirror"), "Unknown padding_mode"),
        (lambda: nn.Dropout(1.5), "p is a probability"),
        (lambda: nn.Dropout("a"), "p is a probability"),
        (lambda: nn.Embedding(3, 2, padding_idx=3), "padding_idx is no row"),
        (lambda: nn.MultiheadAttention(8, 3), "num_heads must divide embed_dim"),
        (lambda: nn.LayerNorm(()), "normalized_shape is empty"),
    ]:
        with pytest.raises((ArgumentError, ArgumentTypeError), match=text):
            make()


def test_functional_steps_of_models_compile_once() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    model = plait.tree.map_(lambda p: p.detach() * 1.0, model)
    calls = []

    @plait.jit
    def step(model, x):
        calls.append(1)
        loss, gradient = plait.value_and_grad(lambda m: (m(x) ** 2).mean())(model)
        return loss, plait.tree.map_(lambda p, g: p - 0.1 * g, model, gradient)

    x = plait.ones((3, 4))
    losses = []
    for _ in range(4):
        loss, model = step(model, x)
        losses.append(loss.item())
    assert len(calls) == 1
    assert losses == sorted(set(losses), reverse=True)

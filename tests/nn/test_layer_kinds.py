"""Lazy layers, containers of parameters, mistakes, and layers under the transforms."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import numpy as np
import pytest

import plait
from plait import nn
from plait.core.errors import ArgumentError, ArgumentTypeError

random = np.random.default_rng(0)


def draw(*shape: int) -> Any:
    return plait.tensor(random.normal(size=shape).astype(np.float32))


# transforms

TRANSFORMED = [
    (nn.PReLU(3), (4, 2, 3)), (nn.Hardswish(), (4, 3)), (nn.GLU(), (4, 6)), (nn.Bilinear(3, 3, 2), (4, 3), (4, 3)),
    (nn.ConvTranspose2d(3, 2, 2, stride=2), (4, 3, 3, 3)), (nn.MaxPool1d(2), (4, 3, 6)),
    (nn.LPPool1d(2.0, 2), (4, 3, 6)), (nn.Upsample(scale_factor=2), (4, 2, 3, 5)),
    (nn.AdaptiveAvgPool1d(2), (4, 3, 5)), (nn.ReflectionPad1d(1), (4, 3, 5)), (nn.GroupNorm(1, 3), (4, 2, 3, 5)),
    (nn.RMSNorm(3), (4, 3)), (nn.InstanceNorm1d(3, affine=True), (4, 3, 5)),
    (nn.CosineSimilarity(-1), (4, 3), (4, 3)), (nn.SmoothL1Loss(), (4, 3), (4, 3)), (nn.PixelShuffle(2), (4, 4, 3, 3)),
    (nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), (4, 3)), (nn.BatchNorm1d(3).eval(), (4, 2, 3)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "shapes"), [(row[0], row[1:]) for row in TRANSFORMED], ids=lambda x: type(x).__name__
)
def test_vmap_and_gradients_by_the_module(layer: Any, shapes: Any) -> None:
    inputs = [draw(*shape) for shape in shapes]
    mapped = plait.vmap(lambda *x: layer(*x))(*inputs)
    alone = plait.stack([layer(*[x[k] for x in inputs]) for k in range(4)])
    np.testing.assert_allclose(mapped.detach().numpy(), alone.detach().numpy(), rtol=1e-5, atol=1e-5)
    if list(layer.parameters()):
        loss = lambda module: (plait.vmap(lambda *x: module(*x))(*inputs) ** 2).sum()  # noqa: E731
        gradients = plait.jit(plait.grad(loss))(layer)
        (alone**2).sum().backward()
        for g, p in zip(gradients.parameters(), layer.parameters(), strict=True):
            np.testing.assert_allclose(g.detach().numpy(), p.grad.numpy(), rtol=1e-4, atol=1e-4)


def test_layers_are_pickled_copied_and_compared_as_trees() -> None:
    for layer in (nn.Hardtanh(-2.0, 2.0), nn.MaxPool2d(2, ceil_mode=True), nn.Dropout(0.3), nn.BCELoss(plait.ones(2))):
        for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
            assert repr(twin) == repr(layer)
            assert plait.tree.structure(twin) is plait.tree.structure(layer)


def test_options_can_be_changed() -> None:
    layer = nn.LeakyReLU(0.5)
    f = plait.jit(layer)
    assert f(plait.tensor(-2.0)).item() == -1
    layer.negative_slope = 0.25
    assert f(plait.tensor(-2.0)).item() == -0.5


def test_inplace() -> None:
    x = plait.tensor([-1.0, 1.0])
    assert nn.ReLU(inplace=True)(x) is x
    assert x.tolist() == [0.0, 1.0]
    assert repr(nn.Hardtanh(inplace=True)) == "Hardtanh(min_val=-1.0, max_val=1.0, inplace=True)"


@pytest.mark.parametrize("name", ["Dropout1d", "Dropout2d", "FeatureAlphaDropout"])
def test_channel_dropout(name: str) -> None:
    plait.manual_seed(0)
    shape = (50, 40, 3) if name == "Dropout1d" else (50, 40, 3, 2)
    result = getattr(nn, name)(0.4)(plait.ones(*shape)).numpy().reshape(50, 40, -1)
    assert (result == result[..., :1]).all()
    assert np.mean(result[..., 0] == result.min()) == pytest.approx(0.4, abs=0.05)


# lazy layers


def test_a_lazy_layer_becomes_what_it_stands_for() -> None:
    model = nn.Sequential(
        nn.LazyConv2d(4, 3, groups=2), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5)
    )
    assert model[0].has_uninitialized_params()
    assert isinstance(model[0], nn.Conv2d)
    parameters = list(model.parameters())
    model(plait.ones(2, 6, 5, 5))
    assert [type(m).__name__ for m in model] == ["Conv2d", "BatchNorm2d", "ReLU", "Flatten", "Linear"]
    assert model[0].weight.shape == (4, 3, 3, 3)
    assert model[4].in_features == 36
    assert all(p is q for p, q in zip(parameters, model.parameters(), strict=True))
    assert all(type(p) is nn.Parameter and p.requires_grad for p in model.parameters())
    model(plait.ones(2, 6, 5, 5)).sum().backward()
    assert plait.jit(model)(plait.ones(2, 6, 5, 5)).shape == (2, 5)


def test_a_state_dict_gives_a_lazy_layer_its_shapes() -> None:
    layer, other = nn.LazyLinear(3).to(plait.float64), nn.Linear(4, 3)
    assert repr(layer.state_dict()["weight"]) == "<UninitializedParameter>"
    layer.load_state_dict(other.state_dict())
    x = plait.ones(2, 4, dtype=plait.float64)
    np.testing.assert_allclose(layer(x).detach().numpy(), other(x.to(plait.float32)).detach().numpy(), rtol=1e-6)
    assert repr(layer) == repr(other)


def test_mistakes_with_lazy_layers() -> None:
    with pytest.raises(ArgumentError, match="The shape of an UninitializedParameter is not known yet"):
        _ = nn.LazyLinear(3).weight.shape
    with pytest.raises(ArgumentError, match="which cannot be part of a compiled function"):
        plait.jit(nn.LazyLinear(3))(plait.ones(2, 3))
    with pytest.raises(ArgumentError, match="was given a LazyLinear that has no parameters yet"):
        plait.grad(lambda m: m(plait.ones(2, 3)).sum())(nn.LazyLinear(3))
    with pytest.raises(ArgumentTypeError, match=r"LazyConv1d takes other arguments: missing.*out_channels"):
        nn.LazyConv1d()


# members


def test_buffers_by_assignment() -> None:
    module = nn.Module()
    module.kept, module.passing = nn.Buffer([1.0]), nn.Buffer([2.0], persistent=False)
    assert list(module.state_dict()) == ["kept"]
    assert [name for name, _ in module.named_buffers()] == ["kept", "passing"]
    assert not list(module.parameters())


def test_members_by_dotted_name() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2)))
    assert model.get_parameter("0.weight") is model[0].weight
    assert model.get_buffer("1.0.running_mean") is model[1][0].running_mean
    model.set_submodule("1.0", nn.Identity())
    assert isinstance(model[1][0], nn.Identity)
    for call, text in [
        (
            lambda: model.get_parameter("0.wait"),
            "no such parameter. Received: '0.wait'. Expected: one of 0.weight, 0.bias",
        ),
        (lambda: model.get_buffer("0.weight"), "no such buffer"),
        (lambda: model.set_submodule("0.x", nn.Identity(), strict=True), "no such module. Received: '0.x'"),
    ]:
        with pytest.raises(ArgumentError, match=re.escape(text)):
            call()
    with pytest.raises(AttributeError, match="no attribute 'cuda'. Fix: values live on the CPU"):
        model.cuda()
    with pytest.raises(AttributeError, match="'plait.nn' has no attribute 'DataParallel'. Fix: one process"):
        _ = nn.DataParallel


def test_parameter_list() -> None:
    weights = nn.ParameterList([plait.ones(2), nn.Parameter([3.0]), "text"])
    assert [type(w) for w in weights] == [nn.Parameter, nn.Parameter, str]
    assert list(weights.state_dict()) == ["0", "1"]
    weights += [plait.zeros(1, 3)]
    weights[0] = plait.zeros(5)
    assert len(weights[1:]) == 3
    assert repr(weights[:1]) == "ParameterList(  (0): Parameter containing: [plait.float32 of size 5])"
    assert weights[-1].shape == (1, 3)
    with pytest.raises(IndexError, match="ParameterList has 4 members. Received: 4. Expected: -4 to 3"):
        weights[4]


def test_parameter_dict() -> None:
    weights = nn.ParameterDict({"a": plait.ones(2)})
    weights |= {"b": plait.zeros(1)}
    assert list((weights | {"c": plait.ones(1)}).keys()) == ["a", "b", "c"]
    assert weights.get("z") is None
    assert weights.setdefault("a") is weights["a"]
    assert list(reversed(weights)) == ["b", "a"]
    assert weights.popitem()[0] == "b"
    assert weights.pop("a").shape == (2,)
    assert not list(weights.parameters())
    with pytest.raises(KeyError, match="There is no such parameter"):
        weights["a"]
    with pytest.raises(ArgumentTypeError, match="of a mapping or of"):
        weights.update([1])


def test_containers_of_modules() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Tanh()) + nn.Sequential(nn.Sigmoid())
    model *= 2
    assert [type(m).__name__ for m in model] == ["ReLU", "Tanh", "Sigmoid"] * 2
    assert isinstance(model.pop(-1), nn.Sigmoid)
    assert len(model[1:3]) == 2
    layers = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1), nn.ReLU()])
    layers += [nn.ReLU()]
    text = "Linear(in_features=1, out_features=1, bias=True)"
    assert repr(layers) == f"ModuleList(\n  (0-1): 2 x {text}\n  (2-3): 2 x ReLU()\n)"
    heads = nn.ModuleDict([("a", nn.ReLU()), ("b", nn.Tanh())])
    assert isinstance(heads.pop("a"), nn.ReLU)
    heads.clear()
    assert not len(heads)
    with pytest.raises(ArgumentTypeError, match="Sequential is repeated"):
        model * 0


# mistakes


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: nn.Threshold(1.0), "Threshold takes other arguments: missing a required argument: 'value'"),
        (lambda: nn.ReLU(True, 3), "ReLU takes other arguments: too many positional arguments. Expected: ReLU(inp"),
        (lambda: nn.MSELoss("sum"), "size_average of MSELoss is a bool. Received: 'sum'. Fix: write reduction=\"sum\""),
        (lambda: nn.MSELoss(reduction="avg"), "Unknown reduction. Received: 'avg'"),
        (lambda: nn.CTCLoss(reduction="batchmean"), "Unknown reduction"),
        (lambda: nn.AlphaDropout(2.0), "p is a probability"),
        (lambda: nn.ConvTranspose1d(1, 1, 2, padding="same"), "padding of a transposed convolution is a number"),
        (lambda: nn.ConvTranspose1d(1, 1, 2, padding_mode="reflect"), "Unknown padding_mode"),
        (lambda: nn.ConvTranspose1d(1, 1, 2, stride=2)(plait.ones(1, 1, 3), [9]), "cannot make this output_size"),
        (lambda: nn.MaxUnpool1d((2, 2)), "kernel_size does not fit"),
        (lambda: nn.FractionalMaxPool2d(2), "FractionalMaxPool2d takes one of two arguments"),
        (lambda: nn.ConstantPad2d((1, 1), 0.0), "padding of ConstantPad2d does not fit"),
        (lambda: nn.ZeroPad1d("1"), "padding is an integer or a tuple of integers"),
        (lambda: nn.CircularPad1d(1)(plait.ones(1, 2, 3, 4)), "CircularPad1d takes 3 axes"),
        (lambda: nn.GroupNorm(2, 3), "num_groups must divide num_channels"),
        (lambda: nn.GroupNorm(1, 3)(plait.ones(2, 4)), "GroupNorm(1, 3) was made with num_channels=3"),
        (lambda: nn.InstanceNorm1d(3)(plait.ones(3)), "InstanceNorm1d takes other axes"),
        (lambda: nn.CrossMapLRN2d(2)(plait.ones(2, 4)), "CrossMapLRN2d takes other axes"),
        (lambda: nn.Softmax2d()(plait.ones(2, 4)), "Softmax2d takes other axes"),
        (lambda: nn.Bilinear(2, 3, 1)(plait.ones(2), plait.ones(2)), "Bilinear was made with in2_features=3"),
        (lambda: nn.Embedding.from_pretrained(plait.ones(3)), "The table is a matrix"),
        (lambda: nn.EmbeddingBag(3, 2, _weight=plait.ones(2, 2)), "The table has another shape"),
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 9, [5, 3]), "cutoffs divide the classes"),
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(16, 9, [3])(plait.ones(2, 16), plait.tensor(1)), "the sizes do not fit"),
    ],
)  # fmt: skip
def test_mistakes(call: Any, text: str) -> None:
    with pytest.raises((ArgumentError, ArgumentTypeError, ValueError), match=re.escape(text)):
        call()


def test_one_process_synchronizes_by_itself() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Sequential(nn.BatchNorm1d(4, affine=False)))
    weight = model[0].weight
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert type(model[0]) is type(model[1][0]) is nn.SyncBatchNorm
    assert model[0].weight is weight
    x = draw(2, 3, 4, 4)
    np.testing.assert_array_equal(model[0](x).detach().numpy(), nn.BatchNorm2d(3)(x).detach().numpy())


def test_adaptive_softmax_is_a_distribution() -> None:
    softmax = nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 10], head_bias=True)
    x, y = draw(6, 16), plait.tensor([0, 4, 5, 9, 10, 19])
    logs = softmax.log_prob(x)
    np.testing.assert_allclose(logs.exp().sum(1).detach().numpy(), np.ones(6), rtol=1e-5)
    output, loss = softmax(x, y)
    np.testing.assert_allclose(output.detach().numpy(), logs.detach().numpy()[np.arange(6), y.numpy()], rtol=1e-6)
    assert loss.item() == pytest.approx(-output.mean().item())
    assert softmax.predict(x).tolist() == logs.argmax(1).tolist()
    assert softmax(x[0], y[0]).output.shape == ()
    assert np.isnan(softmax(x, y + 19).output.detach().numpy()[2:]).all()

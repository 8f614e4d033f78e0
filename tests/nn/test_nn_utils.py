"""`nn.utils`, `nn.init` and `nn.summary`."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import plait
from plait import nn
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError
from plait.nn.utils import parametrizations, parametrize

random = np.random.default_rng(0)


def draw(*shape: int) -> Any:
    return plait.tensor(random.normal(size=shape).astype(np.float32))


def equal(a: Any, b: Any, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


class Symmetric(nn.Module):
    def forward(self, x: Any) -> Any:
        return plait.triu(x) + plait.triu(x, 1).mT

    def right_inverse(self, x: Any) -> Any:
        return plait.triu(x)


class Doubled(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * 2


# parametrizations


def test_parametrized_parameters_train_and_are_assigned() -> None:
    layer = nn.Linear(3, 3)
    original = layer.weight
    parametrize.register_parametrization(layer, "weight", Symmetric())
    assert layer.parametrizations.weight.original is original
    assert parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    assert [n for n, _ in layer.named_parameters()] == ["bias", "parametrizations.weight.original"]
    assert repr(layer).startswith(
        "ParametrizedLinear(\n  in_features=3, out_features=3, bias=True\n  (parametrizations)"
    )
    layer.weight = plait.ones(3, 3)
    equal(layer.weight, plait.ones(3, 3))
    x = draw(2, 3)
    f = plait.jit(lambda x: layer(x).detach())
    equal(f(x), layer(x))
    layer(x).sum().backward()
    assert original.grad is not None
    equal(plait.grad(lambda m: m(x).sum())(layer).parametrizations.weight.original, original.grad)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        equal(twin(x), layer(x))
        assert twin.parametrizations.weight.original is not original


def test_chains_and_removal() -> None:
    layer = nn.Linear(3, 3, bias=False)
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Doubled())
    parametrize.register_parametrization(layer, "weight", Doubled())
    equal(layer.weight, before * 4)
    with pytest.raises(ArgumentError, match="The parametrization Doubled cannot be assigned to"):
        layer.weight = before
    f = plait.jit(lambda x: layer(x).detach())
    x = draw(1, 3)
    equal(f(x), x @ (before * 4).mT)
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    equal(layer.weight, before)
    equal(f(x), x @ before.mT)
    assert type(layer.weight) is nn.Parameter
    assert not hasattr(layer, "parametrizations")
    layer.register_buffer("table", plait.ones(2))
    parametrize.register_parametrization(layer, "table", Doubled())
    parametrize.remove_parametrizations(layer, "table")
    assert layer.get_buffer("table").tolist() == [2.0, 2.0]


def test_cache_of_parametrizations() -> None:
    layer, calls = nn.Linear(2, 2), []

    class Counting(nn.Module):
        def forward(self, x: Any) -> Any:
            calls.append(1)
            return x

    parametrize.register_parametrization(layer, "weight", Counting(), unsafe=True)
    with parametrize.cached():
        for _ in range(3):
            layer(draw(1, 2))
    assert len(calls) == 1
    layer(draw(1, 2))
    assert len(calls) == 2


def test_mistakes_with_parametrizations() -> None:
    class Flat(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.flatten()

    with pytest.raises(ShapeError, match=r"keeps the shape. Received: \(4,\). Expected: \(2, 2\). Fix: pass unsafe"):
        parametrize.register_parametrization(nn.Linear(2, 2), "weight", Flat())
    with pytest.raises(
        ArgumentError, match="Linear has no such parameter or buffer. Received: 'w'. Expected: one of w"
    ):
        parametrize.register_parametrization(nn.Linear(2, 2), "w", Flat())
    with pytest.raises(ArgumentError, match="has no parametrization of this name"):
        parametrize.remove_parametrizations(nn.Linear(2, 2), "weight")
    with pytest.raises(ArgumentError, match="computed from several has no original"):
        parametrize.remove_parametrizations(parametrizations.weight_norm(nn.Linear(2, 2)), "weight", False)
    with pytest.raises(ArgumentError, match="Unknown orthogonal_map. Received: 'exp'"):
        parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="exp")
    with pytest.raises(ShapeError, match="Only matrices are orthogonal"):
        parametrizations.orthogonal(nn.Linear(2, 2), "bias")
    with pytest.raises(ArgumentError, match="n_power_iterations is too small"):
        parametrizations.spectral_norm(nn.Linear(2, 2), n_power_iterations=0)


def test_weight_norm_separates_length_and_direction() -> None:
    layer = nn.Conv1d(2, 3, 2)
    before = layer.weight.detach().clone()
    parametrizations.weight_norm(layer)
    equal(layer.weight, before)
    old = {"bias": layer.bias.detach(), "weight_g": plait.ones(3, 1, 1), "weight_v": before}
    layer.load_state_dict(old)
    equal((layer.weight**2).sum((1, 2)), plait.ones(3))


def test_spectral_norm_in_both_modes() -> None:
    layer = parametrizations.spectral_norm(nn.Linear(6, 4), n_power_iterations=30)
    assert np.linalg.norm(layer.weight.detach().numpy(), 2) == pytest.approx(1, abs=1e-3)
    u = layer.parametrizations.weight[0]._u
    layer.eval()
    before = u.numpy().copy()
    _ = layer.weight
    np.testing.assert_array_equal(u.numpy(), before)
    layer.train()
    with plait.no_grad():
        u.copy_(plait.tensor([1.0, 0.0, 0.0, 0.0]))
    before = u.numpy().copy()
    plait.jit(lambda x: layer(x).detach())(draw(2, 6))
    assert not np.array_equal(u.numpy(), before)


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
@pytest.mark.parametrize("name", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("has_base", [True, False])
def test_orthogonal_weights_stay_orthogonal(shape: Any, name: str, has_base: bool) -> None:
    layer = nn.Linear(shape[1], shape[0], bias=False)
    parametrizations.orthogonal(layer, orthogonal_map=name, use_trivialization=has_base)
    optimizer = plait.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(2):
        w = layer.weight
        product = w @ w.mT if shape[0] < shape[1] else w.mT @ w
        equal(product, plait.eye(min(shape)), 1e-4)
        optimizer.zero_grad()
        layer(plait.ones(1, shape[1])).sum().backward()
        optimizer.step()
    if has_base:
        given = np.linalg.qr(random.normal(size=shape if shape[0] >= shape[1] else shape[::-1]))[0].astype(np.float32)
        target = plait.tensor(given if shape[0] >= shape[1] else given.T.copy())
        layer.weight = target
        equal(layer.weight, target, 1e-4)


# gradients and vectors


def test_clipping() -> None:
    layer = nn.Linear(3, 2)

    def gradients() -> list[Any]:
        layer.zero_grad()
        (layer(draw(4, 3)) ** 2).sum().backward()
        return [p.grad.numpy().copy() for p in layer.parameters()]

    before = gradients()
    norm = np.sqrt(sum((g**2).sum() for g in before))
    assert nn.utils.clip_grad_norm_(layer.parameters(), 0.5).item() == pytest.approx(norm, rel=1e-5)
    for p, g in zip(layer.parameters(), before, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), g * 0.5 / norm, rtol=1e-4)
    before = gradients()
    nn.utils.clip_grad_norm_(layer.parameters(), 1e6, norm_type=float("inf"))
    nn.utils.clip_grad_value_(layer.parameters(), 0.1)
    for p, g in zip(layer.parameters(), before, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), g.clip(-0.1, 0.1), rtol=1e-6)
    layer.bias.grad = plait.tensor([np.inf, 0.0], dtype=plait.float32)
    with pytest.raises(ArgumentError, match="total norm of order 2.0 is not finite. Received: inf"):
        nn.utils.clip_grad_norm_(layer.parameters(), 1.0, error_if_nonfinite=True)
    assert nn.utils.get_total_norm([]).item() == 0


def test_vectors_of_parameters() -> None:
    layer = nn.Linear(3, 2)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    assert vector.shape == (8,)
    nn.utils.vector_to_parameters(vector.detach() * 2, layer.parameters())
    equal(nn.utils.parameters_to_vector(layer.parameters()), vector * 2)
    with pytest.raises(ShapeError, match=r"another length. Received: shape \(8,\). Expected: \(2,\)"):
        nn.utils.vector_to_parameters(vector, [layer.bias])


@pytest.mark.parametrize("kind", ["Conv2d", "ConvTranspose2d", "Linear"])
@pytest.mark.parametrize("has_bias", [True, False])
def test_fusion(kind: str, has_bias: bool) -> None:
    layer = nn.Linear(3, 4, bias=has_bias) if kind == "Linear" else getattr(nn, kind)(3, 4, 2, bias=has_bias)
    norm = nn.BatchNorm1d(4) if kind == "Linear" else nn.BatchNorm2d(4)
    x = draw(5, 3) if kind == "Linear" else draw(2, 3, 5, 5)
    norm(layer(x))
    nn.init.normal_(norm.weight)
    layer.eval(), norm.eval()
    options = {"transpose": True} if kind == "ConvTranspose2d" else {}
    fuse = nn.utils.fuse_linear_bn_eval if kind == "Linear" else nn.utils.fuse_conv_bn_eval
    equal(fuse(layer, norm, **options)(x), norm(layer(x)), 1e-4)
    with pytest.raises(ArgumentError, match="fused in evaluation mode"):
        fuse(layer, norm.train(), **options)


def test_functional_call() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[0].bias = model[1].bias
    call = nn.utils.stateless.functional_call
    x = draw(3, 2)
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    equal(call(model, own, (x,)), model(x))
    shifted = call(model, {"0.bias": plait.ones(2)}, x)  # the shared parameter has both names
    assert shifted.mean().item() == pytest.approx(1, abs=1e-5)
    assert model[1].bias.tolist() == [0.0, 0.0]
    mean = plait.zeros(2)
    call(model, [{"1.running_mean": mean}, {}], x)
    assert mean.numpy().any()
    with pytest.raises(ArgumentError, match="unknown: 2.bias; missing: 0.weight"):
        call(model, {"2.bias": mean}, x, strict=True)


# initial values


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 2, 3)])
def test_orthogonal_values(shape: tuple[int, ...]) -> None:
    w = nn.init.orthogonal_(plait.zeros(*shape), gain=2.0).numpy().reshape(shape[0], -1)
    small = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)


def test_sparse_values() -> None:
    w = nn.init.sparse_(plait.ones(10, 7), 0.33, std=1.0).numpy()
    assert ((w == 0).sum(0) == 4).all()


def test_mistakes_with_initial_values() -> None:
    for call, error, text in [
        (lambda: nn.init.dirac_(plait.ones(2, 2)), ShapeError, "dirac_ takes the weight of a convolution"),
        (lambda: nn.init.dirac_(plait.ones(3, 2, 2), groups=2), ArgumentError, "groups must divide the outputs"),
        (lambda: nn.init.orthogonal_(plait.ones(2)), ShapeError, "orthogonal_ takes a matrix"),
        (lambda: nn.init.sparse_(plait.ones(2), 0.5), ShapeError, "sparse_ takes a matrix"),
        (lambda: nn.init.eye_(plait.ones(2, 2, 2)), ShapeError, "eye_ takes a matrix"),
        (lambda: nn.init.calculate_gain("leaky_relu", "x"), ArgumentTypeError, "param is the slope"),
    ]:
        with pytest.raises(error, match=text):
            call()


# summary


def test_summary_counts_without_computing() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Sequential(nn.Dropout(), nn.Flatten()), nn.Linear(32, 5)
    )
    model[3].bias.requires_grad_(False)
    state = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    plait.manual_seed(3)
    table = nn.summary(model, plait.zeros(2, 3, 4, 4))
    drawn = plait.rand(1).item()
    plait.manual_seed(3)
    assert plait.rand(1).item() == drawn
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[name])
    assert [row.name for row in table.rows] == ["", "0", "1", "2", "2.0", "2.1", "3"]
    assert table.rows[1].shapes == ((2, 8, 2, 2),)
    assert table.rows[6].flops == 2 * 2 * 32 * 5 + 2 * 5
    assert table.rows[1].flops == 2 * (2 * 8 * 2 * 2) * 27 + 2 * 8 * 2 * 2
    assert table.flops >= sum(row.flops for row in table.rows[1:3])
    assert (table.parameters, table.trained) == (224 + 16 + 165, 224 + 16 + 160)
    assert table.parameter_bytes == 4 * table.parameters
    assert table.result_bytes == 4 * (64 * 4 + 10)
    text = repr(table).splitlines()
    assert text[0].split() == ["layer", "result", "parameters", "FLOPs", "memory"]
    assert text[6].startswith("    0: Dropout")
    assert "405 (400 trained)" in text[-3]


def test_summary_of_shared_layers_and_other_results() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(4, 4, bias=False)

        def forward(self, x: Any, times: int = 2) -> Any:
            for _ in range(times):
                x = self.layer(x)
            return {"x": x, "sum": x.sum()}

    table = nn.summary(Twice(), np.zeros((3, 4), np.float32), times=3)
    assert table.rows[0].shapes == ((), (3, 4))
    assert table.rows[1].flops == 3 * 2 * 3 * 4 * 4
    with pytest.raises(ArgumentTypeError, match="summary takes a module"):
        nn.summary(lambda x: x, plait.ones(1))  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="A lazy layer of this model has no shapes yet"):
        nn.summary(nn.LazyLinear(3), plait.ones(1, 2))

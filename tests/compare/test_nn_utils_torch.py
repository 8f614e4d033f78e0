"""`nn.utils`, `nn.init` and the layers that return more than one tensor against PyTorch, with its state dicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait
from plait import nn

torch = pytest.importorskip("torch")
random = np.random.default_rng(0)


def draw(*shape: int) -> Any:
    return random.normal(size=shape).astype(np.float32)


def close(ours: Any, theirs: Any, tolerance: float = 2e-5) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


def load(ours: Any, theirs: Any) -> None:
    state = {k: v.detach().numpy().copy() for k, v in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)


PARAMETRIZED = [
    ("weight_norm", "Linear", (4, 3), {}, (2, 4)), ("weight_norm", "Linear", (4, 3), {"dim": None}, (2, 4)),
    ("weight_norm", "Conv2d", (2, 3, 2), {"dim": 1}, (1, 2, 4, 4)),
    ("spectral_norm", "Linear", (4, 3), {"n_power_iterations": 2}, (2, 4)),
    ("spectral_norm", "ConvTranspose1d", (2, 3, 2), {}, (1, 2, 4)),
    ("spectral_norm", "Linear", (4, 3), {"name": "bias"}, (2, 4)),
    ("orthogonal", "Linear", (3, 5), {}, (2, 3)),
    ("orthogonal", "Linear", (5, 3), {"orthogonal_map": "cayley"}, (2, 5)),
    ("orthogonal", "Linear", (5, 3), {"orthogonal_map": "householder", "use_trivialization": False}, (2, 5)),
    ("orthogonal", "Linear", (4, 4), {"use_trivialization": False}, (2, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "args", "options", "shape"), PARAMETRIZED)
def test_parametrizations(name: str, kind: str, args: Any, options: dict[str, Any], shape: Any) -> None:
    ours, theirs = (getattr(m.utils.parametrizations, name)(getattr(m, kind)(*args), **options) for m in (nn, torch.nn))
    load(ours, theirs)
    assert repr(ours) == repr(theirs)
    with torch.no_grad():  # away from the starting point; the diagonal of reflectors holds signs
        for p in theirs.parameters():
            step = 0.1 * torch.arange(p.numel()).reshape(p.shape).sin()
            p += step * (1 - torch.eye(*p.shape)) if name == "orthogonal" and p.ndim == 2 else step
    load(ours, theirs)
    x = draw(*shape)
    for _ in range(2):
        result, expected = ours(plait.tensor(x)), theirs(torch.tensor(x))
        close(result, expected)
        (result**2).sum().backward()
        (expected**2).sum().backward()
    for (_, p), (key, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=2e-4, atol=2e-4, err_msg=key)
    load(ours.eval(), theirs.eval())
    close(ours(plait.tensor(x)), theirs(torch.tensor(x)))


def test_adaptive_softmax() -> None:
    ours, theirs = (m.AdaptiveLogSoftmaxWithLoss(12, 20, [4, 9], 2.0, True) for m in (nn, torch.nn))
    load(ours, theirs)
    assert repr(ours) == repr(theirs)
    x, y = draw(7, 12), random.integers(0, 20, 7)
    result, expected = ours(plait.tensor(x), plait.tensor(y)), theirs(torch.tensor(x), torch.tensor(y))
    close(result.output, expected.output)
    close(result.loss, expected.loss)
    close(ours.log_prob(plait.tensor(x)), theirs.log_prob(torch.tensor(x)))
    close(ours.predict(plait.tensor(x)), theirs.predict(torch.tensor(x)))


@pytest.mark.parametrize(
    ("name", "args", "options", "call"),
    [
        ("ConvTranspose2d", (3, 2, 3), {"stride": 3}, {"output_size": [2, 2, 11, 10]}),
        ("MaxPool2d", (2,), {"return_indices": True}, {}), ("AdaptiveMaxPool2d", (2,), {"return_indices": True}, {}),
        ("MaxPool2d", (2, 1, 1, 1, True), {}, {}),
    ],
)  # fmt: skip
def test_calls_with_more_than_a_tensor(name: str, args: Any, options: dict[str, Any], call: dict[str, Any]) -> None:
    ours, theirs = (getattr(m, name)(*args, **options) for m in (nn, torch.nn))
    load(ours, theirs)
    x = draw(2, 3, 3, 3)
    found, expected = ours(plait.tensor(x), **call), theirs(torch.tensor(x), **call)
    for a, b in zip(plait.tree.leaves(found), expected if isinstance(expected, tuple) else [expected], strict=True):
        close(a, b)


def test_unpooling_to_a_size() -> None:
    x = draw(1, 2, 5, 5)
    pooled, places = nn.MaxPool2d(2, return_indices=True)(plait.tensor(x))
    other, where = torch.nn.MaxPool2d(2, return_indices=True)(torch.tensor(x))
    close(nn.MaxUnpool2d(2)(pooled, places, (5, 5)), torch.nn.MaxUnpool2d(2)(other, where, (5, 5)))


@pytest.mark.parametrize(
    "name", ["LazyLinear", "LazyConv2d", "LazyConvTranspose1d", "LazyBatchNorm1d", "LazyInstanceNorm2d"]
)
def test_lazy_layers(name: str) -> None:
    args = {"LazyLinear": (3,), "LazyConv2d": (4, 2), "LazyConvTranspose1d": (4, 2)}.get(name, ())
    ours, theirs = (getattr(m, name)(*args) for m in (nn, torch.nn))
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = draw(3, 2, 5, 5) if "2d" in name else draw(3, 2, 5)
    ours(plait.tensor(x)), theirs(torch.tensor(x))
    load(ours, theirs)
    assert repr(ours) == repr(theirs)
    close(ours(plait.tensor(x)), theirs(torch.tensor(x)))


def test_gradient_hooks() -> None:
    def gradients(m: Any, tensor: Any) -> list[Any]:
        layer, seen = m.Bilinear(2, 2, 3), []
        for k, p in enumerate(layer.parameters()):
            m.init.constant_(p, 0.5 + k)
        layer.register_full_backward_pre_hook(lambda _, outputs: (outputs[0] * 3,))
        layer.register_full_backward_hook(lambda _, inputs, outputs: seen.extend([*inputs, *outputs]))
        layer.register_full_backward_hook(lambda _, inputs, outputs: (inputs[0] * 2, *inputs[1:]))
        x, y = tensor(np.ones((2, 2), np.float32)), tensor(np.ones((2, 2), np.float32))
        x.requires_grad_()
        y.requires_grad_()
        (layer(x, y) ** 2).sum().backward()
        return [x.grad, *layer.parameters(), *[p.grad for p in layer.parameters()], *seen]

    ours, theirs = gradients(nn, plait.tensor), gradients(torch.nn, torch.tensor)
    for a, b in zip(ours, theirs, strict=True):
        close(a, b)


@pytest.mark.parametrize("shape", [(4, 3, 3), (6, 2, 4, 3), (4, 4, 2, 2, 2)])
@pytest.mark.parametrize("groups", [1, 2])
def test_dirac(shape: tuple[int, ...], groups: int) -> None:
    close(nn.init.dirac_(plait.ones(*shape), groups), torch.nn.init.dirac_(torch.ones(*shape), groups))


@pytest.mark.parametrize("norm_type", [1.0, 2.0, float("inf")])
def test_clipping(norm_type: float) -> None:
    arrays = [draw(3), draw(2, 2)]
    ours, theirs = [nn.Parameter(a) for a in arrays], [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
    for p, q in zip(ours, theirs, strict=True):
        p.grad, q.grad = plait.tensor(3 * p.detach().numpy()), 3 * q.detach()
    close(nn.utils.clip_grad_norm_(ours, 1.0, norm_type), torch.nn.utils.clip_grad_norm_(theirs, 1.0, norm_type))
    for p, q in zip(ours, theirs, strict=True):
        close(p.grad, q.grad)


def test_names_that_are_not_here() -> None:
    """docs/layers.md names what there is no class for."""
    missing = {name for name in dir(torch.nn) if name[0].isupper() and not hasattr(nn, name)}
    assert missing == {"Container", "DataParallel", "LinearCrossEntropyOptions", "NLLLoss2d"}
    missing = {n for n in dir(torch.nn.init) if n.endswith("_") and n[0] != "_" and not hasattr(nn.init, n)}
    assert not missing
    methods = {n for n in dir(torch.nn.Module) if not n.startswith("_") and not hasattr(nn.Module, n)}
    assert methods == {
        "T_destination", "call_super_init", "compile", "cuda", "dump_patches", "ipu", "mtia", "register_backward_hook",
        "share_memory", "to_empty", "xpu",
    }  # fmt: skip

"""Hooks of modules, eager and compiled."""

from __future__ import annotations

import copy
from typing import Any

import pytest

import plait
from plait import nn
from plait.core.errors import ArgumentError, ArgumentTypeError


def scale(factor: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, factor)
    return layer


def test_forward_hooks_replace_arguments_and_results_in_order() -> None:
    layer, x = scale(2.0), plait.tensor([1.0])
    layer.register_forward_pre_hook(lambda module, args: args[0] + 1)
    layer.register_forward_pre_hook(lambda module, args: (args[0] * 10,), prepend=True)
    layer.register_forward_hook(lambda module, args, result: result + 0.5)
    handle = layer.register_forward_hook(lambda module, args, result: result * 100, prepend=True)
    assert layer(x).item() == (1 * 10 + 1) * 2 * 100 + 0.5
    handle.remove()
    assert layer(x).item() == (1 * 10 + 1) * 2 + 0.5


def test_hooks_with_keyword_arguments() -> None:
    class Power(nn.Module):
        def forward(self, x: Any, exponent: int = 1) -> Any:
            return x**exponent

    module, seen = Power(), []
    module.register_forward_pre_hook(lambda m, args, kwargs: (args, {"exponent": 3}), with_kwargs=True)
    module.register_forward_hook(lambda m, args, kwargs, result: seen.append((kwargs, result.item())), with_kwargs=True)
    assert module(plait.tensor(2.0), exponent=5).item() == 8
    assert seen == [({"exponent": 3}, 8.0)]
    module.register_forward_pre_hook(lambda m, args, kwargs: args, with_kwargs=True)
    with pytest.raises(ArgumentTypeError, match="returns None or both kinds of arguments"):
        module(plait.tensor(2.0))
    with pytest.raises(ArgumentTypeError, match="register_forward_hook"):
        module.register_forward_hook(3)  # type: ignore[arg-type]


def test_hooks_that_are_always_called() -> None:
    layer, seen = scale(1.0), []
    layer.register_forward_hook(lambda m, args, result: seen.append("only after results"))
    layer.register_forward_hook(lambda m, args, result: seen.append(result), always_call=True)
    with pytest.raises(ValueError, match="in_features"):
        layer(plait.ones(3))
    assert seen == [None]


def test_compiled_functions_notice_hooks() -> None:
    layer = scale(2.0)
    f = plait.jit(lambda x: layer(x).detach())
    x = plait.tensor([3.0])
    assert f(x).item() == 6
    with layer.register_forward_hook(lambda module, args, result: result + 1):
        assert f(x).item() == 7
    assert f(x).item() == 6


def test_hooks_follow_copies_and_transforms() -> None:
    layer, x = scale(2.0), plait.tensor([3.0])
    layer.register_forward_hook(lambda module, args, result: result * 10)
    assert copy.deepcopy(layer)(x).item() == 60
    gradient = plait.grad(lambda m: m(x).sum())(layer)
    assert gradient.weight.item() == 30
    assert plait.vmap(layer)(plait.ones(4, 1)).tolist() == [[20.0]] * 4


@pytest.mark.parametrize("how", ["backward", "grad", "jit"])
def test_full_backward_hooks_see_and_replace_gradients(how: str) -> None:
    layer, seen = scale(2.0), []
    layer.register_full_backward_pre_hook(lambda m, outputs: (outputs[0] * 10,))

    def after(m: Any, inputs: Any, outputs: Any) -> Any:
        seen.append((len(inputs), inputs[0].shape, outputs[0].shape))
        return (inputs[0] + 1,)

    layer.register_full_backward_hook(after)
    x = plait.tensor([3.0], requires_grad=how == "backward")
    loss = lambda x: (layer(x) * 5).sum()  # noqa: E731
    if how == "backward":
        loss(x).backward()
        assert layer.weight.grad.item() == 5 * 10 * 3
    gradient = x.grad if how == "backward" else (plait.jit(plait.grad(loss)) if how == "jit" else plait.grad(loss))(x)
    assert gradient.item() == 5 * 10 * 2 + 1
    assert seen == [(1, (1,), (1,))]


def test_backward_hooks_without_a_gradient_of_the_input() -> None:
    layer, seen = scale(2.0), []
    layer.register_full_backward_hook(lambda m, inputs, outputs: seen.append((inputs, outputs[0].item())))
    layer(plait.tensor([3.0])).sum().backward()
    assert seen == [((None,), 1.0)]
    layer.register_full_backward_hook(lambda m, inputs, outputs: (1, 2, 3))
    with pytest.raises(ArgumentTypeError, match="as many gradients as it is given. Received: 3. Expected: 1"):
        layer(plait.tensor([3.0])).sum().backward()


def test_hooks_of_state_dicts() -> None:
    model, seen = nn.Sequential(scale(1.0)), []
    model[0].register_state_dict_pre_hook(lambda m, prefix, keep_vars: seen.append(prefix))
    model[0].register_state_dict_post_hook(lambda m, state, prefix, metadata: state.update({prefix + "extra": 1}))
    assert list(model.state_dict()) == ["0.weight", "0.extra"]
    assert seen == ["0."]

    def rename(m: Any, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        state[prefix + "weight"] = state.pop(prefix + "w")

    handle = model[0].register_load_state_dict_pre_hook(rename)
    model.register_load_state_dict_post_hook(lambda m, keys: seen.append(keys))
    given = {"0.w": plait.full((1, 1), 7.0)}
    assert model.load_state_dict(given) == ([], [])
    assert list(given) == ["0.w"]
    assert model[0].weight.item() == 7
    assert seen[1:] == [([], [])]
    handle.remove()
    model[0].register_load_state_dict_pre_hook(lambda *args: args[-1].append("too old"))
    with pytest.raises(ArgumentError, match="  too old"):
        model.load_state_dict({"0.weight": plait.zeros(1, 1)})
    assert model[0].weight.item() == 7


def test_state_dict_options() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            self.count = 3
            self.weight = nn.Parameter(plait.ones(1))

        def get_extra_state(self) -> Any:
            return {"count": self.count}

        def set_extra_state(self, state: Any) -> None:
            self.count = state["count"]

    model = Counter()
    assert model.state_dict(prefix="m.", keep_vars=True)["m.weight"] is model.weight
    assert model.state_dict()["_extra_state"] == {"count": 3}
    model.load_state_dict({"weight": plait.zeros(1), "_extra_state": {"count": 9}})
    assert model.count == 9
    other = plait.zeros(1, dtype=plait.float64)
    model.load_state_dict({"weight": other, "_extra_state": {"count": 9}}, assign=True)
    assert model.weight.dtype is plait.float64
    assert isinstance(model.weight, nn.Parameter)

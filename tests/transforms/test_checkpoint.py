"""Policies of `checkpoint`: what is kept, that gradients do not depend on it, and that memory does."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import plait
from plait import nn
from plait.compiler.pipeline import compile_nodes
from plait.core.errors import ArgumentError, ArgumentTypeError
from plait.core.graph import Graph, Node, is_leaf, placeholder, toposort
from plait.core.primitive import P
from plait.prims.remat import Budget
from plait.tensor.tensor import Tensor, node_of, wrap
from plait.transforms.differentiate import linearize, pull_back

policies = plait.checkpoint_policies
WEIGHTS = [np.random.default_rng(k).normal(0, 0.2, (32, 32)).astype(np.float32) for k in range(3)]
X = plait.tensor(np.random.default_rng(9).normal(size=(8, 32)).astype(np.float32))
BYTES = 8 * 32 * 4  # of one value of the chain
POLICIES = {
    "default": {},
    "everything": {"policy": policies.everything_saveable},
    "nothing": {"policy": policies.nothing_saveable},
    "dots": {"policy": policies.dots_saveable},
    "unbatched dots": {"policy": policies.dots_with_no_batch_dims_saveable},
    "names": {"policy": policies.save_only_these_names("hidden")},
    "other names": {"policy": policies.save_only_names("nowhere")},
    "own": {"policy": lambda node: node.prim.name == "tanh"},
    "no budget": {"budget": 0},
    "some budget": {"budget": 2 * BYTES},
    "large budget": {"budget": 1 << 30},
}


def chain(x: Any, scale: Any = 1.0) -> Any:
    for w in WEIGHTS:
        x = plait.checkpoint_name(plait.tanh(x @ plait.tensor(w)), "hidden") * scale
    return plait.softmax(x, -1)


def loss(function: Any) -> Any:
    return lambda *args: (function(*args) ** 2).sum()


def stored(function: Any, x: Tensor) -> list[Node]:
    """What the forward part of a checkpointed function returns besides its results."""
    holder = placeholder(x.aval)
    output = node_of(function(wrap(holder)))
    (result,), _, _ = linearize([output], [holder])
    node = result.inputs[0]
    assert node.prim is P.checkpoint
    return list(node.params["body"].outputs[len(output.inputs[0].avals) :])


@pytest.mark.parametrize("name", POLICIES)
def test_gradients_do_not_depend_on_the_policy(name: str) -> None:
    f = plait.checkpoint(chain, **POLICIES[name])
    expected = plait.grad(loss(chain))(X).numpy()
    np.testing.assert_allclose(plait.grad(loss(f))(X).numpy(), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(plait.jit(plait.grad(loss(f)))(X).numpy(), expected, rtol=1e-5, atol=1e-7)
    x = X.clone().requires_grad_()
    loss(f)(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["dots", "names", "some budget"])
def test_policies_compose_with_every_transform(name: str) -> None:
    f = plait.checkpoint(chain, **POLICIES[name])
    batch = plait.stack([X, X * 0.5])
    for transform in (
        lambda f: plait.vmap(plait.grad(loss(f))),
        lambda f: plait.grad(lambda xs: plait.vmap(loss(f))(xs).sum()),
        lambda f: plait.grad(lambda xs: plait.jvp(lambda x: loss(f)(x[0]), (xs,), (xs,))[1]),
        lambda f: plait.grad(lambda xs: (plait.grad(loss(f))(xs[0]) ** 2).sum()),
        lambda f: plait.grad(lambda xs: plait.scan(lambda c, x: (f(c + x), None), X, xs)[0].sum()),
        lambda f: plait.grad(lambda xs: plait.cond(xs.sum() > 0, loss(f), loss(plait.checkpoint(f)), xs[1])),
    ):
        found, expected = transform(f)(batch).numpy(), transform(chain)(batch).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("default", []),
        ("nothing", []),
        ("dots", ["dot_general"] * 3),
        ("unbatched dots", ["dot_general"] * 3),
        ("names", ["tanh"] * 3),
        ("other names", []),
        ("own", ["tanh"] * 3),
        ("no budget", []),
    ],
)
def test_what_is_stored(name: str, expected: list[str]) -> None:
    assert sorted(n.prim.name for n in stored(plait.checkpoint(chain, **POLICIES[name]), X)) == expected


def test_batched_products_are_told_apart() -> None:
    def attention(x: Any) -> Any:
        return plait.sin(plait.sin(x @ plait.tensor(WEIGHTS[0])) @ x.mT)

    x = plait.ones(2, 4, 32)
    both = stored(plait.checkpoint(attention, policy=policies.dots_saveable), x)
    one = stored(plait.checkpoint(attention, policy=policies.dots_with_no_batch_dims_saveable), x)
    assert len(both) == 2 and len(one) == 1


def test_policies_see_into_layers() -> None:
    layer = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 32))
    for f in (layer, lambda x: nn.functional.softmax(layer(x), -1)):
        found = stored(plait.checkpoint(lambda x, f=f: plait.sin(f(x)), policy=policies.dots_saveable), X)
        assert sorted((n.prim.name, n.shape) for n in found) == [("dot_general", (8, 32)), ("dot_general", (8, 64))]


def test_views_are_not_stored_but_what_they_show() -> None:
    f = lambda x: plait.sin(plait.exp(x).T.reshape(4, 64)).sum()  # noqa: E731
    found = {(n.prim.name, n.shape) for n in stored(plait.checkpoint(f, policy=policies.everything_saveable), X)}
    assert ("exp", (8, 32)) in found
    assert not {name for name, _ in found} & {"reshape", "transpose", "broadcast"}


@pytest.mark.parametrize("budget", [0, 100, BYTES - 1, BYTES, 2 * BYTES + 50, 3 * BYTES, 3 * BYTES + 200])
def test_the_budget_is_kept_and_spent_on_products_first(budget: int) -> None:
    found = stored(plait.checkpoint(chain, budget=budget), X)
    assert sum(n.aval.nbytes for n in found) <= budget
    assert [n.prim.name for n in found].count("dot_general") == min(3, budget // BYTES)


def test_a_budget_stores_nothing_that_nobody_needs() -> None:
    x = placeholder(X.aval)
    product = P.dot_general(x, P.transpose(x, permutation=(1, 0)), contract=((1,), (0,)), batch=((), ()))
    root = P.exp(P.exp(product))
    assert Budget(8 * 8 * 4).choose([root], {x}) == [product]
    assert Budget(1 << 20).choose([root], {x}) == [root]


def test_equal_policies_are_one_program() -> None:
    def body(x: Any) -> Any:
        return plait.checkpoint(chain, x, policy=policies.save_only_names("hidden"))

    first, second = (node_of(body(wrap(placeholder(X.aval)))).inputs[0] for _ in range(2))
    assert first.params == second.params
    assert plait.checkpoint_policies.save_only_names("a") != plait.checkpoint_policies.save_only_names("b")


def test_the_form_of_pytorch_calls_at_once() -> None:
    direct = plait.checkpoint(chain, X, 0.5, use_reentrant=False)
    np.testing.assert_array_equal(direct.numpy(), chain(X, 0.5).numpy())
    np.testing.assert_array_equal(plait.checkpoint(chain, x=X).numpy(), chain(X).numpy())


@pytest.mark.parametrize("segments", [1, 2, 3, 5])
def test_checkpoint_sequential(segments: int) -> None:
    plait.manual_seed(0)
    model = nn.Sequential(*[nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Dropout(0.2)) for _ in range(5)])
    results = []
    for run in (model, lambda x: nn.utils.checkpoint_sequential(model, segments, x, use_reentrant=False)):
        plait.manual_seed(1)
        for p in model.parameters():
            p.grad = None
        value = loss(run)(X)
        value.backward()
        results.append([value.item(), *[p.grad.numpy() for p in model.parameters()]])
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7)


# memory


def arena(**options: Any) -> int:
    """Bytes of temporaries of the gradient of eight blocks."""

    def block(x: Any) -> Any:
        return x + plait.tanh(plait.checkpoint_name(plait.sin(x) * plait.exp(-x * x), "gate") @ wrap(weight))

    x, weight = placeholder(plait.zeros(512, 256).aval), placeholder(plait.zeros(256, 256).aval)
    f = plait.checkpoint(block, **options) if options else block
    value = wrap(x)
    for _ in range(8):
        value = f(value)
    output = node_of((value * value).sum())
    (result,), pull = pull_back([output], [x, weight])
    plan = compile_nodes([result, *pull([node_of(plait.tensor(1.0))])], [x, weight])
    plan.place()
    return plan.arena


def test_a_policy_changes_the_memory_of_a_program() -> None:
    kept = arena()
    block = arena(budget=0)
    value = 512 * 256 * 4
    assert kept > 24 * value, "sin, exp and tanh of each block"
    assert block < 0.6 * kept, "the arguments of the blocks, and one block"
    assert block == arena(policy=policies.nothing_saveable)
    named = arena(policy=policies.save_only_names("gate"))
    assert block + 3 * value < named <= block + 9 * value, "one more value for each block"
    assert block < arena(budget=value) < kept


MEASURED = """
import sys
import plait
from plait.runtime.buffer import memory_statistics
plait.manual_seed(0)
layers = [plait.nn.Linear(256, 256) for _ in range(8)]
parts = [lambda x, l=l: x + plait.tanh(plait.sin(l(x)) * plait.exp(-x * x)) for l in layers]
if sys.argv[1] == "checkpoint":
    parts = [plait.checkpoint(part) for part in parts]
def loss(x):
    for part in parts:
        x = part(x)
    return (x * x).mean()
x = plait.randn(4096, 256)
step = plait.jit(plait.grad(loss))
total = step(x).sum().item()
resident = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(total, memory_statistics().peak, int(resident.split()[1]) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the most memory that was resident is read from /proc")
def test_a_process_needs_less_memory() -> None:
    found = {}
    for mode in ("plain", "checkpoint"):
        run = subprocess.run([sys.executable, "-c", MEASURED, mode], capture_output=True, text=True, check=True)
        found[mode] = [float(word) for word in run.stdout.split()]
    (a, plain, plain_rss), (b, less, less_rss) = found["plain"], found["checkpoint"]
    assert a == pytest.approx(b, rel=1e-4)
    assert less < 0.6 * plain
    assert less_rss < plain_rss - 0.5 * (plain - less)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: plait.checkpoint(chain, policy=3), ArgumentTypeError, "The policy of checkpoint takes a function"),
        (lambda: plait.checkpoint(chain, policy=chain, budget=1), ArgumentError, "a policy or a budget"),
        (lambda: plait.checkpoint(chain, budget=-1), ArgumentError, "a number of bytes. Received: -1"),
        (lambda: plait.checkpoint(chain, budget=1.5), ArgumentError, "a number of bytes. Received: 1.5"),
        (lambda: plait.checkpoint_name(X, 3), ArgumentTypeError, "The name of a value is a string. Received: 3"),
        (lambda: policies.save_only_names("a", 1), ArgumentTypeError, "is a string. Received: 1"),
        (lambda: nn.utils.checkpoint_sequential([chain], 2, X), ArgumentError, "Received: 2. Expected: 1 to 1"),
        (lambda: nn.utils.checkpoint_sequential(3, 1, X), ArgumentTypeError, "takes layers one after the other"),
    ],
)
def test_errors(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_names_do_not_change_values() -> None:
    named = plait.checkpoint_name({"a": X, "b": (X * 2,)}, "pair")
    np.testing.assert_array_equal(named["b"][0].numpy(), (X * 2).numpy())
    holder = placeholder(X.aval)
    graph = Graph([holder], [P.name(P.sin(holder), name="x")])
    assert "name" in [n.prim.name for n in toposort(graph.outputs, is_leaf)]
    np.testing.assert_array_equal(
        plait.vmap(lambda x: plait.checkpoint_name(plait.sin(x), "s"))(X).numpy(), plait.sin(X).numpy()
    )

"""Modules, optimizers, generators, counters; transforms inside programs."""

from __future__ import annotations

import copy

import plait
from plait import nn, optim
from tests.semantics.cases import M, S, Spec, X, Y, program, stateful

BATCH = Spec([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5], [-2.0, 1.0, 0.0], [0.1, 0.2, 0.3]], "float32")


class Block(nn.Module):
    """Linear, normalized, with a counter and a switch."""

    def __init__(self, scale: float = 1.0) -> None:
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.scale = scale
        self.register_buffer("calls", plait.tensor(0))

    def forward(self, x):
        self.calls += 1
        y = self.norm(self.linear(x))
        return y * self.scale if self.training else y


@stateful(BATCH, grad=False)
def module_forward():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    return lambda x: model(x).detach(), model


@stateful(BATCH, grad=False)
def batch_norm_statistics():
    model = Block()
    return lambda x: model(x).detach(), model


@stateful(BATCH, grad=False)
def module_as_argument_of_a_closure():
    model = Block(2.0)

    def apply(m, x):
        return m(x).detach()

    return lambda x: apply(model, x), model


@stateful(BATCH, grad=False)
def eval_inside():
    model = Block(3.0)

    def f(x):
        model.eval()
        a = model(x)
        model.train()
        return (a - model(x)).detach()

    return f, model


@stateful(BATCH)
def dropout_draws():
    model = nn.Dropout(0.5)
    return lambda x: (model(x), model(x)), model


@stateful(S)
def random_numbers():
    return lambda x: (x + plait.rand(3), plait.randn(2), plait.randint(0, 10, (2,))), []


@stateful(S)
def own_generator():
    generator = plait.Generator(7)
    return lambda x: x + plait.rand(2, generator=generator), generator.state


@stateful(S)
def seed_inside():
    def f(x):
        plait.manual_seed(3)
        return x + plait.rand(2)

    return f, []


@stateful(BATCH, grad=False)
def sgd_step():
    model = nn.Linear(3, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def f(x):
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return f, model


@stateful(BATCH, grad=False)
def adam_step_and_norm():
    model = Block()
    optimizer = optim.AdamW(model.parameters(), lr=0.05)

    def f(x):
        optimizer.zero_grad()
        loss = (model(x) - 1).abs().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return f, model


@stateful(BATCH, grad=False)
def two_optimizers():
    a, b = nn.Linear(3, 2), nn.Linear(2, 1)
    first, second = optim.SGD(a.parameters(), lr=0.1), optim.Adam(b.parameters(), lr=0.01)

    def f(x):
        for o in (first, second):
            o.zero_grad()
        loss = b(a(x).tanh()).square().sum()
        loss.backward()
        for o in (first, second):
            o.step()
        return loss.detach()

    return f, a, b


@stateful(BATCH, grad=False)
def gradients_accumulate():
    model = nn.Linear(3, 1)

    def f(x):
        model(x).sum().backward()
        return model.weight.grad * 1

    return f, model


@stateful(BATCH, grad=False)
def gradient_is_cleared():
    model = nn.Linear(3, 1)

    def f(x):
        model(x).sum().backward()
        norm = model.weight.grad.abs().sum()
        model.zero_grad()
        return norm, model.weight.grad is None

    return f, model


@stateful(BATCH, grad=False)
def shared_weights():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def f(x):
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach(), model[0].weight is model[1].weight

    return f, model


@stateful(BATCH, grad=False)
def frozen_parameters():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    for p in model[0].parameters():
        p.requires_grad_(False)
    optimizer = optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)

    def f(x):
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach(), model[0].weight.grad is None

    return f, model


@stateful(BATCH, grad=False)
def moving_average_of_weights():
    model = nn.Linear(3, 1)
    average = copy.deepcopy(model)

    def f(x):
        loss = model(x).square().mean()
        loss.backward()
        with plait.no_grad():
            for p, q in zip(model.parameters(), average.parameters(), strict=True):
                p.sub_(0.1 * p.grad)
                p.grad = None
                q.mul_(0.9).add_(p, alpha=0.1)
        return loss.detach()

    return f, model, average


@stateful(BATCH, grad=False)
def module_list_and_dict():
    layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(3)])
    heads = nn.ModuleDict({"a": nn.Linear(3, 1), "b": nn.Linear(3, 2)})

    def f(x):
        for layer in layers:
            x = plait.relu(layer(x)) + x
        return {k: head(x).detach() for k, head in heads.items()}

    return f, layers, heads


@stateful(BATCH, grad=False)
def recurrent_state():
    hidden = plait.zeros(3)

    def f(x):
        for row in x:
            hidden.copy_(plait.tanh(hidden * 0.5 + row))
        return hidden * 1

    return f, [hidden]


@stateful(X)
def moving_average():
    mean, count = plait.zeros(3, dtype="float64"), plait.tensor(0)

    def f(x):
        count.add_(1)
        mean.add_((x - mean) / count)
        return mean * 2

    return f, [mean, count]


@stateful(X)
def counter_gives_a_schedule():
    step = plait.tensor(0)

    def f(x):
        step.add_(1)
        return x * plait.minimum(step / 2.0, plait.tensor(1.0))

    return f, [step]


@stateful(X, grad=False)
def backward_to_a_leaf_made_inside():
    def f(x):
        w = plait.tensor([1.0, 2.0, 3.0], dtype="float64", requires_grad=True)
        (w * w * x).sum().backward()
        return w.grad

    return f, []


@stateful(X, grad=False)
def requires_grad_inside():
    def f(x):
        w = x.detach().clone().requires_grad_()
        (w**3).sum().backward()
        return w.grad * 1

    return f, []


@stateful(X)
def swapped_values():
    a, b = plait.Parameter([1.0]), plait.Parameter([2.0])

    def f(x):
        with plait.no_grad():
            old = a.clone()
            a.copy_(b)
            b.copy_(old)
        return x * a.detach()

    return f, [a, b]


# transforms inside


@program(X)
def grad_inside(x):
    return plait.grad(lambda y: (y**3).sum())(x)


@program(X)
def grad_of_grad(x):
    return plait.grad(lambda y: plait.grad(lambda z: (z**4).sum())(y).sum())(x)


@program(X)
def value_and_grad_with_aux(x):
    return plait.value_and_grad(lambda y: ((y * y).sum(), y + 1), has_aux=True)(x)


@program(M)
def vmap_inside(m):
    return plait.vmap(lambda row: row.cumsum(0) * row.sum())(m)


@program(X)
def jvp_and_vjp(x):
    value, tangent = plait.jvp(plait.sin, (x,), (x * 0 + 1,))
    out, pull = plait.vjp(plait.exp, x)
    return value, tangent, pull(out)[0]


@program(X)
def jacobian_inside(x):
    return plait.jacrev(lambda y: y * y.sum())(x), plait.jacfwd(plait.tanh)(x)


@program(X)
def scan_inside(x):
    return plait.scan(lambda c, v: (c * 0.5 + v, c), plait.tensor(0.0, dtype="float64"), x)


@program(X, True)
def cond_inside(x, flag):
    return plait.cond(x.sum() > 0, lambda v: v * 2, lambda v: v * v, x)


@program(X)
def fori_loop_inside(x):
    return plait.fori_loop(0, 3, lambda k, c: c * 1.5 + k, x)


@program(X)
def while_loop_inside(x):
    return plait.while_loop(lambda c: c.sum() < 50, lambda c: c * 2 + 1, x)


@program(X)
def checkpoint_inside(x):
    return plait.checkpoint(lambda y: plait.sin(y) * y, x)


@program(X)
def custom_vjp_inside(x):
    f = plait.custom_vjp(lambda y: y * y)
    f.defvjp(lambda y: (y * y, y), lambda y, g: (2 * y * g,))
    return f(x)


@program(X)
def jit_inside(x):
    return plait.jit(lambda y: y * 2 + 1)(x)


@program(X)
def captured_by_inner_transform(x):
    return plait.grad(lambda y: (y * x * x).sum())(x * 2), plait.vmap(lambda v: v * x.sum())(x)


@program(X, Y, smooth=False)
def stop_gradient(x, y):
    return x * y.detach() + y * x


@stateful(X, smooth=False)
def writes_inside_grad():
    total = plait.zeros(3, dtype="float64")

    def f(x):
        def loss(y):
            total.add_(y.detach())
            return (y * y * total.detach()).sum()

        return plait.grad(loss)(x).detach()

    return f, [total]


@stateful(X)
def counter_inside_vmap():
    count = plait.tensor(0)

    def f(x):
        def one(v):
            count.add_(1)
            return v * 2

        return plait.vmap(one)(x)

    return f, [count]


@stateful(X)
def writes_inside_scan():
    total, count = plait.tensor(0.0, dtype="float64"), plait.tensor(0)

    def f(x):
        def step(carry, v):
            count.add_(1)
            total.mul_(0.5).add_(v)
            return carry + total, total * count

        return plait.scan(step, plait.tensor(0.0, dtype="float64"), x)

    return f, [total, count]


@stateful(X)
def draws_inside_scan():
    def f(x):
        return plait.scan(lambda carry, v: (carry, v + plait.rand(2)), plait.tensor(0.0), x)[1]

    return f, []


@stateful(X)
def writes_inside_cond():
    taken = plait.zeros(2, dtype="float64")

    def f(x):
        def yes(y):
            taken[0] += y.sum()
            return y * 2

        def no(y):
            taken[1] += 1
            return y * 3

        return plait.cond(x.sum() > 0, yes, no, x) + plait.cond(x.sum() < 0, yes, no, x)

    return f, [taken]


@stateful(X)
def writes_inside_while():
    count = plait.tensor(0)

    def f(x):
        def body(c):
            count.add_(1)
            return c * 2

        return plait.while_loop(lambda c: c.abs().sum() < 50, body, x)

    return f, [count]


@stateful(X, raises=plait.errors.AbstractValueError)
def raise_write_of_examples_inside_vmap():
    total = plait.tensor(0.0, dtype="float64")

    def f(x):
        def one(v):
            total.add_(v)
            return v * 2

        return plait.vmap(one)(x)

    return f, [total]


@stateful(X)
def module_function_of_the_default_generator():
    layer = nn.RReLU()
    return lambda x: layer(-x.abs()), []


@stateful(X, looks=True)
def attribute_of_a_module_counts():
    class Counting(nn.Module):
        def __init__(self):
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return x * self.calls

    model = Counting()

    def f(x):
        y = model(x)
        return y, model.calls

    return f, model


@stateful(X)
def module_made_inside():
    class Scale(nn.Module):
        def __init__(self, n):
            self.n = 1
            self.n = n

        def forward(self, x):
            return x * self.n

    return lambda x: Scale(3)(x), []


# what a version does to gradients and to views, beside its results


def parameters_with_gradients():
    a, b = (plait.tensor(v, dtype="float64", requires_grad=True) for v in ([1.0, 2.0], [3.0, 4.0]))
    (a * b).sum().backward()
    return a, b


@stateful(X)
def gradient_from_before_is_cleared():
    a, b = parameters_with_gradients()

    def f(x):
        a.grad = None
        return x * 2

    return f, [a, b]


@stateful(X)
def gradients_are_swapped():
    a, b = parameters_with_gradients()

    def f(x):
        a.grad, b.grad = b.grad, a.grad
        return x * 2

    return f, [a, b]


@stateful(X, grad=False)
def view_of_state_beside_a_parameter():
    table, weight = plait.zeros(3, dtype="float64"), plait.tensor([2.0], dtype="float64", requires_grad=True)
    part = table[1:]

    def f(x):
        table.add_(x.detach())
        return (x * weight).sum()

    return f, [table, part, weight]


@stateful(X, raises=ValueError)
def raise_after_write_and_view():
    table = plait.zeros(3, dtype="float64")
    part = table[1:]

    def f(x):
        table.add_(x)
        raise ValueError(part.sum().shape)

    return f, [table, part]

"""Explanations: why a jitted function is staged again, what each version is, its stages, costs and page."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from html.parser import HTMLParser

import numpy as np
import pytest

import plait
from plait import nn
from plait.core import journal
from plait.core.errors import AbstractValueError, ArgumentError, CompileCountError, PerformanceWarning
from plait.core.graph import CONSTANT, inline, toposort
from plait.core.printer import from_python
from plait.tensor.tensor import wrap

HERE = os.path.basename(__file__)


def reasons(function, *calls):
    """Call a jitted function with each of some (args, kwargs) and return why its last version was compiled."""
    for args, kwargs in calls:
        function(*args, **kwargs)
    return function.explain().versions[-1].reasons


def call(*args, **kwargs):
    return args, kwargs


# why it was staged again


def test_shapes_and_dtypes_of_arguments_are_named() -> None:
    f = plait.jit(lambda x, y: x + y)
    assert reasons(f, call(plait.ones(8, 3), plait.ones(3))) == ("first call",)
    assert reasons(f, call(plait.ones(9, 3), plait.ones(3))) == ("argument x: float32[8,3] -> float32[9,3]",)
    changed = ("argument y: float32[3] -> int64[3]",)
    assert reasons(f, call(plait.ones(9, 3), plait.ones(3, dtype=plait.int64))) == changed


def test_the_nearest_version_is_compared() -> None:
    f = plait.jit(lambda x, y: x.sum() + y.sum())
    f(plait.ones(2), plait.ones(3))
    f(plait.ones(4), plait.ones(5))
    assert reasons(f, call(plait.ones(2), plait.ones(5))) == ("argument x: float32[4] -> float32[2]",)
    assert reasons(f, call(plait.ones(2), plait.ones(7))) == ("argument y: float32[5] -> float32[7]",)


def test_static_values_defaults_and_keywords_are_named() -> None:
    f = plait.jit(lambda x, n=2, *rest, mode="a", **others: x * n)
    x = plait.ones(3)
    f(x)
    assert reasons(f, call(x, 3)) == ("argument n: 2 -> 3",)
    assert reasons(f, call(x, 3, 1.5)) == ("argument rest[0]: absent -> 1.5",)
    assert reasons(f, call(x, 3, 2.5)) == ("argument rest[0]: 1.5 -> 2.5",)
    assert reasons(f, call(x, 3, 2.5, mode="b")) == ("argument mode: 'a' -> 'b'",)
    assert reasons(f, call(x, True)) == ("argument n: 3 -> True",)


def test_lists_and_dicts_are_compared_by_structure() -> None:
    """USERS.md row 26: unhashable static arguments."""
    f = plait.jit(lambda x, cfg: x * cfg["width"] + len(cfg["names"]))
    x = plait.ones(3)
    with plait.assert_max_compiles(1):
        for _ in range(3):
            f(x, {"width": 3, "names": ["a", "b"]})
    assert reasons(f, call(x, {"width": 4, "names": ["a", "b"]})) == ("argument cfg['width']: 3 -> 4",)
    assert reasons(f, call(x, {"width": 4, "names": ["a"]})) == ("argument cfg['names'][1]: 'b' -> absent",)
    assert reasons(f, call(x, {"width": 4, "names": "ab"})) == ("argument cfg['names']: ['a'] -> 'ab'",)


def test_sets_are_compared_by_content() -> None:
    f = plait.jit(lambda x, skipped: x * len(skipped))
    x = plait.ones(3)
    with plait.assert_max_compiles(1):
        f(x, {"a", "b"})
        f(x, {"b", "a"})
    (found,) = reasons(f, call(x, {"a"}))
    assert found.startswith("argument skipped: {'")
    assert found.endswith("'} -> {'a'}")


def test_objects_compared_by_identity_are_named() -> None:
    class Unhashable:
        def __eq__(self, other):
            return isinstance(other, Unhashable)

        __hash__ = None

    class Plain:
        pass

    f = plait.jit(lambda x, cfg: x * 2)
    x = plait.ones(3)
    f(x, Unhashable())
    found = reasons(f, call(x, Unhashable()))
    assert found == ("argument cfg: another Unhashable, compared by identity: it cannot be hashed",)
    f(x, Plain())
    assert reasons(f, call(x, Plain())) == ("argument cfg: another Plain, compared by identity: it defines no __eq__",)


def test_a_repr_that_raises_does_not_break_the_call() -> None:
    class Odd:
        def __init__(self, number):
            self.number = number

        def __eq__(self, other):
            return isinstance(other, Odd) and self.number == other.number

        def __hash__(self):
            return self.number

        def __repr__(self):
            raise RuntimeError

    f = plait.jit(lambda x, odd: x * odd.number)
    x = plait.ones(3)
    assert reasons(f, call(x, Odd(1)), call(x, Odd(1)), call(x, Odd(2))) == ("argument odd: another Odd",)


def test_functions_as_arguments() -> None:
    f = plait.jit(lambda x, g: g(x))
    f(plait.ones(3), plait.tanh)
    assert reasons(f, call(plait.ones(3), plait.sin)) == ("argument g: tanh -> sin",)
    f(plait.ones(3), lambda x: x)
    (found,) = reasons(f, call(plait.ones(3), lambda x: -x))
    assert found.startswith("argument g: another ")
    assert found.endswith("<lambda>")


def test_attributes_that_steered_the_staging_are_named() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    f = plait.jit(lambda x: model(x).detach())
    f(plait.ones(2, 3))
    model.eval()
    assert reasons(f, call(plait.ones(2, 3))) == ("attribute training of Dropout: True -> False",)


def test_gradient_mode_and_gradients_are_named() -> None:
    layer = nn.Linear(3, 1)

    @plait.jit
    def accumulate(x):
        layer(x).sum().backward()
        return x * 2

    accumulate(plait.ones(2, 3))
    expected = ("gradient of weight: None -> present", "gradient of bias: None -> present")
    assert sorted(reasons(accumulate, call(plait.ones(2, 3)))) == sorted(expected)
    double = plait.jit(lambda x: x * 2)
    double(plait.ones(3))
    with plait.no_grad():
        assert reasons(double, call(plait.ones(3))) == ("gradients are recorded: True -> False",)


def test_names_are_given_with_their_line() -> None:
    scale, line = 2.0, sys._getframe().f_lineno + 1
    f = plait.jit(lambda x: x * scale)
    f(plait.ones(3))
    scale = 3.0
    assert reasons(f, call(plait.ones(3))) == (f"name scale ({__file__}:{line}): 2.0 -> 3.0",)
    scale = plait.ones(3)
    assert reasons(f, call(plait.ones(3)))[0].endswith("3.0 -> a tensor float32[3]")


def test_many_differences_are_cut_short() -> None:
    f = plait.jit(lambda *xs: sum(xs))
    f(*[plait.ones(2)] * 50)
    found = reasons(f, call(*[plait.ones(3) for _ in range(50)]))
    assert len(found) == 20
    assert found[-1] == "… and 32 more"


# explain, the log, the limit


def test_explanation_of_versions() -> None:
    @plait.jit
    def f(x, n):
        y = plait.tanh(x @ x.T)
        return y * n

    assert repr(f.explain()) == "f has not been called yet: nothing is compiled"
    line = sys._getframe().f_lineno + 1
    f(plait.ones(8, 4), 2)
    f(plait.ones(8, 4), 3)
    first, second = f.explain().versions
    assert first.arguments == {"x": "float32[8,4]", "n": "2"}
    assert first.record.source == f"{__file__}:{line}"
    assert second.reasons == ("argument n: 2 -> 3",)
    assert {"stage", "simplify", "fuse", "plan"} <= first.record.seconds.keys()
    assert first.record.input_bytes == 8 * 4 * 4
    assert first.record.output_bytes == 8 * 8 * 4
    assert first.record.flops >= 2 * 8 * 8 * 4
    kernel = next(k for k in first.kernels if "dot_general" in k.operations)
    assert f"{__file__}:{f.__wrapped__.__code__.co_firstlineno + 2}" in kernel.sources
    assert first.code_bytes(kernel) > 100
    assert sum(k.flops for k in first.kernels) == first.record.flops
    text = repr(f.explain())
    for part in ("f: 2 versions", "x: float32[8,4], n: 2", "first call", "argument n: 2 -> 3", f"{HERE}:{line}"):
        assert part in text


def test_donated_state_and_inline_versions_are_told() -> None:
    total = plait.zeros(4)

    @plait.jit
    def add(x):
        total.add_(x)
        return total.sum()

    add(plait.ones(4))
    assert add.explain().versions[0].record.donated == 1
    weight = plait.Parameter([2.0])
    inline = plait.jit(lambda x: x * weight)
    inline(plait.ones(3))
    assert inline.explain().versions[0].inline
    assert "its results require gradients" in repr(inline.explain())


def test_a_split_is_told_once_with_its_line() -> None:
    """USERS.md row 1: a fallback warns once and names cause and line."""

    @plait.jit
    def f(x):
        if x.sum() > 0:
            return x
        return -x

    line = f.__wrapped__.__code__.co_firstlineno + 2
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for k in range(5):
            f(plait.ones(3 + k))
    (warning,) = caught
    assert warning.category is PerformanceWarning
    assert (warning.filename, warning.lineno) == (__file__, line)
    assert "looks at the value of a tensor" in str(warning.message)
    assert {v.split for v in f.explain().versions} == {(__file__, line)}
    assert f"split    at {HERE}:{line}" in repr(f.explain())


def test_log_lists_compilations() -> None:
    @plait.jit
    def logged(x):
        return x * 2

    logged(plait.ones(3))
    logged(plait.ones(5))
    log = plait.compile_log()
    assert [r.reasons for r in log if r.what == "logged"][-2:] == [
        ("first call",), ("argument x: float32[3] -> float32[5]",)
    ]  # fmt: skip
    assert "argument x: float32[3] -> float32[5]" in repr(log)
    assert repr(type(log)()) == "nothing was compiled"


def test_limit_on_compilations() -> None:
    f = plait.jit(lambda x, n: functools.reduce(lambda y, k: plait.sin(y * 1.0625**k), range(n), x))
    x = plait.ones(3)
    with plait.assert_max_compiles(2):
        for n in (1, 2, 1, 2):
            f(x, n)
    with plait.assert_max_compiles(0):
        f(x, 2)

    @plait.assert_max_compiles(1)
    def call_with(*numbers):
        for n in numbers:
            f(x, n)

    with pytest.raises(CompileCountError, match="2 compilations. Expected: at most 1") as error:
        call_with(3, 4)
    assert "argument n: 2 -> 3" in str(error.value)
    assert "argument n: 3 -> 4" in str(error.value)
    assert isinstance(error.value, AssertionError)
    with pytest.raises(ArgumentError, match="not negative"), plait.assert_max_compiles(-1):
        pass
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        call_with(5, 6, object())  # what went wrong inside is not hidden


def test_limit_on_eager_work() -> None:
    def work():
        return (plait.sin(plait.ones(6, 2)) * 1.75).numpy()

    with plait.assert_max_compiles(0):
        work()
    with plait.assert_max_compiles(1):
        for _ in range(5):
            work()


def test_limit_decorates_functions() -> None:
    x = plait.tensor([1.0, 2.0])

    @plait.assert_max_compiles(1)
    def compile_some(count):
        for k in range(count):
            plait.jit(lambda x, k=k: plait.sin(x + 0.0625 * k))(x)

    compile_some(1)
    with pytest.raises(CompileCountError):
        compile_some(3)


def test_identical_blocks_compile_once() -> None:
    """USERS.md row 38: a model of 12 identical blocks has the kernels of one with 3."""

    def distinct(depth):
        model = nn.Sequential(*[nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(depth)]).eval()
        f = plait.jit(lambda x: model(x))
        with plait.no_grad():
            f(plait.ones(2, 5, 16))
        (version,) = f.explain().versions
        return version.record, {k.structure for k in version.kernels}

    few, kernels = distinct(3)
    many, same = distinct(12)
    assert same == kernels
    assert many.kernels > 3 * few.kernels
    assert many.origins["compiled"] == 0
    assert few.origins["compiled"] + few.origins["disk"] <= len(kernels)


# stages


def test_stages_are_runnable_python_with_the_lines() -> None:
    weight = plait.tensor(np.full((3, 2), 0.5, "float32"))

    @plait.jit
    def f(x):
        y = plait.softmax(x @ weight, axis=1)
        return y * 2 + x.sum()

    stages = f.stages(plait.ones(4, 3))
    line = f.__wrapped__.__code__.co_firstlineno + 2
    for text in (stages.graph, stages.simplified):
        graph = from_python(text)
        assert [str(i.aval) for i in graph.inputs] == ["float32[4,3]", "float32[3,2]"]
        assert f"{HERE}:{line}" in text
        assert f"{HERE}:{line + 1}" in text
        assert from_python(text) == graph
    assert "P.softmax" in stages.graph and "P.softmax" not in stages.simplified
    (first, *_) = stages.kernels
    assert first.name in first.loops
    assert f"define void @{first.name}" in first.llvm
    assert first.name in first.assembly
    assert "@staged" in repr(stages)
    assert f.explain().versions == []


def test_text_of_a_stage_computes_the_same() -> None:
    f = plait.jit(lambda x: plait.tanh(x).sum(axis=0) * 3)
    x = plait.linspace(-1, 1, 12).reshape(4, 3)
    for text in (f.stages(x).graph, f.stages(x).simplified):
        graph = from_python(text)
        (node,) = inline(graph, [x._node])
        np.testing.assert_allclose(wrap(node).numpy(), f(x).numpy(), rtol=1e-6)


def test_stages_run_nothing_and_change_nothing() -> None:
    total = plait.zeros(3)
    calls = []

    @plait.jit
    def f(x):
        calls.append(1)
        total.add_(x)
        return plait.rand(3) + total

    plait.manual_seed(0)
    state = plait.get_rng_state()
    f.stages(plait.ones(3))
    assert total.tolist() == [0.0] * 3
    assert (plait.get_rng_state() == state).all()
    f(plait.ones(3))
    assert total.tolist() == [1.0] * 3


def test_stages_of_a_split_function_name_the_look() -> None:
    f = plait.jit(lambda x: x if x.sum() > 0 else -x)
    with pytest.raises(AbstractValueError, match="is not known while"):
        f.stages(plait.ones(3))


def test_kernels_of_a_plan_hold_no_values() -> None:
    """Their nodes and code stay for explanations, the values that were recorded do not."""
    x = plait.ones(64, 64) * 2
    x.numpy()
    f = plait.jit(lambda: (x @ x).sum(axis=0) * 2)
    f()
    version = f.explain().versions[0]
    held = toposort([node for kernel in version.kernels for node in kernel.work])
    assert any(node.prim.name == "dot_general" for node in held)
    assert all(node.value is None for node in held if node.prim is not CONSTANT)


# cost


def test_cost_counts_operations_and_bytes() -> None:
    cost = plait.cost(plait.matmul, plait.ones(64, 32), plait.ones(32, 16))
    assert cost.flops == 2 * 64 * 32 * 16
    assert cost.bytes_moved == 4 * (64 * 32 + 32 * 16 + 64 * 16)
    assert cost.intensity == pytest.approx(cost.flops / cost.bytes_moved)
    assert cost.by_operation["dot_general"].count == 1
    assert "dot_general" in repr(cost)


def test_fusion_moves_less() -> None:
    cost = plait.cost(lambda x: plait.tanh(x * 2) + 1, plait.ones(1000))
    assert cost.bytes_moved == 8000
    assert sum(c.bytes_moved for c in cost.by_operation.values()) == pytest.approx(3 * 8000, rel=1e-3)
    assert {"mul", "tanh", "add"} == set(cost.by_operation)


def test_cost_of_loops() -> None:
    def loop(w, x):
        return plait.scan(lambda c, _: (c @ w, c.sum()), x, None, length=10)[0]

    cost = plait.cost(loop, plait.ones(8, 8), plait.ones(8, 8))
    assert cost.by_operation["dot_general"].count == 10
    assert cost.by_operation["dot_general"].flops == 10 * 2 * 8**3
    xs = plait.cost(lambda xs: plait.scan(lambda c, x: (c + x, x * 2), plait.zeros(100), xs)[1], plait.ones(50, 100))
    assert xs.bytes_moved < 10 * 50 * 400  # each step reads a row of xs, not all of it


def test_cost_runs_nothing() -> None:
    total = plait.zeros(3)
    plait.cost(lambda x: total.add_(x), plait.ones(3))
    assert total.tolist() == [0.0] * 3


# the page


class Page(HTMLParser):
    """Tags that are open, and what stands in the page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.kernels: set[str] = set()
        self.ids: list[str] = []
        self.boxes = self.arrows = 0
        self.text = ""

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        assert not {"src", "href"} & values.keys()
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if "data-kernel" in values:
            self.kernels.add(values["data-kernel"])
        if "id" in values and tag == "section":
            self.ids.append(values["id"])
        self.boxes += tag == "rect"
        self.arrows += tag == "path" and "marker-end" in values

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_page_for_the_browser(tmp_path) -> None:
    @plait.jit
    def f(x):
        y = plait.tanh(x @ x.T)
        return (y @ x).sum(axis=0) < 3

    f(plait.ones(8, 4))
    f(plait.ones(9, 4))
    version = f.explain().versions[0]
    f.explain().save_html(tmp_path / "f.html", {version.kernels[0].name: 0.125})
    text = (tmp_path / "f.html").read_text(encoding="utf-8")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    page = Page()
    page.feed(text)
    assert page.open == []
    count = sum(len(v.kernels) for v in f.explain().versions)
    assert page.boxes == count
    assert len(page.ids) == len(set(page.ids))
    assert page.kernels == set(page.ids)
    assert page.arrows >= 2
    for part in ("y = plait.tanh(x @ x.T)", "125 ms", "argument x: float32[8,4] -> float32[9,4]", "define void"):
        assert part in page.text


def test_page_of_what_was_not_called(tmp_path) -> None:
    plait.jit(lambda x: x).explain().save_html(tmp_path / "f.html")
    assert "nothing is compiled" in (tmp_path / "f.html").read_text(encoding="utf-8")


def test_explanations_outlive_the_log() -> None:
    f = plait.jit(lambda x: x - 0.125)
    f(plait.ones(3))
    for k in range(journal.MOST_RECORDS):
        with journal.compilation(f"g{k}", "jit", "", ["first call"], "stage"):
            pass
    assert f.explain().versions[0].reasons == ("first call",)

"""Primitives: one literal each, every slot filled or waived with a reason, checked when it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plait.core.aval import Aval
from plait.core.errors import InternalError

if TYPE_CHECKING:
    from plait.core.graph import Node

KINDS = ("leaf", "elementwise", "view", "reduce", "kernel", "expand", "call", "host")


@dataclass(frozen=True, slots=True)
class Waived:
    """A slot left empty on purpose; `reason` is what a user is told when it is asked for."""

    reason: str


@dataclass(frozen=True, slots=True)
class Domain:
    """The valid inputs of a primitive, from which its tests are generated.

    `dtypes` are those of the sampled operands. `sample(random, dtype, size)` yields pairs (arrays, params), where
    `random` is a `numpy.random.Generator` and `size` a small integer that sizes the case; where it is None the
    operands are elementwise arrays drawn between `low` and `high`. `smooth` says whether finite differences
    are meaningful inside the domain; `tolerance` scales the allowed error in units of the dtype's epsilon.
    """

    dtypes: tuple[Any, ...]
    low: Any = -3.0
    high: Any = 3.0
    sample: Callable[..., Any] | None = None
    smooth: bool = True
    tolerance: float = 8.0


class Primitive:
    """One operation of the graph and all that is known of it.

    Calling it records a node: `P.add(x, y)`, `P.reshape(x, shape=(2, 3))`. See docs/primitives.md for the slots.
    """

    __slots__ = (
        "name", "kind", "aval", "lower", "jvp", "transpose", "batch", "shard", "cost", "domain", "oracle",
        "linearize", "accumulate", "runtime", "multi", "cache", "__weakref__",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        *,
        kind: str,
        aval: Callable[..., Aval | tuple[Aval, ...]],
        lower: Any,
        jvp: Any,
        transpose: Any,
        batch: Any,
        shard: Any,
        cost: Any,
        domain: Domain | Waived,
        oracle: str | Waived,
        linearize: Callable[..., Any] | None = None,
        accumulate: Callable[..., Any] | None = None,
        runtime: tuple[str, ...] = (),
        multi: bool = False,
    ) -> None:
        self.name, self.kind, self.aval, self.lower = name, kind, aval, lower
        self.jvp, self.transpose, self.batch, self.shard = jvp, transpose, batch, shard
        self.cost, self.domain, self.oracle = cost, domain, oracle
        self.linearize, self.accumulate, self.runtime, self.multi = linearize, accumulate, runtime, multi
        self.cache: dict[Any, Any] = {}
        for slot in ("aval", "lower", "jvp", "transpose", "batch", "shard", "cost", "domain", "oracle"):
            if getattr(self, slot) is None:
                raise InternalError(f"primitive {name}: slot {slot!r} is empty; fill it or waive it with a reason")
        if kind not in KINDS or name in PRIMITIVES:
            raise InternalError(f"primitive {name}: unknown kind {kind!r} or the name is taken")
        PRIMITIVES[name] = self

    @property
    def is_call(self) -> bool:
        """Whether it is a step of its own in a program: control flow, or a function of the host."""
        return self.kind in ("call", "host")

    def __repr__(self) -> str:
        return self.name

    def __call__(self, *inputs: Any, **params: Any) -> Node:
        node: Node = CALL[0](self, inputs, params)
        return node

    def __reduce__(self) -> Any:
        return PRIMITIVES.__getitem__, (self.name,)

    def __deepcopy__(self, memo: Any) -> Primitive:
        return self


PRIMITIVES: dict[str, Primitive] = {}
CALL: list[Callable[..., Any]] = []


class _Namespace:
    """Late-bound access to primitives by name, so that the rules of one family may use another."""

    def __getattr__(self, name: str) -> Primitive:
        try:
            found = self.__dict__[name] = PRIMITIVES[name]  # an ordinary attribute from now on
        except KeyError:
            raise AttributeError(f"no primitive is called {name!r}") from None
        return found


P = _Namespace()

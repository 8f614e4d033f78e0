"""Mixed precision: products in 16 bits, what is sensitive in float32; loss scaling for the gradients of float16.

A policy converts the arguments of functions by their names, when they are called: it is found in the one place where
functions take their arguments, so that it holds eagerly, under `jit`, `grad` and `vmap` alike, and gradients flow back
through the conversions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ContextDecorator
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from plait.core import tree
from plait.core.dtype import DType, as_dtype, bfloat16, float16, float32, int32
from plait.core.errors import ArgumentError, DTypeError, GradientError, check_function, message
from plait.core.graph import recorder
from plait.optim import Optimizer, RuleOptimizer
from plait.tensor import lazy
from plait.tensor.autograd import no_grad
from plait.tensor.creation import full
from plait.tensor.functions import maximum, where
from plait.tensor.inspection import finfo
from plait.tensor.tensor import Tensor

__all__ = [
    "LOWER", "UPPER", "GradScaler", "Policy", "ScaleState", "autocast", "custom_policy", "get_autocast_dtype",
    "is_autocast_enabled", "next_scale", "transform", "unscale",
]  # fmt: skip

LOWER = frozenset(
    """
    addbmm addmm addmv addr baddbmm bilinear bmm chain_matmul conv_tbc convolved convolved_transposed dot einsum inner
    linear matmul mm multi_dot mv outer tensordot vecdot
""".split()
)
"""Functions that are computed in the lower precision: products of matrices, and convolutions of every rank."""

UPPER = frozenset(
    """
    acos asin cosh cosine_similarity cdist cumprod cumsum erfinv exp expm1 group_norm layer_norm log log10 log1p log2
    log_softmax logcumsumexp logsumexp mean nansum norm normalize pairwise_distance pdist prod renorm
    rms_norm rsqrt sinh softmax softmin softplus std sum tan var vector_norm
    binary_cross_entropy binary_cross_entropy_with_logits cosine_embedding_loss cross_entropy ctc_loss
    gaussian_nll_loss hinge_embedding_loss huber_loss kl_div l1_loss linear_cross_entropy margin_ranking_loss mse_loss
    multi_margin_loss multilabel_margin_loss multilabel_soft_margin_loss nll_loss poisson_nll_loss smooth_l1_loss
    soft_margin_loss triplet_margin_loss triplet_margin_with_distance_loss
""".split()
)
"""Functions that are computed in float32: losses, softmax, norms, sums and exponentials."""

_CONVERTED = (float32, bfloat16, float16)


@dataclass(frozen=True)
class Policy:
    """Which functions compute in which precision. All others take what they are given, and promote.

    Args:
        dtype: the lower precision, bfloat16 or float16.
        lower: names of functions whose float arguments of 32 bits or less are converted to it.
        upper: names of functions whose arguments are converted to float32.

    Raises:
        DTypeError: another dtype.

    Example:
        >>> policy = plait.amp.Policy(lower=plait.amp.LOWER - {"linear"})
        >>> plait.amp.transform(plait.matmul, policy)(plait.ones(2), plait.ones(2))
        tensor(2., dtype=plait.bfloat16)
    """

    dtype: DType = bfloat16
    lower: frozenset[str] = LOWER
    upper: frozenset[str] = UPPER

    def __post_init__(self) -> None:
        if self.dtype not in (bfloat16, float16):
            fix = "pass enabled=False to compute in float32"
            raise DTypeError(message("Mixed precision lowers to 16 bits", self.dtype.name, "bfloat16 or float16", fix))

    def cast(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of the function called `name` in its precision."""
        target = self.dtype if name in self.lower else float32 if name in self.upper else None
        if target is None:
            return args, kwargs
        return tuple([_cast(v, target) for v in args]), {k: _cast(v, target) for k, v in kwargs.items()}


def _cast(value: Any, dtype: DType) -> Any:
    if isinstance(value, Tensor):
        return value.to(dtype) if value.dtype in _CONVERTED and value.dtype is not dtype else value
    return [_cast(v, dtype) for v in value] if type(value) in (list, tuple) and _has_tensor(value) else value


def _has_tensor(values: Any) -> bool:
    return any(isinstance(v, Tensor) for v in values)


class custom_policy(ContextDecorator):  # noqa: N801 - used like a function
    """Compute what is called inside by a policy, or without one.

    Args:
        policy: the policy, or None.

    Example:
        >>> with plait.amp.custom_policy(plait.amp.Policy(plait.float16)):
        ...     (plait.ones(2) @ plait.ones(2)).dtype
        plait.float16
    """

    def __init__(self, policy: Policy | None) -> None:
        self.policy = policy
        self._before: list[Policy | None] = []

    def _recreate_cm(self) -> custom_policy:
        return custom_policy(self.policy)  # threads may be inside one decorated function at once

    def __enter__(self) -> Any:
        self._before.append(recorder.mode)
        recorder.mode = self.policy
        return self

    def __exit__(self, *error: Any) -> None:
        recorder.mode = self._before.pop()


class autocast(custom_policy):  # noqa: N801 - PyTorch's name
    """Compute products in 16 bits and what is sensitive in float32: a context manager, and a decorator.

    Put the forward pass and the loss inside, `backward` and the optimizer's step outside. Parameters stay in float32.

    Args:
        device_type: "cpu".
        dtype: bfloat16 (the default) or float16.
        enabled: False computes in the dtypes of the arguments, also inside another `autocast`.
        cache_enabled: accepted for PyTorch's sake: a conversion that is needed twice is compiled once.

    Raises:
        DTypeError: another dtype.

    Example:
        >>> layer, x = plait.nn.Linear(4, 3), plait.ones(2, 4)
        >>> with plait.amp.autocast(dtype=plait.bfloat16):
        ...     y = layer(x)
        ...     loss = plait.nn.functional.mse_loss(y, plait.zeros(2, 3))
        >>> y.dtype, loss.dtype
        (plait.bfloat16, plait.float32)
    """

    def __init__(
        self, device_type: str = "cpu", dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if not isinstance(device_type, str):
            fix = "pass autocast(dtype=...)"
            raise ArgumentError(message("The first argument of autocast names a device", device_type, '"cpu"', fix))
        super().__init__(Policy(bfloat16 if dtype is None else as_dtype(dtype)) if enabled else None)


def is_autocast_enabled(device_type: str = "cpu") -> bool:
    """Return whether a policy of mixed precision is in force.

    Example:
        >>> plait.amp.is_autocast_enabled()
        False
    """
    return recorder.mode is not None


def get_autocast_dtype(device_type: str = "cpu") -> DType:
    """Return the lower precision in force, or bfloat16 outside.

    Example:
        >>> plait.amp.get_autocast_dtype()
        plait.bfloat16
    """
    return bfloat16 if recorder.mode is None else recorder.mode.dtype


def transform(function: Callable[..., Any], policy: Policy | None = None) -> Callable[..., Any]:
    """Return a function that computes in mixed precision.

    Args:
        function: any function.
        policy: which functions compute in which precision; by default products in bfloat16.

    Returns:
        A function of the same arguments; compose it with `jit`, `grad` and `vmap`.

    Raises:
        ArgumentTypeError: `function` cannot be called.

    Example:
        >>> def loss(w, x):
        ...     return (x @ w).sum()
        >>> plait.grad(plait.amp.transform(loss))(plait.ones(2), plait.ones(3, 2))
        tensor([3., 3.])
    """
    check_function(function, "amp.transform")
    chosen = Policy() if policy is None else policy

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with custom_policy(chosen):
            return function(*args, **kwargs)

    return wrapped


# loss scaling: the pure functions


class ScaleState(NamedTuple):
    """The scale of a loss, the number of good steps since it changed, and of bad ones in a row: rank-0 tensors."""

    scale: Tensor
    growth_tracker: Tensor
    skipped: Tensor

    @classmethod
    def first(cls, scale: float = 65536.0) -> ScaleState:
        """Return the first state."""
        return cls(full((), scale, dtype=float32), *[full((), 0, dtype=int32) for _ in range(2)])


def unscale(gradients: Any, scale: Any) -> tuple[Any, Tensor]:
    """Divide the gradients of a scaled loss by the scale.

    Args:
        gradients: a pytree of tensors.
        scale: a rank-0 tensor.

    Returns:
        The gradients, and whether all are finite in their dtypes, a rank-0 tensor of bool.

    Example:
        >>> gradients, is_finite = plait.amp.unscale([plait.tensor([8.0])], plait.tensor(4.0))
        >>> gradients, is_finite
        ([tensor([2.])], tensor(True))
    """
    leaves, treedef = tree.flatten(gradients)
    new, finite = [], [where(scale > 0, True, False)]
    for g in leaves:
        # in float32: a fused float16 is not rounded until it is stored, and an overflow must not go unseen
        wide = g.to(float32) if g.dtype.bits < 32 else g
        found = wide / scale.to(finfo(wide.dtype).dtype)
        finite.append((abs(found) <= finfo(g.dtype).max).all())
        new.append(found.to(g.dtype))
    return tree.unflatten(treedef, new), reduce(and_, finite)


def next_scale(
    state: ScaleState, is_finite: Any, growth_factor: float = 2.0, backoff_factor: float = 0.5,
    growth_interval: int = 2000, min_scale: float = 1.0,
) -> ScaleState:  # fmt: skip
    """Return the state after a step: a smaller scale after a bad one, a larger one after many good ones.

    Args:
        state: the state before.
        is_finite: whether the gradients were finite, a rank-0 tensor of bool.
        growth_factor: factor of the scale after `growth_interval` good steps.
        backoff_factor: factor of the scale after a bad step.
        growth_interval: see there.
        min_scale: the scale does not fall below this.

    Returns:
        The new state.

    Example:
        >>> state = plait.amp.next_scale(plait.amp.ScaleState.first(4.0), plait.tensor(False))
        >>> state.scale, state.skipped
        (tensor(2.), tensor(1, dtype=plait.int32))
    """
    good = state.growth_tracker + 1
    grows = good >= growth_interval
    larger = state.scale * growth_factor
    grown = where(grows & (larger <= finfo(float32).max), larger, state.scale)
    smaller = maximum(state.scale * backoff_factor, min_scale)
    return ScaleState(
        where(is_finite, grown, smaller),
        where(is_finite & ~grows, good, 0).to(int32),
        where(is_finite, 0, state.skipped + 1).to(int32),
    )


# loss scaling: PyTorch's object

_MOST_SKIPPED = 25  # more than it takes from the first scale to the smallest
_CHECK_EVERY = 25
_UNSCALED, _STEPPED = "unscaled", "stepped"


class GradScaler:
    """Scales a loss so that the gradients of float16 do not vanish, and skips steps whose gradients are not finite.

    It looks at no values, so `scale`, `step` and `update` also run inside one function under `jit`: the update of the
    parameters is computed, and selected where the gradients are finite.

    Args:
        device: "cpu".
        init_scale: the first scale.
        growth_factor: factor of the scale after `growth_interval` good steps.
        backoff_factor: factor of the scale after a bad step.
        growth_interval: see there.
        enabled: False makes all methods pass on what they are given.
        min_scale: the scale does not fall below this.

    Raises:
        ArgumentError: a factor is out of range.

    Example:
        >>> w = plait.Parameter([1.0])
        >>> optimizer, scaler = plait.optim.SGD([w], lr=0.5), plait.amp.GradScaler()
        >>> scaler.scale((w * w).sum()).backward()
        >>> scaler.step(optimizer)
        >>> scaler.update()
        >>> w
        Parameter([0.], requires_grad=True)
    """

    def __init__(
        self, device: str = "cpu", init_scale: float = 65536.0, growth_factor: float = 2.0,
        backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True, *, min_scale: float = 1.0,
    ) -> None:  # fmt: skip
        if not growth_factor > 1 or not 0 < backoff_factor < 1 or not 0 < min_scale <= init_scale:
            received = f"growth_factor={growth_factor}, backoff_factor={backoff_factor}, min_scale={min_scale}"
            expected = "a factor above 1, one between 0 and 1, and a scale above 0 that is at most init_scale"
            raise ArgumentError(message("The scales do not fit", received, expected))
        self.growth_factor, self.backoff_factor = growth_factor, backoff_factor
        self.growth_interval, self.min_scale, self._enabled = growth_interval, min_scale, enabled
        self._state = ScaleState.first(init_scale)
        self._found: WeakKeyDictionary[Optimizer, tuple[str, Tensor]] = WeakKeyDictionary()
        self._seen: WeakKeyDictionary[Optimizer, bool] = WeakKeyDictionary()
        self._updates = 0

    def scale(self, outputs: Any) -> Any:
        """Return a loss, or a pytree of them, times the scale."""
        return tree.map_(lambda x: x * self._state.scale, outputs) if self._enabled else outputs

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer by the scale, e.g. to clip them before `step`.

        Raises:
            ArgumentError: it has been called since the last `update`.
        """
        if not self._enabled:
            return
        if optimizer in self._found:
            fix = "call unscale_, then step, then update, each once"
            raise ArgumentError(message("The gradients of this optimizer are unscaled already", None, None, fix))
        held = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        with no_grad():
            new, is_finite = unscale([p.grad for p in held], self._state.scale)
            for p, gradient in zip(held, new, strict=True):
                p.grad.copy_(gradient)
        self._found[optimizer] = (_UNSCALED, is_finite)
        self._seen[optimizer] = True

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """Call `optimizer.step`, without effect where a gradient is not finite.

        Raises:
            ArgumentError: there is a closure, or it has been called since the last `update`.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if args or "closure" in kwargs:
            fix = "compute the loss before, and call scaler.scale(loss).backward()"
            raise ArgumentError(message("GradScaler does not take a closure", "a closure", None, fix))
        if self._found.get(optimizer, ("",))[0] is _STEPPED:
            raise ArgumentError(message("step has been called since the last update", fix="call update once a step"))
        if optimizer not in self._found:
            self.unscale_(optimizer)
        is_finite = self._found[optimizer][1]
        self._found[optimizer] = (_STEPPED, is_finite)
        if not isinstance(optimizer, RuleOptimizer):  # it defines its own step, which runs or does not
            return optimizer.step(**kwargs) if is_finite.item() else None
        optimizer.skipped = ~is_finite
        try:
            return optimizer.step(**kwargs)
        finally:
            optimizer.skipped = None

    def update(self, new_scale: Any = None) -> None:
        """Adapt the scale to the last step, or set it.

        Raises:
            ArgumentError: no gradients were unscaled since the last update.
            GradientError: the gradients of the last steps were not finite, though the scale is the smallest; it names
                the parameters. It is checked now and then, and outside `jit`.
        """
        if not self._enabled:
            return
        with no_grad():
            if new_scale is not None:
                self._state.scale.copy_(new_scale)
            elif not self._found:
                raise ArgumentError(message("No gradients were unscaled since the last update", fix="call step first"))
            else:
                is_bad = reduce(or_, [~is_finite for _, is_finite in self._found.values()])
                factors = self.growth_factor, self.backoff_factor, self.growth_interval, self.min_scale
                for cell, value in zip(self._state, next_scale(self._state, ~is_bad, *factors), strict=True):
                    cell.copy_(value)
        self._found.clear()
        self._updates += 1
        if lazy.observing() is None and self._updates % _CHECK_EVERY == 0:
            self.check()

    def check(self) -> None:
        """Raise an error where no step succeeds any more; call it now and then if `update` runs inside `jit`.

        Raises:
            GradientError: the gradients of the last steps were not finite, though the scale is the smallest.
        """
        count = int(self._state.skipped.item())
        if count >= _MOST_SKIPPED and self.get_scale() <= self.min_scale:
            names = [name for optimizer in self._seen for name in _not_finite(optimizer)]
            fix = "lower the learning rate, compute in bfloat16, or look for a division by 0 in the model"
            text = f"The gradients of the last {count} steps were not finite, though the scale is {self.min_scale:g}"
            raise GradientError(message(text, "gradients of " + ", ".join(names or ["unknown parameters"]), None, fix))

    def get_scale(self) -> float:
        """Return the scale as a number."""
        return float(self._state.scale.item()) if self._enabled else 1.0

    def is_enabled(self) -> bool:
        """Return whether losses are scaled."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """Return the scale and the options, as PyTorch names them."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(), "growth_factor": self.growth_factor, "backoff_factor": self.backoff_factor,
            "growth_interval": self.growth_interval, "_growth_tracker": int(self._state.growth_tracker.item()),
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned, here or in PyTorch.

        Raises:
            ArgumentError: it comes from a scaler that was not enabled.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise ArgumentError(
                message("The state of a scaler is empty", "{}", None, "it was saved with enabled=False")
            )
        self.growth_factor, self.backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self.growth_interval = state_dict["growth_interval"]
        with no_grad():
            for cell, value in zip(self._state, (state_dict["scale"], state_dict["_growth_tracker"], 0), strict=True):
                cell.fill_(value)


def _not_finite(optimizer: Optimizer) -> list[str]:
    """Return the names of the parameters whose gradients are not finite."""
    found = []
    for g, group in enumerate(optimizer.param_groups):
        names = group.get("param_names") or [f"parameter {k} of group {g}" for k in range(len(group["params"]))]
        for name, p in zip(names, group["params"], strict=True):
            if p.grad is not None and not bool(p.grad.isfinite().all()):
                found.append(f"{name} {p.shape}")
    return found

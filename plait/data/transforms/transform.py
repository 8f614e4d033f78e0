"""What transforms are, and those made of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from plait.core.errors import ArgumentError, check_function, message
from plait.data.streams import sample_generator


def probability(p: float) -> float:
    """Return `p`; raises `ArgumentError` unless it is between 0 and 1."""
    if not 0 <= p <= 1:
        raise ArgumentError(message("p is a probability", p, "a number between 0 and 1"))
    return p


class Transform:
    """The base of transforms: a subclass has `__call__`; random ones draw from `plait.data.sample_generator()`.

    Example:
        >>> class Negative(plait.data.transforms.Transform):
        ...     def __call__(self, x):
        ...         return -x
        >>> Negative(), Negative()(3)
        (Negative(), -3)
    """

    def __call__(self, x: Any) -> Any:
        raise NotImplementedError(message(f"{type(self).__name__} does nothing", fix="define __call__(self, x)"))

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({settings})"


class Identity(Transform):
    """Returns its input.

    Example:
        >>> plait.data.transforms.Identity()(3)
        3
    """

    def __call__(self, x: Any) -> Any:
        return x


class Lambda(Transform):
    """Applies a function.

    Example:
        >>> plait.data.transforms.Lambda(abs)(-3)
        3
    """

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        check_function(lambd, "Lambda")
        self.lambd = lambd

    def __call__(self, x: Any) -> Any:
        return self.lambd(x)


class Compose(Transform):
    """Applies transforms one after the other.

    Example:
        >>> plait.data.transforms.Compose([abs, float])(-3)
        3.0
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        for transform in transforms:
            check_function(transform, "Compose")
        self.transforms = list(transforms)

    def __call__(self, x: Any) -> Any:
        for transform in self.transforms:
            x = transform(x)
        return x


class RandomApply(Compose):
    """Applies transforms, all or none, with probability `p`.

    Example:
        >>> plait.data.transforms.RandomApply([abs], p=0.0)(-3)
        -3
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: float = 0.5) -> None:
        super().__init__(transforms)
        self.p = probability(p)

    def __call__(self, x: Any) -> Any:
        return super().__call__(x) if sample_generator().random() < self.p else x


class RandomChoice(Compose):
    """Applies one of several transforms, drawn at random.

    Args:
        transforms: which.
        p: their probabilities, by default equal; they are divided by their sum.

    Example:
        >>> plait.data.transforms.RandomChoice([abs, float], p=[1, 0])(-3)
        3
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: Sequence[float] | None = None) -> None:
        super().__init__(transforms)
        if p is not None and (len(p) != len(self.transforms) or min(p) < 0 or sum(p) <= 0):
            raise ArgumentError(message("p has a probability for each transform", p, f"{len(self.transforms)} numbers"))
        self.p = None if p is None else [q / sum(p) for q in p]

    def __call__(self, x: Any) -> Any:
        return self.transforms[int(sample_generator().choice(len(self.transforms), p=self.p))](x)

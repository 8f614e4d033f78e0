"""Dropout layers."""

from __future__ import annotations

from typing import Any

from plait.nn.arguments import probability
from plait.nn.functional.dropout import (
    alpha_dropout,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)  # fmt: skip
from plait.nn.layer import Layer

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"]


class _Dropout(Layer, shown="p={p}, inplace={inplace}"):
    """What the dropout layers share: they do something in training mode only."""

    def _check(self, given: dict[str, Any]) -> None:
        given["p"] = probability(given["p"])


class Dropout(_Dropout, function=dropout):
    """Sets elements to zero with probability `p` in training mode, and scales the others by 1 / (1 - p).

    Example:
        >>> plait.nn.Dropout(0.5).eval()(plait.ones(2))
        tensor([1., 1.])
    """


class Dropout1d(_Dropout, function=dropout1d):
    """Sets whole channels of [N, C, L] to zero in training mode, and scales the others (Tompson et al., 2015).

    Example:
        >>> plait.nn.Dropout1d(0.5).eval()(plait.ones(1, 2))
        tensor([[1., 1.]])
    """


class Dropout2d(_Dropout, function=dropout2d):
    """Sets whole channels of [N, C, H, W] to zero in training mode, and scales the others (Tompson et al., 2015).

    Example:
        >>> plait.nn.Dropout2d(0.5).eval()(plait.ones(1, 1, 1, 2))
        tensor([[[[1., 1.]]]])
    """


class Dropout3d(_Dropout, function=dropout3d):
    """Sets whole channels of [N, C, D, H, W] to zero in training mode, and scales the others (Tompson et al., 2015).

    Example:
        >>> plait.nn.Dropout3d(0.5).eval()(plait.ones(1, 1, 1, 1, 2))
        tensor([[[[[1., 1.]]]]])
    """


class AlphaDropout(_Dropout, function=alpha_dropout):
    """Dropout for networks of SELUs: keeps mean 0 and variance 1 (Klambauer et al., 2017).

    Example:
        >>> plait.nn.AlphaDropout(0.5).eval()(plait.ones(2))
        tensor([1., 1.])
    """


class FeatureAlphaDropout(_Dropout, function=feature_alpha_dropout):
    """Alpha dropout of whole channels of [N, C, ...].

    Example:
        >>> plait.nn.FeatureAlphaDropout(0.5).eval()(plait.ones(1, 2))
        tensor([[1., 1.]])
    """

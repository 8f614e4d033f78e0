"""Weights that are normalized or orthogonal, as parametrizations."""

from __future__ import annotations

from typing import Any

from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError, message
from plait.linalg import householder_product, matrix_exp, solve, vector_norm
from plait.linalg.toplevel import geqrf
from plait.nn.arguments import positive
from plait.nn.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from plait.nn.functional.normalization import normalize
from plait.nn.module import Module
from plait.nn.utils.parametrize import register_parametrization
from plait.sampling import randn
from plait.tensor.autograd import no_grad
from plait.tensor.creation import eye, zeros
from plait.tensor.functions import sign, where
from plait.tensor.stacking import cat
from plait.tensor.tensor import Tensor, axis_index

_MAPS = ("matrix_exp", "cayley", "householder")


def _tensor_of(module: Module, name: str) -> Tensor:
    value = getattr(module, name, None)
    if not isinstance(value, Tensor):
        text = f"{type(module).__name__} has no such parameter or buffer"
        raise ArgumentError(message(text, repr(name), ", ".join(n for n, _ in module.named_parameters())))
    return value


# weight normalization


class _WeightNorm(Module):
    def __init__(self, dim: int | None) -> None:
        self.dim = -1 if dim is None else dim

    def _norm(self, x: Tensor) -> Tensor:
        axes = tuple(a for a in range(x.ndim) if self.dim == -1 or a != self.dim % x.ndim)
        return vector_norm(x, 2, axis=axes, keepdims=self.dim != -1) if axes else x.abs()

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / self._norm(weight_v))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self._norm(weight), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Train the length and the direction of a weight separately (Salimans and Kingma, 2016).

    The state dict has `parametrizations.weight.original0`, the lengths, and `original1`, the directions; the names
    `weight_g` and `weight_v` of older ones are understood.

    Args:
        module: the module.
        name: the name of its weight.
        dim: the axis whose elements have lengths of their own; None for a single length.

    Returns:
        The module.

    Raises:
        ArgumentError: there is no such weight.

    Example:
        >>> layer = plait.nn.utils.parametrizations.weight_norm(plait.nn.Linear(2, 3))
        >>> layer.parametrizations.weight.original0.shape
        (3, 1)
    """
    _tensor_of(module, name)
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)
    module.register_load_state_dict_pre_hook(_OldNames(name))
    return module


class _OldNames:
    """Renames entries of the state dicts of PyTorch's former `weight_norm`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, module: Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        for k, letter in enumerate("gv"):
            old = f"{prefix}{self.name}_{letter}"
            if old in state_dict:
                state_dict[f"{prefix}parametrizations.{self.name}.original{k}"] = state_dict.pop(old)


# spectral normalization


class _SpectralNorm(Module):
    def __init__(self, weight: Tensor, n_power_iterations: int, dim: int, eps: float) -> None:
        self.dim, self.eps = axis_index(dim, weight.ndim, "dim"), eps
        self.n_power_iterations = positive(n_power_iterations, "n_power_iterations")
        if weight.ndim > 1:
            matrix = self._matrix(weight.detach())
            for name, size in zip(("_u", "_v"), matrix.shape, strict=True):
                self.register_buffer(name, normalize(randn(size, dtype=weight.dtype), dim=0, eps=eps))
            self._iterate(matrix, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.dim, 0).flatten(1)

    def _iterate(self, matrix: Tensor, count: int) -> None:
        with no_grad():
            for _ in range(count):
                self._u.copy_(normalize(matrix @ self._v, dim=0, eps=self.eps))
                self._v.copy_(normalize(matrix.mT @ self._u, dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # later calls write the buffers
        return weight / (u @ (matrix @ v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by its largest singular value, which a power iteration estimates (Miyato et al., 2018).

    In training mode each use of the weight continues the iteration.

    Args:
        module: the module.
        name: the name of its weight.
        n_power_iterations: steps at each use.
        eps: the least length of the vectors.
        dim: the axis of the outputs, by default 0, and 1 for transposed convolutions.

    Returns:
        The module.

    Raises:
        ArgumentError: there is no such weight, or no step.

    Example:
        >>> layer = plait.nn.utils.parametrizations.spectral_norm(plait.nn.Linear(20, 20), n_power_iterations=50)
        >>> plait.linalg.matrix_norm(layer.weight.detach(), 2).round(decimals=2)
        tensor(1.)
    """
    weight = _tensor_of(module, name)
    if dim is None:
        dim = 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)) else 0
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))


# orthogonal weights


def _orthonormal(x: Tensor) -> Tensor:
    """Return the Q of x = QR with a positive diagonal of R."""
    reflectors, factors = geqrf(x)
    return householder_product(reflectors, factors) * sign(reflectors.diagonal(dim1=-2, dim2=-1)).unsqueeze(-2)


class _Orthogonal(Module):
    def __init__(self, weight: Tensor, orthogonal_map: str, use_trivialization: bool) -> None:
        self.shape, self.orthogonal_map, self.has_base = weight.shape, orthogonal_map, use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x: Tensor) -> Tensor:
        is_wide = x.shape[-2] < x.shape[-1]
        x = x.mT if is_wide else x
        n, k = x.shape[-2:]
        if self.orthogonal_map == "householder":
            reflectors = x.tril(-1)
            factors = 2.0 / (1.0 + (reflectors * reflectors).sum(-2))
            q = householder_product(reflectors, factors)
            q = q * sign(x.diagonal(dim1=-2, dim2=-1).detach()).unsqueeze(-2)
        else:
            lower = x.tril()
            if n != k:
                lower = cat([lower, zeros(*x.shape[:-2], n, n - k, dtype=x.dtype)], -1)
            skew = lower - lower.mH
            one = eye(n, dtype=x.dtype)
            is_exponential = self.orthogonal_map == "matrix_exp"
            q = (matrix_exp(skew) if is_exponential else solve(one - skew * 0.5, one + skew * 0.5))[..., :k]
        q = self.base @ q if self.has_base else q
        return q.mT if is_wide else q

    def right_inverse(self, q: Tensor) -> Tensor:
        if q.shape != self.shape:
            raise ShapeError(message("An orthogonal weight keeps its shape", f"shape {q.shape}", self.shape))
        is_wide = q.shape[-2] < q.shape[-1]
        tall = q.mT if is_wide else q
        n, k = tall.shape[-2:]
        if not self.has_base:
            if self.orthogonal_map != "householder":
                return q
            reflectors, factors = geqrf(tall)
            signs = sign(reflectors.diagonal(dim1=-2, dim2=-1)) * where(factors == 0, -1.0, 1.0)
            inverse = reflectors * (1 - eye(n, k, dtype=q.dtype)) + eye(n, k, dtype=q.dtype) * signs.unsqueeze(-2)
            return inverse.mT if is_wide else inverse
        if n != k:
            tall = cat([tall, randn(*tall.shape[:-2], n, n - k, dtype=q.dtype)], -1)
        self.base = _orthonormal(tall).detach()
        return -eye(*q.shape[-2:], dtype=q.dtype).expand(q.shape)


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Keep a weight orthogonal: its columns, or its rows if it is wide, are orthonormal (Lezcano-Casado, 2019).

    Args:
        module: the module.
        name: the name of its weight, a matrix or a batch of them.
        orthogonal_map: "matrix_exp", "cayley" or "householder"; by default the first for square or complex weights,
            the last for others.
        use_trivialization: whether the map is centred at a matrix `base`, which is part of the state dict.

    Returns:
        The module.

    Raises:
        ArgumentError: there is no such weight, or no such map.
        ShapeError: the weight has fewer than two axes.
        ArgumentTypeError: the map does not take complex weights.

    Example:
        >>> layer = plait.nn.utils.parametrizations.orthogonal(plait.nn.Linear(3, 5))
        >>> plait.allclose(layer.weight.mT @ layer.weight, plait.eye(3), atol=1e-5)
        True
    """
    weight = _tensor_of(module, name)
    if weight.ndim < 2:
        raise ShapeError(message("Only matrices are orthogonal", f"shape {weight.shape}", "at least two axes"))
    is_simple = weight.shape[-2] == weight.shape[-1] or weight.is_complex()
    chosen = orthogonal_map or ("matrix_exp" if is_simple else "householder")
    if chosen not in _MAPS:
        raise ArgumentError(message("Unknown orthogonal_map", repr(orthogonal_map), ", ".join(_MAPS)))
    if chosen == "householder" and weight.is_complex():
        raise ArgumentTypeError(message("householder takes real weights", weight.dtype.name, None, "use cayley"))
    return register_parametrization(module, name, _Orthogonal(weight, chosen, use_trivialization), unsafe=True)

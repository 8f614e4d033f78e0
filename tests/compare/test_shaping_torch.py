"""Shaping, joining, selecting and scattering against PyTorch where its own samples are few: empty, rank 0, views."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

import plait

torch = pytest.importorskip("torch")
random = np.random.default_rng(0)
OPERANDS = {
    "empty": np.zeros((0, 3), np.float32),
    "rank 0": np.array(2.5, np.float32),
    "vector": random.normal(size=4).astype(np.float32),
    "matrix": random.normal(size=(3, 4)).astype(np.float32),
    "integers": random.integers(-3, 4, (2, 3, 4)),
    "bools": random.random((3, 4)) < 0.5,
    "complex": (random.normal(size=(2, 3)) + 1j).astype(np.complex64),
}
CALLS: dict[str, Any] = {
    "atleast_1d": lambda m, x: m.atleast_1d(x),
    "atleast_3d": lambda m, x: m.atleast_3d(x),
    "ravel": lambda m, x: m.ravel(x),
    "flatten": lambda m, x: x.flatten(-1),
    "squeeze": lambda m, x: x.squeeze(-1),
    "unsqueeze": lambda m, x: x.unsqueeze(-1),
    "movedim": lambda m, x: m.movedim(x, 0, -1),
    "swapaxes": lambda m, x: m.swapaxes(x, 0, -1),
    "transpose": lambda m, x: m.transpose(x, dim0=0, dim1=-1),
    "t": lambda m, x: m.t(x),
    "unbind": lambda m, x: m.unbind(x, dim=-1),
    "chunk": lambda m, x: m.chunk(x, 3, dim=-1),
    "tensor_split": lambda m, x: m.tensor_split(x, 3, dim=-1),
    "tensor_split at": lambda m, x: x.tensor_split((1, -1), -1),
    "split": lambda m, x: x.split(2, dim=-1),
    "roll": lambda m, x: m.roll(x, shifts=-3),
    "flip": lambda m, x: m.flip(x, dims=(-1,)),
    "tile": lambda m, x: m.tile(x, dims=(2, 0)),
    "repeat": lambda m, x: x.repeat(2, 1, 1),
    "repeat_interleave": lambda m, x: m.repeat_interleave(x, 2, dim=-1),
    "tril": lambda m, x: m.tril(x, diagonal=-1),
    "diag_embed": lambda m, x: m.diag_embed(x, offset=1, dim1=0, dim2=-1),
    "diagonal": lambda m, x: m.diagonal(x, offset=-1, dim1=-1, dim2=0),
    "diagflat": lambda m, x: m.diagflat(x, offset=-2),
    "nonzero": lambda m, x: x.nonzero(),
    "where": lambda m, x: m.where(x != 0),
    "nonzero_static": lambda m, x: x.nonzero_static(size=3),
    "take": lambda m, x: x.take(m.tensor([0, 0])),
    "masked_select": lambda m, x: x.masked_select(x == x),
    "masked_fill": lambda m, x: x.masked_fill(m.tensor(True), 1),
    "stack": lambda m, x: m.stack([x, x], dim=-1),
    "cat": lambda m, x: m.cat([x, x[..., :1]], dim=-1),
    "hstack": lambda m, x: m.hstack((x, x)),
    "column_stack": lambda m, x: m.column_stack((x, x)),
    "dstack": lambda m, x: m.dstack((x, x)),
    "cartesian_prod": lambda m, x: m.cartesian_prod(x, x),
    "combinations": lambda m, x: m.combinations(x, r=3, with_replacement=True),
    "block_diag": lambda m, x: m.block_diag(x, x),
    "as_strided": lambda m, x: m.as_strided(x, (2, 2), (1, 2)),
    "unfold": lambda m, x: x.unfold(-1, 2, 1),
    "index_select": lambda m, x: x.index_select(-1, m.tensor([0, 0])),
    "index_fill": lambda m, x: x.index_fill(0, m.tensor([0]), 0),
    "index_add": lambda m, x: x.index_add(-1, m.tensor([0]), x[..., :1], alpha=1),
    "select": lambda m, x: x.select(-1, 0),
    "slice_scatter": lambda m, x: m.slice_scatter(x, x[:1] * 0 == 1, dim=0, start=1, end=2).to(x.dtype),
    "new_full": lambda m, x: x.new_full((2,), 1),
    "zeros_like": lambda m, x: m.zeros_like(x, dtype=m.float64),
}


@pytest.mark.parametrize("operand", OPERANDS)
@pytest.mark.parametrize("name", CALLS)
def test_same_as_pytorch(name: str, operand: str) -> None:
    """The same results; where PyTorch raises, plait raises an error of its own, or does what NumPy does."""
    call, array = CALLS[name], OPERANDS[operand]
    try:
        want = call(torch, torch.tensor(array))
    except (RuntimeError, IndexError, TypeError, NotImplementedError):
        with contextlib.suppress(plait.errors.PlaitError):
            call(plait, plait.tensor(array))
        return
    got = call(plait, plait.tensor(array))
    for g, w in zip(*[v if isinstance(v, (list, tuple)) else [v] for v in (got, want)], strict=True):
        assert str(w.dtype) == f"torch.{g.dtype.name}"
        np.testing.assert_array_equal(g.numpy(), w.resolve_conj().numpy())

"""Values that a gradient history lies below are inputs of a program, whatever computed them."""

from __future__ import annotations

import plait


def test_a_value_with_a_history_is_not_computed_again() -> None:
    for _ in range(3):  # the second time the same structure is compiled as one program
        w = plait.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        a = w.clone()
        assert a.detach().tolist() == [[1, 2], [3, 4]]
        column = a[..., None]
        assert column.detach().tolist() == [[[1], [2]], [[3], [4]]]

"""What ONNX lacks gives what torch gives."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from caloforge.export.decompositions import erfinv, floor_divide


def test_the_inverse_error_function() -> None:
    x = torch.cat([torch.linspace(-0.9999, 0.9999, 1001), torch.tensor([-1 + 2e-7, 1 - 2e-7])])
    torch.testing.assert_close(erfinv(x), torch.erfinv(x), rtol=1e-5, atol=1e-7)


@given(st.integers(0, 2**24), st.integers(1, 2**20))
def test_integers_are_divided_exactly(x: int, by: int) -> None:
    near = torch.tensor([x, x // by * by, max(x // by * by - 1, 0)])
    assert torch.equal(floor_divide(near, by), near // by)

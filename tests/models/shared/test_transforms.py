from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from caloforge.models.shared.transforms import Transform


@given(st.floats(1e-3, 1e3), st.sampled_from([0.5, 0.85, 1.0]), st.lists(st.floats(0, 1e4), min_size=1))
def test_what_comes_back_is_what_went_in(factor: float, exponent: float, deposits: list[float]) -> None:
    transform, x = Transform(factor, exponent), torch.tensor(deposits)
    image = transform.forward(x)
    torch.testing.assert_close(image, (factor * x) ** exponent)
    torch.testing.assert_close(transform.inverse(image), x)


def test_a_model_file_says_what_it_always_said() -> None:
    scale = {"scale": {"factor": 0.05}}
    assert Transform(0.05).to_json() == scale
    assert Transform(0.05, 0.85).to_json() == {"chain": [scale, {"power": {"exponent": 0.85}}]}

"""The same weights give the same numbers as the same network built in Keras."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from caloforge.models.registry import count_weights
from caloforge.models.threedgan.fixed_angle import Discriminator3DGAN, Generator3DGAN
from caloforge.models.threedgan.keras_weights import load_keras_weights
from caloforge.models.threedgan.variable_angle import Discriminator3DGANAngle, Generator3DGANAngle

pytestmark = pytest.mark.process

NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "generator": (Generator3DGAN, 872_948),
    "generator-x16": (partial(Generator3DGAN, filters=16), 1_042_528),
    "discriminator": (Discriminator3DGAN, 73_450),
    "discriminator-x16": (partial(Discriminator3DGAN, filters=16), 174_866),
    "angle-generator": (Generator3DGANAngle, 1_365_047),
    "angle-discriminator": (Discriminator3DGANAngle, 87_402),
}


@pytest.mark.parametrize("layout", ["weights.h5", "keras2.h5"])
@pytest.mark.parametrize("name", NETWORKS)
def test_forward_parity(keras_reference: Path, name: str, layout: str) -> None:
    build, parameters = NETWORKS[name]
    network = build().eval()
    load_keras_weights(keras_reference / f"{name}.{layout}", network)
    # A discriminator sums in single precision, whatever it is given.
    precision = torch.float64 if "generator" in name else torch.float32
    network.to(precision)
    with np.load(keras_reference / f"{name}.npz") as saved:
        assert saved["parameters"] == count_weights(network) == parameters
        expected = [torch.from_numpy(saved[f"output{i}"]) for i in range(len(saved.files) - 2)]
        with torch.inference_mode():
            found = network(torch.from_numpy(saved["input"]).to(precision))
    # A discriminator of ours gives the logit, and last what Keras' does not: a tilted shower's angle.
    outputs = [found] if isinstance(found, Tensor) else [found[0].sigmoid(), *found[1 : len(expected)]]
    for ours, keras in zip(outputs, expected, strict=True):
        assert (ours - keras).abs().max() < 1e-5 * keras.abs().max()
        assert keras.abs().max() > 0

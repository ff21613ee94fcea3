from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from caloforge.detector import Grid
from caloforge.errors import CaloforgeError
from caloforge.models.families import MODELS, ThreeDGAN
from caloforge.models.layers import Convolution
from caloforge.training.initialise import initialise_from
from caloforge.units import GEV

GRID = Grid("small", (9, 9, 11))


def networks(seed: int) -> dict[str, nn.Module]:
    torch.manual_seed(seed)
    family = MODELS["3dgan"]
    return {"generator": family.generator(GRID, 0.0).eval(), "critic": family.critic(GRID).eval()}


def save_as_keras(path: Path, network: nn.Module) -> None:
    """Write weights layer by layer as Keras 2 does: kernels (x, y, z, in, out), dense ones transposed."""
    with h5py.File(path, "w") as file:
        names = []
        for number, module in enumerate(network.modules()):
            arrays: dict[str, torch.Tensor | None] = {}
            if isinstance(module, Convolution):
                arrays = {"kernel": module.weight.permute(2, 3, 4, 1, 0), "bias": module.bias}
            elif isinstance(module, nn.Linear):
                arrays = {"kernel": module.weight.T, "bias": module.bias}
            elif isinstance(module, nn.BatchNorm3d):
                arrays = {
                    "gamma": module.weight,
                    "beta": module.bias,
                    "moving_mean": module.running_mean,
                    "moving_variance": module.running_var,
                }
            present = {name: array for name, array in arrays.items() if array is not None}
            if not present:
                continue
            layer = f"layer_{number}"
            names.append(layer)
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in present]
            for name, array in present.items():
                group[f"{layer}/{name}:0"] = array.detach().numpy()
        file.attrs["layer_names"] = [name.encode() for name in names]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.1.2"


def test_original_weights_make_the_same_showers_in_mev(tmp_path: Path) -> None:
    original, ours = networks(1), networks(2)
    generator = original["generator"]
    assert isinstance(generator, ThreeDGAN)
    save_as_keras(tmp_path / "generator.hdf5", generator)
    save_as_keras(tmp_path / "discriminator.hdf5", original["critic"])
    initialise_from([tmp_path / "generator.hdf5", tmp_path / "discriminator.hdf5"], ours)
    loaded = ours["generator"]
    assert isinstance(loaded, ThreeDGAN)

    energy_B, theta_B, noise_BL = torch.tensor([50e3, 300e3]), torch.ones(2), torch.randn(2, 200)
    with torch.no_grad():
        image_GeV = generator(energy_B, theta_B, noise_BL)  # the original's image holds GeV
        deposits = loaded.transform.inverse(loaded(energy_B, theta_B, noise_BL))
        assert image_GeV.max() > 0
        np.testing.assert_allclose(
            deposits, image_GeV * GEV, rtol=1e-4, atol=1e-4 * GEV * image_GeV.max()
        )
        judged = original["critic"](image_GeV)
        same = ours["critic"](loaded.transform.forward(image_GeV * GEV))
    for number in (0, 1):  # real or fake, energy; the sum is in the image's units
        np.testing.assert_allclose(same[number], judged[number], rtol=1e-3, atol=1e-4)


def test_weights_that_fit_neither_network_are_refused(tmp_path: Path) -> None:
    save_as_keras(tmp_path / "other.hdf5", nn.Sequential(nn.Linear(3, 2)))
    with pytest.raises(CaloforgeError, match=r"other\.hdf5: fits neither network"):
        initialise_from([tmp_path / "other.hdf5"], networks(1))

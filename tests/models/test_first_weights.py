from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from caloforge.detector import Grid
from caloforge.files.tensors import load_into, load_tensors
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.units import GEV
from caloforge.models.registry import MODELS
from caloforge.models.saved import load_model
from caloforge.models.threedgan.fixed_angle import ThreeDGAN
from caloforge.models.threedgan.layers import Convolution
from caloforge.showers.batch import Given
from caloforge.training.begin import initialise_from
from caloforge.training.checkpoint import checkpoints
from caloforge.training.config import load_config
from caloforge.training.trainer import train

GRID = Grid("small", (9, 9, 11))


def networks(seed: int) -> dict[str, nn.Module]:
    torch.manual_seed(seed)
    family = MODELS["3dgan"]
    return {"generator": family.build(GRID, 0.0).eval(), "critic": family.build_critic(GRID).eval()}


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
    initialise_from("3dgan", [tmp_path / "generator.hdf5", tmp_path / "discriminator.hdf5"], ours)
    loaded = ours["generator"]
    assert isinstance(loaded, ThreeDGAN)

    given, noise_BL = Given.of(torch.tensor([50e3, 300e3])), torch.randn(2, 200)
    with torch.no_grad():
        image_GeV = generator(given, noise_BL)  # the original's image holds GeV
        deposits = loaded.transform.inverse(loaded(given, noise_BL))
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
        initialise_from("3dgan", [tmp_path / "other.hdf5"], networks(1))


@pytest.mark.training
@pytest.mark.parametrize(
    ("model", "small", "large"),
    [
        ("mixer", {"width": 4, "latent": 3, "blocks": 1}, {"width": 8, "latent": 5, "blocks": 2}),
        ("copula", {"factors": 3}, {"factors": 5}),
        ("3dgan", {"filters": 3, "latent": 9}, {"filters": 5, "latent": 12, "critic_filters": 9}),
    ],
)
def test_a_larger_network_begins_with_what_a_smaller_one_does(
    small_showers: Path, tmp_path: Path, model: str, small: dict[str, int], large: dict[str, int]
) -> None:
    quick = {"batch_size": 8, "check_showers": 4, "validation_fraction": 0.15, "max_steps": 1}
    for name, sizes in (("small", small), ("large", large)):
        config = load_config(base={**quick, "architecture": sizes}, model=model)
        begun = [tmp_path / "small"] if name == "large" else []
        train(config, [small_showers], tmp_path / name, init_from=begun)
    given, ours = (load_model(tmp_path / name)[0] for name in ("small", "large"))
    if model != "copula":  # which begins with the averaged weights
        tensors, _ = load_tensors(checkpoints(tmp_path / "small" / "checkpoints")[-1])
        load_into(given, tensors, "generator")
    tensors, note = load_tensors(checkpoints(tmp_path / "large" / "checkpoints")[0])
    assert note["step"] == 0
    load_into(ours, tensors, "generator")
    for network in (given, ours):
        network.eval().prepare()
    added = ours.noise_size - given.noise_size
    own = next((sizes for name, sizes in small.items() if name in ("latent", "factors")), 0)
    noise_BL = torch.randn(4, given.noise_size)
    more_BL = torch.cat([noise_BL[:, :own], torch.randn(4, added), noise_BL[:, own:]], 1)
    conditions = Given.of(torch.tensor([2e4, 5e4, 1e5, 3e5]))
    with torch.no_grad():
        before, after = given(conditions, noise_BL), ours(conditions, more_BL)
    # A cell near its threshold may be hit in one and not in the other: rounding.
    away = (after - before).abs() > 1e-3 * before.abs() + 1e-5 * float(before.abs().max())
    assert float(away.double().mean()) < 0.002


@pytest.mark.training
def test_what_cannot_grow_into_another_is_refused(small_showers: Path, tmp_path: Path) -> None:
    quick = {"batch_size": 8, "check_showers": 4, "validation_fraction": 0.15, "max_steps": 1}
    for name, width in (("large", 8), ("small", 4)):
        config = load_config(base={**quick, "architecture": {"width": width}}, model="mixer")
        if name == "large":
            train(config, [small_showers], tmp_path / name)
        else:
            with pytest.raises(
                UsageError, match=r"large: architecture\.width: expected a multiple of 8"
            ):
                train(config, [small_showers], tmp_path / name, init_from=[tmp_path / "large"])

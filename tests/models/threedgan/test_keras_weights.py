"""Files of Keras: what does not fit is told in one line, and changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from caloforge.foundations.errors import CaloforgeError
from caloforge.models.threedgan.fixed_angle import Discriminator3DGAN, Generator3DGAN
from caloforge.models.threedgan.keras_weights import load_keras_weights

pytestmark = pytest.mark.process


@pytest.fixture
def generator_file(keras_reference: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(keras_reference / "generator.keras2.h5", tmp_path / "params_generator.hdf5"))


def edit_conv(path: Path, change: Callable[[h5py.Group, str], None]) -> None:
    """Change the first convolution's kernel in a file of Keras 2."""
    with h5py.File(path, "r+") as file:
        kernels: list[str] = []
        file.visit(lambda name: kernels.append(name) if name.endswith("conv3d/kernel:0") else None)
        folder, _, name = kernels[0].rpartition("/")
        change(file[folder], name)


def replace(values: np.ndarray) -> Callable[[h5py.Group, str], None]:
    def change(group: h5py.Group, name: str) -> None:
        del group[name]
        group[name] = values

    return change


def test_a_whole_model_of_keras_holds_its_weights_in_a_group(
    generator_file: Path, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "model.h5", "w") as whole, h5py.File(generator_file) as weights:
        weights.copy(weights["/"], whole, "model_weights")
    loaded = [Generator3DGAN() for _ in range(2)]
    for network, path in zip(loaded, (generator_file, tmp_path / "model.h5"), strict=True):
        load_keras_weights(path, network)
    a, b = (network.state_dict() for network in loaded)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_another_width_names_layer_and_shapes(generator_file: Path) -> None:
    network = Generator3DGAN(filters=16)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(
        CaloforgeError,
        match=r"layer conv3d_1: expected shapes \(6, 5, 8, 64, 16\), \(16,\), found \(6, 5, 8, 64, 6\)",
    ):
        load_keras_weights(generator_file, network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_another_grid_names_layer_and_shapes(generator_file: Path) -> None:
    with pytest.raises(
        CaloforgeError, match=r"layer dense: expected shapes \(200, 2400\), .* found \(200, 3136\)"
    ):
        load_keras_weights(generator_file, Generator3DGAN((15, 21, 32)))


def test_a_generator_is_no_discriminator(generator_file: Path) -> None:
    with pytest.raises(CaloforgeError, match=r"layer conv3d: expected shapes \(5, 5, 5, 1, 32\)"):
        load_keras_weights(generator_file, Discriminator3DGAN())


def broken_layer_names(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["layer_names"] = [b"absent"]


def external_link(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["kernel"] = np.zeros((6, 6, 8, 8, 64), np.float32)

    def change(group: h5py.Group, name: str) -> None:
        del group[name]
        group[name] = h5py.ExternalLink("other.h5", "/kernel")

    edit_conv(path, change)


def pickled(path: Path) -> None:
    path.write_bytes(b"\x80\x04\x95")


def empty(path: Path) -> None:
    with h5py.File(path, "w"):
        pass


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (pickled, "not an HDF5 file"),
        (empty, "expected weights saved by Keras"),
        (broken_layer_names, "expected a group absent"),
        (external_link, "is a link to elsewhere"),
        (
            lambda path: edit_conv(path, replace(np.full((6, 6, 8, 8, 64), np.nan))),
            "expected finite weights",
        ),
        (lambda path: edit_conv(path, replace(np.array(["text"], dtype="S4"))), "expected numbers"),
        (lambda path: edit_conv(path, replace(np.zeros((6, 8, 64)))), "expected a 3D convolution"),
    ],
)
def test_broken_files_are_refused_in_one_line(
    generator_file: Path, damage: Callable[[Path], None], complaint: str
) -> None:
    damage(generator_file)
    with pytest.raises(CaloforgeError, match=complaint) as error:
        load_keras_weights(generator_file, Generator3DGAN())
    assert str(generator_file) in str(error.value)
    assert "\n" not in str(error.value)

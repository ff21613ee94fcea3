"""First weights of 3DGAN: another run's networks, or files of the original Keras code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.units import GEV
from caloforge.models.family import NewestCheckpoint
from caloforge.models.shared.first_weights import from_run
from caloforge.models.shared.growth import embed, grow
from caloforge.models.threedgan.fixed_angle import ThreeDGAN
from caloforge.models.threedgan.keras_weights import load_keras_weights
from caloforge.models.threedgan.layers import Convolution, Discriminator

__all__ = ["grow_network", "take_over"]

KERAS_SUFFIXES = (".hdf5", ".h5")


def take_over(networks: Mapping[str, nn.Module], source: Path, checkpoint: NewestCheckpoint) -> None:
    """Load a run's networks, also into larger ones, or a Keras HDF5 file into the one that it fits."""
    if source.suffix not in KERAS_SUFFIXES:
        from_run(networks, source, checkpoint, grow_network)
        return
    complaints = []
    for name, network in networks.items():
        try:
            load_keras_weights(source, network)
        except CaloforgeError as error:
            complaints.append(f"as {name}: {error}")
        else:
            _rescale(name, networks)
            return
    raise CaloforgeError(f"fits neither network; {'; '.join(complaints)}")


def _rescale(name: str, networks: Mapping[str, nn.Module]) -> None:
    """Move a network of the original ``3dgan``, whose images hold GeV, to the units of ours: exactly.

    The generator ends with a convolution without bias and a rectifier, which keep a factor; what the
    critic sees enters its first convolution alone.
    """
    model = networks["generator"]
    if not isinstance(model, ThreeDGAN):
        return  # the original 3dgan-angle works in our units
    image_per_GeV = float(model.transform.forward(torch.tensor(GEV)))
    convolutions = [m for m in networks[name].modules() if isinstance(m, Convolution)]
    with torch.no_grad():
        if name == "generator":
            convolutions[-1].weight.mul_(image_per_GeV)
        else:
            convolutions[0].weight.div_(image_per_GeV)


@torch.no_grad()
def grow_network(model: nn.Module, given: nn.Module) -> None:
    """Take over the weights of a generator or critic with fewer filters. Raises UsageError where there are more."""
    grow(model, given)
    if isinstance(model, Discriminator):
        new, old = model.state_dict(), given.state_dict()
        filters = [m for m in given.modules() if isinstance(m, nn.BatchNorm3d)][-1].num_features
        for name in ("real.weight", "energy.weight"):  # the features of a cell lie side by side
            cells = old[name].numel() // filters
            embed(name, new[name].view(1, cells, -1), old[name].view(1, cells, -1))

"""First weights from elsewhere: another run's networks, or files of the original Keras code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from caloforge.files.tensors import load_into
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.units import GEV
from caloforge.models.copula.model import FactorCopula
from caloforge.models.copula.transfer import take_over
from caloforge.models.registry import ThreeDGAN
from caloforge.models.saved import load_model, read_card
from caloforge.models.shared.growth import grow
from caloforge.models.threedgan.keras_weights import load_keras_weights
from caloforge.models.threedgan.layers import Convolution
from caloforge.training.checkpoint import newest_valid

__all__ = ["initialise_from"]

KERAS_SUFFIXES = (".hdf5", ".h5")


def initialise_from(sources: Sequence[Path], networks: Mapping[str, nn.Module]) -> None:
    """Load weights into generator and critic.

    A run folder gives the networks of its newest checkpoint (published transfer learning: both are
    loaded, nothing is frozen, optimisers start afresh), also to larger ones (:mod:`caloforge.models.shared.growth`);
    a Keras HDF5 file gives the one network
    that it fits. A copula, which needs no critic, begins with the model of a run, or one that ships, of the
    same or another detector. Raises UsageError or CaloforgeError naming the source.
    """
    for source in sources:
        if isinstance(networks["generator"], FactorCopula):
            _from_copula(source, networks["generator"])
        elif source.suffix in KERAS_SUFFIXES:
            _from_keras(source, networks)
        else:
            _from_run(source, networks)


def _from_copula(source: Path, model: FactorCopula) -> None:
    try:
        given, card = load_model(source)
        if not isinstance(given, FactorCopula):
            raise UsageError(f"expected weights of a copula, got those of {card.name}")
        take_over(model, given)
    except (UsageError, CaloforgeError) as error:
        raise type(error)(f"--init-from {source}: {error}") from None


def _from_run(run: Path, networks: Mapping[str, nn.Module]) -> None:
    found, _ = newest_valid(run / "checkpoints")
    if found is None:
        raise UsageError(
            f"--init-from {run}: expected a run folder with checkpoints, or a Keras .hdf5 file"
        )
    try:
        for name, network in networks.items():
            # A generator that was trained without a critic may begin against a fresh one.
            if name != "critic" or any(key.startswith("critic.") for key in found.tensors):
                given = _as_trained(run, name, network)
                load_into(given, found.tensors, name)
                if given is not network:
                    grow(network, given)
    except CaloforgeError as error:
        raise type(error)(f"--init-from {run}: {error}") from None


def _as_trained(run: Path, name: str, network: nn.Module) -> nn.Module:
    """Build a run's network where its architecture is not that of ``network``; else give this one."""
    if not (run / "model.json").is_file():
        return network
    card = read_card(run)
    given = card.build() if name == "generator" else card.build_critic()
    kinds = {key: value.shape for key, value in given.state_dict().items()}
    if kinds == {key: value.shape for key, value in network.state_dict().items()}:
        return network
    return given


def _from_keras(path: Path, networks: Mapping[str, nn.Module]) -> None:

    complaints = []
    for name, network in networks.items():
        try:
            load_keras_weights(path, network)
        except CaloforgeError as error:
            complaints.append(f"as {name}: {error}")
        else:
            _rescale(name, networks)
            return
    raise CaloforgeError(f"--init-from {path}: fits neither network; {'; '.join(complaints)}")


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

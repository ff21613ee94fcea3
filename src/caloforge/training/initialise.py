"""First weights from elsewhere: another run's networks, or files of the original Keras code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from caloforge.errors import CaloforgeError, UsageError
from caloforge.io.tensors import load_into
from caloforge.training.checkpoint import newest_valid

__all__ = ["initialise_from"]

KERAS_SUFFIXES = (".hdf5", ".h5")


def initialise_from(sources: Sequence[Path], networks: Mapping[str, nn.Module]) -> None:
    """Load weights into generator and critic.

    A run folder gives the networks of its newest checkpoint (published transfer learning: both are
    loaded, nothing is frozen, optimisers start afresh); a Keras HDF5 file gives the one network
    that it fits. Raises UsageError or CaloforgeError naming the source.
    """
    for source in sources:
        if source.suffix in KERAS_SUFFIXES:
            _from_keras(source, networks)
        else:
            _from_run(source, networks)


def _from_run(run: Path, networks: Mapping[str, nn.Module]) -> None:
    found, _ = newest_valid(run / "checkpoints")
    if found is None:
        raise UsageError(
            f"--init-from {run}: expected a run folder with checkpoints, or a Keras .hdf5 file"
        )
    try:
        for name, network in networks.items():
            load_into(network, found.tensors, name)
    except CaloforgeError as error:
        raise CaloforgeError(f"--init-from {run}: {error}") from None


def _from_keras(path: Path, networks: Mapping[str, nn.Module]) -> None:
    from caloforge.models.keras_weights import load_keras_weights

    complaints = []
    for name, network in networks.items():
        try:
            load_keras_weights(path, network)
        except CaloforgeError as error:
            complaints.append(f"as {name}: {error}")
        else:
            return
    raise CaloforgeError(f"--init-from {path}: fits neither network; {'; '.join(complaints)}")

"""First weights from another run: the published transfer learning, also into larger networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from caloforge.files.tensors import load_into, require_shapes
from caloforge.foundations.errors import UsageError
from caloforge.models.family import NewestCheckpoint
from caloforge.models.saved import has_model, read_card
from caloforge.models.shared.growth import grow

__all__ = ["from_run"]


def from_run(
    networks: Mapping[str, nn.Module],
    run: Path,
    checkpoint: NewestCheckpoint,
    grow: Callable[[nn.Module, nn.Module], None] = grow,
) -> None:
    """Load generator and critic of a run's newest checkpoint; smaller ones ``grow`` into the networks.

    Nothing is frozen, and optimisers start afresh. Raises UsageError or CaloforgeError.
    """
    tensors = checkpoint(run)
    if tensors is None:
        raise UsageError("expected a run folder with checkpoints, or a Keras .hdf5 file")
    for name, network in networks.items():
        # A generator that was trained without a critic may begin against a fresh one.
        if name != "critic" or any(key.startswith("critic.") for key in tensors):
            given = _as_trained(run, name, network, tensors)
            load_into(given, tensors, name)
            if given is not network:
                grow(network, given)


def _as_trained(run: Path, name: str, network: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Build a run's network where its architecture is not that of ``network``; else return this one."""
    if not has_model(run):
        return network
    card = read_card(run)
    build = card.build if name == "generator" else card.build_critic
    with torch.device("meta"):  # shapes alone: nothing large is built in vain
        given = build()
    require_shapes(given, tensors, name)
    shapes = {key: value.shape for key, value in given.state_dict().items()}
    same = shapes == {key: value.shape for key, value in network.state_dict().items()}
    return network if same else build()

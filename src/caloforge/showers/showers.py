"""Showers: the one thing that flows between the rooms of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.foundations.errors import CaloforgeError
from caloforge.observables.definitions import observables
from caloforge.showers.conditions import Conditions
from caloforge.showers.hits import awkward_hits

__all__ = ["Showers"]


@dataclass(frozen=True, eq=False)
class Showers:
    """Deposits with their conditions, on one grid.

    Shapes and units: ``deposits`` (N, nx, ny, nz) MeV, on a cylindrical grid (N, nr, nphi, layers);
    ``incident_energy`` (N,) MeV; ``incident_theta`` (N,) rad, pi/2 is normal incidence;
    ``impact_xy`` (N, 2) mm from the central cell's centre, ``pdg_id`` (N,) and ``incident_phi`` (N,) rad, all three
    optional: see :class:`Conditions`.
    ``provenance`` says where the showers come from (program, seed, physics tables, ...).

    Raises CaloforgeError when the shapes do not fit each other.
    """

    deposits: NDArray[np.float32]
    incident_energy: NDArray[np.float32]
    incident_theta: NDArray[np.float32]
    grid: Grid
    impact_xy: NDArray[np.float32] | None = None
    pdg_id: NDArray[np.int32] | None = None
    incident_phi: NDArray[np.float32] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.deposits)
        if self.deposits.shape != (n, *self.grid.shape):
            raise CaloforgeError(
                f"showers: expected deposits (N, {', '.join(map(str, self.grid.shape))}), "
                f"got {self.deposits.shape}"
            )
        if self.incident_energy.shape != (n,):
            found = self.incident_energy.shape
            raise CaloforgeError(f"field incident_energy: expected shape {(n,)}, got {found}")
        self.conditions  # noqa: B018 (raises where a value is impossible)

    def __len__(self) -> int:
        return len(self.deposits)

    def __getitem__(self, index: slice | NDArray[Any]) -> Showers:
        return replace(self, deposits=self.deposits[index], **vars(self.conditions[index]))

    @property
    def conditions(self) -> Conditions:
        """All that the showers were given: what a generator needs to make the like of them."""
        return Conditions(**{part.name: getattr(self, part.name) for part in fields(Conditions)})

    def above(self, threshold_MeV: float) -> Showers:
        """Set the cells below a read-out threshold to zero."""
        kept = np.where(self.deposits >= threshold_MeV, self.deposits, np.float32(0))
        return replace(self, deposits=kept)

    def observables(self) -> dict[str, NDArray[Any]]:
        """Compute every observable of :mod:`caloforge.observables.definitions`, by name."""
        return observables(self)

    def to_awkward(self) -> Any:
        """Return an ``ak.Array`` with one record a shower: its conditions and ``hits``, a jagged array.

        A hit has ``ix``, ``iy``, ``iz`` (cell; ``ir``, ``iphi``, ``ilayer`` on a cylinder), ``x``, ``y``, ``z``
        (mm, where known) and ``energy`` (MeV). Raises MissingExtraError without awkward.
        """
        return awkward_hits(self)

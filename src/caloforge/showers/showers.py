"""Showers: the one thing that flows between the rooms of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.foundations.errors import CaloforgeError, MissingExtraError
from caloforge.observables.definitions import observables
from caloforge.showers.conditions import Conditions

if TYPE_CHECKING:
    import awkward as ak

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

    def to_awkward(self) -> ak.Array:
        """Return the hits as a jagged array: per shower ``x``, ``y``, ``z`` (cell) and ``energy`` (MeV).

        On a cylindrical grid the cell fields are called ``r``, ``phi``, ``layer``. Conditions are the
        fields ``incident_energy`` and ``incident_theta``. Raises MissingExtraError without awkward.
        """
        try:
            import awkward as ak
        except ImportError:
            raise MissingExtraError("to_awkward", "awkward") from None
        shower, *cell = np.nonzero(self.deposits)
        counts = np.bincount(shower, minlength=len(self))
        energy = self.deposits[(shower, *cell)]
        columns = dict(zip(self.grid.axes, cell, strict=True)) | {"energy": energy}
        hits = ak.zip({name: ak.unflatten(values, counts) for name, values in columns.items()})
        return ak.zip(
            {
                "hits": hits,
                "incident_energy": self.incident_energy,
                "incident_theta": self.incident_theta,
            },
            depth_limit=1,
        )

"""Showers: the one thing that flows between the rooms of this package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.detector.positions import cell_positions_mm
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.observables.definitions import observables
from caloforge.showers.conditions import Conditions
from caloforge.showers.hits import awkward_hits
from caloforge.showers.summary import as_html, as_line

__all__ = ["Showers"]


@dataclass(frozen=True, eq=False)
class Showers:
    """Deposits with their conditions, on one grid.

    Shapes and units: ``deposits`` (N, nx, ny, nz) MeV, on a cylindrical grid (N, nr, nphi, layers);
    ``incident_energy`` (N,) MeV; ``incident_theta`` (N,) rad, pi/2 is normal incidence;
    ``impact_xy`` (N, 2) mm from the central cell's centre, ``pdg_id`` (N,) and ``incident_phi`` (N,) rad, all three
    optional: see :class:`Conditions`.
    ``provenance`` says where the showers come from (program, seed, physics tables, ...).

    Showers are counted, sliced and iterated; each one is Showers again. Raises CaloforgeError when the shapes do
    not fit each other.
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

    def __getitem__(self, index: int | np.integer[Any] | slice | NDArray[Any]) -> Showers:
        """Choose showers; a number chooses the one."""
        if isinstance(index, int | np.integer):
            place = range(len(self))[index]  # raises IndexError, which ends an iteration
            index = slice(place, place + 1)
        return replace(self, deposits=self.deposits[index], **vars(self.conditions[index]))

    def __iter__(self) -> Iterator[Showers]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return as_line(self)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return as_html(self)

    @property
    def conditions(self) -> Conditions:
        """All that the showers were given: what a generator needs to make the like of them."""
        return Conditions(**{part.name: getattr(self, part.name) for part in fields(Conditions)})

    def above(self, threshold_MeV: float) -> Showers:
        """Set the cells below a read-out threshold to zero."""
        kept = np.where(self.deposits >= threshold_MeV, self.deposits, np.float32(0))
        return replace(self, deposits=kept)

    def overlaid(self, k: int) -> Showers:
        """Add up every ``k`` showers in a row, as if their particles had come in one event; see :meth:`Conditions.overlaid`.

        What a read-out threshold has taken from single showers stays lost. Raises UsageError where they are not a
        multiple of ``k``, or digitised already.
        """
        if k < 1 or len(self) % k:
            raise UsageError(f"overlay: expected a multiple of {k} showers, got {len(self)}")
        if self.grid.extra.get("digitised"):
            raise UsageError(
                f"overlay: showers of {self.grid.name!r} are digitised already, and do not add up"
            )
        deposits = self.deposits.reshape(-1, k, *self.grid.shape).sum(axis=1)
        conditions, provenance = vars(self.conditions.overlaid(k)), {**self.provenance, "overlay": k}
        return replace(self, deposits=deposits, **conditions, provenance=provenance)

    def observables(self) -> dict[str, NDArray[Any]]:
        """Compute every observable of :mod:`caloforge.observables.definitions`, by name."""
        return observables(self)

    def positions_mm(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return x, y, z of every cell's centre, each of the grid's shape.

        See :func:`~caloforge.detector.positions.cell_positions_mm`. Raises UsageError where the grid does not know.
        """
        return cell_positions_mm(self.grid)

    def plot(self) -> Any:
        """Draw mean profiles in depth and across, and the visible energy: a matplotlib figure.

        Raises MissingExtraError without the extra ``report``, UsageError where there is no shower.
        """
        return _drawn("profiles", self)

    def display(self) -> Any:
        """Draw one shower, such as ``showers[3]``, cell by cell: a matplotlib figure.

        Raises MissingExtraError without the extra ``report``, UsageError where it is not one shower.
        """
        return _drawn("event", self)

    def to_awkward(self) -> Any:
        """Return an ``ak.Array`` with one record a shower: its conditions and ``hits``, a jagged array.

        A hit has ``ix``, ``iy``, ``iz`` (cell; ``ir``, ``iphi``, ``ilayer`` on a cylinder), ``x``, ``y``, ``z``
        (mm, where known) and ``energy`` (MeV). Raises MissingExtraError without awkward.
        """
        return awkward_hits(self)


def _drawn(name: str, showers: Showers) -> Any:
    # Drawing lies floors above: it is known by its name alone, and loaded when somebody asks.
    return getattr(import_module("caloforge.report.plots.notebook"), name)(showers)

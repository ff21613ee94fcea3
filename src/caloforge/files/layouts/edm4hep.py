"""EDM4hep files of DD4hep simulations: hits of a calorimeter around the axis of one primary, as cells of a detector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Detector
from caloforge.detector.positions import layer_depths_mm
from caloforge.files.layouts.placing import (
    Hits,
    angles_of,
    lattice_offset_mm,
    layers_of,
    place,
    showers_at_once,
)
from caloforge.files.root import EventFile
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.units import GEV
from caloforge.showers import Showers

__all__ = ["Edm4hep", "cell_field"]

Array = NDArray[np.float64]

EVENTS_AT_ONCE = 64
NEAR_MM = 100.0
"""Hits so near to a primary's line are those of its shower."""

FLATNESS = 1e-3
"""Hits of a layer lie on a plane if their spread across it is so small a part of that along it (squared)."""


def cell_field(encoding: str, name: str) -> tuple[int, int] | None:
    """Find where DD4hep keeps a field in a cell's number: first bit, and width, negative if signed; None if it has none.

    The encoding lists ``name:first:width``, or ``name:width`` where it goes on behind the field before. Raises ValueError.
    """
    first = 0
    for text in encoding.split(","):
        word, *numbers = text.strip().split(":")
        if len(numbers) not in (1, 2):
            raise ValueError(f"expected name:first:width, got {text[:40]!r}")
        *begin, width = map(int, numbers)
        first = begin[0] if begin else first
        if not (first >= 0 and abs(width) > 0 and first + abs(width) <= 64):
            raise ValueError(f"expected bits 0 to 63, got {text[:40]!r}")
        if word == name:
            return first, width
        first += abs(width)
    return None


def field_of(cell_H: NDArray[np.uint64], first: int, width: int) -> NDArray[np.int64]:
    """Read a field of cells' numbers."""
    up = np.uint64(64 - first - abs(width))
    down = 64 - abs(width)
    shifted = cell_H << up
    if width < 0:
        return shifted.view(np.int64) >> np.int64(down)
    return (shifted >> np.uint64(down)).view(np.int64)


class Edm4hep:
    """Events of one primary each, open for reading; what :class:`~caloforge.files.layouts.formats.PublicFile` has.

    ``face`` is the point of the calorimeter's face that is nearest to the origin, mm; by default it is fitted to the
    planes on which the hits of a layer lie.
    """

    layout = "edm4hep"

    def __init__(
        self,
        path: Path,
        detector: Detector,
        collections: Sequence[str] = (),
        face: Sequence[float] | None = None,
    ) -> None:
        self.path, self.grid = path, detector.grid
        self.outside_MeV = 0.0
        self._file = EventFile(path)
        self._names = self._collections(collections)
        self._layer = self._layer_field()
        point = self._fitted_face() if face is None else np.array(face, np.float64)
        self._distance_mm = float(np.linalg.norm(point))
        if not self._distance_mm > 0:
            raise UsageError(f"--face: expected a point away from the origin, got {face}")
        normal = point / self._distance_mm
        # y along the beam, so that an angle in the y-z plane is the polar one; in an endcap y is upwards.
        up = np.array([0.0, 0, 1] if abs(normal[2]) < 0.7 else [0.0, 1, 0])
        y = up - (up @ normal) * normal
        y /= np.linalg.norm(y)
        self._frame = np.stack([np.cross(y, normal), y, normal])
        how = "fitted to the hits" if face is None else "as told"
        where = ", ".join(f"{value:.1f}" for value in point)
        self.remarks = [
            f"hits of {', '.join(self._names)}; layers by {'the field layer of cellID' if self._layer else 'depth'}",
            f"the calorimeter's face is at {where} mm, {how}",
        ]

    def _collections(self, wanted: Sequence[str]) -> tuple[str, ...]:
        known = self._file.collections("SimCalorimeterHit")
        for name in wanted:
            if name not in known:
                listed = ", ".join(known) or "none"
                raise UsageError(f"{self.path}: --collection {name}: expected one of {listed}")
        if not wanted and len(known) != 1:
            totals = {}
            for name in known:
                _, (energy,) = self._file.columns(name, ["energy"], 0, EVENTS_AT_ONCE)
                totals[name] = float(energy.sum())
            most = sorted((name for name in known if totals[name]), key=totals.__getitem__, reverse=True)
            listed = ", ".join(most) or "none of them has hits"
            raise UsageError(f"{self.path}: --collection: expected one or more of {listed}")
        return tuple(wanted) or tuple(known)

    def _layer_field(self) -> list[tuple[int, int]] | None:
        """Find the field ``layer`` of each collection's cells; None unless all have it."""
        found = []
        for name in self._names:
            encoding = self._file.parameter(f"{name}__CellIDEncoding")
            try:
                place = None if encoding is None else cell_field(encoding, "layer")
            except ValueError as error:
                raise CaloforgeError(f"{self.path}: metadata {name}__CellIDEncoding: {error}") from None
            if place is None:
                return None
            found.append(place)
        return found

    def __len__(self) -> int:
        return self._file.count

    def _primaries(self, start: int, stop: int) -> tuple[Array, Array, Array, NDArray[np.int32]]:
        """Return vertex (N, 3) mm, direction (N, 3), kinetic energy (N,) MeV and PDG id (N,) of each event's primary."""
        fields = [
            "generatorStatus",
            "PDG",
            "mass",
            *(f"{what}.{x}" for what in ("vertex", "momentum") for x in "xyz"),
        ]
        counts, (status, pdg, mass, *vectors) = self._file.columns("MCParticles", fields, start, stop)
        event = np.repeat(np.arange(len(counts)), counts)
        stable = np.bincount(event[status == 1], minlength=len(counts))
        if (stable != 1).any():
            first = int(np.argmax(stable != 1))
            raise CaloforgeError(
                f"{self.path}: MCParticles of event {start + first}: expected one primary (generatorStatus 1), found {stable[first]}"
            )
        values = np.stack(vectors, axis=1)[status == 1].astype(np.float64)
        momentum = np.linalg.norm(values[:, 3:], axis=1)
        mass = mass[status == 1].astype(np.float64)
        good = np.isfinite(values).all(axis=1) & (mass >= 0) & (momentum > 0)
        if not good.all():
            raise CaloforgeError(
                f"{self.path}: MCParticles of event {start + int(np.argmin(good))}: expected a primary with a finite place, a mass "
                "and a momentum"
            )
        # E - m without the difference of two large numbers.
        kinetic = momentum**2 / (np.hypot(momentum, mass) + mass)
        return (
            values[:, :3],
            values[:, 3:] / momentum[:, None],
            kinetic * GEV,
            pdg[status == 1].astype(np.int32),
        )

    def _hits(self, start: int, stop: int) -> tuple[Hits, Array]:
        """Read the hits of some events, and their positions (H, 3) in mm; layers are -1 where cells do not tell them."""
        parts = []
        for index, name in enumerate(self._names):
            fields = ["cellID", "energy", *(f"position.{x}" for x in "xyz")]
            counts, (cell, energy, *position) = self._file.columns(name, fields, start, stop)
            layer = (
                np.full(len(cell), -1) if self._layer is None else field_of(cell, *self._layer[index])
            )
            event = np.repeat(np.arange(len(counts)), counts)
            good = np.isfinite(position).all(axis=0) & (energy >= 0) & np.isfinite(energy)
            if not good.all():
                where = f"{name} of event {start + event[np.argmin(good)]}"
                raise CaloforgeError(
                    f"{self.path}: {where}: expected finite positions and energies >= 0"
                )
            parts.append(
                (event, layer, energy * np.float64(GEV), np.stack(position, axis=1).astype(np.float64))
            )
        event, layer, energy, place_mm = (
            np.concatenate(columns) for columns in zip(*parts, strict=True)
        )
        return Hits(min(stop, len(self)) - start, event, place_mm[:, :2], layer, energy), place_mm

    def _fitted_face(self) -> Array:
        """Fit the planes of layers to the hits around the first primaries, and where the first plate begins."""
        if self._layer is None:
            raise UsageError(
                f"{self.path}: --face: expected X,Y,Z, since cellID has no field layer to fit it by"
            )
        hits, place_mm = self._hits(0, EVENTS_AT_ONCE)
        vertex, direction, *_ = self._primaries(0, EVENTS_AT_ONCE)
        way = place_mm - vertex[hits.shower]
        along = (way * direction[hits.shower]).sum(axis=1)
        aside = np.linalg.norm(way - along[:, None] * direction[hits.shower], axis=1)
        depths = layer_depths_mm(self.grid)
        assert depths is not None
        near = (along > 0) & (aside < NEAR_MM) & (hits.layer >= 0) & (hits.layer < len(depths))
        if not near.any():
            raise UsageError(
                f"{self.path}: --face: expected X,Y,Z, since no hits lie around the primaries"
            )
        layer, place_mm, weight = hits.layer[near], place_mm[near], hits.energy_MeV[near, None]
        sums, total = np.zeros((len(depths), 3)), np.zeros((len(depths), 1))
        np.add.at(sums, layer, weight * place_mm)
        np.add.at(total, layer, weight)
        from_centre = place_mm - (sums / np.where(total > 0, total, 1))[layer]
        spread, axes = np.linalg.eigh((weight * from_centre).T @ from_centre)
        if not spread[0] < FLATNESS * spread[1]:
            raise UsageError(
                f"{self.path}: --face: expected X,Y,Z, since the hits of a layer do not lie on one plane"
            )
        normal = axes[:, 0] * np.sign(axes[:, 0] @ direction.mean(axis=0))
        distance = np.average(place_mm @ normal - depths[layer], weights=weight[:, 0])
        return np.asarray(distance * normal, np.float64)

    def chunks(self) -> Iterator[Showers]:
        """Read all showers, some at a time."""
        step = min(EVENTS_AT_ONCE, showers_at_once(self.grid))
        for start in range(0, len(self), step):
            yield self._read(start, min(start + step, len(self)))

    def _read(self, start: int, stop: int) -> Showers:
        vertex, direction, energy, pdg = self._primaries(start, stop)
        hits, place_mm = self._hits(start, stop)
        normal, towards = self._frame[2], direction @ self._frame.T
        if not (towards[:, 2] > 0).all():
            event = start + int(np.argmin(towards[:, 2]))
            raise CaloforgeError(
                f"{self.path}: event {event}: the primary does not fly into the calorimeter's face"
            )
        path_mm = (self._distance_mm - vertex @ normal) / towards[:, 2]
        entry = vertex + path_mm[:, None] * (direction)
        local = (place_mm - entry[hits.shower]) @ self._frame.T
        hits.across_mm = local[:, :2]
        hits.layer = self._layers(hits.layer, local[:, 2])
        offset = lattice_offset_mm(hits, self.grid)
        hits.across_mm -= offset[hits.shower]
        deposits, outside = place(hits, self.grid)
        self.outside_MeV += outside
        theta, phi = angles_of(towards)
        return Showers(
            incident_phi=phi,
            deposits=deposits,
            incident_energy=energy.astype(np.float32),
            incident_theta=theta,
            grid=self.grid,
            impact_xy=-offset.astype(np.float32),
            pdg_id=pdg,
        )

    def _layers(self, told: NDArray[np.int64], depth_mm: Array) -> NDArray[np.int64]:
        """Return the layers that cells tell, where their depth is not that of another face, or else those of the depth."""
        if self._layer is None:
            return layers_of(depth_mm, self.grid)
        depths = layer_depths_mm(self.grid)
        assert depths is not None
        there = depths[np.clip(told, 0, len(depths) - 1)]
        return np.where(np.abs(depth_mm - there) < depths[-1] / 2, told, -1)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

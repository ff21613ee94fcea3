"""The binning of a CaloChallenge file: which voxel of a flat shower lies where.

Format and order of the voxels: C. Krause et al., "CaloChallenge 2022", arXiv:2410.21611. A file holds
an element for each particle (``pid``, ``name``) with a ``Layer`` element for each layer of the
detector: ``id``, ``r_edges`` (mm) and ``n_bin_alpha`` equal bins from -pi to pi. A layer with a single
edge is not read out. In a flat shower r runs fastest, then alpha, then the layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import load_detector, shipped_detectors
from caloforge.detector.grid import CYLINDRICAL, Grid
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.texts import read_text
from caloforge.showers import ELECTRON

__all__ = ["REGULAR", "Binning", "Layer", "binning_by_size", "read_binning"]

MAX_XML_BYTES = 1 << 20
NAMES = {
    368: "calochallenge-1-photon",
    533: "calochallenge-1-pion",
    6480: "calochallenge-2",
    40500: "calochallenge-3",
}
"""The published data sets by their number of voxels, no two of which are equal."""

REGULAR = {6480: (9, 16), 40500: (18, 50)}
"""Rings and sectors of data sets 2 and 3, whose layers are all alike."""

THRESHOLDS_MEV = {368: 1.0, 533: 1.0, 6480: 0.5e-3 / 0.033, 40500: 0.5e-3 / 0.033}
"""The evaluation code sets voxels below to zero: 0.5 keV in silicon over the sampling fraction in data sets 2 and 3."""


@dataclass(frozen=True)
class Layer:
    """One layer that is read out: radial edges in mm, and equal bins around the axis."""

    id: int
    r_edges_mm: tuple[float, ...]
    n_alpha: int

    @property
    def shape(self) -> tuple[int, int]:
        """Bins in r and in alpha."""
        return len(self.r_edges_mm) - 1, self.n_alpha


@dataclass(frozen=True)
class Binning:
    """All layers that are read out, in the order of the voxels, for one kind of particle."""

    particle: str
    pdg_id: int
    layers: tuple[Layer, ...]

    @property
    def n_voxels(self) -> int:
        """Voxels of a flat shower."""
        return sum(math.prod(layer.shape) for layer in self.layers)

    def grid(self) -> Grid:
        """Return the smallest regular grid (r, phi, layer) that holds every layer.

        Where layers are binned unlike each other (data set 1), bin (i, j) of a layer is cell (i, j) of
        the grid and the cells beyond a layer's own bins stay zero: a cell then means what
        ``bins_per_layer`` and ``r_edges_mm`` (both in ``extra``, one item a layer) say of its layer.
        """
        shapes = [layer.shape for layer in self.layers]
        n_r, n_phi = (max(counts) for counts in zip(*shapes, strict=True))
        steps = np.diff(self.layers[0].r_edges_mm)
        regular = len({(layer.r_edges_mm, layer.n_alpha) for layer in self.layers}) == 1
        even = regular and np.allclose(steps, steps[0], rtol=1e-6)
        grid = Grid(
            name=NAMES.get(self.n_voxels, f"calochallenge-{self.particle}"),
            shape=(n_r, n_phi, len(self.layers)),
            axes=CYLINDRICAL,
            cell_size=(float(steps.mean()), 2 * math.pi / n_phi) if even else None,
            threshold_MeV=THRESHOLDS_MEV.get(self.n_voxels, 0.0),
            extra={
                "phi_start_rad": -math.pi,
                "layer_ids": [layer.id for layer in self.layers],
                "bins_per_layer": [list(shape) for shape in shapes],
                "r_edges_mm": [list(layer.r_edges_mm) for layer in self.layers],
            },
        )
        return _with_layers(grid) if grid.name in shipped_detectors() else grid

    def cells(self) -> NDArray[np.intp]:
        """Find the cell, as index into the flattened grid, of every voxel in order."""
        grid_shape = self.grid().shape
        cells = []
        for depth, layer in enumerate(self.layers):
            alpha, r = np.mgrid[: layer.n_alpha, : layer.shape[0]].reshape(2, -1)
            cells.append(np.ravel_multi_index((r, alpha, np.full_like(r, depth)), grid_shape))
        return np.concatenate(cells)


def _with_layers(grid: Grid) -> Grid:
    """Add what a binning does not say of a detector of the package: where its layers lie, and what they are made of."""
    known = load_detector(grid.name).grid
    if not (known.same_cells(grid) and np.allclose(known.cell_size or (), grid.cell_size or ())):
        return grid
    extra = {key: known.extra[key] for key in ("layer_stacks", "sampling_fraction")}
    return replace(known, extra={**extra, **grid.extra})


def binning_by_size(n_voxels: int, path: Path) -> Binning:
    """Take the binning of data set 2 or 3, which their number of voxels gives away.

    Raises UsageError for any other number.
    """
    if n_voxels not in REGULAR:
        raise UsageError(
            f"{path}: {n_voxels} voxels: expected --binning FILE.xml "
            f"(only {' and '.join(map(str, REGULAR))} voxels are known without)"
        )
    n_r, n_alpha = REGULAR[n_voxels]
    edges = tuple(round(41.85 * i / n_r, 6) for i in range(n_r + 1))
    return Binning("electron", ELECTRON, tuple(Layer(i, edges, n_alpha) for i in range(45)))


def read_binning(path: Path, n_voxels: int, data_path: Path) -> Binning:
    """Read the binning of showers with ``n_voxels`` from an XML file.

    Raises UsageError naming file, line and field where it is wrong, or when not exactly one of its
    particles has as many voxels as the showers of ``data_path``.
    """
    particles = _parse(path)
    fitting = [particle for particle in particles if particle.n_voxels == n_voxels]
    if not fitting:
        found = ", ".join(f"{p.particle} {p.n_voxels}" for p in particles[:10])
        raise UsageError(
            f"{path}: has voxels for {found}, but the showers of {data_path} have {n_voxels}"
        )
    if any(other != fitting[0] for other in fitting):
        names = ", ".join(p.particle for p in fitting[:10])
        raise UsageError(f"{path}: {names} all have {n_voxels} voxels: expected one such particle")
    try:
        fitting[0].grid()
    except CaloforgeError as error:
        raise UsageError(f"{path}: {error}") from None
    return fitting[0]


def _parse(path: Path) -> list[Binning]:
    text = read_text(path, "a binning XML file", MAX_XML_BYTES)
    if "<!DOCTYPE" in text:  # and with it entities, which can reach for other files or never end
        raise UsageError(f"{path}: expected a binning XML file without a DOCTYPE")
    reader = _Reader(path)
    try:
        reader.parser.Parse(text, True)
    except expat.ExpatError as error:
        raise UsageError(f"{path}, line {error.lineno}: {expat.ErrorString(error.code)}") from None
    particles = [Binning(name, pid, tuple(layers)) for name, pid, layers in reader.particles if layers]
    if not particles:
        raise UsageError(f"{path}: expected particles with Layer elements, found none that is read out")
    return particles


class _Reader:
    """Collects the particles: elements of depth 2, and their layers, of depth 3."""

    def __init__(self, path: Path) -> None:
        self.particles: list[tuple[str, int, list[Layer]]] = []
        self.parser = expat.ParserCreate("utf-8")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self._path = path
        self._depth = 0
        self._ids: set[int] = set()

    def _start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        if self._depth == 2:
            pdg_id = self._number(attributes, "pid")
            if not -(1 << 31) <= pdg_id < 1 << 31:
                self._refuse("pid", "a whole number of 32 bits")
            self.particles.append((attributes.get("name", f"pid{pdg_id}")[:60], pdg_id, []))
            self._ids = set()
        elif self._depth == 3 and tag == "Layer":
            self._layer(attributes)

    def _end(self, _tag: str) -> None:
        self._depth -= 1

    def _layer(self, attributes: Mapping[str, str]) -> None:
        number, n_alpha = self._number(attributes, "id"), self._number(attributes, "n_bin_alpha")
        if number in self._ids:
            self._refuse("id", f"one layer {number} a particle")
        self._ids.add(number)
        try:
            edges = tuple(float(edge) for edge in attributes.get("r_edges", "").split(","))
        except ValueError:
            edges = ()
        rising = all(low < high < math.inf for low, high in pairwise(edges))
        if not edges or not 0 <= edges[0] < math.inf or not rising:
            self._refuse("r_edges", "rising numbers >= 0 in mm, split by commas")
        if n_alpha < 1:
            self._refuse("n_bin_alpha", "a number >= 1")
        if len(edges) > 1:
            self.particles[-1][2].append(Layer(number, edges, n_alpha))

    def _number(self, attributes: Mapping[str, str], name: str) -> int:
        try:
            return int(attributes.get(name, ""))
        except ValueError:
            self._refuse(name, "a whole number")

    def _refuse(self, name: str, expected: str) -> NoReturn:
        line = self.parser.CurrentLineNumber
        raise UsageError(f"{self._path}, line {line}, field {name}: expected {expected}")

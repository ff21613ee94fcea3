"""Lists of primaries and spectra that people bring: CSV, ROOT and shower files.

A list has a column for each of ``energy_GeV``, ``theta_deg``, ``phi_deg``, ``x_mm``, ``y_mm`` and ``particle`` (a name or a PDG
id); only the energy must be there. A spectrum has a bin a row, ``low_GeV``, ``high_GeV`` and ``weight``, or is a histogram.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.files.shower_file import ShowerFile
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.texts import read_text
from caloforge.foundations.units import DEGREE, GEV, Spectrum
from caloforge.showers import PARTICLES, Conditions

__all__ = ["LIST", "energy_spectrum", "read_primaries"]

LIST = ("energy_GeV", "theta_deg", "phi_deg", "x_mm", "y_mm", "particle")
BINS = ("low_GeV", "high_GeV", "weight")
MAX_BYTES = 1 << 28

Column = NDArray[np.float64]


def read_primaries(path: Path) -> tuple[Conditions, Grid | None]:
    """Read what showers are given, and the grid of a shower file, from ``x.csv``, ``x.root``, ``x.root:tree``, or HDF5.

    Raises UsageError where there is no such file, CaloforgeError naming file and field where a value is none.
    """
    file, is_root, tree = _root_of(path)
    if not is_root and path.suffix.lower() != ".csv":
        with ShowerFile(path) as showers:
            conditions, grid = showers.conditions, showers.grid
    else:
        columns = _tree(file, tree) if is_root else _csv(path, LIST)
        conditions, grid = _conditions(columns, path), None
    if len(conditions) == 0:
        raise UsageError(f"{path}: expected at least one shower to take conditions from")
    return conditions, grid


def energy_spectrum(text: str, what: str) -> Spectrum:
    """Read a spectrum of energies (GeV) as it is written, or that of a file: ``x.csv``, or ``x.root:histogram``.

    Raises UsageError or CaloforgeError naming the option or the file.
    """
    path = Path(text)
    file, is_root, name = _root_of(path)
    if is_root:
        from caloforge.files.root import read_histogram

        if not name:
            raise UsageError(f"{what}: expected {text}:NAME, the name of a histogram in it")
        edges, weight_B = read_histogram(file, name)
        low_B, high_B = edges[:-1], edges[1:]
    elif path.suffix.lower() == ".csv":
        bins = _csv(path, BINS)
        if missing := [name for name in BINS if name not in bins]:
            raise CaloforgeError(f"{path}: column {missing[0]} is missing; expected {', '.join(BINS)}")
        low_B, high_B, weight_B = (bins[name] for name in BINS)
    else:
        return Spectrum.parse(text, unit=GEV, what=what)
    order_B = np.argsort(low_B, kind="stable")
    filled_B = order_B[weight_B[order_B] != 0]
    limits_B2 = np.stack([low_B, high_B], axis=1)[filled_B] * GEV
    try:
        return Spectrum(
            "histogram", tuple(limits_B2.ravel().tolist()), tuple(weight_B[filled_B].tolist())
        )
    except UsageError as error:
        raise CaloforgeError(f"{path}: {error}") from None


def _root_of(path: Path) -> tuple[Path, bool, str]:
    """Split ``x.root:name`` into its file, whether it is one of ROOT, and the name."""
    stem, found, name = str(path).partition(".root")
    is_root = bool(found) and (not name or name.startswith(":"))
    return Path(stem + ".root") if is_root else path, is_root, name[1:]


def _tree(path: Path, tree: str) -> dict[str, Column]:
    from caloforge.files.root import read_columns

    columns = read_columns(path, tree, LIST)
    if "particle" in columns:
        columns["particle"] = np.array([_pdg_id(value, str(path)) for value in columns["particle"]])
    return columns


def _csv(path: Path, names: tuple[str, ...]) -> dict[str, Column]:
    """Read columns of numbers; the first line names them. Raises CaloforgeError naming line and column."""
    lines = [line for line in read_text(path, "a table (CSV)", MAX_BYTES).splitlines() if line.strip()]
    header, *rows = ([cell.strip() for cell in row] for row in csv.reader(lines or [" "]))
    if strange := [name for name in header if name not in names or header.count(name) > 1]:
        raise CaloforgeError(
            f"{path}, line 1: expected columns of {', '.join(names)}, got {strange[0][:60]!r}"
        )
    table = []
    for line, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise CaloforgeError(f"{path}, line {line}: expected {len(header)} values, got {len(row)}")
        table.append([_number(*cell, f"{path}, line {line}") for cell in zip(header, row, strict=True)])
    columns = np.array(table, np.float64).reshape(-1, len(header))
    return dict(zip(header, columns.T, strict=True))


def _number(name: str, text: str, where: str) -> float:
    if name == "particle":
        return _pdg_id(text, where)
    try:
        return float(text)
    except ValueError:
        raise CaloforgeError(f"{where}, {name}: expected a number, got {text[:60]!r}") from None


def _pdg_id(value: object, where: str) -> int:
    """Return a particle's number, from its name or from itself."""
    text = str(value)
    try:
        return PARTICLES[text] if text in PARTICLES else int(text)
    except ValueError:
        expected = f"a PDG id or one of {', '.join(PARTICLES)}"
        raise CaloforgeError(f"{where}, particle: expected {expected}, got {text[:60]!r}") from None


def _conditions(columns: Mapping[str, Column], path: Path) -> Conditions:
    if "energy_GeV" not in columns:
        raise CaloforgeError(f"{path}: column energy_GeV is missing; known are {', '.join(LIST)}")
    if ("x_mm" in columns) != ("y_mm" in columns):
        raise CaloforgeError(f"{path}: expected both x_mm and y_mm, or neither")
    theta, phi = (
        columns[name] * DEGREE if name in columns else None for name in ("theta_deg", "phi_deg")
    )
    impact = np.stack([columns["x_mm"], columns["y_mm"]], axis=1) if "x_mm" in columns else None
    particle = columns.get("particle")
    if particle is not None and (np.abs(particle) >= 1 << 31).any():
        raise CaloforgeError(f"{path}: particle: expected PDG ids of 32 bits")
    try:
        return Conditions.of(columns["energy_GeV"] * GEV, theta, phi, impact, particle)
    except CaloforgeError as error:
        raise CaloforgeError(f"{path}: {error}") from None

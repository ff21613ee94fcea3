"""A summary of a shower file, from one pass over it that checks every value."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.files.layouts.convert import layout_of
from caloforge.files.shower_file import OPTIONAL, UNITS, ShowerFile
from caloforge.foundations.durable import sha256
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.progress import Progress, silent
from caloforge.showers import doubt_units
from caloforge.showers.particles import REST_MEV

__all__ = ["summarize"]


def summarize(path: str | Path, report: Progress = silent) -> dict[str, Any]:
    """Read the whole file once and return shapes, ranges (MeV, rad, mm), occupancy and provenance.

    Raises CaloforgeError if any part is missing or wrong, or not as the file's digest says, so a summary is
    also a proof of integrity.
    """
    path = Path(path)
    with _open(path) as file:
        n = len(file)
        done, hits, total_deposit, smallest, largest = 0, 0, 0.0, np.inf, 0.0
        report(0, n)
        for showers in file.chunks():
            positive = showers.deposits[showers.deposits > 0]
            hits += positive.size
            total_deposit += float(positive.sum(dtype=np.float64))
            if positive.size:
                smallest = min(smallest, float(positive.min()))
                largest = max(largest, float(positive.max()))
            done += len(showers)
            report(done, n)
        given = file.conditions
        told, total_energy = given.columns(), float(given.incident_energy.sum(dtype=np.float64))
        summary: dict[str, Any] = {
            "file": str(path),
            "sha256": sha256(path),
            "showers": n,
            "shape": list(file.grid.shape),
            "axes": list(file.grid.axes),
            "units": {
                name: unit for name, unit in UNITS.items() if name not in OPTIONAL or name in told
            },
            "detector": file.grid.to_json(),
            "incident_energy_MeV": _range(given.incident_energy),
            "incident_theta_rad": _range(given.incident_theta),
        }
        if given.incident_phi is not None:
            summary["incident_phi_rad"] = _range(given.incident_phi)
        if given.impact_xy is not None:
            summary["impact_x_mm"], summary["impact_y_mm"] = map(_range, given.impact_xy.T)
        if given.pdg_id is not None:
            particles, counts = np.unique(given.pdg_id, return_counts=True)
            summary["particles"] = {str(p): int(c) for p, c in zip(particles, counts, strict=True)}
        at_rest = sum(REST_MEV.get(int(pdg), 0.0) * n for pdg, n in summary.get("particles", {}).items())
        return summary | {
            "positive_deposit_MeV": [smallest, largest] if hits else None,
            "occupancy": hits / max(1, n * file.grid.n_cells),
            "mean_hits": hits / max(1, n),
            "mean_deposit_MeV": total_deposit / max(1, n),
            "sampling_fraction": total_deposit / total_energy if total_energy else None,
            "warnings": [doubt] if (doubt := doubt_units(total_deposit, total_energy + at_rest)) else [],
            "provenance": file.provenance,
            "digest": file.digest,
            "integrity": "every value read and checked, and "
            + ("the digest compared" if file.digest else "the file has no digest to compare with"),
        }


def _open(path: Path) -> ShowerFile:
    try:
        return ShowerFile(path)
    except CaloforgeError:
        layout = layout_of(path)
        if layout is None:
            raise
        command = f"caloforge convert {shlex.quote(str(path))} -o showers.h5"
        raise CaloforgeError(
            f"{path}: in the public layout {layout}: `{command}` makes a shower file"
        ) from None


def _range(values: NDArray[np.float32]) -> list[float] | None:
    return [float(values.min()), float(values.max())] if values.size else None

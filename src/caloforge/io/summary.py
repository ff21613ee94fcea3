"""A summary of a shower file, from one pass over it that checks every value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from caloforge.io.durable import sha256
from caloforge.io.shower_file import UNITS, ShowerFile

__all__ = ["summarize"]


def summarize(path: str | Path) -> dict[str, Any]:
    """Read the whole file once; give shapes, ranges (MeV, rad), occupancy and provenance.

    Raises CaloforgeError if any part is missing or wrong, so a summary is also a proof of integrity.
    """
    with ShowerFile(path) as file:
        total_deposit, hits, smallest, largest = 0.0, 0, np.inf, 0.0
        for showers in file.chunks():
            positive = showers.deposits[showers.deposits > 0]
            hits += positive.size
            total_deposit += float(positive.sum(dtype=np.float64))
            if positive.size:
                smallest = min(smallest, float(positive.min()))
                largest = max(largest, float(positive.max()))
        n = len(file)
        energy, theta = file.conditions.incident_energy, file.conditions.incident_theta
        total_energy = float(energy.sum(dtype=np.float64))
        present = [n for n in UNITS if n not in ("impact_xy", "pdg_id") or getattr(file, n) is not None]
        return {
            "file": str(path),
            "sha256": sha256(Path(path)),
            "showers": n,
            "shape": list(file.grid.shape),
            "axes": list(file.grid.axes),
            "units": {name: UNITS[name] for name in present},
            "detector": file.grid.to_json(),
            "incident_energy_MeV": _range(energy),
            "incident_theta_rad": _range(theta),
            "positive_deposit_MeV": [smallest, largest] if hits else None,
            "occupancy": hits / max(1, n * file.grid.n_cells),
            "mean_hits": hits / max(1, n),
            "sampling_fraction": total_deposit / total_energy if total_energy else None,
            "provenance": file.provenance,
            "integrity": "every value read and checked",
        }


def _range(values: np.ndarray[Any, np.dtype[np.float32]]) -> list[float] | None:
    return [float(values.min()), float(values.max())] if values.size else None

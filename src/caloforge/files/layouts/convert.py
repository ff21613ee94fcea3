"""From files in public layouts to one shower file, streamed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from caloforge.files.hdf5 import field_names, open_hdf5, text_attribute
from caloforge.files.layouts.formats import LAYOUTS, PublicFile, dataset_of
from caloforge.files.shower_file import FORMAT
from caloforge.files.shower_writer import ShowerWriter, check_shower_path
from caloforge.foundations.durable import sha256
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.progress import Progress, silent
from caloforge.showers import doubt_units

__all__ = ["AUTO", "convert", "detect", "layout_of", "open_public"]

AUTO = "auto"


def detect(file: h5py.File, path: Path) -> type[PublicFile]:
    """Find the layout of a file by the names and, where these do not decide, the shapes of its fields.

    Raises UsageError if it is a shower file already or fits several layouts, CaloforgeError if none.
    """
    if text_attribute(file, path, "format") == FORMAT:
        raise UsageError(f"{path}: is a shower file already, expected a public layout")
    names = field_names(file, path)
    named = [c for c in LAYOUTS.values() if set(c.fields) <= set(names)]
    fitting = named if len(named) == 1 else [c for c in named if _fits(file, path, c)]
    if not named:
        known = "; ".join(f"{c.layout}: {', '.join(c.fields)}" for c in LAYOUTS.values())
        found = ", ".join(repr(name[:40]) for name in names[:8]) or "none"
        raise CaloforgeError(f"{path}: unknown layout: found fields {found}; expected one of {known}")
    if len(fitting) != 1:
        choice = " and ".join(c.layout for c in fitting or named)
        raise UsageError(f"{path}: fields of {choice}: choose one with --layout")
    return fitting[0]


def layout_of(path: Path) -> str | None:
    """Find the public layout that a file has; None if it has none, or more than one."""
    try:
        with open_hdf5(path) as file:
            layout = detect(file, path)
            return layout.layout if _fits(file, path, layout) else None
    except CaloforgeError:
        return None


def _fits(file: h5py.File, path: Path, layout: type[PublicFile]) -> bool:
    try:
        for name, shape in layout.fields.items():
            dataset_of(file, path, name, shape)
    except CaloforgeError:
        return False
    return True


@contextmanager
def open_public(path: Path, layout: str = AUTO, binning: Path | None = None) -> Iterator[PublicFile]:
    """Open a file in a public layout. Raises UsageError or CaloforgeError naming file and field."""
    if layout != AUTO and layout not in LAYOUTS:
        raise UsageError(f"--layout: expected one of {', '.join((AUTO, *LAYOUTS))}, got {layout[:40]!r}")
    with open_hdf5(path) as file:
        kind = detect(file, path) if layout == AUTO else LAYOUTS[layout]
        yield kind(path, file, binning)


def convert(
    inputs: Sequence[Path],
    output: Path,
    *,
    layout: str = AUTO,
    binning: Path | None = None,
    command: str = "",
    report: Progress = silent,
) -> dict[str, Any]:
    """Write the showers of all ``inputs``, in order, to one shower file; return a summary.

    Memory is bounded by a few chunks of the inputs. Every file is looked at before the first shower
    is written, and must have the layout and the grid of the first one. Raises UsageError or
    CaloforgeError naming file and field.
    """
    check_shower_path(output, *inputs, *([] if binning is None else [binning]))
    for name, count in Counter(map(os.path.realpath, inputs)).items():
        if count > 1:
            raise UsageError(f"{name}: is given {count} times")
    total, sources, remarks = 0, [], dict[str, None]()
    first: PublicFile | None = None
    for path in inputs:
        with open_public(path, layout, binning) as source:
            first = first or source
            if (source.layout, source.grid, source.pdg_id) != (first.layout, first.grid, first.pdg_id):
                raise UsageError(
                    f"{path}: expected {_kind(first)} as in {first.path}, found {_kind(source)}"
                )
            total += len(source)
            remarks.update(dict.fromkeys(source.remarks))
            sources.append({"file": path.name, "showers": len(source), "sha256": sha256(path)})
    if first is None:
        raise UsageError("expected at least one file to convert")
    provenance = {
        "program": "caloforge convert",
        "command": command,
        "version": version("caloforge"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "layout": first.layout,
        "sources": sources,
        "remarks": list(remarks),
    }
    done, deposit, energy = 0, 0.0, 0.0
    report(done, total)
    with ShowerWriter(output, first.grid, provenance) as writer:
        for path in inputs:
            with open_public(path, layout, binning) as source:
                step = source.rows_per_read
                for start in range(0, len(source), step):
                    showers = source.read(start, start + step)
                    deposit += float(showers.deposits.sum(dtype=np.float64))
                    energy += float(showers.incident_energy.sum(dtype=np.float64))
                    writer.append(showers)
                    report(done + min(start + step, len(source)), total)
                done += len(source)
        if doubt := doubt_units(deposit, energy):
            remarks[doubt] = None
            writer.provenance["remarks"] = list(remarks)
    return {
        "file": str(output),
        "showers": total,
        "layout": first.layout,
        "detector": first.grid.name,
        "shape": list(first.grid.shape),
        "axes": list(first.grid.axes),
        "remarks": list(remarks),
    }


def _kind(source: PublicFile) -> str:
    return f"{source.layout} {source.grid.name} {source.grid.shape}, primary {source.pdg_id}"

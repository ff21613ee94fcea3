"""From files in public layouts, or of showers, to one file of showers or of their hits, streamed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from caloforge.detector import Detector, Grid
from caloforge.files.hdf5 import field_names, open_hdf5, text_attribute
from caloforge.files.hit_files import HIT_FILES
from caloforge.files.layouts.challenge_writer import ChallengeWriter
from caloforge.files.layouts.formats import LAYOUTS, CaloChallenge, PublicFile, dataset_of
from caloforge.files.layouts.point_clouds import PointClouds
from caloforge.files.shower_file import FORMAT, ShowerFile
from caloforge.files.shower_writer import check_shower_path, open_writer
from caloforge.foundations.durable import sha256
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.texts import require_file
from caloforge.showers import Showers, doubt_units

__all__ = ["AUTO", "OTHER_LAYOUTS", "How", "convert", "detect", "layout_of", "open_source"]

AUTO = "auto"
EDM4HEP, POINTS, OURS = "edm4hep", PointClouds.layout, "caloforge"

IN_HDF5: dict[str, type[PublicFile | PointClouds]] = {**LAYOUTS, POINTS: PointClouds}

OTHER_LAYOUTS = (EDM4HEP, POINTS)
"""Layouts of hits, which become showers in the cells of a detector."""


@dataclass(frozen=True)
class How:
    """What a reader is told beside the file: see the options of ``caloforge convert``."""

    layout: str = AUTO
    binning: Path | None = None
    detector: Detector | None = None
    collections: tuple[str, ...] = ()
    face: tuple[float, float, float] | None = None
    particle: int | None = None

    def __post_init__(self) -> None:
        known = (AUTO, *LAYOUTS, *OTHER_LAYOUTS)
        if self.layout not in known:
            raise UsageError(f"--layout: expected one of {', '.join(known)}, got {self.layout[:40]!r}")


class Source(Protocol):
    """A file open for reading: where, on which grid, what is to be said of it, and its showers."""

    path: Path
    grid: Grid
    remarks: list[str]

    @property
    def layout(self) -> str:
        """Name of the layout."""

    def __len__(self) -> int: ...

    def chunks(self) -> Iterator[Showers]:
        """Read all showers, some at a time."""


class OwnFile(ShowerFile):
    """A shower file, to write its hits."""

    layout = OURS

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.remarks: list[str] = []


def detect(file: h5py.File, path: Path) -> str:
    """Find the layout of a file by the names and, where these do not decide, the shapes of its fields.

    Raises UsageError if it is a shower file already or fits several layouts, CaloforgeError if none.
    """
    if text_attribute(file, path, "format") == FORMAT:
        hits = ", ".join(HIT_FILES)
        raise UsageError(
            f"{path}: is a shower file already, expected a public layout, or an output with hits ({hits})"
        )
    names = field_names(file, path)
    named = [c for c in IN_HDF5.values() if set(c.fields) <= set(names)]
    fitting = named if len(named) == 1 else [c for c in named if _fits(file, path, c)]
    if not named:
        known = "; ".join(f"{c.layout}: {', '.join(c.fields)}" for c in IN_HDF5.values())
        found = ", ".join(repr(name[:40]) for name in names[:8]) or "none"
        raise CaloforgeError(f"{path}: unknown layout: found fields {found}; expected one of {known}")
    if len(fitting) != 1:
        choice = " and ".join(c.layout for c in fitting or named)
        raise UsageError(f"{path}: fields of {choice}: choose one with --layout")
    return fitting[0].layout


def layout_of(path: Path) -> str | None:
    """Find the public layout that a file has; None if it has none, or more than one."""
    try:
        with open_hdf5(path) as file:
            name = detect(file, path)
            return name if _fits(file, path, IN_HDF5[name]) else None
    except CaloforgeError:
        return None


def _fits(file: h5py.File, path: Path, layout: type[PublicFile | PointClouds]) -> bool:
    try:
        for name, shape in layout.fields.items():
            dataset_of(file, path, name, shape)
    except CaloforgeError:
        return False
    return True


@contextmanager
def open_source(path: Path, how: How, *, ours: bool = False) -> Iterator[Source]:
    """Open a file in a public layout; where ``ours`` is allowed also a file of showers.

    Raises UsageError or CaloforgeError naming file and field.
    """
    layout = how.layout
    if layout == AUTO:
        layout = _recognised(path, ours=ours)
    _require_belonging(path, how, layout)
    if layout == OURS:
        with OwnFile(path) as own:
            yield own
    elif layout == EDM4HEP:
        from caloforge.files.layouts.edm4hep import Edm4hep

        assert how.detector is not None
        with closing(Edm4hep(path, how.detector, how.collections, how.face)) as events:
            yield events
    else:
        with open_hdf5(path) as file:
            if layout != POINTS:
                yield LAYOUTS[layout](path, file, how.binning)
            else:
                assert how.detector is not None
                yield PointClouds(path, file, how.detector, how.face, how.particle)


BELONGS = {
    "binning": ("calochallenge",),
    "detector": OTHER_LAYOUTS,
    "face": OTHER_LAYOUTS,
    "collections": (EDM4HEP,),
    "particle": (POINTS,),
}
"""Layouts whose files can be told this."""


def _require_belonging(path: Path, how: How, layout: str) -> None:
    """Raise UsageError where a file is told what does not belong to its layout, or not told what does."""
    for name, layouts in BELONGS.items():
        if getattr(how, name) and layout not in layouts:
            option = f"--{name.removesuffix('s')}"
            raise UsageError(
                f"{path}: {option} belongs to {' and '.join(layouts)}, this file is {layout}"
            )
    if layout in OTHER_LAYOUTS and how.detector is None:
        raise UsageError(
            f"{path}: --detector: expected whose cells the hits of layout {layout} are put into"
        )


def _recognised(path: Path, *, ours: bool) -> str:
    """Return the layout of a file by what it holds."""
    require_file(path, "a file of showers")
    with path.open("rb") as start:
        if start.read(4) == b"root":
            return EDM4HEP
    with open_hdf5(path) as file:
        if ours and text_attribute(file, path, "format") == FORMAT:
            return OURS
        return detect(file, path)


def _outwards(inputs: Sequence[Path], output: Path, how: How) -> bool:
    """Tell whether showers of ours are to be written in a public layout: the only one of these is the challenge's."""
    if how.layout != CaloChallenge.layout or output.suffix.lower() in HIT_FILES:
        return False
    return any(_recognised(path, ours=True) == OURS for path in inputs[:1])


def convert(
    inputs: Sequence[Path],
    output: Path,
    how: How | None = None,
    *,
    command: str = "",
    report: Progress = silent,
) -> dict[str, Any]:
    """Write the showers of all ``inputs``, in order, to one shower file, or their hits as the name ends; return a summary.

    Memory is bounded by a few chunks of the inputs. Every file is looked at before the first shower
    is written, and must have the layout and the grid of the first one. Raises UsageError or
    CaloforgeError naming file and field.
    """
    how = how or How()
    check_shower_path(output, *inputs, *([] if how.binning is None else [how.binning]))
    for name, count in Counter(map(os.path.realpath, inputs)).items():
        if count > 1:
            raise UsageError(f"{name}: is given {count} times")
    hits, outwards = output.suffix.lower() in HIT_FILES, _outwards(inputs, output, how)
    how = replace(how, layout=AUTO) if outwards else how
    writer_of = ChallengeWriter if outwards else open_writer
    total, sources, remarks = 0, list[dict[str, Any]](), dict[str, None]()
    first: Source | None = None
    for path in inputs:
        with open_source(path, how, ours=hits or outwards) as source:
            first = first or source
            if _kind(source) != _kind(first):
                raise UsageError(
                    f"{path}: expected {_kind(first)} as in {first.path}, found {_kind(source)}"
                )
            total += len(source)
            remarks.update(dict.fromkeys(source.remarks))
            sources.append({"file": path.name, "showers": len(source), "sha256": sha256(path)})
            if isinstance(source, OwnFile):
                sources[-1]["provenance"] = source.provenance
    if first is None:
        raise UsageError("expected at least one file to convert")
    provenance = {
        "program": "caloforge convert",
        "command": command,
        "version": version("caloforge"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "layout": first.layout,
        "sources": sources,
    }
    done, deposit, energy, outside = 0, 0.0, 0.0, 0.0
    report(done, total)
    with writer_of(output, first.grid, provenance) as writer:
        for path in inputs:
            with open_source(path, how, ours=hits or outwards) as source:
                for showers in source.chunks():
                    deposit += float(showers.deposits.sum(dtype=np.float64))
                    energy += float(showers.incident_energy.sum(dtype=np.float64))
                    writer.append(showers)
                    done += len(showers)
                    report(done, total)
                outside += getattr(source, "outside_MeV", 0.0)
        found = {}
        if first.layout in OTHER_LAYOUTS:
            share = outside / (outside + deposit) if outside else 0.0
            found = {"energy_outside_MeV": outside, "energy_outside_fraction": share}
            text = f"{outside:.4g} MeV, {100 * share:.3g} % of the energy of all hits, lie outside of the cells of {first.grid.name}"
            remarks[text] = None
        if doubt := doubt_units(deposit, energy):
            remarks[doubt] = None
        writer.provenance |= {"remarks": list(remarks), **found}
    return {
        "file": str(output),
        "showers": total,
        "layout": first.layout,
        "detector": first.grid.name,
        "shape": list(first.grid.shape),
        "axes": list(first.grid.axes),
        "remarks": list(remarks),
        **found,
    }


def _kind(source: Source) -> str:
    primary = f", primary {source.pdg_id}" if isinstance(source, PublicFile) else ""
    return f"{source.layout} {source.grid.name} {source.grid.shape}{primary}"

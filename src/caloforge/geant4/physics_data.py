"""Which physics tables Geant4 reads: the official data sets where there are any, else computed ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from caloforge.foundations.cache import home
from caloforge.foundations.errors import UsageError
from caloforge.geant4.em_tables import EMLOW, EMPTY, ENSDFSTATE, create_cache, has_tables

__all__ = ["PhysicsData", "find_physics_data"]

DATA_SETS = {
    "G4LEDATA": "G4EMLOW",
    "G4ENSDFSTATEDATA": "G4ENSDFSTATE",
    "G4NEUTRONHPDATA": "G4NDL",
    "G4LEVELGAMMADATA": "PhotonEvaporation",
    "G4RADIOACTIVEDATA": "RadioactiveDecay",
    "G4PARTICLEXSDATA": "G4PARTICLEXS",
    "G4PIIDATA": "G4PII",
    "G4REALSURFACEDATA": "RealSurface",
    "G4SAIDXSDATA": "G4SAIDDATA",
    "G4ABLADATA": "G4ABLA",
    "G4INCLDATA": "G4INCL",
    "G4CHANNELINGDATA": "G4CHANNELING",
}
"""Geant4's environment variables, and how the folder that each names begins."""

OFFICIAL_ELEMENTS = range(1, 93)
"""Elements that a G4EMLOW folder must cover to count as complete."""


@dataclass(frozen=True)
class PhysicsData:
    """Physics tables in use: what a file records of them, and how Geant4 finds them.

    ``environment`` must be set before Geant4 is imported, every variable of it: the import would
    otherwise ask on standard input whether to download. ``emlow`` is the folder of the low-energy
    tables; ``computed`` says that it is ours, to be filled for the elements in use. ``remark`` is
    there for the user if something that looked like official data was not taken.
    """

    emlow: Path
    computed: bool
    environment: Mapping[str, str]
    remark: str = ""

    @property
    def lacking_for_hadrons(self) -> list[str]:
        """The official data sets that showers of hadrons need and that are not there."""
        needed = ("G4LEDATA", "G4PARTICLEXSDATA", "G4LEVELGAMMADATA", "G4SAIDXSDATA", "G4ENSDFSTATEDATA")
        ours = create_cache()
        return [DATA_SETS[name] for name in needed if Path(self.environment[name]).parent == ours]

    def __str__(self) -> str:
        if self.computed:
            return "computed tables (Tsai bremsstrahlung, Biggs-Lighthill photoelectric effect)"
        return f"official data set {self.emlow}"

    def to_json(self) -> dict[str, str]:
        """Return the record for a file's provenance."""
        kind = "computed" if self.computed else "official"
        # A computed folder's name tells the formulas' version; whose home it lies in is of no interest.
        version = self.emlow.parent.name if self.computed else self.emlow.name
        record = {"kind": kind, "version": version, "what": str(self)}
        return record if self.computed else {**record, "path": str(self.emlow)}


def find_physics_data(
    folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> PhysicsData:
    """Find the tables to use: ``folder``, else what the environment names, else the computed ones.

    ``folder`` holds data sets by their usual names, such as G4EMLOW8.8. In the environment (default:
    this process's) ``G4LEDATA`` comes first, then a G4EMLOW* in ``GEANT4_DATA_DIR``, then one that
    geant4-pybind once downloaded to ``~/.geant4_pybind``. Raises UsageError if ``folder`` has no
    complete G4EMLOW.
    """
    environment = os.environ if environment is None else environment
    if folder is not None:
        emlow = _complete_emlow(folder)
        if emlow is None:
            raise UsageError(
                f"--physics-data {folder}: expected a folder that holds Geant4's data sets, with a "
                f"complete {EMLOW} among them (brem_SB, epics2017/phot and /rayl for Z = 1 to 92)"
            )
        return _official(emlow, {})
    remark = ""
    if "G4LEDATA" in environment:
        emlow = Path(environment["G4LEDATA"])
        if _is_complete(emlow):
            return _official(emlow, environment)
        remark = f"G4LEDATA={emlow} is not a complete G4EMLOW data set and is not used"
    own = home()
    for parent in (environment.get("GEANT4_DATA_DIR"), own and own / ".geant4_pybind"):
        found = _complete_emlow(Path(parent)) if parent else None
        if found is not None:
            return _official(found, environment)
    cache = create_cache()
    variables = {name: str(cache / EMPTY) for name in DATA_SETS}
    variables |= {"G4LEDATA": str(cache / EMLOW), "G4ENSDFSTATEDATA": str(cache / ENSDFSTATE)}
    return PhysicsData(cache / EMLOW, True, variables | {"GEANT4_DATA_DIR": str(cache)}, remark)


def _is_complete(emlow: Path) -> bool:
    return all(has_tables(emlow, z) for z in OFFICIAL_ELEMENTS)


def _complete_emlow(parent: Path) -> Path | None:
    """Pick the complete G4EMLOW of the version that this Geant4 wants, else the newest one."""
    found = sorted(parent.glob("G4EMLOW*"), key=lambda path: (path.name == EMLOW, path.name))
    return next((path for path in reversed(found) if _is_complete(path)), None)


def _official(emlow: Path, environment: Mapping[str, str]) -> PhysicsData:
    """Take every data set from the environment, from beside ``emlow``, or from our substitutes."""
    emlow = emlow.resolve()
    cache = create_cache()
    variables = {}
    for name, prefix in DATA_SETS.items():
        # Of these only the nuclear levels are opened, and a missing file there ends Geant4.
        needed = "ENSDFSTATE.dat" if name == "G4ENSDFSTATEDATA" else "."
        given = [Path(environment[name])] if environment.get(name) else []
        beside = sorted(emlow.parent.glob(f"{prefix}[0-9]*"), reverse=True)
        substitute = cache / (ENSDFSTATE if name == "G4ENSDFSTATEDATA" else EMPTY)
        candidates = (*given, *beside, substitute)
        variables[name] = str(next(path for path in candidates if (path / needed).exists()))
    variables |= {"G4LEDATA": str(emlow), "GEANT4_DATA_DIR": str(emlow.parent)}
    return PhysicsData(emlow, False, variables)

"""The house stands: each room imports from the floors below it, and heavy guests use one door each."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import caloforge

PACKAGE = Path(caloforge.__file__).parent

FLOORS = (
    ("foundations",),
    ("detector",),
    ("observables",),
    ("showers",),
    ("files",),
    ("geant4", "models"),
    ("training", "export"),
    ("generation",),
    ("comparison",),
    ("report",),
    ("search",),
    ("demo", "bench"),
    ("cli",),
)
ROOMS = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

HEAVY = (
    "awkward",
    "geant4_pybind",
    "hist",
    "isal",
    "jinja2",
    "matplotlib",
    "onnxruntime",
    "openvino",
    "optuna",
    "pyarrow",
    "scipy",
    "sklearn",
    "tensorboard",
    "uproot",
)

MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """Name a file's module relative to the package: ``files.hdf5``; the package itself is empty."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """List what a file imports, lazily or not, as full module names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = PACKAGE.parent.joinpath(*(node.module or "").split("."))
            for alias in node.names:
                # `from caloforge.files import hdf5` names a module, `from caloforge.files.training_store import Store` its part.
                is_module = (base / alias.name).is_dir() or (base / f"{alias.name}.py").is_file()
                yield f"{node.module}.{alias.name}" if is_module else str(node.module)


def room_of(module: str) -> str | None:
    """Find the room that a module belongs to: its own entry, or its folder's."""
    return next((room for room in (module, module.partition(".")[0]) if room in ROOMS), None)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_imports_only_from_floors_below(path: Path) -> None:
    here = module_name(path)
    if here in ("", "__main__"):
        return  # the package's face and its entry point stand on top of everything
    room = room_of(here)
    assert room is not None, (
        f"{here} is in no room: name its floor in FLOORS; tools/fill_documents.py then draws it"
    )
    for name in imports(path):
        if not name.startswith("caloforge."):
            assert name != "caloforge", (
                f"{here} imports the package's face, expected the module it needs"
            )
            continue
        target = name.removeprefix("caloforge.")
        other = room_of(target)
        if other == room:
            continue
        assert other is not None, f"{here} imports {name}, which is in no room"
        assert ROOMS[other] < ROOMS[room], f"{here} imports {name}, which is not on a floor below"


FAMILIES = sorted(path.parent.name for path in PACKAGE.glob("models/*/family.py"))


def test_a_family_of_models_is_known_by_the_registry_alone() -> None:
    """Nobody imports a family's folder but itself."""
    known = {
        (module_name(path), name)
        for path in MODULES
        for family in FAMILIES
        for name in imports(path)
        if name.startswith(f"caloforge.models.{family}.")
        and not module_name(path).startswith(f"models.{family}.")
    }
    assert FAMILIES == ["copula", "mixer", "threedgan"]
    assert not known


def test_each_heavy_library_is_imported_by_one_file() -> None:
    users: dict[str, set[str]] = defaultdict(set)
    for path in MODULES:
        for name in imports(path):
            users[name.partition(".")[0]].add(module_name(path))
    shared = {library: sorted(users[library]) for library in HEAVY if len(users[library]) > 1}
    # Both run in the same worker processes.
    assert shared == {"geant4_pybind": ["geant4.application", "geant4.geometry"]}


INSPECT = """
import sys
from caloforge.cli.main import main
sys.argv = ["caloforge", "inspect", {file!r}, "--json"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""


@pytest.mark.process
@pytest.mark.parametrize(
    "program",
    [
        "import caloforge",
        "import caloforge.cli.main",
        INSPECT,
    ],
    ids=["import", "command line", "inspect"],
)
def test_reading_a_file_loads_no_heavy_library(program: str) -> None:
    file = str(PACKAGE / "data" / "clic-ecal-test.h5")
    check = f"import sys; print({{'torch', *{HEAVY!r}}} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", f"{program.format(file=file)}\n{check}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "set()"

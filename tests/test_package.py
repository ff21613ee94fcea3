"""What a release promises besides its code: versions agree, the wheel is complete, texts tell the truth."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from hatchling.builders.wheel import WheelBuilder
from typer.main import get_command

import caloforge
from caloforge.cli.main import app
from caloforge.detector import load_detector

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GROUP: Any = get_command(app)


def command_lines() -> Iterator[tuple[str, str]]:
    """Find each ``$ caloforge ...`` of the documentation, with the page it stands on."""
    for page in PAGES:
        for line in re.findall(r"^\$ (caloforge .*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            yield page.name, line


@pytest.mark.parametrize(("page", "line"), [*command_lines()])
def test_commands_in_the_documentation_parse(page: str, line: str) -> None:
    name, *arguments = shlex.split(line)[1:]
    with typer.Context(GROUP, info_name="caloforge") as context:
        command = GROUP.get_command(context, name)
        assert command is not None, f"{page}: {line}"
        command.make_context(name, arguments, parent=context)  # raises for an unknown option


def test_the_version_is_one_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert caloforge.__version__ == version("caloforge") == project["version"] == citation["version"]


def test_the_wheel_holds_everything_that_is_not_python(tmp_path: Path) -> None:
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    packed = set(zipfile.ZipFile(path).namelist())
    source = ROOT / "src"
    files = [file.relative_to(source) for file in source.rglob("*") if file.is_file()]
    needed = {
        str(file)
        for file in files
        if not any(part.startswith((".", "__pycache__")) for part in file.parts)
    }
    assert {"caloforge/py.typed", "caloforge/data/clic-ecal-test.h5"} <= needed
    assert needed <= packed
    assert sum(file.stat().st_size for file in source.rglob("*.h5")) < 10e6


def test_the_detector_in_the_documentation_loads(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "detectors.md").read_text(encoding="utf-8")
    example, more = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "my.yaml"
    path.write_text(example + more, encoding="utf-8")
    detector = load_detector(path)
    assert detector.grid.shape == (15, 15, 25)
    assert detector.digitise is not None


def test_texts_name_no_file_that_is_missing() -> None:
    links = {
        (page, target)
        for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md")
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    }
    assert links
    assert [str(target) for page, target in links if not (page.parent / target).exists()] == []


def test_what_python_offers_is_seen_by_dir_and_by_type_checkers() -> None:
    assert {*caloforge.__all__} == {"__version__", *caloforge.HOMES} <= {*dir(caloforge)}
    for name in caloforge.__all__:
        assert getattr(caloforge, name) is not None
    tree = ast.parse(Path(caloforge.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == caloforge.HOMES


@pytest.mark.parametrize("name", ["load", "read", "simulate", "train", "validate", "write"])
def test_every_argument_in_python_has_a_type_and_the_documentation_an_example(name: str) -> None:
    signature = inspect.signature(getattr(caloforge, name))
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    code = "".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    assert f"cf.{name}(" in code
    assert f"::: caloforge.{caloforge.HOMES[name].removeprefix('caloforge.')}.{name}" in page


@pytest.mark.geant4
@pytest.mark.training
@pytest.mark.long
def test_the_examples_in_python_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: None
) -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "docs/api.md", "exec"), names)
    assert {path.name for path in tmp_path.iterdir()} >= {
        "showers.h5",
        "run",
        "generated.h5",
        "hits.parquet",
        "report",
    }
    assert len(names["showers"]) == len(names["fresh"]) == 20

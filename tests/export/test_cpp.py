"""The C++ program reads exports in ONNX Runtime, and makes the showers that they say they hold."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from commands import PATIENCE_S, MadeOnce
from export_samples import Made

from caloforge.export.containers import read_note

PROGRAM = Path(__file__).parents[2] / "cpp" / "onnx" / "showers.cc"
HEADERS = ("/usr/include/onnxruntime", "/usr/local/include/onnxruntime")
"""Where Debian's libonnxruntime-dev and a copy by hand have them; g++ itself looks into CPLUS_INCLUDE_PATH."""


def library(folder: Path) -> list[str]:
    """Link to the library that the PyPI package brings, under the name that programs ask for, else to the system's."""
    spec = find_spec("onnxruntime")
    places = spec.submodule_search_locations if spec else None
    for found in Path(places[0]).glob("capi/libonnxruntime.so.*") if places else ():
        (folder / "libonnxruntime.so.1").symlink_to(found)
        return [str(folder / "libonnxruntime.so.1"), f"-Wl,-rpath,{folder}"]
    return ["-lonnxruntime"]


@pytest.fixture
def showers(made_once: MadeOnce) -> Path:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    headers = [f"-I{folder}" for folder in HEADERS]
    probe = subprocess.run(
        [compiler, *headers, "-x", "c++", "-fsyntax-only", "-"],
        input="#include <onnxruntime_cxx_api.h>",
        text=True,
        capture_output=True,
        check=False,
    )
    if probe.returncode:
        pytest.skip("no headers of ONNX Runtime: apt-get install libonnxruntime-dev (Debian 13)")

    def fill(folder: Path) -> None:
        line = [compiler, "-std=c++17", "-Wall", "-Wextra", *headers, str(PROGRAM)]
        line += [*library(folder), "-o", str(folder / "showers")]
        subprocess.run(line, check=True, timeout=PATIENCE_S)

    return made_once("cpp-onnx", fill) / "showers"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, words)], capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )


@pytest.mark.process
@pytest.mark.parametrize("target", ["onnx", "par04", "ddml"])
def test_a_file_is_checked_and_makes_showers(
    target: str, showers: Path, exported: Callable[[str], tuple[Made, Path]]
) -> None:
    _, path = exported(target)
    checked = run(showers, path)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "5 golden showers agree\n")
    made = run(showers, path, 3, 20, 7)
    assert made.returncode == 0
    deposits = [float(line.split()[0]) for line in made.stdout.splitlines()]
    assert len(set(deposits)) == 3
    assert all(deposit > 0 for deposit in deposits)
    assert run(showers, path, 3, 20, 7).stdout == made.stdout
    assert run(showers, path, 3, 20, 8).stdout != made.stdout


@pytest.mark.process
def test_a_changed_file_is_noticed(
    showers: Path, exported: Callable[[str], tuple[Made, Path]], tmp_path: Path
) -> None:
    _, path = exported("ddml")
    told = read_note(path)["golden_deposit_MeV"]
    wrong = str(1 + int(told[0]) % 9) + told[1:]
    content = path.read_bytes().replace(told.encode(), wrong.encode())
    (tmp_path / "x.onnx").write_bytes(content)
    ran = run(showers, tmp_path / "x.onnx")
    assert ran.returncode == 1
    assert "golden shower 0" in ran.stderr
    (tmp_path / "x.onnx").write_bytes(b"")
    ran = run(showers, tmp_path / "x.onnx")
    assert ran.returncode == 1
    assert ran.stderr.startswith("showers: ")

"""The documents say what the code and the committed results say."""

from __future__ import annotations

import json
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def tool(name: str) -> Any:
    """Import a program that is in no package."""
    spec = spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL, RECORD = tool("fill_documents"), tool("record_metrics")


def test_every_document_is_filled() -> None:
    TOOL.main(["--check"])


def test_a_stale_document_fails_and_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "README.md"
    text = "before\n<!-- fill: requirements -->\nstale\n<!-- end -->\nafter\n"
    page.write_text(text, encoding="utf-8")
    monkeypatch.setattr(TOOL, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="-stale"):
        TOOL.main(["--check"])
    assert page.read_text(encoding="utf-8") == text
    TOOL.main([])
    TOOL.main(["--check"])
    assert "| Response | `adjusted_ratio.sampling_fraction` |" in page.read_text(encoding="utf-8")


def test_numbers_keep_three_digits() -> None:
    assert [TOOL.digits(x) for x in (0.2884, 3165.4, 12, 4306, 1.5, 0.0, "16")] == [
        "0.288",
        "3,165",
        "12",
        "4,306",
        "1.50",
        "0",
        "16",
    ]


def test_a_comparison_is_kept_with_its_commands(tmp_path: Path) -> None:
    metrics = {
        "auc.low": 0.5,
        "auc.low_by_energy_err": [0.1],
        "ks.hits": 0.1,
        "shape.x.mean_rel_error_floor": 0.2,
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    RECORD.main(
        [str(tmp_path / "metrics.json"), "-o", str(tmp_path / "kept.json"), "caloforge generate", "..."]
    )
    kept = json.loads((tmp_path / "kept.json").read_text(encoding="utf-8"))
    assert kept["command"] == ["caloforge generate", "..."]
    assert kept["metrics"].keys() == metrics.keys() - {"ks.hits"}


def test_modules_and_files_that_documents_name_exist() -> None:
    pages = [
        path for pattern in TOOL.DOCUMENTS for path in ROOT.glob(pattern) if path.name != "CHANGELOG.md"
    ]
    named = {
        (page.name, name)
        for page in pages
        for name in re.findall(
            r"`((?:(?:caloforge|studies)(?:\.\w+)+)|(?:src|tests|studies|tools|docs|templates)/[\w./-]+)`",
            page.read_text(encoding="utf-8"),
        )
    }
    assert len(named) > 10
    missing = [pair for pair in named if "NAME" not in pair[1] and not exists(pair[1])]
    assert [
        pair for pair in missing if not pair[1].endswith(".json")
    ] == []  # a result may be missing yet


def test_the_exit_codes_stand_in_the_documentation() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \|", page, re.MULTILINE) == ["0", "1", "2", "130", "137"]


HINDERING = (
    "that ship", "weights ship", "listen to the angle", "listens to the angle", "besides the installation",
    "nothing fails in any bin", "tells little", "are cautious", "what is listed along", "who is free makes",
    "as the talk of 2019 found", "thousands of times faster", "any calorimeter",
)  # fmt: skip
"""What stopped readers: words of no field, sentences without a verb, claims without a spectrum."""


def test_sentences_that_stopped_a_reader_do_not_come_back() -> None:
    patterns = (*TOOL.DOCUMENTS, "src/**/*.py", "src/**/*.md", "studies/**/*.py", "*.toml", "*.yml")
    found = [
        (str(path.relative_to(ROOT)), phrase)
        for pattern in patterns
        for path in ROOT.glob(pattern)
        for phrase in HINDERING
        if phrase in " ".join(path.read_text(encoding="utf-8").lower().split())
        and path.name != "CHANGELOG.md"
    ]
    assert found == []


def exists(name: str) -> bool:
    """Tell whether a file, a module or an attribute of a module is there."""
    if "/" in name:
        return (ROOT / name).exists()
    base = ROOT / "src" if name.startswith("caloforge") else ROOT
    for path in (base / name.replace(".", "/"), base / name.rpartition(".")[0].replace(".", "/")):
        if path.is_dir() or path.with_suffix(".py").is_file():
            return True
    return False

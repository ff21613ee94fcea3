"""What a run folder says of its run is what the run was told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from commands import Caloforge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caloforge.foundations.errors import CaloforgeError
from caloforge.training.config import TrainingConfig, load_config
from caloforge.training.run_folder import RunFolder

CONFIG = load_config(
    settings=["model=3dgan", "learning_rate=1.25e-5", "architecture.filters=5", "minutes=0.1"]
)


def written(path: Path) -> RunFolder:
    folder = RunFolder(path)
    folder.write_config(CONFIG, [Path("/data/showers.h5")], "0123abc", [])
    return folder


def told(folder: RunFolder) -> tuple[TrainingConfig, dict[str, object]]:
    """Read as a run that goes on does."""
    base, sources = folder.read_config()
    return load_config(base=base), sources


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(st.integers(0, 2**32), st.integers(0, 7))
def test_a_flipped_bit_changes_no_setting_in_silence(tmp_path: Path, place: int, bit: int) -> None:
    folder, path = written(tmp_path), tmp_path / "config.yaml"
    assert told(folder)[0] == CONFIG
    before = told(folder)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    try:
        after = told(folder)
    except CaloforgeError:
        return
    assert after == before


def test_a_changed_setting_is_one_line_that_says_how_to_change_it(
    tmp_path: Path, caloforge: Caloforge
) -> None:
    written(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(path.read_text().replace("filters: 5", "filters: 7"))
    ran = caloforge("train", "--resume", "--out", tmp_path)
    ran.refused(1, str(path), "changed or damaged", "--resume --set NAME=VALUE")


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    folder, path = written(tmp_path), tmp_path / "config.yaml"
    before = told(folder)
    data = yaml.safe_load(path.read_text())
    assert len(data.pop("sha256")) == 64
    path.write_text(yaml.safe_dump(data))
    assert told(folder) == before


@pytest.mark.parametrize("text", ["", "[1]", "a: [", "{}", "1: 2\nx: 2020-13-45", "\x00", "sha256: {}"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(CaloforgeError, match=rf"^{tmp_path}/config\.yaml: "):
        RunFolder(tmp_path).read_config()

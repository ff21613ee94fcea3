"""Each distortion does what it says, is found by the requirement that should find it, and is told truly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Caloforge
from shower_samples import random_showers, write_core

from caloforge.detector import Grid
from caloforge.files import shower_file, shower_writer
from caloforge.files.shipped import shipped_showers
from caloforge.foundations.progress import silent
from caloforge.foundations.randomness import stream
from caloforge.foundations.units import GEV
from caloforge.showers import Showers
from studies.verdict_power.distortions import DISTORTIONS, gained, relative_response
from studies.verdict_power.measure import measure
from studies.verdict_power.table import first_finder, table


@pytest.fixture(scope="module")
def showers() -> Showers:
    found = shower_file.read(shipped_showers("test"))
    order = np.argsort(found.incident_energy)
    return found[np.concatenate([order[:30], order[30::8]])]


def distorted(showers: Showers, name: str, size: float) -> Showers:
    return DISTORTIONS[name].apply(showers, size, stream(1, "test", name))


def visible(showers: Showers) -> Any:
    return showers.deposits.sum(axis=(1, 2, 3), dtype=np.float64)


def test_the_resolution_is_widened_below_50_gev_alone(showers: Showers) -> None:
    wide = distorted(showers, "resolution", 0.5)
    low = showers.incident_energy < 50 * GEV
    before, after = relative_response(showers) - 1, visible(wide) / visible(showers)
    assert np.allclose(after[~low], 1)
    assert np.allclose(after[low] * (1 + before[low]) - 1, 1.5 * before[low], atol=1e-6)


def test_hits_are_lost_below_20_gev_and_the_energy_is_kept(showers: Showers) -> None:
    lost = distorted(showers, "hits", 0.2)
    low = showers.incident_energy < 20 * GEV
    assert low.any()
    assert np.allclose(visible(lost), visible(showers), rtol=1e-5)
    hits = [np.count_nonzero(s.deposits[low]) for s in (lost, showers)]
    assert hits[0] / hits[1] == pytest.approx(0.8, abs=0.02)
    assert np.array_equal(lost.deposits[~low], showers.deposits[~low])


def test_the_tail_is_cut_and_nothing_else(showers: Showers) -> None:
    cut = distorted(showers, "tail", 0.1)
    assert len(cut) == round(0.9 * len(showers))
    assert relative_response(showers).min() < 0.9
    kept = np.isin(showers.incident_energy, cut.incident_energy)
    assert relative_response(showers)[kept].min() > relative_response(showers)[~kept].max()


def test_one_layer_has_another_gain(showers: Showers) -> None:
    ratio = distorted(showers, "gain", 0.1).deposits.sum((0, 1, 2)) / showers.deposits.sum((0, 1, 2))
    layer = gained(len(ratio))
    assert ratio[layer] == pytest.approx(1.1, rel=1e-4)
    assert np.allclose(np.delete(ratio, layer), 1)


def test_layers_lose_their_correlation_and_keep_their_distributions(showers: Showers) -> None:
    loose = distorted(showers, "layers", 1.0)
    for layer in (8, 9):
        before, after = (np.sort(s.deposits[..., layer].sum((1, 2))) for s in (showers, loose))
        assert np.allclose(before, after)
    same = (loose.deposits[..., 8] == showers.deposits[..., 8]).all((1, 2))
    other = (loose.deposits[..., 9] != showers.deposits[..., 9]).any((1, 2))
    assert same.all()
    assert other.mean() > 0.9


def test_showers_of_30_gev_stand_in_for_their_neighbours(showers: Showers) -> None:
    energy = showers.incident_energy / GEV
    near = np.abs(energy - 30) < 1
    if not near.any():
        showers = Showers(
            deposits=showers.deposits, incident_energy=showers.incident_energy * 0 + 30 * GEV,
            incident_theta=showers.incident_theta, grid=showers.grid,
        )  # fmt: skip
    one = distorted(showers, "one energy", 1.0)
    there = (showers.incident_energy > 25 * GEV) & (showers.incident_energy < 35 * GEV)
    assert np.array_equal(one.deposits[~there], showers.deposits[~there])
    assert {d.tobytes() for d in one.deposits[there]} <= {d.tobytes() for d in showers.deposits}


@pytest.mark.slow
def test_each_distortion_is_found_first_by_what_it_distorts(tmp_path: Path) -> None:
    parts = [shower_file.read(shipped_showers(name)) for name in ("train", "test")]
    pool = Showers(
        deposits=np.concatenate([p.deposits for p in parts]),
        incident_energy=np.concatenate([p.incident_energy for p in parts]),
        incident_theta=np.concatenate([p.incident_theta for p in parts]),
        grid=parts[0].grid,
    )
    rows = measure(pool, (10_000,), seed=1, folder=tmp_path, threshold_MeV=0.001, progress=silent)
    finders = {row["distortion"]: first_finder(row, "10000") for row in rows}
    for name, wanted in (
        ("gain", "Gain of each layer"),
        ("layers", "Correlation of neighbouring layers"),
        ("tail", "Tails of the visible energy"),
        ("scale", "Scale of the visible energy at equal depth"),
    ):
        found = finders[name]
        assert found is not None
        assert found[0] == wanted


def test_the_table_names_the_first_finder() -> None:
    row = {
        "title": "gain", "size": 0.01, "of": "of it",
        "smallest": {"400": {"A": 0.04, "B": 0.03}, "10000": {"A": 0.005, "B": 0.02}},
    }  # fmt: skip
    itself = {
        "showers": 400, "repetitions": 3, "with_failure": 1,
        "requirements": {"met": 2.0, "undecided": 17.7},
    }  # fmt: skip
    lines = table({"rows": [row], "itself": [itself]}).splitlines()
    assert lines[2] == "| gain | 1 % of it | A | 3 % | 0.5 % |"
    assert lines[-1] == "| 400 | 3 | 1 | 2.0 | 17.7 |"


@pytest.mark.long
def test_the_command_writes_what_it_found(tmp_path: Path, study: Caloforge) -> None:
    showers = write_core(tmp_path / "core.h5", 500)
    output, figure = tmp_path / "result.json", tmp_path / "figure.png"
    ran = study("verdict_power", showers, "--repetitions", 1, "-o", output, "--figure", figure)
    assert ran.code == 0, ran.err
    result = json.loads(output.read_text())
    assert {row["distortion"] for row in result["rows"]} == set(DISTORTIONS)
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_files_of_two_grids_are_refused(tmp_path: Path, study: Caloforge) -> None:
    for name, shape in (("a", (3, 3, 4)), ("b", (3, 4, 4))):
        shower_writer.write(tmp_path / f"{name}.h5", random_showers(5, Grid("g", shape)))
    study("verdict_power", tmp_path / "a.h5", tmp_path / "b.h5").refused(2, "b.h5", "grid")

"""EDM4hep events become showers: where each hit goes, and what is said of those that go nowhere."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import uproot
from commands import Caloforge
from edm4hep_samples import ENCODING, Events, events_of, hits, primary, public_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import caloforge as cf
from caloforge.detector import load_detector
from caloforge.detector.positions import cell_positions_mm
from caloforge.files.layouts import edm4hep
from caloforge.files.layouts.edm4hep import Edm4hep, cell_field, field_of
from caloforge.foundations.errors import CaloforgeError, UsageError

CLIC = load_detector("clic-ecal")
FACE_MM = 1500.0

sizes = st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.booleans()))


@given(st.lists(sizes, min_size=1, max_size=5), st.data(), st.booleans())
def test_fields_of_a_cell_are_read_where_the_encoding_says(
    fields: list[tuple[int, bool]], data: st.DataObject, told: bool
) -> None:
    first, number, parts, values = 0, 0, list[str](), list[int]()
    for index, (width, signed) in enumerate(fields):
        low = -(1 << width - 1) if signed else 0
        value = data.draw(st.integers(low, low + (1 << width) - 1))
        number |= (value & (1 << width) - 1) << first
        parts.append(f"f{index}:{f'{first}:' if told else ''}{-width if signed else width}")
        values.append(value)
        first += width
    for index, value in enumerate(values):
        place = cell_field(",".join(parts), f"f{index}")
        assert place is not None
        assert field_of(np.array([number], np.uint64), *place).tolist() == [value]
    assert cell_field(",".join(parts), "other") is None


@pytest.mark.parametrize("encoding", ["layer", "layer:a", "layer:60:5", "layer:0:0", "a:1:2:3"])
def test_an_encoding_that_is_none_is_refused(encoding: str) -> None:
    with pytest.raises(ValueError, match=r"expected|invalid"):
        cell_field(encoding, "layer")


def rotation(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the axes of the face, as the documentation has them, one a row."""
    y = np.array([0.0, 0, 1]) if abs(normal[2]) < 0.7 else np.array([0.0, 1, 0])
    y = y - (y @ normal) * normal
    y /= np.linalg.norm(y)
    return np.stack([np.cross(y, normal), y, normal])


def sampled(
    normal: NDArray[np.float64], direction: NDArray[np.float64], impact: tuple[float, float], seed: int
) -> tuple[Events, NDArray[np.float32]]:
    """Make three electrons of the origin in the cells of clic-ecal behind a face; return them with their deposits."""
    rng = np.random.default_rng(seed)
    grid, axes = CLIC.grid, rotation(normal)
    x, y, z = cell_positions_mm(grid)
    deposits = np.zeros((3, *grid.shape), np.float32)
    primaries, events = [], []
    for number in range(3):
        cells = rng.integers(6, 19, (60, 3))
        index = tuple(cells.T)
        deposits[(number, *index)] = rng.exponential(5, 60)
        entry = FACE_MM * direction / (direction @ normal)
        local = np.stack([x[index] - impact[0], y[index] - impact[1], z[index]], axis=1)
        places = entry + local @ axes
        energy = deposits[(number, *index)] / 1000
        _, first = np.unique(cells, axis=0, return_index=True)
        primaries.append(primary(-11, 0.000511, np.zeros(3), 20.0 * direction))
        events.append(hits(cells[first, 2], energy[first], places[first]))
    return events_of(primaries, Ecal=events), deposits


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    turn=st.floats(-math.pi, math.pi),
    barrel=st.booleans(),
    slope=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    impact=st.tuples(st.floats(-2.4, 2.4), st.floats(-2.4, 2.4)),
    seed=st.integers(0, 9),
    told=st.booleans(),
)
def test_showers_behind_any_face_come_back(
    monkeypatch: pytest.MonkeyPatch,
    turn: float,
    barrel: bool,
    slope: tuple[float, float],
    impact: tuple[float, float],
    seed: int,
    told: bool,
) -> None:
    normal = (
        np.array([math.cos(turn), math.sin(turn), 0])
        if barrel
        else np.array([0.0, 0, math.copysign(1, turn)])
    )
    local = np.array([*slope, 1.0]) / np.hypot(1, np.hypot(*slope))
    direction = local @ rotation(normal)
    events, deposits = sampled(normal, direction, impact, seed)
    monkeypatch.setattr(edm4hep, "EventFile", events)
    file = Edm4hep(Path("x.root"), CLIC, ["Ecal"], tuple(FACE_MM * normal) if told else None)
    (showers,) = file.chunks()
    np.testing.assert_allclose(showers.deposits, deposits, rtol=1e-5)
    assert file.outside_MeV == 0
    assert showers.conditions.impact_xy is not None
    # Where the face is fitted, the axis meets it elsewhere by the error of the fit.
    np.testing.assert_allclose(showers.conditions.impact_xy, [impact] * 3, atol=0.01)
    theta, phi = showers.incident_theta[0], showers.conditions.phi[0]
    found = [math.cos(theta) * math.cos(phi), math.cos(theta) * math.sin(phi), math.sin(theta)]
    np.testing.assert_allclose(found, local, atol=1e-5)
    assert 0 <= phi <= np.float32(math.pi)
    np.testing.assert_allclose(
        showers.incident_energy, (math.hypot(20, 0.000511) - 0.000511) * 1000, rtol=1e-6
    )
    assert showers.conditions.particle.tolist() == [-11] * 3


def test_a_primary_on_the_border_of_cells_tears_no_shower_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a cell from all centres, rounding alone would tell where each hit goes."""
    normal, half = np.array([0.0, 1, 0]), 5.1 / 2
    events, deposits = sampled(normal, normal, (half, -half), 4)
    monkeypatch.setattr(edm4hep, "EventFile", events)
    (showers,) = Edm4hep(Path("x.root"), CLIC, ["Ecal"]).chunks()
    assert showers.conditions.impact_xy is not None
    np.testing.assert_allclose(np.abs(showers.conditions.impact_xy), half, atol=1e-3)
    for found, impact, sent in zip(
        showers.deposits, showers.conditions.impact_xy, deposits, strict=True
    ):
        # On a border either cell is the one that the primary enters.
        shift = np.round((impact - (half, -half)) / 5.1).astype(int)
        np.testing.assert_allclose(found, np.roll(sent, shift, axis=(0, 1)), rtol=1e-5)


def test_energy_beyond_the_cells_and_of_other_faces_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caloforge: Caloforge
) -> None:
    normal = np.array([0.0, 1, 0])
    events, deposits = sampled(normal, normal, (0, 0), 1)
    aside = np.array([[500.0, FACE_MM + 30, 0], [0, -FACE_MM - 30, 0], [0, FACE_MM + 30, 0]])
    more = hits(np.array([8, 8, 25]), np.array([0.001, 0.002, 0.004]), aside)
    for name, lists in events.members["Ecal"].items():
        lists[1] = np.concatenate([lists[1], more[name]])
    monkeypatch.setattr(edm4hep, "EventFile", events)
    (tmp_path / "x.root").write_bytes(b"root")
    ran = caloforge("convert", tmp_path / "x.root", "--detector", "clic-ecal", "-o", tmp_path / "out.h5")
    assert ran.code == 0, ran.err
    total = float(deposits.sum()) + 7
    assert f"note: 7 MeV, {100 * 7 / total:.3g} % of the energy of all hits, lie outside" in " ".join(
        ran.err.split()
    )
    showers = cf.read(tmp_path / "out.h5")
    np.testing.assert_allclose(showers.deposits, deposits, rtol=1e-5)
    assert showers.provenance["energy_outside_fraction"] == pytest.approx(7 / total, rel=1e-5)
    assert showers.provenance["energy_outside_MeV"] == pytest.approx(7)


def test_without_a_field_layer_the_depth_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    normal = np.array([0.0, 1, 0])
    events, deposits = sampled(normal, normal, (1, -2), 2)
    events.texts.clear()
    monkeypatch.setattr(edm4hep, "EventFile", events)
    with pytest.raises(UsageError, match="--face: expected X,Y,Z, since cellID has no field layer"):
        Edm4hep(Path("x.root"), CLIC, ["Ecal"])
    file = Edm4hep(Path("x.root"), CLIC, ["Ecal"], (0, FACE_MM, 0))
    (showers,) = file.chunks()
    np.testing.assert_allclose(showers.deposits, deposits, rtol=1e-5)
    assert "layers by depth" in file.remarks[0]


def test_what_cannot_be_read_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    normal = np.array([0.0, 1, 0])

    def refuse(events: Events, match: str, kind: type[CaloforgeError], *names: str) -> None:
        monkeypatch.setattr(edm4hep, "EventFile", events)
        with pytest.raises(kind, match=match):
            list(Edm4hep(Path("x.root"), CLIC, names).chunks())

    events, _ = sampled(normal, normal, (0, 0), 3)
    refuse(events, "x.root: --collection Other: expected one of Ecal", UsageError, "Other")
    events.members["Hcal"] = events.members["Ecal"]
    refuse(events, "--collection: expected one or more of (Ecal, Hcal|Hcal, Ecal)", UsageError)
    del events.members["Hcal"]
    events.texts["Ecal__CellIDEncoding"] = ENCODING.replace("16:6", "16:60")
    refuse(events, "metadata Ecal__CellIDEncoding: expected bits 0 to 63", CaloforgeError)
    events, _ = sampled(normal, normal, (0, 0), 3)
    events.members["MCParticles"]["generatorStatus"][1][:] = 1
    refuse(
        events,
        r"MCParticles of event 1: expected one primary \(generatorStatus 1\), found 2",
        CaloforgeError,
    )
    events, _ = sampled(normal, normal, (0, 0), 3)
    events.members["Ecal"]["cellID"] = [np.zeros_like(cell) for cell in events.members["Ecal"]["cellID"]]
    refuse(
        events, "--face: expected X,Y,Z, since the hits of a layer do not lie on one plane", UsageError
    )
    events, _ = sampled(normal, normal, (0, 0), 3)
    for field, value in (("energy", -1.0), ("energy", np.nan), ("position.z", np.inf)):
        events.members["Ecal"][field][2][1] = value
        refuse(events, "Ecal of event 2: expected finite positions and energies >= 0", CaloforgeError)
        events, _ = sampled(normal, normal, (0, 0), 3)
    for field in ("momentum.y", "vertex.x", "mass"):
        events.members["MCParticles"][field][1][0] = 0 if field == "momentum.y" else np.nan
        refuse(events, "MCParticles of event 1: expected a primary with a finite place", CaloforgeError)
        events, _ = sampled(normal, normal, (0, 0), 3)
    events.members["MCParticles"]["momentum.y"][2][0] = -20
    refuse(events, "event 2: the primary does not fly into the calorimeter's face", CaloforgeError)


@pytest.mark.parametrize("content", [b"root", b"root" + bytes(5000), "tree"])
def test_root_files_of_something_else_are_one_line(
    tmp_path: Path, caloforge: Caloforge, content: bytes | str
) -> None:
    path = tmp_path / "x.root"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with uproot.recreate(path) as file:
            file.mktree("other", {"x": "f4"})
    ran = caloforge("convert", path, "--detector", "clic-ecal", "-o", tmp_path / "out.h5")
    ran.refused(1, "x.root: ", "cannot be read: not EDM4hep, or damaged")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.root"]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_event_is_read_or_refused(tmp_path: Path, caloforge: Caloforge, seed: int) -> None:
    """Bytes are changed at the head, at the tail, where the trees are described, and anywhere; or the file ends early."""
    rng, content = (
        np.random.default_rng(seed),
        bytearray(public_file("ild-photon.edm4hep.root").read_bytes()),
    )
    first = (0, 0, len(content) - 60_000, len(content))[seed % 4]
    if first == len(content):
        del content[int(rng.integers(first)) :]
    for place in rng.integers(first, (300, len(content), len(content), first)[seed % 4] + 1, seed % 7):
        if place < len(content):
            content[place] = rng.integers(256)
    path = tmp_path / "x.root"
    path.write_bytes(content)
    ran = caloforge(
        "convert",
        path,
        "--detector",
        "ild-ecal",
        "--collection",
        "ECalBarrelSiHitsOdd",
        "-o",
        tmp_path / "out.h5",
    )
    assert ran.code in (0, 1, 2), ran.err
    if ran.code:
        ran.refused(ran.code, "x.root: ")
        assert [entry.name for entry in tmp_path.iterdir()] == ["x.root"]


def test_the_public_event_of_ild_has_the_energy_and_the_hits_of_its_file(
    tmp_path: Path, caloforge: Caloforge
) -> None:
    path = public_file("ild-photon.edm4hep.root")
    names = ("ECalBarrelSiHitsEven", "ECalBarrelSiHitsOdd")
    chosen = [word for name in names for word in ("--collection", name)]
    refused = caloforge("convert", path, "--detector", "ild-ecal", "-o", tmp_path / "x.h5")
    refused.refused(
        2,
        "--collection: expected one or more of ECalBarrelScHitsOdd, ECalBarrelScHitsEven, ECalBarrelSiHitsOdd",
    )
    ran = caloforge(
        "convert", path, "--detector", "ild-ecal", *chosen, "-o", tmp_path / "out.h5", "--json"
    )
    assert ran.code == 0, ran.err
    showers, told = cf.read(tmp_path / "out.h5"), json.loads(ran.out)

    with uproot.open(path) as file:
        tree = file["events"]
        energy, cell, y = (
            np.concatenate([tree[f"{name}/{name}.{field}"].array(library="np")[0] for name in names])
            for field in ("energy", "cellID", "position.y")
        )
        momentum = [
            tree[f"MCParticles/MCParticles.momentum.{axis}"].array(library="np")[0][0] for axis in "xyz"
        ]
    total = float(energy.sum(dtype=np.float64)) * 1000
    assert float(showers.deposits.sum(dtype=np.float64)) + told["energy_outside_MeV"] == pytest.approx(
        total, rel=1e-6
    )
    assert 0 < told["energy_outside_fraction"] < 0.002
    # The stave around the photon holds all but some; its layers are planes in y.
    layer = (cell >> np.uint64(16)).astype(np.int64) & 63
    stave = y > 1800
    profile = np.bincount(layer[stave], energy[stave] * 1000.0, minlength=30)
    np.testing.assert_allclose(showers.deposits[0].sum(axis=(0, 1)), profile, rtol=0.02, atol=0.2)
    assert showers.incident_energy[0] == pytest.approx(1000 * math.hypot(*momentum), rel=1e-6)
    assert showers.incident_theta[0] == pytest.approx(math.pi / 2, abs=0.01)
    assert showers.conditions.particle.tolist() == [22]
    assert np.count_nonzero(showers.deposits) == pytest.approx(np.count_nonzero(stave), rel=0.01)
    # The core stands in the cell that the photon enters.
    assert np.unravel_index(showers.deposits[0].sum(axis=2).argmax(), (79, 79)) == (39, 39)

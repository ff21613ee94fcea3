from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from commands import Caloforge
from numpy.typing import NDArray
from shower_samples import (
    PHOTON_LAYERS,
    PION_LAYERS,
    binning_xml,
    random_showers,
    sparse,
    write_calochallenge,
    write_clic,
    write_clic_angle,
    write_datasets,
    write_lemurs,
)

import caloforge as cf
from caloforge.detector.grid import CARTESIAN, CYLINDRICAL
from caloforge.files.layouts.convert import How, convert, layout_of
from caloforge.foundations.errors import CaloforgeError, UsageError


def converted(
    tmp_path: Path, *inputs: Path, layout: str = "auto", binning: Path | None = None
) -> cf.Showers:
    convert(inputs, tmp_path / "out.h5", How(layout, binning))
    return cf.read(tmp_path / "out.h5")


def test_clic_is_read_in_gev_with_its_threshold(tmp_path: Path) -> None:
    ecal = np.zeros((2, 25, 25, 25), np.float32)
    ecal[0, 3, 7, 11] = 0.05  # GeV
    ecal[0, 3, 7, 12] = 0.99e-6  # below the threshold of 1e-6 GeV
    ecal[1, 0, 24, 1] = 1.01e-6
    target = np.array([[11, 100.0, 0, 0, 100], [11, 250.5, 0, 0, 250.5]])
    showers = converted(tmp_path, write_datasets(tmp_path / "in.h5", ECAL=ecal, target=target))

    assert showers.grid.shape == (25, 25, 25)
    assert showers.grid.axes == CARTESIAN
    assert showers.grid.cell_size == (5.1, 5.1)
    assert showers.grid.threshold_MeV == pytest.approx(1e-3)
    np.testing.assert_allclose(showers.incident_energy, [100e3, 250.5e3])
    np.testing.assert_allclose(showers.incident_theta, math.pi / 2, rtol=1e-6)
    assert showers.pdg_id is not None
    assert set(showers.pdg_id) == {11}
    expected = np.zeros_like(ecal)
    expected[0, 3, 7, 11] = 50.0  # MeV
    expected[1, 0, 24, 1] = 1.01e-3
    np.testing.assert_allclose(showers.deposits, expected, rtol=1e-6)


def test_clic_angle_is_stored_as_fifty_times_gev(tmp_path: Path) -> None:
    ecal = np.zeros((2, 51, 51, 25), np.float32)
    ecal[0, 50, 2, 24] = 50.0  # 1 GeV
    ecal[1, 1, 40, 0] = 5e-5  # 1 keV: no threshold here
    theta = np.radians([62, 118])
    path = write_datasets(
        tmp_path / "in.h5",
        ECAL=ecal,
        energy=np.array([2.5, 400.0]),
        theta=theta,
        mtheta=theta + 0.01,
        sum=ecal.sum(axis=(1, 2, 3)),
    )
    showers = converted(tmp_path, path)

    assert showers.grid.shape == (51, 51, 25)
    np.testing.assert_allclose(showers.incident_energy, [2.5e3, 400e3])
    np.testing.assert_allclose(showers.incident_theta, theta, rtol=1e-6)
    assert np.count_nonzero(showers.deposits) == 2
    assert showers.deposits[0, 50, 2, 24] == pytest.approx(1000.0)
    assert showers.deposits[1, 1, 40, 0] == pytest.approx(1e-3)


def test_lemurs_keeps_its_cylinder_and_its_polar_angle(tmp_path: Path) -> None:
    path = write_lemurs(tmp_path / "LEMURS_Par04SiW_gamma_100kEvents_1GeV1TeV_GPSflat_part1.h5")
    with h5py.File(path) as file:
        published = {name: values[:] for name, values in file.items()}
    showers = converted(tmp_path, path)

    assert showers.grid.name == "lemurs-Par04SiW"
    assert showers.grid.axes == CYLINDRICAL
    np.testing.assert_array_equal(showers.deposits, published["showers"])
    np.testing.assert_array_equal(showers.incident_energy, published["incident_energy"])
    np.testing.assert_array_equal(showers.incident_theta, published["incident_theta"])
    assert showers.pdg_id is not None
    assert set(showers.pdg_id) == {22}
    (remark,) = showers.provenance["remarks"]
    phi = published["incident_phi"]
    assert remark.startswith(
        f"incident_phi ({phi.min():.4g} to {phi.max():.4g} rad) around the barrel is dropped"
    )


@pytest.mark.parametrize(
    ("n_voxels", "shape", "last_edge"), [(6480, (9, 16, 45), 4.65), (40500, (18, 50, 45), 2.325)]
)
@pytest.mark.parametrize("with_xml", [False, True])
def test_calochallenge_runs_r_fastest_then_alpha_then_layer(
    tmp_path: Path, n_voxels: int, shape: tuple[int, int, int], last_edge: float, with_xml: bool
) -> None:
    n_r, n_alpha, n_layers = shape
    # A voxel's value says where it lies: 10000 layer + 100 alpha + r.
    flat = [10000 * z + 100 * a + r for z in range(n_layers) for a in range(n_alpha) for r in range(n_r)]
    path = write_datasets(
        tmp_path / "in.h5",
        showers=np.array([flat], np.float64),
        incident_energies=np.array([[1024.0]]),
    )
    binning = None
    if with_xml:
        edges = ",".join(f"{last_edge * i:g}" for i in range(n_r + 1))
        binning = tmp_path / "binning.xml"
        binning.write_text(binning_xml((11, "electron", [(i, edges, n_alpha) for i in range(n_layers)])))
    showers = converted(tmp_path, path, binning=binning)

    r, alpha, layer = np.indices(shape)
    np.testing.assert_array_equal(showers.deposits[0], 10000 * layer + 100 * alpha + r)
    assert showers.grid.shape == shape
    assert showers.grid.axes == CYLINDRICAL
    assert showers.grid.cell_size == pytest.approx((last_edge, 2 * math.pi / n_alpha))
    assert showers.grid.threshold_MeV == pytest.approx(0.01515, rel=1e-3)
    assert len(showers.grid.extra["r_edges_mm"]) == n_layers
    np.testing.assert_allclose(showers.grid.extra["r_edges_mm"][7], last_edge * np.arange(n_r + 1))
    assert showers.incident_energy[0] == 1024.0
    assert showers.incident_theta[0] == pytest.approx(math.pi / 2)
    known_by_size = any("known by" in remark for remark in showers.provenance["remarks"])
    assert known_by_size is not with_xml


def test_unequal_layers_lie_in_the_smallest_grid_that_holds_them(tmp_path: Path) -> None:
    bins = [(8, 1), (16, 10), (19, 10), (5, 1), (5, 1)]  # layers 0, 1, 2, 3, 12
    assert sum(n_r * n_alpha for n_r, n_alpha in bins) == 368
    binning = tmp_path / "binning.xml"
    binning.write_text(binning_xml((22, "photon", PHOTON_LAYERS), (211, "pion", PION_LAYERS)))
    flat = np.arange(1.0, 369.0)
    path = write_datasets(tmp_path / "in.h5", showers=flat[None], incident_energies=np.array([[256.0]]))
    showers = converted(tmp_path, path, binning=binning)

    assert showers.grid.name == "calochallenge-1-photon"
    assert showers.grid.shape == (19, 10, 5)
    assert showers.grid.threshold_MeV == 1
    assert showers.grid.cell_size is None
    assert showers.grid.extra["layer_ids"] == [0, 1, 2, 3, 12]
    assert showers.grid.extra["bins_per_layer"] == [list(pair) for pair in bins]
    assert showers.grid.extra["r_edges_mm"][4] == [0, 100, 200, 400, 1000, 2000]
    assert showers.pdg_id is not None
    assert showers.pdg_id[0] == 22
    first = 0
    for depth, (n_r, n_alpha) in enumerate(bins):
        layer = flat[first : first + n_r * n_alpha].reshape(n_alpha, n_r).T
        np.testing.assert_array_equal(showers.deposits[0, :n_r, :n_alpha, depth], layer)
        first += n_r * n_alpha
    assert showers.deposits.sum() == flat.sum()  # all other cells are zero
    assert any("582 of 950 cells stay 0" in remark for remark in showers.provenance["remarks"])


def test_the_particle_of_a_binning_is_the_one_with_as_many_voxels(tmp_path: Path) -> None:
    binning = tmp_path / "binning.xml"
    binning.write_text(binning_xml((22, "photon", PHOTON_LAYERS), (211, "pion", PION_LAYERS)))
    n_voxels = 8 + 10 * 10 + 2 * 10
    showers = converted(tmp_path, write_calochallenge(tmp_path / "in.h5", n_voxels), binning=binning)
    assert showers.grid.name == "calochallenge-pion"
    assert showers.pdg_id is not None
    assert set(showers.pdg_id) == {211}


BAD_BINNINGS = {
    "no particle fits": (binning_xml((22, "photon", PHOTON_LAYERS)), "has voxels for photon 368"),
    "several particles fit": (
        binning_xml((22, "photon", [(0, "0,1,2", 2)]), (211, "pion", [(0, "0,1,3", 2)])),
        "photon, pion all have 4 voxels",
    ),
    "falling edges": (binning_xml((11, "e", [(0, "0,2,1", 1)])), "line 3, field r_edges"),
    "infinite edge": (binning_xml((11, "e", [(0, "0,inf", 1)])), "line 3, field r_edges"),
    "no edges": (binning_xml((11, "e", [(0, "", 1)])), "line 3, field r_edges"),
    "no bins in alpha": (binning_xml((11, "e", [(0, "0,1", 0)])), "line 3, field n_bin_alpha"),
    "repeated layer": (binning_xml((11, "e", [(0, "0,1", 1)] * 2)), "line 4, field id"),
    "particle without pid": ("<Bins><Bin/></Bins>", "line 1, field pid"),
    "no layer": ("<Bins/>", "found none"),
    "a single layer that is not read out": (binning_xml((11, "e", [(0, "0", 1)])), "found none"),
    "not XML": ("r_edges: 0,1\n", "line 1: syntax error"),
    "open element": ("<Bins>\n<Bin pid='1'>\n", "line 3"),
    "empty": ("", "no element found"),
    "external entity": (
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Bins>&e;</Bins>',
        "without a DOCTYPE",
    ),
    "entity bomb": (
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><Bins>&b;</Bins>',
        "without a DOCTYPE",
    ),
    "huge": ("<Bins>" + " " * (1 << 20) + "</Bins>", "at most 1 MiB"),
    "huge layer": (binning_xml((11, "e", [(0, "0,1,2,3,4", 1), (1, "0,1", 10**9)])), "has voxels"),
}


@pytest.mark.parametrize("case", BAD_BINNINGS)
def test_a_bad_binning_is_told_in_one_line(tmp_path: Path, caloforge: Caloforge, case: str) -> None:
    text, words = BAD_BINNINGS[case]
    (tmp_path / "binning.xml").write_text(text)
    data = write_calochallenge(tmp_path / "in.h5", 4)
    ran = caloforge("convert", data, "-o", tmp_path / "out.h5", "--binning", tmp_path / "binning.xml")
    ran.refused(2, "binning.xml", words)
    assert not (tmp_path / "out.h5").exists()


def test_a_binning_whose_grid_is_absurd_is_refused(tmp_path: Path) -> None:
    edges = ",".join(map(str, range(5001)))
    binning = tmp_path / "binning.xml"
    binning.write_text(binning_xml((11, "e", [(0, edges, 1), (1, "0,1", 5000)])))
    data = write_calochallenge(tmp_path / "in.h5", 10_000, 1)
    with pytest.raises(CaloforgeError, match=r"binning\.xml: .*field shape: .*at most"):
        convert([data], tmp_path / "out.h5", How(binning=binning))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_a_binning_cannot_hide_its_entities_in_another_encoding(tmp_path: Path, encoding: str) -> None:
    binning = tmp_path / "binning.xml"
    binning.write_bytes('<!DOCTYPE x [<!ENTITY a "b">]><Bins>&a;</Bins>'.encode(encoding))
    with pytest.raises(UsageError, match=r"binning\.xml"):
        convert([write_calochallenge(tmp_path / "in.h5", 4)], tmp_path / "out.h5", How(binning=binning))


def test_layouts_are_known_by_names_and_shapes(tmp_path: Path) -> None:
    assert layout_of(write_clic(tmp_path / "a.h5")) == "clic"
    assert layout_of(write_clic_angle(tmp_path / "b.h5", 1)) == "clic-angle"
    assert layout_of(write_lemurs(tmp_path / "c.h5")) == "lemurs"
    assert layout_of(write_calochallenge(tmp_path / "d.h5", 368)) == "calochallenge"
    assert layout_of(write_datasets(tmp_path / "e.h5", images=np.zeros(3))) is None


def test_shapes_decide_where_the_names_fit_two_layouts(tmp_path: Path) -> None:
    both = {"energy": np.full(2, 10.0), "theta": np.full(2, 1.5), "target": np.full((2, 5), 10.0)}
    large = write_datasets(tmp_path / "large.h5", ECAL=np.zeros((2, 51, 51, 25), "f4"), **both)
    assert layout_of(large) == "clic-angle"
    other = write_datasets(tmp_path / "other.h5", ECAL=np.zeros((2, 5, 5, 5), "f4"), **both)
    with pytest.raises(UsageError, match=r"fields of clic and clic-angle: choose one with --layout"):
        convert([other], tmp_path / "out.h5")


def test_several_files_become_one_in_order(tmp_path: Path, caloforge: Caloforge) -> None:
    paths = [write_clic(tmp_path / f"EleEscan_1_{i}.h5", n, seed=i) for i, n in enumerate((3, 1, 4))]
    ran = caloforge("convert", *paths, "-o", tmp_path / "out.h5", "--json")
    assert ran.code == 0
    result = json.loads(ran.out)
    assert result["showers"] == 8
    assert "note: cells below 0.001 MeV are set to 0\n" in ran.err
    together = cf.read(tmp_path / "out.h5")
    parts = []
    for i, path in enumerate(paths):
        convert([path], tmp_path / f"part{i}.h5")
        parts.append(cf.read(tmp_path / f"part{i}.h5"))
    np.testing.assert_array_equal(together.deposits, np.concatenate([p.deposits for p in parts]))
    np.testing.assert_array_equal(
        together.incident_energy, np.concatenate([p.incident_energy for p in parts])
    )
    sources = together.provenance["sources"]
    assert [(s["file"], s["showers"]) for s in sources] == [
        ("EleEscan_1_0.h5", 3),
        ("EleEscan_1_1.h5", 1),
        ("EleEscan_1_2.h5", 4),
    ]
    assert together.provenance["layout"] == "clic"
    assert together.provenance["version"] == cf.__version__


def test_a_file_on_another_grid_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    paths = [write_clic(tmp_path / "a.h5"), write_lemurs(tmp_path / "b.h5")]
    with pytest.raises(UsageError, match=r"b\.h5: expected clic .* found lemurs"):
        convert(paths, tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_streaming_gives_the_same_as_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lemurs(tmp_path / "in.h5", 23)
    whole = converted(tmp_path, path)
    monkeypatch.setattr("caloforge.files.hdf5.READ_BYTES", 3 * 4 * 9 * 16 * 45)
    reports: list[tuple[int, int]] = []
    convert([path], tmp_path / "out.h5", report=lambda done, total, **_: reports.append((done, total)))
    pieces = cf.read(tmp_path / "out.h5")
    np.testing.assert_array_equal(whole.deposits, pieces.deposits)
    np.testing.assert_array_equal(whole.incident_theta, pieces.incident_theta)
    assert reports[-1] == (23, 23)


def test_a_published_file_is_told_how_to_be_converted(tmp_path: Path, caloforge: Caloforge) -> None:
    path = write_lemurs(tmp_path / "in.h5")
    caloforge("inspect", path).refused(1, "lemurs", f"caloforge convert {path} -o showers.h5")


def corrupt_clic(path: Path, **fields: NDArray[Any] | None) -> Path:
    write_clic(path)
    with h5py.File(path, "r+") as file:
        for name, values in fields.items():
            del file[name]
            if values is not None:
                file[name] = values
    return path


ECAL = sparse((5, 25, 25, 25), 0.1)
TARGET = np.full((5, 5), 50.0)


def changed(values: NDArray[Any], where: tuple[int, ...], value: float) -> NDArray[Any]:
    values = values.copy()
    values[where] = value
    return values


BAD_CLIC: dict[str, tuple[dict[str, Any], str]] = {
    "negative deposit": (
        {"ECAL": changed(ECAL, (3, 1, 2, 4), -1e-9)},
        "ECAL: .* shower 3, cell .1, 2, 4.",
    ),
    "NaN deposit": ({"ECAL": changed(ECAL, (0, 0, 0, 0), np.nan)}, "field ECAL: .* holds nan"),
    "infinite deposit": ({"ECAL": changed(ECAL, (4, 0, 0, 0), np.inf)}, "field ECAL: .* holds inf"),
    "beyond float32": (
        {"ECAL": changed(ECAL.astype("f8"), (4, 0, 0, 0), 1e39)},
        "field ECAL: .* holds inf",
    ),
    "zero energy": ({"target": changed(TARGET, (2, 1), 0)}, "field target: .* shower 2 has 0.0"),
    "negative energy": (
        {"target": changed(TARGET, (2, 1), -1)},
        "field target: .* shower 2 has -1000.0",
    ),
    "NaN energy": ({"target": changed(TARGET, (0, 1), np.nan)}, "field target: .* shower 0 has nan"),
    "energy in eV": (
        {"target": changed(TARGET, (0, 1), 5e10)},
        "field target: expected 0 < E <= 1e9 MeV",
    ),
    "energy too small for float32": (
        {"target": changed(TARGET, (0, 1), 1e-60)},
        "expected 0 < E <= 1e9 MeV",
    ),
    "one column": ({"target": TARGET[:, :1]}, "field target: expected 2 columns or more, found 1"),
    "flat target": ({"target": TARGET[:, 0]}, "field target: expected shape .N, N., found .5,."),
    "fewer energies": ({"target": TARGET[:4]}, "field target: expected 5 rows as in ECAL, .* found 4"),
    "transposed": ({"ECAL": np.zeros((25, 25, 25, 5), "f4")}, "field ECAL: .* found .25, 25, 25, 5."),
    "text": ({"ECAL": np.full((5, 25, 25, 25), b"x")}, "field ECAL: expected numbers, found type .S1"),
    "no image": ({"ECAL": None}, "unknown layout: .*'target'.* clic: ECAL, target"),
}


@pytest.mark.parametrize("case", BAD_CLIC)
def test_a_bad_published_file_is_told_in_one_line(
    tmp_path: Path, caloforge: Caloforge, case: str
) -> None:
    fields, pattern = BAD_CLIC[case]
    path = corrupt_clic(tmp_path / "in.h5", **fields)
    ran = caloforge("convert", path, "-o", tmp_path / "out.h5")
    ran.refused(1, "in.h5: ")
    assert re.search(pattern, ran.err)
    assert [p.name for p in tmp_path.iterdir()] == ["in.h5"]


@pytest.mark.parametrize("theta", [0.0, math.pi, -1.5, 90.0, np.nan])
def test_an_impossible_angle_is_refused(tmp_path: Path, theta: float) -> None:
    path = write_lemurs(tmp_path / "in.h5")
    with h5py.File(path, "r+") as file:
        file["incident_theta"][1] = theta
    with pytest.raises(CaloforgeError, match=r"in\.h5: field incident_theta: .* shower 1 has"):
        convert([path], tmp_path / "out.h5")


def test_an_input_is_never_replaced(tmp_path: Path, caloforge: Caloforge) -> None:
    path = write_clic(tmp_path / "in.h5")
    before = path.read_bytes()
    (tmp_path / "link.h5").symlink_to(path)
    for output in (path, tmp_path / "." / "in.h5", tmp_path / "link.h5"):
        caloforge("convert", path, "-o", output).refused(2, "would replace an input")
    assert path.read_bytes() == before


def test_a_shower_file_needs_no_conversion(tmp_path: Path, caloforge: Caloforge) -> None:
    cf.write(tmp_path / "in.h5", random_showers(2))
    ran = caloforge("convert", tmp_path / "in.h5", "-o", tmp_path / "out.h5")
    ran.refused(2, "in.h5", "is a shower file already")


def test_an_empty_published_file_gives_an_empty_shower_file(tmp_path: Path) -> None:
    path = write_datasets(
        tmp_path / "in.h5", ECAL=np.zeros((0, 25, 25, 25), "f4"), target=np.zeros((0, 5))
    )
    assert len(converted(tmp_path, path)) == 0


@pytest.mark.parametrize("column", [(4,), (4, 1)])
def test_a_column_may_have_one_axis_or_two(tmp_path: Path, column: tuple[int, ...]) -> None:
    """Copies of the public files hold energies as (N,) or (N, 1), as whoever wrote them liked."""
    energy = np.array([1e3, 2e3, 3e3, 4e3], np.float32)
    theta = np.full(4, 1.5, np.float32)
    layouts = {
        "calochallenge": {"showers": sparse((4, 6480), 1), "incident_energies": energy.reshape(column)},
        "lemurs": {
            "showers": sparse((4, 9, 16, 45), 1),
            "incident_energy": energy.reshape(column),
            "incident_theta": theta.reshape(column),
            "incident_phi": theta.reshape(column),
        },
    }
    for layout, datasets in layouts.items():
        path = write_datasets(tmp_path / f"{layout}.h5", **datasets)
        assert layout_of(path) == layout
        np.testing.assert_array_equal(converted(tmp_path, path).incident_energy, energy)


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1.0, ""),
        (1e-3, "most likely incident energies in GeV"),
        (1e-6, "most likely deposits in eV, or incident energies in TeV"),
    ],
)
def test_energies_in_another_unit_are_warned_about(
    tmp_path: Path, caloforge: Caloforge, factor: float, words: str
) -> None:
    showers = np.zeros((2, 9, 16, 45), np.float32)
    showers[:, 4, 3, 2] = 120.0
    angle = np.full(2, 1.5, np.float32)
    energies = np.full(2, 1000 * factor, np.float32)
    datasets = {"showers": showers, "incident_energy": energies}
    write_datasets(tmp_path / "in.h5", **datasets, incident_theta=angle, incident_phi=angle)
    ran = caloforge("convert", tmp_path / "in.h5", "-o", tmp_path / "out.h5")
    looked = caloforge("inspect", tmp_path / "out.h5", "--json")
    assert ran.code == looked.code == 0
    expected = f"sampling fraction {0.12 / factor:.4g}, above 1: " if words else ""
    for told in (ran.err, looked.err, "".join(json.loads(looked.out)["warnings"])):
        assert expected + words in told
        assert ("sampling fraction" in told) == bool(words)
    remarks = json.loads(looked.out)["provenance"]["remarks"]
    assert any("sampling fraction" in remark for remark in remarks) == bool(words)

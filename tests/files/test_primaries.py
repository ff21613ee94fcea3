"""Lists of primaries and histograms of energies, as people bring them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import uproot
from commands import Caloforge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shower_samples import random_showers

import caloforge as cf
from caloforge.files.primaries import energy_spectrum, read_primaries
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.units import GEV, Spectrum
from caloforge.showers import PARTICLES

angle = st.floats(-360, 360, width=32)
row = st.fixed_dictionaries(
    {
        "energy_GeV": st.floats(2**-10, 2**10, width=32),
        "theta_deg": st.floats(1, 179, width=32),
        "phi_deg": angle,
        "x_mm": st.floats(-100, 100, width=32),
        "y_mm": st.floats(-100, 100, width=32),
        "particle": st.sampled_from([*PARTICLES]),
    }
)
optional = st.sets(st.sampled_from([("theta_deg",), ("phi_deg",), ("x_mm", "y_mm"), ("particle",)]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(row, min_size=1, max_size=5), optional, st.randoms())
def test_a_list_is_read_from_csv_and_root_alike(
    tmp_path: Path, rows: list[dict[str, float | str]], left_out: set[tuple[str, ...]], random: object
) -> None:
    names = [name for name in rows[0] if not any(name in group for group in left_out)]
    random.shuffle(names)  # type: ignore[attr-defined]
    lines = [",".join(names), *(",".join(str(line[name]) for name in names) for line in rows)]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n\n")
    columns = {
        name: np.array(
            [PARTICLES[str(line[name])] if name == "particle" else line[name] for line in rows]
        )
        for name in names
    }
    with uproot.recreate(tmp_path / "list.root") as file:
        if random.random() < 0.5:  # type: ignore[attr-defined]
            file["primaries"] = columns
        else:
            file.mktree("primaries", {name: values.dtype for name, values in columns.items()}).extend(
                columns
            )
    for path in ("list.csv", "list.root", "list.root:primaries"):
        found, grid = read_primaries(tmp_path / path)
        assert grid is None
        np.testing.assert_allclose(
            found.incident_energy, [float(line["energy_GeV"]) * GEV for line in rows], rtol=1e-6
        )
        if "theta_deg" in names:
            np.testing.assert_allclose(np.degrees(found.incident_theta), columns["theta_deg"], rtol=1e-6)
        else:
            np.testing.assert_array_equal(found.incident_theta, np.float32(math.pi / 2))
        assert (found.incident_phi is None) == ("phi_deg" not in names)
        assert (found.impact_xy is None) == ("x_mm" not in names)
        assert (found.pdg_id is None) == ("particle" not in names)
        if "particle" in names:
            np.testing.assert_array_equal(found.particle, columns["particle"])
        if found.impact_xy is not None:
            np.testing.assert_allclose(
                found.impact_xy, np.stack([columns["x_mm"], columns["y_mm"]], 1), rtol=1e-6
            )


def test_a_shower_file_gives_all_its_conditions(tmp_path: Path) -> None:
    showers = random_showers(4)
    cf.write(tmp_path / "x.h5", showers)
    found, grid = read_primaries(tmp_path / "x.h5")
    assert grid == showers.grid
    for name, values in showers.conditions.columns().items():
        np.testing.assert_array_equal(found.columns()[name], values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("energy_GeV\n", "expected at least one shower"),
        ("", "line 1: expected columns of energy_GeV, theta_deg, phi_deg, x_mm, y_mm, particle, got ''"),
        ("energy,theta\n1,2", "line 1: expected columns of energy_GeV.* got 'energy'"),
        ("energy_GeV,energy_GeV\n1,2", "line 1: expected columns of energy_GeV.* got 'energy_GeV'"),
        ("theta_deg\n90", "column energy_GeV is missing"),
        ("energy_GeV,x_mm\n1,2", "expected both x_mm and y_mm, or neither"),
        ("energy_GeV,theta_deg\n1,90\n2", "line 3: expected 2 values, got 1"),
        ("energy_GeV\n1\nten", "line 3, energy_GeV: expected a number, got 'ten'"),
        ("energy_GeV\n1\nnan", "field incident_energy: expected 0 < E <= 1e9 MeV, shower 1 has nan"),
        ("energy_GeV,theta_deg\n1,190", "field incident_theta: expected 0 < theta < pi rad, shower 0"),
        ("energy_GeV,phi_deg\n1,400", "field incident_phi: expected -2 pi <= phi <= 2 pi rad, shower 0"),
        (
            "energy_GeV,particle\n1,photon",
            "line 2, particle: expected a PDG id or one of e-, .* got 'photon'",
        ),
        ("energy_GeV,particle\n1,99999999999", "particle: expected PDG ids of 32 bits"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(CaloforgeError, match=rf"list\.csv.*{words}"):
        read_primaries(tmp_path / "list.csv")


def test_what_is_no_tree_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.root"
    with uproot.recreate(path) as file:
        file["a"] = {"energy_GeV": np.ones(3)}
        file["b"] = {"energy_GeV": np.ones(3)}
        file["h"] = np.histogram([1.0, 2.0], bins=4)
    with pytest.raises(UsageError, match=r"two\.root:NAME, one of a, b"):
        read_primaries(path)
    assert len(read_primaries(Path(f"{path}:b"))[0]) == 3
    for name in ("c", "h"):
        with pytest.raises(CaloforgeError, match=rf"two\.root: tree {name} is not there"):
            read_primaries(Path(f"{path}:{name}"))
    with pytest.raises(CaloforgeError, match=r"two\.root: histogram a is not there"):
        energy_spectrum(f"{path}:a", "--energy")
    with pytest.raises(
        UsageError, match=r"--energy: expected .*two\.root:NAME, the name of a histogram"
    ):
        energy_spectrum(str(path), "--energy")
    (tmp_path / "bad.root").write_bytes(b"root" + bytes(100))
    with pytest.raises(CaloforgeError, match=r"bad\.root: tree is not there"):
        read_primaries(tmp_path / "bad.root")
    with pytest.raises(UsageError, match=r"none\.root: no such file"):
        read_primaries(tmp_path / "none.root")


bins = st.lists(
    st.tuples(st.floats(0.5, 100), st.floats(0.01, 10), st.integers(0, 9)), min_size=1, max_size=6
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(bins.filter(lambda rows: any(weight for _, _, weight in rows)))
def test_energies_are_drawn_as_a_histogram_says(
    tmp_path: Path, rows: list[tuple[float, float, int]]
) -> None:
    lines = [f"{low!r},{low + width!r},{weight}" for low, width, weight in rows]
    (tmp_path / "bins.csv").write_text("\n".join(["low_GeV,high_GeV,weight", *lines]))
    spectrum = energy_spectrum(str(tmp_path / "bins.csv"), "--energy")
    energy = spectrum.quantile((np.arange(9000) + 0.5) / 9000) / GEV
    total = sum(weight for _, _, weight in rows)
    # The distribution's own cumulative function at each bin's ends, by hand.
    for edge in [low for low, _, _ in rows] + [low + width for low, width, _ in rows]:
        below = sum(w * min(max((edge - low) / width, 0), 1) for low, width, w in rows) / total
        # Of bins that overlap the quantiles are not in order, but their share is.
        assert np.mean(energy <= edge) == pytest.approx(below, abs=1e-3)
    assert spectrum.low / GEV <= energy.min()
    assert energy.max() <= spectrum.high / GEV


def test_a_histogram_of_root_is_read(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "h.root") as file:
        file["spectra/e"] = np.array([1.0, 0.0, 3.0]), np.array([1.0, 2.0, 3.0, 5.0])
    found = energy_spectrum(f"{tmp_path / 'h.root'}:spectra/e", "--energy")
    assert found == Spectrum("histogram", (1000, 2000, 3000, 5000), (1, 3))
    assert found.to_json() == {
        "kind": "histogram",
        "values": [1000, 2000, 3000, 5000],
        "weights": [1, 3],
    }
    assert energy_spectrum("10:50", "--energy") == Spectrum.parse("10:50", unit=GEV)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("low_GeV,high_GeV\n1,2", "column weight is missing"),
        ("low_GeV,high_GeV,weight\n2,1,1", "histogram: expected bins with 0 < low < high"),
        ("low_GeV,high_GeV,weight\n0,1,1", "histogram: expected bins with 0 < low < high"),
        ("low_GeV,high_GeV,weight\n1,2,0", "histogram: expected bins with 0 < low < high"),
        ("low_GeV,high_GeV,weight\n1,2,-1", "histogram: expected bins with 0 < low < high"),
        ("low_GeV,high_GeV,weight\n1,2,nan", "histogram: expected bins with 0 < low < high"),
    ],
)
def test_what_is_no_histogram_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bins.csv").write_text(text)
    with pytest.raises(CaloforgeError, match=rf"bins\.csv: {words}"):
        energy_spectrum(str(tmp_path / "bins.csv"), "--energy")


def test_generate_takes_a_list_over_and_over(tmp_path: Path, caloforge: Caloforge) -> None:
    (tmp_path / "list.csv").write_text("energy_GeV,particle\n20,e-\n30,11\n")
    ran = caloforge(
        "generate", "clic-ecal", "--like", tmp_path / "list.csv", "--events", 5, "-o", tmp_path / "x.h5"
    )
    assert ran.code == 0, ran.err
    np.testing.assert_array_equal(cf.read(tmp_path / "x.h5").incident_energy, [2e4, 3e4, 2e4, 3e4, 2e4])

"""The computed tables against physics known from elsewhere."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from geant4_runs import Sample
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from caloforge.foundations.errors import UsageError
from caloforge.geant4.em_tables import (
    EMLOW,
    FINE_STRUCTURE,
    KAPPA,
    LOG_T,
    SandiaIntervals,
    bremsstrahlung,
    coulomb_correction,
    create_cache,
    has_tables,
    write_tables,
)

PER_GRAM = 0.602214e-3
"""Atoms per gram times cm2 per mbarn, for A = 1."""

LEAD = SandiaIntervals(
    z=82,
    k_shell_MeV=0.0880,
    lower_MeV=np.array([0.001, 0.0152, 0.088, 0.5]),
    coefficients=np.array(
        [
            [4.3, 0.4, 0.02, 0.0],
            [-2.8, 1.4, 0.27, -1.4e-3],
            [2.6, 1.6, 2.2, -0.06],
            [1.5, 3.1, 1.6, 0.012],
        ]
    ),
)


@pytest.fixture(scope="session")
def emlow(shared_folder: Path, sample: Sample) -> Path:
    """Tables as a run of each sampling detector left them: tungsten, silicon, lead, carbon, hydrogen."""
    for detector in ("clic-ecal", "pb-scintillator"):
        sample(detector, "log:1:5", 3)
    (found,) = (shared_folder / "cache").glob(f"*/*/{EMLOW}")
    return found


def read_bremsstrahlung(path: Path) -> tuple[NDArray[np.float64], ...]:
    numbers = np.array(path.read_text().split(), float)
    nx, ny = int(numbers[1]), int(numbers[2])
    kappa, log_t, table = np.split(numbers[3:], [nx, nx + ny])
    return kappa, log_t, table.reshape(ny, nx)


@pytest.mark.geant4
@pytest.mark.parametrize(
    ("z", "a", "radiation_length"), [(74, 183.84, 6.76), (14, 28.085, 21.82), (82, 207.2, 6.37)]
)
def test_tables_give_the_radiation_length_of_the_pdg(
    emlow: Path, z: int, a: float, radiation_length: float
) -> None:
    # Energy lost to photons per g/cm2 and energy is 1/X0 once beta is 1; the file reaches 10 GeV.
    kappa, log_t, table = read_bremsstrahlung(emlow / f"brem_SB/br{z}")
    above_1_GeV = log_t > math.log(1e3) - 1e-6
    assert above_1_GeV.sum() > 5
    lost_share_mbarn = z**2 * np.trapezoid(table[above_1_GeV], kappa, axis=1)
    np.testing.assert_allclose(1 / (PER_GRAM / a * lost_share_mbarn), radiation_length, rtol=0.03)


@pytest.mark.parametrize(("z", "a"), [(14, 28.085), (74, 183.84), (82, 207.2)])
def test_soft_photons_follow_full_screening(z: int, a: float) -> None:
    # Tsai's closed form for k -> 0: k dsigma/dk = (4/3 (L - f + L'/Z) + (1 + 1/Z)/9) 4 alpha r^2 Z^2.
    soft = bremsstrahlung(z, np.array([math.log(1e4)]), np.array([1e-12]))[0, 0]
    elastic, inelastic = math.log(184.15 * z ** (-1 / 3)), math.log(1194 * z ** (-2 / 3))
    closed = 4 / 3 * (elastic - coulomb_correction(z) + inelastic / z) + (1 + 1 / z) / 9
    assert soft == pytest.approx(4 * FINE_STRUCTURE * 2.8179403**2 * 10 * closed, rel=0.005)


@pytest.mark.parametrize("z", [1, 14, 74, 82, 92])
def test_coulomb_correction_is_its_series(z: int) -> None:
    a2 = (z * FINE_STRUCTURE) ** 2
    series = a2 * sum(1 / (n * (n**2 + a2)) for n in range(1, 20000))
    assert coulomb_correction(z) == pytest.approx(series, rel=2e-3)


@given(z=st.integers(1, 92))
def test_spectra_are_positive_and_fall_with_the_photon_below_10_MeV(z: int) -> None:
    table = bremsstrahlung(z, LOG_T, KAPPA)
    assert table.shape == (57, 32)
    assert np.isfinite(table).all()
    assert (table > 0).all()
    assert (np.diff(table[:32], axis=1) <= 1e-12).all()


@pytest.mark.geant4
@pytest.mark.parametrize(
    ("z", "a", "energy_MeV", "cm2_per_g"),
    # Total attenuation less scattering, from NIST's tables.
    [
        (14, 28.085, 0.010, 33.0),
        (14, 28.085, 0.030, 1.16),
        (82, 207.2, 0.1, 5.1),
        (82, 207.2, 0.15, 1.75),
    ],
)
def test_photoelectric_tables_give_the_attenuation_of_nist(
    emlow: Path, z: int, a: float, energy_MeV: float, cm2_per_g: float
) -> None:
    folder = emlow / "epics2017/phot"
    threshold, binding, *fit = np.array((folder / f"pe-low-{z}.dat").read_text().split()[2:], float)
    table = np.array((folder / f"pe-cs-{z}.dat").read_text().split()[4:], float).reshape(-1, 2)
    assert table[0, 0] == binding
    if energy_MeV >= threshold:
        barn = sum(c / energy_MeV**k for k, c in enumerate(fit, start=1))
    else:
        barn = np.interp(energy_MeV, *table.T) / energy_MeV**3
    assert barn * 0.602214 / a == pytest.approx(cm2_per_g, rel=0.06)


@pytest.mark.geant4
def test_table_and_fit_agree_where_they_meet(tmp_path: Path) -> None:
    emlow = make_folders(tmp_path)
    write_tables(emlow, LEAD)
    threshold, _, *fit = np.array(
        (emlow / "epics2017/phot/pe-low-82.dat").read_text().split()[2:], float
    )
    table = np.array((emlow / "epics2017/phot/pe-cs-82.dat").read_text().split()[4:], float)
    energies, values = table.reshape(-1, 2).T
    assert energies[0] <= threshold < energies[-1]
    parametrised = sum(c / threshold**k for k, c in enumerate(fit, start=1))
    assert np.interp(threshold, energies, values) / threshold**3 == pytest.approx(parametrised, rel=1e-6)


@given(st.floats(0.001, 10))
def test_cross_section_takes_the_interval_that_the_energy_lies_in(energy: float) -> None:
    row = max(i for i, low in enumerate(LEAD.lower_MeV) if low <= energy * (1 + 1e-9))
    expected = sum(c / energy**k for k, c in enumerate(LEAD.coefficients[row], start=1))
    assert LEAD.cross_section(np.array([energy]))[0] == pytest.approx(expected)


def test_the_k_edge_is_the_interval_nearest_to_the_binding_energy() -> None:
    assert LEAD.k_edge_MeV == 0.088


def make_folders(root: Path) -> Path:
    for name in ("brem_SB", "epics2017/phot", "epics2017/rayl"):
        (root / EMLOW / name).mkdir(parents=True)
    return root / EMLOW


@pytest.mark.geant4
def test_an_element_counts_only_with_all_its_files(tmp_path: Path) -> None:
    emlow = make_folders(tmp_path)
    write_tables(emlow, LEAD)
    assert has_tables(emlow, 82)
    assert not has_tables(emlow, 74)
    (emlow / "epics2017/phot/pe-cs-82.dat").unlink()
    assert not has_tables(emlow, 82)


def test_the_cache_is_where_the_user_says_and_new_for_each_formula(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path / "here"))
    versions = itertools.count()
    monkeypatch.setattr("caloforge.geant4.em_tables.version", lambda _: f"0.1.{next(versions)}")
    first, second = create_cache(), create_cache()
    assert first != second
    assert first.is_relative_to(tmp_path / "here")
    assert (first / "G4ENSDFSTATE3.0/ENSDFSTATE.dat").read_bytes() == b""


def test_a_cache_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="CALOFORGE_CACHE"):
        create_cache()

"""The little that Geant4 must read to make electromagnetic showers, computed instead of downloaded.

Two processes of the standard electromagnetic physics need tables of each element:

- bremsstrahlung below 1 GeV: Tsai's screened Born cross-section (Rev. Mod. Phys. 46 (1974) 815,
  eqs. 3.38-3.41 and 3.82-3.83) stands in for the Seltzer-Berger tables. Below about 2 MeV the Born
  approximation is 10-30 % off; electrons lose little energy to radiation there.
- photoelectric effect: the fits of Biggs and Lighthill (SAND87-0070), which Geant4 has compiled in.
  All shells are taken as one, bound as the K shell: below the K edge Geant4 then uses the
  cross-section at the edge. Such photons are absorbed within a fraction of a mm either way.

Coherent (Rayleigh) scattering, which some physics lists have, gets a cross-section of nothing: it turns
photons of some keV a little and deposits nothing.

Nothing here needs Geant4: :mod:`caloforge.geant4.application` hands over the coefficients.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caloforge.foundations.cache import cache_folder
from caloforge.foundations.durable import write_text
from caloforge.foundations.errors import UsageError

__all__ = [
    "KAPPA",
    "LOG_T",
    "SandiaIntervals",
    "bremsstrahlung",
    "create_cache",
    "has_tables",
    "write_tables",
]

EMLOW, ENSDFSTATE, EMPTY = "G4EMLOW8.8", "G4ENSDFSTATE3.0", "empty"
"""Folders of the cache; the first two bear the names that Geant4 11.4 expects."""

PHOTOELECTRIC, RAYLEIGH = "epics2017/phot", "epics2017/rayl"

NO_RAYLEIGH = "1e-6 1e5 2\n2\n1e-6 1e-30\n1e5 1e-30\n"
"""Ends in MeV and number of points, then energies with a cross-section that stands for none."""

ELECTRON_MASS_MEV = 0.51099895
FINE_STRUCTURE = 1 / 137.035999
ALPHA_R2_MBARN = FINE_STRUCTURE * 2.8179403**2 * 10
"""Fine-structure constant times the classical electron radius squared."""

# The photon's share of the kinetic energy; dense at the tip, where the spectrum falls steeply.
KAPPA = np.concatenate(
    (
        [1e-12, 0.02, *np.linspace(0.05, 0.15, 5), *np.linspace(0.2, 0.9, 15)],
        [0.925, 0.95, 0.97, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999, 1.0],
    )
)
LOG_T = np.linspace(math.log(1e-3), math.log(1e4), 57)
"""ln(T/MeV) of the tables: 1 keV to 10 GeV."""

FLOOR = 1e-3
"""Smallest entry: with the Coulomb correction the Born result drops below zero at the tip."""

PHOTO_POINTS = 200


def coulomb_correction(z: int) -> float:
    """Return f(Z), the correction to the Born approximation (Tsai eq. 3.3)."""
    a2 = (FINE_STRUCTURE * z) ** 2
    return a2 * (1 / (1 + a2) + 0.20206 - 0.0369 * a2 + 0.0083 * a2**2 - 0.002 * a2**3)


def bremsstrahlung(
    z: int, log_t_T: NDArray[np.float64], kappa_K: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute (beta^2/Z^2) k dsigma/dk in mbarn, shape (T, K).

    ``log_t_T`` is ln(kinetic energy/MeV), ``kappa_K`` the photon's share of the kinetic energy.
    Thomas-Fermi screening, which Tsai recommends for Z >= 5 and is 2 % off for hydrogen.
    """
    kinetic = np.exp(log_t_T)[:, None]
    photon = kappa_K[None, :] * kinetic
    total = kinetic + ELECTRON_MASS_MEV
    y = photon / total
    screening = 100 * ELECTRON_MASS_MEV * photon / (total * (total - photon))
    gamma, epsilon = screening / z ** (1 / 3), screening / z ** (2 / 3)
    # phi: scattering off the screened nucleus; psi: off the atom's electrons.
    phi_1 = 20.863 - 2 * np.log1p((0.55846 * gamma) ** 2)
    phi_1 -= 4 * (1 - 0.6 * np.exp(-0.9 * gamma) - 0.4 * np.exp(-1.5 * gamma))
    phi_difference = 2 / 3 / (1 + 6.5 * gamma + 6 * gamma**2)
    psi_1 = 28.340 - 2 * np.log1p((3.621 * epsilon) ** 2)
    psi_1 -= 4 * (1 - 0.7 * np.exp(-8 * epsilon) - 0.3 * np.exp(-29.2 * epsilon))
    psi_difference = 2 / 3 / (1 + 40 * epsilon + 400 * epsilon**2)
    nucleus = phi_1 - 4 / 3 * math.log(z) - 4 * coulomb_correction(z)
    electrons = (psi_1 - 8 / 3 * math.log(z)) / z
    born = (4 / 3 - 4 / 3 * y + y**2) * (nucleus + electrons)
    born += 2 / 3 * (1 - y) * (phi_difference + psi_difference / z)
    beta2 = kinetic * (kinetic + 2 * ELECTRON_MASS_MEV) / total**2
    return np.asarray(np.maximum(ALPHA_R2_MBARN * beta2 * born, FLOOR))


@dataclass(frozen=True, eq=False)
class SandiaIntervals:
    """Photoelectric cross-section of one element, piecewise: sum over k of c_k / E^k.

    ``lower_MeV`` (I,) are the intervals' lower ends, ``coefficients`` (I, 4) their c_1..c_4 in
    barn MeV^k, ``k_shell_MeV`` the binding energy of the K shell.
    """

    z: int
    k_shell_MeV: float
    lower_MeV: NDArray[np.float64]
    coefficients: NDArray[np.float64]

    @property
    def k_edge_MeV(self) -> float:
        """The interval's end that is the K edge: binding energies of other sources differ by 1-2 %."""
        nearest = np.argmin(np.abs(np.log(self.lower_MeV / self.k_shell_MeV)))
        return float(self.lower_MeV[nearest])

    def cross_section(self, energy_MeV: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate the fits, in barn."""
        interval = np.searchsorted(self.lower_MeV, energy_MeV * (1 + 1e-9), side="right") - 1
        powers = energy_MeV[:, None] ** -np.arange(1.0, 5.0)
        return np.asarray((self.coefficients[np.maximum(interval, 0)] * powers).sum(axis=1))


def create_cache() -> Path:
    """Make the folder that plays Geant4's data sets; :func:`write_tables` fills it.

    Its name depends on this module's text and on the package that the coefficients come from, so
    tables of another formula are never taken up. Raises UsageError where it cannot be written.
    """
    digest = hashlib.sha256(Path(__file__).read_bytes() + version("geant4-pybind").encode())
    root = cache_folder("geant4-tables") / digest.hexdigest()[:12]
    try:
        folders = (
            *(f"{EMLOW}/{name}" for name in ("brem_SB", PHOTOELECTRIC, RAYLEIGH)),
            ENSDFSTATE,
            EMPTY,
        )
        for folder in folders:
            (root / folder).mkdir(parents=True, exist_ok=True)
        # Excited nuclei do not occur in electromagnetic showers, but Geant4 opens the file.
        (root / ENSDFSTATE / "ENSDFSTATE.dat").touch()
    except OSError as error:
        raise UsageError(
            f"{root}: cannot hold the computed physics tables ({error.strerror}); "
            "CALOFORGE_CACHE names another place"
        ) from None
    return root


def has_tables(emlow: Path, z: int) -> bool:
    """Tell whether a G4EMLOW folder, official or computed, holds what element ``z`` needs."""
    photoelectric = (f"{PHOTOELECTRIC}/pe-{kind}-{z}.dat" for kind in ("high", "low", "cs"))
    names = (f"brem_SB/br{z}", *photoelectric, f"{RAYLEIGH}/re-cs-{z}.dat")
    return all((emlow / name).is_file() for name in names)


def write_tables(emlow: Path, intervals: SandiaIntervals) -> None:
    """Write one element's tables, each whole or not at all; several processes may do so at once."""
    z = intervals.z
    write_text(emlow / f"brem_SB/br{z}", _bremsstrahlung_text(z))
    for kind, text in _photoelectric_texts(intervals).items():
        write_text(emlow / f"{PHOTOELECTRIC}/pe-{kind}-{z}.dat", text)
    write_text(emlow / f"{RAYLEIGH}/re-cs-{z}.dat", NO_RAYLEIGH)


def _bremsstrahlung_text(z: int) -> str:
    rows = [KAPPA, LOG_T, *bremsstrahlung(z, LOG_T, KAPPA)]
    lines = [f"0 {len(KAPPA)} {len(LOG_T)}", *(" ".join(f"{v:.9g}" for v in row) for row in rows)]
    return "\n".join(lines) + "\n"


def _photoelectric_texts(intervals: SandiaIntervals) -> dict[str, str]:
    """Write fits for the two highest intervals; below them a table that starts at the K edge."""
    binding = intervals.k_edge_MeV
    texts = {}
    for kind, row in (("high", -1), ("low", -2)):
        fit = " ".join(f"{c:.9e}" for c in (*intervals.coefficients[row], 0.0, 0.0))
        texts[kind] = f"1 1 {intervals.lower_MeV[row]:.9e}\n{binding:.9e} {fit}\n"
    # One per cent beyond the fit's start, so that no gap is left between table and fit.
    energies = np.geomspace(binding, intervals.lower_MeV[-2] * 1.01, PHOTO_POINTS)
    values = energies**3 * intervals.cross_section(energies)
    lines = [f"{energies[0]:.9e} {energies[-1]:.9e} {PHOTO_POINTS}", f"{PHOTO_POINTS}"]
    lines += [f"{energy:.9e} {value:.9e}" for energy, value in zip(energies, values, strict=True)]
    texts["cs"] = "\n".join(lines) + "\n"
    return texts

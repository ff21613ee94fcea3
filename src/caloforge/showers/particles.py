"""Primaries by name and number."""

from __future__ import annotations

from collections.abc import Sequence

from caloforge.foundations.errors import UsageError

__all__ = ["PARTICLES", "REST_MEV", "name_of", "parse_particles"]

PARTICLES = {
    "e-": 11, "e+": -11, "gamma": 22, "mu-": 13, "mu+": -13, "pi0": 111, "pi+": 211, "pi-": -211,
    "kaon+": 321, "kaon-": -321, "kaon0L": 130, "proton": 2212, "anti_proton": -2212, "neutron": 2112,
}  # fmt: skip
"""PDG ids by Geant4's names."""


REST_MEV = {
    -11: 1.022, 13: 105.7, -13: 105.7, 111: 135.0, 211: 139.6, -211: 139.6, 321: 493.7, -321: 493.7,
    130: 497.6, -2212: 1876.5,
}  # fmt: skip
"""What a particle may leave beyond its kinetic energy when it decays or annihilates, MeV, by PDG id."""


def name_of(pdg_id: int) -> str:
    """Return a particle's name, or its PDG id in words."""
    if pdg_id == 0:
        return "several particles"
    return next((name for name, pdg in PARTICLES.items() if pdg == pdg_id), f"PDG id {pdg_id}")


def parse_particles(
    text: str, what: str = "--particle", known: Sequence[str] = (*PARTICLES,)
) -> tuple[int, ...]:
    """Read names such as ``e-`` or ``e-,gamma`` and return their PDG ids.

    Raises UsageError naming ``what`` for a name that is not among the ``known``, or stands there twice.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known or names.count(name) > 1:
            expected = f"{what}: expected {', '.join(known)}, or several of them with commas between"
            raise UsageError(f"{expected}, got {name[:60]!r}" + (" twice" if name in known else ""))
    return tuple(PARTICLES[name] for name in names)

"""A model in the form in which another program calls it: which inputs in which units, and which output.

A form maps inputs to one output as the exported file does. :meth:`Form.ask` says what the other program passes for given
conditions, :meth:`Form.read` what it makes of the output: so an export is checked as it will be used.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from caloforge.export.counter_noise import normal_rows, normals_of_latents
from caloforge.foundations.units import GEV
from caloforge.models.base import ShowerModel
from caloforge.showers import ELECTRON, Domain
from caloforge.showers.batch import Given
from caloforge.showers.domain import Range

__all__ = [
    "GOLDEN",
    "GOLDEN_KEY",
    "LATENTS",
    "Asked",
    "Directed",
    "FewLatents",
    "Form",
    "NamedInputs",
    "NoiseAndConditions",
]

GOLDEN, GOLDEN_KEY = 5, 20261129
"""So many showers are made to check an export by, of conditions across the model's range and noise of this key."""

LATENTS = 10
"""Par04's VAE has so many, and DDML's class for it can pass no other number."""

MAX_ENERGY_MEV = 1_024_000.0
"""Par04 divides the incident energy by this."""


CONDITIONS = {
    "incident_theta": "theta_rad",
    "incident_phi": "phi_rad",
    "impact_xy": "impact_mm",
    "pdg_id": "pdg_id",
}
"""Named inputs by the names of conditions in a shower file, in the order of :class:`Given`."""


class Asked(NamedTuple):
    """What a program passes, each (N, ...), and the noise (N, noise_size) that the model then works with."""

    inputs: tuple[Tensor, ...]
    noise_NL: Tensor


class Form(nn.Module, ABC):
    """A model as another program calls it, for batches of any size or one shower at a time.

    Attributes
    ----------
    inputs, output : their names
    free_batch : whether the first axis of the inputs may have any size
    """

    inputs: tuple[str, ...]
    output: str
    free_batch = False

    def __init__(self, model: ShowerModel, domain: Domain) -> None:
        super().__init__()
        self.model, self.domain = model, domain

    @abstractmethod
    def forward(self, *inputs: Tensor) -> Tensor:
        """Compute the output."""

    @abstractmethod
    def golden(self) -> Given:
        """Return the conditions of showers to check by: as many as the form can pass, across the model's range."""

    @abstractmethod
    def ask(self, given: Given) -> Asked:
        """Return what the other program passes for these conditions, with golden noise."""

    def told(self, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Return by name what inputs hold beside noise: rows that stand after the normal numbers, if there are any."""
        return {name: rows for name, rows in zip(self.inputs, inputs, strict=True) if name != "noise"}

    @abstractmethod
    def read(self, output: Tensor, given: Given) -> Tensor:
        """Return the deposits (N, nx, ny, nz) in MeV that the other program makes of the output."""

    @property
    def particle(self) -> int:
        """The primary where the other program passes none: an electron if the model knows it."""
        known = self.domain.pdg_ids
        return ELECTRON if ELECTRON in known else known[0]

    def _given(
        self, energy_B: Tensor, theta_B: Tensor | None = None, phi_B: Tensor | None = None
    ) -> Given:
        """Return conditions of this primary in the middle of the central cell, by default at normal incidence."""
        pdg_B = torch.full_like(energy_B, self.particle, dtype=torch.int64)
        return Given.of(energy_B, theta_B, phi_B, pdg_B=pdg_B)

    def _energies(self) -> Tensor:
        low, high = self.domain.energy_MeV
        return low * (high / low) ** torch.linspace(0, 1, GOLDEN)


class NamedInputs(Form):
    """Noise and each condition that the model follows, in MeV, rad and mm; deposits in MeV."""

    output = "deposits_MeV"
    free_batch = True

    def __init__(self, model: ShowerModel, domain: Domain) -> None:
        super().__init__(model, domain)
        self.followed = [place for place, name in enumerate(CONDITIONS, 1) if name in model.follows]
        followed = [CONDITIONS[name] for name in CONDITIONS if name in model.follows]
        self.inputs = ("noise", "energy_MeV", *followed)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return deposits (B, nx, ny, nz)."""
        noise_BL, energy_B, *others = inputs
        given = list(Given.of(energy_B))
        for place, values in zip(self.followed, others, strict=True):
            given[place] = values
        return self.model.read_out(Given(*given), noise_BL)

    def golden(self) -> Given:
        """Return all conditions across the model's range."""
        known = self.domain
        impact_mm = known.impact_mm or ((0.0, 0.0), (0.0, 0.0))
        pdg = [known.pdg_ids[shower % len(known.pdg_ids)] for shower in range(GOLDEN)]
        return Given(
            self._energies(),
            _across(known.theta_rad),
            _across(known.phi_rad),
            torch.stack([*map(_across, impact_mm)], dim=1),
            torch.tensor(pdg),
        )

    def ask(self, given: Given) -> Asked:
        """Return the noise, the energies, and what else is followed."""
        noise_NL = normal_rows(self.model.noise_size, len(given.energy_B), GOLDEN_KEY)
        others = (given[place] for place in self.followed)
        return Asked((noise_NL, given.energy_B, *others), noise_NL)

    def read(self, output: Tensor, given: Given) -> Tensor:  # noqa: ARG002
        """Return the output as it is."""
        return output


class NoiseAndConditions(Form):
    """What Geant4's example Par04 passes to a model of type VAE, and reads from it.

    One input: standard normal numbers, the incident energy in units of 1,024,000 MeV, the angle in units of 90 degrees, and two numbers
    for the detector. One output: the deposits as fractions of the incident energy, rings slowest, layers fastest. The
    cells lie around the particle's direction, so the model is asked at normal incidence, whatever the angle is.
    """

    inputs = ("noise_and_conditions",)
    output = "deposits_over_incident_energy"
    normal = 1.0
    """The angle that is passed for a particle at normal incidence."""

    @property
    def latents(self) -> int:
        """How many normal numbers stand before the conditions."""
        return self.model.noise_size

    def noise(self, latents_BK: Tensor) -> Tensor:
        """Return the model's noise, of these numbers."""
        return latents_BK

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return fractions (B, cells)."""
        (input_BI,) = inputs
        energy_B = input_BI[:, self.latents] * MAX_ENERGY_MEV
        noise_BL = self.noise(input_BI[:, : self.latents])
        deposits_BXYZ = self.model.read_out(self._given(energy_B), noise_BL)
        return self.turned(deposits_BXYZ / energy_B[:, None, None, None]).flatten(1)

    def turned(self, deposits_BXYZ: Tensor) -> Tensor:
        """Begin the sectors where the other program does: Par04 at -pi."""
        return deposits_BXYZ

    def golden(self) -> Given:
        """Return energies across the model's range, at normal incidence."""
        return self._given(self._energies())

    def ask(self, given: Given) -> Asked:
        """Return rows as the other program makes them of particles at normal incidence."""
        latents_NK = normal_rows(self.latents, len(given.energy_B), GOLDEN_KEY)
        return Asked((self.rows(latents_NK, given),), self.noise(latents_NK))

    def rows(self, latents_NK: Tensor, given: Given) -> Tensor:
        """Put latents and conditions side by side."""
        energy_N = given.energy_B / MAX_ENERGY_MEV
        rest = (energy_N * 0 + value for value in (self.normal, 0.0, 1.0))
        return torch.cat([latents_NK, torch.stack([energy_N, *rest], dim=1)], dim=1)

    def told(self, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Return the conditions, without the noise before them."""
        return {name: rows[:, self.latents :] for name, rows in super().told(inputs).items()}

    def read(self, output: Tensor, given: Given) -> Tensor:
        """Return each fraction times its incident energy."""
        return output.view(-1, *self.model.grid.shape) * given.energy_B[:, None, None, None]


class FewLatents(NoiseAndConditions):
    """The same for DDML: ten numbers, of which the graph makes the model's noise, angles from the normal, sectors from 0 on."""

    latents = LATENTS
    normal = 0.0

    @property
    def sectors_before_zero(self) -> int:
        """How many sectors of the model's grid lie before the azimuth 0: half of an even number."""
        return self.model.grid.shape[1] // 2

    def noise(self, latents_BK: Tensor) -> Tensor:
        """Return as many numbers as the model needs."""
        return normals_of_latents(latents_BK, self.model.noise_size)

    def turned(self, deposits_BXYZ: Tensor) -> Tensor:
        """Begin the sectors at 0."""
        return torch.roll(deposits_BXYZ, -self.sectors_before_zero, dims=2)

    def read(self, output: Tensor, given: Given) -> Tensor:
        """Return deposits with the sectors from -pi on."""
        return torch.roll(super().read(output, given), self.sectors_before_zero, dims=2)


class Directed(Form):
    """What DDML passes to L2LFlows, and reads from it.

    One input: the energy in GeV, and the direction in a frame whose z goes into the calorimeter. DDML turns this frame by pi around z
    on the way in and on the way out. One output: deposits (1, layers, x, y) in GeV. Noise is drawn inside, by torch.
    """

    inputs = ("energy_GeV_and_direction",)
    output = "deposits_GeV"

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return deposits of one shower."""
        (input_14,) = inputs
        noise_1L = torch.randn(1, self.model.noise_size)
        theta_1, phi_1 = self._angles(*input_14[:, 1:].unbind(1))
        deposits_1XYZ = self.model.read_out(self._given(input_14[:, 0] * GEV, theta_1, phi_1), noise_1L)
        return (deposits_1XYZ / GEV).permute(0, 3, 1, 2).contiguous()

    def _angles(self, x_B: Tensor, y_B: Tensor, z_B: Tensor) -> tuple[Tensor | None, Tensor | None]:
        follows = self.model.follows
        if "incident_phi" in follows:
            return torch.atan2(z_B, torch.hypot(x_B, y_B)), torch.atan2(y_B, x_B)
        if "incident_theta" in follows:  # in one plane: what leaves it is not followed
            phi = sum(self.domain.phi_rad) / 2
            return torch.atan2(z_B, math.cos(phi) * x_B + math.sin(phi) * y_B), None
        return None, None

    def golden(self) -> Given:
        """Return energies and directions across the model's range, in the middle of the central cell."""
        known, follows = self.domain, self.model.follows
        return self._given(
            self._energies(),
            _across(known.theta_rad) if "incident_theta" in follows else None,
            _across(known.phi_rad) if "incident_theta" in follows else None,
        )

    def ask(self, given: Given) -> Asked:
        """Return energies and directions; shower ``i``'s noise is torch's first after the seed ``i``."""
        theta_N, phi_N = given.theta_B, given.phi_B
        direction = (theta_N.cos() * phi_N.cos(), theta_N.cos() * phi_N.sin(), theta_N.sin())
        rows_N4 = torch.stack([given.energy_B / GEV, *direction], dim=1)
        noise = [seeded(shower, self.model.noise_size) for shower in range(len(rows_N4))]
        return Asked((rows_N4,), torch.cat(noise))

    def read(self, output: Tensor, given: Given) -> Tensor:  # noqa: ARG002
        """Return deposits in MeV, layers last."""
        return output.permute(0, 2, 3, 1) * GEV


def seeded(seed: int, count: int) -> Tensor:
    """Draw (1, count) normal numbers as a program does that has just seeded torch."""
    return torch.randn(1, count, generator=torch.Generator().manual_seed(seed))


def _across(known: Range) -> Tensor:
    """Return values from the low to the high end of a range (GOLDEN,)."""
    return torch.linspace(*known, GOLDEN)

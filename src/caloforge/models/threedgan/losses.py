"""The published adversarial losses of 3DGAN."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss

from caloforge.foundations.units import GEV
from caloforge.models.base import ShowerModel
from caloforge.models.objective import LossStep
from caloforge.models.settings import Count, Fraction, Strict, Weight
from caloforge.models.shared.modes import evaluating, frozen
from caloforge.showers.batch import Batch, Given

__all__ = ["AdversarialObjective", "AngleLosses", "Losses", "SamplingFraction"]


class Losses(Strict):
    """Weights of the adversarial losses for a fixed angle, and how the networks take turns."""

    real_or_fake: Weight = Field(6.0, description="weight of the binary cross-entropy")
    energy: Weight = Field(0.2, description="weight of the primary energy's MAPE")
    deposit: Weight = Field(0.1, description="weight of the total deposit's MAPE")
    label_flips: Fraction = Field(0.05, description="fraction of the critic's labels that are flipped")
    generator_steps: Count = Field(2, description="generator steps per batch of real showers")


class AngleLosses(Losses):
    """The same for a variable angle."""

    real_or_fake: Weight = Field(3.0, description="weight of the binary cross-entropy")
    energy: Weight = Field(0.1, description="weight of the primary energy's MAPE")
    angle: Weight = Field(25.0, description="weight of the measured angle's MAE (rad)")


@dataclass(frozen=True)
class SamplingFraction:
    """Mean deposited over incident energy: ``constant + slope * ln(E / 100 GeV)``.

    The fraction falls slightly with energy, as more of a shower leaks out behind.
    """

    constant: float
    slope: float

    @classmethod
    def fit(cls, deposit_N: NDArray[Any], energy_N: NDArray[Any]) -> SamplingFraction:
        """Fit by least squares to total deposits and incident energies (both (N,), MeV)."""
        log_N = np.log(energy_N.astype(np.float64) / (100 * GEV))
        fraction_N = deposit_N / energy_N.astype(np.float64)
        degree = 1 if np.ptp(log_N) > 1e-3 else 0
        constant, *slope = np.polynomial.polynomial.polyfit(log_N, fraction_N, degree)
        return cls(float(constant), float(slope[0]) if slope else 0.0)

    def deposit(self, energy_B: Tensor) -> Tensor:
        """Expect this total deposit (B,) in MeV from incident energies (B,) in MeV."""
        return energy_B * (self.constant + self.slope * torch.log(energy_B / (100 * GEV)))


def mape(prediction: Tensor, truth: Tensor) -> Tensor:
    """Return the mean absolute percentage error, 100 |truth - prediction| / |truth|."""
    return 100 * ((truth - prediction) / truth).abs().mean()


class AdversarialObjective:
    """The published losses of 3DGAN, for both of its forms.

    The critic learns on a batch of real showers, then on one of fakes (two steps); then the
    generator takes two steps with fresh noise. Each loss weighs real-or-fake (binary
    cross-entropy), the regressed primary energy and the total deposit (MAPE), and where the model
    listens to it the measured angle (MAE, rad). Energies of fakes are uniform over the range of the
    data; a model conditioned on the angle reuses the labels of the real batch instead.

    Source: svalleco/3Dgan, sara-nl/3Dgan (EcalEnergyTrain, AngleTrain).
    """

    def __init__(
        self,
        model: ShowerModel,
        critic: nn.Module,
        settings: Losses,
        sampling_fraction: SamplingFraction,
        energy_range_MeV: tuple[float, float],
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.weights = settings.model_dump(exclude={"label_flips", "generator_steps"})
        self.networks: Mapping[str, nn.Module] = {"generator": model, "critic": critic}
        self.model, self._critic = model, critic
        self._flips, self._generator_steps = settings.label_flips, settings.generator_steps
        self._sampling_fraction = sampling_fraction
        self._energy_range = energy_range_MeV
        self._precision = precision

    def optimizer(self, network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """Make Keras' RMSprop, which the published networks were trained with."""
        return torch.optim.RMSprop(network.parameters(), lr=learning_rate, alpha=0.9, eps=1e-7)

    def losses(self, batch: Batch) -> Iterator[LossStep]:
        """Yield the critic's losses on real and on fake showers, then the generator's."""
        model, critic = self.model, self._critic
        size = len(batch.given.energy_B)
        real_BXYZ = model.transform.forward(batch.deposits_BXYZ)
        model.train()
        critic.train()
        labels = self._flipped(torch.ones(size, device=real_BXYZ.device))
        yield self._loss_step("critic", "real", real_BXYZ, labels, batch.given)

        given = self._fresh_conditions(batch)
        with torch.no_grad(), evaluating(model):
            fake_BXYZ = self._generate(given)
        labels = self._flipped(torch.zeros_like(labels))
        yield self._loss_step("critic", "fake", fake_BXYZ, labels, given)

        for _ in range(self._generator_steps):
            given = self._fresh_conditions(batch)
            with frozen(critic):
                image_BXYZ = self._generate(given)
                labels = torch.ones(size, device=real_BXYZ.device)
                loss_step = self._loss_step("generator", "", image_BXYZ, labels, given)
            yield loss_step

    def _generate(self, given: Given) -> Tensor:
        energy_B = given.energy_B
        noise_BL = torch.randn(len(energy_B), self.model.noise_size, device=energy_B.device)
        with self._autocast(energy_B):
            image: Tensor = self.model(given, noise_BL)
        return image.float()

    def _loss_step(
        self, network: str, kind: str, image_BXYZ: Tensor, labels_B: Tensor, given: Given
    ) -> LossStep:
        energy_B = given.energy_B
        with self._autocast(energy_B):
            # Between energy and total deposit a critic of tilted showers gives the measured angle.
            logit_B, guessed_B, *angle_B, _ = self._critic(image_BXYZ)
        terms = {
            "real_or_fake": binary_cross_entropy_with_logits(logit_B.float(), labels_B),
            "energy": mape(guessed_B.float(), energy_B / (100 * GEV)),
        }
        if network == "generator":
            # These two have no parameters in the critic: its own loss does not need them.
            expected_B = self._sampling_fraction.deposit(energy_B)
            deposit_B = self.model.transform.inverse(image_BXYZ).sum((1, 2, 3))
            terms["deposit"] = mape(deposit_B, expected_B)
            if angle_B:
                terms["angle"] = l1_loss(angle_B[0].float(), given.theta_B)
        loss = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        prefix = f"{network}.{kind}." if kind else f"{network}."
        return LossStep(network, loss, {prefix + name: term.detach() for name, term in terms.items()})

    def _fresh_conditions(self, batch: Batch) -> Given:
        if self.model.follows:
            return batch.given
        low, high = self._energy_range
        energy_B = low + (high - low) * torch.rand_like(batch.given.energy_B)
        return batch.given._replace(energy_B=energy_B)

    def _flipped(self, labels_B: Tensor) -> Tensor:
        flip_B = torch.rand_like(labels_B) < self._flips
        return torch.where(flip_B, 1 - labels_B, labels_B)

    def _autocast(self, like: Tensor) -> Any:
        mixed = self._precision != torch.float32
        return torch.autocast(like.device.type, dtype=self._precision, enabled=mixed)

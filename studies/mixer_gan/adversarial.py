"""Adversarial training with a relativistic loss and penalties on the critic's slopes, of any differentiable model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from caloforge.models.base import ShowerModel
from caloforge.models.mixer.likelihood import cell_nats
from caloforge.models.mixer.model import Mixer
from caloforge.models.objective import LossStep
from caloforge.models.settings import Strict, Weight
from caloforge.models.shared.modes import frozen
from caloforge.showers.batch import Batch
from studies.mixer_gan.critic import ShowerCritic, View

__all__ = ["RelativisticLoss", "RelativisticObjective"]


class RelativisticLoss(Strict):
    """What weighs in the loss of R3GAN."""

    penalty: Weight = Field(0.1, description="half of it weighs the critic's squared slopes")
    likelihood: Weight = Field(0.0, description="weight of the cells' likelihood (nats)")


class RelativisticObjective:
    """R3GAN: the critic judges a fake by the real shower beside it, which has the same conditions.

    With ``d = D(real) - D(fake)`` the critic minimises ``softplus(-d)`` plus half the ``penalty`` times the mean
    squared slopes of D at real (R1) and at fake showers (R2); the generator minimises ``softplus(d)``. Slopes are
    those in what the critic sees: cells and observables. Where a model follows impact points, fakes have the
    impact points of the real showers, and the critic knows them.

    To the loss of a model that knows how likely showers are ``likelihood`` times the nats a cell may be added, to
    hold it where it began: an adversary says little about each of many thousand cells.

    Source: Y. Huang et al., The GAN is dead; long live the GAN! A modern baseline GAN, NeurIPS 2024 (arXiv 2501.05441).
    """

    def __init__(
        self, model: ShowerModel, critic: ShowerCritic, *, penalty: float, likelihood: float = 0.0
    ) -> None:
        self.networks: Mapping[str, nn.Module] = {"generator": model, "critic": critic}
        self.model, self._critic = model, critic
        self._penalty, self._likelihood = penalty, likelihood

    def optimizer(self, network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """Make an Adam without momentum, as the paper has it."""
        return torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(0.0, 0.99))

    def losses(self, batch: Batch) -> Iterator[LossStep]:
        """Yield the critic's loss, then the generator's."""
        critic = self._critic
        aims = "impact_xy" in self.model.follows
        impact_B2 = batch.given.impact_mm_B2 if aims else torch.zeros_like(batch.given.impact_mm_B2)
        given_BF = critic.conditions(batch.given.energy_B, impact_B2)
        real = critic.view(batch.deposits_BXYZ, batch.given.energy_B)
        with torch.no_grad():
            fake = self._fake(batch)
        real_B, real_slope = self._judge(real, given_BF)
        fake_B, fake_slope = self._judge(fake, given_BF)
        paired = softplus(fake_B - real_B).mean()
        terms = {"paired": paired, "r1": real_slope, "r2": fake_slope}
        loss = paired + 0.5 * self._penalty * (real_slope + fake_slope)
        yield LossStep("critic", loss, {f"critic.{name}": term.detach() for name, term in terms.items()})

        with frozen(critic):
            with torch.no_grad():
                real_B = critic(real, given_BF)
            loss = softplus(real_B - critic(self._fake(batch), given_BF)).mean()
            terms = {"paired": loss}
            if self._likelihood > 0:
                assert isinstance(self.model, Mixer)
                terms["nats"] = cell_nats(self.model, batch)
                loss = loss + self._likelihood * terms["nats"]
        yield LossStep(
            "generator", loss, {f"generator.{name}": term.detach() for name, term in terms.items()}
        )

    def _fake(self, batch: Batch) -> View:
        noise_BL = torch.randn(
            len(batch.given.energy_B), self.model.noise_size, device=batch.given.energy_B.device
        )
        image_BXYZ = self.model(batch.given, noise_BL)
        deposits_BXYZ = self.model.transform.inverse(image_BXYZ)
        return self._critic.view(deposits_BXYZ, batch.given.energy_B)

    def _judge(self, view: View, given_BF: Tensor) -> tuple[Tensor, Tensor]:
        """Judge showers; return the mean squared slope as well, zero where there is no penalty on it."""
        if self._penalty == 0:
            judged_B = self._critic(view, given_BF)
            return judged_B, torch.zeros_like(judged_B.mean())
        view = (view[0].detach().requires_grad_(), view[1].detach().requires_grad_())
        judged_B = self._critic(view, given_BF)
        slopes = torch.autograd.grad(judged_B.sum(), view, create_graph=True)
        squared_B = torch.stack([slope.square().flatten(1).sum(1) for slope in slopes]).sum(0)
        return judged_B, squared_B.mean()

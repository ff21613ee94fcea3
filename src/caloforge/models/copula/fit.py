"""Maximum likelihood for the factor copula: its marginals by gradient, its factors by online EM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from caloforge.models.copula.conditions import HIGH, monomial_names
from caloforge.models.copula.factors import Told, learn_factors
from caloforge.models.copula.marginals import cell_likelihood, standardise
from caloforge.models.copula.model import FactorCopula, depth, flat_nonzero
from caloforge.models.copula.moments import begin
from caloforge.models.objective import LossStep
from caloforge.models.shared.layer_shares import log_shares
from caloforge.showers.batch import Batch

__all__ = ["LikelihoodObjective"]

CONDITION_SPREAD, HIGH_SPREAD, SHAPE_SPREAD = 0.7, 0.25, 0.3
"""Standard deviations of the prior of coefficients: rarely hit cells would else believe in their few hits."""


class LikelihoodObjective:
    """Minimises minus the log likelihood of each cell and each layer sum given the conditions.

    The latents that the marginals give to a batch are then explained by the factors
    (:mod:`caloforge.models.copula.factors`).

    Source: marginals first, then the copula: H. Joe, J. Multivar. Anal. 94 (2005) 401.
    """

    def __init__(self, model: FactorCopula, showers: Batch, n_showers: int) -> None:
        """Begin with the moments of some ``showers`` out of ``n_showers``."""
        self.model, self._n_showers = model, n_showers
        self.networks: Mapping[str, nn.Module] = {"generator": model}
        names = monomial_names(tilted=model.tilted, particles=model.particles)
        self._spread_F = torch.tensor([HIGH_SPREAD if n in HIGH else CONDITION_SPREAD for n in names])
        begin(model, showers)

    def optimizer(self, network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """Make an Adam: the fields' coefficients have gradients of very different sizes."""
        return torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(0.9, 0.99))

    def losses(self, batch: Batch) -> Iterator[LossStep]:
        """Yield one loss: nats a shower."""
        model = self.model
        given = batch.given
        place, given_BJ = model.place(given, batch.deposits_BXYZ), model.of_shower(given)
        depth_loss, depth_B = self._depth(batch, given_BJ)
        monomials_BZF = model.conditions(given, place, depth_B)
        marginals = model.marginals(monomials_BZF)
        deposits_BC, seen_BC = batch.deposits_BXYZ.flatten(1), None
        if place.moves:
            cells_BC, inside_BC = model.frame.cells(place)
            empty_BC = torch.zeros_like(marginals.threshold_BC)
            # Added, since what lies outside of the window falls on its edge, as nothing.
            deposits_BC = empty_BC.scatter_add(1, cells_BC, deposits_BC * inside_BC)
            seen_BC = empty_BC.scatter_add(1, cells_BC, inside_BC.float())
        hits_H = flat_nonzero(deposits_BC > 0)
        scale_H = model.scale_OZ.flatten()[hits_H % deposits_BC.shape[1]]
        log_H, log_slope_H = model.energy_scale(torch.log(deposits_BC.view(-1)[hits_H]), scale_H)
        likelihood, latents_H = cell_likelihood(marginals, log_H, log_slope_H, seen_BC, hits_H)
        sum_loss, sums_BM = self._sums(batch, monomials_BZF[:, 0], given_BJ)
        near_B = torch.multinomial(model.correlations.at(given_BJ[:, 1]), 1)[:, 0]
        threshold_BC = marginals.threshold_BC.detach()
        told = Told(threshold_BC, seen_BC, hits_H, latents_H, sums_BM, near_B)
        factor_loss = learn_factors(model, told)
        sum_loss = sum_loss + depth_loss
        terms = {"generator.cells": -likelihood.detach(), "generator.layers": sum_loss.detach()}
        total = -likelihood + sum_loss + factor_loss
        yield LossStep("generator", total + self._prior() / self._n_showers, terms)

    def _prior(self) -> Tensor:
        """Return minus the log of a normal prior: conditions matter little, shapes are normal, unless showers say so."""
        model, end = self.model, 3 * self.model.n_monomials
        varying = [model.depth_laws[:2, 1:] / CONDITION_SPREAD]
        for field in (model.core, model.halo):
            by_monomial = field[..., :end].reshape(*field.shape[:2], 3, model.n_monomials)
            varying.append(by_monomial[..., 1:] / self._spread_F[1:])
        varying += [
            law[1:] / self._spread_F[1:, None] for law in (model.sum_location, model.sum_log_width)
        ]
        shapes = [model.sum_skew, model.sum_log_tail, model.depth_laws[2:]]
        shapes += [field[..., end:] for field in (model.core, model.halo)]
        nats = 0.5 * model.energy_scale.log_slope.square().sum()
        for spread, numbers in ((1.0, varying), (SHAPE_SPREAD, shapes)):
            nats = nats + sum((some**2).sum() for some in numbers) / (2 * spread**2)
        return nats

    def _depth(self, batch: Batch, given_BJ: Tensor) -> tuple[Tensor, Tensor]:
        """Return minus the log likelihood of the depths, nats a shower, and their latents (detached)."""
        density_B, latent_B = standardise(
            depth(batch.deposits_BXYZ), self.model.depth_marginal(given_BJ)
        )
        return -density_B.mean(), latent_B

    def _sums(self, batch: Batch, monomials_BF: Tensor, given_BJ: Tensor) -> tuple[Tensor, Tensor]:
        """Return minus the log likelihood of total and shares, and their latents (detached)."""
        values_BM = log_shares(batch.deposits_BXYZ, batch.given.energy_B)
        density_BM, latent_BM = standardise(values_BM, self.model.sum_marginals(monomials_BF, given_BJ))
        return -density_BM.sum(1).mean(), latent_BM

"""The one contract that every kind of generator keeps: showers from conditions."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from caloforge.detector import Grid
from caloforge.foundations.errors import UsageError
from caloforge.models.shared.noise import normal_rows
from caloforge.models.shared.transforms import Transform
from caloforge.showers import Conditions
from caloforge.showers.batch import Given

__all__ = ["Forward", "ShowerModel", "WholeForward"]

Forward = Callable[[Given, Tensor], Tensor]
"""What computes :meth:`ShowerModel.forward`: the model itself, or an engine that has it in another form."""


class WholeForward(ABC):
    """A forward pass that also draws the noise of a seed itself, and reads out: it makes showers as the model does."""

    @abstractmethod
    def __call__(self, given: Given, noise_BL: Tensor) -> Tensor:
        """Make images (B, nx, ny, nz) from noise."""

    @abstractmethod
    def showers(self, conditions: Conditions, seed: int, first: int) -> NDArray[np.float32]:
        """Make showers ``first``, ``first + 1``, ... of a seed: deposits (N, nx, ny, nz) in MeV."""


class ShowerModel(nn.Module, ABC):
    """A generator of showers on one grid, with its transformations inside.

    Outside of a model there are only MeV and rad: nobody else scales, thresholds or takes a power
    of a cell. A subclass sets the attributes below and writes :meth:`forward`.

    Attributes
    ----------
    grid : the read-out grid of the showers it makes
    threshold_MeV : deposits below it are not read out; samples hold zero there
    transform : from deposits (MeV) to the image that the networks see
    noise_size : random numbers a shower needs
    follows : the conditions beside the energy that change the shower, by their names in a shower file
    at_once : showers that are sampled together, so that what they need stays in a cache
    """

    grid: Grid
    threshold_MeV: float
    transform: Transform
    noise_size: int
    follows: frozenset[str] = frozenset()
    at_once: int = 1 << 30

    @abstractmethod
    def forward(self, given: Given, noise_BL: Tensor) -> Tensor:
        """Make images (B, nx, ny, nz) in network units.

        Sizes of the batch are taken as ``x.shape[0]``: exports follow these for any batch, and ``len(x)`` not.
        """

    def prepare(self) -> None:
        """Get ready to make many showers; the weights must not change afterwards."""

    def constants(self) -> dict[str, Tensor]:
        """Return what libcaloforge samples from, by name. Raises UsageError for a model that it does not know."""
        raise UsageError(f"libcaloforge makes showers of a copula alone, not of {type(self).__name__}")

    def double_precision(self) -> ShowerModel:
        """Return a model that computes with the same constants in double precision."""
        return copy.deepcopy(self).double()

    def noise(self, seed: int, first: int, count: int) -> Tensor:
        """Draw the standard normal noise (count, noise_size) of showers ``first``, ``first + 1``, ..."""
        return normal_rows(self.noise_size, first, count, seed, "noise")

    def read_out(self, given: Given, noise_BL: Tensor, forward: Forward | None = None) -> Tensor:
        """Make deposits (B, nx, ny, nz) in MeV; ``forward`` computes the images in place of the model."""
        deposits_BXYZ = self.transform.inverse((forward or self)(given, noise_BL).float())
        return nn.functional.threshold(deposits_BXYZ, self.threshold_MeV, 0.0, inplace=True)

    @torch.inference_mode()
    def sample(
        self, conditions: Conditions, seed: int, first: int = 0, forward: Forward | None = None
    ) -> NDArray[np.float32]:
        """Make showers: deposits (N, nx, ny, nz) in MeV.

        Shower ``i`` of this call is shower ``first + i`` of ``seed``, in whatever pieces they are
        made. ``forward`` computes the images in place of the model, which must be in evaluation mode.
        """
        if isinstance(forward, WholeForward):
            return forward.showers(conditions, seed, first)
        device = next(self.parameters()).device
        given = Given.tensors(conditions).each(lambda values: values.to(device))
        result: NDArray[np.float32] = np.empty((len(conditions), *self.grid.shape), np.float32)
        for start in range(0, len(conditions), self.at_once):
            part = slice(start, min(start + self.at_once, len(conditions)))
            noise_BL = self.noise(seed, first + start, part.stop - start).to(device)
            deposits_BXYZ = self.read_out(given.take(part), noise_BL, forward)
            torch.from_numpy(result[part]).copy_(deposits_BXYZ)
        return result

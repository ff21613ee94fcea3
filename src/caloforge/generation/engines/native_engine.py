"""libcaloforge as an engine: it reads a model's constants from a file, and makes showers of a seed without torch."""

from __future__ import annotations

import math
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caloforge.export.native import SUFFIX, native_bytes
from caloforge.export.native_library import NativeModel, NativeSampler, library_path, primaries
from caloforge.foundations.cache import cache_folder, is_ours
from caloforge.foundations.durable import atomic_path
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.generation.engines.onnx_file import fingerprint
from caloforge.models.base import ShowerModel, WholeForward
from caloforge.models.saved import ModelCard
from caloforge.showers import ELECTRON, MAX_INCIDENT_MEV, MIN_INCIDENT_MEV, Conditions
from caloforge.showers.batch import Given
from caloforge.showers.conditions import PHOTON

__all__ = ["NativeForward", "native_there"]


def native_there() -> bool:
    """Tell whether the library is there."""
    return library_path() is not None


class NativeForward(WholeForward):
    """A model's showers, for any number of callers, each in a thread of its own."""

    def __init__(self, model: ShowerModel) -> None:
        if not native_there():
            raise UsageError(
                "--engine native: libcaloforge is not there; docs/native.md says how to build it"
            )
        self._shape, self._model = model.grid.shape, _opened(model)
        self._own = threading.local()

    def __call__(self, given: Given, noise_BL: Tensor) -> Tensor:
        """Make images (B, nx, ny, nz) from noise."""
        image = np.empty((len(noise_BL), *self._shape), np.float32)
        self._sampler().of_noise(_primaries(given), noise_BL.numpy(), image)
        return torch.from_numpy(image)

    def showers(self, conditions: Conditions, seed: int, first: int) -> NDArray[np.float32]:
        """Make showers ``first``, ``first + 1``, ... of a seed: deposits (N, nx, ny, nz) in MeV."""
        image = np.empty((len(conditions), *self._shape), np.float32)
        self._sampler().of_seed(_primaries(Given.tensors(conditions)), seed, first, image)
        return image

    def _sampler(self) -> NativeSampler:
        if not hasattr(self._own, "sampler"):
            self._own.sampler = NativeSampler(self._model)
        sampler: NativeSampler = self._own.sampler
        return sampler


def _primaries(given: Given) -> NDArray[np.void]:
    """Return conditions; whether these are the model's was asked before, so that all but photons may be electrons."""
    energy_B, theta_B, phi_B, impact_B2, pdg_B = (values.numpy() for values in given)
    return primaries(energy_B, theta_B, phi_B, impact_B2, np.where(pdg_B == PHOTON, PHOTON, ELECTRON))


def _opened(model: ShowerModel) -> NativeModel:
    """Open the file of a model in the cache; one that is damaged is made again, once."""
    path = cache_folder("native") / f"{fingerprint(model, 'native')}{SUFFIX}"
    with suppress(CaloforgeError, FileNotFoundError):
        if is_ours(path.lstat()):
            return NativeModel(path)
    _write(path, model)
    return NativeModel(path)


def _write(path: Path, model: ShowerModel) -> None:
    """Write a file for conditions of all kinds, without golden showers."""
    card = ModelCard(
        "engine",
        model.grid,
        model.threshold_MeV,
        energy_MeV=(MIN_INCIDENT_MEV, MAX_INCIDENT_MEV),
        theta_rad=(0.0, math.pi),
        phi_rad=(-math.pi, math.pi),
        pdg_ids=(ELECTRON, PHOTON),
    )
    content = native_bytes(model, card, golden=False)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)

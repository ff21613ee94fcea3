"""The file that libcaloforge opens: constants laid out for sampling, conditions and their range, and golden showers.

It is a safetensors file whose tensors begin at multiples of 64 bytes, so that a program may work with them in mapped
memory. Texts say what it is; ``sha256`` is the checksum of the whole file with zeros in its own place.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from caloforge.detector.positions import cell_positions_mm
from caloforge.export.native_library import NativeModel, library_path
from caloforge.files.tensors import digest
from caloforge.foundations.durable import atomic_path, check_output_path
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.progress import Progress, silent
from caloforge.models.base import ShowerModel
from caloforge.models.saved import ModelCard, describe
from caloforge.showers import MAX_INCIDENT_MEV, MIN_INCIDENT_MEV, Domain
from caloforge.showers.batch import Given

__all__ = ["FORMAT", "GOLDEN", "SUFFIX", "export_native", "native_bytes", "read_texts"]

FORMAT, VERSION, SUFFIX = "caloforge-native", "1", ".caloforge"

GOLDEN, GOLDEN_SEED = 20, 20261129
"""So many showers, of conditions across the model's range, are those of a seed in double precision."""

ALIGNED = 64

TYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}


def export_native(
    model: ShowerModel,
    card: ModelCard,
    path: Path,
    *,
    command: str = "",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write a model's file and open it again; where libcaloforge is there, it makes the golden showers of it.

    Returns and raises as :func:`caloforge.export.targets.export_model` does.
    """
    if path.suffix != SUFFIX:
        raise UsageError(f"{path}: expected a name that ends in {SUFFIX}")
    check_output_path(path)
    progress(0, 2, stage="golden showers")
    content = native_bytes(model, card, command)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
        progress(1, 2, stage="comparing")
        try:
            _require_written(temporary, content)
            there = library_path() is not None
            checked = (
                NativeModel(temporary).check() if there else "read again; libcaloforge is not there"
            )
        except CaloforgeError as error:
            reason = str(error).removeprefix(f"{temporary}: ")
            raise CaloforgeError(f"{path}: not written: {reason}") from None
    progress(2, 2)
    return {
        "file": str(path),
        "beside": None,
        "target": "native",
        "inputs": ["energy_MeV", *sorted(model.follows)],
        "output": "hits: cell, energy_MeV",
        "bytes": len(content),
        "golden_showers": GOLDEN,
        "checked": checked,
    }


@torch.no_grad()
def native_bytes(
    model: ShowerModel, card: ModelCard, command: str = "", *, golden: bool = True
) -> bytes:
    """Return a model's file, with or without golden showers.

    Raises UsageError for a model that libcaloforge does not know, CaloforgeError for one with constants or golden showers
    that are not finite.
    """
    tensors = {**model.constants(), **_range(card), **_read_out(model)}
    if golden:
        tensors |= _golden(model, card.domain)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise CaloforgeError(f"{name}: the model's constants and showers must be finite")
    texts = {
        "format": FORMAT,
        "version": VERSION,
        "program": f"caloforge {version('caloforge')}",
        "command": command,
        "name": card.name,
        "detector": card.grid.name,
        "card": json.dumps(describe(model, card), allow_nan=False),
        "weights_sha256": digest(model.state_dict(), ""),
        "units": "MeV, mm, rad",
        "noise": "PCG64DXSM seeded with the first 8 bytes of blake2b of \"SEED/'noise'\", Box-Muller",
    }
    return _file(tensors, texts)


def _require_written(path: Path, content: bytes) -> None:
    """Open a file as others do, and raise CaloforgeError where it is not what was to be written."""
    wrong = "what was written cannot be read again"
    try:
        with safe_open(path, framework="pt") as file:
            read = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            texts = file.metadata()
    except (SafetensorError, OSError) as error:
        raise CaloforgeError(f"{wrong}: {error}") from None
    if _file(read, {**texts, "sha256": ""}) != content:
        raise CaloforgeError(wrong)


def read_texts(path: Path) -> Mapping[str, str]:
    """Return what a file says of itself. Raises CaloforgeError where it is none."""
    try:
        with safe_open(path, framework="pt") as file:
            texts = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CaloforgeError(f"{path}: not a whole safetensors file ({error})") from None
    if texts.get("format") != FORMAT:
        raise CaloforgeError(f"{path}: field format: expected {FORMAT!r}")
    return texts


def _file(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> bytes:
    """Lay out tensors, each where its numbers may begin, behind a header; those of whole vectors come first."""
    zeros = "0" * 64
    named = {key: text for key, text in sorted(texts.items()) if key != "sha256"}
    header: dict[str, Any] = {"__metadata__": {**named, "sha256": zeros}}
    parts, place = list[bytes](), 0

    def order(name: str) -> tuple[bool, int, str]:
        return tensors[name].nbytes % ALIGNED > 0, -tensors[name].itemsize, name

    for name in sorted(tensors, key=order):
        tensor = tensors[name]
        part = tensor.numpy().tobytes()
        header[name] = {
            "dtype": TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [place, place + len(part)],
        }
        parts.append(part)
        place += len(part)
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-(8 + len(text)) % ALIGNED)
    content = len(text).to_bytes(8, "little") + text + b"".join(parts)
    field = f'"sha256":"{zeros}"'.encode()
    assert content.count(field) == 1
    return content.replace(field, f'"sha256":"{hashlib.sha256(content).hexdigest()}"'.encode())


def _range(card: ModelCard) -> dict[str, Tensor]:
    """Return the conditions of the training."""
    told = asdict(card.domain)
    named = {name: torch.tensor(told[name]).double() for name in ("energy_MeV", "theta_rad", "phi_rad")}
    named["possible_energy_MeV"] = torch.tensor([MIN_INCIDENT_MEV, MAX_INCIDENT_MEV]).double()
    if card.impact_mm is not None:
        named["impact_mm"] = torch.tensor(card.impact_mm).double()
    return {
        **{f"range.{name}": values for name, values in named.items()},
        "range.pdg_ids": torch.tensor(card.pdg_ids).long(),
    }


def _read_out(model: ShowerModel) -> dict[str, Tensor]:
    """Return the grid, its threshold, and where cells lie, if that is known: x and y across, z in depth."""
    grid = model.grid
    told = {
        "shape": torch.tensor(grid.shape).long(),
        "cylindrical": torch.tensor([not grid.cartesian]).long(),
        "threshold_MeV": torch.tensor([model.threshold_MeV]),
    }
    try:
        x, y, z = cell_positions_mm(grid)
    except UsageError:
        return told
    across_2O = torch.from_numpy(np.stack([x[..., 0].reshape(-1), y[..., 0].reshape(-1)]))
    return told | {
        "positions.across": across_2O.float(),
        "positions.depth": torch.tensor(z[0, 0]).float(),
    }


def _golden(model: ShowerModel, domain: Domain) -> dict[str, Tensor]:
    """Return conditions (N, 5), particles (N,), and the hits of all showers one after another."""
    given = _conditions(domain)
    noise_NL = model.noise(GOLDEN_SEED, 0, GOLDEN)
    doubled = given.each(lambda values: values.double() if values.is_floating_point() else values)
    exact = model.double_precision()
    deposits_NC = exact.transform.inverse(exact(doubled, noise_NL.double())).flatten(1)
    deposits_NC = torch.where(deposits_NC > model.threshold_MeV, deposits_NC, 0.0)
    shower_H, cell_H = deposits_NC.nonzero(as_tuple=True)
    columns = (given.energy_B, given.theta_B, given.phi_B, *given.impact_mm_B2.unbind(1))
    first = torch.searchsorted(shower_H, torch.arange(GOLDEN + 1))
    return {
        "golden.conditions": torch.stack(columns, dim=1),
        "golden.pdg_ids": given.pdg_B,
        "golden.seed": torch.tensor([GOLDEN_SEED]),
        "golden.first": first,
        "golden.cells": cell_H,
        "golden.deposits_MeV": deposits_NC[shower_H, cell_H].float(),
        "golden.normals": noise_NL[:, :8],
    }


def _conditions(domain: Domain) -> Given:
    """Spread conditions over a range: energies evenly in the logarithm, the others each in an order of its own."""
    share_N = torch.arange(GOLDEN) / (GOLDEN - 1)

    def spread(limits: tuple[float, float], step: int) -> Tensor:
        low, high = limits
        shuffled_N = share_N[torch.arange(GOLDEN) * step % GOLDEN]
        return (low + (high - low) * shuffled_N).clamp(*_inward(limits))

    low, high = domain.energy_MeV
    energy_N = (low * (high / low) ** share_N).clamp(*_inward(domain.energy_MeV))
    x, y = domain.impact_mm or ((0.0, 0.0), (0.0, 0.0))
    impact_N2 = torch.stack([spread(x, 9), spread(y, 11)], dim=1)
    pdg_N = torch.tensor(domain.pdg_ids)[torch.arange(GOLDEN) % len(domain.pdg_ids)]
    return Given.of(energy_N, spread(domain.theta_rad, 3), spread(domain.phi_rad, 7), impact_N2, pdg_N)


def _inward(limits: tuple[float, float]) -> tuple[float, float]:
    """Return limits as float32 that lie within them."""
    low, high = np.float32(limits[0]), np.float32(limits[1])
    low = low if low >= limits[0] else np.nextafter(low, np.float32(math.inf))
    high = high if high <= limits[1] else np.nextafter(high, np.float32(-math.inf))
    return (float(low), float(high)) if low <= high else (float(limits[0]), float(limits[1]))

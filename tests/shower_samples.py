"""Small showers and files for tests: ours, and the public layouts exactly as they were published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.files.shipped import shipped_showers
from caloforge.files.shower_file import ShowerFile
from caloforge.files.shower_writer import write
from caloforge.showers import Showers

SMALL_GRID = Grid("small", (3, 4, 5), cell_size=(5.1, 5.1), layer_pitch_mm=3.5, threshold_MeV=0.001)

# The bins of CaloChallenge's data set 1, photons: layer, radial edges in mm, bins in alpha.
PHOTON_LAYERS = (
    (0, "0,5,10,30,50,100,200,400,600", 1),
    (1, "0,2,4,6,8,10,12,15,20,30,40,50,70,90,120,150,200", 10),
    (2, "0,2,5,10,15,20,25,30,40,50,60,80,100,130,160,200,250,300,350,400", 10),
    (3, "0,50,100,200,400,600", 1),
    (4, "0", 1),
    (12, "0,100,200,400,1000,2000", 1),
    (13, "0", 1),
)
PION_LAYERS = (
    (0, "0,5,10,30,50,100,200,400,600", 1),
    (1, "0,1,4,7,10,15,30,50,90,150,200", 10),
    (12, "0,10,20", 10),
)


def random_showers(n: int, grid: Grid = SMALL_GRID, *, seed: int = 1, occupancy: float = 0.3) -> Showers:
    """Make sparse showers with every column filled."""
    rng = np.random.default_rng(seed)
    deposits = rng.exponential(2, (n, *grid.shape)).astype(np.float32)
    deposits[rng.random(deposits.shape) > occupancy] = 0
    return Showers(
        deposits=deposits,
        incident_energy=rng.uniform(1e3, 5e5, n).astype(np.float32),
        incident_theta=rng.uniform(1, 2, n).astype(np.float32),
        grid=grid,
        impact_xy=rng.uniform(-2.5, 2.5, (n, 2)).astype(np.float32),
        pdg_id=np.full(n, 11, np.int32),
        incident_phi=rng.uniform(-6.28, 6.28, n).astype(np.float32),
        provenance={"program": "tests", "seed": seed},
    )


def write_core(path: Path, n: int) -> Path:
    """Write the core, 7x7x6 cells, of Geant4 showers that ship."""
    with ShowerFile(shipped_showers("train")) as file:
        showers = file.read(0, n)
    grid = replace(showers.grid, name="core", shape=(7, 7, 6))
    write(path, replace(showers, deposits=showers.deposits[:, 9:16, 9:16, 4:10].copy(), grid=grid))
    return path


def write_datasets(path: Path, **datasets: NDArray[np.generic]) -> Path:
    """Write an HDF5 file with these datasets, compressed as the public files are."""
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file.create_dataset(name, data=values, compression="gzip" if values.ndim else None)
    return path


def sparse(shape: tuple[int, ...], scale: float, seed: int = 1) -> NDArray[np.float32]:
    """Make non-negative float32 values, most of them zero, over several decades below ``scale``."""
    rng = np.random.default_rng(seed)
    values = scale * 10 ** rng.uniform(-5, 0, shape) * (rng.random(shape) < 0.1)
    return values.astype(np.float32)


def write_clic(path: Path, n: int = 5, seed: int = 1) -> Path:
    """CLIC at normal incidence: ``ECAL`` GeV, ``target`` with the primary's energy (GeV) in column 1."""
    target = np.zeros((n, 5), np.float64)
    target[:, 0] = 11
    target[:, 1] = np.random.default_rng(seed).uniform(10, 500, n)
    return write_datasets(path, ECAL=sparse((n, 25, 25, 25), 0.1, seed), target=target)


def write_clic_angle(path: Path, n: int = 3, seed: int = 1) -> Path:
    """CLIC at 60 to 120 degrees: ``ECAL`` 50 x GeV, ``energy`` GeV, angles in rad."""
    rng = np.random.default_rng(seed)
    ecal = sparse((n, 51, 51, 25), 5, seed)
    theta = np.radians(rng.uniform(60, 120, n))
    return write_datasets(
        path,
        ECAL=ecal,
        energy=rng.uniform(2, 500, n).astype(np.float32),
        theta=theta,
        mtheta=theta + rng.normal(0, 0.02, n),
        sum=ecal.sum(axis=(1, 2, 3)),
    )


def write_point_clouds(path: Path, n: int = 2) -> Path:
    """Point clouds of photons in ILD: x, layer, z and GeV, around z = 40 mm."""
    rng = np.random.default_rng(1)
    events = np.zeros((n, 60, 4), np.float32)
    places = rng.normal((0, 15, 40), (10, 4, 10), (n, 40, 3))
    places[:, :, 1] = np.clip(places[:, :, 1], 0, 29.9)
    events[:, :40, :3] = places
    events[:, :40, 3] = rng.exponential(1e-3, (n, 40))
    direction = np.repeat([[0.0], [0.0], [1.0]], n, axis=1)
    return write_datasets(path, events=events, energy=np.full((n, 1), 20.0), p_norm_local=direction)


def write_lemurs(path: Path, n: int = 4, seed: int = 1) -> Path:
    """LEMURS: ``showers`` (N, r, phi, z) and ``incident_energy`` in MeV, angles in rad."""
    rng = np.random.default_rng(seed)
    return write_datasets(
        path,
        showers=sparse((n, 9, 16, 45), 50, seed),
        incident_energy=rng.uniform(1e3, 1e6, n).astype(np.float32),
        incident_theta=rng.uniform(0.87, 2.27, n).astype(np.float32),
        incident_phi=rng.uniform(-np.pi, np.pi, n).astype(np.float32),
    )


def write_calochallenge(path: Path, n_voxels: int, n: int = 4, seed: int = 1) -> Path:
    """CaloChallenge: flat ``showers`` and ``incident_energies`` (N, 1), both MeV."""
    energies = 2.0 ** np.random.default_rng(seed).integers(8, 22, (n, 1))
    return write_datasets(path, showers=sparse((n, n_voxels), 50, seed), incident_energies=energies)


def binning_xml(*particles: tuple[int, str, Sequence[tuple[int, str, int]]]) -> str:
    """Write a binning as CaloChallenge's files do: (pdg id, name, layers) for each particle."""
    lines = ["<Bins>"]
    for pid, name, layers in particles:
        lines.append(f'   <Bin pid="{pid}" etaMin="0" etaMax="130" name="{name}">')
        lines += [
            f'      <Layer id="{number}" r_edges="{edges}" n_bin_alpha="{n_alpha}" />'
            for number, edges, n_alpha in layers
        ]
        lines.append("   </Bin>")
    return "\n".join([*lines, "</Bins>", ""])

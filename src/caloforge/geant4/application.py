"""Geant4: a particle becomes a shower.

This module and :mod:`caloforge.geant4.geometry` alone import ``geant4_pybind``. Geant4 exists once in a
process and reads its data sets from environment variables (:mod:`caloforge.geant4.physics_data` sets them
before Python starts), so both are imported in worker processes only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import geant4_pybind as g4
import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Detector
from caloforge.detector.layers import VACUUM
from caloforge.geant4.em_tables import SandiaIntervals
from caloforge.geant4.geometry import Geometry, define_materials, material_of
from caloforge.geant4.request import Primary, physics_beside
from caloforge.showers import ELECTRON

__all__ = ["GEANT4_VERSION", "PHYSICS_LIST", "ShowerSimulator", "elements", "sandia_intervals"]

PHYSICS_LIST = "G4EmStandardPhysics_option1"
"""What a detector gets that names no other."""

GEANT4_VERSION = g4.G4Version.replace("$Name: ", "").removesuffix(" [MT]$").removesuffix("$").strip()
START_MM = 1.0
"""How far before the first layer (along z) the particle starts."""


def elements(detector: Detector) -> tuple[int, ...]:
    """List the atomic numbers in a detector's materials and in the vacuum around them.

    Raises UsageError for a name that Geant4's material data base does not have.
    """
    define_materials(detector)
    found: set[int] = set()
    for name in (VACUUM, *detector.material_names):
        material = material_of(name)
        found |= {material.GetElement(i).GetZasInt() for i in range(material.GetNumberOfElements())}
    return tuple(sorted(found))


def sandia_intervals(z: int) -> SandiaIntervals:
    """Return the Biggs-Lighthill coefficients of the photoelectric effect for one element."""
    material = g4.G4NistManager.Instance().FindOrBuildSimpleMaterial(z)
    table = material.GetSandiaTable()
    atoms_per_mm3 = material.GetTotNbOfAtomsPerVolume()
    rows = np.array(
        [
            [table.GetSandiaCofForMaterial(interval, column) for column in range(5)]
            for interval in range(table.GetMatNbOfIntervals())
        ]
    )
    return SandiaIntervals(
        z=z,
        k_shell_MeV=material.GetElement(0).GetAtomicShell(0),
        lower_MeV=rows[:, 0],
        coefficients=rows[:, 1:] / (atoms_per_mm3 * g4.barn),
    )


def across(phi_rad: float) -> tuple[float, float]:
    """Return cosine and sine of an azimuth: a float32 knows it to 1e-7, so that pi/2 is the y-z plane exactly."""
    return round(math.cos(phi_rad), 7) + 0.0, round(math.sin(phi_rad), 7) + 0.0


class ShowerSimulator:
    """A detector in Geant4, ready for particles (PDG ids). One per process, since Geant4 is one per process.

    Raises UsageError for an unknown material.
    """

    def __init__(self, detector: Detector, particles: Sequence[int] = (ELECTRON,)) -> None:
        elements(detector)
        self._detector = detector
        self._manager = g4.G4RunManager()
        self._manager.SetVerboseLevel(0)
        self._geometry = Geometry(detector)
        self._manager.SetUserInitialization(self._geometry)
        physics = g4.G4VModularPhysicsList()
        physics.SetVerboseLevel(0)
        names = (detector.physics_list or PHYSICS_LIST, *physics_beside(particles))
        for name in names:
            physics.RegisterPhysics(getattr(g4, name)())
        self.physics_list = " + ".join(names)
        self._manager.SetUserInitialization(physics)
        # Geant4 insists that actions are made after the physics list.
        self._gun, self._readout = _Gun(), _ReadOut()
        self._manager.SetUserAction(self._gun)
        self._manager.SetUserAction(self._readout)
        # The cut must be there before initialising; SetDefaultCutValue alone has no effect.
        commands = g4.G4UImanager.GetUIpointer()
        commands.ApplyCommand(f"/run/setCut {detector.production_cut_mm} mm")
        self._manager.Initialize()
        for region, cut_mm in self._geometry.cuts_mm.items():
            commands.ApplyCommand(f"/run/setCutForRegion {region} {cut_mm} mm")
        self._manager.BeamOn(0)  # builds the physics tables
        self._readout.collection = g4.G4SDManager.GetSDMpointer().GetCollectionID("calorimeter/deposit")

    def shower(self, primary: Primary) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Simulate one particle and return the cells hit and their deposits (MeV), cells ascending.

        A cell is a flat index into (x, y, z) or (r, phi, layer). The impact point lies at z = 0, relative
        to the cylinder's axis or to the centre of the central cell: of an even number of cells, the one
        right of the middle. The same arguments give the same shower, whatever was simulated before.
        """
        x, y = primary.impact_xy_mm
        if self._detector.cells and self._detector.cell_size_mm:
            x, y = (
                (n // 2 + 0.5 - n / 2) * size + impact
                for n, size, impact in zip(
                    self._detector.cells, self._detector.cell_size_mm, (x, y), strict=True
                )
            )
        sine, cosine = math.sin(primary.theta_rad), math.cos(primary.theta_rad)
        along_x, along_y = (cosine * part for part in across(primary.phi_rad))
        start = x - START_MM * along_x / sine, y - START_MM * along_y / sine, -START_MM
        self._gun.aim(primary, g4.G4ThreeVector(*start), g4.G4ThreeVector(along_x, along_y, sine))
        g4.G4Random.setTheSeed(primary.seed)
        self._manager.BeamOn(1)
        return self._cells()

    def _cells(self) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Reorder from Geant4's (z, x, y) to (x, y, z); deposits on the scale on which they are read out."""
        n_layers, across = self._detector.n_layers, math.prod(self._detector.across)
        layer, column = np.divmod(self._readout.index, across)
        cell, deposit = column * n_layers + layer, self._readout.deposit
        if self._detector.sampling_fraction is not None:
            deposit = deposit / self._detector.sampling_fraction
        order = np.argsort(cell)
        return cell[order].astype(np.uint32), deposit[order].astype(np.float32)


class _Gun(g4.G4VUserPrimaryGeneratorAction):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self._gun = g4.G4ParticleGun(1)

    def aim(self, primary: Primary, start: g4.G4ThreeVector, direction: g4.G4ThreeVector) -> None:
        table = g4.G4ParticleTable.GetParticleTable()
        self._gun.SetParticleDefinition(table.FindParticle(primary.pdg_id))
        self._gun.SetParticleEnergy(primary.energy_MeV)
        self._gun.SetParticlePosition(start)
        self._gun.SetParticleMomentumDirection(direction)

    def GeneratePrimaries(self, event: g4.G4Event) -> None:
        self._gun.GeneratePrimaryVertex(event)


class _ReadOut(g4.G4UserEventAction):  # type: ignore[misc]
    collection = 0

    def EndOfEventAction(self, event: g4.G4Event) -> None:
        hits = list(event.GetHCofThisEvent().GetHC(self.collection))
        self.index = np.array([index for index, _ in hits], dtype=np.int64)
        self.deposit = np.array([deposit for _, deposit in hits], dtype=np.float64)

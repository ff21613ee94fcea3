"""Geant4: a detector description becomes a geometry, an electron becomes a shower.

The only file that imports ``geant4_pybind``. Geant4 exists once in a process and reads its data sets
from environment variables (:mod:`caloforge.geant4.physics_data` sets them before Python starts),
so this module is imported in worker processes only.

The geometry. Layers lie along z; the first one starts at z = 0. Every plate reaches ``margin_mm``
beyond the read-out image. The sensitive plate holds a box of its own material as wide as the image,
divided by replicas along x, then y, so that depositing and adding up stay in C++.
"""

from __future__ import annotations

import math

import geant4_pybind as g4
import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Detector, Slab
from caloforge.foundations.errors import UsageError
from caloforge.geant4.em_tables import SandiaIntervals

__all__ = ["GEANT4_VERSION", "PHYSICS_LIST", "ShowerSimulator", "elements", "sandia_intervals"]

PHYSICS_LIST = "G4EmStandardPhysics_option1"
GEANT4_VERSION = g4.G4Version.replace("$Name: ", "").removesuffix(" [MT]$").removesuffix("$").strip()
VACUUM = "G4_Galactic"
START_MM = 1.0
"""How far before the first layer (along z) the electron starts."""


def elements(materials: tuple[str, ...]) -> tuple[int, ...]:
    """List the atomic numbers in NIST materials and in the vacuum around them.

    Raises UsageError for a name that Geant4's material data base does not have.
    """
    found: set[int] = set()
    for name in (VACUUM, *materials):
        material = _material(name)
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


def _material(name: str) -> g4.G4Material:
    material = g4.G4NistManager.Instance().FindOrBuildMaterial(name)
    if material is None:
        raise UsageError(
            f"material {name!r}: Geant4 does not know it; expected a NIST name such as G4_Pb"
        )
    return material


class ShowerSimulator:
    """A detector in Geant4, ready for electrons. One per process, since Geant4 is one per process.

    Raises UsageError for an unknown material.
    """

    def __init__(self, detector: Detector) -> None:
        elements(detector.materials)
        self._detector = detector
        self._manager = g4.G4RunManager()
        self._manager.SetVerboseLevel(0)
        self._geometry = _Geometry(detector)
        self._manager.SetUserInitialization(self._geometry)
        physics = g4.G4VModularPhysicsList()
        physics.SetVerboseLevel(0)
        physics.RegisterPhysics(g4.G4EmStandardPhysics_option1())
        self._manager.SetUserInitialization(physics)
        # Geant4 insists that actions are made after the physics list.
        self._gun, self._readout = _Gun(), _ReadOut()
        self._manager.SetUserAction(self._gun)
        self._manager.SetUserAction(self._readout)
        # The cut must be there before initialising; SetDefaultCutValue alone has no effect.
        commands = g4.G4UImanager.GetUIpointer()
        commands.ApplyCommand(f"/run/setCut {detector.production_cut_mm} mm")
        self._manager.Initialize()
        self._manager.BeamOn(0)  # builds the physics tables
        self._readout.collection = g4.G4SDManager.GetSDMpointer().GetCollectionID("calorimeter/deposit")

    def shower(
        self, energy_MeV: float, theta_rad: float, impact_xy_mm: tuple[float, float], seed: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Simulate one electron and return the cells hit and their deposits (MeV), cells ascending.

        A cell is a flat index into (x, y, z). The impact point lies at z = 0, relative to the centre
        of the central cell: of an even number of cells, the one right of the middle. The same
        arguments give the same shower, whatever was simulated before.
        """
        nx, ny = self._detector.cells
        x, y = (
            (n // 2 + 0.5 - n / 2) * size + impact
            for n, size, impact in zip((nx, ny), self._detector.cell_size_mm, impact_xy_mm, strict=True)
        )
        sine, cosine = math.sin(theta_rad), math.cos(theta_rad)
        start = g4.G4ThreeVector(x, y - START_MM * cosine / sine, -START_MM)
        self._gun.aim(energy_MeV, start, g4.G4ThreeVector(0, cosine, sine))
        g4.G4Random.setTheSeed(seed)
        self._manager.BeamOn(1)
        return self._cells()

    def _cells(self) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Reorder from Geant4's (z, x, y) to (x, y, z)."""
        nx, ny, nz = self._detector.grid.shape
        layer, column = np.divmod(self._readout.index, nx * ny)
        cell = column * nz + layer
        order = np.argsort(cell)
        return cell[order].astype(np.uint32), self._readout.deposit[order].astype(np.float32)


class _Geometry(g4.G4VUserDetectorConstruction):  # type: ignore[misc]
    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self._detector = detector
        self._cells: list[g4.G4LogicalVolume] = []
        # Geant4 keeps bare pointers: what Python made must live as long as the geometry.
        self._alive: list[object] = []

    def Construct(self) -> g4.G4VPhysicalVolume:
        detector = self._detector
        (nx, ny), (dx, dy) = detector.cells, detector.cell_size_mm
        half = (nx * dx / 2 + detector.margin_mm, ny * dy / 2 + detector.margin_mm)
        depth = sum(stack.repeat * stack.pitch_mm for stack in detector.layers)
        # Room on each side for the start point of the flattest electron.
        world = self._box("world", VACUUM, half[0] + 100, half[1] + 100, depth + 100)
        z, layer = 0.0, 0
        for number, stack in enumerate(detector.layers):
            plates = [self._plate(f"{number}.{i}", slab, half) for i, slab in enumerate(stack.slabs)]
            for _ in range(stack.repeat):
                for slab, plate in zip(stack.slabs, plates, strict=True):
                    centre = g4.G4ThreeVector(0, 0, z + slab.thickness_mm / 2)
                    self._place(plate, world, centre, layer)
                    z += slab.thickness_mm
                z += stack.gap_mm
                layer += 1
        return self._place(world, None, g4.G4ThreeVector(), 0)

    def ConstructSDandField(self) -> None:
        scorer = g4.G4MultiFunctionalDetector("calorimeter")
        # Copy numbers by depth in the tree: 3 the plate's layer, 1 the column in x, 0 the cell in y.
        deposit = g4.G4PSEnergyDeposit3D(
            "deposit", "GeV", self._detector.n_layers, *self._detector.cells, 3, 1, 0
        )
        g4.G4SDManager.GetSDMpointer().AddNewDetector(scorer)
        scorer.RegisterPrimitive(deposit)
        for cell in self._cells:
            self.SetSensitiveDetector(cell, scorer)
        self._alive += [scorer, deposit]

    def _plate(self, name: str, slab: Slab, half: tuple[float, float]) -> g4.G4LogicalVolume:
        plate = self._box(f"plate{name}", slab.material, *half, slab.thickness_mm / 2)
        if slab.sensitive:
            (nx, ny), (dx, dy) = self._detector.cells, self._detector.cell_size_mm
            size = slab.material, nx * dx / 2, ny * dy / 2, slab.thickness_mm / 2
            image = self._box(f"image{name}", *size)
            column = self._box(f"column{name}", size[0], dx / 2, *size[2:])
            cell = self._box(f"cell{name}", size[0], dx / 2, dy / 2, size[3])
            self._place(image, plate, g4.G4ThreeVector(), 0)
            self._alive.append(g4.G4PVReplica(f"column{name}", column, image, g4.kXAxis, nx, dx))
            self._alive.append(g4.G4PVReplica(f"cell{name}", cell, column, g4.kYAxis, ny, dy))
            self._cells.append(cell)
        return plate

    def _box(self, name: str, material: str, x: float, y: float, z: float) -> g4.G4LogicalVolume:
        solid = g4.G4Box(name, x, y, z)
        logical = g4.G4LogicalVolume(solid, _material(material), name)
        self._alive += [solid, logical]
        return logical

    def _place(
        self,
        what: g4.G4LogicalVolume,
        into: g4.G4LogicalVolume | None,
        where: g4.G4ThreeVector,
        copy: int,
    ) -> g4.G4VPhysicalVolume:
        placed = g4.G4PVPlacement(None, where, what, what.GetName(), into, False, copy)
        self._alive.append(placed)
        return placed


class _Gun(g4.G4VUserPrimaryGeneratorAction):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self._gun = g4.G4ParticleGun(1)
        self._gun.SetParticleDefinition(g4.G4Electron.Definition())

    def aim(self, energy_MeV: float, start: g4.G4ThreeVector, direction: g4.G4ThreeVector) -> None:
        self._gun.SetParticleEnergy(energy_MeV)
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

"""A detector description becomes a geometry in Geant4.

Layers lie along z; the first one starts at z = 0. Every plate reaches ``margin_mm`` beyond the read-out
image. A sensitive plate holds a box (or a tube) of its own material as wide as the image, divided by
replicas along x, then y (or phi, then rho), so that depositing and adding up stay in C++. Sensitive
plates of one layer have the same copy number: their deposits add up in the same cells.
"""

from __future__ import annotations

import math

import geant4_pybind as g4

from caloforge.detector import Detector, Slab
from caloforge.detector.description import Cylinder
from caloforge.detector.layers import VACUUM
from caloforge.foundations.errors import UsageError

__all__ = ["Geometry", "define_materials", "material_of"]


def define_materials(detector: Detector) -> None:
    """Give Geant4 the materials that the detector defines itself."""
    nist = g4.G4NistManager.Instance()
    for name, it in (detector.materials or {}).items():
        if g4.G4Material.GetMaterial(name, False) is None:
            made = g4.G4Material(name, it.density_g_cm3 * g4.g / g4.cm3, len(it.elements))
            for symbol, fraction in it.elements.items():
                made.AddElementByMassFraction(nist.FindOrBuildElement(symbol), fraction)


def material_of(name: str) -> g4.G4Material:
    """Find a material by its NIST name. Raises UsageError for one that Geant4 does not have."""
    material = g4.G4NistManager.Instance().FindOrBuildMaterial(name)
    if material is None:
        raise UsageError(
            f"material {name!r}: Geant4 does not know it; expected a NIST name such as G4_Pb"
        )
    return material


class Geometry(g4.G4VUserDetectorConstruction):  # type: ignore[misc]
    """Layers of plates along z, the sensitive ones divided into the cells of the read-out."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self._detector = detector
        self._cells: list[g4.G4LogicalVolume] = []
        # Geant4 keeps bare pointers: what Python made must live as long as the geometry.
        self._alive: list[object] = []
        cuts_mm = dict.fromkeys(slab.production_cut_mm for slab in detector.slabs)
        self._regions = {mm: g4.G4Region(f"cut-{mm}-mm") for mm in cuts_mm if mm is not None}

    @property
    def cuts_mm(self) -> dict[str, float]:
        """Production cuts of regions, by the region's name."""
        return {region.GetName(): mm for mm, region in self._regions.items()}

    def Construct(self) -> g4.G4VPhysicalVolume:
        """Build all plates in a world of vacuum; Geant4 calls it."""
        detector = self._detector
        half = tuple(length + detector.margin_mm for length in self._half_image())
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
                layer += stack.n_layers > 0
        return self._place(world, None, g4.G4ThreeVector(), 0)

    def ConstructSDandField(self) -> None:
        """Attach the scorer to the cells, and the field to all; Geant4 calls it."""
        scorer = g4.G4MultiFunctionalDetector("calorimeter")
        # Copy numbers by depth in the tree: 3 the plate's layer, 1 the column in x, 0 the cell in y; of a
        # cylinder 1 the sector, 0 the ring.
        depths = (3, 1, 0) if self._detector.readout is None else (3, 0, 1)
        deposit = g4.G4PSEnergyDeposit3D(
            "deposit", "GeV", self._detector.n_layers, *self._detector.across, *depths
        )
        g4.G4SDManager.GetSDMpointer().AddNewDetector(scorer)
        scorer.RegisterPrimitive(deposit)
        for cell in self._cells:
            self.SetSensitiveDetector(cell, scorer)
        self._alive += [scorer, deposit]
        if self._detector.magnetic_field_T is not None:
            tesla = (part * g4.tesla for part in self._detector.magnetic_field_T)
            field = g4.G4UniformMagField(g4.G4ThreeVector(*tesla))
            manager = g4.G4TransportationManager.GetTransportationManager().GetFieldManager()
            manager.SetDetectorField(field)
            manager.CreateChordFinder(field)
            self._alive.append(field)

    def _half_image(self) -> tuple[float, float]:
        """Half the size of the read-out image in x and y, mm."""
        detector = self._detector
        if detector.readout is not None:
            radius = detector.readout.rings * detector.readout.ring_mm
            return radius, radius
        assert detector.cells is not None
        assert detector.cell_size_mm is not None
        (nx, ny), (dx, dy) = detector.cells, detector.cell_size_mm
        return nx * dx / 2, ny * dy / 2

    def _plate(self, name: str, slab: Slab, half: tuple[float, ...]) -> g4.G4LogicalVolume:
        plate = self._box(f"plate{name}", slab.material, half[0], half[1], slab.thickness_mm / 2)
        if slab.sensitive and self._detector.readout is not None:
            self._divide_around(plate, name, slab, self._detector.readout)
        elif slab.sensitive:
            self._divide_across(plate, name, slab)
        if slab.production_cut_mm is not None:
            self._regions[slab.production_cut_mm].AddRootLogicalVolume(plate)
        return plate

    def _divide_across(self, plate: g4.G4LogicalVolume, name: str, slab: Slab) -> None:
        assert self._detector.cells is not None
        assert self._detector.cell_size_mm is not None
        (nx, ny), (dx, dy) = self._detector.cells, self._detector.cell_size_mm
        size = slab.material, *self._half_image(), slab.thickness_mm / 2
        image = self._box(f"image{name}", *size)
        column = self._box(f"column{name}", size[0], dx / 2, *size[2:])
        cell = self._box(f"cell{name}", size[0], dx / 2, dy / 2, size[3])
        self._place(image, plate, g4.G4ThreeVector(), 0)
        self._repeat(column, image, g4.kXAxis, nx, dx)
        self._repeat(cell, column, g4.kYAxis, ny, dy)
        self._cells.append(cell)

    def _divide_around(
        self, plate: g4.G4LogicalVolume, name: str, slab: Slab, readout: Cylinder
    ) -> None:
        radius, width = self._half_image()[0], 2 * math.pi / readout.sectors

        def tube(what: str, outer: float, start: float, angle: float) -> g4.G4LogicalVolume:
            solid = g4.G4Tubs(f"{what}{name}", 0, outer, slab.thickness_mm / 2, start, angle)
            return self._logical(solid, slab.material)

        image = tube("image", radius, -math.pi, 2 * math.pi)
        # A sector has the middle of its angle along x; Geant4 fits the rings' radii to each replica.
        sector = tube("sector", radius, -width / 2, width)
        ring = tube("ring", readout.ring_mm, -width / 2, width)
        self._place(image, plate, g4.G4ThreeVector(), 0)
        self._repeat(sector, image, g4.kPhi, readout.sectors, width, -math.pi)
        self._repeat(ring, sector, g4.kRho, readout.rings, readout.ring_mm)
        self._cells.append(ring)

    def _repeat(
        self,
        what: g4.G4LogicalVolume,
        into: g4.G4LogicalVolume,
        axis: g4.EAxis,
        n: int,
        width: float,
        start: float = 0.0,
    ) -> None:
        self._alive.append(g4.G4PVReplica(what.GetName(), what, into, axis, n, width, start))

    def _box(self, name: str, material: str, x: float, y: float, z: float) -> g4.G4LogicalVolume:
        return self._logical(g4.G4Box(name, x, y, z), material)

    def _logical(self, solid: g4.G4VSolid, material: str) -> g4.G4LogicalVolume:
        logical = g4.G4LogicalVolume(solid, material_of(material), solid.GetName())
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

"""Cells as a shower sees them: by their distance from its axis, in few coefficients for the far ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from caloforge.detector import Grid
from caloforge.foundations.errors import UsageError
from caloforge.showers.batch import Given

__all__ = ["Place", "ShowerFrame", "first_sector"]

CORE = 4.3
"""Cells nearer to the axis than this (in cells, on a cylinder in rings) have coefficients of their own, layer by layer."""

RINGS = 2.0

RADII = (4.2, 5.0, 6.0, 7.5, 9.5, 12.5, 18.0, 30.0, 60.0, 120.0)
HARMONICS = 4
LAYERS = (0, 1, 2, 3, 5, 7, 10, 13, 16, 19, 22, 26, 30, 40, 60, 90, 130)
"""Farther out coefficients are interpolated between these radii and layers, times cos and sin of the angle.

The last two layers stand for themselves: nothing comes back from behind the last one."""

MAX_ACROSS, MAX_WINDOW = 1 << 16, 1 << 22
"""Cells of a window across a shower and in all: fields over more of them would need gigabytes."""


@dataclass(frozen=True)
class Place:
    """Where the axes of B showers pass: nearest cells (B, nz), from the central one, and offsets from them, in cells.

    ``moves`` tells whether any of them leaves the central cell.
    """

    cell_x_BZ: Tensor
    cell_y_BZ: Tensor
    offset_x_BZ: Tensor
    offset_y_BZ: Tensor
    moves: bool


class ShowerFrame(nn.Module):
    """Maps between a grid's cells and a window of as many cells around a shower's axis.

    The axis leads from the impact point along the incident direction, and the window's middle lies in the cell that
    it passes in each layer; what is farther from it than half the grid is left out. Without ``tilted`` all showers
    come at a right angle. On a cylinder the window can only be turned: offsets are the axis' distances from the middle, in rings, and
    ``offset_spread`` of them is what polynomials take for a standard deviation; they follow an axis as far as a few rings.

    A field over the window is made of coefficients: one for each cell of the core, and outside of it
    products of a radial, an angular and a depth function. Raises UsageError where ``tilted`` axes cannot be
    followed through the grid.
    """

    depth_Z: Tensor
    ring_O: Tensor
    neighbours_O: Tensor
    inner: Tensor
    outer: Tensor
    across_OA: Tensor
    depth_ZD: Tensor
    across_inverse_AO: Tensor
    depth_inverse_DZ: Tensor

    def __init__(self, grid: Grid, *, tilted: bool) -> None:
        super().__init__()
        self.shape, self.tilted = grid.shape, tilted
        self.has_sizes, self.moves = grid.cell_size is not None, grid.cartesian
        if tilted and not (self.has_sizes and (grid.layer_pitch_mm or grid.layer_centres_mm)):
            raise UsageError(
                f"detector {grid.name!r}: to follow tilted showers, expected cells of a known size and depth"
            )
        # Where sizes are not known an impact point changes nothing.
        x_mm, y_mm = grid.cell_size or (math.inf, math.inf)
        self.size_mm = (x_mm, y_mm) if grid.cartesian else (x_mm, x_mm)
        self.offset_spread = 12**-0.5 if grid.cartesian else RINGS
        self.centre = (grid.shape[0] // 2, grid.shape[1] // 2)
        radius, angle = self._window(grid)  # which refuses what is too large
        self.register_buffer("depth_Z", _depths_mm(grid), persistent=False)
        self.radius, self.angle = radius.reshape(-1), angle.reshape(-1)
        ring_O = np.round(self.radius).astype(np.int64)
        self.rings = int(ring_O.max()) + 1
        self._keep("ring_O", ring_O)
        self._keep("neighbours_O", self.beside(torch.ones(1, ring_O.size, device="cpu"))[0].numpy())
        far = self.radius > CORE
        across, depth = _across(self.radius, self.angle, far), _depth(grid.n_layers)
        self._keep("inner", np.flatnonzero(~far))
        self._keep("outer", np.flatnonzero(far))
        self._keep("across_OA", across)
        self._keep("depth_ZD", depth)
        self._keep("across_inverse_AO", np.linalg.pinv(across))
        self._keep("depth_inverse_DZ", np.linalg.pinv(depth))

    def _window(self, grid: Grid) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the cells' distance from the axis, in cells, and angle around it (nx, ny)."""
        nx, ny, nz = grid.shape
        if max(nx * ny, nz) > MAX_ACROSS or nx * ny * nz > MAX_WINDOW:
            raise UsageError(
                f"detector {grid.name!r}: expected at most {MAX_ACROSS} cells across a shower, as many "
                f"layers, and {MAX_WINDOW} in all, found {nx * ny} and {nz}"
            )
        if grid.cartesian:
            spans = (np.arange(n) - middle for n, middle in zip((nx, ny), self.centre, strict=True))
            x, y = np.meshgrid(*spans, indexing="ij")
            return np.hypot(x, y), np.arctan2(y, x)
        r, phi = np.meshgrid(np.arange(nx), np.arange(ny), indexing="ij")
        return r + 0.5, 2 * np.pi * phi / ny

    def _keep(self, name: str, values: NDArray[Any]) -> None:
        tensor = torch.from_numpy(values)
        self.register_buffer(
            name, tensor.float() if tensor.is_floating_point() else tensor, persistent=False
        )

    def coefficients(self, columns: int) -> tuple[Tensor, Tensor]:
        """Return zeros for fields with so many columns: (core, nz, columns) and (across, depth, columns)."""
        core = torch.zeros(len(self.inner), self.shape[2], columns)
        return core, torch.zeros(self.across_OA.shape[1], self.depth_ZD.shape[1], columns)

    def expand(self, core: Tensor, halo: Tensor) -> Tensor:
        """Make fields (nx * ny, nz, columns) from their coefficients."""
        far = torch.einsum("zd,adc->azc", self.depth_ZD, halo)
        far = torch.einsum("oa,azc->ozc", self.across_OA, far)
        field = far.new_zeros(self.shape[0] * self.shape[1], self.shape[2], core.shape[2])
        return field.index_copy(0, self.outer, far).index_copy(0, self.inner, core)

    def project(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coefficients of fields (nx * ny, nz, columns), by least squares far from the axis."""
        halo = torch.einsum("ao,ozc->azc", self.across_inverse_AO, field[self.outer])
        return field[self.inner], torch.einsum("dz,azc->adc", self.depth_inverse_DZ, halo)

    def beside(self, field_BO: Tensor) -> Tensor:
        """Add up a field (..., nx * ny) over the up to four neighbours of each cell in its layer."""
        field_BXY = field_BO.unflatten(-1, self.shape[:2])  # type: ignore[no-untyped-call]
        sums_BXY = torch.zeros_like(field_BXY)
        sums_BXY[..., 1:, :] = field_BXY[..., :-1, :]
        sums_BXY[..., :-1, :] += field_BXY[..., 1:, :]
        sums_BXY[..., 1:] += field_BXY[..., :-1]
        sums_BXY[..., :-1] += field_BXY[..., 1:]
        return sums_BXY.flatten(-2)

    def noise_variance(self, share_ZO: Tensor) -> Tensor:
        """Return the variance (Z, O) of unit noise with a share of each neighbour's added."""
        return 1 + self.neighbours_O * share_ZO * share_ZO

    def place(self, given: Given, sector_B: Tensor | None = None) -> Place:
        """Follow the axes through the layers; on a cylinder begin the window at a sector."""
        slope_B2 = self.slopes(given)
        position_BZ2 = given.impact_mm_B2[:, None] + slope_B2[:, None] * self.depth_Z[:, None]
        x_BZ, y_BZ = (position_BZ2[..., axis] / self.size_mm[axis] for axis in (0, 1))
        if not self.moves:
            still = torch.zeros_like(x_BZ).long()
            if sector_B is None:
                return Place(still, still, x_BZ, y_BZ, moves=False)
            return Place(still, still + sector_B[:, None], x_BZ, y_BZ, moves=True)
        cell_x_BZ, cell_y_BZ = torch.round(x_BZ), torch.round(y_BZ)
        moves = self.tilted
        if not torch.compiler.is_compiling():  # a program is written for the central cell
            moves = moves or bool((cell_x_BZ != 0).any() or (cell_y_BZ != 0).any())
        offsets = x_BZ - cell_x_BZ, y_BZ - cell_y_BZ
        return Place(cell_x_BZ.long(), cell_y_BZ.long(), *offsets, moves)

    def slopes(self, given: Given) -> Tensor:
        """Return how far axes move in x and y for each mm of depth (B, 2)."""
        across_B2 = torch.stack([torch.cos(given.phi_B), torch.sin(given.phi_B)], dim=1)
        if not self.tilted:
            return torch.zeros_like(across_B2)
        return across_B2 / torch.tan(given.theta_B)[:, None]

    def cells(self, place: Place) -> tuple[Tensor, Tensor]:
        """Return where in the window (flattened) each cell of the grid lies (B, nx * ny * nz), and whether it lies in it."""
        nx, ny, nz = self.shape
        x, y, z = (torch.arange(n, device=place.cell_x_BZ.device) for n in self.shape)
        row_BXZ = x[:, None] - place.cell_x_BZ[:, None]
        column_BYZ = y[:, None] - place.cell_y_BZ[:, None]
        if not self.moves:
            column_BYZ = column_BYZ % ny
        inside_BXZ, inside_BYZ = (row_BXZ >= 0) & (row_BXZ < nx), (column_BYZ >= 0) & (column_BYZ < ny)
        across_BXYZ = row_BXZ.clamp(0, nx - 1)[:, :, None] * ny + column_BYZ.clamp(0, ny - 1)[:, None]
        inside_BXYZ = inside_BXZ[:, :, None] & inside_BYZ[:, None]
        return (across_BXYZ * nz + z).flatten(1), inside_BXYZ.flatten(1)

    def grid_cells(
        self, place: Place, shower_H: Tensor, across_H: Tensor, layer_H: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return where cells of the window lie in the grid (flattened, (H,)), and whether they lie in it."""
        nx, ny, nz = self.shape
        row_H = across_H // ny
        x_H = row_H + place.cell_x_BZ[shower_H, layer_H]
        y_H = across_H - row_H * ny + place.cell_y_BZ[shower_H, layer_H]
        if not self.moves:
            y_H = y_H % ny
        inside_H = (x_H >= 0) & (x_H < nx) & (y_H >= 0) & (y_H < ny)
        return (x_H * ny + y_H) * nz + layer_H, inside_H


def first_sector(deposits_BXYZ: Tensor) -> Tensor:
    """Return the sector (B,) of a cylinder's inner ring in which a shower begins: the brightest of the first layer with any."""
    ring_BYZ = deposits_BXYZ[:, 0]
    layer_B = (ring_BYZ.sum(1) > 0).int().argmax(1)
    return ring_BYZ.gather(2, layer_B[:, None, None].expand(-1, ring_BYZ.shape[1], 1))[..., 0].argmax(1)


def _depths_mm(grid: Grid) -> Tensor:
    """Return the depths of the layers' middles (nz,); zero where they are not known."""
    if grid.layer_centres_mm is not None:
        return torch.tensor(grid.layer_centres_mm)
    return (torch.arange(grid.n_layers) + 0.5) * (grid.layer_pitch_mm or 0.0)


def _across(
    radius_O: NDArray[Any], angle_O: NDArray[Any], far_O: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the radial times angular functions (far, A) of the cells that are far from the axis."""
    radii = [r for r in RADII if r < 1.2 * radius_O.max()] or RADII[:1]
    radial = _hats(np.log(radius_O[far_O]), [math.log(r) for r in radii])
    waves = [np.ones(far_O.sum())]
    for m in range(1, HARMONICS + 1):
        waves += [np.cos(m * angle_O[far_O]), np.sin(m * angle_O[far_O])]
    across = np.stack(waves, 1)[:, :, None] * radial[:, None]
    return across.reshape(len(across), len(waves) * len(radii))


def _depth(n_layers: int) -> NDArray[np.float64]:
    """Return the depth functions (nz, D) of the layers."""
    last_two = range(max(0, n_layers - 2), n_layers)
    layers = [layer for layer in LAYERS if layer < n_layers - 2] + list(last_two)
    return _hats(np.arange(n_layers, dtype=np.float64), layers)


def _hats(x: NDArray[np.float64], knots: Sequence[float]) -> NDArray[np.float64]:
    """Return linear interpolation between knots as a matrix (len(x), len(knots))."""
    k = np.asarray(knots, np.float64)
    return np.stack([np.interp(x, k, row) for row in np.eye(len(k))], axis=1)

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

__all__ = ["STEEPEST_RAD", "Place", "ShowerFrame"]

CORE = 4.3
"""Cells nearer to the axis than this (in cells) have coefficients of their own, layer by layer."""

RADII = (4.2, 5.0, 6.0, 7.5, 9.5, 12.5, 18.0, 30.0, 60.0, 120.0)
HARMONICS = 4
LAYERS = (0, 1, 2, 3, 5, 7, 10, 13, 16, 19, 22, 26, 30, 40, 60, 90, 130)
"""Farther out coefficients are interpolated between these radii and layers, times cos and sin of the angle.

The last two layers stand for themselves: nothing comes back from behind the last one."""

MAX_ACROSS, MAX_WINDOW = 1 << 16, 1 << 22
"""Cells of a window across a shower and in all: fields over more of them would need gigabytes."""

STEEPEST_RAD = math.radians(60)
"""The window holds all cells that an axis may have beside it down to this angle to the face."""


@dataclass(frozen=True)
class Place:
    """Where the axes of B showers pass: nearest cells (B,), (B, nz) and offsets from them, in cells."""

    cell_x_B: Tensor
    cell_y_BZ: Tensor
    offset_x_B: Tensor
    offset_y_BZ: Tensor


class ShowerFrame(nn.Module):
    """Maps between a grid's cells and a window of cells (wx, wy, nz) around a shower's axis.

    The axis leads from the impact point along the incident direction. Without ``tilted`` all showers come
    at a right angle and the window is the grid; on a cylinder, which is aligned with the particle, too.

    A field over the window is made of coefficients: one for each cell of the core, and outside of it
    products of a radial, an angular and a depth function. Raises UsageError where ``tilted`` axes cannot be
    followed through the grid.
    """

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
        follows = grid.cartesian and grid.cell_size is not None
        if tilted and not (follows and grid.layer_pitch_mm):
            raise UsageError(
                f"detector {grid.name!r}: to follow tilted showers, expected x, y, z cells of a known size and pitch"
            )
        # Where sizes are not known, and on a cylinder around the particle, an impact point moves nothing.
        self.size_mm = grid.cell_size if follows and grid.cell_size else (math.inf, math.inf)
        self.pitch_mm = grid.layer_pitch_mm or 0.0
        self.centre = (grid.shape[0] // 2, grid.shape[1] // 2)
        radius, angle = self._window(grid)
        self.radius = radius.reshape(-1)
        ring_O = np.round(self.radius).astype(np.int64)
        self.rings = int(ring_O.max()) + 1
        self._keep("ring_O", ring_O)
        self._keep("neighbours_O", self.beside(torch.ones(1, ring_O.size, device="cpu"))[0].numpy())
        far = self.radius > CORE
        across, depth = _across(self.radius, angle.reshape(-1), far), _depth(grid.n_layers)
        self._keep("inner", np.flatnonzero(~far))
        self._keep("outer", np.flatnonzero(far))
        self._keep("across_OA", across)
        self._keep("depth_ZD", depth)
        self._keep("across_inverse_AO", np.linalg.pinv(across))
        self._keep("depth_inverse_DZ", np.linalg.pinv(depth))

    def _window(self, grid: Grid) -> tuple[NDArray[Any], NDArray[Any]]:
        """Lay out the window; return the cells' distance from the axis, in cells, and angle around it (wx, wy)."""
        nx, ny, nz = grid.shape
        drift = nz * self.pitch_mm / self.size_mm[1] / math.tan(STEEPEST_RAD) if self.tilted else 0.0
        across = nx * (ny + 2 * drift)
        if max(across, nz) > MAX_ACROSS or across * nz > MAX_WINDOW:
            raise UsageError(
                f"detector {grid.name!r}: expected at most {MAX_ACROSS} cells across a shower, as many "
                f"layers, and {MAX_WINDOW} in all, found {across:.0f} and {nz}"
            )
        if grid.cartesian:
            reach = math.ceil(drift)
            self.below = (self.centre[0], self.centre[1] + reach)
            above = (nx - self.centre[0], ny - self.centre[1] + reach)
            x, y = np.meshgrid(*map(np.arange, [-n for n in self.below], above), indexing="ij")
            radius, angle = np.hypot(x, y), np.arctan2(y, x)
        else:
            self.below = (0, 0)
            r, phi = np.meshgrid(np.arange(nx), np.arange(ny), indexing="ij")
            radius, angle = r + 0.5, 2 * np.pi * phi / ny
        self.window = (*radius.shape, nz)
        return radius, angle

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
        """Make fields (wx * wy, nz, columns) from their coefficients."""
        far = torch.einsum("zd,adc->azc", self.depth_ZD, halo)
        far = torch.einsum("oa,azc->ozc", self.across_OA, far)
        field = far.new_zeros(self.window[0] * self.window[1], self.shape[2], core.shape[2])
        return field.index_copy(0, self.outer, far).index_copy(0, self.inner, core)

    def project(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coefficients of fields (wx * wy, nz, columns), by least squares far from the axis."""
        halo = torch.einsum("ao,ozc->azc", self.across_inverse_AO, field[self.outer])
        return field[self.inner], torch.einsum("dz,azc->adc", self.depth_inverse_DZ, halo)

    def beside(self, field_BO: Tensor) -> Tensor:
        """Add up a field (..., wx * wy) over the up to four neighbours of each cell in its layer."""
        field_BXY = field_BO.unflatten(-1, self.window[:2])  # type: ignore[no-untyped-call]
        sums_BXY = torch.zeros_like(field_BXY)
        sums_BXY[..., 1:, :] = field_BXY[..., :-1, :]
        sums_BXY[..., :-1, :] += field_BXY[..., 1:, :]
        sums_BXY[..., 1:] += field_BXY[..., :-1]
        sums_BXY[..., :-1] += field_BXY[..., 1:]
        return sums_BXY.flatten(-2)

    def noise_variance(self, share_ZO: Tensor) -> Tensor:
        """Return the variance (Z, O) of unit noise with a share of each neighbour's added."""
        return 1 + self.neighbours_O * share_ZO * share_ZO

    def place(self, theta_B: Tensor, impact_B2: Tensor) -> Place:
        """Follow the axes through the layers; angles in rad, impact points in mm."""
        depth_Z = (torch.arange(self.shape[2], device=theta_B.device) + 0.5) * self.pitch_mm
        x_B = impact_B2[:, 0] / self.size_mm[0]
        y_BZ = (impact_B2[:, 1:] + self.slope(theta_B)[:, None] * depth_Z) / self.size_mm[1]
        if not self.tilted:
            still = torch.zeros_like(y_BZ)
            return Place(still[:, 0].long(), still.long(), x_B, y_BZ)
        cell_x_B, cell_y_BZ = torch.round(x_B), torch.round(y_BZ)
        return Place(cell_x_B.long(), cell_y_BZ.long(), x_B - cell_x_B, y_BZ - cell_y_BZ)

    def slope(self, theta_B: Tensor) -> Tensor:
        """Return how far an axis moves in y for each mm of depth (B,)."""
        return 1 / torch.tan(theta_B) if self.tilted else torch.zeros_like(theta_B)

    def cells(self, place: Place) -> Tensor:
        """Return where in the window (flattened) each cell of the grid lies: (B, nx * ny * nz)."""
        nx, ny, nz = self.shape
        x, y, z = (torch.arange(n, device=place.cell_x_B.device) for n in (nx, ny, nz))
        row_BX = x - self.centre[0] - place.cell_x_B[:, None] + self.below[0]
        column_BYZ = y[:, None] - self.centre[1] - place.cell_y_BZ[:, None] + self.below[1]
        row_BX = row_BX.clamp(0, self.window[0] - 1)
        column_BYZ = column_BYZ.clamp(0, self.window[1] - 1)
        across_BXYZ = row_BX[:, :, None, None] * self.window[1] + column_BYZ[:, None]
        cells_BXYZ: Tensor = across_BXYZ * nz + z
        return cells_BXYZ.flatten(1)

    def grid_cells(
        self, place: Place, shower_H: Tensor, across_H: Tensor, layer_H: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return where cells of the window lie in the grid (flattened, (H,)), and whether they lie in it."""
        nx, ny, nz = self.shape
        row_H = across_H // self.window[1]
        x_H = row_H + (self.centre[0] - self.below[0]) + place.cell_x_B[shower_H]
        y_H = across_H - row_H * self.window[1] + (self.centre[1] - self.below[1])
        y_H = y_H + place.cell_y_BZ[shower_H, layer_H]
        inside_H = (x_H >= 0) & (x_H < nx) & (y_H >= 0) & (y_H < ny)
        return (x_H * ny + y_H) * nz + layer_H, inside_H


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

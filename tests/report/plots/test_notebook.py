"""Figures of showers in Python: what they show, and how they reach a notebook or a file."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shower_samples import SMALL_GRID, random_showers

from caloforge.detector import Grid
from caloforge.detector.grid import CYLINDRICAL
from caloforge.foundations.errors import UsageError
from caloforge.showers import Showers

ROUND = Grid("round", (3, 4, 5), CYLINDRICAL, cell_size=(4.0, math.pi / 2), layer_pitch_mm=3.4)
UNKNOWN = Grid("unknown", (3, 4, 5))


@pytest.mark.parametrize("grid", [SMALL_GRID, ROUND, UNKNOWN])
def test_profiles_are_the_means_of_the_showers(grid: Grid) -> None:
    showers = random_showers(20, grid)
    depth, across, visible = showers.plot().axes
    place, mean = depth.lines[0].get_data()
    np.testing.assert_allclose(mean, showers.deposits.sum(axis=(1, 2), dtype=np.float64).mean(axis=0))
    expected = range(5) if grid is UNKNOWN else (grid.layer_pitch_mm or 0) * (np.arange(5) + 0.5)
    np.testing.assert_allclose(place, expected)
    total = showers.deposits.sum(axis=(1, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(visible.lines[0].get_data(), [showers.incident_energy, total])
    # Rings out to the image's edge hold all but its corners.
    inside = across.lines[0].get_ydata().sum()
    assert 0.5 * total.mean() < inside <= total.mean() * (1 + 1e-6)
    assert "mm" in across.get_xlabel() or grid is UNKNOWN


def test_showers_of_one_energy_have_a_histogram_of_what_is_visible() -> None:
    showers = random_showers(20)
    showers = replace(showers, incident_energy=np.full(20, 5e4, np.float32))
    visible = showers.plot().axes[2]
    assert visible.get_ylabel() == "Showers"
    assert sum(patch.get_xy()[:, 1].max() > 0 for patch in visible.patches) == 1


def test_a_figure_is_a_picture_for_notebooks_and_files(tmp_path: Path) -> None:
    for figure in (random_showers(3).plot(), random_showers(3)[1].display()):
        image = Image.open(io.BytesIO(figure._repr_png_())).convert("L")
        assert np.ptp(np.asarray(image)) > 200
        figure.savefig(tmp_path / "a.pdf")
        assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_a_display_has_every_hit_of_one_shower() -> None:
    showers = replace(random_showers(4), pdg_id=np.full(4, 22, np.int32))
    figure = showers[3].display()
    space = figure.axes[0]
    assert len(space.collections[0].get_offsets()) == np.count_nonzero(showers.deposits[3])
    assert figure.get_suptitle().startswith(
        f"One shower of gamma, {showers.incident_energy[3] / 1000:.4g} GeV"
    )


@pytest.mark.parametrize(
    ("showers", "method", "words"),
    [
        (random_showers(2), "display", r"display: expected one shower, such as showers\[0\], got 2"),
        (random_showers(2)[:0], "plot", "plot: expected at least one shower"),
    ],
)
def test_what_cannot_be_drawn_is_told(showers: Showers, method: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        getattr(showers, method)()

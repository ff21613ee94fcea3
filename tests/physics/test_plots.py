"""Histograms hold what they should, and every kind of plot draws whatever its data is."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shower_samples import random_showers

from caloforge.detector import Grid
from caloforge.io import shower_file
from caloforge.io.shower_file import ShowerFile
from caloforge.physics.accumulate import Sample, accumulate
from caloforge.physics.catalogue import catalogue, displays
from caloforge.physics.comparison import Comparison
from caloforge.physics.histograms import Plot, axis_label, distribution, profile, spectrum, trend
from caloforge.physics.observables import OBSERVABLES
from caloforge.physics.plots import render, render_all
from caloforge.physics.selections import choose_selections
from caloforge.showers import Showers

LABELS = ("Geant4", "3DGAN")
GEANT4 = Path(str(resources.files("caloforge"))) / "data" / "clic-ecal-test.h5"


def compare(tmp_path: Path, reference: Showers, candidate: Showers) -> tuple[Comparison, list[Plot]]:
    """Compare two samples; give the comparison and its event displays."""
    for name, showers in (("a", reference), ("b", candidate)):
        shower_file.write(tmp_path / f"{name}.h5", showers)
    with ShowerFile(tmp_path / "a.h5") as ours, ShowerFile(tmp_path / "b.h5") as theirs:
        selections, _ = choose_selections(ours.conditions, theirs.conditions)
        grid = replace(reference.grid, threshold_MeV=0.001)
        compared = Comparison(*(accumulate(f, selections, grid=grid) for f in (ours, theirs)))
        return compared, list(displays([ours, theirs], 0.001))


def both(compared: Comparison) -> tuple[Sample, Sample]:
    return compared.reference, compared.candidate


@pytest.fixture(scope="module")
def geant4(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, list[Plot]]:
    showers = shower_file.read(GEANT4)
    return compare(tmp_path_factory.mktemp("geant4"), showers[:200], showers[200:])


def image_of(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    image.load()
    return image.convert("RGB")


def test_a_distribution_counts_every_shower_once(geant4: tuple[Comparison, list[Plot]]) -> None:
    compared, _ = geant4
    for name in compared.scalars:
        plot = distribution(both(compared), name, "Energy")
        assert plot is not None
        for histogram, scale in zip(plot.histograms, plot.scale, strict=True):
            assert histogram.values().sum() == 200
            assert (histogram.values() * scale).sum() == pytest.approx(1)
            assert histogram.axes[0].label == OBSERVABLES[name].label


def test_profiles_and_spectra_hold_means_and_their_errors(geant4: tuple[Comparison, list[Plot]]) -> None:
    compared, _ = geant4
    plot = profile(both(compared), "z", 1)
    showers = shower_file.read(GEANT4)[:200]
    inside = compared.reference.selections[1].mask(showers.conditions)
    layers = showers.above(0.001).deposits[inside].sum(axis=(1, 2))
    np.testing.assert_allclose(plot.histograms[0].values(), layers.mean(axis=0), rtol=1e-5)
    error = layers.std(axis=0, ddof=1) / np.sqrt(len(layers))
    np.testing.assert_allclose(np.sqrt(plot.histograms[0].variances()), error, rtol=1e-3)
    assert plot.showers[0] == inside.sum()
    cells = spectrum(both(compared))
    assert cells is not None
    hits = np.count_nonzero(showers.above(0.001).deposits) / len(showers)
    assert cells.histograms[0].values().sum() == pytest.approx(hits)


def test_trends_leave_thin_bins_empty(geant4: tuple[Comparison, list[Plot]]) -> None:
    compared, _ = geant4
    plot = trend(both(compared), "sampling_fraction", "Energy")
    assert plot is not None
    edges = plot.histograms[0].axes[0].edges * 1000
    for sample, histogram in zip((compared.reference, compared.candidate), plot.histograms, strict=True):
        energy = sample.conditions.incident_energy
        for low, high, value in zip(edges[:-1], edges[1:], histogram.values(), strict=True):
            inside = (energy >= low) & (energy < high)
            if inside.sum() < 20:
                assert np.isnan(value)
            else:
                assert value == pytest.approx(
                    sample.values["sampling_fraction"][inside].mean(), rel=1e-5
                )


def test_the_catalogue_of_tilted_showers_has_the_angle_against_the_incident_one(tmp_path: Path) -> None:
    compared, _ = compare(tmp_path, random_showers(300, seed=1), random_showers(300, seed=2))
    plots = {plot.name: plot for plot in catalogue(both(compared))}
    assert len(plots) == len(catalogue(both(compared)))  # names are unique: they become files
    maps = plots["axis_angle_against_incident"]
    assert maps.kind == "maps"
    assert maps.histograms[0].values().sum() > 0.9 * 300
    wanted = {
        "total_deposit_all", "sampling_fraction_mean_against_energy", "hits_all", "profile_x_all_log",
        "profile_z_all_linear", "moment3_y_all", "cell_energy_all", "measured_angle_all", "maximum_z_all",
        "fraction_middle_all", "profile_y_theta62deg_log",
    }  # fmt: skip
    assert wanted <= set(plots)
    image_of(render(maps, LABELS))


def test_cylindrical_showers_keep_their_axes(tmp_path: Path) -> None:
    grid = Grid(
        "lemurs", (4, 8, 6), ("r", "phi", "layer"), cell_size=(4.65, math.pi / 4), layer_pitch_mm=3.4
    )
    compared, shown = compare(tmp_path, random_showers(50, grid), random_showers(50, grid, seed=2))
    names = {plot.name for plot in catalogue(both(compared))}
    assert {
        "profile_r_all_linear",
        "profile_phi_all_log",
        "moment2_layer_all",
        "width_across_all",
    } <= names
    assert not {name for name in names if "angle" in name or "_x_" in name}
    assert axis_label(grid, "phi") == "phi [cell of 0.7854 rad]"
    assert axis_label(grid, "r") == "r [cell of 4.65 mm]"
    assert {name.split(".")[1] for name in compared.metrics() if name.startswith("shape.")} == set(
        grid.axes
    )
    assert shown[0].histograms[0].axes[2].label == "layer [of 3.4 mm]"
    image_of(render(shown[0], LABELS))


@pytest.mark.parametrize("label", [r"$\frac{", "_hidden", "é 日本 😀", "<b>&", "x" * 40])
def test_any_label_can_be_drawn(geant4: tuple[Comparison, list[Plot]], label: str) -> None:
    """Neither mathematics, nor a name that matplotlib hides, nor glyphs that the font lacks."""
    compared, shown = geant4
    plot = profile(both(compared), "x")
    assert image_of(render(plot, (label, "b"))).tobytes() != image_of(render(plot, ("", "b"))).tobytes()
    image_of(render(shown[0], (label, "b")))


def test_empty_and_undefined_bins_are_drawn_as_such(geant4: tuple[Comparison, list[Plot]]) -> None:
    compared, _ = geant4
    plot = profile(both(compared), "z")
    reference, candidate = (histogram.copy() for histogram in plot.histograms)
    reference.view()["value"][:5] = 0
    candidate.view()["value"][3:8] = np.nan
    for log in (False, True):
        image_of(render(replace(plot, histograms=(reference, candidate), log_y=log), LABELS))
    for histogram in (reference, candidate):
        histogram.view()["value"] = histogram.view()["variance"] = 0
    image_of(render(replace(plot, histograms=(reference, candidate), log_y=True), LABELS))


def test_the_candidates_colour_shows_only_where_it_differs(
    geant4: tuple[Comparison, list[Plot]],
) -> None:
    """A picture with the candidate doubled has other pixels; the same data give the same picture."""
    compared, _ = geant4
    plot = profile(both(compared), "z")
    first, again = render(plot, LABELS), render(plot, LABELS)
    assert first == again
    doubled = render(replace(plot, scale=(1.0, 2.0)), LABELS)
    assert image_of(doubled).tobytes() != image_of(first).tobytes()


def test_several_processes_draw_the_same_plots_in_order(geant4: tuple[Comparison, list[Plot]]) -> None:
    compared, shown = geant4
    plots = [profile(both(compared), axis) for axis in "xyz"] + shown[:1]
    calls: list[tuple[int, int]] = []
    alone = list(render_all(plots, LABELS))
    together = list(
        render_all(
            plots, LABELS, workers=2, progress=lambda done, total, **_: calls.append((done, total))
        )
    )
    assert [plot.name for plot, _ in together] == [plot.name for plot in plots]
    assert [image for _, image in together] == [image for _, image in alone]
    assert calls == [(n, 4) for n in range(1, 5)]

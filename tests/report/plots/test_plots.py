"""The catalogue has every plot of the published validation, and each is drawn as what it is."""

from __future__ import annotations

import csv
import io
import math
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import PATIENCE_S, runs, wait_until
from PIL import Image, ImageColor
from shower_samples import random_showers

from caloforge.comparison.samples import Sample, accumulate
from caloforge.comparison.selections import choose_selections
from caloforge.detector import Grid
from caloforge.files import shower_file, shower_writer
from caloforge.files.shower_file import ShowerFile
from caloforge.foundations.units import DEGREE, GEV
from caloforge.observables.definitions import OBSERVABLES
from caloforge.report.page.builder import _figure
from caloforge.report.plots import panels
from caloforge.report.plots.catalogue import TOPICS, catalogue, displays
from caloforge.report.plots.classifiers import auc_curves, roc_curves
from caloforge.report.plots.curves import Curves, shown
from caloforge.report.plots.draw import picture, render, render_all
from caloforge.report.plots.histograms import Plot, axis_label, map_of, matrix
from caloforge.report.plots.maps import display
from caloforge.report.plots.style import look
from caloforge.report.plots.tables import table
from caloforge.showers import Showers

LABELS = ("Geant4", "3DGAN")
DATA = Path(str(resources.files("caloforge"))) / "data"
LEMURS = Grid(
    "lemurs", (4, 8, 6), ("r", "phi", "layer"), cell_size=(4.65, math.pi / 4), layer_pitch_mm=3.4
)

Made = tuple[list[Sample], list[Plot]]


def read(folder: Path, *parts: Showers) -> Made:
    """Write some showers, the reference first; give what is read of them, and their event displays."""
    for index, showers in enumerate(parts):
        shower_writer.write(folder / f"{index}.h5", showers)
    files = [ShowerFile(folder / f"{index}.h5") for index in range(len(parts))]
    selections, _ = choose_selections(*(file.conditions for file in files))
    grid = replace(parts[0].grid, threshold_MeV=0.001)
    samples = [accumulate(file, selections, grid=grid) for file in files]
    shown = list(displays(files, 0.001))
    for file in files:
        file.close()
    return samples, shown


def scored(sample: Sample, seed: int) -> Sample:
    """Add what classifiers and a regression would give."""
    rng = np.random.default_rng(seed)
    score = rng.random(len(sample)).astype(np.float32)
    score[::2] = np.nan  # showers that a classifier has learned from
    energy = sample.conditions.incident_energy * rng.normal(1, 0.05, len(sample)).astype(np.float32)
    learned = {
        "score_low": score,
        "score_high": score,
        "reconstructed_energy": energy,
        "energy_error": energy / sample.conditions.incident_energy - 1,
    }
    return replace(sample, values=sample.values | learned)


def judged(samples: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    """Pair the reference with each candidate, as the classifiers that scored them."""
    return [(samples[0], candidate) for candidate in samples[1:]]


@pytest.fixture(scope="module")
def geant4(tmp_path_factory: pytest.TempPathFactory) -> Made:
    test, train = (shower_file.read(DATA / f"clic-ecal-{part}.h5") for part in ("test", "train"))
    samples, shown = read(tmp_path_factory.mktemp("geant4"), test, train[:400])
    return [scored(sample, seed) for seed, sample in enumerate(samples)], shown


@pytest.fixture(scope="module")
def plots(geant4: Made) -> dict[str, Plot]:
    return {plot.name: plot for plot in catalogue(geant4[0], judged(geant4[0]))}


def image_of(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    image.load()
    return image.convert("RGB")


def pixels(plot: Plot, labels: Sequence[str] = LABELS) -> bytes:
    return image_of(render(plot, labels)).tobytes()


def test_there_are_more_plots_than_were_published(geant4: Made) -> None:
    """400 against 400 showers, of which the published windows of 10 GeV hold too few."""
    made = list(catalogue(geant4[0], judged(geant4[0])))
    assert 309 <= len(made) < 900
    names = [plot.name for plot in made]
    assert len(set(names)) == len(names)  # names become files
    assert all(re.fullmatch(r"[A-Za-z0-9_.+-]+", name) for name in names)
    topics = list(dict.fromkeys(plot.topic for plot in made))
    assert topics == [topic for topic in TOPICS if topic != "Event displays"]
    assert {plot.observable for plot in made} <= set(OBSERVABLES) | {""}
    assert {plot.where for plot in made} == {s.title for s in geant4[0][0].selections}


def test_every_published_plot_is_there_for_each_energy(geant4: Made, plots: dict[str, Plot]) -> None:
    """The list of the published validation, in our names."""
    of_energy = ["total_deposit", "hits_300keV", "reconstructed_energy", "energy_error"]
    of_energy += ["score_low", "score_high", "measured_angle"]
    of_energy += [f"moment{order}_{axis}" for axis in "xyz" for order in (1, 2, 3)]
    of_energy += [f"maximum_{axis}" for axis in "xyz"]
    wanted = {f"{name}_{selection.name}" for name in of_energy for selection in geant4[0][0].selections}
    for selection in geant4[0][0].selections:
        wanted |= {f"maximum_{axis}_{selection.name}_log" for axis in "xyz"}
        wanted |= {
            f"profile_{axis}_{selection.name}_{scale}" for axis in "xyz" for scale in ("linear", "log")
        }
    wanted |= {"sampling_fraction_mean_against_energy", "total_deposit_relative_error_all"}
    wanted |= {"total_deposit_relative_error_against_energy", "sparsity", "correlations_all"}
    assert wanted <= set(plots)
    assert len(wanted) > 150


def test_the_other_plots_are_there_too(plots: dict[str, Plot]) -> None:
    layers = ("deposit", "x", "y", "width_x", "width_y", "sparsity")
    wanted = {f"layer{layer:02d}_{what}" for layer in range(25) for what in layers}
    wanted |= {f"layer_{what}_all_linear" for what in layers[1:]}
    wanted |= {
        "radial_profile_all_linear",
        "radial_profile_all_log",
        "barycentre_depth_all",
        "length_all",
    }
    wanted |= {"layer_correlations_all", "cell_energy_all", "leakage_all_log", "first_layer_all"}
    wanted |= {
        "energy_error_spread_against_energy",
        "angle_error_spread_against_energy",
        "radius_90_all",
    }
    assert wanted <= set(plots)


def test_a_report_begins_with_response_linearity_and_resolution(geant4: Made) -> None:
    """A beam's spectrum tells of its energies alone, and single layers are for who looks for them."""
    made = list(catalogue(geant4[0]))
    assert [plot.name for plot in made[:3]] == [
        f"{what}_at_single_energies" for what in ("response", "linearity", "resolution")
    ]
    assert {plot.name for plot in made if plot.folded} == {
        plot.name for plot in made if re.match(r"layer\d", plot.name)
    }


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("response", ["sampling_fraction_mean_against_energy"]),
        ("linearity", ["total_deposit_relative_error_against_energy"]),
        ("resolution", ["sampling_fraction_relative_spread_against_energy"]),
        ("moliere", ["radius_90_all", "radius_95_mean_against_energy"]),
        ("roc", ["score_low_all", "score_high_all"]),
        ("classifier", ["score_low_all", "score_high_all"]),
    ],
)
def test_plots_are_found_by_the_words_of_the_field(
    plots: dict[str, Plot], word: str, names: list[str]
) -> None:
    words = {name: _figure(plots[name], bytes(24), LABELS)["words"] for name in (*names, "hits_all")}
    assert [name for name in words if word in words[name].split()] == names


def test_tilted_showers_get_windows_and_maps_of_the_angle(tmp_path: Path) -> None:
    samples, _ = read(tmp_path, random_showers(300, seed=1), random_showers(300, seed=2))
    samples = [scored(sample, seed) for seed, sample in enumerate(samples)]
    plots = {plot.name: plot for plot in catalogue(samples, judged(samples))}
    for name in ("axis_angle_against_incident", "axis_angle_against_reference_all"):
        assert plots[name].kind == "maps"
        assert plots[name].histograms[1].values().sum() > 0.9 * 300
    wanted = {f"profile_{a}_theta62deg_{scale}" for a in "xyz" for scale in ("linear", "log")}
    wanted |= {
        f"{name}_theta62deg"
        for name in ("measured_angle", "axis_angle", "angle_error", "score_low", "energy_error")
    }
    wanted |= {"barycentre_x_against_impact", "barycentre_y_against_impact", "offset_y_all"}
    wanted |= {"axis_angle_mean_against_angle", "angle_error_spread_against_angle"}
    assert wanted <= set(plots)
    assert pixels(plots["axis_angle_against_reference_all"])


def test_a_file_against_itself_lies_on_the_diagonal_of_pairs(tmp_path: Path) -> None:
    """Showers of equal conditions meet: those of the same file agree, neighbours do not."""
    showers = random_showers(300, seed=1)
    samples, _ = read(tmp_path, showers, showers)
    plot = next(p for p in catalogue(samples) if p.name == "measured_angle_against_reference_all")
    neighbours, same = (h.values() for h in plot.histograms)
    x, y = plot.histograms[1].axes
    column, row = np.nonzero(same)
    assert (np.abs(x.centers[column] - y.centers[row]) < 2 * max(x.widths.max(), y.widths.max())).all()
    assert np.count_nonzero(neighbours) > 3 * np.count_nonzero(same)


def test_all_kinds_are_drawn_for_cylinders(tmp_path: Path) -> None:
    samples, displayed = read(tmp_path, random_showers(50, LEMURS), random_showers(50, LEMURS, seed=2))
    plots = {plot.name: plot for plot in catalogue(samples, judged(samples))}
    wanted = {"profile_r_all_linear", "profile_phi_all_log", "moment2_layer_all", "width_across_all"}
    assert wanted | {"layer05_width_x", "barycentre_x_against_impact"} <= set(plots)
    assert not {name for name in plots if "angle" in name and "_against_angle" not in name}
    assert axis_label(LEMURS, "phi") == "phi [cell of 0.7854 rad]"
    assert axis_label(LEMURS, "r") == "r [cell of 4.65 mm]"
    assert displayed[0].histograms[0].axes[2].label == "layer [of 3.4 mm]"
    chosen = [next(p for p in plots.values() if p.kind == kind) for kind in ("curves", "maps", "matrix")]
    for plot in (*chosen, displayed[0]):
        assert pixels(plot)


def test_of_many_layers_thirty_are_drawn_and_that_is_said(tmp_path: Path) -> None:
    deep = Grid("deep", (3, 3, 45), cell_size=(5.0, 5.0), layer_pitch_mm=2.0)
    samples, _ = read(tmp_path, random_showers(30, deep), random_showers(30, deep, seed=2))
    curves = Curves(samples)
    assert len(curves.layers) == 30
    assert {0, 44} < set(curves.layers)
    plot = curves.layer("layer_sparsity", 44)
    assert plot is not None
    assert plot.title.endswith("layer 44 (of 45, 30 are drawn)")


def test_a_distribution_counts_every_shower_once(geant4: Made, plots: dict[str, Plot]) -> None:
    for name, values in geant4[0][0].values.items():
        plot = Curves(geant4[0]).distribution(name)
        assert plot is not None
        assert plot.histograms[0].values().sum() == np.isfinite(values).sum() == plot.showers[0]
        for histogram, scale in zip(plot.histograms, plot.scale, strict=True):
            assert (histogram.values() * scale).sum() == pytest.approx(1)
            assert histogram.axes[0].label == shown(name)[0]
    assert plots["measured_angle_all"].histograms[0].axes[0].label == "Measured angle [degree]"
    assert plots["score_low_all"].showers == (200, 200)


def test_profiles_and_spectra_hold_means_and_their_errors(geant4: Made, plots: dict[str, Plot]) -> None:
    selection = geant4[0][0].selections[1]
    plot = plots[f"profile_z_{selection.name}_linear"]
    showers = shower_file.read(DATA / "clic-ecal-test.h5").above(0.001)
    inside = selection.mask(showers.conditions)
    layers = showers.deposits[inside].sum(axis=(1, 2))
    np.testing.assert_allclose(plot.histograms[0].values(), layers.mean(axis=0), rtol=1e-5)
    error = layers.std(axis=0, ddof=1) / np.sqrt(len(layers))
    np.testing.assert_allclose(np.sqrt(plot.histograms[0].variances()), error, rtol=1e-3)
    assert plot.showers[0] == inside.sum()
    hits = np.count_nonzero(showers.deposits) / len(showers)
    assert plots["cell_energy_all"].histograms[0].values().sum() == pytest.approx(hits)
    layer = plots["layer07_deposit"].histograms[0]
    assert layer.values().sum() == 400
    middle = layer.axes[0].centers @ layer.values() / 400
    deposit = showers.deposits[..., 7].sum(axis=(1, 2)).mean()
    assert middle == pytest.approx(deposit, abs=layer.axes[0].widths[0])


def test_the_sparsity_curve_is_the_fraction_of_cells_above_each_threshold(
    plots: dict[str, Plot],
) -> None:
    curve = plots["sparsity"].histograms[0]
    deposits = shower_file.read(DATA / "clic-ecal-test.h5").above(0.001).deposits
    for place in (5, 75, 90, 105, 120):
        threshold = curve.axes[0].edges[place] * GEV
        assert curve.values()[place] == pytest.approx((deposits > threshold).mean(), rel=1e-3)
    assert (np.diff(curve.values()) <= 1e-12).all()


def test_trends_leave_thin_bins_empty(geant4: Made, plots: dict[str, Plot]) -> None:
    plot = plots["sampling_fraction_mean_against_energy"]
    edges = plot.histograms[0].axes[0].edges * GEV
    for sample, histogram in zip(geant4[0], plot.histograms, strict=True):
        energy = sample.conditions.incident_energy
        for low, high, value in zip(edges[:-1], edges[1:], histogram.values(), strict=True):
            inside = (energy >= low) & (energy < high)
            if inside.sum() < 20:
                assert np.isnan(value)
            else:
                mean = sample.values["sampling_fraction"][inside].mean()
                assert value == pytest.approx(mean, rel=1e-5)


def test_what_balances_around_zero_is_compared_by_difference(plots: dict[str, Plot]) -> None:
    """A ratio of two means that should be zero is noise."""
    assert plots["angle_error_mean_against_energy"].difference
    assert plots["layer_x_all_linear"].difference
    assert plots["moment3_x_mean_against_energy"].difference
    assert not plots["angle_error_spread_against_energy"].difference
    assert not plots["angle_error_all"].difference  # fractions of showers


def test_correlations_are_those_of_the_showers(geant4: Made, plots: dict[str, Plot]) -> None:
    sample, found = geant4[0][0], plots["correlations_all"].histograms[0]
    names = list(found.axes[0])
    assert names == list(found.axes[1])
    assert len(names) == 15
    a, b = sample.values["moment1_z"], sample.values["hits"]
    wanted = np.corrcoef(a, b)[0, 1]
    assert found.values()[names.index("z 1"), names.index("hits")] == pytest.approx(wanted, abs=1e-4)
    np.testing.assert_allclose(np.diag(found.values()), 1)
    assert plots["layer_correlations_all"].histograms[0].values().shape == (25, 25)


def test_the_table_of_a_plot_is_its_histograms(plots: dict[str, Plot], geant4: Made) -> None:
    for name in ("profile_x_all_log", "total_deposit_all", "layer_correlations_all"):
        plot = plots[name]
        header, *rows = csv.reader(io.StringIO(table(plot, LABELS)))
        axis = plot.histograms[0].axes[0]
        assert header[:2] == [f"{axis.label} from", f"{axis.label} to"]
        assert header[-4:-2] == [f"Geant4: {plot.y_label}", "Geant4: error"]
        numbers = np.array(rows, dtype=float)
        assert len(numbers) == math.prod(plot.histograms[0].axes.size)
        for column, histogram, scale in zip((-4, -2), plot.histograms, plot.scale, strict=True):
            values, errors = histogram.values().ravel(), np.sqrt(histogram.variances().ravel())
            np.testing.assert_allclose(numbers[:, column], values * scale, rtol=1e-6)
            np.testing.assert_allclose(numbers[:, column + 1], errors * scale, rtol=1e-6)
    header, first, *_ = csv.reader(io.StringIO(table(plots["correlations_all"], LABELS)))
    assert header[:2] == ["observable", "other observable"]
    assert first[:3] == ["x 1", "x 1", "1"]
    header, *cells = csv.reader(io.StringIO(table(geant4[1][0], LABELS)))
    assert header[-2:] == ["Geant4: Deposit [MeV]", "3DGAN: Deposit [MeV]"]
    assert len(cells) < 25**3 / 2
    total = sum(float(row[-2]) for row in cells)
    assert total == pytest.approx(geant4[1][0].histograms[0].values().sum(), rel=1e-4)


def test_undefined_numbers_are_empty_in_the_table(plots: dict[str, Plot]) -> None:
    plot = plots["sampling_fraction_mean_against_energy"]
    histogram = plot.histograms[0].copy()
    histogram.view()["value"][0] = np.nan
    rows = list(csv.reader(io.StringIO(table(replace(plot, histograms=(histogram, histogram)), LABELS))))
    assert rows[1][2] == ""
    assert float(rows[2][2]) > 0


@pytest.mark.parametrize("label", [r"$\frac{", "_hidden", "é 日本 😀", "<b>&", "x" * 40])
def test_any_label_can_be_drawn(geant4: Made, plots: dict[str, Plot], label: str) -> None:
    """Neither mathematics, nor a name that matplotlib hides, nor glyphs that the font lacks."""
    plot = plots["profile_x_all_linear"]
    assert pixels(plot, (label, "b")) != pixels(plot, ("", "b"))
    assert pixels(plots["correlations_all"], (label, "b"))
    assert pixels(geant4[1][0], (label, "b"))


def test_empty_and_undefined_bins_are_drawn_as_such(plots: dict[str, Plot]) -> None:
    plot = plots["profile_z_all_linear"]
    reference, candidate = (histogram.copy() for histogram in plot.histograms)
    reference.view()["value"][:5] = 0
    candidate.view()["value"][3:8] = np.nan
    for log in (False, True):
        holes = replace(plot, histograms=(reference, candidate), log_y=log)
        full = replace(holes, histograms=(reference, plot.histograms[1]))
        assert pixels(holes) != pixels(full)
    for histogram in (reference, candidate):
        histogram.view()["value"] = histogram.view()["variance"] = 0
    assert pixels(replace(plot, histograms=(reference, candidate), log_y=True))
    for histogram in (reference, candidate):
        histogram.view()["value"] = np.nan
    for difference in (False, True):
        assert pixels(replace(plot, histograms=(reference, candidate), difference=difference))


@pytest.mark.parametrize("name", ["profile_z_all_linear", "total_deposit_all_log", "map"])
def test_thin_samples_are_said(geant4: Made, plots: dict[str, Plot], name: str) -> None:
    """Fewer than 20 showers put a warning into the frame; curves of them are faint."""
    if name == "map":
        made = Curves(geant4[0]).trend("hits")
        assert made is not None
        edges = np.arange(4.0)
        two = map_of((edges, edges), ("x", "y"), np.eye(3))
        plot = replace(made, kind="maps", histograms=(two, two))
    else:
        plot = plots[name]
    few, enough = (replace(plot, showers=(400, n)) for n in (19, 20))
    changed = np.argwhere(
        np.any(
            np.array(image_of(render(few, LABELS))) != np.array(image_of(render(enough, LABELS))), axis=2
        )
    )
    assert len(np.unique(changed[:, 0])) > 15  # a line of text beside the legend's changed digit


@pytest.mark.long
def test_six_candidates_are_told_apart(plots: dict[str, Plot], geant4: Made) -> None:
    labels = ("Geant4", *(f"model {i}" for i in range(6)))

    def many(plot: Plot) -> Plot:
        return replace(
            plot,
            histograms=(plot.histograms[0], *(plot.histograms[1] * (1 + 0.1 * i) for i in range(6))),
            scale=(plot.scale[0], *plot.scale[1:] * 6),
            showers=(400,) * 7,
        )

    image = np.array(image_of(render(many(plots["profile_z_all_linear"]), labels))).reshape(-1, 3)
    saturated = image[np.ptp(image.astype(int), axis=1) > 100]
    hues = {tuple(colour) for colour in (saturated // 64)}
    assert len(hues) >= 5
    assert len(table(many(plots["total_deposit_all"]), labels).splitlines()[0].split(",")) == 2 + 2 * 7
    for plot in (plots["layer_correlations_all"], geant4[1][0]):
        one, seven = (image_of(render(p, labels[: len(p.histograms)])) for p in (plot, many(plot)))
        assert seven.height > 2 * one.height  # a row for each


@pytest.mark.long
def test_three_samples_make_plots_of_three(tmp_path: Path) -> None:
    samples, displayed = read(tmp_path, *(random_showers(60, seed=seed) for seed in range(3)))
    for plot in (*catalogue(samples), *displayed):
        assert len(plot.histograms) == len(plot.scale) == len(plot.showers) == 3
    for kind in ("curves", "maps", "matrix", "display"):
        plot = next(p for p in (*catalogue(samples), *displayed) if p.kind == kind)
        assert pixels(plot, ("a", "b", "c"))


def test_the_candidates_colour_shows_only_where_it_differs(plots: dict[str, Plot]) -> None:
    """A picture with the candidate doubled has other pixels; the same data give the same picture."""
    plot = plots["profile_z_all_linear"]
    assert render(plot, LABELS) == render(plot, LABELS)
    assert pixels(replace(plot, scale=(1.0, 2.0))) != pixels(plot)


def test_displays_show_showers_of_equal_energy(geant4: Made) -> None:
    """A shower of each file, as near as can be; its cells are the histogram's."""
    _, displayed = geant4
    assert [plot.name for plot in displayed] == [f"display_{n}" for n in range(1, 6)]
    assert {plot.topic for plot in displayed} == {"Event displays"}
    energies = [float(plot.where.removesuffix(" GeV")) for plot in displayed]
    assert energies == sorted(energies)
    for plot in displayed:
        deposits = [histogram.values().sum() for histogram in plot.histograms]
        assert deposits[1] == pytest.approx(deposits[0], rel=0.5)


@pytest.mark.parametrize(
    "shape", [(25, 25, 25), (51, 51, 25), (15, 15, 30), (9, 16, 1000), (2, 2, 2)], ids=str
)
def test_labels_of_displays_stand_apart(shape: tuple[int, int, int]) -> None:
    """Numbers at the ticks of a frame, and the names of its axes, have air between them."""
    deposits = np.zeros((1, *shape), np.float32)
    deposits[0, 0, 0, 0] = deposits[0, -1, -1, -1] = 5.0
    beam = np.array([1e4], np.float32), np.array([1.57], np.float32)
    shower = Showers(deposits, *beam, Grid("any", shape, cell_size=(5.1, 5.1), layer_pitch_mm=3.5))
    boxes: list[list[tuple[str, Any]]] = []

    def fill(figure: Any) -> None:
        panels.displays(figure, display("one", [shower]), ["Geant4"])
        figure.draw_without_rendering()
        for frame in figure.axes:
            axes = [frame.xaxis, frame.yaxis, *([frame.zaxis] if frame.name == "3d" else [])]
            texts = [axis.label for axis in axes]
            for axis in axes:
                low, high = axis.get_view_interval()
                texts += [t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
            shown = [text for text in texts if text.get_visible() and text.get_text()]
            boxes.append([(text.get_text(), text.get_window_extent().padded(2)) for text in shown])

    picture(fill)
    assert [len(found) > 5 for found in boxes[:4]] == [True] * 4
    for found in boxes:
        for (one, box), (other, beside) in combinations(found, 2):
            assert not box.overlaps(beside), (one, other)


def test_a_scale_of_colours_keeps_its_steps() -> None:
    """Correlations of -0.03, 0, 0.03 and 1 have a colour each, and none that of the paper."""
    correlation = np.array([[1, 0.03, 0], [0.03, 1, -0.03], [0, -0.03, 1]])
    kept = (matrix(["a", "b", "c"], correlation, 100),) * 2
    plot = Plot("m", "m", "matrix", kept, scale=(1.0, 1.0), showers=(100, 100), y_label="r")
    image = image_of(render(plot, LABELS))
    large = 0.03 * image.width * image.height
    assert sum(count > large for count, _ in image.getcolors(1 << 24) or []) == 5


def test_a_displays_label_has_its_candidates_colour(geant4: Made) -> None:
    colours = image_of(render(geant4[1][0], LABELS)).getcolors(1 << 24) or []
    assert ImageColor.getrgb(look(0)[0]) in {colour for _, colour in colours}


def test_curves_are_small_files(plots: dict[str, Plot]) -> None:
    """A page holds hundreds of them."""
    chosen = [plot for plot in plots.values() if plot.kind == "curves"][::40]
    images = [render(plot, LABELS) for plot in chosen]
    assert np.mean([len(image) for image in images]) < 25_000


@pytest.mark.process
def test_several_processes_draw_the_same_plots_in_order(geant4: Made, plots: dict[str, Plot]) -> None:
    chosen = [plots[f"profile_{axis}_all_linear"] for axis in "xyz"] + geant4[1][:1]
    calls: list[tuple[int, int]] = []
    alone = list(render_all(chosen, LABELS))
    together = list(
        render_all(
            chosen, LABELS, workers=2, progress=lambda done, total, **_: calls.append((done, total))
        )
    )
    assert [plot.name for plot, _ in together] == [plot.name for plot in chosen]
    assert [image for _, image in together] == [image for _, image in alone]
    assert calls == [(n, 4) for n in range(1, 5)]


def test_angles_are_drawn_in_degrees(geant4: Made, plots: dict[str, Plot]) -> None:
    histogram = plots["measured_angle_all"].histograms[0]
    mean = histogram.axes[0].centers @ histogram.values() / histogram.values().sum()
    assert mean == pytest.approx(geant4[0][0].values["measured_angle"].mean() / DEGREE, abs=0.5)


def test_scores_are_shown_for_each_candidates_own_classifier(geant4: Made) -> None:
    samples = [*geant4[0], geant4[0][1]]
    made = [p for p in catalogue(samples, judged(samples)) if p.observable.startswith("score_")]
    assert {plot.members for plot in made} == {(0, 1), (0, 2)}
    assert len({plot.name for plot in made}) == len(made)
    plot = next(p for p in made if p.members == (0, 2))
    assert plot.of(("Geant4", "A", "B")) == ["Geant4", "B"]
    assert "B: " in table(plot, ("Geant4", "A", "B"))
    assert "A: " not in table(plot, ("Geant4", "A", "B"))
    assert render(plot, ("Geant4", "A", "B")) != render(plot, ("Geant4", "A", "C"))


DRAWN = """
import pickle, sys
from caloforge.report.plots.draw import render
plot = pickle.loads(sys.stdin.buffer.read())
sys.stdout.buffer.write(render(plot, ("Geant4", "3DGAN")))
assert "matplotlib.pyplot" not in sys.modules
"""

MATPLOTLIBRC = """
backend: nosuch
text.usetex: True
font.size: 40
lines.linewidth: 9
axes.formatter.use_locale: True
axes.facecolor: red
savefig.dpi: 5
nosuch.setting: 3
"""


@pytest.mark.process
@pytest.mark.parametrize("where", ["cwd", "MATPLOTLIBRC", "MPLCONFIGDIR", "XDG_CONFIG_HOME"])
def test_a_plot_is_the_same_whatever_is_set_up_for_other_figures(
    plots: dict[str, Plot], tmp_path: Path, where: str
) -> None:
    """A notebook sets a backend that is nowhere else; a matplotlibrc may be in four places."""
    plot = plots["total_deposit_all"]
    folder = tmp_path / ("matplotlib" if where == "XDG_CONFIG_HOME" else "")
    folder.mkdir(exist_ok=True)
    (folder / "matplotlibrc").write_text(MATPLOTLIBRC)
    environment = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.nosuch"}
    if where != "cwd":
        environment[where] = str(tmp_path)
    drawn = subprocess.run(
        [sys.executable, "-c", DRAWN],
        input=pickle.dumps(plot),
        cwd=tmp_path if where == "cwd" else None,
        env=environment,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert drawn.stderr == b""
    assert drawn.stdout == render(plot, LABELS)


def test_settings_of_this_process_have_no_say_and_stay(plots: dict[str, Plot]) -> None:
    import matplotlib as mpl

    plot = plots["total_deposit_all"]
    expected = render(plot, LABELS)
    with mpl.rc_context({"text.usetex": True, "font.size": 40, "axes.facecolor": "red"}):
        assert render(plot, LABELS) == expected
        assert mpl.rcParams["font.size"] == 40


DRAWS = """
import pickle, sys
from multiprocessing import active_children
from caloforge.report.plots.draw import render_all

if __name__ == "__main__":
    plot = pickle.loads(sys.stdin.buffer.read())
    drawn = render_all([plot] * 1000, ("Geant4", "3DGAN"), workers=2)
    next(drawn)
    print(*(child.pid for child in active_children()), flush=True)
    for _ in drawn:
        pass
"""


@pytest.mark.process
def test_drawing_processes_end_with_the_one_that_wants_the_plots(
    plots: dict[str, Plot], tmp_path: Path
) -> None:
    script = tmp_path / "draws.py"
    script.write_text(DRAWS)
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, str(script)], stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pickle.dumps(plots["total_deposit_all"]))
        process.stdin.close()
        pids = [int(pid) for pid in process.stdout.readline().split()]
        process.kill()
        assert len(pids) == 2
        wait_until(lambda: not any(map(runs, pids)))


def test_a_table_holds_no_formula(plots: dict[str, Plot]) -> None:
    """A spreadsheet works out a text that begins like one; numbers stay numbers."""
    labels = ('=HYPERLINK("http://x")', "@x")
    rows = list(csv.reader(io.StringIO(table(plots["total_deposit_relative_error_all"], labels))))
    assert any(cell.startswith("'=HYPERLINK") for cell in rows[0])
    assert any(cell.startswith("'@x") for cell in rows[0])
    assert not any(cell[:1] in ("=", "+", "-", "@") for cell in rows[0])
    numbers = [cell for row in rows[1:] for cell in row if cell]
    assert any(cell.startswith("-") for cell in numbers)
    assert all(math.isfinite(float(cell)) for cell in numbers)


CURVE = {
    "sizes": [400, 1000, 1300], "auc": [0.6, 0.63, None], "auc_err": [0.02, 0.01, None],
    "floor_sizes": [400, 650], "floor": [0.49, 0.5], "floor_err": [0.03, 0.02],
}  # fmt: skip


def test_the_auc_over_the_number_of_showers_stands_beside_the_floor() -> None:
    other = {**CURVE, "sizes": [400, 900], "auc": [0.7, 0.75], "auc_err": [0.01, 0.01]}
    numbers = [{"auc_curve": {"low": curve, "high": curve}} for curve in (CURVE, other)]
    low, high = auc_curves(numbers)
    assert (low.name, high.name) == ("auc_curve_low", "auc_curve_high")
    names = ("Geant4", "3DGAN", "Other")
    rows = list(csv.DictReader(io.StringIO(table(low, names))))
    assert [row["Showers of each sample"] for row in rows] == ["400", "650", "900", "1000"]
    assert [row["Geant4: AUC"] for row in rows] == ["0.49", "0.5", "", ""]
    assert [row["3DGAN: error"] for row in rows] == ["0.02", "", "", "0.01"]
    assert [row["Other: AUC"] for row in rows] == ["0.7", "", "0.75", ""]
    with Image.open(io.BytesIO(render(low, names))) as image:
        assert image.width / image.height == pytest.approx(5.6 / 4.7, rel=0.01)


def test_the_curves_of_a_protocol_are_drawn_too_and_what_is_unknown_is_not() -> None:
    one = {
        "sizes": [30],
        "auc": [None],
        "auc_err": [None],
        "floor_sizes": [15],
        "floor": [None],
        "floor_err": [None],
    }
    numbers = {
        "auc_curve": {"low": one, "high": CURVE},
        "calochallenge.auc_curve": {"low": CURVE, "high": CURVE},
    }
    names = [plot.name for plot in auc_curves([numbers])]
    assert names == ["auc_curve_high", "calochallenge_auc_curve_low", "calochallenge_auc_curve_high"]
    assert not list(auc_curves([{}]))


def test_roc_curves_show_every_candidate_beside_a_coin_toss(tmp_path: Path) -> None:
    samples, _ = read(
        tmp_path, random_showers(60), random_showers(60, seed=2), random_showers(60, seed=3)
    )
    rng = np.random.default_rng(0)
    scored = [
        replace(
            s, values={**s.values, "score_low": rng.uniform(0, 1, 60).astype(np.float32) + 2 * number}
        )
        for number, s in enumerate(samples)
    ]
    (low,) = roc_curves([(scored[0], scored[0]), (scored[0], scored[2])])
    toss, same, apart = (histogram.values() for histogram in low.histograms)
    np.testing.assert_allclose(toss, low.histograms[0].axes[0].centers)
    assert same.mean() == pytest.approx(0.5)
    np.testing.assert_allclose(apart, 1)
    assert not list(roc_curves([(samples[0], samples[1])]))

"""histograms.root holds the plots' histograms as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import uproot
from shower_samples import random_showers

from caloforge.comparison.samples import accumulate
from caloforge.comparison.selections import choose_selections
from caloforge.files import shower_writer
from caloforge.files.shower_file import ShowerFile
from caloforge.report.plots.catalogue import catalogue, displays
from caloforge.report.plots.histograms import Plot
from caloforge.report.plots.root_file import write_root


@pytest.fixture(scope="module")
def plots(tmp_path_factory: pytest.TempPathFactory) -> list[Plot]:
    path = tmp_path_factory.mktemp("root") / "showers.h5"
    shower_writer.write(path, random_showers(60))
    with ShowerFile(path) as file:
        selections, _ = choose_selections(file.conditions, file.conditions)
        sample = accumulate(file, selections, grid=file.grid)
        return [*catalogue([sample, sample]), *displays([file, file], 0.001)]


def test_every_histogram_comes_back_with_its_errors(plots: list[Plot], tmp_path: Path) -> None:
    write_root(tmp_path / "histograms.root", plots, ("Geant4", "3DGAN"))
    with uproot.open(tmp_path / "histograms.root") as file:
        for plot in plots:
            for label, ours in zip(("Geant4", "3DGAN"), plot.histograms, strict=True):
                theirs = file[f"{label}/{plot.name}"]
                assert theirs.classname == f"TH{len(ours.axes)}D"
                np.testing.assert_array_equal(theirs.values(), np.nan_to_num(ours.values()))
                if plot.kind == "display":
                    continue
                undefined = np.isnan(ours.values() + ours.variances())
                wanted = np.where(undefined, 0, ours.variances())
                np.testing.assert_array_equal(theirs.variances(), wanted)
                assert theirs.title.startswith(plot.title)
                for axis, name in zip(ours.axes, "xy", strict=False):
                    assert theirs.member(f"f{name.upper()}axis").member("fTitle") == axis.label
        names = file["Geant4/correlations_all"].axis("x").labels()
    assert names[:3] == ["x 1", "x 2", "x 3"]


def test_a_bin_without_value_is_zero_with_no_error(plots: list[Plot], tmp_path: Path) -> None:
    """ROOT draws no axis around a number that is none."""
    plot = next(p for p in plots if p.name == "hits_mean_against_energy")
    holes = plot.histograms[0].copy()
    holes.view()["value"][0] = np.nan
    write_root(tmp_path / "h.root", [replace(plot, histograms=(holes, holes))], ("a", "b"))
    with uproot.open(tmp_path / "h.root") as file:
        read = file[f"a/{plot.name}"]
    assert (read.values()[0], read.variances()[0]) == (0, 0)
    assert np.isnan(holes.values()[0])


def test_any_labels_make_different_folders(plots: list[Plot], tmp_path: Path) -> None:
    labels = ("Geant4 / 11.3", "Geant4_11.3", "日本", "..", "日本")
    plot = plots[0]
    five = replace(plot, histograms=(plot.histograms[0],) * 5, scale=(1.0,) * 5, showers=(60,) * 5)
    write_root(tmp_path / "h.root", [five], labels)
    with uproot.open(tmp_path / "h.root") as file:
        folders = {key.split("/")[0].split(";")[0] for key in file.iterkeys()}
    assert len(folders) == 5
    assert "Geant4_11.3" in folders


def test_the_same_label_twice_cannot_hide_a_sample(plots: list[Plot], tmp_path: Path) -> None:
    plot = plots[0]
    three = replace(plot, histograms=(plot.histograms[0],) * 3, scale=(1.0,) * 3, showers=(60,) * 3)
    write_root(tmp_path / "h.root", [three], ("a b", "a_b", "a_b_1"))
    with uproot.open(tmp_path / "h.root") as file:
        assert len([key for key in file.iterkeys() if "/" in key]) == 3

"""A report of few showers and as many plots as one asks for, made within a second."""

from __future__ import annotations

import io
from dataclasses import replace
from importlib import resources
from itertools import cycle, groupby, islice, pairwise, product
from pathlib import Path
from typing import Any

import hist
import numpy as np
from PIL import Image, ImageDraw

from caloforge.comparison.differences import Comparison, Metrics
from caloforge.comparison.requirements import judge, load_requirements
from caloforge.comparison.samples import accumulate
from caloforge.comparison.selections import INCLUSIVE, Selection
from caloforge.files import shower_file, shower_writer
from caloforge.files.shower_file import ShowerFile
from caloforge.foundations.units import GEV
from caloforge.observables.definitions import OBSERVABLES
from caloforge.report.page.content import Report, Source
from caloforge.report.plots.catalogue import TOPICS, catalogue
from caloforge.report.plots.histograms import Plot

DATA = Path(str(resources.files("caloforge"))) / "data" / "clic-ecal-test.h5"

HOSTILE = ('<script>alert("1")</script>', "\"><img src='http://evil/x'>", "| a @b `c` **d** <e>")
"""Labels that mean harm to a page or to Markdown."""

BINS = ("10 to 100 GeV", "100 to 300 GeV", "300 to 500 GeV")
WINDOWS = ("50 ± 5 GeV", "100 ± 5 GeV", "200 ± 5 GeV, 62 ± 5° incident")


POINTS = ("50 GeV", "200 GeV", "400 GeV")
"""The scan of energies whose showers are compared."""


def metrics(hits: float = 1.0, error: float = 0.002) -> Metrics:
    """Numbers by which a candidate with as many hits as the reference meets its requirements."""
    found: Metrics = {
        "n_plots": 12, "n_reference": 400, "n_candidate": 400, "energy_points": list(POINTS),
        "energy_points_GeV": [[25, 100], [100, 283], [283, 566]],
        "auc.low": 0.55, "auc.low_err": 0.02, "auc.low_floor": 0.5, "auc.high": 0.53, "auc.high_err": 0.02,
        "auc.energy_quartiles": ["10 to 200 GeV", "200 to 500 GeV"], "auc.low_by_energy": [0.6, 0.5],
        "auc.low_by_energy_err": [0.02, 0.02], "legacy_3dgan_metric": 0.38, "legacy_3dgan_metric_err": 0.01,
        "shape.x.mean_rel_error": 0.01, "shape.y.mean_rel_error": 0.02, "shape.z.mean_rel_error": 0.03,
        "separation.cell_energy": 0.0005, "layer_correlation.mean_abs_error": 0.05,
        "nearest_neighbour.p_value": 0.4, "neighbour_correlation_difference": 0.01,
        "resolution": {"fit": {}, "fit_core": {}},
    }  # fmt: skip
    ratios = dict.fromkeys(
        ("energy_scale", "tail_ratio.below_0.85", "layer_gain.7", "adjusted_ratio.sampling_fraction"),
        1.001,
    )
    ratios |= {"spread_ratio.sampling_fraction": 1.01, "adjusted_ratio.hits": hits}
    ratios |= {"adjusted_ratio.hits_100keV": 0.999, "adjusted_ratio.hits_1MeV": 0.998}
    for name, value in ratios.items():
        known = 0.5 * error if name == "layer_gain.7" else error
        found |= {name: value, f"{name}_err": known}
        found |= {f"{name}_by_energy": [value, value, 1.0], f"{name}_by_energy_err": [1.2 * known] * 3}
    for side in ("reference", "candidate"):
        for curve, prefixes in (("response", ("", "linearity_")), ("resolution", ("", "core_"))):
            for prefix in prefixes:
                found.setdefault(curve, {})[f"{prefix}{side}"] = [0.03, 0.02, 0.01]
                found[curve][f"{prefix}{side}_err"] = [0.001] * 3
        fit = {"a": 0.2, "b": 0.01, "c": 0.0, "a_err": 0.01, "b_err": 0.002, "c_err": 0.1}
        for kind in ("fit", "fit_core"):
            found["resolution"][kind][side] = fit | {"chi2": 1.5, "points": 3}
    return found


def small_report(folder: Path, *candidates: Metrics, labels: tuple[str, ...] = ()) -> Report:
    """Compare 60 real showers with 60 others, once for each of the candidates' numbers.

    They are said to be a scan of energies.
    """
    showers = shower_file.read(DATA)
    names = labels or ("Geant4", "3DGAN", "Other")[: len(candidates) + 1]
    energies = np.repeat(np.array([50, 200, 400], np.float32) * GEV, 20)
    samples = []
    for number in range(len(names)):
        path = folder / f"file{number}.h5"
        some = showers[60 * number : 60 * number + 60]
        shower_writer.write(path, replace(some, incident_energy=energies))
        edges = (0, 3e5, np.inf)
        bins = [
            Selection(f"E{low}", f"from {low:g} MeV", "energy", energy=(low, high))
            for low, high in pairwise(edges)
        ]
        with ShowerFile(path) as file:
            grid = replace(file.grid, threshold_MeV=0.001)
            samples.append(accumulate(file, [INCLUSIVE, *bins], grid=grid))
    required = load_requirements()
    return Report(
        sources=tuple(
            Source(name, f"file{number}.h5", {"program": f"maker of {name}"})
            for number, name in enumerate(names)
        ),
        comparisons=tuple(Comparison(samples[0], sample) for sample in samples[1:]),
        metrics=candidates,
        verdicts=tuple(judge(numbers, required) for numbers in candidates),
        caveats=("Too thin to draw: 50 ± 5 GeV (3 and 4).",),
        made="2026-01-02 03:04 UTC",
    )


def plots(count: int, samples: int) -> list[tuple[Plot, bytes]]:
    """Make plots of so many samples, of different observables and energies, topic by topic; pictures repeat."""
    images = cycle([_picture(text) for text in ("one", "two", "three")])
    observables = [name for name, definition in OBSERVABLES.items() if not definition.along]
    wheres = (INCLUSIVE.title, *BINS, *WINDOWS)
    names = list(product(observables, wheres))[:count]
    assert len(names) == count
    topics = list(TOPICS)
    histogram = hist.Hist(hist.axis.Regular(8, 0, 4, label="Value"), storage=hist.storage.Weight())
    histogram.fill(np.linspace(0, 3.9, 50))
    return [
        (
            Plot(
                name=f"{name}_{number}",
                topic=topics[number * len(topics) // count],
                title=f"{OBSERVABLES[name].title}, {where}",
                kind="curves",
                histograms=(histogram,) * samples,
                scale=(1.0,) * samples,
                showers=(50,) * samples,
                observable=name,
                where=where,
                y_label="Showers",
            ),
            next(images),
        )
        for number, (name, where) in enumerate(names)
    ]


def _picture(text: str) -> bytes:
    image = Image.new("RGB", (660, 550), "white")
    draw = ImageDraw.Draw(image)
    for x in range(0, 660, 6):
        draw.line((x, 500, x, 250 + 200 * np.sin(x / 80 + len(text))), fill="black")
    draw.text((20, 20), text, fill="black")
    buffer = io.BytesIO()
    image.quantize(16).save(buffer, "png")
    return buffer.getvalue()


def few_plots(*given: Any, each: int = 3) -> list[Plot]:
    """Stand in for the catalogue with the first plots of each topic."""
    by_topic = groupby(catalogue(*given), key=lambda plot: plot.topic)
    return [plot for _, plots in by_topic for plot in islice(plots, each)]

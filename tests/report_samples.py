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
from caloforge.observables.definitions import OBSERVABLES
from caloforge.report.page.content import Report, Source
from caloforge.report.plots.catalogue import TOPICS, catalogue
from caloforge.report.plots.histograms import Plot

DATA = Path(str(resources.files("caloforge"))) / "data" / "clic-ecal-test.h5"

HOSTILE = ('<script>alert("1")</script>', "\"><img src='http://evil/x'>", "| a @b `c` **d** <e>")
"""Labels that mean harm to a page or to Markdown."""

BINS = ("10 to 100 GeV", "100 to 300 GeV", "300 to 500 GeV")
WINDOWS = ("50 ± 5 GeV", "100 ± 5 GeV", "200 ± 5 GeV, 62 ± 5° incident")


def metrics(hits: float = 1.0) -> Metrics:
    """Numbers by which a candidate with as many hits as the reference meets its requirements."""
    found: Metrics = {
        "n_plots": 12, "n_reference": 400, "n_candidate": 400, "energy_bins": list(BINS),
        "auc.low": 0.55, "auc.low_err": 0.02, "auc.low_floor": 0.5, "auc.high": 0.57, "auc.high_err": 0.02,
        "auc.energy_quartiles": ["10 to 200 GeV", "200 to 500 GeV"], "auc.low_by_energy": [0.6, 0.5],
        "auc.low_by_energy_err": [0.02, 0.02], "legacy_3dgan_metric": 0.38, "legacy_3dgan_metric_err": 0.01,
        "shape.x.mean_rel_error": 0.01, "shape.y.mean_rel_error": 0.02, "shape.z.mean_rel_error": 0.03,
        "separation.cell_energy": 0.001, "layer_correlation.mean_abs_error": 0.05,
        "nearest_neighbour.p_value": 0.4, "energy_scale": 1.001, "energy_scale_err": 0.002,
    }  # fmt: skip
    ratios = {f"adjusted_ratio.{name}": 1.001 for name in ("sampling_fraction", "hits_300keV")}
    ratios |= {"spread_ratio.sampling_fraction": 1.01, "adjusted_ratio.hits": hits}
    for name, value in ratios.items():
        found |= {name: value, f"{name}_err": 0.002}
        found |= {f"{name}_by_energy": [value, value, 1.0], f"{name}_by_energy_err": [0.003] * 3}
    return found


def small_report(folder: Path, *candidates: Metrics, labels: tuple[str, ...] = ()) -> Report:
    """Compare 40 real showers with 40 others, once for each of the candidates' numbers."""
    showers = shower_file.read(DATA)
    names = labels or ("Geant4", "3DGAN", "Other")[: len(candidates) + 1]
    samples = []
    for number in range(len(names)):
        path = folder / f"file{number}.h5"
        shower_writer.write(path, showers[40 * number : 40 * number + 40])
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


def few_plots(*given: Any) -> list[Plot]:
    """Stand in for the catalogue with the first plots of each topic."""
    by_topic = groupby(catalogue(*given), key=lambda plot: plot.topic)
    return [plot for _, plots in by_topic for plot in islice(plots, 3)]

"""The report folder: whole or absent, self-contained, and safe to open."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from report_samples import HOSTILE, few_plots
from shower_samples import random_showers

from caloforge.comparison.calochallenge.classifier import Settings
from caloforge.comparison.calochallenge.protocol import judge_as_published
from caloforge.comparison.differences import Metrics
from caloforge.comparison.key_metrics import key_metrics, perfect, with_error
from caloforge.comparison.requirements import STATES
from caloforge.detector import Grid
from caloforge.files import shower_file, shower_writer
from caloforge.foundations.errors import CaloforgeError, MissingExtraError, UsageError
from caloforge.observables.definitions import OBSERVABLES
from caloforge.report.validate import validate
from caloforge.showers import Showers

DATA = Path(str(resources.files("caloforge"))) / "data"


def damaged(deposit: float) -> Showers:
    """Four showers, one of them with a deposit that cannot be."""
    showers = random_showers(4)
    deposits = showers.deposits.copy()
    deposits[1, 0, 0, 0] = deposit
    return replace(showers, deposits=deposits)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw one display alone where a test is about other things than plots."""
    monkeypatch.setattr("caloforge.report.plots.catalogue.catalogue", lambda *_: [])
    monkeypatch.setattr("caloforge.report.plots.catalogue.DISPLAY_QUANTILES", (0.5,))


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, and the text of headings and cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Metrics]:
    """A report of 60 real showers against 50 others, with labels that mean harm."""
    folder = tmp_path_factory.mktemp("report")
    showers = shower_file.read(DATA / "clic-ecal-test.h5")
    shower_writer.write(folder / "a.h5", showers[:60])
    shower_writer.write(folder / "b&c.h5", showers[60:110])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("caloforge.report.plots.catalogue.catalogue", few_plots)
        patch.setattr("caloforge.comparison.metrics.MIN_JUDGED", 1000)  # no classifiers
        made = validate(folder / "a.h5", folder / "b&c.h5", folder / "out", labels=HOSTILE[:2])
    return folder / "out", made.metrics[0]


@pytest.fixture
def two_files(tmp_path: Path) -> tuple[Path, Path]:
    for seed, name in enumerate(("a", "b")):
        shower_writer.write(tmp_path / f"{name}.h5", random_showers(4, seed=seed))
    return tmp_path / "a.h5", tmp_path / "b.h5"


@pytest.mark.long
def test_every_plot_is_a_file_and_in_the_page(report: tuple[Path, Metrics]) -> None:
    folder, metrics = report
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    files = {path.stem: path.read_bytes() for path in (folder / "plots").iterdir()}
    figures = [attributes["id"] for attributes in page.all("figure")]
    assert len(figures) == len(set(figures)) == len(files) == metrics["n_plots"]
    assert set(figures) == set(files)
    prefix = "data:image/png;base64,"
    images = [image for image in page.all("img") if "src" in image]
    inlined = [base64.b64decode(str(image["src"]).removeprefix(prefix)) for image in images]
    assert inlined == [files[str(name)] for name in figures]
    for attributes, data in zip(images, inlined, strict=True):
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == (int(attributes["width"] or 0), int(attributes["height"] or 0))
        assert attributes["alt"]


@pytest.mark.long
def test_the_page_needs_no_network(report: tuple[Path, Metrics]) -> None:
    text = (report[0] / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href|action)\s*=\s*["']?\s*(?:https?:)?//""", text)
    assert not re.findall(r"url\(|@import", text)
    page = Page(text)
    assert not page.all("link") + page.all("iframe") + page.all("object")
    assert [dict(attributes) for attributes in page.all("script") + page.all("style")] == [{}, {}]
    policy = str(next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv")))
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        inline = text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}';" in policy


@pytest.mark.long
def test_hostile_labels_and_names_are_text(report: tuple[Path, Metrics]) -> None:
    page = Page((report[0] / "report.html").read_text(encoding="utf-8"))
    assert HOSTILE[0] in page.text
    assert HOSTILE[1] in page.text
    assert "b&c.h5" in page.text
    assert all(
        str(image["src"]).startswith("data:image/png;base64,")
        for image in page.all("img")
        if "src" in image
    )


@pytest.mark.long
def test_the_contents_lead_to_every_section(report: tuple[Path, Metrics]) -> None:
    page = Page((report[0] / "report.html").read_text(encoding="utf-8"))
    targets = {str(link["href"])[1:] for link in page.all("a") if str(link["href"]).startswith("#")}
    sections = {str(section["id"]) for section in page.all("section")}
    assert targets == sections
    assert {"summary", "compared", "energy", "profiles", "event-displays", "observables"} <= sections
    links = {str(link["href"]) for link in page.all("a")}
    links = {link for link in links if not link.startswith(("#", "data:"))}
    assert {"metrics.json", "histograms.root"} < links
    assert all((report[0] / link).is_file() for link in links)


@pytest.mark.long
def test_the_page_says_what_was_compared(report: tuple[Path, Metrics]) -> None:
    text = Page((report[0] / "report.html").read_text(encoding="utf-8")).text
    assert "G4EmStandardPhysics_option1" in text
    assert "0.001 MeV, applied to all" in text
    assert "Too thin to draw or to count" in text
    for name, values in shower_file.read(DATA / "clic-ecal-test.h5")[:2].observables().items():
        if values.ndim == 1:
            assert OBSERVABLES[name].title in text
            assert OBSERVABLES[name].meaning in text


@pytest.mark.training
def test_a_protocol_is_shown_with_its_sample_size(
    tmp_path: Path, no_plots: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = partial(judge_as_published, settings=Settings(layers=(4,), epochs=1), runs=2)
    monkeypatch.setattr("caloforge.report.validate.judge_as_published", small)
    monkeypatch.setattr("caloforge.comparison.calochallenge.protocol.MIN_JUDGED", 10)
    for name in ("published_fpd", "published_kpd"):
        monkeypatch.setattr(
            f"caloforge.comparison.calochallenge.protocol.{name}", lambda *_: (0.01, 0.002)
        )
    for seed, name in enumerate(("a", "b")):
        shower_writer.write(tmp_path / f"{name}.h5", random_showers(24, seed=seed))
    out = tmp_path / "out"
    metrics = validate(tmp_path / "a.h5", tmp_path / "b.h5", out, protocol="calochallenge").metrics[0]
    written = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert {name: written[name] for name in metrics} == metrics
    assert metrics["calochallenge.n_showers"] == 24
    assert (out / "plots" / "calochallenge_auc_curve_low.png").is_file()
    for page in (
        Page((out / "report.html").read_text(encoding="utf-8")).text,
        (out / "report.md").read_text(),
    ):
        text = page.replace("\\", "")
        assert (
            "Protocol of the CaloChallenge (arXiv:2410.21611): 24 showers a side, of which 14 train"
            in text
        )
        assert "Classifier on voxels: AUC" in text
    with pytest.raises(UsageError, match="protocol: expected calochallenge, got 'other'"):
        validate(tmp_path / "a.h5", tmp_path / "b.h5", out, protocol="other")


@pytest.mark.long
def test_metrics_json_holds_what_was_measured(report: tuple[Path, Metrics]) -> None:
    folder, metrics = report

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    stored = json.loads((folder / "metrics.json").read_text(), parse_constant=refuse)
    assert stored == metrics
    assert (stored["n_reference"], stored["n_candidate"], stored["threshold_MeV"]) == (60, 50, 0.001)
    for name in ("sampling_fraction", "hits", "width_x", "total_deposit"):
        assert {f"{kind}.{name}" for kind in ("mean_ratio", "adjusted_ratio", "separation")} <= set(
            stored
        )
    assert {f"shape.{axis}.mean_rel_error" for axis in "xyz"} <= set(stored)
    assert {"moments.mean_rel_error", "legacy_3dgan_metric"} <= set(stored)
    for name, value in stored.items():
        if name.endswith(("_err", "_floor")):
            assert all(x is None or x >= 0 for x in (value if isinstance(value, list) else [value])), (
                name
            )
    for kind in ("response", "resolution", "tails"):
        assert {"energy_GeV"} < set(stored[kind])
    for entry in stored["requirements"]:
        assert {"name", "energy_range_GeV", "value", "interval", "limit", "state", "showers"} <= set(
            entry
        )
        assert entry["state"] in STATES


@pytest.mark.usefixtures("no_plots")
def test_the_larger_threshold_holds_for_both(tmp_path: Path) -> None:
    grid = Grid("g", (3, 4, 5), threshold_MeV=0.5)
    shower_writer.write(tmp_path / "a.h5", random_showers(30, grid))
    shower_writer.write(tmp_path / "b.h5", random_showers(30, Grid("g", (3, 4, 5), threshold_MeV=1.0)))
    metrics = validate(tmp_path / "a.h5", tmp_path / "b.h5", tmp_path / "out", only="numbers").metrics[0]
    assert metrics["threshold_MeV"] == 1.0
    assert metrics["mean_ratio.hits"] == 1.0
    assert "detectors differ in threshold_MeV" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.usefixtures("no_plots")
def test_showers_in_memory_are_judged_as_those_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caloforge.comparison.metrics._enough", lambda *_: False)  # no classifiers
    ours, theirs = (random_showers(50, seed=seed) for seed in range(2))
    for name, showers in (("ours", ours), ("theirs", theirs)):
        shower_writer.write(tmp_path / f"{name}.h5", showers)
    told = {"labels": ["a", "b"], "training": tmp_path / "ours.h5"}
    of_files = validate(tmp_path / "ours.h5", str(tmp_path / "theirs.h5"), tmp_path / "files", **told)  # type: ignore[arg-type]
    held = validate(ours, theirs, tmp_path / "held", labels=["a", "b"], training=ours)
    mixed = validate(tmp_path / "ours.h5", [theirs, ours], tmp_path / "mixed", only="numbers")
    assert held.numbers == of_files.numbers
    assert "nearest_neighbour.training_p_value" in held.numbers
    displays = [tmp_path / name / "plots" / "display_1.png" for name in ("files", "held")]
    assert displays[0].read_bytes() == displays[1].read_bytes()
    assert mixed.labels == ("ours", "candidate 1", "candidate 2")
    assert mixed.metrics[0]["mean_ratio.hits"] == of_files.numbers["mean_ratio.hits"]


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (damaged(np.nan), r"^candidate: field showers: expected finite deposits >= 0, shower 1, cell"),
        (damaged(-1.0), r"^candidate: field showers: expected finite deposits >= 0, .* holds -1.0"),
        (random_showers(1), "^candidate: field showers: expected at least 2 showers, found 1"),
        (
            random_showers(4, Grid("g", (2, 2, 2))),
            "expected showers on the same grid, but reference has",
        ),
        (7, "^candidate: expected a shower file or Showers, got int"),
        ([random_showers(4), None], "^candidate 2: expected a shower file or Showers, got NoneType"),
        ([], "^candidates: expected 1 to 5 files, got 0"),
    ],
)
def test_showers_in_memory_that_cannot_be_judged_are_refused_in_a_line(
    candidate: Any, words: str, tmp_path: Path
) -> None:
    with pytest.raises(CaloforgeError, match=words):
        validate(random_showers(4), candidate, tmp_path / "out", only="numbers")
    assert not any(tmp_path.iterdir())


@pytest.mark.usefixtures("no_plots")
def test_an_earlier_report_is_replaced_and_other_folders_are_left_alone(
    two_files: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "plots").mkdir(parents=True)
    (out / "report.html").write_text("old")
    (out / "plots" / "old.png").write_text("old")
    validate(*two_files, out, only="numbers")
    assert "old" not in (out / "report.html").read_text()[:3]
    assert not (out / "plots" / "old.png").exists()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="it holds other files"):
        validate(*two_files, out, only="numbers")
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()
    (out / "plots").mkdir()
    (out / "plots" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="it holds other files"):
        validate(*two_files, out, only="numbers")
    with pytest.raises(UsageError, match="this is a file"):
        validate(*two_files, two_files[0], only="numbers")
    with pytest.raises(UsageError, match="does not exist"):
        validate(*two_files, tmp_path / "absent" / "out", only="numbers")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5", "out"]


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_failed_run_leaves_nothing_and_keeps_what_was_there(
    two_files: tuple[Path, Path], tmp_path: Path, error: Any
) -> None:
    validate(*two_files, tmp_path / "old", only="numbers")
    before = (tmp_path / "old" / "report.html").read_bytes()

    def fail(done: int, total: int, **figures: float | str) -> None:
        if done > 70:  # while it draws
            raise error

    for name in ("old", "new"):
        with pytest.raises((KeyboardInterrupt, CaloforgeError)):
            validate(*two_files, tmp_path / name, progress=fail)
    assert (tmp_path / "old" / "report.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5", "old"]


@pytest.mark.parametrize("labels", [("a",), ("a", "a"), ("", "b"), ("a", "x" * 41), ("a", "b", "c")])
def test_labels_must_tell_two_apart(
    two_files: tuple[Path, Path], tmp_path: Path, labels: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError, match="labels: expected 2 different texts"):
        validate(*two_files, tmp_path / "out", labels=labels)


WITHOUT = """
import sys
from caloforge.foundations.errors import MissingExtraError
for library in ("hist", "jinja2", "matplotlib"):
    for name in [name for name in sys.modules if name.startswith(("caloforge.comparison", "caloforge.report"))]:
        del sys.modules[name]
    held = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == library}
    sys.modules.update(dict.fromkeys(held), **{library: None})
    from caloforge.report.validate import validate
    try:
        validate(*sys.argv[1:])
    except MissingExtraError as error:
        print(error)
    del sys.modules[library]
    sys.modules.update(held)
"""


@pytest.mark.process
def test_missing_libraries_are_named_before_any_work(
    two_files: tuple[Path, Path], tmp_path: Path
) -> None:
    arguments = [sys.executable, "-c", WITHOUT, *map(str, two_files), str(tmp_path / "out")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [str(MissingExtraError("a report or a figure", "report"))] * 3, (
        done.stderr
    )


@pytest.mark.usefixtures("no_plots")
def test_progress_runs_to_a_hundred(two_files: tuple[Path, Path], tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    validate(*two_files, tmp_path / "out", progress=lambda done, total, **_: calls.append((done, total)))
    done = [d for d, _ in calls]
    assert done == sorted(done)
    assert calls[-1] == (100, 100)
    assert {total for _, total in calls} == {100}


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.99114, 0.00513, "0.9911 ± 0.0051"),
        (1234.5, 67.8, "1234 ± 68"),
        (0.0, 0.0, "0"),
        (2.0, None, "2"),
        (200_000, None, "200000"),
        (None, None, "undefined"),
        (7.1e-5, 2.9e-6, "(7.10 ± 0.29)e-5"),
        (2.4e-9, 7.3e-8, "(0.2 ± 7.3)e-8"),
        (1.0, 1e-13, "1"),
    ],
)
def test_errors_decide_how_many_digits_a_value_has(
    value: float | None, error: float | None, text: str
) -> None:
    assert with_error(value, error) == text


@pytest.mark.long
def test_key_metrics_are_numbers_that_exist(report: tuple[Path, Metrics]) -> None:
    lines = list(key_metrics(report[1]))
    assert len(lines) > 8
    assert {line.name for line in lines} <= set(report[1])
    assert [line.title for line in lines if line.name == "shape.z.mean_rel_error"] == [
        "Mean profile along z: mean deviation per cell"
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auc.low", 0.5),
        ("nearest_neighbour.p_value", 0.5),
        ("adjusted_ratio.hits", 1.0),
        ("separation.hits", 0.0),
        ("legacy_3dgan_metric", 0.0),
    ],
)
def test_perfection_has_a_value(name: str, value: float) -> None:
    assert perfect(name) == value

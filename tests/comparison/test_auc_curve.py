"""The AUC over the number of showers: fixed sizes, nothing twice, pairs kept together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shower_samples import random_showers

from caloforge.comparison import metrics
from caloforge.comparison.auc_curve import FLOOR, SIZES, Curve, auc_curve, sizes, with_floors
from caloforge.comparison.differences import Comparison
from caloforge.comparison.samples import accumulate
from caloforge.comparison.selections import INCLUSIVE
from caloforge.comparison.statistics.classifier import Classified
from caloforge.files import shower_writer
from caloforge.files.shower_file import ShowerFile
from caloforge.foundations.progress import Progress


@dataclass(frozen=True)
class Numbers:
    """Showers that are known by their places alone."""

    places: NDArray[np.intp]
    asked: list[NDArray[np.intp]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.places)

    def take(self, rows: NDArray[np.intp]) -> Numbers:
        self.asked.append(rows)
        return Numbers(self.places[rows])


def by_size(ours: Numbers, theirs: Numbers, progress: Progress) -> tuple[float, float]:
    assert len(ours) == len(theirs)
    return 1 - 1 / len(ours), 1 / len(ours)


@given(st.integers(2, 200_000))
def test_sizes_are_fixed_steps_and_all(n: int) -> None:
    found = sizes(n)
    assert found[-1] == n
    assert list(found) == sorted(set(found))
    assert set(found[:-1]) == {size for size in SIZES if size < n}


@given(st.integers(2, 3000), st.integers(2, 3000))
def test_each_size_is_judged_once_with_showers_of_both(n: int, m: int) -> None:
    pair = (Numbers(np.arange(n)), Numbers(np.arange(m)))
    curve = auc_curve(by_size, pair, (0.7, 0.1))
    assert curve["sizes"] == list(sizes(min(n, m)))
    assert curve["auc"] == [*(1 - 1 / size for size in curve["sizes"][:-1]), 0.7]
    assert curve["auc_err"][-1] == 0.1
    for sample in pair:
        assert [len(rows) for rows in sample.asked] == curve["sizes"][:-1]
        assert all(len(set(rows)) == len(rows) and (np.diff(rows) > 0).all() for rows in sample.asked)


def test_a_few_showers_cost_nothing_more() -> None:
    few = Numbers(np.arange(400))
    assert auc_curve(by_size, (few, few), (0.6, 0.02)) == {
        "sizes": [400],
        "auc": [0.6],
        "auc_err": [0.02],
    }
    assert not few.asked


def test_files_of_one_length_give_showers_at_the_same_places() -> None:
    ours, theirs = Numbers(np.arange(1500)), Numbers(np.arange(1500))
    auc_curve(by_size, (ours, theirs), (None, None))
    assert all(np.array_equal(a, b) for a, b in zip(ours.asked, theirs.asked, strict=True))
    assert set(ours.asked[0]) < set(ours.asked[1])


def test_floors_stand_beside_and_may_end_earlier() -> None:
    own: Curve = {"sizes": [400, 1000], "auc": [0.6, 0.7], "auc_err": [0.02, 0.01]}
    floor: Curve = {"sizes": [400, 500], "auc": [0.5, 0.51], "auc_err": [0.02, 0.02]}
    beside = dict(zip(FLOOR, floor.values(), strict=True))
    assert with_floors({"low": own}, {"low": floor}) == {"low": {**own, **beside}}


def test_a_comparison_has_the_curves_of_both_classifiers_and_of_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = []
    for seed in (1, 2):
        shower_writer.write(tmp_path / "x.h5", random_showers(160, seed=seed))
        with ShowerFile(tmp_path / "x.h5") as file:
            samples.append(accumulate(file, [INCLUSIVE], grid=file.grid))
    asked: list[tuple[str, int]] = []

    def classify(kind: str, shape: object, ours: metrics._Kept, theirs: metrics._Kept) -> Classified:
        asked.append((kind, len(ours)))
        n = len(ours)
        return Classified(0.5 + n / 1000, 1 / n, (None,) * 4, np.zeros(n), np.zeros(len(theirs)))

    monkeypatch.setattr("caloforge.comparison.auc_curve.SIZES", (60, 100))
    monkeypatch.setattr(metrics, "_classify", classify)
    floors = metrics.reference_floors(samples[0])
    found = metrics.measure(Comparison(*samples), floors=floors).metrics
    expected = {
        "sizes": [60, 100, 160], "auc": [0.56, 0.6, 0.66], "auc_err": [1 / 60, 1 / 100, 1 / 160],
        "floor_sizes": [60, 80], "floor": [0.56, 0.58], "floor_err": [1 / 60, 1 / 80],
    }  # fmt: skip
    assert found["auc_curve"] == {"low": expected, "high": expected}
    assert found["auc.low_floor"] == 0.58
    assert sorted(asked) == sorted((kind, n) for kind in ("low", "high") for n in (60, 60, 80, 100, 160))

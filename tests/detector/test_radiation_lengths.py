"""Depths in radiation lengths by hand, from both forms of a file, and from files that say anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from caloforge.detector import Detector, Grid, load_detector
from caloforge.detector.radiation_lengths import depths_X0, radiation_lengths_mm

CLIC = [["G4_W", 2.4], ["G4_Si", 0.5, "sensitive"], ["G4_Galactic", 0.6]]

plates = st.tuples(st.sampled_from(sorted(radiation_lengths_mm())), st.floats(0.01, 100))
layers = st.tuples(
    st.integers(1, 5),
    st.lists(plates, min_size=1, max_size=4),
    st.sets(st.integers(0, 3)),
    st.floats(0, 50),
)


def detector_of(stacks: list[dict[str, object]]) -> Detector:
    return Detector.model_validate(
        {"name": "any", "cells": [2, 2], "cell_size_mm": [5, 5], "layers": stacks}
    )


def test_both_forms_of_the_clic_stack_say_the_same() -> None:
    grid = load_detector("clic-ecal").grid
    listed = Grid.from_json({"name": "listed", "layer_stack": CLIC}, shape=grid.shape)
    by_hand = [(k + 1) * 2.4 / 3.504 + (k + 0.5) * 0.5 / 93.7 for k in range(25)]
    assert depths_X0(grid) == pytest.approx(by_hand)
    assert depths_X0(listed) == pytest.approx(by_hand)


@given(st.lists(layers, min_size=1, max_size=3))
def test_a_layers_depth_is_what_lies_before_the_middle_of_what_it_sees(
    drawn: list[tuple[int, list[tuple[str, float]], set[int], float]],
) -> None:
    stacks: list[dict[str, object]] = []
    by_hand, depth = [], 0.0
    for repeat, slabs, sensitive, gap in drawn:
        marks = [i in {s % len(slabs) for s in sensitive} for i in range(len(slabs))]
        named = [
            {"material": m, "thickness_mm": t, "sensitive": s}
            for (m, t), s in zip(slabs, marks, strict=True)
        ]
        stacks.append({"repeat": repeat, "slabs": named, "gap_mm": gap})
        for _ in range(repeat):
            seen = []
            for (material, thickness), mark in zip(slabs, marks, strict=True):
                length = thickness / radiation_lengths_mm()[material]
                seen += [(thickness, depth + length / 2)] if mark else []
                depth += length
            by_hand += [sum(t * d for t, d in seen) / sum(t for t, _ in seen)] if seen else []
    assume(by_hand)
    assert depths_X0(detector_of(stacks).grid) == pytest.approx(by_hand)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(["G4_W", "sensitive", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["layer_stack", "layer_stacks", "materials"]), json_values)
def test_what_is_not_a_stack_has_no_depth(key: str, value: object) -> None:
    assert depths_X0(Grid("any", (2, 2, 3), extra={key: value})) is None


@given(json_values)
def test_what_the_first_files_said_of_plates_is_kept_where_it_is_none(value: object) -> None:
    assert depths_X0(Grid.from_json({"name": "any", "layer_stack": value}, shape=(2, 2, 3))) is None


@pytest.mark.parametrize(
    "stack",
    [
        [["G4_Unobtainium", 2.0, "sensitive"]],
        [["G4_W", 2.0]],
        [["G4_W", -2.0, "sensitive"]],
    ],
    ids=["unknown material", "nothing sensitive", "negative thickness"],
)
def test_a_stack_that_cannot_be_has_no_depth(stack: list[list[object]]) -> None:
    assert depths_X0(Grid.from_json({"name": "any", "layer_stack": stack}, shape=(2, 2, 3))) is None


def test_stacks_of_another_number_of_layers_have_no_depth() -> None:
    detector = load_detector("clic-ecal")
    assert depths_X0(Grid("cut", (25, 25, 24), extra=detector.grid.extra)) is None


GEANT4 = """
import os, sys
from caloforge.geant4.physics_data import find_physics_data
os.environ |= find_physics_data().environment
import geant4_pybind as g4
for name in sys.argv[1:]:
    print(g4.G4NistManager.Instance().FindOrBuildMaterial(name).GetRadlen())
"""


@pytest.mark.geant4
def test_geant4_has_the_same_radiation_lengths(tmp_path: Path) -> None:
    known = {name: length for name, length in radiation_lengths_mm().items() if name != "G4_Galactic"}
    done = subprocess.run(
        [sys.executable, "-c", GEANT4, *known], capture_output=True, text=True, check=True,
        stdin=subprocess.DEVNULL, env={**os.environ, "CALOFORGE_CACHE": str(tmp_path)},
    )  # fmt: skip
    assert [float(line) for line in done.stdout.split()] == pytest.approx(list(known.values()), rel=2e-3)

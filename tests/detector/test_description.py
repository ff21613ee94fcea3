"""A detector's YAML: what ships loads, what is wrong is told with file, line and field."""

from __future__ import annotations

import json
import math
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from caloforge.detector import Detector, Grid, load_detector, shipped_detectors
from caloforge.detector.grid import CYLINDRICAL
from caloforge.foundations.errors import UsageError

GOOD = """\
name: stack
cells: [4, 6]
cell_size_mm: [5.1, 2]
layers:
  - repeat: 3
    slabs:
      - {material: G4_W, thickness_mm: 2.4}
      - {material: G4_Si, thickness_mm: 0.5, sensitive: true}
    gap_mm: 0.6
  - slabs:
      - {material: G4_Si, thickness_mm: 1e-1, sensitive: true}
production_cut_mm: 0.05
"""


OWN = "materials: {glass: {density_g_cm3: 6.2, elements: {Pb: 0.6, O: 0.4}}}"


def write(folder: Path, text: str) -> Path:
    path = folder / "d.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    path = write(folder, text)
    with pytest.raises(UsageError) as error:
        load_detector(path)
    message = str(error.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


@pytest.mark.parametrize(
    ("name", "shape", "size", "materials"),
    [
        ("clic-ecal", (25, 25, 25), (5.1, 5.1), ("G4_W", "G4_Si")),
        ("clic-ecal-angle", (51, 51, 25), (5.1, 5.1), ("G4_W", "G4_Si")),
        ("pb-scintillator", (15, 15, 30), (20.0, 20.0), ("G4_Pb", "G4_PLASTIC_SC_VINYLTOLUENE")),
        ("pbwo4", (11, 11, 25), (22.0, 22.0), ("G4_PbWO4",)),
        ("calochallenge-2", (9, 16, 45), (4.65, math.pi / 8), ("G4_W", "G4_Si")),
        ("calochallenge-3", (18, 50, 45), (2.325, math.pi / 25), ("G4_W", "G4_Si")),
    ],
)
def test_shipped_detectors(
    name: str, shape: tuple[int, ...], size: tuple[float, ...], materials: tuple[str, ...]
) -> None:
    detector = load_detector(name)
    assert detector.name == name
    assert detector.description
    assert (detector.grid.shape, detector.grid.cell_size) == (shape, size)
    assert detector.material_names == materials


def test_the_list_of_shipped_detectors_is_complete() -> None:
    assert shipped_detectors() == (
        *("calochallenge-2", "calochallenge-3", "clic-ecal", "clic-ecal-angle"),
        *("ild-ecal", "pb-scintillator", "pbwo4"),
    )


def test_clic_ecal_is_the_published_stack() -> None:
    detector = load_detector("clic-ecal")
    (stack,) = detector.layers
    assert [(s.material, s.thickness_mm, s.sensitive) for s in stack.slabs] == [
        ("G4_W", 2.4, False),
        ("G4_Si", 0.5, True),
    ]
    assert (stack.repeat, stack.gap_mm) == (25, 0.6)
    assert stack.pitch_mm == pytest.approx(3.5)
    assert (detector.margin_mm, detector.production_cut_mm) == (100, 0.05)


@pytest.mark.parametrize("name", ["calochallenge-2", "calochallenge-3"])
def test_the_challenges_detector_is_the_published_one(name: str) -> None:
    detector = load_detector(name)
    (stack,) = detector.layers
    plates = [(s.material, s.thickness_mm, s.sensitive) for s in stack.slabs]
    assert plates == 2 * [("G4_W", 1.4, False), ("G4_Si", 0.3, True)]
    assert stack.repeat == 45
    assert stack.pitch_mm == pytest.approx(3.4)
    assert detector.grid.axes == CYLINDRICAL
    assert detector.readout is not None
    assert detector.readout.rings * detector.readout.ring_mm == pytest.approx(41.85)
    assert detector.threshold_MeV == pytest.approx(0.5e-3 / 0.033)
    told = detector.grid.to_json()
    assert (told["sampling_fraction"], told["zero_suppression"]) == (0.033, True)


def test_layers_are_counted_over_stacks(tmp_path: Path) -> None:
    detector = load_detector(write(tmp_path, GOOD))
    assert detector.n_layers == 4
    assert detector.grid.shape == (4, 6, 4)
    assert detector.grid.layer_pitch_mm is None
    assert detector.grid.layer_centres_mm == pytest.approx((1.75, 5.25, 8.75, 10.55))
    assert detector.layers[1].slabs[0].thickness_mm == 0.1


def test_a_shower_file_carries_the_whole_description() -> None:
    detector = load_detector("pb-scintillator")
    grid = Grid.from_json(detector.grid.to_json())
    assert grid == detector.grid
    assert grid.extra["layer_stacks"][0]["slabs"][0]["material"] == "G4_Pb"


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("cells: [4, 6]", "cells: [4]", "line 2, field cells.1"),
        ("cells: [4, 6]", "cells: [4, 0]", "line 2, field cells.1"),
        ("cells: [4, 6]", "cells: [4, 2.5]", "line 2, field cells.1"),
        ("cells: [4, 6]", "cells: [4, true]", "line 2, field cells.1"),
        ("cells: [4, 6]", "cells: 4", "line 2, field cells"),
        ("cells: [4, 6]\n", "", "line 1: expected cells and cell_size_mm, or readout, got cell_size_mm"),
        ("cells: [4, 6]\ncell_size_mm: [5.1, 2]\n", "", "or readout, got none of them"),
        ("cells: [4, 6]", "readout: {rings: 3, ring_mm: 2, sectors: 4}", "got cell_size_mm and readout"),
        ("cells: [4, 6]", "readout: {rings: 3, ring_mm: 2}", "line 2, field readout.sectors"),
        ("cells: [4, 6]", "readout: {rings: 0, ring_mm: 2, sectors: 4}", "field readout.rings"),
        ("production_cut_mm: 0.05", "sampling_fraction: 1.5", "line 12, field sampling_fraction"),
        ("2.4}", "2.4, production_cut_mm: 0}", "line 7, field layers.0.slabs.0.production_cut_mm"),
        (
            "production_cut_mm: 0.05",
            "magnetic_field_T: 3.5",
            "line 12, field magnetic_field_T: expected a list",
        ),
        (
            "production_cut_mm: 0.05",
            "magnetic_field_T: [0, 400, 0]",
            "line 12, field magnetic_field_T.1",
        ),
        (
            "production_cut_mm: 0.05",
            OWN.replace("glass", "G4_glass"),
            "line 12, field materials.G4_glass",
        ),
        (
            "production_cut_mm: 0.05",
            OWN.replace("Pb", "Plumbum"),
            "line 12, field materials.glass: elements: expected sym",
        ),
        (
            "production_cut_mm: 0.05",
            OWN.replace("0.4", "0.5"),
            "materials.glass: elements: expected parts of the mass",
        ),
        (
            "production_cut_mm: 0.05",
            OWN.replace("6.2", "0"),
            "line 12, field materials.glass.density_g_cm3",
        ),
        ("production_cut_mm: 0.05", "physics_list: QGSP", "line 12, field physics_list"),
        ("[5.1, 2]", "[5.1, -2]", "line 3, field cell_size_mm.1"),
        ("[5.1, 2]", "[.nan, 2]", "line 3, field cell_size_mm.0"),
        ("[5.1, 2]", "[inf, 2]", "line 3, field cell_size_mm.0"),
        ("repeat: 3", "repeat: 3000", "line 5, field layers.0.repeat"),
        ("repeat: 3", "repeats: 3", "line 5, field layers.0.repeats"),
        ("G4_W", "Tungsten", "line 7, field layers.0.slabs.0.material"),
        ("2.4", "thick", "line 7, field layers.0.slabs.0.thickness_mm"),
        (
            "sensitive: true}\n    gap",
            "sensitive: maybe}\n    gap",
            "line 8, field layers.0.slabs.1.sensitive",
        ),
        ("gap_mm: 0.6", "gap_mm: -1", "line 9, field layers.0.gap_mm"),
        ("1e-1", "0", "line 11, field layers.1.slabs.0.thickness_mm"),
        ("production_cut_mm: 0.05", "production_cut_mm: 0", "line 12, field production_cut_mm"),
        ("production_cut_mm: 0.05", "colour: red", "line 12, field colour"),
        ("name: stack", "name: a/b", "line 1, field name"),
        ("name: stack", "name: 2001-99-99 01", "line 1, field name"),
        ("name: stack", "name: stack\nname: other", "line 2: name is given twice"),
        ("gap_mm: 0.6", "repeat: 4", "line 9: repeat is given twice"),
        ("cells: [4, 6]", "cells: [4, 6", "line 3"),
        ("cells: [4, 6]", "cells: [4, 6]]", "line 2"),
        ("cells: [4, 6]", "cells: *nothing", "line 2"),
        ("cells: [4, 6]", "\tcells: [4, 6]", "line 2"),
        ("cells: [4, 6]", "? [a]\n: 1\ncells: [4, 6]", "line 2"),
    ],
)
def test_a_wrong_file_says_which_line_and_why(tmp_path: Path, old: str, new: str, where: str) -> None:
    assert old in GOOD
    assert where in refusal(tmp_path, GOOD.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "G4_W",
            "Silicon",
            "expected one of this file's materials, or a Geant4 NIST material such as G4_Si, see https://",
        ),
        ("cells: [4, 6]", "cells: 21", "expected a list such as [21, 21], got 21"),
        ("cells: [4, 6]", "cells: [21]", "field cells.1: is missing"),
        (
            "cells: [4, 6]",
            "cell: [4, 6]",
            "field cell: no such field; did you mean cells? expected one of name,",
        ),
        ("repeat: 3", "repeated: 3", "did you mean repeat? expected one of repeat, slabs, gap_mm"),
        (
            "{material: G4_W,",
            "{materials: G4_W,",
            "did you mean material? expected one of material, thickness_mm",
        ),
        ("name: stack", "name: " + "x" * 201, "at most 200"),
    ],
)
def test_what_was_expected_is_told_in_the_words_of_the_file(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    assert words in refusal(tmp_path, GOOD.replace(old, new, 1))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            GOOD.replace(", sensitive: true", ""),
            "line 1: layers: expected sensitive: true on at least one slab",
        ),
        ("", "expected a mapping"),
        ("just words", "expected a mapping"),
        ("- a\n- b", "expected a mapping"),
        ("a: 1\n---\nb: 2", "line 2"),
        ("name: !!python/object/apply:os.system [ls]", "field name"),
        ("a: &a [*a]", "nested too deeply"),
        ("[" * 5000, "nested too deeply"),
        ("name: " + "9" * 5000, "field name"),
        (GOOD.replace("[4, 6]", "[1000, 1000]").replace("repeat: 3", "repeat: 30"), "read-out cells"),
    ],
)
def test_strange_texts_are_refused(tmp_path: Path, text: str, words: str) -> None:
    assert words in refusal(tmp_path, text)


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_bytes(b"name: \xff\xfe")
    for path in (tmp_path / "d.yaml", tmp_path, tmp_path / "absent.yaml"):
        with pytest.raises(UsageError, match=re.escape(str(path))):
            load_detector(path)


lengths = st.floats(1e-6, 9e4)
slabs = st.lists(
    st.tuples(st.sampled_from(["G4_W", "G4_Si", "G4_PLASTIC_SC_VINYLTOLUENE"]), lengths),
    min_size=1,
    max_size=4,
)


@st.composite
def descriptions(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a right description, as data."""
    stacks: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 3))):
        plates: list[dict[str, Any]] = [{"material": m, "thickness_mm": t} for m, t in draw(slabs)]
        for seen in draw(st.sets(st.integers(0, len(plates) - 1))):
            plates[seen]["sensitive"] = True
        stacks.append(
            {"repeat": draw(st.integers(1, 50)), "slabs": plates, "gap_mm": draw(st.floats(0, 9))}
        )
    stacks[-1]["slabs"][0]["sensitive"] = True
    count = st.integers(1, 100)
    cells: dict[str, Any] = {
        "cells": [draw(count), draw(count)],
        "cell_size_mm": [draw(lengths), draw(lengths)],
    }
    around: dict[str, Any] = {
        "readout": {"rings": draw(count), "ring_mm": draw(lengths), "sectors": draw(count)}
    }
    return (cells if draw(st.booleans()) else around) | {
        "name": draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", fullmatch=True)),
        "layers": stacks,
        "margin_mm": draw(st.floats(0, 1e3)),
        "production_cut_mm": draw(lengths),
        "magnetic_field_T": draw(st.none() | st.lists(st.floats(-9, 9), min_size=3, max_size=3)),
    }


def test_a_plate_may_be_of_a_material_that_the_file_defines(tmp_path: Path) -> None:
    detector = load_detector(write(tmp_path, GOOD.replace("G4_W", "glass") + OWN))
    assert detector.material_names == ("glass", "G4_Si")
    told = json.loads(json.dumps(detector.grid.to_json()))
    assert told["materials"] == {"glass": {"density_g_cm3": 6.2, "elements": {"Pb": 0.6, "O": 0.4}}}
    assert Grid.from_json(told) == detector.grid
    with pytest.raises(UsageError, match="one of this file's materials"):  # of another file they are not
        load_detector(write(tmp_path, GOOD.replace("G4_W", "glass")))


@given(descriptions())
def test_every_right_description_reads_back_as_it_was_written(data: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        read = load_detector(
            write(
                Path(folder),
                yaml.safe_dump({k: v for k, v in data.items() if v is not None}, sort_keys=False),
            )
        )
    assert read == Detector.model_validate(data)
    across = data["cells"] if "cells" in data else [data["readout"][key] for key in ("rings", "sectors")]
    depth, middles = 0.0, []
    for stack in data["layers"]:
        pitch = sum(slab["thickness_mm"] for slab in stack["slabs"]) + stack["gap_mm"]
        for _ in range(stack["repeat"]):
            seen = any(slab.get("sensitive") for slab in stack["slabs"])
            middles += [depth + pitch / 2] if seen else []
            depth += pitch
    assert read.grid.shape == (*across, len(middles))
    assert read.grid.depths_mm == pytest.approx(middles)
    assert Grid.from_json(json.loads(json.dumps(read.grid.to_json()))) == read.grid


@given(data=st.data())
def test_no_text_ends_in_anything_but_a_detector_or_one_line(data: st.DataObject) -> None:
    lines = GOOD.splitlines()
    where = data.draw(st.integers(0, len(lines) - 1))
    alphabet = st.sampled_from("&*!|>%@`'\"#-?:,[]{} \tabc019.~=<")
    lines[where] = data.draw(st.text(alphabet | st.characters(codec="utf-8"), max_size=30))
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), "\n".join(lines))
        try:
            detector = load_detector(path)
        except UsageError as error:
            message = str(error)
        else:
            message = f"{path} has {detector.n_layers} layers"
    assert message.startswith(str(path))
    assert len(message.splitlines()) == 1

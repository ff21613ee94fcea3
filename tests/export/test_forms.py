"""Each form means what the other program means: the same cells at the same places, the same directions."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
from export_samples import PLANE, Marked, a_cylinder, a_model
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from caloforge.detector import Grid, load_detector
from caloforge.detector.grid import CARTESIAN
from caloforge.detector.positions import cell_positions_mm
from caloforge.export import ddml, par04
from caloforge.export.forms import Directed, FewLatents, Form, NamedInputs, NoiseAndConditions
from caloforge.foundations.errors import UsageError
from caloforge.models.saved import ModelCard
from caloforge.showers.batch import Given


def card_of(grid: Grid, **more: Any) -> ModelCard:
    half = math.pi / 2
    card = ModelCard("copula", grid, 0.5, (1e3, 1e5), (half - 0.5, half + 0.5), (-3.0, 3.0))
    return replace(card, **more)


@pytest.mark.parametrize("form", [NamedInputs, NoiseAndConditions, FewLatents, Directed])
def test_what_comes_out_is_the_model_s_shower(form: type[Form]) -> None:
    cylinder = form in (NoiseAndConditions, FewLatents)
    model = Marked(a_cylinder() if cylinder else PLANE, "incident_theta", "incident_phi")
    made = form(model, card_of(model.grid).domain)
    golden = made.golden()
    inputs, noise_NL = made.ask(golden)
    if form is Directed:
        torch.manual_seed(0)  # of the first golden shower
        inputs, golden, noise_NL = (inputs[0][:1],), golden.take(slice(1)), noise_NL[:1]
    got = made.read(made(*inputs), golden)
    wanted = model.read_out(golden, noise_NL)
    assert len({float(shower.sum()) for shower in wanted}) == len(wanted)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


angles = st.floats(-1.4, 1.4), st.floats(-math.pi, math.pi)


@given(*angles)
def test_a_direction_is_the_one_that_was_passed(tilt: float, phi: float) -> None:
    form = Directed(Marked(PLANE, "incident_theta", "incident_phi"), card_of(PLANE).domain)
    given = Given.of(*(torch.tensor([value]) for value in (1e3, math.pi / 2 + tilt, phi)))
    _, x, y, z = form.ask(given).inputs[0][0]
    theta, turned = (angle for angle in form._angles(x[None], y[None], z[None]) if angle is not None)
    again = (theta.cos() * turned.cos(), theta.cos() * turned.sin(), theta.sin())
    np.testing.assert_allclose(torch.cat(again), torch.stack([x, y, z]), atol=1e-6)


@given(*angles)
def test_a_model_of_one_plane_follows_the_tilt_in_it(tilt: float, phi: float) -> None:
    domain = card_of(PLANE, phi_rad=(phi, phi)).domain
    form = Directed(Marked(PLANE, "incident_theta"), domain)
    given = Given.of(*(torch.tensor([value]) for value in (1e3, math.pi / 2 + tilt, phi)))
    _, x, y, z = form.ask(given).inputs[0][0]
    theta, turned = form._angles(x[None], y[None], z[None])
    assert turned is None
    assert theta is not None
    assert float(theta[0]) == pytest.approx(math.pi / 2 + tilt, abs=1e-5)


def numbers(properties: dict[str, str]) -> dict[str, float]:
    return {name: float(text) for name, text in properties.items() if text[0] in "0123456789-."}


def properties_of(text: str) -> list[dict[str, str]]:
    return [dict(action.attrib) for action in ET.fromstring(text).iter("properties")]


@pytest.mark.parametrize("shape", [(9, 9, 6), (8, 9, 6), (9, 4, 2)])
def test_cells_of_l2lflows_lie_where_the_model_s_do(shape: tuple[int, int, int]) -> None:
    """DDML turns the frame around z by pi, on the way in and on the way out."""
    grid = replace(PLANE, shape=shape)
    text = ddml.of_plane(card_of(grid), tilted=True)("x.pt", "somebody -- <b>")
    for told in properties_of(text):
        it = numbers(told)
        assert told["RandomShift"] == told["CorrectForAngles"] == "false"
        j, k = np.indices(shape[:2])
        x = -(j - it["NBinsX"] / 2 + 0.5) * it["CellSizeX"] / it["Factor"] + it["GridShiftX"]
        y = -(k - it["NBinsY"] / 2 + 0.5) * it["CellSizeY"] / it["Factor"] + it["GridShiftY"]
        ours_x, ours_y, _ = cell_positions_mm(grid)
        np.testing.assert_allclose(-x, ours_x[..., 0], atol=1e-5)
        np.testing.assert_allclose(-y, ours_y[..., 0], atol=1e-5)
        assert it["NBinsZ"] == shape[2]


def test_ddml_knows_the_properties_and_the_actions() -> None:
    """Names as its classes declare them; what it does not know is an error there."""
    shared = {"RegionName", "Detector", "Enable", "ApplicableParticles", "Etrigger", "ModelPath"}
    shared |= {"IntraOpNumThreads", "CorrectForAngles"}
    plane = {"NBinsX", "NBinsY", "NBinsZ", "CellSizeX", "CellSizeY", "Factor", "RandomShift"}
    plane |= {"GridShiftX", "GridShiftY"}
    rings = {"NCellsRho", "NCellsPhi", "NCellsZ", "LatentVectorSize", "CellSizeRho", "CellSizeZ"}
    card, cylinder = card_of(PLANE, pdg_ids=(11, 22)), card_of(a_cylinder())
    for text, own, names in (
        (ddml.of_plane(card, tilted=False)("x.pt", "me"), plane, "L2LFlowsModel{}TorchModel"),
        (ddml.of_cylinder(cylinder, 10)("x.onnx", "me"), rings, "Par04ExampleVAE{}ONNXModel"),
    ):
        barrel, endcap = properties_of(text)
        assert barrel.keys() == shared | own | {"Symmetry"}
        assert endcap.keys() == shared | own
        actions = [action.attrib["name"].split("/")[0] for action in ET.fromstring(text).iter("action")]
        assert actions == [names.format("PolyhedraBarrel"), names.format("Endcap")]
        assert barrel["CorrectForAngles"] == "true"
    (first, _) = properties_of(ddml.of_plane(card, tilted=False)("x.pt", "me"))
    assert first["ApplicableParticles"] == "['e-', 'gamma']"
    assert first["Etrigger"] == "{'e-': 1000.0, 'gamma': 1000.0}"


def across(grid: Grid, first_rad: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y of cells as Par04 and DDML compute them: sectors from an azimuth on."""
    assert grid.cell_size is not None
    i, j, _ = np.indices(grid.shape)
    rho, phi = (i + 0.5) * grid.cell_size[0], (j + 0.5) * 2 * math.pi / grid.shape[1] + first_rad
    return rho * np.cos(phi), rho * np.sin(phi)


@pytest.mark.parametrize(
    "grid", [load_detector("calochallenge-2").grid, a_cylinder()], ids=lambda it: it.name
)
def test_cells_of_par04_lie_where_the_model_s_do(grid: Grid) -> None:
    """In its order: rings slowest, layers fastest; and DDML's sectors begin half a turn later."""
    model = Marked(grid)
    ours = cell_positions_mm(grid)[:2]
    np.testing.assert_allclose(across(grid, -math.pi), ours, atol=1e-9)
    made = [form(model, card_of(grid).domain) for form in (NoiseAndConditions, FewLatents)]
    theirs = [across(grid, first) for first in (-math.pi, 0.0)]
    found = list[NDArray[np.float64]]()
    for form, (x, y) in zip(made, theirs, strict=True):
        given = Given.of(torch.tensor([5e4]))
        deposits_N = form(form.rows(torch.ones(1, form.latents), given)).double().numpy()[0]
        order = np.lexsort((np.round(y, 6).ravel(), np.round(x, 6).ravel()))
        found.append((deposits_N / deposits_N.sum())[order])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_the_macro_loads_the_file_and_builds_the_detector() -> None:
    card = card_of(load_detector("calochallenge-2").grid)
    text = par04.macro(card, 6591)("model.onnx", "caloforge 1: caloforge export")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    told = dict(line.split(" ", 1) for line in lines if " " in line)
    inference = {name.rpartition("/")[2]: value for name, value in told.items() if "/inference/" in name}
    assert inference == {
        "setSizeLatentVector": "6591",
        "setSizeConditionVector": "4",
        "setModelPathName": "model.onnx",
        "setModelType": "VAE",
        "setProfileFlag": "0",
        "setOptimizationFlag": "0",
        "setCudaFlag": "0",
        "setSizeOfRhoCells": "4.65 mm",
        "setSizeOfZCells": "3.4 mm",
        "setNbOfRhoCells": "9",
        "setNbOfPhiCells": "16",
        "setNbOfZCells": "45",
        "setInferenceLibrary": "ONNX",
    }
    assert told["/Par04/detector/setNbOfLayers"] == "90"
    assert [line for line in lines if "setAbsorber" in line] == [
        "/Par04/detector/setAbsorber 0 G4_W 1.4 mm true",
        "/Par04/detector/setAbsorber 1 G4_Si 0.3 mm true",
    ]
    inits = lines.index("/run/initialize")
    assert all(
        ("/inference/" in line) == (place > inits)
        for place, line in enumerate(lines)
        if "/Par04/" in line
    )
    opened, activated = (
        lines.index(line)
        for line in ("/Par04/inference/setInferenceLibrary ONNX", "/param/ActivateModel inferenceModel")
    )
    assert max(place for place, line in enumerate(lines) if "/inference/" in line) == opened < activated
    assert lines.index("/param/ActivateModel defineMesh") < activated
    assert "divided by 0.033" in text


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"axes": CARTESIAN, "cell_size": (5.0, 5.0)}, "cells in x and y"),
        ({"shape": (3, 5, 5)}, "5 sectors"),
        ({"extra": {}}, "sectors from 0 rad"),
        ({"cell_size": None}, "no size"),
        (
            {"layer_pitch_mm": None, "layer_centres_mm": (1.0, 2.0, 4.0, 5.0, 6.0)},
            "do not follow each other",
        ),
    ],
)
def test_a_grid_that_par04_does_not_have_is_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=f"--target par04: .*calochallenge-2.*{word}"):
        par04.require_cylinder("par04", replace(a_cylinder(), **change))


@pytest.mark.parametrize(
    "stack",
    [
        {"gap_mm": 1.0},
        {"slabs": [{"material": "G4_Si", "thickness_mm": t, "sensitive": True} for t in (1, 2, 3)]},
        {"slabs": [{"material": "mine", "thickness_mm": 1, "sensitive": True}]},
    ],
    ids=["gap", "three plates", "own material"],
)
def test_a_detector_that_par04_cannot_build_is_refused(stack: dict[str, Any]) -> None:
    grid = a_cylinder()
    stacks = [{**grid.extra["layer_stacks"][0], **stack}]
    card = card_of(replace(grid, extra={**grid.extra, "layer_stacks": stacks}))
    with pytest.raises(UsageError, match="expected equal layers of one or two plates"):
        par04.macro(card, 10)


def test_a_model_of_slanted_showers_alone_is_refused() -> None:
    par04.require_normal("par04", card_of(PLANE).domain)
    with pytest.raises(
        UsageError,
        match=r"--target ddml: expected a model of normal incidence.* 57\.3 to 80\.21 degrees",
    ):
        par04.require_normal("ddml", card_of(PLANE, theta_rad=(1.0, 1.4)).domain)


def test_only_what_a_model_follows_is_an_input() -> None:
    model, card = a_model("copula", tilted=True, particles=True)
    names = ("noise", "energy_MeV", "theta_rad", "phi_rad", "impact_mm", "pdg_id")
    assert NamedInputs(model, card.domain).inputs == names
    model, card = a_model("3dgan", replace(PLANE, shape=(9, 9, 6), cell_size=(5.0, 5.0)))
    assert NamedInputs(model, card.domain).inputs == ("noise", "energy_MeV")

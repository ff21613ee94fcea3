"""bench scaling measures what it says it does, and predicts from it; its figure holds every curve."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import nn

from caloforge.bench import Row
from caloforge.bench.step_worker import packed, unpack
from caloforge.detector import load_detector
from caloforge.models.registry import MODELS
from caloforge.training.grids import Link
from studies.scaling import scaling
from studies.scaling.clusters import CLUSTERS, FLAT, MPI, TRAINED, allreduce_on, scaled
from studies.scaling.cost_model import Bucket, LossStep
from studies.scaling.emulation import why_not
from studies.scaling.predictions import NO_SPREAD, NODES, prediction_rows, scaling_row
from studies.scaling.scaling import measure
from studies.scaling.scaling_figure import CURVES, scaling_svg
from studies.scaling.scaling_tables import TABLES, fill

TCP = Link(3e-5, 7e-10, 3e-5)


def turns(sigma_s: float = 0.002) -> list[LossStep]:
    critic, generator = (Bucket(293_608),), (Bucket(1e6, 1e-3), Bucket(2.5e6))
    return [LossStep(0.17, sigma_s, each) for each in (critic, critic, generator, generator)]


def predictions() -> list[Row]:
    return [*prediction_rows({"3dgan": turns(), "3dgan-angle": turns()}, turns(), 0.11, TCP)]


def of(rows: Iterable[Row], setup: str, what: str = "prediction, weak scaling") -> dict[int, Row]:
    found = {
        int(row["workers"]): row
        for row in rows
        if row["what"] == what and str(row["setup"]).partition(" (")[0] == setup
    }
    assert found, setup
    return found


def test_predictions_fall_with_nodes_and_add_up() -> None:
    rows = predictions()
    xeon = CLUSTERS["xeon"].name
    for transport in (MPI, TRAINED, FLAT):
        mine = of(rows, f"{xeon}: 3dgan, {transport}")
        assert list(mine) == [4 * nodes for nodes in NODES]
        efficiencies = [float(row["efficiency"]) for row in mine.values()]
        assert efficiencies[0] == 1
        assert efficiencies == sorted(efficiencies, reverse=True)
        for row in mine.values():
            parts = (row[f"{part}_ms"] for part in ("compute", "waiting", "communication"))
            assert sum(map(float, parts)) == pytest.approx(float(row["step_ms"]), abs=0.01)
            assert row["kind"] == "predicted"
    strong = of(rows, f"{xeon}: 3dgan, {TRAINED}", "prediction, strong scaling, 4096")
    weak = of(rows, f"{xeon}: 3dgan, {TRAINED}")
    assert strong[512]["step_ms"] == weak[512]["step_ms"]  # the same batch a worker
    assert float(strong[1024]["efficiency"]) < float(strong[4]["efficiency"]) == 1


def test_predictions_are_compared_with_what_was_published() -> None:
    rows = predictions()
    row = of(rows, f"{CLUSTERS['xeon'].name}: 3dgan, {MPI}")[512]
    assert "(published 0.94)" in str(row["setup"])
    assert row["error_%"] == pytest.approx(100 * (float(row["efficiency"]) / 0.94 - 1), abs=0.06)
    gpus = of(rows, f"{CLUSTERS['v100'].name}: 3dgan, NCCL as MPI, {NO_SPREAD}")
    assert list(gpus) == [32, 64, 128]
    assert all(row["error_%"] != "" for row in gpus.values())


def test_which_all_reduce_is_best_where_latency_counts() -> None:
    ways = {way: allreduce_on(CLUSTERS["xeon"], 128, way, TCP)(3.5e6) for way in (MPI, TRAINED, FLAT)}
    assert list(ways) == sorted(ways, key=lambda way: ways[way])
    assert ways[TRAINED] < 0.15 * ways[FLAT]
    alone = {way: allreduce_on(CLUSTERS["xeon"], 1, way, TCP)(3.5e6) for way in (TRAINED, FLAT)}
    assert len(set(alone.values())) == 1  # one node's workers go round their ring


def test_messages_are_those_of_the_training_loop() -> None:
    mb = 1 << 20
    assert scaling._messages([10, 20], [0.2, 0.1]) == (Bucket(30, 0.1),)
    assert scaling._messages([10, mb, 5], [0.3, 0.2, 0.0]) == (Bucket(10, 0.3), Bucket(mb + 5, 0.0))
    assert scaling._messages([mb - 1, 1, 7], [0.3, 0.2, 0.0]) == (Bucket(mb - 1, 0.3), Bucket(8, 0.0))


def test_a_slower_machine_scales_everything_it_computes() -> None:
    (turn,) = scaled([LossStep(1.0, 0.25, (Bucket(5, 0.5),))], 3.0)
    assert turn == LossStep(3.0, 0.75, (Bucket(5, 1.5),))


def test_packed_gradients_come_back() -> None:
    network = nn.Linear(3, 2)
    network(torch.ones(4, 3)).sum().backward()
    before = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    unpack(2 * packed(network), network)
    for gradient, p in zip(before, network.parameters(), strict=True):
        assert p.grad is not None
        assert torch.equal(p.grad, 2 * gradient)


def test_the_sizes_are_those_of_the_networks() -> None:
    grid = load_detector("clic-ecal").grid
    family = MODELS["3dgan"]
    networks = (family.build_critic(grid), family.build(grid, 0.001))
    sizes = tuple(sum(p.nbytes for p in network.parameters()) for network in networks)
    assert sizes == (scaling.CRITIC_BYTES, scaling.GENERATOR_BYTES)


def test_the_figure_is_svg_and_has_every_curve() -> None:
    point: Row = {
        "what": "all-reduce",
        "setup": "tested: 1 ms",
        "communication_ms": 20.0,
        "error_%": -3.0,
    }
    root = ET.fromstring(scaling_svg([*predictions(), point]))
    lines = root.findall("{*}polyline")
    assert len(lines) == len(CURVES)
    assert all(len(line.attrib["points"].split()) > 3 for line in lines)
    _, measured = root.findall("{*}circle")
    assert float(measured.attrib["cy"]) > 0
    texts = {str(text.text) for text in root.findall("{*}text")}
    assert {*CURVES, "fitted", "tested"} <= texts


def sums_of(use: str, way: str, ms: dict[float, float]) -> list[Row]:
    return [
        scaling_row(
            "all-reduce",
            "measured",
            f"{use}: {latency:g} ms, 1 Gbit/s, {way}, {size} bytes",
            communication_s=1e-3 * at,
            error=0.05,
        )
        for latency, at in ms.items()
        for size in (65_536, 3_491_232)
    ]


def test_a_document_is_filled_with_tables_that_follow_from_the_rows() -> None:
    fit = scaling_row(
        "calibration", "fitted", "loopback, 3 points: gloo adds 49 us a message; mean error, largest 2 %",
        error=0.011,
    )  # fmt: skip
    rows = [
        *predictions(),
        *sums_of("fitted", "ring 4", {0.1: 3.0, 1.0: 13.8}),
        *sums_of("tested", "grid 2x2", {0.1: 1.7, 1.0: 8.0}),
        fit,
    ]
    names = "\n".join(f"Of {name}:\n<!-- {name} -->\nold\n<!-- end -->" for name in TABLES)
    result = {
        "date": "2019-06-01", "machine": {"cpu": "Xeon", "cores": 24}, "versions": {"torch": "2"},
        "seed": 1, "rows": rows,
    }  # fmt: skip
    text = fill(f"{names}\n<!-- run --><!-- end -->", result)
    assert "old" not in text
    assert fill(text, result) == text
    assert "2019-06-01, Xeon, 24 cores, torch 2, seed 1." in text
    assert "| ring 4 | 12.0 | 12 | 6 |" in text
    assert "| grid 2x2 | 7.0 | 8 |  |" in text
    assert "| loopback, 3 points | 1.1 % | 2 % | 49 us a message |" in text
    assert "| 1 ms, 1 Gbit/s | grid 2x2 | 3.49 | 8.00 | 8.40 | +5.0 % | tested |" in text
    row = of(rows, f"{CLUSTERS['xeon'].name}: 3dgan, {TRAINED}")[512]
    (line,) = re.findall(rf"\| 3dgan, {TRAINED} \| 100.0 %.*", text.partition("Of strong")[0])
    assert f"{100 * float(row['efficiency']):.1f} %" in line
    spread = 2 * 0.002 / 0.68  # of four turns, of which each has its own slowest
    assert f"| {100 * 2 * spread:.1f} % of a step |" in text


def test_the_document_names_every_table() -> None:
    document = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")
    found = re.findall(r"^<!-- (\w+) -->$", document, re.MULTILINE)
    assert [name for name in found if name != "end"] == ["run", *TABLES]
    assert found.count("end") == len(TABLES) + 1


@pytest.mark.parametrize("problem", [None, "needs root"])
def test_steps_and_all_reduces_are_measured(
    problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if problem is None and why_not() is not None:
        pytest.skip(f"emulated hosts: {why_not()}")
    monkeypatch.setattr(scaling, "why_not", lambda: problem)
    monkeypatch.setattr(scaling, "RANKS", (1, 2))
    monkeypatch.setattr(scaling, "BATCH", 2)
    monkeypatch.setattr(scaling, "RATES", (1e9, 1e10))
    monkeypatch.setattr(scaling, "SIZES", (65_536,))
    reports: list[tuple[int, int]] = []
    rows = measure(0.01, 1, lambda done, total, **figures: reports.append((done, total)))
    assert reports == [(i, 4) for i in range(5)]
    assert len({tuple(row) for row in rows}) == 1  # all have the same columns
    steps = [row for row in rows if row["what"] in ("weak scaling", "strong scaling")]
    measured = [row for row in steps if row["kind"] == "measured"]
    assert [(str(row["what"]).split()[0], row["workers"]) for row in measured] == [
        ("weak", 1), ("weak", 2), ("strong", 2), ("weak", 2)
    ]  # fmt: skip
    for row in measured:
        assert float(row["compute_ms"]) > 0
        assert (float(row["communication_ms"]) > 0) == (row["workers"] == 2)
    reduced = [row for row in rows if row["what"] == "all-reduce"]
    if problem is not None:
        assert reduced[-1]["kind"] == "not measured"
        assert reduced[-1]["setup"] == "emulated hosts: needs root"
        assert len(reduced) == 2  # the loopback, and this
    else:
        assert {str(row["setup"]).partition(":")[0] for row in reduced} == {
            "loopback", "fitted", "tested", "tested, two a host", "bound by this machine's cores"
        }  # fmt: skip
        slow = [row for row in reduced if "1 ms, 1 Gbit/s, ring 2," in str(row["setup"])]
        assert slow
        assert all(
            float(row["communication_ms"]) > 4 for row in slow if "0.1 ms" not in str(row["setup"])
        )
    assert any(row["kind"] == "predicted" and row["workers"] == 1024 for row in rows)
    tables = scaling.summary(rows)
    assert all(title in tables for name, (title, _) in TABLES.items() if name != "messages")
    assert ("| grid 2x2 |" in tables) == (problem is None)

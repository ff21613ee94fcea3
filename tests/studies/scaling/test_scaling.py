"""The study's command at its smallest, and that its predictions hang together."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from caloforge.detector import load_detector
from caloforge.models.registry import MODELS
from studies.scaling import steps, sums
from studies.scaling.__main__ import run
from studies.scaling.clusters import CLUSTERS, FLAT, MPI, TRAINED, allreduce_on, scaled
from studies.scaling.cost_model import Bucket, Link, LossStep
from studies.scaling.emulation import why_not
from studies.scaling.predictions import NODES, losses_of, prediction_rows
from studies.scaling.step_worker import packed, unpack
from studies.scaling.tables import TABLES

TCP = Link(3e-5, 7e-10)
ROOT = Path(__file__).parents[3]


def losses(sigma_s: float = 0.002) -> list[LossStep]:
    critic, generator = (Bucket(293_608),), (Bucket(1e6, 1e-3), Bucket(2.5e6))
    return [LossStep(0.17, sigma_s, each) for each in (critic, critic, generator, generator)]


def predictions() -> list[dict[str, Any]]:
    notes = [asdict(loss) for loss in losses()]
    networks = {"3dgan": notes, "3dgan-angle": notes}
    return [*prediction_rows({"networks": networks, "a_shower": 0.11, "tcp": asdict(TCP)})]


def of(rows: Sequence[dict[str, Any]], **wanted: str) -> list[dict[str, Any]]:
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def test_predictions_fall_with_nodes_and_add_up() -> None:
    rows = of(predictions(), cluster=CLUSTERS["xeon"].name, network="3dgan", spread="as here")
    for sums_by in (MPI, TRAINED, FLAT):
        mine = of(rows, scaling="weak", sums=sums_by)
        assert [row["workers"] for row in mine] == [4 * nodes for nodes in NODES]
        efficiencies = [row["efficiency"] for row in mine]
        assert efficiencies[0] == 1
        assert efficiencies == sorted(efficiencies, reverse=True)
        one, last = mine[0], mine[-1]
        parts = sum(last[f"{part}_s"] for part in ("compute", "waiting", "communication"))
        assert last["efficiency"] == pytest.approx(
            sum(one[f"{part}_s"] for part in ("compute", "waiting", "communication")) / parts
        )
    strong = of(rows, scaling="strong")
    assert strong[-1]["efficiency"] < strong[0]["efficiency"] == 1


def test_predictions_stand_beside_what_was_published() -> None:
    rows = predictions()
    published = {row["workers"]: row["published"] for row in of(rows, cluster=CLUSTERS["v100"].name)}
    assert published == CLUSTERS["v100"].published


def test_which_all_reduce_is_best_where_latency_counts() -> None:
    ways = {way: allreduce_on(CLUSTERS["xeon"], 128, way, TCP)(3.5e6) for way in (MPI, TRAINED, FLAT)}
    assert list(ways) == sorted(ways, key=lambda way: ways[way])
    assert ways[TRAINED] < 0.3 * ways[FLAT]
    alone = {allreduce_on(CLUSTERS["xeon"], 1, way, TCP)(3.5e6) for way in (TRAINED, FLAT)}
    assert len(alone) == 1  # one node's workers go round their ring


def test_messages_are_those_of_the_training() -> None:
    mb = 1 << 20
    assert steps.messages([10, 20], [0.2, 0.1]) == (Bucket(30, 0.1),)
    assert steps.messages([10, mb, 5], [0.3, 0.2, 0.0]) == (Bucket(10, 0.3), Bucket(mb + 5, 0.0))
    assert steps.messages([mb - 1, 1, 7], [0.3, 0.2, 0.0]) == (Bucket(mb - 1, 0.3), Bucket(8, 0.0))


def test_a_slower_machine_scales_everything_it_computes() -> None:
    (loss,) = scaled([LossStep(1.0, 0.25, (Bucket(5, 0.5),))], 3.0)
    assert loss == LossStep(3.0, 0.75, (Bucket(5, 1.5),))


def test_losses_come_back_from_their_notes() -> None:
    assert losses_of(json.loads(json.dumps([asdict(loss) for loss in losses()]))) == losses()


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
    assert sizes == (sums.CRITIC_BYTES, sums.GENERATOR_BYTES)


@pytest.mark.process
def test_the_command_at_its_smallest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With fewer showers, ranks and sums than it usually has."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), str(ROOT)]))
    monkeypatch.setattr(steps, "BATCH", 2)
    monkeypatch.setattr(steps, "ANGLE_BATCH", 1)
    monkeypatch.setattr(steps, "RANKS", (1, 2))
    monkeypatch.setattr(sums, "REPEATS", 2)
    monkeypatch.setattr(sums, "SIZES", sums.SIZES[:2])
    monkeypatch.setattr(sums, "RATES", (1e9, 1e10))
    monkeypatch.setattr(sums, "RINGS_AND_MESHES", (2, (2, 2, 1)))
    output, figure = tmp_path / "result.json", tmp_path / "figure.png"
    run(minutes=0.001, hosts=3, output=output, figure=figure)
    result = json.loads(output.read_text())
    measured = [row for row in result["steps"] if row["kind"] == "measured"]
    assert {row["ranks"] for row in measured} == set(steps.RANKS)
    assert all((row["communication_s"] > 0) == (row["ranks"] > 1) for row in measured)
    assert figure.read_bytes().startswith(b"\x89PNG")
    latencies = json.loads((tmp_path / "result-latencies.json").read_text())
    assert all(make({**result, **latencies}) for _, make in TABLES.values())
    if why_not() is None:
        counted = [row for row in latencies["latencies"] if not row["before"]]
        assert [row["way"] for row in counted] == ["3", "1x3x1"]
        assert not result["skipped"]
    else:  # visibly
        assert "emulated hosts" in capsys.readouterr().out
        assert result["skipped"]

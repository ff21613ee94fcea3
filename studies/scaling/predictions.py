"""What the cost model says of clusters, a flat row for each number of workers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studies.scaling.clusters import CLUSTERS, FLAT, MPI, TRAINED, TRANSPORTS, Cluster, scaled, step_on
from studies.scaling.cost_model import Bucket, Link, LossStep, StepTime

__all__ = ["BATCH", "BEFORE", "GLOBAL_BATCH", "NODES", "losses_of", "predictions"]

BATCH = 8
"""Real showers a worker and step, as in the talk."""
NODES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
GLOBAL_BATCH = 4096
"""Strong scaling's: that of 128 nodes of 4 workers of 8."""

BEFORE = Path(__file__).with_name("before.json")
"""What is known of the grid of exchanges that training had before it took torch's collectives alone."""

Row = dict[str, Any]


def losses_of(notes: Sequence[Mapping[str, Any]]) -> list[LossStep]:
    """Read what :func:`dataclasses.asdict` made of the losses of a step."""
    return [
        LossStep(note["compute_s"], note["sigma_s"], tuple(Bucket(**each) for each in note["buckets"]))
        for note in notes
    ]


def predictions(inputs: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Return all that is predicted, lists of flat rows by name."""
    before = json.loads(BEFORE.read_text(encoding="utf-8"))
    return {
        "predictions": list(prediction_rows(inputs)),
        "cost": list(cost_rows(inputs, before)),
    }


def prediction_rows(inputs: Mapping[str, Any]) -> Iterator[Row]:
    """Predict both scalings on the Xeon nodes of the talk, and weak scaling on GPUs.

    ``inputs`` are measured: ``networks``, the losses of a step of BATCH showers by network, of which the
    talk's time decides only the scale; ``a_shower``, what one of BATCH showers adds to a step of 3dgan,
    as a part of it; ``tcp``, what gloo adds to the wire.
    """
    networks = {name: losses_of(notes) for name, notes in inputs["networks"].items()}
    tcp, xeon = Link(**inputs["tcp"]), CLUSTERS["xeon"]
    small_s = sum(loss.compute_s for loss in networks["3dgan"])
    for model, losses in networks.items():
        mine = scaled(losses, xeon.step_s / small_s)
        for transport in TRANSPORTS:
            yield from _weak(xeon, model, transport, "as here", mine, tcp)
        yield from _strong(xeon, model, mine, inputs["a_shower"], tcp)
    for cluster in CLUSTERS.values():
        mine = scaled(networks["3dgan"], cluster.step_s / small_s)
        if cluster is not xeon:
            yield from _weak(cluster, "3dgan", MPI, "as here", mine, tcp)
        yield from _weak(cluster, "3dgan", MPI, "none", _even(mine), tcp)


def cost_rows(inputs: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[Row]:
    """Compare the communication of a step now with that of an earlier way, at gloo's costs as ``before`` has them."""
    networks = {name: losses_of(notes) for name, notes in inputs["networks"].items()}
    xeon, small_s = CLUSTERS["xeon"], sum(loss.compute_s for loss in networks["3dgan"])
    for model, losses in networks.items():
        mine = scaled(losses, xeon.step_s / small_s)
        times = {"the grid, before": before["communication_s"][model]}
        for transport in (TRAINED, FLAT):
            step = step_on(xeon, mine, before["nodes"], transport, Link(**before["tcp"]))
            times[transport] = step.communication_s
        for sums, seconds in times.items():
            yield {
                "network": model,
                "nodes": before["nodes"],
                "sums": sums,
                "compute_s": step.compute_s,
                "communication_s": seconds,
            }


def _even(losses: Sequence[LossStep]) -> list[LossStep]:
    return [LossStep(loss.compute_s, 0.0, loss.buckets) for loss in losses]


def _weak(
    cluster: Cluster, model: str, transport: str, spread: str, losses: Sequence[LossStep], tcp: Link
) -> Iterator[Row]:
    """Predict for each number of nodes, relative to the unit that the published figure starts from."""
    per_node = cluster.workers_per_node
    if cluster is CLUSTERS["xeon"]:  # from one node
        first_s = step_on(cluster, losses, 1, transport, tcp).total_s
        counts = [n * per_node for n in NODES]
    else:  # from one GPU
        first_s, counts = sum(loss.compute_s for loss in losses), sorted(cluster.published)
    for workers in counts:
        step = step_on(cluster, losses, workers // per_node, transport, tcp)
        place = {"cluster": cluster.name, "network": model, "sums": transport, "spread": spread}
        yield _row("weak", place, workers, step, first_s / step.total_s, cluster.published.get(workers))


def _strong(
    cluster: Cluster, model: str, losses: Sequence[LossStep], a_shower: float, tcp: Link
) -> Iterator[Row]:
    first_s = 0.0
    for nodes in NODES:
        workers = nodes * cluster.workers_per_node
        mine = scaled(losses, 1 + a_shower * (GLOBAL_BATCH / workers - BATCH))
        step = step_on(cluster, mine, nodes, TRAINED, tcp)
        first_s = first_s or step.total_s
        place = {"cluster": cluster.name, "network": model, "sums": TRAINED, "spread": "as here"}
        yield _row("strong", place, workers, step, first_s / (nodes * step.total_s), None)


def _row(
    scaling: str,
    place: Mapping[str, str],
    workers: int,
    step: StepTime,
    efficiency: float,
    published: float | None,
) -> Row:
    return {
        "scaling": scaling,
        **place,
        "workers": workers,
        **asdict(step),
        "efficiency": efficiency,
        "published": published,
    }

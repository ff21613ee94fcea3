"""What the cost model says of clusters, as rows of ``caloforge bench scaling``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from caloforge.bench import Row
from caloforge.training.grids import Link
from studies.scaling.clusters import (
    CLUSTERS,
    MPI,
    TRAINED,
    TRANSPORTS,
    Cluster,
    scaled,
    step_on,
)
from studies.scaling.cost_model import LossStep, StepTime

__all__ = ["BATCH", "NODES", "prediction_rows", "scaling_row"]

BATCH = 8
"""Real showers a worker and step, as in the talk."""
NODES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
NO_SPREAD = "no spread between ranks"
GLOBAL_BATCH = 4096
"""Strong scaling's: that of 128 nodes of 4 workers of 8."""

COLUMNS = (
    "what", "kind", "setup", "workers", "step_ms", "cpu_ms", "compute_ms", "waiting_ms",
    "communication_ms", "efficiency", "own_cores", "error_%",
)  # fmt: skip


def scaling_row(what: str, kind: str, setup: str, **values: float | str) -> Row:
    """Make a row: times in ``..._s`` become ``..._ms``, what is not given stays empty."""
    row: Row = dict.fromkeys(COLUMNS, "")
    row |= {"what": what, "kind": kind, "setup": setup}
    for name, value in values.items():
        if name.endswith("_s") and not isinstance(value, str):
            row[name.removesuffix("_s") + "_ms"] = round(1e3 * value, 3)
        elif name == "error" and not isinstance(value, str):
            row["error_%"] = round(100 * value, 1)
        elif name != "error":
            row[name] = value if isinstance(value, str | int) else round(value, 4)
    return row


def prediction_rows(
    networks: Mapping[str, Sequence[LossStep]], at_once: Sequence[LossStep], a_shower: float, tcp: Link
) -> Iterator[Row]:
    """Predict both scalings on the Xeon nodes of the talk, and weak scaling on GPUs.

    Parameters: ``networks`` gives the turns of BATCH showers by network as timed here, of which the
    talk's time decides only the scale; ``at_once`` those of 3dgan with one message a turn;
    ``a_shower`` what one of BATCH showers adds to a step, as a part of it; ``tcp`` what gloo adds
    to the wire.
    """
    small_s = sum(turn.compute_s for turn in networks["3dgan"])
    xeon = CLUSTERS["xeon"]
    for model, turns in networks.items():
        mine = scaled(turns, xeon.step_s / small_s)
        for transport in TRANSPORTS if model == "3dgan" else (MPI, TRAINED):
            yield from _weak(xeon, f"{model}, {transport}", mine, transport, tcp)
        yield from _strong(xeon, f"{model}, {TRAINED}", mine, a_shower, tcp)
    mine = scaled(networks["3dgan"], xeon.step_s / small_s)
    yield from _weak(xeon, f"3dgan, {MPI}, {NO_SPREAD}", _even(mine), MPI, tcp)
    mine = scaled(at_once, xeon.step_s / small_s)
    yield from _weak(xeon, f"3dgan, {TRAINED}, one message", mine, TRAINED, tcp)
    for name in ("p100", "v100"):
        cluster = CLUSTERS[name]
        mine = scaled(networks["3dgan"], cluster.step_s / small_s)
        yield from _weak(cluster, "3dgan, NCCL as MPI", mine, MPI, tcp)
        yield from _weak(cluster, "3dgan, NCCL as MPI, no spread between ranks", _even(mine), MPI, tcp)


def _even(turns: Sequence[LossStep]) -> list[LossStep]:
    return [LossStep(turn.compute_s, 0.0, turn.buckets) for turn in turns]


def _weak(
    cluster: Cluster, setup: str, turns: Sequence[LossStep], transport: str, tcp: Link
) -> Iterator[Row]:
    """Predict for each number of nodes, relative to the unit that the published figure starts from."""
    per_node = cluster.workers_per_node
    if cluster is CLUSTERS["xeon"]:  # from one node
        first_s = step_on(cluster, turns, 1, transport, tcp).total_s
        counts = [n * per_node for n in NODES]
    else:  # from one GPU
        first_s, counts = sum(turn.compute_s for turn in turns), sorted(cluster.published)
    for workers in counts:
        step = step_on(cluster, turns, workers // per_node, transport, tcp)
        yield _predicted("weak scaling", cluster, setup, workers, step, first_s / step.total_s)


def _strong(
    cluster: Cluster, setup: str, turns: Sequence[LossStep], a_shower: float, tcp: Link
) -> Iterator[Row]:
    first_s = 0.0
    for nodes in NODES:
        workers = nodes * cluster.workers_per_node
        mine = scaled(turns, 1 + a_shower * (GLOBAL_BATCH / workers - BATCH))
        step = step_on(cluster, mine, nodes, TRAINED, tcp)
        first_s = first_s or step.total_s
        yield _predicted(
            f"strong scaling, {GLOBAL_BATCH}",
            cluster,
            setup,
            workers,
            step,
            first_s / (nodes * step.total_s),
        )


def _predicted(
    what: str, cluster: Cluster, setup: str, workers: int, step: StepTime, efficiency: float
) -> Row:
    known = cluster.published.get(workers) if what == "weak scaling" else None
    return scaling_row(
        f"prediction, {what}",
        "predicted",
        f"{cluster.name}: {setup}" + ("" if known is None else f" (published {known:g})"),
        workers=workers,
        step_s=step.total_s,
        compute_s=step.compute_s,
        waiting_s=step.waiting_s,
        communication_s=step.communication_s,
        efficiency=efficiency,
        error="" if known is None else efficiency / known - 1,
    )

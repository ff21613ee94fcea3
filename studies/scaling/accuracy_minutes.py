"""Minutes to accuracy on the talk's nodes: showers that were needed here, times the predicted step."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from caloforge.files.shipped import shipped_showers
from caloforge.foundations.durable import atomic_path
from caloforge.report.plots.draw import picture
from caloforge.report.plots.style import heading, look
from caloforge.training.begin import build_objective
from caloforge.training.config import load_config
from caloforge.training.loader import take_batch
from caloforge.training.split import Split, prepare_data
from studies.scaling.accuracy_runs import WORKER_BATCH
from studies.scaling.clusters import CLUSTERS, MPI, step_on
from studies.scaling.cost_model import Bucket, Link, LossStep

__all__ = ["draw_minutes", "minutes_rows", "predicted_step_s", "time_steps"]

NODES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SPREAD = 0.014
"""Standard deviation between ranks, as a part of a step: measured for docs/scaling.md between two ranks."""

TALK_MINUTES, TALK_NODES = 14.4, 256
FEW = 2
ROUNDS = 3

Parts = Sequence[Mapping[str, float]]
"""Of each loss of a step: seconds whatever the batch, seconds for each shower, bytes of gradients."""


def time_steps(model: str) -> list[dict[str, float]]:
    """Time the losses of a step on the package's showers, 25x25x25 cells, by processor time of this machine."""
    config = load_config(model=model)
    store = prepare_data(config, [shipped_showers("train")])
    train_N = Split.of(store, config).train_N
    torch.manual_seed(1)
    objective = build_objective(config, store, train_N)
    optimizers = {name: objective.optimizer(each, 1e-3) for name, each in objective.networks.items()}

    def step(size: int) -> list[float]:
        times, started = [], time.process_time()
        for loss in objective.losses(take_batch(store, train_N[:size])):
            optimizers[loss.network].zero_grad()
            loss.loss.backward()  # type: ignore[no-untyped-call]
            optimizers[loss.network].step()
            times.append(time.process_time() - started)
            started = time.process_time()
            names.append(loss.network)
        return times

    names: list[str] = []
    few, many = ([step(size) for _ in range(ROUNDS + 1)][1:] for size in (FEW, WORKER_BATCH))
    parts = []
    for index, (a, b) in enumerate(zip(zip(*few, strict=True), zip(*many, strict=True), strict=True)):
        shower_s = max(0.0, (median(b) - median(a)) / (WORKER_BATCH - FEW))
        network = objective.networks[names[index]]
        parts.append(
            {
                "base_s": max(0.0, median(b) - WORKER_BATCH * shower_s),
                "shower_s": shower_s,
                "bytes": float(sum(p.nbytes for p in network.parameters())),
            }
        )
    return parts


def predicted_step_s(parts: Parts, faster: float, batch: int, nodes: int) -> float | None:
    """Predict a step of a global batch on so many of the talk's nodes, with MPI; None with too few showers.

    A worker there takes ``faster`` times the seconds of ``parts``.
    """
    cluster = CLUSTERS["xeon"]
    share = batch / (nodes * cluster.workers_per_node)
    if share < 1:
        return None
    losses = []
    for part in parts:
        seconds = faster * (part["base_s"] + share * part["shower_s"])
        losses.append(LossStep(seconds, SPREAD * seconds, (Bucket(part["bytes"]),)))
    return step_on(cluster, losses, nodes, MPI, Link(0.0, 0.0)).total_s


def talks_pace(parts_3dgan: Parts) -> float:
    """Return the seconds of the talk's worker over those of this machine, for the same step of 3dgan."""
    here_s = sum(part["base_s"] + WORKER_BATCH * part["shower_s"] for part in parts_3dgan)
    return CLUSTERS["xeon"].step_s / here_s


def minutes_rows(
    needed: Sequence[Mapping[str, Any]], steps: Mapping[str, Parts]
) -> list[dict[str, Any]]:
    """Turn showers needed (rows with model, batch and the median of showers) into minutes by nodes."""
    pace, rows = talks_pace(steps["3dgan"]), []
    for row in needed:
        if row["showers"] is None:
            continue
        for nodes in NODES:
            step_s = predicted_step_s(steps[row["model"]], pace, row["batch"], nodes)
            if step_s is not None:
                minutes = row["showers"] / row["batch"] * step_s / 60
                rows.append(
                    {
                        **{name: row[name] for name in ("model", "rule", "batch")},
                        "nodes": nodes,
                        "step_s": round(step_s, 4),
                        "minutes": float(f"{minutes:.4g}"),
                    }
                )
    return rows


def talks_showers(parts_3dgan: Parts) -> float:
    """Return the showers that the talk's 14.4 minutes on 256 nodes hold, by the predicted step of 8 a worker."""
    batch = TALK_NODES * CLUSTERS["xeon"].workers_per_node * WORKER_BATCH
    step_s = predicted_step_s(parts_3dgan, talks_pace(parts_3dgan), batch, TALK_NODES)
    assert step_s is not None
    return TALK_MINUTES * 60 / step_s * batch


def draw_minutes(path: Path, result: Mapping[str, Any]) -> None:
    """Write a PNG file: minutes against nodes for each batch, and showers needed against the batch."""
    models = list(dict.fromkeys(row["model"] for row in result["needed"]))

    def fill(canvas: Any) -> None:
        canvas.set_size_inches(6.2 * len(models), 7.6)
        frames = canvas.subplots(2, len(models), squeeze=False)
        canvas.subplots_adjust(0.08, 0.08, 0.98, 0.91, wspace=0.22, hspace=0.3)
        for column, model in enumerate(models):
            quality = result["quality"][model]
            _showers(frames[0][column], [row for row in result["needed"] if row["model"] == model])
            title = f"{model}: to a score of {quality:g}"
            frames[0][column].set_title(title, **heading(title))
            _minutes(frames[1][column], [row for row in result["minutes"] if row["model"] == model])

    content = picture(fill)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _showers(axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw each run's showers: full where the quality was reached, an open triangle where it was not."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for index, rule in enumerate(dict.fromkeys(row["rule"] for row in rows)):
        colour, line, marker = look(index)
        own = [row for row in rows if row["rule"] == rule]
        reached = [row for row in own if row["showers"] is not None]
        label = f"rate times the workers ({rule})" if rule == "linear" else f"times their {rule}"
        axes.plot(
            [row["batch"] for row in reached],
            [row["showers"] for row in reached],
            color=colour,
            linestyle=line,
            label=label,
        )
        for row in own:
            for end, showers in row["runs"]:
                face = colour if end == "reached" else "none"
                shape = marker if end == "reached" else "^"
                axes.plot(row["batch"], showers, shape, color=colour, markerfacecolor=face, markersize=6)
    axes.plot([], [], "^", color="black", markerfacecolor="none", label="not reached: more than this")
    batches = sorted({row["batch"] for row in rows})
    axes.set_xticks(batches, map(str, batches))
    axes.set_xlabel("Global batch")
    axes.set_ylabel("Showers needed, measured")
    axes.legend(fontsize=8.5)


def _minutes(axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw minutes against nodes: a curve for each batch, by the rule that needed fewer showers."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for index, batch in enumerate(sorted({row["batch"] for row in rows})):
        best = [
            min(
                (row for row in rows if row["batch"] == batch and row["nodes"] == nodes),
                key=_cost,
                default=None,
            )
            for nodes in NODES
        ]
        curve = [(row["nodes"], row["minutes"]) for row in best if row is not None]
        colour, line, marker = look(index)
        axes.plot(
            *zip(*curve, strict=True),
            color=colour,
            linestyle=line,
            marker=marker,
            markersize=4,
            label=f"batch {batch}",
        )
    axes.set_xticks(NODES, map(str, NODES))
    axes.set_xlabel("Nodes of 4 workers, as in the talk")
    axes.set_ylabel("Minutes to that score, predicted")
    if rows and rows[0]["model"] == "3dgan":
        label = f"the talk: {TALK_MINUTES} minutes, all cells, to its own accuracy"
        axes.plot(TALK_NODES, TALK_MINUTES, "*", color="black", markersize=11, label=label)
    if rows:
        axes.legend(fontsize=8.5)


def _cost(row: Mapping[str, Any]) -> float:
    return float(row["minutes"])

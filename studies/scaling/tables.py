"""Tables of the result, for a terminal and for documents: a head, and lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from studies.scaling.clusters import CLUSTERS
from studies.scaling.cost_model import slowest_normal_s
from studies.scaling.predictions import GLOBAL_BATCH

__all__ = ["TABLES", "Table"]

Result = Mapping[str, Any]
Table = tuple[tuple[str, ...], list[tuple[str, ...]]]

SHOWN_NODES = (1, 8, 32, 64, 128, 256)
TALK_NODES = 128
XEON = CLUSTERS["xeon"]
PARTS = ("compute_s", "waiting_s", "communication_s")


def percent(value: float | None, sign: str = "") -> str:
    """Write a part of 1 in percent, nothing as nothing."""
    return "" if value is None else f"{100 * value:{sign}.1f} %"


def ms(seconds: float | None) -> str:
    """Write seconds in milliseconds, three digits of them."""
    return "" if seconds is None else f"{1e3 * seconds:.{0 if seconds >= 0.1 else 1}f}"


def steps(result: Result) -> Table:
    """Show steps on these cores, measured and predicted."""
    head = (
        "",
        "scaling",
        "showers a rank",
        "ranks",
        "sent, backward pass",
        "step, ms",
        "cpu",
        "compute",
    )
    more = ("waiting", "communication", "efficiency", "own cores", "error of prediction")
    return (*head, *more), [
        (
            *(str(row[name]) for name in ("kind", "scaling", "batch", "ranks", "sent")),
            *(ms(row.get(name)) for name in ("step_s", "cpu_s", *PARTS)),
            percent(row["efficiency"]),
            percent(row.get("own_cores")),
            percent(row.get("error"), "+"),
        )
        for row in result["steps"]
    ]


def calibration(result: Result) -> Table:
    """Show how well the model of sums does for each use of the points."""
    head = ("sums", "points", "mean error", "largest", "gloo adds to a message", "to a byte")
    return head, [
        (
            row["use"],
            str(row["points"]),
            percent(row["mean_error"]),
            percent(row["largest_error"]),
            f"{1e6 * row['latency_s']:.0f} us",
            f"{1e9 * row['s_per_byte']:.2f} ns",
        )
        for row in result["calibration"]
    ]


def latencies(result: Result) -> Table:
    """Show what a sum of few bytes costs between many emulated hosts, now and by the earlier grid."""
    head = ("hosts", "way", "latencies, measured", "as modelled")
    return head, [
        (
            str(row["hosts"]),
            row["way"] + (", before" if row["before"] else ""),
            f"{row['latencies']:.0f}",
            str(row["modelled"]),
        )
        for row in result["latencies"]
    ]


def _of_xeon(result: Result, scaling: str) -> Iterable[tuple[tuple[str, ...], dict[int, Any]]]:
    """List the talk's predictions: by network, way of sums and spread, the rows by nodes."""
    found: dict[tuple[str, ...], dict[int, Any]] = {}
    for row in result["predictions"]:
        if row["cluster"] == XEON.name and row["scaling"] == scaling:
            key = (row["network"], row["sums"], row["spread"])
            found.setdefault(key, {})[row["workers"] // XEON.workers_per_node] = row
    return found.items()


def weak(result: Result) -> Table:
    """Show predicted weak scaling on the talk's Xeon nodes, 8 showers a worker."""
    published = XEON.published[TALK_NODES * XEON.workers_per_node]
    head = ("network", "sums", "spread", *(f"{n} nodes" for n in SHOWN_NODES))
    return (*head, f"at {TALK_NODES}: against {percent(published)}"), [
        (
            *key,
            *(percent(rows[n]["efficiency"]) for n in SHOWN_NODES),
            percent(rows[TALK_NODES]["efficiency"] / published - 1, "+") if key[0] == "3dgan" else "",
        )
        for key, rows in _of_xeon(result, "weak")
    ]


def parts(result: Result) -> Table:
    """Show where a step's time goes on TALK_NODES nodes, predicted."""
    head = ("network", "sums", "spread", "compute, ms", "waiting", "communication")
    return head, [
        (*key, *(ms(rows[TALK_NODES][part]) for part in PARTS)) for key, rows in _of_xeon(result, "weak")
    ]


def cost(result: Result) -> Table:
    """Show what a step's sums take on many nodes: before, as trained now, and flat."""
    head = ("network", "nodes", "sums", "compute, ms", "communication, ms", "of the step")
    return head, [
        (
            row["network"],
            str(row["nodes"]),
            row["sums"],
            ms(row["compute_s"]),
            ms(row["communication_s"]),
            percent(row["communication_s"] / (row["compute_s"] + row["communication_s"])),
        )
        for row in result["cost"]
    ]


def strong(result: Result) -> Table:
    """Show predicted strong scaling, GLOBAL_BATCH showers a step."""
    head = ("network", "sums", *(f"{n} nodes" for n in SHOWN_NODES))
    return head, [
        (*key[:2], *(percent(rows[n]["efficiency"]) for n in SHOWN_NODES))
        for key, rows in _of_xeon(result, "strong")
    ]


def assumed(result: Result) -> Table:
    """Show what goes into the predictions."""
    losses, tcp = result["inputs"]["networks"]["3dgan"], result["inputs"]["tcp"]
    workers = TALK_NODES * XEON.workers_per_node
    waiting = sum(slowest_normal_s(0, loss["sigma_s"], workers) for loss in losses)
    spread = waiting / slowest_normal_s(0, 1, workers) / sum(loss["compute_s"] for loss in losses)
    talk = "the talk: under a minute an epoch of 180,000 showers on 128 nodes, an upper limit"
    adds = f"{1e6 * tcp['latency_s']:.0f} us a message, {1e9 * tcp['s_per_byte']:.2f} ns a byte"
    return ("", "value", "from"), [
        ("a step of 8 showers on one of 4 workers of a node", f"{1e3 * XEON.step_s:,.0f} ms", talk),
        ("spread between ranks", f"{percent(spread)} of a step", "measured here, between two ranks"),
        ("what gloo adds to the wire", adds, "measured here, loopback"),
    ]


def gpus(result: Result) -> Table:
    """Show predicted and published weak scaling of GPUs."""
    head = ("cluster", "GPUs", "spread between ranks", "predicted", "published", "error")
    return head, [
        (
            row["cluster"],
            str(row["workers"]),
            row["spread"],
            percent(row["efficiency"]),
            percent(row["published"]),
            percent(row["efficiency"] / row["published"] - 1, "+"),
        )
        for row in result["predictions"]
        if row["cluster"] != XEON.name
    ]


TABLES: Mapping[str, tuple[str, Callable[[Result], Table]]] = {
    "steps": ("Steps on these cores", steps),
    "calibration": ("The model of sums against measurements", calibration),
    "latencies": ("Latencies of a sum between many emulated hosts", latencies),
    "assumed": ("What goes into the predictions", assumed),
    "weak": ("Predicted: weak scaling on the talk's Xeon nodes, 8 showers a worker", weak),
    "parts": (f"Predicted: where a step's time goes on {TALK_NODES} nodes", parts),
    "cost": ("Predicted: sums of a step, at gloo's costs as measured before", cost),
    "strong": (f"Predicted: strong scaling, {GLOBAL_BATCH:,} showers a step", strong),
    "gpus": ("Predicted: GPUs", gpus),
}

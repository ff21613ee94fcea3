"""A result as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from caloforge.comparison.key_metrics import with_error

__all__ = ["LABELS", "as_markdown"]

Result = Mapping[str, Any]

LABELS = {
    "rmse_GeV": "RMSE, GeV",
    "resolution": "resolution",
    "curve_GeV": "mean RMSE along the curve, GeV",
    "core_s": "core-seconds",
    "at_equal_core_s": "validation at equal core-seconds, GeV",
    "s_per_child": "seconds a child",
    "core_s_per_child": "core-seconds a child",
    "chain_bytes": "bytes of the chain",
    "weights_bytes": "bytes of the weights",
    "grow_s": "core-seconds to grow",
    "equal_bits": "equal bits",
}


def as_markdown(result: Result) -> str:
    """Write a result: the question, the table of its arms, and the verdict on each claim."""
    columns = [name for name in result["columns"] if name in result["table"][0]]
    head = ["", *(LABELS.get(name, name) for name in columns)]
    arms = [[row["arm"], *(with_error(*row[name]) for name in columns)] for row in result["table"]]
    claims = [
        f"- {claim['claim']}: **{claim['verdict']}** ({_ratio(claim)})" for claim in result["claims"]
    ]
    size = f"{result['evaluations']:,.0f} evaluations a run, {result['seeds']} seeds"
    lines = [f"{result['question']} {size}.", "", *_table(head, arms)]
    return "\n".join([*lines, "", *claims] if claims else lines)


def _ratio(claim: Mapping[str, Any]) -> str:
    what = f"{LABELS.get(claim['by'], claim['by'])}, {claim['worse']} over {claim['better']}"
    return f"{what}: {with_error(claim['ratio'], claim['ratio_error'])}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = list(head)
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]

"""A study's result as Markdown, for a terminal and for documents.

``python -m studies.evolution.study_table docs/evolve.md RESULT.json...`` puts each result between the lines
``<!-- STUDY -->`` and ``<!-- end -->`` of the document.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caloforge.foundations.durable import write_text

__all__ = ["LABELS", "as_markdown", "fill", "rounded"]

LABELS = {
    "rmse_GeV": "RMSE, GeV",
    "resolution": "resolution",
    "course_GeV": "RMSE along the course, GeV",
    "core_s": "core-seconds",
    "at_equal_core_s": "validation at equal core-seconds",
    "s_per_child": "seconds a child",
    "core_s_per_child": "core-seconds a child",
    "chain_bytes": "bytes of the chain",
    "weights_bytes": "bytes of the weights",
    "grow_s": "core-seconds to grow",
    "equal_bits": "equal bits",
}


def as_markdown(result: Mapping[str, Any]) -> str:
    """Return the table of a result of ``caloforge evolve`` and its verdicts."""
    columns = [name for name in result["figures"] if name in result["table"][0]]
    head = ["", *(LABELS.get(name, name) for name in columns)]
    lines = [[row["arm"], *(rounded(*row[name]) for name in columns)] for row in result["table"]]
    table = [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines)]
    verdicts = [
        f"- {claim['claim']}: **{claim['verdict']}** ({LABELS.get(claim['by'], claim['by'])}, "
        f"{claim['worse']} over {claim['better']}: {rounded(claim['ratio'], claim['ratio_error'])})"
        for claim in result["claims"]
    ]
    title = (
        f"{result['question']} {result['evaluations']:,.0f} evaluations a run, {result['seeds']} seeds."
    )
    return "\n".join([title, "", *table, *([""] if verdicts else []), *verdicts])


def rounded(mean: float, error: float | None) -> str:
    """Write a number with its standard error, to two digits of it; without one, or with none at all, four digits."""
    if not error:
        return f"{mean:.4g}"
    digits = 1 - math.floor(math.log10(error))
    return f"{mean:.{max(digits, 0)}f} ± {error:.{max(digits, 0)}f}"


def fill(text: str, result: Mapping[str, Any]) -> str:
    """Put a result where a document names its study, with the command, the date and the machine."""
    name, machine = str(result["study"]), result["machine"]
    options = f"--data {Path(result['data']).name}"
    if result["test"] is not None:
        options += f" --test {Path(result['test']).name}"
    options += f" --evaluations {result['evaluations']:.15g} --seeds {result['seeds']}"
    command = f"```console\n$ caloforge evolve {name} {options} -o {name}.json\n```"
    where = (
        f"{result['date']}, {machine['cpu']}, {machine['cores']} cores, seeds 1 to {result['seeds']}."
    )
    block = "\n\n".join([f"<!-- {name} -->", command, as_markdown(result), where, "<!-- end -->"])
    return re.sub(rf"<!-- {name} -->.*?<!-- end -->", lambda _: block, text, flags=re.DOTALL)


if __name__ == "__main__":
    document = Path(sys.argv[1])
    for path in sys.argv[2:]:
        measured = json.loads(Path(path).read_text(encoding="utf-8"))
        write_text(document, fill(document.read_text(encoding="utf-8"), measured))

"""Maintainers' tool: keep what the documents quote of a comparison, with how it came about.

``python tools/record_metrics.py REPORT/metrics.json -o docs/results/NAME.json COMMAND...``: the commands that made the
report, in their order, which anyone can type. Kept are the numbers of the requirements and of the report's summary.
"""

from __future__ import annotations

import argparse
import json
import re
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from caloforge.bench.machine import describe_machine, package_versions
from caloforge.comparison.key_metrics import TITLES
from caloforge.comparison.requirements import load_requirements
from caloforge.foundations.durable import write_json

ENDINGS = re.compile(r"(_by_energy)?(_floor)?(_err)?$")
ALWAYS = (
    "n_reference", "n_candidate", "n_plots", "energy_bins", "energy_points", "auc.energy_quartiles", "calochallenge.*",
    "auc_curve", "response", "resolution", "tails", "requirements",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Write one result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("metrics", type=Path, help="metrics.json of a report")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the result file")
    parser.add_argument("--note", default="", help="what else a reader must know of these commands")
    parser.add_argument("commands", nargs="+", help="the commands, as anyone would type them")
    given = parser.parse_args(arguments)
    single = (it.metric for it in load_requirements() if "*" not in it.metric)
    wanted = [*ALWAYS, *TITLES, *single]
    found = json.loads(given.metrics.read_text(encoding="utf-8"))
    kept = {
        name: value
        for name, value in found.items()
        if any(fnmatchcase(ENDINGS.sub("", name, count=1), pattern) for pattern in wanted)
    }
    write_json(
        given.output,
        {
            "command": given.commands,
            "note": given.note,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": describe_machine(),
            "versions": package_versions(),
            "metrics": kept,
        },
    )


if __name__ == "__main__":
    main()

"""``python -m studies.scaling.time_to_accuracy``: showers to a fixed quality by batch, and minutes by nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from caloforge.bench.machine import describe_machine, package_versions
from caloforge.cli.console import print_table, progress
from caloforge.cli.program import run_program
from caloforge.files.shipped import shipped_showers
from caloforge.files.shower_file import ShowerFile
from caloforge.foundations.durable import check_output_path, write_json
from caloforge.foundations.errors import UsageError
from caloforge.foundations.texts import read_json
from studies.command import check_result_path
from studies.core_showers import write_core
from studies.scaling.accuracy_minutes import (
    TALK_MINUTES,
    draw_minutes,
    minutes_rows,
    talks_showers,
    time_steps,
)
from studies.scaling.accuracy_runs import BATCHES, RULES, SUBJECTS, Run, outcome, train_until

__all__ = ["needed_rows"]

Result = dict[str, Any]


def run(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE.json", help="All numbers; runs in it are kept."),
    ],
    data: Annotated[
        Path | None, typer.Option(metavar="FILE.h5", help="Showers; those of the package if not given.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="3dgan or copula; both if not given.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Global batches; all if not given.")] = None,
    rule: Annotated[list[str] | None, typer.Option(help="linear or root; both if not given.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Runs of each.")] = 1,
    core_seconds: Annotated[float, typer.Option(min=1, help="Budget of a run.")] = 60,
    figure: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the result.")] = None,
) -> None:
    """Train with ever larger batches until the physics check is content, and predict minutes on a cluster."""
    for chosen, known in ((model, SUBJECTS), (batch, BATCHES), (rule, RULES)):
        for one in chosen or ():
            if one not in known:
                raise UsageError(f"{one}: expected one of {', '.join(map(str, known))}")
    source = data or shipped_showers("train")
    if output is not None:
        check_result_path(output, "time to accuracy", source)
    if figure is not None:
        check_output_path(figure, source)
    wanted = [
        Run(m, b, r, seed)
        for m in model or SUBJECTS
        for seed in range(1, seeds + 1)
        for b in batch or BATCHES
        for r in rule or RULES
        if b > BATCHES[0] or r == "linear"  # one worker's rate is the same by both
    ]
    result = _begun(output, source)
    _measure(result, wanted, source, core_seconds, output)
    result["needed"] = needed_rows(result["runs"], result["quality"])
    result["minutes"] = minutes_rows(result["needed"], result["steps"])
    result["talk"] = {"minutes": TALK_MINUTES, "showers": round(talks_showers(result["steps"]["3dgan"]))}
    write_json(output, result)
    if figure is not None:
        draw_minutes(figure, result)
    columns = ("model", "rule", "batch", "seeds", "ended", "showers")
    print_table("Showers needed", columns, [[row[c] or "" for c in columns] for row in result["needed"]])


def _begun(output: Path, source: Path) -> Result:
    """Return the result in a file, or one without runs."""
    if output.is_file():
        return read_json(output)
    with ShowerFile(source) as file:
        count = len(file)
    return {
        "study": "time to accuracy",
        "command": "python -m studies.scaling.time_to_accuracy --data SHOWERS.h5 -o time_to_accuracy.json",
        "showers": count,
        "cores": {name: subject.core for name, subject in SUBJECTS.items()},
        "quality": {name: subject.quality for name, subject in SUBJECTS.items()},
        "machine": describe_machine(),
        "versions": package_versions(),
        "steps": {name: time_steps(name) for name in SUBJECTS},
        "runs": [],
    }


def _measure(
    result: Result, wanted: Sequence[Run], source: Path, core_seconds: float, output: Path
) -> None:
    """Add the runs that are missing, one by one, so that a killed study goes on."""
    done = {(run["model"], run["batch"], run["rule"], run["seed"]) for run in result["runs"]}
    missing = [run for run in wanted if (run.model, run.batch, run.rule, run.seed) not in done]
    with TemporaryDirectory(prefix="caloforge-accuracy-") as folder, progress("runs", "runs") as report:
        cores = {
            name: write_core(Path(folder) / f"{name}.h5", source, SUBJECTS[name].core)
            for name in {run.model for run in missing}
        }
        for number, each in enumerate(missing):
            report(number, len(missing))
            row = train_until(each, cores[each.model], result["quality"][each.model], core_seconds)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            result["runs"].append({**row, "budget_core_s": core_seconds, "date": now})
            write_json(output, result)
        report(len(missing), len(missing))


def needed_rows(runs: Sequence[Mapping[str, Any]], quality: Mapping[str, float]) -> list[Result]:
    """Return the median of showers needed over the seeds, for each model, rule and batch.

    It is None unless all runs reached the quality; then ``ended`` says what became of the others.
    """
    return list(_needed(runs, quality))


def _needed(runs: Sequence[Mapping[str, Any]], quality: Mapping[str, float]) -> Iterator[Result]:
    keys = sorted({(run["model"], run["rule"], run["batch"]) for run in runs})
    for model, rule, batch in keys:
        own = [run for run in runs if (run["model"], run["rule"], run["batch"]) == (model, rule, batch)]
        found = [outcome(run, quality[model]) for run in own]
        ends = [end for end, _ in found]
        yield {
            "model": model,
            "rule": rule,
            "batch": batch,
            "seeds": len(own),
            "ended": ", ".join(sorted(set(ends))),
            "showers": median(showers for _, showers in found) if set(ends) == {"reached"} else None,
            "runs": found,
        }


if __name__ == "__main__":
    app = typer.Typer()
    app.command()(run)
    run_program(app, "studies.scaling.time_to_accuracy")

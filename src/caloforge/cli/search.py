"""``caloforge search``: which network, and how to train it?"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from caloforge.cli.console import Json, print_result, print_table, say
from caloforge.cli.multi_value_options import SeveralFiles
from caloforge.foundations.errors import INTERRUPTED, CaloforgeError, UsageError
from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.ranks import Ranks

if TYPE_CHECKING:
    from caloforge.search.study import Study
    from caloforge.search.trials import Trial
    from caloforge.search.worker import Watch

COMMAND = SeveralFiles

EXAMPLES = (
    "caloforge search tpe --data train.h5 --out study --trials 20 --each 30",
    "caloforge search tpe --out study --trials 40",
    "caloforge search evolution --data train.h5 --out next --core-seconds 3000 --each 60 --from study",
    "caloforge launch --nproc 2 search random --data train.h5 --out baseline --trials 20 --each 30",
    "caloforge search policy --data train.h5 --out fast --trials 20 --objective legacy --objective ms",
    "caloforge search tpe --out study --report",
)

ROWS = 20
"""Trials in the table that moves."""


class Method(StrEnum):
    """What proposes the next trial."""

    random = "random"
    tpe = "tpe"
    policy = "policy"
    evolution = "evolution"


def run(
    method: Annotated[
        Method,
        typer.Argument(
            help="random choices; a model of what is good (tpe); reinforcement learning (policy); "
            "inherited weights (evolution)."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="The study's folder, new or to join.", metavar="STUDY")
    ],
    data: Annotated[
        list[Path] | None, typer.Option("--data", help="Shower files to train on.", metavar="FILE...")
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option("--space", help="Models, settings and their ranges in YAML.", metavar="FILE"),
    ] = None,
    objectives: Annotated[
        list[str] | None,
        typer.Option(
            "--objective",
            help="auc, auc.low, legacy, ms, parameters, or a deviation of metrics.json; may be repeated. "
            "[default: auc, ms]",
            metavar="NAME",
        ),
    ] = None,
    each: Annotated[
        float | None,
        typer.Option("--each", min=0.1, help="Core-seconds of a trial's training. [default: 60]"),
    ] = None,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Stop after so many, of all workers.")
    ] = None,
    core_seconds: Annotated[
        float | None, typer.Option("--core-seconds", min=0.1, help="Stop after so many in all.")
    ] = None,
    earlier: Annotated[
        Path | None, typer.Option("--from", help="Begin with the best of this study.", metavar="STUDY")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of all randomness. [default: 1]")] = None,
    only_report: Annotated[
        bool, typer.Option("--report", help="Write the report as things stand, and do nothing else.")
    ] = False,
    json: Json = False,
) -> None:
    """Try networks and settings; each call on the same folder, on any node, is one more worker."""
    from caloforge.search.report import write_report
    from caloforge.search.study import Limits, Study
    from caloforge.search.worker import work

    ranks = Ranks.from_environment()
    if only_report:
        study = Study(out)
    else:
        if trials is None and core_seconds is None:
            raise UsageError("--trials and --core-seconds: expected at least one of them")
        wanted = _wanted(method, out, data, space, objectives, each, seed)
        study = Study.joined(out, wanted, earlier)
        if study.settings.method != method.value:
            raise UsageError(f"{out}: this search is by {study.settings.method}, got {method.value}")
        try:
            with _watching(study, ranks) as (watch, progress):
                work(study, Limits(trials, core_seconds), watch=watch, progress=progress)
        except (CaloforgeError, KeyboardInterrupt) as error:
            if ranks.leads or getattr(error, "exit_code", INTERRUPTED) != INTERRUPTED:
                raise
            raise SystemExit(INTERRUPTED) from None
    if ranks.leads:
        _show(study, write_report(study), as_json=json)


def _wanted(
    method: Method,
    out: Path,
    data: Sequence[Path] | None,
    space: Path | None,
    objectives: Sequence[str] | None,
    each: float | None,
    seed: int | None,
) -> Any:
    """Return the settings of a new study; of one that is there already, those that it has and no option changes."""
    from dataclasses import replace

    from caloforge.search.space import load_space
    from caloforge.search.study import SETTINGS, Settings, Study

    if (out / SETTINGS).is_file():
        known = Study(out).settings
    elif data:
        known = Settings(method.value, ("auc", "ms"), 60.0, 1, (), load_space(space).text)
    else:
        return None
    given: dict[str, Any] = {
        "data": tuple(str(path.resolve()) for path in data) if data else None,
        "space": load_space(space).text if space else None,
        "objectives": tuple(objectives) if objectives else None,
        "core_seconds": each,
        "seed": seed,
    }
    return replace(known, **{name: value for name, value in given.items() if value is not None})


@contextmanager
def _watching(study: Study, ranks: Ranks) -> Iterator[tuple[Watch, Progress]]:
    """Return what shows the trials: a table that moves on a terminal, else a line for each that has ended."""
    if not ranks.leads:
        yield lambda _: None, silent
    elif sys.stderr.isatty():
        with Live(console=Console(stderr=True), refresh_per_second=4) as live:
            yield lambda trials: live.update(_live_table(study, trials)), silent
    else:
        said = {trial.number for trial in study.store.trials() if trial.state != "running"}

        def watch(trials: Sequence[Trial]) -> None:
            for trial in trials:
                if trial.state != "running" and trial.number not in said:
                    said.add(trial.number)
                    say(f"search: {_line(study, trial)}")

        yield watch, silent


def _line(study: Study, trial: Trial) -> str:
    from caloforge.search.report import settings_text

    names = study.settings.objectives
    values = " ".join(f"{n}={v:.4g}" for n, v in zip(names, trial.objectives, strict=False))
    what = f"{trial.choice['model']}, {settings_text(trial)}"
    return f"trial {trial.number} {trial.state} {values} ({trial.core_seconds:.1f} core-s; {what})"


def _live_table(study: Study, trials: Sequence[Trial]) -> Table:
    from caloforge.search.report import front, settings_text

    names, best = study.settings.objectives, {trial.number for trial in front(trials)}
    table = Table(
        title=f"{study.settings.method}: {len(trials)} trials, {study.spent(trials):.0f} core-seconds",
        title_justify="left",
    )
    for column in ("trial", "state", *names, "core-s", "model", "settings"):
        table.add_column(column, justify="left" if column in ("state", "model", "settings") else "right")
    newest = [trial for trial in trials if trial.number not in best][-(ROWS - len(best)) :]
    for trial in sorted([*(trials[n] for n in best), *newest], key=lambda trial: trial.number):
        stage = max((n for n in trial.notes if n.startswith("stage")), default="")
        values = [f"{value:.4g}" for value in trial.objectives] or [""] * len(names)
        table.add_row(
            str(trial.number),
            f"{trial.state} {stage}" if trial.state == "running" else trial.state,
            *values,
            f"{trial.core_seconds:.1f}",
            str(trial.choice["model"]),
            settings_text(trial),
            style="bold" if trial.number in best else None,
        )
    return table


def _show(study: Study, found: dict[str, Any], *, as_json: bool) -> None:
    page = study.folder / "report.html"
    if as_json:
        print_result({**found, "report": str(page)}, as_json=True)
        return
    names = study.settings.objectives
    best = [found["trials"][number] for number in found["front"]]
    title = f"Best of {len(found['trials'])} trials, {found['core_seconds']:.0f} core-seconds"
    rows = [
        [trial["number"], *(trial["objectives"][n] for n in names), trial["choice"]["model"]]
        for trial in best
    ]
    print_table(title, ("trial", *names, "model"), rows)
    print(page)

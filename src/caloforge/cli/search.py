"""``caloforge search``: which network, and how to train it?"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caloforge.cli.console import Json, print_result, print_table, progress_of, say, show
from caloforge.cli.multi_value_options import MultiValueData
from caloforge.foundations.errors import UsageError
from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.randomness import MAX_SEED
from caloforge.foundations.ranks import Ranks

if TYPE_CHECKING:
    from caloforge.search.study import Limits, Study
    from caloforge.search.trials import Trial
    from caloforge.search.worker import Watch

COMMAND = MultiValueData

EXAMPLES = (
    "caloforge search tpe --data train.h5 -o study --trials 20 --each 30",
    "caloforge search tpe -o study --trials 40",
    "caloforge search evolution --data train.h5 -o next --core-seconds 3000 --each 60 --from study",
    "caloforge launch --nproc 2 search random --data train.h5 -o baseline --trials 20 --each 30",
    "caloforge search policy --data train.h5 -o fast --trials 20 --objective legacy --objective ms",
    "caloforge search tpe -o study --report",
)


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
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The study's folder, new or to join.", metavar="STUDY"),
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
    seed: Annotated[
        int | None, typer.Option(min=0, max=MAX_SEED, help="Seed of all randomness. [default: 1]")
    ] = None,
    only_report: Annotated[
        bool, typer.Option("--report", help="Write the report as things stand, and do nothing else.")
    ] = False,
    json: Json = False,
) -> None:
    """Try networks and settings; each call on the same folder, on any node, is one more worker."""
    from caloforge.search.report import write_report
    from caloforge.search.space import load_space
    from caloforge.search.study import Limits, Study
    from caloforge.search.worker import work

    ranks = Ranks.from_environment()
    if only_report:
        study = Study(output)
    else:
        if trials is None and core_seconds is None:
            raise UsageError("--trials and --core-seconds: expected at least one of them")
        wanted = {
            "method": method.value,
            "data": tuple(str(path.resolve()) for path in data or ()),
            "space": load_space(space).text if space else None,
            "objectives": tuple(objectives or ()),
            "core_seconds": each,
            "seed": seed,
        }
        given = {name: value for name, value in wanted.items() if value not in (None, ())}
        study = Study.joined(output, given, earlier)
        limits = Limits(trials, core_seconds)
        with progress_of(ranks, "search", "trials") as report:
            watch = _watch(study, limits, report) if ranks.leads else _look_away
            work(study, limits, watch=watch, progress=silent)
    if ranks.leads:
        _show(study, write_report(study), as_json=json)


def _watch(study: Study, limits: Limits, report: Progress) -> Watch:
    """Return what shows the trials: how many have ended, and a line for each that ends."""
    said = {trial.number for trial in study.store.trials() if trial.state != "running"}

    def watch(trials: Sequence[Trial]) -> None:
        ended = [trial for trial in trials if trial.state != "running"]
        for trial in ended:
            if trial.number not in said:
                said.add(trial.number)
                say(f"search: {_line(study, trial)}")
        report(len(ended), limits.trials or len(trials) + 1, core_s=study.spent(trials))

    return watch


def _look_away(trials: Sequence[Trial]) -> None:
    """Show nothing: the first process speaks."""


def _line(study: Study, trial: Trial) -> str:
    from caloforge.search.report import settings_text

    names = study.settings.objectives
    values = " ".join(f"{n}={v:.4g}" for n, v in zip(names, trial.objectives, strict=False))
    what = f"{trial.choice['model']}, {settings_text(trial)}"
    return f"trial {trial.number} {trial.state} {values} ({trial.core_seconds:.1f} core-s; {what})"


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
    show(page)

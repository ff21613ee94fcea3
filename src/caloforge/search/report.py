"""What a study has found: numbers for programs, and a page for people."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.foundations.durable import write_json, write_text
from caloforge.foundations.yaml_model import dump_yaml
from caloforge.search.judge import OBJECTIVES
from caloforge.search.space import MODEL
from caloforge.search.store import importances
from caloforge.search.study import Study
from caloforge.search.trials import Trial, front_ranks, standings

__all__ = ["front", "results", "settings_text", "write_report"]

COLOURS = {"done": "#0072b2", "best": "#d1480f"}


def front(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that none is better than in all objectives, the best by the first one first."""
    done = standings(trials)
    if not done:
        return []
    ranks = front_ranks(np.array([trial.objectives for trial in done]))
    best = [trial for trial, rank in zip(done, ranks, strict=True) if rank == 0]
    return sorted(best, key=lambda trial: (trial.objectives, trial.number))


def settings_text(trial: Trial) -> str:
    """Put what a trial chose into one line."""
    named = ((name.rpartition(".")[2], value) for name, value in trial.choice.items() if name != MODEL)
    text = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in named
    )
    parent = trial.proposal.parent
    return text if parent is None else f"{text}; weights of trial {parent}"


def results(study: Study) -> dict[str, Any]:
    """Return all numbers of a study, as ``metrics.json`` has them."""
    trials, settings = study.store.trials(), study.settings
    return {
        "method": settings.method,
        "objectives": list(settings.objectives),
        "core_seconds_a_trial": settings.core_seconds,
        "seed": settings.seed,
        "data": list(settings.data),
        "core_seconds": study.spent(trials),
        "counts": {
            state: sum(trial.state == state for trial in trials)
            for state in ("running", "done", "stopped", "failed")
        },
        "front": [trial.number for trial in front(trials)],
        "importance": {
            name: importances(trials, study.space, number)
            for number, name in enumerate(settings.objectives)
        },
        "trials": [_numbers(study, trial) for trial in trials],
    }


def _numbers(study: Study, trial: Trial) -> dict[str, Any]:
    values = trial.objectives or [None] * len(study.settings.objectives)
    return {
        "number": trial.number,
        "state": trial.state,
        "objectives": dict(zip(study.settings.objectives, values, strict=True)),
        "choice": trial.choice,
        "parent": trial.proposal.parent,
        "core_seconds": trial.core_seconds,
        "notes": dict(trial.notes),
    }


def write_report(study: Study) -> dict[str, Any]:
    """Write ``report.html``, ``metrics.json`` and ``best.yaml`` into the study's folder; return the numbers.

    Raises MissingExtraError without the packages that draw.
    """
    from caloforge.report.page.builder import fill_page, inline_png
    from caloforge.report.plots.draw import picture

    found, trials = results(study), study.store.trials()
    best, objectives = front(trials), study.settings.objectives
    text = dump_yaml(study.settings_of(best[0])) if best else ""
    figures = [("Every trial that is done, and the best until then", _history, 3.2 * len(objectives))]
    if len(objectives) > 1:
        figures.append(("Objectives against each other", _front, 4.5))
    if any(found["importance"].values()):
        figures.append(("Importance of what was chosen", _importance, 4.0))
    counts = ", ".join(f"{n} {state}" for state, n in found["counts"].items() if n)
    page = fill_page(
        (resources.files(__package__) / "report.html.jinja").read_text("utf-8"),
        title=f"Search by {study.settings.method}",
        lead=f"{len(trials)} trials ({counts}), {found['core_seconds']:.0f} core-seconds; "
        f"{study.settings.core_seconds:g} for the training of each, seed {study.settings.seed}; "
        f"showers of {', '.join(study.settings.data)}.",
        front=_table(study, best),
        settings=text,
        figures=[
            {
                "title": title,
                "image": inline_png(picture(partial(draw, study=study, found=found), (8, height))),
            }
            for title, draw, height in figures
        ],
        trials=_table(study, trials),
    )
    write_json(study.folder / "metrics.json", found)
    if best:
        write_text(study.folder / "best.yaml", text)
    write_text(study.folder / "report.html", page)
    return found


def _table(study: Study, trials: Sequence[Trial]) -> Any:
    from caloforge.report.page.cells import Cell, Column, Table, number

    names = study.settings.objectives
    kinds: Any = ("number", "short", *("number" for _ in names), "number", "short", "long")
    titles = ("trial", "state", *names, "core-s", "model", "settings")
    rows = []
    for trial in trials:
        values = trial.objectives or [None] * len(names)
        shown = [number("" if v is None else f"{v:.4g}", v) for v in values]
        error = trial.notes.get("error")
        rows.append(
            [
                number(str(trial.number), trial.number),
                Cell(trial.state),
                *shown,
                number(f"{trial.core_seconds:.1f}", trial.core_seconds),
                Cell(str(trial.choice[MODEL])),
                Cell(settings_text(trial), lines=(error,) if error else ()),
            ]
        )
    columns = [Column(title, kind) for title, kind in zip(titles, kinds, strict=True)]
    return Table.of("Trials", columns, rows, sortable=False)


def _history(figure: Any, study: Study, found: dict[str, Any]) -> None:
    """Draw each objective of each trial over the core-seconds of all until then."""
    axes = figure.subplots(len(study.settings.objectives), squeeze=False, sharex=True)[:, 0]
    spent = np.cumsum([trial["core_seconds"] for trial in found["trials"]])
    for ax, name in zip(axes, study.settings.objectives, strict=True):
        values = _values(found, name)
        done = np.isfinite(values)
        ax.plot(spent[done], values[done], "o", color=COLOURS["done"])
        ax.step(spent[done], np.minimum.accumulate(values[done]), where="post", color=COLOURS["best"])
        ax.set_ylabel(name)
        ax.set_title(OBJECTIVES[name][0] if name in OBJECTIVES else name, fontsize=10)
        if done.any() and values[done].min() > 0 and values[done].max() > 20 * values[done].min():
            ax.set_yscale("log")
    axes[-1].set_xlabel("core-seconds")


def _front(figure: Any, study: Study, found: dict[str, Any]) -> None:
    """Draw the first two objectives against each other."""
    ax, (x, y) = figure.subplots(), study.settings.objectives[:2]
    numbers = [trial["number"] in found["front"] for trial in found["trials"]]
    best = np.array(numbers, np.bool_)
    for chosen, colour in ((~best, COLOURS["done"]), (best, COLOURS["best"])):
        ax.plot(_values(found, x)[chosen], _values(found, y)[chosen], "o", color=colour)
    for number in found["front"]:
        place = (_values(found, x)[number], _values(found, y)[number])
        ax.annotate(str(number), place, xytext=(4, 4), textcoords="offset points", fontsize=8)
    ax.set_xlabel(x)
    ax.set_ylabel(y)


def _importance(figure: Any, study: Study, found: dict[str, Any]) -> None:
    """Draw the share of each parameter, for each objective."""
    axes = figure.subplots(1, len(study.settings.objectives), squeeze=False)[0]
    for ax, name in zip(axes, study.settings.objectives, strict=True):
        shares = {k: v for k, v in found["importance"][name].items() if v > 0}
        names = list(shares)[:10][::-1]
        ax.barh([n.replace("architecture.", "") for n in names], [shares[n] for n in names])
        ax.set_title(name, fontsize=10)
        ax.tick_params(labelsize=8)


def _values(found: dict[str, Any], name: str) -> NDArray[np.float64]:
    """Return an objective of all trials, NaN where there is none."""
    values = [trial["objectives"][name] for trial in found["trials"]]
    return np.array([np.nan if value is None else value for value in values], np.float64)

"""A training as somebody asks for it: settings from a file, from words and from what is there, then the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from caloforge.files.shipped import pretrained_weights
from caloforge.foundations.errors import UsageError
from caloforge.foundations.progress import Progress, silent
from caloforge.models.saved import has_model, read_card
from caloforge.training.begin import usual_model
from caloforge.training.config import load_config
from caloforge.training.data_parallel import Group
from caloforge.training.run_folder import RunFolder
from caloforge.training.trainer import train as train_on

__all__ = ["train"]

Paths = str | Path | Sequence[str | Path]


def train(
    data: Paths = (),
    out: str | Path = "run",
    *,
    model: str | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, Any] | Sequence[str] = (),
    resume: bool = False,
    init_from: Paths = (),
    overwrite: bool = False,
    group: Group | None = None,
    progress: Progress = silent,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train a model on shower files, as ``caloforge train`` does; ``out`` becomes the run folder.

    ``settings`` are those of the configuration by name, such as ``{"epochs": 5, "objective.penalty": 0.1}``, or texts
    ``name=value``; they go before those of the file ``config`` in YAML. Without a ``model`` the usual one is taken that
    suits the showers. ``resume`` continues the run in ``out``. ``init_from`` names run folders, pretrained models or Keras files
    with the first weights. The workers of a ``group`` each call this. Returns the run, its model, steps, epochs, and figures of its best
    physics check.

    Raises UsageError or CaloforgeError; KeyboardInterrupt after Ctrl-C or SIGTERM, with a checkpoint written.
    """
    group, folder, weights = group or Group(), RunFolder(Path(out)), _paths(init_from)
    files, base = _paths(data), dict[str, object]()
    if resume:
        base, sources = group.from_first(folder.read_config)
        files, weights = files or _paths(sources["data"]), []
    for source in weights:  # what is trained on is, if nobody says otherwise, the same model
        given = pretrained_weights().get(str(source), source)
        if has_model(given):
            base["model"] = read_card(given).name
    if not files:
        raise UsageError("--data: expected one or more shower files")
    choice = ""

    def usual() -> str:
        nonlocal choice
        name, choice = usual_model(files, weights)
        return name

    if isinstance(settings, Mapping):
        settings = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
    return train_on(
        load_config(
            None if config is None else Path(config), settings, base=base, model=model, usual=usual
        ),
        files,
        Path(out),
        resume=resume,
        init_from=weights,
        overwrite=overwrite,
        group=group,
        remark=choice,
        progress=progress,
        say=say,
    )


def _paths(given: Paths) -> list[Path]:
    return [Path(given)] if isinstance(given, str | Path) else list(map(Path, given))

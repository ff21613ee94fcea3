"""A run folder: what a training leaves behind, and the lock that keeps a second one out."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from caloforge.files.training_store import ShowerStore
from caloforge.foundations.durable import atomic_folder, atomic_path, sealed, unsealed, write_text
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.locks import open_locked
from caloforge.foundations.texts import fill, parse_json, read_text
from caloforge.foundations.yaml_model import dump_yaml, load_yaml
from caloforge.models.base import ShowerModel
from caloforge.models.saved import ModelCard, has_model, save_model, write_lost_card
from caloforge.showers import Domain
from caloforge.training.config import TrainingConfig

__all__ = ["RunFolder", "card_of"]

LOCK = ".lock"
MODEL = ("model.safetensors", "model.json")
OWN = re.compile(
    r"model\.(safetensors|json)|verdict\.json|config\.yaml|metrics\.jsonl|checkpoints(/step-\d+\.safetensors)?|events\.out\.tfevents\..*"
)
"""What a training writes into its folder; hidden names aside."""
ADVICE = "; --resume --set NAME=VALUE changes a setting, --config FILE --out RUN begins another run"


@dataclass(frozen=True)
class Sources:
    """Where showers and first weights of a run came from, the checksum of the showers, and a launcher's job."""

    data: list[str]
    checksum: str
    init_from: list[str]
    job: str = ""


class RunFolder:
    """Paths and files of one run: ``config.yaml``, ``metrics.jsonl``, ``checkpoints/``, the model.

    Of several workers only the one that ``writes`` locks the folder and changes anything in it.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path, self.writes = path, writes
        self.checkpoints = path / "checkpoints"
        self._metrics = path / "metrics.jsonl"
        self._config = path / "config.yaml"
        self._of_epoch = path / ".model-of-epoch"

    def begun_by(self, job: str) -> bool:
        """Say whether this job of a launcher began or continued a run here, and was then started again."""
        return self._config.is_file() and self.read_config()[1].get("job") == job

    @contextmanager
    def locked(self, *, resume: bool, overwrite: bool = False) -> Iterator[None]:
        """Make the folder, or with ``resume`` use the one there is, and keep others out of it.

        Raises UsageError for a folder in use, or one with content and no ``resume``; with ``overwrite`` if
        it holds anything but a run.
        """
        if not self.writes:
            yield
            return
        self._make(resume, overwrite)
        busy = f"{self.path}: another training is using this run folder"
        with open_locked(self.path / LOCK, busy):
            try:
                write_lost_card(self.path)
                yield
            finally:
                if not self._config.exists():  # nothing began: leave nothing behind
                    (self.path / LOCK).unlink()
                    with suppress(OSError):
                        self.path.rmdir()

    def _make(self, resume: bool, overwrite: bool) -> None:
        """Make the folder. Raises UsageError where that is not possible, or it has content."""
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path}: expected a folder for the run, this is a file")
        found = sorted(path.relative_to(self.path).as_posix() for path in self._content())
        if found and not resume and not overwrite:
            raise UsageError(
                f"{self.path}: is not empty; --resume continues a run, --overwrite begins it anew"
            )
        foreign = [name for name in found if not OWN.fullmatch(name)]
        if overwrite and foreign:
            raise UsageError(f"{self.path}: expected a run to overwrite, it holds {foreign[0]}")
        if not self.path.parent.is_dir():
            raise UsageError(f"{self.path}: the folder {self.path.parent} does not exist")
        self.path.mkdir(exist_ok=True)

    def _content(self) -> list[Path]:
        """List what lies in the folder and among its checkpoints, hidden names aside."""
        return [*self.path.glob("[!.]*"), *self.checkpoints.glob("[!.]*")]

    def clear(self) -> None:
        """Remove the run that is there."""
        if not self.writes:
            return
        for path in self._content():
            if path.is_file():
                path.unlink()
        shutil.rmtree(self._of_epoch, ignore_errors=True)

    def write_config(
        self,
        config: TrainingConfig,
        data: Sequence[Path],
        checksum: str,
        init_from: Sequence[Path],
        job: str = "",
    ) -> None:
        """Write every setting as resolved, where showers and first weights came from, and a launcher's job."""
        if not self.writes:
            return
        files, weights = ([str(path.resolve()) for path in paths] for paths in (data, init_from))
        sources = asdict(Sources(files, checksum, weights, job))
        resolved = {**config.model_dump(mode="json"), "resolved_from": sources}
        write_text(self._config, dump_yaml(sealed(resolved)))

    def read_config(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read the settings of a run and where its data came from.

        Raises UsageError where there is none, CaloforgeError where it is not as the run wrote it.
        """
        if not self._config.is_file():
            raise UsageError(f"{self.path}: nothing to resume, config.yaml is missing")
        name = str(self._config)
        try:
            written = load_yaml(read_text(self._config, "settings in YAML"), name)
            data = unsealed(written, name, ADVICE)
            return data, asdict(fill(Sources, data.pop("resolved_from"), f"{name}: resolved_from"))
        except (UsageError, AttributeError, KeyError) as error:
            text = str(error).removeprefix(name)
            raise CaloforgeError(f"{name}: not the configuration of a run{text}") from None

    def write_model(self, model: ShowerModel, card: ModelCard) -> None:
        """Write the model of the run, in place of the one before."""
        if self.writes:
            save_model(self.path, model, card)

    def keep_model(self) -> None:
        """Put a copy of the model aside before weights from within an epoch may replace it."""
        if self.writes and self.has_model():
            with atomic_folder(self._of_epoch) as temporary:
                for name in MODEL:
                    shutil.copy(self.path / name, temporary)

    def restore_model(self) -> None:
        """Take back the model of the last whole epoch: a run that goes on does not know that it was stopped."""
        if self.writes and self._of_epoch.is_dir():
            (self.path / MODEL[1]).unlink(
                missing_ok=True
            )  # a kill must not leave the card of other weights
            for name in MODEL:
                with atomic_path(self.path / name) as temporary:
                    shutil.copy(self._of_epoch / name, temporary)
            shutil.rmtree(self._of_epoch)

    def has_model(self) -> bool:
        """Say whether the run has a model yet."""
        return has_model(self.path)

    def log(self, line: dict[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``."""
        if self.writes:
            with self._metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop metrics of steps that a resumed run will take again, and a torn last line."""
        if not (self.writes and self._metrics.is_file()):
            return
        kept = []
        for line in self._metrics.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, KeyError, TypeError):
                if parse_json(line, finite=False)["step"] <= step:
                    kept.append(line)
        with atomic_path(self._metrics) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def card_of(
    config: TrainingConfig, store: ShowerStore, train_N: NDArray[np.int64], metrics: Mapping[str, float]
) -> ModelCard:
    """Describe the model that a training on the showers ``train_N`` has come to, with these metrics."""
    domain = Domain.of(store.conditions[train_N])
    return ModelCard(
        name=config.model,
        grid=store.grid,
        threshold_MeV=store.threshold_MeV,
        **vars(domain),
        architecture=config.architecture.model_dump(),
        training_data={"checksum": store.checksum, "showers": len(train_N)},
        metrics=metrics,
        provenance={
            "program": f"caloforge {version('caloforge')}",
            "torch": torch.__version__,
            "date": date.today().isoformat(),
            "seed": config.seed,
        },
    )

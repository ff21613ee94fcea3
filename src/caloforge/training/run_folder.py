"""A run folder: what a training leaves behind, and the lock that keeps a second one out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from caloforge.foundations.durable import atomic_path, write_text
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.locks import open_locked
from caloforge.models.base import ShowerModel
from caloforge.models.saved import ModelCard, save_model
from caloforge.training.config import TrainingConfig

__all__ = ["RunFolder"]

LOCK = ".lock"


class RunFolder:
    """Paths and files of one run: ``config.yaml``, ``metrics.jsonl``, ``checkpoints/``, the model.

    Of several workers only the one that ``writes`` locks the folder and changes anything in it.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path, self.writes = path, writes
        self.checkpoints = path / "checkpoints"
        self._metrics = path / "metrics.jsonl"
        self._config = path / "config.yaml"
        self._model = path / "model.json"

    def begun_by(self, job: str) -> bool:
        """Say whether this job of a launcher began a run here, and was then started again."""
        lock = self.path / LOCK
        return self._config.is_file() and lock.is_file() and lock.read_text(encoding="utf-8") == job

    @contextmanager
    def locked(self, *, resume: bool, job: str = "") -> Iterator[None]:
        """Make the folder, or with ``resume`` use the one there is, and keep others out of it.

        Raises UsageError for a folder in use, or one with content and no ``resume``.
        """
        if not self.writes:
            yield
            return
        self._make(resume)
        busy = f"{self.path}: another training is using this run folder"
        with open_locked(self.path / LOCK, busy) as lock:
            lock.truncate(0)
            lock.write(job)
            lock.flush()
            try:
                yield
            finally:
                if not self._config.exists():  # nothing began: leave nothing behind
                    (self.path / LOCK).unlink()
                    with suppress(OSError):
                        self.path.rmdir()

    def _make(self, resume: bool) -> None:
        """Make the folder. Raises UsageError where that is not possible, or it has content."""
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path}: expected a folder for the run, this is a file")
        if not resume and self.path.is_dir() and any(p.name[0] != "." for p in self.path.iterdir()):
            raise UsageError(
                f"{self.path}: is not empty; --resume continues a run, or name another folder"
            )
        if not self.path.parent.is_dir():
            raise UsageError(f"{self.path}: the folder {self.path.parent} does not exist")
        self.path.mkdir(exist_ok=True)

    def write_config(
        self, config: TrainingConfig, data: Sequence[Path], checksum: str, init_from: Sequence[Path]
    ) -> None:
        """Write every setting as resolved, and where showers and first weights came from."""
        if not self.writes:
            return
        sources = {
            "data": [str(path.resolve()) for path in data],
            "checksum": checksum,
            "init_from": [str(path.resolve()) for path in init_from],
        }
        resolved = {**config.model_dump(mode="json"), "resolved_from": sources}
        write_text(self._config, yaml.safe_dump(resolved, sort_keys=False))

    def read_config(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read the settings of a run and where its data came from."""
        if not self._config.is_file():
            raise UsageError(f"{self.path}: nothing to resume, config.yaml is missing")
        try:
            data = yaml.safe_load(self._config.read_text(encoding="utf-8"))
            sources = data.pop("resolved_from")
        except OSError as error:
            raise CaloforgeError(f"{self._config}: cannot be read: {error.strerror}") from None
        except (yaml.YAMLError, AttributeError, KeyError):
            raise CaloforgeError(f"{self._config}: not the configuration of a run") from None
        return data, sources

    def write_model(self, model: ShowerModel, card: ModelCard) -> None:
        """Write the model of the run, in place of the one before."""
        if self.writes:
            save_model(self.path, model, card)

    def has_model(self) -> bool:
        """Say whether the run has a model yet."""
        return self._model.is_file()

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
        for line in self._metrics.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, KeyError):
                if json.loads(line)["step"] <= step:
                    kept.append(line)
        with atomic_path(self._metrics) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

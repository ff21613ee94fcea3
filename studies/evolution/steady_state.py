"""Asynchronous evolution: whoever is free makes a child of the best so far, and nobody waits for a generation.

Processes share a folder: a child is a piece of work (:mod:`studies.work_queue`), its weights lie beside its result,
and the weights of those that are no longer among the best are removed. With one process child n comes from the best
of all before it, so that a run repeats bit for bit, also one that was killed and begun again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from caloforge.files.tensors import load_tensors, save_tensors
from caloforge.foundations.errors import UsageError
from studies.work_queue import WorkQueue

__all__ = ["Member", "Population", "Problem"]

WEIGHTS = ".safetensors"


@dataclass(frozen=True, eq=False)
class Member:
    """A living individual: its number, what is known of it, and where its tensors lie."""

    number: int
    note: Mapping[str, Any]
    path: Path

    def tensors(self) -> dict[str, torch.Tensor]:
        """Read its tensors. Raises UsageError if it has died meanwhile."""
        return load_tensors(self.path)[0]


class Problem(Protocol):
    """What is evolved. ``survivors`` must depend on the notes alone, among which is the ``fitness`` (smaller is better)."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What decides the results, JSON-ready."""

    def survivors(self, notes: Mapping[int, Any]) -> Sequence[int]:
        """Choose who lives on."""

    def child(
        self, number: int, members: Sequence[Member]
    ) -> tuple[Mapping[str, torch.Tensor], dict[str, Any]]:
        """Make an individual from those that live, or from nothing: tensors and note."""


class Population:
    """A number of ``children`` to be made in a folder, by this process and all others that open it."""

    def __init__(self, problem: Problem, folder: Path, children: int) -> None:
        self._problem = problem
        self._queue = WorkQueue(folder, children, problem.manifest)

    @property
    def members(self) -> list[Member]:
        """List those that live on, of all that were made so far."""
        notes = self._queue.results()
        return [Member(n, notes[n], self._weights(n)) for n in self._problem.survivors(notes)]

    def grow(self) -> Iterator[dict[int, Any]]:
        """Make children until all are there; yield all notes after each."""
        for _ in self._queue.work(self._make):
            notes = self._queue.results()
            for number in notes.keys() - set(self._problem.survivors(notes)):
                with suppress(OSError):
                    self._weights(number).unlink(missing_ok=True)
            yield notes

    def finish(self) -> None:
        """Remove the files of all children, and the folder unless somebody's files are in it."""
        self._queue.finish(WEIGHTS)

    def _make(self, number: int) -> dict[str, Any]:
        while True:
            parents = self.members
            try:
                tensors, note = self._problem.child(number, parents)
                break
            except UsageError:  # a parent died between a look and the reading
                if all(parent.path.exists() for parent in parents):
                    raise
        save_tensors(self._weights(number), tensors, note)
        return note

    def _weights(self, number: int) -> Path:
        return self._queue.path(number, WEIGHTS)

"""Asynchronous evolution: whoever is free makes a child of the best so far, and nobody waits for a generation.

Processes share a folder: a child is a ticket (:mod:`studies.evolution.work_queue`), its weights lie beside its
result, and the weights of those that are no longer among the best are removed. With one process child n comes from
the best of all before it, so that a run repeats bit for bit, also one that was killed and begun again.
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
from studies.evolution.work_queue import Tickets

__all__ = ["Member", "Problem", "advance", "living"]


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
        self, number: int, living: Sequence[Member]
    ) -> tuple[Mapping[str, torch.Tensor], dict[str, Any]]:
        """Make an individual from those that live, or from nothing: tensors and note."""


def living(problem: Problem, folder: Path, notes: Mapping[int, Any]) -> list[Member]:
    """List those that live on, of all that were made in a folder."""
    return [Member(n, notes[n], _weights(folder, n)) for n in problem.survivors(notes)]


def advance(problem: Problem, folder: Path, children: int) -> Iterator[dict[int, Any]]:
    """Make children until there are so many; give all notes after each."""
    tickets = Tickets(folder, children, problem.manifest)

    def make(number: int) -> dict[str, Any]:
        while True:
            parents = living(problem, folder, tickets.results())
            try:
                tensors, note = problem.child(number, parents)
                break
            except UsageError:  # a parent died between a look and the reading
                if all(parent.path.exists() for parent in parents):
                    raise
        save_tensors(_weights(folder, number), tensors, note)
        return note

    for _ in tickets.work(make):
        notes = tickets.results()
        for number in notes.keys() - set(problem.survivors(notes)):
            with suppress(OSError):
                _weights(folder, number).unlink(missing_ok=True)
        yield notes


def _weights(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.safetensors"

"""Export of a model: written, opened again, compared with the model, and only then there under its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from caloforge.export import ddml, par04
from caloforge.export.containers import Container, Onnx, TorchScript
from caloforge.export.forms import Directed, FewLatents, Form, NamedInputs, NoiseAndConditions
from caloforge.export.golden import GOLDEN, Golden, require_same
from caloforge.export.native import export_native
from caloforge.export.note import note_of
from caloforge.foundations.durable import atomic_path, check_output_path
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.progress import Progress, silent
from caloforge.models.base import ShowerModel
from caloforge.models.saved import ModelCard
from caloforge.models.shared.defaults import usual_torch

__all__ = ["BESIDE", "NAMES", "TARGETS", "export_model", "file_beside"]


@dataclass(frozen=True)
class Plan:
    """A form, the kind of its file, and the text beside it, given the file's name and who made it."""

    form: Form
    container: Container
    beside: Callable[[str, str], str] | None = None


def _onnx(model: ShowerModel, card: ModelCard) -> Plan:
    return Plan(NamedInputs(model, card.domain), Onnx("onnx"))


def _par04(model: ShowerModel, card: ModelCard) -> Plan:
    par04.require_cylinder("par04", card.grid)
    par04.require_normal("par04", card.domain)
    form = NoiseAndConditions(model, card.domain)
    return Plan(form, Onnx("par04"), par04.macro(_of_one(card, form), form.latents))


def _ddml(model: ShowerModel, card: ModelCard) -> Plan:
    """Plan L2LFlows' form for cells in x and y, Par04's for rings."""
    if not card.grid.cartesian:
        par04.require_cylinder("ddml", card.grid)
        par04.require_normal("ddml", card.domain)
        few = FewLatents(model, card.domain)
        return Plan(few, Onnx("ddml"), ddml.of_cylinder(_of_one(card, few), few.latents))
    tilted = "incident_theta" in model.follows
    ddml.require_plane(card.grid)
    if not tilted:
        par04.require_normal("ddml", card.domain)
    form = Directed(model, card.domain)
    return Plan(form, TorchScript(), ddml.of_plane(_of_one(card, form), tilted=tilted))


def _of_one(card: ModelCard, form: Form) -> ModelCard:
    """Return a card of one particle where a model tells particles apart and the other program passes none."""
    apart = "pdg_id" in form.model.follows
    return replace(card, pdg_ids=(form.particle,)) if apart else card


TARGETS: Mapping[str, Callable[[ShowerModel, ModelCard], Plan]] = {
    "onnx": _onnx,
    "par04": _par04,
    "ddml": _ddml,
}
"""How a model is exported, by the name of the target."""

NAMES = ("native", *TARGETS)

BESIDE = {"par04": ".mac", "ddml": ".xml"}
"""How the text ends that a target writes beside its file."""


def file_beside(path: Path, target: str) -> Path | None:
    """Return the path of the text that a target writes beside a file, if it writes one."""
    return path.with_suffix(BESIDE[target]) if target in BESIDE else None


@usual_torch()
@torch.no_grad()
def export_model(
    model: ShowerModel,
    card: ModelCard,
    target: str,
    path: Path,
    *,
    command: str = "",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write a model as another program expects it, and what that program reads beside it.

    Returns what was written: ``inputs`` and ``output`` of the file, and how it was ``checked``. Raises UsageError for a name, a target or a detector that do not fit each other, MissingExtraError where ONNX is not
    installed, CaloforgeError for a model that cannot be written, or a file that computes something else: then there is none.
    """
    if target not in NAMES:
        raise UsageError(f"target {target!r}: expected one of {', '.join(NAMES)}")
    if target == "native":
        return export_native(model, card, path, command=command, progress=progress)
    plan, beside = TARGETS[target](model, card), file_beside(path, target)
    form, container = plan.form.eval(), plan.container
    if path.suffix != container.suffix:
        raise UsageError(f"{path}: expected a name that ends in {container.suffix}")
    for written in (path, beside):
        if written:
            check_output_path(written)
    progress(0, 2, stage="golden showers")
    with torch.random.fork_rng(devices=[]), ExitStack() as files:
        temporary = files.enter_context(atomic_path(path))
        if plan.beside and beside:
            made_by = f"caloforge {version('caloforge')}" + (f": {command}" if command else "")
            text = plan.beside(path.name, made_by)
            files.enter_context(atomic_path(beside)).write_text(text, encoding="utf-8")
        try:
            golden = Golden.of(form)
            note = note_of(target, form, card, golden, command)
            progress(0, 2, stage=f"writing {container.name}")
            container.write(temporary, form, golden.inputs, note)
            progress(1, 2, stage="comparing")
            difference = require_same(form, golden, container.open(temporary, form))
        except CaloforgeError as error:
            raise CaloforgeError(f"{path}: not written: {error}") from None
        except Exception as error:  # (each library has kinds of its own)
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise CaloforgeError(
                f"--target {target}: {card.name} cannot be written as {container.name}: {reason}"
            ) from error
        size = temporary.stat().st_size
    progress(2, 2)
    return {
        "file": str(path),
        "beside": None if beside is None else str(beside),
        "target": target,
        "inputs": list(form.inputs),
        "output": form.output,
        "bytes": size,
        "golden_showers": GOLDEN,
        "largest_difference": difference,
        "checked": f"{GOLDEN} golden showers differ by at most {difference:.1e} of their energy",
    }

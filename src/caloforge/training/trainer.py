"""The training loop: read it from top to bottom to know what a run does."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from caloforge.files.shipped import shipped_weights
from caloforge.files.shower_file import ShowerFile
from caloforge.files.training_store import ShowerStore, prepare_store
from caloforge.foundations import cache
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.randomness import stream, stream_seed
from caloforge.foundations.units import GEV, Spectrum
from caloforge.models.registry import MODELS
from caloforge.models.saved import ModelCard, save_model
from caloforge.training.augmentation import allowed_symmetries
from caloforge.training.checkpoint import Checkpoint, TrainingProgress, TrainState, newest_valid
from caloforge.training.config import TrainingConfig
from caloforge.training.data_parallel import Group
from caloforge.training.ema import MovingAverage
from caloforge.training.events import event_writer
from caloforge.training.gradients import SummedGradients
from caloforge.training.initialise import initialise_from
from caloforge.training.loader import Loader
from caloforge.training.memory import keep_freed_memory
from caloforge.training.objectives import build_objective
from caloforge.training.physics_check import PhysicsCheck
from caloforge.training.run_folder import RunFolder
from caloforge.training.schedule import learning_rate
from caloforge.training.writer import CheckpointWriter

__all__ = ["WORST_SCORE", "Split", "prepare_data", "train"]

DEFAULT_THRESHOLD_MEV = 0.001
"""Cells below 1e-6 GeV are not read out in the published data either."""

WORST_SCORE = 1e9
"""Stands for a check whose score is no number, which JSON cannot keep."""

SKIPS_IN_A_ROW = 10
"""A broken shower or a rare overflow costs a single step; weights that went astray fail in every one."""


@dataclass(frozen=True)
class Split:
    """Which showers of a store are trained on, and which judge the epochs."""

    train_N: NDArray[np.int64]
    validation_N: NDArray[np.int64]

    @classmethod
    def of(cls, store: ShowerStore, config: TrainingConfig) -> Split:
        """Split by the seed, among the showers in the configured range of energies."""
        chosen_N = np.arange(len(store))
        if config.energy is not None:
            spectrum = Spectrum.parse(config.energy, unit=GEV, what="setting energy")
            energy_N = store.conditions.incident_energy
            chosen_N = np.flatnonzero((energy_N >= spectrum.low) & (energy_N <= spectrum.high))
        n_validation = max(1, round(config.validation_fraction * len(chosen_N)))
        if len(chosen_N) - n_validation < 2:
            raise UsageError(f"setting energy: only {len(chosen_N)} showers to train on, expected more")
        order_N = stream(config.seed, "split").permutation(chosen_N)
        return cls(np.sort(order_N[n_validation:]), order_N[:n_validation])


def train(
    config: TrainingConfig,
    data: Sequence[Path],
    out: Path,
    *,
    resume: bool = False,
    init_from: Sequence[Path] = (),
    group: Group | None = None,
    progress: Progress = silent,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train a model on shower files; give the best epoch's figures.

    A step is one batch of real showers, and every optimiser step that its objective asks for. One whose
    loss or gradient is not finite is skipped. Each epoch ends with a physics check of the averaged
    weights; the best ones become the model, or the last where the configuration says so.

    The workers of a ``group`` each call this. They take one step on all their batches together, so
    that their networks stay the same; the first of them writes and speaks for all.

    Raises UsageError or CaloforgeError; KeyboardInterrupt after Ctrl-C or SIGTERM, with a
    checkpoint written.
    """
    if config.model not in MODELS:
        raise UsageError(f"setting model: expected one of {', '.join(MODELS)}, got {config.model!r}")
    keep_freed_memory()
    group = group or Group()
    if not group.leads:
        progress, say = silent, _say_nothing
    device = group.device(config.device)
    init_from = [shipped_weights().get(str(source), source) for source in init_from]
    folder = RunFolder(out, writes=group.leads)
    with (
        folder.locked(resume=resume, job=group.job),
        stop_requests() as stopped,
        CheckpointWriter(folder.checkpoints, config.keep_checkpoints) as writer,
    ):
        with group.one_a_node_first():
            store = prepare_data(config, data)
        if group.from_first(lambda: store.checksum) != store.checksum:
            raise CaloforgeError(f"{data[0]}: worker {group.rank} sees other showers than worker 0")
        found = None
        if resume:
            init_from, found = _find_checkpoint(folder, store, group, say)
        split = Split.of(store, config)
        check_N = split.validation_N[: config.check_showers]
        check = PhysicsCheck(store, check_N, stream_seed(config.seed, "check"))
        symmetries = config.augment
        if symmetries == "all":
            symmetries = allowed_symmetries(store.grid, store.conditions[split.train_N])
        loader = Loader(
            store,
            split.train_N,
            batch_size=config.batch_size,
            seed=config.seed,
            rank=group.rank,
            world_size=group.world,
            augmentations=symmetries,
        )

        # Networks, what they minimise, and their optimisers.
        torch.manual_seed(stream_seed(config.seed, "weights"))
        objective = build_objective(config, store, split.train_N)
        for network in objective.networks.values():
            network.to(device)
        if found is None:
            initialise_from(init_from, objective.networks)
        average = MovingAverage(objective.model, config.ema_decay)
        both = torch.nn.ModuleList(objective.networks.values())
        weights = [parameter.detach() for parameter in both.parameters()]
        kept = both.state_dict().keys()  # a network's constants are not
        statistics = [
            buffer
            for name, buffer in both.named_buffers()
            if name in kept and buffer.is_floating_point()
        ]
        card = _card(config, store, split)
        state = TrainState(
            networks={**objective.networks, "average": average.average},
            optimizers={
                name: objective.optimizer(network, config.learning_rate)
                for name, network in objective.networks.items()
            },
        )
        gradients = {
            name: SummedGradients(network, group, bf16=config.gradient_compression == "bf16")
            for name, network in objective.networks.items()
        }

        # Where to go on.
        begun = TrainingProgress(steps_per_epoch=loader.steps_per_epoch, workers=group.world)
        if found is not None:
            begun = _take_up(found, state, begun, say)
        first_step, best, scores = begun.step, dict(begun.best), list(begun.scores)
        saved = first_step
        ahead = begun.position - first_step  # of the steps is the loader, see TrainingProgress
        folder.write_config(config, data, store.checksum, init_from)
        folder.forget_after(first_step)
        last_step = config.epochs * loader.steps_per_epoch - ahead
        if config.max_steps is not None:
            last_step = min(last_step, config.max_steps)

        def epoch(step: int) -> float:
            return (step + ahead) / loader.steps_per_epoch

        def checkpoint(step: int) -> None:
            nonlocal saved
            group.require_same(state.tensors(), step)
            if group.leads:
                now = replace(begun, step=step, position=step + ahead, best=best, scores=tuple(scores))
                writer.save(state, now)
            saved = step

        def judge(step: int) -> dict[str, float]:
            """Check the physics of the averaged weights; they become the model if `choose` says so."""
            nonlocal best
            figures = check(average.average, group)
            known = {name: value for name, value in figures.items() if math.isfinite(value)}
            folder.log({"step": step, "epoch": epoch(step), "check": known})
            events.write(step, {f"check/{name}": value for name, value in known.items()})
            if "score" not in known:
                say(f"step {step}: not a model, the showers of the averaged weights are not finite")
            elif config.choose == "last" or figures["score"] < best["score"]:
                best = {**figures, "step": step}
                if group.leads:
                    save_model(out, average.average, replace(card, metrics=best))
            return figures

        def without_model() -> bool:
            return group.from_first(lambda: not (out / "model.json").exists())

        def give_up(reason: str) -> NoReturn:
            """End, since these weights are no longer to be trusted: others become the model."""
            writer.wait()
            good, _ = group.from_first(lambda: newest_valid(folder.checkpoints))
            good_step = good.standing.step if good else 0
            if good is not None and without_model():
                state.load(good.tensors)
                judge(good_step)
            group.wait()
            raise CaloforgeError(
                f"{out}: {reason}; the checkpoint of step {good_step} is the last good one (a smaller "
                "learning_rate may help)"
            )

        step, judged, figures = first_step, first_step, dict[str, float]()
        skips_in_a_row = 0  # none at a checkpoint, so that a resumed run need not know
        limit = math.inf if config.minutes is None else 60 * config.minutes
        started = time.monotonic()
        progress(first_step, last_step)
        if found is None:
            checkpoint(0)
        with event_writer(out, enabled=config.tensorboard and group.leads) as events:
            for position, batch in loader.iterate(first_step + ahead, last_step + ahead):
                step = position - ahead
                # Each worker has noise of its own.
                address = (step, group.rank) if group.rank else (step,)
                torch.manual_seed(stream_seed(config.seed, "step", *address))
                rate = learning_rate(config, group.world, epoch(step), scores)
                shown, skipped = dict[str, torch.Tensor](), list[str]()
                trusted = [buffer.clone() for buffer in statistics]
                for turn in objective.losses(batch.to(device)):
                    network, optimizer = (
                        objective.networks[turn.network],
                        state.optimizers[turn.network],
                    )
                    optimizer.zero_grad(set_to_none=True)
                    # Through the gradient all workers learn that one's loss or statistics are not finite.
                    share = torch.where(
                        _finite([turn.loss.detach(), *statistics]), batch.share, math.nan
                    )
                    (share * turn.loss).backward()  # type: ignore[no-untyped-call]
                    gradients[turn.network].wait()
                    if not _finite([p.grad for p in network.parameters() if p.grad is not None]):
                        skipped.append(turn.network)
                        torch._foreach_copy_(statistics, trusted)
                        continue
                    for settings in optimizer.param_groups:
                        settings["lr"] = rate
                    optimizer.step()
                    torch._foreach_copy_(trusted, statistics)
                    shown |= {turn.network: turn.loss.detach(), **turn.terms}

                # What every worker must agree on before the next step, in one message.
                elapsed = time.monotonic() - started
                enough = torch.tensor(float(bool(stopped) or elapsed > limit))
                astray = (~_finite(weights)).double()
                group.average([enough, astray, *statistics, *shown.values()])
                average.update(step)

                step += 1  # from here on it counts the steps that are done
                terms = {name: float(value) for name, value in shown.items()}
                losses = {name: terms.pop(name) for name in objective.networks if name in terms}
                skips_in_a_row = skips_in_a_row + 1 if skipped else 0
                if skipped:
                    terms["skipped"] = len(skipped)
                    say(f"step {step}: skipped, the {skipped[0]}'s loss or gradient is not finite")
                folder.log({"step": step, "seconds": round(elapsed, 3), "learning_rate": rate, **terms})
                events.write(step, {**terms, "learning_rate": rate})
                if astray > 0:
                    give_up(f"the weights are not finite at step {step}")
                if skips_in_a_row == SKIPS_IN_A_ROW:
                    give_up(
                        f"the {skipped[0]}'s loss or gradient is not finite at step {step}, "
                        f"nor at the {SKIPS_IN_A_ROW - 1} before"
                    )
                if (position + 1) % loader.steps_per_epoch == 0:
                    figures, judged = judge(step), step
                    scores.append(min(WORST_SCORE, figures["score"]))
                if step % config.checkpoint_every_steps == 0 and not skipped:
                    checkpoint(step)
                writer.check()
                steps_per_s = (step - first_step) / elapsed
                progress(
                    step,
                    min(last_step, first_step + math.ceil(limit * steps_per_s))
                    if config.minutes
                    else last_step,
                    **losses,
                    **{"showers/s": len(batch.energy_B) / batch.share * steps_per_s},
                    **({"score": figures["score"]} if figures else {}),
                )
                if enough > 0:
                    break
            # First the checkpoint: a run that goes on must not know of a judgement within an epoch.
            if saved != step and not skips_in_a_row:
                checkpoint(step)
            writer.wait()
            if judged != step or without_model():
                judge(step)
        if group.any(bool(stopped)):
            which = "a checkpoint" if saved == step else f"the checkpoint of step {saved}"
            say(f"stopped after step {step} with {which}: --resume continues")
            raise KeyboardInterrupt
        if without_model():
            raise CaloforgeError(
                f"{out}: the showers after step {step} are not finite, nor were those of earlier checks; "
                "expected finite deposits (a smaller learning_rate may help)"
            )
    return {"run": str(out), "steps": step, "epochs": epoch(step), "best": best}


def prepare_data(config: TrainingConfig, data: Sequence[Path]) -> ShowerStore:
    """Pack the showers that a training is to learn from, or find them packed."""
    threshold_MeV = config.threshold_MeV
    if threshold_MeV is None:
        with ShowerFile(data[0]) as file:
            threshold_MeV = file.grid.threshold_MeV or DEFAULT_THRESHOLD_MEV
    return prepare_store(data, cache.cache_folder("stores"), threshold_MeV=threshold_MeV)


def _card(config: TrainingConfig, store: ShowerStore, split: Split) -> ModelCard:
    seen = store.conditions[split.train_N]
    return ModelCard(
        name=config.model,
        grid=store.grid,
        threshold_MeV=store.threshold_MeV,
        energy_MeV=(float(seen.incident_energy.min()), float(seen.incident_energy.max())),
        theta_rad=(float(seen.incident_theta.min()), float(seen.incident_theta.max())),
        architecture=MODELS[config.model].architecture(config.architecture),
        training_data={"checksum": store.checksum, "showers": len(split.train_N)},
        provenance={
            "program": f"caloforge {version('caloforge')}",
            "torch": torch.__version__,
            "date": date.today().isoformat(),
            "seed": config.seed,
        },
    )


def _find_checkpoint(
    folder: RunFolder, store: ShowerStore, group: Group, say: Callable[[str], None]
) -> tuple[list[Path], Checkpoint | None]:
    """Return where a run's first weights came from, and its newest whole checkpoint, if it has any."""
    sources = group.from_first(folder.read_config)[1]
    if sources.get("checksum") != store.checksum:
        raise CaloforgeError(
            f"{folder.path}: the training showers are not those that the run began with"
        )
    found, complaints = group.from_first(lambda: newest_valid(folder.checkpoints))
    for complaint in complaints:
        say(f"{complaint}: falling back to an older checkpoint")
    if found is None:
        say(f"{folder.path}: no checkpoint yet, starting from the first step")
    return [Path(source) for source in sources["init_from"]], found


def _take_up(
    found: Checkpoint, state: TrainState, now: TrainingProgress, say: Callable[[str], None]
) -> TrainingProgress:
    """Load a checkpoint; give how far it is, in steps of the epochs that ``now`` has."""
    try:
        state.load(found.tensors)
    except CaloforgeError as error:
        raise CaloforgeError(f"{found.path}: {error}") from None
    then = found.standing
    if then.workers != now.workers:
        say(
            f"{found.path}: begun with workers: {then.workers}, goes on with {now.workers}: statistically, "
            "not bit for bit, the same training"
        )
    epochs = then.position / (then.steps_per_epoch or now.steps_per_epoch)
    position = round(epochs * now.steps_per_epoch)
    return replace(now, step=then.step, position=position, best=then.best, scores=then.scores)


def _finite(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Say whether numbers and their squares, of which RMSprop keeps a mean, are finite."""
    return torch.nn.utils.get_total_norm(tensors).square().isfinite()


def _say_nothing(text: str) -> None:
    """Say nothing: the first worker speaks."""


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list instead of dying: the loop stops after its step."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may handle signals
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: received.append(number)) for number in signals]
    try:
        yield received
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)

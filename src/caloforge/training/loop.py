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
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from caloforge import cache
from caloforge.errors import CaloforgeError, UsageError
from caloforge.io.shower_file import ShowerFile
from caloforge.io.store import ShowerStore, prepare_store
from caloforge.models.families import MODELS
from caloforge.models.saved import ModelCard, save_model
from caloforge.progress import Progress, silent
from caloforge.streams import stream, stream_seed
from caloforge.training.checkpoint import Trainee, newest_valid, save_checkpoint
from caloforge.training.config import TrainingConfig
from caloforge.training.ema import MovingAverage
from caloforge.training.events import event_writer
from caloforge.training.initialise import initialise_from
from caloforge.training.loader import Loader
from caloforge.training.memory import keep_freed_memory
from caloforge.training.monitor import PhysicsCheck
from caloforge.training.objectives import build_objective
from caloforge.training.run_folder import RunFolder
from caloforge.units import GEV, Spectrum

__all__ = ["Split", "train"]

DEFAULT_THRESHOLD_MEV = 0.001
"""Cells below 1e-6 GeV are not read out in the published data either."""

NO_BEST: dict[str, float] = {"score": math.inf}


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
    progress: Progress = silent,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train a model on shower files; give the best epoch's figures.

    A step is one batch of real showers, and every optimiser step that its objective asks for. Each
    epoch ends with a physics check of the averaged weights; the best ones become the model.

    Raises UsageError or CaloforgeError; KeyboardInterrupt after Ctrl-C or SIGTERM, with a
    checkpoint written.
    """
    if config.model not in MODELS:
        raise UsageError(f"setting model: expected one of {', '.join(MODELS)}, got {config.model!r}")
    keep_freed_memory()
    folder = RunFolder(out)
    with folder.locked(resume=resume), stop_requests() as stopped:
        store = prepare_store(data, cache.cache_folder("stores"), threshold_MeV=_threshold(config, data))
        split = Split.of(store, config)
        check_N = split.validation_N[: config.check_showers]
        check = PhysicsCheck(store, check_N, stream_seed(config.seed, "check"))
        loader = Loader(
            store,
            split.train_N,
            batch_size=config.batch_size,
            seed=config.seed,
            augmentations=config.augment,
        )

        # Networks, what they minimise, and their optimisers.
        torch.manual_seed(stream_seed(config.seed, "weights"))
        objective = build_objective(config, store, split.train_N)
        if not resume:
            initialise_from(init_from, objective.networks)
        average = MovingAverage(objective.model, config.ema_decay)
        card = _card(config, store, split)
        trainee = Trainee(
            networks={**objective.networks, "average": average.average},
            optimizers={
                # Keras' RMSprop, which the published networks were trained with.
                name: torch.optim.RMSprop(
                    network.parameters(), lr=config.learning_rate, alpha=0.9, eps=1e-7
                )
                for name, network in objective.networks.items()
            },
        )

        # Where to go on.
        first_step, best = 0, dict(NO_BEST)
        if resume:
            first_step, best = _resume(folder, trainee, store, say)
            init_from = [Path(source) for source in folder.read_config()[1]["init_from"]]
        folder.write_config(config, data, store.checksum, init_from)
        folder.forget_after(first_step)
        last_step = config.epochs * loader.steps_per_epoch
        if config.max_steps is not None:
            last_step = min(last_step, config.max_steps)

        def checkpoint(step: int) -> None:
            save_checkpoint(folder.checkpoints, trainee, step, best, config.keep_checkpoints)

        def judge(step: int) -> dict[str, float]:
            """Check the physics of the averaged weights; the best so far become the model."""
            nonlocal best
            figures = check(average.average)
            folder.log({"step": step, "epoch": step / loader.steps_per_epoch, "check": figures})
            events.write(step, {f"check/{name}": value for name, value in figures.items()})
            if figures["score"] < best["score"]:
                best = {**figures, "step": step}
                save_model(out, average.average, replace(card, metrics=best))
            return figures

        step, judged, figures = first_step, first_step, dict[str, float]()
        limit = math.inf if config.minutes is None else 60 * config.minutes
        started = time.monotonic()
        progress(first_step, last_step)
        if not resume:
            checkpoint(0)
        with event_writer(out, enabled=config.tensorboard) as events:
            for step, batch in loader.iterate(first_step, last_step):
                torch.manual_seed(stream_seed(config.seed, "step", step))
                losses, terms = dict[str, float](), dict[str, float]()
                for turn in objective.losses(batch):
                    network, optimizer = (
                        objective.networks[turn.network],
                        trainee.optimizers[turn.network],
                    )
                    optimizer.zero_grad(set_to_none=True)
                    turn.loss.backward()  # type: ignore[no-untyped-call]
                    if not _finite(turn.loss, network):
                        # The weights of this moment are no longer to be trusted.
                        good, _ = newest_valid(folder.checkpoints)
                        if good is not None and not (out / "model.json").exists():
                            trainee.load(good.tensors)
                            judge(good.step)
                        raise CaloforgeError(
                            f"{out}: the {turn.network}'s loss or gradient is not finite at step {step}; the "
                            f"checkpoint of step {good.step if good else 0} is the last good one (a smaller "
                            "learning_rate may help)"
                        )
                    optimizer.step()
                    losses[turn.network] = float(turn.loss.detach())
                    terms |= {name: float(value) for name, value in turn.terms.items()}
                average.update(step)

                step += 1  # from here on it counts the steps that are done
                elapsed = time.monotonic() - started
                rate = (step - first_step) / elapsed
                folder.log({"step": step, "seconds": round(elapsed, 3), **terms})
                events.write(step, terms)
                if step % loader.steps_per_epoch == 0:
                    figures, judged = judge(step), step
                if step % config.checkpoint_every_steps == 0:
                    checkpoint(step)
                progress(
                    step,
                    min(last_step, first_step + math.ceil(limit * rate))
                    if config.minutes
                    else last_step,
                    **losses,
                    **{"showers/s": len(batch.energy_B) * rate},
                    **({"score": figures["score"]} if figures else {}),
                )
                if stopped or elapsed > limit:
                    break
            # First the checkpoint: a run that goes on must not know of a judgement within an epoch.
            checkpoint(step)
            if judged != step or not (out / "model.json").exists():
                judge(step)
        if stopped:
            say(f"stopped after step {step} with a checkpoint: --resume continues")
            raise KeyboardInterrupt
    return {"run": str(out), "steps": step, "epochs": step / loader.steps_per_epoch, "best": best}


def _threshold(config: TrainingConfig, data: Sequence[Path]) -> float:
    if config.threshold_MeV is not None:
        return config.threshold_MeV
    with ShowerFile(data[0]) as file:
        return file.grid.threshold_MeV or DEFAULT_THRESHOLD_MEV


def _card(config: TrainingConfig, store: ShowerStore, split: Split) -> ModelCard:
    seen = store.conditions[split.train_N]
    return ModelCard(
        name=config.model,
        grid=store.grid,
        threshold_MeV=store.threshold_MeV,
        energy_MeV=(float(seen.incident_energy.min()), float(seen.incident_energy.max())),
        theta_rad=(float(seen.incident_theta.min()), float(seen.incident_theta.max())),
        training_data={"checksum": store.checksum, "showers": len(split.train_N)},
        provenance={
            "program": f"caloforge {version('caloforge')}",
            "torch": torch.__version__,
            "date": date.today().isoformat(),
            "seed": config.seed,
        },
    )


def _resume(
    folder: RunFolder, trainee: Trainee, store: ShowerStore, say: Callable[[str], None]
) -> tuple[int, dict[str, float]]:
    """Take up the newest whole checkpoint; give the steps done and the best figures so far."""
    if folder.read_config()[1].get("checksum") != store.checksum:
        raise CaloforgeError(
            f"{folder.path}: the training showers are not those that the run began with"
        )
    found, complaints = newest_valid(folder.checkpoints)
    for complaint in complaints:
        say(f"{complaint}: falling back to an older checkpoint")
    if found is None:
        say(f"{folder.path}: no checkpoint yet, starting from the first step")
        return 0, dict(NO_BEST)
    try:
        trainee.load(found.tensors)
    except CaloforgeError as error:
        raise CaloforgeError(f"{found.path}: {error}") from None
    return found.step, found.best


def _finite(loss: torch.Tensor, network: torch.nn.Module) -> bool:
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return bool(torch.isfinite(loss) and torch.isfinite(torch.nn.utils.get_total_norm(gradients)))


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

"""A training from its first step to its model: read :meth:`Trainer.run` to know what a run does."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import torch

from caloforge.files.shipped import pretrained_weights
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.progress import Progress, say_nothing, silent
from caloforge.foundations.randomness import stream_seed
from caloforge.foundations.signals import STOP_SIGNALS, collected
from caloforge.models.shared.defaults import usual_torch
from caloforge.showers.batch import Batch
from caloforge.training.augmentation import allowed_symmetries
from caloforge.training.begin import build_objective, initialise_from, require_sources
from caloforge.training.checkpoint import Checkpoint, TrainingProgress, newest_of_all
from caloforge.training.config import TrainingConfig
from caloforge.training.data_parallel import Group
from caloforge.training.events import event_writer
from caloforge.training.loader import Loader
from caloforge.training.memory import keep_freed_memory
from caloforge.training.physics_check import WORST_SCORE, PhysicsCheck
from caloforge.training.run_folder import RunFolder, card_of
from caloforge.training.split import Split, prepare_data
from caloforge.training.step import Learner, Step
from caloforge.training.writer import CheckpointWriter

__all__ = ["SKIPS_IN_A_ROW", "Trainer", "train"]

SKIPS_IN_A_ROW = 10
"""A broken shower or a rare overflow costs a single step; weights that went astray fail in every one."""


@usual_torch()
def train(
    config: TrainingConfig,
    data: Sequence[Path],
    out: Path,
    *,
    resume: bool = False,
    init_from: Sequence[Path] = (),
    overwrite: bool = False,
    group: Group | None = None,
    progress: Progress = silent,
    say: Callable[[str], None] = print,
    remark: str = "",
) -> dict[str, Any]:
    """Train a model on shower files, in the run folder ``out``; return the best check's figures.

    ``init_from`` names run folders, pretrained models or Keras files with the first weights. The workers
    of a ``group`` each call this; the first of them writes and speaks for all. ``overwrite`` replaces another
    run in the folder, but nothing else. ``remark`` is said when the training begins.

    Raises UsageError or CaloforgeError; KeyboardInterrupt after Ctrl-C or SIGTERM, with a
    checkpoint written.
    """
    keep_freed_memory()
    group = group or Group()
    if not group.leads:
        progress, say = silent, say_nothing
    weights = [pretrained_weights().get(str(source), source) for source in init_from]
    require_sources(weights)
    return Trainer(config, data, out, resume, overwrite, weights, group, progress, say, remark).run()


@dataclass
class Trainer:
    """One training; its workers each have one, and call the same methods in the same order.

    Its ``learner`` takes the steps. Each epoch ends with a physics check of the averaged weights; the best
    ones become the model, or the last where the configuration says so. A checkpoint has the learner's state
    and the ``progress``.
    """

    config: TrainingConfig
    data: Sequence[Path]
    out: Path
    resume: bool
    overwrite: bool
    init_from: Sequence[Path]
    group: Group
    show: Progress
    say: Callable[[str], None]
    remark: str = ""

    def run(self) -> dict[str, Any]:
        """Train until the last step, the end of the time or a signal; return the best check's figures."""
        config, group = self.config, self.group
        self.folder = RunFolder(self.out, writes=group.leads)
        with (
            self.folder.locked(resume=self.resume, overwrite=self.overwrite),
            collected(STOP_SIGNALS) as self.stopped,
            CheckpointWriter(self.folder.checkpoints, config.keep_checkpoints) as self.writer,
        ):
            self.set_up()
            with event_writer(self.out, enabled=config.tensorboard and group.leads) as self.write_events:
                for _, batch in self.loader.iterate(self.progress.position, self.last_position):
                    step = self.step(batch)
                    self.log(step)
                    self.require_sound(step)
                    if self.progress.ends_epoch:
                        self.end_epoch()
                    if self.progress.step % config.checkpoint_every_steps == 0 and not step.skipped:
                        self.checkpoint()
                    self.writer.check()
                    self.show_progress(step)
                    if step.enough:
                        break
                self.finish()
            self.require_model()
        progress = self.progress
        return {
            "run": str(self.out),
            "model": config.model,
            "steps": progress.step,
            "epochs": progress.epoch,
            "best": progress.best,
        }

    # Set up: showers, networks, and where to go on.

    def set_up(self) -> None:
        """Load the showers, build the networks, and begin the run or take up its checkpoint."""
        self.device = self.group.device(self.config.device)
        self.open_store()
        found = self.find_checkpoint() if self.resume else None
        self.split_showers()
        self.build_networks()
        if found is None:
            initialise_from(self.config.model, self.init_from, self.objective.networks)
        self.learner = Learner(self.objective, self.config, self.group, self.device)
        self.progress = TrainingProgress(
            steps_per_epoch=self.loader.steps_per_epoch, workers=self.group.world
        )
        if found is not None:
            self.take_up(found)
        self.begin()
        if found is None:
            self.checkpoint()

    def open_store(self) -> None:
        """Pack the showers, or find them packed. Raises CaloforgeError if the workers see different ones."""
        with self.group.one_a_node_first():
            self.store = prepare_data(self.config, self.data, verify=self.group.first_on_node)
        if self.group.from_first(lambda: self.store.checksum) != self.store.checksum:
            raise CaloforgeError(
                f"{self.data[0]}: worker {self.group.rank} sees other showers than worker 0"
            )

    def find_checkpoint(self) -> Checkpoint | None:
        """Read the newest whole checkpoint, if there is any, and where the first weights came from.

        Raises CaloforgeError if the run began with other showers.
        """
        sources = self.group.from_first(self.folder.read_config)[1]
        if sources.get("checksum") != self.store.checksum:
            raise CaloforgeError(
                f"{self.out}: the training showers are not those that the run began with"
            )
        self.init_from = [Path(source) for source in sources["init_from"]]
        found, complaints = newest_of_all(self.folder.checkpoints, self.group)
        for complaint in complaints:
            self.say(f"{complaint}: falling back to an older checkpoint")
        if found is None:
            self.say(f"{self.out}: no checkpoint yet, starting from the first step")
        elif found.progress.workers != self.group.world:
            self.say(
                f"{found.path}: begun with workers: {found.progress.workers}, goes on with "
                f"{self.group.world}: statistically, not bit for bit, the same training"
            )
        return found

    def split_showers(self) -> None:
        """Choose the showers to train on, dealt out by a loader, and those of the physics check."""
        config, store = self.config, self.store
        self.split = Split.of(store, config)
        check_N = self.split.validation_N[: config.check_showers]
        self.physics_check = PhysicsCheck(store, check_N, stream_seed(config.seed, "check"))
        symmetries = config.augment
        if symmetries == "all":
            symmetries = allowed_symmetries(store.grid, store.conditions[self.split.train_N])
        self.loader = Loader(
            store,
            self.split.train_N,
            batch_size=config.batch_size,
            seed=config.seed,
            rank=self.group.rank,
            world_size=self.group.world,
            augmentations=symmetries,
        )

    def build_networks(self) -> None:
        """Build the networks, and what they minimise."""
        torch.manual_seed(stream_seed(self.config.seed, "weights"))
        self.objective = build_objective(self.config, self.store, self.split.train_N)
        for network in self.objective.networks.values():
            network.to(self.device)

    def take_up(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint. Raises CaloforgeError if it does not fit the networks."""
        try:
            self.learner.state.load(checkpoint.tensors)
        except CaloforgeError as error:
            raise CaloforgeError(f"{checkpoint.path}: {error}") from None
        self.progress = checkpoint.progress.counted_by(self.loader.steps_per_epoch, self.group.world)

    def begin(self) -> None:
        """Write down what is to be done, and start the clock."""
        config, progress = self.config, self.progress
        self.first_step = self.saved_step = self.checked_step = progress.step
        self.last_step = config.epochs * progress.steps_per_epoch - (progress.position - progress.step)
        if config.max_steps is not None:
            self.last_step = min(self.last_step, config.max_steps)
        self.last_position = progress.position + self.last_step - progress.step
        self.skipped_in_a_row = 0  # none at a checkpoint, so that a resumed run need not know
        self.figures: dict[str, float] = {}
        if self.overwrite and not self.resume:
            self.folder.clear()
        self.folder.write_config(config, self.data, self.store.checksum, self.init_from, self.group.job)
        self.folder.forget_after(progress.step)
        if self.last_step > progress.step:
            self.folder.restore_model()
        self.limit_s = math.inf if config.minutes is None else 60 * config.minutes
        self.started_s = time.monotonic()
        if self.remark:
            self.say(self.remark)
        if progress.step < self.last_step:
            self.show(progress.step, self.last_step)
        else:
            self.say(
                f"{self.out}: already finished after step {progress.step}; more epochs or max_steps go on"
            )

    # One step.

    def step(self, batch: Batch) -> Step:
        """Take a step, and count it."""
        before = self.progress
        step = self.learner.step(batch, before, self.had_enough)
        self.progress = replace(before, step=before.step + 1, position=before.position + 1)
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if step.skipped else 0
        self.seconds = time.monotonic() - self.started_s
        return step

    def had_enough(self) -> bool:
        """Say whether the time is over, or this worker was asked to stop."""
        return bool(self.stopped) or time.monotonic() - self.started_s > self.limit_s

    def log(self, step: Step) -> None:
        """Write the figures of a step."""
        done, figures = self.progress.step, dict(step.terms)
        if step.skipped:
            figures["skipped"] = len(step.skipped)
            self.say(f"step {done}: skipped, the {step.skipped[0]}'s loss or gradient is not finite")
        times = {"step": done, "seconds": round(self.seconds, 3)}
        self.folder.log({**times, "learning_rate": step.learning_rate, **figures})
        self.write_events(done, {**figures, "learning_rate": step.learning_rate})

    def show_progress(self, step: Step) -> None:
        """Show how far the training is, and figures worth watching."""
        done, last = self.progress.step, self.last_step
        steps_per_s = (done - self.first_step) / self.seconds
        if self.config.minutes is not None:
            last = min(last, self.first_step + math.ceil(self.limit_s * steps_per_s))
        figures = {**step.losses, "showers/s": step.showers * steps_per_s}
        if self.figures:
            figures["score"] = self.figures["score"]
        self.show(done, last, **figures)

    # Checks and checkpoints.

    def check(self) -> dict[str, float]:
        """Check the physics of the averaged weights; they become the model if `choose` says so."""
        config, step = self.config, self.progress.step
        figures = self.physics_check(self.learner.model, self.group)
        known = {name: value for name, value in figures.items() if math.isfinite(value)}
        self.folder.log({"step": step, "epoch": self.progress.epoch, "check": known})
        self.write_events(step, {f"check/{name}": value for name, value in known.items()})
        if "score" not in known:
            self.say(f"step {step}: not a model, the showers of the averaged weights are not finite")
        elif config.choose == "last" or figures["score"] < self.progress.best["score"]:
            self.progress = replace(self.progress, best={**figures, "step": step})
            card = card_of(config, self.store, self.split.train_N, self.progress.best)
            self.folder.write_model(self.learner.model, card)
        self.figures, self.checked_step = figures, step
        return figures

    def end_epoch(self) -> None:
        """Check the epoch, and remember its score for the learning rate."""
        score = min(WORST_SCORE, self.check()["score"])
        self.progress = replace(self.progress, scores=(*self.progress.scores, score))

    def checkpoint(self) -> None:
        """Write a checkpoint in the background. Raises CaloforgeError if the workers' weights differ."""
        self.group.require_same(self.learner.state.tensors(), self.progress.step)
        if self.group.leads:
            self.writer.save(self.learner.state, self.progress)
        self.saved_step = self.progress.step

    def without_model(self) -> bool:
        """Say whether no check has found a model yet."""
        return self.group.from_first(lambda: not self.folder.has_model())

    # The end.

    def require_sound(self, step: Step) -> None:
        """End with CaloforgeError if the weights went astray."""
        done = self.progress.step
        if step.astray:
            self.give_up(f"the weights are not finite at step {done}")
        if self.skipped_in_a_row == SKIPS_IN_A_ROW:
            self.give_up(
                f"the {step.skipped[0]}'s loss or gradient is not finite at step {done}, "
                f"nor at the {SKIPS_IN_A_ROW - 1} before"
            )

    def give_up(self, reason: str) -> NoReturn:
        """End with CaloforgeError; the last good weights become the model if no check has found any."""
        self.writer.wait()
        good, _ = newest_of_all(self.folder.checkpoints, self.group)
        if good is not None and self.without_model():
            self.take_up(good)
            self.check()
        self.group.wait()
        raise CaloforgeError(
            f"{self.out}: {reason}; the checkpoint of step {good.progress.step if good else 0} is the last "
            "good one (a smaller learning_rate may help)"
        )

    def finish(self) -> None:
        """Write the last checkpoint, and check the last weights."""
        # First the checkpoint: a run that goes on must not know of a check within an epoch.
        if self.saved_step != self.progress.step and not self.skipped_in_a_row:
            self.checkpoint()
        self.writer.wait()
        if self.checked_step != self.progress.step or self.without_model():
            self.folder.keep_model()
            self.check()

    def require_model(self) -> None:
        """Raise KeyboardInterrupt if a worker was asked to stop, CaloforgeError if there is no model."""
        step = self.progress.step
        if self.group.any(bool(self.stopped)):
            which = (
                "a checkpoint"
                if self.saved_step == step
                else f"the checkpoint of step {self.saved_step}"
            )
            self.say(f"stopped after step {step} with {which}: --resume continues")
            raise KeyboardInterrupt
        if self.without_model():
            raise CaloforgeError(
                f"{self.out}: the showers after step {step} are not finite, nor were those of earlier "
                "checks; expected finite deposits (a smaller learning_rate may help)"
            )

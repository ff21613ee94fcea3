"""A training from its first step to its model: read :meth:`Trainer.run` to know what a run does."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from caloforge.files.shipped import pretrained_weights
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.progress import Progress, say_nothing, silent
from caloforge.foundations.randomness import stream_seed
from caloforge.foundations.signals import STOP_SIGNALS, collected
from caloforge.models.objective import LossStep
from caloforge.models.saved import ModelCard
from caloforge.models.shared.defaults import usual_torch
from caloforge.showers.batch import Batch
from caloforge.training.augmentation import allowed_symmetries
from caloforge.training.begin import build_objective, initialise_from, require_sources
from caloforge.training.checkpoint import Checkpoint, TrainingProgress, TrainState, newest_valid
from caloforge.training.config import TrainingConfig
from caloforge.training.data_parallel import Group
from caloforge.training.ema import MovingAverage
from caloforge.training.events import event_writer
from caloforge.training.gradients import SummedGradients
from caloforge.training.loader import Loader
from caloforge.training.memory import keep_freed_memory
from caloforge.training.physics_check import WORST_SCORE, PhysicsCheck
from caloforge.training.run_folder import RunFolder
from caloforge.training.schedule import learning_rate
from caloforge.training.split import Split, prepare_data
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


@dataclass(frozen=True)
class Step:
    """What came of one step, the same for all workers but for the time."""

    losses: dict[str, float]
    """By network; a network whose step was skipped has none."""
    terms: dict[str, float]
    """Of the losses, by dotted name."""
    skipped: list[str]
    """Networks whose loss or gradient was not finite."""
    learning_rate: float
    showers: float
    """Of all workers."""
    seconds: float
    """Since the first step of this call."""
    enough: bool
    """Whether the time is over, or a worker was asked to stop."""
    astray: bool
    """Whether a weight is not finite."""


@dataclass
class Trainer:
    """One training; its workers each have one, and call the same methods in the same order.

    A step is one batch of real showers, and every optimiser step that its objective asks for; the workers
    take it on all their batches together, so that their networks stay the same. A loss or gradient that is
    not finite is skipped. Each epoch ends with a physics check of the averaged weights; the best ones
    become the model, or the last where the configuration says so.

    ``state`` holds the tensors that a step changes, ``progress`` counts; a checkpoint has both.
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
            with event_writer(self.out, enabled=config.tensorboard and group.leads) as self.events:
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
        self.build_state()
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
        found, complaints = newest_checkpoint(self.folder, self.group)
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

    def build_state(self) -> None:
        """Build what goes along with the networks: averaged weights, optimisers, sums of gradients."""
        config, objective, networks = self.config, self.objective, self.objective.networks
        self.average = MovingAverage(objective.model, config.ema_decay)
        self.state = TrainState(
            networks={**networks, "average": self.average.average},
            optimizers={
                name: objective.optimizer(network, config.learning_rate)
                for name, network in networks.items()
            },
        )
        self.gradients = {
            name: SummedGradients(network, self.group, bf16=config.gradient_compression == "bf16")
            for name, network in networks.items()
        }
        learning = nn.ModuleList(networks.values())
        self.weights = [parameter.detach() for parameter in learning.parameters()]
        kept = learning.state_dict().keys()  # a network's constants are not
        self.statistics = [
            buffer
            for name, buffer in learning.named_buffers()
            if name in kept and buffer.is_floating_point()
        ]

    def take_up(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint. Raises CaloforgeError if it does not fit the networks."""
        try:
            self.state.load(checkpoint.tensors)
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
        """Take every optimiser step that the objective asks for, then agree on what all must know."""
        config, progress = self.config, self.progress
        # Each worker has noise of its own.
        address = (progress.step, self.group.rank) if self.group.rank else (progress.step,)
        torch.manual_seed(stream_seed(config.seed, "step", *address))
        rate = learning_rate(config, self.group.world, progress.epoch, progress.scores)
        shown, skipped = dict[str, Tensor](), list[str]()
        trusted = [buffer.clone() for buffer in self.statistics]
        for loss_step in self.objective.losses(batch.to(self.device)):
            if self.descend(loss_step, batch.share, rate):
                torch._foreach_copy_(trusted, self.statistics)
                shown |= {loss_step.network: loss_step.loss.detach(), **loss_step.terms}
            else:
                torch._foreach_copy_(self.statistics, trusted)
                skipped.append(loss_step.network)
        seconds, enough, astray = self.agree(list(shown.values()))
        self.average.update(progress.step)
        self.progress = replace(progress, step=progress.step + 1, position=progress.position + 1)
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0
        terms = {name: float(value) for name, value in shown.items()}
        return Step(
            losses={name: terms.pop(name) for name in self.objective.networks if name in terms},
            terms=terms,
            skipped=skipped,
            learning_rate=rate,
            showers=len(batch.energy_B) / batch.share,
            seconds=seconds,
            enough=enough,
            astray=astray,
        )

    def descend(self, loss_step: LossStep, share: float, rate: float) -> bool:
        """Step one network down its loss; leave it, and return False, if a gradient is not finite."""
        network, optimizer = (
            self.state.networks[loss_step.network],
            self.state.optimizers[loss_step.network],
        )
        optimizer.zero_grad(set_to_none=True)
        # Through the gradient all workers learn that one's loss or statistics are not finite.
        sound = finite([loss_step.loss.detach(), *self.statistics])
        (torch.where(sound, share, math.nan) * loss_step.loss).backward()  # type: ignore[no-untyped-call]
        self.gradients[loss_step.network].wait()
        if not finite([p.grad for p in network.parameters() if p.grad is not None]):
            return False
        for settings in optimizer.param_groups:
            settings["lr"] = rate
        optimizer.step()
        return True

    def agree(self, shown: Sequence[Tensor]) -> tuple[float, bool, bool]:
        """Average over the workers, in one message, what all must know before the next step.

        Changes ``shown`` and the networks' statistics. Returns the seconds so far, whether a worker has
        had enough, and whether a weight of one is not finite.
        """
        seconds = time.monotonic() - self.started_s
        enough = torch.tensor(float(bool(self.stopped) or seconds > self.limit_s))
        astray = (~finite(self.weights)).double()
        self.group.average([enough, astray, *self.statistics, *shown])
        return seconds, bool(enough > 0), bool(astray > 0)

    def log(self, step: Step) -> None:
        """Write the figures of a step."""
        done, figures = self.progress.step, dict(step.terms)
        if step.skipped:
            figures["skipped"] = len(step.skipped)
            self.say(f"step {done}: skipped, the {step.skipped[0]}'s loss or gradient is not finite")
        times = {"step": done, "seconds": round(step.seconds, 3)}
        self.folder.log({**times, "learning_rate": step.learning_rate, **figures})
        self.events.write(done, {**figures, "learning_rate": step.learning_rate})

    def show_progress(self, step: Step) -> None:
        """Show how far the training is, and figures worth watching."""
        done, last = self.progress.step, self.last_step
        steps_per_s = (done - self.first_step) / step.seconds
        if self.config.minutes is not None:
            last = min(last, self.first_step + math.ceil(self.limit_s * steps_per_s))
        figures = {**step.losses, "showers/s": step.showers * steps_per_s}
        if self.figures:
            figures["score"] = self.figures["score"]
        self.show(done, last, **figures)

    # Checks and checkpoints.

    def check(self) -> dict[str, float]:
        """Check the physics of the averaged weights; they become the model if `choose` says so."""
        step, figures = self.progress.step, self.physics_check(self.average.average, self.group)
        known = {name: value for name, value in figures.items() if math.isfinite(value)}
        self.folder.log({"step": step, "epoch": self.progress.epoch, "check": known})
        self.events.write(step, {f"check/{name}": value for name, value in known.items()})
        if "score" not in known:
            self.say(f"step {step}: not a model, the showers of the averaged weights are not finite")
        elif self.config.choose == "last" or figures["score"] < self.progress.best["score"]:
            self.progress = replace(self.progress, best={**figures, "step": step})
            self.folder.write_model(self.average.average, self.card())
        self.figures, self.checked_step = figures, step
        return figures

    def end_epoch(self) -> None:
        """Check the epoch, and remember its score for the learning rate."""
        score = min(WORST_SCORE, self.check()["score"])
        self.progress = replace(self.progress, scores=(*self.progress.scores, score))

    def checkpoint(self) -> None:
        """Write a checkpoint in the background. Raises CaloforgeError if the workers' weights differ."""
        self.group.require_same(self.state.tensors(), self.progress.step)
        if self.group.leads:
            self.writer.save(self.state, self.progress)
        self.saved_step = self.progress.step

    def without_model(self) -> bool:
        """Say whether no check has found a model yet."""
        return self.group.from_first(lambda: not self.folder.has_model())

    def card(self) -> ModelCard:
        """Describe the model as it is now."""
        config, seen = self.config, self.store.conditions[self.split.train_N]
        return ModelCard(
            name=config.model,
            grid=self.store.grid,
            threshold_MeV=self.store.threshold_MeV,
            energy_MeV=(float(seen.incident_energy.min()), float(seen.incident_energy.max())),
            theta_rad=(float(seen.incident_theta.min()), float(seen.incident_theta.max())),
            architecture=config.architecture.model_dump(),
            training_data={"checksum": self.store.checksum, "showers": len(self.split.train_N)},
            metrics=self.progress.best,
            provenance={
                "program": f"caloforge {version('caloforge')}",
                "torch": torch.__version__,
                "date": date.today().isoformat(),
                "seed": config.seed,
            },
        )

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
        good, _ = newest_checkpoint(self.folder, self.group)
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


def newest_checkpoint(folder: RunFolder, group: Group) -> tuple[Checkpoint | None, list[str]]:
    """Return all workers what :func:`newest_valid` gives on the first."""
    found, complaints = newest_valid(folder.checkpoints) if group.leads else (None, [])
    known, complaints = group.from_first(
        lambda: ([(str(found.path), found.progress.note())] if found else [], complaints)
    )
    for path, note in known:
        tensors = group.tensors_from_first(found.tensors if found else {})
        found = Checkpoint(Path(path), tensors, TrainingProgress.of(note, path))
    return found, complaints


def finite(tensors: Sequence[Tensor]) -> Tensor:
    """Say whether numbers and their squares, of which RMSprop keeps a mean, are finite."""
    return nn.utils.get_total_norm(tensors).square().isfinite()

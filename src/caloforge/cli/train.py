"""``caloforge train``: from shower files to a run folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from caloforge.cli.console import Json, digits, print_result, progress, say
from caloforge.cli.multi_value_options import MultiValueData
from caloforge.cli.outputs import Overwrite
from caloforge.foundations.progress import silent
from caloforge.foundations.ranks import Ranks

COMMAND = MultiValueData

EXAMPLES = (
    "caloforge train --data showers.h5 -o run --set minutes=10",
    "caloforge train -o run --resume --set minutes=10",
    "caloforge train --data showers.h5 -o tuned --init-from clic-ecal --set learning_rate=0.001",
    "caloforge train --model 3dgan --data showers.h5 -o published --set minutes=10",
    "caloforge launch --nproc 2 train --data showers.h5 -o run-of-two --set epochs=5",
    "torchrun --nproc-per-node 4 -m caloforge train --data showers.h5 -o run-of-four",
    "srun --ntasks-per-node 4 caloforge train --data showers.h5 -o run-of-nodes",
)


def run(
    output: Annotated[Path, typer.Option("--output", "-o", help="The run folder.", metavar="RUN")],
    data: Annotated[
        list[Path] | None, typer.Option("--data", help="Shower files to train on.", metavar="FILE...")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="A name from `caloforge models` (default: the usual one for the showers' angles).",
            metavar="NAME",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings in YAML.", metavar="FILE")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="One setting, such as batch_size=16; may be repeated.", metavar="a.b=c"
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in RUN.")] = False,
    init_from: Annotated[
        list[Path] | None,
        typer.Option(
            "--init-from",
            help="First weights: a run folder, a name from `caloforge models`, or Keras HDF5 weights.",
            metavar="RUN",
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend",
            help="How several workers exchange sums: gloo, nccl, mpi, ucc, as far as this torch has them "
            "(default: nccl on GPUs, else gloo).",
            metavar="NAME",
        ),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Train a model on showers; the run folder holds settings, metrics, checkpoints and the model."""
    ranks = Ranks.from_environment()
    if ranks.world > 1:  # before torch is loaded, which reports a lost connection at length
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

    from caloforge.training.data_parallel import join
    from caloforge.training.run_folder import RunFolder
    from caloforge.training.session import train

    with join(ranks, output, backend, say) as group:
        # A launcher that starts a job again knows nothing of --resume.
        folder, again = RunFolder(output), resume
        if ranks.attempt > 0:
            again = resume or group.from_first(lambda: folder.begun_by(ranks.job))
        with progress("train", "steps") if group.leads else nullcontext(silent) as report:
            result = train(
                data or (),
                output,
                model=model,
                config=config,
                settings=settings or (),
                resume=again,
                init_from=init_from or (),
                overwrite=overwrite,
                group=group,
                progress=report,
                say=say,
            )
    if group.leads:
        print_result(result, str(output), _rows(result), as_json=json)


def _rows(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Tell people how a training ended: the figures of the check that chose its model."""
    best = result["best"]
    yield "trained", f"{result['steps']:,} steps, {digits(result['epochs'])} epochs"
    yield "model", f"{result['model']}, weights of step {best.get('step', result['steps']):,}"
    if "sampling_fraction_ratio" in best:
        ratio, error = best["sampling_fraction_ratio"], best["sampling_fraction_error"]
        yield (
            "sampling fraction",
            f"{ratio:.3f} of the data's, {digits(100 * error)} % off in a bin of energy",
        )
        shapes = [name for name in best if name.startswith("shape_")]
        off = ", ".join(f"{name.split('_')[1]} {digits(100 * best[name])} %" for name in shapes)
        yield "mean profiles", f"off by {off}"
        yield "score", f"{digits(best['score'])}, 0 is perfect"

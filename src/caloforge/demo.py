"""The whole chain on the Geant4 showers that come with the package."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from caloforge.detector import load_detector
from caloforge.files.shipped import shipped_showers
from caloforge.foundations.errors import UsageError
from caloforge.foundations.progress import Progress
from caloforge.foundations.units import GEV, Spectrum
from caloforge.geant4.request import SimulationRequest
from caloforge.geant4.simulate import simulate
from caloforge.generation.condition_source import like_file
from caloforge.generation.sampler import generate_file, load
from caloforge.report.page.content import Report
from caloforge.report.validate import validate
from caloforge.training.config import load_config
from caloforge.training.trainer import train

__all__ = ["demo"]

FRESH_SHOWERS = 20
SEED = 1
WEIGHTS, MODEL = "clic-ecal", "copula"
EPOCHS, LEARNING_RATE = 2, 3e-4
"""Of the weights' own detector there is little left to learn, and from these few showers much to unlearn."""

ProgressBar = Callable[[str, str], AbstractContextManager[Progress]]


def demo(
    folder: Path,
    *,
    minutes: float,
    overwrite: bool = False,
    progress: ProgressBar,
    say: Callable[[str], None],
) -> Report:
    """Simulate, train pretrained weights further, generate, validate; all lies in ``folder`` afterwards.

    The report is in ``folder / "report"``.

    Raises UsageError when the folder holds anything already; with ``overwrite`` anything but an earlier demo.
    """
    fresh, generated = folder / "fresh-geant4.h5", folder / "generated.h5"
    run, report = folder / "run", folder / "report"
    found = set(folder.glob("[!.]*"))
    if folder.is_file() or (found and not overwrite) or found - {fresh, generated, run, report}:
        advice = (
            "-o names another" if overwrite else "-o names another, --overwrite replaces an earlier demo"
        )
        raise UsageError(f"{folder}: expected an empty or new folder; {advice}")
    folder.mkdir(parents=True, exist_ok=True)
    workers = len(os.sched_getaffinity(0))

    say(f"1/4 simulating {FRESH_SHOWERS} fresh showers with Geant4")
    request = SimulationRequest(
        detector=load_detector("clic-ecal"),
        events=FRESH_SHOWERS,
        energy=Spectrum("uniform", (10 * GEV, 500 * GEV)),
        seed=SEED,
    )
    with progress("simulate", "showers") as callback:
        simulate(request, fresh, workers=workers, progress=callback)

    say(
        f"2/4 training the pretrained model {WEIGHTS} further, on these and on the Geant4 showers of the package"
    )
    settings = {
        "minutes": minutes,
        "epochs": EPOCHS,
        "learning_rate": LEARNING_RATE,
        "seed": SEED,
    }
    with progress("train", "steps") as callback:
        train(
            load_config(base=settings, model=MODEL),
            [shipped_showers("train"), fresh],
            run,
            init_from=[Path(WEIGHTS)],
            overwrite=overwrite,
            progress=callback,
            say=say,
        )

    say("3/4 generating showers like the Geant4 ones that were kept apart")
    source = like_file(shipped_showers("test"))
    with progress("generate", "showers") as callback:
        generate_file(load(run), source, generated, seed=SEED, progress=callback)

    say("4/4 comparing them")
    with progress("validate", "%") as callback:
        return validate(
            shipped_showers("test"),
            generated,
            report,
            labels=("Geant4", MODEL),
            training=[shipped_showers("train"), fresh],
            workers=workers,
            progress=callback,
        )

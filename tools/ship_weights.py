"""Maintainers' tool: put the model of a run into the package, judge it there, and write its card.

A card is never written by hand: what it says of training comes from the run folder, what it says of quality from
a comparison with showers that the run was not trained on, made here.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import caloforge
from caloforge.files.shower_file import ShowerFile
from caloforge.files.training_store import prepare_store
from caloforge.foundations.cache import cache_folder
from caloforge.foundations.durable import write_text
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.units import DEGREE, GEV
from caloforge.models.saved import ModelCard, read_card
from caloforge.showers import name_of
from caloforge.training.config import load_config
from caloforge.training.run_folder import RunFolder
from tools.judge_weights import QUALITY, judge_weights

WEIGHTS = Path(caloforge.__file__).parent / "weights"
FILES = ("model.safetensors", "model.json")
LARGEST = 5e6
"""Bytes of a model that every user downloads."""


def main(arguments: list[str] | None = None) -> None:
    """Ship one model; nothing is left under its name where that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("name", help="what the weights are called from then on, such as clic-ecal")
    parser.add_argument("--training", type=Path, nargs="+", required=True, help="its training showers")
    parser.add_argument(
        "--reference", type=Path, nargs="+", required=True, help="showers that judge the model"
    )
    parser.add_argument("--machine", required=True, help="what the training ran on, in words")
    parser.add_argument(
        "--weights", type=Path, default=WEIGHTS, help="the folder of all shipped weights"
    )
    given = parser.parse_args(arguments)
    try:
        ship(given)
    except CaloforgeError as error:
        sys.exit(f"ship_weights: {error}")


def ship(given: argparse.Namespace) -> None:
    """Check that the showers are what they are said to be; judge, then copy."""
    card = read_card(given.run)
    store = prepare_store(given.training, cache_folder("stores"), threshold_MeV=card.threshold_MeV)
    if store.checksum != card.training_data["checksum"]:
        raise UsageError(f"--training: expected the showers that {given.run} was trained on")
    size = sum((given.run / name).stat().st_size for name in FILES)
    if size > LARGEST:
        raise UsageError(f"{given.run}: expected a model of at most {LARGEST:.0f} bytes, got {size}")
    folder = given.weights / given.name
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary) / given.name
        staged.mkdir()
        for name in FILES:
            shutil.copyfile(given.run / name, staged / name)
        quality = judge_weights(staged, given.reference, given.training)
        write_text(staged / "README.md", describe(given, card, quality))
        shutil.copytree(staged, folder, dirs_exist_ok=True)
    print(folder)  # noqa: T201


def describe(given: argparse.Namespace, card: ModelCard, quality: str) -> str:
    """Write the model card."""
    settings, sources = RunFolder(given.run).read_config()
    energies = " to ".join(f"{value / GEV:.4g}" for value in card.energy_MeV)
    angles = " to ".join(dict.fromkeys(f"{value / DEGREE:.4g}" for value in card.theta_rad))
    low, high = (value / DEGREE for value in card.phi_rad)
    azimuths = f", azimuths of {low:.4g} to {high:.4g} degrees" if high - low > 1 else ""
    particles = " and ".join(map(name_of, card.pdg_ids))
    names = " ".join(path.name for path in given.training)
    provenance, made = card.provenance, _origin(given.training[0])
    sizes = " and ".join(str(_size(path)) for path in given.reference)
    return f"""# {given.name}

Pretrained weights of `{card.name}` for the detector `{card.grid.name}`, {" x ".join(map(str, card.grid.shape))} cells.
`tools/ship_weights.py` wrote this card.

```console
$ caloforge generate {given.name} --events 1000 --energy {_spectrum(card)} -o showers.h5
```

## Training

| | |
|---|---|
| showers | {card.training_data["showers"]} of {_sizes(given.training)} in {names}; the others validated it |
| made by | {made} |
| checksum of the packed showers | `{card.training_data["checksum"]}` |
| steps | {card.metrics["step"]}, in {_minutes(given.run):.1f} minutes |
| machine | {given.machine} |
| program | {provenance["program"]}, torch {provenance["torch"]}, seed {provenance["seed"]}, {provenance["date"]} |

```console
$ {_command(settings, sources, given.training)}
```

## Limits of use

- {particles} at {energies} GeV and {angles} degrees to the face{azimuths}, as in the training showers. Beyond these `generate`
  warns; other particles, and angles of a model that does not follow them, are refused.
- Cells of this detector alone, above its read-out threshold of {card.threshold_MeV * 1e3:g} keV. For another detector train on its
  showers, with `--init-from {given.name}` if they are few.
- Quality is known as well as the comparisons below say, by {sizes} showers: what is finer than their errors is not known.

{QUALITY}
{quality}"""


def _sizes(files: list[Path]) -> int:
    return sum(_size(path) for path in files)


def _size(path: Path) -> int:
    with ShowerFile(path) as file:
        return len(file)


def _origin(path: Path) -> str:
    with ShowerFile(path) as file:
        known = file.provenance
    tables = known.get("physics_tables", "unknown")
    kind = tables["kind"] if isinstance(tables, dict) else tables
    told = [str(known[key]) for key in ("program", "geant4", "physics_list") if key in known]
    return f"{', '.join(told)}, physics tables: {kind}"


def _spectrum(card: ModelCard) -> str:
    text = ":".join(f"{value / GEV:.3g}" for value in card.energy_MeV)
    for name, angles in (("theta", card.theta_rad), ("phi", card.phi_rad)):
        low, high = (value / DEGREE for value in angles)
        text += f" --{name} {low:.4g}:{high:.4g}" if high - low > 1 else ""
    return text


def _command(settings: dict[str, Any], sources: dict[str, list[str]], training: list[Path]) -> str:
    """Write the command that repeats a training: the settings that are not the model's own."""
    model = str(settings["model"])
    usual, chosen = _flat(load_config(model=model).model_dump(mode="json")), _flat(settings)
    parts = ["caloforge", "train", "--model", model, "--data", *(path.name for path in training)]
    parts += ["-o", "run"]
    for source in sources["init_from"]:
        parts += ["--init-from", Path(source).name]
    for name, value in chosen.items():
        if name in usual and value != usual[name]:
            parts += ["--set", f"{name}={value}"]
    return shlex.join(parts)


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found = {}
    for name, value in settings.items():
        inner = _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        found.update(inner)
    return found


def _minutes(run: Path) -> float:
    """Add up the wall time of all calls that made a run; each counts its seconds from zero."""
    total = last = 0.0
    for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        seconds = json.loads(line).get("seconds", last)
        if seconds < last:
            total += last
        last = seconds
    return (total + last) / 60


if __name__ == "__main__":
    main()

"""Maintainers' tool: judge pretrained weights anew, and write what was found into their card.

``python -m tools.judge_weights NAME REFERENCE.h5...``: showers with the conditions of each reference are generated and
compared with it; ``verdict.json`` keeps the verdicts, and the section Quality of ``README.md`` shows them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import caloforge
from caloforge.foundations.durable import write_text
from caloforge.foundations.errors import CaloforgeError
from caloforge.generation.condition_source import like_file
from caloforge.generation.sampler import generate_file, load
from caloforge.models.verdict import add_verdict
from caloforge.report.validate import validate

WEIGHTS = Path(caloforge.__file__).parent / "weights"
QUALITY = "## Quality\n"


def main(arguments: list[str] | None = None) -> None:
    """Judge one model by some references."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", help="pretrained weights, such as clic-ecal")
    parser.add_argument("references", type=Path, nargs="+", help="Geant4 showers not trained on")
    parser.add_argument("--training", type=Path, nargs="*", default=[], help="its training showers")
    given = parser.parse_args(arguments)
    folder = WEIGHTS / given.name
    try:
        quality = judge_weights(folder, given.references, given.training)
    except CaloforgeError as error:
        sys.exit(f"judge_weights: {error}")
    card = (folder / "README.md").read_text(encoding="utf-8").partition(QUALITY)[0]
    write_text(folder / "README.md", f"{card}{QUALITY}\n{quality}")


def judge_weights(folder: Path, references: Sequence[Path], training: Sequence[Path]) -> str:
    """Compare a model with references, keep the verdicts beside it, and return the card's section on quality."""
    parts = []
    for reference in references:
        with tempfile.TemporaryDirectory() as temporary:
            generated = Path(temporary) / "generated.h5"
            generate_file(load(folder), like_file(reference), generated, seed=1)
            report = validate(
                reference,
                generated,
                Path(temporary) / "report",
                labels=("Geant4", folder.name),
                training=training,
                only="numbers",
            )
            text = (Path(temporary) / "report" / "report.md").read_text(encoding="utf-8")
        add_verdict(folder, reference.name, report.metrics[0])
        parts.append(_commands(folder.name, reference, training) + text)
    return "\n".join(parts)


def _commands(name: str, reference: Path, training: Sequence[Path]) -> str:
    known = "".join(f" --training {path.name}" for path in training)
    return f"""### {reference.name}

```console
$ caloforge generate {name} --like {reference.name} --seed 1 -o generated.h5
$ caloforge validate {reference.name} generated.h5 -o report --labels Geant4 {name}{known}
```

"""


if __name__ == "__main__":
    main()

"""Maintainers' tool: write what the code and the measurements say into the documents.

``python tools/fill_documents.py`` rewrites what stands between ``<!-- fill: NAME ARGUMENT... -->`` and
``<!-- end -->`` in README.md, CONTRIBUTING.md, docs/*.md and studies/*/README.md, and the JSON Schema of a file's detector; ``--check`` only fails where a
file would change. A NAME is a function of :data:`BLOCKS`. Lists come from the package itself, numbers from the
result files that commands have written (``docs/results/*.json``, ``studies/*/*.json``).
"""

from __future__ import annotations

import argparse
import ast
import csv
import difflib
import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from typer.main import get_command

from caloforge.cli.main import app
from caloforge.comparison import correlations, differences, equal_conditions, profiles, response
from caloforge.comparison import metrics as measured
from caloforge.comparison.calochallenge import protocol
from caloforge.comparison.key_metrics import title_of, with_error
from caloforge.comparison.requirements import STATES, load_requirements
from caloforge.detector import load_detector, shipped_detectors
from caloforge.detector.file_keys import FileKeys, json_schema
from caloforge.files.shipped import pretrained_weights
from caloforge.models.registry import MODELS
from caloforge.observables.definitions import OBSERVABLES
from caloforge.training.config import TrainingConfig

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
DOCUMENTS = ("*.md", "docs/*.md", "studies/*/README.md")
SCHEMA = "src/caloforge/detector/detector.schema.json"
BLOCK = re.compile(r"<!-- fill: (\S+)(.*?) -->\n.*?<!-- end -->", re.DOTALL)

Result = Mapping[str, Any]
Row = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill all documents, or check that they are filled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail where a file would change"
    )
    check = parser.parse_args(arguments).check
    sys.path.insert(0, str(ROOT))  # studies are no part of the package
    stale = ""
    documents = sorted(path for pattern in DOCUMENTS for path in ROOT.glob(pattern))
    for path in filter(Path.exists, (*documents, ROOT / SCHEMA)):
        text = path.read_text(encoding="utf-8")
        filled = schema(text) if path.suffix == ".json" else fill(text)
        if filled == text:
            continue
        name = str(path.relative_to(ROOT))
        stale += "".join(
            difflib.unified_diff(text.splitlines(True), filled.splitlines(True), name, name, n=0)
        )
        if not check:
            path.write_text(filled, encoding="utf-8")
    if check and stale:
        sys.exit(f"{stale}\nfill_documents: expected `python tools/fill_documents.py` to change nothing")


def fill(text: str) -> str:
    """Fill each block of a document's text."""

    def filled(block: re.Match[str]) -> str:
        try:
            inner = "\n".join(BLOCKS[block[1]](*block[2].split()))
        except FileNotFoundError as missing:
            inner = f"*Not measured yet: `{Path(missing.filename).relative_to(ROOT)}`.*"
        return f"<!-- fill: {block[1]}{block[2]} -->\n\n{inner.strip()}\n\n<!-- end -->"

    return BLOCK.sub(filled, text)


# What the code says


def commands() -> Iterator[str]:
    """Describe every command: what it does, its options, and its examples."""
    group: Any = get_command(app)
    with typer.Context(group, info_name="caloforge") as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            rows = [(_spelled(it), getattr(it, "help", "") or "") for it in command.params]
            yield from ("", f"## `caloforge {name}`", "", command.help or "", "")
            yield from table(("argument or option", "meaning"), rows)
            yield from ("", "```console")
            yield from (f"$ {line}" for line in command.epilog.split("\n\n")[1:])
            yield "```"


def _spelled(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    names, default = ", ".join(f"`{name}`" for name in parameter.opts), parameter.default
    if parameter.required:
        return f"{names} (required)"
    hidden = default in (None, False, "", ()) or callable(default)
    return names if hidden else f"{names} ({default})"


def settings() -> Iterator[str]:
    """List the settings that every model has, then those of some models, or with another default."""
    common = {name: (name, default, meaning) for name, default, meaning in _fields(TrainingConfig)}
    own: dict[tuple[str, str, str], list[str]] = {}
    for model, family in MODELS.items():
        for name, default, meaning in _fields(family.settings):
            _, usual, known = common.get(name, (name, None, ""))
            if default != usual and name != "`model`":
                own.setdefault((name, default, meaning or known), []).append(f"`{model}`")
    yield from table(("setting", "default", "meaning"), common.values())
    yield ""
    rows = [(name, ", ".join(of), default, what) for (name, default, what), of in sorted(own.items())]
    yield from table(("setting", "of", "default", "meaning"), rows)


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield from _fields(type(default), f"{prefix}{name}.")
            continue
        default = list(default) if isinstance(default, tuple) else default
        shown = "" if default is None or field.is_required() else f"`{default}`"
        yield f"`{prefix}{name}`", shown, field.description or ""


def schema(text: str) -> str:
    """Write the JSON Schema of a file's detector, unless the text says it; pydantic's releases write 0 or 0.0."""
    found = json_schema()
    return text if text and json.loads(text) == found else json.dumps(found, indent=2) + "\n"


def detector_keys() -> Iterator[str]:
    """List what a file says of its detector."""
    fields = FileKeys.model_fields.items()
    yield from table(("key", "meaning"), ((f"`{name}`", it.description or "") for name, it in fields))


def detectors() -> Iterator[str]:
    """List the detectors of the package."""
    rows = []
    for name in shipped_detectors():
        it = load_detector(name)
        cells = " x ".join(map(str, it.across))
        size = " x ".join(map(str, it.cell_size_mm or ()))
        if it.readout is not None:
            cells, size = f"{it.readout.rings} rings x {it.readout.sectors}", f"{it.readout.ring_mm}"
        rows.append(
            (
                f"`{name}`",
                it.description,
                cells,
                size,
                it.n_layers,
                it.production_cut_mm,
                it.threshold_MeV,
            )
        )
    head = ("name", "what", "cells", "cell, mm", "layers", "cut, mm", "threshold, MeV")
    yield from table(head, rows)


def observables() -> Iterator[str]:
    """List the observables; what is defined along each axis is listed for x."""
    rows = []
    for name, it in OBSERVABLES.items():
        stem, _, axis = name.rpartition("_")
        if axis not in ("y", "z", "r", "phi", "layer") or f"{stem}_x" not in OBSERVABLES:
            rows.append((f"`{name}`", it.title, "" if it.unit == "1" else it.unit, it.meaning))
    yield from table(("name", "quantity", "unit", "definition"), rows)


def metrics() -> Iterator[str]:
    """List the numbers of metrics.json, which the docstrings of their modules define."""
    for module in (
        differences, equal_conditions, response, profiles, correlations, measured, protocol,
    ):  # fmt: skip
        text = inspect.cleandoc(module.__doc__ or "")
        text = re.sub(r":(?:func|mod|attr|class|data):`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text).replace(
            "``", "`"
        )
        definitions: list[tuple[str, str]] = []
        for paragraph in re.split(r"\n\n|\n(?=`[^\n]*`\n)", text)[1:]:
            term, _, rest = paragraph.partition("\n")
            if rest.startswith("    "):
                definitions.append((term, rest))
                continue
            yield from _definitions(definitions)
            definitions = []
            yield from (paragraph, "")
        yield from _definitions(definitions)


def _definitions(rows: list[tuple[str, str]]) -> Iterator[str]:
    if rows:
        yield from (*table(("number", "meaning"), rows), "")


def requirements() -> Iterator[str]:
    """List the usual requirements."""
    rows = [
        (
            it.title,
            f"`{it.metric}`",
            it.text(),
            "the same" if it.by_energy is None else it.text(it.by_energy),
        )
        for it in load_requirements()
    ]
    yield from table(("requirement", "number in `metrics.json`", "limit", "at an energy"), rows)


def rooms() -> Iterator[str]:
    """List the rooms of the package from the ground up: the floors that the layering test holds."""
    tree = ast.parse((ROOT / "tests" / "test_layers.py").read_text(encoding="utf-8"))
    (floors,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS"
    )
    rows = [
        (number, f"`{room}`", _idea(room))
        for number, floor in reversed(list(enumerate(floors)))
        for room in floor
    ]
    yield from table(("floor", "room", "what it holds"), rows)


def _idea(room: str) -> str:
    path = ROOT / "src" / "caloforge" / room
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]


# What was measured


def quality(*names: str) -> Iterator[str]:
    """Compare comparisons with Geant4: the requirements met, and the numbers of each, a column a file."""
    found = [load(name) for name in names]
    yield from table(
        ("", *(f"`{name}`" if name in pretrained_weights() else name for name in names)),
        [
            ("requirements", *map(_verdict, found)),
            *((title_of(name), *(_number(it, name) for it in found)) for name in SHOWN),
        ],
    )
    sizes = ", ".join(
        f"{_number(it, 'n_reference')} against {_number(it, 'n_candidate')}" for it in found
    )
    yield from ("", f"Showers: {sizes}. Errors are one standard deviation. {place(found[0])}")


def published(table_name: str, name: str) -> Iterator[str]:
    """Put our row under the published ones of the CaloChallenge: a table of theirs, and a result of ours."""
    with (RESULTS / f"{table_name}.csv").open(encoding="utf-8", newline="") as file:
        theirs = list(csv.DictReader(file))
    rows = [
        (
            it["model"].replace("GEANT4", "Geant4"),
            it["parameters_M"],
            *(f"{it[f'auc_{kind}']} ± {it[f'auc_{kind}_std']}" for kind in ("low", "high")),
            it["fpd_x1e3"],
            it["kpd_x1e3"],
            "100,000",
        )
        for it in sorted(theirs, key=lambda row: float(row["auc_low"]))
    ]
    result = load(name)
    found, short = result["metrics"], "calochallenge."
    ours = (
        ("our Geant4 against itself", "_floor", "n_floor"),
        ("**caloforge `copula`**", "", "n_showers"),
    )
    for who, ending, size in ours if f"{short}n_showers" in found else ():
        numbers = {key: found[f"{short}{key}{ending}"] for key in ("auc.low", "auc.high", "fpd", "kpd")}
        errors = {key: found[f"{short}{key}{ending}_err"] for key in numbers}
        of_model = f"{_parameters(name) / 1e6:.2g}" if not ending else ""
        rows.append(
            (
                who,
                of_model,
                with_error(numbers["auc.low"], errors["auc.low"]),
                with_error(numbers["auc.high"], errors["auc.high"]),
                with_error(1e3 * numbers["fpd"], 1e3 * errors["fpd"]),
                with_error(1e3 * numbers["kpd"], 1e3 * errors["kpd"]),
                f"{found[short + size]:,}",
            )
        )
    heads = (
        "model",
        "parameters / 10⁶",
        "AUC, voxels",
        "AUC, observables",
        "FPD x 10³",
        "KPD x 10³",
        "showers a side",
    )
    yield from table(heads, rows)
    yield from ("", f"Our rows: {place(result)}")


def _parameters(weights: str) -> int:
    card = pretrained_weights()[weights] / "model.json"
    return int(json.loads(card.read_text(encoding="utf-8"))["parameters"])


def how(*names: str) -> Iterator[str]:
    """List the commands of results as a reader would type them."""
    for name in names:
        result = load(name)
        yield from ("```console", *(f"$ {line}" for line in result["command"]), "```", "")
        if result["note"]:
            yield from (result["note"], "")


def _verdict(result: Result) -> str:
    states = [entry["state"] for entry in result["metrics"]["requirements"]]
    return ", ".join(f"{states.count(state)} {state}" for state in reversed(STATES))


def failed(*names: str) -> Iterator[str]:
    """List the failed requirements of comparisons, each where it is worst."""
    rows = []
    for name in names:
        entries = load(name)["metrics"]["requirements"]
        for entry in (entry for entry in entries if entry["state"] == "failed"):
            low, high = (with_error(bound, None) for bound in entry["interval"])
            places = f"{entry['checks']['failed']} of {sum(entry['checks'].values())}"
            rows.append((f"`{name}`", entry["name"], entry["where"], f"{low} to {high}", places))
    yield from table(("", "failed", "worst at", "interval of 95 %", "checks that failed"), rows)


def resolution(name: str, *labels: str) -> Iterator[str]:
    """Show response and resolution of both files of a comparison at single energies, and the resolution's fits."""
    result = load(name)
    metrics = result["metrics"]
    both = list(zip(("reference", "candidate"), labels, strict=True))
    rows = []
    for kind, prefix, title in (("response", "", "response"), ("resolution", "", "sigma/E")):
        for side, label in both:
            values, errors = (metrics[kind][f"{prefix}{side}{end}"] for end in ("", "_err"))
            rows.append((f"{title}, {label}", *map(with_error, values, errors)))
    yield from table(("", *metrics["energy_points"]), rows)
    yield ""
    fits = metrics["resolution"]["fit"]
    rows = [
        (label, *(with_error(fits[side][term], fits[side][f"{term}_err"]) for term in "abc"))
        for side, label in both
    ]
    yield from table(("sigma/E = a/√E ⊕ b ⊕ c/E", "a [√GeV]", "b", "c [GeV]"), rows)
    yield from (
        "",
        f"{metrics['n_reference']} against {metrics['n_candidate']} showers. {place(result)}",
    )


def _number(result: Result, name: str) -> str:
    found = result["metrics"]
    return with_error(found[name], found.get(f"{name}_err")) if name in found else ""


SHOWN = (
    "auc.low",
    "auc.high",
    "adjusted_ratio.sampling_fraction",
    "spread_ratio.sampling_fraction",
    "adjusted_ratio.hits",
    "adjusted_ratio.width_across",
    "shape.z.mean_rel_error",
    "layer_correlation.mean_abs_error",
    "fpd",
    "legacy_3dgan_metric",
)


def bench(name: str, *words: str) -> Iterator[str]:
    """Show rows of a benchmark. Words with == or != choose rows; others name columns, KEY or KEY=title.

    In all of them _ stands for a space.
    """
    result = load(name)
    rows = [{key.replace(" ", "_"): value for key, value in row.items()} for row in result["rows"]]
    pairs = []
    for word in words:
        key, sign, wanted = re.split("(==|!=|=|$)", word, maxsplit=1)
        if len(sign) == 2:
            rows = [row for row in rows if (str(row[key]).replace(" ", "_") == wanted) == (sign == "==")]
        else:
            pairs.append((key, (wanted or key).replace("_", " ")))
    yield from table(
        [title for _, title in pairs], [[digits(row[key]) for key, _ in pairs] for row in rows]
    )
    yield from ("", f"`{result['command']}`: {place(result)}")


def speed() -> Iterator[str]:
    """Say how much faster than Geant4 and than the published network in Keras a shower of clic-ecal is."""
    rows = load("studies/speed/generate.json")["rows"]
    (geant4,) = (row for row in rows if row["way"] == "Geant4")
    (ours,) = (
        row
        for row in rows
        if [row[key] for key in ("way", "engine", "batch", "streams", "threads")]
        == ["copula", "torch", 128, 1, 1]
    )
    yield (
        f"One electron of 10 to 500 GeV (uniform) takes Geant4 {digits(geant4['ms/shower'] / 1e3)} s on one core, on average over "
        f"{geant4['showers']} showers; `clic-ecal` makes one in {digits(ours['ms/shower'])} ms on the same core, in batches of 128: "
        f"**{digits(ours['x_geant4'])} times as fast as Geant4** and {digits(ours['x_keras'])} times as fast as the published 3DGAN in Keras."
    )


def claims() -> Iterator[str]:
    """Show the verdict on each claim of the talk on evolution that has a result."""
    from studies.evolution.findings import FINDINGS
    from studies.evolution.table import LABELS

    paths = [f"studies/evolution/results/{name}.json" for name in FINDINGS]
    found = [load(path) for path in paths if (ROOT / path).exists()]
    rows = []
    for result in found:
        for claim in result["claims"]:
            arms = f"{claim['worse']} over {claim['better']}"
            ratio = f"{arms}: {with_error(claim['ratio'], claim['ratio_error'])}"
            by = LABELS.get(claim["by"], claim["by"])
            rows.append(
                (
                    f"`{result['finding']}`",
                    claim["claim"],
                    claim["verdict"],
                    f"{by}, {ratio}",
                    result["seeds"],
                )
            )
    yield from table(("finding", "claim", "verdict", "what decides", "seeds"), rows)
    yield from ("", f"Each result file holds its command and every run. {place(found[0])}")


def finding(name: str) -> Iterator[str]:
    """Show the table of one finding."""
    from studies.evolution.table import as_markdown

    result = load(f"studies/evolution/results/{name}.json")
    yield from (as_markdown(result), "", f"`{result['command']}`: {place(result)}")


def scaling(name: str) -> Iterator[str]:
    """Show a table of the study of scaling."""
    file = "result-latencies" if name == "latencies" else "result"
    result = load(f"studies/scaling/{file}.json")
    from studies.scaling.tables import TABLES

    yield from (*table(*TABLES[name][1](result)), "", place(result))


def search_methods() -> Iterator[str]:
    """Show how the methods of search compare."""
    result = load("studies/search_methods/result.json")
    from studies.search_methods.comparison import summary

    yield from (summary(result["rows"]), "", place(result))


def verdict_power() -> Iterator[str]:
    """Show what the verdict finds, and how often it fails Geant4 against itself."""
    result = load("studies/verdict_power/result.json")
    from studies.verdict_power.table import table

    yield from (
        table(result),
        "",
        f"`{result['command']}`: {result['showers']:,} showers a side. {place(result)}",
    )


def accuracy() -> Iterator[str]:
    """Show how many showers a quality needs at each global batch, and the fewest minutes and where."""
    result = load("studies/scaling/time_to_accuracy.json")
    names = ("model", "rule", "batch")
    rows = []
    for need in result["needed"]:
        same = [row for row in result["minutes"] if all(row[name] == need[name] for name in names)]
        best = min(same, key=lambda row: float(row["minutes"]), default={"minutes": "", "nodes": ""})
        showers = need["ended"] if need["showers"] is None else digits(round(need["showers"]))
        rows.append(
            (
                *(need[name] for name in names),
                need["seeds"],
                showers,
                digits(best["minutes"]),
                best["nodes"],
            )
        )
    head = ("model", "rate grows with workers", "global batch", "seeds", "showers needed, measured")
    yield from table((*head, "fewest minutes, predicted", "on nodes"), rows)
    tasks = ", ".join(
        f"`{model}` on the innermost {cells} cells to a score of {result['quality'][model]}"
        for model, cells in result["cores"].items()
    )
    talk = f"{result['talk']['minutes']} minutes hold {result['talk']['showers']:,} showers by the same prediction"
    yield from ("", f"{tasks}, from {result['showers']:,} showers; the talk's {talk}. {place(result)}")


def ablation(name: str, *columns: str) -> Iterator[str]:
    """Show the runs of an ablation, a row each; columns as in :func:`bench`."""
    result = load(f"studies/ablations/results/{name}.json")
    pairs = [column.partition("=")[::2] for column in columns]
    rows = [[_with_error(run, key) for key, _ in pairs] for run in result["runs"]]
    yield from table([(title or key).replace("_", " ") for key, title in pairs], rows)
    showers = result["showers"]
    counts = (
        f"{showers['training']:,} showers to train on, {showers['test']:,} to judge by, {result['core']}"
    )
    yield from ("", f"`python -m studies.ablations {name}`: {counts}; {place(result)}")


def _with_error(run: Row, key: str) -> str:
    value, error = run.get(key, ""), run.get(f"{key}_err")
    return with_error(value, error) if error else digits(value)


# How it is written


def load(name: str) -> dict[str, Any]:
    """Read a result: ``docs/results/NAME.json``, or a path below the repository."""
    path = ROOT / name if "/" in name else RESULTS / f"{name}.json"
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def place(result: Result) -> str:
    """Say where and when a result was measured."""
    machine = result["machine"]
    parts = [f"{machine['cpu']}, {machine['cores']} cores", f"torch {result['versions']['torch']}"]
    parts.append((result.get("date") or max(run["date"] for run in result["runs"]))[:10])
    if "seed" in result:
        parts.append(f"seed {result['seed']}")
    return f"{', '.join(parts)}."


def digits(value: object, n: int = 3) -> str:
    """Write a number with three digits, thousands apart; text as it is."""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    if not value or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:,.{max(0, n - 1 - math.floor(math.log10(abs(value))))}f}"


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    """Write a table as lines of Markdown."""
    lines = (head, ["---"] * len(head), *rows)
    return [f"| {' | '.join(_cell(str(cell)) for cell in line)} |" for line in lines]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


BLOCKS: Mapping[str, Callable[..., Iterable[str]]] = {
    function.__name__: function
    for function in (
        ablation, accuracy, bench, claims, commands, detector_keys, detectors, failed, finding, how, metrics, observables, published, quality,
        requirements, resolution, rooms, scaling, search_methods, settings, speed, verdict_power,
    )
}  # fmt: skip

if __name__ == "__main__":
    main()

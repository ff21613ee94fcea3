"""``python tests/robustness/damage.py --inputs 1000 --seed 1``: damaged files of every kind, read by the commands.

Each input is a whole file with some damage: flipped bits, pieces that are cut, moved, doubled or filled with zeros,
digits and words replaced by hostile ones, another kind's file in its place. A command reads it in a process of its
own. It must end with an exit code that the documentation has, without a traceback, a signal, a hang, or much
memory; where it ends with 0 and what it read has a checksum, its result must be that of the undamaged file. The seed and the
number of an input (``--only N``) make it again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

os.environ["OMP_NUM_THREADS"] = "1"
HANG_S = 60
GROWTH_BYTES = 2 << 30
CODES = {0, 1, 2, 130}

SETTINGS = ("batch_size=4", "check_showers=4", "checkpoint_every_steps=1", "epochs=5")
TRAIN = ["train", "--model", "copula", *(part for s in SETTINGS for part in ("--set", s))]
GENERATE = ["--events", "3", "--energy", "50", "--batch", "3", "--streams", "1", "-o", "out.h5"]
SIMULATE = [
    "simulate",
    "--detector",
    "tiny.yaml",
    "--events",
    "3",
    "--energy",
    "1",
    "--seed",
    "5",
    "-o",
    "made.h5",
]


@dataclass(frozen=True)
class Kind:
    """A kind of file, the command that reads it, and what its result is known by; "" where any result will do."""

    path: str
    command: Sequence[str]
    result: str = ""
    grows: bool = False
    """Whether its beginning is what it was at an earlier moment."""


KINDS = (
    Kind("showers.h5", ["inspect", "showers.h5", "--json"], "showers.h5"),
    Kind("showers.h5", ["generate", "run", "--like", "showers.h5", "--streams", "1", "-o", "out.h5"], "out.h5"),
    Kind("run/model.json", ["generate", "run", *GENERATE], "out.h5"),
    Kind("run/model.safetensors", ["generate", "run", *GENERATE], "out.h5"),
    Kind("run/config.yaml", ["train", "--out", "run", "--resume", "--set", "max_steps=2"], "run"),
    Kind("run/checkpoints/step-00000001.safetensors", ["train", "--out", "run", "--resume", "--set", "max_steps=2"], "run"),
    Kind("run/metrics.jsonl", ["train", "--out", "run", "--resume", "--set", "max_steps=2"], "run"),
    Kind("cache/**/deposits", [*TRAIN, "--set", "max_steps=1", "--data", "showers.h5", "--out", "new"], "new"),
    Kind("cache/**/cells", [*TRAIN, "--set", "max_steps=1", "--data", "showers.h5", "--out", "new"], "new"),
    Kind("cache/**/manifest.json", [*TRAIN, "--set", "max_steps=1", "--data", "showers.h5", "--out", "new"], "new"),
    Kind("cache/**/*.onnx", ["generate", "run", "--engine", "onnx", *GENERATE], "out.h5"),
    Kind("tiny.yaml", ["models", "--detector", "tiny.yaml", "--json"]),
    Kind("settings.yaml", ["train", "--config", "settings.yaml", "--data", "none.h5", "--out", "new"]),
    Kind("space.yaml", ["search", "tpe", "--space", "space.yaml", "--data", "none.h5", "--out", "new", "--trials", "1"]),
    Kind("requirements.yaml", ["validate", "showers.h5", "none.h5", "-o", "report", "--requirements", "requirements.yaml"]),
    Kind("study/journal.log", ["search", "tpe", "--out", "study", "--report", "--json"], "stdout", grows=True),
    Kind("study/study.json", ["search", "tpe", "--out", "study", "--report", "--json"], "stdout"),
    Kind(".made.h5.unfinished", SIMULATE, "made.h5"),
    Kind("clic.h5", ["convert", "clic.h5", "-o", "out.h5"]),
    Kind("lemurs.h5", ["convert", "lemurs.h5", "-o", "out.h5"]),
    Kind("photons.hdf5", ["convert", "photons.hdf5", "--binning", "binning.xml", "-o", "out.h5"]),
    Kind("binning.xml", ["convert", "photons.hdf5", "--binning", "binning.xml", "-o", "out.h5"]),
    Kind("showers.h5", ["validate", "showers.h5", "none.h5", "-o", "report"]),
)  # fmt: skip


# Damage: each takes bytes and draws, and returns other bytes.

HOSTILE = (
    b"NaN", b"-Infinity", b"1e400", b"9" * 5000, b"[" * 20_000, b"{\"a\":" * 5000, b"\xff\xfe\x00", b"\xed\xa0\x80", b"null",
    b"\x1b[2J", b"[/x]", b"-1", b"1e308", b"[16777216, 1, 1]", b"\"\"", b"true", b"&a [*a, *a]", b"!!python/object:os.system",
)  # fmt: skip


def flip(content: bytearray, draw: random.Random) -> bytearray:
    """Flip one bit, or some."""
    for _ in range(draw.choice((1, 1, 3, 50))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return content


def piece(content: bytearray, draw: random.Random) -> slice:
    """Choose a piece, mostly a short one."""
    first = draw.randrange(len(content))
    return slice(first, first + 1 + int(len(content) * draw.random() ** 6))


def cut(content: bytearray, draw: random.Random) -> bytearray:
    """Cut off the end, or cut out a piece."""
    if draw.random() < 0.5:
        return content[: draw.randrange(len(content))]
    del content[piece(content, draw)]
    return content


def fill(content: bytearray, draw: random.Random) -> bytearray:
    """Overwrite a piece with zeros, ones, chance or another piece."""
    where = piece(content, draw)
    size = len(content[where])
    other = draw.randrange(len(content))
    content[where] = draw.choice(
        (bytes(size), b"\xff" * size, draw.randbytes(size), bytes(content[other : other + size]))
    )
    return content


def digit(content: bytearray, draw: random.Random) -> bytearray:
    """Replace one digit of a text by another."""
    places = [i for i, byte in enumerate(content) if chr(byte).isdigit()]
    if not places:
        return flip(content, draw)
    content[draw.choice(places)] = ord(draw.choice("0123456789"))
    return content


def word(content: bytearray, draw: random.Random) -> bytearray:
    """Put a hostile word in the place of a value, or anywhere."""
    ends = [i for i, byte in enumerate(content) if byte in b":,[ \n"] or [0]
    at = draw.choice(ends) + 1
    stop = next((i for i in range(at, len(content)) if content[i] in b",]}\n"), at)
    content[at : stop if draw.random() < 0.7 else at] = b" " + draw.choice(HOSTILE)
    return content


def double(content: bytearray, draw: random.Random) -> bytearray:
    """Say a piece twice."""
    where = piece(content, draw)
    content[where.start : where.start] = content[where]
    return content


DAMAGE = (flip, flip, cut, fill, double)
DAMAGE_OF_TEXT = (*DAMAGE, digit, digit, word, word, word)
TEXT = (".yaml", ".json", ".jsonl", ".log", ".xml")


def prepare(folder: Path) -> None:
    """Make a whole file of every kind."""
    from shower_samples import (
        PHOTON_LAYERS,
        binning_xml,
        write_calochallenge,
        write_clic,
        write_core,
        write_lemurs,
    )

    write_core(folder / "showers.h5", 40)
    write_clic(folder / "clic.h5")
    write_lemurs(folder / "lemurs.h5")
    write_calochallenge(folder / "photons.hdf5", 368)
    (folder / "binning.xml").write_text(binning_xml((22, "photon", PHOTON_LAYERS)))
    (folder / "tiny.yaml").write_text(
        "name: tiny\ncells: [5, 5]\ncell_size_mm: [20, 20]\nlayers:\n- repeat: 4\n  slabs:\n"
        "  - {material: G4_PbWO4, thickness_mm: 10, sensitive: true}\nproduction_cut_mm: 5\n"
    )
    (folder / "settings.yaml").write_text(
        "model: copula\nbatch_size: 4\nlearning_rate: 0.001\nenergy: 10:500\n"
    )
    (folder / "space.yaml").write_text(
        "models:\n  copula:\n    learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}\n    batch_size: {choices: [4, 8]}\n"
    )
    (folder / "requirements.yaml").write_text(
        "requirements:\n- {metric: auc.low, title: AUC, at_most: 0.6}\n"
    )
    made = [
        [*TRAIN, "--set", "max_steps=1", "--data", "showers.h5", "--out", "run"],
        ["generate", "run", "--engine", "onnx", *GENERATE],
        [
            "search",
            "tpe",
            "--space",
            "space.yaml",
            "--data",
            "many.h5",
            "--out",
            "study",
            "--trials",
            "2",
            "--each",
            "0.1",
        ],
    ]
    write_core(folder / "many.h5", 170)
    for command in made:
        done = run(command, folder)
        if done.code != 0:
            raise SystemExit(f"{' '.join(command)}: {done.err}")
    (folder / "out.h5").unlink()
    pid = started(SIMULATE, folder)
    journal = folder / ".made.h5.unfinished"
    while not (journal.is_file() and len(journal.read_bytes().partition(b"\n")[2]) > 100):
        if os.waitpid(pid, os.WNOHANG)[0]:
            raise SystemExit("simulate ended before it was killed")
        time.sleep(0.001)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code (negative: a signal), outputs, the memory it grew by."""

    code: int
    out: str
    err: str
    grown: int


def started(command: Sequence[str], folder: Path, *, study: bool = False) -> int:
    """Start a command, or that of the study of evolution, in a child that has everything loaded already."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    os.chdir(folder)
    os.environ["CALOFORGE_CACHE"] = str(folder / "cache")
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / f".{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = ["caloforge", *command]
    try:
        if study:
            runpy.run_module("studies.evolution", run_name="__main__", alter_sys=False)
        else:
            from caloforge.cli.main import main

            main()
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)
    finally:
        import traceback

        traceback.print_exc()
        os._exit(99)


def run(
    command: Sequence[str], folder: Path, *, study: bool = False, patience_s: float = HANG_S
) -> Ended:
    """Run a command to its end, or kill it after a while."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pid, end = started(command, folder, study=study), time.monotonic() + patience_s
    while True:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            break
        if time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.005)
    out, err = ((folder / f".{name}").read_text(errors="replace") for name in ("stdout", "stderr"))
    grown = 1024 * (usage.ru_maxrss - before)
    return Ended(os.waitstatus_to_exitcode(status), out, err, grown)


def result_of(kind: Kind, folder: Path, ended: Ended | None) -> str:
    """Return a checksum of what a command's result holds."""
    import caloforge as cf
    from caloforge.files.tensors import load_tensors

    if kind.result.endswith(".h5"):
        showers = cf.read(folder / kind.result)
        parts = [
            showers.deposits,
            showers.incident_energy,
            showers.incident_theta,
            showers.incident_phi,
            showers.impact_xy,
            showers.pdg_id,
        ]
        content = b"".join(b"-" if part is None else part.tobytes() for part in parts)
        return hashlib.sha256(content + json.dumps(showers.grid.to_json()).encode()).hexdigest()
    if kind.result == "stdout":
        return hashlib.sha256(ended.out.encode() if ended else b"").hexdigest()
    tensors = load_tensors(folder / kind.result / "model.safetensors")[0]
    return hashlib.sha256(
        b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))
    ).hexdigest()


def complaint(kind: Kind, folder: Path, ended: Ended, expected: str) -> str:
    """Say what is wrong with how a command ended; "" if nothing is."""
    if ended.code not in CODES:
        return f"ended with {ended.code}"
    if "Traceback" in ended.err:
        return "a traceback"
    if ended.grown > GROWTH_BYTES:
        return f"grew by {ended.grown / 2**30:.1f} GiB"
    if max(len(ended.err), len(ended.out)) > 100_000:
        return f"{len(ended.err)} characters of text"
    if ended.code:
        last = (ended.err.splitlines() or [""])[-1]
        return (
            "" if last.startswith("caloforge") and len(last) < 2000 else f"no clear line: {last[:200]!r}"
        )
    if expected and result_of(kind, folder, ended) != expected:
        return "another result, in silence"
    return ""


def damaged(path: Path, clean: Path, draw: random.Random) -> None:
    """Damage a file."""
    if draw.random() < 0.03:  # a file of another kind
        others = [p for p in clean.rglob("*") if p.is_file() and p.stat().st_size]
        path.write_bytes(draw.choice(sorted(others)).read_bytes())
        return
    content = bytearray(path.read_bytes())
    ways: Sequence[Callable[[bytearray, random.Random], bytearray]] = (
        DAMAGE_OF_TEXT if path.suffix in TEXT else DAMAGE
    )
    path.write_bytes(draw.choice(ways)(content, draw))


def attempt(numbers: Sequence[int], seed: int, *, tell: bool) -> int:
    """Try some inputs, tell each that went wrong, and return how many did."""
    wrong, expected = 0, dict[int, str]()
    with tempfile.TemporaryDirectory(prefix="caloforge-damage-") as temporary:
        clean, work = Path(temporary) / "clean", Path(temporary) / "work"
        clean.mkdir()
        prepare(clean)
        for number in numbers:
            draw, place = random.Random(f"{seed} {number}"), number % len(KINDS)
            kind = KINDS[place]
            if place not in expected:
                shutil.copytree(clean, work)
                ended = run(kind.command, work)
                expected[place] = result_of(kind, work, ended) if kind.result else ""
                shutil.rmtree(work)
            shutil.copytree(clean, work)
            path = min(work.glob(kind.path))
            whole = path.read_bytes()
            damaged(path, clean, draw)
            found = path.read_bytes()
            earlier = kind.grows and whole.startswith(found)
            # Another whole file in this one's place is no damage that anything could find.
            earlier |= any(
                found == p.read_bytes() for p in clean.rglob(f"*{path.suffix}") if p.is_file()
            )
            ended = run(kind.command, work)
            problem = complaint(kind, work, ended, "" if earlier else expected[place])
            wrong += bool(problem)
            if problem or tell:
                command = " ".join(kind.command)
                say(f"input {number}: {kind.path}: {problem}: caloforge {command}")
            if tell:
                say(str(ended))
            shutil.rmtree(work)
    return wrong


def say(text: str) -> None:
    """Tell something at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the inputs on all cores, and return how many went wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--only", type=int, help="this input alone, with what it printed")
    options = parser.parse_args(arguments)
    say(f"seed {options.seed}, {options.inputs} inputs")
    # What the commands would load, so that their processes need not.
    import caloforge.geant4.simulate
    import caloforge.report.validate
    import caloforge.search.study
    import caloforge.training.trainer  # noqa: F401

    if options.only is not None:
        return attempt([options.only], options.seed, tell=True)
    started_s, workers, children = time.monotonic(), len(os.sched_getaffinity(0)), list[int]()
    for worker in range(workers):
        pid = os.fork()
        if not pid:
            os._exit(min(attempt(range(worker, options.inputs, workers), options.seed, tell=False), 100))
        children.append(pid)
    wrong = sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children)
    say(f"{wrong} of {options.inputs} went wrong; {time.monotonic() - started_s:.0f} s")
    return wrong


if __name__ == "__main__":
    sys.exit(min(main(), 1))

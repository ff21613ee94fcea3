"""``python tests/robustness/kills.py --kills 100 --seed 1``: commands that are killed at any moment, and run again.

After SIGKILL no process of the command may stay, what was there before must be whole, and the same command, run again,
must end with the result of one that nobody disturbed, and leave no other files than that. The seed and the number of
a kill (``--only N``) make it again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from robustness.damage import TRAIN, Kind, result_of, run, say, started

PATIENCE_S = 20
"""So long a command's own processes may take to end after it; usually none at all."""


def numbers(folder: Path) -> str:
    """Return what a report measured."""
    return (folder / "report" / "metrics.json").read_text()


def quoted(folder: Path) -> str:
    """Return what the runs of a finding came to, without their times."""
    result = json.loads((folder / "finding.json").read_text())
    return json.dumps([[r["arm"], r["seed"], r["numbers"]["rmse_GeV"]] for r in result["runs"]])


def is_json(folder: Path) -> str:
    """Say that a benchmark's result is whole: its times are never the same."""
    return str(json.loads((folder / "bench.json").read_text())["bench"])


def tried(folder: Path) -> str:
    """Return which choices a search tried."""
    found = json.loads((folder / "study" / "metrics.json").read_text())
    return json.dumps([trial["choice"] for trial in found["trials"]])


@dataclass(frozen=True)
class Work:
    """A command, how it is run again (the same where this is empty), and its result: a file, or a function."""

    command: Sequence[str]
    result: str | Callable[[Path], str]
    again: Sequence[str] = ()
    study: bool = False


WORK = (
    Work(["convert", "lemurs.h5", "-o", "out.h5"], "out.h5"),
    Work(["simulate", "--detector", "pbwo4", "--events", "24", "--energy", "1", "--workers", "2", "-o", "out.h5"], "out.h5"),
    Work(["generate", "clic-ecal", "--events", "600", "--energy", "10:500", "--streams", "2", "-o", "out.h5"], "out.h5"),
    Work(
        [*TRAIN, "--set", "max_steps=14", "--data", "showers.h5", "--out", "run"], "run", ["train", "--out", "run", "--resume"]
    ),
    Work(["validate", "showers.h5", "others.h5", "-o", "report", "--only", "numbers"], numbers),
    Work(["search", "random", "--data", "many.h5", "--out", "study", "--trials", "2", "--each", "0.1"], tried),
    Work(["bench", "loader", "--minutes", "0.01", "-o", "bench.json"], is_json),
    Work(["rmsprop", "--evaluations", "3000", "--seeds", "1", "-o", "finding.json"], quoted, study=True),
)  # fmt: skip


def prepare(folder: Path) -> None:
    """Make what the commands read."""
    from shower_samples import write_core, write_lemurs

    from caloforge.files.shower_file import read
    from caloforge.files.shower_writer import write

    write_lemurs(folder / "lemurs.h5", 400)
    write_core(folder / "many.h5", 170)
    showers = read(folder / "many.h5")
    write(folder / "showers.h5", showers[:60])
    write(folder / "others.h5", showers[60:110])


def known(work: Work, folder: Path) -> str:
    """Return a checksum of a command's result."""
    if callable(work.result):
        return hashlib.sha256(work.result(folder).encode()).hexdigest()
    return result_of(Kind("", work.command, work.result), folder, None)


def files(folder: Path) -> list[str]:
    """List what lies in a folder, caches and outputs of the shell aside."""
    found = (path.relative_to(folder) for path in folder.rglob("*"))
    return sorted(str(path) for path in found if path.parts[0] not in ("cache", ".stdout", ".stderr"))


def alive(session: int) -> list[str]:
    """List the processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        if int(rest.split()[3]) == session and rest.split()[0] != "Z":
            found.append(name)
    return found


def killed_and_run_again(
    work: Work, folder: Path, after_s: float, expected: str, left: Sequence[str]
) -> str:
    """Kill a command, run it again, and say what is wrong; "" if nothing is."""
    pid = started(work.command, folder, study=work.study)
    time.sleep(after_s)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    end = time.monotonic() + PATIENCE_S
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    if stayed := alive(pid):
        os.killpg(pid, signal.SIGKILL)
        return f"left processes: {stayed}"
    again = work.again if work.again and (folder / "run" / "config.yaml").is_file() else work.command
    ended = run(again, folder, study=work.study, patience_s=600)
    if ended.code:
        return f"run again, it ended with {ended.code}: {ended.err[-500:]}"
    if known(work, folder) != expected:
        return "another result"
    more = set(files(folder)) - set(left)
    return f"left files: {sorted(more)}" if more else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill commands in turn, and return how often something was wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--only", type=int, help="this kill alone")
    options = parser.parse_args(arguments)
    say(f"seed {options.seed}, {options.kills} kills")
    import caloforge.geant4.simulate
    import caloforge.report.validate
    import caloforge.search.study
    import caloforge.training.trainer  # noqa: F401

    wrong, started_s = 0, time.monotonic()
    undisturbed = dict[int, tuple[str, list[str], float]]()
    with tempfile.TemporaryDirectory(prefix="caloforge-kills-") as temporary:
        clean, folder = Path(temporary) / "clean", Path(temporary) / "work"
        clean.mkdir()
        prepare(clean)
        for number in range(options.kills):
            if options.only not in (None, number):
                continue
            place = number % len(WORK)
            work = WORK[place]
            if place not in undisturbed:
                shutil.copytree(clean, folder)
                begun_s = time.monotonic()
                ended = run(work.command, folder, study=work.study, patience_s=600)
                if ended.code:
                    raise SystemExit(f"{' '.join(work.command)}: {ended.err}")
                undisturbed[place] = known(work, folder), files(folder), time.monotonic() - begun_s
                shutil.rmtree(folder)
            expected, left, takes_s = undisturbed[place]
            after_s = takes_s * random.Random(f"{options.seed} {number}").random()
            shutil.copytree(clean, folder)
            problem = killed_and_run_again(work, folder, after_s, expected, left)
            if problem:
                wrong += 1
                say(f"kill {number}: after {after_s:.2f} s: {problem}: {' '.join(work.command)}")
            shutil.rmtree(folder)
    say(f"{wrong} of {options.kills} went wrong; {time.monotonic() - started_s:.0f} s")
    return wrong


if __name__ == "__main__":
    sys.exit(min(main(), 1))

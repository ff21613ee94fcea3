"""Pieces of work are done once each, also where those who work on them are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from commands import PATIENCE_S, wait_until

from caloforge.foundations.errors import CaloforgeError, UsageError
from studies.command import check_result_path
from studies.work_queue import WorkQueue

WORKER = """
import os, sys, time
from pathlib import Path
from studies.work_queue import WorkQueue

folder, hang = Path(sys.argv[1]), int(sys.argv[2])

def do(number):
    if number == hang:
        (folder / "hangs").touch()
        time.sleep(600)
    with (folder / "done.log").open("a") as log:
        log.write(f"{number} ")
    return {"square": number * number, "by": os.getpid()}

for _ in WorkQueue(folder, 40, {"what": "squares"}).work(do):
    pass
"""


def start(folder: Path, hang: int = -1) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(folder), str(hang)])


@pytest.mark.process
def test_what_a_killed_worker_held_is_taken_up_and_nothing_is_done_twice(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    doomed = start(folder, hang=3)
    wait_until((folder / "hangs").exists)
    others = [start(folder) for _ in range(2)]
    wait_until(lambda: len(list(folder.glob("0*.json"))) == 39)  # all but what the first one holds
    assert not (folder / "000003.json").exists()
    os.kill(doomed.pid, signal.SIGKILL)
    assert doomed.wait() == -signal.SIGKILL
    assert [other.wait(PATIENCE_S) for other in others] == [0, 0]
    assert sorted(map(int, (folder / "done.log").read_text().split())) == list(range(40))
    results = WorkQueue(folder, 40, {"what": "squares"}).results()
    assert [results[n]["square"] for n in range(40)] == [n * n for n in range(40)]
    assert doomed.pid not in {results[n]["by"] for n in range(3, 40)}
    assert list((folder / "claims").iterdir()) == []


def test_results_are_told_once_and_work_can_end_early(tmp_path: Path) -> None:
    queue = WorkQueue(tmp_path / "a", 3, {})
    assert list(islice(queue.work(lambda n: {"n": n}), 2)) == [0, 1]
    again = WorkQueue(tmp_path / "a", 3, {})
    assert list(again.work(lambda n: {"n": n})) == [0, 1, 2]
    assert again.results() == {n: {"n": n} for n in range(3)}


def test_work_that_fails_is_free_again(tmp_path: Path) -> None:
    queue = WorkQueue(tmp_path / "a", 1, {})

    def fail(number: int) -> dict[str, int]:
        raise CaloforgeError("broken")

    with pytest.raises(CaloforgeError, match="broken"):
        list(queue.work(fail))
    assert list(queue.work(lambda n: {"n": n})) == [0]


def test_other_work_in_the_folder_is_refused(tmp_path: Path) -> None:
    WorkQueue(tmp_path / "a", 3, {"seed": 1, "data": "x"})
    with pytest.raises(UsageError, match=r"a: holds unfinished work with other seed; finish it"):
        WorkQueue(tmp_path / "a", 3, {"seed": 2, "data": "x"})
    (tmp_path / "a" / "000001.json").write_text("{")
    with pytest.raises(
        CaloforgeError, match=r"000001\.json: expected JSON.* the file is damaged, delete it"
    ):
        WorkQueue(tmp_path / "a", 3, {"seed": 1, "data": "x"}).results()
    (tmp_path / "a" / "000001.json").write_text(json.dumps({"n": 1}))
    assert WorkQueue(tmp_path / "a", 3, {"seed": 1, "data": "x"}).results() == {1: {"n": 1}}


def test_a_folder_of_somebody_s_files_is_refused(tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.touch()
    with pytest.raises(UsageError, match="it holds other files"):
        WorkQueue(tmp_path, 1, {})
    assert list(tmp_path.iterdir()) == [letter]


def test_a_result_replaces_that_of_its_own_study_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    check_result_path(path, "evolution")
    for content in ("{", "[]", "3", '{"study": "scaling"}', '{"a": ' * 5000):
        path.write_text(content)
        with pytest.raises(UsageError, match=r"x\.json: exists and is no result of evolution"):
            check_result_path(path, "evolution")
    path.write_text('{"study": "evolution"}')
    check_result_path(path, "evolution")


def test_what_the_queue_wrote_goes_and_other_files_stay(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    queue = WorkQueue(folder, 2, {})
    assert list(queue.work(lambda n: {"n": n})) == [0, 1]
    queue.path(1, ".safetensors").touch()
    (folder / ".000001.json.0123456789ab.tmp").mkdir()  # of a worker that was killed
    letter = folder / "letter.txt"
    letter.touch()
    queue.finish(".safetensors")
    assert list(folder.iterdir()) == [letter]
    letter.unlink()
    WorkQueue(folder, 2, {}).finish()
    assert not folder.exists()

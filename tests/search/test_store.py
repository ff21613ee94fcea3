"""The journal of trials under everything that can happen to its writers: real processes, real kills."""

from __future__ import annotations

import json
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loaded import start_loaded

from caloforge.foundations.errors import CaloforgeError
from caloforge.search.space import load_space
from caloforge.search.store import Store
from caloforge.search.trials import Proposal

SPACE = load_space()
CHOICE = SPACE.usual("mixer")

WRITER = """
import sys
from pathlib import Path
from caloforge.search.space import load_space
from caloforge.search.store import Store
from caloforge.foundations.locks import open_locked
from caloforge.search.trials import Proposal

folder, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
space, store = load_space(), Store(folder / "journal.log", 1)
for number in range(count):
    with open_locked(folder / ".lock"):
        trial = store.begin(Proposal(space.usual("copula"), memo={"writer": name, "number": number}), space)
    store.note(trial, "plan", {"core_seconds": 1.0})
    store.finish(trial, "done", [float(number)])
"""

KILLED = """
import os, signal, sys
from pathlib import Path
from caloforge.search.space import load_space
from caloforge.search.store import Store
from caloforge.search.trials import Proposal

store, space = Store(Path(sys.argv[1]) / "journal.log", 1), load_space()
trial = store.begin(Proposal(space.usual("copula")), space)
store.note(trial, "plan", {"core_seconds": 2.0})
real_fsync = os.fsync

def half(descriptor):
    size = os.fstat(descriptor).st_size
    os.truncate(descriptor, size - int(sys.argv[2]))  # so much of the line has not reached the disk
    os.kill(os.getpid(), signal.SIGKILL)

os.fsync = half
store.finish(trial, "done", [1.0])
"""


def test_what_is_told_is_read_by_others(tmp_path: Path) -> None:
    ours, theirs = (Store(tmp_path / "journal.log", 2) for _ in range(2))
    first = ours.begin(Proposal(CHOICE, part=0.5), SPACE)
    ours.note(first, "stage 0", {"score": 0.25, "core_seconds": 3.0})
    second = theirs.begin(Proposal(CHOICE, parent=0, memo={"moves": [1, 2]}), SPACE)
    ours.finish(first, "done", [0.5, 2])
    theirs.finish(second, "stopped")
    for store in (ours, theirs):
        one, two = store.trials()
        assert (one.state, one.objectives, one.choice) == ("done", (0.5, 2.0), CHOICE)
        assert one.proposal.part == 0.5
        assert one.core_seconds == 3.0
        assert (two.state, two.objectives) == ("stopped", ())
        assert (two.proposal.parent, two.proposal.memo) == (0, {"moves": [1, 2]})


def test_nothing_is_told_twice(tmp_path: Path) -> None:
    store = Store(tmp_path / "journal.log", 1)
    trial = store.begin(Proposal(CHOICE), SPACE)
    store.finish(trial, "done", [1.0])
    with pytest.raises(ValueError, match="Cannot tell"):
        store.finish(trial, "failed")
    assert store.trials()[0].objectives == (1.0,)


@pytest.mark.process
def test_writers_side_by_side_lose_nothing(tmp_path: Path) -> None:
    writers = [start_loaded("-c", WRITER, tmp_path, name, 12) for name in ("a", "b")]
    for writer in writers:
        _, problem = writer.communicate()
        assert writer.returncode == 0, problem
    trials = Store(tmp_path / "journal.log", 1).trials()
    told = [(trial.proposal.memo["writer"], trial.proposal.memo["number"]) for trial in trials]
    assert sorted(told) == [(name, number) for name in ("a", "b") for number in range(12)]
    assert all(trial.objectives == (float(trial.proposal.memo["number"]),) for trial in trials)
    assert sum(trial.core_seconds for trial in trials) == 24


@pytest.mark.process
@pytest.mark.parametrize("missing", [1, 9])
def test_a_writer_that_is_killed_in_a_line_stops_nobody(tmp_path: Path, missing: int) -> None:
    """Also where it held the lock: the kernel frees it."""
    killed = start_loaded("-c", KILLED, tmp_path, missing)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    journal = tmp_path / "journal.log"
    assert not journal.read_bytes().endswith(b"\n")
    store = Store(journal, 1)
    (trial,) = store.trials()
    assert (trial.state, trial.core_seconds) == ("running", 2.0)
    store.finish(trial, "done", [3.0])
    assert [it.objectives for it in Store(journal, 1).trials()] == [(3.0,)]
    assert journal.read_bytes().endswith(b"\n")


@given(st.integers(1, 400))
@settings(max_examples=15)
def test_a_journal_cut_anywhere_in_its_last_lines_is_read_up_to_there(cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal.log"
        store = Store(journal, 1)
        for _ in range(3):
            store.finish(store.begin(Proposal(CHOICE), SPACE), "done", [1.0])
        whole = journal.read_bytes()
        journal.write_bytes(whole[:-cut])
        again = Store(journal, 1)
        states = [trial.state for trial in again.trials()]
        assert states in (["done"] * 2 + ["running"], ["done"] * 2)
        again.begin(Proposal(CHOICE), SPACE)
        assert len(Store(journal, 1).trials()) == len(states) + 1


@given(st.data())
@settings(max_examples=60)
def test_a_flipped_bit_changes_no_trial_in_silence(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal.log"
        store = Store(journal, 1)
        for number in range(2):
            trial = store.begin(Proposal(CHOICE, part=0.5), SPACE)
            store.note(trial, "plan", {"core_seconds": 2.5})
            store.finish(trial, "done", [1.25 + number])
        content = bytearray(journal.read_bytes())
        where = data.draw(st.integers(0, len(content) - 2))
        content[where] ^= 1 << data.draw(st.integers(0, 7))
        journal.write_bytes(content)
        try:
            found = Store(journal, 1).trials()
        except CaloforgeError as error:
            assert str(error).startswith(str(journal))  # noqa: PT017
        else:
            assert found == store.trials()


def test_a_flipped_digit_names_its_line(tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    ours, theirs = Store(journal, 1), Store(journal, 1)
    ours.finish(ours.begin(Proposal(CHOICE), SPACE), "done", [1.25])
    whole = journal.read_text()
    journal.write_text(whole.replace("1.25", "0.25"))
    lines = whole.count("\n")
    for read in (theirs.trials, lambda: Store(journal, 1)):
        with pytest.raises(CaloforgeError, match=rf"^{journal}, line {lines}: field sha256: changed"):
            read()


def test_a_journal_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    store = Store(journal, 1)
    store.finish(store.begin(Proposal(CHOICE), SPACE), "done", [1.25])
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert all(len(line.pop("sha256")) == 64 for line in lines)
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [trial.objectives for trial in Store(journal, 1).trials()] == [(1.25,)]


@pytest.mark.parametrize("content", [b"no journal\n", b'{"op_code": 99}\n', b"[]\n", b"\xff\xfe\n"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "journal.log").write_bytes(content + content)
    with pytest.raises(CaloforgeError, match="journal"):
        Store(tmp_path / "journal.log", 1)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_an_end_that_no_writer_left_is_refused(data: st.DataObject) -> None:
    """The beginning of a line is what a kill leaves; zeros, or another byte in the end of a line's place, are damage."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.log"
        trial = (store := Store(path, 1)).begin(Proposal(CHOICE), SPACE)
        store.note(trial, "plan", {"core_seconds": 1.0})
        whole = path.read_bytes()
        last = whole.rstrip(b"\n").rfind(b"\n") + 1
        cut = data.draw(st.integers(last, len(whole) - 1))
        path.write_bytes(whole[:cut])
        assert [trial.state for trial in Store(path, 1).trials()] == ["running"]
        other = data.draw(st.integers(0, 255).filter(lambda byte: byte != ord("\n")))
        for damaged in (whole[:-1] + bytes([other]), whole[:cut] + bytes(len(whole) - cut)):
            path.write_bytes(damaged)
            with pytest.raises(CaloforgeError, match="damaged"):
                Store(path, 1)

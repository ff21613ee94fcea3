"""How workers meet: on their own node alone where all are on one, without pickles, and never in a wait that is deaf."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from commands import wait_until
from loaded import start_loaded

from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.ranks import Ranks
from caloforge.training import meeting
from caloforge.training.data_parallel import join

FIRST = Ranks(0, 3, 0, 3, "job")


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "SILENT_S", 0.1)
    monkeypatch.setattr(meeting, "MEETING_S", 0.5)
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("brief")
def test_those_who_do_not_come_are_named_first_as_waited_for(tmp_path: Path) -> None:
    said = list[str]()
    with (
        pytest.raises(CaloforgeError, match=r"worker 1, 2 of 3 did not come within"),
        join(FIRST, tmp_path / "run", say=said.append),
    ):
        pass
    assert said == ["1 of 3 workers are here; waiting for worker 1, 2 of 3"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("brief")
def test_a_first_worker_that_does_not_come_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(CaloforgeError, match=r"rank 0 of 3 did not come within .*run\.job\.0\.meeting"),
        join(Ranks(1, 3, 1, 3, "job"), tmp_path / "run"),
    ):
        pass


@pytest.mark.parametrize("port", ["auto", "0", "99999", "-1", "", "29500 ", "9" * 5000, "²"])
def test_a_port_that_is_none_is_said_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, port: str
) -> None:
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", port)
    with (
        pytest.raises(
            UsageError, match=r"environment variable MASTER_PORT=.*: expected a port, 1 to 65535"
        ),
        join(FIRST, tmp_path / "run"),
    ):
        pass
    with pytest.raises(SystemExit) as end, join(Ranks(1, 3, 1, 3), tmp_path / "run"):
        pass
    assert end.value.code == 2


@pytest.fixture
def busy() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.create_server(("", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("one_node", [True, False])
def test_a_port_that_is_busy_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, busy: int, one_node: bool
) -> None:
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", str(busy))
    with (
        pytest.raises(
            CaloforgeError, match=f"environment variable MASTER_PORT={busy}: Address .*in use"
        ),
        join(Ranks(0, 3, 0, 3, one_node=one_node), tmp_path / "run"),
    ):
        pass


def test_a_loopback_that_is_down_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unreachable(*_: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    with (
        pytest.raises(
            CaloforgeError, match=r"127\.0\.0\.1, where the workers meet: Network is unreachable"
        ),
        join(FIRST, tmp_path / "run"),
    ):
        pass


def listened_at() -> set[str]:
    """Return the addresses, as the kernel writes them, at which this process listens."""
    own = {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
    found = set()
    for name in ("tcp", "tcp6"):
        table = Path("/proc/net", name)
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                found.add(fields[1].partition(":")[0])
    return found


@pytest.mark.parametrize("one_node", [True, False])
def test_other_nodes_reach_the_store_only_where_there_are_workers_on_them(
    tmp_path: Path, one_node: bool
) -> None:
    before = listened_at()
    assert before <= {"0100007F"}
    ranks = Ranks(0, 2, 0, 2 if one_node else 1, one_node=one_node)
    with ExitStack() as stack:
        stack.enter_context(meeting.met(ranks, tmp_path / "run", None))
        at = listened_at() - before
        assert at <= {"0100007F"} if one_node else at & {"0" * 8, "0" * 32}


WAITING = """
import os, pathlib, time, types
from caloforge.cli.main import main
from caloforge.training import meeting

def sleep(seconds):
    pathlib.Path(os.environ["WAITS"]).touch()
    time.sleep(seconds)

meeting.time = types.SimpleNamespace(sleep=sleep, monotonic=time.monotonic)
main()
"""


@pytest.mark.process
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_that_waits_for_others_hears_that_it_is_to_stop(
    tmp_path: Path, rank: int, number: signal.Signals
) -> None:
    waits = tmp_path / "waits"
    told = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": 2, "WAITS": waits}
    process = start_loaded("-c", WAITING, "train", "--data", "x.h5", "--out", tmp_path / "run", **told)
    wait_until(waits.exists)
    os.kill(process.pid, number)
    _, err = process.communicate()
    assert (process.returncode, err) == (130, "caloforge: interrupted\n")
    assert list(tmp_path.iterdir()) == [waits]

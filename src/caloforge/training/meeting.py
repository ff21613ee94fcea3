"""How the workers of a training meet: a store that the first one opens, found by its address or through a file.

Whoever waits does so in Python: what waits in C++ hears no signals.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import PrefixStore, Store

from caloforge.foundations.durable import write_text
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.progress import Say
from caloforge.foundations.ranks import Ranks
from caloforge.foundations.texts import shortened

__all__ = ["address", "gather", "met"]

MEETING_S = 300.0
"""All workers must have come within this time."""

SILENT_S = 5.0
"""So long nothing is said of those who have not come yet."""

CONNECT_S = 2.0
LOOK_EVERY_S = 0.05

LOOPBACK = "127.0.0.1"
"""Where workers of one node meet: nobody else hears them."""


@contextmanager
def met(ranks: Ranks, meeting: Path, given: tuple[str, int] | None) -> Iterator[Store]:
    """Return the store through which the workers find each other, for as long as they have not.

    It is at the ``given`` address, else at one that the first worker writes into a file beside ``meeting``.
    """
    name = f"caloforge-{ranks.attempt}"
    if given is not None:
        known, at = given, ":".join(map(str, given))
        served = ranks.leads and not _torchruns()
        yield PrefixStore(name, _serve(ranks, *known) if served else _find(lambda: known, at, ranks))
        return
    job = re.sub(r"[^\w.@-]", "-", f"{ranks.job}.{ranks.attempt}")
    file = meeting.with_name(f".{meeting.name}.{job}.meeting")
    if ranks.leads:
        host = LOOPBACK if ranks.one_node else socket.gethostname()
        server = _serve(ranks, host, 0)
        try:
            write_text(file, f"{host} {server.port}\n")
            yield PrefixStore(name, server)
        finally:
            file.unlink(missing_ok=True)
    else:
        yield PrefixStore(name, _find(lambda: _told(file), f"{file}, which all workers must see", ranks))


def address(ranks: Ranks) -> tuple[str, int] | None:
    """Return where the launcher has the workers meet. Raises UsageError for a port that is none."""
    if not {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        return None
    port = os.environ["MASTER_PORT"]
    if not (port.isdecimal() and 0 < int(port[:6]) < 1 << 16):
        raise UsageError(f"environment variable MASTER_PORT={port}: expected a port, 1 to 65535")
    here = ranks.one_node and not _torchruns()
    return LOOPBACK if here else os.environ["MASTER_ADDR"], int(port)


def _torchruns() -> bool:
    """Tell whether the store is torchrun's, which outlives the workers and listens where torchrun wants."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == str(True)


def _told(file: Path) -> tuple[str, int]:
    host, port = file.read_text(encoding="utf-8").split()
    return host, int(port)


def _serve(ranks: Ranks, host: str, port: int) -> TCPStore:
    """Open a store for all workers, which other nodes reach only where there are workers on them.

    Raises CaloforgeError where this is not possible.
    """
    what = f"environment variable MASTER_PORT={port}" if port else f"{host}, where the workers meet"
    both = host != LOOPBACK and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        with socket.create_server(
            (host if host == LOOPBACK else "", port), family=family, dualstack_ipv6=both
        ) as listener:
            port = listener.getsockname()[1]
            socket.create_connection((host, port), CONNECT_S).close()
            descriptor = listener.detach()
    except OSError as error:
        raise CaloforgeError(f"{what}: {error.strerror or error}") from None
    wait = timedelta(seconds=MEETING_S)
    return TCPStore(
        host, port, ranks.world, True, wait, wait_for_workers=False, master_listen_fd=descriptor
    )


def _find(look: Callable[[], tuple[str, int]], where: str, ranks: Ranks) -> Store:
    """Connect to the first worker's store, as soon as it is known and there."""
    end, problem = time.monotonic() + MEETING_S, ""
    while time.monotonic() < end:
        try:
            host, port = look()
            socket.create_connection((host, port), CONNECT_S).close()
            # What listens there may be no store, and never answer.
            soon = timedelta(seconds=10)
            store = TCPStore(host, port, ranks.world, False, soon, wait_for_workers=False)
            store.set_timeout(timedelta(seconds=MEETING_S))
            return store
        except (OSError, ValueError, RuntimeError) as error:  # not there yet, or of a killed job
            problem = getattr(error, "strerror", None) or str(error)
        time.sleep(LOOK_EVERY_S)
    raise CaloforgeError(
        f"rank 0 of {ranks.world} did not come within {MEETING_S:.0f} s ({where}): {shortened(problem, 200)}"
    )


def gather(ranks: Ranks, store: Store, say: Say) -> None:
    """Wait until all workers have come to the store; say after a while who is waited for.

    Raises CaloforgeError naming those who do not come, SystemExit where another worker ends.
    """
    store.set(f"here {ranks.rank}", "")
    store.add("came", 1)
    began, said = time.monotonic(), False
    while (came := store.add("came", 0)) < ranks.world:
        if store.check(["why"]):
            store.add("heard", 1)
            raise SystemExit(int(store.get("why").split()[1]))
        waited = time.monotonic() - began
        if ranks.leads and waited > (MEETING_S if said else SILENT_S):
            missing = [str(rank) for rank in range(ranks.world) if not store.check([f"here {rank}"])]
            names = f"{', '.join(missing[:8])}{', ...' if len(missing) > 8 else ''} of {ranks.world}"
            if said:
                raise CaloforgeError(f"worker {names} did not come within {MEETING_S:.0f} s")
            say(f"{came} of {ranks.world} workers are here; waiting for worker {names}")
            said = True
        time.sleep(LOOK_EVERY_S)

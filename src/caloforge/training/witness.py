"""Workers that end together: one says why, and it is known who was lost."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from torch.distributed.distributed_c10d import Store

from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.ranks import Ranks

__all__ = ["Witness"]

BEAT_S = 1.0
"""A worker shows so often that it lives, in whatever it is busy with."""

LAST_WORDS_S = 3.0
"""So long has a worker that others miss to show that it lives, or to say why it ends."""


class Witness:
    """What one worker tells the others, and learns of them, through a store that all of them see."""

    def __init__(self, ranks: Ranks, store: Store) -> None:
        self._ranks, self._store = ranks, store
        self._heard = ""  # why all end, in the words of `first_to_leave`

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Show for as long as the block lasts that this worker lives, and listen.

        Where the block fails the first worker, with which the store goes, waits until all have heard why.
        """
        ended = threading.Event()
        self._store.set(self._key(self._ranks.rank), "")
        # No daemon: Python ends those at its exit, and one that is inside the store's C++ then aborts all.
        thread = threading.Thread(target=self._beat, args=[ended], name="caloforge-alive")
        thread.start()
        try:
            yield
        except BaseException:
            if self._ranks.leads:
                self._wait_until_heard()
            raise
        finally:
            ended.set()
            thread.join(BEAT_S)

    def _beat(self, ended: threading.Event) -> None:
        with suppress(RuntimeError):  # the store went with the first worker
            for count in itertools.count():
                self._store.set(self._key(self._ranks.rank), str(count))
                if not self._heard and self._store.check(["why"]):
                    self._heard = self._store.get("why").decode()
                    self._store.add("heard", 1)
                if ended.wait(BEAT_S):
                    break
            if not self._heard:
                self._store.add("heard", 1)  # nor will it have to

    def _wait_until_heard(self) -> None:
        end = time.monotonic() + 3 * LAST_WORDS_S
        with suppress(RuntimeError):
            while self._store.check(["why"]) and self._store.add("heard", 0) < self._ranks.world:
                if time.monotonic() > end:
                    break
                time.sleep(0.05)

    def first_to_leave(self, code: int) -> int | None:
        """Leave with an exit code: None for the first who does and says why, else the first's code."""
        mine = f"{self._ranks.rank} {code}"
        said: str = self._heard or self._store.compare_set("why", "", mine).decode()
        return None if said == mine else int(said.split()[1])

    def leave(self, error: BaseException, code: int) -> NoReturn:
        """Raise an error of this worker, or SystemExit if another has said already why all end."""
        try:
            others = self.first_to_leave(code)
        except RuntimeError:  # the store went with the first worker
            others = None
        if others is not None:
            raise SystemExit(others) from None
        raise error

    def leave_lost(self) -> NoReturn:
        """End this worker, since another does not answer.

        The first to miss it looks who shows no life and says so (CaloforgeError), unless one of the others
        says why it ends. The rest is silent (SystemExit).
        """
        with suppress(ValueError):  # not in a main thread
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher hurries those who are left
        failed = CaloforgeError.exit_code
        try:
            if self._heard:
                raise SystemExit(self.first_to_leave(failed)) from None
            looks = self._store.add("missed", 1) == 1
            before = self._beats() if looks else []
            end = time.monotonic() + LAST_WORDS_S * (1 if looks else 3)
            while time.monotonic() < end and not self._store.check(["why"]):
                time.sleep(0.05)
            code = self.first_to_leave(failed)
            if code is not None or not looks:
                raise SystemExit(code or failed) from None
            beats = enumerate(zip(before, self._beats(), strict=True))
            gone = [rank for rank, (then, now) in beats if then == now and rank != self._ranks.rank]
            self._store.add("heard", len(gone))  # nobody need wait for them
        except RuntimeError:  # the store went with the first worker
            if self._ranks.local_rank > 1:  # one or two lines a node are enough
                raise SystemExit(failed) from None
            gone = [0]
        who = f"rank {', '.join(map(str, gone))} of {self._ranks.world}" if gone else "a connection"
        raise CaloforgeError(
            f"lost {who} (killed, or its node or the network failed): "
            "--resume continues from the last checkpoint"
        ) from None

    def _beats(self) -> list[bytes]:
        beats: list[bytes] = self._store.multi_get([self._key(r) for r in range(self._ranks.world)])
        return beats

    @staticmethod
    def _key(rank: int) -> str:
        return f"alive/{rank}"

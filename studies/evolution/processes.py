"""Processes that help this one, as long as it lives."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from typing import Any

import torch

from caloforge.foundations.errors import CaloforgeError

__all__ = ["helped_by"]


@contextmanager
def helped_by(count: int, work: Callable[..., None], *arguments: Any) -> Iterator[list[int]]:
    """Let processes call ``work(*arguments, go_on)`` meanwhile; give their ids.

    ``go_on()`` turns false when this process is gone. What they have begun at the end of the block is given up.
    """
    processes = [
        get_context("spawn").Process(target=_help, args=(os.getpid(), work, *arguments), daemon=True)
        for _ in range(count)
    ]
    # They are born with Ctrl-C blocked: this process ends them, without a word.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for process in processes:
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield [int(process.pid or 0) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.join()


def _help(parent: int, work: Callable[..., None], *arguments: Any) -> None:
    torch.set_num_threads(1)
    with suppress(CaloforgeError):  # which the other process meets too, and tells
        work(*arguments, lambda: os.getppid() == parent)

"""Signals that are handled otherwise while a block lasts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

__all__ = ["STOP_SIGNALS", "collected", "handled", "heard"]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and a batch system's end of time."""

Handler = Callable[[int, FrameType | None], object]


def heard() -> list[signal.Signals]:
    """List the signals to stop that this process was not told to ignore, as ``nohup`` and ``&`` do."""
    return [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def handled(numbers: Sequence[signal.Signals], handler: Handler) -> Iterator[None]:
    """Let ``handler`` take the signals; afterwards those before it do, unless the block chose others.

    Only the main thread may handle signals; in any other the block changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, earlier)


@contextmanager
def collected(numbers: Sequence[signal.Signals]) -> Iterator[list[signal.Signals]]:
    """Collect signals in a list instead of dying of them, for whoever looks into it."""
    received: list[signal.Signals] = []
    with handled(numbers, lambda number, _: received.append(signal.Signals(number))):
        yield received

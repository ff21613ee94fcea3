"""Signals that a block handles, and what is left of that after it."""

from __future__ import annotations

import signal
import threading

import pytest
from commands import Caloforge

from caloforge.foundations.signals import collected, handled

USR = [signal.SIGUSR1, signal.SIGUSR2]


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in USR]


def test_signals_are_collected_while_the_block_lasts() -> None:
    before = handlers()
    with collected(USR) as received:
        assert received == []
        signal.raise_signal(signal.SIGUSR2)
        signal.raise_signal(signal.SIGUSR1)
        assert received == [signal.SIGUSR2, signal.SIGUSR1]
    assert handlers() == before


def test_an_error_too_leaves_the_handlers_as_they_were() -> None:
    before = handlers()
    with pytest.raises(KeyboardInterrupt), handled(USR, signal.default_int_handler):
        signal.raise_signal(signal.SIGUSR1)
    assert handlers() == before


def test_a_handler_that_the_block_chose_stays() -> None:
    before = handlers()
    try:
        with handled(USR, lambda *_: None):
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        assert handlers() == [signal.SIG_IGN, before[1]]
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def test_another_thread_than_the_main_one_changes_nothing() -> None:
    before, seen = handlers(), list[object]()

    def look() -> None:
        with collected(USR):
            seen.extend(handlers())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == before


@pytest.mark.parametrize("arguments", [("--version",), ("models", "--json"), ("inspect", "nothing.h5")])
def test_after_a_command_sigterm_ends_this_process_as_before(
    caloforge: Caloforge, arguments: tuple[str, ...]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert before is not signal.default_int_handler
    caloforge(*arguments)
    assert signal.getsignal(signal.SIGTERM) is before

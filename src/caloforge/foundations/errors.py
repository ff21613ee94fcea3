"""Errors that a user can cause, each told in one line."""

from __future__ import annotations

__all__ = ["INTERRUPTED", "CaloforgeError", "CaloforgeWarning", "MissingExtraError", "UsageError"]

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM, as shells have it; batch templates requeue on it."""


class CaloforgeError(Exception):
    """Something failed; the message is one line that says what and what was expected."""

    exit_code = 1


class CaloforgeWarning(UserWarning):
    """Something is done, and may not be what was meant: a line as the command would say it."""


class UsageError(CaloforgeError):
    """The user asked for something that cannot be: a wrong option, value, path or setting."""

    exit_code = 2


class MissingExtraError(CaloforgeError):
    """An optional dependency is not installed.

    Parameters: ``feature`` needs it, ``extra`` is the name in ``pip install 'caloforge[extra]'``.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional package: pip install 'caloforge[{extra}]'")

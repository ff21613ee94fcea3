"""What options of every command have in common: ``--out`` for ``--output``, and options that take several values.

``--data a.h5 b.h5`` is the same as ``--data a.h5 --data b.h5``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

__all__ = ["Command", "MultiValueData", "MultiValueLabels"]


class Command(TyperCommand):
    """A command that takes ``--out`` for ``--output``, as some once had it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments as click wants them."""
        return super().parse_args(ctx, self._rewritten(args))

    def _rewritten(self, args: list[str]) -> list[str]:
        if not any("--output" in parameter.opts for parameter in self.params):
            return args
        return [re.sub(r"^--out(?==|$)", "--output", arg) for arg in args]


class MultiValueData(Command):
    """A command with ``--data FILE...``."""

    option = "--data"

    def _rewritten(self, args: list[str]) -> list[str]:
        """Repeat the option before each of its values, as click wants it."""
        args = super()._rewritten(args)
        if args.count(self.option) != 1:
            return args
        at = args.index(self.option)
        end = next((i for i, arg in enumerate(args) if i > at and arg.startswith("-")), len(args))
        values, before, after = list(args[at + 1 : end]), list(args[:at]), list(args[end:])
        n = self._how_many(len(values), [*before, *after])
        repeated = [text for value in values[:n] for text in (self.option, value)]
        return [*before, *(repeated or [self.option]), *values[n:], *after]

    def _how_many(self, n_values: int, _others: Sequence[str]) -> int:
        """Tell how many of the texts that follow the option are its own: here, all."""
        return n_values


class MultiValueLabels(MultiValueData):
    """A command with ``--labels A B ...``, one for each file, wherever the files stand."""

    option = "--labels"

    def _how_many(self, n_values: int, others: Sequence[str]) -> int:
        # Files may follow the labels at once: of all these texts, one half are labels.
        valued = {name for p in self.params for name in p.opts if not getattr(p, "is_flag", True)}
        files = sum(
            not arg.startswith("-") and previous not in valued
            for previous, arg in zip(["", *others], others, strict=False)
        )
        return min(n_values, (n_values + files) // 2)

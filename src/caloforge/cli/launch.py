"""``caloforge launch``: several processes of a command on this machine."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from caloforge.foundations.errors import UsageError
from caloforge.foundations.ranks import Ranks

EXAMPLES = (
    "caloforge launch --nproc 2 generate run --events 8 --energy 10:500 -o two.h5",
    "caloforge launch --nproc 2 simulate --detector pbwo4 --events 8 --energy 2:20 -o shared.h5",
)

SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
"""All that follows COMMAND is the command's own."""


def run(
    context: typer.Context,
    command: Annotated[
        str, typer.Argument(help="A command and its options, as for one process.", metavar="COMMAND...")
    ],
    nproc: Annotated[
        int | None,
        typer.Option(
            "--nproc",
            "--workers-per-node",
            min=1,
            help="Processes on this machine (default: one for each NUMA domain).",
        ),
    ] = None,
) -> None:
    """Start several processes of a command, each bound to its share of the cores, as one job.

    Under srun or mpirun with one task on each node, the processes of all nodes are one job.
    """
    from caloforge.foundations.cores import Topology
    from caloforge.foundations.processes import run_all

    _check(context, command)
    if nproc is None:
        nproc = len(Topology.read().domains)
    run_all(
        [sys.executable, "-m", "caloforge", command, *context.args],
        nproc,
        Ranks.from_environment(),
    )


def _check(context: typer.Context, name: str) -> None:
    """Refuse a wrong command line once, not once a process."""
    parent = context.parent
    assert parent is not None
    group: Any = parent.command
    command = group.get_command(parent, name)
    if command is None or name == "launch":
        raise UsageError(f"caloforge launch: expected a command of caloforge, got {name!r}")
    command.make_context(name, list(context.args), parent=parent)

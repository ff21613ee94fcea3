#!/usr/bin/env python3
# /// script
# dependencies = ["nox>=2025.2.9"]
# ///
"""Checks in environments of their own: `nox` runs lint, tests and docs; `nox -s minimums` the oldest releases."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"  # with pip, whose settings say where wheels lie

PYPROJECT = nox.project.load_toml("pyproject.toml")
TORCH = os.environ.get("TORCH", "torch==2.13.0")
"""How to install torch: pip's arguments, for instance with the index of the CPU wheels."""


def install(session: nox.Session, group: str, *options: str) -> None:
    """Install torch by itself, then the package with every extra and a dependency group."""
    session.install(*shlex.split(TORCH))
    session.install("-e.[all]", *nox.project.dependency_groups(PYPROJECT, group), *options)


def lower_bounds() -> list[str]:
    """Turn each `name>=bound` of the package and its extras into `name==bound`; torch is TORCH's."""
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"].values()
    requirements = [*project["dependencies"], *(text for extra in extras for text in extra)]
    found = (re.fullmatch(r"([\w.-]+)>=([\w.]+)", text) for text in requirements)
    return [f"{bound[1]}=={bound[2]}" for bound in found if bound and bound[1] != "torch"]


@nox.session
def lint(session: nox.Session) -> None:
    """Run every pre-commit hook on every file, and the review of the repository."""
    install(session, "dev")
    session.run("pre-commit", "run", "--all-files", "--show-diff-on-failure", *session.posargs)
    session.run("sp-repo-review", ".")


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Run all tests, slow ones too, with the newest releases of the dependencies; arguments go to pytest."""
    install(session, "test")
    session.run("pytest", "-n", "2", "--cov", "-m", "", *session.posargs)


@nox.session(python="3.11", default=False)
def minimums(session: nox.Session) -> None:
    """Run the tests with the oldest releases that pyproject.toml admits; arguments go to pytest."""
    constraints = Path(session.create_tmp()) / "minimums.txt"
    constraints.write_text("\n".join(lower_bounds()), encoding="utf-8")
    install(session, "test", "-c", str(constraints))
    # Old releases call what newer ones beside them have deprecated; that is not ours to mend.
    session.run("pytest", "-n", "2", "-W", "default::DeprecationWarning", *session.posargs)


@nox.session(python="3.11", default=False)
def robustness(session: nox.Session) -> None:
    """Read a thousand damaged files and kill a hundred commands; the seeds are printed."""
    install(session, "test")
    session.run("python", "tests/robustness/damage.py", "--inputs", "1000", *session.posargs)
    session.run("python", "tests/robustness/kills.py", "--kills", "100", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error. `nox -s docs -- serve` shows it while you write."""
    install(session, "docs")
    session.run("mkdocs", *(session.posargs or ["build", "--strict"]))


if __name__ == "__main__":
    nox.main()

"""Text that anybody may have written: JSON read within limits, files that are text, and what a terminal may show."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from caloforge.foundations.errors import CaloforgeError, UsageError

__all__ = [
    "MAX_BYTES",
    "fill",
    "parse_json",
    "printable",
    "read_json",
    "read_text",
    "require_file",
    "shortened",
]

MAX_BYTES = 1 << 24
"""More text than that is no description of anything; parsed, it takes ten times as much memory."""

MAX_DEPTH = 64
MAX_DIGITS = 20
"""Of a whole number: those of 64 bits, signed or not."""

T = TypeVar("T")


def require_file(path: Path, kind: str) -> None:
    """Raise UsageError unless ``path`` is a regular file that may be read; ``kind`` was expected."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path}: expected {kind}, this is a folder")
    if not stat.S_ISREG(mode):  # a pipe or a device would never end
        raise UsageError(f"{path}: expected {kind}, this is not a regular file")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{path}: no permission to read it")


def read_text(path: Path, kind: str, limit: int = MAX_BYTES) -> str:
    """Read a file of UTF-8, at most ``limit`` bytes. Raises UsageError; ``kind`` was expected."""
    require_file(path, kind)
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise UsageError(f"{path}: expected {kind} of at most {limit >> 20} MiB")
        return content.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path}: expected {kind} in UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises UsageError where there is no file, CaloforgeError if it holds anything else."""
    require_file(path, "JSON")
    try:
        data = parse_json(read_text(path, "JSON"))
    except (UsageError, ValueError) as error:
        text = str(error).removeprefix(f"{path}: ")
        raise CaloforgeError(f"{path}: expected JSON: {text}") from None
    if not isinstance(data, dict):
        raise CaloforgeError(f"{path}: expected a JSON object")
    return data


def parse_json(text: str | bytes, *, finite: bool = True) -> Any:
    """Read JSON: no key twice, no number beyond a float or 64 bits, at most MAX_DEPTH levels.

    Without ``finite`` it may hold NaN and infinity, which Python writes. Raises ValueError in a few words.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES >> 20} MiB")
    real = _finite if finite else float
    try:
        data = json.loads(
            text, object_pairs_hook=_object, parse_int=_whole, parse_float=real, parse_constant=real
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        if not (level := list(chain.from_iterable(map(_parts, level)))):
            return data
    raise ValueError("nested too deeply")


def _parts(value: Any) -> Iterator[Any]:
    return iter(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"{shortened(twice, 60)} is given twice")
    return found


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > MAX_DIGITS:
        raise ValueError(f"a whole number of more than {MAX_DIGITS} digits")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"expected finite numbers, found {shortened(text, 20)}")
    return number


def fill(kind: type[T], data: object, source: str) -> T:
    """Fill a dataclass from what JSON held, each field with its type. Raises CaloforgeError naming the field."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "all"
        raise CaloforgeError(
            f"{source}: field {shortened(field, 60)}: {shortened(first['msg'], 200)}"
        ) from None


def shortened(text: str, limit: int) -> str:
    """Leave out the middle of a text that is longer than ``limit``."""
    half = (limit - 3) // 2
    return text if len(text) <= limit else f"{text[:half]}...{text[-half:]}"


def printable(text: str) -> str:
    r"""Write what would steer a terminal, or is no character at all, as ``\x1b`` or ``\udcff``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

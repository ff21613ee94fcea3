"""YAML that a person wrote, within limits; checked against a pydantic model, errors with file, line and field."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

import yaml
from pydantic import BaseModel, ValidationError

from caloforge.foundations.errors import UsageError
from caloforge.foundations.texts import MAX_DEPTH, shortened

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "MAX_YAML_BYTES",
    "did_you_mean",
    "dump_yaml",
    "first_error",
    "in_words",
    "load_yaml",
    "parse_yaml",
]

MAX_YAML_BYTES = 1 << 18
"""What a person writes is far shorter, and its parser slow."""

MAX_VALUES = 20_000
"""An alias counts as all that it stands for: a few lines of aliases of aliases can be more than any memory."""

M = TypeVar("M", bound=BaseModel)

WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})")
NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[-+]?[0-9]+)?", re.IGNORECASE)
WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def load_yaml(text: str, source: str) -> Any:
    """Return what YAML text holds: mappings, lists, true and false, null, finite numbers, and texts.

    ``1e-3`` is a number, and ``10:50``, in YAML 1.1 one to base 60, is a text. Raises UsageError naming the
    source and the line.
    """
    root = _compose(text, source)
    if root is None:
        return None
    return _data(root, lambda node: _meaning(node.value) if node.style is None else node.value)


def dump_yaml(data: Any) -> str:
    """Write what :func:`load_yaml` reads back as it is."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False)


class _Dumper(yaml.SafeDumper):
    """Quotes each text that means something else without quotes."""


def _text_node(dumper: _Dumper, text: str) -> yaml.Node:
    style = None if _meaning(text) == text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text_node)


def parse_yaml(model: type[M], text: str, source: str) -> M:
    """Fill a pydantic model from YAML text; ``source`` is how errors name it.

    Raises UsageError naming the source, the line, the field and what was expected there.
    """
    root = _compose(text, source)
    if not isinstance(root, yaml.MappingNode):
        fields = ", ".join(model.model_fields)
        raise UsageError(f"{source}, line 1: expected a mapping with {fields}")
    try:
        # Every scalar stays text and the model converts it.
        return model.model_validate(_data(root, lambda node: node.value))
    except ValidationError as error:
        first = first_error(error)
        field = shortened(".".join(str(part) for part in first["loc"]), 100)
        line = _line_of(root, first["loc"])
        where = f", field {field}" if field else ""
        words = shortened(in_words(first, model), 400)
        raise UsageError(f"{source}, line {line}{where}: {words}") from None


def _compose(text: str, source: str) -> yaml.Node | None:
    """Parse YAML to its nodes and check them. Raises UsageError."""
    if len(text) > MAX_YAML_BYTES:
        raise UsageError(f"{source}: expected at most {MAX_YAML_BYTES >> 10} KiB of YAML")
    try:
        root = yaml.BaseLoader(text).get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UsageError(f"{source}, line {line}: {error.reason}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        problem = getattr(error, "problem", None) or "not YAML"
        raise UsageError(f"{source}, line {line}: {shortened(problem, 100)}") from None
    except RecursionError:
        raise UsageError(f"{source}: nested too deeply") from None
    level, count = [] if root is None else [root], 0
    for _ in range(MAX_DEPTH):
        for node in level:
            _check_keys(node, source)
        level = list(islice(chain.from_iterable(map(_children, level)), MAX_VALUES))
        count += len(level)
        if count >= MAX_VALUES:
            raise UsageError(
                f"{source}: expected fewer than {MAX_VALUES} values; aliases count as what they stand for"
            )
        if not level:
            return root
    raise UsageError(f"{source}: nested too deeply")


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return (value for _, value in node.value)
    return iter(node.value if isinstance(node, yaml.SequenceNode) else ())


def _check_keys(node: yaml.Node, source: str) -> None:
    """Raise UsageError where a key is no text, or given twice: YAML would silently take the last."""
    keys = set()
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        where = f"{source}, line {key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode):
            raise UsageError(f"{where}: expected a text before the colon")
        if key.value in keys:
            raise UsageError(f"{where}: {shortened(key.value, 60)} is given twice")
        keys.add(key.value)


def _data(node: yaml.Node, scalar: Callable[[yaml.ScalarNode], Any]) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {key.value: _data(value, scalar) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_data(item, scalar) for item in node.value]
    return scalar(cast("yaml.ScalarNode", node))


def _meaning(text: str) -> Any:
    """Return what a text without quotes means."""
    if text in WORDS:
        return WORDS[text]
    if WHOLE.fullmatch(text):
        return int(text)
    if NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def first_error(error: ValidationError) -> ErrorDetails:
    """Return the error to tell: an unknown name before all else, for what is missing may be the same, misspelt."""
    errors = error.errors(include_url=False)
    return next((it for it in errors if it["type"] == "extra_forbidden"), errors[0])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Ask whether the name most like this one was meant, and list all."""
    known = list(known)
    near = difflib.get_close_matches(name, known, 1)
    asked = f"did you mean {near[0]}? " if near else ""
    return f"{asked}expected one of {', '.join(known)}" if known else "expected no fields"


def in_words(error: ErrorDetails, model: type[BaseModel]) -> str:
    """Say what is wrong and what was expected, in the words of a file and not of Python."""
    *parents, name = error["loc"] or ("",)
    if error["type"] == "extra_forbidden":
        return f"no such field; {did_you_mean(str(name), _names(model, parents))}"
    if error["type"] == "missing":
        return "is missing"
    if error["type"] in ("tuple_type", "list_type"):
        got = error["input"] if not isinstance(error["input"], str) else error["input"][:40]
        return (
            f"expected a list such as [{got}, {got}], got {got}"
            if isinstance(got, str)
            else "expected a list"
        )
    return error["msg"].removeprefix("Value error, ")


def _names(kind: Any, location: Sequence[int | str]) -> list[str]:
    """List the fields of what lies at ``location`` below a model."""
    for part in location:
        if isinstance(part, int):
            kind = next(iter(get_args(kind)), None)
        else:
            field = getattr(kind, "model_fields", {}).get(part)
            kind = field and field.annotation
        if isinstance(kind, UnionType):  # what may be missing: X | None
            kind = get_args(kind)[0]
    return [field.alias or name for name, field in getattr(kind, "model_fields", {}).items()]


def _line_of(node: Any, location: tuple[int | str, ...]) -> int:
    """Find the line (from 1) of the deepest node that ``location`` leads to."""
    line = cast("int", node.start_mark.line) + 1
    for part in location:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part] if part < len(node.value) else None
            line = line if node is None else node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == part]
            if found:
                line = found[0][0].start_mark.line + 1
            node = found[0][1] if found else None
        else:
            node = None
        if node is None:
            break
        if not isinstance(node, yaml.MappingNode | yaml.SequenceNode):
            line = node.start_mark.line + 1
    return line

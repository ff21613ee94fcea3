"""YAML that a person wrote, checked against a pydantic model, errors with file, line and field."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

import yaml
from pydantic import BaseModel, ValidationError

from caloforge.foundations.errors import UsageError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["PlainLoader", "did_you_mean", "first_error", "parse_yaml"]

M = TypeVar("M", bound=BaseModel)

NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class PlainLoader(yaml.SafeLoader):
    """YAML with the numbers that a physicist writes: 1e-3 is one; 10:50, in YAML 1.1 one to base 60, is a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in NUMBERS]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


PlainLoader.add_implicit_resolver(
    NUMBERS[0], re.compile(r"[-+]?(0|[1-9][0-9]{0,30})$"), list("-+0123456789")
)
PlainLoader.add_implicit_resolver(
    NUMBERS[1],
    re.compile(r"([-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[-+]?[0-9]+)?|[-+]?\.inf|\.nan)$", re.IGNORECASE),
    list("-+.0123456789"),
)


def parse_yaml(model: type[M], text: str, source: str) -> M:
    """Fill a pydantic model from YAML text; ``source`` is how errors name it.

    Raises UsageError naming the source, the line, the field and what was expected there.
    """
    # Every scalar stays text and the model converts it: YAML would take 1e-3 for a text, an odd name
    # for a date, and a number of a thousand digits for an error without a line.
    try:
        loader = yaml.BaseLoader(text)
        root = loader.get_single_node()
        data = None if root is None else loader.construct_document(root)
        _refuse_duplicates(root, source, set())
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UsageError(f"{source}, line {line}: {error.reason}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        problem = getattr(error, "problem", None) or "not YAML"
        raise UsageError(f"{source}, line {line}: {problem}") from None
    except RecursionError:
        raise UsageError(f"{source}: nested too deeply") from None
    if not isinstance(data, dict):
        fields = ", ".join(model.model_fields)
        raise UsageError(f"{source}, line 1: expected a mapping with {fields}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = first_error(error)
        field = ".".join(str(part) for part in first["loc"])
        line = _line_of(root, first["loc"])
        where = f", field {field}" if field else ""
        raise UsageError(f"{source}, line {line}{where}: {_in_words(first, model)}") from None


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


def _in_words(error: ErrorDetails, model: type[BaseModel]) -> str:
    """Say what is wrong and what was expected, in the words of the file and not of Python."""
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
    return [field.alias or name for name, field in getattr(kind, "model_fields", {}).items()]


def _refuse_duplicates(node: Any, source: str, seen: set[int]) -> None:
    """Raise UsageError where a mapping has a key twice; YAML would silently take the last."""
    if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
        return
    seen.add(id(node))
    children = node.value
    if isinstance(node, yaml.MappingNode):
        keys = set()
        for key, _ in node.value:
            if key.value in keys:
                raise UsageError(f"{source}, line {key.start_mark.line + 1}: {key.value} is given twice")
            keys.add(key.value)
        children = [value for _, value in node.value]
    for child in children:
        _refuse_duplicates(child, source, seen)


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

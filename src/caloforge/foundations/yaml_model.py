"""YAML that a person wrote, checked against a pydantic model, errors with file, line and field."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError

from caloforge.foundations.errors import UsageError

__all__ = ["parse_yaml"]

M = TypeVar("M", bound=BaseModel)


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
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        line = _line_of(root, first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        where = f", field {field}" if field else ""
        raise UsageError(f"{source}, line {line}{where}: {message}") from None


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

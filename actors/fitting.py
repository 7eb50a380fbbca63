"""Fits what a file says to a model, and says in plain words, line by line, where it does not.

1. Values arrive as JSON does, so that a strict model accepts a list where it holds a tuple.
2. A word that is not in a closed list, or a field that does not exist, is answered with the nearest
   one that does.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.reading import Path, Read

__all__ = ["Misfit", "fit", "nearest"]

M = TypeVar("M", bound=BaseModel)

QUOTED: Final = re.compile(r"'([^']*)'")
CODES: Final = {
    "missing": "missing",
    "extra_forbidden": "unknown-field",
    "union_tag_invalid": "unknown-word",
    "union_tag_not_found": "missing",
    "literal_error": "unknown-word",
    "string_pattern_mismatch": "pattern",
}
"""Pydantic's error types to the stable half of our codes; every other type is `value`."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """One place where a file does not say what its model needs."""

    code: str
    message: str
    path: Path
    line: int


def nearest(word: str, legal: Iterable[str]) -> str:
    """Say which legal word is nearest, or which there are."""
    words = sorted(set(legal))
    close = get_close_matches(word[:100], words, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    if not words:
        return "none exists here"
    shown = ", ".join(words[:12])
    return f"legal here: {shown}" + (f" and {len(words) - 12} more" if len(words) > 12 else "")


def fit(model: type[M], read: Read) -> M | tuple[Misfit, ...]:
    """Return the model's value, or every place that does not fit."""
    try:
        return model.model_validate_json(json.dumps(read.value))
    except ValidationError as error:
        return _misfits(error.errors(include_url=False), model.model_json_schema(), read)


def _misfits(errors: Iterable[Any], schema: dict[str, Any], read: Read) -> tuple[Misfit, ...]:
    """Say one thing about each place, also where none of several forms fits."""
    places: dict[Path, list[Any]] = {}
    for error in errors:
        places.setdefault(_path(error, read.value), []).append(error)
    found = []
    for path, here in places.items():
        code = CODES.get(here[0]["type"], "value") if len(here) == 1 else "value"
        message = (
            _words(here[0], path, schema, read.value)
            if len(here) == 1
            else f"is {_brief(here[0]['input'])}, which is none of the forms allowed here"
        )
        found.append(Misfit(code, f"{_shown(path)} {message}", path, read.line_of(path)))
    # A misspelt field also leaves one missing: the misspelling tells more.
    return tuple(sorted(found, key=lambda m: (m.code != "unknown-field", m.line)))


def _path(error: Any, value: Any) -> Path:
    """Drop from pydantic's location what is not in the file: the tags of unions, `[key]`."""
    path: list[str | int] = []
    names_a_field = error["type"] in ("missing", "extra_forbidden")
    for place, part in enumerate(error["loc"]):
        if _holds(value, part):
            value = value[part]
        elif not (names_a_field and place == len(error["loc"]) - 1 and isinstance(value, dict)):
            continue
        path.append(part)
    return tuple(path)


def _holds(value: Any, part: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, dict) and part in value


def _words(error: Any, path: Path, schema: dict[str, Any], value: Any) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return f"is not a field; {nearest(str(path[-1]), _fields(schema, path[:-1], value))}"
        case "literal_error":
            legal = QUOTED.findall(context["expected"]) or [context["expected"]]
            return f"is {_brief(error['input'])}; {nearest(str(error['input']), legal)}"
        case "union_tag_invalid":
            legal = QUOTED.findall(context["expected_tags"])
            which, tag = context["discriminator"].strip("'"), context["tag"]
            return f"has the {which} {_brief(tag)}; {nearest(tag, legal)}"
        case "union_tag_not_found":
            return f"does not say its {context['discriminator'].strip(chr(39))}"
        case "string_pattern_mismatch":
            return f"is {_brief(error['input'])}; it must match {context['pattern']}"
        case "value_error" if isinstance(error["input"], dict):
            return str(error["msg"]).removeprefix("Value error, ")  # it says what the section has
        case _:
            text = str(error["msg"]).removeprefix("Value error, ")
            return f"is {_brief(error['input'])}: {text[:1].lower()}{text[1:]}"


def _fields(schema: dict[str, Any], path: Path, value: Any) -> list[str]:
    """List the legal fields at a place, by walking the model's JSON schema beside the file."""
    nodes = [schema]
    for part in path:
        nodes = [inner for node in nodes for inner in _below(_opened(node, value, schema), part)]
        value = value[part]
    legal = [node for node in nodes for node in _opened(node, value, schema)]
    return [name for node in legal for name in node.get("properties", {})]


def _opened(node: dict[str, Any], value: Any, schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Follow references and unions down to the schemas that may describe this value."""
    if "$ref" in node:
        target = schema["$defs"][node["$ref"].rpartition("/")[2]]
        return _opened(target, value, schema)
    if "discriminator" in node and isinstance(value, dict):
        tag = value.get(node["discriminator"]["propertyName"])
        ref = node["discriminator"]["mapping"].get(tag) if isinstance(tag, str) else None
        if ref:
            return _opened({"$ref": ref}, value, schema)
    choices = node.get("oneOf", node.get("anyOf"))
    if choices is None:
        return [node]
    return [inner for choice in choices for inner in _opened(choice, value, schema)]


def _below(nodes: list[dict[str, Any]], part: str | int) -> list[dict[str, Any]]:
    found: list[Any] = []
    for node in nodes:
        if isinstance(part, int):
            found.append(node.get("items"))
        else:
            wide = node.get("additionalProperties")
            patterns = list(node.get("patternProperties", {}).values())
            found += [node.get("properties", {}).get(part), wide, *patterns]
    return [inner for inner in found if isinstance(inner, dict)]


def _shown(path: Path) -> str:
    text = ".".join(str(part + 1) if isinstance(part, int) else part for part in path)
    return text[:160] or "the file"


def _brief(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."

"""Reads an actor's `ansible.yaml`: which result is which failure mode, how outputs become one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from actors.fitting import fit
from actors.kinds import ActorsError
from actors.reading import read_yaml
from actors.spec import Model, Name, Scalar
from actors.strict import UnreadableError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SHEET", "Fold", "Match", "Matcher", "Sheet", "matched", "read_sheet"]

SHEET: Final = "ansible.yaml"
MAX_SHEET_BYTES: Final = 200_000
SEARCHED: Final = 20_000
"""How much of a message a pattern is searched in."""

Fold = Literal["same", "any", "all", "sum", "min", "max", "count", "list"]
Words = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class Match(Model):
    """What has to hold of a result that failed; all that is said."""

    task: Words | None = None
    module: Words | None = None
    fields: dict[str, Scalar] = Field(default_factory=dict)
    says: Words | None = None


class Matcher(Model):
    """One line of `failures`."""

    mode: Name
    when: Match


class Sheet(Model):
    """An actor's `ansible.yaml`."""

    format: Literal[1] = 1
    failures: Annotated[tuple[Matcher, ...], Field(max_length=100)] = ()
    outputs: dict[Name, Fold] = Field(default_factory=dict)


def read_sheet(folder: Path) -> Sheet:
    """Read the sheet beside the manifest; without one, nothing is said."""
    path = folder / SHEET
    try:
        read = read_yaml(path.read_bytes(), max_bytes=MAX_SHEET_BYTES)
    except FileNotFoundError:
        return Sheet()
    except UnreadableError as error:
        raise ActorsError(
            f"{path}:{error.line or 1}: {error.reason}", next_step="mend it"
        ) from None
    sheet = fit(Sheet, read)
    if isinstance(sheet, tuple):
        first = sheet[0]
        raise ActorsError(f"{path}:{first.line}: {first.message}", next_step="mend it")
    return sheet


def matched(sheet: Sheet, failure: dict[str, Any]) -> str | None:
    """Name the mode of a failed result, if the sheet knows it."""
    return next((m.mode for m in sheet.failures if _matches(m.when, failure)), None)


def _matches(when: Match, failure: dict[str, Any]) -> bool:
    result = failure["result"]
    return (
        when.task in (None, failure["task"])
        and when.module in (None, failure["module"])
        and all(_equal(result.get(name), wanted) for name, wanted in when.fields.items())
        and (when.says is None or re.search(when.says, _words(result)) is not None)
    )


def _equal(value: object, wanted: Scalar) -> bool:
    return type(value) is type(wanted) and value == wanted


def _words(result: dict[str, Any]) -> str:
    items = [item for item in result.get("results") or () if isinstance(item, dict)]
    said = [one.get(name) for one in (result, *items) for name in ("msg", "stderr")]
    return "\n".join(text for text in said if isinstance(text, str))[:SEARCHED]

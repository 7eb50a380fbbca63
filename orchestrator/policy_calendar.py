"""The freeze calendar: times on the walls of many places, resolved to instants before policy sees.

1. Each entry names its own time zone; without a year it returns every year.
2. An hour that a clock shows twice, or never, is taken so that the freeze is the longer one.
3. What cannot be read stops everything: a freeze that is dropped in silence protects nobody.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from actors.fitting import nearest
from actors.spec import Name
from orchestrator.errors import InvalidInput
from orchestrator.pure.canonical import canonical
from orchestrator.pure.fields import Line, Model
from orchestrator.pure.policy_input import Freeze

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["freezes"]

WALL: Final = re.compile(r"(?:(\d{4})-)?(\d\d)-(\d\d) (\d\d):(\d\d)")
MOST: Final = 500

Wall = Annotated[str, StringConstraints(pattern=f"^{WALL.pattern}$")]


class _Entry(Model):
    """One line of the calendar."""

    name: Line
    environments: Annotated[tuple[Name, ...], Field(min_length=1)]
    zone: Line
    from_wall: Wall = Field(alias="from")
    until_wall: Wall = Field(alias="until")

    model_config = ConfigDict(validate_by_alias=True)


_entries: Final = TypeAdapter(Annotated[tuple[_Entry, ...], Field(max_length=MOST)])


def freezes(
    params: Any, environments: Collection[str], from_ms: int, until_ms: int
) -> tuple[Freeze, ...]:
    """Return the freezes of `data.yaml` that touch a span of time, the earliest first.

    Where it has no calendar there are none; it is the rule that demands one.
    """
    section = params.get("freeze") if isinstance(params, dict) else None
    calendar = section.get("calendar", []) if isinstance(section, dict) else []
    try:
        entries = _entries.validate_json(canonical(calendar))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _wrong(".".join(str(part) for part in first["loc"]), first["msg"]) from None
    found = [
        Freeze(
            name=entry.name,
            start_s=start_s,
            end_s=end_s,
            environments=dict.fromkeys(entry.environments, True),
        )
        for number, entry in enumerate(entries)
        for start_s, end_s in _spans(number, entry, environments, from_ms, until_ms)
        if start_s * 1000 < until_ms and from_ms < end_s * 1000
    ]
    return tuple(sorted(found, key=lambda freeze: (freeze.start_s, freeze.name)))


def _spans(
    number: int, entry: _Entry, environments: Collection[str], from_ms: int, until_ms: int
) -> Iterator[tuple[int, int]]:
    strange = next((name for name in entry.environments if name not in environments), None)
    if strange is not None:
        raise _wrong(number, f"no environment {strange}; {nearest(strange, environments)}")
    try:
        zone = ZoneInfo(entry.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise _wrong(number, f"{entry.zone} is not a time zone that this machine knows") from None
    begin, end = _wall(entry.from_wall), _wall(entry.until_wall)
    if (begin[0] is None) != (end[0] is None):
        raise _wrong(number, "from and until both have a year, or neither has")
    years = range(_year(from_ms) - 2, _year(until_ms) + 2) if begin[0] is None else [begin[0]]
    for year in years:
        until_year = end[0] if end[0] is not None else year + (end[1:] <= begin[1:])
        span = (
            min(_instants(number, year, begin[1:], zone)),
            max(_instants(number, until_year, end[1:], zone)),
        )
        if span[1] <= span[0]:
            raise _wrong(number, "it ends before it begins")
        yield span


def _wall(text: str) -> tuple[int | None, int, int, int, int]:
    parts = WALL.fullmatch(text)
    if parts is None:  # pragma: no cover - the model has refused it
        raise ValueError(text)
    year, *others = parts.groups()
    month, day, hour, minute = map(int, others)
    return (int(year) if year else None, month, day, hour, minute)


def _instants(number: int, year: int, wall: tuple[int, ...], zone: ZoneInfo) -> list[int]:
    month, day, hour, minute = wall
    try:
        both = [datetime(year, month, day, hour, minute, tzinfo=zone, fold=fold) for fold in (0, 1)]
        return [int(at.astimezone(UTC).timestamp()) for at in both]
    except (ValueError, OverflowError):
        said = f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}"
        raise _wrong(number, f"{said} is on no calendar") from None


def _year(at_ms: int) -> int:
    return datetime.fromtimestamp(at_ms / 1000, UTC).year


def _wrong(where: int | str, says: str) -> InvalidInput:
    return InvalidInput(
        f"policies/data.yaml: freeze.calendar, entry {where}: {says}",
        next_step="mend the calendar; until then nothing is vetted",
    )

"""What every noun is made of: its form, and the forms of its words, names and instants."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from actors.spec import Integer

__all__ = [
    "Digest",
    "DraftId",
    "Instant",
    "Line",
    "Model",
    "Principal",
    "Prose",
    "Selector",
    "StepId",
    "TicketId",
]


class Model(BaseModel):
    """A noun: frozen, strict, closed."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


def _instant(value: object) -> object:
    """Take milliseconds since 1970, or ISO 8601 with an offset; never a time without one."""
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a date and time such as 2026-11-25T02:00:00+01:00") from None
    if moment.tzinfo is None:
        raise ValueError("must say its offset from UTC, such as +01:00 or Z")
    try:
        since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    except OverflowError:
        raise ValueError("must lie between the years 1970 and 9999") from None
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


Instant = Annotated[Integer, Field(ge=0), BeforeValidator(_instant)]
"""Milliseconds since 1970-01-01 UTC."""
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
StepId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_\-]{0,62}(@[1-9][0-9]{0,5})?$")]
DraftId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_\-]{0,62}$")]
TicketId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9\-]{0,39}$")]
Selector = Annotated[str, StringConstraints(pattern=r"^!?[a-z0-9@:_.\-]{1,253}$")]
Principal = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@\-]{0,99}$")]
Line = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Prose = Annotated[str, StringConstraints(max_length=20_000)]

"""What goes into a ledger and comes out of it, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.pure.events import Event

__all__ = ["Ask", "Held", "Projection", "Recorded", "Row"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event and its place in the ledger."""

    run: str
    seq: int
    epoch: int
    event: Event
    hash: str


@dataclass(frozen=True, slots=True)
class Projection:
    """What the driver knows about a run once its newest events are in."""

    phase: str
    note: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Held:
    """A resource that another run holds or waits for."""

    resource: str
    mode: Literal["shared", "exclusive"]
    run: str
    state: Literal["held", "wanted"]


@dataclass(frozen=True, slots=True)
class Ask:
    """What a second terminal asks of the driver of a run."""

    id: int
    kind: str
    by: str
    body: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Row:
    """How a run stands: its projection, read without decoding an event."""

    run: str
    ticket: str
    title: str
    environment: str
    phase: str
    seq: int
    epoch: int
    at_ms: int
    opened_ms: int
    head: str
    note: str
    counts: dict[str, int]

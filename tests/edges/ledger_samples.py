"""Events and projections for the tests of the ledger."""

from __future__ import annotations

from actors.spec import Done
from orchestrator.ledger import Projection
from orchestrator.pure.events import ActFinished, ActStarted, Answered, Event, Opened
from orchestrator.pure.model import Lock, Ticket

__all__ = ["acting", "answered", "exclusive", "opened", "running", "shared", "step_events"]

acting = Projection("running", "step 1 of 3", {"done": 0, "left": 3})


def running(done: int) -> Projection:
    return Projection("running", f"step {done + 1}", {"done": done})


def opened(ticket: str = "CHG-1", at_ms: int = 1_000) -> Opened:
    words = Ticket(
        id=ticket, title="Patch the web servers", request="…", environment="prod", requester="ann"
    )
    return Opened(at_ms=at_ms, ticket=words, ticket_digest="0" * 64, by="ann")


def step_events(number: int, at_ms: int = 2_000) -> list[Event]:
    """What one turn of a chain records: a step has finished, the next has started."""
    return [
        ActFinished(
            at_ms=at_ms,
            step=f"s{number}",
            verb="apply",
            attempt=1,
            outcome=Done(outputs={"count": number}),
        ),
        ActStarted(at_ms=at_ms, step=f"s{number + 1}", verb="apply", attempt=1),
    ]


def answered(size: int, at_ms: int = 2_000) -> Answered:
    return Answered(at_ms=at_ms, answer="x" * size, by="ann")


def exclusive(*resources: str) -> list[Lock]:
    return [Lock(resource=resource, mode="exclusive") for resource in resources]


def shared(*resources: str) -> list[Lock]:
    return [Lock(resource=resource, mode="shared") for resource in resources]

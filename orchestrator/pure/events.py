"""The facts: all that a ledger can hold, for ever; a snapshot test guards their schemas.

Time stands in each event (`at_ms`); the ledger's envelope adds run, seq and epoch.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from actors.spec import Outcome, Verb
from orchestrator.pure.draft import Finding, Question, Refusal
from orchestrator.pure.model import (
    Approval,
    Decision,
    Digest,
    Instant,
    Plan,
    Principal,
    Prose,
    Remedy,
    StepId,
    Ticket,
)

__all__ = [
    "ActFinished",
    "ActStarted",
    "Answered",
    "Approved",
    "Asked",
    "Cancelled",
    "Carried",
    "Confirmed",
    "Declined",
    "DraftRejected",
    "Event",
    "HoldPassed",
    "Opened",
    "Paused",
    "Planned",
    "PreviewRequested",
    "Rejected",
    "RemedyChosen",
    "RollbackRequested",
    "StartRequested",
    "TakenOver",
    "Unpaused",
    "Vetted",
    "WindowClosed",
    "event_from_json",
    "event_to_json",
]


class Fact(BaseModel):
    """What has happened, and when."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    at_ms: Instant


class Opened(Fact):
    """A ticket was handed in; the draft, if a file wrote it, lies beside it."""

    type: Literal["opened"] = "opened"
    ticket: Ticket
    ticket_digest: Digest
    by: Principal
    draft: str | None = None
    agent: bool = False
    """A RecoveryAgent is configured and may be asked."""


class Planned(Fact):
    """A draft compiled."""

    type: Literal["planned"] = "planned"
    plan: Plan
    plan_digest: Digest


class DraftRejected(Fact):
    """A draft did not compile."""

    type: Literal["draft_rejected"] = "draft_rejected"
    findings: tuple[Finding, ...]


class Declined(Fact):
    """The planner refused the ticket."""

    type: Literal["declined"] = "declined"
    refusal: Refusal


class Asked(Fact):
    """The planner needs an answer before it can draft."""

    type: Literal["asked"] = "asked"
    question: Question


class Answered(Fact):
    """A person answered the planner's question."""

    type: Literal["answered"] = "answered"
    answer: Prose
    by: Principal
    draft: str | None = None


class Vetted(Fact):
    """Policy gave its decision."""

    type: Literal["vetted"] = "vetted"
    plan_digest: Digest
    decision: Decision


class PreviewRequested(Fact):
    """A person asked for the dry run."""

    type: Literal["preview_requested"] = "preview_requested"
    by: Principal


class Approved(Fact):
    """A person consented to the plan's digest."""

    type: Literal["approved"] = "approved"
    approval: Approval


class Carried(Fact):
    """Consent to the plan of an earlier run, which never acted, counts for this equivalent plan."""

    type: Literal["carried"] = "carried"
    by: Principal
    plan_digest: Digest
    earlier_run: str
    earlier_digest: Digest
    earlier_plan: Plan
    """Kept whole, so that the record of this run proves by itself that the two are equivalent."""
    equivalence_digest: Digest
    """Of both plans; the approvals bear it too."""
    approvals: Annotated[tuple[Approval, ...], Field(min_length=1)]
    """As they were signed, for the earlier run and its plan."""


class Rejected(Fact):
    """A person said no."""

    type: Literal["rejected"] = "rejected"
    by: Principal
    reason: Prose


class StartRequested(Fact):
    """A person asked for the run to act; this plan, by its digest."""

    type: Literal["start_requested"] = "start_requested"
    by: Principal
    plan_digest: Digest


class TakenOver(Fact):
    """A driver took the run: every earlier driver is fenced, every act under way is an orphan."""

    type: Literal["taken_over"] = "taken_over"
    epoch: int
    driver: str


class ActStarted(Fact):
    """An act was claimed; only after this fact is durable may it begin."""

    type: Literal["act_started"] = "act_started"
    step: StepId
    verb: Verb
    attempt: int


class ActFinished(Fact):
    """An act reported, or nobody could say what became of it."""

    type: Literal["act_finished"] = "act_finished"
    step: StepId
    verb: Verb
    attempt: int
    outcome: Outcome


class Confirmed(Fact):
    """A person answered a gate, rightly or wrongly."""

    type: Literal["confirmed"] = "confirmed"
    step: StepId
    answer: Annotated[str, Field(max_length=253)]
    by: Principal


class HoldPassed(Fact):
    """The instant that a hold waited for has come."""

    type: Literal["hold_passed"] = "hold_passed"
    step: StepId


class WindowClosed(Fact):
    """The change window ended while the run had not."""

    type: Literal["window_closed"] = "window_closed"


class Paused(Fact):
    """A person asked for no new acts for now."""

    type: Literal["paused"] = "paused"
    by: Principal


class Unpaused(Fact):
    """A person let the run go on."""

    type: Literal["unpaused"] = "unpaused"
    by: Principal


class Cancelled(Fact):
    """A person called the change off; what was touched is undone."""

    type: Literal["cancelled"] = "cancelled"
    by: Principal
    reason: Prose


class RollbackRequested(Fact):
    """A person asked to go back, also after success."""

    type: Literal["rollback_requested"] = "rollback_requested"
    by: Principal
    reason: Prose


class RemedyChosen(Fact):
    """The open incidents were answered with one of the offered remedies."""

    type: Literal["remedy_chosen"] = "remedy_chosen"
    remedy: Remedy
    by: Principal
    agent: bool
    reason: Prose


Event = Annotated[
    Opened
    | Planned
    | DraftRejected
    | Declined
    | Asked
    | Answered
    | Vetted
    | PreviewRequested
    | Approved
    | Carried
    | Rejected
    | StartRequested
    | TakenOver
    | ActStarted
    | ActFinished
    | Confirmed
    | HoldPassed
    | WindowClosed
    | Paused
    | Unpaused
    | Cancelled
    | RollbackRequested
    | RemedyChosen,
    Field(discriminator="type"),
]

_events: TypeAdapter[Event] = TypeAdapter(Event)
_read: Final = _events.validator.validate_json  # without the adapter's own call in between


def event_from_json(raw: bytes | str) -> Event:
    """Read one event, strictly."""
    event: Event = _read(raw)
    return event


def event_to_json(event: Event) -> bytes:
    """Write one event."""
    return event.__pydantic_serializer__.to_json(event)

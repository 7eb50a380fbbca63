"""Policy's answer about a plan, as the ledger holds it for ever."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from actors.spec import Name
from orchestrator.pure.fields import Digest, Instant, Line, Model, Principal, StepId, TicketId

__all__ = [
    "Decision",
    "Denial",
    "Grown",
    "Level",
    "MissingApproval",
    "Obligations",
    "WaiverUse",
]

Level = Literal["hard", "soft", "advisory", "shadow"]
"""How a rule binds: `hard` denies, `soft` denies unless it is waived, `advisory` warns, `shadow`
is only recorded."""


class Grown(Model):
    """A noun of the ledger that has got more fields since: empty ones are not written.

    Approvals sign a digest of the decision: what was signed before must keep its bytes.
    """

    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        fields: dict[str, object] = write(self)
        empty = {name for name in self.later if not getattr(self, name)}
        return {name: value for name, value in fields.items() if name not in empty}


class Denial(Grown):
    """One reason of policy against a plan, or, as a warning, one that does not stop it."""

    later = frozenset({"finding", "level", "count", "waiver"})
    rule: Line
    step: StepId | None = None
    message: Line
    edit: Line | None = None
    """The smallest edit that would pass, in words."""
    finding: Name | None = None
    """Which of the rule's own reasons it is."""
    level: Level | None = None
    count: Annotated[int, Field(ge=1)] | None = None
    """How many steps it concerns, of which `step` is the first."""
    waiver: Name | None = None
    """The waiver that turned it into a warning."""


class WaiverUse(Model):
    """A waiver of this environment, and what became of it in this decision."""

    id: Name
    rule: Line
    owner: Principal
    ticket: TicketId
    reason: Line
    until_ms: Instant
    state: Literal["applied", "expired", "unused"]


class MissingApproval(Model):
    """Who must still consent."""

    role: Name
    count: Annotated[int, Field(ge=1)]


class Obligations(Grown):
    """What policy demands while the run acts."""

    later = frozenset({"stop_after"})
    max_parallel: Annotated[int, Field(ge=1)] | None = None
    not_after_ms: Instant | None = None
    stop_after: Annotated[int, Field(ge=1)] | None = None
    """So many failed slices of a wave, at most, turn the run round."""


class Decision(Grown):
    """Policy's answer about a whole plan; anything but a clear allow stops it."""

    later = frozenset({"waivers", "rules_digest", "data_digest"})
    outcome: Literal["allow", "deny"]
    denials: tuple[Denial, ...] = ()
    warnings: tuple[Denial, ...] = ()
    missing: tuple[MissingApproval, ...] = ()
    obligations: Obligations = Obligations()
    engine: Line
    policy_digest: Digest
    input_digest: Digest
    waivers: tuple[WaiverUse, ...] = ()
    rules_digest: Digest | None = None
    """Of the rules and their data, where an engine judged by some."""
    data_digest: Digest | None = None

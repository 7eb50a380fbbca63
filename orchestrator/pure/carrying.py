"""Carries consent over: what was signed for one plan counts for an equivalent one of another run.

1. The plans have one equivalence digest: all that differs is the names and the order of steps. The
   approvers signed that digest too.
2. Only signatures are carried over; in all else an approval is judged as it was given: its time,
   its key, the rules of consent, and that the requester never counts.
3. The earlier run never acted and never will: an approval is for one change, made once.
4. A fact that says otherwise is refused, and so is everything that rests on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.errors import IllegalEvent
from orchestrator.pure.consent import Earlier, requested_by
from orchestrator.pure.equivalence import equivalence_digest

if TYPE_CHECKING:
    from orchestrator.pure.events import Carried
    from orchestrator.pure.model import Approval
    from orchestrator.pure.state import Run

__all__ = ["CARRIED_TO", "carried", "is_free", "problem_with_carried", "taken_from"]

CARRIED_TO: Final = "its approvals were carried over to "
"""How the reason begins for which the earlier run is cancelled."""


def carried(run: Run, event: Carried) -> Run:
    """Count the approvals of the earlier run; whether the plans are equivalent is judged apart."""
    wrong = (
        (event.plan_digest != run.plan_digest, "to another plan"),
        (event.earlier_run == run.id, "from this run itself"),
        (run.carried is not None, "a second time"),
        (any(_is_foreign(run, event, given, event.at_ms) for given in event.approvals), "wrongly"),
    )
    for is_wrong, what in wrong:
        if is_wrong:
            raise IllegalEvent(f"approvals of {event.earlier_run} were carried over {what}")
    approvals = (*run.approvals, *event.approvals)
    return run._replace(phase="vetting", carried=event, approvals=approvals, reason="")


def problem_with_carried(run: Run) -> str | None:
    """Compare the plans themselves: say why what was carried over does not count, or nothing."""
    event = run.carried
    if event is None:
        return None
    if event.earlier_plan.digest() != event.earlier_digest:
        return f"the plan of {event.earlier_run} is not the one that was approved"
    for plan in (event.earlier_plan, run.planned):
        if equivalence_digest(plan) != event.equivalence_digest:
            return f"the plan of {event.earlier_run} is not equivalent to that of {run.id}"
    return None


def taken_from(run: Run) -> Earlier | None:
    """Say from where approvals were carried over to a run, if they were."""
    event = run.carried
    if event is None:
        return None
    return Earlier(event.earlier_run, event.earlier_digest, event.equivalence_digest)


def is_free(earlier: Run, to: str) -> bool:
    """Say whether a run has approvals that can go to another: it stands ready, and never acted."""
    if earlier.phase == "cancelled":
        return earlier.work is None and earlier.reason.endswith(f": {CARRIED_TO}{to}")
    return earlier.phase in ("waiting", "approved")


def _is_foreign(run: Run, event: Carried, given: Approval, at_ms: int) -> bool:
    requesters = requested_by(run.ticket.requester, run.by)
    return (
        given.method != "sshsig"
        or given.seen is None
        or given.seen.equivalence_digest != event.equivalence_digest
        or given.seen.ticket_digest != run.ticket_digest
        or given.run != event.earlier_run
        or given.plan_digest != event.earlier_digest
        or given.environment != run.planned.environment
        or given.principal in requesters
        or not given.issued_ms <= at_ms < given.expires_ms
        or any(given.nonce == other.nonce for other in run.approvals)
    )

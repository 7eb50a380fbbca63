"""What a person signs, and whether the consent that was given suffices.

1. The statement is made from the approval itself: nothing counts that was not signed, and a change
   of any field is a change of the statement.
2. An approval is good for one run, one plan and one environment, while it lasts, and while what
   is settled about consent stands as it stood.
3. People are counted, not keys; whoever asked for the change or opened its run never counts.
4. Roles come from whoever counts, never from the statement: that only says in which role.
5. Consent to an earlier plan counts for an equivalent one of another run, where it was signed and
   `carrying` allows it; in all else it is judged as it was given.
6. To go back, an approval need not last, and may rest on what was settled before: it must not
   happen that a change can no longer be undone because a day went by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from orchestrator.pure.canonical import canonical, digest
from orchestrator.pure.model import MissingApproval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from orchestrator.pure.model import Approval
    from orchestrator.pure.state import Run

__all__ = [
    "CLOCK_SLACK_MS",
    "NAMESPACE",
    "Earlier",
    "Purpose",
    "is_of_another_change",
    "missing_approvals",
    "never_counted",
    "problem_with_approval",
    "requested_by",
    "statement",
]

NAMESPACE: Final = "interlock-approval-v1@interlock"
"""What a signature is made for, and what a key must be allowed for."""
STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "urn:interlock:approval:v1"
CLOCK_SLACK_MS: Final = 120_000
"""How far ahead of ours the clock of an approver may be."""


class Earlier(NamedTuple):
    """The plan of another run, equivalent to the one at hand, to which consent was given."""

    run: str
    plan_digest: str
    equivalence_digest: str | None = None
    """Of both plans; nothing where only one step of each is known, and compared."""


class Purpose(NamedTuple):
    """For what consent is asked."""

    run: str
    plan_digest: str
    environment: str
    trust_digest: str
    now_ms: int
    going_back: bool = False
    earlier: Earlier | None = None


def statement(approval: Approval) -> bytes:
    """Return the canonical bytes that are signed."""
    fields = approval.model_dump(mode="json", exclude={"method", "signature", "plan_digest"})
    return canonical(
        {
            "_type": STATEMENT,
            "subject": [{"name": approval.run, "digest": {"sha256": approval.plan_digest}}],
            "predicateType": PREDICATE,
            "predicate": {"decision": "approve", **fields},
        }
    )


def problem_with_approval(approval: Approval, purpose: Purpose) -> str | None:
    """Say why an approval is not one for this purpose, its signature aside; or nothing."""
    changed = approval.seen is not None and approval.seen.trust_digest != purpose.trust_digest
    signed, lasts = approval.method == "sshsig", purpose.going_back
    whole = approval.signature is not None and approval.seen is not None
    earlier = purpose.earlier
    if earlier is None or approval.run != earlier.run:
        earlier = None
    problems = (
        (signed and not whole, "it is not signed whole"),
        (earlier is None and approval.run != purpose.run, f"it is for another run, {approval.run}"),
        (
            approval.plan_digest != (earlier or purpose).plan_digest,
            "it is for another plan",
        ),
        (earlier is not None and not signed, "only a signature is carried over"),
        (
            earlier is not None and not _same_change(approval, earlier),
            "it is for a plan that is not equivalent",
        ),
        (
            approval.environment != purpose.environment,
            f"it is for another environment, {approval.environment}",
        ),
        (
            approval.issued_ms > purpose.now_ms + CLOCK_SLACK_MS,
            "it was given later than now: one of the clocks is wrong",
        ),
        (not lasts and approval.expires_ms <= purpose.now_ms, "it has expired"),
        (
            not lasts and signed and changed,
            "keys, roles or rules of consent have changed since it was given",
        ),
    )
    return next((problem for is_wrong, problem in problems if is_wrong), None)


def _same_change(approval: Approval, earlier: Earlier) -> bool:
    wanted, seen = earlier.equivalence_digest, approval.seen
    return wanted is None or (seen is not None and seen.equivalence_digest == wanted)


def requested_by(*names: str) -> tuple[str, ...]:
    """Name each of those who asked for a change or opened its run, as approvers sign it."""
    return tuple(sorted({*names}))


def never_counted(approvals: Iterable[Approval]) -> frozenset[str]:
    """Name those who asked for the change or opened its run, as the approvers saw it."""
    return frozenset(name for a in approvals if a.seen is not None for name in a.seen.requested_by)


def missing_approvals(
    approvals: Sequence[Approval],
    wanted: Sequence[MissingApproval],
    *,
    never: Iterable[str],
    holds: Callable[[str, str], bool],
) -> tuple[MissingApproval, ...]:
    """Say who must still consent; each person counts once, in the first role that needs them."""
    counted = {*never, *never_counted(approvals)}
    missing = []
    for rule in wanted:
        given = 0
        for approval in approvals:
            if given == rule.count:
                break
            who = approval.principal
            if approval.role == rule.role and who not in counted and holds(who, rule.role):
                counted.add(who)
                given += 1
        if given < rule.count:
            missing.append(MissingApproval(role=rule.role, count=rule.count - given))
    return tuple(missing)


def is_of_another_change(run: Run, given: Approval) -> bool:
    """Say whether ticket, people or decision are not as whoever approved saw them."""
    if given.seen is None:
        return False
    decided = digest(run.decision.model_dump(mode="json")) if run.decision else ""
    return (
        given.seen.requested_by != requested_by(run.ticket.requester, run.by)
        or given.seen.ticket_digest != run.ticket_digest
        or given.seen.decision_digest != decided
    )

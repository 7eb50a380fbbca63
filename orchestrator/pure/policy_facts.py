"""Makes the document that policy sees: everything a rule may ask is computed here, once.

1. The same run, instant and surroundings make the same document, byte for byte.
2. What is not known is said in the way that a rule denies: stale evidence, unproved order.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from orchestrator.pure.canonical import digest
from orchestrator.pure.events import Opened
from orchestrator.pure.model import Plan, PlanStep, Timing
from orchestrator.pure.policy_classes import step_classes
from orchestrator.pure.policy_input import (
    UNSEALED,
    ActorFacts,
    ApprovalFacts,
    Calendar,
    CatalogFacts,
    ConflictFacts,
    EnvironmentFacts,
    Freeze,
    Local,
    Mode,
    Moment,
    PlannerFacts,
    PolicyInput,
    RecoveryFacts,
    RequesterFacts,
    RunFacts,
    TicketFacts,
    WindowFacts,
    sealed,
)
from orchestrator.pure.policy_summary import (
    inventory_facts,
    plan_facts,
    preview_facts,
    size_of,
    summary_facts,
    touched,
)
from orchestrator.pure.run import opened
from orchestrator.pure.state import shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import tzinfo

    from actors.spec import ActorSpec
    from orchestrator.pure.model import (
        Approval,
        Catalog,
        Inventory,
        Ticket,
        Window,
    )
    from orchestrator.pure.state import Run

__all__ = ["Other", "Surroundings", "as_if_all", "policy_input"]

SAMPLE: Final = 5
WEEKDAYS: Final = (
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
)


class Other(NamedTuple):
    """A resource that another live run holds or wants."""

    run: str
    resource: str
    state: Literal["held", "wanted"]


class Surroundings(NamedTuple):
    """All that policy may know besides the run itself."""

    catalog: Catalog
    inventory: Inventory
    inventory_digest: str
    holds: Callable[[str, str], bool]
    roles: tuple[str, ...]
    zones: Mapping[str, tzinfo]
    """Time zones by name; UTC is always added."""
    others: tuple[Other, ...] = ()
    freezes: tuple[Freeze, ...] = ()


def policy_input(run: Run, asked: str, now_ms: int, around: Surroundings) -> PolicyInput:
    """Describe a run's plan as it stands now; `run.approvals` are those that stand."""
    plan, ticket, shape = run.planned, run.ticket, run.shaped
    objects = {thing.name: thing for thing in around.inventory.objects}
    said = frozenset(ticket.params.values())
    classes = step_classes(shape, objects, said)

    def moment(at_ms: int) -> Moment:
        return _moment(at_ms, around.zones)

    def window(of: Window | None) -> WindowFacts | None:
        if of is None:
            return None
        return WindowFacts(start=moment(of.start_ms), end=moment(of.end_ms))

    value = PolicyInput(
        digest=UNSEALED,
        mode=_mode(run, asked),
        now=moment(now_ms),
        run=RunFacts(id=run.id, revision=run.revision, opened_s=run.opened_ms // 1000),
        requester=RequesterFacts(
            id=ticket.requester,
            opened_by=run.by,
            roles={role: True for role in around.roles if around.holds(ticket.requester, role)},
        ),
        planner=PlannerFacts(kind=_planner(run), drafts=run.drafts),
        ticket=TicketFacts(
            id=ticket.id,
            digest=run.ticket_digest,
            ticket_class=ticket.ticket_class,
            risk=ticket.risk,
            routine=ticket.routine,
            window=window(ticket.window),
            bounded=bool(ticket.targets),
            params=dict.fromkeys(ticket.params, True),
        ),
        approvals=tuple(_approval(run, approval, around) for approval in run.approvals),
        environment=EnvironmentFacts(
            name=plan.environment, objects=size_of(around.inventory, plan.environment)
        ),
        inventory=inventory_facts(run, around.inventory, around.inventory_digest, objects),
        catalog=_catalog(run, around.catalog, now_ms),
        plan=plan_facts(run, classes),
        summary=summary_facts(run, classes, around.inventory),
        preview=preview_facts(run),
        conflicts=_conflicts(around.others),
        recovery=_recovery(run),
        calendar=Calendar(freezes=around.freezes),
    )
    return sealed(value)


def as_if_all(ticket: Ticket, by: str, now_ms: int, catalog: Catalog, inventory_digest: str) -> Run:
    """Make a run whose plan has one step for each actor, without values and targets."""
    steps = tuple(
        PlanStep(id=f"s{number}", actor=name) for number, name in enumerate(sorted(catalog.actors))
    )
    about = digest(ticket.model_dump(mode="json"))
    plan = Plan(
        ticket_digest=about,
        environment=ticket.environment,
        catalog_digest=catalog.digest,
        inventory_digest=inventory_digest,
        actors=catalog.actors,
        steps=steps,
        window=ticket.window,
        on_window_close="hold",
        max_parallel=1,
        timing=Timing(forward_s=0, rollback_s=0),
    )
    event = Opened(at_ms=now_ms, ticket=ticket, ticket_digest=about, by=by)
    return opened("none", event)._replace(
        plan=plan, plan_digest=plan.digest(), shape=shape_of(plan)
    )


def _mode(run: Run, asked: str) -> Mode:
    if asked == "start":
        return "apply"
    if asked == "rollback":
        return "rollback"
    if run.preview is not None:
        return "dry-run"
    return "recovery" if run.revision else "plan"


def _planner(run: Run) -> Literal["file", "routine", "model"]:
    if run.draft is not None:
        return "file"
    return "routine" if run.ticket.routine is not None else "model"


def _moment(at_ms: int, zones: Mapping[str, tzinfo]) -> Moment:
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return Moment(
        epoch_s=at_ms // 1000,
        zones={name: _local(at.astimezone(zone)) for name, zone in {**zones, "UTC": UTC}.items()},
    )


def _local(at: datetime) -> Local:
    return Local(
        day=at.year * 10_000 + at.month * 100 + at.day,
        weekday=WEEKDAYS[at.weekday()],
        minute_of_day=at.hour * 60 + at.minute,
    )


def _approval(run: Run, approval: Approval, around: Surroundings) -> ApprovalFacts:
    holds = around.holds(approval.principal, approval.role)
    asked = {run.by, run.ticket.requester, *(approval.seen.requested_by if approval.seen else ())}
    return ApprovalFacts(
        by=approval.principal,
        role=approval.role,
        method=approval.method,
        holds=holds,
        counts=holds and approval.principal not in asked,
        issued_s=approval.issued_ms // 1000,
        expires_s=approval.expires_ms // 1000,
    )


def _catalog(run: Run, catalog: Catalog, now_ms: int) -> CatalogFacts:
    actors = {
        name: _actor(
            pinned.spec,
            pinned.digest,
            catalog.evidence.get(name),
            _days_since(catalog.evidence_days.get(name), now_ms),
        )
        for name, pinned in run.planned.actors.items()
    }
    return CatalogFacts(digest=run.planned.catalog_digest, actors=actors)


def _days_since(day: str | None, now_ms: int) -> int | None:
    # A day that is no day, or lies ahead, is as good as none.
    try:
        days = (
            datetime.fromtimestamp(now_ms // 1000, UTC).date() - date.fromisoformat(day or "")
        ).days
    except ValueError:
        return None
    return days if days >= 0 else None


def _actor(spec: ActorSpec, pinned: str, tested: str | None, age_days: int | None) -> ActorFacts:
    return ActorFacts(
        version=spec.version,
        kind=spec.kind,
        digest=pinned,
        effect=spec.effect,
        undo=spec.undo,
        point_of_no_return=spec.point_of_no_return,
        idempotent=spec.idempotent,
        disturbs=spec.disturbs,
        dry_run=spec.dry_run,
        enabled=spec.enabled,
        environments=dict.fromkeys(spec.environments, True),
        evidence="none" if tested is None else "fresh" if tested == pinned else "stale",
        evidence_age_days=age_days,
        needs_before=dict.fromkeys(spec.needs_before, True),
        needs_after=dict.fromkeys(spec.needs_after, True),
    )


def _conflicts(others: Iterable[Other]) -> tuple[ConflictFacts, ...]:
    found: dict[tuple[str, Literal["held", "wanted"]], set[str]] = {}
    for other in others:
        found.setdefault((other.run, other.state), set()).add(other.resource)
    return tuple(
        ConflictFacts(
            run=run,
            state=state,
            resources=len(resources),
            sample=tuple(sorted(resources)[:SAMPLE]),
        )
        for (run, state), resources in sorted(found.items())
    )


def _recovery(run: Run) -> RecoveryFacts | None:
    if not run.revision:
        return None
    before = run.bound or frozenset()
    outside = sorted(touched(run)[0] - before)
    return RecoveryFacts(
        targets_before=len(before),
        targets_outside=len(outside),
        sample_outside=tuple(outside[:SAMPLE]),
        remedies=run.remedies,
    )

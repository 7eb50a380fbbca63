"""Party 1: a draft becomes a plan or findings; whoever wrote it, it climbs the same ladder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.reading import read_yaml
from actors.strict import UnreadableError
from orchestrator.errors import Unavailable
from orchestrator.pure.compile import Document, Limits, compile_draft, unreadable
from orchestrator.pure.draft import Question, Refusal
from orchestrator.pure.events import Asked, Declined, DraftRejected, Planned
from orchestrator.pure.model import Plan

if TYPE_CHECKING:
    from orchestrator.pure.model import Catalog, Inventory
    from orchestrator.pure.state import Run

__all__ = ["propose"]


def propose(
    run: Run, now_ms: int, *, catalog: Catalog, inventory: Inventory, limits: Limits
) -> Planned | DraftRejected | Declined | Asked:
    """Compile the draft that lies beside the ticket."""
    if run.draft is None:
        raise Unavailable(
            f"{run.id} has no draft, and no planner is configured that could write one",
            next_step="hand in a draft: interlock plan TICKET --draft DRAFT",
        )
    try:
        read = read_yaml(run.draft, max_bytes=limits.max_bytes)
    except UnreadableError as error:
        return DraftRejected(at_ms=now_ms, findings=(unreadable(error),))
    answer = compile_draft(
        Document(read.value, read.lines),
        ticket=run.ticket,
        catalog=catalog,
        inventory=inventory,
        limits=limits,
    )
    match answer:
        case Plan():
            return Planned(at_ms=now_ms, plan=answer, plan_digest=answer.digest())
        case Refusal():
            return Declined(at_ms=now_ms, refusal=answer)
        case Question():
            return Asked(at_ms=now_ms, question=answer)
        case _:
            return DraftRejected(at_ms=now_ms, findings=answer)

"""The heart: the life of a ticket, from words to an end.

1. `RULES`, at the end, says which fact may come in which phase; whatever else comes is a bug or a
   forgery.
2. `evolve` folds one fact; `due` asks what should be done now; neither does anything.
3. Nothing forward begins unless the phase is `running`, nobody paused, nothing failed, no incident
   is open.
4. The run turns round, ends, or is held only when nothing is under way (`settle`).
5. Every remedy is one of those that `offered` names, and their number is bounded.

Theory of operation: facts about acts change one step (`steps`, `rollback`) and then `settle` asks
whether the run as a whole is at a turning point. Nobody schedules: `due` reads queues that the fold
keeps in order, so that its cost grows with what is due and never with the plan. The rooms beside
this one: `duties` (due, wakes_at), `turns` (whose turn), `steps` and `rollback` (what outcomes
mean), `settling` (turning points), `remedies` (offered), `preview` (the dry run), `state` (the
value itself).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from immutables import Map

from orchestrator.errors import IllegalEvent
from orchestrator.pure import duties, preview, rollback, steps, turns
from orchestrator.pure.carrying import carried
from orchestrator.pure.consent import is_of_another_change
from orchestrator.pure.duties import due, wakes_at
from orchestrator.pure.events import (
    ActFinished,
    ActStarted,
    Answered,
    Approved,
    Asked,
    Cancelled,
    Carried,
    Confirmed,
    Declined,
    DraftRejected,
    HoldPassed,
    Opened,
    Paused,
    Planned,
    PreviewRequested,
    Rejected,
    RemedyChosen,
    RollbackRequested,
    StartRequested,
    TakenOver,
    Unpaused,
    Vetted,
    WindowClosed,
)
from orchestrator.pure.model import Confirm
from orchestrator.pure.remedies import chosen, offered
from orchestrator.pure.settling import ended, settle
from orchestrator.pure.state import ENDS, Acting, Phase, Run, Work, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.pure.events import Event

__all__ = [
    "ENDS",
    "MAX_DRAFTS",
    "RULES",
    "belongs",
    "due",
    "evolve",
    "offered",
    "opened",
    "wakes_at",
]

MAX_DRAFTS: Final = 2

_BEFORE: Final[frozenset[Phase]] = frozenset(
    {"drafting", "asking", "vetting", "waiting", "previewing", "approved", "starting"}
)
_ALIVE: Final[frozenset[Phase]] = _BEFORE | {
    "running", "rolling_back", "diagnosing", "held", "returning",
}  # fmt: skip


def opened(run_id: str, event: Opened) -> Run:
    """Begin a run with its first fact."""
    return Run(
        work=None,
        at_ms=event.at_ms,
        events=1,
        id=run_id,
        phase="drafting",
        ticket=event.ticket,
        ticket_digest=event.ticket_digest,
        by=event.by,
        opened_ms=event.at_ms,
        draft=event.draft,
        agent=event.agent,
    )


def evolve(run: Run, event: Event) -> Run:
    """Fold one fact into the run; the old value stays true."""
    rule = RULES.get(type(event))
    if rule is None or run.phase not in rule.phases:
        raise IllegalEvent(f"'{event.type}' cannot happen to {run.id} while it is {run.phase}")
    at_ms = event.at_ms
    if at_ms < run.at_ms:
        raise IllegalEvent(f"'{event.type}' of {run.id} lies before the fact that it follows")
    return rule.meaning(run.after(at_ms), event)


def belongs(run: Run, event: ActFinished) -> bool:
    """Say whether a report answers an act that is under way; late, double, foreign ones do not."""
    return _answered_act(run, event) is not None


def _answered_act(run: Run, event: ActFinished) -> int | None:
    """Return the place of the step whose act under way this report answers, if there is one."""
    index = run.shape.place.get(event.step) if run.shape is not None else None
    if index is None:
        return None
    if run.phase == "previewing" and run.preview is not None:
        acting = run.preview.acting.get(index)
    elif run.phase in ("running", "rolling_back") and run.work is not None:
        acting = run.work.acting.get(index)
    else:
        return None
    answers = acting is not None and acting[:2] == (event.verb, event.attempt)
    return index if answers else None


# --- before anything acts -------------------------------------------------------------------------


def _draft_rejected(run: Run, event: DraftRejected) -> Run:
    final = run.draft is not None or run.drafts + 1 >= MAX_DRAFTS
    run = run._replace(findings=event.findings, drafts=run.drafts + 1)
    return ended(run, "rejected", "its draft does not compile") if final else run


def _declined(run: Run, event: Declined) -> Run:
    return ended(run._replace(refusal=event.refusal), "declined", event.refusal.reason)


def _asked(run: Run, event: Asked) -> Run:
    return run._replace(phase="asking", question=event.question, reason=event.question.question)


def _answered(run: Run, event: Answered) -> Run:
    answers = (*run.answers, event.answer)
    return run._replace(
        phase="drafting", question=None, answers=answers, draft=event.draft, reason=""
    )


def _preview_requested(run: Run, _: PreviewRequested) -> Run:
    return preview.begin(run)


def _rejected(run: Run, event: Rejected) -> Run:
    return ended(run, "rejected", f"{event.by}: {event.reason}")


def _start_requested(run: Run, event: StartRequested) -> Run:
    if event.plan_digest != run.plan_digest:
        raise IllegalEvent(f"the start of {run.id} names another plan")
    return run._replace(phase="starting", reason="")


def _planned(run: Run, event: Planned) -> Run:
    targets = frozenset(name for step in event.plan.steps for name in step.targets)
    if run.bound is not None and not targets <= run.bound:
        raise IllegalEvent(f"the new plan of {run.id} leaves the targets of the first")
    if event.plan.ticket_digest != run.ticket_digest:
        raise IllegalEvent(f"the plan of {run.id} belongs to another ticket")
    return run._replace(
        phase="vetting",
        plan=event.plan,
        plan_digest=event.plan_digest,
        shape=shape_of(event.plan),
        bound=targets if run.bound is None else run.bound,
        findings=(),
        decision=None,
        approvals=(),
        carried=None,
        preview=None,
    )


def _vetted(run: Run, event: Vetted) -> Run:
    if event.plan_digest != run.plan_digest:
        raise IllegalEvent(f"the decision on {run.id} is about another plan")
    decision = event.decision
    run = run._replace(decision=decision)
    if decision.outcome == "deny":
        first = decision.denials[0].message if decision.denials else "policy denied it"
        if run.phase == "starting":
            return run._replace(phase="approved", reason=f"the start was denied: {first}")
        if run.phase == "returning":
            return run._replace(phase="succeeded", reason=f"going back was denied: {first}")
        return ended(run, "rejected", first)
    if run.phase == "returning":  # the way back was part of what was approved
        return _turned(run)
    if decision.missing:
        wanted = ", ".join(f"{m.count} x {m.role}" for m in decision.missing)
        return run._replace(phase="waiting", reason=f"waiting for approval: {wanted}")
    if run.phase == "vetting":
        return run._replace(phase="approved", reason="approved; waiting for its start")
    return _begin(run)


def _approved(run: Run, event: Approved) -> Run:
    given, plan = event.approval, run.planned
    wrong = (
        (given.run != run.id, "another run"),
        (given.plan_digest != run.plan_digest, "another plan"),
        (given.environment != plan.environment, "another environment"),
        (given.principal in (run.ticket.requester, run.by), "the requester's own change"),
        (given.expires_ms <= event.at_ms, "a time that has passed"),
        (given.issued_ms > event.at_ms, "a time that has not come"),
        (is_of_another_change(run, given), "what is not as it stands now"),
        (any(a.nonce == given.nonce for a in run.approvals), "an approval that was used before"),
    )
    for is_wrong, what in wrong:
        if is_wrong:
            raise IllegalEvent(f"the approval by {given.principal} is for {what}")
    return run._replace(phase="vetting", approvals=(*run.approvals, given), reason="")


def _begin(run: Run) -> Run:
    shape = run.shaped
    slices = Map({name: (1, len(parts[0])) for name, parts in shape.slices.items()})
    work = Work(Map(), Map(), began=0, left=len(shape.steps), slices=slices)
    run = run._replace(phase="running", work=work, reason="", paused=False)
    first = [index for index, missing in enumerate(shape.missing) if missing == 0]
    return settle(turns.open_steps(run, first))


# --- acts -----------------------------------------------------------------------------------------


def _act_started(run: Run, event: ActStarted) -> Run:
    index = _index(run, event.step)
    if run.phase == "previewing":
        return preview.began(run, index, event)
    step = run.step(index)
    if duties.next_verb(run, step, event.at_ms) != (event.verb, event.attempt):
        raise IllegalEvent(f"{event.verb} {event.attempt} of {event.step} in {run.id} is not due")
    return duties.trimmed(turns.act_began(run, index, step, event.attempt))


def _act_finished(run: Run, event: ActFinished) -> Run:
    index = _answered_act(run, event)
    if index is None:
        raise IllegalEvent(f"{event.verb} {event.attempt} of {event.step} is not under way")
    if run.phase == "previewing":
        return preview.finished(run, index, event)
    match event.verb:
        case "apply":
            run = steps.applied(run, index, event.outcome, event.at_ms)
        case "undo":
            run = rollback.undone(run, index, event.outcome, event.at_ms)
        case _:
            run = steps.probed(run, index, event.outcome)
    return settle(turns.act_ended(run, index))


def _taken_over(run: Run, event: TakenOver) -> Run:
    if event.epoch <= run.epoch:
        raise IllegalEvent(f"epoch {event.epoch} of {run.id} is not after {run.epoch}")
    run = run._replace(epoch=event.epoch)
    if run.preview is not None:
        run = run._replace(preview=run.preview._replace(acting=_orphaned(run.preview.acting)))
    if run.work is not None:
        run = run.working_on(run.work._replace(acting=_orphaned(run.work.acting)))
    return run


def _orphaned(acting: Map[int, Acting]) -> Map[int, Acting]:
    return Map({index: act._replace(orphan=True) for index, act in acting.items()})


# --- while it acts --------------------------------------------------------------------------------


def _paused(run: Run, event: Paused | Unpaused) -> Run:
    return run._replace(paused=isinstance(event, Paused))


def _remedied(run: Run, event: RemedyChosen) -> Run:
    return settle(chosen(run, event))


def _confirmed(run: Run, event: Confirmed) -> Run:
    index, work = _index(run, event.step), run.working
    if index not in work.gates:
        raise IllegalEvent(f"{event.step} of {run.id} is not waiting for an answer")
    gate = run.shaped.steps[index].gate
    if not isinstance(gate, Confirm) or event.answer != gate.expected:
        return run
    step = run.step(index).in_phase("succeeded")
    run = run.working_on(work._replace(gates=work.gates.delete(index)))
    return settle(turns.settled(run, index, step))


def _hold_passed(run: Run, event: HoldPassed) -> Run:
    index = _index(run, event.step)
    step = run.step(index)
    if step.phase != "holding" or event.at_ms < step.until_ms:
        raise IllegalEvent(f"{event.step} of {run.id} is not holding, or its time has not come")
    run = turns.settled(run, index, step.in_phase("succeeded"))
    return settle(duties.trimmed(run))


def _window_closed(run: Run, _: WindowClosed) -> Run:
    if run.phase == "starting":
        return ended(run, "cancelled", "its window closed before it began")
    if run.window_closed:
        raise IllegalEvent(f"the window of {run.id} has closed before")
    run, work = run._replace(window_closed=True), run.working
    # A tolerated slice that goes back alone would let the run go on afterwards: not past its end.
    goes_on = not work.stop or work.failed_slot is not None
    if run.planned.on_window_close == "finish" or not goes_on:
        return run
    hold = run.planned.on_window_close == "hold"
    work = work._replace(stop="window_hold" if hold else "window", failed_slot=None)
    return settle(run._replace(work=work, reason="its window closed"))


def _called_off(run: Run, event: Cancelled | RollbackRequested) -> Run:
    # Go back on a person's word; open incidents need no other answer.
    reason = f"{event.by}: {event.reason}"
    if run.phase in _BEFORE:
        return ended(run, "cancelled", reason)
    if run.phase == "returning":
        return run._replace(phase="succeeded", reason=f"{reason}; it did not go back")
    if run.phase == "succeeded":
        return run._replace(phase="returning", reason=reason)
    work = run.working
    if work.undoing is not None and work.undoing.slot is None and not run.replan:
        raise IllegalEvent(f"{run.id} is going back already")
    return _turned(run._replace(reason=reason, replan=False))


def _turned(run: Run) -> Run:
    work = run.working
    run = run._replace(work=work._replace(stop="asked", failed_slot=None))
    if work.undoing is not None:
        return run
    return settle(run._replace(phase="running", incidents=()))


def _index(run: Run, step: str) -> int:
    index = run.shaped.place.get(step)
    if index is None:
        raise IllegalEvent(f"{run.id} has no step {step}")
    return index


class Rule(NamedTuple):
    """In which phases a fact may come, and what it means."""

    phases: frozenset[Phase]
    meaning: Callable[[Run, Any], Run]


def _rule(meaning: Callable[[Run, Any], Run], *phases: Phase) -> Rule:
    return Rule(frozenset(phases), meaning)


RULES: Final[Mapping[type[Event], Rule]] = {
    Planned: _rule(_planned, "drafting"),
    DraftRejected: _rule(_draft_rejected, "drafting"),
    Declined: _rule(_declined, "drafting"),
    Asked: _rule(_asked, "drafting"),
    Answered: _rule(_answered, "asking"),
    Vetted: _rule(_vetted, "vetting", "starting", "returning"),
    PreviewRequested: _rule(_preview_requested, "waiting", "approved"),
    Approved: _rule(_approved, "waiting", "approved"),
    Carried: _rule(carried, "waiting", "approved"),
    Rejected: _rule(_rejected, "waiting", "approved", "asking"),
    StartRequested: _rule(_start_requested, "approved"),
    TakenOver: Rule(_ALIVE, _taken_over),
    ActStarted: _rule(_act_started, "previewing", "running", "rolling_back"),
    ActFinished: _rule(_act_finished, "previewing", "running", "rolling_back"),
    Confirmed: _rule(_confirmed, "running"),
    HoldPassed: _rule(_hold_passed, "running"),
    WindowClosed: _rule(_window_closed, "starting", "running", "diagnosing", "held"),
    Paused: _rule(_paused, "running"),
    Unpaused: _rule(_paused, "running"),
    Cancelled: Rule(_ALIVE, _called_off),
    RollbackRequested: _rule(_called_off, "running", "diagnosing", "held", "succeeded"),
    RemedyChosen: _rule(_remedied, "diagnosing", "held"),
}

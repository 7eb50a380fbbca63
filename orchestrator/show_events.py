"""Events in words: one line each, for a replay, for the history of a run, for plain progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.spec import Done, Failed, Found, InDoubt, Predicted, Unexpected
from orchestrator.pure import events as facts
from orchestrator.show_text import Span, clean, count, instant, short, wrap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.spec import Outcome
    from orchestrator.ledger_values import Recorded
    from orchestrator.pure.events import Event
    from orchestrator.show_text import Page, Style

__all__ = ["LOUD", "add_events", "event_words", "outcome_words", "remedy_words"]

LOUD: Final = frozenset({"red", "alarm", "warn"})
"""Styles of words that tell of trouble."""
FOUND: Final[dict[str, Style]] = {"applied": "green", "partial": "yellow", "unknown": "warn"}
REMEDIES: Final = {
    "retry": "try {step} again",
    "resume": "verify {step}, and go on if it holds",
    "roll_back": "go back: undo what was touched, newest first",
    "replan": "go back, then make a new plan within the same targets",
    "hold": "hold for a person",
    "take_over": "a person takes over by hand; the run ends as it is",
}


def add_events(page: Page, recorded: Iterable[Recorded]) -> None:
    """Add one line for each event, under its day; what tells of trouble is never cut."""
    day = ""
    for record in recorded:
        date, time, *_ = instant(record.event.at_ms, seconds=True).split(" ")
        if date != day:
            day = date
            page.line(Span(f"{day} UTC", "dim"))
        text, style = event_words(record.event)
        head = f"{time}  {record.seq:>6,}  "
        lines = wrap(clean(text), page.width - len(head)) if style in LOUD else [text]
        for number, line in enumerate(lines):
            page.line(
                Span("" if number else head, "dim"),
                Span(line, style),
                indent=len(head) if number else 0,
            )


def remedy_words(kind: str, step: str | None) -> str:
    """Say what a remedy would do."""
    return REMEDIES[kind].format(step=step or "the step")


def event_words(event: Event) -> tuple[str, Style]:
    """Say what happened, and how loud."""
    match event:
        case facts.ActStarted():
            return f"{event.step}: {event.verb} began{_again(event.attempt)}", ""
        case facts.ActFinished():
            text, style = outcome_words(event.verb, event.outcome)
            return f"{event.step}: {text}{_again(event.attempt)}", style
        case facts.Opened() | facts.Planned() | facts.DraftRejected() | facts.Declined():
            return _drafted(event)
        case facts.Asked() | facts.Answered() | facts.Vetted() | facts.PreviewRequested():
            return _weighed(event)
        case (
            facts.Approved()
            | facts.Carried()
            | facts.Rejected()
            | facts.StartRequested()
            | facts.Cancelled()
        ):
            return _consented(event)
        case facts.Confirmed():
            return f"{event.by} answered {event.step}{_said(event.answer)}", ""
        case facts.HoldPassed():
            return f"{event.step}: its instant has come", ""
        case _:
            return _under_way(event)


def _again(attempt: int) -> str:
    return f" (attempt {attempt})" if attempt > 1 else ""


def _said(text: str) -> str:
    text = " ".join(clean(text).split())
    return f": {text}" if text else ""


def _drafted(
    event: facts.Opened | facts.Planned | facts.DraftRejected | facts.Declined,
) -> tuple[str, Style]:
    match event:
        case facts.Opened(ticket=ticket):
            return f"{event.by} handed in ticket {ticket.id}{_said(ticket.title)}", "bold"
        case facts.Planned(plan=plan):
            steps = count(len(plan.steps), "step")
            return f"a plan of {steps} was compiled, digest {short(event.plan_digest)}", "bold"
        case facts.DraftRejected(findings=findings):
            found = count(len(findings), "finding")
            first = (
                f", the first {findings[0].code}{_said(findings[0].message)}" if findings else ""
            )
            return f"the draft does not compile: {found}{first}", "red"
        case _:
            return f"the planner declined{_said(event.refusal.reason)}", "yellow"


def _weighed(
    event: facts.Asked | facts.Answered | facts.Vetted | facts.PreviewRequested,
) -> tuple[str, Style]:
    match event:
        case facts.Asked():
            return f"the planner asks{_said(event.question.question)}", "warn"
        case facts.Answered():
            return f"{event.by} answered{_said(event.answer)}", ""
        case facts.PreviewRequested():
            return f"{event.by} asked for a dry run", ""
        case _:
            decision = event.decision
    if decision.outcome == "deny":
        first = _said(decision.denials[0].message) if decision.denials else ""
        return f"policy denied it{first}", "red"
    if decision.missing:
        wanted = ", ".join(f"{m.count} x {m.role}" for m in decision.missing)
        return f"policy allows it; approvals missing: {wanted}", "yellow"
    return "policy allows it", "green"


def _consented(
    event: facts.Approved | facts.Carried | facts.Rejected | facts.StartRequested | facts.Cancelled,
) -> tuple[str, Style]:
    match event:
        case facts.Carried(earlier_run=earlier):
            names = ", ".join(given.principal for given in event.approvals)
            words = f"{names} signed {short(event.earlier_digest)} of {earlier}"
            return f"{event.by} carried consent over: {words}", "green"
        case facts.Approved(approval=given):
            signed = "signed" if given.method == "sshsig" else "unsigned"
            digest = short(given.plan_digest)
            return f"{given.principal} approved {digest} as {given.role} ({signed})", "green"
        case facts.Rejected():
            return f"{event.by} rejected it{_said(event.reason)}", "red"
        case facts.StartRequested():
            return f"{event.by} asked it to start, digest {short(event.plan_digest)}", "bold"
        case _:
            return f"{event.by} called it off{_said(event.reason)}", "yellow"


def _under_way(event: Event) -> tuple[str, Style]:
    match event:
        case facts.TakenOver():
            return f"{event.driver} took the run over, epoch {event.epoch}", "yellow"
        case facts.WindowClosed():
            return "the window closed", "warn"
        case facts.Paused():
            return f"{event.by} paused the run", "yellow"
        case facts.Unpaused():
            return f"{event.by} let the run go on", ""
        case facts.RollbackRequested():
            return f"{event.by} asked to go back{_said(event.reason)}", "warn"
        case facts.RemedyChosen(remedy=remedy):
            who = f"{event.by} (agent)" if event.agent else event.by
            words = remedy_words(remedy.kind, remedy.step)
            return f"{who} chose: {words}{_said(event.reason)}", "cyan"
        case _:
            return event.type, ""


def outcome_words(verb: str, outcome: Outcome) -> tuple[str, Style]:
    """Say what an act reported."""
    match outcome:
        case Done(changed=changed):
            done = {"apply": "applied", "undo": "undone"}.get(verb, f"{verb} done")
            return done if changed else f"{done}, nothing to change", "green"
        case Failed():
            return f"{verb} failed, as foreseen: {outcome.mode}{_said(outcome.message)}", "red"
        case Unexpected():
            return f"{verb}: unexpected{_said(outcome.message)}", "alarm"
        case InDoubt():
            return f"{verb} is in doubt{_said(outcome.message)}", "warn"
        case Found():
            state = outcome.state.replace("_", " ")
            return f"verify found it {state}{_said(outcome.message)}", FOUND.get(outcome.state, "")
        case Predicted():
            changes = count(len(outcome.changes), "change")
            return f"check predicts {changes} ({outcome.grade}){_said(outcome.message)}", ""

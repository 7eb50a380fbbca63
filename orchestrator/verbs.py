"""What each verb does: append one event, drive, show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from orchestrator import show as shown
from orchestrator.consenting import carry, consent, refuse_unread
from orchestrator.denied import denial_code, is_denied
from orchestrator.driving import (
    drive,
    end_text,
    exit_code,
    foreseen,
    refuse_illegal,
    refuse_unplanned,
    show_end,
    show_planned,
    spoken,
)
from orchestrator.errors import InvalidInput
from orchestrator.local import read_content, readied
from orchestrator.policy import refuse_unreadable
from orchestrator.pure.carrying import CARRIED_TO
from orchestrator.pure.events import (
    Answered,
    Approved,
    Cancelled,
    Carried,
    Confirmed,
    Opened,
    Paused,
    PreviewRequested,
    Rejected,
    RemedyChosen,
    RollbackRequested,
    StartRequested,
    Unpaused,
)
from orchestrator.pure.run import ENDS, RULES, offered
from orchestrator.session import Session, clock_ms, login_name
from orchestrator.show_words import wording
from orchestrator.workspace import STDIN, draft_text, open_workspace, ticket_digest
from orchestrator.workspace_files import MARKER, find_workspace

if TYPE_CHECKING:
    from orchestrator.consenting import Pen
    from orchestrator.pure.events import Event
    from orchestrator.pure.model import Ticket
    from orchestrator.pure.state import Run
    from orchestrator.view import View
    from orchestrator.workspace import Workspace

__all__ = [
    "Read",
    "answer",
    "approve",
    "carry_over",
    "dry_run",
    "plan",
    "recover",
    "reject",
    "resume",
    "start",
    "told",
    "unpausing",
]

MOST_NOTES: Final = 10


class Read(NamedTuple):
    """How a person who cannot be asked shows that they read the plan."""

    digest: str | None
    answer: str | None


def plan(view: View, workspace: Path | None, ticket_file: Path, draft_file: Path | None) -> int:
    """Open a run for a ticket and drive it until it waits for people."""
    # All that can be unreadable is read before the ledger is touched.
    found = open_workspace(find_workspace(Path.cwd(), workspace))
    ticket, place, draft = _handed_in(found, ticket_file, draft_file)
    content = read_content(found)
    refuse_unreadable(found.settings, found.policies)
    with Session.open(found.root, create=True) as session:
        session.content = content
        opened = spoken(
            lambda: Opened(
                at_ms=clock_ms(),
                ticket=ticket,
                ticket_digest=ticket_digest(ticket),
                by=login_name(),
                draft=draft,
            )
        )
        run = drive(view, session, session.begin(opened), lambda _: [])
        others = session.ledger.conflicts(run.id, run.plan.locks) if run.plan else []
        show_planned(view, run, source=str(draft_file), ticket=place)
        for held in others[:MOST_NOTES]:
            view.note(f"note: {held.resource} is {held.state} by {held.run}")
        if len(others) > MOST_NOTES:
            view.note(f"note: … and {len(others) - MOST_NOTES} more, held or wanted by other runs")
        return exit_code(run)


def answer(
    view: View, workspace: Path | None, name: str, text: str, draft_file: Path | None
) -> int:
    """Answer the planner, and let it draft again."""
    draft = draft_text(draft_file) if draft_file else None

    def events(run: Run) -> list[Event]:
        if run.draft is not None and draft is None:
            raise InvalidInput(
                f"{run.id} was drafted by a file; the answer needs a new one",
                next_step=f"interlock answer {run.id} ANSWER --draft DRAFT",
            )
        return [Answered(at_ms=clock_ms(), answer=text, by=login_name(), draft=draft)]

    with Session.open(workspace) as session:
        run = drive(view, session, name, events)
        show_planned(view, run, source=str(draft_file))
        return exit_code(run)


def dry_run(view: View, workspace: Path | None, name: str) -> int:
    """Check every step."""
    with Session.open(workspace) as session:
        run = drive(
            view, session, name, lambda _: [PreviewRequested(at_ms=clock_ms(), by=login_name())]
        )
        view.say(
            lambda: shown.preview_text(run, width=view.width, color=view.color),
            lambda: shown.run_document(run),
        )
        return 0 if run.preview is not None and run.preview.left == 0 else exit_code(run)


def approve(
    view: View,
    workspace: Path | None,
    name: str,
    role: str | None,
    read: Read,
    principal: str | None,
    pen: Pen,
) -> int:
    """Record a person's consent to the plan's digest."""
    with Session.open(workspace) as session:
        row = session.ledger.row(name)
        run = session.load(name)
        refuse_illegal(run, Approved, "approve")
        who = login_name() if principal is None else principal
        chosen = _only_role(session, run, who) if role is None else role
        refuse_unread(view, run, read.digest, read.answer)
        approval = spoken(
            lambda: consent(
                session.workspace,
                run,
                who=who,
                role=chosen,
                pen=pen,
                head=f"{row.head}@{row.seq}",
                now_ms=max(clock_ms(), run.at_ms),
            )
        )
        given = Approved(at_ms=approval.issued_ms, approval=approval)
        run = drive(view, session, run.id, lambda _: [given])
        view.say(
            lambda: _consented(view, run),
            lambda: shown.run_document(run),
        )
        return 0 if run.phase == "approved" else exit_code(run)


def carry_over(
    view: View, workspace: Path | None, name: str, earlier_name: str, *, alone: bool
) -> int:
    """Let what was signed for an equivalent plan of an earlier run count; call that run off."""
    if not alone:
        raise InvalidInput(
            "--from carries over what others signed; nothing else of yours goes with it",
            next_step=f"first: interlock approve {name} --from {earlier_name}; then sign yourself",
        )
    who = login_name()
    with Session.open(workspace) as session:
        run, earlier = session.load(name), session.load(earlier_name)
        refuse_illegal(run, Carried, "approve --from")
        refuse_unplanned(earlier)
        now_ms = max(clock_ms(), run.at_ms, earlier.at_ms)
        event = carry(session.workspace, run, earlier, by=who, now_ms=now_ms)
        readied(session.workspace, foreseen(run, event))  # before the earlier run is called off

        def called_off(now: Run) -> list[Event]:
            # Only now nobody else can start it.
            carry(session.workspace, run, now, by=who, now_ms=now_ms)
            return [Cancelled(at_ms=now_ms, by=who, reason=f"{CARRIED_TO}{run.id}")]

        if earlier.phase != "cancelled":
            drive(view, session, earlier.id, called_off)
        run = drive(view, session, run.id, lambda _: [event])
        view.say(lambda: _consented(view, run), lambda: shown.run_document(run))
        return 0 if run.phase == "approved" else exit_code(run)


def reject(
    view: View, workspace: Path | None, name: str, reason: str, principal: str | None
) -> int:
    """Record a person's no."""
    who = login_name() if principal is None else principal
    with Session.open(workspace) as session:
        run = drive(
            view,
            session,
            name,
            lambda _: [Rejected(at_ms=clock_ms(), by=who, reason=reason)],
        )
        return show_end(view, run)


def start(view: View, workspace: Path | None, name: str, *, wait: bool) -> int:
    """Start an approved run, or go on with one that was started."""

    def events(run: Run) -> list[Event]:
        if run.phase != "approved":
            return []
        return [StartRequested(at_ms=clock_ms(), by=login_name(), plan_digest=run.plan_digest)]

    with Session.open(workspace) as session:
        before = session.load(name)
        if before.phase in ENDS:
            raise InvalidInput(
                f"{before.id} has ended: {wording(before.phase).words}",
                next_step="plan the ticket anew; a run acts once",
            )
        run = drive(view, session, name, events, wait=wait)
        return _unless_denied(before.phase, run, show_end(view, run))


def _unless_denied(before: str, run: Run, ended: int) -> int:
    # A way back that was denied leaves a success; whoever drove it hears of the denial.
    return denial_code(run) if before == "returning" and is_denied(run) else ended


def resume(view: View, workspace: Path | None, name: str, *, wait: bool) -> int:
    """Go on from wherever the ledger says the run stands."""
    with Session.open(workspace) as session:
        row = session.ledger.row(name)
        holder = session.ledger.holder(row.run)
        if holder is not None and not (row.phase == "running" and row.counts.get("paused")):
            view.note(f"{row.run} is driven by {holder} and not paused: there is nothing to resume")
            return show_end(view, session.load(row.run), driven=True)
        run = drive(view, session, name, unpausing, wait=wait, ask=("unpause", ""))
        ended = show_end(view, run, driven=session.ledger.holder(run.id) is not None)
        return _unless_denied(row.phase, run, ended)


def unpausing(run: Run) -> list[Event]:
    """Lift a pause where one holds anything up: the way back was never paused."""
    if not run.paused or run.phase not in RULES[Unpaused].phases:
        return []
    return [Unpaused(at_ms=clock_ms(), by=login_name())]


def told(view: View, workspace: Path | None, name: str, kind: str, body: str) -> int:
    """Tell a run something: directly, or through the driver in another terminal."""
    who = login_name()

    def events(_: Run) -> list[Event]:
        at_ms = clock_ms()
        match kind:
            case "pause":
                return [Paused(at_ms=at_ms, by=who)]
            case "cancel":
                return [Cancelled(at_ms=at_ms, by=who, reason=body)]
            case "rollback":
                return [RollbackRequested(at_ms=at_ms, by=who, reason=body)]
            case _:
                step, value = body.split("=", 1)
                return [Confirmed(at_ms=at_ms, step=step, answer=value, by=who)]

    with Session.open(workspace) as session:
        before = session.load(name)
        refuse_illegal(before, type(spoken(lambda: events(before))[0]), kind)
        if kind == "confirm":
            _gate_open(before, body.partition("=")[0])
        run = drive(view, session, name, events, ask=(kind, body))
        if kind == "confirm":
            _gate_answered(run, body.partition("=")[0])
        ended = show_end(view, run, driven=session.ledger.holder(run.id) is not None)
        denied = kind == "rollback" and run.phase == "succeeded"
        return denial_code(run) if denied else ended


def recover(view: View, workspace: Path | None, name: str, remedy: str | None, reason: str) -> int:
    """Choose a remedy, or list those that are offered."""
    with Session.open(workspace) as session:
        run = session.load(name)
        choices = offered(run)
        if remedy is None:
            view.say(
                lambda: shown.incidents_text(run, choices, width=view.width, color=view.color),
                lambda: shown.run_document(run),
            )
            return exit_code(run)
        chosen = next((one for one in choices if one.name == remedy), None)
        if chosen is None:
            listed = ", ".join(one.name for one in choices) or "none: it needs no remedy"
            raise InvalidInput(
                f"'{remedy[:60]}' is not offered for {run.id}", next_step=f"offered are: {listed}"
            )

        def events(now: Run) -> list[Event]:
            at_ms, by = max(clock_ms(), now.at_ms), login_name()
            return [RemedyChosen(at_ms=at_ms, remedy=chosen, by=by, agent=False, reason=reason)]

        return show_end(view, drive(view, session, run.id, events))


def _handed_in(
    found: Workspace, ticket_file: Path, draft_file: Path | None
) -> tuple[Ticket, str, str]:
    # The ticket, where its targets stand, and the draft.
    if draft_file is None:
        raise InvalidInput(
            f"{ticket_file}: there is no planner that could write a draft for it",
            next_step=f"hand in a draft: interlock plan {ticket_file} --draft DRAFT",
        )
    if ticket_file == draft_file == STDIN:
        raise InvalidInput(
            "the ticket and the draft cannot both be read from the standard input",
            next_step="write one of the two into a file",
        )
    return (*found.ticket_and_place(ticket_file), draft_text(draft_file))


def _only_role(session: Session, run: Run, who: str) -> str:
    missing = run.decision.missing if run.decision else ()
    if not missing:
        raise InvalidInput(
            f"{run.id} waits for no approval: it is {wording(run.phase).words}",
            next_step=f"interlock run {run.id}",
        )
    roles = [m.role for m in missing if session.workspace.settings.holds(who, m.role)]
    if len(roles) == 1:
        return roles[0]
    wanted = ", ".join(m.role for m in missing)
    if roles:
        raise InvalidInput(
            f"{who} holds several of the roles that {run.id} waits for: {', '.join(roles)}",
            next_step=f"say in which you consent: interlock approve {run.id} --role {roles[0]}",
        )
    raise InvalidInput(
        f"{who} holds none of the roles that {run.id} waits for: {wanted}",
        next_step=f"ask somebody who does (roles in {MARKER}), or name yourself with --as",
    )


def _consented(view: View, run: Run) -> str:
    decision = shown.decision_text(run, width=view.width, color=view.color)
    return f"{decision.rstrip()}\n\n{end_text(run)}"


def _gate_open(run: Run, step: str) -> None:
    places = run.working.gates if run.work else {}
    names = [run.shaped.steps[place].id for place in sorted(places)]
    if step not in names:
        raise InvalidInput(
            f"{step[:60]} of {run.id} is not waiting for an answer",
            next_step=f"waiting are: {', '.join(names) or 'none'}",
        )


def _gate_answered(run: Run, step: str) -> None:
    if run.work is not None and run.shaped.place[step] in run.work.gates:
        raise InvalidInput(
            f"that is not what {step} asks for; the answer was recorded, the gate stays closed",
            next_step=f"read its question again: interlock show {run.id}",
        )

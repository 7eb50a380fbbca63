"""How a verb drives a run: record what a person did, turn until it is at rest, show it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, TypeVar

from actors.kinds import PULSE
from orchestrator import show as shown
from orchestrator.denied import after_denial, denial_code, is_denied
from orchestrator.errors import Conflict, IllegalEvent, InvalidInput
from orchestrator.progress import Progress
from orchestrator.progress_lines import Under
from orchestrator.pure.run import ENDS, RULES, evolve, offered
from orchestrator.session import clock_ms
from orchestrator.show_text import clean
from orchestrator.show_words import PHASES, TYPED, in_words, standing, wording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orchestrator.driver import Driver
    from orchestrator.pure.commands import Act
    from orchestrator.pure.events import Event
    from orchestrator.pure.state import Phase, Run
    from orchestrator.session import Session
    from orchestrator.view import View
    from orchestrator.workspace import Workspace

T = TypeVar("T")

__all__ = [
    "EXITS",
    "drive",
    "end_text",
    "exit_code",
    "follow",
    "foreseen",
    "refuse_illegal",
    "refuse_unplanned",
    "show_end",
    "show_planned",
    "spoken",
]

PATIENCE_S: Final = 900.0
"""How long a driver stays for a backoff or a hold when it was not told to wait."""
FOREVER_S: Final = 10.0**9
STOPPING: Final = (
    (
        "stopping: what is under way settles, nothing new begins "
        "(^C again stops the acts, which may turn the run round for good)"
    ),
    "stopping the acts as their actors allow (^C again leaves them to the next driver)",
    "leaving what is under way to the next driver",
)
"""What a person is told at the first, second and third ^C."""

EXITS: Final[dict[Phase, int]] = {
    "succeeded": 0,
    "declined": 3,
    "rejected": 3,
    "rolled_back": 5,
    "cancelled": 5,
    "held": 6,
    "diagnosing": 6,
    "taken_over": 6,
}
"""Every other phase is waiting for somebody or something: 4."""


def drive(
    view: View,
    session: Session,
    name: str,
    events: Callable[[Run], list[Event]],
    *,
    wait: bool = False,
    ask: tuple[str, str] | None = None,
) -> Run:
    """Drive a run, or leave word for whoever drives it; return it as it then stands."""
    run_id = session.ledger.row(name).run
    shows: list[Progress] = []
    under = Under(clock_ms())

    def changed(run: Run, fresh: Sequence[Event]) -> None:
        for event in () if shows else fresh:
            under.recall(run, event)
        for progress in shows:
            progress.update(run, fresh)

    def heard(count: int) -> None:
        for progress in shows:
            progress.aside(STOPPING[min(count, len(STOPPING)) - 1])

    try:
        with session.driver(
            run_id,
            changed,
            patience_s=FOREVER_S if wait else PATIENCE_S,
            heard=heard,
            seen=under.recall,
        ) as driver:
            _record(driver, spoken(lambda: events(driver.run)))
            with follow(view, driver.run, session.workspace, under) as progress:
                shows.append(progress)
                return driver.drive()
    except Conflict:
        if ask is None or session.ledger.holder(run_id) is None:
            raise
        return _asked(view, session, run_id, ask)


def _asked(view: View, session: Session, run_id: str, ask: tuple[str, str]) -> Run:
    holder, taken = session.ask(run_id, *ask)
    heard = "it was heard" if taken else "it has not answered yet"
    verb = "go on with" if ask[0] == "unpause" else ask[0]
    view.note(f"{run_id} is driven by {holder}; asked it to {verb}: {heard}")
    return session.load(run_id)


def _record(driver: Driver, events: list[Event]) -> None:
    for event in events:
        refuse_illegal(driver.run, type(event), TYPED.get(event.type, event.type))
    at_ms = driver.run.at_ms
    if events:
        with _explained(driver.run):
            driver.record([e.model_copy(update={"at_ms": max(e.at_ms, at_ms)}) for e in events])


def foreseen(run: Run, event: Event) -> Run:
    """Say what a run would be if a person did this; what cannot be is theirs to mend."""
    with _explained(run):
        return evolve(run, event)


@contextlib.contextmanager
def _explained(run: Run) -> Iterator[None]:
    try:
        yield
    except IllegalEvent as error:
        raise InvalidInput(
            str(error), next_step=f"interlock show {run.id}; nothing was recorded"
        ) from None


def spoken(make: Callable[[], T]) -> T:
    """Make an event of a person's words; what no record can hold is the person's to mend."""
    try:
        return make()
    except ValueError as error:
        raise InvalidInput(
            f"this cannot be recorded: {_complaint(error)}",
            next_step="use fewer and plainer words; nothing was recorded",
        ) from None


def _complaint(error: ValueError) -> str:
    first = next(iter(getattr(error, "errors", list)()), None)
    if first is None:
        return str(error)[:200]
    place = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
    if place in ("by", "principal"):  # nobody typed these words: they are the name at the machine
        return f"the name {str(first['input'])[:60]!r} (your login, or --as): {first['msg']}"
    return f"{place}: {first['msg']}"


def follow(view: View, run: Run, workspace: Workspace, under: Under) -> Progress:
    """Follow a run on the terminal while it is driven; `under` has seen what happened before."""
    acts = workspace.state / "acts" / run.id

    def heard_ms(act: Act) -> int | None:
        pulse = acts / f"{act.step}.{act.verb}.{act.attempt}" / PULSE
        try:
            return int(pulse.stat().st_mtime * 1000)
        except OSError:
            return None

    under.heard_ms = heard_ms
    return Progress(
        run,
        under,
        stream=view.beside,
        live=view.live and not view.as_json and view.beside.isatty(),
        color=view.color,
        clock_ms=clock_ms,
    )


def show_planned(view: View, run: Run, *, source: str, ticket: str = "the ticket") -> None:
    """Show what planning came to: findings, a refusal, a question, or the plan's page."""

    def text() -> str:
        recorded = f"recorded as {run.id}, {wording(run.phase).words}"
        if run.findings:
            found = shown.findings_text(run.findings, source, ticket=ticket, color=view.color)
            return f"{found.rstrip()}\n{recorded}"
        if run.refusal is not None:
            return f"{shown.refusal_text(run.refusal, color=view.color).rstrip()}\n{recorded}"
        if run.phase == "asking" and run.question is not None:
            return shown.question_text(run.question, color=view.color, run_id=run.id)
        return shown.run_text(run, width=view.width, color=view.color)

    view.say(text, lambda: shown.run_document(run))


def show_end(view: View, run: Run, *, driven: bool = False) -> int:
    """Say in a line how a run stands now, or what it is held for."""

    def text() -> str:
        if run.phase in ("held", "diagnosing"):
            return shown.incidents_text(run, offered(run), width=view.width, color=view.color)
        return end_text(run, driven=driven)

    view.say(text, lambda: shown.run_document(run, driven=driven))
    return exit_code(run)


def end_text(run: Run, *, driven: bool = False) -> str:
    """Say how a run stands, why, and what a person may do next."""
    stands, _ = standing(run.phase, paused=run.paused)
    lines = [f"{run.id} {in_words(stands, run.reason)}"]
    if run.phase not in ENDS or is_denied(run):
        lines.append(f"next: {_next_step(run, driven=driven)}")
    return "\n".join(clean(line) for line in lines)


def _next_step(run: Run, *, driven: bool) -> str:
    # The one command that takes the run on from here.
    if is_denied(run):
        return after_denial(run)
    if run.paused and run.phase == "running":
        return f"interlock resume {run.id}"
    if driven:
        return f"interlock watch {run.id}"
    match run.phase:
        case "asking":
            return f'interlock answer {run.id} "YOUR ANSWER" --draft DRAFT'
        case "waiting":
            return f"interlock approve {run.id}"
        case "approved":
            return f"interlock run {run.id}"
        case "held" | "diagnosing":
            return f"interlock recover {run.id}"
        case _:
            return _gate(run) or f"interlock resume {run.id}"


def _gate(run: Run) -> str | None:
    if run.work is None or not run.work.gates:
        return None
    step = run.shaped.steps[min(run.work.gates)]
    return f"interlock confirm {run.id} {step.id} ANSWER   ({getattr(step.gate, 'question', '')})"


def exit_code(run: Run) -> int:
    """Turn a phase into an exit code."""
    if run.phase == "approved" and is_denied(run):
        return denial_code(run)
    return EXITS.get(run.phase, 4)


def refuse_illegal(run: Run, event: type[Event], verb: str) -> None:
    """Refuse what does not apply, before anything is recorded."""
    may = RULES[event].phases
    if run.phase not in may:
        stands, _ = standing(run.phase, paused=run.paused)
        when = ", ".join(words.words for phase, words in PHASES.items() if phase in may)
        raise InvalidInput(
            f"'{verb}' does not apply to {run.id}: it stands at: {in_words(stands, run.reason)}",
            next_step=f"it applies to what stands at: {when}; nothing was recorded",
        )


def refuse_unplanned(run: Run) -> None:
    """Refuse to look at a plan that is not there."""
    if run.plan is None:
        raise InvalidInput(
            f"{run.id} has no plan: {wording(run.phase).words}",
            next_step=f"interlock show {run.id}",
        )

"""The picture of a run under way: clocks, a bar, what acts, what waits for what, what went wrong.

1. A picture is made from a run and a few remembered facts; making it changes nothing.
2. It looks at the acts under way, the tops of the queues and the latest events; never at all steps.
3. What is remembered is replaced, never changed: another thread may be drawing it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import islice
from typing import TYPE_CHECKING, Final

from orchestrator.pure.commands import Act
from orchestrator.pure.duties import capacity, window_end_ms
from orchestrator.pure.events import (
    ActFinished,
    ActStarted,
    Confirmed,
    PreviewRequested,
    RemedyChosen,
    RollbackRequested,
    StartRequested,
)
from orchestrator.pure.limits import limit_s
from orchestrator.pure.queues import popped
from orchestrator.pure.standing import done_steps, undone_steps
from orchestrator.pure.state import ENDS
from orchestrator.pure.window import timing_with
from orchestrator.show_events import LOUD, event_words
from orchestrator.show_text import Column, Page, Span, clean, clip, count, duration, instant
from orchestrator.show_words import standing, wording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.pure.decision import Decision
    from orchestrator.pure.events import Event
    from orchestrator.pure.model import Plan
    from orchestrator.pure.queues import Heap
    from orchestrator.pure.state import Acting, Run
    from orchestrator.show_text import Style

__all__ = ["Under", "done_words", "picture"]

LATEST: Final = 4
TROUBLES: Final = 4
WAITING: Final = 4
LOOKS: Final = 40
"""So many entries of a queue are looked at to find those that still count."""
REST_LINES: Final = 20
"""The lines of a picture beside the acts under way."""
MARK: Final = {"green": "✓", "red": "✗", "alarm": "✗", "warn": "!"}
SILENT_S: Final = 30
"""An act that has not been heard of for so long is called silent."""
AWAY: Final = 0.9
"""From this share of its timeout on an act is called late."""


@dataclass(slots=True)
class Under:
    """What a picture needs and the run does not keep: when acts began, and what happened last."""

    opened_ms: int
    """When somebody began to look."""
    since_ms: int | None = None
    """When the run was asked to act, where it was."""
    began_ms: dict[str, int] = field(default_factory=dict)
    latest: tuple[Event, ...] = ()
    troubles: tuple[Event, ...] = ()
    trouble_count: int = 0
    most_undos: int = 0
    heard_ms: Callable[[Act], int | None] = field(default=lambda _act: None)
    """When an act was last heard of, for kinds that listen to their targets."""
    counted: tuple[Plan, Decision | None, int | None] | None = None
    """For which plan and decision the last safe abort was computed, and what it is."""

    def took_ms(self, run: Run, now_ms: int) -> int:
        """Say how long the run has been at it: since it was asked to act, until its end."""
        idle = run.work is None and run.phase not in ("starting", "previewing")
        since_ms = self.opened_ms if idle or self.since_ms is None else self.since_ms
        return max(0, (run.at_ms if run.phase in ENDS and not idle else now_ms) - since_ms)

    def abort_ms(self, run: Run) -> int | None:
        """Say until when a rollback surely fits; it is computed once for a plan and a decision."""
        former = self.counted
        if former is None or former[0] is not run.planned or former[1] is not run.decision:
            last_ms = timing_with(run.planned, capacity(run)).last_safe_abort_ms
            former = self.counted = (run.planned, run.decision, last_ms)
        return former[2]

    def recall(self, run: Run, event: Event) -> None:
        """Take an event from before anybody looked: it is not news, but it began something."""
        if isinstance(event, (StartRequested, PreviewRequested, RollbackRequested)):
            asked = not isinstance(event, RollbackRequested) or run.phase == "returning"
            self.since_ms = event.at_ms if asked else self.since_ms
        if run.work is not None and run.work.undoing is not None:
            self.most_undos = max(self.most_undos, run.work.undoing.left)
        if isinstance(event, ActStarted):
            self.began_ms[event.step] = event.at_ms
        elif isinstance(event, ActFinished):
            self.began_ms.pop(event.step, None)

    def take(self, run: Run, event: Event) -> None:
        """Remember what one event leaves for a picture."""
        self.recall(run, event)
        if isinstance(event, ActFinished):
            if event_words(event)[1] in LOUD:
                self.trouble_count += 1
                self.troubles = (*self.troubles, event)[-TROUBLES:]
                return
        elif not isinstance(event, (Confirmed, RemedyChosen)):
            return
        self.latest = (*self.latest, event)[-LATEST:]


def picture(
    run: Run, under: Under, now_ms: int, *, width: int, height: int = 40, color: bool
) -> str:
    """Draw the run as it stands now."""
    page = Page(width, color=color)
    state = standing(run.phase, paused=run.paused)
    page.line(Span(run.id, "bold"), "  ", Span(*state), "  ", run.ticket.title)
    if run.reason:
        page.line(Span(run.reason, "yellow"))
    _add_clocks(page, run, under, now_ms)
    _add_bar(page, run, under)
    _add_acting(page, run, under, now_ms, max(3, height - REST_LINES))
    _add_waiting(page, run, now_ms)
    _add_latest(page, run, under)
    return page.text()


def done_words(run: Run) -> str:
    """Say how far the run is."""
    if run.work is None or run.shape is None:
        return "nothing has acted"
    total = len(run.shape.steps)
    words = f"{done_steps(run):,} of {count(total, 'step')} done"
    back, undone = run.work.undoing, undone_steps(run)
    if back is not None and back.left:
        return f"{words}, {back.left:,} still to be undone"
    return f"{words}, {undone:,} undone" if undone else words


# --- clocks and the bar -------------------------------------------------------------------------


def _add_clocks(page: Page, run: Run, under: Under, now_ms: int) -> None:
    spans = [Span(f"elapsed {duration(under.took_ms(run, now_ms) / 1000)}")]
    if run.plan is not None and run.phase in ("starting", "running", "rolling_back"):
        end_ms, abort_ms = window_end_ms(run), under.abort_ms(run)
        if end_ms is not None:
            spans.append(_countdown("window ends", end_ms, now_ms))
        if abort_ms is not None and run.phase != "rolling_back":
            spans.append(_countdown("last safe abort", abort_ms, now_ms))
        if run.phase == "starting" and run.plan.window and run.plan.window.start_ms > now_ms:
            spans.append(_countdown("window opens", run.plan.window.start_ms, now_ms))
    page.line(*(part for span in spans for part in (span, Span("   "))))


def _countdown(what: str, at_ms: int, now_ms: int) -> Span:
    left_s = (at_ms - now_ms) // 1000
    if left_s < 0:
        return Span(f"{what}: passed {duration(-left_s)} ago", "alarm")
    style: Style = "warn" if left_s < 600 else ""
    return Span(f"{what} in {duration(left_s)}", style)


def _add_bar(page: Page, run: Run, under: Under) -> None:
    counted = _counted(run, under)
    if counted is None:
        return
    done, total, what, style, under_way = counted
    room = max(10, min(40, page.width - 45))
    full = room * done // total if total else room
    share = f" {done:,}/{total:,} {what}" + (f"  {done * 100 // total}%" if total else "")
    rest = max(0, total - done - under_way)
    page.line(
        Span("━" * full, style),
        Span("─" * (room - full), "dim"),
        Span(share, "bold"),
        Span(f"  {under_way:,} under way, {rest:,} to come", "dim"),
    )


def _counted(run: Run, under: Under) -> tuple[int, int, str, Style, int] | None:
    total = len(run.shape.steps) if run.shape else 0
    if run.phase == "previewing" and run.preview is not None:
        return total - run.preview.left, total, "checked", "cyan", len(run.preview.acting)
    if run.work is None:
        return None
    acting, back = len(run.work.acting), run.work.undoing
    if run.phase == "rolling_back" and back is not None:
        most = max(under.most_undos, back.left)
        return most - back.left, most, "undone", "yellow", acting
    return total - run.work.left, total, "done", "green", acting


# --- what acts, what waits ----------------------------------------------------------------------


def _add_acting(page: Page, run: Run, under: Under, now_ms: int, most: int) -> None:
    acting = _acting(run)
    if not acting:
        return
    steps, began = run.shaped.steps, under.began_ms
    first = nsmallest(most, acting, key=lambda index: (began.get(steps[index].id, 0), index))
    page.head("UNDER WAY")
    rows = [_act_row(run, index, acting[index], under, now_ms) for index in first]
    page.table([Column("", flex=True), Column(""), Column("", flex=True), Column("")], rows)
    if len(acting) > most:
        page.line(Span(f"… and {len(acting) - most:,} more", "dim"), indent=2)


def _acting(run: Run) -> dict[int, Acting]:
    if run.phase == "previewing" and run.preview is not None:
        return dict(run.preview.acting)
    return dict(run.work.acting) if run.work is not None else {}


def _act_row(run: Run, index: int, act: Acting, under: Under, now_ms: int) -> list[Span]:
    step = run.shaped.steps[index].id
    began_ms = under.began_ms.get(step)
    times = run.actor(index).timeouts
    most_s = limit_s(times, act.verb)
    attempt = Span(f"attempt {act.attempt}" if act.attempt > 1 else "", "yellow")
    verb = Span(f"{act.verb}, left by another driver" if act.orphan else act.verb)
    name = Span(step, "bold")
    heard_ms = under.heard_ms(Act(step, act.verb, act.attempt))
    silent_s = (now_ms - heard_ms) // 1000 if heard_ms is not None else 0
    silence = f", silent for {duration(silent_s)}" if silent_s >= SILENT_S else ""
    if began_ms is None:
        return [name, verb, Span(f"at most {duration(most_s)}{silence}"), attempt]
    takes_s = max(0, now_ms - began_ms) // 1000
    expected = f", expected {duration(times.expected_s)}" if act.verb == "apply" else ""
    late: Style = ""
    if takes_s > most_s * AWAY:
        late = "alarm"
    elif (expected and takes_s > times.expected_s) or silence:
        late = "yellow"
    words = f"{duration(takes_s)}{expected}, at most {duration(most_s)}{silence}"
    return [name, verb, Span(words, late), attempt]


def _add_waiting(page: Page, run: Run, now_ms: int) -> None:
    lines = [*_gates(run), *_timers(run, now_ms)]
    if run.phase == "starting" and run.plan is not None and run.plan.window is not None:
        lines.append(Span(f"its window opens {instant(run.plan.window.start_ms)}"))
    if run.phase in ("asking", "waiting", "approved", "held"):
        lines.append(Span(wording(run.phase).words, "warn"))
    if not lines:
        return
    page.head("WAITS FOR")
    for line in lines:
        page.line(line, indent=2)


def _gates(run: Run) -> Iterator[Span]:
    if run.work is None or run.phase != "running":
        return
    for index in islice(run.work.gates, WAITING):
        step = run.shaped.steps[index]
        question = clip(clean(getattr(step.gate, "question", "")), 60)
        yield Span(f"{question}  interlock confirm {run.id} {step.id} ANSWER", "warn")
    if len(run.work.gates) > WAITING:
        yield Span(f"… and {len(run.work.gates) - WAITING:,} more answers", "dim")


def _timers(run: Run, now_ms: int) -> Iterator[Span]:
    if run.work is None or run.phase not in ("running", "rolling_back"):
        return
    back = run.phase == "rolling_back"
    shown = 0
    for until_ms, index in _tops(run.work.undo_timers if back else run.work.timers):
        step = run.step(index)
        if step.until_ms != until_ms or step.phase not in ("delayed", "holding"):
            continue
        name, soon = run.shaped.steps[index].id, duration(max(0, until_ms - now_ms) / 1000)
        if step.phase == "holding":
            yield Span(f"{name} holds until {instant(until_ms)}, in {soon}", "cyan")
        else:
            attempt = (step.undos if back else step.applies) + 1
            yield Span(f"{name} tries again in {soon}, attempt {attempt}", "yellow")
        shown += 1
        if shown == WAITING:
            return


def _tops(heap: Heap | None) -> Iterator[tuple[int, int]]:
    looks = 0
    while heap is not None and looks < LOOKS:
        yield heap.key
        heap, looks = popped(heap), looks + 1


# --- what happened ------------------------------------------------------------------------------


def _add_latest(page: Page, run: Run, under: Under) -> None:
    if under.latest:
        page.head("LATEST")
    for event in under.latest:
        _add_event(page, event)
    if under.troubles:
        note = f"{under.trouble_count:,}" if under.trouble_count > TROUBLES else ""
        page.head("TROUBLE", "alarm", note=note)
    for event in under.troubles:
        _add_event(page, event)
    if run.incidents:
        page.head("INCIDENTS", "alarm", note=f"{len(run.incidents):,} open")
    for incident in run.incidents[:TROUBLES]:
        page.line(Span(incident.step, "bold"), f"  {incident.message}", indent=2)


def _add_event(page: Page, event: Event) -> None:
    words, style = event_words(event)
    page.line(Span(f"{MARK.get(style, '·')} ", style), Span(words), indent=2)

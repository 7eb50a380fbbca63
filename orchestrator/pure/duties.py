"""What should be done now, and when time alone will change the answer.

1. `due` asks, it never remembers: the same run and instant give the same commands, after any crash.
2. Verifies come first: whatever is in doubt is settled even while the run is paused or stopping.
3. A report that is missing because its driver died is asked for again, as an orphan, never begun
   again.
4. Queues are kept with a valid head (`trimmed`), so that asking costs what is due and no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.pure import preview
from orchestrator.pure.commands import Act, Diagnose, Note, Propose, Vet
from orchestrator.pure.events import HoldPassed, WindowClosed
from orchestrator.pure.queues import popped
from orchestrator.pure.remedies import offered
from orchestrator.pure.state import NOTHING_YET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actors.spec import Verb
    from orchestrator.pure.commands import Command
    from orchestrator.pure.queues import Heap, Queue
    from orchestrator.pure.state import Run, StepRun, Work

__all__ = ["capacity", "due", "next_verb", "trimmed", "wakes_at", "window_end_ms"]


def due(run: Run, now_ms: int) -> tuple[Command, ...]:
    """Return all that should be done now."""
    match run.phase:
        case "drafting":
            return (Propose(),)
        case "vetting":
            return (Vet("plan"),)
        case "starting":
            return _due_at_start(run, now_ms)
        case "returning":
            return (Vet("rollback"),)
        case "previewing":
            return preview.due(run, capacity(run))
        case "running" | "rolling_back":
            return tuple(_due_acts(run, now_ms))
        case "diagnosing":
            return (Diagnose(offered(run, agent=True)),)
        case _:
            return ()


def wakes_at(run: Run) -> int | None:
    """Return the instant at which time alone will make something due."""
    if run.phase == "starting" and run.planned.window is not None:
        return run.planned.window.start_ms
    if run.phase not in ("running", "rolling_back"):
        return None
    work, instants = run.working, []
    if run.phase == "rolling_back":
        return work.undo_timers.key[0] if work.undo_timers else None
    if work.timers and _forward(run):
        instants.append(work.timers.key[0])
    end_ms = window_end_ms(run)
    if end_ms is not None and not run.window_closed:
        instants.append(end_ms)
    return min(instants, default=None)


def next_verb(run: Run, step: StepRun, at_ms: int) -> tuple[Verb, int] | None:
    """Return the verb that may begin on a step at this instant, if any, and which attempt."""
    if step.phase != "ready" and not (step.phase == "delayed" and step.until_ms <= at_ms):
        return None
    match step.verb:
        case "verify":
            return "verify", step.probes + 1
        case "undo" if run.phase == "rolling_back":
            return "undo", step.undos + 1
        case "apply" if run.phase == "running" and _forward(run):
            return "apply", step.applies + 1
        case _:
            return None


def window_end_ms(run: Run) -> int | None:
    """Return the instant after which nothing forward may begin: the window's, or policy's."""
    ends = []
    if run.planned.window is not None:
        ends.append(run.planned.window.end_ms)
    if run.decision is not None and run.decision.obligations.not_after_ms is not None:
        ends.append(run.decision.obligations.not_after_ms)
    return min(ends, default=None)


def capacity(run: Run) -> int:
    """Return how many acts may be under way at once: the plan's bound, or policy's."""
    allowed = run.decision.obligations.max_parallel if run.decision else None
    return min(run.planned.max_parallel, allowed or run.planned.max_parallel)


def trimmed(run: Run) -> Run:
    """Drop stale entries from the heads of the queues."""
    work = run.working
    ready, probes = _fresh(work, work.ready, "apply"), _fresh(work, work.probes, "verify")
    if work.undos or work.timers or work.undo_timers:
        work = _trimmed_heaps(run, work)
    if ready is not work.ready or probes is not work.probes:
        work = work._replace(ready=ready, probes=probes)
    return run if work is run.work else run.working_on(work)


def _fresh(work: Work, queue: Queue, verb: Verb) -> Queue:
    steps = work.steps
    while (first := queue.first) is not None and not _is(steps.get(first, NOTHING_YET), verb):
        queue = queue.pop()
    return queue


def _trimmed_heaps(run: Run, work: Work) -> Work:
    undos = work.undos
    while undos and not _is(run.step(undos.key[1]), "undo"):
        undos = popped(undos)
    timers = work.timers
    while timers and not _waits(run.step(timers.key[1]), timers, "apply"):
        timers = popped(timers)
    undo_timers = work.undo_timers
    while undo_timers and not _waits(run.step(undo_timers.key[1]), undo_timers, "undo"):
        undo_timers = popped(undo_timers)
    if undos is work.undos and timers is work.timers and undo_timers is work.undo_timers:
        return work
    return work._replace(undos=undos, timers=timers, undo_timers=undo_timers)


def _due_at_start(run: Run, now_ms: int) -> tuple[Command, ...]:
    window = run.planned.window
    if window is None or window.start_ms <= now_ms < window.end_ms:
        return (Vet("start"),)
    return (Note(WindowClosed(at_ms=now_ms)),) if now_ms >= window.end_ms else ()


def _due_acts(run: Run, now_ms: int) -> Iterator[Command]:
    work, shape = run.working, run.shaped
    for index in sorted(i for i, act in work.acting.items() if act.orphan):
        orphan = work.acting[index]
        yield Act(shape.steps[index].id, orphan.verb, orphan.attempt, orphan=True)
    end_ms = window_end_ms(run)
    if run.phase == "running" and end_ms is not None and now_ms >= end_ms and not run.window_closed:
        yield Note(WindowClosed(at_ms=now_ms))
        return
    if run.phase == "running" and _forward(run):
        for index in _tops(work.timers, now_ms):
            if run.step(index).phase == "holding":
                yield Note(HoldPassed(at_ms=now_ms, step=shape.steps[index].id))
    free = capacity(run) - len(work.acting)
    # A step that began out of turn may stand twice in a queue: `dict` keeps the first.
    acts = _in_order(run, now_ms)
    named: dict[Act, None] = {}
    while len(named) < free and (act := next(acts, None)):
        named[act] = None
    yield from named


def _in_order(run: Run, now_ms: int) -> Iterator[Act]:
    work = run.working
    yield from _acts(run, work.probes.each(), now_ms, "verify")
    if run.phase == "rolling_back":
        yield from _acts(run, _tops(work.undo_timers, now_ms), now_ms, "undo")
        yield from _acts(run, _tops(work.undos, None), now_ms, "undo")
    elif _forward(run):
        yield from _acts(run, _tops(work.timers, now_ms), now_ms, "apply")
        yield from _acts(run, work.ready.each(), now_ms, "apply")


def _acts(run: Run, indices: Iterable[int], now_ms: int, verb: Verb) -> Iterator[Act]:
    steps = run.shaped.steps
    for index in indices:
        found = next_verb(run, run.step(index), now_ms)
        if found is not None and found[0] == verb:
            yield Act(steps[index].id, *found)


def _tops(heap: Heap | None, until: int | None) -> Iterator[int]:
    while heap and (until is None or heap.key[0] <= until):
        yield heap.key[1]
        heap = popped(heap)


def _forward(run: Run) -> bool:
    return not (run.paused or run.working.stop or run.incidents)


def _is(step: StepRun, verb: Verb) -> bool:
    return step.phase == "ready" and step.verb == verb


def _waits(step: StepRun, timer: Heap, verb: Verb) -> bool:
    if step.until_ms != timer.key[0]:
        return False
    if step.phase == "holding":
        return verb == "apply"
    return step.phase == "delayed" and step.verb == verb

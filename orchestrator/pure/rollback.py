"""Going back: undo exactly what was or may have been touched, newest first.

1. A step is undone only after every touched step that came after it is undone, or has no undo.
2. A step of which nobody knows whether it acted is verified before it is undone.
3. A step without an undo is *left* and named; a step whose undo failed keeps what stands under it.
4. A slice whose failure the plan tolerates goes back alone, then the next slice begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from immutables import Map

from actors.spec import Done, Failed, InDoubt, Unexpected
from orchestrator.pure.model import Incident
from orchestrator.pure.queues import pushed
from orchestrator.pure.state import StepRun, Undoing, known
from orchestrator.pure.turns import (
    delay,
    next_slice,
    probe,
    put,
    set_free,
)

if TYPE_CHECKING:
    from actors.spec import Outcome
    from orchestrator.pure.state import Run, Work

__all__ = ["begin", "due_undo", "end_slice", "undo_failed", "undone"]


def begin(run: Run, slot: tuple[str, int] | None) -> Run:
    """Turn round: the whole run, or one slice when nothing outside already stands on it."""
    work, shape = run.working, run.shaped
    if slot is not None and _stands_on(run, slot):
        slot = None
    members = range(len(shape.steps)) if slot is None else shape.slices[slot[0]][slot[1] - 1]
    missing = {index: _later_in(run, index, slot) for index in members}
    undoable = [i for i in members if run.step(i).touched and _has_undo(run, i)]
    undoing = Undoing(slot, Map(missing), len(undoable), _unpassed(run, slot))
    # Going back answers whatever was open: a remedy for it must not be offered on the way.
    work = work._replace(undoing=undoing, failed_slot=slot)
    run = run._replace(phase="rolling_back", work=work, incidents=())
    through = []
    for index, count in missing.items():
        if count == 0:
            run, is_through = _visit(run, index)
            if is_through:
                through.append(index)
    return _passed(run, through)


def end_slice(run: Run) -> Run:
    """Take a slice that went back out of the run, and let the wave go on."""
    wave, _ = slot = known(run.undoing.slot, "one slice goes back")
    work = _without(run, slot)
    slices, freed = next_slice(run.shaped, work.slices, wave)
    work = work._replace(
        slices=slices,
        failed_slices=work.failed_slices.set(wave, work.failed_slices.get(wave, 0) + 1),
        undoing=None,
        failed_slot=None,
        stop="" if work.failed_slot == slot else work.stop,
    )
    return set_free(run._replace(phase="running", work=work), freed)


def _without(run: Run, slot: tuple[str, int]) -> Work:
    # What was settled in the slice is not any more; what was about to begin on it waits again.
    work, shape = run.working, run.shaped
    steps, gates, left, awaited = work.steps, work.gates, work.left, work.awaited
    for index in shape.slices[slot[0]][slot[1] - 1]:
        step = run.step(index)
        gates = gates.delete(index) if index in gates else gates
        if step.phase not in ("undone", "left", "failed"):
            steps = steps.set(index, step.in_phase("dropped"))
        if step.outputs is None and step.phase not in ("succeeded", "skipped"):
            continue
        left += 1
        for later in shape.after[index]:
            if shape.slots[later] != slot:
                awaited = awaited.set(later, awaited.get(later, shape.missing[later]) + 1)
                other = run.step(later)
                if other.phase in ("ready", "gate", "holding"):
                    steps = steps.set(later, other.in_phase("waiting"))
                gates = gates.delete(later) if later in gates else gates
    return work._replace(steps=steps, gates=gates, left=left, awaited=awaited)


def undone(run: Run, index: int, outcome: Outcome, at_ms: int) -> Run:
    """Take the outcome of an undo."""
    spec, step = run.actor(index), run.step(index)
    match outcome:
        case Done():
            run = put(run, index, step.untouched().in_phase("undone"))
            undoing = run.undoing._replace(left=run.undoing.left - 1)
            return _passed(run.working_on(run.working._replace(undoing=undoing)), [index])
        case Failed():
            mode = spec.failure(outcome.mode)
            if mode is not None and mode.retry and step.undos <= spec.retries.maximum:
                wait_s = spec.retries.backoff_s * spec.retries.factor ** (step.undos - 1)
                return delay(run, index, step, at_ms + wait_s * 1000)
            return undo_failed(run, index, f"{outcome.mode} {outcome.message}".strip())
        case InDoubt():
            return probe(run, index, step._replace(goal="undo", doubts=0))
        case Unexpected():
            return undo_failed(run, index, outcome.message)
        case _:
            return undo_failed(run, index, f"an undo answered with '{outcome.kind}'")


def undo_failed(run: Run, index: int, message: str) -> Run:
    """Keep a step whose undo failed, and what it stands on, for a person."""
    run = put(run, index, run.step(index)._replace(phase="undo_failed"))
    name = run.shaped.steps[index].id
    text = message or "no reason was given"
    raised = Incident(step=name, verb="undo", reason="undo_failed", message=text)
    return run._replace(
        incidents=(*run.incidents, raised), reason=f"the undo of {name} failed: {text}"
    )


def due_undo(run: Run, index: int, step: StepRun) -> Run:
    """Make the undo of a step due."""
    work = run.working
    step = step._replace(phase="ready", verb="undo", goal="undo", doubts=0)
    undos = pushed(work.undos, -step.touched, index)
    return run.working_on(work._replace(steps=work.steps.set(index, step), undos=undos))


def _visit(run: Run, index: int) -> tuple[Run, bool]:
    # Make the undo of a step due; say whether the rollback may pass it at once.
    step = run.step(index)
    if not step.touched:
        return run, True
    if not _has_undo(run, index):
        return put(run, index, step.in_phase("left")), True
    if step.phase == "unexpected" or step.retried:
        return probe(run, index, step._replace(goal="undo", doubts=0)), False
    return due_undo(run, index, step), False


def _passed(run: Run, through: list[int]) -> Run:
    # Let the rollback move on to the steps before those that are through.
    waiting = list(through)
    while waiting:
        run, freed = _freed(run, waiting.pop())
        for index in freed:
            run, is_through = _visit(run, index)
            if is_through:
                waiting.append(index)
    return run


def _freed(run: Run, index: int) -> tuple[Run, list[int]]:
    work, shape = run.working, run.shaped
    missing, unpassed = run.undoing.missing, run.undoing.unpassed
    earlier = list(shape.before[index])
    slot = shape.slots[index]
    if slot is not None and slot[1] > 1 and slot in unpassed:
        unpassed = unpassed.set(slot, unpassed[slot] - 1)
        if unpassed[slot] == 0:
            earlier.extend(shape.slices[slot[0]][slot[1] - 2])
    freed = []
    for other in earlier:
        if other in missing:
            missing = missing.set(other, missing[other] - 1)
            if missing[other] == 0:
                freed.append(other)
    undoing = run.undoing._replace(missing=missing, unpassed=unpassed)
    return run.working_on(work._replace(undoing=undoing)), freed


def _later_in(run: Run, index: int, slot: tuple[str, int] | None) -> int:
    shape = run.shaped
    if slot is not None:
        return sum(shape.slots[later] == slot for later in shape.after[index])
    own = shape.slots[index]
    has_next = own is not None and own[1] < len(shape.slices[own[0]])
    return len(shape.after[index]) + (1 if has_next else 0)


def _unpassed(run: Run, slot: tuple[str, int] | None) -> Map[tuple[str, int], int]:
    if slot is not None:
        return Map()
    waves = run.shaped.slices.items()
    return Map({(w, n): len(part) for w, parts in waves for n, part in enumerate(parts, 1)})


def _has_undo(run: Run, index: int) -> bool:
    spec = run.shaped.specs[index]
    return spec is not None and spec.undo != "none"


def _stands_on(run: Run, slot: tuple[str, int]) -> bool:
    shape = run.shaped
    return any(
        shape.slots[later] != slot and _went_on(run.step(later))
        for index in shape.slices[slot[0]][slot[1] - 1]
        for later in shape.after[index]
    )


def _went_on(step: StepRun) -> bool:
    if step.phase in ("succeeded", "skipped"):
        return True
    return step.applies > 0 and step.phase not in ("undone", "failed", "dropped")

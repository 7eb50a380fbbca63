"""The dry run: every step is checked against the real targets; nothing is written.

1. A step whose params are not all known before the run, or whose actor cannot predict, is graded
   `none`; an actor that only reads changes nothing, whether it can tell what it will find or not.
2. A check that reports anything but a prediction is graded `none`, with what it said.
3. A check may be asked again after a crash: it writes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from immutables import Map

from actors.spec import InDoubt, Predicted
from orchestrator.errors import IllegalEvent
from orchestrator.pure.commands import Act
from orchestrator.pure.queues import queue_of
from orchestrator.pure.state import Acting, Preview

if TYPE_CHECKING:
    from orchestrator.pure.commands import Command
    from orchestrator.pure.events import ActFinished, ActStarted
    from orchestrator.pure.state import Run, Shape

__all__ = ["began", "begin", "due", "finished", "grades"]

MAX_CHECKS: Final = 3


def begin(run: Run) -> Run:
    """Queue every step that can be checked; grade the others at once."""
    shape, todo, results = run.shaped, [], {}
    for index in range(len(shape.steps)):
        verdict = _without_check(shape, index)
        if verdict is None:
            todo.append(index)
        else:
            results[index] = verdict
    queue = queue_of(tuple(todo))
    preview = Preview(todo=queue, left=len(todo), results=Map(results))
    return _settled(run._replace(phase="previewing", preview=preview, reason="dry run"))


def due(run: Run, capacity: int) -> tuple[Command, ...]:
    """Return the checks that should begin, and those whose report is missing."""
    preview, shape = run.previewing, run.shaped
    orphans = sorted(i for i, act in preview.acting.items() if act.orphan)
    asked = [
        Act(shape.steps[i].id, "check", preview.acting[i].attempt, orphan=True) for i in orphans
    ]
    # A check that began out of turn and is to be repeated stands twice in the queue: name it once.
    free = max(0, capacity - len(preview.acting))
    fresh: dict[Act, None] = {}
    waiting = (i for i in preview.todo.each() if _waits(preview, i))
    while len(fresh) < free and (index := next(waiting, None)) is not None:
        fresh[Act(shape.steps[index].id, "check", preview.attempts.get(index, 0) + 1)] = None
    return (*asked, *fresh)


def began(run: Run, index: int, event: ActStarted) -> Run:
    """Claim the next check."""
    preview = run.previewing
    attempt = preview.attempts.get(index, 0) + 1
    waits = _waits(preview, index)
    if not waits or (event.verb, event.attempt) != ("check", attempt):
        raise IllegalEvent(f"{event.verb} {event.attempt} of {event.step} in {run.id} is not due")
    preview = preview._replace(
        attempts=preview.attempts.set(index, attempt),
        acting=preview.acting.set(index, Acting("check", attempt)),
    )
    todo = preview.todo
    while (first := todo.first) is not None and not _waits(preview, first):
        todo = todo.pop()
    return run._replace(preview=preview._replace(todo=todo))


def finished(run: Run, index: int, event: ActFinished) -> Run:
    """Take a check's prediction."""
    preview, outcome = run.previewing, event.outcome
    preview = preview._replace(acting=preview.acting.delete(index))
    if isinstance(outcome, InDoubt) and event.attempt < MAX_CHECKS:
        return run._replace(preview=preview._replace(todo=preview.todo.push(index)))
    if not isinstance(outcome, Predicted):
        said = getattr(outcome, "message", "") or f"check answered with '{outcome.kind}'"
        outcome = Predicted(grade="none", message=said)
    results = preview.results.set(index, outcome)
    return _settled(run._replace(preview=preview._replace(left=preview.left - 1, results=results)))


def grades(run: Run) -> dict[str, int]:
    """Count the steps of each grade."""
    counts = {"predicted": 0, "partial": 0, "none": 0}
    for result in run.previewing.results.values():
        counts[result.grade] += 1
    return counts


def _waits(preview: Preview, index: int) -> bool:
    return index not in preview.acting and index not in preview.results


def _without_check(shape: Shape, index: int) -> Predicted | None:
    spec, step = shape.specs[index], shape.steps[index]
    if spec is None:
        return Predicted(grade="predicted", message="a gate of the run itself: changes nothing")
    if spec.dry_run == "none" and spec.effect == "read":
        return Predicted(grade="predicted", message="only reads: changes nothing")
    if spec.dry_run == "none":
        return Predicted(grade="none", message="this actor cannot predict")
    unknown = [param.output for param in step.params if param.output is not None]
    if unknown:
        return Predicted(grade="none", message=f"known only after {', '.join(sorted(unknown))}")
    return None


def _settled(run: Run) -> Run:
    preview = run.previewing
    return run._replace(phase="vetting", reason="") if preview.left == 0 else run

"""What each outcome of an apply and of a verify means.

1. `done` is success; a declared clean failure is retried as declared; then the run stops and goes
   back.
2. Whatever may have touched the world is verified first: nothing that may have happened is begun
   again.
3. What nobody foresaw is an incident; it waits for a remedy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.spec import Done, Failed, Found, InDoubt, Unexpected
from orchestrator.pure.rollback import due_undo, undo_failed, undone
from orchestrator.pure.turns import (
    delay,
    incident,
    output_problem,
    probe,
    put,
    ready,
    settled,
)

if TYPE_CHECKING:
    from actors.spec import Outcome
    from orchestrator.pure.state import Run, StepRun

__all__ = ["MAX_CRASHES", "MAX_PROBES", "MAX_UNDOS", "applied", "probed"]

MAX_CRASHES: Final = 3
"""How often a step that was interrupted, and verified as not applied, is begun again by itself."""
MAX_PROBES: Final = 3
MAX_UNDOS: Final = 3


def applied(run: Run, index: int, outcome: Outcome, at_ms: int) -> Run:
    """Take the outcome of an apply."""
    spec, step = run.actor(index), run.step(index)
    match outcome:
        case Done():
            return _done(run, index, outcome)
        case Failed():
            return _failed(run, index, outcome, at_ms)
        case InDoubt() if spec.effect == "read":
            return _begin_again(run, index, step, outcome.message)
        case InDoubt():
            return probe(run, index, step._replace(goal="apply", doubts=0))
        case Unexpected():
            return incident(run, index, "apply", outcome.message)
        case _:
            return incident(run, index, "apply", f"an apply answered with '{outcome.kind}'")


def _done(run: Run, index: int, outcome: Done) -> Run:
    step, unchanged = run.step(index), outcome.unchanged
    problem = output_problem(run.actor(index), outcome.outputs) or _misnamed(run, index, outcome)
    if problem:
        return incident(run, index, "apply", problem)
    if step.applies > 1:  # what an earlier attempt did, this one found done
        unchanged = ()
    elif not outcome.changed:
        step = step.untouched()
    return settled(run, index, step.done(outcome.outputs, unchanged))


def _misnamed(run: Run, index: int, outcome: Done) -> str | None:
    # An undo is not judged by these targets: they must be the step's, and leave one to judge by.
    if not outcome.unchanged or set(outcome.unchanged) < set(run.shaped.steps[index].targets):
        return None
    return "what the apply names as unchanged is not a part of the step's targets"


def _failed(run: Run, index: int, outcome: Failed, at_ms: int) -> Run:
    spec, step = run.actor(index), run.step(index)
    mode = spec.failure(outcome.mode)
    if mode is None:
        return incident(run, index, "apply", f"failed in an undeclared way: {outcome.mode}")
    if mode.leaves == "partial":
        return _stop(run, index, step.in_phase("partial"), outcome)
    if not step.retried:
        step = step.untouched()
    if mode.retry and step.applies <= spec.retries.maximum and not run.working.stop:
        wait_s = spec.retries.backoff_s * spec.retries.factor ** (step.applies - 1)
        return delay(run, index, step, at_ms + wait_s * 1000)
    left = step._replace(phase="partial" if step.retried else "failed")
    return _stop(run, index, left, outcome)


def _stop(run: Run, index: int, step: StepRun, outcome: Failed) -> Run:
    # A foreseen failure has no retry left; whether its slice goes back alone was said in the plan.
    work, shape = run.working, run.shaped
    slot = shape.slots[index]
    label = shape.steps[index].id
    run = put(run, index, step)
    if work.stop:
        # A second failure outside the tolerated slice is not tolerated with it.
        alone = slot is not None and slot == work.failed_slot
        return run if alone else run.working_on(run.working._replace(failed_slot=None))
    text = f"{label} failed: {outcome.mode}" + (f" ({outcome.message})" if outcome.message else "")
    tolerated = slot is not None and (
        work.failed_slices.get(slot[0], 0) + 1 < _stop_after(run, slot[0])
    )
    stopped = run.working._replace(
        stop="failed",
        failed_slot=slot if tolerated else None,
    )
    return run._replace(work=stopped, reason=text)


def _stop_after(run: Run, wave: str) -> int:
    """Return how many failed slices turn the run round: the plan's bound, or policy's."""
    planned = run.shaped.stop_after[wave]
    allowed = run.decision.obligations.stop_after if run.decision else None
    return min(planned, allowed or planned)


def probed(run: Run, index: int, outcome: Outcome) -> Run:
    """Take the outcome of a verify, for the goal it was begun for."""
    step = run.step(index)
    if not isinstance(outcome, Found):
        doubts = step.doubts + 1
        if doubts < MAX_PROBES:
            return probe(run, index, step._replace(doubts=doubts))
        message = getattr(outcome, "message", "") or f"verify answered with '{outcome.kind}'"
        outcome = Found(state="unknown", message=message)
    if step.goal == "undo":
        return _probed_for_undo(run, index, outcome)
    return _probed_for_apply(run, index, outcome)


def _probed_for_apply(run: Run, index: int, outcome: Found) -> Run:
    step = run.step(index)
    match outcome.state:
        case "applied":
            problem = output_problem(run.actor(index), outcome.outputs)
            if problem:
                return incident(run, index, "verify", problem)
            return settled(run, index, step.done(outcome.outputs))
        case "not_applied" if step.goal == "apply":
            return _begin_again(run, index, step.untouched(), "was interrupted before it acted")
        case "not_applied":
            run = put(run, index, step.untouched())
            return incident(run, index, "verify", "verify says that it is not applied")
        case "partial" if step.goal == "apply":
            interrupted = Failed(mode="interrupted", message="it was applied in part")
            return _stop(run, index, step.in_phase("partial"), interrupted)
        case _:
            message = outcome.message or f"verify says: {outcome.state}"
            return incident(run, index, "verify", message, doubt=True)


def _probed_for_undo(run: Run, index: int, outcome: Found) -> Run:
    step = run.step(index)
    match outcome.state:
        case "not_applied":
            return undone(run, index, Done(), 0)
        case "unknown":
            run = put(run, index, step._replace(doubts=MAX_PROBES))
            return undo_failed(run, index, outcome.message or "verify cannot say what is left")
        case _ if step.undos < MAX_UNDOS:
            return due_undo(run, index, step)
        case _:
            return undo_failed(run, index, f"still {outcome.state} after {step.undos} undos")


def _begin_again(run: Run, index: int, step: StepRun, message: str) -> Run:
    # It is known not to have acted: it may begin again, a bounded number of times.
    if run.working.stop:
        return put(run, index, step.in_phase("failed"))
    if step.applies > run.actor(index).retries.maximum + MAX_CRASHES:
        text = f"{message}; {step.applies} attempts were interrupted"
        return incident(put(run, index, step), index, "apply", text, doubt=True)
    return ready(run, index, step)

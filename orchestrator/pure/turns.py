"""Whose turn it is: steps are claimed, become due, wait, and are set free.

1. A step begins only when every step before it has succeeded or was skipped, and its slice is open.
2. Values behind references are checked when they are known, before the act that needs them.
3. A step is *touched* from the moment its act is claimed until the world is known not to hold its
   effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.spec import SecretRef, problem_with
from orchestrator.pure.model import Condition, Hold, Incident
from orchestrator.pure.queues import pushed
from orchestrator.pure.state import NOTHING_YET, READY, Acting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from immutables import Map

    from actors.spec import ActorSpec, Value
    from orchestrator.pure.state import Run, Shape, StepRun

__all__ = [
    "act_began",
    "act_ended",
    "delay",
    "holds",
    "incident",
    "inputs",
    "next_slice",
    "open_steps",
    "output_problem",
    "probe",
    "put",
    "ready",
    "set_free",
    "settled",
]


def put(run: Run, index: int, step: StepRun) -> Run:
    """Store one step."""
    work = run.working
    return run.working_on(work._replace(steps=work.steps.set(index, step)))


def act_began(run: Run, index: int, step: StepRun, attempt: int) -> Run:
    """Claim the verb that is due on a step."""
    work = run.working
    began, touched = work.began, step.touched
    if step.verb == "apply" and not touched and run.actor(index).effect != "read":
        began = touched = began + 1
    work = work.changed(
        steps=work.steps.set(index, step.begun(attempt, touched)),
        acting=work.acting.set(index, Acting(step.verb, attempt)),
        began=began,
        left=work.left,
        ready=work.ready.past(index),
        probes=work.probes.past(index),
    )
    return run.working_on(work)


def act_ended(run: Run, index: int) -> Run:
    """Take an act that has reported from what is under way."""
    work = run.working
    if index not in work.acting:
        return run  # `settled` has, in the copy that it makes anyway
    return run.working_on(work._replace(acting=work.acting.delete(index)))


def ready(run: Run, index: int, step: StepRun) -> Run:
    """Make the apply of a step due."""
    work = run.working
    step = step._replace(phase="ready", verb="apply", goal="apply")
    steps, queue = work.steps.set(index, step), work.ready.push(index)
    return run.working_on(work._replace(steps=steps, ready=queue))


def probe(run: Run, index: int, step: StepRun) -> Run:
    """Make a verify of a step due."""
    work = run.working
    step = step._replace(phase="ready", verb="verify")
    steps, queue = work.steps.set(index, step), work.probes.push(index)
    return run.working_on(work._replace(steps=steps, probes=queue))


def delay(run: Run, index: int, step: StepRun, until_ms: int) -> Run:
    """Let the verb of a step wait for an instant."""
    work = run.working
    step = step._replace(phase="delayed", until_ms=until_ms)
    work = work._replace(steps=work.steps.set(index, step))
    if step.verb == "undo":
        return run.working_on(work._replace(undo_timers=pushed(work.undo_timers, until_ms, index)))
    return run.working_on(work._replace(timers=pushed(work.timers, until_ms, index)))


def incident(run: Run, index: int, verb: str, message: str, *, doubt: bool = False) -> Run:
    """Keep an unexpected state of a step until a remedy answers it."""
    run = put(run, index, run.step(index).in_phase("unexpected"))
    raised = Incident(
        step=run.shaped.steps[index].id,
        verb="verify" if verb == "verify" else "apply",
        reason="in_doubt" if doubt else "unexpected",
        message=message or "no reason was given",
    )
    return run._replace(incidents=(*run.incidents, raised), reason=f"{raised.step}: {message}")


def settled(run: Run, index: int, step: StepRun) -> Run:
    """A step succeeded or was passed by a person: set free what waited for it."""
    work = run.working
    slices, freed = _freed_by(run.shaped, work.slices, index)
    steps, acting, left = work.steps.set(index, step), work.acting, work.left - 1
    if index in acting:
        acting = acting.delete(index)
    if freed or slices is not work.slices:
        return _set_free(run, freed, steps, left=left, slices=slices, acting=acting)
    work = work.changed(
        steps=steps,
        acting=acting,
        began=work.began,
        left=left,
        ready=work.ready,
        probes=work.probes,
    )
    return run.working_on(work)


def set_free(run: Run, freed: Iterable[int]) -> Run:
    """Count down what steps wait for: open those whose turn has come, skip those that are off."""
    work = run.working
    return _set_free(run, freed, work.steps, left=work.left, slices=work.slices)


def _set_free(
    run: Run,
    freed: Iterable[int],
    steps: Map[int, StepRun],
    *,
    left: int,
    slices: Map[str, tuple[int, int]],
    **changed: Any,
) -> Run:
    # One new value at the end: this is where a fold spends its time.
    shape, awaited = run.shaped, run.working.awaited.mutate()
    opened: list[int] = []
    missing, waiting = shape.missing, list(freed)
    for later in waiting:
        count = awaited.get(later, missing[later]) - 1
        awaited[later] = count
        if count > 0:
            continue
        step = steps.get(later, NOTHING_YET)
        if step.phase != "waiting":
            continue
        if not _is_off(shape, later, steps):
            opened.append(later)
            continue
        steps, left = steps.set(later, step.in_phase("skipped")), left - 1
        slices, more = _freed_by(shape, slices, later)
        waiting.extend(more)
    changed |= {"left": left, "slices": slices, "awaited": awaited.finish()}
    return _open(run, opened, steps, **changed)


def _freed_by(
    shape: Shape, slices: Map[str, tuple[int, int]], done: int
) -> tuple[Map[str, tuple[int, int]], tuple[int, ...]]:
    # Count a settled step in its slice, and name what waits for one thing less.
    slot = shape.slots[done]
    if slot is None:
        return slices, shape.after[done]
    number, count = slices[slot[0]]
    slices = slices.set(slot[0], (number, count - 1))
    if count > 1:
        return slices, shape.after[done]
    slices, more = next_slice(shape, slices, slot[0])
    return slices, (*shape.after[done], *more)


def next_slice(
    shape: Shape, slices: Map[str, tuple[int, int]], wave: str
) -> tuple[Map[str, tuple[int, int]], tuple[int, ...]]:
    """Open the next slice of a wave, if there is one, and name its steps."""
    number = slices[wave][0] + 1
    parts = shape.slices[wave]
    if number > len(parts):
        return slices, ()
    return slices.set(wave, (number, len(parts[number - 1]))), parts[number - 1]


def open_steps(run: Run, opened: Iterable[int]) -> Run:
    """Make steps due whose turn has come: an act, a gate, or a hold."""
    return _open(run, opened, run.working.steps)


def _open(run: Run, opened: Iterable[int], before: Map[int, StepRun], **changed: Any) -> Run:
    # A step may set a hundred thousand free: their changes are made in one sweep.
    work, shape, trouble = run.working, run.shaped, []
    steps, queued, gates, timers = before.mutate(), [], work.gates, work.timers
    for index in opened:
        step = steps.get(index)
        match shape.steps[index].gate:
            case None:
                problem = _input_problem(shape, index, before)
                if problem:
                    trouble.append((index, problem))
                else:
                    steps[index] = step.in_phase("ready") if step else READY
                    queued.append(index)
            case Hold(until_ms=until_ms):
                steps[index] = (step or NOTHING_YET)._replace(phase="holding", until_ms=until_ms)
                timers = pushed(timers, until_ms, index)
            case _:  # a person answers
                steps[index] = (step or NOTHING_YET).in_phase("gate")
                gates = gates.set(index, True)
    ready = work.ready.extend(queued)
    work = work._replace(steps=steps.finish(), ready=ready, gates=gates, timers=timers, **changed)
    run = run.working_on(work)
    for index, problem in trouble:
        run = incident(run, index, "apply", problem)
    return run


def _is_off(shape: Shape, index: int, steps: Mapping[int, StepRun]) -> bool:
    condition = shape.steps[index].when
    return condition is not None and not holds(shape, condition, steps)


def holds(shape: Shape, condition: Condition, steps: Mapping[int, StepRun]) -> bool:
    """Compare a typed output; an output that does not exist compares false."""
    value = _output(shape, condition.output, steps)
    wanted = condition.value
    if value is None or isinstance(value, bool) != isinstance(wanted, bool):
        return False
    match condition.op:
        case "==":
            return value == wanted
        case "!=":
            return value != wanted
    if not isinstance(value, int) or not isinstance(wanted, int):
        return False
    return {
        "<": value < wanted,
        "<=": value <= wanted,
        ">": value > wanted,
        ">=": value >= wanted,
    }[condition.op]


def _output(shape: Shape, reference: str, steps: Mapping[int, StepRun]) -> Value | None:
    name, _, output = reference.rpartition(".")
    step = steps.get(shape.place[name])
    return None if step is None or step.outputs is None else step.outputs.get(output)


def _input_problem(shape: Shape, index: int, steps: Mapping[int, StepRun]) -> str | None:
    spec = shape.specs[index]
    for param in shape.steps[index].params:
        if param.output is None:
            continue
        value = _output(shape, param.output, steps)
        if value is None:
            return f"its param {param.name} needs {param.output}, which has no value"
        problem = spec and problem_with(spec.params[param.name], value)
        if problem:
            return f"its param {param.name}, from {param.output}, {problem}"
    return None


def inputs(run: Run, index: int) -> dict[str, Value]:
    """Return the params of a step as its act gets them, outputs replaced by their values.

    Secrets are not among them: the act's own process finds them.
    """
    values: dict[str, Value] = {}
    for param in run.shaped.steps[index].params:
        value = param.value
        if param.output is not None:
            value = _output(run.shaped, param.output, run.working.steps)
        if value is not None and not isinstance(value, SecretRef):
            values[param.name] = value
    return values


def output_problem(spec: ActorSpec, outputs: Mapping[str, Value]) -> str | None:
    """Check what a step put out against what its manifest declares."""
    wanted = spec.outputs
    for name in outputs:
        if name not in wanted:
            return f"it put out {name}, which its manifest does not declare"
    for name, declared in wanted.items():
        if name not in outputs:
            if declared.required:
                return f"it did not put out {name}"
            continue
        problem = problem_with(declared, outputs[name])
        if problem:
            return f"its output {name} {problem}"
    return None

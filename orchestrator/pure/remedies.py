"""What a RecoveryAgent or a person may choose from, and what each choice means.

1. A step that is not idempotent and may have acted is never offered for a retry.
2. `resume` takes nobody's word: the step is verified, and only if it holds does the run go on.
3. Only a person may take a run over by hand; the agent's choices are bounded apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.errors import IllegalEvent
from orchestrator.pure import rollback, turns
from orchestrator.pure.model import Remedy

if TYPE_CHECKING:
    from orchestrator.pure.events import RemedyChosen
    from orchestrator.pure.model import Incident
    from orchestrator.pure.state import Run

__all__ = ["MAX_AGENT_REMEDIES", "MAX_REMEDIES", "chosen", "offered"]

MAX_REMEDIES: Final = 20
MAX_AGENT_REMEDIES: Final = 2


def offered(run: Run, *, agent: bool = False) -> tuple[Remedy, ...]:
    """List the remedies that may be chosen now."""
    if run.phase not in ("diagnosing", "held"):
        return ()
    remedies: list[Remedy] = []
    if run.remedies < MAX_REMEDIES:
        for incident in run.incidents:
            remedies.extend(_for_step(run, incident))
        if run.working.undoing is None:
            remedies.append(Remedy(kind="roll_back"))
            if run.draft is None:
                remedies.append(Remedy(kind="replan"))
    if run.phase == "diagnosing":
        remedies.append(Remedy(kind="hold"))
    if not agent:
        remedies.append(Remedy(kind="take_over"))
    return tuple(remedies)


def chosen(run: Run, event: RemedyChosen) -> Run:
    """Apply a remedy; the caller settles the run."""
    remedy = event.remedy
    if event.agent and run.phase != "diagnosing":
        raise IllegalEvent(f"the agent was not asked about {run.id}")
    if remedy not in offered(run, agent=event.agent):
        raise IllegalEvent(f"'{remedy.kind}' is not offered for {run.id}")
    run = run._replace(
        remedies=run.remedies + 1, agent_remedies=run.agent_remedies + (1 if event.agent else 0)
    )
    match remedy.kind:
        case "hold":
            return run._replace(phase="held")
        case "take_over":
            return run._replace(phase="taken_over", reason=f"{event.by}: {event.reason}")
        case "roll_back" | "replan":
            work = run.working._replace(stop="asked", failed_slot=None)
            replan = remedy.kind == "replan"
            return run._replace(phase="running", work=work, incidents=(), replan=replan)
        case _:
            return _answered(run, remedy)


def _for_step(run: Run, incident: Incident) -> list[Remedy]:
    index = run.shaped.place[incident.step]
    if incident.reason == "slices_failed":
        return []
    if incident.reason == "undo_failed":
        return [Remedy(kind="retry", step=incident.step)]
    step = run.step(index)
    if step.applies == 0:
        return []  # it never began, because of its input: beginning again would not mend that
    remedies = []
    if not step.touched or run.actor(index).idempotent:
        remedies.append(Remedy(kind="retry", step=incident.step))
    if step.touched:
        remedies.append(Remedy(kind="resume", step=incident.step))
    return remedies


def _answered(run: Run, remedy: Remedy) -> Run:
    answered = next(i for i in run.incidents if i.step == remedy.step)
    index = run.shaped.place[answered.step]
    step = run.step(index)
    if answered.reason == "undo_failed" and step.doubts:
        run = turns.probe(run, index, step._replace(goal="undo", doubts=0))
    elif answered.reason == "undo_failed":
        run = rollback.due_undo(run, index, step)
    elif remedy.kind == "retry":
        run = turns.ready(run, index, step._replace(retried=step.touched > 0))
    else:
        run = turns.probe(run, index, step._replace(goal="resume", doubts=0))
    rest = tuple(i for i in run.incidents if i is not answered)
    run = run._replace(incidents=rest)
    if rest:
        # The agent's choices are bounded also while incidents are answered one by one.
        spent = run.agent_remedies >= MAX_AGENT_REMEDIES
        return run._replace(phase="held") if spent else run
    if run.working.undoing is not None:
        return run._replace(phase="rolling_back")  # why it goes back stays true
    # What turned the run round before stays true too; what was answered is over.
    return run._replace(phase="running", reason=run.reason if run.working.stop else "")

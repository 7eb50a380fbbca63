"""A run as one JSON document with stable keys; programs read this, never the text.

1. Keys are only ever added; `format` changes when that cannot be kept.
2. What came from outside is given as it came: whoever shows it must clean it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.denied import is_denied
from orchestrator.pure.preview import grades
from orchestrator.pure.run import offered
from orchestrator.pure.standing import done_steps
from orchestrator.show_words import next_commands

if TYPE_CHECKING:
    from orchestrator.pure.state import Run, StepRun

__all__ = ["run_document"]


def run_document(run: Run, *, driven: bool = False) -> dict[str, Any]:
    """Return all that is known of a run as plain values."""
    return {
        "format": 1,
        "run": run.id,
        "phase": run.phase,
        "reason": run.reason,
        "paused": run.paused,
        "opened_ms": run.opened_ms,
        "at_ms": run.at_ms,
        "events": run.events,
        "epoch": run.epoch,
        "revision": run.revision,
        "by": run.by,
        "ticket": run.ticket.model_dump(mode="json", by_alias=True),
        "ticket_digest": run.ticket_digest,
        "findings": [_plain(finding) for finding in run.findings],
        "refusal": _plain(run.refusal),
        "question": _plain(run.question),
        "answers": list(run.answers),
        "plan_digest": run.plan_digest or None,
        "plan": _plain(run.plan),
        "decision": _plain(run.decision),
        "approvals": [_plain(given) for given in run.approvals],
        "carried_from": _carried(run),
        "preview": _preview(run),
        "progress": _progress(run),
        "incidents": [_plain(incident) for incident in run.incidents],
        "offered": [_plain(remedy) for remedy in offered(run)],
        "next": _next(run, driven=driven),
    }


def _next(run: Run, *, driven: bool) -> list[str]:
    denied = is_denied(run)
    listed = next_commands(run.phase, run.id, paused=run.paused, driven=driven, denied=denied)
    return [verb for verb, _ in listed]


def _carried(run: Run) -> dict[str, Any] | None:
    event = run.carried
    if event is None:
        return None
    return event.model_dump(mode="json", exclude={"earlier_plan", "approvals", "type"})


def _plain(value: Any) -> Any:
    return None if value is None else value.model_dump(mode="json")


def _preview(run: Run) -> dict[str, Any] | None:
    if run.preview is None or run.shape is None:
        return None
    results = sorted(run.preview.results.items())
    return {
        "left": run.preview.left,
        "grades": grades(run),
        "results": {run.shape.steps[index].id: _plain(result) for index, result in results},
    }


def _progress(run: Run) -> dict[str, Any] | None:
    # Steps that nothing has happened to are not listed: they wait.
    if run.work is None or run.shape is None:
        return None
    steps = run.shape.steps
    return {
        "steps": len(steps),
        "done": done_steps(run),
        "acting": [steps[index].id for index in sorted(run.work.acting)],
        "touched": [steps[index].id for index in run.touched],
        "states": {
            steps[index].id: _state(run.work.steps[index]) for index in sorted(run.work.steps)
        },
    }


def _state(step: StepRun) -> dict[str, Any]:
    outputs = {} if step.outputs is None else dict(step.outputs)
    return {
        "phase": step.phase,
        "applies": step.applies,
        "undos": step.undos,
        "outputs": outputs,
    }

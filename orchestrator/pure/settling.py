"""Turning points: where a run turns round, is held, or ends, once nothing is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from immutables import Map

from orchestrator.pure import duties, rollback
from orchestrator.pure.model import Incident
from orchestrator.pure.remedies import MAX_AGENT_REMEDIES

if TYPE_CHECKING:
    from orchestrator.pure.state import Phase, Run

__all__ = ["ended", "settle"]


def settle(run: Run) -> Run:
    """Turn the run if it stands at a turning point."""
    run = duties.trimmed(run)
    work = run.working
    if work.acting or work.probes.first is not None:
        return run
    if run.phase == "rolling_back":
        return _settle_rollback(run)
    return _settle_forward(run) if run.phase == "running" else run


def ended(run: Run, phase: Phase, reason: str) -> Run:
    """End the run."""
    preview = run.preview._replace(acting=Map()) if run.preview else None
    if run.remains:
        left = f"left as they are by an earlier plan: {', '.join(run.remains)}"
        reason = f"{reason}; {left}" if reason else left
    return run._replace(phase=phase, reason=reason, preview=preview, paused=False)


def _settle_forward(run: Run) -> Run:
    work = run.working
    if work.stop == "asked":
        return settle(rollback.begin(run, None))
    if run.incidents:
        return _stuck(run)
    if work.stop in ("failed", "window"):
        return settle(rollback.begin(run, work.failed_slot))
    if work.stop == "window_hold":
        return run._replace(phase="held", reason="its window closed; the plan says to hold")
    if work.left == 0:
        return ended(run, "succeeded", "")
    if work.ready.first is not None or work.timers or work.gates:
        return run
    return _stuck(_with_failed_slices(run))


def _settle_rollback(run: Run) -> Run:
    work = run.working
    if work.undos or work.undo_timers:
        return run
    if run.undoing.left > 0:
        return _stuck(run)
    if run.undoing.slot is not None:
        return settle(rollback.end_slice(run))
    if run.replan:
        return _draft_again(run)
    changed = any(step.phase in ("undone", "left") for step in work.steps.values())
    left = [run.shaped.steps[i].id for i in run.touched]
    if not changed and not run.remains and work.stop == "asked":
        return ended(run, "cancelled", f"{run.reason}; nothing had been changed")
    what = "nothing was left to undo"
    if left:
        what = f"left as they are, for want of an undo: {', '.join(left)}"
    elif changed:
        what = "everything that was changed was undone"
    return ended(run, "rolled_back", f"{run.reason}; {what}")


def _stuck(run: Run) -> Run:
    asks_agent = run.agent and run.agent_remedies < MAX_AGENT_REMEDIES
    return run._replace(phase="diagnosing" if asks_agent else "held")


def _with_failed_slices(run: Run) -> Run:
    work, shape = run.working, run.shaped
    gone = ("dropped", "undone", "failed", "left")
    dropped = min(i for i, step in work.steps.items() if step.phase in gone)
    waves = ", ".join(f"{n} of {w}" for w, n in sorted(work.failed_slices.items()))
    text = f"slices failed and went back alone: {waves}"
    raised = Incident(
        step=shape.steps[dropped].id, verb="apply", reason="slices_failed", message=text
    )
    return run._replace(incidents=(raised,), reason=text)


def _draft_again(run: Run) -> Run:
    return run._replace(
        phase="drafting",
        reason="went back; a new plan is to be made",
        revision=run.revision + 1,
        drafts=0,
        replan=False,
        remains=(*run.remains, *(run.shaped.steps[i].id for i in run.touched)),
        work=None,
        window_closed=False,
    )
